//! Simulating, checking, replaying.

use std::fs;
use std::process::{Command, Stdio};

use crate::{Called, Place, synod};

#[test]
fn a_thousand_worlds_within_the_model_hold_every_property() {
    let place = Place::new("sim");
    let called = synod(&place.0, &["sim", "bully", "--nodes", "5", "--seeds", "1000", "--json"]);
    assert_eq!(called.exit, 0, "{}", called.stderr);
    assert!(called.stdout.contains("\"runs\":1000,\"violations\":0"), "{}", called.stdout);
    let last = called.last();
    assert!(last["delivered"].as_u64().is_some_and(|delivered| delivered > 100_000));
    assert_eq!(last["simulated_seconds"], 20_000);
}

#[test]
fn outside_the_model_the_violation_is_kept_and_replays_to_the_same_bytes() {
    let place = Place::new("partition");
    let asked =
        ["sim", "bully", "--nodes", "5", "--seeds", "1000", "--faults", "partition", "--json"];
    let called = synod(&place.0, &asked);
    assert_eq!(called.exit, 1);
    let last = called.last();
    assert_eq!(last["property"], "at most one node leads");
    assert_eq!(last["dropped"][0], "there are no partitions");
    assert_eq!((&last["drew"]["nodes"], &last["drew"]["partitions"]), (&5.into(), &2.into()));
    assert_eq!(last["strategy"], "random");
    let declared = last["place"].as_str().expect("where the property is declared");
    assert!(declared.starts_with("algorithms/src/election/bully.rs:"), "{declared}");
    assert!(last["seed"].is_u64());
    let file = last["schedule"].as_str().expect("a file");
    let replays = [(); 2].map(|()| synod(&place.0, &["replay", file, "--json"]));
    for replayed in &replays {
        assert_eq!(replayed.exit, 1, "{}", replayed.stderr);
        assert_eq!(replayed.last()["trace_hash"], last["trace_hash"]);
        assert_eq!(replayed.last()["property"], last["property"]);
    }
    assert_eq!(replays[0].stdout, replays[1].stdout);
}

#[test]
fn traitors_and_nodes_that_leave_are_asked_for_by_name_and_their_violation_replays() {
    let place = Place::new("byzantine");
    let asked = ["sim", "bully", "--seeds", "200", "--faults", "byzantine,leave", "--json"];
    let called = synod(&place.0, &asked);
    assert_eq!(called.exit, 1, "{}", called.stderr);
    let last = called.last();
    assert_eq!(last["dropped"][0], "every node follows the algorithm until it stops");
    assert_eq!(last["within_model"], false);
    let file = last["schedule"].as_str().expect("a file");
    let replayed = synod(&place.0, &["replay", file, "--json"]);
    assert_eq!((replayed.exit, &replayed.last()["trace_hash"]), (1, &last["trace_hash"]));
    let as_test = synod(&place.0, &["replay", file, "--as-test"]);
    assert!(as_test.stdout.contains("traitors: "), "{}", as_test.stdout);
    for command in ["sim", "check", "sweep", "cluster"] {
        let help = synod(&place.0, &[command, "--help"]).stdout;
        assert!(help.contains("The algorithm's name: bully, chang-roberts, hello"), "{help}");
    }
    let help = synod(&place.0, &["sim", "--help"]).stdout;
    assert!(help.contains("leave, byzantine"), "{help}");
}

#[test]
fn nodes_that_leave_are_counted_and_survived_where_the_model_survives_crashes() {
    let place = Place::new("leave");
    let called =
        synod(&place.0, &["sim", "bully", "--seeds", "100", "--faults", "leave", "--json"]);
    assert_eq!(called.exit, 0, "{}", called.stderr);
    let last = called.last();
    assert!(last["leaves"].as_u64().is_some_and(|leaves| 50 < leaves), "{last}");
    assert_eq!((&last["traitors"], last["dropped"].as_array().map(Vec::len)), (&0.into(), Some(0)));
}

