//! Frames of a lane: a length (`u32`, little-endian) and an envelope.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use synod_core::{Envelope, Envelopes, EventId, LaneId, SendError};

/// Appends an envelope as a frame. If it is too large, `out` stays as it was.
pub(crate) fn append(
    out: &mut Vec<u8>,
    envelope: &Envelope,
    sizes: &Sizes,
) -> Result<(), SendError> {
    append_header(out, envelope, sizes)?;
    out.extend_from_slice(envelope.body());
    Ok(())
}

/// Appends all of that but the body, which is to follow.
pub(crate) fn append_header(
    out: &mut Vec<u8>,
    envelope: &Envelope,
    sizes: &Sizes,
) -> Result<(), SendError> {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    envelope.encode_header_into(out);
    let size = out.len() - start - LENGTH_BYTES + envelope.body().len();
    let length = sizes.check_whole(envelope.event(), size).inspect_err(|_| out.truncate(start))?;
    if let Some(place) = out.get_mut(start..start + LENGTH_BYTES) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    Ok(())
}

/// A frame claims to be larger than a frame of its event may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TooLarge {
    pub(crate) size: u32,
    pub(crate) size_max: u32,
    /// The event, if the frame has come so far.
    pub(crate) event: Option<EventId>,
}

/// How large frames may be: those of some events as large as they declare, and all others alike.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Sizes {
    common: u32,
    declared: BTreeMap<EventId, u32>,
}

impl Sizes {
    pub(crate) fn new(common: u32, declared: impl Iterator<Item = (EventId, u32)>) -> Self {
        Self { common, declared: declared.filter(|(_, bytes)| common < *bytes).collect() }
    }

    /// The largest frame of an event, without its length.
    pub(crate) fn of(&self, event: EventId) -> u32 {
        self.declared.get(&event).copied().unwrap_or(self.common)
    }

    /// Checks an envelope that is to be sent. Returns its size.
    pub(crate) fn check_whole(&self, event: EventId, size: usize) -> Result<u32, SendError> {
        let allowed = |size: u32| size <= self.common || size <= self.of(event);
        let too_large = || SendError::TooLarge { size, size_max: self.of(event) as usize };
        u32::try_from(size).ok().filter(|size| allowed(*size)).ok_or_else(too_large)
    }

    fn largest(&self) -> u32 {
        self.declared.values().copied().fold(self.common, u32::max)
    }

    /// Checks a frame that claims to have `size` bytes, of which `begun` are there.
    fn check(&self, size: u32, begun: &[u8]) -> Result<(), TooLarge> {
        if size <= self.common {
            return Ok(());
        }
        let event = begun.first_chunk().map(|bits| EventId::from_bits(u64::from_le_bytes(*bits)));
        let size_max = event.map_or_else(|| self.largest(), |event| self.of(event));
        if size <= size_max { Ok(()) } else { Err(TooLarge { size, size_max, event }) }
    }
}

/// Cuts a stream of bytes into frames. The frames share the memory of what was read.
#[derive(Debug)]
pub(crate) struct Splitter {
    bytes: BytesMut,
    /// Whole frames where they were read, while nothing else is there.
    alone: Bytes,
    /// Whether the lane has been told.
    has_lane: bool,
    sizes: Arc<Sizes>,
    /// Whether there is room for a frame that is larger than others.
    is_roomy: bool,
}

impl Splitter {
    pub(crate) fn new(sizes: Arc<Sizes>) -> Self {
        let (bytes, alone) = (BytesMut::new(), Bytes::new());
        Self { bytes, alone, has_lane: false, sizes, is_roomy: false }
    }

    /// Takes what was read at once. Whole frames that come alone are not copied.
    pub(crate) fn take(&mut self, chunks: &mut [Bytes]) {
        if let [chunk] = chunks
            && self.has_lane
            && !self.is_partial()
            && self.end_of_whole(chunk) == Ok(chunk.len())
        {
            self.alone = std::mem::take(chunk);
            return;
        }
        self.reserve(chunks.iter().map(Bytes::len).sum());
        chunks.iter_mut().for_each(|chunk| self.push(&std::mem::take(chunk)));
    }

    /// Makes room for so many bytes at once, so that they end up side by side; and for the rest of
    /// the frame that has begun, so that it is moved once at most.
    fn reserve(&mut self, size: usize) {
        let begun = self.bytes.first_chunk().map(|length| u32::from_le_bytes(*length));
        let begun = begun.filter(|begun| *begun <= self.sizes.common).unwrap_or(0);
        let rest = (LENGTH_BYTES + begun as usize).saturating_sub(self.bytes.len());
        self.bytes.reserve(size.max(rest));
    }

    /// Takes bytes in the order of the stream.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The lane that the stream's first bytes name, and the number of the first frame on it, once
    /// they are there.
    pub(crate) fn lane(&mut self) -> Option<(LaneId, u64)> {
        let [lane, first] = self.bytes.first_chunk::<HEADER_BYTES>()?.as_chunks().0 else {
            return None;
        };
        let lane = (LaneId(u64::from_le_bytes(*lane)), u64::from_le_bytes(*first));
        self.bytes.advance(HEADER_BYTES);
        self.has_lane = true;
        Some(lane)
    }

