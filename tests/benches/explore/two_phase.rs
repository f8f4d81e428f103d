//! Two-phase commit, as in the TLA+ module `TwoPhase` of J. Gray, L. Lamport, "Consensus on
//! transaction commit", ACM Transactions on Database Systems 31(1), 2006.
//!
//! The module has no nodes: its state is one value, and a step is one of those that are possible,
//! whoever takes it. So it is one node, which chooses.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, Property, Verdict};

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Manager {
    Working,
    Prepared,
    Committed,
    Aborted,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Message {
    Prepared(usize),
    Commit,
    Abort,
}

#[derive(Clone, Debug, Hash)]
pub(crate) struct TwoPhase {
    managers: Vec<Manager>,
    transaction: Manager,
    /// Whom the transaction manager knows to be prepared.
    prepared: BTreeSet<usize>,
    /// What was ever sent.
    messages: BTreeSet<Message>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Decide(Manager),
    Note(usize),
    Prepare(usize),
    Become(usize, Manager),
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase.next", local)]
struct Next;

impl Algorithm for TwoPhase {
    const NAME: &'static str = "two-phase-commit";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::next)
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.after(Duration::ZERO, &Next);
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("nobody commits what another aborts", all_agree)]
    }
}

impl TwoPhase {
    pub(crate) fn of(managers: u32) -> Self {
        Self {
            managers: vec![Manager::Working; managers as usize],
            transaction: Manager::Working,
            prepared: BTreeSet::new(),
            messages: BTreeSet::new(),
        }
    }

    /// Some step is always possible: before the decision it can be taken, and then be heard of.
    fn next(&mut self, _: Next, ctx: &mut Context) {
        let steps = self.steps();
        let options = u32::try_from(steps.len()).expect("few steps");
        let chosen = ctx.choose(options) as usize;
        self.take(*steps.get(chosen).expect("one of the options"));
        ctx.after(Duration::ZERO, &Next);
    }

    fn steps(&self) -> Vec<Step> {
        let has = |message| self.messages.contains(&message);
        let undecided = self.transaction == Manager::Working;
        let (commits, aborts) = (has(Message::Commit), has(Message::Abort));
        let mut steps = Vec::new();
        if undecided && self.prepared.len() == self.managers.len() {
            steps.push(Step::Decide(Manager::Committed));
        }
        if undecided {
            steps.push(Step::Decide(Manager::Aborted));
        }
        for (index, manager) in self.managers.iter().enumerate() {
            if undecided && has(Message::Prepared(index)) {
                steps.push(Step::Note(index));
            }
            if *manager == Manager::Working {
                steps.extend([Step::Prepare(index), Step::Become(index, Manager::Aborted)]);
            }
            if commits {
                steps.push(Step::Become(index, Manager::Committed));
            }
            if aborts {
                steps.push(Step::Become(index, Manager::Aborted));
            }
        }
        steps
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Decide(decision) => {
                let committed = decision == Manager::Committed;
                self.transaction = decision;
                self.messages.insert(if committed { Message::Commit } else { Message::Abort });
            }
            Step::Note(index) => {
                self.prepared.insert(index);
            }
            Step::Prepare(index) => {
                self.turn(index, Manager::Prepared);
                self.messages.insert(Message::Prepared(index));
            }
            Step::Become(index, manager) => self.turn(index, manager),
        }
    }

    fn turn(&mut self, index: usize, state: Manager) {
        *self.managers.get_mut(index).expect("a manager") = state;
    }
}

fn all_agree(cluster: &Cluster<'_, TwoPhase>) -> Verdict {
    for (_, TwoPhase { managers, .. }) in cluster.live() {
        if managers.contains(&Manager::Committed) && managers.contains(&Manager::Aborted) {
            return Err(String::from("one has committed, and another aborted"));
        }
    }
    Ok(())
}
