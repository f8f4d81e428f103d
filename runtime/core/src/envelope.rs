//! What an event travels in.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::decoding::{Refused, decode, refused};
use crate::encoding::encode;
use crate::event::{Event, EventId};
use crate::symmetry::Renamer;

/// An event on its way: encoded, so that it can be cloned, compared, hashed and recorded
/// without asking anything of the event's type.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub struct Envelope {
    event: EventId,
    /// Where to, unless it is plain and for the root, as most are: they are copied a lot.
    address: Option<Box<Address>>,
    body: Body,
}

/// An [`Envelope`] whose body stands somewhere else, as among others that were read together: nothing
/// is copied or counted for it.
#[derive(Clone, Copy, Debug)]
pub struct EnvelopeRef<'a> {
    event: EventId,
    address: Option<&'a Address>,
    body: &'a [u8],
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Address {
    instance: Instance,
    tag: Tag,
}

impl Address {
    /// Apart, so that an envelope is made where it stays in the usual case.
    #[inline(never)]
    fn boxed(instance: &Instance, tag: Tag) -> Box<Self> {
        Box::new(Self { instance: instance.clone(), tag })
    }
}

/// Which instance of an algorithm on the node: the keys on the way from the root of the stack.
///
/// A plain algorithm lives at the root, and so does each member of a tuple; a
/// [`Keyed`](crate::Keyed) adds one key.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Instance(pub(crate) Vec<u64>);

impl Instance {
    /// The root of the stack.
    pub const ROOT: Self = Self(Vec::new());

    /// The instance of `key` directly under the root.
    #[must_use]
    pub fn of_key(key: u64) -> Self {
        Self(vec![key])
    }

    /// The keys from the root down.
    #[must_use]
    pub fn keys(&self) -> &[u64] {
        &self.0
    }
}

/// Whether an envelope asks or answers something.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize,
)]
pub enum Tag {
    /// Neither.
    #[default]
    Plain,
    /// A request, with the asker's number for it.
    Ask(u64),
    /// The answer to the request of that number.
    Answer(u64),
    /// No answer came to the request of that number within its deadline. Never on the wire.
    Expired(u64),
}

impl Tag {
    /// The bit that the numbers of an application's requests have, and those of algorithms do not.
    pub const OF_APPLICATION: u64 = 1 << 63;

    /// The number of a life's request after so many: no two lives of a node that follow one another have one in
    /// common, so an answer to a former life finds no question. They come again after 2^32.
    #[must_use]
    pub const fn number(incarnation: u64, count: u64) -> u64 {
        ((incarnation & LIVES_TOLD_APART) << 32) | (count & (u32::MAX as u64))
    }

    /// The application's question of that number, below 2^63.
    #[must_use]
    pub const fn of_application(number: u64) -> Self {
        Self::Ask(Self::OF_APPLICATION | number)
    }
}

/// The lives of a node whose requests have different numbers: no bit of them is [`Tag::OF_APPLICATION`].
const LIVES_TOLD_APART: u64 = (1 << 31) - 1;

/// How an envelope travels between two nodes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Lane {
    /// First in, first out with everything else of this lane between the same two nodes.
    Ordered(LaneId),
    /// On its own: it may be lost, and overtake anything.
    Datagram,
}

/// The identity of an ordered lane: an algorithm's, or an event type's where the algorithm
/// declares [`Order::PerEvent`](crate::Order::PerEvent).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct LaneId(pub u64);

/// Bytes that are not what they claim to be. Opaque: the codec may change.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(String);

impl DecodeError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    pub(crate) fn codec(error: &postcard::Error) -> Self {
        Self(match error {
            postcard::Error::DeserializeUnexpectedEnd => String::from("the bytes end too early"),
            other => format!("the bytes do not decode: {other}"),
        })
    }
}

/// What stands before the body, on the wire and on disk.
#[derive(Serialize, Deserialize)]
struct Header {
    event: [u8; 8],
    instance: Instance,
    tag: Tag,
}

