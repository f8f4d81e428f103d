//! Where open operations can lead, and from where they lead to something.

use std::collections::{BTreeMap, BTreeSet};

use super::bits::Bits;
use super::{ClassId, Kind, Machine, StateId};

/// What open operations do to the states that came up so far, which is asked once.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// By state, the kinds that change it, with the state after them.
    after: Vec<Option<Vec<(u32, StateId)>>>,
    /// By state, those that a kind changes to it.
    before: Vec<BTreeSet<StateId>>,
    /// The states of which everything that they lead to is known, in the order of coming up.
    order: Vec<StateId>,
    /// By state, its place in that order.
    places: Vec<Option<usize>>,
    /// They are too many: nothing more is asked.
    is_too_much: bool,
    /// By class of calls.
    ends: Vec<Ends>,
}

/// Of the first states in the order.
#[derive(Debug, Default)]
struct Ends {
    asked: usize,
    /// The states in which a call is possible, and those after it.
    moves: Vec<(StateId, StateId)>,
    /// By the state after it from some state, the places of those from which open operations, or none,
    /// lead to where it leads elsewhere.
    elsewhere: BTreeMap<Option<StateId>, Bits>,
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

    /// The states in which some of the calls of `classes` is possible that leads elsewhere from `state`,
    /// and those from which open operations lead there: only what leads to these is worth a use. Nothing
    /// if that is not known.
    pub(super) fn useful(
        &mut self,
        state: StateId,
        classes: impl Iterator<Item = ClassId>,
        kinds: &[Kind],
        machine: &mut dyn Machine,
    ) -> Option<Bits> {
        if !self.is_closed(state, kinds, machine) {
            return None;
        }
        let mut useful = Bits::default();
        for class in classes {
            let from_here = machine.step(state, class);
            useful.extend(self.elsewhere(class, from_here, machine));
        }
        Some(useful)
    }

    /// Whether a state is among those that were found useful.
    pub(super) fn is_among(&self, useful: &Bits, state: StateId) -> bool {
        self.place(state).is_some_and(|place| useful.has(place))
    }

    fn place(&self, state: StateId) -> Option<usize> {
        self.places.get(state as usize).copied().flatten()
    }

    fn elsewhere(
        &mut self,
        class: ClassId,
        from_here: Option<StateId>,
        machine: &mut dyn Machine,
    ) -> &Bits {
        let mut ends = std::mem::take(grown(&mut self.ends, class));
        if ends.asked < self.order.len() {
            for state in self.order.iter().skip(ends.asked) {
                ends.moves.extend(machine.step(*state, class).map(|after| (*state, after)));
            }
            ends.asked = self.order.len();
            ends.elsewhere.clear();
        }
        let moves = &ends.moves;
        ends.elsewhere.entry(from_here).or_insert_with(|| {
            let befores = moves.iter().filter(|(_, after)| Some(*after) != from_here);
            self.leading_to(befores.map(|(before, _)| *before).collect())
        });
        let entry = grown(&mut self.ends, class);
        *entry = ends;
        entry.elsewhere.entry(from_here).or_default()
    }

    /// The places of these states, and of those from which open operations lead there.
    fn leading_to(&self, states: Vec<StateId>) -> Bits {
        let (mut bits, mut waiting) = (Bits::default(), states);
        while let Some(state) = waiting.pop() {
            if self.place(state).is_some_and(|place| bits.insert(place)) {
                waiting.extend(self.before.get(state as usize).into_iter().flatten());
            }
        }
        bits
    }

    /// Whether it is known where every state leads to which open operations can lead from this one.
    fn is_closed(&mut self, state: StateId, kinds: &[Kind], machine: &mut dyn Machine) -> bool {
        if self.is_too_much || self.place(state).is_some() {
            return !self.is_too_much;
        }
        let mut known = BTreeSet::from([state]);
        let mut waiting = vec![state];
        while let Some(next) = waiting.pop().filter(|_| known.len() <= CLOSED_MAX) {
            let after = self.after(next, kinds, machine).iter();
            waiting.extend(after.map(|(_, after)| *after).filter(|after| known.insert(*after)));
        }
        for state in known {
            let place = grown(&mut self.places, state);
            if place.is_none() {
                *place = Some(self.order.len());
                self.order.push(state);
            }
        }
        self.is_too_much = CLOSED_MAX < self.order.len();
        !self.is_too_much
    }
}

/// The entry of a number, which is made if there is none.
fn grown<T: Default>(entries: &mut Vec<T>, number: u32) -> &mut T {
    let place = number as usize;
    if entries.len() <= place {
        entries.resize_with(place + 1, T::default);
    }
    entries.get_mut(place).expect("it was just made")
}
