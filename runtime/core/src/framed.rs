//! Envelopes that are encoded one behind the other, as a transport writes them.

use bytes::Bytes;

use crate::envelope::{Envelope, EnvelopeRef, append, plain_header};
use crate::envelopes::{Envelopes, check_length};
use crate::event::{Event, EventId};

/// Events of one type for one lane of one node, in the order of sending: each is a frame, as
/// [`Envelopes::cut_off`] takes it apart. All are for the root of the stack, and none asks or answers.
///
/// What can be done once for all of them is not done for each, and none is copied by itself.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Framed {
    event: EventId,
    count: usize,
    largest: usize,
    bytes: Vec<u8>,
}

impl Framed {
    /// Bytes after which nothing more is added.
    pub const BYTES_MAX: usize = 64 * 1024;

    /// Bytes of an event that others may stand behind, at most: to copy a larger one there costs more
    /// than to hand it over by itself.
    pub const FIRST_BYTES_MAX: usize = 512;

    /// The envelope and an event that follows it; none if they are of two types, or if the envelope is
    /// for no root, asks or answers, or is large.
    ///
    /// # Panics
    ///
    /// As [`Framed::push`].
    pub(crate) fn pair<E: Event>(envelope: &Envelope, event: &E) -> Option<Self> {
        let is_small = envelope.body().len() <= Self::FIRST_BYTES_MAX;
        if envelope.event() != E::ID || !envelope.is_plain_at_root() || !is_small {
            return None;
        }
        let bytes = Vec::with_capacity(FIRST_BYTES);
        let mut framed = Self { event: E::ID, count: 0, largest: 0, bytes };
        framed.frame(|bytes| envelope.encode_into(bytes));
        framed.push(event);
        Some(framed)
    }

    /// Whether one more event of this type may be added.
    pub(crate) fn takes(&self, event: EventId) -> bool {
        self.event == event && self.bytes.len() < Self::BYTES_MAX
    }

    /// Encodes one more event at the end. It must be of the same type.
    ///
    /// # Panics
    ///
    /// If the event's `Serialize` implementation reports an error.
    #[inline]
    pub(crate) fn push<E: Event>(&mut self, event: &E) {
        debug_assert_eq!(self.event, E::ID, "events of one type");
        self.frame(|bytes| {
            bytes.extend_from_slice(&plain_header(E::ID));
            append(bytes, event);
        });
    }

    #[inline]
    fn frame(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; Envelopes::LENGTH_BYTES]);
        write(&mut self.bytes);
        let size = self.bytes.len() - start - Envelopes::LENGTH_BYTES;
        let length = u32::try_from(size).expect("an event of less than 4 GiB").to_le_bytes();
        if let Some(place) = self.bytes.get_mut(start..).and_then(|frame| frame.first_chunk_mut()) {
            *place = length;
        }
        self.count += 1;
        self.largest = self.largest.max(size);
    }

    /// Which event type they hold.
    #[must_use]
    pub fn event(&self) -> EventId {
        self.event
    }

    /// How many there are, two at least.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Bytes of the largest envelope.
    #[must_use]
    pub fn largest(&self) -> usize {
        self.largest
    }

    /// The frames, each of which is a length and an envelope.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Each of them where it stands.
    pub(crate) fn each(&self) -> impl Iterator<Item = EnvelopeRef<'_>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (encoded, size) = check_length(rest)?;
            rest = rest.get(size..)?;
            EnvelopeRef::plain(self.event, encoded)
        })
    }

    /// The same, to be taken one by one. O(bytes).
    #[must_use]
    pub fn envelopes(&self) -> Envelopes {
        Envelopes::framed(self.event, self.count, Bytes::copy_from_slice(&self.bytes))
    }
}

/// Room at the beginning: some short events.
const FIRST_BYTES: usize = 1_024;