#[test]
fn an_edited_schedule_that_no_longer_fails_has_an_exit_code_of_its_own() {
    let place = Place::new("edited");
    let asked = ["sim", "bully", "--seeds", "10", "--faults", "partition", "--json"];
    let file = place.0.join(synod(&place.0, &asked).last()["schedule"].as_str().expect("a file"));
    let text = fs::read_to_string(&file).expect("the schedule");
    let calm: Vec<&str> = text.lines().filter(|line| !line.contains("partition.side")).collect();
    fs::write(&file, calm.join("\n") + "\ndecide delay bully.retired n1>n2 #1 = 5\n")
        .expect("written");
    let called = synod(&place.0, &["replay", file.to_str().expect("UTF-8")]);
    assert_eq!(called.exit, 4);
    let gone = "  no longer asked for: delay bully.retired n1>n2 #1 = 5\n";
    assert!(called.stdout.contains(gone), "{}", called.stdout);
    assert!(called.stderr.contains("no longer violates `at most one node leads`"));
}

#[test]
fn every_schedule_of_three_nodes_is_visited() {
    let place = Place::new("check");
    let called = synod(&place.0, &["check", "bully", "--nodes", "3", "--json"]);
    assert_eq!(called.exit, 0, "{}", called.stderr);
    assert!(called.stdout.contains("\"states\":51221,\"complete\":true,\"violations\":0"));
}

#[test]
fn without_a_bound_on_delays_a_shortest_violation_is_found() {
    let place = Place::new("unbounded");
    let asked = ["check", "bully", "--nodes", "3", "--timing", "unbounded", "--json"];
    let called = synod(&place.0, &asked);
    assert_eq!(called.exit, 1);
    let last = called.last();
    assert_eq!(last["dropped"][0], "message delays are bounded");
    let file = last["schedule"].as_str().expect("a file");
    let replayed = synod(&place.0, &["replay", file, "--json"]);
    assert_eq!((replayed.exit, &replayed.last()["trace_hash"]), (1, &last["trace_hash"]));
}

#[test]
fn clocks_that_run_early_or_late_are_explored_and_replayed() {
    let place = Place::new("timers");
    let asked = ["check", "bully", "--nodes", "2", "--crashes", "0", "--timers"];
    let exact = synod(&place.0, &[&asked[..], &["100..100", "--json"]].concat());
    assert_eq!((exact.exit, &exact.lines()[0]["timers"]), (0, &"100..100".into()));
    let told = synod(&place.0, &[&asked[..], &["50..150"]].concat()).stdout;
    assert!(told.contains("· timers fire within 50..150 % of their time ·"), "{told}");
    let called = synod(&place.0, &[&asked[..], &["50..150", "--json"]].concat());
    let last = called.last();
    assert_eq!((called.exit, &last["timers"]), (1, &"50..150".into()));
    assert_eq!(last["dropped"][0], "clocks run at one speed");
    let file = last["schedule"].as_str().expect("a file");
    let replayed = synod(&place.0, &["replay", file, "--json"]);
    assert_eq!((replayed.exit, &replayed.last()["trace_hash"]), (1, &last["trace_hash"]));
    let unbounded = ["50..150", "--timing", "unbounded"];
    assert_eq!(synod(&place.0, &[&asked[..], &unbounded[..]].concat()).exit, 2);
}

#[test]
fn an_estimate_without_end_says_so() {
    let place = Place::new("no-end");
    let called = synod(
        &place.0,
        &["check", "paxos", "--nodes", "5", "--timing", "unbounded", "--estimate=1"],
    );
    assert_eq!(called.exit, 0, "{}", called.stderr);
    let told = called.stdout.contains("  no end in sight after ");
    assert!(told && !called.stdout.contains(" inf "), "{}", called.stdout);
}

#[test]
fn a_bound_that_cuts_is_not_a_pass() {
    let place = Place::new("cut");
    for (bound, cut) in [
        (["--max-states", "100"], "states"),
        (["--max-depth", "4"], "depth"),
        (["--max-time", "0"], "time"),
    ] {
        let called = synod(&place.0, &[&["check", "bully", "--json"], &bound[..]].concat());
        assert_eq!(called.exit, 3, "{bound:?}: {}", called.stderr);
        assert!(called.stderr.contains("not every state was visited"), "{}", called.stderr);
        let lines = called.lines();
        let line = lines.iter().find(|line| line["event"] == "check").expect("a result");
        assert_eq!((&line["complete"], &line["cut"]), (&false.into(), &cut.into()));
        assert!(0 < line["peak_bytes"].as_u64().unwrap_or(1));
    }
}

