//! A deployed node once more, from its recording: the same inputs at the same times, and the
//! question whether the same comes of them.

mod notes;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use serde_json::Value;
use synod_core::{
    BuildError, Envelope, Fingerprint, Input, Moment, Node, NodeId, Property, Reason, RecordedLife,
    RecordedStep, Recording, SnapshotError, Stack, Summary, TimerId,
};

use self::notes::{Notes, Once};
use crate::quiet::{quietly, words_of};
use crate::scenario::{Scenario, micros};
use crate::trace::{Step, StepKind, Trace, changes};

/// What came of the replay of one node's recording.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The node.
    pub node: NodeId,
    /// Steps taken, the one that diverged included.
    pub steps: usize,
    /// The steps as this node saw them, in one time from the first life to the last. A message
    /// that it received is numbered by the order of receiving, for its sender is not there to ask.
    pub trace: Trace,
    /// The first step that came to something else than when it was recorded. The replay ends there.
    pub divergence: Option<Deviation>,
    /// Event types that the program knows no more.
    pub events_gone: Vec<String>,
    /// Event types that the program did not know when it was recorded.
    pub events_new: Vec<String>,
    /// Event types that had other fields when it was recorded: what was recorded of them is misread.
    pub events_changed: Vec<String>,
    /// What each step of the trace has to do with others, for a merge.
    pub(crate) acts: Vec<Act>,
    /// When the recording of each life began, by its incarnation.
    pub(crate) began: BTreeMap<u64, Began>,
    /// The lives that were recorded until they ended.
    pub(crate) ended: BTreeSet<u64>,
}

/// When the recording of a life began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Began {
    /// None if nobody looked at the clock on the wall.
    pub(crate) moment: Option<Moment>,
    /// Whether that was in the middle of the life.
    pub(crate) is_late: bool,
}

/// A step that came to something else than when it was recorded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Deviation {
    /// The step, counted from 0 over all lives.
    pub index: usize,
    /// In which life of the node.
    pub incarnation: u64,
    /// The time that the node was told.
    pub time: Duration,
    /// What it was fed.
    pub input: String,
    /// What came of it when it was recorded.
    pub expected: Fingerprint,
    /// What comes of it now.
    pub got: Fingerprint,
    /// The effects that come of it now, one line for each; or why there are none.
    pub effects: Vec<String>,
}

/// Why a recording is not replayed at all.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotReplay {
    /// The recorded node is not of its own cluster.
    #[error(transparent)]
    Cluster(#[from] BuildError),
    /// It begins in the middle of a life, and this program does not read what the node was then: another
    /// program wrote it.
    #[error(
        "what {node} was in its life {incarnation} when the recording began is not read: {cause}; \
         take the program that recorded it"
    )]
    Snapshot {
        /// The node.
        node: NodeId,
        /// Which life of it.
        incarnation: u64,
        /// Why not.
        #[source]
        cause: SnapshotError,
    },
}

/// What a step has to do with steps of other nodes.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    pub(crate) incarnation: u64,
    /// By the clock of the node's process.
    pub(crate) now: Duration,
    pub(crate) received: Option<(NodeId, Envelope)>,
    pub(crate) sent: Vec<(NodeId, Envelope)>,
    /// A life of a peer that is linked from here on.
    pub(crate) linked: Option<(NodeId, u64)>,
    /// A peer that is linked no more, and why.
    pub(crate) parted: Option<(NodeId, Reason)>,
}

/// Feeds fresh nodes of `scenario` what `recording` says that a node was fed, and compares what
/// comes of each step. O(steps).
///
/// # Errors
///
/// [`CannotReplay`].
pub fn replay_recording<T: Stack>(
    scenario: &Scenario<T>,
    recording: &Recording,
) -> Result<Replayed, CannotReplay> {
    let mut player = Player { scenario, notes: Notes::of(scenario, recording) };
    for (index, life) in recording.lives.iter().enumerate() {
        player.live(life, index == 0)?;
        if player.notes.divergence.is_some() {
            break;
        }
    }
    Ok(player.notes.finish(recording))
}

