//! Breadth first, on several threads, with one result.
//!
//! A round takes some chunks of the frontier. Threads expand them side by side and only look at
//! the visited states; then one thread takes in what they found, in the order of the chunks. So
//! the numbers of states, their order and the first violation do not depend on the threads.

use std::collections::VecDeque;
use std::hash::BuildHasherDefault;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use super::orbit::Identity;
use super::pool::Half;
use super::report::{Limit, Progress};
use super::search::{Search, Stop, starts};
use super::setting::Wrong;
use super::state::{State, each_packed, rename};
use super::visited::Visited;
use super::worker::Worker;
use crate::action::{Act, Action};
use crate::quiet::quietly;

/// Some states of one depth, one after the other.
#[derive(Debug, Default)]
struct Chunk {
    /// The number of its first state; the others follow.
    first: u32,
    states: usize,
    depth: u32,
    packed: Vec<u8>,
}

/// States of a chunk, at most.
const CHUNK: usize = 512;
/// Chunks of a round for each thread: enough that the threads wait little for each other.
const CHUNKS_EACH: usize = 4;

/// What one chunk led to.
#[derive(Default)]
struct Yield {
    found: Vec<Found>,
    packed: Vec<u8>,
    transitions: u64,
    wrong: Option<Failed>,
    /// What should hold in some state, and in which of `found` it does.
    happened: Vec<(usize, usize)>,
    /// Whether a state at the bound of depth had transitions.
    beyond: bool,
}

/// A state that was new when it was found.
struct Found {
    print: u128,
    from: u32,
    ordinal: u32,
    /// Where it ends in the packed states.
    end: usize,
    /// Transitions of the chunk so far.
    transitions: u64,
    /// How many states it stands for.
    orbit: u64,
}

/// A transition that is wrong, or leads to a state that is.
struct Failed {
    from: u32,
    ordinal: u32,
    /// The state's fingerprint, if the transition has one.
    print: Option<u128>,
    wrong: Wrong,
}

/// A state's fingerprints within a chunk. Membership only.
#[expect(clippy::disallowed_types, reason = "it is never iterated")]
type Fresh = std::collections::HashSet<u128, BuildHasherDefault<Half>>;

/// A violation: the state before it, which of its transitions, and what is wrong.
pub(super) type Violated = (u32, u32, Wrong);

/// How each state was reached first: from which one, by which of its transitions. In blocks, so
/// that growing copies nothing.
#[derive(Debug, Default)]
struct Reached(Vec<Vec<(u32, u32)>>);

/// States of a block.
const BLOCK: usize = 1 << 14;

/// The predecessor of the first states.
const NOWHERE: u32 = u32::MAX;

struct Breadth<'s, 'a, 'w> {
    search: &'s mut Search<'a, 'w>,
    visited: Visited,
    reached: Reached,
    chunks: VecDeque<Chunk>,
    waiting: u64,
    packed_bytes: u64,
}

/// Visits every state within the bounds, nearest first. A violation ends it.
pub(super) fn search(search: &mut Search<'_, '_>, threads: usize) -> Result<(), Stop> {
    let mut breadth = Breadth {
        search,
        visited: Visited::new(),
        reached: Reached::default(),
        chunks: VecDeque::new(),
        waiting: 0,
        packed_bytes: 0,
    };
    let result = breadth.run(threads.max(1));
    let result = result.map_err(|stop| match stop {
        Halt::Cut(limit) => Stop::Cut(limit),
        Halt::Wrong((from, ordinal, wrong)) => {
            let path = breadth.reached.path(from, ordinal);
            Stop::Wrong(breadth.search.actions(&path), wrong)
        }
    });
    breadth.search.found.frontier = breadth.waiting;
    result
}

enum Halt {
    Cut(Limit),
    Wrong(Violated),
}