#[test]
fn there_are_several_ways_to_the_same_verdict() {
    let place = Place::new("ways");
    let states = |way: &[&str]| {
        let called = synod(&place.0, &[&["check", "hello", "--json"], way].concat());
        assert_eq!(called.exit, 0, "{way:?}: {}", called.stderr);
        let lines = called.lines();
        let line = lines.iter().find(|line| line["event"] == "check").expect("a result").clone();
        assert_eq!((&line["complete"], &line["violations"]), (&true.into(), &0.into()));
        line["states"].clone()
    };
    let breadth = states(&["--threads", "1"]);
    assert_eq!(breadth, states(&["--threads", "2"]));
    assert_eq!(breadth, states(&["--order", "depth"]));
    assert_eq!(breadth, states(&["--live"]));
    let called = synod(&place.0, &["check", "bully", "--reduce"]);
    assert_eq!(called.exit, 2);
    assert!(called.stderr.contains("looks at several nodes at one moment"), "{}", called.stderr);
    let called = synod(&place.0, &["check", "chang-roberts", "--estimate", "--json"]);
    assert_eq!(called.exit, 0, "{}", called.stderr);
    assert_eq!(called.lines()[0]["probes"], 100);
    let called = synod(&place.0, &["check", "chang-roberts", "--estimate=9"]);
    assert!(called.stderr.ends_with("check chang-roberts --max-time 1m\n"), "{}", called.stderr);
}

#[test]
fn the_same_seed_says_the_same_on_every_run() {
    let place = Place::new("same");
    let asked = ["sim", "bully", "--seeds", "50", "--faults", "loss,delay", "--ascii"];
    let [one, other] = [(); 2].map(|()| synod(&place.0, &asked));
    assert_eq!((one.stdout, one.exit), (other.stdout, other.exit));
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect()
}

