//! A set.

use std::collections::BTreeSet;

use super::Stored;
use crate::history::Specification;

/// A set of values, empty at first.
#[derive(Clone, Debug)]
pub struct Set<V> {
    value: std::marker::PhantomData<V>,
}

/// What a set is asked.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum SetCall<V> {
    /// To have a value.
    Add(V),
    /// Not to have a value.
    Remove(V),
    /// Whether it has a value.
    Contains(V),
    /// All of its values.
    Read,
}

/// What a set answers.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum SetAnswer<V> {
    /// It is done.
    Done,
    /// Whether the value is there.
    Found(bool),
    /// All values, ascending. One that stands twice is in no set.
    Members(Vec<V>),
}

impl<V> Default for Set<V> {
    fn default() -> Self {
        Self { value: std::marker::PhantomData }
    }
}

impl<V: Stored> Specification for Set<V> {
    type State = BTreeSet<V>;
    type Input = SetCall<V>;
    type Output = SetAnswer<V>;

    fn initial(&self) -> BTreeSet<V> {
        BTreeSet::new()
    }

    fn step(
        &self,
        values: &BTreeSet<V>,
        call: &SetCall<V>,
        answer: Option<&SetAnswer<V>>,
    ) -> Option<BTreeSet<V>> {
        let mut after = values.clone();
        let is_possible = match (call, answer) {
            (SetCall::Add(value), None | Some(SetAnswer::Done)) => {
                after.insert(value.clone());
                true
            }
            (SetCall::Remove(value), None | Some(SetAnswer::Done)) => {
                after.remove(value);
                true
            }
            (SetCall::Contains(value), Some(SetAnswer::Found(found))) => {
                values.contains(value) == *found
            }
            (SetCall::Read, Some(SetAnswer::Members(members))) => values.iter().eq(members),
            (SetCall::Contains(_) | SetCall::Read, None) => true,
            _ => false,
        };
        is_possible.then_some(after)
    }

    fn only_reads(&self, call: &SetCall<V>, _: Option<&SetAnswer<V>>) -> bool {
        matches!(call, SetCall::Contains(_) | SetCall::Read)
    }

    fn describe(&self, call: &SetCall<V>, answer: Option<&SetAnswer<V>>) -> String {
        let call = match call {
            SetCall::Add(value) => format!("add {}", value.show()),
            SetCall::Remove(value) => format!("remove {}", value.show()),
            SetCall::Contains(value) => format!("contains {}", value.show()),
            SetCall::Read => String::from("read"),
        };
        match answer {
            Some(SetAnswer::Found(found)) => format!("{call} → {found}"),
            Some(SetAnswer::Members(members)) => {
                let shown: Vec<String> = members.iter().map(V::show).collect();
                format!("{call} → {{{}}}", shown.join(" "))
            }
            _ => call,
        }
    }

    fn describe_state(&self, values: &BTreeSet<V>) -> String {
        let shown: Vec<String> = values.iter().map(V::show).collect();
        format!("the set {{{}}}", shown.join(" "))
    }
}
