//! Two-phase commit, as in the TLA+ module `TwoPhase` of J. Gray, L. Lamport, "Consensus on
//! transaction commit", ACM Transactions on Database Systems 31(1), 2006.
//!
//! Messages are never taken away: one that was sent can be received for ever. Nobody asks the
//! resource managers to prepare, one that aborts tells nobody, and the transaction manager may
//! abort at any time.

use std::collections::BTreeSet;

use serde::Serialize;

use synod_core::{Cluster, Property, Verdict};

use super::{Published, Specification};

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub(crate) enum Manager {
    Working,
    Prepared,
    Committed,
    Aborted,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
enum Message {
    Prepared(usize),
    Commit,
    Abort,
}

#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// The transaction manager decides.
    Decide(Manager),
    /// It takes note that a resource manager is prepared.
    Note(usize),
    /// A resource manager prepares.
    Prepare(usize),
    /// It gives up, or learns of the decision.
    Become(usize, Manager),
}

/// The model with `MANAGERS` resource managers.
#[derive(Clone, Debug, Hash, Serialize)]
pub(crate) struct TwoPhase<const MANAGERS: usize> {
    managers: Vec<Manager>,
    transaction: Manager,
    /// Whom the transaction manager knows to be prepared.
    prepared: BTreeSet<usize>,
    messages: BTreeSet<Message>,
}

impl<const MANAGERS: usize> Specification for TwoPhase<MANAGERS> {
    const NAME: &'static str = "tla-two-phase-commit";

    type Step = Step;

    fn initial() -> Vec<Self> {
        vec![Self {
            managers: vec![Manager::Working; MANAGERS],
            transaction: Manager::Working,
            prepared: BTreeSet::new(),
            messages: BTreeSet::new(),
        }]
    }

    fn steps(&self) -> impl Iterator<Item = Step> {
        let has = |message| self.messages.contains(&message);
        let undecided = self.transaction == Manager::Working;
        let (commits, aborts) = (has(Message::Commit), has(Message::Abort));
        let all_prepared = undecided && self.prepared.len() == MANAGERS;
        let decides = [
            all_prepared.then_some(Step::Decide(Manager::Committed)),
            undecided.then_some(Step::Decide(Manager::Aborted)),
        ];
        let others = self.managers.iter().enumerate().flat_map(move |(index, state)| {
            let works = *state == Manager::Working;
            [
                (undecided && has(Message::Prepared(index))).then_some(Step::Note(index)),
                works.then_some(Step::Prepare(index)),
                works.then_some(Step::Become(index, Manager::Aborted)),
                commits.then_some(Step::Become(index, Manager::Committed)),
                aborts.then_some(Step::Become(index, Manager::Aborted)),
            ]
        });
        decides.into_iter().chain(others).flatten()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Decide(decision) => {
                let commits = decision == Manager::Committed;
                self.transaction = decision;
                self.messages.insert(if commits { Message::Commit } else { Message::Abort });
            }
            Step::Note(index) => {
                self.prepared.insert(index);
            }
            Step::Prepare(index) => {
                self.managers[index] = Manager::Prepared;
                self.messages.insert(Message::Prepared(index));
            }
            Step::Become(index, state) => self.managers[index] = state,
        }
    }

    fn properties() -> Vec<Property<Published<Self>>> {
        vec![Property::always("nobody commits what another aborts", all_agree)]
    }
}

fn all_agree<const MANAGERS: usize>(
    cluster: &Cluster<'_, Published<TwoPhase<MANAGERS>>>,
) -> Verdict {
    for state in cluster.live().filter_map(|(_, node)| node.0.as_ref()) {
        let has = |manager| state.managers.contains(&manager);
        if has(Manager::Committed) && has(Manager::Aborted) {
            return Err(String::from("one has committed, and another aborted"));
        }
    }
    Ok(())
}
