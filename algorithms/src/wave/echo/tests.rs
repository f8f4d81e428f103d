use std::collections::BTreeMap;
use std::time::Duration;

use synod_core::Assumption;
use synod_simulator::{Bounds, Fault, Scenario, Settings, Simulation, Stream, explore, run};

use super::*;

fn meshed() -> Scenario<Echo> {
    Scenario::of(|_| Echo::default()).with_workload()
}

/// A network with these links, and a wave that n1 begins.
fn network(links: &[(u32, u32)]) -> Scenario<Echo> {
    let mut neighbours: BTreeMap<NodeId, BTreeSet<NodeId>> = BTreeMap::new();
    for (one, other) in links.iter().map(|(one, other)| (NodeId(*one), NodeId(*other))) {
        neighbours.entry(one).or_default().insert(other);
        neighbours.entry(other).or_default().insert(one);
    }
    Scenario::of(move |node| Echo::linked(neighbours.get(&node).cloned().unwrap_or_default()))
        .trigger(NodeId(1), Duration::ZERO, &Begin)
}

const PATH: &[(u32, u32)] = &[(1, 2), (2, 3), (3, 4), (4, 5)];
const STAR: &[(u32, u32)] = &[(3, 1), (3, 2), (3, 4), (3, 5)];
const RING: &[(u32, u32)] = &[(1, 2), (2, 3), (3, 4), (4, 5), (5, 1)];
/// Two triangles that share a link, and a leaf.
const KITE: &[(u32, u32)] = &[(1, 2), (2, 3), (3, 1), (2, 4), (3, 4), (4, 5)];

#[test]
fn three_nodes_all_linked_and_a_ring_with_a_chord_in_every_schedule() {
    let explored = explore(&meshed(), &Bounds::within(&Echo::MODEL, 3));
    explored.expect_complete();
    assert_eq!(explored.states, 29, "the header says so");
    let chord = network(&[(1, 2), (2, 3), (3, 4), (4, 1), (1, 3)]);
    let explored = explore(&chord, &Bounds::within(&Echo::MODEL, 4));
    explored.expect_complete();
    assert_eq!(explored.states, 343, "the header says so");
}

#[test]
fn networks_of_five_by_ten_thousand_seeds() {
    for links in [PATH, STAR, RING, KITE] {
        Simulation::new(&network(links), 5).run(0..2_500).expect_clean();
    }
}

/// Tel, the chapter on wave algorithms: each link carries one message each way.
#[test]
fn a_wave_takes_two_messages_for_each_link_whatever_the_delays() {
    let mesh: Vec<(u32, u32)> =
        (1..5).flat_map(|one| (one + 1..=5).map(move |other| (one, other))).collect();
    for links in [PATH, STAR, RING, KITE, &mesh] {
        for seed in 0..50 {
            let settings = Settings { tail: 200_000, tail_max_us: 900_000, ..Settings::calm(5) };
            let (outcome, _) = run(&network(links), &settings, Stream::seeded(seed), false);
            assert_eq!(outcome.violation, None);
            assert_eq!(outcome.counts.sent, 2 * links.len() as u64, "{links:?}");
        }
    }
}

#[test]
fn a_node_without_neighbours_has_its_wave_back_at_once() {
    let explored = explore(&meshed(), &Bounds::within(&Echo::MODEL, 1));
    explored.expect_complete();
    assert_eq!((explored.states, explored.depth), (2, 1));
}

#[test]
fn a_lost_message_keeps_the_wave_from_coming_back() {
    let scenario = meshed();
    let report = Simulation::new(&scenario, 4).with(Fault::Loss).run(0..1_000);
    let failure = report.expect_failure();
    assert_eq!(failure.violation.property, "a wave that has begun is back");
    assert_eq!(report.dropped, [Assumption::NoLoss]);
}

#[test]
fn a_message_that_arrives_twice_counts_nodes_twice() {
    let scenario = meshed();
    let report = Simulation::new(&scenario, 4).with(Fault::Duplication).run(0..1_000);
    let failure = report.expect_failure();
    assert_eq!(failure.violation.property, "a wave that is back was everywhere once");
    assert_eq!(report.dropped, [Assumption::NoDuplication]);
}
