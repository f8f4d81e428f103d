//! The lanes of a picture for a terminal: one for each node, and on each row what happens between
//! them. Used by the picture of one run and by that of two side by side.

use synod_core::NodeId;

use crate::trace::{Change, Step, StepKind, Unusual};

/// Places of a state that are told if a step changed them, and characters of what is there now.
const CHANGES_MAX: usize = 4;
const VALUE_MAX: usize = 24;
/// Receivers of lost messages that are told by name.
const LOST_MAX: usize = 3;

/// The nodes that are drawn, and which of them are up at the row that is drawn next.
#[derive(Debug)]
pub(crate) struct Lanes {
    nodes: Vec<NodeId>,
    /// Columns of each lane.
    columns: usize,
    glyphs: &'static Glyphs,
    up: Vec<NodeId>,
}

impl Lanes {
    pub(crate) fn new(nodes: Vec<NodeId>, columns: usize, glyphs: &'static Glyphs) -> Self {
        Self { nodes, columns, glyphs, up: Vec::new() }
    }

    /// The names of the nodes above their lanes.
    pub(crate) fn header(&self) -> String {
        let columns = self.columns;
        self.nodes.iter().map(|node| format!("{:<columns$}", node.to_string())).collect()
    }

    /// Takes note of who is up after `step`, drawn or not.
    pub(crate) fn follow(&mut self, step: &Step) {
        match (step.kind, step.node) {
            (StepKind::Start | StepKind::Restart, Some(node)) => self.up.push(node),
            (StepKind::Crash, Some(node)) => self.up.retain(|live| *live != node),
            _ => (),
        }
    }

    /// A row on which nothing happens.
    pub(crate) fn calm(&self) -> String {
        self.cells().into_iter().collect()
    }

    /// The row of a step.
    pub(crate) fn row(&self, step: &Step) -> String {
        let (mut cells, glyphs) = (self.cells(), self.glyphs);
        let at = |node: NodeId| self.nodes.iter().position(|lane| *lane == node);
        let at = |node| at(node).map(|it| it * self.columns);
        let to = step.node.and_then(at);
        let from = step.message.and_then(|message| at(message.from));
        match (step.kind, from, to) {
            (StepKind::Partition | StepKind::Heal, ..) => {
                let mark = if step.kind == StepKind::Heal { glyphs.heal } else { glyphs.split };
                (0..self.nodes.len()).for_each(|lane| put(&mut cells, lane * self.columns, mark));
            }
            (_, Some(from), Some(to)) => self.arrow(&mut cells, from, to, step.kind),
            (kind, None, Some(to)) => put(&mut cells, to, glyphs.mark(kind)),
            _ => (),
        }
        cells.into_iter().collect()
    }

    fn cells(&self) -> Vec<char> {
        let mut cells = vec![' '; self.columns * self.nodes.len()];
        for (lane, node) in self.nodes.iter().enumerate() {
            let glyph = if self.up.contains(node) { self.glyphs.lane } else { ' ' };
            put(&mut cells, lane * self.columns, glyph);
        }
        cells
    }

    fn arrow(&self, cells: &mut [char], from: usize, to: usize, kind: StepKind) {
        let glyphs = self.glyphs;
        let [tail, line, head] = if from < to { glyphs.right } else { glyphs.left };
        for column in from.min(to)..=from.max(to) {
            let crosses = column.is_multiple_of(self.columns);
            put(cells, column, if crosses { glyphs.cross } else { line });
        }
        put(cells, from, tail);
        put(cells, to, if kind == StepKind::Lost { glyphs.lost } else { head });
    }
}

/// The characters of a picture.
#[derive(Debug)]
pub(crate) struct Glyphs {
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
    sends: &'static str,
    pub(crate) fold: char,
    pub(crate) wrong: char,
}

pub(crate) static UNICODE: Glyphs = Glyphs {
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
    sends: "→",
    fold: '⋮',
    wrong: '✗',
};

pub(crate) static ASCII: Glyphs = Glyphs {
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
    sends: "->",
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

fn put(cells: &mut [char], column: usize, glyph: char) {
    if let Some(cell) = cells.get_mut(column) {
        *cell = glyph;
    }
}

/// What stands beside the lanes: the event without its algorithm's name, and what it changed.
pub(crate) fn words(step: &Step) -> String {
    named(step, name(step), "")
}

/// The same, what is unusual about how it came, and what it sent.
pub(crate) fn words_and_sends(step: &Step, unusual: &Unusual, glyphs: &Glyphs) -> String {
    let came = unusual.word(step).map(|word| format!(" {word}")).unwrap_or_default();
    named(step, name(step), &format!("{came}{}", sends(step, glyphs)))
}

fn name(step: &Step) -> &str {
    match step.kind {
        StepKind::Deliver | StepKind::Timer | StepKind::Lost => short(&step.event),
        _ => &step.event,
    }
}

/// How many messages go out, and to whom those that never arrive.
pub(crate) fn sends(step: &Step, glyphs: &Glyphs) -> String {
    if step.sends.is_empty() {
        return String::new();
    }
    let lost: Vec<String> =
        step.sends.iter().filter(|it| it.lost.is_some()).map(|it| it.to.to_string()).collect();
    let lost = match lost.len() {
        0 => String::new(),
        1..=LOST_MAX => format!(", lost to {}", lost.join(" ")),
        more => format!(", {more} lost"),
    };
    format!(" {} {} msg{lost}", glyphs.sends, step.sends.len())
}

/// An event's name without that of its algorithm.
pub(crate) fn short(event: &str) -> &str {
    event.rsplit('.').next().unwrap_or(event)
}

/// The same with another name for what happens, and with `sends` before what it changed.
pub(crate) fn named(step: &Step, name: &str, sends: &str) -> String {
    let mut words = String::from(name);
    if let Some(delay_us) = step.delay_us {
        words += &format!(" +{:.1}ms", millis(delay_us));
    }
    if step.kind == StepKind::Partition {
        words = format!("partition: {words}");
    } else if step.kind == StepKind::Heal {
        words = format!("healed: {words}");
    }
    words += sends;
    let state = came_to(step);
    if let (Some(node), Some(state)) = (step.node, state) {
        words += &format!("  [{node} {state}]");
    }
    for line in &step.log {
        words += &format!("  {line}");
    }
    // Control characters of a payload would move the cursor.
    words.chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}

/// What a step made of its node: its summary, else what changed in its state. Of a node that starts all is new.
pub(crate) fn came_to(step: &Step) -> Option<String> {
    let changes = if step.kind == StepKind::Start { &[] } else { step.changes.as_slice() };
    step.state.clone().or_else(|| changed(changes))
}

/// What changed in a state, in short; none if nothing.
fn changed(changes: &[Change]) -> Option<String> {
    let told = changes.iter().take(CHANGES_MAX).map(|Change { path, new, .. }| {
        let new = new.as_str().map_or_else(|| new.to_string(), String::from);
        let value: String = new.chars().take(VALUE_MAX).collect();
        let more = if value.len() < new.len() { ".." } else { "" };
        if path.is_empty() { format!("{value}{more}") } else { format!("{path}:{value}{more}") }
    });
    let told: Vec<String> = told.collect();
    let more = if CHANGES_MAX < changes.len() { " .." } else { "" };
    (!told.is_empty()).then(|| told.join(" ") + more)
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
pub(crate) fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}
