//! Every schedule of a small cluster. Breadth first, the first violation found is a shortest one;
//! depth first and reduced, memory is smaller.
//!
//! Bounded timing is explored in whole ticks of the model's delay bound: a message takes 0 or 1
//! tick, a timer its whole number of ticks, and time passes only when nothing is overdue. For
//! delays with closed bounds and timers of whole ticks this reaches every state that real-valued
//! time reaches (T. Henzinger, Z. Manna, A. Pnueli, "What good are digital clocks?", ICALP 1992).
//! Where timers fire early or late, a tick is a part of that bound, such that their windows begin and
//! end with one (`window.rs`).
//! Without a bound, a message may take for ever, and each node's timers fire in the order that
//! its own clock gives them, unrelated to all else.
//!
//! A state is a handful of numbers: one for each node's local state, one for each message under
//! way (`state.rs`). Only `place.rs` knows the type of the nodes; a handler runs once for each
//! local state and event, and everything else is arithmetic (`worker.rs`).

use std::fmt;
use std::hash::Hash;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use synod_core::{Interchangeable, Kind, NodeId, Property, Stack};

pub use self::bounds::Bounds;
pub use self::estimate::Estimate;
pub use self::report::{Counterexample, Explored, Folded, Limit, Progress, Untrue};
pub use self::window::{BadWindow, Window};

pub(crate) use self::lasso::broken;
pub(crate) use self::parcel::Parcel;
pub(crate) use self::place::{Ground, Program};
pub(crate) use self::setting::{Setting, Wrong};
pub(crate) use self::state::State;
pub(crate) use self::worker::Worker;

use self::orbit::Group;
use self::search::{Search, Stop, Watch, starts};
use crate::follow::counterexample;
use crate::overdue::{Overdue, watched};
use crate::quiet::quietly;
use crate::scenario::Scenario;

mod bounds;
mod breadth;
mod depth;
mod disk;
mod doer;
mod estimate;
mod host;
mod lasso;
mod memory;
mod orbit;
mod parcel;
mod parts;
mod place;
mod pool;
mod print;
mod reduced;
mod report;
mod search;
mod segments;
mod setting;
mod state;
mod visited;
mod window;
mod worker;

/// Visits every state that the cluster can reach within `bounds`, shortest runs first, on one
/// thread. [`Exploration`] has more to say about how.
pub fn explore<T>(scenario: &Scenario<T>, bounds: &Bounds) -> Explored
where
    T: Stack + Clone + Hash + Sync,
{
    Exploration::new(scenario, bounds.clone()).run()
}

/// An exploration to be run.
///
/// Time is O(transitions); a handler runs once for each different local state and event, in each
/// thread. Memory is about 25 bytes for each state visited, as much again for each on the frontier,
/// and every different local state of a node and message of these once.
///
/// What a [`Property::automaton`] remembers is a part of the state, and its memories are kept to the
/// end, once each. No other property makes states differ, but for the quiet that an `eventually` with a
/// clock waits for: what they look at is in the states already.
///
/// Two states are one if their 128-bit fingerprints are equal. Every node follows the algorithm:
/// see [`Bounds::not_explored`].
pub struct Exploration<'a, T: Stack> {
    scenario: &'a Scenario<T>,
    bounds: Bounds,
    threads: usize,
    order: Order,
    live: bool,
    group: Option<Group>,
    watch: Option<Watch<'a>>,
}

/// In which order states are visited.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Order {
    /// The nearest first: the first violation is a shortest one. On several threads.
    #[default]
    Breadth,
    /// Each run to its end: less memory, for lack of a frontier. On one thread.
    Depth,
    /// As [`Order::Depth`], one run for each order of dependent events, on one thread. Set by
    /// [`Exploration::reduced`].
    Reduced,
}

/// Why a reduced exploration would say less than it seems to.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{property}` {}", why(*.is_monitor))]
pub struct CannotReduce {
    /// The property that could be violated unseen.
    pub property: &'static str,
    /// Whether it is a monitor; else it looks at several nodes at one moment.
    pub is_monitor: bool,
}

