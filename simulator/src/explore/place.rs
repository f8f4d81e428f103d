//! The local states of nodes: what runs handlers, and all of an exploration that depends on the
//! type of the nodes.

use std::any::Any;
use std::borrow::Borrow;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use synod_core::{
    Choices, Cluster, DecodeError, Effect, Envelope, Frame, Held, Kind, Member, Monitor, Node,
    NodeId, Peers, Permutation, Renamer, Stack, TimerId, Verdict,
};

use super::host::{Cause, Host};
use super::pool::Pool;
use super::print::Print;
use super::setting::{Moment, Setting, Wrong};
use crate::quiet::placed;
use crate::scenario::{SEED, Scenario};
use crate::world::{employed, judge, weigh};

/// The nodes of an exploration, by the numbers of their local states.
///
/// A local state is a node, or the lack of one, with what its host holds for it. Each is kept
/// once, however many states of the cluster have it, and a handler runs once for each local state
/// and event: equal state and equal inputs mean equal effects.
pub(crate) trait Program: Sync {
    fn setting(&self) -> &Setting<'_>;
    /// A node that has never started.
    fn vacant(&self, node: NodeId) -> u32;
    /// What comes of `cause` in a local state, if the handler is answered `choices` (0 beyond) and
    /// the node crashes after `cut` effects. The effects before are on the `desk` then.
    fn step(
        &self,
        place: u32,
        cause: &Cause,
        choices: &[u32],
        cut: Option<usize>,
        desk: &mut Desk,
    ) -> Result<Stepped, Wrong>;
    /// The local state a tick later.
    fn tick(&self, place: u32) -> u32;
    /// The local state after a crash.
    fn crash(&self, place: u32) -> u32;
    /// The fingerprint of a local state under other names.
    fn image(&self, place: u32, renamer: &mut Renamer) -> Result<u128, DecodeError>;
    /// A local state under other names.
    fn renamed(&self, place: u32, names: Permutation) -> Result<u32, DecodeError>;
    /// Brings a thread's own list of what it has to know of them up to date.
    fn refresh(&self, known: &mut Vec<Local>);
    fn judge(&self) -> Box<dyn Judge + '_>;
    /// The monitors of a new run whose automata are a part of the states, by name: they may explain
    /// more.
    fn observe(&self) -> Vec<(&'static str, Monitor)>;
    /// The event that a timer would be.
    fn timer(&self, place: u32, id: TimerId) -> Option<Envelope>;
    /// A live node's state in short, if it has anything to show.
    fn summary(&self, place: u32) -> Option<String>;
    /// A live node's state as data.
    fn shown(&self, place: u32) -> Value;
    /// How many local states there are.
    fn places(&self) -> usize;
    /// Forgets all local states but the live ones. Returns their new numbers by the old ones.
    fn keep_only(&self, live: &[bool]) -> Vec<u32>;
}

/// What a thread knows of a local state.
#[derive(Debug)]
pub(crate) struct Local {
    /// The hash of all of it, by its bytes: as a number it would stand at a multiple of 16 only.
    print: [u8; 16],
    pub(crate) host: Arc<Host>,
}

impl Local {
    /// The hash of all of it.
    pub(crate) fn print(&self) -> u128 {
        u128::from_ne_bytes(self.print)
    }
}

/// What came of one handler activation.
#[derive(Debug)]
pub(crate) struct Stepped {
    pub(crate) place: u32,
    /// The options of each question that was asked.
    pub(crate) asked: Vec<u32>,
    /// How many effects the handler had, those after a crash in it included.
    pub(crate) had: usize,
}

/// What a thread runs handlers with, again and again.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// What the last handler asked for, before the crash in it, if any.
    pub(crate) effects: Vec<Effect>,
    script: Option<Box<Script>>,
    /// Whether the state after the handler is compared with the one that is kept for it, and if they differ,
    /// how the two are written.
    pub(crate) compares: bool,
    pub(crate) differs: Option<(String, String)>,
}

