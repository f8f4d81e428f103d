//! The control stream: who is there, and who leaves.
//!
//! A control frame is a length (`u32`), a version of the protocol (`u16`), both little-endian, and a
//! message in postcard. The first frame of each side says which versions it speaks: the newest in the
//! place of the version, and behind it the oldest (`u16`). From there on both speak the highest one that is
//! common to them.
//!
//! The same in every version are these numbers, the hello, its answer and the refusal: a later one may only
//! add to their ends, and is read by those that do not know what it adds.

use std::collections::{BTreeMap, BTreeSet};

use quinn::{RecvStream, SendStream};
use serde::{Deserialize, Serialize};
use synod_core::{EventId, Hello, LaneId, NodeId, Schema, TransportError, WireEvent};

use crate::addresses::{Entry, Version};
use crate::identity::Cluster;
use crate::life::Life;
use crate::limits::CONTROL_BYTES_MAX;
use crate::refusal::{Kind, Turned, printable};
use crate::session::{Answer, Counts, Offer, SessionId, WireId};
use crate::versions::{Agreed, FIRST_OF_RANGES, SPOKEN, Versions};

/// What is said on a control stream. New messages go at the end.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// The dialler's first word.
    Hello(Greeting, Offer),
    /// The acceptor's answer: the connection carries the session that it names. And where the
    /// acceptor sees the dialler, which may not know it.
    HelloAck(Greeting, Answer, String),
    /// The last word to a peer that is turned away.
    Refused { kind: String, text: String },
    /// How many frames of each lane have arrived, to the level that the receiver acknowledges.
    Acknowledged(Counts),
    /// Everything that was sent has been acknowledged, and there will be no more.
    Leaving,
    /// The one that leaves may close.
    Left,
    /// Where nodes listen, by their own account.
    Addresses(Vec<Entry>),
    /// The versions of them that have arrived.
    AddressesTaken(Vec<(NodeId, Version)>),
    /// Another connection would show what this one does not: the certificate that this side has now, where it cannot
    /// dial, or to the peer, where it is seen now.
    DialAgain,
    /// In place of a hello: who is there? The connection carries no link.
    Inquiry,
    /// The answer to that.
    Introduction(Greeting),
    /// The dialler's second word: it takes the answer to its hello, so both sides have accepted each other.
    Confirmed,
}

impl Message {
    /// How many events it lists, and how many lanes or nodes.
    pub(crate) fn lists(&self) -> (usize, usize) {
        let of = |greeting: &Greeting, received: &Counts| (greeting.events.len(), received.len());
        match self {
            Self::Introduction(greeting) => of(greeting, &Counts::new()),
            Self::Hello(greeting, offer) => of(greeting, &offer.received),
            Self::HelloAck(greeting, answer, _) => of(greeting, &answer.received),
            Self::Acknowledged(counts) => (0, counts.len()),
            Self::Addresses(entries) => (0, entries.len()),
            Self::AddressesTaken(taken) => (0, taken.len()),
            Self::Refused { .. }
            | Self::Leaving
            | Self::Left
            | Self::DialAgain
            | Self::Inquiry
            | Self::Confirmed => (0, 0),
        }
    }

    /// Refuses lists that no node writes: decoded, they take many times the bytes of their frame.
    fn bounded(self) -> Result<Self, Turned> {
        let (events, others) = self.lists();
        let (count, most) = if EVENTS_MAX < events {
            (events, EVENTS_MAX)
        } else if COUNTS_MAX < others {
            (others, COUNTS_MAX)
        } else {
            return Ok(self);
        };
        let text = format!("a list of {count} in a control frame, and {most} are allowed");
        Err(Turned::new(Kind::BadHello, text))
    }
}

/// Who a node is, to a peer that has seen its certificate already.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Greeting {
    pub(crate) cluster: String,
    pub(crate) node: NodeId,
    pub(crate) life: Life,
    pub(crate) events: Vec<Told>,
}

/// An event that a node handles, and what it takes the bytes of it for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) schema: Schema,
    /// Its largest envelope.
    pub(crate) bytes_max: u32,
}

impl From<&WireEvent> for Told {
    fn from(event: &WireEvent) -> Self {
        let schema = Schema::of_layout(&event.layout);
        let WireEvent { id, name, bytes_max, .. } = event;
        Self { id: id.bits(), name: name.clone(), schema, bytes_max: *bytes_max }
    }
}

impl Greeting {
    /// Of a process that began at `began`, as a [`Life`] says it.
    pub(crate) fn new(cluster: &Cluster, hello: &Hello, began: u64) -> Self {
        Self {
            cluster: cluster.to_string(),
            node: hello.node,
            life: Life { incarnation: hello.incarnation, began },
            events: hello.events.iter().map(Told::from).collect(),
        }
    }

