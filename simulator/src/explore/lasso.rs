//! Runs that never keep a promise: `eventually` without a clock.
//!
//! A run breaks the promise if, after its last fault, the predicate fails for ever again. Such a
//! run either ends in a state that it does not leave, or goes round for ever in one strongly
//! connected part of the states. It counts only if it is fair: whoever can act at every moment from
//! some moment on does act (each lane's first message arrives, each datagram arrives or is lost,
//! each node's clock goes on), and a link that loses an event for ever again delivers it for ever
//! again. So each part is judged as a whole: a round through all of it is fair, or no round in it
//! is, unless it has to go without some losses.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;

use synod_core::{EventId, Input, Kind, NodeId};

use super::doer::Doer;
use super::parts::{Edge, Graph, parts};
use super::pool::Pool;
use super::search::{Search, Stop, starts};
use super::setting::Wrong;
use super::state::State;
use super::worker::Worker;
use crate::action::{Act, Action};

/// Who acts in an edge, and what it loses or delivers over a link that may lose.
#[derive(Default)]
pub(super) struct Labels {
    doers: BTreeMap<Doer, u32>,
    links: BTreeMap<(NodeId, NodeId, EventId), u32>,
}

impl Labels {
    /// The label of an action; none of a fault.
    pub(super) fn of(
        &mut self,
        worker: &Worker<'_>,
        state: &State,
        action: &Action,
    ) -> Option<Edge> {
        if action.cut.is_some()
            || matches!(action.act, Act::Crash { .. } | Act::Restart { .. } | Act::Repeat { .. })
        {
            return None;
        }
        let doer = Doer::of(worker, state, action)?;
        let count = number(self.doers.len());
        let doer = *self.doers.entry(doer).or_insert(count);
        let over = match action.act {
            Act::Deliver { at } => Some((at, false)),
            Act::Lose { at } => Some((at, true)),
            _ => None,
        };
        let link = over.and_then(|(at, loses)| {
            let parcel = worker.at(state, at)?;
            match &parcel.input {
                Input::Deliver { envelope, .. } if parcel.is_lossy(worker.setting().bounds) => {
                    let count = number(self.links.len());
                    let link = (parcel.link.0, parcel.link.1, envelope.event());
                    Some((*self.links.entry(link).or_insert(count), loses))
                }
                _ => None,
            }
        });
        Some(Edge { to: 0, doer, link })
    }
}

/// Counts that the bound on states keeps below 2^32.
pub(super) fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The states and the transitions between them, and how each was reached first.
#[derive(Default)]
struct Reached {
    numbers: Pool<()>,
    queue: VecDeque<State>,
    graph: Graph,
    from: Vec<(u32, u32)>,
    /// For each promise, which states do not keep it.
    broken: Vec<Vec<bool>>,
}

/// Looks for a run that breaks an `eventually`; every state is within the bounds.
#[inline(never)] // Its frame is not for other ways to explore.
pub(super) fn search(search: &mut Search<'_, '_>) -> Result<(), Stop> {
    let promises = search.program.setting().promises.iter().enumerate();
    let promises: Vec<usize> = promises
        .filter(|(_, it)| matches!(it.kind, Kind::Eventually { .. }))
        .map(|(index, _)| index)
        .collect();
    if promises.is_empty() {
        return Ok(());
    }
    let mut worker = Worker::new(search.program);
    let reached = reach(search, &mut worker, &promises)?;
    search.found.bytes = search.found.bytes.max(reached.graph.bytes());
    let ends = reached.graph.ends();
    let parts = parts(&reached.graph);
    for (promise, broken) in promises.iter().zip(&reached.broken) {
        let breaks = |state: &u32| broken.get(*state as usize) == Some(&true);
        let end = ends.iter().copied().find(breaks).map(|end| (end, Vec::new()));
        let round = || {
            let fair = parts.iter().filter(|part| reached.graph.is_fair(part));
            let mut broken =
                fair.filter_map(|part| Some((part, *part.states.iter().find(|it| breaks(it))?)));
            broken.next().map(|(part, state)| (state, reached.graph.round(part, state)))
        };
        if let Some((state, round)) = end.or_else(round) {
            let path = reached.path(state, &round);
            let actions = search.actions(&path);
            let wrong = wrong(&mut worker, &actions, *promise, !round.is_empty());
            return Err(Stop::Wrong(actions, wrong));
        }
    }
    search.found.skipped.retain(|name| {
        let setting = search.program.setting();
        !promises.iter().any(|it| setting.promises.get(*it).is_some_and(|it| it.name == *name))
    });
    Ok(())
}

/// What is wrong with a run that ends in a state which breaks a promise.
fn wrong(worker: &mut Worker<'_>, actions: &[Action], promise: usize, repeats: bool) -> Wrong {
    let (mut state, mut next) = (State::default(), State::default());
    if let Some((start, rest)) = actions.split_first() {
        let _ = worker.start(start, &mut state);
        for action in rest {
            let _ = worker.act(&state, action, &mut next);
            std::mem::swap(&mut state, &mut next);
        }
    }
    let name = worker.setting().promises.get(promise).map_or("", |it| it.name);
    let reason = worker.verdict(&state, promise).err().unwrap_or_default();
    let how = if repeats { REPEATS } else { ENDS };
    Wrong::Property(String::from(name), format!("{reason}; {how}"))
}

