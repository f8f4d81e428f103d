//! What one chunk of the frontier leads to.

use std::ops::ControlFlow;

use synod_core::NodeId;

use crate::action::{Act, Action};
use crate::explore::orbit::Identity;
use crate::explore::pool::Numbers;
use crate::explore::setting::Wrong;
use crate::explore::state::State;
use crate::explore::visited::Visited;
use crate::explore::worker::{Foreseen, Worker};

use super::Hand;

/// Some states of one depth, one after the other.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The number of its first state; the others follow.
    pub(super) first: u32,
    pub(super) states: usize,
    pub(super) depth: u32,
    pub(super) packed: Vec<u8>,
}

/// Some states that follow one another in a chunk.
pub(super) struct Part<'c> {
    /// The number of the first one.
    pub(super) first: u32,
    pub(super) states: usize,
    pub(super) depth: u32,
    /// They, and whatever is behind them.
    pub(super) packed: &'c [u8],
}

impl Chunk {
    pub(super) fn all(&self) -> Part<'_> {
        let Self { first, states, depth, ref packed } = *self;
        Part { first, states, depth, packed }
    }
}

/// States of a chunk, at most.
pub(super) const CHUNK: usize = 512;

/// What a part of a chunk led to. Emptied rather than made anew.
#[derive(Default)]
pub(super) struct Yield {
    pub(super) found: Vec<Found>,
    /// Where in `found` a fingerprint is, once there are more than a [`FEW`].
    fresh: Numbers,
    pub(super) packed: Vec<u8>,
    pub(super) transitions: u64,
    pub(super) wrong: Option<Failed>,
    /// What should hold in some state, and in which of `found` it does.
    pub(super) happened: Vec<(usize, usize)>,
    /// Whether a state at the bound of depth had transitions.
    pub(super) beyond: bool,
}

/// A state that was new when it was found.
pub(super) struct Found {
    pub(super) print: u128,
    pub(super) from: u32,
    pub(super) ordinal: u32,
    /// Where it ends in the packed states.
    pub(super) end: usize,
    /// Transitions of the part so far.
    pub(super) transitions: u64,
    /// How many states it stands for.
    pub(super) orbit: u64,
}

/// A transition that is wrong, or leads to a state that is.
pub(super) struct Failed {
    pub(super) from: u32,
    pub(super) ordinal: u32,
    /// The state's fingerprint, if the transition has one.
    pub(super) print: Option<u128>,
    pub(super) wrong: Wrong,
}

/// Of so many a look at each is faster than an index.
const FEW: usize = 16;

impl Yield {
    fn clear(&mut self) {
        if FEW < self.found.len() {
            self.fresh.clear();
        }
        self.found.clear();
        self.packed.clear();
        self.happened.clear();
        (self.transitions, self.wrong, self.beyond) = (0, None, false);
    }

    fn has(&self, print: u128) -> bool {
        if self.found.len() <= FEW {
            return self.found.iter().any(|state| state.print == print);
        }
        self.fresh.find(print, |at| print_of(&self.found, at)).is_some()
    }

    fn add(&mut self, found: Found) {
        self.found.push(found);
        let count = self.found.len();
        if FEW < count {
            self.enter(if count == FEW + 1 { 0 } else { count - 1 });
        }
    }

    /// Enters those from this one on.
    fn enter(&mut self, first: usize) {
        let Self { found, fresh, .. } = self;
        for (at, state) in found.iter().enumerate().skip(first) {
            let at = u32::try_from(at).expect("a part leads to fewer than 2^32 states");
            fresh.add(state.print, at, |at| print_of(found, at));
        }
    }
}

fn print_of(found: &[Found], at: u32) -> Option<u128> {
    found.get(at as usize).map(|state| state.print)
}

/// What the threads of a round look at, and do not change.
pub(super) struct View<'v> {
    pub(super) visited: &'v Visited,
    pub(super) never: &'v [usize],
    pub(super) depth_max: u32,
}

