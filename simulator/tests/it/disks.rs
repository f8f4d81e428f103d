//! What of a node's records survives it, on disks that are sound and on disks that are not.

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Assumption, Cluster, Context, Event, Faults, Handlers, Model, Property, Tolerance,
    Verdict,
};
use synod_simulator::{
    Fault, Scenario, Schedule, Settings, Simulation, StepKind, Stream, replay, run,
};

use crate::kit::{N1, N2, ms, run_decided, watch_rest};

/// n1 counts: each number is made durable, and then told to n2, unless it is quiet.
#[derive(Clone, Debug, Default, Hash)]
struct Counter {
    is_quiet: bool,
    count: u32,
    heard: u32,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "counter.tick", local)]
struct Tick;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "counter.counted", local)]
struct Counted(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "counter.told")]
struct Told(u32);

impl Algorithm for Counter {
    const NAME: &'static str = "counter";
    const MODEL: Model =
        Model::ASYNCHRONOUS.tolerating(Faults::CrashRecovery(Tolerance::Exactly(1)));

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::tick)
            .on(|me: &mut Self, Told(count): Told| me.heard = me.heard.max(count))
            .restore(|me: &mut Self, Counted(count): Counted| {
                assert_eq!(count, me.count + 1, "records come back in order, without a gap");
                me.count = count;
            })
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("what is told is remembered", what_is_told_is_remembered)]
    }
}

impl Counter {
    fn tick(&mut self, _: Tick, ctx: &mut Context) {
        self.count += 1;
        ctx.persist(&Counted(self.count));
        if !self.is_quiet {
            ctx.send(N2, &Told(self.count));
        }
    }
}

fn what_is_told_is_remembered(cluster: &Cluster<'_, Counter>) -> Verdict {
    match (cluster.state(N1), cluster.state(N2)) {
        (Some(counter), Some(other)) if counter.count < other.heard => {
            Err(format!("{} was told, {} is remembered", other.heard, counter.count))
        }
        _ => Ok(()),
    }
}

/// Ten ticks, a hundred milliseconds apart.
fn counter(is_quiet: bool) -> Scenario<Counter> {
    let scenario = Scenario::of(move |_| Counter { is_quiet, ..Counter::default() });
    (1..=10).fold(scenario, |scenario, tick| scenario.trigger(N1, ms(100 * tick), &Tick))
}

fn two_seconds(simulation: Simulation<'_, Counter>) -> Simulation<'_, Counter> {
    simulation.settings(|world| (world.time_us, world.down_us) = (2_000_000, 100_000))
}

/// The world of the decided runs: two nodes, crashes, and disks as `faults` says.
fn world(faults: impl Fn(&mut Settings)) -> Settings {
    let mut settings = Settings { crashes: 1, down_max: 1, down_us: 100_000, ..Settings::calm(2) };
    settings.time_us = 2_000_000;
    faults(&mut settings);
    settings
}

/// n1 crashes between its fifth tick and its sixth.
const CRASH: [&str; 2] = ["crash.node 1 #1 = 1", "crash.at 1 #1 = 550000"];

#[test]
fn a_sound_disk_keeps_whatever_something_has_left_behind() {
    let scenario = counter(false);
    let report = two_seconds(Simulation::new(&scenario, 2)).run(0..500);
    report.expect_clean();
}

#[test]
fn what_nothing_has_left_behind_may_be_lost_the_last_first() {
    let (scenario, seen) = watch_rest(counter(true), |cluster| Some(cluster.state(N1)?.count));
    for lost in 0..=5 {
        let kept = format!("disk.kept n1 #1 = {lost}");
        let outcome = run_decided(&scenario, &world(|_| ()), &[CRASH[0], CRASH[1], &kept]);
        assert_eq!(outcome.violation, None);
    }
    // Five before the crash, of which some are kept, and five after it.
    assert_eq!(seen.list(), [5, 6, 7, 8, 9, 10]);
}

#[test]
fn a_disk_that_lies_about_its_syncs_loses_what_was_told_and_the_assumption_is_named() {
    let scenario = counter(false);
    let simulation = two_seconds(Simulation::new(&scenario, 2)).with(Fault::Disk);
    let simulation = simulation.settings(|world| (world.sync_fail, world.rot) = (0, 0));
    let report = simulation.run(0..2_000);
    let failure = report.expect_failure();
    assert_eq!(failure.violation.property, "what is told is remembered");
    assert_eq!(report.dropped, [Assumption::KeptDisk]);
    assert!(failure.text.contains("dropped disks keep what was made durable"), "{}", failure.text);
    assert!(failure.text.contains("decide disk.lie n1"), "{}", failure.text);
    let schedule: Schedule = failure.text.parse().expect("a schedule reads back");
    let again = replay(&scenario, &schedule);
    assert_eq!(again.trace.hash(), failure.trace.hash());
    assert_eq!(again.violation.as_ref(), Some(&failure.violation));
}

#[test]
fn a_node_whose_disk_has_rotted_does_not_come_back_and_says_why() {
    let decided = [CRASH[0], CRASH[1], "disk.rot n1 #1 = 1", "disk.rot.at n1 #1 = 800"];
    let outcome = run_decided(&counter(false), &world(|it| it.rot = 1), &decided);
    assert_eq!(outcome.violation, None);
    let told = outcome.trace.steps.iter().find(|step| step.kind == StepKind::Fault);
    let told = &told.expect("it is told").event;
    assert!(told.contains("does not come back: node.log is damaged at byte"), "{told}");
    assert!(outcome.trace.steps.iter().all(|step| step.kind != StepKind::Restart));
}

#[test]
fn a_sync_that_fails_ends_the_node_before_anything_leaves_and_it_comes_back() {
    let settings = world(|it| it.sync_fail = 1);
    // The first four are those of the log's beginning.
    let outcome = run_decided(&counter(false), &settings, &["disk.fail n1 #7 = 1"]);
    assert_eq!(outcome.violation, None);
    assert_eq!(outcome.counts.crashes, 1);
    let kinds: Vec<StepKind> = outcome.trace.steps.iter().map(|step| step.kind).collect();
    let at = |kind| kinds.iter().position(|it| *it == kind).expect("it happens");
    assert!(
        at(StepKind::Fault) < at(StepKind::Crash) && at(StepKind::Crash) < at(StepKind::Restart)
    );
}

#[test]
fn a_run_with_faulty_disks_is_a_function_of_its_seed() {
    let scenario = counter(false);
    let mut settings = Settings::within(&Counter::MODEL, 2);
    settings.add(Fault::Disk, &Counter::MODEL);
    assert_eq!(settings.kinds().last(), Some(&"disk"));
    let hash = |seed| run(&scenario, &settings, Stream::seeded(seed), true).0.trace.hash();
    for seed in 0..50 {
        assert_eq!(hash(seed), hash(seed), "seed {seed}");
    }
    // A recorded run with all its decisions is the same run.
    let (recorded, stream) = run(&scenario, &settings, Stream::recording(7), true);
    let replayed = run(&scenario, &settings, Stream::replaying(&stream.decisions()), true).0;
    assert_eq!(recorded.trace.hash(), replayed.trace.hash());
}
