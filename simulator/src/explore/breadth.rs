//! Breadth first, on several threads, with one result.
//!
//! A round takes some chunks of the frontier. Threads expand them side by side and only look at
//! the visited states; then one thread takes in what they found, in the order of the chunks. So
//! the numbers of states, their order and the first violation do not depend on the threads.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use self::chunk::{Batch, CHUNK, Chunk, Failed, Part, View, Yield};
use self::reached::{NOWHERE, Reached};
use super::place::Program;
use super::report::{Limit, Progress};
use super::search::{Search, Start, Stop, starts};
use super::setting::Wrong;
use super::state::{State, each_packed, rename};
use super::visited::Visited;
use super::worker::Worker;
use crate::quiet::quietly;

mod chunk;
mod reached;

/// Chunks of a round for each thread: enough that the threads wait little for each other.
const CHUNKS_EACH: usize = 4;

/// Bytes that a chunk has room for at least.
const PACKED_MIN: usize = 1 << 9;

/// A violation: the state before it, which of its transitions, and what is wrong.
pub(super) type Violated = (u32, u32, Wrong);

/// What a thread works with.
struct Hand<'a> {
    worker: Worker<'a>,
    /// The state that is expanded.
    state: State,
    batch: Batch,
    found: Yield,
}

struct Breadth<'s, 'a, 'w> {
    search: &'s mut Search<'a, 'w>,
    visited: Visited,
    reached: Reached,
    chunks: VecDeque<Chunk>,
    /// The memory of a chunk that is done, for the next one.
    spare: Vec<u8>,
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
        spare: Vec::new(),
        waiting: 0,
        packed_bytes: 0,
    };
    let result = breadth.run(threads.max(1));
    breadth.search.found.frontier = breadth.waiting;
    result.map_err(|halt| breadth.stop(halt))
}

enum Halt {
    Cut(Limit),
    /// In its place, since it is seldom: what may halt hands this on.
    Wrong(Box<Violated>),
}

#[inline(never)] // Its frame is not under the search.
fn hands(program: &dyn Program, threads: usize) -> Vec<Hand<'_>> {
    let hand = |_| Hand {
        worker: Worker::new(program),
        state: State::default(),
        batch: Batch::default(),
        found: Yield::default(),
    };
    (0..threads).map(hand).collect()
}

