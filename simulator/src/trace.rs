//! What happened in a run, step by step: derived from the schedule, for people and tools.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use synod_core::{Catalogue, Envelope, Input, NodeId};
use xxhash_rust::xxh3::xxh3_128;

use crate::history::ClientEvent;

pub use header::{Header, Source};
pub use read::BadTrace;
pub(crate) use unusual::Unusual;

mod header;
mod read;
mod unusual;

/// What an indication says of a client's operation, if anything.
pub(crate) type SeeClients = Arc<dyn Fn(NodeId, &Envelope) -> Option<ClientEvent> + Send + Sync>;

/// The identity of a message: who sent it, and the how-manieth of its messages it is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MessageId {
    /// The sender.
    pub from: NodeId,
    /// Counted from 1 over the whole run.
    pub number: u64,
}

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// The algorithm's name.
    pub algorithm: String,
    /// How many nodes there are, numbered from 1.
    pub nodes: u32,
    /// Where the run comes from.
    pub header: Header,
    /// The steps, in the order of virtual time.
    pub steps: Vec<Step>,
}

/// One handler activation, or one act of the environment.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The step's number, from 0.
    #[serde(rename = "i")]
    pub index: usize,
    /// Virtual time in microseconds.
    #[serde(rename = "t")]
    pub time_us: u64,
    /// The node that acts; `None` for the network.
    #[serde(rename = "n", deserialize_with = "Option::deserialize")]
    pub node: Option<NodeId>,
    /// What happened.
    #[serde(rename = "k")]
    pub kind: StepKind,
    /// The event's wire name, or what happened in words.
    #[serde(rename = "y")]
    pub event: String,
    /// The event written out.
    #[serde(rename = "d", default, skip_serializing_if = "String::is_empty")]
    pub payload: String,
    /// The step that caused this one: the one that sent the message, or armed the timer.
    #[serde(rename = "c", skip_serializing_if = "Option::is_none")]
    pub cause: Option<usize>,
    /// The delivered message.
    #[serde(rename = "m", skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageId>,
    /// How long the delivered message was under way, in microseconds.
    #[serde(rename = "delay", skip_serializing_if = "Option::is_none")]
    pub delay_us: Option<u64>,
    /// What was sent.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    pub sends: Vec<Sent>,
    /// The timers that were armed.
    #[serde(rename = "w", default, skip_serializing_if = "Vec::is_empty")]
    pub armed: Vec<Armed>,
    /// What the step changed in the node's state: as a node starts, all of it; as it comes back, what it has
    /// forgotten since it crashed. Empty for some steps where states are large, unless the scenario is
    /// [`showing_states`](crate::Scenario::showing_states).
    #[serde(rename = "s", default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// The node's summary, where the step changed it.
    #[serde(rename = "summary", skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What the node indicated to the application.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// What clients were seen to do by what the node indicated; empty where the scenario does not
    /// say how to see it.
    #[serde(rename = "h", default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<ClientEvent>,
    /// The algorithm's own lines; of a crash within a handler, which of its effects had left.
    #[serde(rename = "l", default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// The property that no longer holds, and in which way.
    #[serde(rename = "p", skip_serializing_if = "Option::is_none")]
    pub wrong: Option<String>,
}

/// What kind of step it is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// A node starts.
    #[default]
    Start,
    /// A message arrives.
    Deliver,
    /// A message arrives at nobody.
    Lost,
    /// A timer runs out.
    Timer,
    /// The application, a job or the link tells the node something.
    Told,
    /// A node crashes, or leaves for good.
    Crash,
    /// A node comes back.
    Restart,
    /// The network falls apart.
    Partition,
    /// The network is whole again.
    Heal,
    /// Something else goes wrong: a pause, a clog, a clock, a traitor.
    Fault,
    /// Time passes, and nothing else.
    Tick,
}

/// A message as it was sent.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    /// Its identity.
    #[serde(rename = "m")]
    pub id: MessageId,
    /// The receiver.
    pub to: NodeId,
    /// The wire name.
    #[serde(rename = "y")]
    pub event: String,
    /// The event written out.
    #[serde(rename = "d")]
    pub payload: String,
    /// Why it will never arrive, if so.
    #[serde(rename = "x", skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
}

impl Sent {
    /// Whether nothing else in the picture shows why it never arrives: no crash, no partition.
    fn is_lost_by_chance(&self) -> bool {
        self.lost.as_deref().is_some_and(|why| why.starts_with("lost"))
    }
}

/// A timer as it was armed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Armed {
    /// The wire name of its event.
    #[serde(rename = "y")]
    pub event: String,
    /// The event written out.
    #[serde(rename = "d")]
    pub payload: String,
    /// How long it takes, in microseconds.
    pub after_us: u64,
}

