//! What goes out: encoded frames, kept until the peer has acknowledged them.
//!
//! Frames are appended to a segment. A writer gets a whole segment, and the same bytes are kept
//! for a connection to come: nothing is copied or allocated for each frame. A large body is not even
//! appended: its segment ends with it as it is.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use synod_core::{Envelope, Framed, LaneCounts, LaneId, SendError};

use super::{Bounds, Counts, Misstep};
use crate::frame::{self, Sizes};

/// The sending half of a session.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Outgoing {
    lanes: BTreeMap<LaneId, Lane>,
    /// Bytes that are not acknowledged, and [`SEGMENT_COST`] for each segment.
    kept: usize,
    bounds: Bounds,
    sizes: Arc<Sizes>,
}

#[derive(Clone, Debug, Default, Hash)]
struct Lane {
    /// Whole segments that are not acknowledged, in order.
    segments: VecDeque<Segment>,
    /// The segment that grows.
    growing: Vec<u8>,
    /// Where little segments stand side by side.
    chunk: BytesMut,
    /// The number of its first frame.
    growing_first: u64,
    /// The number of the next frame that is pushed.
    next: u64,
    /// The number of the next frame that a writer gets.
    cursor: u64,
    /// How many frames a writer has had, on this connection or another one.
    given: u64,
    /// How many frames the peer has acknowledged.
    acknowledged: u64,
}

/// Frames with their lengths, numbered from `first` to just before `end`.
#[derive(Clone, Debug, Hash)]
struct Segment {
    first: u64,
    end: u64,
    portion: Portion,
}

/// What a writer gets at once: whole frames.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Portion {
    pub(crate) bytes: Bytes,
    /// What the last frame ends with, if it stands elsewhere.
    pub(crate) body: Bytes,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Pushed {
    /// Whether the lane had nothing for a writer before.
    pub(crate) was_idle: bool,
}

impl Outgoing {
    pub(crate) fn new(bounds: Bounds, sizes: Arc<Sizes>) -> Self {
        Self { lanes: BTreeMap::new(), kept: 0, bounds, sizes }
    }

    /// Appends an envelope to its lane. If it does not fit, nothing has changed. O(size).
    pub(crate) fn push(&mut self, lane: LaneId, envelope: &Envelope) -> Result<Pushed, SendError> {
        if let Some(body) = envelope.shared_body().filter(|body| SHARED_BYTES <= body.len()) {
            let write =
                |out: &mut Vec<u8>, sizes: &Sizes| frame::append_header(out, envelope, sizes);
            return self.append(lane, 1, FRAME_BYTES_MIN, write, body);
        }
        let write = |out: &mut Vec<u8>, sizes: &Sizes| frame::append(out, envelope, sizes);
        self.append(lane, 1, envelope.body().len(), write, &Bytes::new())
    }

    /// Appends envelopes to their lane. If not all of them fit, nothing has changed. O(bytes).
    pub(crate) fn push_all(
        &mut self,
        lane: LaneId,
        envelopes: &Framed,
    ) -> Result<Pushed, SendError> {
        let (frames, bytes) = (envelopes.len() as u64, envelopes.bytes());
        let write = |out: &mut Vec<u8>, sizes: &Sizes| {
            sizes.check_whole(envelopes.event(), envelopes.largest())?;
            out.extend_from_slice(bytes);
            Ok(())
        };
        self.append(lane, frames, bytes.len(), write, &Bytes::new())
    }

    /// Appends so many frames of about so many bytes, and the `body` of the last one if it is not
    /// among them.
    fn append(
        &mut self,
        lane: LaneId,
        frames: u64,
        bytes: usize,
        write: impl FnOnce(&mut Vec<u8>, &Sizes) -> Result<(), SendError>,
        body: &Bytes,
    ) -> Result<Pushed, SendError> {
        let count = self.lanes.len();
        let room = self.bounds.kept_bytes_max.saturating_sub(self.kept);
        let state = match self.lanes.get_mut(&lane) {
            Some(state) => state,
            None if self.bounds.lanes_max <= count => return Err(SendError::Full),
            None => self.lanes.entry(lane).or_default(),
        };
        let was_idle = state.cursor == state.next;
        if state.is_full_for(bytes) {
            self.kept += state.seal(Bytes::new());
        }
        let before = state.growing.len();
        write(&mut state.growing, &self.sizes)?;
        let size = state.growing.len() - before + body.len();
        if room < size {
            state.growing.truncate(before);
            return Err(SendError::Full);
        }
        state.next += frames;
        self.kept += size;
        if !body.is_empty() {
            self.kept += state.seal(body.clone());
        }
        Ok(Pushed { was_idle })
    }