fn why(is_monitor: bool) -> &'static str {
    if is_monitor {
        return "depends on the order in which different nodes indicate something, and a reduced \
                exploration does not take every such order: explore in full";
    }
    "looks at several nodes at one moment, and a reduced exploration does not visit every \
     combination of their states: declare it with `Property::local`, or with \
     `Property::at_rest`, or explore in full"
}

/// Why states that differ only in the names of nodes are not one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSymmetric {
    /// The algorithm does not say that its nodes are interchangeable.
    #[error("{algorithm} does not declare that its nodes are interchangeable")]
    Undeclared {
        /// The algorithm.
        algorithm: &'static str,
    },
    /// The names of nodes matter to crashes.
    #[error(
        "a node may crash between two messages that it sends to all, and sends them in the order of names: explore without crashes"
    )]
    Crashes,
    /// Runs without end are judged.
    #[error("a run that comes back to its state under other names is not a run without end")]
    Live,
    /// A monitor is a part of the states, and nothing is known of what it would remember of nodes
    /// with other names.
    #[error("what `{property}` remembers of a run is not known under other names of its nodes")]
    Remembered {
        /// The monitor.
        property: &'static str,
    },
    /// There is nothing to exchange.
    #[error(
        "no two nodes are interchangeable: each begins in another way, or is asked something else"
    )]
    TooFew,
}

impl<'a, T: Stack + Clone + Hash + Sync> Exploration<'a, T> {
    /// Of every state of `scenario` within `bounds`, shortest runs first, on one thread.
    ///
    /// # Panics
    ///
    /// If these are bounds of no node.
    #[must_use]
    pub fn new(scenario: &'a Scenario<T>, bounds: Bounds) -> Self {
        assert!(0 < bounds.nodes, "a cluster has at least one node");
        let order = Order::Breadth;
        Self { scenario, bounds, threads: 1, order, live: false, group: None, watch: None }
    }

