//! Which step of a run decides.

use std::fs;

use crate::{Place, synod};

const SCHEDULE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/generated/partition.schedule");
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/generated/unbounded.schedule");

#[test]
fn the_curve_ends_at_a_hundred_percent_and_its_steepest_step_is_named() {
    let place = Place::new("why");
    for schedule in [SCHEDULE, PATH] {
        let called = synod(&place.0, &["why", schedule, "--json"]);
        assert_eq!(called.exit, 0, "{}", called.stderr);
        let lines = called.lines();
        let (last, points) = lines.split_last().expect("a result");
        assert_eq!((&last["event"], &last["complete"]), (&"why".into(), &true.into()));
        assert!(points.iter().all(|point| point["event"] == "point" && point["runs"] == 200));
        assert_eq!(points.first().expect("a point")["step"], serde_json::Value::Null);
        assert_eq!(points.last().expect("a point")["failed"], 200);
        assert_eq!(last["continuations"], 200 * points.len());
        let rise = |at: usize| {
            let failed = |at: usize| points[at]["failed"].as_i64().expect("a count");
            failed(at) - failed(at - 1)
        };
        let steepest = (1..points.len()).max_by_key(|at| rise(*at)).expect("two points");
        assert_eq!(last["decided_at"], points[steepest]["step"]);
    }
}

#[test]
fn where_the_last_step_decides_it_is_told_what_led_to_it_and_what_it_did_not_know() {
    let place = Place::new("why-last");
    let called = synod(&place.0, &["why", PATH]);
    let (_, origins) = called.stdout.split_once("where it fails, follows from\n").expect("them");
    let (known, unknown) = origins.split_once("and knew nothing of\n").expect("what it is not");
    assert!(known.contains("n3 starts") && !known.contains("role:leader"), "{origins}");
    assert!(unknown.contains("halted") && unknown.contains("role:leader"), "{origins}");
}

#[test]
fn the_same_file_gives_the_same_output() {
    let place = Place::new("why-same");
    let [one, other] = [(); 2].map(|()| synod(&place.0, &["why", SCHEDULE, "--runs", "50"]));
    assert_eq!((&one.stdout, one.exit), (&other.stdout, 0));
    for words in ["at most one node leads", "50 random continuations", "█", "decided at step", "%"]
    {
        assert!(one.stdout.contains(words), "{words}: {}", one.stdout);
    }
    assert!(one.stderr.contains("replay") && one.stderr.contains("--full"), "{}", one.stderr);
    let ascii = synod(&place.0, &["why", SCHEDULE, "--runs", "50", "--ascii"]);
    let curve = ascii.stdout.lines().nth(2).expect("the curve").trim();
    assert!(curve.chars().all(|it| it.is_ascii_digit()) && curve.ends_with('9'), "{curve}");
}

#[test]
fn what_cannot_be_explained_has_an_exit_code_of_its_own() {
    let place = Place::new("why-not");
    let text = fs::read_to_string(SCHEDULE).expect("a schedule");
    let calm: Vec<&str> = text.lines().filter(|line| !line.starts_with("decide")).collect();
    fs::write(place.0.join("gone.schedule"), calm.join("\n")).expect("written");
    let nothing: Vec<&str> =
        calm.into_iter().filter(|line| !line.starts_with("violates")).collect();
    fs::write(place.0.join("clean.schedule"), nothing.join("\n")).expect("written");
    for (args, exit, says) in [
        (&["why", "gone.schedule"][..], 4, "no longer violates `at most one node leads`"),
        (&["why", "clean.schedule"], 5, "violates no property"),
        (&["why", "nowhere.schedule"], 6, "cannot read `nowhere.schedule`"),
        (&["why", SCHEDULE, "--runs", "0"], 2, "--runs"),
    ] {
        let called = synod(&place.0, args);
        assert_eq!(called.exit, exit, "{args:?}: {}", called.stderr);
        assert!(called.stderr.contains(says), "{args:?}: {}", called.stderr);
    }
}

#[test]
fn the_help_has_examples() {
    let place = Place::new("why-help");
    for command in ["why", "sweep", "replay"] {
        let called = synod(&place.0, &[command, "--help"]);
        assert!(called.exit == 0 && called.stdout.contains("Examples:"), "{command}");
    }
}