/// Holds the properties against states.
pub(crate) trait Judge: Send {
    fn judge(&mut self, places: &[u32], moment: Moment) -> Result<(), Wrong>;
    /// What a property's predicate says, whenever it is due.
    fn verdict(&mut self, places: &[u32], property: usize) -> Verdict;
}

/// What is explored, and the local states that were found so far.
pub(crate) struct Ground<'a, T: Stack> {
    scenario: &'a Scenario<T>,
    setting: Setting<'a>,
    peers: Peers,
    places: Pool<Place<T>>,
    arounds: Pool<Arc<Around<T>>>,
}

/// A local state. The states of the algorithms stand apart from the rest, which many have in common.
struct Place<T: Stack> {
    stack: Option<Arc<T>>,
    around: Arc<Around<T>>,
}

struct Around<T: Stack> {
    /// None if the node is down.
    frame: Option<Frame<T>>,
    host: Arc<Host>,
}

impl<T: Stack> Around<T> {
    #[inline(never)] // As `meets`.
    fn of(mut host: Host, frame: Option<Frame<T>>) -> Arc<Self> {
        host.timers = host.timers.ordered(frame.iter().flat_map(Frame::timers).map(|(id, _)| id));
        Arc::new(Self { frame, host: Arc::new(host) })
    }
}

impl<T: Stack> Clone for Place<T> {
    fn clone(&self) -> Self {
        Self { stack: self.stack.clone(), around: Arc::clone(&self.around) }
    }
}

/// Answers a handler's questions from a script, and takes down what was asked.
#[derive(Debug, Default)]
struct Script {
    given: Vec<u32>,
    asked: Vec<u32>,
    /// Whether a random number was drawn, which nobody is asked for.
    draws: bool,
}

impl Choices for Script {
    fn choose(&mut self, _: NodeId, options: u32) -> u32 {
        let answer = self.given.get(self.asked.len()).copied().unwrap_or(0);
        self.asked.push(options);
        answer
    }

    fn random(&mut self, _: NodeId, bits: u64) -> u64 {
        self.draws = true;
        bits
    }
}

impl<'a, T: Stack + Clone + Hash + Sync> Ground<'a, T> {
    pub(crate) fn new(scenario: &'a Scenario<T>, setting: Setting<'a>) -> Self {
        let peers = (1..=setting.bounds.nodes).map(NodeId).collect();
        Self { scenario, setting, peers, places: Pool::default(), arounds: Pool::default() }
    }

    fn keep<S>(&self, host: Host, frame: Option<Frame<T>>, stack: Option<S>) -> u32
    where
        S: Borrow<T> + Into<Arc<T>>,
    {
        let timers = frame.iter().flat_map(Frame::timers).map(|(id, _)| id);
        let (hasher, around) =
            Self::hashed(&host, frame.as_ref(), timers, stack.as_ref().map(S::borrow));
        let print = hasher.all();
        let known = self.places.known(print);
        known.unwrap_or_else(|| self.add([print, hasher.of(around)], host, frame, stack))
    }

    /// Keeps a node after a step, if it is still up. Most are known, and need not be taken apart.
    #[inline(never)] // As `meets`.
    fn leave(&self, host: Host, met: &mut Option<Node<T>>) -> u32 {
        let (hasher, around) = Self::hashed_node(&host, met.as_ref());
        let print = hasher.all();
        if let Some(known) = self.places.known(print) {
            return known;
        }
        let (stack, frame) = met.take().map(Node::into_parts).unzip();
        self.add([print, hasher.of(around)], host, frame, stack)
    }

    /// Keeps what is not known yet, under the fingerprints of all of it and of all but the stack.
    #[inline(never)] // As `meets`.
    fn add<S>(
        &self,
        [print, around]: [u128; 2],
        mut host: Host,
        frame: Option<Frame<T>>,
        stack: Option<S>,
    ) -> u32
    where
        S: Into<Arc<T>>,
    {
        host.up = frame.is_some();
        let around = self.around(around, host, frame);
        self.places.number(print, || Place { stack: stack.map(S::into), around })
    }

