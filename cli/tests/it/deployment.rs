//! Real processes over QUIC on the loopback interface.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use synod_transport_quic::{Authority, Bundle};

use crate::running::{Running, cluster};
use crate::{Place, synod};

#[test]
fn five_processes_elect_a_leader_and_another_one_when_it_is_killed() {
    let place = Place::new("cluster");
    let called = synod(&place.0, &["cluster", "bully", "--nodes", "5", "--kill-leader", "--json"]);
    assert_eq!(called.exit, 0, "{}\n{}", called.stdout, called.stderr);
    let elected: Vec<Value> =
        called.lines().into_iter().filter(|line| line["event"] == "elected").collect();
    assert_eq!(elected.len(), 2);
    assert_eq!((&elected[0]["leader"], &elected[0]["agreed"]), (&"n5".into(), &5.into()));
    assert_eq!((&elected[1]["leader"], &elected[1]["agreed"]), (&"n4".into(), &4.into()));
    // A process that is killed is noticed by its closed port, not by its silence.
    let after_ms = elected[1]["after_ms"].as_u64().expect("a number");
    assert!(after_ms < 15_000, "the next leader was elected after {after_ms} ms");
    assert_eq!(called.last()["event"], "ended");
}

#[test]
fn three_processes_do_what_the_workload_of_an_algorithm_asks() {
    let place = Place::new("workload");
    for (algorithm, name, values) in [
        ("echo", "initiator", &["n1"][..]),
        ("abd", "value", &["7"]),
        ("two-phase-commit", "outcome", &["committed", "aborted"]),
        ("paxos", "chosen", &["7", "8"]),
    ] {
        let called = synod(&place.0, &["cluster", algorithm, "--nodes", "3", "--json"]);
        assert_eq!(called.exit, 0, "{}\n{}", called.stdout, called.stderr);
        let lines = called.lines();
        let agreed = lines.iter().find(|line| line["event"] == "agreed").expect("agreement");
        let value = agreed[name].as_str().expect("a value");
        assert!(values.contains(&value), "{algorithm}: {value}");
        assert_eq!(agreed["agreed"], 3);
    }
}

/// A cluster that runs until it is told to end, with its keys in `place`, and what it says.
fn lasting(place: &Path) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut cluster = Command::new(env!("CARGO_BIN_EXE_synod"))
        .args(["cluster", "bully", "--nodes", "2", "--for", "60", "--json"])
        .env("TMPDIR", place)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the cluster starts");
    let mut said = BufReader::new(cluster.stdout.take().expect("piped")).lines();
    let elected = said.next().expect("a line").expect("UTF-8");
    assert!(elected.contains("\"event\":\"elected\""), "{elected}");
    (cluster, said)
}