impl View<'_> {
    /// Takes each transition from each state of a part, up to one that is wrong. Returns what is
    /// behind the part.
    pub(super) fn expand<'c>(&self, hand: &mut Hand<'_>, part: &Part<'c>) -> &'c [u8] {
        let Hand { worker, state, batch, found } = hand;
        found.clear();
        let nodes = worker.setting().bounds.nodes as usize;
        let is_last = self.depth_max <= part.depth;
        let mut packed = part.packed;
        for from in (part.first..).take(part.states) {
            packed = state.unpack(nodes, packed);
            if is_last {
                found.beyond |= !worker.actions(state).is_empty();
                continue;
            }
            worker.weigh(state);
            batch.spread(worker, state);
            if self.look(worker, state, batch, found, from).is_break() {
                batch.clear();
                break;
            }
        }
        packed
    }

    /// Looks at where the transitions of a state lead. Goes on, with the batch empty, unless something
    /// is wrong with one.
    pub(super) fn look(
        &self,
        worker: &mut Worker<'_>,
        state: &State,
        batch: &mut Batch,
        found: &mut Yield,
        from: u32,
    ) -> ControlFlow<()> {
        let here = batch.here;
        let before = found.transitions;
        // All at once: what one has to wait for in memory, the others wait for too.
        let known = |next: &Next| next.print == here || self.visited.holds(next.print);
        batch.known.clear();
        batch.known.extend(batch.next.iter().map(known));
        for index in 0..batch.next.len() {
            let (Some(next), Some(known)) = (batch.next.get(index), batch.known.get(index)) else {
                break;
            };
            let Next { print, ordinal, made } = *next;
            found.transitions = before + u64::from(ordinal) + 1;
            if *known || found.has(print) {
                continue;
            }
            let orbit = batch.make(worker, state, print, made);
            let checked = worker.check(&batch.state);
            if let Err(wrong) = checked.and_then(|()| worker.try_properties(&batch.state, print)) {
                found.wrong = Some(Failed { from, ordinal, print: Some(print), wrong });
                return ControlFlow::Break(());
            }
            let happened = self.never.iter().filter(|name| worker.holds(&batch.state, **name));
            found.happened.extend(happened.map(|name| (found.found.len(), *name)));
            batch.state.pack(&mut found.packed);
            let (end, transitions) = (found.packed.len(), found.transitions);
            found.add(Found { print, from, ordinal, end, transitions, orbit });
        }
        let ordinal = std::mem::take(&mut batch.taken);
        found.transitions = before + u64::from(ordinal);
        batch.next.clear();
        batch.made.clear();
        batch.packed.clear();
        let Some(wrong) = batch.wrong.take() else {
            return ControlFlow::Continue(());
        };
        found.wrong = Some(Failed { from, ordinal, print: None, wrong });
        ControlFlow::Break(())
    }
}

/// Where the transitions of one state lead. Emptied rather than made anew.
#[derive(Default)]
pub(super) struct Batch {
    /// What can happen in the state.
    acts: Vec<Act>,
    /// How many transitions of the state were taken and led somewhere.
    taken: u32,
    /// Where they lead, but for those that lead back at once.
    next: Vec<Next>,
    /// The states that had to be made: where each begins in `packed`, and how many it stands for.
    made: Vec<(usize, u64)>,
    packed: Vec<u8>,
    /// Which of `next` were visited before this round.
    known: Vec<bool>,
    /// The ways of an act that are still to be tried.
    waiting: Vec<Action>,
    /// The fingerprint of the state whose transitions are taken.
    here: u128,
    /// One that a transition leads to.
    state: State,
    /// What is wrong with the transition after those that were taken, the last one of the state.
    wrong: Option<Wrong>,
}

/// There are many, so its parts are numbers.
struct Next {
    print: u128,
    ordinal: u32,
    made: Made,
}

