//! The layout of a recording, apart from the types that it is read into.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fingerprint::Fnv;
use super::{BadRecording, Moment, Origin, RecordTooLarge, Recording};
use crate::context::TimerId;
use crate::envelope::{DecodeError, Envelope, Instance, Tag, append};
use crate::event::{EventId, NodeId, PeerDown, PeerUp};
use crate::node::{Boot, Input, Snapshot};
use crate::schema::Schema;

/// The version of the layout, and of the fingerprints.
pub(super) const FORMAT: u32 = 4;
/// Magic and format.
pub(super) const PREFIX_BYTES: usize = 12;
/// A length and its complement.
const HEADER_BYTES: usize = 8;
/// What stands behind the content.
const CHECK_BYTES: usize = 8;

/// How the content of a record begins that begins a life.
const LIFE: u8 = 0;

/// What a record says. A new layout is a new format: the variants and their order are fixed.
#[derive(Serialize, Deserialize)]
pub(super) enum Entry<'a> {
    Life(Opening),
    Step { now: Duration, input: Told<'a>, fingerprint: [u8; 8] },
    Cut,
    Resumed(Kept<'a>),
}

/// A [`Snapshot`].
#[derive(Serialize, Deserialize)]
pub(super) struct Kept<'a> {
    states: Vec<Vec<u8>>,
    random: u64,
    timers: Vec<(Carried<'a>, u64)>,
    next_timer: u64,
    asked: Vec<(u64, [u8; 8])>,
    next_ticket: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Opening {
    algorithm: String,
    id: NodeId,
    peers: Vec<NodeId>,
    incarnation: u64,
    seed: u64,
    events: BTreeMap<String, Schema>,
    began: Option<Moment>,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Told<'a> {
    Start,
    Recover(Vec<Carried<'a>>),
    Deliver { from: NodeId, envelope: Carried<'a> },
    Trigger(Carried<'a>),
    Timer(u64),
    PeerUp(PeerUp),
    PeerDown(PeerDown),
}

/// An envelope in the middle of other data.
pub(super) struct Carried<'a>(Cow<'a, Envelope>);

/// Bytes in one piece.
struct Body<'a>(&'a [u8]);

/// What stands at the beginning of bytes.
pub(super) enum Frame<'a> {
    /// A record, with its content and its size in the file.
    Whole { content: &'a [u8], size: usize },
    /// The beginning of one.
    Torn,
}

/// Whether a recording begins here; false if only the beginning of its beginning does.
pub(super) fn begins(bytes: &[u8]) -> Result<bool, BadRecording> {
    let Some((magic, rest)) = bytes.split_first_chunk::<8>() else {
        let may = Recording::MAGIC.starts_with(bytes);
        return if may { Ok(false) } else { Err(BadRecording::NotARecording) };
    };
    if magic != Recording::MAGIC {
        return Err(BadRecording::NotARecording);
    }
    match rest.first_chunk().map(|format| u32::from_le_bytes(*format)) {
        Some(FORMAT) => Ok(true),
        Some(found) => Err(BadRecording::Format { found, known: FORMAT }),
        None => Ok(false),
    }
}

/// Reads the record of this number, or says what is wrong with it. A file system that lost power
/// may leave zeros where a record was to be: those are a torn end too.
pub(super) fn frame(number: u64, bytes: &[u8]) -> Result<Frame<'_>, &'static str> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(Frame::Torn);
    };
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    if u32::from_le_bytes([c0, c1, c2, c3]) != !length {
        let unwritten = bytes.iter().all(|byte| *byte == 0);
        return if unwritten { Ok(Frame::Torn) } else { Err("its length is not its length") };
    }
    let length = length as usize;
    if Recording::RECORD_BYTES_MAX < length {
        return Err("it is longer than any record");
    }
    let Some((content, rest)) = rest.split_at_checked(length) else {
        return Ok(Frame::Torn);
    };
    match rest.first_chunk() {
        None => Ok(Frame::Torn),
        Some(check) if u64::from_le_bytes(*check) == checked(number, content) => {
            Ok(Frame::Whole { content, size: HEADER_BYTES + length + CHECK_BYTES })
        }
        Some(_) => Err("its content is not what was written"),
    }
}

/// Appends the record of this number, or leaves `out` as it is.
pub(super) fn put(number: u64, entry: &Entry<'_>, out: &mut Vec<u8>) -> Result<(), RecordTooLarge> {
    let begin = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    append(out, entry);
    let written = out.get_mut(begin..).and_then(|record| record.split_first_chunk_mut());
    let (header, content): (&mut [u8; HEADER_BYTES], _) = written.expect("the header stands there");
    let length = match u32::try_from(content.len()) {
        Ok(length) if content.len() <= Recording::RECORD_BYTES_MAX => length,
        _ => {
            let size = content.len();
            out.truncate(begin);
            return Err(RecordTooLarge(size));
        }
    };
    *header = (u64::from(length) | u64::from(!length) << 32).to_le_bytes();
    let check = checked(number, content);
    out.extend_from_slice(&check.to_le_bytes());
    Ok(())
}

/// Whose life begins with the record of this content; none if it says something else.
pub(super) fn origin(content: &[u8]) -> Result<Option<Origin>, DecodeError> {
    if content.first() != Some(&LIFE) {
        return Ok(None);
    }
    match Entry::decode(content)? {
        Entry::Life(opening) => Ok(Some(opening.into())),
        Entry::Step { .. } | Entry::Cut | Entry::Resumed(_) => Ok(None),
    }
}

fn checked(number: u64, content: &[u8]) -> u64 {
    Fnv::NEW.number(number).bytes(content).0
}

impl Entry<'_> {
    pub(super) fn decode(content: &[u8]) -> Result<Entry<'static>, DecodeError> {
        match postcard::take_from_bytes(content) {
            Ok((entry, [])) => Ok(entry),
            Ok((_, rest)) => Err(DecodeError::new(format!("{} bytes are left over", rest.len()))),
            Err(error) => Err(DecodeError::codec(&error)),
        }
    }
}

