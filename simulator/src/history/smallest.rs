//! What cannot be ordered, made small.
//!
//! Operations are not simply left out, since a history without some of its writes may fail for
//! that alone. An operation does not matter if the rest still has no order when that operation may
//! take effect at any time up to its return or never, whatever it returned. So what remains has no
//! order whatever the others did.
//!
//! Often it is enough to look at the last operations, from any state that came up: then what came
//! before does not matter either.

use std::collections::BTreeSet;
use std::fmt;

use super::check::Limit;
use super::picture::{Shown, picture};
use super::search::{
    Call, ClassId, Ended, Machine, Open, Placed, StateId, Stop, Stuck, Task, search,
};

/// The smallest part of a history that cannot be ordered.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its operations, in the order of their invocations.
    pub operations: Vec<Shown>,
    /// How many operations that share a key with them do not matter.
    pub others: usize,
    /// Whether each of its operations matters. If not, the limit was reached before all were
    /// tried.
    pub is_minimal: bool,
    /// The states from which it cannot be ordered: the first one of the history, or all that came
    /// up, so that what was before does not matter. Some of them, if they are many.
    pub from: Vec<String>,
    /// How many states that are.
    pub starts: usize,
    /// Why there is no order, in a sentence.
    pub why: String,
}

impl Part {
    pub(super) fn new(
        small: &Small,
        shown: impl Fn(usize) -> Option<Shown>,
        describe: impl Fn(StateId) -> String,
        operations: usize,
    ) -> Self {
        let all = |states: &[StateId]| states.iter().map(|it| describe(*it)).collect::<Vec<_>>();
        let why = match small.culprit.and_then(&shown) {
            Some(Shown { client, text, .. }) if small.states.is_empty() => {
                format!(
                    "`{text}` of client {client} has no place, whatever the order of the others"
                )
            }
            Some(Shown { client, text, .. }) => format!(
                "`{text}` of client {client} has no place: by its return, every order of the others \
                 leaves {}",
                all(&small.states).join(" or ")
            ),
            None => String::from("no order that keeps each client's own gives these results"),
        };
        let kept: Vec<Shown> = small.kept.iter().filter_map(|place| shown(*place)).collect();
        Self {
            others: operations - kept.len(),
            operations: kept,
            is_minimal: small.is_minimal,
            from: all(small.starts.get(..NAMED_MAX).unwrap_or(&small.starts)),
            starts: small.starts.len(),
            why,
        }
    }

    /// The operations as a picture: a row for each client, time from left to right.
    #[must_use]
    pub fn picture(&self, ascii: bool) -> String {
        picture(&self.operations, ascii)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.picture(false), self.why)
    }
}

/// An operation as numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prepared {
    pub(super) class: ClassId,
    /// Its class if nothing were known of its output.
    pub(super) unknown: ClassId,
    pub(super) client: u32,
    pub(super) invoked: u64,
    pub(super) returned: Option<u64>,
}

/// A part without an order.
#[derive(Debug)]
pub(super) struct Small {
    /// The places of its operations.
    pub(super) kept: Vec<usize>,
    pub(super) is_minimal: bool,
    /// The operation that has no place, if the order is that of time.
    pub(super) culprit: Option<usize>,
    /// What the orders of the others leave by its return; nothing if that was not looked at.
    pub(super) states: Vec<StateId>,
    /// The states from which it has no order.
    pub(super) starts: Vec<StateId>,
}

/// States that are named, at most.
const NAMED_MAX: usize = 8;
/// States to which operations can lead from which the last ones are looked at, at most.
const STARTS_MAX: usize = 256;
/// States that came up from which the last operations are looked at, at most. If they are more, each
/// attempt would take long.
const CAME_UP_MAX: u32 = 1_024;
/// Steps that one attempt to make a part smaller may take.
const ATTEMPT_STEPS_MAX: u64 = 20_000;
/// Steps that all of them may take.
const STEPS_MAX: u64 = 150_000;

