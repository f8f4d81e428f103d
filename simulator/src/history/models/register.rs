//! A register, with compare-and-swap.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{FOCUS_FROM, Stored};
use crate::history::Specification;

/// A register that is read, written, and swapped if it holds an expected value.
#[derive(Clone, Debug)]
pub struct Register<V> {
    initial: V,
    /// The values that some operation can tell from others; all, if nothing is said.
    told_apart: Option<Arc<BTreeSet<V>>>,
}

/// What a register is asked.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum RegisterCall<V> {
    /// Its value.
    Read,
    /// To hold this value.
    Write(V),
    /// To hold `new`, if it holds `old`.
    Cas {
        /// What it must hold.
        old: V,
        /// What it then holds.
        new: V,
    },
}

/// What a register answers.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum RegisterAnswer<V> {
    /// The value that was read.
    Value(V),
    /// The write is done.
    Written,
    /// Whether the register held the expected value, and was swapped.
    Swapped(bool),
}

impl<V: Stored> Register<V> {
    /// A register that holds `initial`.
    pub fn new(initial: V) -> Self {
        Self { initial, told_apart: None }
    }

    /// The value as a state: nothing stands for all that no operation can tell apart.
    fn hold(&self, value: &V) -> Option<V> {
        let is_told = self.told_apart.as_ref().is_none_or(|values| values.contains(value));
        is_told.then(|| value.clone())
    }
}

impl<V: Stored> Specification for Register<V> {
    type State = Option<V>;
    type Input = RegisterCall<V>;
    type Output = RegisterAnswer<V>;

    fn initial(&self) -> Option<V> {
        self.hold(&self.initial)
    }

    fn step(
        &self,
        held: &Option<V>,
        call: &RegisterCall<V>,
        answer: Option<&RegisterAnswer<V>>,
    ) -> Option<Option<V>> {
        match (call, answer) {
            (RegisterCall::Read, None) => Some(held.clone()),
            (RegisterCall::Read, Some(RegisterAnswer::Value(value))) => {
                (held.as_ref() == Some(value)).then(|| held.clone())
            }
            (RegisterCall::Write(value), None | Some(RegisterAnswer::Written)) => {
                Some(self.hold(value))
            }
            (RegisterCall::Cas { old, new }, None | Some(RegisterAnswer::Swapped(_))) => {
                let swaps = held.as_ref() == Some(old);
                if answer.is_some_and(|answer| *answer != RegisterAnswer::Swapped(swaps)) {
                    return None;
                }
                Some(if swaps { self.hold(new) } else { held.clone() })
            }
            _ => None,
        }
    }

    fn only_reads(&self, call: &RegisterCall<V>, answer: Option<&RegisterAnswer<V>>) -> bool {
        match call {
            RegisterCall::Read => true,
            RegisterCall::Write(_) => false,
            RegisterCall::Cas { old, new } => {
                old == new || answer == Some(&RegisterAnswer::Swapped(false))
            }
        }
    }

    fn focused(&self, operations: &[(&RegisterCall<V>, Option<&RegisterAnswer<V>>)]) -> Self {
        if operations.len() <= FOCUS_FROM {
            return self.clone();
        }
        let told = operations.iter().filter_map(|(call, answer)| match (call, answer) {
            (_, Some(RegisterAnswer::Value(value))) => Some(value.clone()),
            (RegisterCall::Cas { old, .. }, _) => Some(old.clone()),
            _ => None,
        });
        Self { initial: self.initial.clone(), told_apart: Some(Arc::new(told.collect())) }
    }

    fn describe(&self, call: &RegisterCall<V>, answer: Option<&RegisterAnswer<V>>) -> String {
        let call = match call {
            RegisterCall::Read => String::from("read"),
            RegisterCall::Write(value) => format!("write {}", value.show()),
            RegisterCall::Cas { old, new } => format!("cas {} {}", old.show(), new.show()),
        };
        match answer {
            Some(RegisterAnswer::Value(value)) => format!("{call} → {}", value.show()),
            Some(RegisterAnswer::Swapped(false)) => format!("{call} → false"),
            _ => call,
        }
    }

    fn describe_state(&self, held: &Option<V>) -> String {
        held.as_ref().map_or_else(|| String::from("a value that nobody read"), V::show)
    }
}
