//! What an exploration came to.

use std::fmt;

use synod_core::NodeId;

use crate::diagram::Diagram;
use crate::schedule::Schedule;
use crate::simulation::expect_somebody;
use crate::trace::Trace;
use crate::world::Violation;

/// What an exploration came to.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Explored {
    /// Different states visited; in a reduced exploration, which does not remember them, those of
    /// all runs.
    pub states: u64,
    /// Transitions taken, those to states already visited included.
    pub transitions: u64,
    /// The steps of the longest run that was taken: breadth first, the length of the longest
    /// shortest run to a state.
    pub depth: u32,
    /// States visited of which not every transition was taken.
    pub frontier: u64,
    /// Whether every state within the bounds was visited.
    pub complete: bool,
    /// What cut the exploration short, if anything but a violation did.
    pub cut: Option<Limit>,
    /// Runs that were taken to their end; counted by a reduced exploration only.
    pub executions: u64,
    /// Bytes that the exploration's own tables took at most, the nodes' local states not counted.
    pub bytes: u64,
    /// Different local states of nodes that were kept at once, at most.
    pub places: u64,
    /// Properties that were not held against the states: their bound needs a clock and there was
    /// none, they are due at rest and messages come again for ever, or they remember more than a state
    /// does.
    pub skipped: Vec<&'static str>,
    /// What should hold in some state and did in none.
    pub never: Vec<&'static str>,
    /// What was held against no state: promised at rest, where none is, or of events that no node indicates; and what
    /// is skipped, if that is all there is.
    pub undue: Vec<&'static str>,
    /// Which nodes were to [trigger](crate::Scenario::trigger) something, and are not of the cluster.
    pub nobody: Vec<String>,
    /// Whether handlers drew [random](synod_core::Context::random) numbers: each node has one sequence of them, and
    /// what comes of others was not visited.
    pub draws: bool,
    /// Events of which a reduced exploration has taken deliveries to one node in one order, since
    /// they commute.
    pub collected: Vec<&'static str>,
    /// What one state stands for, if states that differ in names only are one.
    pub folded: Option<Folded>,
    /// What the algorithm says of itself and is not so. Nothing else is concluded then.
    pub untrue: Option<Untrue>,
    /// A run that violates a property; breadth first, a shortest one.
    pub failure: Option<Box<Counterexample>>,
}

/// A [symmetric](crate::Exploration::symmetric) exploration's states: each is one of those that
/// differ only in the names of interchangeable nodes, its orbit.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Folded {
    /// The interchangeable nodes; those of each class in ascending order.
    pub nodes: Vec<NodeId>,
    /// In how many ways these can be named.
    pub permutations: u64,
    /// The states of all orbits visited: as many as a full exploration visits, if this one is
    /// complete.
    pub states: u64,
}

/// Something that an algorithm says of itself, and that was found not to be so.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not {declared}: {reason}")]
#[non_exhaustive]
pub struct Untrue {
    /// What is declared.
    pub declared: &'static str,
    /// Which event, at which node, shows that it is not so, and how.
    pub reason: String,
}

/// What can cut an exploration short.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Limit {
    /// [`Bounds::states_max`](crate::Bounds::states_max).
    States,
    /// [`Bounds::depth_max`](crate::Bounds::depth_max).
    Depth,
    /// Whoever [watches](crate::Exploration::watch) it had enough.
    Watcher,
}

/// How far an exploration has come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Different states visited.
    pub states: u64,
    /// Transitions taken.
    pub transitions: u64,
    /// The steps of the run that it is at.
    pub depth: u32,
    /// States visited of which not every transition was taken.
    pub frontier: u64,
}

/// A run that violates a property.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// What is violated.
    pub violation: Violation,
    /// The run as a schedule.
    pub schedule: Schedule,
    /// The schedule as the text of its file.
    pub text: String,
    /// The run, step by step.
    pub trace: Trace,
}

impl Counterexample {
    /// Everything that is needed to understand it, on one screen.
    #[must_use]
    pub fn block(&self) -> String {
        let Self { violation, trace, .. } = self;
        let mut block =
            format!("property violated: {}\n  {}\n", violation.property, violation.reason);
        block += &format!("  a run of {} steps\n", trace.steps.len());
        for dropped in &self.schedule.dropped {
            block += &format!("  the run was not to keep an assumption of the model: {dropped}\n");
        }
        format!("{block}\n{}", Diagram::of(trace))
    }
}

impl Explored {
    /// One more state was visited, for so many.
    pub(crate) fn stand_for(&mut self, orbit: u64) {
        if let Some(folded) = &mut self.folded {
            folded.states += orbit;
        }
    }

    /// Fails the test if a property is violated, or if not every state was visited; also if nothing was shown:
    /// what should hold in some state held in none, a promise was held against none, or a node was to trigger
    /// something that is not of the cluster. What is [skipped](Self::skipped) is not asked for, unless that is all
    /// there is.
    ///
    /// # Panics
    ///
    /// With the property and the diagram of a shortest run, with the bound that cut, or with what was not shown.
    pub fn expect_complete(&self) {
        if let Some(failure) = &self.failure {
            panic!("{}", failure.block());
        }
        if let Some(untrue) = &self.untrue {
            panic!("{untrue}");
        }
        if let Some(cut) = self.cut {
            panic!("stopped after {} states by {cut}: not every state was visited", self.states);
        }
        let Self { states, never, undue, nobody, .. } = self;
        expect_somebody(nobody);
        assert!(never.is_empty(), "in {states} states there was never: {never:?}");
        assert!(undue.is_empty(), "in {states} states these were never judged: {undue:?}");
    }

    /// The violation that the test expects.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn expect_failure(&self) -> &Counterexample {
        match &self.failure {
            Some(failure) => failure,
            None => panic!("all {} states hold every property", self.states),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::States => "the bound on states",
            Self::Depth => "the bound on the steps of a run",
            Self::Watcher => "whoever watched it",
        })
    }
}
