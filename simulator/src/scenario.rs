//! What is simulated: an algorithm, its promises, and the world it meets.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use synod_core::{
    Algorithm, Assumption, Boot, BuildError, Catalogue, Envelope, Event, Faults, Links, Member,
    Model, Node, NodeId, Property, Stack,
};

use crate::per_node::PerNode;

/// An algorithm with its model and its properties, ready to be run on any number of nodes.
pub struct Scenario<T: Stack> {
    pub(crate) name: &'static str,
    pub(crate) model: Model,
    pub(crate) properties: Vec<Property<T>>,
    pub(crate) catalogue: Catalogue,
    pub(crate) inputs: Vec<(NodeId, Duration, Envelope)>,
    make: Make<T>,
    tables: T::Tables,
    show: Option<Show<T>>,
}

/// A state as data, for the changes in a trace.
type Show<T> = Arc<dyn Fn(&T) -> Value + Send + Sync>;

type Make<T> = Arc<dyn Fn(NodeId) -> T + Send + Sync>;

impl<A: Algorithm> Scenario<A> {
    /// The algorithm with the model and the properties that it declares; `make` gives each node
    /// its first state.
    ///
    /// # Panics
    ///
    /// If the algorithm's event types clash: a mistake in its source.
    #[must_use]
    pub fn of(make: impl Fn(NodeId) -> A + Send + Sync + 'static) -> Self {
        match Self::new(A::NAME, A::MODEL, make) {
            Ok(scenario) => Self { properties: A::properties(), ..scenario },
            Err(clash) => panic!("{clash}"),
        }
    }
}

impl<T: Stack> Scenario<T> {
    /// Any stack under `model`, without properties yet.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if the stack's algorithms do not fit together.
    pub fn new(
        name: &'static str,
        model: Model,
        make: impl Fn(NodeId) -> T + Send + Sync + 'static,
    ) -> Result<Self, BuildError> {
        let tables = make(NodeId(1)).tables();
        let mut catalogue = Catalogue::default();
        T::catalogue(&tables, &mut catalogue)?;
        let (properties, inputs) = (Vec::new(), Vec::new());
        let make = Arc::new(make);
        Ok(Self { name, model, properties, catalogue, inputs, make, tables, show: None })
    }

    /// Lets traces tell what each step changes in the states, field by field. A state that does
    /// not serialize as JSON shows nothing.
    #[must_use]
    pub fn showing_states(mut self) -> Self
    where
        T: Serialize,
    {
        self.show = Some(Arc::new(|state| serde_json::to_value(state).unwrap_or_default()));
        self
    }

    /// A state as data; null where states are not shown.
    pub(crate) fn show(&self, state: &T) -> Value {
        self.show.as_ref().map_or(Value::Null, |show| show(state))
    }

    /// Holds one more property against every run.
    #[must_use]
    pub fn property(mut self, property: Property<T>) -> Self {
        self.properties.push(property);
        self
    }

    /// Lets the application of `node` trigger `event` at the virtual time `at`.
    #[must_use]
    pub fn trigger<E: Event>(mut self, node: NodeId, at: Duration, event: &E) -> Self {
        self.inputs.push((node, at, Envelope::seal(event)));
        self
    }

    /// What the algorithm is called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it assumes.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What it promises.
    #[must_use]
    pub fn properties(&self) -> &[Property<T>] {
        &self.properties
    }

    /// The places of a cluster, nobody up yet.
    pub(crate) fn members(nodes: u32) -> PerNode<Member<T>> {
        PerNode::of(nodes, |id| Member { id, node: None })
    }

    /// A node that has not started.
    pub(crate) fn boot(&self, id: NodeId, nodes: u32, incarnation: u64) -> Node<T> {
        let peers = (1..=nodes).map(NodeId).collect();
        // Handlers' own random numbers are part of the program, not of the run: what a run may
        // decide differently is decided by the choice stream.
        let boot = Boot { id, peers, incarnation, seed: 0 };
        match Node::with_tables(boot, (self.make)(id), self.tables.clone()) {
            Ok(node) => node,
            Err(error) => panic!("a cluster of {nodes} nodes: {error}"),
        }
    }
}

impl<T: Stack> fmt::Debug for Scenario<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.model)
    }
}

