//! Depth first through the places that operations may have: the search of Wing and Gong with the
//! memory of Lowe.
//!
//! A configuration is what has its place, the state that this leaves, and which open operations
//! were used on the way. Five things keep their number small:
//!
//! - An operation that only reads, and may come next, does, unless it is then too late for open ones:
//!   nothing is lost by it.
//! - Open operations of one class are interchangeable, so that only their number counts. They are
//!   used only directly before an operation that took effect, as few of them as possible first;
//!   and a configuration is not worth a visit if one with the same operations in place and the
//!   same state was visited that has used less: whatever follows was possible there too.
//! - Of operations that took effect and are equal, the one that returns first comes first, unless it is
//!   then too late for more of the open ones.
//! - An open operation is used only if it leads to where some call becomes possible that was not,
//!   or leads elsewhere, perhaps over other open operations.
//! - Once a search is long: nothing follows a configuration in which a call must come soon that is not
//!   possible, and that nothing which may come before it can make possible.

use super::bits::Bits;
use super::chains::Chains;
use super::counted::{Counted, Use};
use super::doom::Doom;
use super::list::List;
use super::memo::{Memo, Uses, with};
use super::reach::Reach;
use super::{Call, ClassId, Frontier, Kind, Machine, StateId, Supply, Task};

/// How a search ended.
#[derive(Clone, Debug)]
pub(in crate::history) enum Ended {
    /// There is an order.
    Found(Found),
    /// There is none.
    Stuck(Stuck),
    /// A bound was reached before an answer.
    Stopped(Stop),
}

/// An order that is allowed.
#[derive(Clone, Debug)]
pub(in crate::history) struct Found {
    /// The state after it.
    pub(in crate::history) state: StateId,
    /// The operations: calls by number, and open operations by their class.
    pub(in crate::history) order: Vec<Placed>,
    /// The uses of open operations in it.
    pub(super) uses: Vec<Use>,
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
    /// The states in which it had none; nothing if the search did not come to it.
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

/// One search.
pub(super) struct Walk<'a> {
    task: &'a Task,
    kinds: &'a [Kind],
    counted: &'a Counted,
    reach: &'a mut Reach,
    doom: Option<&'a Doom>,
    /// When it is too late for open operations, ascending; nothing if there is no time.
    lates: Vec<u64>,
    frontier: Box<dyn Frontier>,
    memo: Memo,
    frames: Vec<Frame>,
    stuck: Stuck,
    key: Vec<u32>,
}

/// One configuration on the way, and where else it could go on.
#[derive(Default)]
struct Frame {
    /// The call that led here.
    via: Option<u32>,
    candidates: Vec<u32>,
    /// Where open operations lead from here: the fewest first.
    nodes: Vec<Node>,
    node: usize,
    /// The states to which it is worth using them, once they are known; nothing if all may be.
    useful: Option<Option<Bits>>,
    /// The calls that are possible at the node, with the states after them.
    moves: Vec<(u32, StateId)>,
    next: usize,
    /// A move that loses nothing was found: nothing else is tried from the node.
    is_forced: bool,
}