/// One place of a state that a step changed. Written as `[path, old, new]`; the path is empty for
/// the whole state, and `null` stands for what is not there.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The fields, keys and indices on the way, joined by dots.
    pub path: String,
    /// What was there.
    pub old: Value,
    /// What is there now.
    pub new: Value,
}

impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (path, old, new) = Deserialize::deserialize(deserializer)?;
        Ok(Self { path, old, new })
    }
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.path, &self.old, &self.new).serialize(serializer)
    }
}

/// Every place in which two states differ, in the order of the new one's fields.
#[must_use]
pub fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare("", old, new, &mut found);
    found
}

fn compare(path: &str, old: &Value, new: &Value, found: &mut Vec<Change>) {
    let at = |key: &str| if path.is_empty() { String::from(key) } else { format!("{path}.{key}") };
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in after {
                compare(&at(key), before.get(key).unwrap_or(&Value::Null), value, found);
            }
            for (key, value) in before.iter().filter(|(key, _)| !after.contains_key(*key)) {
                compare(&at(key), value, &Value::Null, found);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (old, new)) in before.iter().zip(after).enumerate() {
                compare(&at(&index.to_string()), old, new, found);
            }
        }
        _ if old == new => (),
        _ => found.push(Change { path: path.into(), old: old.clone(), new: new.clone() }),
    }
}

/// A 128-bit hash of a text, in hexadecimal.
pub(crate) fn hash_of(text: &str) -> String {
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

/// Writes a trace down, and finds the cause of each step.
#[derive(Debug)]
pub(crate) struct Tracer {
    trace: Trace,
    /// Every message sent, and when.
    sendings: Vec<(MessageId, u64)>,
    numbers: BTreeMap<NodeId, u64>,
    sent: BTreeMap<MessageId, usize>,
    armed: BTreeMap<(NodeId, String, String), usize>,
    /// Bytes of states that were looked at.
    looked: usize,
}

/// Bytes of states that are looked at in a run in any case, and for each of its steps. A state that grows
/// with each step would otherwise cost the square of them.
const LOOKED_MIN: usize = 1 << 20;
const LOOKED_PER_STEP: usize = 64;

impl Tracer {
    pub(crate) fn new(algorithm: &str, nodes: u32) -> Self {
        let trace = Trace { algorithm: String::from(algorithm), nodes, ..Trace::default() };
        let (sendings, numbers, sent) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { trace, sendings, numbers, sent, armed: BTreeMap::new(), looked: 0 }
    }

    /// Whether the next step is worth a look at the state.
    pub(crate) fn may_look(&self) -> bool {
        self.looked <= LOOKED_MIN + LOOKED_PER_STEP * self.trace.steps.len()
    }

    /// A state of so many bytes was looked at.
    pub(crate) fn look(&mut self, bytes: usize) {
        self.looked += bytes;
    }

    /// The next message of `from`: its identity, and where to [find](Self::sending) it again.
    #[cold]
    pub(crate) fn send(&mut self, from: NodeId, now_us: u64) -> (MessageId, u32) {
        let number = self.numbers.entry(from).or_default();
        *number += 1;
        let id = MessageId { from, number: *number };
        let index = u32::try_from(self.sendings.len()).expect("fewer than 2^32 messages");
        self.sendings.push((id, now_us));
        (id, index)
    }

    /// Which message it is, and when it was sent.
    pub(crate) fn sending(&self, index: u32) -> Option<(MessageId, u64)> {
        self.sendings.get(index as usize).copied()
    }

    pub(crate) fn push(&mut self, mut step: Step) {
        let index = self.trace.steps.len();
        step.cause = match (step.message, step.kind, step.node) {
            (Some(message), ..) => self.sent.get(&message).copied(),
            (None, StepKind::Timer, Some(node)) => {
                self.armed.get(&(node, step.event.clone(), step.payload.clone())).copied()
            }
            _ => None,
        };
        self.sent.extend(step.sends.iter().map(|sent| (sent.id, index)));
        if let Some(node) = step.node {
            let keys = step.armed.iter().map(|it| (node, it.event.clone(), it.payload.clone()));
            self.armed.extend(keys.map(|key| (key, index)));
        }
        self.trace.push(step);
    }

    /// How many steps are written down.
    pub(crate) fn len(&self) -> usize {
        self.trace.steps.len()
    }

    pub(crate) fn last_mut(&mut self) -> Option<&mut Step> {
        self.trace.steps.last_mut()
    }

    pub(crate) fn finish(self) -> Trace {
        self.trace
    }
}

impl Step {
    /// A step of `node` that concerns an event.
    pub(crate) fn of(
        kind: StepKind,
        node: NodeId,
        envelope: &Envelope,
        catalogue: &Catalogue,
    ) -> Self {
        let (event, payload) = (catalogue.name(envelope.event()), catalogue.show(envelope));
        Self { kind, node: Some(node), event, payload, ..Self::default() }
    }

    /// A step of `node` upon an input.
    pub(crate) fn upon(kind: StepKind, node: NodeId, input: &Input, catalogue: &Catalogue) -> Self {
        match input {
            Input::Deliver { envelope, .. } | Input::Trigger(envelope) => {
                Self::of(kind, node, envelope, catalogue)
            }
            other => Self::says(kind, Some(node), format!("{other:?}")),
        }
    }

    /// What the node indicates to its application is part of the step.
    pub(crate) fn indicates(
        &mut self,
        node: NodeId,
        envelope: &Envelope,
        catalogue: &Catalogue,
        clients: Option<&SeeClients>,
    ) {
        self.outputs.push(catalogue.show(envelope));
        self.clients.extend(clients.and_then(|see| see(node, envelope)));
    }

    /// A step in words.
    pub(crate) fn says(kind: StepKind, node: Option<NodeId>, event: impl Into<String>) -> Self {
        Self { kind, node, event: event.into(), ..Self::default() }
    }

    /// Whether the step changed nothing that a reader would miss, if nodes have summaries.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        matches!(self.kind, StepKind::Deliver | StepKind::Timer | StepKind::Tick | StepKind::Told)
            && self.state.is_none()
            && self.outputs.is_empty()
            && self.log.is_empty()
            && self.wrong.is_none()
            && !self.sends.iter().any(Sent::is_lost_by_chance)
    }
}