/// Looks for an order; if there is none, for the smallest part that has none.
pub(super) fn smallest(
    operations: &[Prepared],
    machine: &mut dyn Machine,
    start: StateId,
    in_time: bool,
    limit: &mut Limit<'_>,
) -> Result<Option<Small>, Stop> {
    let roles = vec![Role::Kept; operations.len()];
    let (whole, calls) = task(operations, &roles, machine, in_time);
    let stuck = match search(&whole, machine, &[start], &mut || limit.go_on()) {
        Ended::Found(_) => return Ok(None),
        Ended::Stuck(stuck) => stuck,
        Ended::Stopped(stop) => return Err(stop),
    };
    let (roles, stuck) = up_to(&stuck, operations, &calls);
    let starts = vec![start];
    let mut shrinking =
        Shrinking { operations, machine, starts, in_time, limit, steps: 0, roles, stuck };
    shrinking.look_back(&calls);
    Ok(Some(shrinking.finish()))
}

/// The roles if nothing is looked at that was invoked after the return of the call at which the
/// search was stuck, and that call. What returned later may need what is not looked at: it is
/// pending.
fn up_to(
    stuck: &Stuck,
    operations: &[Prepared],
    calls: &[usize],
) -> (Vec<Role>, (Option<usize>, Vec<StateId>)) {
    let culprit = place_of(stuck, calls);
    let last = culprit.and_then(|place| operations.get(place)?.returned);
    let role = |operation: &Prepared| match last {
        Some(last) if last < operation.invoked => Role::Absent,
        Some(last) if operation.returned.is_some_and(|returned| last < returned) => Role::Pending,
        _ => Role::Kept,
    };
    (operations.iter().map(role).collect(), (culprit, stuck.states.clone()))
}

/// What an operation is to an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    /// It is as it was.
    Kept,
    /// It may take effect at any time after its invocation or never, and returns what it returned.
    Pending,
    /// It may take effect at any time up to its return or never, and return anything.
    Free,
    /// It came too late or too early to matter.
    Absent,
}

impl Role {
    fn matters(self) -> bool {
        matches!(self, Self::Kept | Self::Pending)
    }
}

/// The place of the operation at which a search was stuck.
fn place_of(stuck: &Stuck, calls: &[usize]) -> Option<usize> {
    calls.get(stuck.call? as usize).copied()
}

struct Shrinking<'a, 'b> {
    operations: &'a [Prepared],
    machine: &'a mut dyn Machine,
    /// The states from which there is no order.
    starts: Vec<StateId>,
    in_time: bool,
    limit: &'a mut Limit<'b>,
    steps: u64,
    /// The smallest part so far.
    roles: Vec<Role>,
    /// Where the search for an order of it was stuck.
    stuck: (Option<usize>, Vec<StateId>),
}

impl Shrinking<'_, '_> {
    /// Looks for a moment from which on there is no order, whatever the state was then. What was
    /// under way at that moment may have taken effect before it, and so need not any more.
    fn look_back(&mut self, calls: &[usize]) {
        let came_up = self.machine.states();
        // Every order was tried up to where it fails: every state that there could be came up.
        let came_up = || (came_up <= CAME_UP_MAX).then(|| (0..came_up).collect());
        let Some(states) = self.all_states().or_else(came_up).filter(|_| self.in_time) else {
            return;
        };
        let culprit = self.stuck.0;
        let last = calls.iter().position(|place| Some(*place) == culprit).unwrap_or(0);
        let starts = std::mem::replace(&mut self.starts, states);
        let mut back = 1;
        while let Some(first) = last.checked_sub(back) {
            let moment = calls.get(first).and_then(|place| self.operations.get(*place)?.returned);
            if self.attempt(self.since(moment.unwrap_or(0))) == Some(true) {
                return;
            }
            back *= 2;
        }
        self.starts = starts;
    }

    /// Every state that any of the operations can lead to, unless there are too many.
    fn all_states(&mut self) -> Option<Vec<StateId>> {
        let classes = self.operations.iter().flat_map(|it| [it.class, it.unknown]);
        let classes: BTreeSet<ClassId> = classes.collect();
        let mut states: BTreeSet<StateId> = self.starts.iter().copied().collect();
        let mut waiting = self.starts.clone();
        while let Some(state) = waiting.pop() {
            for class in &classes {
                let after = self.machine.step(state, *class);
                waiting.extend(after.filter(|after| states.insert(*after)));
            }
            if STARTS_MAX < states.len() {
                return None;
            }
        }
        Some(states.into_iter().collect())
    }

    /// Makes the part as small as it gets.
    fn finish(mut self) -> Small {
        let is_minimal = self.shrink();
        let Shrinking { roles, starts, stuck: (culprit, states), .. } = self;
        let kept = (0..).zip(&roles).filter(|(_, role)| role.matters());
        let kept = kept.map(|(place, _)| place).collect();
        Small { kept, is_minimal, culprit, states, starts }
    }

