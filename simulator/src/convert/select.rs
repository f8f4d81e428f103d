//! What of a trace a picture shows: as much as a person can read.

use std::collections::BTreeSet;

use synod_core::NodeId;

use crate::trace::{Step, Trace};

/// Steps of a picture.
const STEPS_MAX: usize = 200;
/// Nodes up to which all of them are drawn; beyond, those that a drawn step concerns.
const LANES_MAX: u32 = 16;

/// The part of a trace that is drawn.
pub(super) struct Selection<'a> {
    /// The steps, with their places in the trace.
    pub(super) steps: Vec<(usize, &'a Step)>,
    /// How many were left out.
    pub(super) hidden: usize,
    /// The nodes.
    pub(super) lanes: Vec<NodeId>,
}

impl<'a> Selection<'a> {
    /// Everything if it fits; else the last steps that are not quiet.
    pub(super) fn of(trace: &'a Trace) -> Self {
        let is_short = trace.steps.len() <= STEPS_MAX;
        let (all, may_fold) = (trace.steps.iter().enumerate(), trace.may_fold());
        let mut steps: Vec<_> = all.filter(|(_, step)| is_short || !may_fold(step)).collect();
        steps.drain(..steps.len().saturating_sub(STEPS_MAX));
        let hidden = trace.steps.len() - steps.len();
        let lanes = lanes(trace, &steps);
        Self { steps, hidden, lanes }
    }

    /// What is left out, in words.
    pub(super) fn omission(&self) -> Option<String> {
        let Self { hidden, .. } = self;
        (0 < *hidden).then(|| format!("{hidden} steps are left out: earlier ones and quiet ones"))
    }
}

fn lanes(trace: &Trace, steps: &[(usize, &Step)]) -> Vec<NodeId> {
    if trace.nodes <= LANES_MAX {
        return (1..=trace.nodes).map(NodeId).collect();
    }
    let concerned = steps.iter().flat_map(|(_, step)| {
        let sender = step.message.map(|message| message.from);
        step.node.into_iter().chain(sender).chain(step.sends.iter().map(|sent| sent.to))
    });
    let lanes: BTreeSet<NodeId> = concerned.collect();
    lanes.into_iter().filter(|node| (1..=trace.nodes).contains(&node.0)).collect()
}
