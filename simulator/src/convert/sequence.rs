//! A trace as the lines of a sequence diagram, before a tool's syntax.

use synod_core::NodeId;

use super::select::Selection;
use super::text::{effects, event, happening, millis, visible};
use crate::trace::{Step, StepKind, Trace};

/// Characters of a line's text.
const TEXT_MAX: usize = 120;

/// A sequence diagram.
pub(super) struct Sequence {
    pub(super) title: String,
    pub(super) lanes: Vec<NodeId>,
    pub(super) lines: Vec<Line>,
}

/// A line of a sequence diagram, with its text, which is not escaped yet.
pub(super) enum Line {
    /// A message that arrived.
    Arrow(NodeId, NodeId, String),
    /// A message that did not.
    Lost(NodeId, NodeId, String),
    /// Something at one node.
    Note(NodeId, String),
    /// A crash.
    Crash(NodeId, String),
    /// Something that concerns all nodes.
    Across(String),
    /// A property that no longer holds.
    Wrong(String),
}

impl Sequence {
    pub(super) fn of(trace: &Trace) -> Self {
        let selection = Selection::of(trace);
        let mut lines: Vec<Line> = selection.omission().map(Line::Across).into_iter().collect();
        for (_, step) in &selection.steps {
            describe(step, &mut lines);
        }
        let lanes = selection.lanes;
        lines.retain(|line| line.nodes().iter().flatten().all(|node| lanes.contains(node)));
        let title = format!("{}, {} nodes", visible(&trace.algorithm, TEXT_MAX), trace.nodes);
        Self { title, lanes, lines }
    }
}

impl Line {
    fn nodes(&self) -> [Option<NodeId>; 2] {
        match self {
            Self::Arrow(from, to, _) | Self::Lost(from, to, _) => [Some(*from), Some(*to)],
            Self::Note(node, _) | Self::Crash(node, _) => [Some(*node), None],
            Self::Across(_) | Self::Wrong(_) => [None, None],
        }
    }
}

/// Adds the lines of one step.
fn describe(step: &Step, lines: &mut Vec<Line>) {
    let time = millis(step.time_us);
    let said = visible(&format!("{time} {}", happening(step)), TEXT_MAX);
    let from = step.message.map(|message| message.from);
    lines.extend(match (step.kind, from, step.node) {
        (StepKind::Deliver, Some(from), Some(to)) => Some(Line::Arrow(from, to, said)),
        (StepKind::Lost, Some(from), Some(to)) => Some(Line::Lost(from, to, said)),
        (StepKind::Crash, _, Some(node)) => Some(Line::Crash(node, said)),
        (StepKind::Tick, _, None) => None,
        (_, _, Some(node)) => Some(Line::Note(node, said)),
        (_, _, None) => Some(Line::Across(said)),
    });
    let effects = effects(step);
    if let Some(node) = step.node.filter(|_| !effects.is_empty()) {
        lines.push(Line::Note(node, visible(&effects, TEXT_MAX)));
    }
    for sent in &step.sends {
        if let (Some(why), Some(from)) = (&sent.lost, step.node) {
            let event = event(&sent.event, &sent.payload);
            let said = visible(&format!("{time} {event} (lost: {why})"), TEXT_MAX);
            lines.push(Line::Lost(from, sent.to, said));
        }
    }
    let wrong = step.wrong.as_ref();
    lines.extend(wrong.map(|wrong| Line::Wrong(visible(&format!("{time} ✗ {wrong}"), TEXT_MAX))));
}
