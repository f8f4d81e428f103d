//! Recording a cluster of processes, replaying it, and merging what its nodes tell.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use serde_json::Value;
use synod::{Fingerprint, RecordedStep, Recording, RecordingWriter};

use crate::operating::{admin, http};
use crate::running::{Running, cluster};
use crate::{Called, Place, synod};

/// Records a cluster of three in `place/rec`, its leader killed.
fn record(place: &Path) {
    let asked = ["cluster", "bully", "--nodes", "3", "--kill-leader", "--record", "rec"];
    let called = synod(place, &asked);
    assert_eq!(called.exit, 0, "{}\n{}", called.stdout, called.stderr);
    assert!(called.stderr.ends_with("replay rec/n1.recording\n"), "{}", called.stderr);
}

fn fails(place: &Path, args: &[&str], exit: i32, says: &str) -> Called {
    let called = synod(place, args);
    assert_eq!(called.exit, exit, "{args:?}: {}", called.stderr);
    assert!(called.stderr.contains(says), "{args:?}: {}", called.stderr);
    called
}

#[test]
fn a_cluster_of_processes_is_recorded_replayed_and_merged() {
    let place = Place::new("recorded");
    record(&place.0);
    let mut steps = 0;
    for node in ["n1", "n2", "n3"] {
        let file = format!("rec/{node}.recording");
        let replays = [(); 2].map(|()| synod(&place.0, &["replay", &file, "--json"]));
        for called in &replays {
            assert_eq!(called.exit, 0, "{}", called.stderr);
            assert!(called.stdout.contains("\"divergence\":null"), "{}", called.stdout);
        }
        let last = replays[0].last();
        assert_eq!((&last["node"], &last["algorithm"]), (&node.into(), &"bully".into()));
        assert_eq!(last["steps"], last["replayed"]);
        assert_eq!(replays[0].stdout, replays[1].stdout, "the same trace on every run");
        steps += last["steps"].as_u64().expect("a number");
    }
    let merge = "trace merge rec/n1.recording rec/n2.recording rec/n3.recording --out run.jsonl\n";
    let told = synod(&place.0, &["replay", "rec/n2.recording"]).stderr;
    assert!(told.ends_with(merge), "{told}");
    let merge = ["trace", "merge", "rec/n1.recording", "rec/n2.recording", "rec/n3.recording"];
    let called = synod(&place.0, &[&merge[..], &["--out", "run.jsonl", "--json"]].concat());
    assert_eq!(called.exit, 0, "{}", called.stderr);
    let written = fs::read_to_string(place.0.join("run.jsonl")).expect("the trace");
    assert_eq!(synod(&place.0, &merge).stdout, written);
    let lines: Vec<Value> =
        written.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["algorithm"], &lines[0]["nodes"]), (&"bully".into(), &3.into()));
    let ends = lines.iter().filter(|line| line["k"] == "crash");
    assert_eq!(called.last()["steps"], steps + ends.clone().count() as u64);
    let first = ends.clone().next().map(|line| (&line["n"], line["y"].as_str()));
    assert_eq!(first.map(|(node, _)| node), Some(&3.into()), "the leader was killed: {first:?}");
    for line in lines.iter().filter(|line| line["c"].is_u64()) {
        assert!(line["c"].as_u64() < line["i"].as_u64(), "a cause comes first: {line}");
    }
}

#[test]
fn pictures_and_traces_of_a_recording_are_made_as_of_a_schedule() {
    let place = Place::new("pictures");
    record(&place.0);
    let asked = ["replay", "rec/n2.recording", "--full", "--ascii", "--trace", "run.jsonl"];
    let called = synod(&place.0, &asked);
    assert_eq!(called.exit, 0, "{}", called.stderr);
    assert!(called.stdout.contains("steps of bully on n2"), "{}", called.stdout);
    assert!(called.stdout.contains("starts"), "{}", called.stdout);
    let trace = fs::read_to_string(place.0.join("run.jsonl")).expect("the trace");
    assert!(trace.starts_with("{\"synod_trace\":"));
}

