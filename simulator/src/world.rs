//! One run: nodes, a virtual clock, a network with faults, and a stream of choices.

mod disk;
mod effects;
mod faults;
mod judge;
mod lender;
mod notes;
mod pace;
mod place;
mod promises;
mod races;
mod seen;
pub(crate) mod settling;
mod traffic;
mod traitors;
mod upon;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;
use synod_core::{
    Catalogue, Cluster, Effect, Event, Held, Input, Kind, Member, Monitor, NodeId, PeerDown,
    PeerUp, Peers, Stack,
};

use crate::audit::States;
use crate::choice::Stream;
use crate::disk::DiskFault;
use crate::network::Network;
use crate::per_node::PerNode;
use crate::queue::{Happening, Queue};
use crate::quiet::{placed, quietly};
use crate::scenario::{Scenario, micros};
use crate::settings::Settings;
use crate::trace::{Step, StepKind, Trace, Tracer};
use crate::treason::Traitor;
use crate::underway::Seat;
use judge::Halted;
pub(crate) use judge::{PANICS, employed, judge, weigh};
pub(crate) use lender::Lender;
use place::NodePlace;
use races::Races;
use seen::Seen;
use settling::Settling;
use upon::Upon;

/// What came of one run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The first property that did not hold, if any.
    pub violation: Option<Violation>,
    /// What happened, in numbers.
    pub counts: Counts,
    /// What happened, step by step; empty unless it was asked for.
    pub trace: Trace,
    /// What should happen sometimes, and did not in this run.
    pub never: Vec<&'static str>,
    /// What was not held against the run: promised for later than it goes on after its last fault, or at rest,
    /// where it never was, or of events that nobody indicated.
    pub undue: Vec<&'static str>,
    /// What each of its traitors did, by ascending identity: "equivocates".
    pub treasons: Vec<&'static str>,
    /// What its disks did wrong, in the order of happening.
    pub disk_faults: Vec<DiskFault>,
    /// The state of each live node when the run failed: its summary, or all of it where it has none. Empty if
    /// the run did not fail, or has no trace.
    pub states: BTreeMap<NodeId, String>,
    /// The node that acted when it failed, and all of its state, if that is more than its summary.
    pub state: Option<(NodeId, Value)>,
}

/// A property that did not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// The property's name.
    pub property: String,
    /// In which way it did not hold.
    pub reason: String,
    /// When, in microseconds of virtual time.
    pub time_us: u64,
    /// Where in the source a handler panicked, or else where the property is declared: file, line and
    /// column, as the compiler names them.
    pub place: Option<String>,
}

impl Violation {
    /// Its place in the source, and what is there; none where it is not known.
    #[must_use]
    pub fn place_in_words(&self) -> Option<String> {
        let is = if self.property == PANICS { "at" } else { "declared at" };
        self.place.as_ref().map(|place| format!("{is} {place}"))
    }
}

/// A run in numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Handler activations and acts of the environment.
    pub steps: u64,
    /// Messages sent, those that a crash or a partition took included.
    pub sent: u64,
    /// Bytes of the bodies of the messages sent.
    pub bytes: u64,
    /// Messages delivered.
    pub delivered: u64,
    /// Messages lost.
    pub lost: u64,
    /// Requests of clients that were drawn.
    pub requests: u64,
    /// Crashes.
    pub crashes: u64,
    /// Partitions.
    pub partitions: u64,
    /// Nodes that left for good.
    pub leaves: u64,
    /// Nodes that became traitors.
    pub traitors: u64,
    /// Faults of all kinds that were planned and happened, and the ends of those that end.
    pub faults: u64,
    /// The virtual time that has passed, in microseconds.
    pub time_us: u64,
}

/// What is wrong, without when.
type Wrong = (String, String);