fn entries(directory: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// Tells a cluster to end, and waits until it has.
fn end(cluster: &mut Child) {
    let told = Command::new("kill").args(["-TERM", &cluster.id().to_string()]).status();
    assert!(told.expect("kill runs").success());
    assert_eq!(cluster.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_cluster_that_is_told_to_end_leaves_no_keys_behind() {
    let place = Place::new("told");
    let (mut cluster, mut said) = lasting(&place.0);
    assert_eq!(entries(&place.0).len(), 1);
    end(&mut cluster);
    assert!(said.next().expect("a line").expect("UTF-8").contains("\"event\":\"ended\""));
    assert_eq!(entries(&place.0).len(), 0);
}

#[test]
fn the_keys_of_a_cluster_that_was_killed_are_removed_by_the_next_one_and_nothing_else_is() {
    let place = Place::new("dead-cluster");
    let others = ["synod-cluster-notes", "synod-other"].map(|name| place.0.join(name));
    others.iter().for_each(|other| fs::create_dir(other).expect("made"));
    fs::write(others[1].join("lock"), "").expect("written");
    let (mut live, _said) = lasting(&place.0);
    let kept = entries(&place.0);
    let (mut killed, _said) = lasting(&place.0);
    killed.kill().expect("it runs");
    killed.wait().expect("it ends");
    assert_eq!(entries(&place.0).len(), kept.len() + 1, "nobody could remove it");
    let (mut next, _said) = lasting(&place.0);
    end(&mut next);
    assert_eq!(entries(&place.0), kept);
    end(&mut live);
    assert_eq!(entries(&place.0), others.into());
}

#[test]
fn three_nodes_started_by_hand_form_a_cluster() {
    let place = Place::new("by-hand");
    let bundles = cluster(&place.0, "demo", &["n1", "n2", "n3"]);
    let mut nodes: Vec<Running> = bundles.iter().map(|bundle| Running::node(bundle)).collect();
    for node in &mut nodes {
        node.says(&["\"event\":\"state\"", "\"leader\":\"n3\""]);
    }
}

#[test]
fn nodes_that_know_one_seed_find_each_other_and_start_when_all_are_there() {
    let place = Place::new("seeds");
    let bundles = issue_seeded(&place.0);
    let mut seed = Running::configured(&bundles[0], &["--start-after", "2"]);
    let started = seed.says(&["\"event\":\"started\"", "\"node\":\"n1\""]);
    let started: Value = serde_json::from_str(&started).expect("JSON");
    // Every interface, so that others tell it where it is; the first one is told by its peers.
    let port = started["address"].as_str().and_then(|it| it.rsplit(':').next()).expect("a port");
    let seeded = format!("n1=127.0.0.1:{port}");
    let flags = ["--seed", &seeded, "--start-after", "2"];
    let mut others = [1, 2].map(|at| Running::configured(&bundles[at], &flags));
    for node in others.iter_mut().chain([&mut seed]) {
        node.says(&["\"event\":\"state\"", "\"leader\":\"n3\""]);
    }
    others[1].says(&["\"event\":\"link\"", "\"peer\":\"n2\"", "\"up\":true"]);
}

/// Three nodes, none of which is said to be anywhere.
fn issue_seeded(place: &Path) -> Vec<PathBuf> {
    let ca = place.join("demo");
    let ca = ca.to_str().expect("UTF-8");
    assert_eq!(synod(place, &["cert", "init", ca]).exit, 0);
    let nodes = ["n1=:0", "n2=:0", "n3=:0"];
    let args = [&["cert", "issue", "--ca", ca, "--out", ca][..], &nodes].concat();
    let issued = synod(place, &args);
    assert_eq!(issued.exit, 0, "{}", issued.stderr);
    ["n1", "n2", "n3"].map(|node| place.join("demo").join(format!("{node}.synod"))).into()
}

#[test]
fn a_seed_that_is_no_node_and_a_barrier_that_cannot_open_are_told_before_anything_is_opened() {
    let place = Place::new("wrong-seeds");
    let bundle = cluster(&place.0, "demo", &["n1", "n2"]).remove(0);
    let bundle = bundle.to_str().expect("UTF-8");
    for (flags, words) in [
        (["--seed", "n9=127.0.0.1:1"], ["n9 is no node of the bundle", "n1, n2"]),
        (["--start-after", "2"], ["`start_after`: 2 peers", "0 to 1"]),
        (["--seed", "n1"], ["--seed", "expected NODE=HOST:PORT"]),
    ] {
        let called = synod(&place.0, &[&["node", bundle][..], &flags].concat());
        assert_eq!(called.exit, 2, "{}", called.stderr);
        assert!(words.iter().all(|word| called.stderr.contains(word)), "{}", called.stderr);
    }
}

#[test]
fn keys_are_private_and_never_overwritten() {
    let place = Place::new("keys");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let key = place.0.join("demo").join("ca.key");
    for file in bundles.iter().chain([&key]) {
        let mode = fs::metadata(file).expect("written").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    let before = fs::read(&bundles[0]).expect("a bundle");
    let again = synod(&place.0, &["cert", "init", "demo"]);
    assert_eq!(again.exit, 6);
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    let reissued =
        synod(&place.0, &["cert", "issue", "--ca", "demo", "--out", "demo", "n1=127.0.0.1:7400"]);
    assert_eq!(reissued.exit, 6);
    assert_eq!(fs::read(&bundles[0]).expect("a bundle"), before);
}

#[test]
fn a_certificate_is_inspected() {
    let place = Place::new("inspect");
    let bundles = cluster(&place.0, "demo", &["n1"]);
    let called =
        synod(&place.0, &["cert", "inspect", bundles[0].to_str().expect("UTF-8"), "--json"]);
    let facts = called.last();
    assert_eq!(facts["node"], "n1");
    assert_eq!(facts["cluster"], "demo");
    assert!(facts["days_left"].as_u64().is_some_and(|days| (88..=90).contains(&days)));
}

/// Puts the peers of one bundle into another, so that nodes of two clusters meet.
fn with_peers_of(bundle: &Path, other: &Path) {
    let text = fs::read_to_string(bundle).expect("a bundle");
    let peers = fs::read_to_string(other).expect("a bundle");
    let (_, peers) = peers.split_once("[peers]").expect("peers");
    let (own, _) = text.split_once("[peers]").expect("peers");
    let listen = |text: &str| {
        text.lines().find(|line| line.starts_with("listen")).map(String::from).expect("listen")
    };
    let own = own.replace(&listen(own), &listen(&fs::read_to_string(other).expect("a bundle")));
    fs::write(bundle, format!("{own}[peers]{peers}")).expect("written");
}

#[test]
fn a_bundle_of_another_authority_is_refused_on_both_sides() {
    let place = Place::new("other-ca");
    let ours = cluster(&place.0, "demo", &["n1", "n2"]);
    let theirs = issue_elsewhere(&place.0);
    with_peers_of(&theirs, &ours[1]);
    let mut n1 = Running::node(&ours[0]);
    let mut stranger = Running::node(&theirs);
    let here = n1.says(&["certificate of n2 is of another authority"]);
    let there = stranger.says(&["certificate of n1 is of another authority"]);
    for line in [here, there] {
        assert!(line.contains("cert renew") && line.contains("cert trust"), "what to do: {line}");
        assert!(!line.contains("peer=somebody"), "a field names a peer or is not there: {line}");
    }
}

/// A second authority with the same cluster name, and its bundle for n2.
fn issue_elsewhere(place: &Path) -> PathBuf {
    let other = place.join("elsewhere");
    fs::create_dir_all(&other).expect("a directory");
    let bundles = cluster(&other, "demo", &["n1", "n2"]);
    bundles.into_iter().next_back().expect("two bundles")
}

#[test]
fn an_expired_bundle_is_refused_before_a_socket_is_opened() {
    let place = Place::new("expired");
    let bundle = cluster(&place.0, "demo", &["n1"]).remove(0);
    let authority = Authority::read(&place.0.join("demo")).expect("an authority");
    let mut expired = Bundle::read(&bundle).expect("a bundle");
    expired.credentials = authority.issue(expired.node, Duration::ZERO).expect("a certificate");
    expired.replace(&bundle).expect("written");
    thread::sleep(Duration::from_millis(1_100)); // Certificates count in seconds.
    let called = synod(&place.0, &["node", bundle.to_str().expect("UTF-8")]);
    assert_eq!(called.exit, 6);
    assert!(called.stderr.contains("expired"), "{}", called.stderr);
    assert!(called.stderr.contains("n1.synod`: "), "{}", called.stderr);
}

#[test]
fn a_bundle_whose_certificate_is_of_another_node_or_cluster_is_refused_by_its_file_and_both_names()
{
    let place = Place::new("other-node");
    let bundles = cluster(&place.0, "demo", &["n1", "n2"]);
    let text = fs::read_to_string(&bundles[1]).expect("a bundle");
    for (own, others, words) in [
        ("node = \"n2\"", "node = \"n1\"", "is that of n2, and this is n1"),
        ("cluster = \"demo\"", "cluster = \"prod\"", "cluster `demo`, and n2 to `prod`"),
    ] {
        fs::write(&bundles[1], text.replace(own, others)).expect("written");
        let called = synod(&place.0, &["node", bundles[1].to_str().expect("UTF-8")]);
        assert_eq!(called.exit, 2, "{}", called.stderr);
        let told = ["n2.synod`: ", words, "bundle"];
        assert!(told.iter().all(|words| called.stderr.contains(words)), "{}", called.stderr);
    }
}

#[test]
fn only_a_leader_is_killed_as_one_and_nodes_without_one_come_to_what_a_simulation_says() {
    let place = Place::new("no-leader");
    let called = synod(&place.0, &["cluster", "echo", "--kill-leader"]);
    assert_eq!(called.exit, 2, "{}", called.stderr);
    assert!(called.stderr.contains("echo elects no leader"), "{}", called.stderr);
    let called = synod(&place.0, &["cluster", "hello", "--kill-leader"]);
    let told = "hello elects no leader: its summary() names no `leader`, nor `chosen`, `outcome`";
    assert!(called.exit == 2 && called.stderr.contains(told), "{}", called.stderr);
    let called = synod(&place.0, &["cluster", "hello", "--nodes", "2"]);
    assert_eq!(called.exit, 0, "{}", called.stderr);
    assert!(called.stdout.contains("n2 goodbyes:0 greeted:Bob"), "{}", called.stdout);
}

#[test]
fn what_clients_of_deployed_nodes_saw_is_judged() {
    // The read may return after the nodes agree: on a busy machine long after.
    let mut judged = ["1", "4", "16"].into_iter().map(judged_after);
    assert!(judged.any(|told| told.contains("2 operations (0 more failed), 0 of them open")));
}

/// What is said of the clients of a cluster that goes on for so many seconds after its nodes agree.
fn judged_after(seconds: &str) -> String {
    let place = Place::new(&format!("cluster-history-{seconds}"));
    let recorded = ["cluster", "abd", "--nodes", "3", "--for", seconds, "--record", "recordings"];
    let files = ["n1", "n2", "n3"].map(|node| format!("recordings/{node}.recording"));
    let merged = ["trace", "merge", &files[0], &files[1], &files[2], "--out", "run.jsonl"];
    let history = ["trace", "convert", "run.jsonl", "--to", "history", "--out", "history.jsonl"];
    let checked = ["history", "check", "history.jsonl", "--model", "register"];
    let [_, _, _, told] = [&recorded[..], &merged, &history, &checked].map(|args| {
        let called = synod(&place.0, args);
        assert_eq!(called.exit, 0, "{args:?}: {}", called.stderr);
        called.stdout
    });
    assert!(told.contains("✓ linearizable as a register"), "{told}");
    told
}