impl Envelope {
    /// Keys that an instance may have at most. A deeper one does not decode.
    pub const DEPTH_MAX: usize = 8;

    /// What stands before the body has so many bytes at most: the event, the keys with their number, and
    /// the tag with its own.
    pub(crate) const HEADER_BYTES_MAX: usize = 8 + 1 + 10 * Self::DEPTH_MAX + 1 + 10;

    /// The largest envelope in bytes, encoded, of an event that does not
    /// [declare](crate::Event::BYTES_MAX) more.
    pub const BYTES_MAX: u32 = 64 * 1024;

    /// The largest that an event may declare: decoding it may take 129 MiB for a moment.
    pub const BYTES_CAP: u32 = 1024 * 1024;

    /// Checks what an event declares as the size of its largest envelope.
    ///
    /// # Panics
    ///
    /// If it is not more than [`Envelope::BYTES_MAX`], or more than [`Envelope::BYTES_CAP`]. In a
    /// constant, that is an error of the compiler.
    #[doc(hidden)]
    pub const fn check_bytes_max(bytes: u32) {
        assert!(
            Self::BYTES_MAX < bytes,
            "65536 bytes are allowed without `bytes_max`: declare more, or leave it out"
        );
        assert!(
            bytes <= Self::BYTES_CAP,
            "`bytes_max` is 1048576 at most: send what is larger in pieces, as `Bulk` does"
        );
    }

    /// Encodes `event` for the root of the stack. O(size).
    ///
    /// # Panics
    ///
    /// If the event's `Serialize` implementation reports an error.
    #[must_use]
    pub fn seal<E: Event>(event: &E) -> Self {
        match encoded(event) {
            Ok(body) => Self::of(E::ID, Instance::ROOT, Tag::Plain, body.into()),
            Err(error) => panic!("`{}` does not serialize: {error}", E::NAME),
        }
    }

    /// An envelope of bytes that are already encoded.
    #[must_use]
    pub fn from_parts(event: EventId, instance: Instance, tag: Tag, body: Bytes) -> Self {
        Self::of(event, instance, tag, body.into())
    }

    pub(crate) fn of(event: EventId, instance: Instance, tag: Tag, body: Body) -> Self {
        let is_usual = instance.0.is_empty() && tag == Tag::Plain;
        let address = (!is_usual).then(|| Box::new(Address { instance, tag }));
        Self { event, address, body }
    }

    /// One whose event is still to be encoded.
    #[inline]
    pub(crate) fn blank(event: EventId, instance: &Instance, tag: Tag) -> Self {
        let is_usual = instance.0.is_empty() && tag == Tag::Plain;
        let address = if is_usual { None } else { Some(Address::boxed(instance, tag)) };
        Self { event, address, body: Body::EMPTY }
    }

    /// Takes it out of where it stands, and leaves nothing of it there.
    #[must_use]
    #[inline]
    pub fn take(&mut self) -> Self {
        let event = self.event;
        std::mem::replace(self, Self { event, address: None, body: Body::EMPTY })
    }

    #[inline]
    pub(crate) fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// The same event for another instance.
    #[must_use]
    pub fn addressed_to(self, instance: Instance) -> Self {
        let tag = self.tag();
        Self::of(self.event, instance, tag, self.body)
    }

    /// The same event as a question or an answer.
    #[must_use]
    pub fn tagged(self, tag: Tag) -> Self {
        let instance = self.address.map_or(Instance::ROOT, |address| address.instance);
        Self::of(self.event, instance, tag, self.body)
    }

    /// Decodes the event. O(size). Its values may take 128 bytes of memory for each byte of the
    /// body and a mebibyte besides, and be nested 128 deep.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the envelope holds another event, if the body is not an `E` in the one form
    /// in which it is written, if bytes are left over, or if one of the bounds is passed.
    pub fn open<E: Event>(&self) -> Result<E, DecodeError> {
        self.by_ref().open()
    }

