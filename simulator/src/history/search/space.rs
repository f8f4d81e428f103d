//! States and operations of a specification as numbers. This is all of the search that is compiled
//! anew for each specification.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use xxhash_rust::xxh3::Xxh3;

use super::{ClassId, Machine, StateId};
use crate::history::specification::Specification;

/// Things that are numbered as they come up; equal ones have one number.
#[derive(Clone, Debug)]
struct Numbered<T> {
    things: Vec<T>,
    by_hash: BTreeMap<u64, Vec<u32>>,
}

impl<T: Clone + Eq + Hash> Numbered<T> {
    fn new() -> Self {
        Self { things: Vec::new(), by_hash: BTreeMap::new() }
    }

    fn number(&mut self, thing: &T) -> u32 {
        let mut hasher = Xxh3::new();
        thing.hash(&mut hasher);
        let same_hash = self.by_hash.entry(hasher.finish()).or_default();
        let known = |number: &&u32| self.things.get(**number as usize) == Some(thing);
        if let Some(number) = same_hash.iter().find(known) {
            return *number;
        }
        let number = u32::try_from(self.things.len()).expect("fewer than the memory holds");
        same_hash.push(number);
        self.things.push(thing.clone());
        number
    }

    fn get(&self, number: u32) -> Option<&T> {
        self.things.get(number as usize)
    }
}

type Class<S> = (<S as Specification>::Input, Option<<S as Specification>::Output>);

/// The states and the operations of one specification that came up so far.
pub(in crate::history) struct Space<S: Specification> {
    specification: S,
    states: Numbered<S::State>,
    classes: Numbered<Class<S>>,
    only_read: Vec<bool>,
    /// What was asked before: by class and by state, the state after.
    steps: Vec<BTreeMap<StateId, Option<StateId>>>,
}

impl<S: Specification> Space<S> {
    pub(in crate::history) fn new(specification: S) -> Self {
        let (states, classes) = (Numbered::new(), Numbered::new());
        Self { specification, states, classes, only_read: Vec::new(), steps: Vec::new() }
    }

    pub(in crate::history) fn initial(&mut self) -> StateId {
        self.states.number(&self.specification.initial())
    }

    pub(in crate::history) fn class(
        &mut self,
        input: &S::Input,
        output: Option<&S::Output>,
    ) -> ClassId {
        let class = self.classes.number(&(input.clone(), output.cloned()));
        if self.only_read.len() <= class as usize {
            self.only_read.push(self.specification.only_reads(input, output));
            self.steps.push(BTreeMap::new());
        }
        class
    }

    pub(in crate::history) fn state(&self, state: StateId) -> Option<&S::State> {
        self.states.get(state)
    }

    pub(in crate::history) fn describe(&self, state: StateId) -> String {
        self.states.get(state).map_or_else(String::new, |it| self.specification.describe_state(it))
    }
}

impl<S: Specification> Machine for Space<S> {
    fn step(&mut self, state: StateId, class: ClassId) -> Option<StateId> {
        if let Some(known) = self.steps.get(class as usize).and_then(|steps| steps.get(&state)) {
            return *known;
        }
        let before = self.states.get(state)?;
        let (input, output) = self.classes.get(class)?;
        let after = self.specification.step(before, input, output.as_ref());
        let after = after.map(|after| self.states.number(&after));
        assert!(
            after.is_none_or(|after| after == state) || !self.only_reads(class),
            "the specification says that an operation only reads, and lets it change a state"
        );
        let steps = self.steps.get_mut(class as usize)?;
        steps.insert(state, after);
        after
    }

    fn states(&self) -> StateId {
        StateId::try_from(self.states.things.len()).unwrap_or(StateId::MAX)
    }

    fn only_reads(&self, class: ClassId) -> bool {
        self.only_read.get(class as usize).copied().unwrap_or(false)
    }

    fn is_worth(&self, state: StateId) -> bool {
        self.states.get(state).is_some_and(|state| self.specification.is_worth(state))
    }
}
