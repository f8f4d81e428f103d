//! An algorithm behind a pointer: what the commands do with it.

use std::fmt;
use std::hash::Hash;
use std::ops::{ControlFlow, Range, RangeInclusive};

use serde::Serialize;
use synod_core::{
    Algorithm, Boot, BuildError, Catalogue, Kind, Machine, Model, Node, NodeId, Recording, Workload,
};
use synod_runtime::NodeBuilder;
use synod_simulator::{
    Bounds, CannotReduce, CannotReplay, Decision, Estimate, Exploration, Explored, Fault,
    LinkDelay, Measures, NotSymmetric, NothingViolated, Progress, Replay, Replayed, Report,
    Scenario, Schedule, Settings, Simulation, Step, StepKind, Strategy, Trace, Underway, Why,
    measure, replay, replay_recording, why,
};

use crate::args::Down;
use crate::problem::{Exit, Problem};

/// An algorithm that the program knows by name.
pub(crate) trait Entry {
    fn name(&self) -> &'static str;
    fn model(&self) -> Model;
    fn properties(&self) -> Vec<&'static str>;
    /// Whether the algorithm promises `property` itself, and not only what the program adds to it.
    fn declares(&self, property: &str) -> bool;
    /// The properties that remember something of which an exploration knows nothing.
    fn monitors(&self) -> Vec<&'static str>;
    /// The properties of which one state that holds them is all that they ask.
    fn sometimes(&self) -> Vec<&'static str>;
    /// Whether clients may ask for something at any time.
    fn offers(&self) -> bool;
    /// Tells `underway` which runs have ended, and which are under way.
    fn simulate(&self, asked: &Asked, underway: &Underway) -> Report;
    fn explore(&self, bounds: &Bounds, how: Exploring<'_>) -> Result<Explored, Problem>;
    fn estimate(&self, bounds: &Bounds, probes: u32) -> Estimate;
    fn replay(&self, schedule: &Schedule) -> Replay;
    fn why(&self, schedule: &Schedule, runs: u32) -> Result<Why, NothingViolated>;
    fn measure(&self, settings: &Settings, seeds: Range<u64>) -> Measures;
    /// The Rust type, with its path.
    fn type_name(&self) -> &'static str;
    fn replay_recording(&self, recording: &Recording) -> Result<Replayed, CannotReplay>;
    fn node(&self, id: NodeId, peers: Vec<NodeId>) -> NodeBuilder;
    /// What a test adds to the algorithm's `Default` so that `schedule` is the run of `trace` there: nothing, or
    /// what the applications ask for. None if the program's scenario has more than that.
    fn made_anew(&self, schedule: &Schedule, trace: &Trace) -> Option<&'static str>;
    /// What its applications ask for, for want of any.
    fn workload(&self) -> Workload;
    /// What is known of its events.
    fn catalogue(&self) -> Result<Catalogue, BuildError>;
}

/// What a simulation is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) nodes: RangeInclusive<u32>,
    pub(crate) seeds: Range<u64>,
    /// Nothing but calm; else what the model allows.
    pub(crate) calm: bool,
    /// Kinds of faults on top.
    pub(crate) faults: Vec<Fault>,
    /// Crashes in a run at most; the simulation's own number unless given.
    pub(crate) crashes: Option<u32>,
    /// How long a crashed node is down; as the simulation has it unless given.
    pub(crate) down: Option<Down>,
    /// Links that are not as fast, or as slow, as the others.
    pub(crate) links: Vec<LinkDelay>,
    /// Requests of clients that a run draws at most; the simulation's own number unless given.
    pub(crate) requests: Option<u32>,
    pub(crate) time_us: Option<u64>,
    pub(crate) strategy: Strategy,
    /// The decisions around which the runs are, instead of what the strategy draws.
    pub(crate) near: Option<Vec<Decision>>,
    pub(crate) threads: Option<usize>,
}

impl Asked {
    /// Some seeds of `nodes` nodes with what the model allows.
    pub(crate) fn of(nodes: u32, seeds: Range<u64>) -> Self {
        Self {
            nodes: nodes..=nodes,
            seeds,
            calm: false,
            faults: Vec::new(),
            crashes: None,
            down: None,
            links: Vec::new(),
            requests: None,
            time_us: None,
            strategy: Strategy::default(),
            near: None,
            threads: None,
        }
    }
}

/// How an exploration is run.
pub(crate) struct Exploring<'w> {
    /// All cores unless given.
    pub(crate) threads: Option<usize>,
    pub(crate) way: Way,
    /// Whether states that differ in names only are one.
    pub(crate) symmetry: bool,
    /// Whether runs without end are judged.
    pub(crate) live: bool,
    /// Is told how far it has come, and ends it by breaking.
    pub(crate) watch: &'w mut dyn FnMut(&Progress) -> ControlFlow<()>,
}

/// What an exploration visits first, or at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    Breadth,
    Depth,
    Reduced,
}

#[expect(clippy::needless_pass_by_value, reason = "it maps an error")]
fn cannot_reduce(error: CannotReduce) -> Problem {
    Problem::new(Exit::Usage, error.to_string()).hint("leave --reduce out to visit every state")
}

#[expect(clippy::needless_pass_by_value, reason = "it maps an error")]
fn not_symmetric(error: NotSymmetric) -> Problem {
    let hint = match error {
        NotSymmetric::Crashes => "give --crashes 0, or leave --symmetry out",
        NotSymmetric::TooFew => "raise --nodes, or leave --symmetry out",
        _ => "leave --symmetry out to visit every state",
    };
    Problem::new(Exit::Usage, error.to_string()).hint(hint)
}

