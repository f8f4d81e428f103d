//! Equal seed, equal bytes.

use std::ops::Range;

use synod_algorithms::Bully;
use synod_core::Algorithm;
use synod_simulator::{
    Counts, Fault, Scenario, Settings, Simulation, Strategy, Stream, Underway, run,
};

fn bully() -> Scenario<Bully> {
    Scenario::of(|_| Bully::default())
}

#[test]
fn a_seed_means_the_same_run_each_time() {
    let scenario = bully();
    let simulation = Simulation::new(&scenario, 5);
    for seed in 0..20 {
        let (one, other) = (simulation.trace(seed), simulation.trace(seed));
        assert_eq!(one.json_lines(), other.json_lines());
        assert_eq!(one.hash(), other.hash());
    }
}

#[test]
fn different_seeds_mean_different_runs() {
    let scenario = bully();
    let simulation = Simulation::new(&scenario, 5);
    assert_ne!(simulation.trace(1).hash(), simulation.trace(2).hash());
}

#[test]
fn neither_recording_nor_tracing_changes_a_run() {
    let settings = Settings::within(&Bully::MODEL, 5);
    for seed in 0..20 {
        let (plain, _) = run(&bully(), &settings, Stream::seeded(seed), false);
        let (recorded, _) = run(&bully(), &settings, Stream::recording(seed), false);
        let (traced, _) = run(&bully(), &settings, Stream::seeded(seed), true);
        assert_eq!(plain.counts, recorded.counts);
        assert_eq!(plain.counts, traced.counts);
    }
}

/// Changes with the generator, with what a run asks for, and with the format of a trace. Each of
/// them changes what a seed in a bug report means, so it is never done by the way.
const PINNED: &str = "84bbe548c62ffbca34ee5adda5e371a0";

#[test]
fn what_a_seed_means_is_pinned() {
    let scenario = bully();
    let simulation = Simulation::new(&scenario, 5).strategy(Strategy::Random);
    assert_eq!(simulation.trace(42).hash(), PINNED);
}

/// The numbers of single runs, added up until one fails.
fn one_by_one(simulation: &Simulation<'_>, seeds: Range<u64>) -> (u64, Counts) {
    let (mut runs, mut counts) = (0, Counts::default());
    for seed in seeds {
        let report = simulation.run(seed..seed + 1);
        runs += report.runs;
        counts.add(&report.counts);
        if report.failure.is_some() {
            break;
        }
    }
    (runs, counts)
}

#[test]
fn a_report_adds_up_its_runs_whatever_the_number_of_threads() {
    let scenario = bully();
    let simulation = Simulation::new(&scenario, 5);
    let expected = one_by_one(&simulation, 0..100);
    assert_eq!(expected.0, 100);
    for threads in [1, 2, 3, 7] {
        let simulation = Simulation::new(&scenario, 5).threads(threads);
        let report = simulation.run(0..100);
        report.expect_clean();
        assert_eq!((report.runs, report.counts), expected, "{threads} threads");
    }
}

#[test]
fn a_random_run_of_a_seed_is_the_stream_of_that_seed() {
    let scenario = bully();
    let simulation = Simulation::new(&scenario, 5).strategy(Strategy::Random);
    let mut counts = Counts::default();
    for seed in 0..50 {
        let (outcome, _) = run(&scenario, simulation.world(), Stream::seeded(seed), false);
        counts.add(&outcome.counts);
    }
    assert_eq!(simulation.run(0..50).counts, counts);
}

#[test]
fn a_report_of_a_failure_ends_with_the_lowest_seed_that_fails() {
    let scenario = bully();
    let partitioned = || Simulation::new(&scenario, 5).with(Fault::Partition);
    let report = partitioned().run(0..1_000);
    let failure = report.expect_failure();
    assert_eq!((report.runs, report.counts), one_by_one(&partitioned(), 0..1_000));
    assert_eq!(report.runs, failure.seed + 1);
    let again = partitioned().threads(1).run(0..1_000);
    assert_eq!(again.expect_failure().text, failure.text);
    assert_eq!(again.expect_failure().trace.hash(), failure.trace.hash());
}

#[test]
fn whoever_watches_sees_as_many_runs_end_as_there_are() {
    let underway = Underway::default();
    let scenario = bully();
    let report = Simulation::new(&scenario, 3).threads(2).watched(&underway).run(10..110);
    report.expect_clean();
    assert_eq!((report.runs, underway.ended(), underway.running()), (100, 100, Vec::new()));
}
