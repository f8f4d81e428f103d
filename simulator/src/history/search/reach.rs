//! Where open operations can lead, and from where they lead to something.

use std::collections::{BTreeMap, BTreeSet};

use super::{ClassId, Kind, Machine, StateId};

/// What open operations do to the states that came up so far, which is asked once.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// By state, the kinds that change it, with the state after them.
    after: Vec<Option<Vec<(u32, StateId)>>>,
    /// By state, those that a kind changes to it.
    before: Vec<BTreeSet<StateId>>,
    /// The states of which everything that they lead to is known.
    closed: BTreeSet<StateId>,
    /// The same, in the order of coming up.
    order: Vec<StateId>,
    /// They are too many: nothing more is asked.
    is_too_much: bool,
    /// By class of calls, the states in which it is possible and those after it, of the first ones
    /// of these.
    ends: BTreeMap<ClassId, Ends>,
}

#[derive(Debug, Default)]
struct Ends {
    asked: usize,
    moves: Vec<(StateId, StateId)>,
}

/// States of which it is known where open operations lead from them, at most.
const CLOSED_MAX: usize = 1 << 10;

impl Reach {
    /// Whether open operations were found to lead to, or from, more states than are looked at.
    pub(super) fn is_too_much(&self) -> bool {
        self.is_too_much
    }

    /// The kinds that change `state`, with the state after them.
    pub(super) fn after(
        &mut self,
        state: StateId,
        kinds: &[Kind],
        machine: &mut dyn Machine,
    ) -> &[(u32, StateId)] {
        let place = state as usize;
        if self.after.get(place).is_none_or(Option::is_none) {
            let mut after = Vec::new();
            for (kind, number) in kinds.iter().zip(0..) {
                let next = machine.step(state, kind.class);
                let next = next.filter(|next| *next != state && machine.is_worth(*next));
                after.extend(next.map(|next| (number, next)));
            }
            for (_, next) in &after {
                grown(&mut self.before, *next).insert(state);
            }
            *grown(&mut self.after, state) = Some(after);
        }
        self.after.get(place).and_then(Option::as_deref).unwrap_or_default()
    }

    /// The states, ascending, in which some of the calls of `classes` is possible that leads
    /// elsewhere from `state`, and those from which open operations lead there: only what leads to
    /// these is worth a use. Nothing if that is not known.
    pub(super) fn useful(
        &mut self,
        state: StateId,
        classes: &[ClassId],
        kinds: &[Kind],
        machine: &mut dyn Machine,
    ) -> Option<Vec<StateId>> {
        if !self.is_closed(state, kinds, machine) {
            return None;
        }
        let mut useful = BTreeSet::new();
        let mut waiting = Vec::new();
        for class in classes {
            let from_here = machine.step(state, *class);
            for (before, after) in self.ends(*class, machine) {
                if Some(*after) != from_here && useful.insert(*before) {
                    waiting.push(*before);
                }
            }
        }
        while let Some(next) = waiting.pop() {
            let before = self.before.get(next as usize).into_iter().flatten();
            waiting.extend(before.filter(|before| useful.insert(**before)));
        }
        Some(useful.into_iter().collect())
    }

    /// Whether it is known where every state leads to which open operations can lead from this one.
    fn is_closed(&mut self, state: StateId, kinds: &[Kind], machine: &mut dyn Machine) -> bool {
        if self.is_too_much || self.closed.contains(&state) {
            return !self.is_too_much;
        }
        let mut known = BTreeSet::from([state]);
        let mut waiting = vec![state];
        while let Some(next) = waiting.pop().filter(|_| known.len() <= CLOSED_MAX) {
            let after = self.after(next, kinds, machine).iter();
            waiting.extend(after.map(|(_, after)| *after).filter(|after| known.insert(*after)));
        }
        let closed = &mut self.closed;
        self.order.extend(known.into_iter().filter(|state| closed.insert(*state)));
        self.is_too_much = CLOSED_MAX < self.order.len();
        !self.is_too_much
    }

    fn ends(&mut self, class: ClassId, machine: &mut dyn Machine) -> &[(StateId, StateId)] {
        let ends = self.ends.entry(class).or_default();
        for state in self.order.iter().skip(ends.asked) {
            ends.moves.extend(machine.step(*state, class).map(|after| (*state, after)));
        }
        ends.asked = self.order.len();
        &ends.moves
    }
}

/// The entry of a state, which is made if there is none.
fn grown<T: Default>(entries: &mut Vec<T>, state: StateId) -> &mut T {
    let place = state as usize;
    if entries.len() <= place {
        entries.resize_with(place + 1, T::default);
    }
    entries.get_mut(place).expect("it was just made")
}
