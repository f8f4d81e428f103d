use synod_core::{Algorithm, Assumption};
use synod_simulator::{Bounds, Fault, Scenario, Simulation, explore};

use super::Bully;

fn scenario() -> Scenario<Bully> {
    Scenario::of(|_| Bully::default())
}

#[test]
fn three_nodes_in_every_schedule_with_a_crash_and_a_recovery() {
    let explored = explore(&scenario(), &Bounds::within(&Bully::MODEL, 3));
    explored.expect_complete();
    assert_eq!(explored.states, 51_221, "the header says so");
}

#[test]
fn five_nodes_by_ten_thousand_seeds() {
    let report = Simulation::new(&scenario(), 5).run(0..10_000);
    report.expect_clean();
    assert!(report.counts.crashes > 5_000, "{:?}", report.counts);
}

#[test]
fn two_nodes_lead_when_delays_have_no_bound() {
    let mut bounds = Bounds::within(&Bully::MODEL, 3);
    assert_eq!(bounds.unbound(), Some(Assumption::BoundedDelay));
    let explored = explore(&scenario(), &bounds);
    let failure = explored.expect_failure();
    assert_eq!(failure.violation.property, "at most one node leads");
}

#[test]
fn two_nodes_lead_when_the_network_falls_apart() {
    let scenario = scenario();
    let report = Simulation::new(&scenario, 5).with(Fault::Partition).run(0..1_000);
    let failure = report.expect_failure();
    assert_eq!(failure.violation.property, "at most one node leads");
    assert_eq!(report.dropped, [Assumption::NoPartition]);
}

#[test]
fn a_found_violation_is_shrunk_to_a_few_steps_and_named_with_what_was_dropped() {
    let scenario = scenario();
    let report = Simulation::new(&scenario, 5).with(Fault::Partition).run(0..100);
    let failure = report.expect_failure();
    assert!(failure.trace.steps.len() < 12, "{}", failure.block());
    assert_eq!(failure.schedule.dropped, ["there are no partitions"]);
}