/// A run under way.
pub(crate) struct World<'a, T: Stack> {
    scenario: &'a Scenario<T>,
    settings: &'a Settings,
    /// Until when the network may lose, double and hold up messages.
    noisy_until_us: u64,
    /// A traitor is not among the live nodes: no property can blame it.
    members: PerNode<Member<T>>,
    traitors: BTreeMap<NodeId, Traitor>,
    places: PerNode<NodePlace>,
    queue: Queue,
    /// Planned faults that wait in the queue.
    planned: usize,
    network: Network,
    races: Races,
    stream: Lender,
    peers: Peers,
    now_us: u64,
    /// What has happened while no time passed.
    at_once: u64,
    last_fault_us: u64,
    counts: Counts,
    trace: Option<Tracer>,
    /// What nodes that are down were as they crashed, in a run with a trace.
    lost_from_sight: BTreeMap<NodeId, Box<Seen>>,
    settling: Option<Settling>,
    /// What states its nodes go through, if they are to be compared.
    states: Option<States>,
    /// Where it tells how far it is, if anybody looks.
    seat: Option<&'a Seat>,
    /// Whether something has happened since the nodes started.
    has_begun: bool,
    /// Whether any node was ever clogged or paused.
    has_held: bool,
    effects: Vec<Effect>,
    /// Whether some algorithm of the stack wants to know of links.
    links_are_told: bool,
    /// What should happen sometimes, and has not yet.
    never: Vec<&'static str>,
    monitors: Vec<(&'static str, Monitor)>,
    /// Monitors to which nobody has indicated yet what they judge.
    unshown: Vec<&'static str>,
    /// Whether there was a moment at which nothing was under way.
    has_rested: bool,
    /// What a monitor found wrong in the step under way.
    objection: Option<Wrong>,
    /// What disks have done wrong.
    disk_faults: Vec<DiskFault>,
    /// Where a handler panicked, if one did.
    panicked_at: Option<String>,
    /// After how many effects the handler ended within which its node crashes, in words, for the trace.
    cut: Option<String>,
    /// The scenario's catalogue with the names of events that no algorithm listens to, in a traced run that has some.
    learned: Option<Box<Catalogue>>,
}

/// Runs `scenario` once in the world of `settings`, with the choices of `stream`. Returns what
/// came of it, and the stream with what it recorded. O(steps).
///
/// # Panics
///
/// If the scenario's program clashes with itself. A panic of a handler is a violation.
pub fn run<T: Stack>(
    scenario: &Scenario<T>,
    settings: &Settings,
    stream: Stream,
    traced: bool,
) -> (Outcome, Stream) {
    let watched = Watched { traced, ..Watched::default() };
    let (outcome, stream, _) = run_watched(scenario, settings, stream, watched);
    (outcome, stream)
}

/// The same without a trace; tells in `seat` where it is, so that others can look on.
pub(crate) fn run_seen<T: Stack>(
    scenario: &Scenario<T>,
    settings: &Settings,
    stream: Stream,
    seat: &Seat,
) -> (Outcome, Stream) {
    let watched = Watched { seat: Some(seat), ..Watched::default() };
    let (outcome, stream, _) = run_watched(scenario, settings, stream, watched);
    (outcome, stream)
}

/// What is looked at in a run on its way.
#[derive(Debug, Default)]
struct Watched<'a> {
    /// Whether each step is.
    traced: bool,
    /// Since when it is settled.
    settling: Option<Settling>,
    /// Its nodes' states, after each step.
    states: Option<States>,
    /// Where it is, by another thread.
    seat: Option<&'a Seat>,
}

/// The same with a trace, and with the states after each step.
pub(crate) fn run_audited<T: Stack>(
    scenario: &Scenario<T>,
    settings: &Settings,
    stream: Stream,
) -> (Trace, States) {
    let states = Some(States::default());
    let watched = Watched { traced: true, states, ..Watched::default() };
    let (outcome, _, watched) = run_watched(scenario, settings, stream, watched);
    (outcome.trace, watched.states.unwrap_or_default())
}