    /// The whole frames that are there, with their lengths. A frame that is too large is told of
    /// once those before it are taken.
    pub(crate) fn whole(&mut self) -> Result<Option<Bytes>, TooLarge> {
        if !self.alone.is_empty() {
            return Ok(Some(std::mem::take(&mut self.alone)));
        }
        let end = self.end_of_whole(&self.bytes)?;
        if end == 0 {
            return Ok(None);
        }
        let frames = self.bytes.split_to(end).freeze();
        if std::mem::take(&mut self.is_roomy) {
            // What comes next would keep the room for as long as the lane is read.
            self.bytes = BytesMut::from(&*self.bytes);
        }
        Ok(Some(frames))
    }

    /// Where the last whole frame ends, or zero.
    fn end_of_whole(&self, bytes: &[u8]) -> Result<usize, TooLarge> {
        let mut end = 0;
        while let Some(length) = bytes.get(end..).and_then(|rest| rest.first_chunk()) {
            let size = u32::from_le_bytes(*length);
            let begun = bytes.get(end + LENGTH_BYTES..).unwrap_or_default();
            match self.sizes.check(size, begun) {
                Ok(()) => (),
                Err(too_large) if end == 0 => return Err(too_large),
                Err(_) => break,
            }
            let next = end + LENGTH_BYTES + size as usize;
            if bytes.len() < next {
                break;
            }
            end = next;
        }
        Ok(end)
    }

    /// The event of the frame that has begun, if it is larger than most may be.
    pub(crate) fn large(&self) -> Option<EventId> {
        let (length, begun) = self.bytes.split_first_chunk()?;
        let event = EventId::from_bits(u64::from_le_bytes(*begun.first_chunk()?));
        (self.sizes.common < u32::from_le_bytes(*length)).then_some(event)
    }

    /// Makes room for the whole frame that has begun.
    pub(crate) fn make_room(&mut self) {
        if let Some(length) = self.bytes.first_chunk() {
            let whole = LENGTH_BYTES + u32::from_le_bytes(*length) as usize;
            self.bytes.reserve(whole.saturating_sub(self.bytes.len()));
            self.is_roomy = true;
        }
    }

    /// Whether a frame has begun and not ended.
    pub(crate) fn is_partial(&self) -> bool {
        !self.bytes.is_empty()
    }
}

/// The first bytes of a lane's stream, on which frame number `first` comes first.
pub(crate) fn lane_header(lane: LaneId, first: u64) -> Bytes {
    let parts = [lane.0.to_le_bytes(), first.to_le_bytes()];
    Bytes::copy_from_slice(parts.as_flattened())
}

/// Drops the first of some frames that are all whole.
pub(crate) fn skip(frames: &mut Bytes) {
    frames.advance((LENGTH_BYTES + first_bytes(frames)).min(frames.len()));
}

/// Bytes of the first of some frames, without its length.
pub(crate) fn first_bytes(frames: &[u8]) -> usize {
    frames.first_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize)
}

const LENGTH_BYTES: usize = Envelopes::LENGTH_BYTES;

