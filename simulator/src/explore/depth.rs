//! Depth first, with the visited states: the memory of a fingerprint for each state, and of one
//! run. A violation is found at the end of a run that may be longer than it has to be.

use std::collections::{BTreeMap, BTreeSet};

use super::orbit::Identity;
use super::report::Limit;
use super::search::{Search, Stop, starts};
use super::state::State;
use super::visited::Visited;
use super::worker::Worker;
use crate::action::Action;

/// A state of the run that is being taken, and what is still to be tried in it.
struct Frame {
    state: State,
    waiting: Vec<Action>,
    /// What led to it.
    by: Action,
}

struct Depth<'s, 'a, 'w> {
    search: &'s mut Search<'a, 'w>,
    worker: Worker<'a>,
    visited: Visited,
    run: Vec<Frame>,
    /// Where runs are bounded, after how many steps each state was come to, at least: one that is come
    /// to sooner is gone on from once more.
    nearest: BTreeMap<u128, u32>,
    /// The states that are not gone on from, since they are at the bound.
    cut: BTreeSet<u128>,
}

/// Visits every state within the bounds, following each run to its end. A violation ends it.
#[inline(never)] // Its frame is not for other ways to explore.
pub(super) fn search(search: &mut Search<'_, '_>) -> Result<(), Stop> {
    let worker = Worker::new(search.program);
    let (visited, run) = (Visited::new(), Vec::new());
    let (nearest, cut) = (BTreeMap::new(), BTreeSet::new());
    let mut depth = Depth { search, worker, visited, run, nearest, cut };
    let result = depth.search();
    depth.search.found.frontier = depth.run.len() as u64;
    depth.search.found.bytes = depth.visited.bytes();
    result
}

impl Depth<'_, '_, '_> {
    fn search(&mut self) -> Result<(), Stop> {
        for (start, begun) in starts(&mut self.worker) {
            let mut first = begun.map_err(|wrong| Stop::Wrong(vec![start.clone()], wrong))?;
            self.visit(&mut first, start)?;
            while let Some(frame) = self.run.last_mut() {
                match frame.waiting.pop() {
                    Some(action) => self.take(action)?,
                    None => drop(self.run.pop()),
                }
                if self.search.is_full() {
                    let mut run: Vec<&mut State> =
                        self.run.iter_mut().map(|frame| &mut frame.state).collect();
                    self.search.sweep_run(&mut self.worker, &mut run);
                }
            }
        }
        if self.cut.is_empty() { Ok(()) } else { Err(Stop::Cut(Limit::Depth)) }
    }

    fn take(&mut self, action: Action) -> Result<(), Stop> {
        let Some(frame) = self.run.last_mut() else {
            return Ok(());
        };
        let mut next = State::default();
        match self.worker.act(&frame.state, &action, &mut next) {
            Ok(moved) => self.worker.vary(&frame.state, &action, moved, &mut frame.waiting),
            Err(wrong) => return Err(Stop::Wrong(self.path(action), wrong)),
        }
        self.search.found.transitions += 1;
        self.search.tell_now_and_then(self.run.len())?;
        self.visit(&mut next, action)
    }

    /// Takes a state in, if it is new, and goes on from it.
    fn visit(&mut self, state: &mut State, by: Action) -> Result<(), Stop> {
        let identity = self.worker.identity(state);
        let Identity { print, orbit } = match identity {
            Ok(identity) => identity,
            Err(wrong) => return Err(Stop::Wrong(self.path(by), wrong)),
        };
        let (depth, depth_max) = (self.depth(), self.worker.setting().bounds.depth_max);
        if self.visited.insert(print) {
            if self.search.states_max <= self.search.found.states {
                return Err(Stop::Cut(Limit::States));
            }
            self.search.found.states += 1;
            self.search.found.stand_for(orbit);
            self.search.found.depth = self.search.found.depth.max(depth);
            let checked = self.worker.check(state);
            if let Err(wrong) = checked.and_then(|()| self.worker.try_properties(state, print)) {
                return Err(Stop::Wrong(self.path(by), wrong));
            }
            self.search.note(&mut self.worker, state);
        } else if self.nearest.get(&print).is_none_or(|nearest| *nearest <= depth) {
            return Ok(());
        }
        if depth_max < u32::MAX {
            self.nearest.insert(print, depth);
        }
        let mut waiting = self.worker.actions(state);
        if depth_max <= depth {
            if !waiting.is_empty() {
                self.cut.insert(print);
            }
            return Ok(());
        }
        self.cut.remove(&print);
        waiting.reverse();
        self.run.push(Frame { state: std::mem::take(state), waiting, by });
        Ok(())
    }

    /// How many steps the run has.
    fn depth(&self) -> u32 {
        u32::try_from(self.run.len()).unwrap_or(u32::MAX)
    }

    fn path(&self, last: Action) -> Vec<Action> {
        self.run.iter().map(|frame| frame.by.clone()).chain([last]).collect()
    }
}
