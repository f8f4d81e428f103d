//! An algorithm behind a pointer: what the commands do with it.

use std::hash::Hash;
use std::ops::Range;

use serde::Serialize;
use synod_core::{Algorithm, Model, NodeId};
use synod_runtime::NodeBuilder;
use synod_simulator::{
    Bounds, Explored, Fault, Replay, Report, Scenario, Schedule, Settings, Simulation, explore,
    replay,
};

/// An algorithm that the program knows by name.
pub(crate) trait Entry {
    fn name(&self) -> &'static str;
    fn model(&self) -> Model;
    fn properties(&self) -> Vec<&'static str>;
    fn simulate(&self, asked: &Asked) -> Report;
    fn explore(&self, bounds: &Bounds) -> Explored;
    fn replay(&self, schedule: &Schedule) -> Replay;
    fn node(&self, id: NodeId, peers: Vec<NodeId>) -> NodeBuilder;
}

/// What a simulation is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) nodes: u32,
    pub(crate) seeds: Range<u64>,
    /// Nothing but calm; else what the model allows.
    pub(crate) calm: bool,
    /// Kinds of faults on top.
    pub(crate) faults: Vec<Fault>,
    pub(crate) time_us: Option<u64>,
}

/// The entry of one algorithm.
pub(crate) struct Registered<A: Algorithm>(Scenario<A>);

impl<A: Algorithm + Default + Serialize> Default for Registered<A> {
    fn default() -> Self {
        Self(Scenario::of(|_| A::default()).showing_states())
    }
}

impl<A: Algorithm + Clone + Default + Hash + Serialize> Entry for Registered<A> {
    fn name(&self) -> &'static str {
        A::NAME
    }

    fn model(&self) -> Model {
        A::MODEL
    }

    fn properties(&self) -> Vec<&'static str> {
        self.0.properties().iter().map(|property| property.name).collect()
    }

    fn simulate(&self, asked: &Asked) -> Report {
        let mut simulation = Simulation::new(&self.0, asked.nodes);
        if asked.calm {
            simulation = simulation.calm();
        }
        for fault in &asked.faults {
            simulation = simulation.with(*fault);
        }
        if let Some(time_us) = asked.time_us {
            simulation = simulation.settings(|world: &mut Settings| world.time_us = time_us);
        }
        simulation.run(asked.seeds.clone())
    }

    fn explore(&self, bounds: &Bounds) -> Explored {
        explore(&self.0, bounds)
    }

    fn replay(&self, schedule: &Schedule) -> Replay {
        replay(&self.0, schedule)
    }

    fn node(&self, id: NodeId, peers: Vec<NodeId>) -> NodeBuilder {
        NodeBuilder::new(id, peers, A::default)
    }
}
