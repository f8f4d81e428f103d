//! The bytes of an encoded event.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem;
use std::ops::{Deref, Range};

use bytes::{Bytes, BytesMut};

use crate::encoding::{Sink, encode};
use crate::event::Event;
use crate::varint;

/// The bytes of an encoded event. Short ones, which most are, stand in the envelope itself: copying
/// them costs less than counting their owners.
#[derive(Clone)]
pub(crate) enum Body {
    Short { length: u8, bytes: [u8; Self::SHORT_MAX] },
    Long(Bytes),
}

impl Body {
    /// Bytes of a short body at most: with their number, they fit where a longer one has its
    /// pointers.
    pub(crate) const SHORT_MAX: usize = 22;
    /// No bytes.
    pub(crate) const EMPTY: Self = Self::Short { length: 0, bytes: [0; Self::SHORT_MAX] };
}

impl Body {
    /// A part of `bytes`; a long one shares their memory.
    pub(crate) fn within(bytes: &Bytes, part: Range<usize>) -> Self {
        let short = bytes.get(part.clone()).and_then(Self::short);
        short.unwrap_or_else(|| Self::Long(bytes.slice(part)))
    }

    #[inline]
    fn short(from: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::SHORT_MAX];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Self::Short { length: u8::try_from(from.len()).ok()?, bytes })
    }
}

impl From<Bytes> for Body {
    fn from(from: Bytes) -> Self {
        Self::short(&from).unwrap_or(Self::Long(from))
    }
}

impl From<Vec<u8>> for Body {
    /// A long one that has much room left is copied: the room would be kept with it.
    fn from(from: Vec<u8>) -> Self {
        if let Some(short) = Self::short(&from) {
            short
        } else if from.len() < from.capacity() / 2 {
            Self::Long(Bytes::copy_from_slice(&from))
        } else {
            Self::Long(from.into())
        }
    }
}

impl Deref for Body {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Long(bytes) => bytes,
        }
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Body {}

impl PartialOrd for Body {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Body {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(other)
    }
}

impl Hash for Body {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (**self).hash(hasher);
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Bytes::copy_from_slice(self).fmt(f)
    }
}

/// Where events are encoded that are not short. Those that are not large either share allocations,
/// and a body that is cut off one is cloned without another; the price is that a body that is kept
/// keeps its neighbours.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    encoded: Vec<u8>,
    chunk: BytesMut,
}

impl Scratch {
    /// Bytes of a chunk. A larger body has an allocation of its own.
    const CHUNK: usize = 2_048;

    /// Bytes from which on a body is not copied: encoding the next one begins without room, and to
    /// find some costs less.
    const LARGE: usize = 8_192;

    /// Encodes `event` into `body`, which is empty, where it stays: bytes cost more to copy than to write
    /// while they are on their way to memory.
    ///
    /// # Panics
    ///
    /// If the event's `Serialize` implementation reports an error.
    #[inline(always)]
    pub(crate) fn encode<E: Event>(&mut self, event: &E, body: &mut Body) {
        let Body::Short { length, bytes } = body else { unreachable!("an empty body is short") };
        self.encoded.clear();
        let mut pen = Pen { bytes, length: 0, encoded: &mut self.encoded };
        if let Err(error) = encode(event, &mut pen) {
            panic!("`{}` does not serialize: {error}", E::NAME);
        }
        *length = u8::try_from(pen.length).unwrap_or(u8::MAX);
        if !self.encoded.is_empty() {
            *body = Body::Long(self.cut_off());
        }
    }

    /// What is encoded, among others of its size.
    fn cut_off(&mut self) -> Bytes {
        let Self { encoded, chunk } = self;
        if Self::LARGE <= encoded.len() && encoded.capacity() / 2 <= encoded.len() {
            return mem::take(encoded).into();
        }
        if Self::CHUNK / 4 < encoded.len() {
            return Bytes::copy_from_slice(encoded);
        }
        if chunk.capacity() < encoded.len() {
            *chunk = BytesMut::with_capacity(Self::CHUNK);
        }
        chunk.extend_from_slice(encoded);
        chunk.split().freeze()
    }
}

/// Writes a short body in place, and what becomes longer into a vector.
struct Pen<'a> {
    bytes: &'a mut [u8; Body::SHORT_MAX],
    /// Bytes in place. All of them are taken once the vector holds any.
    length: usize,
    encoded: &'a mut Vec<u8>,
}

impl Pen<'_> {
    /// A number that is not short, or for which there is no room.
    #[inline(never)]
    fn longer(&mut self, number: u64) {
        let place = self.bytes.get_mut(self.length..).and_then(<[u8]>::first_chunk_mut);
        let (bytes, count) = varint::written(number);
        if let Some(place) = place {
            *place = bytes;
            self.length += count;
        } else {
            self.extend(bytes.get(..count).unwrap_or_default());
        }
    }

    /// No longer a short body: the vector has what is written so far, and gets all that follows.
    #[cold]
    fn spill(&mut self) -> &mut Vec<u8> {
        if self.encoded.is_empty() {
            let written = self.bytes.get(..self.length).unwrap_or_default();
            self.encoded.extend_from_slice(written);
            self.length = Body::SHORT_MAX;
        }
        self.encoded
    }
}

impl Sink for Pen<'_> {
    #[inline]
    fn push(&mut self, byte: u8) {
        match self.bytes.get_mut(self.length) {
            Some(place) => {
                *place = byte;
                self.length += 1;
            }
            None => self.spill().push(byte),
        }
    }

    #[inline]
    fn number(&mut self, number: u64) {
        if number < 0x80 {
            return self.push(number.to_le_bytes()[0]);
        }
        if number < varint::SHORT
            && let Some(place) = self.bytes.get_mut(self.length..)
            && let Some(place) = place.first_chunk_mut()
        {
            let (bytes, count) = varint::written_short(number);
            *place = bytes;
            self.length += count;
        } else {
            self.longer(number);
        }
    }

    #[inline]
    fn extend(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        match self.bytes.get_mut(self.length..end) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.length = end;
            }
            None => self.spill().extend_from_slice(bytes),
        }
    }
}

impl Clone for Scratch {
    /// Copies nothing: between two events there is nothing in it.
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_body_takes_no_more_room_than_the_pointers_of_a_longer_one() {
        assert_eq!(size_of::<Body>(), size_of::<Bytes>());
    }

    #[test]
    fn a_body_is_its_bytes_wherever_they_stand() {
        for length in [0, 1, Body::SHORT_MAX, Body::SHORT_MAX + 1, 5_000] {
            let bytes = Bytes::from(vec![b'x'; length]);
            let (body, long) = (Body::from(bytes.clone()), Body::Long(bytes.clone()));
            let mut roomy = Vec::with_capacity(3 * length);
            roomy.extend_from_slice(&bytes);
            assert_eq!((&body, &body), (&Body::from(bytes.to_vec()), &Body::from(roomy)));
            assert_eq!(*body, *bytes);
            assert_eq!((body.cmp(&long), &body), (Ordering::Equal, &long));
            assert_eq!(format!("{body:?}"), format!("{bytes:?}"));
            assert_eq!(matches!(body, Body::Short { .. }), length <= Body::SHORT_MAX);
        }
    }
}
