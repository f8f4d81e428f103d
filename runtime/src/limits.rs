//! The bounds of a node, in one place.

use std::time::Duration;

use synod_core::Envelope;

/// Every bound of a node. What does not fit waits where it can, and is counted where it cannot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Events that wait per event type before its senders have to. A lane may overshoot it by the
    /// one batch that it had in its hands. Of a type that may have larger envelopes than others,
    /// fewer wait, so that their bytes are bounded alike.
    pub queue_events: usize,
    /// Events that a handler actor handles before it lets others have the cell.
    pub turn_events: usize,
    /// How long a handler actor handles events before it lets others have the cell. A handler that
    /// takes longer than this is the only one of its turn.
    pub turn_time: Duration,
    /// Handlers that have lately taken no longer than this for an event run on the thread that brings
    /// it, if it comes alone and the node is idle: to wake another thread would take longer. One that
    /// is slow all of a sudden holds up that thread, twice at most. Zero: none do.
    pub quick_handler: Duration,
    /// Effects that wait for the store before handlers have to.
    pub held_effects: usize,
    /// Events kept for a peer that has not been linked in this life of the node. One more is
    /// dropped and counted.
    pub early_sends: usize,
    /// Armed timers. One more is dropped and counted.
    pub timers: usize,
    /// Jobs that run at the same time.
    pub jobs_running: usize,
    /// Jobs that wait for a thread. One more is dropped and counted.
    pub jobs_waiting: usize,
    /// Outputs kept for a reader who is behind. More become a gap, which the reader is told.
    pub outputs: usize,
    /// Questions of the application without an answer. One more is refused.
    pub asks: usize,
    /// Dead letters kept; the oldest makes room.
    pub dead_letters: usize,
    /// Ordered lanes of one peer per link. A batch on one more is dropped and counted.
    pub lanes: usize,
    /// Ups and downs of one link that its node has yet to be told, because a handler blocks. A peer
    /// whose link comes and goes as often is turned away until then, and dials again; that a link
    /// has ended is told in any case, as one more. At least 1.
    pub link_changes: usize,
    /// How long a handler may run, or the store work, before the node counts as hung: it is not ready then,
    /// and no peer is linked with it. Longer work belongs into a job.
    pub hung_after: Duration,
    /// Bytes that may wait for one peer before the application's triggers have to.
    pub congested_bytes: usize,
    /// Bytes of a recording that wait for the disk. When there are more, the recording ends, and
    /// the node goes on.
    pub recording_waiting_bytes: usize,
    /// Bytes of a recording. When there are more, it ends, and the node goes on.
    pub recording_file_bytes: u64,
    /// The first wait before dialling a peer again.
    pub backoff_min: Duration,
    /// The longest wait before dialling a peer again.
    pub backoff_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_events: 8_192,
            turn_events: 512,
            turn_time: Duration::from_millis(1),
            quick_handler: Duration::from_micros(20),
            held_effects: 65_536,
            early_sends: 1_024,
            timers: 65_536,
            jobs_running: 4,
            jobs_waiting: 1_024,
            outputs: 4_096,
            asks: 1_024,
            dead_letters: 64,
            lanes: 1_024,
            link_changes: 64,
            hung_after: Duration::from_secs(20),
            congested_bytes: 1 << 20,
            recording_waiting_bytes: 32 << 20,
            recording_file_bytes: 1 << 30,
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// Events that wait of a type whose envelopes have so many bytes at most.
    pub(crate) fn queue_for(&self, bytes_max: u32) -> usize {
        let larger = bytes_max.div_ceil(Envelope::BYTES_MAX).max(1);
        (self.queue_events / larger as usize).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_larger_events_fewer_wait() {
        let limits = Limits { queue_events: 100, ..Limits::default() };
        for (bytes_max, events) in [(0, 100), (64 * 1024, 100), (64 * 1024 + 1, 50), (1 << 20, 6)] {
            assert_eq!(limits.queue_for(bytes_max), events);
        }
        assert_eq!(Limits { queue_events: 1, ..limits }.queue_for(1 << 20), 1);
    }
}