struct Node {
    state: StateId,
    uses: Uses,
    /// From which node, by which kind of open operation, of which there was so much.
    from: Option<(usize, u32, Supply)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        task: &'a Task,
        kinds: &'a [Kind],
        counted: &'a Counted,
        reach: &'a mut Reach,
        doom: Option<&'a Doom>,
    ) -> Self {
        let frontier: Box<dyn Frontier> =
            if task.in_time { Box::new(List::new(task)) } else { Box::new(Chains::new(task)) };
        let untils = task.opens.iter().filter(|_| task.in_time).filter_map(|open| open.until);
        let mut lates: Vec<u64> = untils.collect();
        lates.sort_unstable();
        Self {
            task,
            kinds,
            counted,
            reach,
            doom,
            lates,
            frontier,
            memo: Memo::default(),
            frames: Vec::new(),
            stuck: Stuck::default(),
            key: Vec::new(),
        }
    }

    /// Looks for an order from any of `starts`. `go_on` is asked before each step.
    pub(super) fn run(
        mut self,
        starts: &[StateId],
        machine: &mut dyn Machine,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Ended {
        for start in starts {
            if self.is_new(*start, &[]) {
                self.enter(*start, Vec::new(), machine);
            }
            while !self.frames.is_empty() {
                if self.frontier.is_done() {
                    return Ended::Found(self.found());
                }
                match self.next_move(machine, go_on) {
                    Ok(Some((call, state, uses))) => self.make(call, state, uses, machine),
                    Ok(None) => {
                        let via = self.frames.pop().and_then(|frame| frame.via);
                        via.into_iter().for_each(|call| self.frontier.unlift(call));
                    }
                    Err(stop) => return Ended::Stopped(stop),
                }
            }
        }
        Ended::Stuck(self.stuck)
    }

    /// Gives a call its place, and goes on from there unless that leads to nothing new.
    fn make(&mut self, call: u32, state: StateId, mut uses: Uses, machine: &mut dyn Machine) {
        self.frontier.lift(call);
        let after = self.frames.len();
        // What is not counted across calls is forgotten, and so are uses of operations for which it is
        // too late anyway.
        uses.retain(|(kind, count)| {
            self.counted.has(*kind, after) && self.supply(*kind).gone < *count
        });
        if self.is_new(state, &uses) {
            self.enter(state, uses, machine);
            self.frames.last_mut().into_iter().for_each(|it| it.via = Some(call));
        } else {
            self.frontier.unlift(call);
        }
    }

    /// How many open operations of a kind there are now.
    fn supply(&self, kind: u32) -> Supply {
        let kind = self.kinds.get(kind as usize);
        kind.map_or(Supply { have: 0, gone: 0 }, |kind| self.frontier.supply(&kind.opens))
    }

    /// For how many open operations it is too late once a call that was invoked then has its place.
    fn too_late(&self, invoked: u64) -> usize {
        if self.lates.is_empty() {
            return 0;
        }
        let latest = self.frontier.latest().max(invoked);
        self.lates.partition_point(|until| *until < latest)
    }

    fn is_new(&mut self, state: StateId, uses: &[(u32, u32)]) -> bool {
        self.key.clear();
        self.key.push(state);
        self.frontier.key(&mut self.key);
        self.memo.visit(&self.key, uses)
    }

    /// Begins to look from a configuration.
    fn enter(&mut self, state: StateId, uses: Uses, machine: &mut dyn Machine) {
        self.note(state);
        let mut frame = Frame::default();
        self.frontier.candidates(&mut frame.candidates);
        frame.nodes.push(Node { state, uses, from: None });
        if let Some(call) = self.doomed(&frame, machine) {
            frame.is_forced = true;
            self.note_doomed(call);
        } else {
            self.look(&mut frame, machine);
        }
        self.frames.push(frame);
    }

    /// A call that must come soon, if nothing that may come before it can make it possible.
    fn doomed(&self, frame: &Frame, machine: &mut dyn Machine) -> Option<u32> {
        let (doom, node) = (self.doom?, frame.nodes.first()?);
        let mut urgent = Vec::new();
        self.frontier.urgent(&mut urgent);
        urgent.into_iter().find(|number| {
            let call = self.task.calls.get(*number as usize);
            let call = call.filter(|call| machine.step(node.state, call.class).is_none());
            call.is_some_and(|call| !self.has_help(call, *number, frame, &node.uses, doom))
        })
    }

    /// Whether something that may come before a call could make it possible.
    fn has_help(
        &self,
        call: &Call,
        number: u32,
        frame: &Frame,
        uses: &[(u32, u32)],
        doom: &Doom,
    ) -> bool {
        let others = frame.candidates.iter().filter(|it| **it != number);
        let mut others = others.filter_map(|it| self.task.calls.get(*it as usize));
        let is_left = |kind: &Kind, number: u32| {
            let have = kind.opens.partition_point(|it| it.free || it.invoked < call.returned);
            let used = uses.iter().find(|(it, _)| *it == number).map_or(0, |(_, used)| *used);
            (used.max(self.frontier.supply(&kind.opens).gone) as usize) < have
        };
        let mut kinds = self.kinds.iter().zip(0..);
        others.any(|it| doom.helps(it.class, call.class))
            || kinds.any(|(it, number)| doom.helps(it.class, call.class) && is_left(it, number))
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

    /// Remembers that no order may go as far as the return of a call, although the search did not.
    fn note_doomed(&mut self, call: u32) {
        if self.stuck.call < Some(call) {
            self.stuck = Stuck { call: Some(call), states: Vec::new() };
        }
    }

    /// The next call to give a place, with the state after it and the uses before.
    fn next_move(
        &mut self,
        machine: &mut dyn Machine,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<(u32, StateId, Uses)>, Stop> {
        let Some(mut frame) = self.frames.pop() else {
            return Ok(None);
        };
        let found = loop {
            if !go_on() {
                return Err(Stop::Asked);
            }
            if Memo::KEPT_MAX <= self.memo.kept() {
                return Err(Stop::Memory);
            }
            if let Some((call, state)) = frame.moves.get(frame.next) {
                frame.next += 1;
                let uses = frame.nodes.get(frame.node).map(|node| node.uses.clone());
                break Some((*call, *state, uses.unwrap_or_default()));
            }
            if !frame.is_forced {
                self.use_one_more(&mut frame, machine);
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
        let late = self.too_late(0);
        let mut seen: Vec<(ClassId, usize)> = Vec::new();
        for call in &frame.candidates {
            let Some(Call { class, invoked, .. }) = self.task.calls.get(*call as usize).copied()
            else {
                continue;
            };
            let late_then = self.too_late(invoked);
            // Only in the order of time is the one that returns first the better one.
            let is_better = |it: &(ClassId, usize)| it.0 == class && it.1 <= late_then;
            if self.task.in_time && seen.iter().any(is_better) {
                continue;
            }
            seen.push((class, late_then));
            let Some(state) = machine.step(node.state, class) else {
                continue;
            };
            if machine.only_reads(class) && late_then == late {
                frame.moves.clear();
                frame.moves.push((*call, state));
                frame.is_forced = true;
                return;
            }
            frame.moves.push((*call, state));
        }
    }

    /// Adds where one more open operation leads from the frame's node.
    fn use_one_more(&mut self, frame: &mut Frame, machine: &mut dyn Machine) {
        let Some(node) = frame.nodes.get(frame.node).filter(|_| !self.kinds.is_empty()) else {
            return;
        };
        let (before, used) = (node.state, node.uses.clone());
        let useful = frame.useful.get_or_insert_with(|| {
            let class = |call: &u32| self.task.calls.get(*call as usize).map(|it| it.class);
            let classes = frame.candidates.iter().filter_map(class);
            self.reach.useful(before, classes, self.kinds, machine)
        });
        let moves = self.reach.after(before, self.kinds, machine).to_vec();
        for (kind, state) in moves {
            if useful.as_ref().is_some_and(|useful| !self.reach.is_among(useful, state)) {
                continue;
            }
            let supply = self.supply(kind);
            let same = used.iter().find(|(it, _)| *it == kind);
            let count = same.map_or(0, |(_, used)| *used).max(supply.gone) + 1;
            if supply.have < count {
                continue;
            }
            let uses = with(&used, kind, count);
            if self.is_new(state, &uses) {
                frame.nodes.push(Node { state, uses, from: Some((frame.node, kind, supply)) });
            }
        }
    }

    /// The order that the frames stand for.
    fn found(&self) -> Found {
        let (mut order, mut uses) = (Vec::new(), Vec::new());
        let nexts = self.frames.iter().skip(1).map(|frame| frame.via);
        for ((frame, via), after) in self.frames.iter().zip(nexts).zip(0..) {
            let mut opens = Vec::new();
            let mut at = frame.nodes.get(frame.node);
            while let Some((from, kind, supply)) = at.and_then(|node| node.from) {
                opens.push(Use { kind, after, supply });
                at = frame.nodes.get(from);
            }
            opens.reverse();
            let class = |it: &Use| self.kinds.get(it.kind as usize).map(|kind| kind.class);
            order.extend(opens.iter().filter_map(class).map(Placed::Open));
            order.extend(via.map(Placed::Call));
            uses.extend(opens);
        }
        let state = self.frames.last().and_then(|frame| frame.nodes.first());
        Found { state: state.map_or(0, |node| node.state), order, uses }
    }
}
