//! The space-time diagram of a run, for a terminal.
//!
//! A row is a step. An arrow stands on the row of its delivery, from the sender's lane to the
//! receiver's, so it is always level; how long the message took is written beside it.

use std::fmt;

use synod_core::NodeId;

use self::lanes::{ASCII, Lanes, UNICODE, millis, words};
use crate::trace::{Step, Trace};

pub(crate) mod lanes;

/// A picture of a trace, made by its `Display` implementation.
#[derive(Clone, Debug)]
pub struct Diagram<'a> {
    trace: &'a Trace,
    ascii: bool,
    full: bool,
    /// Columns of a line.
    width: Option<usize>,
}

/// Columns of a lane where there is room.
const LANE: usize = 8;
/// Columns of a lane where there is not.
const LANE_MIN: usize = 4;
/// Columns that the words beside the lanes should have.
const WORDS: usize = 40;
/// Columns before the first lane.
const MARGIN: usize = 11;
/// Lines of a picture that does not show everything, its header and its folds included.
const ROWS_MAX: usize = 40;
/// Lanes of a picture that does not show everything.
const LANES_MAX: usize = 8;

impl<'a> Diagram<'a> {
    /// The picture of `trace`, at most 40 lines in all, the last ones, without the steps that
    /// changed nothing.
    #[must_use]
    pub fn of(trace: &'a Trace) -> Self {
        Self { trace, ascii: false, full: false, width: None }
    }

    /// Draws with ASCII characters only.
    #[must_use]
    pub fn ascii(self) -> Self {
        Self { ascii: true, ..self }
    }

    /// Draws into so many columns, as a terminal has: lanes stand closer together, and what is still too
    /// long is cut off. A picture of everything is not cut.
    #[must_use]
    pub fn width(self, columns: usize) -> Self {
        Self { width: Some(columns), ..self }
    }

    /// Draws every step and every lane.
    #[must_use]
    pub fn full(self) -> Self {
        Self { full: true, ..self }
    }

    /// The steps to draw, with how many quiet ones were left out before each.
    fn rows(&self) -> Vec<(usize, &'a Step)> {
        let mut rows = Vec::new();
        let mut hidden = 0;
        let may_fold = self.trace.may_fold();
        for step in &self.trace.steps {
            if self.full || !may_fold(step) {
                rows.push((hidden, step));
                hidden = 0;
            } else {
                hidden += 1;
            }
        }
        let cut = if self.full { 0 } else { too_many(&rows) };
        if 0 < cut {
            let first = rows.get(cut).map_or(0, |(_, step)| step.index);
            rows.drain(..cut);
            if let Some((hidden, _)) = rows.first_mut() {
                *hidden = first;
            }
        }
        rows
    }

    /// The nodes whose lanes are drawn: those that a drawn step concerns, if there are many.
    fn lanes(&self, rows: &[(usize, &Step)]) -> Vec<NodeId> {
        let all = (1..=self.trace.nodes).map(NodeId);
        if self.full || self.trace.nodes as usize <= LANES_MAX {
            return all.collect();
        }
        let concerns = |step: &Step, node| {
            step.node == Some(node) || step.message.is_some_and(|message| message.from == node)
        };
        all.filter(|node| rows.iter().any(|(_, step)| concerns(step, *node))).collect()
    }

    /// Columns of each of so many lanes.
    fn lane(&self, lanes: usize) -> usize {
        let room = self.width.map(|width| width.saturating_sub(MARGIN + WORDS) / lanes.max(1));
        room.unwrap_or(LANE).clamp(LANE_MIN, LANE)
    }

    /// A line as far as there is room for it.
    fn fitting(&self, mut line: String) -> String {
        if let Some(width) = self.width.filter(|width| !self.full && *width < line.chars().count())
        {
            line = line.chars().take(width.saturating_sub(1)).collect();
            line.push(if self.ascii { '~' } else { '…' });
        }
        line
    }

    fn row(&self, f: &mut fmt::Formatter<'_>, lanes: &Lanes, step: &Step) -> fmt::Result {
        let time = format!("{:.1}ms", millis(step.time_us));
        let row = format!("{time:>9}  {} {}", lanes.row(step), words(step));
        writeln!(f, "{}", self.fitting(String::from(row.trim_end())))
    }
}

impl fmt::Display for Diagram<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let glyphs = if self.ascii { &ASCII } else { &UNICODE };
        let nodes = self.lanes(&rows);
        let lane = self.lane(nodes.len());
        let mut lanes = Lanes::new(nodes, lane, glyphs);
        writeln!(f, "{:MARGIN$}{}", "", lanes.header().trim_end())?;
        let mut drawn = rows.into_iter().peekable();
        for step in &self.trace.steps {
            lanes.follow(step);
            let Some((hidden, _)) = drawn.next_if(|(_, row)| row.index == step.index) else {
                continue;
            };
            if 0 < hidden {
                let steps = if hidden == 1 { "step" } else { "steps" };
                writeln!(f, "{:>9}  ({hidden} {steps} without a change)", glyphs.fold)?;
            }
            self.row(f, &lanes, step)?;
            if let Some(wrong) = &step.wrong {
                writeln!(f, "{:>9}  {wrong}", glyphs.wrong)?;
            }
        }
        Ok(())
    }
}

