//! What belongs together in a trace: a message's sending and its arrival, a timer's arming and
//! its end, the begin and the end of a fault.
//!
//! Steps are named by their place in the trace, so that a trace that was put together by hand,
//! with wrong numbers in it, is converted as well as it can be.

use std::collections::{BTreeMap, BTreeSet};

use synod_core::NodeId;

use crate::trace::{MessageId, Step, StepKind, Trace};

/// The causes and the fates in a trace.
pub(super) struct Links {
    /// For each step, the earlier one that caused it.
    origins: Vec<Option<usize>>,
    /// The messages that a step tells the end of.
    ended: BTreeSet<MessageId>,
}

impl Links {
    pub(super) fn of(trace: &Trace) -> Self {
        let mut sent = BTreeMap::new();
        let (mut origins, mut ended) = (Vec::new(), BTreeSet::new());
        for (place, step) in trace.steps.iter().enumerate() {
            let cause = step.cause.filter(|cause| *cause < place);
            origins.push(cause.or_else(|| sent.get(&step.message?).copied()));
            ended.extend(step.message);
            sent.extend(step.sends.iter().map(|message| (message.id, place)));
        }
        Self { origins, ended }
    }

    /// The step that caused the one at `place`.
    pub(super) fn origin(&self, place: usize) -> Option<usize> {
        self.origins.get(place).copied().flatten()
    }

    /// The steps that each step caused.
    pub(super) fn caused(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut caused: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (place, origin) in self.origins.iter().enumerate() {
            if let Some(origin) = origin {
                caused.entry(*origin).or_default().push(place);
            }
        }
        caused
    }

    /// Whether a step tells what became of the message.
    pub(super) fn has_ended(&self, message: MessageId) -> bool {
        self.ended.contains(&message)
    }
}

/// Something that lasts.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Lasting<'a> {
    /// A node is down.
    Down(NodeId),
    /// The network has fallen apart, in this way.
    Split(&'a str),
}

/// From one step to another, or to the end of the trace.
pub(super) struct Span<'a> {
    pub(super) what: Lasting<'a>,
    pub(super) begin: usize,
    pub(super) end: Option<usize>,
}

/// When nodes are down, and when the network is not whole.
pub(super) fn spans(trace: &Trace) -> Vec<Span<'_>> {
    let mut spans = Vec::new();
    let mut open: BTreeMap<Lasting<'_>, usize> = BTreeMap::new();
    for (place, step) in trace.steps.iter().enumerate() {
        match lasting(step) {
            Some((what, true)) => {
                open.entry(what).or_insert(place);
            }
            Some((what, false)) => {
                let begin = open.remove(&what);
                spans.extend(begin.map(|begin| Span { what, begin, end: Some(place) }));
            }
            None => (),
        }
    }
    spans.extend(open.into_iter().map(|(what, begin)| Span { what, begin, end: None }));
    spans.sort_by_key(|span| (span.begin, span.what));
    spans
}

/// What begins (or else ends) with the step.
fn lasting(step: &Step) -> Option<(Lasting<'_>, bool)> {
    match (step.kind, step.node) {
        (StepKind::Crash, Some(node)) => Some((Lasting::Down(node), true)),
        (StepKind::Start | StepKind::Restart, Some(node)) => Some((Lasting::Down(node), false)),
        (StepKind::Partition, _) => Some((Lasting::Split(&step.event), true)),
        (StepKind::Heal, _) => Some((Lasting::Split(&step.event), false)),
        _ => None,
    }
}