/// The same; returns what was looked at as it is in the end.
fn run_watched<'a, T: Stack>(
    scenario: &Scenario<T>,
    settings: &Settings,
    stream: Stream,
    watched: Watched<'a>,
) -> (Outcome, Stream, Watched<'a>) {
    let Watched { traced, settling, states, seat } = watched;
    let mut world = World::new(scenario, settings, stream, traced);
    (world.settling, world.states, world.seat) = (settling, states, seat);
    let violation = quietly(|| world.run()).err().map(|(property, reason)| Violation {
        place: world.panicked_at.take().or_else(|| scenario.declares(&property)),
        property,
        reason,
        time_us: world.now_us,
    });
    world.counts.time_us = world.now_us;
    let is_shown = traced && violation.is_some();
    let outcome = Outcome {
        undue: world.undue(),
        never: std::mem::take(&mut world.never),
        treasons: world.traitors.values().map(Traitor::words).collect(),
        disk_faults: std::mem::take(&mut world.disk_faults),
        state: if is_shown { world.broken() } else { None },
        states: if is_shown { world.shown() } else { BTreeMap::new() },
        violation,
        counts: world.counts,
        trace: world.trace.take().map(Tracer::finish).unwrap_or_default(),
    };
    let watched = Watched { traced, settling: world.settling, states: world.states, seat };
    (outcome, world.stream.into_inner(), watched)
}

impl<'a, T: Stack> World<'a, T> {
    fn new(
        scenario: &'a Scenario<T>,
        settings: &'a Settings,
        stream: Stream,
        traced: bool,
    ) -> Self {
        let trace = Tracer::new(scenario.name, settings.nodes);
        let properties = || scenario.properties.iter();
        let sometimes = properties().filter(|property| property.kind == Kind::Sometimes);
        let monitors = || properties().filter_map(|it| Some((it.name, it.observe()?)));
        Self {
            scenario,
            settings,
            noisy_until_us: settings.noisy_until_us(),
            members: Scenario::members(settings.nodes),
            traitors: BTreeMap::new(),
            places: PerNode::of(settings.nodes, |_| NodePlace::default()),
            queue: Queue::default(),
            planned: 0,
            network: Network::new(settings),
            races: Races::default(),
            peers: (1..=settings.nodes).map(NodeId).collect(),
            stream: Lender::new(stream),
            now_us: 0,
            at_once: 0,
            last_fault_us: 0,
            counts: Counts::default(),
            trace: traced.then_some(trace),
            lost_from_sight: BTreeMap::new(),
            settling: None,
            states: None,
            seat: None,
            has_begun: false,
            has_held: false,
            effects: Vec::new(),
            never: sometimes.map(|property| property.name).collect(),
            monitors: monitors().collect(),
            unshown: monitors().map(|(name, _)| name).collect(),
            has_rested: false,
            objection: None,
            disk_faults: Vec::new(),
            panicked_at: None,
            cut: None,
            learned: None,
            links_are_told: scenario.catalogue.handled(PeerUp::ID).is_some()
                || scenario.catalogue.handled(PeerDown::ID).is_some(),
        }
    }

    fn run(&mut self) -> Result<(), Wrong> {
        let betrayals = self.prepare();
        for (node, at, envelope) in &self.scenario.inputs {
            let is_left_out = self.stream.leaves_out(*node);
            if is_left_out || self.settings.nodes < node.0 {
                continue;
            }
            let input = Input::Trigger(envelope.clone());
            let told = Happening::Told { node: *node, life: 0, input: Box::new(input) };
            self.queue.add(micros(*at), told);
        }
        let all = (1..=self.settings.nodes).map(NodeId);
        let first: Vec<NodeId> = all
            .filter(|node| !self.places[*node].rare().is_some_and(|rare| rare.is_late))
            .collect();
        first.iter().for_each(|node| self.boot(*node));
        betrayals.into_iter().try_for_each(|betrayal| self.betray(betrayal, false))?;
        first.into_iter().try_for_each(|node| self.start(node))?;
        self.look_at_rest()?;
        self.settle();
        while let Some(next) = self.queue.next() {
            if self.settings.time_us < next.at_us {
                break; // It is still under way at the end.
            }
            self.moment();
            self.keep_pace(next.at_us)?;
            self.pass(next.at_us)?;
            // Looked at where it is put: taking it out would copy it once more.
            let collected = self.queue.collect(next);
            let Some(happening) = &collected else { continue };
            let until_us = if self.has_held { self.held_until_us(happening) } else { 0 };
            if until_us == 0 {
                self.happen(happening)?;
            } else {
                self.put_off(until_us, next.turn, collected);
            }
            self.has_begun = true;
            self.look_at_rest()?;
            self.settle();
        }
        self.moment();
        self.end()
    }

