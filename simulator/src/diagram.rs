//! The space-time diagram of a run, for a terminal.
//!
//! A row is a step: its number, its time, what it changed. An arrow stands on the row of its delivery, from the sender's lane to the
//! receiver's, so it is always level; how long the message took is written beside it, and whether that is late.

use std::collections::BTreeSet;
use std::fmt;

use synod_core::NodeId;

use self::lanes::{ASCII, Glyphs, Lanes, UNICODE, millis, words_and_sends};
use crate::settings::Settings;
use crate::trace::{Step, Trace, Unusual};

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

/// What is drawn of a run.
struct Rows<'a> {
    /// Each with how many steps are left out before it.
    rows: Vec<(usize, &'a Step)>,
    /// Whether what is left out before the first is not only quiet steps.
    is_cut: bool,
    /// How many steps are left out at the end.
    hidden: usize,
}

/// What the steps are that are left out.
const QUIET: &str = "step without a change";
const EARLIER: &str = "earlier step";

/// Columns of a lane where there is room.
const LANE: usize = 8;
/// Columns of a lane where there is not.
const LANE_MIN: usize = 4;
/// Columns that the words beside the lanes should have.
const WORDS: usize = 40;
/// Columns of a time, and of the gaps around it.
const TIME: usize = 12;
/// Lines of a picture that does not show everything, its header and its folds included.
const ROWS_MAX: usize = 40;
/// Lanes of a picture that does not show everything.
const LANES_MAX: usize = 8;

impl<'a> Diagram<'a> {
    /// The picture of `trace`, at most 40 lines in all, the last ones, without the steps that
    /// changed nothing. A message that came late, after one that was sent later, or a second time is no such step.
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

    /// The steps to draw, with how many quiet ones were left out before each; before the first, others too
    /// if they do not all fit. And how many are left out at the end.
    fn rows(&self) -> Rows<'a> {
        let may_fold = self.trace.may_fold();
        let mut rows: Vec<(usize, &Step)> = Vec::new();
        let mut quiet: Vec<&Step> = Vec::new();
        for step in &self.trace.steps {
            if may_fold(step) && !self.full {
                quiet.push(step);
                continue;
            }
            // A single one takes no more room than the line that would stand for it.
            if let [alone] = *quiet {
                rows.push((0, alone));
                quiet.clear();
            }
            rows.push((quiet.len(), step));
            quiet.clear();
        }
        let hidden = quiet.len();
        let cut = if self.full { 0 } else { too_many(&rows, hidden) };
        if 0 < cut {
            let first = rows.get(cut).map_or(0, |(_, step)| step.index);
            rows.drain(..cut);
            if let Some((hidden, _)) = rows.first_mut() {
                *hidden = first;
            }
        }
        Rows { rows, is_cut: 0 < cut, hidden }
    }

    /// The nodes whose lanes are drawn: those that a drawn step concerns, if there are many.
    fn lanes(&self, rows: &[(usize, &Step)]) -> Vec<NodeId> {
        let nodes = self.trace.nodes;
        // Nodes of a recorded cluster may have any numbers.
        if nodes as usize <= LANES_MAX || self.full && nodes <= Settings::NODES_MAX {
            return (1..=nodes).map(NodeId).collect();
        }
        let concerned = rows.iter().flat_map(|(_, step)| {
            step.node.into_iter().chain(step.message.map(|message| message.from))
        });
        let lanes: BTreeSet<NodeId> = concerned.collect();
        lanes.into_iter().filter(|node| (1..=nodes).contains(&node.0)).collect()
    }

    /// Columns of the steps' numbers.
    fn numbers(&self) -> usize {
        let last = self.trace.steps.last().map_or(0, |step| step.index);
        last.to_string().len().max(2)
    }

    /// Columns before the first lane.
    fn margin(&self) -> usize {
        self.numbers() + TIME
    }

    /// Columns of each of so many lanes.
    fn lane(&self, lanes: usize) -> usize {
        let taken = self.margin() + WORDS;
        let room = self.width.map(|width| width.saturating_sub(taken) / lanes.max(1));
        room.unwrap_or(LANE).clamp(LANE_MIN, LANE)
    }

    fn glyphs(&self) -> &'static Glyphs {
        if self.ascii { &ASCII } else { &UNICODE }
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

    fn row(
        &self,
        f: &mut fmt::Formatter<'_>,
        lanes: &Lanes,
        step: &Step,
        unusual: &Unusual,
    ) -> fmt::Result {
        let (time, numbers) = (format!("{:.1}ms", millis(step.time_us)), self.numbers());
        let words = words_and_sends(step, unusual, self.glyphs());
        let row = format!("{:>numbers$} {time:>9}  {} {words}", step.index, lanes.row(step));
        writeln!(f, "{}", self.fitting(String::from(row.trim_end())))
    }
}