#[derive(Clone, Copy)]
enum Made {
    /// It is this one of those that had to be made.
    Already(u32),
    /// Not yet: it comes of this one of the acts.
    By(u32),
    /// Not yet: this node is in this local state, and all else is as before.
    With(NodeId, u32),
}

impl Batch {
    fn clear(&mut self) {
        self.taken = 0;
        self.next.clear();
        self.made.clear();
        self.packed.clear();
        self.waiting.clear();
        self.wrong = None;
    }

    /// Makes a state that a transition of `before` leads to, all but its sum, if it is not there yet.
    /// Returns how many states it stands for.
    fn make(&mut self, worker: &mut Worker<'_>, before: &State, print: u128, made: Made) -> u64 {
        let next = &mut self.state;
        match made {
            Made::Already(number) => {
                let made = self.made.get(number as usize).copied();
                let (begin, orbit) = made.expect("one of those that had to be made");
                let packed = self.packed.get(begin..).unwrap_or_default();
                next.unpack(worker.setting().bounds.nodes as usize, packed);
                return orbit;
            }
            Made::With(node, place) => {
                next.copy(before);
                Worker::put(next, node, place);
            }
            Made::By(number) => {
                let act = *self.acts.get(number as usize).expect("one of the acts");
                let acted = worker.act(before, &Action::of(act), next);
                debug_assert!(acted.is_ok(), "it was foreseen");
                debug_assert_eq!(next.fingerprint(), print, "{act:?} was foreseen");
            }
        }
        1
    }

    /// Takes each transition of a state, the calm first, up to one that is wrong.
    fn spread(&mut self, worker: &mut Worker<'_>, state: &State) {
        self.here = state.fingerprint();
        let mut acts = std::mem::take(&mut self.acts);
        acts.clear();
        worker.add_acts(state, &mut acts);
        for (number, act) in (0..).zip(&acts) {
            match worker.foresee(state, *act) {
                Ok(Foreseen::Nothing) => self.taken += 1,
                Ok(Foreseen::Place { node, place, shift }) => {
                    self.lead(shift, Made::With(node, place));
                }
                Ok(Foreseen::Shift(shift)) => self.lead(shift, Made::By(number)),
                Ok(Foreseen::Unknown) => self.take(worker, state, *act),
                Err(wrong) => self.wrong = Some(wrong),
            }
            if self.wrong.is_some() {
                break;
            }
        }
        self.acts = acts;
    }

    /// Takes note of a transition to a state whose fingerprint is so much larger.
    fn lead(&mut self, shift: u128, made: Made) {
        let print = self.here.wrapping_add(shift);
        self.next.push(Next { print, ordinal: self.taken, made });
        self.taken += 1;
    }

    /// Takes the transitions of one act, up to one that is wrong.
    #[inline(never)] // Its frame is not under handlers that go in one way.
    fn take(&mut self, worker: &mut Worker<'_>, state: &State, act: Act) {
        let mut next = std::mem::take(&mut self.state);
        self.waiting.push(Action::of(act));
        while self.wrong.is_none()
            && let Some(action) = self.waiting.pop()
        {
            let acted = worker.act(state, &action, &mut next);
            if let Ok(moved) = &acted {
                worker.vary(state, &action, *moved, &mut self.waiting);
            }
            self.add(worker, acted.map(|_| &mut next));
        }
        self.state = next;
    }

    pub(super) fn add(&mut self, worker: &mut Worker<'_>, outcome: Result<&mut State, Wrong>) {
        match outcome.and_then(|state| Ok((worker.identity(state)?, state))) {
            Ok((Identity { print, orbit }, state)) => {
                let number = u32::try_from(self.made.len()).expect("fewer than 2^32 transitions");
                let made = Made::Already(number);
                self.next.push(Next { print, ordinal: self.taken, made });
                self.made.push((self.packed.len(), orbit));
                self.taken += 1;
                state.pack(&mut self.packed);
            }
            Err(wrong) => self.wrong = Some(wrong),
        }
    }
}