    /// The largest envelopes of the events that it handles.
    pub(crate) fn bytes_max(&self) -> impl Iterator<Item = (EventId, u32)> {
        self.events.iter().map(|event| (EventId::from_bits(event.id), event.bytes_max))
    }
    /// Checks that two nodes can work together, `theirs` having shown the certificate of
    /// `authenticated`. Not every event must be known to both.
    pub(crate) fn agree(&self, theirs: &Self, authenticated: NodeId) -> Result<(), Turned> {
        let (us, them) = (self.node, authenticated);
        let refuse = |kind, text| Err(Turned::new(kind, text).claiming(Some(them)));
        if theirs.node != them {
            let claim = theirs.node;
            let text = format!("the certificate is that of {them}, and the hello says {claim}");
            return refuse(Kind::IdentityMismatch, text);
        }
        if theirs.cluster != self.cluster {
            let (ours, other) = (&self.cluster, printable(&theirs.cluster));
            let text =
                format!("{them} says it is in the cluster `{other}`, and {us} is in `{ours}`");
            return refuse(Kind::OtherCluster, text);
        }
        let ours: BTreeMap<_, _> = self.events.iter().map(|event| (event.id, event)).collect();
        for event in &theirs.events {
            let Some(known) = ours.get(&event.id) else { continue };
            let [known, other] = [(us, *known), (them, event)];
            if let Some((kind, text)) = differ(known, other) {
                return refuse(kind, text);
            }
        }
        let common = theirs.events.iter().any(|event| ours.contains_key(&event.id));
        if common || ours.is_empty() || theirs.events.is_empty() {
            return Ok(());
        }
        let text =
            format!("{us} and {them} have no event in common: do both run the same program?");
        refuse(Kind::NoCommonEvent, text)
    }

    /// The names of the events that the other side does not handle.
    pub(crate) fn unknown_to<'a>(&'a self, other: &Self) -> Vec<&'a str> {
        let known: BTreeSet<_> = other.events.iter().map(|event| event.id).collect();
        let unknown = self.events.iter().filter(|event| !known.contains(&event.id));
        unknown.map(|event| event.name.as_str()).collect()
    }

    /// The events by identity, as the readers look them up.
    pub(crate) fn names(&self) -> BTreeMap<EventId, String> {
        self.events.iter().map(|it| (EventId::from_bits(it.id), it.name.clone())).collect()
    }
}

/// Why a node and another one mean different things by one event, if they do.
fn differ((us, ours): (NodeId, &Told), (them, theirs): (NodeId, &Told)) -> Option<(Kind, String)> {
    let (known, name) = (&ours.name, printable(&theirs.name));
    if *known != name {
        let id = ours.id;
        let text = format!(
            "event {id:016x} is `{known}` on {us} and `{name}` on {them}: rename one of them"
        );
        return Some((Kind::EventClash, text));
    }
    let (here, there) = (ours.schema, theirs.schema);
    let text = format!(
        "the fields of `{name}` are not the same on {us} (schema {here}) and {them} (schema {there}): \
         a changed event needs a new name"
    );
    (here != there).then_some((Kind::OtherSchema, text))
}

/// Checks that peers will take this node's hello, whatever is to be resumed.
pub(crate) fn check_size(greeting: &Greeting, lanes_max: u32) -> Result<(), TransportError> {
    let events = greeting.events.len();
    if EVENTS_MAX < events {
        let text = format!("the node handles {events} events, and {EVENTS_MAX} are allowed");
        return Err(TransportError(text));
    }
    let most = u64::MAX;
    let offer = Offer {
        wire: WireId(most),
        last_wire: Some(WireId(most)),
        live: Some(SessionId(most)),
        fresh: SessionId(most),
        received: (0..lanes_max).map(|_| (LaneId(most), most)).collect(),
    };
    let size = encode_first(&Message::Hello(greeting.clone(), offer)).len();
    if size <= CONTROL_BYTES_MAX {
        return Ok(());
    }
    let text = format!(
        "the names of all events and the counts of {lanes_max} lanes take {size} bytes in the hello, \
         and {CONTROL_BYTES_MAX} are allowed"
    );
    Err(TransportError(text))
}

/// Encodes the first message of this side: a hello or an inquiry, its answer or a refusal. O(size).
pub(crate) fn encode_first(message: &Message) -> Vec<u8> {
    frame(&[SPOKEN.newest, SPOKEN.oldest], message)
}

/// Encodes a later message, in the version that was agreed on. O(size).
pub(crate) fn encode(version: u16, message: &Message) -> Vec<u8> {
    frame(&[version], message)
}

fn frame(versions: &[u16], message: &Message) -> Vec<u8> {
    let body = postcard::to_allocvec(message).expect("numbers, strings and lists always serialize");
    let size = versions.len() * VERSION_BYTES + body.len();
    let length = u32::try_from(size).expect("a hello is made of this program's own event names");
    let mut frame = Vec::with_capacity(LENGTH_BYTES + size);
    frame.extend_from_slice(&length.to_le_bytes());
    versions.iter().for_each(|version| frame.extend_from_slice(&version.to_le_bytes()));
    frame.extend_from_slice(&body);
    frame
}

