//! A deployed node once more, from its recording: the same inputs at the same times, and the
//! question whether the same comes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use serde_json::Value;
use synod_core::{
    BuildError, Catalogue, Effect, Envelope, Fingerprint, Input, Node, NodeId, RecordedLife,
    RecordedStep, Recording, Stack, Summary, TimerId,
};

use crate::quiet::quietly;
use crate::scenario::{Scenario, micros};
use crate::trace::{Armed, MessageId, Sent, Step, StepKind, Trace, Tracer, changes};

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
    /// What each step of the trace has to do with others, for a merge.
    pub(crate) acts: Vec<Act>,
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
}

/// Feeds fresh nodes of `scenario` what `recording` says that a node was fed, and compares what
/// comes of each step. O(steps).
///
/// # Errors
///
/// [`BuildError`] if the recorded node is not of its own cluster.
pub fn replay_recording<T: Stack>(
    scenario: &Scenario<T>,
    recording: &Recording,
) -> Result<Replayed, BuildError> {
    let origins = recording.lives.iter().map(|life| &life.origin);
    let nodes = origins.clone().flat_map(|origin| &origin.boot.peers).map(|node| node.0).max();
    let mut player = Player {
        scenario,
        tracer: Tracer::new(scenario.name, nodes.unwrap_or(0)),
        acts: Vec::new(),
        sent: 0,
        received: BTreeMap::new(),
        divergence: None,
    };
    for (index, life) in recording.lives.iter().enumerate() {
        player.live(life, index == 0)?;
        if player.divergence.is_some() {
            break;
        }
    }
    let recorded: BTreeSet<&str> =
        origins.clone().flat_map(|origin| &origin.events).map(String::as_str).collect();
    let known = scenario.catalogue.names();
    let without = |all: &BTreeSet<&str>, these: &BTreeSet<&str>| {
        all.difference(these).map(|name| String::from(*name)).collect()
    };
    Ok(Replayed {
        node: origins.map(|origin| origin.boot.id).next().unwrap_or(NodeId(0)),
        steps: player.acts.len(),
        trace: player.tracer.finish(),
        divergence: player.divergence,
        events_gone: without(&recorded, &known),
        events_new: if recorded.is_empty() { Vec::new() } else { without(&known, &recorded) },
        acts: player.acts,
    })
}

/// A replay under way.
struct Player<'a, T: Stack> {
    scenario: &'a Scenario<T>,
    tracer: Tracer,
    acts: Vec<Act>,
    sent: u64,
    received: BTreeMap<NodeId, u64>,
    divergence: Option<Deviation>,
}

/// What comes of a step, once more.
struct Once {
    got: Fingerprint,
    effects: Vec<Effect>,
    /// Why there are no effects, if the input was refused or a handler panicked.
    wrong: Option<String>,
    survived: bool,
}

