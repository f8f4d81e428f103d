//! The models on synod's explorer: breadth first, by one thread, without faults.

use std::hash::Hash;

use synod_core::{Algorithm, NodeId};
use synod_simulator::{Bounds, Scenario, explore};

use super::abd::Abd;
use super::paxos::Paxos;
use super::two_phase::TwoPhase;
use super::work::{Count, Model, Registers};

pub(crate) fn explored(model: Model) -> Count {
    match model {
        Model::TwoPhase(managers) => of(1, move |_| TwoPhase::of(managers)),
        Model::Paxos(registers) => of(nodes(registers), move |node| Paxos::of(registers, node)),
        Model::Abd(registers) => of(nodes(registers), move |node| Abd::of(registers, node)),
    }
}

fn nodes(Registers { clients, servers }: Registers) -> u32 {
    clients + servers
}

fn of<A>(nodes: u32, make: impl Fn(NodeId) -> A + Send + Sync + 'static) -> Count
where
    A: Algorithm + Clone + Hash + Sync,
{
    let found = explore(&Scenario::of(make), &Bounds::within(&A::MODEL, nodes));
    found.expect_complete();
    Count { states: found.states, transitions: found.transitions }
}
