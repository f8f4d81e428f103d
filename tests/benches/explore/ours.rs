//! The models on synod's explorer: breadth first, by one thread, without faults.

use std::hash::Hash;

use synod_core::{Algorithm, Cluster, NodeId, Property, Verdict};
use synod_simulator::{Bounds, Exploration, Explored, Scenario, explore};

use super::abd::{Abd, a_stamp_has_one_value};
use super::paxos::{Paxos, one_value_is_decided};
use super::published::{Published, two_phase};
use super::two_phase::TwoPhase;
use super::work::{Count, Model, ONE_NODE, Registers};

/// Visits of states in a reduced exploration, at most: it pays for few messages only.
const VISITS_MAX: u64 = 3_000_000;

pub(crate) fn explored(model: Model) -> Count {
    match model {
        Model::TwoPhase(managers) => {
            of(move |node| TwoPhase::of(managers, node), &TwoPhase::bounds(managers))
        }
        Model::OneNode => of(|_| Published::<two_phase::TwoPhase<ONE_NODE>>::default(), &calm(1)),
        Model::Paxos(registers) => {
            of(move |node| Paxos::of(registers, node), &calm(nodes(registers)))
        }
        Model::Abd(registers) => of(move |node| Abd::of(registers, node), &calm(nodes(registers))),
    }
}

fn nodes(Registers { clients, servers }: Registers) -> u32 {
    clients + servers
}

/// No faults, and no bound on delays.
fn calm(nodes: u32) -> Bounds {
    Bounds::within(&synod_core::Model::ASYNCHRONOUS, nodes)
}

fn of<A>(make: impl Fn(NodeId) -> A + Send + Sync + 'static, bounds: &Bounds) -> Count
where
    A: Algorithm + Clone + std::fmt::Debug + Hash + Sync,
{
    // The other explorer runs no handler twice, and none under watch.
    let bounds = Bounds { audited: false, ..bounds.clone() };
    let found = explore(&Scenario::of(make), &bounds);
    found.expect_complete();
    Count { states: found.states, transitions: found.transitions }
}

/// Explores one run for each order of dependent events, and holds the property where nothing is
/// under way. In two-phase commit something always is.
pub(crate) fn reduced(model: Model) -> Option<Explored> {
    match model {
        Model::TwoPhase(_) | Model::OneNode => None,
        Model::Paxos(registers) => {
            let make = move |node| Paxos::of(registers, node);
            Some(reduced_of(nodes(registers), make, one_value_is_decided))
        }
        Model::Abd(registers) => {
            let make = move |node| Abd::of(registers, node);
            Some(reduced_of(nodes(registers), make, a_stamp_has_one_value))
        }
    }
}

fn reduced_of<A>(
    nodes: u32,
    make: impl Fn(NodeId) -> A + Send + Sync + 'static,
    holds: fn(&Cluster<'_, A>) -> Verdict,
) -> Explored
where
    A: Algorithm + Clone + std::fmt::Debug + Hash + Sync,
{
    let scenario = Scenario::new(A::NAME, A::MODEL, make).expect("event types that fit together");
    let scenario = scenario.property(Property::at_rest("the property", holds));
    let bounds = Bounds { states_max: VISITS_MAX, ..Bounds::within(&A::MODEL, nodes) };
    let reduced = Exploration::new(&scenario, bounds).reduced();
    let found = reduced.expect("a property that a reduced exploration does not miss").run();
    assert!(found.failure.is_none(), "a property is violated");
    found
}
