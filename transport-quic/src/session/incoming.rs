//! What comes in: how many frames of each lane were taken, settled, and acknowledged.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use synod_core::{LaneCounts, LaneId};

use super::Counts;

/// The receiving half of a session.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Incoming {
    lanes: BTreeMap<LaneId, Lane>,
    lanes_max: usize,
    /// Frames and bytes that are settled and not yet acknowledged.
    owed_frames: u64,
    owed_bytes: u64,
    /// Whether all counts must be told again: the last acknowledgements may be lost.
    tells_again: bool,
}

/// One lane. The counts are in this order of size, the largest first.
#[derive(Clone, Copy, Debug, Default, Hash)]
struct Lane {
    /// Handed over, and never to be handed over again.
    taken: u64,
    /// Handed over and dealt with, to the level that this node acknowledges.
    settled: u64,
    /// Told to the peer.
    told: u64,
}

/// The peer has said something that cannot be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Misstep {
    /// A stream begins behind frames that have not come.
    Gap { lane: LaneId, first: u64, taken: u64 },
    /// One lane more than is allowed.
    TooManyLanes { lanes_max: usize },
    /// A count of more frames than were sent.
    WrongCount { lane: LaneId, count: u64, most: u64 },
}

/// How urgent an acknowledgement is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Owed {
    Nothing,
    /// Soon, together with what comes meanwhile.
    Later,
    /// At once: the peer keeps much.
    Now,
}

impl Incoming {
    pub(crate) fn new(lanes_max: usize) -> Self {
        let lanes = BTreeMap::new();
        Self { lanes, lanes_max, owed_frames: 0, owed_bytes: 0, tells_again: false }
    }

    /// A stream of `lane` begins with frame number `first`. Returns how many frames of it have been
    /// taken before, and are to be skipped.
    pub(crate) fn open(&mut self, lane: LaneId, first: u64) -> Result<u64, Misstep> {
        let count = self.lanes.len();
        let taken = match self.lanes.entry(lane) {
            Entry::Occupied(known) => known.get().taken,
            Entry::Vacant(_) if self.lanes_max <= count => {
                return Err(Misstep::TooManyLanes { lanes_max: self.lanes_max });
            }
            Entry::Vacant(place) => place.insert(Lane::default()).taken,
        };
        taken.checked_sub(first).ok_or(Misstep::Gap { lane, first, taken })
    }

    /// So many frames more have been handed over.
    pub(crate) fn take(&mut self, lane: LaneId, frames: u64) {
        self.lanes.entry(lane).or_default().taken += frames;
    }

    /// So many frames more, of so many bytes, are dealt with.
    pub(crate) fn settle(&mut self, lane: LaneId, frames: u64, bytes: u64) -> Owed {
        let lane = self.lanes.entry(lane).or_default();
        lane.settled = (lane.settled + frames).min(lane.taken);
        self.owed_frames += frames;
        self.owed_bytes += bytes;
        self.owed()
    }

    /// Whether the peer is to hear of anything.
    pub(crate) fn owed(&self) -> Owed {
        if ACK_FRAMES <= self.owed_frames || ACK_BYTES <= self.owed_bytes {
            Owed::Now
        } else if 0 < self.owed_frames || self.tells_again {
            Owed::Later
        } else {
            Owed::Nothing
        }
    }

    /// The acknowledgements that are owed. They count as told from here on.
    pub(crate) fn acknowledge(&mut self) -> Counts {
        let again = std::mem::take(&mut self.tells_again);
        (self.owed_frames, self.owed_bytes) = (0, 0);
        let owed = self.lanes.iter_mut().filter(|(_, lane)| again || lane.told < lane.settled);
        owed.map(|(id, lane)| {
            lane.told = lane.settled;
            (*id, lane.told)
        })
        .collect()
    }

    /// What was told last may be lost with its connection.
    pub(crate) fn tell_again(&mut self) {
        self.tells_again = !self.lanes.is_empty();
    }

    /// How many frames of each lane were taken, and how many of those are not settled.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (LaneId, LaneCounts)> {
        self.lanes.iter().map(|(id, lane)| {
            let (received, unsettled) = (lane.taken, lane.taken - lane.settled);
            (*id, LaneCounts { received, unsettled, ..LaneCounts::default() })
        })
    }

    /// How many frames of each lane were taken.
    pub(crate) fn received(&self) -> Counts {
        self.lanes.iter().map(|(id, lane)| (*id, lane.taken)).collect()
    }
}

/// After so many frames an acknowledgement does not wait,
const ACK_FRAMES: u64 = 8_192;

/// nor after so many bytes: a small part of what the peer may keep.
const ACK_BYTES: u64 = 256 * 1024;
