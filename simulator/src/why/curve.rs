//! The probability along a run: where it is probed, and where it jumps.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::conditions::Condition;
use super::{Jump, Point};
use crate::diagram::lanes::{UNICODE, came_to, sends};
use crate::trace::{Step, StepKind, Trace};
use crate::world::Violation;

/// A recorded run that can be continued from each of its moments.
pub(super) trait Continued {
    /// How many moments there are; the first is before the run, after the last one it has failed.
    fn moments(&self) -> usize;

    /// The last step before a moment; `None` before the run.
    fn step(&self, moment: usize) -> Option<usize>;

    /// Of `runs` random continuations from a moment, how many fail, and how many of them no later than the
    /// recorded run.
    fn failed(&self, moment: usize, runs: u32) -> (u32, u32);

    /// What is decided between two moments, as the lines of a schedule say it.
    fn decisions(&self, from: usize, to: usize) -> Vec<String>;

    /// What was decided up to a moment and without which the recorded run does not fail.
    fn conditions(&self, until: usize) -> Vec<Condition>;

    fn trace(&self) -> &Trace;

    fn violation(&self) -> &Violation;
}

/// Which continuations of a point count.
pub(super) type Share = fn(&Point) -> u32;

/// Those that fail.
pub(super) const FAILED: Share = |point| point.failed;
/// Those that fail no later than the recorded run.
pub(super) const IN_TIME: Share = |point| point.in_time;

/// What was probed, by moment.
pub(super) type Probed = BTreeMap<usize, Point>;

/// Steps of a run that is probed after each of them, at most.
const EACH_MAX: usize = 100;
/// Moments of a longer run that are probed at first, evenly spread.
const FIRST_PROBES: usize = 16;
/// Moments of a longer run that are probed at most.
const PROBES_MAX: usize = 64;

/// Probes each moment of a short run; of a long one some, and then the middle between the two
/// neighbours that differ most, until all that differ are neighbours in the run too. Tells whether
/// every moment was probed.
pub(super) fn probe(run: &dyn Continued, runs: u32) -> (Probed, bool) {
    let last = run.moments();
    let point = |moment: usize| {
        let (failed, in_time) =
            if moment == last { (runs, runs) } else { run.failed(moment, runs) };
        let step =
            if moment == last { run.trace().steps.len().checked_sub(1) } else { run.step(moment) };
        (moment, Point { step, failed, in_time, runs })
    };
    if last <= EACH_MAX {
        return ((0..=last).map(point).collect(), true);
    }
    let mut probed: Probed =
        (0..=FIRST_PROBES).map(|index| point(index * last / FIRST_PROBES)).collect();
    while probed.len() < PROBES_MAX
        && let Some((from, to)) = widest(&probed, FAILED).or_else(|| widest(&probed, IN_TIME))
    {
        let (moment, middle) = point(usize::midpoint(from, to));
        probed.insert(moment, middle);
    }
    (probed, false)
}

fn neighbours(probed: &Probed) -> impl Iterator<Item = ((usize, Point), (usize, Point))> {
    let moments = || probed.iter().map(|(moment, point)| (*moment, *point));
    moments().zip(moments().skip(1))
}

/// The two probed neighbours that differ most, if moments lie between them.
fn widest(probed: &Probed, share: Share) -> Option<(usize, usize)> {
    let apart = neighbours(probed).filter(|((from, _), (to, _))| from + 1 < *to);
    let differing = apart.filter(|((_, one), (_, other))| is_beyond_chance(one, other, share));
    // The first of equals: `max_by_key` takes the last.
    let most =
        differing.min_by_key(|((_, one), (_, other))| Reverse(share(one).abs_diff(share(other))));
    most.map(|((from, _), (to, _))| (from, to))
}

/// The two neighbours between which the share rises by most, if chance does not explain it. What is so in
/// three runs of four before is not decided by what comes then.
pub(super) fn steepest(probed: &Probed, share: Share) -> Option<(usize, usize)> {
    let rising = neighbours(probed)
        .filter(|((_, one), (_, other))| share(one) < share(other))
        .filter(|((_, one), (_, other))| is_beyond_chance(one, other, share))
        .filter(|((_, one), _)| 4 * u64::from(share(one)) < 3 * u64::from(one.runs));
    let most = rising.min_by_key(|((_, one), (_, other))| Reverse(share(other) - share(one)));
    most.map(|((from, _), (to, _))| (from, to))
}

/// Whether two shares differ by more than three standard errors of their difference, and by one
/// continuation in twenty at least.
pub(super) fn is_beyond_chance(one: &Point, other: &Point, share: Share) -> bool {
    // With p = sum / 2n: |a - b| / n > 3 sqrt(2 p (1 - p) / n), in whole numbers.
    let (difference, runs) = (u128::from(share(one).abs_diff(share(other))), u128::from(one.runs));
    let sum = u128::from(share(one)) + u128::from(share(other));
    let varies = sum * (2 * runs).saturating_sub(sum);
    2 * difference * difference * runs > 9 * varies && runs <= 20 * difference
}

pub(super) fn jump(run: &dyn Continued, probed: &Probed, from: usize, to: usize) -> Jump {
    let nowhere = Point { step: None, failed: 0, in_time: 0, runs: 0 };
    let at = |moment| probed.get(&moment).copied().unwrap_or(nowhere);
    let (before, after) = (at(from), at(to));
    let step = after.step.unwrap_or(0);
    let decisions = run.decisions(from, to);
    Jump { step, before, after, what: String::new(), decisions }.seen_in(run.trace(), step)
}

impl Jump {
    /// The same at another step.
    pub(super) fn seen_in(self, trace: &Trace, step: usize) -> Self {
        let what = trace.steps.get(step).map(words).unwrap_or_default();
        Self { step, what, ..self }
    }
}

/// A step in words: who, what, and what it changed.
pub(super) fn words(step: &Step) -> String {
    let who = match (step.message, step.node) {
        (Some(message), Some(node)) => format!("{}>{node} ", message.from),
        (None, Some(node)) => format!("{node} "),
        _ => String::new(),
    };
    let what = match step.kind {
        StepKind::Deliver | StepKind::Timer | StepKind::Lost => {
            step.event.rsplit('.').next().unwrap_or(&step.event)
        }
        _ => &step.event,
    };
    let kind = match step.kind {
        StepKind::Partition => "partition: ",
        StepKind::Heal => "healed: ",
        StepKind::Lost => "lost: ",
        _ => "",
    };
    let state = came_to(step);
    let state = state.map(|state| format!("  [{state}]")).unwrap_or_default();
    let words = format!("{who}{kind}{what}{}{state}", sends(step, &UNICODE));
    // Control characters of a payload would move the cursor.
    words.chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}