#[test]
fn what_is_wrong_with_a_recording_is_said_with_an_exit_code() {
    let place = Place::new("damaged");
    record(&place.0);
    let path = place.0.join("rec/n1.recording");
    let intact = fs::read(&path).expect("the recording");
    let file = "rec/n1.recording";

    let mut damaged = intact.clone();
    damaged[intact.len() / 2] ^= 1;
    fs::write(&path, &damaged).expect("written");
    fails(&place.0, &["replay", file], 2, "is damaged");
    fails(&place.0, &["trace", "merge", file, "rec/n2.recording"], 2, "is damaged");

    fs::write(&path, &intact[..intact.len() - 3]).expect("written");
    let both = [file, "rec/n2.recording"];
    fails(&place.0, &["replay", file, "--trace", file], 2, "is what is read");
    fails(&place.0, &["trace", "merge", both[1], both[0], "--out", file], 2, "is what is read");
    let torn = synod(&place.0, &["replay", file, "--json"]);
    assert_eq!((torn.exit, &torn.last()["torn"]), (0, &true.into()), "{}", torn.stderr);

    fs::write(&path, &intact[..12]).expect("written");
    fails(&place.0, &["replay", file], 5, "holds no life");
    fails(&place.0, &["trace", "merge", "rec/n2.recording", "rec/n2.recording"], 2, "of n2");
    fs::write(&path, "synod schedule 1\n").expect("written");
    fails(&place.0, &["trace", "merge", file], 2, "does not begin with `synodrec`");
    fails(&place.0, &["trace", "merge", file], 2, "`cluster --record` write recordings");
    fails(&place.0, &["trace", "merge"], 2, "FILES");
}

#[test]
fn a_cluster_does_not_wait_for_a_process_that_has_ended() {
    let place = Place::new("ended");
    fs::create_dir(place.0.join("rec")).expect("made");
    fs::write(place.0.join("rec/n1.recording"), "no recording").expect("written");
    let called = fails(&place.0, &["cluster", "bully", "--record", "rec"], 6, "n1 has ended");
    assert!(called.stderr.contains("does not begin with `synodrec`"), "{}", called.stderr);
}

/// The recording, with another fingerprint for the third step.
fn forged(bytes: &[u8]) -> Vec<u8> {
    let recording = Recording::read(bytes).expect("the recording");
    let life = recording.lives.first().expect("a life");
    let (mut writer, mut forged) = (RecordingWriter::new(), Vec::new());
    writer.begin(&life.origin, &mut forged).expect("it was written before");
    for (index, step) in life.steps.iter().enumerate() {
        let RecordedStep { now, input, fingerprint: Fingerprint(fingerprint) } = step;
        let fingerprint = Fingerprint(if index == 2 { !fingerprint } else { *fingerprint });
        writer.step(*now, input, fingerprint, &mut forged).expect("it was written before");
    }
    forged
}

#[test]
fn a_step_that_comes_to_something_else_is_named() {
    let place = Place::new("diverges");
    record(&place.0);
    let path = place.0.join("rec/n1.recording");
    let bytes = fs::read(&path).expect("the recording");
    fs::write(&path, forged(&bytes)).expect("written");
    let called = fails(
        &place.0,
        &["replay", "rec/n1.recording", "--json"],
        4,
        "n1 diverges from its recording at step 2",
    );
    let divergence = &called.last()["divergence"];
    assert_eq!(divergence["step"], 2);
    assert_ne!(divergence["expected"], divergence["got"]);
    fails(&place.0, &["trace", "merge", "rec/n1.recording"], 4, "at step 2");
}

