//! What the README says is true.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Place, synod};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("the README")
}

/// The lines of every block that is fenced as `language`.
fn blocks(text: &str, language: &str) -> Vec<Vec<String>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while lines.any(|line| line == format!("```{language}")) {
        blocks.push(lines.by_ref().take_while(|line| *line != "```").map(String::from).collect());
    }
    blocks
}

/// Runs one line of a shell block: `cargo run` is the binary that was built for this test.
fn run(place: &Path, line: &str) {
    let line = line.split('#').next().unwrap_or(line).trim();
    let words: Vec<&str> = line.split_whitespace().collect();
    let args = match words.as_slice() {
        [] | ["cargo", "test", "--workspace"] | ["cargo", "bench" | "new" | "add", ..] => return,
        ["cargo", "run"] => &[][..],
        ["cargo", "run", "--", args @ ..] | ["synod", args @ ..] => args,
        other => panic!("the README has a command that no test runs: {other:?}"),
    };
    if let ["node", ..] = args {
        return; // Three of them are started by hand in another test.
    }
    let called = synod(place, args);
    let replays = args.first() == Some(&"replay") && line.ends_with(".schedule");
    let expected = i32::from(args.contains(&"partition") || replays);
    assert_eq!(called.exit, expected, "{line}\n{}\n{}", called.stdout, called.stderr);
}

#[test]
fn every_command_of_the_guides_does_what_it_says() {
    for entry in fs::read_dir(root().join("docs")).expect("the guides") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        let place = Place::new(&format!("guide-{name}"));
        let text = fs::read_to_string(&path).expect("UTF-8");
        for line in blocks(&text, "sh").iter().flatten() {
            run(&place.0, line);
        }
    }
}

#[test]
fn the_configuration_in_the_guide_is_one() {
    let place = Place::new("guide-configuration");
    let text = fs::read_to_string(root().join("docs/operating.md")).expect("the guide");
    let shown = blocks(&text, "toml").concat().join("\n");
    fs::write(place.0.join("node.toml"), shown).expect("written");
    let called = synod(&place.0, &["node", "missing.synod", "--config", "node.toml"]);
    assert_eq!(called.exit, 6, "{}", called.stderr);
    assert!(called.stderr.contains("cannot read `missing.synod`"), "{}", called.stderr);
}

#[test]
fn every_command_of_the_readme_does_what_it_says() {
    let place = Place::new("readme");
    let blocks = blocks(&readme(), "sh");
    assert!(4 <= blocks.len(), "the README shows how to use it");
    for line in blocks.iter().flatten() {
        run(&place.0, line);
    }
}

#[test]
fn the_algorithm_in_the_readme_is_that_of_the_library() {
    let library = root().join("algorithms/src/election/bully.rs");
    let library = fs::read_to_string(library).expect("the algorithm");
    let shown = blocks(&readme(), "rust");
    let handlers = shown.first().expect("an algorithm as code");
    let missing: Vec<&String> = handlers
        .iter()
        .filter(|line| !line.trim().is_empty() && !line.trim().starts_with("//"))
        .filter(|line| !library.contains(line.trim()))
        .collect();
    assert!(missing.is_empty(), "not in bully.rs: {missing:#?}");
}

#[test]
fn the_documents_are_short_enough_to_be_read() {
    for (name, lines_max) in
        [("README.md", 200), ("ARCHITECTURE.md", 300), ("CONTRIBUTING.md", 250)]
    {
        let text = fs::read_to_string(root().join(name)).expect(name);
        assert!(text.lines().count() <= lines_max, "{name} has {} lines", text.lines().count());
    }
}

#[test]
fn the_demo_succeeds_and_says_what_to_type_next() {
    let place = Place::new("demo");
    let called = synod(&place.0, &[]);
    assert_eq!(called.exit, 0, "{}\n{}", called.stdout, called.stderr);
    for words in ["every schedule", "both lead", "nodes follow n5", "4 nodes follow n4", "--help"] {
        assert!(called.stdout.contains(words), "{words}: {}", called.stdout);
    }
}
