use synod_simulator::{Bounds, Scenario, Simulation, StepKind, explore};

use super::*;

fn scenario() -> Scenario<HelloWorld> {
    Scenario::of(|_| HelloWorld::default())
}

#[test]
fn every_schedule_of_two_and_of_three_nodes() {
    for (nodes, states) in [(2, 3), (3, 9)] {
        let explored = explore(&scenario(), &Bounds::within(&HelloWorld::MODEL, nodes));
        explored.expect_complete();
        assert_eq!(explored.states, states, "the header says so");
    }
}

#[test]
fn whatever_the_seed_two_nodes_exchange_one_hello_and_one_goodbye() {
    let scenario = scenario();
    let simulation = Simulation::new(&scenario, 2);
    simulation.run(0..1_000).expect_clean();
    for seed in 0..10 {
        let steps = simulation.trace(seed).steps;
        let delivered = steps.iter().filter(|step| step.kind == StepKind::Deliver);
        let events: Vec<&str> = delivered.map(|step| step.event.as_str()).collect();
        assert_eq!(events, ["hello.hello", "hello.goodbye"]);
        assert!(steps.iter().any(|step| step.log == ["hello, Bob Marley, 50"]));
    }
}