impl Trace {
    /// The trace as JSON lines: its [header](Header), then a line for each step. Equal schedules give
    /// equal bytes of all but the header's places in the source, on any machine.
    #[must_use]
    pub fn json_lines(&self) -> String {
        let steps = self.steps.iter().map(line);
        self.first_line(&self.header) + &steps.collect::<String>()
    }

    /// A 128-bit hash of what happened, in hexadecimal: of [`Trace::json_lines`] with an empty header, and
    /// without what is said of a crash besides: the steps before it say so too. Equal schedules give equal
    /// hashes, on any machine.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut text = self.first_line(&Header::default());
        for step in &self.steps {
            let is_bare = step.kind != StepKind::Crash || step.log.is_empty();
            let bare = || Step { log: Vec::new(), ..step.clone() };
            text += &if is_bare { line(step) } else { line(&bare()) };
        }
        hash_of(&text)
    }

    fn first_line(&self, header: &Header) -> String {
        let Self { algorithm, nodes, .. } = self;
        line(&FirstLine { synod_trace: read::VERSION, algorithm, nodes: *nodes, header })
    }

    /// The last summary of each node that has one, by node.
    #[must_use]
    pub fn last_summaries(&self) -> BTreeMap<NodeId, &str> {
        let told = self.steps.iter().filter_map(|step| Some((step.node?, step.state.as_deref()?)));
        told.collect()
    }

    /// Whether a picture may leave the step out. Where no node has a summary, each change of a state
    /// counts; and so does each message that came in an [unusual](Unusual) way.
    pub(crate) fn may_fold(&self) -> impl Fn(&Step) -> bool + use<> {
        let has_summaries = self.steps.iter().any(|step| step.state.is_some());
        let unusual = Unusual::of(self);
        move |step| {
            let is_quiet = step.is_quiet() && unusual.word(step).is_none();
            is_quiet && (has_summaries || step.changes.is_empty())
        }
    }

    pub(crate) fn push(&mut self, mut step: Step) {
        step.index = self.steps.len();
        self.steps.push(step);
    }
}

/// The first line of a trace.
#[derive(Serialize)]
struct FirstLine<'a> {
    synod_trace: u64,
    algorithm: &'a str,
    nodes: u32,
    #[serde(flatten)]
    header: &'a Header,
}

fn line(value: &impl Serialize) -> String {
    match serde_json::to_string(value) {
        Ok(line) => line + "\n",
        Err(error) => unreachable!("strings and numbers serialize: {error}"),
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.from, self.number)
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parts = text.split_once('.').and_then(|(from, number)| {
            Some(Self { from: from.parse().ok()?, number: number.parse().ok()? })
        });
        let id = parts.filter(|id| id.to_string() == text);
        id.ok_or_else(|| D::Error::custom("a message is written as `n1.7`"))
    }
}
