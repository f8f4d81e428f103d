//! What waits to be sent to one peer: encoded bytes, one buffer per lane, one bound for all.
//!
//! Senders append under a short lock. A lane's writer takes its whole buffer at once: one write
//! per event would be fifty times slower. Knows nothing of connections.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use synod_core::{Envelope, LaneId, SendError};
use tokio::sync::Notify;

use crate::frame;

/// The bytes that wait for one peer, for as long as one link lasts.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Wakes the task that opens lanes.
    opened: Notify,
    frame_bytes_max: u32,
    bytes_max: usize,
    lanes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    lanes: BTreeMap<LaneId, Buffer>,
    /// Lanes that no writer serves yet.
    fresh: VecDeque<LaneId>,
    /// Bytes in the buffers and in the hands of the writers.
    queued: usize,
    phase: Phase,
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// Wakes the lane's writer.
    filled: Arc<Notify>,
}

/// The life of an outbox, in this order.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
enum Phase {
    #[default]
    Open,
    /// Nothing is taken any more; what waits is still sent.
    Finishing,
    /// The link is lost.
    Closed,
}

impl Outbox {
    pub(crate) fn new(frame_bytes_max: u32, bytes_max: usize, lanes_max: u32) -> Self {
        Self {
            state: Mutex::default(),
            opened: Notify::new(),
            frame_bytes_max,
            bytes_max,
            lanes_max: usize::try_from(lanes_max).unwrap_or(usize::MAX),
        }
    }

    /// Queues an envelope. After `Full` the outbox takes nothing any more: a gap in a lane would
    /// be silent otherwise.
    pub(crate) fn push(&self, lane: LaneId, envelope: &Envelope) -> Result<(), SendError> {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return Err(SendError::Down);
        }
        if !state.lanes.contains_key(&lane) {
            if self.lanes_max <= state.lanes.len() {
                state.phase = Phase::Closed;
                return Err(SendError::Full);
            }
            state.fresh.push_back(lane);
            self.opened.notify_one();
        }
        let room = self.bytes_max.saturating_sub(state.queued);
        let buffer = state.lanes.entry(lane).or_default();
        let before = buffer.bytes.len();
        frame::append(&mut buffer.bytes, envelope, self.frame_bytes_max)?;
        let size = buffer.bytes.len() - before;
        if room < size {
            buffer.bytes.truncate(before);
            state.phase = Phase::Closed;
            return Err(SendError::Full);
        }
        if before == 0 {
            buffer.filled.notify_one();
        }
        state.queued += size;
        Ok(())
    }

    /// The next lane that needs a writer; none once the outbox is finishing and all have one.
    pub(crate) async fn next_lane(&self) -> Option<LaneId> {
        loop {
            {
                let mut state = self.lock();
                if let Some(lane) = state.fresh.pop_front() {
                    return Some(lane);
                }
                if state.phase != Phase::Open {
                    return None;
                }
            }
            self.opened.notified().await;
        }
    }

    /// Everything that waits on a lane, at least one frame; none once the outbox is finishing
    /// and the lane is empty.
    pub(crate) async fn take(&self, lane: LaneId) -> Option<Vec<u8>> {
        loop {
            let filled = {
                let mut state = self.lock();
                let finishing = state.phase != Phase::Open;
                let buffer = state.lanes.get_mut(&lane)?;
                if !buffer.bytes.is_empty() {
                    let capacity = buffer.bytes.len().clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_MAX);
                    return Some(mem::replace(&mut buffer.bytes, Vec::with_capacity(capacity)));
                }
                if finishing {
                    return None;
                }
                Arc::clone(&buffer.filled)
            };
            filled.notified().await;
        }
    }

    /// Notes that so many bytes of those taken are on their way.
    pub(crate) fn written(&self, bytes: usize) {
        let mut state = self.lock();
        state.queued = state.queued.saturating_sub(bytes);
    }

    /// Bytes that wait.
    pub(crate) fn queued(&self) -> usize {
        self.lock().queued
    }

    /// Whether nothing more is taken, and what waits is still sent.
    pub(crate) fn is_finishing(&self) -> bool {
        self.lock().phase == Phase::Finishing
    }

    /// Takes nothing more; what waits is still sent.
    pub(crate) fn finish(&self) {
        self.advance(Phase::Finishing);
    }

    /// Drops what waits.
    pub(crate) fn close(&self) {
        self.advance(Phase::Closed);
        let mut state = self.lock();
        state.queued = 0;
        state.fresh.clear();
        state.lanes.clear();
    }

    fn advance(&self, phase: Phase) {
        let mut state = self.lock();
        state.phase = state.phase.max(phase);
        for buffer in state.lanes.values() {
            buffer.filled.notify_one();
        }
        self.opened.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new buffer holds at least a packet's worth before it grows,
const BUFFER_BYTES_MIN: usize = 1_500;

/// and at most this, whatever the last one held.
const BUFFER_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests;
