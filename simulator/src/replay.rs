//! A recorded run once more.

use std::hash::Hash;

use synod_core::Stack;

use crate::action::Action;
use crate::choice::{Decision, Stream};
use crate::explore::{Ground, Program, Setting};
use crate::follow::follow;
use crate::runnable::Runnable;
use crate::scenario::Scenario;
use crate::schedule::{Recorded, Schedule};
use crate::settings::Settings;
use crate::trace::{Header, Trace};
use crate::world::Violation;

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
    /// The others, as a schedule writes them; an event that the program no longer knows has a number
    /// for its name. A path ends at the first action that is not possible, so that what stands behind
    /// it is among them.
    pub gone: Vec<String>,
}

/// Runs `schedule` once more. What the program no longer asks is left out, what it newly asks is
/// calm.
pub fn replay<T: Stack + Clone + Hash + Sync>(
    scenario: &Scenario<T>,
    schedule: &Schedule,
) -> Replay {
    let replay = match &schedule.run {
        Recorded::Simulated { settings, decisions, .. } => simulated(scenario, settings, decisions),
        Recorded::Explored { bounds, actions } => {
            let setting = Setting::against(scenario, bounds, schedule.property.as_deref());
            explored(&Ground::new(scenario, setting), actions)
        }
    };
    let properties = scenario.properties().iter().map(|property| property.name);
    let header = Header::of(schedule, properties, &scenario.catalogue);
    Replay { trace: Trace { header, ..replay.trace }, ..replay }
}

fn simulated(runnable: &dyn Runnable, settings: &Settings, decisions: &[Decision]) -> Replay {
    let (outcome, stream) = runnable.run(settings, Stream::replaying(decisions), true);
    let (trace, violation) = (outcome.trace, outcome.violation);
    let gone = decisions.iter().filter(|it| stream.asked(it.label) < it.ordinal);
    let gone = gone.map(|it| it.line(|event| runnable.catalogue().name(event))).collect();
    Replay { trace, violation, decisions: decisions.len(), found: stream.found(), gone }
}

fn explored(program: &dyn Program, actions: &[String]) -> Replay {
    let (trace, violation) = follow(program, actions);
    // The first steps are the starts of the nodes, whether or not the schedule names them.
    let (_, rest) = Action::start_of(actions);
    let nodes = program.setting().bounds.nodes as usize;
    let found = trace.steps.len().saturating_sub(nodes) + (actions.len() - rest.len());
    let gone = actions.get(found..).unwrap_or_default().to_vec();
    Replay { trace, violation, decisions: actions.len(), found, gone }
}
