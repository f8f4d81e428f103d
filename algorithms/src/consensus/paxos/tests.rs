use std::collections::BTreeSet;

use synod_core::Envelope;
use synod_simulator::{Bounds, Fault, Scenario, Simulation, explore};

use super::*;
use crate::cost::cost;

/// Every node proposes a value of its own, at about the same time, n1 two.
fn all_propose(nodes: u32) -> Scenario<Paxos> {
    let mut scenario = Scenario::of(|_| Paxos::default());
    for node in 1..=nodes {
        let propose = Propose { operation: 1, value: 10 * u64::from(node) };
        scenario = scenario.trigger(NodeId(node), Duration::from_millis(node.into()), &propose);
    }
    let again = Propose { operation: 2, value: 11 };
    scenario
        .trigger(NodeId(1), Duration::from_millis(40), &again)
        .property(Property::monitor("a value that was proposed is returned, always one", judge))
}

fn judge() -> impl FnMut(NodeId, &Envelope) -> Verdict + Send {
    let (mut proposed, mut chosen) = (BTreeSet::new(), BTreeSet::new());
    move |_, told| {
        if told.event() == Invoked::ID {
            proposed.insert(told.open::<Invoked>().expect("an invocation").input);
        } else if told.event() == Returned::ID {
            chosen.insert(told.open::<Returned>().expect("a return").output);
        }
        match chosen.is_subset(&proposed) && chosen.len() <= 1 {
            true => Ok(()),
            false => Err(format!("{chosen:?} of {proposed:?}")),
        }
    }
}

/// n1 and n2 propose, in one ballot each. Both may fail, so nothing is promised but safety.
fn two_propose_once() -> Scenario<Paxos> {
    let once = Scenario::new(Paxos::NAME, Paxos::MODEL, |_| Paxos::giving_up_after(1));
    let once = once.expect("one algorithm").with_workload();
    once.property(Property::always("one value is chosen", one_value_is_chosen))
}

fn without_a_bound() -> Bounds {
    let mut bounds = Bounds::within(&Paxos::MODEL, 3);
    bounds.unbound();
    bounds
}

#[test]
fn three_nodes_in_every_schedule_with_a_crash_and_a_recovery() {
    let explored = explore(&two_propose_once(), &without_a_bound());
    explored.expect_complete();
    assert_eq!(explored.states, 212_859, "the header says so");
}

#[test]
fn five_nodes_by_ten_thousand_seeds() {
    let report = Simulation::new(&all_propose(5), 5).run(0..10_000);
    report.expect_clean();
    assert!(report.counts.crashes > 2_000, "{:?}", report.counts);
    assert!(report.counts.lost > 5_000, "{:?}", report.counts);
}

#[test]
fn four_nodes_of_which_half_are_no_majority() {
    Simulation::new(&all_propose(4), 4).run(0..2_000).expect_clean();
}

/// Two round trips with every other node, and word of what is chosen.
#[test]
fn a_proposer_alone_takes_five_messages_for_each_other_node_and_four_delays() {
    for nodes in 2..=6_u32 {
        let propose = Propose { operation: 1, value: 7 };
        let scenario = Scenario::of(|_| Paxos::default());
        let scenario = scenario.trigger(NodeId(nodes), Duration::ZERO, &propose);
        assert_eq!(cost(&scenario, nodes), (5 * u64::from(nodes - 1), 4), "{nodes} nodes");
    }
}

#[test]
fn partitions_and_long_delays_do_no_harm_once_they_are_over() {
    let scenario = all_propose(5);
    let simulation = Simulation::new(&scenario, 5).with(Fault::Partition).with(Fault::Clog);
    simulation.run(0..1_000).expect_clean();
}

#[test]
fn nothing_returns_while_a_majority_is_down() {
    let propose = Propose { operation: 1, value: 7 };
    let scenario = Scenario::of(|_| Paxos::giving_up_after(2));
    let scenario = scenario.trigger(NodeId(1), Duration::ZERO, &propose);
    let bounds = Bounds { crashes: 2, down_max: 2, recoveries: 0, ..without_a_bound() };
    let explored = explore(&scenario, &bounds);
    assert_eq!(explored.expect_failure().violation.property, "every proposal returns");
}

#[test]
fn proposals_return_in_time_in_a_large_cluster_too() {
    let nodes = 40;
    let mut scenario = Scenario::of(|_| Paxos::default());
    for node in nodes - 2..=nodes {
        let propose = Propose { operation: 1, value: node.into() };
        let at = 7 * Duration::from_millis((nodes - node).into());
        scenario = scenario.trigger(NodeId(node), at, &propose);
    }
    let simulation = Simulation::new(&scenario, nodes).settings(|world| world.lose *= 8);
    simulation.run(0..300).expect_clean();
}
