//! What the environment tells simulations in tests, and what these tell the runner.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

use serde::{Deserialize, Serialize};
use synod_algorithms::Bully;
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, NodeId, Property, Summary};
use synod_simulator::{Fault, Scenario, Simulation};

/// What one of the ignored tests of this binary says, started in a folder of its own.
fn told(test: &str, folder: &Path, variables: &[(&str, &Path)]) -> String {
    let mut command = process::Command::new(env::current_exe().expect("this test binary"));
    command.args(["--exact", test, "--ignored", "--nocapture"]).current_dir(folder);
    for variable in ["CARGO_MANIFEST_DIR", "SYNOD_BUDGET", "SYNOD_RUNS", "SYNOD_SEED"] {
        command.env_remove(variable);
    }
    for variable in ["GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "SYNOD_REPLAY"] {
        command.env_remove(variable);
    }
    let output = command.envs(variables.iter().copied()).output().expect("the test binary");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn folder(name: &str) -> PathBuf {
    let folder = env::temp_dir().join(format!("synod-{name}-{}", process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn bully() -> Scenario<Bully> {
    Scenario::of(|_| Bully::default())
}

/// Counts what it hears, and has no summary.
#[derive(Debug, Default)]
struct Counts {
    heard: Vec<u8>,
    last: Option<NodeId>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "counts.word")]
struct Word(u8);

impl Algorithm for Counts {
    const NAME: &'static str = "counts";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|counts: &mut Self, Word(word): Word, from: NodeId| {
            counts.heard.push(word);
            counts.last = Some(from);
        })
    }

    fn start(&mut self, ctx: &mut Context) {
        let me = ctx.me();
        (7..9).for_each(|word| ctx.send_where(&Word(word), |peer| me < peer));
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("nobody hears two words", |cluster: &Cluster<'_, Self>| {
            let hears_two = cluster.live().any(|(_, it)| 1 < it.heard.len());
            if hears_two { Err("somebody has".into()) } else { Ok(()) }
        })]
    }
}

#[test]
#[ignore = "fails on purpose, for the test below"]
fn the_failing_test_without_summaries() {
    Simulation::new(&Scenario::of(|_| Counts::default()), 3).calm().check("two_words");
}

#[test]
fn a_state_without_a_summary_is_told_as_it_is_and_so_is_what_each_step_changes_in_it() {
    let folder = folder("plain");
    let told = told("in_tests::the_failing_test_without_summaries", &folder, &[]);
    for words in [
        "+1.0ms  [n2 heard:[7] last:n",
        "\nstate when it broke\n  n1  Counts { heard: [], last: None }\n  n2  Counts { heard: [7, 8], last",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    fs::remove_dir_all(&folder).expect("removed");
}

/// Counts as the other does, and shows less of it than there is.
#[derive(Debug, Default)]
struct Short {
    name: &'static str,
    counts: Vec<u8>,
}

impl Algorithm for Short {
    const NAME: &'static str = "short";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|short: &mut Self, Word(word): Word| short.counts.push(word))
    }

    fn start(&mut self, ctx: &mut Context) {
        let me = ctx.me();
        (7..9).for_each(|word| ctx.send_where(&Word(word), |peer| me < peer));
    }

    fn summary(&self) -> Summary {
        Summary::default().with(self.name, self.counts.len())
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("nobody hears two words", |cluster: &Cluster<'_, Self>| {
            let hears_two = cluster.live().any(|(_, it)| 1 < it.counts.len());
            if hears_two { Err("somebody has".into()) } else { Ok(()) }
        })]
    }
}

#[test]
#[ignore = "fails on purpose, for the test below"]
fn the_failing_test_with_summaries() {
    Simulation::new(&Scenario::of(|_| Short { name: "heard", ..Short::default() }), 2)
        .calm()
        .check("two_words");
}

#[test]
fn all_of_the_state_in_which_a_run_failed_is_told_below_the_summaries() {
    let folder = folder("whole");
    let told = told("in_tests::the_failing_test_with_summaries", &folder, &[]);
    let state = "state when it broke\n  n1  heard:0\n  n2  heard:2\n\
        all of n2, * is what the last step changed\n  * counts: [7,8], before: [7]\n    name: \"heard\"\n";
    assert!(told.contains(state), "{told}");
    fs::remove_dir_all(&folder).expect("removed");
}

const PASSING: &str = "in_tests::the_passing_test";
const FAILING: &str = "strategies::the_failing_test";

#[test]
#[ignore = "is started by the tests below"]
fn the_passing_test() {
    Simulation::new(&bully(), 3).check("calm");
}

