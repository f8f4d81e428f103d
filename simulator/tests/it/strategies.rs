//! How seeds become runs, what is asked of sets of runs, and what a test does with a failure.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::{env, fs};

use serde::{Deserialize, Serialize};
use synod_algorithms::Bully;
use synod_algorithms::election::bully::Elected;
use synod_core::{
    Algorithm, Assumption, Context, Event, HandlerSet, Handlers, Model, NodeId, Property,
};
use synod_simulator::{Bounds, Fault, Recorded, Scenario, Simulation, Strategy, explore};

fn bully() -> Scenario<Bully> {
    Scenario::of(|_| Bully::default())
}

#[test]
fn every_strategy_keeps_within_the_model_and_finds_the_partition() {
    let scenario = bully();
    for (name, strategy) in Strategy::ALL {
        let within = Simulation::new(&scenario, 5).strategy(strategy);
        within.run(0..400).expect_clean();
        let beyond = Simulation::new(&scenario, 5).strategy(strategy).with(Fault::Partition);
        let report = beyond.run(0..2_000);
        assert!(report.failure.is_some(), "{name} found nothing in {} runs", report.runs);
    }
}

#[test]
fn the_report_is_the_same_with_any_number_of_threads() {
    let scenario = bully();
    let told = |threads| {
        let report = Simulation::new(&scenario, 5).threads(threads).run(0..300);
        (report.runs, report.counts, report.drawn, report.audited, report.trace_hash)
    };
    assert_eq!(told(1), told(2));
    assert_eq!(told(1), told(7));
    let failure = |threads| {
        let simulation = Simulation::new(&scenario, 5).threads(threads).with(Fault::Partition);
        simulation.run(0..300).failure.map(|failure| failure.text)
    };
    assert_eq!(failure(1), failure(3));
}

#[test]
fn the_neighbours_of_a_run_fail_soon_where_it_fails_and_not_in_a_world_without_its_faults() {
    let scenario = bully();
    let whole = || Simulation::new(&scenario, 5).with(Fault::Partition);
    let Recorded::Simulated { decisions, .. } =
        whole().run(0..2_000).expect_failure().schedule.run.clone()
    else {
        panic!("it was simulated")
    };
    let near = |threads| {
        let report = whole().near(decisions.clone()).threads(threads).run(0..10);
        report.expect_failure().text.clone()
    };
    assert_eq!(near(1), near(3));
    Simulation::new(&scenario, 5).near(decisions.clone()).run(0..200).expect_clean();
}

#[test]
fn a_swarm_tells_what_it_drew_and_draws_cluster_sizes_too() {
    let scenario = bully();
    let report = Simulation::new(&scenario, 5)
        .strategy(Strategy::Swarm)
        .sizes(3..=6)
        .with(Fault::Loss)
        .run(0..200);
    let on = report.drawn.get("crash").copied().unwrap_or(0);
    assert!((40..=160).contains(&on), "crashes were on in {on} of 200 runs");
    assert_eq!(report.sizes.keys().copied().collect::<Vec<u32>>(), [3, 4, 5, 6]);
    assert!(report.sizes.values().all(|runs| (25..=75).contains(runs)), "{:?}", report.sizes);
    assert_eq!(report.sizes.values().sum::<u64>(), report.runs);
}

#[test]
fn what_should_happen_sometimes_and_never_does_is_told() {
    let never = Property::sometimes("a node leads twice over", |_| false);
    let often = Property::sometimes("a node leads", |cluster| {
        cluster.live().any(|(_, state): (NodeId, &Bully)| state.leads())
    });
    let scenario = bully().property(often).property(never);
    let report = Simulation::new(&scenario, 3).run(0..20);
    assert_eq!(report.never, ["a node leads twice over"]);
    let failed = catch_unwind(AssertUnwindSafe(|| report.expect_clean()));
    assert!(failed.is_err(), "a set of runs that has not shown it is no pass");
    let explored = explore(&scenario, &Bounds::within(&Bully::MODEL, 2));
    assert_eq!(explored.never, ["a node leads twice over"]);
}

#[test]
fn a_monitor_judges_what_nodes_indicate_without_looking_into_them() {
    let scenario = |reigns_max: usize| {
        bully().property(Property::monitor("few reigns", move || {
            let mut seen = BTreeSet::new();
            move |_, envelope: &synod_core::Envelope| {
                let Elected(epoch) = envelope.open().map_err(|error| error.to_string())?;
                seen.insert((epoch.number, epoch.leader, epoch.incarnation));
                if seen.len() <= reigns_max {
                    Ok(())
                } else {
                    Err(format!("{} reigns", seen.len()))
                }
            }
        }))
    };
    Simulation::new(&scenario(100), 3).run(0..50).expect_clean();
    let report = Simulation::new(&scenario(1), 3).run(0..50);
    assert_eq!(report.expect_failure().violation.property, "few reigns");
}

