//! A lock.

use crate::history::Specification;

/// A lock that is held by one client at a time. Who holds it is not asked: whoever releases it
/// frees it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mutex;

/// What a lock is asked.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum MutexCall {
    /// To be held.
    Acquire,
    /// To be free.
    Release,
}

/// What a lock answers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum MutexAnswer {
    /// It is done.
    Done,
    /// It cannot be: the lock was held, or was not.
    Refused,
}

impl Specification for Mutex {
    type State = bool;
    type Input = MutexCall;
    type Output = MutexAnswer;

    fn initial(&self) -> bool {
        false
    }

    fn step(&self, held: &bool, call: &MutexCall, answer: Option<&MutexAnswer>) -> Option<bool> {
        let after = *call == MutexCall::Acquire;
        let changes = *held != after;
        match answer {
            Some(MutexAnswer::Done) => changes.then_some(after),
            Some(MutexAnswer::Refused) => (!changes).then_some(*held),
            None => Some(after),
        }
    }

    fn only_reads(&self, _: &MutexCall, answer: Option<&MutexAnswer>) -> bool {
        answer == Some(&MutexAnswer::Refused)
    }

    fn describe(&self, call: &MutexCall, answer: Option<&MutexAnswer>) -> String {
        let call = match call {
            MutexCall::Acquire => "acquire",
            MutexCall::Release => "release",
        };
        let refused = if answer == Some(&MutexAnswer::Refused) { " → refused" } else { "" };
        format!("{call}{refused}")
    }

    fn describe_state(&self, held: &bool) -> String {
        String::from(if *held { "the lock held" } else { "the lock free" })
    }
}
