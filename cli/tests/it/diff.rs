//! Two runs side by side.

use std::fs;

use crate::{Place, synod};

const SCHEDULE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/generated/partition.schedule");

/// A directory with a schedule whose partition ends sooner, and the trace of the original.
fn two_runs(name: &str) -> Place {
    let place = Place::new(name);
    let text = fs::read_to_string(SCHEDULE).expect("a schedule");
    let (begin, end) = text.split_once("decide partition.length").expect("a partition");
    let rest = end.split_once('\n').map_or("", |(_, rest)| rest);
    let shorter = format!("{begin}decide partition.length 1 #1 = 200000\n{rest}");
    fs::write(place.0.join("shorter.schedule"), shorter).expect("written");
    let replayed = synod(&place.0, &["replay", SCHEDULE, "--trace", "before.jsonl"]);
    assert_eq!(replayed.exit, 1, "{}", replayed.stderr);
    place
}

#[test]
fn a_run_and_its_trace_are_the_same() {
    let place = two_runs("diff-same");
    let called = synod(&place.0, &["trace", "diff", SCHEDULE, "before.jsonl"]);
    assert_eq!(called.exit, 0, "{}", called.stderr);
    assert!(called.stdout.contains(" alike"), "{}", called.stdout);
    assert!(!called.stdout.contains("the runs part"), "{}", called.stdout);
    assert!(called.stderr.contains("next: "), "{}", called.stderr);
}

#[test]
fn where_two_runs_part_is_marked_and_what_is_equal_is_folded() {
    let place = two_runs("diff-parts");
    let args = ["trace", "diff", "before.jsonl", "shorter.schedule", "--width", "90"];
    let called = synod(&place.0, &args);
    assert_eq!(called.exit, 4, "{}", called.stderr);
    let (picture, told) = called.stdout.split_once("\n\n").expect("a picture and words");
    assert!(picture.lines().count() <= 40, "{picture}");
    assert!(picture.lines().all(|line| line.chars().count() <= 90), "{picture}");
    for words in
        ["before.jsonl", "shorter.schedule", " alike)", "─ the runs part at step ", "healed"]
    {
        assert!(picture.contains(words), "{words}: {picture}");
    }
    assert!(
        told.contains("✗ at most one node leads") && told.contains("nothing violated"),
        "{told}"
    );
    assert!(called.stderr.contains("they part at step"), "{}", called.stderr);
    assert!(called.stderr.lines().last().is_some_and(|it| it.ends_with("--full")), "next");
    let ascii = synod(&place.0, &[&args[..], &["--ascii"]].concat());
    let (picture, _) = ascii.stdout.split_once("\n\n").expect("a picture and words");
    assert!(picture.is_ascii(), "{picture}");
}

#[test]
fn programs_are_told_every_difference() {
    let place = two_runs("diff-json");
    let args = ["trace", "diff", "before.jsonl", "shorter.schedule", "--json"];
    let called = synod(&place.0, &args);
    assert_eq!(called.exit, 4, "{}", called.stderr);
    let lines = called.lines();
    let (last, differences) = lines.split_last().expect("a result");
    let counted = ["shifted", "changed", "only_left", "only_right"].map(|it| last[it].as_u64());
    assert_eq!(counted.iter().flatten().sum::<u64>(), differences.len() as u64);
    let first = differences.first().expect("a difference");
    assert_eq!(first["event"], "difference");
    assert_eq!(first["right"]["i"], last["parts_at"]);
    assert_eq!(last["left"]["wrong"].is_string(), last["right"]["wrong"].is_null());
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let place = two_runs("diff-refused");
    let text = fs::read_to_string(place.0.join("before.jsonl")).expect("a trace");
    fs::write(
        place.0.join("other.jsonl"),
        text.replace("\"bully\"", "\"echo\"").replace("algorithm bully", "algorithm echo"),
    )
    .expect("written");
    fs::write(place.0.join("damaged.jsonl"), text.replace("\"i\":1,", "\"i\":7,"))
        .expect("written");
    for (right, exit, says) in [
        (
            &["other.jsonl"][..],
            2,
            "`before.jsonl` is a run of bully, and `other.jsonl` one of echo",
        ),
        (&["damaged.jsonl"], 2, "`damaged.jsonl`, line 3: step 7 stands where step 1 is due"),
        (&["nowhere.jsonl"], 6, "cannot read `nowhere.jsonl`"),
        (&["before.jsonl", "--width", "20"], 2, "60..=1000"),
        (&[], 2, "<RIGHT>"),
    ] {
        let called = synod(&place.0, &[&["trace", "diff", "before.jsonl"], right].concat());
        assert_eq!(called.exit, exit, "{right:?}: {}", called.stderr);
        assert!(called.stderr.contains(says), "{says}: {}", called.stderr);
        assert!(called.stdout.is_empty(), "{}", called.stdout);
    }
}

#[test]
fn a_run_as_it_was_found_is_kept_and_compared_with_the_shrunk_one() {
    let place = Place::new("diff-found");
    let last =
        synod(&place.0, &["sim", "bully", "--seeds", "10", "--faults", "partition", "--json"])
            .last();
    let [found, shrunk] = ["found", "schedule"].map(|file| last[file].as_str().expect("a file"));
    let replayed = synod(&place.0, &["replay", found, "--json"]);
    assert_eq!(replayed.exit, 1, "{}", replayed.stderr);
    let replayed = replayed.last();
    assert_eq!(
        (&replayed["steps"], &replayed["property"]),
        (&last["steps_found"], &last["property"])
    );
    let called = synod(&place.0, &["trace", "diff", found, shrunk]);
    assert_eq!(called.exit, 4, "{}", called.stderr);
    let (picture, told) = called.stdout.split_once("\n\n").expect("a picture and words");
    assert!(picture.lines().count() <= 40, "{picture}");
    assert_eq!(told.matches("✗ at most one node leads").count(), 2, "{told}");
}
