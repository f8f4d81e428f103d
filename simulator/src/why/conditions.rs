//! What had to be decided before the step that dooms a run: without it, the run does not fail. So each decision of a
//! shrunk run is a condition, however little likelier it alone makes the failure.

use super::Jump;
use super::curve::{Continued, Probed, jump};

/// Decisions of a run that are tried, at most: those next before the step.
pub(super) const TRIED_MAX: usize = 256;

/// Decisions about one thing without which the run does not fail.
pub(super) struct Condition {
    /// The first moment after it.
    pub(super) moment: usize,
    /// The step in which it shows.
    pub(super) step: usize,
    /// The decisions, as the lines of a schedule say them.
    pub(super) decisions: Vec<String>,
}

/// The conditions up to a moment, in the order of the run, each with the probed moments around it.
pub(super) fn conditions(run: &dyn Continued, probed: &Probed, until: usize) -> Vec<Jump> {
    let around = |it: Condition| {
        let before = probed.range(..it.moment).next_back().map_or(0, |(moment, _)| *moment);
        let after = probed.range(it.moment..).next().map_or(it.moment, |(moment, _)| *moment);
        let at = jump(run, probed, before, after);
        Jump { decisions: it.decisions, ..at.seen_in(run.trace(), it.step) }
    };
    let mut conditions = run.conditions(until);
    conditions.sort_by_key(|it| (it.moment, it.step));
    conditions.into_iter().map(around).collect()
}

/// The last ones that are tried.
pub(super) fn tried<V>(mut all: Vec<V>) -> Vec<V> {
    all.split_off(all.len().saturating_sub(TRIED_MAX))
}
