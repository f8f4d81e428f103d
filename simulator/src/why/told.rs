//! What there is to say of how a run came to fail, in lines for people.

use std::cmp::Reverse;

use super::curve::{FAILED, IN_TIME, Share};
use super::{Jump, Point, Why};

/// Decisions of one step that are told, at most.
const DECISIONS_MAX: usize = 8;
/// Conditions that are told, at most.
const CONDITIONS_MAX: usize = 6;
/// Steps that led to the last one, and are told, at most.
const PAST_MAX: usize = 10;

impl Why {
    /// The curve as one line, a character for each point. Where a [hastener](Why::hastener) is named, a second
    /// line is the curve of failing in time.
    #[must_use]
    pub fn curves(&self, ascii: bool) -> Vec<String> {
        let line = |share: Share| {
            let levels = self.curve.iter().filter_map(|point| level(point, share, ascii));
            levels.collect::<String>()
        };
        let early = self.hastener.iter().map(|_| line(IN_TIME) + " as early as this run");
        [line(FAILED)].into_iter().chain(early).collect()
    }

    /// What decided that the run fails. Where no decision did, because nearly every run fails: what decided
    /// that this one fails as early as it does, if anything. There, and where its last step decided, also which
    /// steps led to that one, and which ones it did not know.
    #[must_use]
    pub fn verdict(&self) -> Vec<String> {
        if let Some(culprit) = &self.culprit {
            let mut told = said("decided", culprit, "fail", Point::percent);
            told.extend(conditions(&self.conditions, Point::percent));
            // That the last step fails is no news.
            if culprit.step + 1 == self.trace.steps.len() {
                told.extend(self.origins());
            }
            return told;
        }
        let mut told = vec![self.whatever_is_decided()];
        told.extend(self.hastener.iter().flat_map(|it| {
            said(
                "that it fails this early was decided",
                it,
                "fail as early",
                Point::in_time_percent,
            )
        }));
        told.extend(conditions(&self.conditions, Point::in_time_percent));
        told.extend(self.origins());
        told
    }

    fn whatever_is_decided(&self) -> String {
        let Some(start) = self.curve.first() else { return String::new() };
        let Point { failed, in_time, runs, .. } = *start;
        let runs_told = match failed {
            failed if failed == runs => format!("all {runs} runs"),
            failed => format!("{failed} of {runs} runs"),
        };
        let early = format!("{in_time} no later than this one");
        match 4 * u64::from(failed) < 3 * u64::from(runs) {
            true => format!("no single step decides: {runs_told} from the very start fail"),
            false => format!(
                "no decision is needed for it: {runs_told} from the very start fail, {early}"
            ),
        }
    }

    /// Which steps led to the last one, and which of the others it knew nothing of.
    fn origins(&self) -> Vec<String> {
        let Some(last) = self.trace.steps.last() else { return Vec::new() };
        if last.node.is_none() {
            return vec![String::from("no step breaks it: it fails because one is missing")];
        }
        let past = self.past();
        let mut told = vec![format!("step {}, where it fails, follows from", last.index)];
        let earlier = past.len().saturating_sub(PAST_MAX);
        if 0 < earlier {
            told.push(format!("  {earlier} earlier steps"));
        }
        told.extend(past.iter().skip(earlier).map(|step| self.line(*step)));
        let unknown = self.unknown();
        if !unknown.is_empty() {
            told.push(String::from("and knew nothing of"));
            told.extend(unknown.iter().take(PAST_MAX).map(|step| self.line(*step)));
        }
        told
    }

    fn line(&self, step: usize) -> String {
        format!("  step {step}: {}", self.words(step))
    }
}

/// What a step decided, and how much likelier it made it.
fn said(what: &str, jump: &Jump, fail: &str, percent: fn(&Point) -> u32) -> Vec<String> {
    let Jump { step, before, after, decisions, .. } = jump;
    let at = match before.step {
        None => format!("by how the run begins, up to step {step}"),
        Some(_) => format!("at step {step}"),
    };
    let mut told = vec![
        format!("{what} {at}: {}", jump.what),
        format!(
            "  {}% of {} continuations {fail} from before it, {}% from after it",
            percent(before),
            after.runs,
            percent(after)
        ),
    ];
    if decisions.is_empty() {
        told.push(String::from(
            "  by calm decisions alone: nothing is lost or late, and nobody fails",
        ));
    }
    told.extend(decisions.iter().take(DECISIONS_MAX).map(|decision| format!("  {decision}")));
    if let Some(more @ 1..) = decisions.len().checked_sub(DECISIONS_MAX) {
        told.push(format!("  and {more} more"));
    }
    told
}