impl Breadth<'_, '_, '_> {
    fn run(&mut self, threads: usize) -> Result<(), Halt> {
        let program = self.search.program;
        let mut workers: Vec<Worker<'_>> = (0..threads).map(|_| Worker::new(program)).collect();
        self.begin(&mut workers)?;
        let mut beyond = false;
        while !self.chunks.is_empty() {
            let count = self.chunks.len().min(threads * CHUNKS_EACH);
            let round: Vec<Chunk> = self.chunks.drain(..count).collect();
            let yields = self.expand(&mut workers, &round);
            for (chunk, found) in round.iter().zip(yields) {
                beyond |= found.beyond;
                self.take_in(chunk.depth + 1, found)?;
                self.waiting -= chunk.states as u64;
                self.packed_bytes -= chunk.packed.capacity() as u64;
            }
            self.tell()?;
            if self.search.is_full() {
                self.sweep();
                workers.iter_mut().for_each(Worker::forget);
            }
        }
        if beyond { Err(Halt::Cut(Limit::Depth)) } else { Ok(()) }
    }

    fn begin(&mut self, workers: &mut [Worker<'_>]) -> Result<(), Halt> {
        let Some(worker) = workers.first_mut() else {
            return Ok(());
        };
        let (mut found, mut batch) = (Yield::default(), Batch::default());
        for (ordinal, (_, mut begun)) in (0..).zip(starts(worker)) {
            let outcome = begun.as_mut().map_err(|wrong| wrong.clone());
            batch.add(worker, ordinal, outcome);
        }
        let _ = self.view().look(worker, &State::default(), &mut batch, &mut found, NOWHERE);
        found.transitions = 0;
        found.found.iter_mut().for_each(|state| state.transitions = 0);
        self.take_in(0, found)
    }

    fn view(&self) -> View<'_> {
        View {
            visited: &self.visited,
            never: &self.search.never,
            depth_max: self.search.program.setting().bounds.depth_max,
        }
    }

    /// Expands the chunks of a round side by side. The results are in the order of the chunks.
    fn expand(&self, workers: &mut [Worker<'_>], round: &[Chunk]) -> Vec<Yield> {
        let view = self.view();
        if let [worker] = workers {
            return round.iter().map(|chunk| view.expand(worker, chunk)).collect();
        }
        let next = Mutex::new(round.iter().enumerate());
        let mut all: Vec<(usize, Yield)> = std::thread::scope(|scope| {
            let begin = |worker| {
                let (next, view) = (&next, &view);
                scope.spawn(move || quietly(|| view.work(worker, next)))
            };
            let hands: Vec<_> = workers.iter_mut().map(begin).collect();
            let done = hands.into_iter().map(|hand| match hand.join() {
                Ok(yields) => yields,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            done.flatten().collect()
        });
        all.sort_by_key(|(index, _)| *index);
        all.into_iter().map(|(_, found)| found).collect()
    }

    /// Takes in what a chunk led to, in its order, up to a bound or a violation.
    fn take_in(&mut self, depth: u32, found: Yield) -> Result<(), Halt> {
        let mut begin = 0;
        let before = self.search.found.transitions;
        for (index, state) in found.found.iter().enumerate() {
            self.search.found.transitions = before + state.transitions;
            if !self.visited.insert(state.print) {
                begin = state.end;
                continue;
            }
            let reached = &mut self.search.found;
            if self.search.states_max <= reached.states {
                return Err(Halt::Cut(Limit::States));
            }
            reached.states += 1;
            reached.depth = depth;
            reached.stand_for(state.orbit);
            let number = self.reached.push(state.from, state.ordinal);
            for (_, name) in found.happened.iter().filter(|(at, _)| *at == index) {
                self.search.never.retain(|never| never != name);
            }
            let packed = found.packed.get(begin..state.end).unwrap_or_default();
            self.queue(number, depth, packed);
            begin = state.end;
        }
        self.search.found.transitions = before + found.transitions;
        match found.wrong {
            Some(failed) => Err(self.fail(depth, failed)),
            None => Ok(()),
        }
    }

    fn fail(&mut self, depth: u32, failed: Failed) -> Halt {
        let found = &mut self.search.found;
        if failed.print.is_some() {
            found.states += 1;
        }
        found.depth = depth;
        Halt::Wrong((failed.from, failed.ordinal, failed.wrong))
    }

    fn queue(&mut self, number: u32, depth: u32, packed: &[u8]) {
        let fits = |chunk: &&mut Chunk| chunk.depth == depth && chunk.states < CHUNK;
        if self.chunks.back_mut().as_ref().is_none_or(|chunk| !fits(chunk)) {
            if let Some(full) = self.chunks.back_mut() {
                self.packed_bytes -= full.packed.capacity() as u64;
                full.packed.shrink_to_fit();
                self.packed_bytes += full.packed.capacity() as u64;
            }
            self.chunks.push_back(Chunk { first: number, depth, ..Chunk::default() });
        }
        if let Some(chunk) = self.chunks.back_mut() {
            let before = chunk.packed.capacity();
            chunk.packed.extend_from_slice(packed);
            chunk.states += 1;
            self.packed_bytes += (chunk.packed.capacity() - before) as u64;
            self.waiting += 1;
        }
    }

    /// Forgets the local states and parcels that no state of the frontier has.
    fn sweep(&mut self) {
        let nodes = self.search.program.setting().bounds.nodes as usize;
        let (mut live, mut state) = (self.search.live(), State::default());
        for chunk in &mut self.chunks {
            let mut packed = chunk.packed.as_slice();
            while !packed.is_empty() {
                packed = state.unpack(nodes, packed);
                live.mark(&state.places, &state.wire);
            }
        }
        let [new_places, new_parcels] = self.search.sweep(&live);
        for chunk in &mut self.chunks {
            self.packed_bytes -= chunk.packed.capacity() as u64;
            each_packed(&mut chunk.packed, nodes, &mut |state| {
                rename(&mut state.places, &new_places);
                rename(&mut state.wire, &new_parcels);
            });
            self.packed_bytes += chunk.packed.capacity() as u64;
        }
    }

    fn tell(&mut self) -> Result<(), Halt> {
        let bytes = self.visited.bytes() + self.reached.bytes() + self.packed_bytes;
        let depth = self.chunks.front().map_or(self.search.found.depth, |chunk| chunk.depth);
        let found = &mut self.search.found;
        found.bytes = found.bytes.max(bytes);
        let progress = Progress {
            states: found.states,
            transitions: found.transitions,
            depth,
            frontier: self.waiting,
        };
        match self.search.tell(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Halt::Cut(Limit::Watcher)),
        }
    }
}

impl Reached {
    /// # Panics
    ///
    /// Beyond 2^32 states, which the bound on states excludes.
    fn push(&mut self, from: u32, ordinal: u32) -> u32 {
        if self.0.last().is_none_or(|block| block.len() == BLOCK) {
            self.0.push(Vec::with_capacity(BLOCK));
        }
        let full = BLOCK * (self.0.len() - 1);
        let block = self.0.last_mut().expect("one was pushed if there was none");
        block.push((from, ordinal));
        u32::try_from(full + block.len() - 1).expect("the bound on states is below 2^32")
    }

    fn get(&self, state: u32) -> Option<(u32, u32)> {
        let state = state as usize;
        self.0.get(state / BLOCK)?.get(state % BLOCK).copied()
    }

    /// The transitions from the start to a state's transition.
    fn path(&self, from: u32, ordinal: u32) -> Vec<u32> {
        let mut path = vec![ordinal];
        let mut at = from;
        while let Some((before, ordinal)) = self.get(at) {
            path.push(ordinal);
            at = before;
        }
        path.reverse();
        path
    }

    fn bytes(&self) -> u64 {
        (self.0.len() * BLOCK * size_of::<(u32, u32)>()) as u64
    }
}

/// What the threads of a round look at, and do not change.
struct View<'v> {
    visited: &'v Visited,
    never: &'v [usize],
    depth_max: u32,
}

