//! Colours, and output without any sign beyond ASCII.

use std::fs;
use std::process::Command;

use crate::{Called, Place, synod};

/// Colours begin so.
const ESCAPE: char = '\u{1b}';

/// A text without its colours.
fn stripped(text: &str) -> String {
    let mut parts = text.split(ESCAPE);
    let first = parts.next().unwrap_or_default();
    let rest = parts.map(|part| part.split_once('m').expect("the end of a colour").1);
    std::iter::once(first).chain(rest).collect()
}

#[test]
fn colours_are_asked_for_and_change_nothing_else() {
    let place = Place::new("colors");
    let sim = ["sim", "bully", "--faults", "partition", "--seeds", "10"];
    let plain = synod(&place.0, &sim);
    assert!(!plain.stdout.contains(ESCAPE) && !plain.stderr.contains(ESCAPE), "{}", plain.stdout);
    let colored = synod(&place.0, &[&sim[..], &["--color", "always"]].concat());
    assert_eq!((plain.exit, colored.exit), (1, 1));
    for words in ["\u{1b}[1m\u{1b}[31m✗\u{1b}[0m at most one node leads", "◷\u{1b}[0m"] {
        assert!(colored.stdout.contains(words), "{words:?}: {}", colored.stdout);
    }
    assert!(
        colored.stderr.starts_with("\u{1b}[1m\u{1b}[31merror:\u{1b}[0m "),
        "{}",
        colored.stderr
    );
    assert_eq!(stripped(&colored.stdout), plain.stdout);
    assert_eq!(stripped(&colored.stderr), plain.stderr);
}

#[test]
fn the_environment_asks_for_colours_too_and_the_flag_comes_first() {
    let place = Place::new("colors-environment");
    let colored = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
        command.args(["sim", "bully", "--seeds", "1"]).args(flags).current_dir(&place.0);
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        let called = command.envs(variables.iter().copied()).output().expect("the binary starts");
        Called::from(called).stdout.contains(ESCAPE)
    };
    let (no, force) = (("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1"));
    assert!(!colored(&[], &[]) && colored(&[force], &[]) && !colored(&[force, no], &[]));
    assert!(!colored(&[force], &["--color", "never"]) && colored(&[no], &["--color=always"]));
    assert_eq!(synod(&place.0, &["sim", "bully", "--color", "green"]).exit, 2);
}

#[test]
fn neither_json_nor_a_file_has_colours() {
    let place = Place::new("colors-files");
    let sim = ["--color", "always", "sim", "bully", "--faults", "partition", "--seeds", "10"];
    let called = synod(&place.0, &[&sim[..], &["--json"]].concat());
    let schedule = called.last()["schedule"].as_str().expect("a file").to_owned();
    assert!(!called.stdout.contains(ESCAPE) && called.stderr.contains(ESCAPE), "{}", called.stderr);
    let text = fs::read_to_string(place.0.join(&schedule)).expect("the schedule");
    assert!(!text.contains(ESCAPE));
    for results in [
        &["trace", "convert", &schedule, "--to", "plantuml"][..],
        &["replay", &schedule, "--as-test"],
        &["sweep", "bully", "--seeds", "1"],
    ] {
        let called = synod(&place.0, &[results, &["--color", "always"]].concat());
        assert!(!called.stdout.contains(ESCAPE), "{results:?}: {}", called.stdout);
        let ascii = synod(&place.0, &[results, &["--ascii"]].concat());
        assert_eq!(ascii.stdout, called.stdout, "{results:?}");
    }
}

#[test]
fn a_picture_is_as_wide_as_the_terminal_and_everything_is_shown_in_full() {
    let place = Place::new("columns");
    let narrow = |asked: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
        command.args(asked).current_dir(&place.0).env("COLUMNS", "50");
        Called::from(command.output().expect("the binary starts")).stdout
    };
    let rows = |told: &str| -> Vec<usize> {
        let rows = told.lines().filter(|line| line.contains("ms  "));
        rows.map(|line| line.chars().count()).collect()
    };
    let sim = ["sim", "bully", "--faults", "partition", "--seeds", "10"];
    let wide = rows(&synod(&place.0, &sim).stdout);
    assert!(wide.iter().any(|columns| 50 < *columns), "a file has what it takes: {wide:?}");
    let cut = rows(&narrow(&sim));
    assert_eq!(cut.len(), wide.len());
    assert!(cut.iter().all(|columns| *columns <= 50) && cut.contains(&50), "{cut:?}");
    let full = rows(&narrow(&["replay", "target/synod/bully-0.schedule", "--full"]));
    assert!(full.iter().any(|columns| 50 < *columns), "{full:?}");
}

#[test]
fn without_a_sign_beyond_ascii_the_words_tell_all() {
    let place = Place::new("ascii");
    let schedule = "target/synod/bully-0.schedule";
    for (asked, exit, words) in [
        (&["sim", "bully", "--seeds", "10"][..], 0, "ok at most one node leads"),
        (
            &["sim", "bully", "--seeds", "10", "--faults", "partition"],
            1,
            "x at most one node leads",
        ),
        (&["check", "hello"], 0, "ok "),
        (&["check", "paxos", "--max-states", "10"], 3, "- lost messages: not explored"),
        (&["replay", schedule, "--full"], 1, "replayed"),
        (&["why", schedule, "--runs", "5"], 0, "continuations"),
        (&["trace", "diff", schedule, schedule], 0, "steps: "),
    ] {
        let called = synod(&place.0, &[asked, &["--ascii"]].concat());
        assert_eq!(called.exit, exit, "{asked:?}: {}", called.stderr);
        let strange = |text: &str| text.chars().find(|it| !it.is_ascii());
        assert_eq!(
            strange(&called.stdout).or_else(|| strange(&called.stderr)),
            None,
            "{}",
            called.stdout
        );
        assert!(called.stdout.contains(words), "{words}: {}", called.stdout);
    }
}
