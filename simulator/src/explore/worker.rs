//! Takes an exploration from state to state.

use std::hash::BuildHasherDefault;
use std::ops::ControlFlow;
use std::sync::Arc;

use synod_core::{Effect, Envelope, Event, Input, Lane, NodeId, PeerDown, PeerUp, Reason, TimerId};

use super::host::{Cause, Host};
use super::parcel::{APPLICATION, JOBS, Link, OWN, Parcel};
use super::place::{Judge, Program};
use super::setting::{Moment, Setting, Wrong, ticks};
use super::state::State;
use crate::action::{Act, Action, Cut};

/// One thread's hand in an exploration: it remembers what came of each handler activation.
pub(crate) struct Worker<'a> {
    program: &'a dyn Program,
    judge: Box<dyn Judge + 'a>,
    hosts: Vec<Arc<Host>>,
    parcels: Vec<Arc<Parcel>>,
    moves: Moves,
    /// The parcel that is left of one when time has passed; `UNKNOWN` before it was asked.
    later: Vec<u32>,
    scratch: State,
}

/// Only asked for what it holds, so its order is nobody's.
#[expect(clippy::disallowed_types, reason = "it is never iterated")]
type Moves = std::collections::HashMap<Key, Arc<Move>, BuildHasherDefault<Folding>>;