/// The lane and the number of its first frame, 8 bytes each.
const HEADER_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use synod_core::{EventId, Instance, Tag};

    use super::*;

    const BYTES_MAX: u32 = 256;
    const LARGE: EventId = EventId::of("large");

    /// Those of all frames, and larger ones of one event.
    fn sizes() -> Arc<Sizes> {
        Arc::new(Sizes::new(BYTES_MAX, [(LARGE, 1_000)].into_iter()))
    }

    fn envelope(event: u64, key: u64, body: Vec<u8>) -> Envelope {
        let event = EventId::from_bits(event);
        Envelope::from_parts(event, Instance::of_key(key), Tag::Ask(key), Bytes::from(body))
    }

    fn any_envelope() -> impl Strategy<Value = Envelope> {
        let body = proptest::collection::vec(any::<u8>(), 0..200);
        (any::<u64>(), any::<u64>(), body).prop_map(|(event, key, body)| envelope(event, key, body))
    }

    fn drain(splitter: &mut Splitter, into: &mut Vec<Envelope>) {
        while let Some(mut frames) = splitter.whole().unwrap() {
            while let Some(run) = Envelopes::cut_off(&mut frames, 3).unwrap() {
                into.extend(run);
            }
        }
    }

    /// One that has been told its lane.
    fn on_a_lane() -> Splitter {
        let mut splitter = Splitter::new(sizes());
        splitter.take(&mut [lane_header(LaneId(77), 0)]);
        assert_eq!(splitter.lane(), Some((LaneId(77), 0)));
        splitter
    }

    #[test]
    fn only_whole_frames_that_come_alone_are_taken_where_they_stand() {
        let mut frames = Vec::new();
        append(&mut frames, &envelope(1, 2, vec![3; 90]), &sizes()).unwrap();
        append(&mut frames, &envelope(1, 2, vec![4; 90]), &sizes()).unwrap();
        let read = Bytes::from(frames);
        let mut splitter = on_a_lane();
        let mut take = |chunks: &mut [Bytes]| {
            splitter.take(chunks);
            splitter.whole().unwrap().map(|whole| (whole.len(), whole.as_ptr() == read.as_ptr()))
        };
        let size = read.len();
        assert_eq!(take(&mut [read.clone()]), Some((size, true)));
        assert_eq!(take(&mut [read.clone(), read.clone()]), Some((2 * size, false)));
        assert_eq!(take(&mut [read.slice(..size - 1)]), Some((size / 2, false)));
        assert_eq!(take(&mut [read.slice(size - 1..)]), Some((size / 2, false)));
        assert_eq!(take(&mut [read.clone()]), Some((size, true)));
        let mut splitter = Splitter::new(sizes());
        splitter.take(&mut [read]);
        assert!(splitter.is_partial(), "what comes first is the lane");
    }

    proptest! {
        #[test]
        fn frames_come_back_however_the_stream_is_cut(
            sent in proptest::collection::vec(any_envelope(), 0..20),
            cut in 1..50_usize,
        ) {
            let mut stream = Vec::new();
            for envelope in &sent {
                append(&mut stream, envelope, &sizes()).unwrap();
            }
            let mut splitter = on_a_lane();
            let mut received = Vec::new();
            for chunk in stream.chunks(cut) {
                splitter.take(&mut [Bytes::copy_from_slice(chunk)]);
                drain(&mut splitter, &mut received);
            }
            prop_assert_eq!(received, sent);
            prop_assert!(!splitter.is_partial());
        }

        #[test]
        fn no_bytes_make_the_splitter_panic_or_pass_the_limit(
            bytes in proptest::collection::vec(any::<u8>(), 0..2_000),
        ) {
            let mut splitter = Splitter::new(sizes());
            splitter.push(&bytes);
            while let Ok(Some(mut frames)) = splitter.whole() {
                while let Ok(Some(run)) = Envelopes::cut_off(&mut frames, usize::MAX) {
                    for envelope in run {
                        prop_assert!(envelope.body().len() <= BYTES_MAX as usize);
                    }
                }
            }
        }
    }

    #[test]
    fn an_envelope_over_the_limit_leaves_the_buffer_alone() {
        let mut out = vec![7];
        for size in [250, 300] {
            let refused = append(&mut out, &envelope(1, u64::MAX, vec![0; size]), &sizes());
            assert!(matches!(refused, Err(SendError::TooLarge { size_max: 256, .. })));
            assert_eq!(out, [7]);
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_its_bytes_come() {
        let mut splitter = Splitter::new(sizes());
        splitter.push(&u32::MAX.to_le_bytes());
        let (size, event) = (u32::MAX, None);
        assert_eq!(splitter.whole(), Err(TooLarge { size, size_max: 1_000, event }));
    }

    #[test]
    fn only_frames_of_an_event_that_declares_it_are_larger_than_others() {
        let frame = |event: EventId, size: u32| {
            [&size.to_le_bytes()[..], &event.bits().to_le_bytes()].concat()
        };
        for (event, size, size_max) in [(LARGE, 1_001, 1_000), (EventId::of("a"), 257, BYTES_MAX)] {
            let mut splitter = Splitter::new(sizes());
            splitter.push(&frame(event, size));
            let event = Some(event);
            assert_eq!(splitter.whole(), Err(TooLarge { size, size_max, event }));
        }
        let mut splitter = Splitter::new(sizes());
        let (begun, rest) = (frame(LARGE, 1_000), [0; 992]);
        splitter.push(&begun[..11]);
        assert_eq!((splitter.whole(), splitter.large()), (Ok(None), None));
        splitter.push(&begun[11..]);
        assert_eq!((splitter.whole(), splitter.large()), (Ok(None), Some(LARGE)));
        splitter.make_room();
        assert!(1_004 <= splitter.bytes.capacity());
        splitter.push(&rest);
        splitter.push(&[7]);
        assert_eq!(splitter.whole().map(|frame| frame.map(|it| it.len())), Ok(Some(1_004)));
        assert_eq!((splitter.large(), &*splitter.bytes), (None, &[7][..]));
        assert!(splitter.bytes.capacity() < 1_000, "the room went with the frame");
    }

    #[test]
    fn a_stream_begins_with_its_lane_and_the_number_of_its_first_frame() {
        let mut splitter = Splitter::new(sizes());
        let header = lane_header(LaneId(77), 1_000);
        splitter.push(&header[..15]);
        assert_eq!(splitter.lane(), None);
        splitter.push(&header[15..]);
        assert_eq!(splitter.lane(), Some((LaneId(77), 1_000)));
        assert!(!splitter.is_partial());
    }
}