/// How many of the first rows have to go, so that the rest fits.
fn too_many(rows: &[(usize, &Step)]) -> usize {
    let lines = |(hidden, step): &(usize, &Step)| {
        1 + usize::from(0 < *hidden) + usize::from(step.wrong.is_some())
    };
    // The header, and the line that says how many steps are left out.
    let (mut taken, mut left) = (2, rows.len());
    for row in rows.iter().rev() {
        taken += lines(row);
        if ROWS_MAX < taken {
            break;
        }
        left -= 1;
    }
    let fits = rows.iter().map(lines).sum::<usize>() < ROWS_MAX;
    if fits { 0 } else { left.min(rows.len().saturating_sub(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{MessageId, StepKind};

    fn step(kind: StepKind, node: u32, from: Option<u32>, time_us: u64) -> Step {
        Step {
            kind,
            time_us,
            node: Some(NodeId(node)),
            event: String::from("bully.election"),
            message: from.map(|from| MessageId { from: NodeId(from), number: 1 }),
            delay_us: from.map(|_| 4_000),
            state: Some(String::from("role:leader")),
            ..Step::default()
        }
    }

    fn trace() -> Trace {
        let mut trace = Trace { algorithm: "bully".into(), nodes: 3, ..Trace::default() };
        trace.push(step(StepKind::Start, 1, None, 0));
        trace.push(step(StepKind::Start, 3, None, 0));
        trace.push(step(StepKind::Deliver, 3, Some(1), 4_000));
        trace.push(Step { state: None, ..step(StepKind::Deliver, 3, Some(1), 5_000) });
        trace.push(step(StepKind::Lost, 1, Some(3), 6_000));
        trace
            .push(Step { wrong: Some("two lead".into()), ..step(StepKind::Timer, 3, None, 7_000) });
        trace
    }

    #[test]
    fn arrows_are_level_and_quiet_steps_are_folded() {
        let picture = Diagram::of(&trace()).ascii().to_string();
        let expected = "           n1      n2      n3
    0.0ms  *                        bully.election  [n1 role:leader]
    0.0ms  |               *        bully.election  [n3 role:leader]
    4.0ms  +-------+------->        election +4.0ms  [n3 role:leader]
        :  (1 step without a change)
    6.0ms  x-------+-------+        election +4.0ms  [n1 role:leader]
    7.0ms  |               o        election  [n3 role:leader]
        x  two lead
";
        assert_eq!(picture, expected);
    }

    #[test]
    fn a_narrow_picture_has_closer_lanes_and_cuts_what_is_too_long() {
        let trace = trace();
        let picture = Diagram::of(&trace).ascii().width(44).to_string();
        let expected = "           n1  n2  n3
    0.0ms  *            bully.election  [n1~
    0.0ms  |       *    bully.election  [n3~
    4.0ms  +---+--->    election +4.0ms  [n~
        :  (1 step without a change)
    6.0ms  x---+---+    election +4.0ms  [n~
    7.0ms  |       o    election  [n3 role:~
        x  two lead
";
        assert_eq!(picture, expected);
        let wide = Diagram::of(&trace).ascii().width(120).to_string();
        assert_eq!(wide, Diagram::of(&trace).ascii().to_string());
        let full = Diagram::of(&trace).full().width(44).to_string();
        assert!(full.lines().any(|line| line.ends_with("[n1 role:leader]")), "{full}");
    }

    #[test]
    fn a_long_run_shows_its_end() {
        let mut trace = trace();
        for time_us in 0..100 {
            trace.push(step(StepKind::Timer, 1, None, time_us));
        }
        let picture = Diagram::of(&trace).to_string();
        assert_eq!(picture.lines().count(), ROWS_MAX);
        assert!(picture.lines().nth(1).is_some_and(|line| line.contains("steps without")));
        assert_eq!(Diagram::of(&trace).full().to_string().lines().count(), 106 + 2);
    }

    #[test]
    fn folds_count_as_lines_too() {
        let mut trace = trace();
        for time_us in 0..100 {
            trace.push(step(StepKind::Timer, 1, None, time_us));
            trace.push(Step { state: None, ..step(StepKind::Timer, 1, None, time_us) });
        }
        trace.push(Step { wrong: Some("late".into()), ..step(StepKind::Timer, 1, None, 200) });
        let picture = Diagram::of(&trace).to_string();
        assert!((ROWS_MAX - 2..=ROWS_MAX).contains(&picture.lines().count()), "{picture}");
        assert!(picture.lines().last().is_some_and(|line| line.contains("late")));
    }
}
