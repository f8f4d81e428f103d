//! What is simulated: an algorithm, its promises, and the world it meets.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use synod_core::{
    Algorithm, Boot, BuildError, Catalogue, Envelope, Event, EventId, Kind, Machine, Member, Model,
    Node, NodeId, Offer, Peers, Property, Stack, Symmetry, Tag, Takes,
};

use crate::history::ClientEvent;
use crate::per_node::PerNode;
use crate::shown::data_of;
use crate::trace::SeeClients;
use crate::treason::Treason;

/// An algorithm with its model and its properties, ready to be run on any number of nodes.
pub struct Scenario<T: Stack> {
    pub(crate) name: &'static str,
    pub(crate) model: Model,
    pub(crate) properties: Vec<Property<T>>,
    pub(crate) catalogue: Catalogue,
    pub(crate) inputs: Vec<(NodeId, Duration, Envelope)>,
    /// Which nodes its user lets trigger something, each with when, and where that stands.
    triggers: Vec<(NodeId, Duration, &'static Location<'static>)>,
    /// What clients may ask for besides.
    pub(crate) offers: Vec<Offer>,
    make: Make<T>,
    tables: T::Tables,
    show: Option<Show<T>>,
    write: Write<T>,
    pub(crate) symmetry: Symmetry<T>,
    other_program: Option<OtherProgram>,
    pub(crate) clients: Option<SeeClients>,
}

/// Makes the machine of a traitor that runs another program.
type OtherProgram = Arc<dyn Fn(Boot) -> Box<dyn Machine> + Send + Sync>;

/// Handlers' own random numbers are part of the program, not of the run: what a run may decide
/// differently is decided by the choice stream.
pub(crate) const SEED: u64 = 0;

/// A state as data, if it can be.
type Show<T> = Arc<dyn Fn(&T) -> Option<Value> + Send + Sync>;

/// A state as its `Debug` text.
type Write<T> = Arc<dyn Fn(&T) -> String + Send + Sync>;

type Make<T> = Arc<dyn Fn(NodeId) -> T + Send + Sync>;

impl<A: Algorithm + fmt::Debug> Scenario<A> {
    /// The algorithm with the model and the properties that it declares; `make` gives each node
    /// its first state. Traces tell what steps change in the states, as `Debug` writes them; where
    /// states are large, of some steps only.
    ///
    /// # Panics
    ///
    /// If the algorithm's event types clash, or two of its properties have one name: a mistake in its source.
    #[must_use]
    #[inline(never)] // What is only needed here is not under what the caller does with it.
    pub fn of(make: impl Fn(NodeId) -> A + Send + Sync + 'static) -> Self {
        match Self::new(A::NAME, A::MODEL, make) {
            Ok(scenario) => {
                let scenario = Self { symmetry: A::symmetry(), ..scenario };
                A::properties().into_iter().fold(scenario, Self::property)
            }
            Err(clash) => panic!("{clash}"),
        }
    }
}

impl<A: Algorithm> Scenario<A> {
    /// Lets the applications also ask what the algorithm's own [`Workload`](synod_core::Workload)
    /// says.
    ///
    /// # Panics
    ///
    /// If nothing handles what it says.
    #[must_use]
    #[track_caller]
    pub fn with_workload(mut self) -> Self {
        let workload = A::workload();
        for (node, at, envelope) in workload.inputs() {
            self.expect_handled(envelope.event(), &self.catalogue.name(envelope.event()));
            self.input(*node, *at, envelope.clone());
        }
        for offer in workload.offers() {
            let event = offer.request(1).event();
            self.expect_handled(event, &self.catalogue.name(event));
            self.add_offer(offer.clone());
        }
        self
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
    ) -> Result<Self, BuildError>
    where
        T: fmt::Debug,
    {
        let tables = make(NodeId(1)).tables();
        let mut catalogue = Catalogue::default();
        T::catalogue(&tables, &mut catalogue)?;
        let (properties, inputs, offers) = (Vec::new(), Vec::new(), Vec::new());
        let make = Arc::new(make);
        let (show, symmetry, other_program) = (None, Symmetry::none(), None);
        Ok(Self {
            name,
            model,
            properties,
            catalogue,
            inputs,
            triggers: Vec::new(),
            offers,
            make,
            tables,
            show,
            write: Arc::new(|state| format!("{state:?}")),
            symmetry,
            other_program,
            clients: None,
        })
    }