/// The world of a simulated run: how large, how long, and which faults may happen. Times are in
/// microseconds of virtual time, rates in chances in a million.
///
/// Part of a schedule, so a field keeps its meaning for ever.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The number of nodes.
    pub nodes: u32,
    /// How long the run lasts. Planned faults begin in the first half.
    pub time_us: u64,
    /// The least delay of a message.
    pub delay_min_us: u64,
    /// The greatest delay of a message outside the tail.
    pub delay_max_us: u64,
    /// How many messages in a million are in the tail.
    pub tail: u32,
    /// The greatest delay of a message in the tail.
    pub tail_max_us: u64,
    /// How many messages in a million are lost.
    pub lose: u32,
    /// How many datagrams in a million are lost.
    pub lose_datagram: u32,
    /// How many messages in a million arrive twice.
    pub duplicate: u32,
    /// Crashes planned at most.
    pub crashes: u32,
    /// Nodes that may be down at once.
    pub down_max: u32,
    /// How long a crashed node stays down at most; 0 means for ever.
    pub down_us: u64,
    /// Partitions planned at most.
    pub partitions: u32,
    /// How long a partition lasts at most.
    pub partition_us: u64,
}

/// A kind of fault that can be asked for by name.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Fault {
    /// Nodes crash, and come back unless the model says crash-stop.
    Crash,
    /// The network falls apart and heals.
    Partition,
    /// Messages get lost.
    Loss,
    /// Messages arrive twice.
    Duplication,
    /// Delays have a tail far beyond the model's bound.
    Delay,
}

impl Fault {
    /// Every kind, by name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("crash", Self::Crash),
        ("partition", Self::Partition),
        ("loss", Self::Loss),
        ("duplication", Self::Duplication),
        ("delay", Self::Delay),
    ];
}

impl Settings {
    /// Nodes that a simulated cluster may have at most: a partition is a set of bits.
    pub const NODES_MAX: u32 = 1_000;

    /// No faults: `nodes` nodes, delays of 1 to 10 ms, 20 s.
    #[must_use]
    pub const fn calm(nodes: u32) -> Self {
        Self {
            nodes,
            time_us: 20_000_000,
            delay_min_us: 1_000,
            delay_max_us: 10_000,
            tail: 0,
            tail_max_us: 0,
            lose: 0,
            lose_datagram: 0,
            duplicate: 0,
            crashes: 0,
            down_max: 0,
            down_us: 0,
            partitions: 0,
            partition_us: 0,
        }
    }

    /// Exactly what `model` says that the algorithm survives.
    #[must_use]
    pub fn within(model: &Model, nodes: u32) -> Self {
        let mut settings = Self { lose_datagram: 10_000, ..Self::calm(nodes) };
        match model.delay_max() {
            Some(bound) => settings.delay_max_us = micros(bound).max(1_000),
            None => settings.delay(Duration::from_millis(10)),
        }
        if model.down_max(nodes as usize) > 0 {
            settings.crash(model);
        }
        if model.links == Links::FairLoss {
            (settings.lose, settings.duplicate) = (50_000, 50_000);
        }
        settings
    }

    /// Adds a kind of fault, whether or not the model allows it. Returns the assumption that this
    /// breaks, if any.
    pub fn add(&mut self, fault: Fault, model: &Model) -> Option<Assumption> {
        match fault {
            Fault::Crash => {
                self.crash(model);
                let beyond = (self.down_max as usize) > model.down_max(self.nodes as usize);
                beyond.then_some(Assumption::FaultBound)
            }
            Fault::Partition => {
                (self.partitions, self.partition_us) = (2, 5_000_000);
                Some(Assumption::NoPartition)
            }
            Fault::Loss => {
                self.lose = 50_000;
                (model.links == Links::Reliable).then_some(Assumption::NoLoss)
            }
            Fault::Duplication => {
                self.duplicate = 50_000;
                (model.links == Links::Reliable).then_some(Assumption::NoDuplication)
            }
            Fault::Delay => {
                self.delay(model.delay_max().unwrap_or(Duration::from_millis(10)));
                model.delay_max().map(|_| Assumption::BoundedDelay)
            }
        }
    }

    fn crash(&mut self, model: &Model) {
        self.crashes = 3;
        let tolerated = model.down_max(self.nodes as usize).max(1);
        self.down_max = u32::try_from(tolerated).unwrap_or(u32::MAX).min(self.nodes - 1).max(1);
        self.down_us = match model.faults {
            Faults::CrashStop(_) => 0,
            Faults::None | Faults::CrashRecovery(_) | Faults::Byzantine(_) => 5_000_000,
        };
    }

    /// One message in twenty takes up to a hundred times the usual bound: stale messages are
    /// what bugs are made of, and delays of a few timeouts hide them.
    fn delay(&mut self, usual: Duration) {
        (self.tail, self.tail_max_us) = (50_000, micros(usual).saturating_mul(100));
    }
}

/// A duration in whole microseconds, the simulator's unit.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