    /// What is kept under this fingerprint: its timers are in the order of their events.
    fn around(&self, print: u128, host: Host, frame: Option<Frame<T>>) -> Arc<Around<T>> {
        let number = self.arounds.number(print, || Around::of(host, frame));
        self.arounds.get(number)
    }

    fn hashed_node(host: &Host, node: Option<&Node<T>>) -> (Print, usize) {
        let timers = node.into_iter().flat_map(Node::timers).map(|(id, _)| id);
        Self::hashed(host, node.map(Node::surroundings), timers, node.map(Node::stack))
    }

    /// A hasher that was fed a node and all that its host holds for it, and how many bytes of that come
    /// before the stack.
    fn hashed(
        host: &Host,
        frame: Option<impl Hash>,
        timers: impl Iterator<Item = TimerId>,
        stack: Option<&T>,
    ) -> (Print, usize) {
        let mut hasher = Print::new();
        (host.node, host.incarnation, &host.disk, frame).hash(&mut hasher);
        timers.for_each(|id| host.timers.get(id).hash(&mut hasher));
        let around = hasher.bytes();
        stack.hash(&mut hasher);
        (hasher, around)
    }

    /// A node and what its host holds for it under other names.
    fn under_other_names(
        &self,
        place: u32,
        renamer: &mut Renamer,
    ) -> Result<(Host, Option<Node<T>>), DecodeError> {
        let (place, scenario) = (self.places.get(place), self.scenario);
        let catalogue = &scenario.catalogue;
        let mut host = place.around.host.renamed(catalogue, renamer)?;
        let Some(node) = place.node() else {
            return Ok((host, None));
        };
        renamer.in_no_order(node.timers(), |renamer, (id, envelope)| {
            let due = host.timers.get(id).unwrap_or_default();
            renamer.mix(due.earliest);
            renamer.mix(due.latest);
            catalogue.renamed(envelope, renamer)
        })?;
        let node = node.renamed(scenario.symmetry, catalogue, SEED, renamer)?;
        host.up = true;
        Ok((host, Some(node)))
    }

    /// The node that `cause` meets: none if it is down.
    #[inline(never)] // Its frame is not under the handler.
    fn meets(&self, place: &Place<T>, host: &mut Host, cause: &Cause) -> Option<Node<T>> {
        if !matches!(cause, Cause::Start | Cause::Recover(_)) {
            return place.node();
        }
        host.incarnation += 1;
        Some(self.scenario.boot_among(&self.peers, host.node, host.incarnation))
    }
}

impl<T: Stack + Clone> Place<T> {
    /// A copy of the node that may take a step, if it is up.
    fn node(&self) -> Option<Node<T>> {
        let (stack, frame) = self.stack.as_deref().zip(self.around.frame.as_ref())?;
        Some(Node::from_parts(stack.clone(), frame))
    }
}

