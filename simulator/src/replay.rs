//! A recorded run once more.

use std::hash::Hash;

use synod_core::Stack;

use crate::action::Action;
use crate::choice::Stream;
use crate::explore::{Ground, Setting};
use crate::follow::follow;
use crate::scenario::Scenario;
use crate::schedule::{Recorded, Schedule};
use crate::trace::Trace;
use crate::world::{Violation, run};

/// What came of a replay.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The run, step by step. Equal schedules give equal bytes.
    pub trace: Trace,
    /// What it violates, if anything.
    pub violation: Option<Violation>,
    /// Decisions that the schedule names.
    pub decisions: usize,
    /// Those of them that the run still asks for.
    pub found: usize,
}

/// Runs `schedule` once more. What the program no longer asks is left out, what it newly asks is
/// calm.
pub fn replay<T: Stack + Clone + Hash + Sync>(
    scenario: &Scenario<T>,
    schedule: &Schedule,
) -> Replay {
    match &schedule.run {
        Recorded::Simulated { settings, decisions, .. } => {
            let stream = Stream::replaying(decisions);
            let (outcome, stream) = run(scenario, settings, stream, true);
            let (trace, violation) = (outcome.trace, outcome.violation);
            Replay { trace, violation, decisions: decisions.len(), found: stream.found() }
        }
        Recorded::Explored { bounds, actions } => {
            let setting = Setting::of(scenario, bounds).living_for(schedule.property.as_deref());
            let ground = Ground::new(scenario, setting);
            let (trace, violation) = follow(&ground, actions);
            // The first steps are the starts of the nodes, whether or not the schedule names them.
            let (_, rest) = Action::start_of(actions);
            let started = trace.steps.len().saturating_sub(bounds.nodes as usize);
            let found = started + (actions.len() - rest.len());
            Replay { trace, violation, decisions: actions.len(), found }
        }
    }
}
