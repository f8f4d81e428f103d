//! What of a node's records survives it, on disks that are sound and on disks that are not.

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Assumption, Cluster, Context, Event, Faults, Handlers, Model, Property, Tolerance,
    Verdict,
};
use synod_simulator::{
    Bounds, DiskFault, Exploration, Fault, Recorded, Scenario, Schedule, Settings, Simulation,
    StepKind, Stream, explore, replay, run,
};

use crate::kit::{N1, N2, calm_bounds, ms, run_decided, watch_rest};

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
struct Counted(u32, Vec<u8>);

/// What a record holds besides the number: more than a sector, so that a part of it can survive.
const PADDING: usize = 700;

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
            .restore(|me: &mut Self, Counted(count, _): Counted| {
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
        ctx.persist(&Counted(self.count, vec![0; PADDING]));
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

fn two_seconds(simulation: Simulation<'_>) -> Simulation<'_> {
    simulation.settings(|world| (world.time_us, world.down_us) = (2_000_000, 100_000))
}

/// The world of the decided runs: two nodes, crashes, and disks as `faults` says.
fn world(faults: impl Fn(&mut Settings)) -> Settings {
    let mut settings = Settings { crashes: 1, down_max: 1, down_us: 100_000, ..Settings::calm(2) };
    settings.time_us = 2_000_000;
    faults(&mut settings);
    settings
}

/// One fault of a disk.
fn spoil(settings: &mut Settings, fault: DiskFault) {
    (settings.disks, settings.disk_faults, settings.disk_us) = (1, vec![fault], 500_000);
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
    let lies = Fault::DiskOnly(DiskFault::Lie);
    let report = two_seconds(Simulation::new(&scenario, 2)).with(lies).run(0..2_000);
    let failure = report.expect_failure();
    assert_eq!(failure.violation.property, "what is told is remembered");
    assert_eq!(report.dropped, [Assumption::KeptDisk]);
    assert!(failure.text.contains("dropped disks keep what was made durable"), "{}", failure.text);
    assert!(failure.text.contains("decide disk.node 1 #1 = 1"), "{}", failure.text);
    let words = failure.trace.steps.iter().map(|step| step.event.as_str());
    assert!(0 < words.filter(|it| *it == DiskFault::Lie.words()).count(), "{}", failure.text);
    let schedule: Schedule = failure.text.parse().expect("a schedule reads back");
    let again = replay(&scenario, &schedule);
    assert_eq!(again.trace.hash(), failure.trace.hash());
    assert_eq!(again.violation.as_ref(), Some(&failure.violation));
}

#[test]
fn a_node_whose_disk_has_rotted_does_not_come_back_and_says_why() {
    let rots = ["disk.node 1 #1 = 1", "disk.at 1 #1 = 520000", "disk.rot.at n1 #1 = 800"];
    let decided = [CRASH.as_slice(), &rots].concat();
    let outcome = run_decided(&counter(false), &world(|it| spoil(it, DiskFault::Rot)), &decided);
    assert_eq!(outcome.violation, None);
    let faults = outcome.trace.steps.iter().filter(|step| step.kind == StepKind::Fault);
    let faults: Vec<&str> = faults.map(|step| step.event.as_str()).collect();
    assert_eq!(faults[0], "a bit of node.log flips, in byte 100");
    let told = faults[1];
    assert!(told.contains("does not come back: node.log is damaged at byte"), "{told}");
    assert!(outcome.trace.steps.iter().all(|step| step.kind != StepKind::Restart));
}

#[test]
fn a_sync_that_fails_ends_the_node_before_anything_leaves_and_it_comes_back() {
    let settings = world(|it| spoil(it, DiskFault::Fail));
    let decided = ["disk.node 1 #1 = 1", "disk.at 1 #1 = 250000"];
    let outcome = run_decided(&counter(false), &settings, &decided);
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
    assert_eq!(settings.kinds().last(), Some(&"disk-rot"));
    let hash = |seed| run(&scenario, &settings, Stream::seeded(seed), true).0.trace.hash();
    for seed in 0..50 {
        assert_eq!(hash(seed), hash(seed), "seed {seed}");
    }
    // A recorded run with all its decisions is the same run.
    let (recorded, stream) = run(&scenario, &settings, Stream::recording(7), true);
    let replayed = run(&scenario, &settings, Stream::replaying(&stream.decisions()), true).0;
    assert_eq!(recorded.trace.hash(), replayed.trace.hash());
}

/// The words of all runs of `seeds` in which `fault` happened, and which of them failed.
fn runs_with(fault: DiskFault, seeds: std::ops::Range<u64>) -> (Vec<Vec<String>>, Vec<String>) {
    let scenario = counter(false);
    let settings = world(|it| spoil(it, fault));
    let (mut happened, mut failed) = (Vec::new(), Vec::new());
    for seed in seeds {
        let (outcome, _) = run(&scenario, &settings, Stream::seeded(seed), true);
        failed.extend(outcome.violation.map(|it| it.reason));
        if outcome.disk_faults.contains(&fault) {
            let steps = outcome.trace.steps.into_iter();
            happened.push(steps.map(|step| step.event).collect());
        }
    }
    (happened, failed)
}

#[test]
fn every_fault_of_a_disk_happens_and_is_told_and_the_log_never_serves_what_is_damaged() {
    for fault in DiskFault::ALL {
        let (happened, failed) = runs_with(fault, 0..150);
        assert!(5 < happened.len(), "{fault:?} in {} of 150 runs", happened.len());
        let words = if fault == DiskFault::Rot { "a bit of node." } else { fault.words() };
        let tells = |run: &Vec<String>| run.iter().any(|it| it.starts_with(words));
        assert!(happened.iter().all(tells), "{fault:?}");
        let refused =
            happened.iter().flatten().filter(|it| it.starts_with("does not come back: ")).count();
        match fault {
            // Nothing in a log tells a sync that was not made from one that was never asked for.
            DiskFault::Lie => assert!(failed.iter().all(|it| it.contains("is remembered"))),
            _ => {
                assert_eq!(failed, [""; 0], "{fault:?}");
                assert_eq!(0 < refused, fault.damages(), "{fault:?}: {refused}");
            }
        }
    }
}

#[test]
fn a_node_without_room_ends_and_comes_back_when_there_is_room() {
    let settings = world(|it| spoil(it, DiskFault::Full));
    let decided = ["disk.node 1 #1 = 1", "disk.at 1 #1 = 250000", "disk.for 1 #1 = 400000"];
    let outcome = run_decided(&counter(false), &settings, &decided);
    assert_eq!(outcome.violation, None);
    let told = |words: &str| {
        let found = outcome.trace.steps.iter().find(|step| step.event.contains(words));
        found.map(|step| step.time_us).unwrap_or_else(|| panic!("{words} is never told"))
    };
    assert_eq!(told("its disk is full"), 300_000);
    assert!(told("does not come back yet: ") < 650_000);
    assert!(650_000 < told("restarts"));
}

#[test]
fn what_is_written_when_the_power_goes_survives_in_any_part() {
    let (scenario, seen) = watch_rest(counter(true), |cluster| Some(cluster.state(N1)?.count));
    let settings = world(|it| spoil(it, DiskFault::Torn));
    for seed in 0..150 {
        let (outcome, _) = run(&scenario, &settings, Stream::seeded(seed), false);
        assert_eq!(outcome.violation, None, "seed {seed}");
    }
    let mut counts = seen.list();
    counts.sort_unstable();
    counts.dedup();
    assert!(4 < counts.len(), "{counts:?}");
}

#[test]
fn disks_fail_within_the_budget_of_nodes_that_may_be_down() {
    let mut settings = world(|it| it.crashes = 3);
    settings.add(Fault::Disk, &Counter::MODEL);
    settings.disks = 10;
    let scenario = counter(false);
    for seed in 0..100 {
        let trace = run(&scenario, &settings, Stream::seeded(seed), true).0.trace;
        let mut down = 0_i32;
        for step in &trace.steps {
            down += i32::from(step.kind == StepKind::Crash);
            down -= i32::from(step.kind == StepKind::Restart);
            assert!(down <= 1, "seed {seed}: {down} nodes are down");
        }
    }
}

#[test]
fn a_world_whose_disks_may_do_nothing_wrong_is_refused_where_faults_are_planned() {
    let text = "synod schedule 1\nalgorithm counter\n\
        settings {\"nodes\":2,\"time_us\":1,\"delay_min_us\":1,\"delay_max_us\":1,\"tail\":0,\
        \"tail_max_us\":0,\"lose\":0,\"lose_datagram\":0,\"duplicate\":0,\"crashes\":0,\"down_max\":0,\
        \"down_us\":0,\"partitions\":0,\"partition_us\":0,\"disks\":2}\nseed 1\n";
    let told = text.parse::<Schedule>().expect_err("no kind of fault").to_string();
    assert!(told.contains("`disks` is 2, and `disk_faults` names none"), "{told}");
}

fn three_ticks(first: Counter) -> Scenario<Counter> {
    let scenario = Scenario::of(move |_| first.clone());
    (0..3).fold(scenario, |scenario, _| scenario.trigger(N1, ms(0), &Tick))
}

/// A crash of n1 or n2, with so many syncs that lie.
fn one_crash(lies: u32) -> Bounds {
    Bounds { crashes: 1, recoveries: 1, down_max: 1, lies, ..calm_bounds(2) }
}

/// Whether n1 can come back without its last `lost` records after it counted to two.
fn can_lose(is_quiet: bool, lies: u32, lost: u32) -> bool {
    let tick = "deliver counter.tick n1>n1";
    let restart = format!("restart n1 without {lost}");
    let actions = [tick, tick, "crash n1", &restart].map(String::from).to_vec();
    let schedule = Schedule {
        algorithm: String::from("counter"),
        property: None,
        dropped: Vec::new(),
        run: Recorded::Explored { bounds: one_crash(lies), actions },
    };
    let scenario = three_ticks(Counter { is_quiet, ..Counter::default() });
    let steps = replay(&scenario, &schedule).trace.steps;
    steps.last().is_some_and(|step| step.kind == StepKind::Restart)
}

#[test]
fn an_exploration_loses_any_number_of_the_records_that_nothing_left_behind() {
    let most = |is_quiet, lies| (1..4).take_while(|lost| can_lose(is_quiet, lies, *lost)).count();
    assert_eq!([0, 1, 2, 3].map(|lies| most(true, lies)), [2; 4], "nothing was told");
    assert_eq!([0, 1, 2, 3].map(|lies| most(false, lies)), [0, 1, 2, 2], "each sync may lie");
    assert!(!can_lose(true, 0, 3) && !can_lose(false, 1, 2));
}

#[test]
fn what_a_lying_disk_breaks_is_outside_the_model_and_replayed() {
    let scenario = three_ticks(Counter::default());
    explore(&scenario, &one_crash(0)).expect_complete();
    for exploration in [
        Exploration::new(&scenario, one_crash(1)),
        Exploration::new(&scenario, one_crash(1)).depth_first(),
    ] {
        let explored = exploration.run();
        let failure = explored.expect_failure();
        assert_eq!(failure.schedule.dropped, [Assumption::KeptDisk.to_string()]);
        let again = replay(&scenario, &failure.schedule);
        assert_eq!(again.violation.as_ref(), Some(&failure.violation));
    }
}