const REPEATS: &str = "the run comes back to an earlier state, and can go round for ever";
const ENDS: &str = "nothing more can happen";

fn reach(
    search: &mut Search<'_, '_>,
    worker: &mut Worker<'_>,
    promises: &[usize],
) -> Result<Reached, Stop> {
    let mut labels = Labels::default();
    let mut reached = Reached { broken: vec![Vec::new(); promises.len()], ..Reached::default() };
    for (ordinal, (_, begun)) in (0..).zip(starts(worker)) {
        if let Ok(state) = begun {
            reached.visit(worker, promises, &state, (u32::MAX, ordinal));
        }
    }
    let mut from = 0;
    while let Some(state) = reached.queue.pop_front() {
        let _ = worker.expand(&state, &mut |worker, taken| {
            let label = labels.of(worker, &state, taken.action);
            if let Ok(next) = taken.outcome {
                let to = reached.visit(worker, promises, next, (from, taken.ordinal));
                if let Some(label) = label {
                    reached.graph.edge(Edge { to, ..label }, taken.ordinal);
                }
            }
            ControlFlow::Continue(())
        });
        reached.graph.close();
        from += 1;
        search.tell_again(u64::from(from))?;
    }
    Ok(reached)
}

impl Reached {
    /// The number of a state, which is queued if it is new.
    fn visit(
        &mut self,
        worker: &mut Worker<'_>,
        promises: &[usize],
        state: &State,
        from: (u32, u32),
    ) -> u32 {
        let found = self.numbers.number(state.fingerprint(), || ());
        if found as usize == self.from.len() {
            self.from.push(from);
            for (promise, broken) in promises.iter().zip(&mut self.broken) {
                broken.push(!worker.holds(state, *promise));
            }
            self.queue.push_back(state.clone());
        }
        found
    }

    /// The transitions from the start to a state and then round.
    fn path(&self, state: u32, round: &[u32]) -> Vec<u32> {
        let mut path = Vec::new();
        let mut at = state;
        while let Some((before, ordinal)) = self.from.get(at as usize) {
            path.push(*ordinal);
            at = *before;
        }
        path.reverse();
        path.extend(round);
        path
    }
}

/// Whether a run that has taken `actions` through `states` breaks an `eventually` without a clock:
/// it ends where nothing more can happen, or its end is one of its states and the way between is
/// fair.
pub(crate) fn broken(
    worker: &mut Worker<'_>,
    states: &[State],
    actions: &[Action],
) -> Option<Wrong> {
    let last = states.last()?;
    let mut labels = Labels::default();
    let ends = able(&mut labels, worker, last).is_empty();
    let earlier = states.iter().rev().enumerate().skip(1);
    let same = earlier.filter(|(_, state)| state.fingerprint() == last.fingerprint());
    // A round may come by its end more than once, and be fair as a whole only.
    let mut rounds = same.map(|(length, _)| length);
    let is_round = |length| goes_round(&mut labels, worker, states, actions, length);
    if !ends && !rounds.any(is_round) {
        return None;
    }
    let how = if ends { ENDS } else { REPEATS };
    let promises = worker.setting().promises.iter().enumerate();
    let eventual = promises.filter(|(_, it)| matches!(it.kind, Kind::Eventually { .. }));
    for (index, promise) in eventual {
        if let Err(reason) = worker.verdict(last, index) {
            let reason = format!("{reason}; {how}");
            return Some(Wrong::Property(String::from(promise.name), reason));
        }
    }
    None
}

/// Who can act in a state.
fn able(labels: &mut Labels, worker: &Worker<'_>, state: &State) -> BTreeSet<u32> {
    let actions = worker.actions(state);
    let doers = actions.iter().filter_map(|action| labels.of(worker, state, action));
    doers.map(|edge| edge.doer).collect()
}

/// Whether the last so many actions are no fault, and whoever can act in each of their states does.
fn goes_round(
    labels: &mut Labels,
    worker: &Worker<'_>,
    states: &[State],
    actions: &[Action],
    length: usize,
) -> bool {
    let round = states.len().checked_sub(length + 1).and_then(|first| states.get(first..));
    let round = round.unwrap_or_default();
    let taken = actions.len().checked_sub(length).and_then(|first| actions.get(first..));
    let always =
        round.iter().map(|state| able(labels, worker, state)).reduce(|one, other| &one & &other);
    let mut acting = BTreeSet::new();
    for (state, action) in round.iter().zip(taken.unwrap_or_default()) {
        match labels.of(worker, state, action) {
            Some(edge) => acting.insert(edge.doer),
            None => return false,
        };
    }
    always.is_some_and(|always| always.is_subset(&acting))
}