impl View<'_> {
    /// Expands chunks until there are no more.
    fn work<'c>(
        &self,
        worker: &mut Worker<'_>,
        next: &Mutex<impl Iterator<Item = (usize, &'c Chunk)>>,
    ) -> Vec<(usize, Yield)> {
        let mut yields = Vec::new();
        loop {
            let mut chunks = next.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((index, chunk)) = chunks.next() else {
                return yields;
            };
            drop(chunks);
            yields.push((index, self.expand(worker, chunk)));
        }
    }

    fn expand(&self, worker: &mut Worker<'_>, chunk: &Chunk) -> Yield {
        worker.learn();
        let nodes = worker.setting().bounds.nodes as usize;
        let mut found = Yield::default();
        if self.depth_max <= chunk.depth {
            found.beyond = self.goes_on(worker, chunk);
            return found;
        }
        let (mut batch, mut state) = (Batch::default(), State::default());
        let mut packed = chunk.packed.as_slice();
        for from in (chunk.first..).take(chunk.states) {
            packed = state.unpack(nodes, packed);
            worker.weigh(&mut state);
            batch.spread(worker, &state);
            if self.look(worker, &state, &mut batch, &mut found, from).is_break() {
                break;
            }
        }
        found
    }

    /// Whether a state of the chunk has a transition.
    fn goes_on(&self, worker: &Worker<'_>, chunk: &Chunk) -> bool {
        let mut state = State::default();
        let mut packed = chunk.packed.as_slice();
        (0..chunk.states).any(|_| {
            packed = state.unpack(worker.setting().bounds.nodes as usize, packed);
            !worker.actions(&state).is_empty()
        })
    }

    /// Looks at where the transitions of a state lead. Goes on unless something is wrong with one.
    fn look(
        &self,
        worker: &mut Worker<'_>,
        state: &State,
        batch: &mut Batch,
        found: &mut Yield,
        from: u32,
    ) -> ControlFlow<()> {
        // All at once: what one has to wait for in memory, the others wait for too.
        batch.known.clear();
        batch.known.extend(batch.next.iter().map(|next| self.visited.holds(next.print)));
        for (next, known) in batch.next.iter().zip(&batch.known) {
            found.transitions += 1;
            let (print, ordinal) = (next.print, next.ordinal);
            if *known || !batch.fresh.insert(print) {
                continue;
            }
            next.make(worker, state, &batch.packed, &mut batch.state);
            let checked = worker.check(&batch.state);
            if let Err(wrong) = checked.and_then(|()| worker.try_properties(&batch.state, print)) {
                found.wrong = Some(Failed { from, ordinal, print: Some(print), wrong });
                return ControlFlow::Break(());
            }
            let happened = self.never.iter().filter(|name| worker.holds(&batch.state, **name));
            found.happened.extend(happened.map(|name| (found.found.len(), *name)));
            batch.state.pack(&mut found.packed);
            let (end, transitions) = (found.packed.len(), found.transitions);
            let orbit = next.orbit;
            found.found.push(Found { print, from, ordinal, end, transitions, orbit });
        }
        batch.next.clear();
        batch.packed.clear();
        let Some((ordinal, wrong)) = batch.wrong.take() else {
            return ControlFlow::Continue(());
        };
        found.wrong = Some(Failed { from, ordinal, print: None, wrong });
        ControlFlow::Break(())
    }
}

