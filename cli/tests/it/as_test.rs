//! A recorded run as code.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Place, synod};

fn generated(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/generated").join(file)
}

/// The code in `generated` is compiled with these tests and panics as is expected there, so the run fails in
/// it as it did when it was recorded.
#[test]
fn a_recorded_run_is_printed_as_the_test_that_is_compiled_here() {
    let place = Place::new("as-test");
    for name in ["partition", "unbounded", "windows"] {
        let schedule = generated(&format!("{name}.schedule"));
        let schedule = schedule.to_str().expect("UTF-8");
        let called = synod(&place.0, &["replay", schedule, "--as-test"]);
        assert_eq!(called.exit, 0, "{}", called.stderr);
        assert!(called.stderr.contains("cargo test at_most_one_node_leads_is_kept"));
        let told = synod(&place.0, &["replay", schedule, "--as-test", "--json"]).last();
        assert_eq!(told["code"], called.stdout);
        let [property, reason] =
            ["property", "reason"].map(|key| told[key].as_str().expect("a text"));
        let panics =
            format!("#[should_panic(expected = \"`{property}` is violated: {reason}\")]\n");
        let failing = called.stdout.replace("#[test]\n", &format!("#[test]\n{panics}"));
        let kept = generated(&format!("{name}.rs"));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&kept, &failing).expect("written");
        }
        let kept = fs::read_to_string(&kept).expect("the generated test");
        assert_eq!(failing, kept, "UPDATE_EXPECT=1 cargo test renews {name}.rs");
    }
}

#[test]
fn a_run_that_does_not_fail_makes_no_test() {
    let place = Place::new("as-test-held");
    let text = fs::read_to_string(generated("partition.schedule")).expect("a schedule");
    let calm: Vec<&str> = text.lines().filter(|line| !line.starts_with("decide")).collect();
    fs::write(place.0.join("calm.schedule"), calm.join("\n")).expect("written");
    let called = synod(&place.0, &["replay", "calm.schedule", "--as-test"]);
    assert_eq!((called.exit, called.stdout.as_str()), (4, ""));
    assert!(called.stderr.contains("no longer violates `at most one node leads`"));
    let nothing: Vec<&str> =
        calm.into_iter().filter(|line| !line.starts_with("violates")).collect();
    fs::write(place.0.join("calm.schedule"), nothing.join("\n")).expect("written");
    let called = synod(&place.0, &["replay", "calm.schedule", "--as-test"]);
    assert_eq!(called.exit, 5, "{}", called.stderr);
    let called = synod(&place.0, &["replay", "calm.schedule", "--as-test", "--full"]);
    assert_eq!(called.exit, 2, "{}", called.stderr);
}
