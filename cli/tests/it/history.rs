//! Histories from files, judged on the command line.

use std::fs;

use crate::{Called, Place, synod};

const LOG: &str = "\
INFO  jepsen.util - 0\t:invoke\t:write\t1
INFO  jepsen.util - 0\t:ok\t:write\t1
INFO  jepsen.util - 1\t:invoke\t:cas\t[1 2]
INFO  jepsen.util - 2\t:invoke\t:read\tnil
INFO  jepsen.util - 2\t:ok\t:read\t2
INFO  jepsen.util - 1\t:info\t:cas\t:timed-out
INFO  jepsen.util - 2\t:invoke\t:read\tnil
INFO  jepsen.util - 2\t:ok\t:read\tVALUE
";

/// Judges a history in a file of its own.
fn check(name: &str, text: &str, args: &[&str]) -> Called {
    let place = Place::new(&format!("history-{name}"));
    fs::write(place.0.join("history"), text).expect("written");
    synod(&place.0, &[&["history", "check", "history"], args].concat())
}

#[test]
fn a_history_that_one_client_could_have_seen_passes() {
    let log = LOG.replace("VALUE", "2");
    let called = check("good", &log, &["--model", "cas-register"]);
    assert_eq!(called.exit, 0, "{}", called.stderr);
    assert!(
        called.stdout.contains("4 operations (0 more failed), 1 of them open"),
        "{}",
        called.stdout
    );
    assert!(called.stdout.contains("✓ linearizable as a cas-register"), "{}", called.stdout);
    assert!(called.stderr.contains("history check history"), "what next: {}", called.stderr);
}

#[test]
fn one_that_could_not_shows_the_smallest_part_and_why() {
    let log = LOG.replace("VALUE", "1");
    let called = check("bad", &log, &["--model", "cas-register", "--ascii"]);
    assert_eq!(called.exit, 1, "{}", called.stderr);
    for part in ["not linearizable", "| read -> 2 |", "| read -> 1 |", "has no place"] {
        assert!(called.stdout.contains(part), "{part}: {}", called.stdout);
    }
    assert!(called.stderr.contains("--consistency sequential"), "{}", called.stderr);
    let sequential = ["--model", "cas-register", "--consistency", "sequential"];
    assert_eq!(check("bad", &log, &sequential).exit, 1, "one client saw 2 before 1");
}

#[test]
fn a_stale_read_is_sequential_but_not_linearizable() {
    let edn = "[{:process 0 :type :invoke :f :write :value 1} {:process 0 :type :ok :f :write}
                {:process 1 :type :invoke :f :read} {:process 1 :type :ok :f :read :value 0}]";
    let judged = |more: &[&str]| {
        check("stale", edn, &[&["--model", "register", "--initial", "0"], more].concat()).exit
    };
    assert_eq!(judged(&[]), 1);
    assert_eq!(judged(&["--consistency", "sequential"]), 0);
    assert_eq!(judged(&["--format", "edn"]), 1);
    assert_eq!(judged(&["--format", "etcd"]), 2);
}

#[test]
fn programs_get_one_line() {
    for (value, exit, verdict) in [("2", 0, "linearizable"), ("1", 1, "not-linearizable")] {
        let log = LOG.replace("VALUE", value);
        let called = check("json", &log, &["--model", "cas-register", "--json"]);
        assert_eq!(called.exit, exit, "{}", called.stderr);
        assert_eq!(called.lines().len(), 1, "{}", called.stdout);
        let line = called.last();
        assert_eq!((&line["verdict"], &line["valid"]), (&verdict.into(), &(exit == 0).into()));
        assert_eq!((&line["operations"], &line["open"]), (&4.into(), &1.into()));
        assert_eq!(line["smallest"].is_array(), exit == 1);
    }
}

#[test]
fn a_history_without_operations_is_no_pass() {
    for text in ["[]", "{\"synod_history\": 1}\n"] {
        let called = check("nothing", text, &["--model", "register", "--json"]);
        assert_eq!(called.exit, 5, "{text}: {}{}", called.stdout, called.stderr);
        assert_eq!(called.lines().len(), 1, "{}", called.stdout);
        assert_eq!(called.last()["exit"], 5);
        assert!(called.stderr.contains("`history` has no operations"), "{}", called.stderr);
    }
}

#[test]
fn a_history_in_which_every_operation_failed_is_linearizable() {
    let failed = "[{:process 0 :type :invoke :f :write :value 1}
                   {:process 0 :type :fail :f :write :value 1}]";
    let called = check("failed", failed, &["--model", "register", "--json"]);
    assert_eq!(called.exit, 0, "{}{}", called.stdout, called.stderr);
    let line = &called.lines()[0];
    assert_eq!((&line["operations"], &line["failed"]), (&0.into(), &1.into()));
}

#[test]
fn a_time_limit_that_is_reached_is_no_verdict() {
    let log = LOG.replace("VALUE", "2");
    let called = check("limit", &log, &["--model", "cas-register", "--time-limit", "0s", "--json"]);
    assert_eq!(called.exit, 3, "{}", called.stderr);
    assert_eq!(
        (&called.last()["verdict"], &called.last()["valid"]),
        (&"unknown".into(), &().into())
    );
}

#[test]
fn bad_input_is_one_error_with_its_line() {
    let log = LOG.replace("VALUE", "1");
    let returned = log.replacen("0\t:invoke", "9\t:invoke", 1);
    let cut: String = log.chars().take(log.len() - 20).collect();
    for (text, args, says) in [
        (
            &returned,
            &["--model", "cas-register"][..],
            "line 2: process 0 returns a write that it never",
        ),
        (&cut, &["--model", "cas-register"], "line 8: "),
        (&log, &["--model", "register"], "line 3: the model has no operation cas"),
        (&log, &["--model", "kv"], "line 1: the write has no key"),
        (&log, &["--model", "paxos"], "invalid value 'paxos'"),
        (&log, &["--model", "mutex", "--initial", "1"], "no first value"),
        (&log, &["--model", "register", "--time-limit", "soon"], "expected a time"),
        (&String::from("what\n"), &["--model", "register"], "line 1: "),
        (&String::new(), &["--model", "register"], "line 1: "),
        (
            &String::from("{\"synod_trace\":1,\"algorithm\":\"abd\",\"nodes\":3}\n"),
            &["--model", "register"],
            "`trace convert --to history` makes one",
        ),
    ] {
        let called = check("refused", text, args);
        assert_eq!(called.exit, 2, "{says}: {}", called.stderr);
        assert!(called.stderr.contains(says), "{says}: {}", called.stderr);
        assert_eq!(called.stderr.matches("error: ").count(), 1, "{}", called.stderr);
    }
    let place = Place::new("history-absent");
    let called = synod(&place.0, &["history", "check", "absent", "--model", "register"]);
    assert_eq!(called.exit, 6, "{}", called.stderr);
    assert!(called.stderr.contains("cannot read `absent`"), "{}", called.stderr);
}
