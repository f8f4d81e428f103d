//! Judges a history: key by key, and what cannot be ordered made small.

use std::collections::BTreeMap;
use std::fmt;

use super::operation::{History, Operation};
use super::picture::Shown;
use super::search::{Ended, Found, Space, Stop, search};
use super::smallest::{Part, Prepared, Role, places, smallest, task};
use super::specification::Specification;

/// Which orders of a history count.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Consistency {
    /// Those in which an operation comes after all that returned before it was invoked.
    #[default]
    Linearizable,
    /// Those in which the operations of each client stay in its own order. Keys cannot be judged
    /// apart, so this takes far longer on long histories.
    Sequential,
}

/// What a history was found to be.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// There is an order that the specification allows.
    Consistent,
    /// There is none. The smallest part for which that is so.
    Inconsistent(Box<Part>),
    /// A limit was reached before an answer.
    Unknown(Limited),
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Limited {
    /// The steps or the time of [`Limit`].
    Effort,
    /// The memory for what was visited: four million configurations.
    Memory,
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Effort => "the limit on effort was reached",
            Self::Memory => "the limit on memory was reached",
        })
    }
}

/// What judging a history came to.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What it was found to be.
    pub verdict: Verdict,
    /// How many operations it has.
    pub operations: usize,
    /// How many of them never returned.
    pub open: usize,
    /// How many others are known not to have happened, and were not judged.
    pub failed: usize,
    /// In how many parts it was judged: those that share no key.
    pub parts: usize,
    /// Steps that it took.
    pub steps: u64,
}

/// How much effort a verdict is worth.
pub struct Limit<'a> {
    left: u64,
    spent: u64,
    stop: Option<&'a mut dyn FnMut() -> bool>,
    is_over: bool,
}

impl<'a> Limit<'a> {
    /// Steps between two questions whether to stop.
    const ROUND: u64 = 1024;

    /// As much as it takes; the memory has a limit of its own.
    #[must_use]
    pub fn none() -> Self {
        Self { left: u64::MAX, spent: 0, stop: None, is_over: false }
    }

    /// So many steps at most: about a million in a second.
    #[must_use]
    pub fn steps(steps: u64) -> Self {
        Self { left: steps, ..Self::none() }
    }

    /// Until `stop` says so, which is asked from time to time: what knows a clock can stop at a
    /// time.
    #[must_use]
    pub fn until(stop: &'a mut dyn FnMut() -> bool) -> Self {
        Self { stop: Some(stop), ..Self::none() }
    }

    /// Takes one step, if there is one left.
    pub(super) fn go_on(&mut self) -> bool {
        if self.spent.is_multiple_of(Self::ROUND) && !self.is_over {
            self.is_over = self.stop.as_mut().is_some_and(|stop| stop());
        }
        if self.is_over || self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.spent += 1;
        true
    }

    pub(super) fn spent(&self) -> u64 {
        self.spent
    }
}

impl fmt::Debug for Limit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit").field("left", &self.left).field("spent", &self.spent).finish()
    }
}

/// Whether there is an order of `history` that `specification` allows. Operations that never
/// returned may be part of it or not.
///
/// Exponential in the number of operations that are under way at one time; linear in the length of
/// the history for most that systems produce.
pub fn check<S: Specification>(
    history: &History<S::Input, S::Output>,
    specification: &S,
    consistency: Consistency,
    limit: &mut Limit<'_>,
) -> Checked {
    let operations = history.operations();
    let parts = match consistency {
        Consistency::Linearizable => parts(operations, specification),
        Consistency::Sequential => vec![(0..operations.len()).collect()],
    };
    let mut checked = Checked {
        verdict: Verdict::Consistent,
        operations: operations.len(),
        open: history.open(),
        failed: history.failures(),
        parts: parts.len(),
        steps: 0,
    };
    for part in parts {
        let part: Vec<_> = part.into_iter().filter_map(|place| operations.get(place)).collect();
        match check_part(&part, specification, consistency, limit) {
            Verdict::Consistent => (),
            // Another part may still settle it.
            unknown @ Verdict::Unknown(_) => checked.verdict = unknown,
            found @ Verdict::Inconsistent(_) => {
                checked.verdict = found;
                break;
            }
        }
    }
    checked.steps = limit.spent();
    checked
}