    /// Lets some traitors run another program of the same event types: an algorithm made for the
    /// attack. `make` gives it its first state. It hears of links if the scenario's algorithms do,
    /// and its jobs are those that they have too.
    ///
    /// # Panics
    ///
    /// If its own event types clash.
    #[must_use]
    pub fn traitor<U: Stack>(mut self, make: impl Fn(NodeId) -> U + Send + Sync + 'static) -> Self {
        if let Err(clash) = U::catalogue(&make(NodeId(1)).tables(), &mut Catalogue::default()) {
            panic!("a traitor's program: {clash}");
        }
        self.other_program = Some(Arc::new(move |boot| {
            let state = make(boot.id);
            match Node::new(boot, state) {
                Ok(node) => Box::new(node),
                Err(error) => panic!("a traitor's program: {error}"),
            }
        }));
        self
    }

    /// How many kinds of treason there are to choose from.
    pub(crate) fn treasons(&self) -> u64 {
        Treason::options(self.other_program.is_some())
    }

    /// The machine of a traitor that runs another program, if there is one.
    pub(crate) fn other_machine(
        &self,
        id: NodeId,
        nodes: u32,
        incarnation: u64,
    ) -> Option<Box<dyn Machine>> {
        let make = self.other_program.as_ref()?;
        Some(make(Self::boot_of(id, nodes, incarnation)))
    }

    /// Lets traces tell what each step changes in the states as they serialize, however large they
    /// are, and not as `Debug` writes them. A state that does not serialize as JSON is shown as before.
    #[must_use]
    pub fn showing_states(mut self) -> Self
    where
        T: Serialize,
    {
        self.show = Some(Arc::new(|state| serde_json::to_value(state).ok()));
        self
    }

    /// Lets traces tell what clients do: `see` says which of the events that nodes indicate are
    /// invocations and returns. [`Format::History`](crate::Format::History) takes them out of a
    /// trace, whether it was simulated, explored or recorded.
    #[must_use]
    pub fn clients(
        mut self,
        see: impl Fn(NodeId, &Envelope) -> Option<ClientEvent> + Send + Sync + 'static,
    ) -> Self {
        self.clients = Some(Arc::new(see));
        self
    }

    /// Says which nodes only their names tell apart; what its algorithm says if there is one.
    #[must_use]
    pub fn symmetric(self, symmetry: Symmetry<T>) -> Self {
        Self { symmetry, ..self }
    }

    /// A state as it serializes, if the scenario shows states so.
    pub(crate) fn serialized(&self, state: &T) -> Option<Value> {
        self.show.as_ref()?(state)
    }

    /// A state as `Debug` writes it.
    pub(crate) fn written(&self, state: &T) -> String {
        (self.write)(state)
    }

    /// A state as data.
    pub(crate) fn show(&self, state: &T) -> Value {
        self.serialized(state).unwrap_or_else(|| data_of(&self.written(state)))
    }

    /// Holds one more property against every run.
    ///
    /// # Panics
    ///
    /// If there is one of that name: results go by it. If its name is more than one line.
    #[must_use]
    #[track_caller]
    pub fn property(mut self, property: Property<T>) -> Self {
        let (name, known) = (property.name, self.properties.iter());
        assert!(known.into_iter().all(|it| it.name != name), "two properties are called `{name}`");
        assert!(!name.contains(['\n', '\r']), "a schedule has a line for the property {name:?}");
        self.properties.push(property);
        self
    }

    /// Lets the application of `node` trigger `event` at the virtual time `at`, or ask it where its handler
    /// takes a [`Call`](synod_core::Call): the answer is indicated then. Where the cluster has no such node, or a
    /// run is over by then, nothing happens; a test none of whose runs has it fails, as
    /// [`Report::nobody`](crate::Report::nobody) tells it.
    ///
    /// # Panics
    ///
    /// If `node` is `n0`: no cluster has that. If nothing handles the event: a deployed node would refuse it.
    #[must_use]
    #[track_caller]
    pub fn trigger<E: Event>(mut self, node: NodeId, at: Duration, event: &E) -> Self {
        assert!(0 < node.0, "nodes are numbered from 1: there is no {node} to trigger anything");
        self.expect_handled(E::ID, E::NAME);
        self.triggers.push((node, at, Location::caller()));
        self.input(node, at, Envelope::seal(event));
        self
    }