    /// The roles if nothing before `moment` is looked at.
    fn since(&self, moment: u64) -> Vec<Role> {
        let role = |(role, operation): (&Role, &Prepared)| match operation.returned {
            _ if *role == Role::Absent => Role::Absent,
            Some(returned) if returned <= moment => Role::Absent,
            Some(_) if operation.invoked < moment => Role::Free,
            _ => *role,
        };
        self.roles.iter().zip(self.operations).map(role).collect()
    }

    /// Frees operations in ever smaller groups, and at last one by one. What could not be freed
    /// once cannot be freed later, since there was more to hold it then: one pass is enough.
    /// Returns whether every attempt had an answer.
    fn shrink(&mut self) -> bool {
        let kept = self.roles.iter().filter(|role| role.matters()).count();
        let mut size = kept.next_power_of_two();
        loop {
            let is_decided = self.pass(size);
            if size == 1 {
                return is_decided;
            }
            size /= 2;
        }
    }

    fn pass(&mut self, size: usize) -> bool {
        let places = (0..).zip(&self.roles).filter(|(_, role)| role.matters());
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        let mut is_decided = true;
        for group in places.chunks(size) {
            let mut roles = self.roles.clone();
            for place in group {
                roles.iter_mut().skip(*place).take(1).for_each(|role| *role = Role::Free);
            }
            is_decided &= self.attempt(roles).is_some();
        }
        is_decided
    }

    /// Looks for an order with these roles, and keeps them if there is none. Returns whether there
    /// is none, or nothing if there was no answer.
    fn attempt(&mut self, roles: Vec<Role>) -> Option<bool> {
        let (task, calls) = task(self.operations, &roles, self.machine, self.in_time);
        let most = ATTEMPT_STEPS_MAX.min(STEPS_MAX.saturating_sub(self.steps));
        let (mut taken, limit) = (0, &mut *self.limit);
        let mut go_on = || {
            taken += 1;
            taken <= most && limit.go_on()
        };
        let ended = search(&task, self.machine, &self.starts, &mut go_on);
        self.steps += taken;
        match ended {
            Ended::Stuck(stuck) => {
                self.roles = roles;
                self.stuck = (place_of(&stuck, &calls), stuck.states);
                Some(true)
            }
            Ended::Found(_) => Some(false),
            Ended::Stopped(_) => None,
        }
    }
}

/// What the search is to order, and the places of its calls among the operations.
pub(super) fn task(
    operations: &[Prepared],
    roles: &[Role],
    machine: &dyn Machine,
    in_time: bool,
) -> (Task, Vec<usize>) {
    let (mut calls, mut opens) = (Vec::new(), Vec::new());
    for ((place, operation), role) in (0..).zip(operations).zip(roles) {
        let Prepared { class, unknown, client, invoked, returned } = *operation;
        match (role, returned) {
            (Role::Absent, _) => (),
            (Role::Kept, Some(returned)) => {
                calls.push((Call { class, client, invoked, returned }, place));
            }
            // What need not happen and changes nothing is nothing.
            (Role::Free, _) if machine.only_reads(unknown) => (),
            (Role::Free, until) => {
                opens.push(Open { class: unknown, client, invoked, until, free: true });
            }
            _ if machine.only_reads(class) => (),
            _ => opens.push(Open { class, client, invoked, until: None, free: false }),
        }
    }
    calls.sort_by_key(|(call, _)| call.returned);
    let (calls, places) = calls.into_iter().unzip();
    (Task { calls, opens, in_time }, places)
}

/// The places of the operations of an order.
pub(super) fn places(operations: &[Prepared], order: &[Placed], calls: &[usize]) -> Vec<usize> {
    let mut used = vec![false; operations.len()];
    let mut places = Vec::with_capacity(order.len());
    for placed in order {
        let place = match placed {
            Placed::Call(call) => calls.get(*call as usize).copied(),
            // Those of one class are interchangeable: the first one that is left.
            Placed::Open(class) => (operations.iter().zip(&used)).position(|(operation, used)| {
                !used && operation.returned.is_none() && operation.unknown == *class
            }),
        };
        if let Some(place) = place {
            used.iter_mut().skip(place).take(1).for_each(|used| *used = true);
            places.push(place);
        }
    }
    places
}