/// A replay under way.
struct Player<'a, T: Stack> {
    scenario: &'a Scenario<T>,
    notes: Notes<'a>,
}

impl<T: Stack> Player<'_, T> {
    fn live(&mut self, life: &RecordedLife, is_first: bool) -> Result<(), CannotReplay> {
        let mut node = Some(self.node(life)?);
        let shift_us = self.notes.shift_us(life);
        for (index, recorded) in life.steps.iter().enumerate() {
            let timer = match &recorded.input {
                Input::Timer(timer) => node.as_ref().and_then(|node| armed(node, *timer)),
                _ => None,
            };
            let mut step = self.notes.told(life, timer.as_ref(), recorded, is_first);
            step.time_us = micros(recorded.now).saturating_add(shift_us);
            if index == 0 && life.resumed.is_some() && recorded.input != Input::Start {
                step.log.push(String::from("recorded from here on, in the middle of a life"));
            }
            self.take(life, &mut node, recorded, step, index == 0);
            if self.notes.divergence.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// The node as it was before the first step of a life that is recorded.
    fn node(&self, life: &RecordedLife) -> Result<Node<T>, CannotReplay> {
        let boot = &life.origin.boot;
        let (id, incarnation) = (boot.id, boot.incarnation);
        let mut node = self.scenario.node(boot.clone())?;
        if let Some(snapshot) = &life.resumed {
            let resumed = node.resume(snapshot);
            resumed.map_err(|cause| CannotReplay::Snapshot { node: id, incarnation, cause })?;
        }
        Ok(node)
    }

    /// Takes a step once more, and holds it against what was recorded.
    fn take(
        &mut self,
        life: &RecordedLife,
        node: &mut Option<Node<T>>,
        recorded: &RecordedStep,
        mut step: Step,
        is_first: bool,
    ) {
        let seen = node.as_ref().map(|node| self.see(node));
        let once = once(node, recorded, self.scenario.properties());
        if !once.survived {
            *node = None;
        }
        if let (Some((summary, state)), Some(node)) = (seen, node.as_ref()) {
            let (summary_now, state_now) = self.see(node);
            let tells = summary != summary_now || step.kind == StepKind::Start || is_first;
            step.state = (tells && !summary_now.is_empty()).then(|| summary_now.to_string());
            let is_new = step.kind == StepKind::Start;
            step.changes = changes(if is_new { &Value::Null } else { &state }, &state_now);
        }
        self.notes.take(life, recorded, step, once);
    }

    fn see(&self, node: &Node<T>) -> (Summary, Value) {
        (node.summary(), self.scenario.show(node.stack()))
    }
}

/// The event that an armed timer of `node` would be.
fn armed<T: Stack>(node: &Node<T>, timer: TimerId) -> Option<Envelope> {
    node.timers().find(|(id, _)| *id == timer).map(|(_, envelope)| envelope.clone())
}

/// Takes a recorded step once more. What the network may bring is refused as it was.
///
/// A node is deployed as one that is held to its local properties: what violates one is a panic.
fn once<T: Stack>(
    node: &mut Option<Node<T>>,
    recorded: &RecordedStep,
    properties: &[Property<T>],
) -> Once {
    let Some(node) = node else {
        return Once::panicked(String::from("a handler has panicked before"));
    };
    let mut effects = Vec::new();
    let step = || node.step(recorded.now, &recorded.input, &mut effects);
    match quietly(|| catch_unwind(AssertUnwindSafe(step))) {
        Ok(returned) => match node.violation(properties).filter(|_| returned.is_ok()) {
            Some(words) => Once::panicked(format!("panics: {words}")),
            None => Once::of(&returned, effects),
        },
        Err(panic) => {
            let words = words_of(&*panic).unwrap_or("without words");
            Once::panicked(format!("panics: {words}"))
        }
    }
}

#[cfg(test)]
mod tests;