    /// On so many threads, at least one. The result is the same.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        Self { threads: threads.max(1), ..self }
    }

    /// On all cores.
    #[must_use]
    pub fn all_cores(self) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        self.threads(cores)
    }

    /// Each run to its end, not the nearest states first: less memory, longer counterexamples.
    #[must_use]
    pub fn depth_first(self) -> Self {
        Self { order: Order::Depth, ..self }
    }

    /// Takes one run for each order of dependent events, not for each order of events, and
    /// remembers no state: dynamic partial-order reduction. It undoes
    /// [`Exploration::symmetric`]. Two events are independent if they are
    /// of different nodes and neither brings about the other; crashes, recoveries and the passing
    /// of time depend on everything.
    ///
    /// Two deliveries to one node are independent too where the algorithm says that they
    /// [commute](synod_core::Handlers::on_commuting): a collector of answers is explored once for
    /// each set of answers, not for each order. Whenever two such deliveries are possible, both
    /// orders are tried and compared, and [`Explored::untrue`] says where they differ. A property of
    /// single nodes may depend on who has answered so far, so with one all orders are taken.
    ///
    /// It finds every local state of each node, but for those between deliveries that commute, and
    /// every state of the cluster in which nothing is under way; not every combination of local
    /// states in between. It pays for long runs of few
    /// messages that concern the same nodes; where many runs meet in the same states, the full
    /// exploration visits fewer. A run that never ends is cut; time that changes nothing ends one.
    ///
    /// # Errors
    ///
    /// [`CannotReduce`] names a property that it could miss: one of several nodes that must hold at
    /// every moment, or at some, or a monitor that is a part of the states.
    pub fn reduced(self) -> Result<Self, CannotReduce> {
        let misses = |it: &&Property<T>| match it.kind {
            Kind::AtRest => false,
            Kind::Monitor => it.remembering().is_some(),
            Kind::Eventually { .. } => self.live || 0 < self.bounds.tick_us,
            _ => !it.is_local(),
        };
        match self.scenario.properties().iter().find(misses) {
            Some(missed) => Err(CannotReduce {
                property: missed.name,
                is_monitor: missed.kind == Kind::Monitor,
            }),
            None => Ok(Self { order: Order::Reduced, group: None, ..self }),
        }
    }

    /// Takes states that differ only in the names of interchangeable nodes for one, as far as the
    /// algorithm [declares](synod_core::Algorithm::symmetry) its nodes interchangeable, and the
    /// cluster begins with them in the same way. A violation is still a run of the cluster as it is.
    /// Links come up in any order, since a fixed one would tell nodes apart.
    ///
    /// What is declared is tried: each handler runs once more under other names, and must lead to
    /// the renamed state and send the renamed messages; each property must say the same of each
    /// state under other names. One permutation is drawn for each, so this is a sample. Where it is
    /// not so, [`Explored::untrue`] says where: handlers that compare nodes, or properties that name
    /// one, are found that way.
    ///
    /// The time for each transition is some times longer: it pays from 4 or 5 nodes on.
    ///
    /// # Errors
    ///
    /// [`NotSymmetric`] says why states that differ in names are not one.
    pub fn symmetric(mut self) -> Result<Self, NotSymmetric> {
        let scenario = self.scenario;
        let remembered = scenario.properties().iter().find(|it| it.remembering().is_some());
        if let Some(monitor) = remembered {
            return Err(NotSymmetric::Remembered { property: monitor.name });
        }
        let unasked = |node: &NodeId| scenario.inputs.iter().all(|(asked, ..)| asked != node);
        let nodes = (1..=self.bounds.nodes).map(NodeId);
        let nodes: Vec<NodeId> = match scenario.symmetry.nodes() {
            None => return Err(NotSymmetric::Undeclared { algorithm: scenario.name() }),
            Some(_) if 0 < self.bounds.crashes => return Err(NotSymmetric::Crashes),
            Some(_) if self.live => return Err(NotSymmetric::Live),
            Some(Interchangeable::All) => nodes.collect(),
            Some(_) => nodes.filter(unasked).collect(),
        };
        self.bounds.links_in_any_order = true;
        let group = self.alike_at_the_start(Group::of(nodes));
        if group.nodes().is_empty() {
            return Err(NotSymmetric::TooFew);
        }
        let order = if self.order == Order::Reduced { Order::Depth } else { self.order };
        Ok(Self { order, group: Some(group), ..self })
    }

    /// Those of the nodes that the cluster begins with in the same way. What is wrong at the start is
    /// found when the exploration runs.
    fn alike_at_the_start(&self, group: Group) -> Group {
        let ground = Ground::new(self.scenario, Setting::of(self.scenario, &self.bounds));
        quietly(|| {
            let mut worker = Worker::new(&ground);
            let begun = starts(&mut worker).into_iter().map(|(_, begun)| begun);
            let begun: Result<Vec<State>, Wrong> = begun.collect();
            let alike =
                begun.ok().and_then(|it| group.clone().of_the_same_start(&it, &worker).ok());
            alike.unwrap_or(group)
        })
    }

    /// Judges runs without end too, where there is no clock: an `eventually`, its bound set aside, is
    /// violated by a run that breaks it for ever again after its last fault. With a clock, the bound
    /// is what is judged, and this changes nothing.
    ///
    /// Only fair runs count. Whoever can act at every moment from some moment on does: each lane
    /// delivers, each datagram arrives or is lost, each node's clock goes on. A link that loses
    /// datagrams of one event type for ever again delivers some for ever again. Nobody has to crash,
    /// or to come back.
    ///
    /// The states are visited once more, one by one, and this time with the transitions between
    /// them: 20 bytes for each. It undoes [`Exploration::reduced`], which does not know the states,
    /// and [`Exploration::symmetric`], which does not know the way between them.
    #[must_use]
    pub fn live(self) -> Self {
        let order = if self.order == Order::Reduced { Order::Depth } else { self.order };
        Self { order, live: true, group: None, ..self }
    }

    /// Tells `watch` how far it has come, every few thousand states. It ends when `watch` breaks,
    /// and is not complete then: this is how it is bounded in time.
    #[must_use]
    pub fn watch(self, watch: &'a mut dyn FnMut(&Progress) -> ControlFlow<()>) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// Takes `probes` random runs, at least one, and says how many runs there may be: before a
    /// [reduced](Exploration::reduced) exploration takes them all. The same every time.
    #[must_use]
    pub fn estimate(self, probes: u32) -> Estimate {
        let Self { scenario, bounds, .. } = self;
        let ground = Ground::new(scenario, Setting::of(scenario, &bounds));
        quietly(|| estimate::estimate(&mut Worker::new(&ground), probes))
    }

    /// Explores. A panic of a handler, or of a property, is a violation. A handler that takes longer than
    /// ten seconds is told of on the standard error, once, if handlers are [audited](Bounds::audited).
    #[inline(never)] // What it holds is not under its caller's other work.
    pub fn run(mut self) -> Explored {
        let watch = self.watch.take();
        let ground = self.ground();
        let Setting { name, catalogue, underway, .. } = ground.setting();
        let long =
            |it: Overdue| format!("the exploration of `{name}` {}", it.in_handler(catalogue));
        let explore = || *quietly(|| run(&ground, self.order, self.threads, watch));
        let nobody = self.scenario.triggers_beyond(self.bounds.nodes, u64::MAX);
        let found = if self.bounds.audited { watched(underway, long, explore) } else { explore() };
        Explored { nobody, ..found }
    }

    #[inline(never)] // Its frame is not under the search.
    fn ground(&self) -> Ground<'_, T> {
        let mut setting = Setting::of(self.scenario, &self.bounds);
        setting.judge_lives(self.live);
        setting.collect(self.order == Order::Reduced);
        setting.group.clone_from(&self.group);
        Ground::new(self.scenario, setting)
    }
}

