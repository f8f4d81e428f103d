//! Several registers that are read and written together.

use std::collections::BTreeMap;

use super::Stored;
use crate::history::Specification;

/// Registers by key; an operation reads and writes some of them at one moment.
#[derive(Clone, Debug)]
pub struct MultiRegister<K, V> {
    initial: BTreeMap<K, V>,
    other: V,
}

/// A part of an operation on several registers.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Access<K, V> {
    /// The value of a register.
    Read(K),
    /// To hold a value.
    Write(K, V),
}

impl<K: Stored, V: Stored> MultiRegister<K, V> {
    /// Registers that hold what `initial` says, and `other` where it says nothing.
    pub fn new(initial: BTreeMap<K, V>, other: V) -> Self {
        Self { initial, other }
    }

    fn first<'a>(&'a self, key: &K) -> &'a V {
        self.initial.get(key).unwrap_or(&self.other)
    }
}

impl<K: Stored, V: Stored> Specification for MultiRegister<K, V> {
    /// The registers that hold something else than at first.
    type State = BTreeMap<K, V>;
    type Input = Vec<Access<K, V>>;
    /// What was read, in the order of the reads; nothing where it is not known.
    type Output = Vec<Option<V>>;

    fn initial(&self) -> Self::State {
        BTreeMap::new()
    }

    fn step(
        &self,
        state: &Self::State,
        accesses: &Self::Input,
        answers: Option<&Self::Output>,
    ) -> Option<Self::State> {
        let mut after = state.clone();
        let mut answers = answers.map(|answers| answers.iter());
        for access in accesses {
            match access {
                Access::Read(key) => {
                    let Some(answers) = &mut answers else {
                        continue;
                    };
                    let held = after.get(key).unwrap_or_else(|| self.first(key));
                    if answers.next()?.as_ref().is_some_and(|read| read != held) {
                        return None;
                    }
                }
                Access::Write(key, value) if value == self.first(key) => drop(after.remove(key)),
                Access::Write(key, value) => drop(after.insert(key.clone(), value.clone())),
            }
        }
        let is_complete = answers.is_none_or(|mut answers| answers.next().is_none());
        is_complete.then_some(after)
    }

    fn keys(&self, accesses: &Self::Input) -> Vec<String> {
        let key = |access: &Access<K, V>| match access {
            Access::Read(key) | Access::Write(key, _) => key.show(),
        };
        accesses.iter().map(key).collect()
    }

    fn only_reads(&self, accesses: &Self::Input, _: Option<&Self::Output>) -> bool {
        accesses.iter().all(|access| matches!(access, Access::Read(_)))
    }

    fn describe(&self, accesses: &Self::Input, answers: Option<&Self::Output>) -> String {
        let mut answers = answers.into_iter().flatten();
        let show = |access: &Access<K, V>| match access {
            Access::Read(key) => match answers.next() {
                Some(Some(value)) => format!("read {} → {}", key.show(), value.show()),
                _ => format!("read {}", key.show()),
            },
            Access::Write(key, value) => format!("write {} {}", key.show(), value.show()),
        };
        let shown: Vec<String> = accesses.iter().map(show).collect();
        shown.join(", ")
    }

    fn describe_state(&self, state: &Self::State) -> String {
        let mut all = self.initial.clone();
        all.extend(state.iter().map(|(key, value)| (key.clone(), value.clone())));
        let show = |(key, value): (&K, &V)| format!("{} = {}", key.show(), value.show());
        let shown: Vec<String> = all.iter().map(show).collect();
        match shown.as_slice() {
            [] => format!("every register = {}", self.other.show()),
            shown => shown.join(", "),
        }
    }
}