#[test]
fn nodes_that_run_are_recorded_for_a_while_and_their_recordings_replay_and_merge() {
    let place = Place::new("on-demand");
    let bundles = cluster(&place.0, "on-demand", &["n1", "n2", "n3"]);
    let stores: Vec<_> = (1..=3).map(|node| place.0.join(format!("store{node}"))).collect();
    let start = |(bundle, store): (&std::path::PathBuf, &std::path::PathBuf)| {
        Running::configured(bundle, &["--store", store.to_str().expect("UTF-8")])
    };
    let mut nodes: Vec<Running> = bundles.iter().zip(&stores).map(start).collect();
    nodes.iter_mut().for_each(|node| drop(node.says(&["leader", "n3", "state"])));
    let addresses: Vec<String> = nodes.iter_mut().map(admin).collect();
    let mut asked = vec!["record", "--for", "1s", "--out", "incident"];
    asked.extend(addresses.iter().map(String::as_str));
    let called = synod(&place.0, &asked);
    assert_eq!(called.exit, 0, "{}\n{}", called.stdout, called.stderr);
    assert!(called.stderr.ends_with("replay incident/n1.recording\n"), "{}", called.stderr);
    for (store, node) in stores.iter().zip(["n1", "n2", "n3"]) {
        let kept = fs::read_dir(store.join("recordings")).expect("a directory").count();
        assert_eq!(kept, 1, "the node keeps its last ones");
        let called = synod(&place.0, &["replay", &format!("incident/{node}.recording"), "--json"]);
        assert_eq!(called.exit, 0, "{}", called.stderr);
        assert!(called.last()["steps"].as_u64().is_some_and(|steps| 0 < steps));
    }
    let merge = ["trace", "merge", "incident/n1.recording", "incident/n2.recording"];
    let called = synod(&place.0, &[&merge[..], &["incident/n3.recording", "--json"]].concat());
    assert_eq!(called.exit, 0, "{}", called.stderr);
    // What is there is not written over, and nothing is recorded then.
    fails(&place.0, &asked, 2, "`incident/n1.recording` is there already");
    let twice = ["record", &addresses[0], &addresses[0], "--for", "1s", "--out", "twice"];
    fails(&place.0, &twice, 2, "one node is named twice");
    fails(&place.0, &["record", "10.0.0.1:7401"], 2, "is not of this machine");
    // A store is one with recordings in it, too.
    drop(nodes);
    let store = stores.first().and_then(|store| store.to_str()).expect("UTF-8");
    assert_eq!(synod(&place.0, &["store", "check", store]).exit, 0);
}

#[test]
fn a_node_that_is_killed_while_it_is_recorded_leaves_its_recording_and_takes_no_other_one() {
    let place = Place::new("killed");
    let bundles = cluster(&place.0, "killed", &["n1", "n2"]);
    let kept: Vec<String> =
        (1..=2).map(|node| place.0.join(format!("kept{node}")).display().to_string()).collect();
    let start = |(bundle, kept): (&std::path::PathBuf, &String)| {
        Running::configured(bundle, &["--recordings", kept])
    };
    let mut nodes: Vec<Running> = bundles.iter().zip(&kept).map(start).collect();
    nodes.iter_mut().for_each(|node| drop(node.says(&["leader", "n2", "state"])));
    let addresses: Vec<String> = nodes.iter_mut().map(admin).collect();
    let [one, two] = &addresses[..] else { panic!("two nodes: {addresses:?}") };
    let asked = ["record", two, one, "--for", "2s", "--out", "incident", "--json"];
    let recording = thread::scope(|scope| {
        let asked = scope.spawn(|| synod(&place.0, &asked));
        nodes.last_mut().expect("two nodes").says(&["is recorded"]);
        // It is asked next: the other one has answered.
        nodes.first_mut().expect("two nodes").says(&["is recorded"]);
        let file = Path::new(kept.last().expect("two places")).join("n2-1.recording");
        while fs::metadata(&file).expect("it has begun").len() == 0 {
            thread::yield_now();
        }
        nodes.pop();
        asked.join().expect("no panic")
    });
    assert_eq!(recording.exit, 0, "{}", recording.stderr);
    assert!(recording.stdout.contains("\"ended\":\"the node is gone\""), "{}", recording.stdout);
    for node in ["n1", "n2"] {
        let called = synod(&place.0, &["replay", &format!("incident/{node}.recording")]);
        assert_eq!(called.exit, 0, "{}", called.stderr);
    }
}