impl Breadth<'_, '_, '_> {
    fn run(&mut self, threads: usize) -> Result<(), Halt> {
        let mut hands = hands(self.search.program, threads);
        if let Some(hand) = hands.first_mut() {
            let starts = starts(&mut hand.worker);
            self.begin(hand, starts)?;
        }
        let mut beyond = false;
        while !self.chunks.is_empty() {
            let count = self.chunks.len().min(threads * CHUNKS_EACH);
            let round: Vec<Chunk> = self.chunks.drain(..count).collect();
            beyond |= self.round(&mut hands, round)?;
            self.tell()?;
            if self.search.is_full() {
                self.sweep();
                hands.iter_mut().for_each(|hand| hand.worker.forget());
            }
        }
        if beyond { Err(Halt::Cut(Limit::Depth)) } else { Ok(()) }
    }

    /// Expands some chunks and takes in what they led to. Returns whether a state at the bound of depth
    /// had transitions.
    fn round(&mut self, hands: &mut [Hand<'_>], round: Vec<Chunk>) -> Result<bool, Halt> {
        let mut beyond = false;
        if 1 < hands.len() && 1 < round.len() {
            beyond = self.take_all(hands, round)?;
        } else if let Some(hand) = hands.first_mut() {
            // So little is not worth a thread.
            for chunk in round {
                beyond |= self.take_each(hand, &chunk)?;
                self.finish(chunk);
            }
        }
        Ok(beyond)
    }

    /// Expands all chunks and takes in what they led to.
    #[inline(never)] // As `begin`.
    fn take_all(&mut self, hands: &mut [Hand<'_>], round: Vec<Chunk>) -> Result<bool, Halt> {
        let mut beyond = false;
        let yields = self.expand(hands, &round);
        for (chunk, found) in round.into_iter().zip(&yields) {
            beyond |= found.beyond;
            self.take_in(chunk.depth + 1, found)?;
            self.finish(chunk);
        }
        Ok(beyond)
    }

    /// Expands a chunk and takes in what each of its states led to before the next one is expanded: so
    /// there is little that is found and not yet visited.
    fn take_each(&mut self, hand: &mut Hand<'_>, chunk: &Chunk) -> Result<bool, Halt> {
        let (mut packed, mut beyond) = (chunk.packed.as_slice(), false);
        hand.worker.learn();
        for first in (chunk.first..).take(chunk.states) {
            let part = Part { first, states: 1, packed, ..chunk.all() };
            packed = self.view().expand(hand, &part);
            beyond |= hand.found.beyond;
            self.take_in(chunk.depth + 1, &hand.found)?;
        }
        Ok(beyond)
    }

    fn finish(&mut self, chunk: Chunk) {
        self.waiting -= chunk.states as u64;
        self.packed_bytes -= chunk.packed.capacity() as u64;
        self.spare = chunk.packed;
    }

    #[inline(never)] // Its frame is not under the rounds.
    fn begin(&mut self, hand: &mut Hand<'_>, starts: Vec<Start>) -> Result<(), Halt> {
        let Hand { worker, batch, found, .. } = hand;
        for (_, mut begun) in starts {
            batch.add(worker, begun.as_mut().map_err(|wrong| wrong.clone()));
        }
        let _ = self.view().look(worker, &State::default(), batch, found, NOWHERE);
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
    fn expand(&self, hands: &mut [Hand<'_>], round: &[Chunk]) -> Vec<Yield> {
        let view = self.view();
        let next = Mutex::new(round.iter().enumerate());
        let mut all: Vec<(usize, Yield)> = std::thread::scope(|scope| {
            let (next, view) = (&next, &view);
            let hands = hands.iter_mut();
            let at_work: Vec<_> =
                hands.map(|hand| scope.spawn(move || quietly(|| hand.work(view, next)))).collect();
            let done = at_work.into_iter().map(|hand| match hand.join() {
                Ok(yields) => yields,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            done.flatten().collect()
        });
        all.sort_by_key(|(index, _)| *index);
        all.into_iter().map(|(_, found)| found).collect()
    }

    /// Takes in what a chunk led to, in its order, up to a bound or a violation.
    fn take_in(&mut self, depth: u32, found: &Yield) -> Result<(), Halt> {
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
        match &found.wrong {
            Some(failed) => Err(self.fail(depth, failed)),
            None => Ok(()),
        }
    }

    #[cold]
    fn stop(&self, halt: Halt) -> Stop {
        match halt {
            Halt::Cut(limit) => Stop::Cut(limit),
            Halt::Wrong(violated) => {
                let (from, ordinal, wrong) = *violated;
                let path = self.reached.path(from, ordinal);
                Stop::Wrong(self.search.actions(&path), wrong)
            }
        }
    }

    #[cold]
    fn fail(&mut self, depth: u32, failed: &Failed) -> Halt {
        let found = &mut self.search.found;
        if failed.print.is_some() {
            found.states += 1;
        }
        found.depth = depth;
        Halt::Wrong(Box::new((failed.from, failed.ordinal, failed.wrong.clone())))
    }

    fn queue(&mut self, number: u32, depth: u32, packed: &[u8]) {
        let fits = |chunk: &&mut Chunk| chunk.depth == depth && chunk.states < CHUNK;
        if self.chunks.back_mut().as_ref().is_none_or(|chunk| !fits(chunk)) {
            if let Some(full) = self.chunks.back_mut() {
                self.packed_bytes -= full.packed.capacity() as u64;
                full.packed.shrink_to_fit();
                self.packed_bytes += full.packed.capacity() as u64;
            }
            let mut packed = std::mem::take(&mut self.spare);
            packed.clear();
            packed.reserve(PACKED_MIN);
            self.packed_bytes += packed.capacity() as u64;
            self.chunks.push_back(Chunk { first: number, depth, states: 0, packed });
        }
        if let Some(chunk) = self.chunks.back_mut() {
            let before = chunk.packed.capacity();
            if before < chunk.packed.len() + packed.len() {
                chunk.packed.reserve_exact(packed.len().max(before / 2));
            }
            chunk.packed.extend_from_slice(packed);
            chunk.states += 1;
            self.packed_bytes += (chunk.packed.capacity() - before) as u64;
            self.waiting += 1;
        }
    }

    /// Forgets the local states and parcels that no state of the frontier has.
    #[inline(never)] // As `begin`.
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

impl Hand<'_> {
    /// Expands chunks until there are no more.
    fn work<'c>(
        &mut self,
        view: &View<'_>,
        next: &Mutex<impl Iterator<Item = (usize, &'c Chunk)>>,
    ) -> Vec<(usize, Yield)> {
        let mut yields = Vec::new();
        loop {
            let mut chunks = next.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((index, chunk)) = chunks.next() else {
                return yields;
            };
            drop(chunks);
            self.worker.learn();
            view.expand(self, &chunk.all());
            yields.push((index, std::mem::take(&mut self.found)));
        }
    }
}