/// The same for nodes of any type.
fn run(
    program: &dyn Program,
    order: Order,
    threads: usize,
    watch: Option<Watch<'_>>,
) -> Box<Explored> {
    let mut search = Search::new(program, watch);
    let result = match order {
        Order::Breadth => breadth::search(&mut search, threads),
        Order::Depth => depth::search(&mut search),
        Order::Reduced => reduced::search(&mut search),
    };
    let result = match result {
        Ok(()) if program.setting().live => lasso::search(&mut search),
        result => result,
    };
    conclude(search, result)
}

/// What the search has come to.
#[inline(never)] // Its frame is not under the search.
fn conclude(search: Search<'_, '_>, result: Result<(), Stop>) -> Box<Explored> {
    let Search { program, mut found, never, .. } = search;
    let promises = &program.setting().promises;
    found.never = never.iter().filter_map(|it| promises.get(*it)).map(|it| it.name).collect();
    found.undue = program.setting().undue();
    if found.skipped.len() == promises.len() {
        found.undue.clone_from(&found.skipped); // Nothing was held against anything.
    }
    found.draws = program.setting().has_drawn.load(Ordering::Relaxed);
    found.places = found.places.max(program.places() as u64);
    match result {
        Ok(()) => found.complete = true,
        Err(Stop::Cut(limit)) => found.cut = Some(limit),
        Err(Stop::Wrong(path, Wrong::Property(property, reason))) => {
            found.failure = Some(Box::new(counterexample(program, &path, property, reason)));
        }
        Err(Stop::Wrong(_, Wrong::Declared(untrue))) => found.untrue = Some(untrue),
    }
    found
}

impl<T: Stack> fmt::Debug for Exploration<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} within {:?}", self.scenario, self.bounds)
    }
}
