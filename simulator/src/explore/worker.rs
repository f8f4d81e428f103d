//! Takes an exploration from state to state.

use std::collections::BTreeSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use synod_core::{Effect, Input, NodeId, Verdict};

use self::activation::{Move, Way, What};
use self::memo::Memo;
use super::host::{Cause, Host};
use super::memory::{Memory, NOTHING_SEEN};
use super::orbit::Orbits;
use super::parcel::{APPLICATION, Parcel};
use super::place::{Desk, Judge, Local, Program};
use super::setting::{Moment, Setting, Wrong};
use super::state::State;
use crate::action::{Act, Action, Cut};
use crate::underway::Entered;

pub(crate) use self::foresight::Foreseen;
pub(crate) use self::memo::At;

mod actions;
mod activation;
mod again;
mod collectors;
mod faults;
mod foresight;
mod memo;
mod symmetry;
mod wire;

/// One thread's hand in an exploration: it remembers what came of each handler activation.
pub(crate) struct Worker<'a> {
    program: &'a dyn Program,
    judge: Box<dyn Judge + 'a>,
    /// Where it tells which handler runs, and how many have run.
    seat: Entered<'a>,
    activations: u64,
    places: Vec<Local>,
    parcels: Vec<Arc<Parcel>>,
    memories: Vec<Arc<Memory>>,
    moves: Memo,
    /// The memory after each one, once it is told something.
    remembered: Remembered,
    /// The parcel that is left of one when time has passed; `UNKNOWN` before it was asked.
    later: Vec<u32>,
    /// Local states with two deliveries that were found to commute there.
    commuting: BTreeSet<(u32, u32, u32)>,
    /// Finds the orbits of states, where states that differ in names only are one.
    orbits: Option<Box<Orbits>>,
    desk: Desk,
    /// What the last handler sent.
    sent: Vec<u32>,
    scratch: State,
}

/// How a node starts: what its handler is answered, and where in it the node crashes, if it does.
struct Beginning<'c> {
    node: NodeId,
    choices: &'c [u32],
    cut: Option<Cut>,
}

/// Only asked for what it holds, so its order is nobody's.
#[expect(clippy::disallowed_types, reason = "it is never iterated")]
type Remembered = std::collections::HashMap<(u32, u32), u32, BuildHasherDefault<Folding>>;

/// Memories after others that are remembered at most. Beyond, all are forgotten: what comes again is
/// soon known again.
const REMEMBERED_MAX: usize = 1 << 16;

/// One transition, as [`Worker::expand`] tells it.
pub(crate) struct Taken<'s> {
    /// Which of the state's transitions it is, in their order.
    pub(crate) ordinal: u32,
    pub(crate) action: &'s Action,
    /// The state that it leads to, or what is wrong in taking it.
    pub(crate) outcome: Result<&'s mut State, Wrong>,
}

/// Multiplies and folds: for keys of a few small numbers.
#[derive(Default)]
pub(super) struct Folding(u64);

impl Hasher for Folding {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.0 ^ number ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
        let halves = [product >> 64, product & u128::from(u64::MAX)];
        let [high, low] = halves.map(|half| u64::try_from(half).unwrap_or_default());
        self.0 = high ^ low;
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number.unsigned_abs() as u64);
    }
}

impl<'a> Worker<'a> {
    pub(crate) fn new(program: &'a dyn Program) -> Self {
        let mut worker = Self {
            program,
            judge: program.judge(),
            seat: program.setting().underway.enter(),
            activations: 0,
            places: Vec::new(),
            parcels: Vec::new(),
            memories: Vec::new(),
            moves: Memo::default(),
            remembered: Remembered::default(),
            later: Vec::new(),
            commuting: BTreeSet::new(),
            orbits: program.setting().group.clone().map(|group| Box::new(Orbits::new(group))),
            desk: Desk::default(),
            sent: Vec::new(),
            scratch: State::default(),
        };
        worker.learn();
        worker
    }

