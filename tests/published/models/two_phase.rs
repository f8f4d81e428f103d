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

#[derive(Clone, Copy, Eq, Hash, PartialEq, Serialize)]
enum Manager {
    Working,
    Prepared,
    Committed,
    Aborted,
}

#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
enum Message {
    Prepared(usize),
    Commit,
    Abort,
}

/// The model with `MANAGERS` resource managers.
#[derive(Clone, Hash, Serialize)]
pub(crate) struct TwoPhase<const MANAGERS: usize> {
    managers: Vec<Manager>,
    transaction: Manager,
    /// Whom the transaction manager knows to be prepared.
    prepared: BTreeSet<usize>,
    messages: BTreeSet<Message>,
}

impl<const MANAGERS: usize> Specification for TwoPhase<MANAGERS> {
    const NAME: &'static str = "tla-two-phase-commit";

    fn initial() -> Vec<Self> {
        vec![Self {
            managers: vec![Manager::Working; MANAGERS],
            transaction: Manager::Working,
            prepared: BTreeSet::new(),
            messages: BTreeSet::new(),
        }]
    }

    fn next(&self) -> Vec<Self> {
        let mut all = Vec::new();
        if self.transaction == Manager::Working {
            if self.prepared.len() == MANAGERS {
                all.push(self.deciding(Manager::Committed, Message::Commit));
            }
            all.push(self.deciding(Manager::Aborted, Message::Abort));
        }
        for (index, state) in self.managers.iter().enumerate() {
            let has = |message| self.messages.contains(&message);
            if self.transaction == Manager::Working && has(Message::Prepared(index)) {
                let mut next = self.clone();
                next.prepared.insert(index);
                all.push(next);
            }
            if *state == Manager::Working {
                let mut next = self.moving(index, Manager::Prepared);
                next.messages.insert(Message::Prepared(index));
                all.extend([next, self.moving(index, Manager::Aborted)]);
            }
            if has(Message::Commit) {
                all.push(self.moving(index, Manager::Committed));
            }
            if has(Message::Abort) {
                all.push(self.moving(index, Manager::Aborted));
            }
        }
        all
    }

    fn properties() -> Vec<Property<Published<Self>>> {
        vec![Property::always("nobody commits what another aborts", all_agree)]
    }
}

impl<const MANAGERS: usize> TwoPhase<MANAGERS> {
    fn deciding(&self, transaction: Manager, message: Message) -> Self {
        let mut next = Self { transaction, ..self.clone() };
        next.messages.insert(message);
        next
    }

    fn moving(&self, index: usize, to: Manager) -> Self {
        let mut next = self.clone();
        next.managers[index] = to;
        next
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
