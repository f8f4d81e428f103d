//! What a single client would see: the behaviour that concurrent clients must not be able to tell
//! theirs from.

use std::fmt::Debug;
use std::hash::Hash;

/// An object as one client alone sees it, operation after operation.
///
/// ```
/// use synod_simulator::history::Specification;
///
/// /// A counter that hands out tickets.
/// #[derive(Clone, Debug)]
/// struct Tickets;
///
/// impl Specification for Tickets {
///     type State = u64;
///     type Input = ();
///     type Output = u64;
///
///     fn initial(&self) -> u64 {
///         0
///     }
///
///     fn step(&self, next: &u64, _: &(), given: Option<&u64>) -> Option<u64> {
///         given.is_none_or(|given| given == next).then_some(next + 1)
///     }
/// }
/// ```
pub trait Specification: Clone {
    /// What the object is between two operations. Equal states must have equal futures.
    type State: Clone + Debug + Eq + Hash;
    /// What a client asks for.
    type Input: Clone + Debug + Eq + Hash;
    /// What it gets.
    type Output: Clone + Debug + Eq + Hash;

    /// The state before any operation.
    fn initial(&self) -> Self::State;

    /// The state after `input` returned `output` in `state`; nothing if it cannot return that
    /// there. An output that is not known is `None`: then the operation returned whatever it had
    /// to. Must be a function of its arguments.
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Self::State>;

    /// The keys that an operation touches. Operations that are not tied to each other by common
    /// keys are judged apart, which is sound for linearizability only. An operation without keys
    /// touches everything.
    fn keys(&self, _input: &Self::Input) -> Vec<String> {
        Vec::new()
    }

    /// Whether an operation with that output leaves every state as it is. Saying so where it is
    /// true makes judging faster; where it is false, verdicts are wrong.
    fn only_reads(&self, _input: &Self::Input, _output: Option<&Self::Output>) -> bool {
        false
    }

    /// The same specification for a history of just these operations. It may take states for equal
    /// that none of them can tell apart, which makes judging faster.
    #[must_use]
    fn focused(&self, _operations: &[(&Self::Input, Option<&Self::Output>)]) -> Self {
        self.clone()
    }

    /// Whether an operation that need not happen is worth happening if it leads to `state`. False
    /// is sound only where nothing is possible in `state` that is not possible without it.
    fn is_worth(&self, _state: &Self::State) -> bool {
        true
    }

    /// An operation in a few words, for people.
    fn describe(&self, input: &Self::Input, output: Option<&Self::Output>) -> String {
        match output {
            Some(output) => format!("{input:?} → {output:?}"),
            None => format!("{input:?}"),
        }
    }

    /// A state in a few words, for people.
    fn describe_state(&self, state: &Self::State) -> String {
        format!("{state:?}")
    }
}