    pub(crate) fn program(&self) -> &'a dyn Program {
        self.program
    }

    pub(crate) fn setting(&self) -> &'a Setting<'a> {
        self.program.setting()
    }

    /// Forgets everything, because the numbers of local states and parcels are others now.
    #[cold] // What is made anew is not under the search.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(self.program);
    }

    /// Takes note of the local states and parcels that others have found.
    pub(crate) fn learn(&mut self) {
        self.program.refresh(&mut self.places);
        self.setting().parcels.refresh(&mut self.parcels, |_, parcel| Arc::clone(parcel));
        self.setting().memories.refresh(&mut self.memories);
    }

    fn memory(&self, memory: u32) -> &Memory {
        self.memories.get(memory as usize).expect("a memory that this worker knows")
    }

    fn local(&self, place: u32) -> &Local {
        self.places.get(place as usize).expect("a local state that this worker knows")
    }

    pub(crate) fn host(&self, place: u32) -> &Host {
        &self.local(place).host
    }

    /// The fingerprint of a local state.
    pub(crate) fn print(&self, place: u32) -> u128 {
        self.local(place).print()
    }

    pub(crate) fn parcel(&self, number: u32) -> &Arc<Parcel> {
        self.parcels.get(number as usize).expect("a parcel that this worker knows")
    }

    /// The local state of a node.
    pub(crate) fn place(state: &State, node: NodeId) -> u32 {
        *state.places.get(node.0 as usize - 1).expect("nodes are numbered from 1 without gaps")
    }

    /// Brings a node into another local state, but does not change the sum.
    pub(crate) fn put(state: &mut State, node: NodeId, place: u32) {
        let here = state.places.get_mut(node.0 as usize - 1);
        *here.expect("nodes are numbered from 1 without gaps") = place;
    }

    fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.setting().bounds.nodes).map(NodeId)
    }

    /// The cluster with every node started, and nothing delivered; `start` has the choices of the
    /// handlers. Returns the options of all that they asked.
    pub(crate) fn start(&mut self, start: &Action, state: &mut State) -> Result<Vec<u32>, Wrong> {
        let bounds = self.setting().bounds;
        *state = State {
            crashes: bounds.crashes,
            recoveries: bounds.recoveries,
            losses: bounds.losses,
            copies: bounds.copies,
            lies: bounds.lies,
            memory: NOTHING_SEEN,
            ..State::default()
        };
        state.places = self.nodes().map(|node| self.program.vacant(node)).collect();
        self.moves.make_room();
        self.learn();
        let here = |node: NodeId| node.0 <= bounds.nodes;
        let inputs = self.setting().inputs.iter().filter(|(node, ..)| here(*node));
        let mut inputs: Vec<_> = inputs.collect();
        inputs.sort_by_key(|(_, at, _)| *at);
        for (node, at, envelope) in inputs {
            let left = bounds.ticks(*at);
            let link = (*node, *node, APPLICATION);
            self.send(state, link, Input::Trigger(envelope.clone()), left);
        }
        let (beginnings, all_asked) = self.beginnings(start)?;
        for Beginning { node, choices, cut } in &beginnings {
            let cut = cut.map(|cut| u32::try_from(cut.after).unwrap_or(u32::MAX));
            let at = self.step(state, *node, What::Start, Way { choices, cut })?;
            let moved = self.moves.at(at);
            // Every node is up, whether or not it has had its turn.
            self.enqueue_all(state, moved.sends.iter().copied());
            let told = moved.told;
            self.remember(state, told);
            self.tell_of_start(state, *node, |peer| peer < *node);
        }
        for Beginning { node, cut, .. } in &beginnings {
            if let Some(cut) = cut {
                self.crash(state, *node, cut.losing);
            }
        }
        self.weigh(state);
        Ok(all_asked)
    }

    /// How each node starts with these choices, and the options of all that is asked: by the handlers, and then where
    /// nodes crash in their start, so that choices that do not know of that mean what they say.
    fn beginnings<'c>(
        &mut self,
        start: &'c Action,
    ) -> Result<(Vec<Beginning<'c>>, Vec<u32>), Wrong> {
        let rest = |asked: &[u32]| start.choices().get(asked.len()..).unwrap_or_default();
        let (mut all, mut all_asked, mut all_had) = (Vec::new(), Vec::new(), Vec::new());
        for node in self.nodes() {
            let choices = rest(&all_asked);
            let way = Way { choices, cut: None };
            let at = self.activate(self.program.vacant(node), What::Start, way)?;
            let moved = self.moves.at(at);
            all.push(Beginning { node, choices, cut: None });
            all_asked.extend(moved.asked);
            all_had.push(moved.had);
        }
        let bounds = self.setting().bounds;
        let mut crashes = bounds.crashes.min(bounds.down_max);
        for (beginning, had) in all.iter_mut().zip(all_had) {
            let cuts: Vec<Cut> = if 0 < crashes { Cut::all(had).collect() } else { Vec::new() };
            if !cuts.is_empty() {
                let choice = rest(&all_asked).first().and_then(|it| it.checked_sub(1));
                beginning.cut = choice.and_then(|it| cuts.get(it as usize)).copied();
                crashes -= u32::from(beginning.cut.is_some());
                all_asked.push(u32::try_from(cuts.len() + 1).unwrap_or(u32::MAX));
            }
        }
        Ok((all, all_asked))
    }

    /// What each node asks for as it starts with these choices, and where it crashes in that.
    pub(crate) fn start_effects(
        &mut self,
        start: &Action,
    ) -> Vec<(NodeId, Vec<Effect>, Option<Cut>)> {
        let beginnings = self.beginnings(start).map(|(all, _)| all).unwrap_or_default();
        let mut desk = Desk::default();
        let effects = beginnings.into_iter().map(|Beginning { node, choices, cut }| {
            let (vacant, after) = (self.program.vacant(node), cut.map(|cut| cut.after));
            let stepped = self.program.step(vacant, &Cause::Start, choices, after, &mut desk);
            (node, stepped.map(|_| desk.effects.clone()).unwrap_or_default(), cut)
        });
        effects.collect()
    }

    /// Takes each transition of `state` in turn, the calm first, until `each` has seen enough.
    pub(crate) fn expand(
        &mut self,
        state: &State,
        each: &mut dyn FnMut(&mut Self, Taken<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut waiting = self.actions(state);
        waiting.reverse();
        let mut next = std::mem::take(&mut self.scratch);
        let (mut ordinal, mut flow) = (0, ControlFlow::Continue(()));
        while let Some(action) = waiting.pop()
            && flow.is_continue()
        {
            let outcome = match self.act(state, &action, &mut next) {
                Ok(moved) => {
                    self.vary(state, &action, moved, &mut waiting);
                    Ok(&mut next)
                }
                Err(wrong) => Err(wrong),
            };
            flow = each(self, Taken { ordinal, action: &action, outcome });
            ordinal += 1;
        }
        self.scratch = next;
        flow
    }

    /// Whether what a handler did is one of several ways that it can go.
    fn varies(&self, state: &State, moved: Move<'_>) -> bool {
        !moved.asked.is_empty() || (1 < moved.had && self.may_crash(state))
    }

    /// A handler that chooses is run once for each way to answer, and one with several effects once
    /// more for each place where a crash can fall between them.
    pub(crate) fn vary(
        &self,
        state: &State,
        action: &Action,
        moved: Option<At>,
        waiting: &mut Vec<Action>,
    ) {
        let Some(moved) = moved.map(|at| self.moved(at)) else {
            return;
        };
        if action.cut.is_some() || !self.varies(state, moved) {
            return;
        }
        let other = successor(action.choices(), moved.asked);
        waiting.extend(other.map(|choices| Action::of(action.act).choosing(choices)));
        if 1 < moved.had && self.may_crash(state) {
            waiting.extend(Cut::all(moved.had).map(|cut| action.clone().cut(cut)));
        }
    }

    /// What a handler did, as long as no other action was taken.
    pub(crate) fn moved(&self, at: At) -> Move<'_> {
        self.moves.at(at)
    }

    /// The state after `action`. Returns what its handler did, if one ran.
    pub(crate) fn act(
        &mut self,
        state: &State,
        action: &Action,
        next: &mut State,
    ) -> Result<Option<At>, Wrong> {
        self.moves.make_room();
        next.copy(state);
        let Some((node, what)) = self.begin(state, action.act, next) else {
            return Ok(None);
        };
        let cut = action.cut.map(|cut| u32::try_from(cut.after).unwrap_or(u32::MAX));
        let at = self.step(next, node, what, Way { choices: action.choices(), cut })?;
        let moved = self.moves.at(at);
        // The others are as they were before.
        let is_sent = |to: NodeId| to == node || self.host(Self::place(state, to)).up;
        let sends = moved.sends.iter().copied();
        let sends = sends.filter(|parcel| is_sent(self.parcel(*parcel).link.1));
        self.enqueue_all(next, sends);
        let told = moved.told;
        self.remember(next, told);
        if let Act::Restart { .. } = action.act {
            self.tell_of_start(next, node, |_| true);
        }
        if let Some(cut) = action.cut {
            self.crash(next, node, cut.losing);
        }
        Ok(Some(at))
    }

    /// Changes what an act changes before a handler runs. Returns what happens to which node then, if
    /// one does.
    fn begin(&mut self, state: &State, act: Act, next: &mut State) -> Option<(NodeId, What)> {
        Some(match act {
            Act::Deliver { at } | Act::Repeat { at } => {
                let number = *state.wire.get(at).expect("an act of this state");
                if let Act::Repeat { .. } = act {
                    next.copies = spend(next.copies);
                } else if !self.parcel(number).stays {
                    self.take(next, at);
                }
                (self.parcel(number).link.1, What::Parcel(number))
            }
            Act::Fire { node, id } => (node, What::Timer(id)),
            Act::Restart { node, lost } => {
                let lies = self.host(Self::place(state, node)).disk.lies(lost as usize);
                next.lies = next.lies.saturating_sub(lies);
                self.revive(next, node);
                (node, What::Recover(lost))
            }
            Act::Lose { at } => {
                next.losses = spend(next.losses);
                self.take(next, at);
                return None;
            }
            Act::Tick => {
                self.tick(next);
                return None;
            }
            Act::Crash { node, losing } => {
                self.crash(next, node, losing);
                return None;
            }
            Act::Start => return None,
        })
    }

    /// Lets something happen to one node of a state.
    fn step(
        &mut self,
        state: &mut State,
        node: NodeId,
        what: What,
        way: Way<'_>,
    ) -> Result<At, Wrong> {
        let before = Self::place(state, node);
        let at = self.activate(before, what, way)?;
        let after = self.moves.at(at).place;
        state.sum = state.sum.wrapping_add(self.shift(before, after));
        Self::put(state, node, after);
        Ok(at)
    }

    /// Lets the monitors remember what was indicated.
    fn remember(&mut self, state: &mut State, told: Option<u32>) {
        let Some(told) = told else {
            return;
        };
        let key = (state.memory, told);
        let after = match self.remembered.get(&key) {
            Some(after) => *after,
            None => {
                let after = self.setting().memories.after(state.memory, told);
                if REMEMBERED_MAX <= self.remembered.len() {
                    self.remembered.clear();
                }
                self.remembered.insert(key, after);
                self.setting().memories.refresh(&mut self.memories);
                after
            }
        };
        let [old, new] = [state.memory, after].map(|memory| self.memory(memory).print);
        state.sum = state.sum.wrapping_sub(old).wrapping_add(new);
        state.memory = after;
    }

    fn change(&mut self, state: &mut State, node: NodeId, what: What) {
        let changed = self.step(state, node, what, Way::CALM);
        debug_assert!(changed.is_ok(), "no handler runs");
    }

    /// Holds the properties against a state.
    pub(crate) fn check(&mut self, state: &State) -> Result<(), Wrong> {
        if let Some(wrong) = &self.memory(state.memory).wrong {
            return Err(wrong.clone().into());
        }
        let moment = Moment { quiet: state.quiet, at_rest: self.is_at_rest(state) };
        if moment.at_rest {
            self.setting().has_rested.store(true, Ordering::Relaxed);
        }
        self.judge.judge(&state.places, moment)
    }

    /// Whether the predicate of a property holds in a state.
    pub(crate) fn holds(&mut self, state: &State, property: usize) -> bool {
        self.verdict(state, property).is_ok()
    }

    /// What the predicate of a property says of a state, whether or not it is due.
    pub(crate) fn verdict(&mut self, state: &State, property: usize) -> Verdict {
        self.judge.verdict(&state.places, property)
    }

    /// What the handler of `action` asks for in `state`, up to the crash in it.
    pub(crate) fn effects(&self, state: &State, action: &Action) -> Vec<Effect> {
        let (node, cause) = match action.act {
            Act::Deliver { at } | Act::Repeat { at } => match self.at(state, at) {
                Some(parcel) => (parcel.link.1, Cause::Parcel(Arc::clone(parcel))),
                None => return Vec::new(),
            },
            Act::Fire { node, id } => (node, Cause::Timer(id)),
            Act::Restart { node, lost } => (node, Cause::Recover(lost)),
            _ => return Vec::new(),
        };
        let cut = action.cut.map(|cut| cut.after);
        let (place, mut desk) = (Self::place(state, node), Desk::default());
        let stepped = self.program.step(place, &cause, action.choices(), cut, &mut desk);
        stepped.map(|_| desk.effects).unwrap_or_default()
    }
}

/// One less, unless there is no bound.
fn spend(budget: u32) -> u32 {
    if budget == u32::MAX { budget } else { budget.saturating_sub(1) }
}

/// The next way to answer a handler's questions, after `given` answers to questions with `asked`
/// options: an odometer whose last digit turns first.
pub(crate) fn successor(given: &[u32], asked: &[u32]) -> Option<Vec<u32>> {
    let mut next: Vec<u32> =
        (0..asked.len()).map(|index| given.get(index).copied().unwrap_or(0)).collect();
    while let Some(last) = next.pop() {
        let options = asked.get(next.len()).copied().unwrap_or(0);
        if last + 1 < options {
            next.push(last + 1);
            return Some(next);
        }
    }
    None
}
