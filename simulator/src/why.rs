//! Which step of a run decides that it fails: the probability of the violation along the run.
//!
//! At each moment of a recorded run, many random runs are continued from there: they take what was
//! recorded up to that moment and random choices after it. The share of them that fail in the same
//! property is a curve over the run; where it jumps, something was decided. Shrinking says which
//! decisions a violation needs, the curve says which of them dooms the run.
//!
//! Some programs fail in nearly every run. No decision of the recorded one dooms it then, but one may have
//! decided that it fails as early as it does: a second curve is the share of the continuations that have
//! failed by then. Where none did that either, what there is to know is which steps led to the last one,
//! and which ones it knew nothing of.
//!
//! Every number here is drawn from the position in the run, so equal schedules give equal curves.

mod conditions;
mod curve;
mod past;
mod simulated;
mod told;
mod walked;

#[cfg(test)]
mod tests;

use std::hash::Hash;

use synod_core::Stack;

use self::curve::Continued;
use self::simulated::Simulated;
use self::walked::Walked;
use crate::choice::Decision;
use crate::explore::{Ground, Setting};
use crate::runnable::Runnable;
use crate::scenario::Scenario;
use crate::schedule::{Recorded, Schedule};
use crate::settings::Settings;
use crate::trace::Trace;
use crate::world::Violation;

/// How a run came to fail.
#[derive(Clone, Debug)]
pub struct Why {
    /// The run, step by step.
    pub trace: Trace,
    /// What it violates.
    pub violation: Violation,
    /// How likely the violation was, from before the first step to the last one.
    pub curve: Vec<Point>,
    /// Whether every step was probed. Where not, the curve was bisected between steps that differ,
    /// and a rise and fall between two equal ones is not seen.
    pub complete: bool,
    /// The step after which the violation is most likelier than before it; `None` if no step stands
    /// out from chance, because nearly every run fails.
    pub culprit: Option<Jump>,
    /// Without a culprit: the step after which it is most likelier than before it that the run fails no later
    /// than it does. `None` if no step stands out either.
    pub hastener: Option<Jump>,
    /// What was decided before the culprit, or the hastener, and without which the run does not fail, in the order of
    /// the run: faults, and decisions that are not calm, but no requests of clients. Where not every step was
    /// probed, the moments around it are those that were.
    pub conditions: Vec<Jump>,
}

/// How likely the violation is at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Point {
    /// The last step of the recorded run that the continuations share, as the trace numbers it;
    /// `None` before the first one.
    pub step: Option<usize>,
    /// Continuations that violated the property.
    pub failed: u32,
    /// Those of them that did no later than the recorded run: by its virtual time, or in an exploration after
    /// as many actions.
    pub in_time: u32,
    /// Continuations.
    pub runs: u32,
}

/// A step that makes the violation more likely, or less.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Jump {
    /// The step's number in the trace.
    pub step: usize,
    /// The moment before it.
    pub before: Point,
    /// The moment after it.
    pub after: Point,
    /// What happens in the step, in words.
    pub what: String,
    /// What is decided in it, as the lines of a schedule say it; calm decisions are left out.
    pub decisions: Vec<String>,
}

/// A schedule whose run fails in nothing: there is nothing to explain.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the run violates no property")]
pub struct NothingViolated;

