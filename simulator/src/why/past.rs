//! What led to the last step of a run, and what it did not know: who heard of what by whom.

use std::collections::BTreeSet;

use synod_core::NodeId;

use crate::trace::{Step, StepKind, Trace};

/// The steps that led to the last one, in order, itself left out. O(steps²) at most.
pub(super) fn past(trace: &Trace) -> Vec<usize> {
    let mut found = BTreeSet::new();
    let mut open: Vec<usize> = trace.steps.len().checked_sub(1).into_iter().collect();
    while let Some(at) = open.pop() {
        let Some(step) = trace.steps.get(at) else { continue };
        let origins = step.cause.into_iter().chain(before(trace, step));
        open.extend(origins.filter(|it| *it < at && found.insert(*it)));
    }
    found.into_iter().collect()
}

/// The step of the same node before one. What is lost on arrival touches nobody.
fn before(trace: &Trace, step: &Step) -> Option<usize> {
    let node = step.node?;
    trace.steps.get(..step.index)?.iter().rfind(|it| acts(it, node)).map(|it| it.index)
}

fn acts(step: &Step, node: NodeId) -> bool {
    step.node == Some(node) && step.kind != StepKind::Lost
}

/// Each node's last step that changed its state, where that is not among those that led to the last one.
pub(super) fn unknown(trace: &Trace) -> Vec<usize> {
    let known: BTreeSet<usize> =
        past(trace).into_iter().chain(trace.steps.last().map(|it| it.index)).collect();
    let changing = |step: &&Step| step.state.is_some() || !step.changes.is_empty();
    let last = |node| trace.steps.iter().filter(changing).rfind(|it| acts(it, node));
    let last = (1..=trace.nodes).filter_map(|node| Some(last(NodeId(node))?.index));
    let unknown: BTreeSet<usize> = last.filter(|step| !known.contains(step)).collect();
    unknown.into_iter().collect()
}
