//! The counts that TLC gives for published TLA+ models, by the explorer.

#[path = "../published/models/mod.rs"]
mod models;
#[path = "../benches/explore/two_phase.rs"]
mod nodes;

use std::hash::Hash;

use synod_algorithms as algorithms;
use synod_core::{Algorithm, NodeId};
use synod_simulator::{Bounds, Explored, Scenario, explore};

use models::chang_roberts::{ANNOUNCING, AT_ONCE, COMPARING, ChangRoberts, PUBLISHED};
use models::echo::Echo;
use models::two_phase::TwoPhase;
use models::{Published, Specification};

fn explored<S: Specification>() -> Explored {
    let scenario = Scenario::of(|_| Published::<S>::default());
    let explored = explore(&scenario, &Bounds::within(&Published::<S>::MODEL, 1));
    explored.expect_complete();
    explored
}

/// TLA+ Examples, `transaction_commit`: 288 distinct states of 3 resource managers. 5 have 8,832.
#[test]
fn two_phase_commit_has_the_published_states() {
    assert_eq!(explored::<TwoPhase<3>>().states, 288);
    assert_eq!(explored::<TwoPhase<5>>().states, 8_832);
}

/// Every resource manager and the transaction manager a node, and the network one that repeats what it
/// carries for ever.
#[test]
fn two_phase_commit_has_the_published_states_as_a_cluster_too() {
    let as_cluster = |managers| {
        let scenario = Scenario::of(move |node| nodes::TwoPhase::of(managers, node));
        let explored = explore(&scenario, &nodes::TwoPhase::bounds(managers));
        explored.expect_complete();
        (explored.states, explored.depth)
    };
    let as_one = |explored: Explored| (explored.states, explored.depth);
    assert_eq!(as_cluster(1), as_one(explored::<TwoPhase<1>>()));
    assert_eq!(as_cluster(2), as_one(explored::<TwoPhase<2>>()));
    assert_eq!(as_cluster(3), as_one(explored::<TwoPhase<3>>()));
    assert_eq!((as_cluster(3).0, as_cluster(5).0), (288, 8_832));
}

/// TLA+ Examples, `chang_roberts`: 137 distinct states.
#[test]
fn chang_roberts_has_the_published_states() {
    assert_eq!(explored::<ChangRoberts<PUBLISHED>>().states, 137);
}

/// TLA+ Examples, `echo`: 75 distinct states.
#[test]
fn echo_has_the_published_states() {
    assert_eq!(explored::<Echo<false>>().states, 75);
}

/// The library's algorithm, on the nodes that run it.
fn library<A>(nodes: u32, make: impl Fn(NodeId) -> A + Send + Sync + 'static) -> u64
where
    A: Algorithm + Clone + std::fmt::Debug + Hash + Sync,
{
    let scenario = Scenario::of(make).with_workload();
    let explored = explore(&scenario, &Bounds::within(&A::MODEL, nodes));
    explored.expect_complete();
    explored.states
}

/// The published model takes several steps where the algorithm of the library has one handler.
#[test]
fn with_one_step_for_each_handler_the_published_echo_has_the_states_of_the_library() {
    let merged = explored::<Echo<true>>().states;
    assert_eq!((merged, library(3, |_| algorithms::Echo::default())), (29, 29));
}

/// Here the highest number is elected, there the smallest: 3, 2, 1 round the ring are 1, 2, 3.
#[test]
fn change_by_change_the_published_election_becomes_that_of_the_library() {
    assert_eq!(explored::<ChangRoberts<AT_ONCE>>().states, 24);
    assert_eq!(explored::<ChangRoberts<COMPARING>>().states, 14);
    assert_eq!(explored::<ChangRoberts<ANNOUNCING>>().states, 17);
    let numbered = |node: NodeId| algorithms::ChangRoberts::numbered(u64::from(4 - node.0));
    assert_eq!(library(3, numbered), 17);
}