impl<T: Stack + Clone + Hash + Sync> Program for Ground<'_, T> {
    fn setting(&self) -> &Setting<'_> {
        &self.setting
    }

    fn vacant(&self, node: NodeId) -> u32 {
        self.keep(Host::of(node), None, None::<T>)
    }

    fn step(
        &self,
        place: u32,
        cause: &Cause,
        choices: &[u32],
        cut: Option<usize>,
        desk: &mut Desk,
    ) -> Result<Stepped, Wrong> {
        let Desk { effects, script, .. } = &mut *desk;
        effects.clear();
        let before = self.places.get(place);
        let mut host = Host::clone(&before.around.host);
        let mut met = self.meets(&before, &mut host, cause);
        let Some(node) = &mut met else {
            return Ok(Stepped { place, asked: Vec::new(), had: 0 });
        };
        let input = host.input(cause, self.setting.bounds);
        let mut lent = script.take().unwrap_or_default();
        lent.given.clear();
        lent.given.extend_from_slice(choices);
        node.decide_by(lent);
        let stepped = catch_unwind(AssertUnwindSafe(|| node.step(Duration::ZERO, &input, effects)));
        let lent: Option<Box<dyn Any>> = node.take_choices().map(|it| -> Box<dyn Any> { it });
        judge(host.node, stepped, self.setting.catalogue)?;
        for effect in effects.iter() {
            match effect {
                Effect::Send { envelope, .. } => weigh(host.node, envelope, self.setting.catalogue),
                Effect::Job(job) => employed(host.node, job, self.setting.catalogue).map(drop),
                _ => Ok(()),
            }?;
        }
        let mut lent = lent.and_then(|it| it.downcast::<Script>().ok()).expect("it was lent");
        let asked = std::mem::take(&mut lent.asked);
        if std::mem::take(&mut lent.draws) {
            self.setting.has_drawn.store(true, Ordering::Relaxed);
        }
        *script = Some(lent);
        let had = effects.len();
        effects.truncate(cut.unwrap_or(had));
        host.carry_out(effects, self.setting.bounds);
        if cut.is_some() {
            host.timers.clear();
            met = None;
        }
        let written = |stack: &T| self.scenario.written(stack);
        let text = met.as_ref().filter(|_| desk.compares).map(|node| written(node.stack()));
        let place = self.leave(host, &mut met);
        if let Some(text) = text {
            let kept = self.places.get(place).stack.map_or_else(String::new, |it| written(&it));
            desk.differs = (kept != text).then_some((kept, text));
        }
        Ok(Stepped { place, asked, had })
    }

    fn tick(&self, place: u32) -> u32 {
        let before = self.places.get(place);
        let mut host = Host::clone(&before.around.host);
        host.timers.pass(1);
        self.keep(host, before.around.frame.clone(), before.stack)
    }

    fn crash(&self, place: u32) -> u32 {
        let mut host = self.places.look(place, |place| Host::clone(&place.around.host));
        host.timers.clear();
        self.keep(host, None, None::<T>)
    }

    fn image(&self, place: u32, renamer: &mut Renamer) -> Result<u128, DecodeError> {
        let (host, node) = self.under_other_names(place, renamer)?;
        Ok(Self::hashed_node(&host, node.as_ref()).0.all())
    }

    fn renamed(&self, place: u32, names: Permutation) -> Result<u32, DecodeError> {
        let (host, node) = self.under_other_names(place, &mut Renamer::to(names))?;
        let (stack, frame) = node.map(Node::into_parts).unzip();
        Ok(self.keep(host, frame, stack))
    }

    fn refresh(&self, known: &mut Vec<Local>) {
        self.places.refresh(known, |print, place| Local {
            print: print.to_ne_bytes(),
            host: Arc::clone(&place.around.host),
        });
    }

    fn judge(&self) -> Box<dyn Judge + '_> {
        let members = (1..=self.setting.bounds.nodes).map(NodeId);
        let members = members.map(|id| Member { id, node: None }).collect();
        let (stacks, seated, cleared) = (Vec::new(), Vec::new(), Vec::new());
        Box::new(Court { ground: self, stacks, members, seated, cleared })
    }

    fn observe(&self) -> Vec<(&'static str, Monitor)> {
        let properties = self.scenario.properties().iter();
        let remembered = properties.filter(|it| it.remembering().is_some());
        remembered.filter_map(|it| Some((it.name, it.observe()?))).collect()
    }

    fn timer(&self, place: u32, id: TimerId) -> Option<Envelope> {
        let place = self.places.get(place);
        let mut armed = place.around.frame.as_ref()?.timers();
        armed.find(|(armed, _)| *armed == id).map(|(_, envelope)| envelope.clone())
    }

    fn summary(&self, place: u32) -> Option<String> {
        let summary = self.places.get(place).stack?.summary();
        (!summary.is_empty()).then(|| summary.to_string())
    }

    fn shown(&self, place: u32) -> Value {
        let stack = self.places.get(place).stack;
        stack.map_or(Value::Null, |stack| self.scenario.show(&stack))
    }

    fn places(&self) -> usize {
        self.places.len()
    }

    fn keep_only(&self, live: &[bool]) -> Vec<u32> {
        let renumbered = self.places.keep(live);
        let mut used = Vec::new();
        self.arounds.refresh(&mut used, |_, around| 1 < Arc::strong_count(around));
        self.arounds.keep(&used);
        renumbered
    }
}

