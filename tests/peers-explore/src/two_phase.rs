//! Two-phase commit, as in the TLA+ module `TwoPhase` of J. Gray, L. Lamport, "Consensus on
//! transaction commit", ACM Transactions on Database Systems 31(1), 2006.

use std::collections::BTreeSet;

use stateright::{Model, Property};

pub struct TwoPhase {
    pub managers: u32,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Manager {
    Working,
    Prepared,
    Committed,
    Aborted,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Message {
    Prepared(usize),
    Commit,
    Abort,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    managers: Vec<Manager>,
    transaction: Manager,
    /// Whom the transaction manager knows to be prepared.
    prepared: BTreeSet<usize>,
    /// What was ever sent.
    messages: BTreeSet<Message>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    Decide(Manager),
    Note(usize),
    Prepare(usize),
    Become(usize, Manager),
}

impl Model for TwoPhase {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            managers: vec![Manager::Working; self.managers as usize],
            transaction: Manager::Working,
            prepared: BTreeSet::new(),
            messages: BTreeSet::new(),
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let has = |message| state.messages.contains(&message);
        let undecided = state.transaction == Manager::Working;
        let (commits, aborts) = (has(Message::Commit), has(Message::Abort));
        if undecided && state.prepared.len() == state.managers.len() {
            steps.push(Step::Decide(Manager::Committed));
        }
        if undecided {
            steps.push(Step::Decide(Manager::Aborted));
        }
        for (index, manager) in state.managers.iter().enumerate() {
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
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Decide(decision) => {
                let committed = decision == Manager::Committed;
                next.transaction = decision;
                next.messages.insert(if committed { Message::Commit } else { Message::Abort });
            }
            Step::Note(index) => {
                next.prepared.insert(index);
            }
            Step::Prepare(index) => {
                next.managers[index] = Manager::Prepared;
                next.messages.insert(Message::Prepared(index));
            }
            Step::Become(index, manager) => next.managers[index] = manager,
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("nobody commits what another aborts", |_, state: &State| {
            let has = |manager| state.managers.contains(&manager);
            !(has(Manager::Committed) && has(Manager::Aborted))
        })]
    }
}