impl fmt::Display for Diagram<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rows { rows, is_cut, hidden: at_the_end } = self.rows();
        let (glyphs, margin) = (self.glyphs(), self.margin());
        let fold = margin - 2;
        let left_out = |f: &mut fmt::Formatter<'_>, hidden: usize, what: &str| match hidden {
            0 => Ok(()),
            1 => writeln!(f, "{:>fold$}  (1 {what})", glyphs.fold),
            _ => {
                writeln!(f, "{:>fold$}  ({hidden} {})", glyphs.fold, what.replace("step", "steps"))
            }
        };
        let nodes = self.lanes(&rows);
        let lane = self.lane(nodes.len());
        let mut lanes = Lanes::new(nodes, lane, glyphs);
        writeln!(f, "{:margin$}{}", "", lanes.header().trim_end())?;
        let unusual = Unusual::of(self.trace);
        let mut drawn = rows.into_iter().peekable();
        for step in &self.trace.steps {
            lanes.follow(step);
            let Some((hidden, _)) = drawn.next_if(|(_, row)| row.index == step.index) else {
                continue;
            };
            let what = if is_cut && hidden == step.index { EARLIER } else { QUIET };
            left_out(f, hidden, what)?;
            self.row(f, &lanes, step, &unusual)?;
            if let Some(wrong) = &step.wrong {
                writeln!(f, "{:>fold$}  {wrong}", glyphs.wrong)?;
            }
        }
        left_out(f, at_the_end, QUIET)
    }
}