/// What happens to one node.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Key {
    place: u32,
    what: What,
    choices: Vec<u32>,
    cut: Option<usize>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum What {
    Start,
    Recover,
    Timer(TimerId),
    Parcel(u32),
    Tick,
    Crash,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Move {
    place: u32,
    /// The options of each question that the handler asked.
    pub(crate) asked: Vec<u32>,
    /// How many effects it had: places where a crash could fall.
    pub(crate) had: usize,
    /// What is under way since then, and to whom.
    sends: Vec<(NodeId, u32)>,
}

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
struct Folding(u64);

impl std::hash::Hasher for Folding {
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

const UNKNOWN: u32 = u32::MAX;

/// What a place on an ordered lane is weighed with, one more time for each place before it.
const WEIGHT: u128 = 0xa076_1d64_78bd_642f_e703_7ed1_a0b4_28dd;

impl<'a> Worker<'a> {
    pub(crate) fn new(program: &'a dyn Program) -> Self {
        let mut worker = Self {
            program,
            judge: program.judge(),
            hosts: Vec::new(),
            parcels: Vec::new(),
            moves: Moves::default(),
            later: Vec::new(),
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

    /// Takes note of the local states and parcels that others have found.
    pub(crate) fn learn(&mut self) {
        self.program.refresh(&mut self.hosts);
        self.setting().parcels.refresh(&mut self.parcels, Arc::clone);
    }

    pub(crate) fn host(&self, place: u32) -> &Host {
        self.hosts.get(place as usize).expect("a local state that this worker knows")
    }

    pub(crate) fn parcel(&self, number: u32) -> &Arc<Parcel> {
        self.parcels.get(number as usize).expect("a parcel that this worker knows")
    }

    /// The local state of a node.
    pub(crate) fn place(state: &State, node: NodeId) -> u32 {
        *state.places.get(node.0 as usize - 1).expect("nodes are numbered from 1 without gaps")
    }

    fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.setting().bounds.nodes).map(NodeId)
    }

    /// The cluster with every node started, and nothing delivered; `start` has the choices of the
    /// handlers. Returns the options of all that they asked.
    pub(crate) fn start(&mut self, start: &Action, state: &mut State) -> Result<Vec<u32>, Wrong> {
        let bounds = self.setting().bounds;
        *state = State { crashes: bounds.crashes, recoveries: bounds.recoveries, ..State::default() };
        state.places = self.nodes().map(|node| self.program.vacant(node)).collect();
        self.learn();
        let here = |node: NodeId| node.0 <= bounds.nodes;
        let inputs = self.setting().inputs.iter().filter(|(node, ..)| here(*node));
        let mut inputs: Vec<_> = inputs.collect();
        inputs.sort_by_key(|(_, at, _)| *at);
        for (node, at, envelope) in inputs {
            let left = ticks(*at, bounds.tick_us);
            let link = (*node, *node, APPLICATION);
            self.send(state, link, Input::Trigger(envelope.clone()), left);
        }
        let mut all_asked = Vec::new();
        for node in self.nodes() {
            let choices = start.choices().get(all_asked.len()..).unwrap_or_default().to_vec();
            let moved = self.step(state, node, What::Start, choices, None)?;
            // Every node is up, whether or not it has had its turn.
            moved.sends.iter().for_each(|(_, parcel)| self.enqueue(state, *parcel));
            self.tell_of_start(state, node, |peer| peer < node);
            all_asked.extend(&moved.asked);
        }
        self.weigh(state);
        Ok(all_asked)
    }

    /// What each node asks for as it starts with these choices.
    pub(crate) fn start_effects(&self, start: &Action) -> Vec<(NodeId, Vec<Effect>)> {
        let (mut all, mut asked) = (Vec::new(), 0);
        for node in self.nodes() {
            let choices = start.choices().get(asked..).unwrap_or_default();
            let vacant = self.program.vacant(node);
            let Ok(stepped) = self.program.step(vacant, &Cause::Start, choices, None) else {
                break;
            };
            asked += stepped.asked.len();
            all.push((node, stepped.effects));
        }
        all
    }

    /// Computes the sum of a state anew.
    pub(crate) fn weigh(&self, state: &mut State) {
        let places = state.places.iter().map(|place| self.host(*place).print);
        let sum = places.fold(0, u128::wrapping_add);
        let lanes = state.wire.chunk_by(|one, other| self.parcel(*one).link == self.parcel(*other).link);
        state.sum = lanes.map(|lane| self.weight(lane)).fold(sum, u128::wrapping_add);
    }

    /// The sum of what is on one lane: its order counts where it has one.
    fn weight(&self, lane: &[u32]) -> u128 {
        let mut weight = 1_u128;
        let mut sum = 0_u128;
        for number in lane {
            let parcel = self.parcel(*number);
            sum = sum.wrapping_add(parcel.print.wrapping_mul(weight));
            if parcel.is_ordered() {
                weight = weight.wrapping_mul(WEIGHT);
            }
        }
        sum
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
                    if let Some(moved) = moved {
                        self.vary(state, &action, &moved, &mut waiting);
                    }
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

    /// A handler that chooses is run once for each way to answer, and one with several effects once
    /// more for each place where a crash can fall between them.
    pub(crate) fn vary(
        &self,
        state: &State,
        action: &Action,
        moved: &Move,
        waiting: &mut Vec<Action>,
    ) {
        if action.cut.is_some() {
            return;
        }
        let other = successor(action.choices(), &moved.asked);
        waiting.extend(other.map(|choices| action.clone().choosing(choices)));
        if 1 < moved.had && self.may_crash(state) {
            waiting.extend(Cut::all(moved.had).map(|cut| action.clone().cut(cut)));
        }
    }

    /// Everything that can happen next, the calm first.
    pub(crate) fn actions(&self, state: &State) -> Vec<Action> {
        let mut all = Vec::new();
        let timed = 0 < self.setting().bounds.tick_us;
        let mut index = 0;
        let mut before: Option<&Parcel> = None;
        for number in &state.wire {
            let parcel = self.parcel(*number);
            let (from, to, lane) = parcel.link;
            let same = before.is_some_and(|before| before.link == parcel.link);
            let equal = before.is_some_and(|before| before.print == parcel.print);
            index = if same { index + 1 } else { 0 };
            before = Some(parcel);
            if (parcel.is_ordered() && same) || equal {
                continue; // Behind another one, or the same again.
            }
            if lane == APPLICATION && 0 < parcel.left && timed {
                continue; // The application keeps its time; everything else may come early.
            }
            all.push(Action::of(Act::Deliver { from, to, lane, index }));
            if !parcel.is_ordered() && from != to {
                all.push(Action::of(Act::Lose { from, to, index }));
            }
        }
        self.timer_actions(state, timed, &mut all);
        self.fault_actions(state, &mut all);
        all
    }

    /// With a bound, timers fire when they are due and time passes when nothing is. Without, each
    /// node's timers fire in the order of its own clock.
    fn timer_actions(&self, state: &State, timed: bool, all: &mut Vec<Action>) {
        let hosts = || state.places.iter().map(|place| self.host(*place));
        for host in hosts() {
            let due = if timed { Some(&0) } else { host.timers.values().min() };
            for (id, left) in &host.timers {
                if Some(left) == due {
                    all.push(Action::of(Act::Fire { node: host.node, id: *id }));
                }
            }
        }
        if timed {
            let mut timers = hosts().flat_map(|host| host.timers.values());
            let mut wire = state.wire.iter().map(|number| self.parcel(*number).left);
            if timers.all(|left| *left > 0) && wire.all(|left| left > 0) {
                all.push(Action::of(Act::Tick));
            }
        }
    }

    fn fault_actions(&self, state: &State, all: &mut Vec<Action>) {
        let may_crash = self.may_crash(state);
        if !may_crash && state.recoveries == 0 {
            return;
        }
        for host in state.places.iter().map(|place| self.host(*place)) {
            let node = host.node;
            if !host.up {
                if 0 < state.recoveries {
                    all.push(Action::of(Act::Restart(node)));
                }
            } else if may_crash {
                all.push(Action::of(Act::Crash { node, losing: false }));
                if self.has_under_way(state, node) {
                    all.push(Action::of(Act::Crash { node, losing: true }));
                }
            }
        }
    }

    pub(crate) fn may_crash(&self, state: &State) -> bool {
        let down = || state.places.iter().filter(|place| !self.host(**place).up).count();
        0 < state.crashes && down() < self.setting().bounds.down_max as usize
    }

    fn has_under_way(&self, state: &State, node: NodeId) -> bool {
        let mut links = state.wire.iter().map(|number| self.parcel(*number).link);
        links.any(|(from, to, _)| from == node && to != node)
    }

    /// The state after `action`. Returns what its handler did, if one ran.
    pub(crate) fn act(
        &mut self,
        state: &State,
        action: &Action,
        next: &mut State,
    ) -> Result<Option<Arc<Move>>, Wrong> {
        next.copy(state);
        let (node, what) = match action.act {
            Act::Deliver { from, to, lane, index } => match self.take(next, (from, to, lane), index) {
                Some(number) => (to, What::Parcel(number)),
                None => return Ok(None),
            },
            Act::Fire { node, id } => (node, What::Timer(id)),
            Act::Restart(node) => {
                self.revive(next, node);
                (node, What::Recover)
            }
            Act::Lose { from, to, index } => {
                self.take(next, (from, to, Lane::Datagram), index);
                return Ok(None);
            }
            Act::Tick => {
                self.tick(next);
                return Ok(None);
            }
            Act::Crash { node, losing } => {
                self.crash(next, node, losing);
                return Ok(None);
            }
            Act::Start => return Ok(None),
        };
        let cut = action.cut.map(|cut| cut.after);
        let moved = self.step(next, node, what, action.choices().to_vec(), cut)?;
        for (to, parcel) in &moved.sends {
            if self.host(Self::place(next, *to)).up || *to == node {
                self.enqueue(next, *parcel);
            }
        }
        if let Act::Restart(_) = action.act {
            self.tell_of_start(next, node, |_| true);
        }
        if let Some(cut) = action.cut {
            self.crash(next, node, cut.losing);
        }
        Ok(Some(moved))
    }

    /// One handler activation, remembered from the last time if there was one.
    fn step(
        &mut self,
        state: &mut State,
        node: NodeId,
        what: What,
        choices: Vec<u32>,
        cut: Option<usize>,
    ) -> Result<Arc<Move>, Wrong> {
        let key = Key { place: Self::place(state, node), what, choices, cut };
        let moved = match self.moves.get(&key) {
            Some(moved) => Arc::clone(moved),
            None => self.run(node, key)?,
        };
        self.put(state, node, moved.place);
        Ok(moved)
    }

    fn run(&mut self, node: NodeId, key: Key) -> Result<Arc<Move>, Wrong> {
        let cause = match key.what {
            What::Start => Some(Cause::Start),
            What::Recover => Some(Cause::Recover),
            What::Timer(id) => Some(Cause::Timer(id)),
            What::Parcel(number) => Some(Cause::Parcel(Arc::clone(self.parcel(number)))),
            What::Tick | What::Crash => None,
        };
        let moved = match cause {
            Some(cause) => {
                let stepped = self.program.step(key.place, &cause, &key.choices, key.cut)?;
                let sends = stepped.effects.iter().filter_map(|it| self.sent(node, it)).collect();
                Move { place: stepped.place, asked: stepped.asked, had: stepped.had, sends }
            }
            None => {
                let place = match key.what {
                    What::Tick => self.program.tick(key.place),
                    _ => self.program.crash(key.place),
                };
                Move { place, asked: Vec::new(), had: 0, sends: Vec::new() }
            }
        };
        self.learn();
        let moved = Arc::new(moved);
        self.moves.insert(key, Arc::clone(&moved));
        Ok(moved)
    }

    /// What an effect puts under way, and to whom.
    fn sent(&self, node: NodeId, effect: &Effect) -> Option<(NodeId, u32)> {
        let (link, input) = match effect {
            Effect::Send { to, lane, envelope } => {
                let input = Input::Deliver { from: node, envelope: envelope.clone() };
                ((node, *to, *lane), input)
            }
            Effect::Job(job) => {
                let done = self.setting().catalogue.job(job.event())?(job).ok()?;
                ((node, node, JOBS), Input::Trigger(done))
            }
            _ => return None,
        };
        Some((link.1, self.number(link, input, 1)))
    }

    fn number(&self, link: Link, input: Input, left: u64) -> u32 {
        let parcel = Parcel::new(link, input, left);
        self.setting().parcels.number(parcel.print, || parcel)
    }

    fn send(&mut self, state: &mut State, link: Link, input: Input, left: u64) {
        let number = self.number(link, input, left);
        self.learn();
        self.enqueue(state, number);
    }

    /// Puts a parcel behind all of its lane; a datagram where its fingerprint says.
    fn enqueue(&self, state: &mut State, number: u32) {
        let parcel = self.parcel(number);
        let key = |parcel: &Parcel| (parcel.link, if parcel.is_ordered() { 0 } else { parcel.print });
        let mine = key(parcel);
        let at = state.wire.partition_point(|other| key(self.parcel(*other)) <= mine);
        let lane = state.wire.iter().take(at).rev();
        let before = lane.take_while(|other| self.parcel(**other).link == parcel.link).count();
        let weight = if parcel.is_ordered() {
            (0..before).fold(1_u128, |weight, _| weight.wrapping_mul(WEIGHT))
        } else {
            1
        };
        state.sum = state.sum.wrapping_add(parcel.print.wrapping_mul(weight));
        state.wire.insert(at, number);
    }

    fn take(&self, state: &mut State, link: Link, index: usize) -> Option<u32> {
        let begin = state.wire.partition_point(|other| self.parcel(*other).link < link);
        let rest = state.wire.get(begin..)?;
        let count = rest.iter().take_while(|other| self.parcel(**other).link == link).count();
        if count <= index {
            return None;
        }
        let lane = rest.get(..count)?;
        state.sum = state.sum.wrapping_sub(self.weight(lane));
        let number = state.wire.remove(begin + index);
        let lane = state.wire.get(begin..begin + count - 1)?;
        state.sum = state.sum.wrapping_add(self.weight(lane));
        Some(number)
    }

    fn put(&self, state: &mut State, node: NodeId, place: u32) {
        if let Some(current) = state.places.get_mut(node.0 as usize - 1) {
            let [old, new] = [*current, place].map(|place| self.host(place).print);
            state.sum = state.sum.wrapping_sub(old).wrapping_add(new);
            *current = place;
        }
    }

    fn tick(&mut self, state: &mut State) {
        for node in self.nodes() {
            if !self.host(Self::place(state, node)).timers.is_empty() {
                self.change(state, node, What::Tick);
            }
        }
        for number in &mut state.wire {
            *number = self.later(*number);
        }
        // Datagrams are sorted by their fingerprints, which have changed.
        let key = |number: &u32| {
            let parcel = self.parcel(*number);
            (parcel.link, if parcel.is_ordered() { 0 } else { parcel.print })
        };
        state.wire.sort_by_key(key);
        state.quiet = (state.quiet + 1).min(self.setting().patience);
        self.weigh(state);
    }

    /// The same parcel a tick later.
    fn later(&mut self, number: u32) -> u32 {
        self.later.resize(self.later.len().max(number as usize + 1), UNKNOWN);
        if let Some(later) = self.later.get(number as usize)
            && *later != UNKNOWN
        {
            return *later;
        }
        let Parcel { link, input, left, .. } = Parcel::clone(self.parcel(number));
        let later = self.number(link, input, left.saturating_sub(1));
        self.learn();
        if let Some(known) = self.later.get_mut(number as usize) {
            *known = later;
        }
        later
    }

    /// A change of a local state in which no handler runs.
    fn change(&mut self, state: &mut State, node: NodeId, what: What) {
        let changed = self.step(state, node, what, Vec::new(), None);
        debug_assert!(changed.is_ok(), "no handler runs");
    }

    /// A node stops, with what it has under way if it is `losing`. What is under way to it is
    /// lost in any case.
    fn crash(&mut self, state: &mut State, node: NodeId, losing: bool) {
        state.crashes = state.crashes.saturating_sub(1);
        state.quiet = 0;
        self.change(state, node, What::Crash);
        state.wire.retain(|number| {
            let (from, to, lane) = self.parcel(*number).link;
            lane == APPLICATION || (to != node && !(losing && from == node))
        });
        self.weigh(state);
        if self.setting().catalogue.handled(PeerDown::ID).is_none() {
            return;
        }
        for peer in self.live(state) {
            let down = Input::PeerDown(PeerDown { peer: node, reason: Reason::Silent });
            self.send(state, (peer, peer, OWN), down, 1);
        }
    }

    fn live(&self, state: &State) -> Vec<NodeId> {
        let hosts = state.places.iter().map(|place| self.host(*place));
        hosts.filter(|host| host.up).map(|host| host.node).collect()
    }

    /// A node is about to come back: its old sessions end, with what was under way on them.
    fn revive(&self, state: &mut State, node: NodeId) {
        state.recoveries = state.recoveries.saturating_sub(1);
        state.quiet = 0;
        state.wire.retain(|number| {
            let (from, to, lane) = self.parcel(*number).link;
            lane == APPLICATION || (to != node && from != node)
        });
        self.weigh(state);
    }

    /// A node that has started, and those of the others that count, learn of each other.
    fn tell_of_start(&mut self, state: &mut State, node: NodeId, counts: impl Fn(NodeId) -> bool) {
        if self.setting().catalogue.handled(PeerUp::ID).is_none() {
            return;
        }
        for peer in self.live(state) {
            if peer != node && counts(peer) {
                self.tell_up(state, peer, node);
                self.tell_up(state, node, peer);
            }
        }
    }

    fn tell_up(&mut self, state: &mut State, to: NodeId, peer: NodeId) {
        let incarnation = self.host(Self::place(state, peer)).incarnation;
        let up = Input::PeerUp(PeerUp { peer, incarnation });
        self.send(state, (to, to, OWN), up, 1);
    }

    pub(crate) fn is_at_rest(&self, state: &State) -> bool {
        let mut hosts = state.places.iter().map(|place| self.host(*place));
        state.wire.is_empty() && hosts.all(|host| host.timers.is_empty())
    }

    /// Holds the properties against a state.
    pub(crate) fn check(&mut self, state: &State) -> Result<(), Wrong> {
        let moment = Moment { quiet: state.quiet, at_rest: self.is_at_rest(state) };
        self.judge.judge(&state.places, moment)
    }

    /// Whether the predicate of a property holds in a state.
    pub(crate) fn holds(&mut self, state: &State, property: usize) -> bool {
        self.judge.holds(&state.places, property)
    }

    /// What a delivery would deliver.
    pub(crate) fn under_way(&self, state: &State, link: Link, index: usize) -> Option<&Input> {
        let parcels = state.wire.iter().map(|number| self.parcel(*number));
        parcels.filter(|parcel| parcel.link == link).nth(index).map(|parcel| &parcel.input)
    }

    /// The event that a timer would be.
    pub(crate) fn timer(&self, state: &State, node: NodeId, id: TimerId) -> Option<Envelope> {
        self.program.timer(Self::place(state, node), id)
    }

    /// The action that a schedule calls so.
    pub(crate) fn action_named(&self, state: &State, name: &str) -> Option<Action> {
        let (base, cut, choices) = Action::parts(name)?;
        let mut possible = self.actions(state).into_iter();
        let action = possible.find(|action| action.name(self, state) == base)?;
        let action = action.choosing(choices);
        Some(match cut {
            Some(cut) => action.cut(cut),
            None => action,
        })
    }

    /// What the handler of `action` asks for in `state`, up to the crash in it.
    pub(crate) fn effects(&self, state: &State, action: &Action) -> Vec<Effect> {
        let (node, cause) = match action.act {
            Act::Deliver { from, to, lane, index } => {
                let parcels = state.wire.iter().map(|number| self.parcel(*number));
                match parcels.filter(|it| it.link == (from, to, lane)).nth(index) {
                    Some(parcel) => (to, Cause::Parcel(Arc::clone(parcel))),
                    None => return Vec::new(),
                }
            }
            Act::Fire { node, id } => (node, Cause::Timer(id)),
            Act::Restart(node) => (node, Cause::Recover),
            _ => return Vec::new(),
        };
        let cut = action.cut.map(|cut| cut.after);
        let stepped =
            self.program.step(Self::place(state, node), &cause, action.choices(), cut);
        stepped.map(|stepped| stepped.effects).unwrap_or_default()
    }
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
