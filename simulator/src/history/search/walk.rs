//! Depth first through the places that operations may have: the search of Wing and Gong with the
//! memory of Lowe.
//!
//! A configuration is what has its place, the state that this leaves, and which open operations
//! were used on the way. Three things keep their number small:
//!
//! - An operation that only reads, and may come next, does: nothing is lost by it.
//! - Open operations of one class are interchangeable, so that only their number counts. They are
//!   used only directly before an operation that took effect, as few of them as possible first;
//!   and a configuration is not worth a visit if one with the same operations in place and the
//!   same state was visited that has used less: whatever follows was possible there too.
//! - Of operations that took effect and are equal, the one that returns first comes first.

use std::collections::BTreeMap;

use super::chains::Chains;
use super::list::List;
use super::memo::{Memo, Uses, with, within};
use super::{ClassId, Frontier, Machine, Open, StateId, Supply, Task};

/// How a search ended.
#[derive(Clone, Debug)]
pub(in crate::history) enum Ended {
    /// There is an order.
    Found(Found),
    /// There is none.
    Stuck(Stuck),
    /// A bound was reached before an answer; how far the search had come.
    Stopped(Stop, Stuck),
}

/// An order that is allowed.
#[derive(Clone, Debug)]
pub(in crate::history) struct Found {
    /// The state after it.
    pub(in crate::history) state: StateId,
    /// The operations: calls by number, and open operations by their class.
    pub(in crate::history) order: Vec<Placed>,
}

/// An operation in its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::history) enum Placed {
    /// The call of that number.
    Call(u32),
    /// The next open operation of that class.
    Open(ClassId),
}

/// How far a search came.
#[derive(Clone, Debug, Default)]
pub(in crate::history) struct Stuck {
    /// The call that has no place, and before which every other had one; nothing if the order is
    /// not that of time.
    pub(in crate::history) call: Option<u32>,
    /// The states in which it had none.
    pub(in crate::history) states: Vec<StateId>,
}

/// Which bound ended a search.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::history) enum Stop {
    /// Whoever asked does not want to wait any longer.
    Asked,
    /// There are more configurations than are remembered.
    Memory,
}

/// States that are told of a search that was stuck, at most.
const STATES_MAX: usize = 6;

/// Looks for an order of `task` that `machine` allows, from `start`. `go_on` is asked before each
/// step.
pub(in crate::history) fn search(
    task: &Task,
    machine: &mut dyn Machine,
    start: StateId,
    go_on: &mut dyn FnMut() -> bool,
) -> Ended {
    let frontier: Box<dyn Frontier> =
        if task.in_time { Box::new(List::new(task)) } else { Box::new(Chains::new(task)) };
    let mut walk = Walk {
        task,
        opens: by_class(&task.opens),
        frontier,
        memo: Memo::default(),
        frames: Vec::new(),
        stuck: Stuck::default(),
        key: Vec::new(),
    };
    let supplies = walk.supplies();
    walk.enter(start, Vec::new(), supplies, machine);
    walk.run(machine, go_on)
}

/// Open operations of one class that are alike.
struct Kind {
    class: ClassId,
    opens: Vec<Open>,
}

fn by_class(opens: &[Open]) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    let mut sorted = opens.to_vec();
    sorted
        .sort_by_key(|open| (open.class, open.free, open.until.unwrap_or(u64::MAX), open.invoked));
    let mut last = None;
    for open in sorted {
        let kind = (open.class, open.free);
        match kinds.last_mut() {
            Some(same) if last == Some(kind) => same.opens.push(open),
            _ => kinds.push(Kind { class: open.class, opens: vec![open] }),
        }
        last = Some(kind);
    }
    kinds
}

struct Walk<'a> {
    task: &'a Task,
    opens: Vec<Kind>,
    frontier: Box<dyn Frontier>,
    memo: Memo,
    frames: Vec<Frame>,
    stuck: Stuck,
    key: Vec<u32>,
}

/// Forgets the uses of operations for which it is too late anyway.
fn forget(uses: &mut Uses, supplies: &[Supply]) {
    uses.retain(|(kind, count)| {
        supplies.get(*kind as usize).is_none_or(|supply| supply.gone < *count)
    });
}

/// Whoever asked does not want to go on.
struct Tired;

/// One configuration on the way, and where else it could go on.
#[derive(Default)]
struct Frame {
    /// The call that led here.
    via: Option<u32>,
    candidates: Vec<u32>,
    /// How many open operations there are of each kind.
    supplies: Vec<Supply>,
    /// Where open operations lead from here: the fewest first.
    nodes: Vec<Node>,
    by_state: BTreeMap<StateId, Vec<usize>>,
    node: usize,
    /// The calls that are possible at the node, with the states after them.
    moves: Vec<(u32, StateId)>,
    next: usize,
    /// A move that loses nothing was found: nothing else is tried from the node.
    is_forced: bool,
}

struct Node {
    state: StateId,
    uses: Uses,
    /// From which node, by which kind of open operation.
    from: Option<(usize, u32)>,
}