#[test]
fn a_recording_is_ended_by_who_began_it_and_by_nobody_else() {
    let place = Place::new("ended-by-others");
    let bundles = cluster(&place.0, "demo", &["n1"]);
    let kept = place.0.join("kept");
    let mut node =
        Running::configured(&bundles[0], &["--recordings", kept.to_str().expect("UTF-8")]);
    let address = admin(&mut node);
    let post =
        |what: &str| http(&address, &format!("POST {what} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    for (number, is_removed) in [(1, false), (2, true)] {
        let out = format!("out{number}");
        let asked = ["record", &address, "--for", "60m", "--out", &out];
        let mut asking = Command::new(env!("CARGO_BIN_EXE_synod"))
            .args(asked)
            .current_dir(&place.0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut said = BufReader::new(asking.stdout.take().expect("piped"));
        let mut line = String::new();
        said.read_line(&mut line).expect("it has begun");
        assert_eq!(line, "n1 is recorded for 3600 s\n");
        assert!(post("/record?seconds=0").starts_with("HTTP/1.1 400 "));
        for guess in ["", "0", "00112233445566778899aabbccddeeff"] {
            let refused = post(&format!("/record?end={guess}"));
            assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
        }
        let twice = ["record", &address, "--for", "1s", "--out", "twice"];
        fails(&place.0, &twice, 6, "recorded already");
        fails(&place.0, &twice, 6, &format!("n1-{number}.recording`, for 3"));
        if is_removed {
            fs::remove_file(kept.join(format!("n1-{number}.recording"))).expect("it is there");
        }
        let interrupted =
            Command::new("kill").args(["-INT", &asking.id().to_string()]).status().expect("kill");
        assert!(interrupted.success());
        let recording = asking.wait_with_output().expect("it ends");
        let told = String::from_utf8_lossy(&recording.stderr);
        let exit = if is_removed { 6 } else { 0 };
        assert_eq!(recording.status.code(), Some(exit), "{told}");
        assert!(!told.contains("not what was asked for"), "{told}");
        assert_eq!(told.contains("gone from the node, too"), is_removed, "{told}");
        assert_eq!(told.contains("replay out"), !is_removed, "{told}");
        assert!(!told.contains("it stands in"), "{told}");
    }
}

/// Listens in the place of the admin port at `address`, and passes on what is asked and answered. Where that is, and
/// the answers that have a token in them.
fn overheard(address: String) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let here = listener.local_addr().expect("bound").to_string();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let mut request = String::new();
            while !request.ends_with("\r\n\r\n") {
                if stream.read_line(&mut request).expect("UTF-8") == 0 {
                    break;
                }
            }
            let answer = http(&address, &request);
            stream.get_mut().write_all(answer.as_bytes()).expect("sent");
            if answer.contains("\"token\"") {
                let _the_test_may_be_over = tell.send(answer);
            }
        }
    });
    (here, told)
}