/// Finds out which step of `schedule` decides that its run fails, by `runs` random continuations
/// from each moment of it, on all cores. A run of more than 100 steps is bisected.
///
/// A continuation of a simulated run has the same settings. It ends when they say, but not before twice the
/// time that the run took to fail, nor before 16 greatest delays more than that: a shrunk run ends where it
/// fails. Faults that had begun by the moment stay as they were; those that had not are drawn
/// anew, under the condition that they have not begun yet. A continuation of an explored run is a
/// random walk over what can happen; with what was recorded it has twice the steps of the run at most.
///
/// O(steps · `runs`) runs at most, and one for each decision before the step, to see whether the run fails without it.
///
/// # Errors
///
/// [`NothingViolated`] if the run holds every property.
pub fn why<T: Stack + Clone + Hash + Sync>(
    scenario: &Scenario<T>,
    schedule: &Schedule,
    runs: u32,
) -> Result<Why, NothingViolated> {
    match &schedule.run {
        Recorded::Simulated { settings, decisions, .. } => {
            why_simulated(scenario, settings, decisions, runs)
        }
        Recorded::Explored { bounds, actions } => {
            let setting = Setting::against(scenario, bounds, schedule.property.as_deref());
            let ground = Ground::new(scenario, setting);
            let walked = Walked::replay(&ground, actions)?;
            Ok(explain(&walked, runs.max(1)))
        }
    }
}

/// The same of a simulated run, whatever the type of its nodes.
pub(crate) fn why_simulated(
    runnable: &dyn Runnable,
    settings: &Settings,
    decisions: &[Decision],
    runs: u32,
) -> Result<Why, NothingViolated> {
    let simulated = Simulated::replay(runnable, settings, decisions)?;
    Ok(explain(&simulated, runs.max(1)))
}

fn explain(run: &dyn Continued, runs: u32) -> Why {
    let (probed, complete) = curve::probe(run, runs);
    let doom = curve::steepest(&probed, curve::FAILED);
    let haste = if doom.is_none() { curve::steepest(&probed, curve::IN_TIME) } else { None };
    let until = doom.or(haste).map_or(0, |(from, _)| from);
    let conditions = conditions::conditions(run, &probed, until);
    let jump = |(from, to)| curve::jump(run, &probed, from, to);
    let (culprit, hastener) = (doom.map(jump), haste.map(jump));
    let (trace, violation) = (run.trace().clone(), run.violation().clone());
    let curve = probed.into_values().collect();
    Why { trace, violation, curve, complete, culprit, hastener, conditions }
}

impl Why {
    /// Steps that make the violation more likely, or less, by more than chance explains.
    #[must_use]
    pub fn jumps(&self) -> Vec<(Point, Point)> {
        let pairs = self.curve.windows(2).filter_map(|pair| <[Point; 2]>::try_from(pair).ok());
        let jumps =
            pairs.filter(|[before, after]| curve::is_beyond_chance(before, after, curve::FAILED));
        jumps.map(|[before, after]| (before, after)).collect()
    }

    /// How many continuations there were.
    #[must_use]
    pub fn continuations(&self) -> u64 {
        self.curve.iter().map(|point| u64::from(point.runs)).sum()
    }

    /// A step of the run in words: who, what, and what it changed.
    #[must_use]
    pub fn words(&self, step: usize) -> String {
        self.trace.steps.get(step).map(curve::words).unwrap_or_default()
    }

    /// The steps that led to the last one, by number: those of its node before it, those that sent what
    /// arrived there, and so on.
    #[must_use]
    pub fn past(&self) -> Vec<usize> {
        past::past(&self.trace)
    }

    /// For each node the last step that changed its state and did not lead to the run's last step: what
    /// that one did not know.
    #[must_use]
    pub fn unknown(&self) -> Vec<usize> {
        past::unknown(&self.trace)
    }
}

impl Point {
    /// The share of the continuations that fail, in percent, rounded to the nearest; all and none
    /// are 100 and 0, nothing else is.
    #[must_use]
    pub fn percent(&self) -> u32 {
        percent(self.failed, self.runs)
    }

    /// The share of those that fail [in time](Point::in_time), rounded in the same way.
    #[must_use]
    pub fn in_time_percent(&self) -> u32 {
        percent(self.in_time, self.runs)
    }
}

fn percent(part: u32, runs: u32) -> u32 {
    match part {
        0 => 0,
        part if part == runs => 100,
        part => {
            let (part, runs) = (u64::from(part), u64::from(runs));
            u32::try_from((200 * part + runs) / (2 * runs)).unwrap_or(100).clamp(1, 99)
        }
    }
}