#[test]
fn mistakes_are_named_and_have_their_exit_codes() {
    let place = Place::new("mistakes");
    let damaged = place.0.join("damaged.schedule");
    fs::write(&damaged, "synod schedule 1\nalgorithm bully\nsettings {}\n").expect("written");
    let damaged = damaged.to_str().expect("UTF-8");
    let all_traitors = place.0.join("traitors.schedule");
    let settings = r#"{"nodes":2,"time_us":20000000,"delay_min_us":1000,"delay_max_us":100000,
        "tail":0,"tail_max_us":0,"lose":0,"lose_datagram":0,"duplicate":0,"crashes":0,"down_max":1,
        "down_us":0,"partitions":0,"partition_us":0,"traitors":2}"#;
    let text = format!("synod schedule 1\nalgorithm bully\nsettings {}\n", one_line(settings));
    fs::write(&all_traitors, text).expect("written");
    let all_traitors = all_traitors.to_str().expect("UTF-8");
    let no_text = "bytes.schedule";
    fs::write(place.0.join(no_text), b"synod schedule 1\n\xff\xfe").expect("written");
    let no_algorithm = "other.schedule";
    let no_question = "question.schedule";
    let calm = settings.replace("\"traitors\":2", "\"traitors\":0");
    let text = format!("synod schedule 1\nalgorithm other\nsettings {}\n", one_line(&calm));
    fs::write(place.0.join(no_algorithm), &text).expect("written");
    let bully = "bully.schedule";
    fs::write(place.0.join(bully), text.replace("algorithm other", "algorithm bully"))
        .expect("written");
    let text =
        text.replace("algorithm other", "algorithm bully") + "decide partition.sied 1 #1 = 1\n";
    fs::write(place.0.join(no_question), text).expect("written");
    for (args, exit, says) in [
        (&["sim", "bullly"][..], 2, "known here: bully, chang-roberts, hello"),
        (&["sim", "bully", "--nodes", "0"], 2, "--nodes"),
        (&["sim", "bully", "--seeds", "0"], 5, "no seed"),
        (&["sim", "bully", "--faults", "gremlins"], 2, "partition"),
        (&["sim", "bully", "--faults", "none,byzantine"], 2, "leave `none` out"),
        (&["sim", "bully", "--nodes", "1..3", "--faults", "leave"], 2, "2 nodes at least"),
        (&["sim", "bully", "--nodes", "1", "--faults", "partition"], 2, "2 nodes at least"),
        (&["sim", "hello", "--near", no_question], 2, "no run asks `partition.sied`"),
        (&["sim", "hello", "--near", bully], 2, "is a run of bully, not of hello"),
        (&["sim", "bully", "--link", "1-2"], 2, "expected `1-2=80..120`"),
        (&["sim", "bully", "--nodes", "3", "--link", "1-4=5"], 2, "not between two of 3 nodes"),
        (&["sim", "bully", "--link", "1-2=5", "--link", "2>1=4"], 2, "once for each link"),
        (&["sim", "bully", "--requests", "3"], 2, "`bully` offers clients nothing to ask for"),
        (&["sim", "abd", "--requests", "10001"], 2, "0..=10000"),
        (&["replay", all_traitors], 2, "`traitors` is 2 of 2 nodes: 0 to 1"),
        (&["check", "hello", "--timing", "bounded"], 2, "leave --timing out"),
        (&["check", "hello", "--timers", "80..150"], 2, "without a bound on delays"),
        (&["check", "bully", "--timers", "150..80"], 2, "1 <= MIN <= MAX <= 1000"),
        (&["check", "bully", "--timers", "0..80"], 2, "`0..80` is no window of timers"),
        (&["check", "bully", "--timers", "late"], 2, "expected MIN..MAX in per cent"),
        (&["check", "hello", "--crashes", "2"], 2, "at most 0 can crash"),
        (&["check", "bully", "--crashes", "0", "--recoveries", "1"], 2, "lower --recoveries"),
        (&["check", "hello", "--threads", "0"], 2, "1 to 256"),
        (&["check", "hello", "--max-time", "soon"], 2, "expected a time such as 500ms"),
        (&["check", "--estimate", "hello", "--max-time", "1s"], 2, "cannot be used with"),
        (&["check", "--estimate=4294967295", "hello"], 2, "1..=1000000"),
        (&["sim", "bully", "--seed", "18446744073709551615"], 2, "leaves no room for 1000 seeds"),
        (&["sim", "bully", "--time", "0"], 2, "--time"),
        (&["replay", "/dev/zero"], 2, "has more than the"),
        (&["replay", no_question], 2, "no run asks `partition.sied`"),
        (&["replay", no_text], 2, "line 2: not UTF-8"),
        (&["why", no_algorithm], 2, "`other.schedule`: there is no algorithm `other`"),
        (&["cluster", "bully", "--timeout", "18446744073709551615"], 2, "--timeout"),
        (&["replay", "nowhere.schedule"], 6, "cannot read `nowhere.schedule`"),
        (&["replay", damaged], 2, "line 3: missing field `nodes`"),
        (&["frobnicate"], 2, "frobnicate"),
        (&["cert", "issue", "n0=127.0.0.1:1"], 2, "`n0` is not a node"),
    ] {
        let called = synod(&place.0, args);
        assert_eq!(called.exit, exit, "{args:?}: {}", called.stderr);
        assert!(called.stderr.contains(says), "{args:?}: {}", called.stderr);
    }
}

#[test]
fn runs_without_a_violation_tell_too_what_they_did_not_keep_of_the_model() {
    let place = Place::new("beyond");
    let sim = ["sim", "bully", "--nodes", "3", "--seeds", "20"];
    let far = synod(&place.0, &[&sim[..], &["--link", "1-2=80..120"]].concat());
    assert_eq!(far.exit, 0, "{}", far.stderr);
    let told = "outside the model: dropped the assumption that message delays are bounded";
    assert!(far.stdout.contains(told), "{}", far.stdout);
    assert!(!synod(&place.0, &sim).stdout.contains("outside the model"));
}

#[test]
fn programs_are_told_of_a_wrong_command_line_in_json_too() {
    let place = Place::new("wrong-json");
    for args in [&["sim", "--json"][..], &["--json", "frobnicate"], &["sim", "bully", "--json"]] {
        let wrong = [args, &["--nonsense"]].concat();
        let last = synod(&place.0, &wrong).last();
        assert_eq!((&last["event"], &last["exit"]), (&"error".into(), &2.into()), "{wrong:?}");
        assert!(last["what"].as_str().is_some_and(|what| !what.is_empty()), "{last}");
    }
    assert_eq!(synod(&place.0, &["sim", "--nonsense"]).stdout, "");
}

