//! How seeds become runs, what is asked of sets of runs, and what a test does with a failure.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, fs};

use serde::{Deserialize, Serialize};
use synod_algorithms::Bully;
use synod_algorithms::election::bully::Elected;
use synod_core::{Algorithm, Context, Event, Handlers, NodeId, Property};
use synod_simulator::{Bounds, Fault, Scenario, Simulation, Strategy, explore};

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
fn a_swarm_tells_what_it_drew_and_draws_cluster_sizes_too() {
    let scenario = bully();
    let report = Simulation::new(&scenario, 5)
        .strategy(Strategy::Swarm)
        .sizes(3..=6)
        .with(Fault::Loss)
        .run(0..200);
    let on = report.drawn.get("crash").copied().unwrap_or(0);
    assert!((40..=160).contains(&on), "crashes were on in {on} of 200 runs");
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
    assert_eq!(report.expect_failure().violation.reason, "21 messages");
}

/// Sends a number that depends on how often it was run in this process.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Leaky;

static RUNS: AtomicU64 = AtomicU64::new(0);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "leaky.number")]
struct Number(u64);

impl Algorithm for Leaky {
    const NAME: &'static str = "leaky";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|_: &mut Self, _: Number| ())
    }

    fn start(&mut self, ctx: &mut Context) {
        let me = ctx.me();
        let number = Number(RUNS.fetch_add(1, Ordering::Relaxed));
        ctx.send_where(&number, |peer| peer != me);
    }
}

#[test]
fn a_handler_that_is_no_function_of_its_inputs_is_named() {
    let scenario = Scenario::of(|_| Leaky).showing_states();
    let report = Simulation::new(&scenario, 2).run(0..100);
    let divergence = report.divergence.expect("two executions differ");
    assert_eq!((divergence.step, divergence.node), (0, Some(NodeId(1))));
    let text = divergence.to_string();
    for words in ["not deterministic: step 0", "n1 on starts", "Number(", "usual causes"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_failing_test_stores_its_schedule_which_runs_first_the_next_time() {
    let folder = env::temp_dir().join(format!("synod-check-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let told = |program: &Path| {
        let output = std::process::Command::new(program)
            .args(["--exact", "strategies::the_failing_test", "--ignored", "--nocapture"])
            .current_dir(&folder)
            .output()
            .expect("the test binary");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let program = env::current_exe().expect("this test binary");
    let first = told(&program);
    for words in [
        "property violated: at most one node leads",
        "state when it broke",
        "keep it   git add tests/schedules/two_leaders-",
        "strategies.rs",
        "partition",
    ] {
        assert!(first.contains(words), "{words}: {first}");
    }
    let stored: Vec<_> = fs::read_dir(folder.join("tests/schedules")).expect("stored").collect();
    assert_eq!(stored.len(), 1);
    let again = told(&program);
    assert!(again.contains("in 0 replays"), "the stored schedule runs first: {again}");
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
#[ignore = "fails on purpose, for the test above"]
fn the_failing_test() {
    let scenario = bully();
    Simulation::new(&scenario, 5).with(Fault::Partition).check("two_leaders");
}
