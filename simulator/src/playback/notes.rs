//! What a replay of a recording writes down; nothing here asks which algorithm it is of.

use std::collections::{BTreeMap, BTreeSet};

use synod_core::{
    Catalogue, Effect, Envelope, Fingerprint, Input, NodeId, RecordedLife, RecordedStep, Recording,
    Schema, Stack, StepError,
};

use super::{Act, Began, Deviation, Replayed};
use crate::scenario::{Scenario, micros};
use crate::trace::{Armed, Header, MessageId, SeeClients, Sent, Step, StepKind, Trace, Tracer};

/// The trace so far, and what of it has to do with other nodes.
pub(super) struct Notes<'a> {
    catalogue: &'a Catalogue,
    clients: Option<&'a SeeClients>,
    tracer: Tracer,
    acts: Vec<Act>,
    sent: u64,
    received: BTreeMap<NodeId, u64>,
    pub(super) divergence: Option<Deviation>,
}

/// What comes of a step, once more.
pub(super) struct Once {
    pub(super) got: Fingerprint,
    effects: Vec<Effect>,
    /// Why there are no effects, if the input was refused or a handler panicked.
    wrong: Option<String>,
    pub(super) survived: bool,
}

impl Once {
    pub(super) fn of(returned: &Result<(), StepError>, effects: Vec<Effect>) -> Self {
        let wrong = returned.as_ref().err().map(|error| format!("refused: {error}"));
        Self { got: Fingerprint::of(returned, &effects), effects, wrong, survived: true }
    }

    /// No effects of a panic leave the node.
    pub(super) fn panicked(wrong: String) -> Self {
        let (got, effects) = (Fingerprint::PANICKED, Vec::new());
        Self { got, effects, wrong: Some(wrong), survived: false }
    }
}

impl<'a> Notes<'a> {
    pub(super) fn of<T: Stack>(scenario: &'a Scenario<T>, recording: &Recording) -> Self {
        let peers = recording.lives.iter().flat_map(|life| &life.origin.boot.peers);
        let nodes = peers.map(|node| node.0).max().unwrap_or(0);
        Self {
            catalogue: &scenario.catalogue,
            clients: scenario.clients.as_ref(),
            tracer: Tracer::new(scenario.name, nodes),
            acts: Vec::new(),
            sent: 0,
            received: BTreeMap::new(),
            divergence: None,
        }
    }

    /// How far the times of a life are moved: another process has another clock, which begins at 0
    /// again.
    pub(super) fn shift_us(&mut self, life: &RecordedLife) -> u64 {
        let last_us = self.tracer.last_mut().map_or(0, |step| step.time_us);
        let first_us = life.steps.first().map_or(0, |step| micros(step.now));
        last_us.saturating_sub(first_us)
    }

    /// What the node is fed, as a step of the trace; `timer` is the event of the timer that is over.
    pub(super) fn told(
        &mut self,
        life: &RecordedLife,
        timer: Option<&Envelope>,
        recorded: &RecordedStep,
        is_first: bool,
    ) -> Step {
        let (id, catalogue) = (life.origin.boot.id, self.catalogue);
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
            Input::Timer(_) => match timer {
                Some(envelope) => Step::of(StepKind::Timer, id, envelope, catalogue),
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
        let shown = once.effects.iter().map(|effect| show(effect, self.catalogue));
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

    /// Writes a step down, holding what comes of it against what was recorded.
    pub(super) fn take(
        &mut self,
        life: &RecordedLife,
        recorded: &RecordedStep,
        mut step: Step,
        once: Once,
    ) {
        if once.got != recorded.fingerprint {
            step.wrong = Some(String::from("diverges from what was recorded"));
            self.diverge(life, recorded, &step, &once);
        } else if once.survived {
            step.log.extend(once.wrong);
        } else {
            step.wrong = once.wrong;
        }
        self.note(life, recorded, step, once.effects);
    }

    /// Writes a step down, with what the node asks for.
    fn note(
        &mut self,
        life: &RecordedLife,
        recorded: &RecordedStep,
        mut step: Step,
        effects: Vec<Effect>,
    ) {
        let (from, catalogue) = (life.origin.boot.id, self.catalogue);
        let mut act = Act {
            incarnation: life.origin.boot.incarnation,
            now: recorded.now,
            received: None,
            sent: Vec::new(),
            linked: None,
            parted: None,
        };
        match &recorded.input {
            Input::Deliver { from, envelope } => act.received = Some((*from, envelope.clone())),
            Input::PeerUp(event) => act.linked = Some((event.peer, event.incarnation)),
            Input::PeerDown(event) => act.parted = Some((event.peer, event.reason)),
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
                    step.indicates(from, &envelope, catalogue, self.clients);
                }
                Effect::Log(line) => step.log.push(line),
                _ => (),
            }
        }
        self.acts.push(act);
        self.tracer.push(step);
    }

    /// What came of the replay as a whole.
    pub(super) fn finish(self, recording: &Recording) -> Replayed {
        let origins = || recording.lives.iter().map(|life| &life.origin);
        let recorded = || origins().flat_map(|origin| &origin.events);
        let known = self.catalogue.schemas();
        let names: BTreeSet<&str> = recorded().map(|(name, _)| name.as_str()).collect();
        let is_new = |name: &&str| !names.is_empty() && !names.contains(name);
        let is_gone = |name: &&str| !known.contains_key(name);
        let has_changed = |(name, schema): &(&String, &Schema)| {
            known.get(name.as_str()).is_some_and(|known| known != *schema)
        };
        let changed: BTreeSet<&String> = recorded().filter(has_changed).map(|it| it.0).collect();
        let is_whole = self.divergence.is_none();
        Replayed {
            node: origins().map(|origin| origin.boot.id).next().unwrap_or(NodeId(0)),
            steps: self.acts.len(),
            trace: Trace { header: Header::of_program(self.catalogue), ..self.tracer.finish() },
            divergence: self.divergence,
            events_gone: names.iter().copied().filter(is_gone).map(String::from).collect(),
            events_new: known.keys().copied().filter(is_new).map(String::from).collect(),
            events_changed: changed.into_iter().cloned().collect(),
            acts: self.acts,
            // What was recorded of a life in two parts began with the first.
            began: recording.lives.iter().rev().map(Began::of).collect(),
            ended: if is_whole { ended(recording) } else { BTreeSet::new() },
        }
    }
}

fn ended(recording: &Recording) -> BTreeSet<u64> {
    let mut ended = BTreeSet::new();
    for life in &recording.lives {
        let incarnation = life.origin.boot.incarnation;
        if life.cut {
            ended.remove(&incarnation)
        } else {
            ended.insert(incarnation)
        };
    }
    ended
}

impl Began {
    fn of(life: &RecordedLife) -> (u64, Self) {
        let (moment, is_late) = (life.origin.began, life.resumed.is_some());
        (life.origin.boot.incarnation, Self { moment, is_late })
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