#[test]
fn a_violation_is_told_even_if_its_schedule_cannot_be_kept() {
    let place = Place::new("not-kept");
    fs::write(place.0.join("file"), "not a directory").expect("written");
    let sim = ["sim", "bully", "--faults", "partition", "--out", "file"];
    let check = ["check", "bully", "--timing", "unbounded", "--out", "file"];
    for args in [&sim[..], &check] {
        let called = synod(&place.0, args);
        assert_eq!(called.exit, 6, "{}", called.stderr);
        assert!(called.stdout.contains("✗ at most one node leads: n"), "{}", called.stdout);
        assert!(called.stderr.contains("cannot make `file`"), "{}", called.stderr);
        let told = synod(&place.0, &[args, &["--json"]].concat());
        let found = told.lines().into_iter().rev().find(|line| line["violations"] == 1);
        assert!(found.is_some_and(|line| line["schedule"].is_null()), "{}", told.stdout);
    }
}

#[test]
fn a_result_that_cannot_be_written_is_no_success() {
    // A device of Linux that is always full.
    let Ok(full) = fs::File::options().write(true).open("/dev/full") else { return };
    let place = Place::new("full");
    for args in
        [&["sim", "bully", "--seeds", "1"][..], &["sweep", "bully", "--seeds", "1", "--json"]]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
        let output =
            command.args(args).current_dir(&place.0).stdout(full.try_clone().expect("two"));
        let output = output.stderr(Stdio::piped()).output().expect("the binary starts");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(6), "{told}");
        assert!(told.contains("cannot write to the standard output"), "{told}");
    }
}

#[test]
fn no_result_is_written_over_what_it_comes_from() {
    let place = Place::new("spared");
    let called = synod(&place.0, &["sim", "bully", "--faults", "partition", "--out", "."]);
    assert_eq!(called.exit, 1, "{}", called.stderr);
    let schedule = "bully-0.schedule";
    let before = fs::read(place.0.join(schedule)).expect("the schedule");
    let called = synod(&place.0, &["replay", schedule, "--trace", "./bully-0.schedule"]);
    assert_eq!(called.exit, 2, "{}", called.stderr);
    assert!(called.stderr.contains("is what is read"), "{}", called.stderr);
    assert_eq!(fs::read(place.0.join(schedule)).expect("the schedule"), before);
}

#[test]
fn what_is_suggested_next_can_be_done() {
    let place = Place::new("suggested");
    for (asked, next) in [
        (&["check", "hello"][..], "cluster hello --nodes 5"),
        (&["check", "echo"], "cluster echo --nodes 5"),
        (&["check", "bully", "--crashes", "0"], "cluster bully --nodes 5 --kill-leader"),
    ] {
        let called = synod(&place.0, asked);
        let line = called.stderr.lines().last().expect("a line").to_owned();
        assert!(line.starts_with("next: ") && line.ends_with(next), "{line}");
        let words: Vec<&str> = next.split(' ').collect();
        let called = synod(&place.0, &words);
        assert_eq!(called.exit, 0, "{next}: {}", called.stderr);
    }
}

#[test]
fn the_last_line_says_what_to_type_next_whatever_the_outcome() {
    let place = Place::new("next");
    let schedule = "out/bully-0.schedule";
    let found = ["sim", "bully", "--faults", "partition", "--seeds", "10", "--out", "out"];
    for (asked, exit, next) in [
        (&found[..], 1, "replay out/bully-0.schedule"),
        (&["replay", schedule][..], 1, "why out/bully-0.schedule"),
        (&["why", schedule, "--runs", "5"], 0, "replay out/bully-0.schedule --full"),
        (&["trace", "convert", schedule, "--to", "csv"], 0, "--to html --out run.html"),
        (&["cluster", "hello", "--kill-leader"], 2, "  leave --kill-leader out"),
    ] {
        let called = synod(&place.0, asked);
        assert_eq!(called.exit, exit, "{asked:?}: {}", called.stderr);
        let line = called.stderr.lines().last().expect("a line").to_owned();
        assert!(line.ends_with(next) && (exit == 2 || line.starts_with("next: ")), "{line}");
    }
}