/// How many of the first rows have to go, so that the rest fits.
fn too_many(rows: &[(usize, &Step)], at_the_end: usize) -> usize {
    let lines = |(hidden, step): &(usize, &Step)| {
        1 + usize::from(0 < *hidden) + usize::from(step.wrong.is_some())
    };
    let end = usize::from(0 < at_the_end);
    // The header, and the line that says how many steps are left out.
    let (mut taken, mut left) = (2 + end, rows.len());
    for row in rows.iter().rev() {
        taken += lines(row);
        if ROWS_MAX < taken {
            break;
        }
        left -= 1;
    }
    let fits = rows.iter().map(lines).sum::<usize>() + end < ROWS_MAX;
    if fits { 0 } else { left.min(rows.len().saturating_sub(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{MessageId, Sent, StepKind};

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
        for number in 2..4 {
            let message = Some(MessageId { from: NodeId(1), number });
            let quiet = step(StepKind::Deliver, 3, Some(1), 5_000);
            trace.push(Step { state: None, message, ..quiet });
        }
        trace.push(step(StepKind::Lost, 1, Some(3), 6_000));
        trace
            .push(Step { wrong: Some("two lead".into()), ..step(StepKind::Timer, 3, None, 7_000) });
        trace
    }

    #[test]
    fn arrows_are_level_and_quiet_steps_are_folded() {
        let picture = Diagram::of(&trace()).ascii().to_string();
        let expected = "              n1      n2      n3
 0     0.0ms  *                        bully.election  [n1 role:leader]
 1     0.0ms  |               *        bully.election  [n3 role:leader]
 2     4.0ms  +-------+------->        election +4.0ms  [n3 role:leader]
           :  (2 steps without a change)
 5     6.0ms  x-------+-------+        election +4.0ms  [n1 role:leader]
 6     7.0ms  |               o        election  [n3 role:leader]
           x  two lead
";
        assert_eq!(picture, expected);
    }

    #[test]
    fn a_message_that_comes_late_is_told_and_not_folded_though_it_changes_nothing() {
        let delivery = |number, delay_us| Step {
            state: None,
            message: Some(MessageId { from: NodeId(1), number }),
            delay_us: Some(delay_us),
            ..step(StepKind::Deliver, 3, Some(1), 4_000 + delay_us)
        };
        let mut trace = trace();
        for number in [10, 11, 12, 14, 15] {
            trace.push(delivery(number, 4_000));
        }
        trace.push(delivery(13, 9_000));
        trace.push(delivery(16, 4_000));
        trace.push(delivery(17, 4_000));
        let picture = Diagram::of(&trace).ascii().to_string();
        let end: Vec<&str> = picture.lines().skip(8).collect();
        let expected = [
            "           :  (5 steps without a change)",
            "12    13.0ms  +-------+------->        election +9.0ms late, overtaken",
            "           :  (2 steps without a change)",
        ];
        assert_eq!(end, expected, "{picture}");
    }

    #[test]
    fn a_row_tells_how_many_messages_go_out_and_to_whom_they_are_lost() {
        let sent = |to, lost: Option<&str>| Sent {
            id: MessageId { from: NodeId(1), number: 1 },
            to: NodeId(to),
            event: "bully.election".into(),
            payload: String::new(),
            lost: lost.map(String::from),
        };
        let row = |sends: Vec<Sent>| {
            let mut trace = trace();
            trace.push(Step { state: None, sends, ..step(StepKind::Timer, 1, None, 8_000) });
            Diagram::of(&trace).to_string().lines().last().map(String::from)
        };
        let ending = |sends: Vec<Sent>| {
            row(sends).and_then(|it| Some(String::from(it.split_once("election")?.1)))
        };
        let down = Some("the receiver is down");
        assert_eq!(ending(vec![sent(2, Some("lost"))]).as_deref(), Some(" → 1 msg, lost to n2"));
        let some = vec![sent(2, None), sent(3, Some("lost in a burst")), sent(4, down)];
        assert_eq!(ending(some).as_deref(), Some(" → 3 msg, lost to n3 n4"));
        let many = (2..7).map(|to| sent(to, Some("lost"))).chain([sent(7, None)]).collect();
        assert_eq!(ending(many).as_deref(), Some(" → 6 msg, 5 lost"));
        // What a crash or a partition takes is seen elsewhere, and what arrives is no change.
        for sends in [vec![sent(2, None)], vec![sent(2, down)], vec![sent(2, Some("partition"))]] {
            assert!(row(sends).is_some_and(|it| it.contains("without a change")));
        }
    }

    #[test]
    fn nodes_may_have_any_numbers() {
        let mut trace = Trace { nodes: u32::MAX, ..trace() };
        trace.push(step(StepKind::Start, u32::MAX, None, 8_000));
        let picture = Diagram::of(&trace).full().to_string();
        assert!(picture.starts_with("              n1      n3      n4294967295"), "{picture}");
    }

    #[test]
    fn a_narrow_picture_has_closer_lanes_and_cuts_what_is_too_long() {
        let trace = trace();
        let picture = Diagram::of(&trace).ascii().width(47).to_string();
        let expected = "              n1  n2  n3
 0     0.0ms  *            bully.election  [n1~
 1     0.0ms  |       *    bully.election  [n3~
 2     4.0ms  +---+--->    election +4.0ms  [n~
           :  (2 steps without a change)
 5     6.0ms  x---+---+    election +4.0ms  [n~
 6     7.0ms  |       o    election  [n3 role:~
           x  two lead
";
        assert_eq!(picture, expected);
        let wide = Diagram::of(&trace).ascii().width(120).to_string();
        assert_eq!(wide, Diagram::of(&trace).ascii().to_string());
        let full = Diagram::of(&trace).full().width(47).to_string();
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
        assert!(picture.lines().nth(1).is_some_and(|line| line.ends_with("(69 earlier steps)")));
        assert_eq!(Diagram::of(&trace).full().to_string().lines().count(), 107 + 2);
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