    fn start(&mut self, node: NodeId) -> Result<(), Wrong> {
        self.moment();
        let step = self.noting(|_| Step::says(StepKind::Start, Some(node), "starts"));
        self.step(node, &Input::Start, step)?;
        self.tell_links(node);
        Ok(())
    }

    /// A traced run remembers where it could be left.
    #[inline]
    fn moment(&mut self) {
        if let Some(trace) = &self.trace {
            let after_us = self.has_begun.then_some(self.now_us);
            self.stream.mark(trace.len(), after_us);
        }
    }

    // Always inlined, here and in `settling.rs`: what most runs do not need is then one comparison for
    // a message. Left to itself, the compiler makes calls of them, which cost 2 % of all instructions.

    /// Nothing is under way but faults that have not begun.
    #[inline(always)]
    fn look_at_rest(&mut self) -> Result<(), Wrong> {
        if 0 < self.planned && self.queue.len() == self.planned && self.network.is_whole() {
            self.has_rested = true;
            return self.check(|kind| kind == Kind::AtRest);
        }
        Ok(())
    }

    /// Lets the rest of the time pass, in which nothing happens.
    fn end(&mut self) -> Result<(), Wrong> {
        let at_rest = self.queue.is_empty() && self.network.is_whole();
        self.has_rested |= at_rest;
        self.rest(at_rest);
        self.pass(self.settings.time_us)?;
        self.check(|kind| match kind {
            Kind::Eventually { .. } => true,
            Kind::AtRest => at_rest,
            _ => false,
        })
    }

    /// Lets time pass, in which nothing happens. A promise whose time is over on the way is held
    /// against what stands.
    #[inline(always)]
    fn pass(&mut self, to_us: u64) -> Result<(), Wrong> {
        if self.scenario.properties.is_empty() {
            self.now_us = to_us;
            return Ok(());
        }
        self.pass_promises(to_us)
    }

    #[inline]
    fn happen(&mut self, happening: &Happening) -> Result<(), Wrong> {
        match happening {
            Happening::Message { from, to, sending, envelope } => {
                self.deliver(*from, *to, *sending, envelope)
            }
            Happening::Timer { node, id, envelope } => {
                self.places[*node].timers.remove(id);
                let step = envelope.as_ref().and_then(|envelope| {
                    self.noting(|catalogue| Step::of(StepKind::Timer, *node, envelope, catalogue))
                });
                self.step(*node, &Input::Timer(*id), step)
            }
            Happening::Told { node, life, input } => self.tell(*node, *life, input),
            Happening::Restart(node) => self.restart(*node),
            Happening::Join(node) => self.join(*node),
            Happening::Heal(split) => self.heal(*split),
            planned => {
                self.planned -= 1;
                self.strike(planned)
            }
        }
    }

    fn tell(&mut self, node: NodeId, life: u64, input: &Input) -> Result<(), Wrong> {
        let is_another = life != 0 && life != self.places[node].incarnation;
        if !self.is_up(node) || is_another {
            return Ok(());
        }
        let step = self.noting(|catalogue| Step::upon(StepKind::Told, node, input, catalogue));
        self.step(node, input, step)
    }

    /// Makes a node that is up, but has not started.
    fn boot(&mut self, node: NodeId) {
        let place = &mut self.places[node];
        place.incarnation += 1;
        if place.rare().is_some() {
            place.rare_mut().heard.clear();
        }
        let mut machine = self.scenario.boot_among(&self.peers, node, place.incarnation);
        if self.trace.is_some() {
            machine.name_events();
        }
        self.members[node].node = Some(Held::Own(Box::new(machine)));
    }

    /// One handler activation that is not the delivery of a message.
    #[inline(never)]
    fn step(&mut self, node: NodeId, input: &Input, step: Option<Box<Step>>) -> Result<(), Wrong> {
        self.activate(node, Upon::Input(input), step)
    }