    fn input(&mut self, node: NodeId, at: Duration, envelope: Envelope) {
        let number = self.inputs.len() as u64;
        let is_question = self.is_question(&envelope);
        let tag = if is_question { Tag::of_application(number) } else { Tag::Plain };
        self.inputs.push((node, at, envelope.tagged(tag)));
    }

    fn add_offer(&mut self, offer: Offer) {
        let is_question = self.is_question(&offer.request(1));
        self.offers.push(if is_question { offer.asked() } else { offer });
    }

    /// Whether its handler waits to be asked.
    fn is_question(&self, envelope: &Envelope) -> bool {
        let handled = self.catalogue.handled(envelope.event());
        handled.is_some_and(|it| it.takes == Takes::Calls)
    }

    /// What nodes beyond the last of `nodes` are to trigger, or any node after `time_us`, each with where that
    /// stands.
    pub(crate) fn triggers_beyond(&self, nodes: u32, time_us: u64) -> Vec<String> {
        let told = |(node, at, place): &(NodeId, Duration, &Location<'_>)| match node.0 <= nodes {
            false => Some(format!("{node}, by `trigger` at {place}")),
            true if time_us < micros(*at) => {
                Some(format!("{node} at {at:?}, by `trigger` at {place}"))
            }
            true => None,
        };
        self.triggers.iter().filter_map(told).collect()
    }

    /// # Panics
    ///
    /// If no algorithm of the stack handles the event.
    #[track_caller]
    fn expect_handled(&self, event: EventId, name: &str) {
        let name_of = self.name;
        assert!(self.catalogue.handled(event).is_some(), "nothing in `{name_of}` handles `{name}`");
    }

    /// Lets clients also ask for this, at nodes and times that each run of a simulation draws, as
    /// [`Workload::offer`](synod_core::Workload::offer) does: `make` is given a number that no other request
    /// of the run has, from 1.
    ///
    /// # Panics
    ///
    /// If nothing handles the event.
    #[must_use]
    #[track_caller]
    pub fn offer<E: Event>(mut self, make: impl Fn(u64) -> E + Send + Sync + 'static) -> Self {
        self.expect_handled(E::ID, E::NAME);
        self.add_offer(Offer::of(make));
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

    /// What clients may ask for besides what is triggered.
    #[must_use]
    pub fn offers(&self) -> &[Offer] {
        &self.offers
    }

    /// What it promises.
    #[must_use]
    pub fn properties(&self) -> &[Property<T>] {
        &self.properties
    }

    /// Where in the source a property is declared.
    pub(crate) fn declares(&self, property: &str) -> Option<String> {
        let found = self.properties.iter().find(|it| it.name == property);
        found.map(|it| it.place().to_string())
    }

    /// What it promises to come to, each with the time that it has for that.
    pub(crate) fn promises(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        self.properties.iter().filter_map(|property| match property.kind {
            Kind::Eventually { within } => Some((property.name, within)),
            _ => None,
        })
    }

    /// The places of a cluster, nobody up yet.
    pub(crate) fn members(nodes: u32) -> PerNode<Member<T>> {
        PerNode::of(nodes, |id| Member { id, node: None })
    }

    /// A node that has not started.
    pub(crate) fn boot(&self, id: NodeId, nodes: u32, incarnation: u64) -> Node<T> {
        match self.node(Self::boot_of(id, nodes, incarnation)) {
            Ok(node) => node,
            Err(error) => panic!("a cluster of {nodes} nodes: {error}"),
        }
    }

    fn boot_of(id: NodeId, nodes: u32, incarnation: u64) -> Boot {
        let peers = (1..=nodes).map(NodeId).collect();
        Boot { id, peers, incarnation, seed: SEED }
    }

    /// The same for one of `peers`, which all nodes of a cluster share.
    pub(crate) fn boot_among(&self, peers: &Peers, id: NodeId, incarnation: u64) -> Node<T> {
        let (state, tables) = ((self.make)(id), self.tables.clone());
        match Node::among(peers.clone(), id, (incarnation, SEED), state, tables) {
            Ok(node) => node,
            Err(error) => panic!("a simulated cluster: {error}"),
        }
    }

    /// A node that has not started, in any cluster.
    pub(crate) fn node(&self, boot: Boot) -> Result<Node<T>, BuildError> {
        let state = (self.make)(boot.id);
        Node::with_tables(boot, state, self.tables.clone())
    }
}

impl<T: Stack> fmt::Debug for Scenario<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.model)
    }
}

/// A duration in whole microseconds, the simulator's unit.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
