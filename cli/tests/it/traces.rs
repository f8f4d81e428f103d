//! Traces for other tools.

use std::fs;

use serde_json::Value;

use crate::{Place, synod};

const FORMATS: [&str; 7] = ["shiviz", "chrome", "plantuml", "mermaid", "svg", "html", "csv"];

/// A directory with the schedule of a violation, its path, and that of its trace.
fn recorded(name: &str) -> (Place, String, String) {
    let place = Place::new(name);
    let asked = ["sim", "bully", "--seeds", "10", "--faults", "partition", "--json"];
    let last = synod(&place.0, &asked).last();
    let schedule = String::from(last.get("schedule").and_then(Value::as_str).expect("a file"));
    let replayed = synod(&place.0, &["replay", &schedule, "--trace", "run.jsonl"]);
    assert_eq!(replayed.exit, 1, "{}", replayed.stderr);
    (place, schedule, "run.jsonl".into())
}

#[test]
fn a_schedule_and_its_trace_are_converted_to_the_same_bytes() {
    let (place, schedule, trace) = recorded("convert-same");
    for format in FORMATS {
        let [one, other] = [&schedule, &trace]
            .map(|file| synod(&place.0, &["trace", "convert", file, "--to", format]));
        assert_eq!((one.exit, other.exit), (0, 0), "{format}: {}", one.stderr);
        assert!(!one.stdout.is_empty() && one.stdout == other.stdout, "{format}");
        assert!(one.stderr.contains("trace convert"), "what next: {}", one.stderr);
    }
}

#[test]
fn a_file_is_written_whole_and_is_what_the_standard_output_would_be() {
    let (place, _, trace) = recorded("convert-out");
    fs::write(place.0.join("run.svg"), "before").expect("written");
    let args = ["trace", "convert", &trace, "--to", "svg"];
    let printed = synod(&place.0, &args);
    let called = synod(&place.0, &[&args[..], &["--out", "run.svg"]].concat());
    assert_eq!(called.exit, 0, "{}", called.stderr);
    assert!(called.stdout.contains("run.svg: "), "{}", called.stdout);
    assert_eq!(fs::read_to_string(place.0.join("run.svg")).expect("written"), printed.stdout);
    let left = fs::read_dir(&place.0).expect("a directory").flatten();
    let names: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("partial")), "{names:?}");
}

#[test]
fn programs_are_told_in_json() {
    let (place, _, trace) = recorded("convert-json");
    let args = ["trace", "convert", &trace, "--to", "csv", "--json"];
    let printed = synod(&place.0, &args).last();
    assert!(printed["text"].as_str().is_some_and(|text| text.starts_with("step,time_us,")));
    let written = synod(&place.0, &[&args[..], &["--out", "run.csv"]].concat()).last();
    assert_eq!((&written["to"], &written["out"]), (&"csv".into(), &"run.csv".into()));
    assert_eq!(written["bytes"], printed["bytes"]);
    assert!(written["text"].is_null());
}

#[test]
fn a_damaged_trace_is_refused_with_its_line_and_nothing_is_written() {
    let (place, _, trace) = recorded("convert-damaged");
    let text = fs::read_to_string(place.0.join(&trace)).expect("a trace");
    let cut = text.len() - 9;
    let last = text.lines().count();
    for (damaged, line, says) in [
        (Vec::from(&text.as_bytes()[..cut]), last, "EOF while parsing"),
        (text.replace("\"i\":1,", "\"i\":7,").into_bytes(), 3, "step 7 stands where step 1 is due"),
        (text.replace("synod_trace\":1", "synod_trace\":9").into_bytes(), 1, "reads format 1"),
        ([text.as_bytes(), b"\xff"].concat(), last + 1, "not UTF-8"),
        (b"hello\n".to_vec(), 1, "a trace begins with"),
        (Vec::new(), 1, "the line is empty"),
    ] {
        fs::write(place.0.join("damaged.jsonl"), damaged).expect("written");
        let args = ["trace", "convert", "damaged.jsonl", "--to", "svg", "--out", "out.svg"];
        let called = synod(&place.0, &args);
        assert_eq!(called.exit, 2, "{says}: {}", called.stderr);
        let place_of = format!("`damaged.jsonl`, line {line}: ");
        assert!(called.stderr.contains(&place_of), "{place_of}: {}", called.stderr);
        assert!(called.stderr.contains(says), "{says}: {}", called.stderr);
        assert!(!place.0.join("out.svg").exists());
    }
}