    /// The same without its own body.
    #[must_use]
    #[inline]
    pub fn by_ref(&self) -> EnvelopeRef<'_> {
        EnvelopeRef { event: self.event, address: self.address.as_deref(), body: &self.body }
    }

    /// The same event with its nodes renamed.
    pub(crate) fn renamed<E: Event>(&self, renamer: &mut Renamer) -> Result<Self, DecodeError> {
        let event: E = renamer.decoded(&self.body)?;
        Ok(Self { body: encoded(&event)?.into(), ..self.clone() })
    }

    /// Shows `renamer` everything but the body, in which no node stands.
    pub(crate) fn show_header(&self, renamer: &mut Renamer) {
        renamer.mix(self.event.bits());
        self.instance().0.iter().for_each(|key| renamer.mix(*key));
        let (kind, number) = match self.tag() {
            Tag::Plain => (0, 0),
            Tag::Ask(number) => (1, number),
            Tag::Answer(number) => (2, number),
            Tag::Expired(number) => (3, number),
        };
        renamer.mix(kind);
        renamer.mix(number);
    }

    pub(crate) fn is_plain_at_root(&self) -> bool {
        self.address.is_none()
    }

    /// Which event type it holds.
    #[must_use]
    #[inline]
    pub fn event(&self) -> EventId {
        self.event
    }

    /// Which instance on the receiving node it is for.
    #[must_use]
    #[inline]
    pub fn instance(&self) -> &Instance {
        self.by_ref().instance()
    }

    /// Whether it asks or answers.
    #[must_use]
    #[inline]
    pub fn tag(&self) -> Tag {
        self.by_ref().tag()
    }

    /// The encoded event.
    #[must_use]
    #[inline]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The encoded event as something to share: none if it is so short that it stands in the envelope
    /// itself. One that came from a peer keeps all that was read with it.
    #[must_use]
    pub fn shared_body(&self) -> Option<&Bytes> {
        match &self.body {
            Body::Short { .. } => None,
            Body::Long(bytes) => Some(bytes),
        }
    }

    /// Appends the whole envelope to `out`, as frames and records hold it. O(size).
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        self.encode_header_into(out);
        out.extend_from_slice(&self.body);
    }

    /// Appends all of that but the body.
    pub fn encode_header_into(&self, out: &mut Vec<u8>) {
        if let Some(address) = &self.address {
            out.extend_from_slice(&self.event.bits().to_le_bytes());
            append(out, &address.instance);
            append(out, &address.tag);
        } else {
            out.extend_from_slice(&plain_header(self.event));
        }
    }

    /// Reads what [`Envelope::encode_into`] wrote; a long body shares `bytes`. O(header).
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the header is damaged, deeper than [`Envelope::DEPTH_MAX`], or carries a
    /// tag that never travels.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        Self::decode_within(bytes, 0..bytes.len())
    }

    /// The same for a part of `bytes`.
    pub(crate) fn decode_within(bytes: &Bytes, part: Range<usize>) -> Result<Self, DecodeError> {
        let encoded = bytes.get(part.clone()).unwrap_or_default();
        let (header, body) = Header::read(encoded)?;
        let body = Body::within(bytes, part.end - body.len()..part.end);
        let event = EventId::from_bits(u64::from_le_bytes(header.event));
        Ok(Self::of(event, header.instance, header.tag, body))
    }

    /// Reads the header of an encoded envelope, and says which event it holds. O(header).
    ///
    /// # Errors
    ///
    /// As [`Envelope::decode`], which succeeds if this does.
    pub fn check(bytes: &[u8]) -> Result<EventId, DecodeError> {
        let (header, _) = Header::read(bytes)?;
        Ok(EventId::from_bits(u64::from_le_bytes(header.event)))
    }
}

impl<'a> EnvelopeRef<'a> {
    /// An encoded envelope of that event as it stands, if it is plain and for the root.
    #[inline]
    pub(crate) fn plain(event: EventId, encoded: &'a [u8]) -> Option<Self> {
        let body = encoded.strip_prefix(&plain_header(event))?;
        Some(Self { event, address: None, body })
    }

