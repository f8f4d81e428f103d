//! Histories of runs, judged while they happen.

use std::collections::BTreeSet;

use synod_core::{Envelope, NodeId, Property, Stack};

use super::check::{Consistency, Limit, Verdict, check, order};
use super::configurations::Configurations;
use super::operation::{History, Misuse};
use super::specification::Specification;

/// What an observer sees of the operations of clients.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Seen<I, O> {
    /// A client asks.
    Invoked {
        /// Who asks.
        client: String,
        /// The operation's number, which no other one of the run has.
        id: u64,
        /// What is asked.
        input: I,
    },
    /// A client has its answer; nothing if the operation took effect and its answer is not known.
    Returned {
        /// The operation's number.
        id: u64,
        /// What came back.
        output: Option<O>,
    },
}

/// A history that is judged with every return.
///
/// It remembers one order that is allowed. Most returns only make it longer, which takes one step;
/// if that is not possible, the whole history is judged anew.
#[derive(Clone, Debug)]
pub struct Judge<S: Specification> {
    specification: S,
    history: History<S::Input, S::Output>,
    /// The state after the order, and the operations in it.
    state: S::State,
    placed: BTreeSet<u64>,
}

/// Steps for one judgement at most. If they do not suffice, the answer is an error that says so:
/// then too much is under way at one time.
const STEPS_MAX: u64 = 1_000_000;

impl<S: Specification> Judge<S> {
    /// Judges a new run.
    pub fn new(specification: S) -> Self {
        let state = specification.initial();
        Self { specification, history: History::default(), state, placed: BTreeSet::new() }
    }

    /// Takes what happens next.
    ///
    /// # Errors
    ///
    /// What is wrong with the history so far, in a few lines: no order of it is allowed, or what
    /// was seen is no history.
    pub fn see(&mut self, seen: Seen<S::Input, S::Output>) -> Result<(), String> {
        let wrong = |misuse: Misuse| misuse.to_string();
        match seen {
            Seen::Invoked { client, id, input } => {
                self.history.invoke(client, id, input).map_err(wrong)
            }
            Seen::Returned { id, output } => {
                self.history.returned(id, output).map_err(wrong)?;
                self.place(id)
            }
        }
    }

    /// What was seen so far.
    pub fn history(&self) -> &History<S::Input, S::Output> {
        &self.history
    }

    /// Finds a place for an operation that has just returned. At the end of the order is one that
    /// time allows: everything else was invoked before.
    fn place(&mut self, id: u64) -> Result<(), String> {
        let found = self.history.operation(id);
        if let Some(operation) = found.filter(|_| !self.placed.contains(&id)) {
            let after = self.specification.step(&self.state, &operation.input, operation.output());
            if let Some(after) = after {
                self.state = after;
                self.placed.insert(id);
                return Ok(());
            }
        }
        match order(&self.history, &self.specification, &mut Limit::steps(STEPS_MAX)) {
            Ok((state, placed)) => {
                self.state = state;
                self.placed = placed.into_iter().collect();
                Ok(())
            }
            Err(Some(limited)) => Err(format!("not judged: {limited}")),
            Err(None) => judge(&self.specification, &self.history),
        }
    }
}

/// Whether a whole history is linearizable, as what a property answers.
///
/// # Errors
///
/// The smallest part that cannot be ordered, as a picture, or which limit was reached.
pub fn judge<S: Specification>(
    specification: &S,
    history: &History<S::Input, S::Output>,
) -> Result<(), String> {
    let mut limit = Limit::steps(STEPS_MAX);
    match check(history, specification, Consistency::Linearizable, &mut limit).verdict {
        Verdict::Consistent => Ok(()),
        Verdict::Inconsistent(part) => Err(format!("not linearizable\n{part}")),
        Verdict::Unknown(limited) => Err(format!("not judged: {limited}")),
    }
}

/// A promise that what clients see is linearizable, held against every run that is simulated or
/// explored: `observe` says which of the events that nodes indicate are invocations and returns.
/// Operations are observed, not read out of states, so that a node cannot say it did what no client
/// saw.
///
/// An operation whose client crashes stays open. In an exploration a state has a part more: every
/// object state, with the operations under way that took effect, to which some order of what was
/// seen leads. Runs that differ in nothing else are one state.
#[track_caller]
pub fn linearizable<T, S>(
    name: &'static str,
    specification: S,
    observe: impl Fn(NodeId, &Envelope) -> Option<Seen<S::Input, S::Output>>
    + Clone
    + Send
    + Sync
    + 'static,
) -> Property<T>
where
    T: Stack,
    S: Specification + Send + Sync + 'static,
    S::State: Send + Sync,
    S::Input: Send + Sync,
    S::Output: Send,
{
    let (first, sees) = (Configurations::new(specification.clone()), observe.clone());
    let judges = observe.clone();
    let monitor = Property::monitor(name, move || {
        let mut judge = Judge::new(specification.clone());
        let observe = observe.clone();
        move |node: NodeId, envelope: &Envelope| match observe(node, envelope) {
            Some(seen) => judge.see(seen),
            None => Ok(()),
        }
    });
    let monitor = monitor.judging(move |node, envelope| judges(node, envelope).is_some());
    monitor.explored_by(first, move |memory, node, envelope| match sees(node, envelope) {
        Some(seen) => memory.see(seen),
        None => Ok(()),
    })
}