/// Decodes what follows the length of the first frame that `peer` sends to `me`, and what the two speak
/// from there on. What a later version adds is left out.
pub(crate) fn decode_first(
    frame: &[u8],
    me: NodeId,
    peer: NodeId,
) -> Result<(Message, Agreed), Turned> {
    let (newest, rest) = split_version(frame)?;
    let (oldest, body) =
        if newest < FIRST_OF_RANGES { (newest, rest) } else { split_version(rest)? };
    let theirs = Versions { oldest, newest };
    if newest < oldest {
        let text = format!("{peer} says that it speaks {theirs}, which is no version at all");
        return Err(Turned::new(Kind::BadHello, text));
    }
    let agreed = Agreed { version: SPOKEN.agree(theirs, me, peer)?, theirs };
    let (message, rest) = take_message(body)?;
    if SPOKEN.newest < newest || rest.is_empty() {
        return Ok((message, agreed));
    }
    Err(left_over(rest))
}

/// Decodes what follows the length of a later frame. Strict: nothing may be left over.
pub(crate) fn decode(frame: &[u8], version: u16) -> Result<Message, Turned> {
    let (said, body) = split_version(frame)?;
    if said != version {
        let text = format!("a control frame of synod/{said} where synod/{version} was agreed on");
        return Err(Turned::new(Kind::Version, text));
    }
    match take_message(body)? {
        (message, []) => Ok(message),
        (_, rest) => Err(left_over(rest)),
    }
}

fn split_version(frame: &[u8]) -> Result<(u16, &[u8]), Turned> {
    let (version, rest) = frame
        .split_first_chunk()
        .ok_or_else(|| Turned::new(Kind::BadHello, "a control frame has no version"))?;
    Ok((u16::from_le_bytes(*version), rest))
}

fn take_message(body: &[u8]) -> Result<(Message, &[u8]), Turned> {
    let (message, rest) = postcard::take_from_bytes::<Message>(body)
        .map_err(|_| Turned::new(Kind::BadHello, "a control frame does not decode"))?;
    Ok((message.bounded()?, rest))
}

fn left_over(rest: &[u8]) -> Turned {
    Turned::new(Kind::BadHello, format!("a control frame has {} bytes left over", rest.len()))
}

/// Why no message came.
#[derive(Debug)]
pub(crate) enum Silence {
    /// The stream or its connection has ended.
    Ended,
    /// Something came that is not a message.
    Turned(Turned),
}

/// Reads the first message that `peer` says to `me`, and what the two speak from there on.
pub(crate) async fn read_first(
    stream: &mut RecvStream,
    me: NodeId,
    peer: NodeId,
) -> Result<(Message, Agreed), Silence> {
    decode_first(&read_frame(stream).await?, me, peer).map_err(Silence::Turned)
}

/// Reads one later message.
pub(crate) async fn read(stream: &mut RecvStream, version: u16) -> Result<Message, Silence> {
    decode(&read_frame(stream).await?, version).map_err(Silence::Turned)
}

/// Reads one frame. The length is checked before anything is allocated.
async fn read_frame(stream: &mut RecvStream) -> Result<Vec<u8>, Silence> {
    let mut length = [0; LENGTH_BYTES];
    stream.read_exact(&mut length).await.map_err(|_| Silence::Ended)?;
    let length = u32::from_le_bytes(length);
    let size = usize::try_from(length).ok().filter(|size| *size <= CONTROL_BYTES_MAX);
    let Some(size) = size else {
        let text =
            format!("a control frame of {length} bytes, and {CONTROL_BYTES_MAX} are allowed");
        return Err(Silence::Turned(Turned::new(Kind::BadHello, text)));
    };
    let mut frame = vec![0; size];
    stream.read_exact(&mut frame).await.map_err(|_| Silence::Ended)?;
    Ok(frame)
}

/// Writes the first message of this side, as [`write`] does later ones.
pub(crate) async fn write_first(stream: &mut SendStream, message: &Message) -> Result<(), Silence> {
    stream.write_all(&encode_first(message)).await.map_err(|_| Silence::Ended)
}

/// Writes one message. An error means that the connection has ended, which others report.
pub(crate) async fn write(
    stream: &mut SendStream,
    version: u16,
    message: &Message,
) -> Result<(), Silence> {
    stream.write_all(&encode(version, message)).await.map_err(|_| Silence::Ended)
}

/// Events that a hello lists.
const EVENTS_MAX: usize = 4_096;

/// Lanes that a control frame counts: as many as it has room for.
const COUNTS_MAX: usize = CONTROL_BYTES_MAX / COUNT_BYTES_MAX;

/// A lane and a number of frames, at their longest.
const COUNT_BYTES_MAX: usize = 20;

const LENGTH_BYTES: usize = 4;

const VERSION_BYTES: usize = 2;

#[cfg(test)]
mod tests;