#[test]
fn a_recording_that_somebody_else_has_ended_is_brought_with_a_word_of_that() {
    let place = Place::new("ended-early");
    let bundles = cluster(&place.0, "demo", &["n1"]);
    let kept = place.0.join("kept");
    let mut node =
        Running::configured(&bundles[0], &["--recordings", kept.to_str().expect("UTF-8")]);
    let address = admin(&mut node);
    let (here, told) = overheard(address.clone());
    let asked = ["record", &here, "--for", "60m", "--out", "out"];
    let called = thread::scope(|scope| {
        let asked = scope.spawn(|| synod(&place.0, &asked));
        let begun = told.recv().expect("it has begun");
        let (_, token) = begun.split_once("\"token\":\"").expect("a token");
        let (token, _) = token.split_once('"').expect("its end");
        let end = format!("POST /record?end={token} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(http(&address, &end).starts_with("HTTP/1.1 2"));
        asked.join().expect("no panic")
    });
    assert_eq!(called.exit, 0, "{}", called.stderr);
    let words = "the recording of n1 is not what was asked for: somebody else has ended it";
    assert!(called.stderr.contains(words), "{}", called.stderr);
    assert_eq!(synod(&place.0, &["replay", "out/n1.recording"]).exit, 0);
}

#[test]
fn if_one_node_cannot_be_recorded_none_is() {
    let place = Place::new("none");
    let bundles = cluster(&place.0, "none", &["n1", "n2"]);
    let [one, two] = &bundles[..] else { panic!("two bundles: {bundles:?}") };
    let kept = place.0.join("kept").display().to_string();
    let mut nodes = [Running::configured(one, &["--recordings", &kept]), Running::node(two)];
    let addresses: Vec<String> = nodes.iter_mut().map(admin).collect();
    let [first, second] = &addresses[..] else { panic!("two nodes: {addresses:?}") };
    let asked = ["record", first, second, "--for", "1h", "--out", "incident"];
    fails(&place.0, &["record", first, "--for", "61m"], 2, "expected 1 to 3600 seconds");
    let asked = asked.map(|word| if word == "1h" { "60m" } else { word });
    fails(&place.0, &asked, 6, "n2 is not recorded: it keeps no recordings");
    nodes[0].says(&["is recorded no more"]);
    let called = synod(&place.0, &["record", first, "--for", "1s", "--out", "incident"]);
    assert_eq!(called.exit, 0, "{}", called.stderr);
}

#[test]
fn a_node_that_cannot_be_recorded_says_why() {
    let place = Place::new("unrecorded");
    let bundles = cluster(&place.0, "unrecorded", &["n1"]);
    let bundle = bundles.first().expect("one node");
    let mut node = Running::node(bundle);
    let address = admin(&mut node);
    let asked = ["record", &address, "--for", "1s"];
    fails(&place.0, &asked, 6, "start the node with --recordings DIRECTORY, or with --store");
    drop(node);
    fails(&place.0, &asked, 6, "does not answer");
    fails(&place.0, &["record", &address, "--for", "2h"], 2, "expected 1 to 3600 seconds");

    let [all, kept] = ["all", "kept"].map(|name| place.0.join(name).display().to_string());
    let mut node = Running::configured(bundle, &["--record", &all, "--recordings", &kept]);
    let address = admin(&mut node);
    fails(
        &place.0,
        &["record", &address, "--for", "1s"],
        6,
        "the node is recorded already, from its start on",
    );
    let out = place.0.join("out");
    fails(
        &place.0,
        &["record", &address, "--for", "1s", "--out", out.to_str().expect("UTF-8")],
        6,
        &format!("because somebody else asks for it: `{all}`"),
    );
    assert!(!out.exists() && !Path::new(&kept).exists(), "nothing is brought or kept there");
    let refused = |request: &str| {
        let request = format!("{request} HTTP/1.1\r\nHost: {address}\r\n");
        let with = |more: &str| http(&address, &format!("{request}{more}\r\n"));
        (with(""), with("Origin: http://evil.example\r\n"))
    };
    let (asked, by_a_page) = refused("POST /record?seconds=x");
    assert!(asked.starts_with("HTTP/1.1 400 "), "{asked}");
    assert!(by_a_page.starts_with("HTTP/1.1 403 "), "{by_a_page}");
    let (asked, _) = refused("POST /status");
    assert!(asked.starts_with("HTTP/1.1 405 "), "{asked}");
}