#[test]
fn mistakes_are_named_and_have_their_exit_codes() {
    let (place, schedule, trace) = recorded("convert-mistakes");
    let text = fs::read_to_string(place.0.join(&schedule)).expect("a schedule");
    fs::write(place.0.join("damaged.schedule"), text.replace("decide ", "decode "))
        .expect("written");
    fs::write(place.0.join("strange.schedule"), text.replace("algorithm bully", "algorithm b"))
        .expect("written");
    for (args, exit, says) in [
        (
            &[trace.as_str(), "--to", "dot"][..],
            2,
            "shiviz, chrome, plantuml, mermaid, svg, html, csv",
        ),
        (&[&trace], 2, "--to"),
        (&["nowhere.jsonl", "--to", "svg"], 6, "cannot read `nowhere.jsonl`"),
        (&["damaged.schedule", "--to", "svg"], 2, "`decode` is not one of"),
        (&["strange.schedule", "--to", "svg"], 2, "known here: bully"),
        (&[&trace, "--to", "svg", "--out", &trace], 2, "is what is read"),
        (&[&trace, "--to", "svg", "--out", "."], 2, "is not a file"),
        (&[&trace, "--to", "svg", "--out", "no/such/place.svg"], 6, "cannot write"),
        (&["/dev/zero", "--to", "svg"], 2, "bytes that are read"),
    ] {
        let called = synod(&place.0, &[&["trace", "convert"], args].concat());
        assert_eq!(called.exit, exit, "{args:?}: {}", called.stderr);
        assert!(called.stderr.contains(says), "{args:?}: {}", called.stderr);
    }
    assert!(fs::read_to_string(place.0.join(&trace)).is_ok_and(|text| text.starts_with('{')));
}

#[test]
fn the_help_shows_examples_and_every_format() {
    let place = Place::new("convert-help");
    let called = synod(&place.0, &["trace", "convert", "--help"]);
    assert_eq!(called.exit, 0);
    assert!(called.stdout.contains("Examples:"));
    assert!(FORMATS.iter().all(|format| called.stdout.contains(format)), "{}", called.stdout);
}

#[test]
fn the_history_of_a_simulated_run_is_judged_as_one_of_a_file() {
    let place = Place::new("convert-history");
    let asked = ["sim", "abd", "--nodes", "3", "--seeds", "20", "--faults", "partition", "--json"];
    let last = synod(&place.0, &asked).last();
    let schedule = last.get("schedule").and_then(Value::as_str).expect("a run without an answer");
    let args = ["trace", "convert", schedule, "--to", "history", "--out", "history.jsonl"];
    let converted = synod(&place.0, &args);
    assert_eq!(converted.exit, 0, "{}", converted.stderr);
    let next = "history check history.jsonl --model register";
    assert!(converted.stderr.contains(next), "what next: {}", converted.stderr);
    let checked = synod(&place.0, &next.split(' ').collect::<Vec<_>>());
    assert_eq!(checked.exit, 0, "{}", checked.stderr);
    // Nobody answers across the partition, and an operation that is open may come at any time.
    assert!(checked.stdout.contains(" open, in 1 part(s)"), "{}", checked.stdout);
    assert!(!checked.stdout.contains(", 0 of them open"), "{}", checked.stdout);
}

#[test]
fn a_trace_without_clients_has_no_history() {
    let (place, schedule, _) = recorded("convert-no-history");
    let args = ["trace", "convert", &schedule, "--to", "history", "--out", "history.jsonl"];
    let called = synod(&place.0, &args);
    assert_eq!(called.exit, 5, "{}", called.stderr);
    assert!(called.stderr.contains("no client's operation is in"), "{}", called.stderr);
    assert!(called.stderr.contains("Scenario::clients"), "{}", called.stderr);
    assert!(!place.0.join("history.jsonl").exists());
}

#[test]
fn a_trace_is_run_again_from_the_schedule_in_its_header() {
    let (place, schedule, trace) = recorded("trace-again");
    let [one, other] =
        [&schedule, &trace].map(|file| synod(&place.0, &["replay", file, "--json"]).lines());
    assert_eq!(one, other);
    assert!(one.iter().any(|line| line["parts_at"].is_null() && line["trace_hash"].is_string()));
    let [one, other] =
        [&schedule, &trace].map(|file| synod(&place.0, &["replay", file, "--as-test"]).stdout);
    assert!(one.contains("#[test]") && one == other, "{other}");
    let why = synod(&place.0, &["why", &trace, "--runs", "20"]);
    assert_eq!(why.exit, 0, "{}", why.stderr);
}

#[test]
fn a_trace_that_its_schedule_does_not_come_to_is_told_with_the_step() {
    let (place, _, trace) = recorded("trace-parts");
    let text = fs::read_to_string(place.0.join(&trace)).expect("a trace");
    let last = text.lines().last().expect("a step");
    let (begin, rest) = last.split_once("\"t\":").expect("a time");
    let text = text.replace(last, &format!("{begin}\"t\":9{rest}"));
    fs::write(place.0.join("other.jsonl"), &text).expect("written");
    let called = synod(&place.0, &["replay", "other.jsonl"]);
    assert_eq!(called.exit, 4, "{}", called.stderr);
    let step = text.lines().count() - 2;
    let says = format!("the run is not the one in `other.jsonl`: they part at step {step}");
    assert!(called.stderr.contains(&says), "{says}: {}", called.stderr);
    assert!(called.stderr.contains("replay other.jsonl --trace now.jsonl"), "{}", called.stderr);
    let (_, steps) = text.split_once('\n').expect("a header");
    let bare = format!("{{\"synod_trace\":1,\"algorithm\":\"bully\",\"nodes\":5}}\n{steps}");
    fs::write(place.0.join("bare.jsonl"), bare).expect("written");
    let called = synod(&place.0, &["replay", "bare.jsonl"]);
    assert_eq!(called.exit, 2, "{}", called.stderr);
    assert!(called.stderr.contains("is a trace without a schedule"), "{}", called.stderr);
}