/// The entry of one algorithm.
pub(crate) struct Registered<A: Algorithm>(pub(crate) Scenario<A>);

/// Whether the steps are the same, whatever was found wrong in the last one.
fn is_alike(one: &Trace, other: &Trace) -> bool {
    let told = |step: &Step| Step { wrong: None, clients: Vec::new(), ..step.clone() };
    let steps = other.steps.iter().filter(|it| it.kind != StepKind::Tick || it.wrong.is_none());
    let mut steps = steps.enumerate();
    steps.all(|(at, step)| one.steps.get(at).is_some_and(|it| told(it) == told(step)))
}

impl<A> Entry for Registered<A>
where
    A: Algorithm + Clone + Default + fmt::Debug + Hash + Serialize + Sync,
{
    fn name(&self) -> &'static str {
        A::NAME
    }

    fn model(&self) -> Model {
        A::MODEL
    }

    fn properties(&self) -> Vec<&'static str> {
        self.0.properties().iter().map(|property| property.name).collect()
    }

    fn declares(&self, property: &str) -> bool {
        // What the simulator itself finds, as a panic, needs no property.
        let is_promised = self.0.properties().iter().any(|it| it.name == property);
        !is_promised || A::properties().iter().any(|it| it.name == property)
    }

    fn monitors(&self) -> Vec<&'static str> {
        let properties = self.0.properties().iter();
        let monitors = properties.filter(|it| it.kind == Kind::Monitor);
        monitors.filter(|it| it.remembering().is_none()).map(|it| it.name).collect()
    }

    fn sometimes(&self) -> Vec<&'static str> {
        let properties = self.0.properties().iter();
        properties.filter(|it| it.kind == Kind::Sometimes).map(|it| it.name).collect()
    }

    fn offers(&self) -> bool {
        !self.0.offers().is_empty()
    }

    fn simulate(&self, asked: &Asked, underway: &Underway) -> Report {
        let mut simulation = Simulation::new(&self.0, *asked.nodes.end()).strategy(asked.strategy);
        if asked.nodes.start() < asked.nodes.end() {
            simulation = simulation.sizes(asked.nodes.clone());
        }
        if let Some(decisions) = &asked.near {
            simulation = simulation.near(decisions.clone());
        }
        if let Some(threads) = asked.threads {
            simulation = simulation.threads(threads);
        }
        if asked.calm {
            simulation = simulation.calm();
        }
        for fault in &asked.faults {
            simulation = simulation.with(*fault);
        }
        if let Some(crashes) = asked.crashes {
            simulation = simulation.settings(|world: &mut Settings| world.crashes = crashes);
        }
        if let Some(Down { min_us, max_us }) = asked.down {
            simulation = simulation.settings(|world: &mut Settings| {
                (world.down_min_us, world.down_us) = (min_us, max_us);
            });
        }
        for link in &asked.links {
            simulation = simulation.link(*link);
        }
        if let Some(requests) = asked.requests {
            simulation = simulation.settings(|world: &mut Settings| world.requests = requests);
        }
        if let Some(time_us) = asked.time_us {
            simulation = simulation.settings(|world: &mut Settings| world.time_us = time_us);
        }
        simulation.watched(underway).run(asked.seeds.clone())
    }

    fn explore(&self, bounds: &Bounds, how: Exploring<'_>) -> Result<Explored, Problem> {
        let exploration = Exploration::new(&self.0, bounds.clone()).watch(how.watch);
        let exploration = match how.way {
            Way::Breadth => exploration,
            Way::Depth => exploration.depth_first(),
            Way::Reduced => exploration.reduced().map_err(cannot_reduce)?,
        };
        let exploration = match how.symmetry {
            true => exploration.symmetric().map_err(not_symmetric)?,
            false => exploration,
        };
        let exploration = if how.live { exploration.live() } else { exploration };
        Ok(match how.threads {
            Some(threads) => exploration.threads(threads).run(),
            None => exploration.all_cores().run(),
        })
    }

    fn estimate(&self, bounds: &Bounds, probes: u32) -> Estimate {
        Exploration::new(&self.0, bounds.clone()).estimate(probes)
    }

    fn replay(&self, schedule: &Schedule) -> Replay {
        replay(&self.0, schedule)
    }

    fn why(&self, schedule: &Schedule, runs: u32) -> Result<Why, NothingViolated> {
        why(&self.0, schedule, runs)
    }

    fn measure(&self, settings: &Settings, seeds: Range<u64>) -> Measures {
        measure(&self.0, settings, seeds)
    }

    fn type_name(&self) -> &'static str {
        std::any::type_name::<A>()
    }

    fn made_anew(&self, schedule: &Schedule, trace: &Trace) -> Option<&'static str> {
        let plain = || Scenario::of(|_| A::default()).showing_states();
        let is_same = |scenario| is_alike(&replay(&scenario, schedule).trace, trace);
        if !A::workload().is_empty() && is_same(plain().with_workload()) {
            return Some(".with_workload()");
        }
        is_same(plain()).then_some("")
    }

    fn replay_recording(&self, recording: &Recording) -> Result<Replayed, CannotReplay> {
        replay_recording(&self.0, recording)
    }

    fn node(&self, id: NodeId, peers: Vec<NodeId>) -> NodeBuilder {
        NodeBuilder::watched(id, peers, A::default, self.0.properties())
    }

    fn workload(&self) -> Workload {
        A::workload()
    }

    fn catalogue(&self) -> Result<Catalogue, BuildError> {
        let boot = Boot { id: NodeId(1), peers: vec![NodeId(1)], incarnation: 0, seed: 0 };
        Node::new(boot, A::default()).map(|node| Machine::catalogue(&node))
    }
}