    /// The number of the frame that a writer gets next.
    pub(crate) fn cursor(&self, lane: LaneId) -> u64 {
        self.lanes.get(&lane).map_or(0, |lane| lane.cursor)
    }

    /// The next frames of a lane for a writer, many at once; none if it has all.
    pub(crate) fn take(&mut self, lane: LaneId) -> Option<Portion> {
        let lane = self.lanes.get_mut(&lane)?;
        if lane.cursor == lane.next {
            return None;
        }
        if lane.cursor == lane.growing_first {
            self.kept += lane.seal(Bytes::new());
        }
        let portion = lane.next_portion();
        self.kept -= lane.forget();
        portion
    }

    /// The peer will not ask for the first `count` frames of a lane again. A count that is known
    /// already changes nothing. Says whether it was news.
    pub(crate) fn acknowledged(&mut self, lane: LaneId, count: u64) -> Result<bool, Misstep> {
        let most = self.lanes.get(&lane).map_or(0, |lane| lane.given);
        if most < count {
            return Err(Misstep::WrongCount { lane, count, most });
        }
        let lane = self.lanes.get_mut(&lane).filter(|lane| lane.acknowledged < count);
        let Some(lane) = lane else { return Ok(false) };
        lane.acknowledged = count;
        self.kept -= lane.forget();
        Ok(true)
    }

    /// A connection begins: the peer has taken as many frames as it says, and gets the others. It may have
    /// acknowledged more since it said so: its hello may have waited while the connection before was read.
    pub(crate) fn rewind(&mut self, received: &Counts) -> Result<(), Misstep> {
        for (lane, count) in received {
            let most = self.lanes.get(lane).map_or(0, |lane| lane.given);
            if most < *count {
                return Err(Misstep::WrongCount { lane: *lane, count: *count, most });
            }
        }
        let received: BTreeMap<_, _> = received.iter().copied().collect();
        for (id, lane) in &mut self.lanes {
            lane.cursor = received.get(id).copied().unwrap_or(0).max(lane.acknowledged);
        }
        Ok(())
    }

    /// Whether a lane has something for a writer.
    pub(crate) fn is_waiting(&self, lane: LaneId) -> bool {
        self.lanes.get(&lane).is_some_and(|lane| lane.cursor < lane.next)
    }

    /// The lanes that have something for a writer.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = LaneId> {
        let waiting = self.lanes.iter().filter(|(_, lane)| lane.cursor < lane.next);
        waiting.map(|(id, _)| *id)
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.lanes.clear();
        self.kept = 0;
    }

    /// Bytes that are kept, the cost of keeping them included.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    /// What each lane has for a writer, has not acknowledged, and keeps. O(segments).
    pub(crate) fn counts(&self) -> impl Iterator<Item = (LaneId, LaneCounts)> {
        self.lanes.iter().map(|(id, lane)| {
            let (queued, unacknowledged) = (lane.next - lane.cursor, lane.next - lane.acknowledged);
            let kept_bytes = lane.kept();
            (*id, LaneCounts { queued, unacknowledged, kept_bytes, ..LaneCounts::default() })
        })
    }

    /// How many frames of each lane the peer has not acknowledged, if there are any.
    pub(crate) fn unacknowledged_by_lane(&self) -> Counts {
        let left = self.lanes.iter().map(|(id, lane)| (*id, lane.next - lane.acknowledged));
        left.filter(|(_, frames)| 0 < *frames).collect()
    }

    /// Frames that the peer has not acknowledged.
    pub(crate) fn unacknowledged(&self) -> u64 {
        self.lanes.values().map(|lane| lane.next - lane.acknowledged).sum()
    }

    #[cfg(test)]
    pub(crate) fn count_acknowledged(&self, lane: LaneId) -> u64 {
        self.lanes.get(&lane).map_or(0, |lane| lane.acknowledged)
    }
}

impl Lane {
    /// Whether so many bytes begin a segment of their own.
    fn is_full_for(&self, bytes: usize) -> bool {
        !self.growing.is_empty() && SEGMENT_BYTES < self.growing.len() + bytes + FRAME_BYTES_MIN
    }