#[test]
fn so_many_seeds_run_as_are_asked_for_whatever_the_time() {
    let folder = folder("runs");
    let asked = |runs, seed| [("SYNOD_RUNS", Path::new(runs)), ("SYNOD_SEED", Path::new(seed))];
    let told_of = |runs, seed| told(PASSING, &folder, &asked(runs, seed));
    assert!(told_of("21", "7").contains("calm: 21 runs from seed 7, "), "{}", told_of("21", "7"));
    let wrong = told_of("0", "7");
    assert!(wrong.contains("SYNOD_RUNS is `0`: write a number from 1"), "{wrong}");
    let short = [("SYNOD_BUDGET", Path::new("1ms")), ("SYNOD_RUNS", Path::new("1000000"))];
    let short = told(PASSING, &folder, &short);
    assert!(short.contains("test result: ok. 1 passed"), "{short}");
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn one_schedule_runs_in_place_of_the_seeds_in_the_tests_of_its_algorithm() {
    let folder = folder("replay");
    let scenario = bully();
    let report = Simulation::new(&scenario, 3).with(Fault::Partition).run(0..1_000);
    let text = &report.expect_failure().text;
    let file = folder.join("one.schedule");
    fs::write(&file, text).expect("written");
    let failed = told(PASSING, &folder, &[("SYNOD_REPLAY", &file)]);
    for words in ["property violated: at most one node leads", "in 0 replays", "one.schedule"] {
        assert!(failed.contains(words), "{words}: {failed}");
    }
    assert!(!folder.join("tests").exists(), "it is stored already");
    fs::write(&file, text.replace("algorithm bully", "algorithm echo")).expect("written");
    let other = [("SYNOD_REPLAY", file.as_path()), ("SYNOD_RUNS", Path::new("3"))];
    let other = told(PASSING, &folder, &other);
    assert!(other.contains("calm: 3 runs from seed 0, "), "{other}");
    let nowhere = told(PASSING, &folder, &[("SYNOD_REPLAY", Path::new("nowhere.schedule"))]);
    assert!(nowhere.contains("cannot read `nowhere.schedule`"), "{nowhere}");
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn a_stored_schedule_of_an_event_that_was_renamed_is_no_pass() {
    let folder = folder("renamed");
    let scenario = bully();
    let report = Simulation::new(&scenario, 3).with(Fault::Partition).run(0..1_000);
    let text = &report.expect_failure().text;
    let world = text.split_inclusive('\n').filter(|line| {
        let decides = ["settings", "seed", "algorithm", "synod", "violates"];
        decides.iter().any(|word| line.starts_with(word))
    });
    let calm: String = world.collect();
    let stored = folder.join("tests/schedules/calm-0000.schedule");
    fs::create_dir_all(stored.parent().expect("a folder")).expect("made");
    let rerun = |decision: &str| {
        fs::write(&stored, format!("{calm}{decision}\n")).expect("written");
        told(PASSING, &folder, &[("SYNOD_RUNS", Path::new("3"))])
    };
    let held = rerun("decide delay bully.coordinator n3>n1 #900 = 5");
    assert!(held.contains("holds: 1 of 1 decisions are no longer asked for"), "{held}");
    assert!(held.contains("test result: ok"), "{held}");
    let renamed = rerun("decide delay bully.gone n3>n1 #1 = 5");
    assert!(renamed.contains("decides about `bully.gone`, and there is no such event now"));
    assert!(renamed.contains("test result: FAILED"), "{renamed}");
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn the_page_of_a_step_shows_the_diagram_of_a_failure() {
    let folder = folder("page");
    let page = folder.join("summary.md");
    fs::write(&page, "before\n").expect("written");
    let failed = told(FAILING, &folder, &[("GITHUB_STEP_SUMMARY", &page)]);
    assert!(failed.contains("property violated"), "{failed}");
    let text = fs::read_to_string(&page).expect("written");
    let begin = "before\n### `two_leaders`: at most one node leads\n\n`n";
    assert!(text.starts_with(begin), "{text}");
    assert!(text.contains("\n```text\n              n1      n2\n 0     0.0ms  ●"), "{text}");
    assert!(text.contains("\n```\n\nReplay: `cargo test "), "{text}");
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn a_stored_schedule_of_another_algorithm_is_told_and_no_pass() {
    let folder = folder("namesakes");
    let report = Simulation::new(&bully(), 3).with(Fault::Partition).run(0..1_000);
    let text = &report.expect_failure().text.replace("algorithm bully", "algorithm echo");
    let stored = folder.join("tests/schedules/calm-0000.schedule");
    fs::create_dir_all(stored.parent().expect("a folder")).expect("made");
    fs::write(&stored, text).expect("written");
    let told = told(PASSING, &folder, &[("SYNOD_RUNS", Path::new("3"))]);
    let words = "is of `echo`, and this test of `bully`: are two tests called `calm`?";
    assert!(told.contains(words), "{told}");
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn schedules_that_cannot_be_looked_for_are_no_pass() {
    let folder = folder("unreadable");
    fs::write(folder.join("tests"), "a file in the place of a folder").expect("written");
    let told = told(PASSING, &folder, &[("SYNOD_RUNS", Path::new("3"))]);
    assert!(told.contains("cannot read `tests/schedules`: "), "{told}");
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
#[ignore = "fails on purpose, for the test below"]
fn the_failing_test_of_a_name_that_no_file_has() {
    let name = "n".repeat(300);
    Simulation::new(&Scenario::of(|_| Counts::default()), 3).calm().check(&name);
}

#[test]
fn a_schedule_that_cannot_be_kept_is_told_and_so_is_why() {
    let folder = folder("unwritable");
    let told = told("in_tests::the_failing_test_of_a_name_that_no_file_has", &folder, &[]);
    assert!(told.contains("\nsynod schedule 1\nalgorithm counts\n"), "{told}");
    let words =
        "\nnot kept  the schedule that stands above could not be written to `tests/schedules/nnn";
    assert!(told.contains(words) && !told.contains("git add"), "{told}");
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn a_name_that_would_lead_out_of_the_folder_is_refused() {
    for name in ["", "../escape", "a/b", "a\\b"] {
        let check = || Simulation::new(&bully(), 3).check(name);
        let panic = std::panic::catch_unwind(check).expect_err("refused");
        let words = panic.downcast_ref::<String>().expect("words");
        assert!(words.contains("cannot be the name of a test"), "{words}");
    }
}
