//! Panics: what a node does about them, and what it remembers.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;
use synod_core::NodeId;

/// What a node does when one of its handlers panics. In either case nothing of the step has left the node, and
/// the event is kept as a [`DeadLetter`].
///
/// The event is not tried again. A handler is a function of state and event, so that in the same state it would
/// panic again; another state there is only in another life, and each life costs what was not persisted and
/// every link, where the event alone costs itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PanicPolicy {
    /// The node ends: crash-stop.
    #[default]
    Stop,
    /// The node begins a new life from its durable records: crash-recovery. The event that made
    /// it panic is not handled again; what is queued behind it is.
    Restart {
        /// Restarts allowed `within` a time; one more ends the node.
        restarts_max: u32,
        /// The time in which restarts are counted.
        within: Duration,
    },
}

/// An event that made its handler panic.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct DeadLetter {
    /// The wire name, or what else has happened: `timer`, `start`.
    pub event: String,
    /// The peer that sent it; none if it came from the node itself.
    pub from: Option<NodeId>,
    /// The encoded event.
    pub bytes: Vec<u8>,
    /// What the panic said.
    pub panic: String,
    /// The life of the node that it ended.
    pub incarnation: u64,
}

/// Why a node has ended.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EndReason {
    /// It was shut down.
    Shutdown,
    /// A handler panicked, and the policy is [`PanicPolicy::Stop`].
    Panicked(DeadLetter),
    /// Handlers panicked more often than [`PanicPolicy::Restart`] allows; this was the last time.
    PanickedTooOften(DeadLetter),
    /// The store has failed. What was not durable may be lost.
    Store(String),
    /// The records could not be restored.
    Recovery(String),
    /// Peers have known a later life of the node, or another process in this one: as many as are a majority of the
    /// cluster, or all.
    Outdated(String),
    /// The transport cannot announce a new life of the node.
    Transport(String),
    /// Actors of the node died over and over: a bug of the transport or of this crate.
    Actor(String),
    /// The supervisor is gone: a bug of this crate.
    Lost,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown => f.write_str("shut down"),
            Self::Panicked(letter) => {
                write!(f, "the handler of `{}` panicked: {}", letter.event, letter.panic)
            }
            Self::PanickedTooOften(letter) => {
                write!(f, "too many panics, the last upon `{}`: {}", letter.event, letter.panic)
            }
            Self::Store(error) => write!(f, "the store has failed: {error}"),
            Self::Outdated(why) => write!(f, "peers know better who it is: {why}"),
            Self::Recovery(error) => write!(f, "the records cannot be restored: {error}"),
            Self::Transport(error) => write!(f, "no new life can be announced: {error}"),
            Self::Actor(cause) => write!(f, "its actors die over and over: {cause}"),
            Self::Lost => f.write_str("the supervisor of the node is gone"),
        }
    }
}

/// What panics have left behind.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    pub(crate) letters: VecDeque<DeadLetter>,
    pub(crate) restarts: u64,
    recent: VecDeque<Instant>,
}

impl Failures {
    pub(crate) fn keep(&mut self, letter: DeadLetter, letters_max: usize) {
        self.letters.push_back(letter);
        while letters_max < self.letters.len() {
            self.letters.pop_front();
        }
    }

    /// Whether the policy allows one restart more at `now`; if so it is counted.
    pub(crate) fn may_restart(&mut self, policy: PanicPolicy, now: Instant) -> bool {
        let PanicPolicy::Restart { restarts_max, within } = policy else {
            return false;
        };
        self.recent.retain(|restart| now.duration_since(*restart) < within);
        let allowed = u32::try_from(self.recent.len()).is_ok_and(|recent| recent < restarts_max);
        if allowed {
            self.recent.push_back(now);
            self.restarts += 1;
        }
        allowed
    }
}

impl DeadLetter {
    /// The first bytes of the event in hexadecimal, for a log.
    pub(crate) fn first_bytes(&self) -> String {
        let shown = self.bytes.iter().take(LOGGED_BYTES_MAX).map(|byte| format!("{byte:02x}"));
        let rest = if self.bytes.len() <= LOGGED_BYTES_MAX { "" } else { ".." };
        shown.collect::<String>() + rest
    }
}

/// Bytes of an event that a line of a log holds.
const LOGGED_BYTES_MAX: usize = 256;

/// What a panic said.
pub(crate) fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| String::from(*text));
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| String::from("a panic without a text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_shows_the_first_bytes_of_a_dead_letter() {
        let letter = |bytes| DeadLetter {
            event: String::from("a"),
            from: None,
            bytes,
            panic: String::new(),
            incarnation: 1,
        };
        assert_eq!(letter(vec![13, 255]).first_bytes(), "0dff");
        assert_eq!(letter(vec![7; 256]).first_bytes(), "07".repeat(256));
        assert_eq!(letter(vec![7; 257]).first_bytes(), "07".repeat(256) + "..");
    }

    #[test]
    fn restarts_are_bounded_within_a_window() {
        let policy = PanicPolicy::Restart { restarts_max: 2, within: Duration::from_secs(10) };
        let (mut failures, start) = (Failures::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let allowed = [0, 1, 2, 10, 11, 12].map(|now| failures.may_restart(policy, at(now)));
        assert_eq!(allowed, [true, true, false, true, true, false]);
        assert_eq!(failures.restarts, 4);
        assert!(!failures.may_restart(PanicPolicy::Stop, at(99)));
    }
}