impl<T: Stack> Player<'_, T> {
    fn live(&mut self, life: &RecordedLife, is_first: bool) -> Result<(), BuildError> {
        let mut node = Some(self.scenario.node(life.origin.boot.clone())?);
        // Another process has another clock, which begins at 0 again.
        let last_us = self.tracer.last_mut().map_or(0, |step| step.time_us);
        let first_us = life.steps.first().map_or(0, |step| micros(step.now));
        let shift_us = last_us.saturating_sub(first_us);
        for recorded in &life.steps {
            let mut step = self.told(life, node.as_ref(), recorded, is_first);
            step.time_us = micros(recorded.now).saturating_add(shift_us);
            self.take(life, &mut node, recorded, step);
            if self.divergence.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Takes a step once more, and holds it against what was recorded.
    fn take(
        &mut self,
        life: &RecordedLife,
        node: &mut Option<Node<T>>,
        recorded: &RecordedStep,
        mut step: Step,
    ) {
        let seen = node.as_ref().map(|node| self.see(node));
        let once = once(node, recorded);
        if !once.survived {
            *node = None;
        }
        if let (Some((summary, state)), Some(node)) = (seen, node.as_ref()) {
            let (summary_now, state_now) = self.see(node);
            let tells = summary != summary_now || step.kind == StepKind::Start;
            step.state = (tells && !summary_now.is_empty()).then(|| summary_now.to_string());
            step.changes = changes(&state, &state_now);
        }
        if once.got != recorded.fingerprint {
            step.wrong = Some(String::from("diverges from what was recorded"));
            self.diverge(life, recorded, &step, &once);
        } else if !once.survived {
            step.wrong.clone_from(&once.wrong);
        } else {
            step.log.extend(once.wrong.clone());
        }
        self.note(life, recorded, step, once.effects);
    }

    fn see(&self, node: &Node<T>) -> (Summary, Value) {
        (node.summary(), self.scenario.show(node.stack()))
    }

    /// What the node is fed, as a step of the trace.
    fn told(
        &mut self,
        life: &RecordedLife,
        node: Option<&Node<T>>,
        recorded: &RecordedStep,
        is_first: bool,
    ) -> Step {
        let (id, catalogue) = (life.origin.boot.id, &self.scenario.catalogue);
        let says = |kind, words| Step::says(kind, Some(id), words);
        match &recorded.input {
            Input::Start if is_first => says(StepKind::Start, String::from("starts")),
            Input::Start => says(StepKind::Restart, String::from("starts anew")),
            Input::Recover(records) => {
                says(StepKind::Restart, format!("recovers {} records", records.len()))
            }
            Input::Deliver { from, envelope } => {
                let received = self.received.entry(*from).or_default();
                *received += 1;
                let message = Some(MessageId { from: *from, number: *received });
                Step { message, ..Step::of(StepKind::Deliver, id, envelope, catalogue) }
            }
            Input::Trigger(envelope) => Step::of(StepKind::Told, id, envelope, catalogue),
            Input::Timer(timer) => match node.and_then(|node| armed(node, *timer)) {
                Some(envelope) => Step::of(StepKind::Timer, id, &envelope, catalogue),
                None => says(StepKind::Timer, String::from("a timer that is not armed")),
            },
            Input::PeerUp(event) => says(StepKind::Told, format!("{} is up", event.peer)),
            Input::PeerDown(event) => {
                says(StepKind::Told, format!("{} is down: {:?}", event.peer, event.reason))
            }
            other => says(StepKind::Told, format!("{other:?}")),
        }
    }

    fn diverge(&mut self, life: &RecordedLife, recorded: &RecordedStep, step: &Step, once: &Once) {
        let catalogue = &self.scenario.catalogue;
        let shown = once.effects.iter().map(|effect| show(effect, catalogue));
        let from = step.message.map(|message| format!(" from {}", message.from));
        let words = [step.event.as_str(), step.payload.as_str()].join(" ");
        self.divergence = Some(Deviation {
            index: self.acts.len(),
            incarnation: life.origin.boot.incarnation,
            time: recorded.now,
            input: format!("{}{}", words.trim_end(), from.unwrap_or_default()),
            expected: recorded.fingerprint,
            got: once.got,
            effects: shown.chain(once.wrong.clone()).collect(),
        });
    }

    /// Writes a step down, with what the node asks for.
    fn note(
        &mut self,
        life: &RecordedLife,
        recorded: &RecordedStep,
        mut step: Step,
        effects: Vec<Effect>,
    ) {
        let (from, catalogue) = (life.origin.boot.id, &self.scenario.catalogue);
        let mut act = Act {
            incarnation: life.origin.boot.incarnation,
            now: recorded.now,
            received: None,
            sent: Vec::new(),
            linked: None,
        };
        match &recorded.input {
            Input::Deliver { from, envelope } => act.received = Some((*from, envelope.clone())),
            Input::PeerUp(event) => act.linked = Some((event.peer, event.incarnation)),
            _ => (),
        }
        let words = |it: &Envelope| (catalogue.name(it.event()), catalogue.show(it));
        for effect in effects {
            match effect {
                Effect::Send { to, envelope, .. } => {
                    self.sent += 1;
                    let (event, payload) = words(&envelope);
                    let id = MessageId { from, number: self.sent };
                    step.sends.push(Sent { id, to, event, payload, lost: None });
                    act.sent.push((to, envelope));
                }
                Effect::Timer { after, envelope, .. } => {
                    let (event, payload) = words(&envelope);
                    step.armed.push(Armed { event, payload, after_us: micros(after) });
                }
                Effect::Output(envelope) => {
                    step.indicates(from, &envelope, catalogue, self.scenario.clients.as_ref());
                }
                Effect::Log(line) => step.log.push(line),
                _ => (),
            }
        }
        self.acts.push(act);
        self.tracer.push(step);
    }
}

/// The event that an armed timer of `node` would be.
fn armed<T: Stack>(node: &Node<T>, timer: TimerId) -> Option<Envelope> {
    node.timers().find(|(id, _)| *id == timer).map(|(_, envelope)| envelope.clone())
}

/// Takes a recorded step once more. What the network may bring is refused as it was.
fn once<T: Stack>(node: &mut Option<Node<T>>, recorded: &RecordedStep) -> Once {
    let Some(node) = node else {
        let (got, wrong) = (Fingerprint::PANICKED, "a handler has panicked before".into());
        return Once { got, effects: Vec::new(), wrong: Some(wrong), survived: false };
    };
    let mut effects = Vec::new();
    let RecordedStep { now, input, .. } = recorded;
    let step = || node.step(*now, input, &mut effects);
    match quietly(|| catch_unwind(AssertUnwindSafe(step))) {
        Ok(returned) => {
            let wrong = returned.as_ref().err().map(|error| format!("refused: {error}"));
            let got = Fingerprint::of(&returned, &effects);
            Once { got, effects, wrong, survived: true }
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let wrong = format!("panics: {}", text.unwrap_or("without words"));
            let got = Fingerprint::PANICKED;
            Once { got, effects: Vec::new(), wrong: Some(wrong), survived: false }
        }
    }
}

/// An effect as a sentence.
fn show(effect: &Effect, catalogue: &Catalogue) -> String {
    let words = |it: &Envelope| format!("{} {}", catalogue.name(it.event()), catalogue.show(it));
    match effect {
        Effect::Send { to, envelope, .. } => format!("sends {} to {to}", words(envelope)),
        Effect::Timer { after, envelope, .. } => {
            format!("arms {} after {after:?}", words(envelope))
        }
        Effect::Cancel(timer) => format!("cancels timer {}", timer.0),
        Effect::Persist(record) => format!("persists {}", words(record)),
        Effect::Checkpoint { record, .. } => format!("checkpoints {}", words(record)),
        Effect::Job(job) => format!("has {} computed", words(job)),
        Effect::Output(output) => format!("indicates {}", words(output)),
        Effect::Log(line) => format!("logs {line}"),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests;