/// What had to be decided before, in the order of the run; of many, those that made it likelier by most.
fn conditions(all: &[Jump], percent: fn(&Point) -> u32) -> Vec<String> {
    if all.is_empty() {
        return Vec::new();
    }
    let rise = |it: &Jump| percent(&it.after).saturating_sub(percent(&it.before));
    let mut shown: Vec<usize> = (0..all.len()).collect();
    shown.sort_by_key(|at| all.get(*at).map(|it| Reverse(rise(it))));
    shown.truncate(CONDITIONS_MAX);
    shown.sort_unstable();
    let mut told = vec![String::from(
        "made possible by what was decided before; without any one of these this run does not fail",
    )];
    for condition in shown.into_iter().filter_map(|at| all.get(at)) {
        let Jump { step, before, after, what, decisions } = condition;
        let (before, after) = (percent(before), percent(after));
        told.push(format!("  step {step}: {what} ({before}% before it, {after}% after)"));
        told.push(format!("    {}", decisions.join(", ")));
    }
    if let Some(more @ 1..) = all.len().checked_sub(CONDITIONS_MAX) {
        told.push(format!("  and {more} more"));
    }
    told
}

fn level(point: &Point, share: Share, ascii: bool) -> Option<char> {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const DIGITS: [char; 10] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];
    let levels: &[char] = if ascii { &DIGITS } else { &BARS };
    let part = u64::from(share(point)) * (levels.len() as u64 - 1);
    let level = part.div_ceil(u64::from(point.runs.max(1)));
    levels.get(usize::try_from(level).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(decisions: usize) -> Vec<String> {
        let point = |step, failed| Point { step, failed, in_time: 0, runs: 10 };
        let jump = Jump {
            step: 3,
            before: point(Some(2), 1),
            after: point(Some(3), 10),
            what: "n1 tick".into(),
            decisions: (0..decisions).map(|it| format!("choose n1 #{it} = 1")).collect(),
        };
        said("decided", &jump, "fail", Point::percent)
    }

    #[test]
    fn of_many_conditions_those_that_count_most_are_told_in_the_order_of_the_run() {
        let point = |failed| Point { step: Some(1), failed, in_time: 0, runs: 100 };
        let condition = |step: u32| Jump {
            step: step as usize,
            before: point(0),
            after: point(if step == 9 { 30 } else { 10 - step }),
            what: "n2 crashes".into(),
            decisions: vec!["crash.node 1 #1 = 2".into(), "crash.at 1 #1 = 5".into()],
        };
        let all: Vec<Jump> = (1..=9).map(condition).collect();
        let told = conditions(&all, Point::percent);
        assert!(told[0].starts_with("made possible by"), "{told:?}");
        let steps: Vec<&str> = told.iter().filter_map(|it| it.split(':').next()).collect();
        let steps: Vec<&str> = steps.into_iter().filter(|it| it.starts_with("  step ")).collect();
        assert_eq!(steps, [1, 2, 3, 4, 5, 9].map(|step| format!("  step {step}")));
        assert!(told[11].ends_with("(0% before it, 30% after)"), "{told:?}");
        assert_eq!(told[12], "    crash.node 1 #1 = 2, crash.at 1 #1 = 5");
        assert_eq!(told.last().map(String::as_str), Some("  and 3 more"));
        assert_eq!(conditions(&[], Point::percent), [""; 0]);
    }

    #[test]
    fn decisions_of_a_step_are_told_up_to_a_bound_and_that_there_are_only_calm_ones() {
        let begins = [
            "decided at step 3: n1 tick",
            "  10% of 10 continuations fail from before it, 100% from after it",
        ];
        assert_eq!(told(1), [begins[0], begins[1], "  choose n1 #0 = 1"]);
        assert_eq!(told(DECISIONS_MAX).len(), 2 + DECISIONS_MAX);
        assert_eq!(told(DECISIONS_MAX + 3).last().map(String::as_str), Some("  and 3 more"));
        assert!(told(0).last().is_some_and(|it| it.starts_with("  by calm decisions alone")));
    }
}
