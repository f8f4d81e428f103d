//! Why something was dropped, and how often.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use synod_core::{SendError, StepError};

/// Why an event, a timer, a job or an answer went nowhere. Each has a counter in the status.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum DropReason {
    /// No algorithm of the node listens to the event.
    Unhandled,
    /// A peer sent an event that never comes from the wire.
    LocalOnly,
    /// The bytes are not the event they claim to be.
    Undecodable,
    /// An answer to no open request.
    Stale,
    /// A question of the application that waited for its handler until nobody waited for the answer.
    Expired,
    /// The sender is no peer of this node.
    Stranger,
    /// One instance more than a keyed stack may hold.
    InstancesFull,
    /// The event made its handler panic.
    Poison,
    /// The node takes nothing in any more.
    Closed,
    /// The peer used more lanes than the limit.
    LanesFull,
    /// There was no link to the receiver.
    LinkDown,
    /// The receiver does not handle the event, as it has said when it was linked.
    PeerUnhandled,
    /// The queue to the receiver was full; the link has ended.
    Overflow,
    /// The event is larger than a frame.
    TooLarge,
    /// Too many events waited for a peer that has not been linked yet.
    EarlyFull,
    /// Too many timers were armed.
    TimersFull,
    /// Too many jobs waited.
    JobsFull,
    /// A job panicked, took bytes it cannot decode, or has no function.
    JobFailed,
    /// A life of the node ended while the effect waited, or the job ran.
    LifeEnded,
    /// The effect is of a kind that this version does not know.
    UnknownEffect,
}

impl DropReason {
    /// All reasons, in the order of declaration.
    pub const ALL: [Self; 20] = [
        Self::Unhandled,
        Self::LocalOnly,
        Self::Undecodable,
        Self::Stale,
        Self::Expired,
        Self::Stranger,
        Self::InstancesFull,
        Self::Poison,
        Self::Closed,
        Self::LanesFull,
        Self::LinkDown,
        Self::PeerUnhandled,
        Self::Overflow,
        Self::TooLarge,
        Self::EarlyFull,
        Self::TimersFull,
        Self::JobsFull,
        Self::JobFailed,
        Self::LifeEnded,
        Self::UnknownEffect,
    ];

    /// The reason as a word for a metric: `link_down`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unhandled => "unhandled",
            Self::LocalOnly => "local_only",
            Self::Undecodable => "undecodable",
            Self::Stale => "stale",
            Self::Expired => "expired",
            Self::Stranger => "stranger",
            Self::InstancesFull => "instances_full",
            Self::Poison => "poison",
            Self::Closed => "closed",
            Self::LanesFull => "lanes_full",
            Self::LinkDown => "link_down",
            Self::PeerUnhandled => "peer_unhandled",
            Self::Overflow => "overflow",
            Self::TooLarge => "too_large",
            Self::EarlyFull => "early_full",
            Self::TimersFull => "timers_full",
            Self::JobsFull => "jobs_full",
            Self::JobFailed => "job_failed",
            Self::LifeEnded => "life_ended",
            Self::UnknownEffect => "unknown_effect",
        }
    }
}

impl From<&StepError> for DropReason {
    fn from(error: &StepError) -> Self {
        match error {
            StepError::Decode { .. } => Self::Undecodable,
            StepError::LocalOnly { .. } => Self::LocalOnly,
            StepError::Stale { .. } => Self::Stale,
            StepError::Stranger(_) => Self::Stranger,
            StepError::Full { .. } => Self::InstancesFull,
            _ => Self::Unhandled,
        }
    }
}

impl From<SendError> for DropReason {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Unhandled => Self::PeerUnhandled,
            SendError::Full => Self::Overflow,
            SendError::TooLarge { .. } => Self::TooLarge,
            _ => Self::LinkDown,
        }
    }
}

/// One counter per [`DropReason`].
#[derive(Debug, Default)]
pub(crate) struct Drops([AtomicU64; DropReason::ALL.len()]);

impl Drops {
    /// Counts `events` drops; true if it is worth a log line: the 1st, 2nd, 4th, 8th and so on,
    /// so that a flood of drops is not a flood of lines.
    pub(crate) fn add(&self, reason: DropReason, events: u64) -> bool {
        let Some(counter) = self.0.get(reason as usize) else {
            return false;
        };
        let before = counter.fetch_add(events, Ordering::Relaxed);
        before.checked_ilog2() != (before + events).checked_ilog2()
    }

    pub(crate) fn of(&self, reason: DropReason) -> u64 {
        self.0.get(reason as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// The reasons that have occurred, by word.
    pub(crate) fn seen(&self) -> BTreeMap<&'static str, u64> {
        let all = DropReason::ALL.iter().map(|reason| (reason.word(), self.of(*reason)));
        all.filter(|(_, count)| 0 < *count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{DropReason, Drops};

    #[test]
    fn every_reason_has_its_own_counter() {
        let drops = Drops::default();
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            drops.add(*reason, 1);
        }
        assert_eq!(drops.seen().len(), DropReason::ALL.len());
    }

    #[test]
    fn a_flood_of_drops_is_logged_at_powers_of_two() {
        let drops = Drops::default();
        let lines = (0..1_000).filter(|_| drops.add(DropReason::Stale, 1)).count();
        assert_eq!(lines, 10);
    }
}
