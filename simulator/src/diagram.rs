//! The space-time diagram of a run, for a terminal.
//!
//! A row is a step. An arrow stands on the row of its delivery, from the sender's lane to the
//! receiver's, so it is always level; how long the message took is written beside it.

use std::fmt;

use synod_core::NodeId;

use crate::trace::{Step, StepKind, Trace};

/// A picture of a trace, made by its `Display` implementation.
#[derive(Clone, Debug)]
pub struct Diagram<'a> {
    trace: &'a Trace,
    ascii: bool,
    full: bool,
}

/// Columns of a lane.
const LANE: usize = 8;
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
        Self { trace, ascii: false, full: false }
    }

    /// Draws with ASCII characters only.
    #[must_use]
    pub fn ascii(self) -> Self {
        Self { ascii: true, ..self }
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
        for step in &self.trace.steps {
            if self.full || !step.is_quiet() {
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

    fn glyphs(&self) -> &'static Glyphs {
        if self.ascii { &ASCII } else { &UNICODE }
    }

    fn header(&self, f: &mut fmt::Formatter<'_>, lanes: &[NodeId]) -> fmt::Result {
        let names: String =
            lanes.iter().map(|node| format!("{:<LANE$}", node.to_string())).collect();
        writeln!(f, "{:MARGIN$}{}", "", names.trim_end())
    }

    fn row(
        &self,
        f: &mut fmt::Formatter<'_>,
        lanes: &[NodeId],
        up: &[NodeId],
        step: &Step,
    ) -> fmt::Result {
        let glyphs = self.glyphs();
        let mut cells = vec![' '; LANE * lanes.len()];
        for (index, node) in lanes.iter().enumerate() {
            put(&mut cells, index * LANE, if up.contains(node) { glyphs.lane } else { ' ' });
        }
        let at = |node: NodeId| lanes.iter().position(|lane| *lane == node).map(|it| it * LANE);
        let to = step.node.and_then(at);
        let from = step.message.and_then(|message| at(message.from));
        match (step.kind, from, to) {
            (StepKind::Partition | StepKind::Heal, ..) => {
                let mark = if step.kind == StepKind::Heal { glyphs.heal } else { glyphs.split };
                lanes.iter().enumerate().for_each(|(i, _)| put(&mut cells, i * LANE, mark));
            }
            (_, Some(from), Some(to)) => arrow(&mut cells, from, to, step.kind, glyphs),
            (kind, None, Some(to)) => put(&mut cells, to, glyphs.mark(kind)),
            _ => (),
        }
        let time = format!("{:.1}ms", millis(step.time_us));
        let line: String = cells.into_iter().collect();
        let row = format!("{time:>9}  {line} {}", words(step));
        writeln!(f, "{}", row.trim_end())
    }
}

impl fmt::Display for Diagram<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let lanes = self.lanes(&rows);
        let glyphs = self.glyphs();
        self.header(f, &lanes)?;
        let mut drawn = rows.into_iter().peekable();
        let mut up: Vec<NodeId> = Vec::new();
        for step in &self.trace.steps {
            match (step.kind, step.node) {
                (StepKind::Start | StepKind::Restart, Some(node)) => up.push(node),
                (StepKind::Crash, Some(node)) => up.retain(|live| *live != node),
                _ => (),
            }
            let Some((hidden, _)) = drawn.next_if(|(_, row)| row.index == step.index) else {
                continue;
            };
            if 0 < hidden {
                let steps = if hidden == 1 { "step" } else { "steps" };
                writeln!(f, "{:>9}  ({hidden} {steps} without a change)", glyphs.fold)?;
            }
            self.row(f, &lanes, &up, step)?;
            if let Some(wrong) = &step.wrong {
                writeln!(f, "{:>9}  {wrong}", glyphs.wrong)?;
            }
        }
        Ok(())
    }
}

/// The characters of a picture.
struct Glyphs {
    lane: char,
    right: [char; 3],
    left: [char; 3],
    cross: char,
    lost: char,
    timer: char,
    act: char,
    crash: char,
    restart: char,
    split: char,
    heal: char,
    fold: char,
    wrong: char,
}

static UNICODE: Glyphs = Glyphs {
    lane: '│',
    right: ['├', '─', '▶'],
    left: ['┤', '─', '◀'],
    cross: '┼',
    lost: '✗',
    timer: '◷',
    act: '●',
    crash: '✖',
    restart: '○',
    split: '╪',
    heal: '═',
    fold: '⋮',
    wrong: '✗',
};

static ASCII: Glyphs = Glyphs {
    lane: '|',
    right: ['+', '-', '>'],
    left: ['+', '-', '<'],
    cross: '+',
    lost: 'x',
    timer: 'o',
    act: '*',
    crash: 'X',
    restart: 'O',
    split: '#',
    heal: '=',
    fold: ':',
    wrong: 'x',
};

impl Glyphs {
    fn mark(&self, kind: StepKind) -> char {
        match kind {
            StepKind::Timer => self.timer,
            StepKind::Crash => self.crash,
            StepKind::Restart => self.restart,
            _ => self.act,
        }
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

fn arrow(cells: &mut [char], from: usize, to: usize, kind: StepKind, glyphs: &Glyphs) {
    let [tail, line, head] = if from < to { glyphs.right } else { glyphs.left };
    for column in from.min(to)..=from.max(to) {
        let crosses = column % LANE == 0;
        put(cells, column, if crosses { glyphs.cross } else { line });
    }
    put(cells, from, tail);
    put(cells, to, if kind == StepKind::Lost { glyphs.lost } else { head });
}

fn put(cells: &mut [char], column: usize, glyph: char) {
    if let Some(cell) = cells.get_mut(column) {
        *cell = glyph;
    }
}

/// What stands beside the lanes: the event without its algorithm's name, and what it changed.
fn words(step: &Step) -> String {
    let mut words = match step.kind {
        StepKind::Deliver | StepKind::Timer | StepKind::Lost => {
            String::from(step.event.rsplit('.').next().unwrap_or(&step.event))
        }
        _ => step.event.clone(),
    };
    if let Some(delay_us) = step.delay_us {
        words += &format!(" +{:.1}ms", millis(delay_us));
    }
    if step.kind == StepKind::Partition {
        words = format!("partition: {words}");
    } else if step.kind == StepKind::Heal {
        words = format!("healed: {words}");
    }
    if let (Some(node), Some(state)) = (step.node, &step.state) {
        words += &format!("  [{node} {state}]");
    }
    for line in &step.log {
        words += &format!("  {line}");
    }
    // Control characters of a payload would move the cursor.
    words.chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::MessageId;

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
        let mut trace = Trace { algorithm: "bully".into(), nodes: 3, steps: Vec::new() };
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