/// The state after one order of a whole history that is allowed, and the numbers of the operations
/// in it. If there is none, the limit that was reached, if one was.
pub(super) fn order<S: Specification>(
    history: &History<S::Input, S::Output>,
    specification: &S,
    limit: &mut Limit<'_>,
) -> Result<(S::State, Vec<u64>), Option<Limited>> {
    let operations: Vec<_> = history.operations().iter().collect();
    let mut space = Space::new(specification.clone());
    let prepared = prepare(&operations, &mut space);
    let roles = vec![Role::Kept; prepared.len()];
    let (task, calls) = task(&prepared, &roles, &space, true);
    let start = space.initial();
    match search(&task, &mut space, &[start], &mut || limit.go_on()) {
        Ended::Found(Found { state, order, .. }) => {
            let ids = places(&prepared, &order, &calls);
            let ids = ids.into_iter().filter_map(|place| Some(operations.get(place)?.id));
            let state = space.state(state).cloned();
            Ok((state.unwrap_or_else(|| specification.initial()), ids.collect()))
        }
        Ended::Stuck(_) => Err(None),
        Ended::Stopped(stop) => Err(Some(stop.into())),
    }
}

impl From<Stop> for Limited {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Asked => Self::Effort,
            Stop::Memory => Self::Memory,
        }
    }
}

fn check_part<S: Specification>(
    operations: &[&Operation<S::Input, S::Output>],
    specification: &S,
    consistency: Consistency,
    limit: &mut Limit<'_>,
) -> Verdict {
    let focus: Vec<_> = operations.iter().map(|it| (&it.input, it.output())).collect();
    let specification = specification.focused(&focus);
    let mut space = Space::new(specification.clone());
    let prepared = prepare(operations, &mut space);
    let start = space.initial();
    let in_time = consistency == Consistency::Linearizable;
    let small = match smallest(&prepared, &mut space, start, in_time, limit) {
        Ok(None) => return Verdict::Consistent,
        Ok(Some(small)) => small,
        Err(stop) => return Verdict::Unknown(stop.into()),
    };
    let show = |place: usize| operations.get(place).map(|it| shown(*it, &specification));
    let part = Part::new(&small, show, |state| space.describe(state), operations.len());
    Verdict::Inconsistent(Box::new(part))
}

fn shown<S: Specification>(operation: &Operation<S::Input, S::Output>, specification: &S) -> Shown {
    Shown {
        client: operation.client.clone(),
        id: operation.id,
        text: specification.describe(&operation.input, operation.output()),
        invoked: operation.invoked,
        returned: operation.returned(),
    }
}

/// The operations as numbers.
fn prepare<S: Specification>(
    operations: &[&Operation<S::Input, S::Output>],
    space: &mut Space<S>,
) -> Vec<Prepared> {
    let mut clients: BTreeMap<&str, u32> = BTreeMap::new();
    let mut prepared = Vec::with_capacity(operations.len());
    for operation in operations {
        let next = u32::try_from(clients.len()).expect("fewer clients than operations");
        prepared.push(Prepared {
            class: space.class(&operation.input, operation.output()),
            unknown: space.class(&operation.input, None),
            client: *clients.entry(&operation.client).or_insert(next),
            invoked: operation.invoked,
            returned: operation.returned(),
        });
    }
    prepared
}

/// Groups the operations that are tied to each other by common keys, in the order of their first
/// invocations.
fn parts<S: Specification>(
    operations: &[Operation<S::Input, S::Output>],
    specification: &S,
) -> Vec<Vec<usize>> {
    let mut leader: Vec<usize> = (0..operations.len()).collect();
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    for (place, operation) in operations.iter().enumerate() {
        let keys = specification.keys(&operation.input);
        if keys.is_empty() {
            return vec![(0..operations.len()).collect()];
        }
        for key in keys {
            let other = *first.entry(key).or_insert(place);
            let (one, other) = (root(&leader, place), root(&leader, other));
            if let Some(entry) = leader.get_mut(one.max(other)) {
                *entry = one.min(other);
            }
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for place in 0..operations.len() {
        groups.entry(root(&leader, place)).or_default().push(place);
    }
    groups.into_values().collect()
}

fn root(leader: &[usize], place: usize) -> usize {
    let mut place = place;
    while let Some(above) = leader.get(place).copied().filter(|above| *above != place) {
        place = above;
    }
    place
}

#[cfg(test)]
mod tests;
