//! The models of `benches/explore` on Stateright, explored breadth first by one thread.

mod abd;
mod paxos;
mod register;
mod two_phase;
#[path = "../../benches/explore/work.rs"]
mod work;

use std::hash::Hash;

use stateright::{Checker, Model};

use work::{Count, Report, Way, Work};

fn main() {
    let Work { model, way } = Work::told(0).expect("MODEL CLIENTS SERVERS WAY");
    let report = Report::of(|| match (model, way) {
        (work::Model::TwoPhase(managers), _) => two_phase::TwoPhase { managers }.explored(),
        (work::Model::OneNode, _) => two_phase::TwoPhase { managers: work::ONE_NODE as u32 }.explored(),
        (work::Model::Paxos(registers), Way::Taken) => paxos::taken(registers).explored(),
        (work::Model::Paxos(registers), Way::Kept) => paxos::kept(registers).explored(),
        (work::Model::Abd(registers), Way::Taken) => abd::taken(registers).explored(),
        (work::Model::Abd(registers), Way::Kept) => abd::kept(registers).explored(),
    });
    println!("{}", report.line());
}

/// A model that can be explored.
trait Explored {
    fn explored(self) -> Count;
}

impl<M> Explored for M
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + PartialEq + Send + Sync,
{
    fn explored(self) -> Count {
        let checker = self.checker().threads(1).spawn_bfs().join();
        assert!(checker.discoveries().is_empty(), "a property is violated");
        // Its count of states is that of all that it generated, the initial ones with them.
        let (states, generated) = (checker.unique_state_count(), checker.state_count());
        Count { states: states as u64, transitions: (generated - 1) as u64 }
    }
}