impl From<&Origin> for Opening {
    fn from(origin: &Origin) -> Self {
        let Origin { algorithm, boot, events, began } = origin.clone();
        let Boot { id, peers, incarnation, seed } = boot;
        Self { algorithm, id, peers, incarnation, seed, events, began }
    }
}

impl From<Opening> for Origin {
    fn from(opening: Opening) -> Self {
        let Opening { algorithm, id, peers, incarnation, seed, events, began } = opening;
        Self { algorithm, boot: Boot { id, peers, incarnation, seed }, events, began }
    }
}

impl<'a> From<&'a Snapshot> for Kept<'a> {
    fn from(snapshot: &'a Snapshot) -> Self {
        let timers = snapshot.timers.iter().map(|(envelope, id)| (envelope.into(), id.0));
        let asked = snapshot.asked.iter();
        Self {
            states: snapshot.states.clone(),
            random: snapshot.random,
            timers: timers.collect(),
            next_timer: snapshot.next_timer,
            asked: asked.map(|(number, event)| (*number, event.bits().to_le_bytes())).collect(),
            next_ticket: snapshot.next_ticket,
        }
    }
}

impl From<Kept<'_>> for Snapshot {
    fn from(kept: Kept<'_>) -> Self {
        let timers = kept.timers.into_iter().map(|(it, id)| (it.into_owned(), TimerId(id)));
        let event = |bits| EventId::from_bits(u64::from_le_bytes(bits));
        Self {
            states: kept.states,
            random: kept.random,
            timers: timers.collect(),
            next_timer: kept.next_timer,
            asked: kept.asked.into_iter().map(|(number, bits)| (number, event(bits))).collect(),
            next_ticket: kept.next_ticket,
        }
    }
}

impl<'a> From<&'a Input> for Told<'a> {
    fn from(input: &'a Input) -> Self {
        match input {
            Input::Start => Self::Start,
            Input::Recover(records) => Self::Recover(records.iter().map(Carried::from).collect()),
            Input::Deliver { from, envelope } => {
                Self::Deliver { from: *from, envelope: envelope.into() }
            }
            Input::Trigger(envelope) => Self::Trigger(envelope.into()),
            Input::Timer(TimerId(id)) => Self::Timer(*id),
            Input::PeerUp(event) => Self::PeerUp(*event),
            Input::PeerDown(event) => Self::PeerDown(*event),
        }
    }
}

impl From<Told<'_>> for Input {
    fn from(told: Told<'_>) -> Self {
        match told {
            Told::Start => Self::Start,
            Told::Recover(records) => {
                Self::Recover(records.into_iter().map(Carried::into_owned).collect())
            }
            Told::Deliver { from, envelope } => {
                Self::Deliver { from, envelope: envelope.into_owned() }
            }
            Told::Trigger(envelope) => Self::Trigger(envelope.into_owned()),
            Told::Timer(id) => Self::Timer(TimerId(id)),
            Told::PeerUp(event) => Self::PeerUp(event),
            Told::PeerDown(event) => Self::PeerDown(event),
        }
    }
}

impl<'a> From<&'a Envelope> for Carried<'a> {
    fn from(envelope: &'a Envelope) -> Self {
        Self(Cow::Borrowed(envelope))
    }
}

impl Carried<'_> {
    fn into_owned(self) -> Envelope {
        self.0.into_owned()
    }
}

impl Serialize for Carried<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let envelope = self.0.as_ref();
        let (event, body) = (envelope.event().bits().to_le_bytes(), Body(envelope.body()));
        (event, envelope.instance(), envelope.tag(), body).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Carried<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (event, instance, tag, body): ([u8; 8], Instance, Tag, &'de [u8]) =
            Deserialize::deserialize(deserializer)?;
        let event = EventId::from_bits(u64::from_le_bytes(event));
        let body = Bytes::copy_from_slice(body);
        Ok(Self(Cow::Owned(Envelope::from_parts(event, instance, tag, body))))
    }
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}