#[test]
fn the_bounds_that_a_check_was_asked_for_stand_in_its_result() {
    let place = Place::new("bounds");
    let asked = ["check", "hello", "--losses", "2", "--copies", "1", "--unordered"];
    let heading = synod(&place.0, &asked).stdout;
    for words in ["0 crashes", "2 lost datagrams", "1 repeated message", "overtake each other"] {
        assert!(heading.contains(words), "{words}: {heading}");
    }
    let last = synod(&place.0, &[&asked[..], &["--json"]].concat()).last();
    assert_eq!((&last["losses"], &last["copies"]), (&2.into(), &1.into()));
    assert_eq!((&last["unordered"], &last["lossy"]), (&true.into(), &false.into()));
    let told = synod(&place.0, &["check", "hello", "--lossy"]).stdout;
    assert!(told.contains("any number of lost messages"), "{told}");
    let told = synod(&place.0, &["check", "paxos", "--max-states", "100", "--losses", "1"]).stdout;
    for words in ["1 lost datagram", "– lost messages: not explored", "– repeated messages: not"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn where_messages_come_again_for_ever_nothing_that_needs_rest_is_claimed() {
    let place = Place::new("for-ever");
    let asked = ["check", "hello", "--copies", "any", "--unordered", "--max-states", "100"];
    let called = synod(&place.0, &asked);
    assert_eq!(called.exit, 3, "every copy of a goodbye counts: {}", called.stdout);
    for words in ["any number of times", "not checked, messages come again for ever"] {
        assert!(called.stdout.contains(words), "{words}: {}", called.stdout);
    }
    let told = synod(&place.0, &[&asked[..], &["--json"]].concat()).stdout;
    let check = told.lines().find(|line| line.contains(r#""event":"check""#)).expect("a result");
    for member in [r#""copies":null"#, r#""skipped":["everybody is greeted and says goodbye"]"#] {
        assert!(check.contains(member), "{member}: {check}");
    }
    let wrong = synod(&place.0, &["check", "hello", "--copies", "many"]);
    assert_eq!(wrong.exit, 2);
    assert!(wrong.stderr.contains("expected a number, or `any`"), "{}", wrong.stderr);
}

#[test]
fn every_command_has_help_with_examples() {
    let place = Place::new("help");
    for command in ["sim", "check", "replay", "cluster", "node", "cert"] {
        let called = synod(&place.0, &[command, "--help"]);
        assert_eq!(called.exit, 0);
        assert!(called.stdout.contains("Examples:"), "{command}");
    }
}

#[test]
fn the_rest_of_the_library_is_simulated_and_checked_too() {
    let place = Place::new("library");
    for algorithm in ["hello", "chang-roberts", "echo", "abd"] {
        for command in ["sim", "check"] {
            let called = synod(&place.0, &[command, algorithm, "--json"]);
            assert_eq!(called.exit, 0, "{command} {algorithm}: {}", called.stderr);
            assert_eq!(called.last()["violations"], 0);
        }
    }
    let called = synod(&place.0, &["check", "abd"]);
    assert!(called.stdout.contains("✓ clients see one register"), "{}", called.stdout);
    for algorithm in ["two-phase-commit", "paxos"] {
        let called = synod(&place.0, &["sim", algorithm, "--json"]);
        assert_eq!(called.exit, 0, "sim {algorithm}: {}", called.stderr);
        let last = called.last();
        assert!(last["crashes"].as_u64() > Some(0), "{last}");
        assert!(last["delivered"].as_u64() > last["runs"].as_u64(), "somebody asks: {last}");
    }
}

#[test]
fn clients_ask_as_often_as_is_said_for_what_the_algorithm_offers() {
    let place = Place::new("requests");
    let asked = |most: &[&str]| {
        let args = [&["sim", "abd", "--seeds", "100", "--json"], most].concat();
        let called = synod(&place.0, &args);
        assert_eq!(called.exit, 0, "{most:?}: {}", called.stderr);
        called.last()["requests"].as_u64().expect("a number")
    };
    assert_eq!(asked(&["--requests", "0"]), 0);
    let (few, usual) = (asked(&["--requests", "2"]), asked(&[]));
    assert!((50..=200).contains(&few) && 2 * few < usual && usual <= 800, "{few} and {usual}");
    assert_eq!(asked(&["--requests", "0", "--faults", "none"]), 0);
}

#[test]
fn crashes_that_no_run_has_are_refused_with_what_was_asked_for() {
    let place = Place::new("no-crashes");
    for (args, exit, says) in [
        (&["sim", "abd", "--crashes", "3", "--faults", "none"][..], 2, "no node crashes"),
        (&["sim", "abd", "--crashes", "10001"], 2, "0..=10000"),
        (&["sim", "abd", "--crashes", "0", "--down", "1s"], 2, "no node crashes"),
        (&["sim", "abd", "--down", "2s..50ms"], 2, "expected MIN..MAX, such as 50ms..2s"),
        (&["sim", "abd", "--down", "0s"], 2, "expected MIN..MAX, such as 50ms..2s"),
        (
            &["sim", "hello", "--crashes", "1"],
            2,
            "`--crashes 1`: `hello` on 5 nodes claims to survive no crash",
        ),
        (
            &["sim", "abd", "--down", "1s"],
            2,
            "`--down 1s..1s`: a node of `abd` that has crashed never",
        ),
    ] {
        let called = synod(&place.0, args);
        assert_eq!(called.exit, exit, "{args:?}: {}", called.stderr);
        assert!(called.stderr.contains(says), "{args:?}: {}", called.stderr);
    }
}

#[test]
fn nodes_crash_as_often_and_are_down_for_as_long_as_is_said() {
    let place = Place::new("crashes");
    let asked = |flags: &[&str]| {
        let args = [&["sim", "paxos", "--seeds", "100", "--json"], flags].concat();
        let called = synod(&place.0, &args);
        assert_eq!(called.exit, 0, "{flags:?}: {}", called.stderr);
        called.last()["crashes"].as_u64().expect("a number")
    };
    assert_eq!(asked(&["--crashes", "0"]), 0);
    let (few, usual) = (asked(&["--crashes", "1"]), asked(&[]));
    let many = asked(&["--crashes", "9", "--down", "1ms..20ms"]);
    assert!(0 < few && few <= 100 && few < usual && 2 * usual < many, "{few}, {usual}, {many}");
}

#[test]
fn a_mistake_in_the_environment_is_told_to_be_there() {
    for (flags, is_there) in [(vec![], true), (vec!["--admin", "there"], false)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
        command.args(["node", "n1.synod"]).args(flags).env("SYNOD_ADMIN", "nowhere");
        let called = Called::from(command.output().expect("the binary starts"));
        assert_eq!(called.exit, 2, "{}", called.stderr);
        let told = called.stderr.contains("the value is that of SYNOD_ADMIN in the environment");
        assert_eq!(told, is_there, "{}", called.stderr);
    }
}

#[test]
fn the_environment_says_what_no_flag_does() {
    let place = Place::new("environment");
    let called = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
        command.args(args).current_dir(&place.0).envs(variables.iter().copied());
        Called::from(command.output().expect("the binary starts"))
    };
    let variables = [("SYNOD_SEED", "2"), ("SYNOD_RUNS", "2"), ("SYNOD_OUT", "elsewhere")];
    let asked = ["sim", "bully", "--faults", "partition", "--json"];
    let last = called(&asked, &variables).last();
    assert_eq!((&last["runs"], &last["seed"]), (&2.into(), &3.into()), "{last}");
    assert_eq!(last["schedule"], "elsewhere/bully-3.schedule");
    let flags = [&asked[..], &["--seed", "0", "--seeds", "1"]].concat();
    let last = called(&flags, &variables).last();
    assert_eq!((&last["runs"], &last["seed"]), (&1.into(), &0.into()), "{last}");
    let wrong = called(&asked, &[("SYNOD_SEED", "dice")]);
    assert_eq!(wrong.exit, 2, "{}", wrong.stderr);
    let says = "the value is that of SYNOD_SEED in the environment";
    assert!(wrong.stderr.contains(says), "{}", wrong.stderr);
}

#[test]
fn the_long_help_lists_every_variable_of_the_environment() {
    let place = Place::new("help-environment");
    let [long, short] = ["--help", "-h"].map(|flag| synod(&place.0, &[flag]).stdout);
    for line in [
        "  SYNOD_BUDGET       how long",
        "  SYNOD_OUT          --out of sim, check",
        "  SYNOD_REPLAY       one schedule",
        "  SYNOD_RUNS         --seeds of sim, sweep",
        "  SYNOD_SEED         --seed of sim, sweep",
        "  SYNOD_STORE        --store of node",
        "Examples:",
    ] {
        assert!(long.contains(line), "{line}: {long}");
    }
    assert!(short.contains("Examples:") && !short.contains("SYNOD_"), "{short}");
}