    /// One handler activation: the node's step, its effects, the properties. Inlined where most are of.
    #[inline(always)]
    fn activate(
        &mut self,
        node: NodeId,
        upon: Upon<'_>,
        mut step: Option<Box<Step>>,
    ) -> Result<(), Wrong> {
        self.tell_where(node, upon);
        if self.members[node].node.is_none() {
            return self.step_traitor(node, upon, step);
        }
        let before = if step.is_some() { Some(self.seen_before(node)) } else { None };
        let mut effects = std::mem::take(&mut self.effects);
        let stepped = self.handle(node, upon, &mut effects);
        if let (Some(step), Some(before)) = (&mut step, before) {
            self.learn_names(node);
            self.tell_changes(node, step, &before);
        }
        let mut crash = if effects.is_empty() { None } else { self.doom(node, &mut effects) };
        let carried = stepped.or_else(|halted| self.judge(node, upon, halted));
        if carried.is_ok() && !effects.is_empty() {
            crash = self.write_down(node, &mut effects).or(crash);
            self.carry_out(node, &mut effects, &mut step);
        } else {
            effects.clear();
        }
        self.effects = effects;
        self.note(step);
        if carried.is_err() {
            return self.blame(carried);
        }
        if let Some(objection) = self.objection.take() {
            return self.blame(Err(objection));
        }
        if let Some(crash) = crash {
            self.crash(crash);
        }
        self.check(|kind| kind == Kind::Always || matches!(kind, Kind::Eventually { .. }))
    }

    /// Lets the handlers of a live node run, with the run's stream in its hands.
    #[inline(never)]
    fn handle(
        &mut self,
        node: NodeId,
        upon: Upon<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Halted> {
        let now = self.places[node].clock.reads(self.now_us);
        let machine = &mut self.members[node].node;
        let machine = machine.as_mut().and_then(Held::own).expect("an event for a live node");
        machine.decide_by(self.stream.lend());
        // A small result: a step is too short to copy what may be wrong with it.
        let step = || match upon {
            Upon::Message { from, envelope } => {
                machine.deliver(now, from, envelope.by_ref(), effects).map_err(Box::new)
            }
            Upon::Input(input) => machine.step(now, input, effects).map_err(Box::new),
        };
        let stepped = catch_unwind(AssertUnwindSafe(step));
        self.stream.take_back(machine.take_choices());
        match stepped {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Halted::Refused(error)),
            Err(panic) => Err(Halted::Panicked(panic)),
        }
    }

    /// Holds the properties of the chosen kinds against the present moment.
    #[inline(always)]
    fn check(&mut self, due: impl Fn(Kind) -> bool) -> Result<(), Wrong> {
        if self.scenario.properties.is_empty() {
            return Ok(());
        }
        self.check_all(&due)
    }

    fn check_all(&mut self, due: &dyn Fn(Kind) -> bool) -> Result<(), Wrong> {
        let quiet_us = self.now_us.checked_sub(self.last_fault_us);
        let cluster = Cluster::new(self.members.all()).having_sent(self.counts.sent);
        let properties = &self.scenario.properties;
        if !self.never.is_empty() {
            self.never.retain(|name| {
                properties.iter().all(|it| it.name != *name || it.check(&cluster).is_err())
            });
        }
        for property in properties {
            let ripe = match property.kind {
                Kind::Eventually { within } => {
                    quiet_us.is_some_and(|quiet| micros(within) <= quiet) && self.network.is_whole()
                }
                _ => true,
            };
            if ripe
                && due(property.kind)
                && let Err(reason) = property.check(&cluster)
            {
                return self.blame(Err((String::from(property.name), placed(reason))));
            }
        }
        Ok(())
    }

    /// Marks the last step as the one that went wrong.
    #[cold]
    fn blame(&mut self, verdict: Result<(), Wrong>) -> Result<(), Wrong> {
        if let (Err((property, reason)), Some(trace)) = (&verdict, &mut self.trace) {
            let late = trace.last_mut().is_none_or(|step| step.time_us < self.now_us);
            if late {
                let mut step = Step::says(StepKind::Tick, None, "time is up");
                step.time_us = self.now_us;
                trace.push(step);
            }
            if let Some(step) = trace.last_mut() {
                step.wrong = Some(format!("{property}: {reason}"));
            }
        }
        verdict
    }
}

impl<T: Stack> std::fmt::Debug for World<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} at {} us", self.scenario, self.now_us)
    }
}