    /// As [`Envelope::open`].
    ///
    /// # Errors
    ///
    /// As [`Envelope::open`].
    #[inline]
    pub fn open<E: Event>(self) -> Result<E, DecodeError> {
        self.read().map_err(Refused::why)
    }

    /// The same, with an error that is small until somebody asks for it.
    #[inline]
    pub(crate) fn read<E: Event>(&self) -> Result<E, Refused> {
        if self.event != E::ID {
            return Err(refused(&format!("this is {:?}, not `{}`", self.event, E::NAME)));
        }
        decode(self.body)
    }

    /// As [`Envelope::event`].
    #[must_use]
    #[inline]
    pub fn event(self) -> EventId {
        self.event
    }

    /// As [`Envelope::instance`].
    #[must_use]
    #[inline]
    pub fn instance(self) -> &'a Instance {
        static ROOT: Instance = Instance::ROOT;
        self.address.map_or(&ROOT, |address| &address.instance)
    }

    /// As [`Envelope::tag`].
    #[must_use]
    #[inline]
    pub fn tag(self) -> Tag {
        self.address.map_or(Tag::Plain, |address| address.tag)
    }

    /// An envelope with a body of its own. O(size).
    #[must_use]
    pub fn to_owned(self) -> Envelope {
        let body = Bytes::copy_from_slice(self.body).into();
        Envelope { event: self.event, address: self.address.cloned().map(Box::new), body }
    }
}

impl Hash for Envelope {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.event, self.instance(), self.tag(), &self.body).hash(state);
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("event", &self.event)
            .field("instance", self.instance())
            .field("tag", &self.tag())
            .field("body", &self.body)
            .finish()
    }
}

impl Header {
    /// The header of an encoded envelope, and its body.
    #[inline]
    fn read(bytes: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        if let Some((event, [root, plain, body @ ..])) = bytes.split_first_chunk()
            && [*root, *plain] == PLAIN_AT_ROOT
        {
            let header = Self { event: *event, instance: Instance::ROOT, tag: Tag::Plain };
            return Ok((header, body));
        }
        let read = postcard::take_from_bytes::<Self>(bytes);
        let (header, body) = read.map_err(|error| DecodeError::codec(&error))?;
        if Envelope::DEPTH_MAX < header.instance.0.len() {
            return Err(DecodeError(format!("an instance of {} keys", header.instance.0.len())));
        }
        if let Tag::Expired(_) = header.tag {
            return Err(DecodeError(String::from("a tag that never travels")));
        }
        Ok((header, body))
    }
}

/// The root's number of keys and the plain tag as they are encoded: the header of most envelopes,
/// written and read without the codec.
const PLAIN_AT_ROOT: [u8; 2] = [0, 0];

/// The header of a plain envelope for the root.
#[inline]
pub(crate) fn plain_header(event: EventId) -> [u8; 10] {
    let [a, b, c, d, e, f, g, h] = event.bits().to_le_bytes();
    let [root, plain] = PLAIN_AT_ROOT;
    [a, b, c, d, e, f, g, h, root, plain]
}

/// Appends a value.
///
/// # Panics
///
/// If its `Serialize` implementation reports an error.
#[inline]
pub(crate) fn append<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    match encode(value, out) {
        Ok(()) => (),
        Err(error) => panic!("`{}` does not serialize: {error}", std::any::type_name::<T>()),
    }
}

/// The bytes of any value.
pub(crate) fn encoded<T: Serialize>(value: &T) -> Result<Vec<u8>, DecodeError> {
    let mut bytes = Vec::with_capacity(ENCODED_BYTES);
    match encode(value, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(DecodeError(format!("it does not encode: {error}"))),
    }
}

/// Room for a value whose size is not known: most are smaller, and growing costs more than room.
const ENCODED_BYTES: usize = 256;