#[test]
fn a_bound_on_messages_is_a_property() {
    let cost = |most: u64| {
        bully().property(Property::always("few messages", move |cluster| match cluster.sent() {
            Some(sent) if most < sent => Err(format!("{sent} messages")),
            _ => Ok(()),
        }))
    };
    Simulation::new(&cost(100_000), 3).run(0..20).expect_clean();
    let report = Simulation::new(&cost(20), 3).run(0..20);
    let reason = &report.expect_failure().violation.reason;
    let sent: u64 = reason.trim_end_matches(" messages").parse().expect("a number of messages");
    // The smallest run has the fewest steps, whose last one sends to several.
    assert!((21..=23).contains(&sent), "{sent}");
}

/// What the failing test says where it finds its schedules in `folder`.
fn failing_test_in(folder: &Path) -> String {
    failing_test_under(folder, &[])
}

/// The same with more variables in its environment.
fn failing_test_under(folder: &Path, variables: &[(&str, &str)]) -> String {
    let output = std::process::Command::new(env::current_exe().expect("this test binary"))
        .args(["--exact", "strategies::the_failing_test", "--ignored", "--nocapture"])
        .current_dir(folder)
        .env_remove("CARGO_MANIFEST_DIR")
        .env_remove("GITHUB_ACTIONS")
        .env_remove("GITHUB_STEP_SUMMARY")
        .env_remove("SYNOD_REPLAY")
        .env_remove("SYNOD_RUNS")
        .env_remove("SYNOD_SEED")
        .envs(variables.iter().copied())
        .output()
        .expect("the test binary");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn a_stored_schedule_that_a_simulation_cannot_run_is_not_passed_over() {
    let folder = env::temp_dir().join(format!("synod-explored-{}", std::process::id()));
    let stored = folder.join("tests/schedules/two_leaders-0123.schedule");
    fs::create_dir_all(stored.parent().expect("a folder")).expect("made");
    let scenario = bully().property(Property::always("nothing", |_| Err("something".into())));
    let report = explore(&scenario, &Bounds::calm(2));
    fs::write(&stored, &report.expect_failure().text).expect("written");
    let told = failing_test_in(&folder);
    for words in ["two_leaders-0123.schedule` is a path of an exploration", "--as-test"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn a_failing_test_stores_its_schedule_which_runs_first_the_next_time() {
    let folder = env::temp_dir().join(format!("synod-check-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let first = failing_test_in(&folder);
    for words in [
        "property violated: at most one node leads",
        "state when it broke",
        "keep it   git add tests/schedules/two_leaders-",
        "strategies.rs",
        "strategies::the_failing_test   (stored schedules run first)",
        "partition",
    ] {
        assert!(first.contains(words), "{words}: {first}");
    }
    let stored: Vec<_> = fs::read_dir(folder.join("tests/schedules")).expect("stored").collect();
    assert_eq!(stored.len(), 1);
    let (_, page) = first.split_once("picture   ").expect("a page");
    let (page, _) = page.split_once("   (open it in a browser)").expect("its path");
    assert!(fs::read_to_string(page).expect("written").contains("at most one node leads"));
    let again = failing_test_in(&folder);
    assert!(again.contains("in 0 replays"), "the stored schedule runs first: {again}");
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn a_failure_tells_first_which_test_it_is_and_where_and_then_what_decided_it() {
    let folder = env::temp_dir().join(format!("synod-told-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let lines = include_str!("strategies.rs").lines().enumerate();
    let calls = lines.filter(|(_, line)| line.ends_with(r#".check("two_leaders");"#));
    let line = 1 + calls.last().expect("the failing test").0;
    let told = failing_test_under(&folder, &[("GITHUB_ACTIONS", "true"), ("SYNOD_SEED", "1000")]);
    let file = file!();
    for words in [
        format!("::error file={file},line={line}::two_leaders: at most one node leads: n"),
        format!("\nproperty violated: at most one node leads\n  in `two_leaders`, {file}:{line}\n"),
        String::from("\n  declared at algorithms/src/election/bully.rs:"),
        String::from("\n  found with seed 10"),
        String::from("\n  drew ("),
        String::from("\ndecided at step "),
        String::from(" fail from before it, 100% from after it\n"),
    ] {
        assert!(told.contains(&words), "{words}: {told}");
    }
    fs::remove_dir_all(folder.join("tests")).expect("removed");
    assert!(!failing_test_in(&folder).contains("::error"));
    fs::remove_dir_all(folder.join("tests")).expect("removed");
    let wrong = failing_test_under(&folder, &[("SYNOD_SEED", "dice")]);
    assert!(wrong.contains("SYNOD_SEED is `dice`: write a number"), "{wrong}");
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn processes_that_fail_side_by_side_store_one_schedule_in_the_folder_of_the_package() {
    let folder = env::temp_dir().join(format!("synod-beside-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let program = env::current_exe().expect("this test binary");
    // As a runner does that gives each test a process of its own, from wherever it stands.
    let begin = || {
        std::process::Command::new(&program)
            .args(["--exact", "strategies::the_failing_test", "--ignored", "--nocapture"])
            .current_dir(env::temp_dir())
            .env("CARGO_MANIFEST_DIR", &folder)
            .env("CARGO_PKG_NAME", "a-package")
            .env("NEXTEST", "1")
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the test binary")
    };
    let processes = [begin(), begin(), begin()];
    for process in processes {
        let output = process.wait_with_output().expect("it ends");
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let command = "cargo nextest run -p a-package strategies::the_failing_test ";
        assert!(told.contains(command), "{told}");
    }
    let stored = fs::read_dir(folder.join("tests/schedules")).expect("stored");
    let names: Vec<_> = stored.map(|it| it.expect("an entry").file_name()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
#[should_panic(expected = "there was never: [\"a node leads twice over\"]")]
fn a_test_in_which_something_should_happen_and_never_does_is_no_pass() {
    let scenario = bully().property(Property::sometimes("a node leads twice over", |_| false));
    Simulation::new(&scenario, 3).check("inconclusive");
}

#[test]
#[ignore = "fails on purpose, for the test above"]
fn the_failing_test() {
    let scenario = bully();
    Simulation::new(&scenario, 5).with(Fault::Partition).check("two_leaders");
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "leaky.number")]
struct Number(u64);

/// n1 and n2 send numbers to n3, at the start and a little later.
#[derive(Clone, Debug, Default, Hash)]
struct Numbers {
    heard: Vec<(NodeId, u64)>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "numbers.again", local)]
struct Again(u64);

impl Algorithm for Numbers {
    const NAME: &'static str = "numbers";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::again).on(Self::number)
    }

    fn start(&mut self, ctx: &mut Context) {
        self.again(Again(0), ctx);
    }
}

impl Numbers {
    fn again(&mut self, Again(from): Again, ctx: &mut Context) {
        if ctx.me() != NodeId(3) {
            (from..from + 4).for_each(|number| ctx.send(NodeId(3), &Number(number)));
            if from < 8 {
                ctx.after(std::time::Duration::from_millis(4), &Again(from + 4));
            }
        }
    }

    fn number(&mut self, Number(number): Number, from: NodeId) {
        self.heard.push((from, number));
    }
}

fn numbers() -> Scenario<Numbers> {
    Scenario::of(|_| Numbers::default())
}

#[test]
fn messages_that_draw_again_keep_their_order_on_their_lane() {
    let in_order = Property::always("in order", |cluster| {
        let heard = |from: u32| {
            let state: Option<&Numbers> = cluster.state(NodeId(3));
            let heard = state.map(|it| it.heard.clone()).unwrap_or_default();
            heard.into_iter().filter(move |(sender, _)| sender.0 == from).map(|(_, it)| it)
        };
        let sorted = |from| heard(from).eq(0..heard(from).count() as u64);
        if sorted(1) && sorted(2) { Ok(()) } else { Err(String::from("another order")) }
    });
    let scenario = numbers().property(in_order);
    Simulation::new(&scenario, 3).strategy(Strategy::Pos).run(0..500).expect_clean();
}

#[test]
fn a_run_that_drew_again_is_shrunk_to_one_that_does_not() {
    // n2 overtakes n1, is overtaken, and overtakes again.
    let property = Property::always("few turns", |cluster| {
        let state: Option<&Numbers> = cluster.state(NodeId(3));
        let heard = state.map(|it| it.heard.clone()).unwrap_or_default();
        let turns = heard.windows(2).filter(|pair| pair[0].0 != pair[1].0).count();
        if turns < 9 { Ok(()) } else { Err(format!("{turns} turns")) }
    });
    let scenario = numbers().property(property);
    let report = Simulation::new(&scenario, 3).strategy(Strategy::Pos).run(0..3_000);
    let failure = report.expect_failure();
    assert!(failure.is_minimal);
    assert!(
        !failure.text.contains("redraw") && !failure.text.contains("races"),
        "{}",
        failure.text
    );
}

#[test]
fn faults_beyond_the_model_happen_in_clusters_of_every_size_that_is_drawn() {
    let idle = |_| HandlerSet::with((), Handlers::<()>::new());
    let scenario = Scenario::new("idle", Model::ASYNCHRONOUS, idle).expect("no events clash");
    for (fault, sizes) in [(Fault::Crash, 2..=3), (Fault::Leave, 2..=3), (Fault::Crash, 1..=1)] {
        let simulation = Simulation::new(&scenario, 3).sizes(sizes.clone()).with(fault);
        let simulation = simulation.strategy(Strategy::Random);
        let report = simulation.run(0..40);
        report.expect_clean();
        assert_eq!(report.dropped, [Assumption::FaultBound]);
        let happened = report.counts.crashes + report.counts.leaves;
        assert!(5 < happened, "{fault:?} with {sizes:?} nodes: {happened}");
    }
}