/// Where the transitions of one state lead.
#[derive(Default)]
struct Batch {
    acts: Vec<Act>,
    next: Vec<Next>,
    /// The states that had to be made.
    packed: Vec<u8>,
    /// Which of `next` were visited before this round.
    known: Vec<bool>,
    /// What the chunk has found so far.
    fresh: Fresh,
    state: State,
    /// The transition that is wrong, the last one of the state.
    wrong: Option<(u32, Wrong)>,
}

struct Next {
    print: u128,
    ordinal: u32,
    made: Made,
    /// How many states it stands for.
    orbit: u64,
}

enum Made {
    /// It begins here in the packed states.
    At(usize),
    /// Not yet: it comes of this act.
    By(Act),
}

impl Next {
    /// Makes the state, all but its sum, if it is not there yet; `state` is the one before.
    fn make(&self, worker: &mut Worker<'_>, state: &State, packed: &[u8], next: &mut State) {
        match self.made {
            Made::At(begin) => {
                let packed = packed.get(begin..).unwrap_or_default();
                next.unpack(worker.setting().bounds.nodes as usize, packed);
            }
            Made::By(act) => {
                let acted = worker.act(state, &Action::of(act), next);
                debug_assert!(acted.is_ok(), "it was foreseen");
                debug_assert_eq!(next.fingerprint(), self.print, "{act:?} was foreseen");
            }
        }
    }
}

impl Batch {
    /// Takes each transition of a state, the calm first, up to one that is wrong.
    fn spread(&mut self, worker: &mut Worker<'_>, state: &State) {
        let here = state.fingerprint();
        let mut acts = std::mem::take(&mut self.acts);
        worker.add_acts(state, &mut acts);
        let mut ordinal = 0;
        for act in acts.drain(..) {
            if let Some(shift) = worker.foresee(state, act) {
                let print = here.wrapping_add(shift);
                self.next.push(Next { print, ordinal, made: Made::By(act), orbit: 1 });
                ordinal += 1;
            } else {
                self.take(worker, state, act, &mut ordinal);
            }
            if self.wrong.is_some() {
                break;
            }
        }
        self.acts = acts;
    }

    /// Takes the transitions of one act, up to one that is wrong.
    fn take(&mut self, worker: &mut Worker<'_>, state: &State, act: Act, ordinal: &mut u32) {
        let mut waiting = vec![Action::of(act)];
        let mut next = std::mem::take(&mut self.state);
        while let Some(action) = waiting.pop()
            && self.wrong.is_none()
        {
            let acted = worker.act(state, &action, &mut next);
            if let Ok(Some(moved)) = &acted {
                worker.vary(state, &action, moved, &mut waiting);
            }
            self.add(worker, *ordinal, acted.map(|_| &mut next));
            *ordinal += 1;
        }
        self.state = next;
    }

    fn add(&mut self, worker: &mut Worker<'_>, ordinal: u32, outcome: Result<&mut State, Wrong>) {
        match outcome.and_then(|state| Ok((worker.identity(state)?, state))) {
            Ok((Identity { print, orbit }, state)) => {
                let made = Made::At(self.packed.len());
                self.next.push(Next { print, ordinal, made, orbit });
                state.pack(&mut self.packed);
            }
            Err(wrong) => self.wrong = Some((ordinal, wrong)),
        }
    }
}