/// Holds properties against the nodes of one state after the other, which differ in few.
struct Court<'a, T: Stack> {
    ground: &'a Ground<'a, T>,
    /// The states of all local states that were looked at, so that this takes no lock, but for those
    /// that `members` have.
    stacks: Vec<Option<Arc<T>>>,
    members: Vec<Member<T>>,
    /// The local states that `members` are.
    seated: Vec<u32>,
    /// The local states in which every property of single nodes holds.
    cleared: Vec<bool>,
}

impl<T: Stack + Clone + Hash + Sync> Court<'_, T> {
    /// A local state is of one node, so it is taken from where it stands and put back, not counted.
    fn seat(&mut self, places: &[u32]) {
        if places.iter().any(|place| self.stacks.len() <= *place as usize) {
            self.ground.places.refresh(&mut self.stacks, |_, place| place.stack.clone());
        }
        self.seated.resize(places.len(), u32::MAX);
        for ((member, seated), place) in self.members.iter_mut().zip(&mut self.seated).zip(places) {
            if seated != place {
                let stack = self.stacks.get_mut(*place as usize).and_then(Option::take);
                let left = std::mem::replace(&mut member.node, stack.map(Held::Shared));
                if let (Some(stack), Some(Held::Shared(left))) =
                    (self.stacks.get_mut(*seated as usize), left)
                {
                    *stack = Some(left);
                }
                *seated = *place;
            }
        }
    }

    /// Holds what is promised of single nodes against each local state once.
    fn judge_each(&mut self) -> Result<(), Wrong> {
        for (member, place) in self.members.iter().zip(&self.seated) {
            let place = *place as usize;
            if self.cleared.get(place) == Some(&true) {
                continue;
            }
            let alone = Cluster::new(std::slice::from_ref(member));
            let properties = self.ground.scenario.properties().iter();
            for property in properties.filter(|it| it.kind == Kind::Always && it.is_local()) {
                let verdict = property.check(&alone);
                verdict.map_err(|reason| (String::from(property.name), placed(reason)))?;
            }
            self.cleared.resize(self.cleared.len().max(place + 1), false);
            if let Some(cleared) = self.cleared.get_mut(place) {
                *cleared = true;
            }
        }
        Ok(())
    }
}

impl<T: Stack + Clone + Hash + Sync> Judge for Court<'_, T> {
    fn judge(&mut self, places: &[u32], moment: Moment) -> Result<(), Wrong> {
        let setting = &self.ground.setting;
        let due = |property: &&synod_core::Property<T>| match property.kind {
            Kind::Eventually { within } => setting.is_over(within, moment.quiet),
            Kind::AtRest => moment.at_rest,
            Kind::Always => !property.is_local(),
            _ => false,
        };
        self.seat(places);
        if setting.has_local {
            self.judge_each()?;
        }
        let cluster = Cluster::new(&self.members);
        for property in self.ground.scenario.properties().iter().filter(due) {
            let verdict = property.check(&cluster);
            verdict.map_err(|reason| (String::from(property.name), placed(reason)))?;
        }
        Ok(())
    }

    fn verdict(&mut self, places: &[u32], property: usize) -> Verdict {
        self.seat(places);
        let property = self.ground.scenario.properties().get(property);
        property.map_or(Ok(()), |it| it.check(&Cluster::new(&self.members)))
    }
}