impl Walk<'_> {
    fn run(&mut self, machine: &mut dyn Machine, go_on: &mut dyn FnMut() -> bool) -> Ended {
        loop {
            if self.frontier.is_done() {
                return Ended::Found(self.found());
            }
            if Memo::KEPT_MAX <= self.memo.kept() {
                return Ended::Stopped(Stop::Memory, std::mem::take(&mut self.stuck));
            }
            let Ok(next) = self.next_move(machine, go_on) else {
                return Ended::Stopped(Stop::Asked, std::mem::take(&mut self.stuck));
            };
            match next {
                Some((call, state, mut uses)) => {
                    self.frontier.lift(call);
                    let supplies = self.supplies();
                    forget(&mut uses, &supplies);
                    if self.is_new(state, &uses) {
                        self.enter(state, uses, supplies, machine);
                        self.frames.last_mut().into_iter().for_each(|it| it.via = Some(call));
                    } else {
                        self.frontier.unlift(call);
                    }
                }
                None => match self.frames.pop() {
                    Some(Frame { via: Some(call), .. }) => self.frontier.unlift(call),
                    _ => return Ended::Stuck(std::mem::take(&mut self.stuck)),
                },
            }
        }
    }

    fn supplies(&self) -> Vec<Supply> {
        self.opens.iter().map(|kind| self.frontier.supply(&kind.opens)).collect()
    }

    fn is_new(&mut self, state: StateId, uses: &[(u32, u32)]) -> bool {
        self.key.clear();
        self.key.push(state);
        self.frontier.key(&mut self.key);
        self.memo.visit(&self.key, uses)
    }

    /// Begins to look from a configuration.
    fn enter(
        &mut self,
        state: StateId,
        uses: Uses,
        supplies: Vec<Supply>,
        machine: &mut dyn Machine,
    ) {
        self.note(state);
        let mut frame = Frame { supplies, ..Frame::default() };
        self.frontier.candidates(&mut frame.candidates);
        frame.by_state.insert(state, vec![0]);
        frame.nodes.push(Node { state, uses, from: None });
        self.look(&mut frame, machine);
        self.frames.push(frame);
    }

    /// Remembers the configurations that came furthest.
    fn note(&mut self, state: StateId) {
        let pressing = self.frontier.pressing();
        if pressing.is_none() || pressing < self.stuck.call {
            return;
        }
        if self.stuck.call < pressing {
            self.stuck = Stuck { call: pressing, states: Vec::new() };
        }
        if self.stuck.states.len() < STATES_MAX && !self.stuck.states.contains(&state) {
            self.stuck.states.push(state);
        }
    }

    /// The next call to give a place, with the state after it and the uses before.
    fn next_move(
        &mut self,
        machine: &mut dyn Machine,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<(u32, StateId, Uses)>, Tired> {
        let Some(mut frame) = self.frames.pop() else {
            return Ok(None);
        };
        let found = loop {
            if !go_on() {
                return Err(Tired);
            }
            if let Some((call, state)) = frame.moves.get(frame.next) {
                frame.next += 1;
                let uses = frame.nodes.get(frame.node).map(|node| node.uses.clone());
                break Some((*call, *state, uses.unwrap_or_default()));
            }
            if !frame.is_forced {
                self.use_one_more(&mut frame, machine, go_on)?;
            }
            frame.node += 1;
            if frame.nodes.len() <= frame.node {
                break None;
            }
            self.look(&mut frame, machine);
        };
        self.frames.push(frame);
        Ok(found)
    }

    /// Finds the calls that are possible at the frame's node.
    fn look(&self, frame: &mut Frame, machine: &mut dyn Machine) {
        frame.moves.clear();
        (frame.next, frame.is_forced) = (0, false);
        let Some(node) = frame.nodes.get(frame.node) else {
            return;
        };
        let mut seen: Vec<ClassId> = Vec::new();
        for call in &frame.candidates {
            let Some(class) = self.task.calls.get(*call as usize).map(|it| it.class) else {
                continue;
            };
            // Only in the order of time is the one that returns first the better one.
            if self.task.in_time && seen.contains(&class) {
                continue;
            }
            seen.push(class);
            let Some(state) = machine.step(node.state, class) else {
                continue;
            };
            if machine.only_reads(class) {
                frame.moves.clear();
                frame.moves.push((*call, state));
                frame.is_forced = true;
                return;
            }
            frame.moves.push((*call, state));
        }
    }

    /// Adds where one more open operation leads from the frame's node.
    fn use_one_more(
        &self,
        frame: &mut Frame,
        machine: &mut dyn Machine,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), Tired> {
        let Some(Node { state: before, uses: used, .. }) = frame.nodes.get(frame.node) else {
            return Ok(());
        };
        let (before, used) = (*before, used.clone());
        for ((kind, supply), number) in self.opens.iter().zip(&frame.supplies).zip(0_u32..) {
            let same = used.iter().find(|(it, _)| *it == number).map_or(0, |(_, used)| *used);
            let count = same.max(supply.gone) + 1;
            if supply.have < count {
                continue;
            }
            if !go_on() {
                return Err(Tired);
            }
            let Some(state) = machine.step(before, kind.class) else {
                continue;
            };
            if state == before || !machine.is_worth(state) {
                continue;
            }
            let uses = with(&used, number, count);
            let known = frame.by_state.entry(state).or_default();
            let mut others = known.iter().filter_map(|place| frame.nodes.get(*place));
            if !others.any(|node| within(&node.uses, &uses)) {
                known.push(frame.nodes.len());
                frame.nodes.push(Node { state, uses, from: Some((frame.node, number)) });
            }
        }
        Ok(())
    }

    /// The order that the frames stand for.
    fn found(&self) -> Found {
        let mut order = Vec::new();
        let nexts = self.frames.iter().skip(1).map(|frame| frame.via);
        for (frame, via) in self.frames.iter().zip(nexts) {
            let mut opens = Vec::new();
            let mut at = frame.nodes.get(frame.node);
            while let Some((from, kind)) = at.and_then(|node| node.from) {
                opens.extend(self.opens.get(kind as usize).map(|it| Placed::Open(it.class)));
                at = frame.nodes.get(from);
            }
            order.extend(opens.into_iter().rev());
            order.extend(via.map(Placed::Call));
        }
        let state = self.frames.last().and_then(|frame| frame.nodes.first());
        Found { state: state.map_or(0, |node| node.state), order }
    }
}