    /// Ends the segment that grows with what its last frame has elsewhere. Returns what keeping it
    /// costs beside its bytes.
    fn seal(&mut self, body: Bytes) -> usize {
        let (first, end) = (self.growing_first, self.next);
        if first == end {
            return 0;
        }
        let bytes = self.cut_off();
        self.segments.push_back(Segment { first, end, portion: Portion { bytes, body } });
        self.growing_first = end;
        SEGMENT_COST
    }

    /// What has grown, in memory that it fills, or shares with its neighbours if it is little.
    fn cut_off(&mut self) -> Bytes {
        let size = self.growing.len();
        if CHUNK_BYTES / 4 < size && self.growing.capacity() / 2 <= size {
            let next = Vec::with_capacity(size.min(SEGMENT_BYTES));
            return mem::replace(&mut self.growing, next).into();
        }
        if self.chunk.capacity() < size {
            self.chunk = BytesMut::with_capacity(size.max(CHUNK_BYTES));
        }
        self.chunk.extend_from_slice(&self.growing);
        self.growing.clear();
        self.chunk.split().freeze()
    }

    /// Bytes that are kept, the cost of keeping them included.
    fn kept(&self) -> usize {
        let whole = self.segments.iter().map(Segment::cost);
        whole.sum::<usize>() + self.growing.len()
    }

    /// What a writer gets next: a segment, or several small ones.
    fn next_portion(&mut self) -> Option<Portion> {
        let mut waiting = self.segments.range(self.place_of_cursor()..);
        let first = waiting.next()?;
        let mut portion = first.from(self.cursor);
        self.cursor = first.end;
        let mut together = Vec::new();
        let is_small = portion.bytes.len() < SMALL;
        for segment in waiting.take_while(|_| is_small) {
            let next = &segment.portion.bytes;
            let size = portion.bytes.len() + together.len() + next.len();
            if !portion.body.is_empty() || SEGMENT_BYTES < size {
                break;
            }
            if together.is_empty() {
                together.extend_from_slice(&portion.bytes);
            }
            together.extend_from_slice(next);
            portion.body = segment.portion.body.clone();
            self.cursor = segment.end;
        }
        self.given = self.given.max(self.cursor);
        if !together.is_empty() {
            portion.bytes = together.into();
        }
        Some(portion)
    }

    /// The place of the segment that goes on at the cursor: mostly it is the last one. O(log segments).
    fn place_of_cursor(&self) -> usize {
        match self.segments.back() {
            Some(last) if last.first <= self.cursor => self.segments.len() - 1,
            _ => self.segments.partition_point(|segment| segment.end <= self.cursor),
        }
    }

    /// Drops the segments of which the peer has all. Returns what they cost. A peer may have frames
    /// that are about to be sent again: the last connection brought them after it has said what it
    /// has. They are sent all the same, since the frames of a stream are numbered one by one.
    fn forget(&mut self) -> usize {
        let count = self.acknowledged.min(self.cursor);
        let mut freed = 0;
        while let Some(segment) = self.segments.front().filter(|first| first.end <= count) {
            freed += segment.cost();
            self.segments.pop_front();
        }
        freed
    }
}

impl Segment {
    /// What is sent from frame number `number` on.
    fn from(&self, number: u64) -> Portion {
        let mut rest = self.portion.clone();
        for _ in self.first..number {
            frame::skip(&mut rest.bytes);
        }
        rest
    }

    /// Its bytes, and what keeping it costs beside them.
    fn cost(&self) -> usize {
        self.portion.len() + SEGMENT_COST
    }
}

impl Portion {
    /// Bytes in all.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + self.body.len()
    }

    #[cfg(test)]
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        [&*self.bytes, &*self.body].concat()
    }
}

/// A segment that has so many bytes is ended: a writer's portion, and what is kept or dropped at
/// once.
pub(crate) const SEGMENT_BYTES: usize = 64 * 1024;

/// Little segments share an allocation of so many bytes, which is kept until the last of them is
/// acknowledged: an allocation for each would cost more than the copy.
pub(crate) const CHUNK_BYTES: usize = 4 * 1024;

/// A body that has so many bytes is not copied into a segment.
const SHARED_BYTES: usize = 8 * 1024;

/// Smaller portions are put together when they are sent again: one write for each would be slow.
const SMALL: usize = 4 * 1024;

/// What a segment costs beside its bytes, about.
pub(crate) const SEGMENT_COST: usize = 128;

/// The length of a frame, and the header of an envelope with few keys.
const FRAME_BYTES_MIN: usize = 64;
