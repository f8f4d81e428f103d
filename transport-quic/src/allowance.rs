//! How much a peer may say on the control stream that changes nothing.
//!
//! An acknowledgement of something that this node has sent is bounded by that, and free. All else is cheap to
//! say and takes the time of the one thread that serves all peers.

use std::time::{Duration, Instant};

use crate::limits::{IDLE_WORDS_MAX, IDLE_WORDS_PER_SECOND};

/// What is left of it, on one connection.
#[derive(Debug)]
pub(crate) struct Allowance {
    left: usize,
    /// When it was last added to.
    at: Instant,
}

impl Allowance {
    pub(crate) fn new(now: Instant) -> Self {
        Self { left: IDLE_WORDS_MAX, at: now }
    }

    /// Takes so many words; false if there are not that many left.
    pub(crate) fn take(&mut self, words: usize, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).min(ALL);
        let more = usize::try_from(passed.as_millis()).unwrap_or(0) * IDLE_WORDS_PER_SECOND / 1_000;
        if 0 < more {
            self.left = IDLE_WORDS_MAX.min(self.left + more);
            self.at = now;
        }
        let left = self.left.checked_sub(words);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

/// After so long it is whole again, whatever was taken.
const ALL: Duration = Duration::from_secs((IDLE_WORDS_MAX / IDLE_WORDS_PER_SECOND + 1) as u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_comes_back_with_time_and_never_more_than_that() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut allowance = Allowance::new(began);
        assert!(allowance.take(IDLE_WORDS_MAX, began));
        assert!(!allowance.take(1, began));
        assert!(allowance.take(IDLE_WORDS_PER_SECOND / 2, at(500)));
        assert!(!allowance.take(1, at(500)));
        assert!(allowance.take(IDLE_WORDS_MAX, at(3_600_000)));
        assert!(!allowance.take(1, at(3_600_000)));
    }

    #[test]
    fn many_looks_within_a_moment_do_not_lose_what_the_moment_brings() {
        let began = Instant::now();
        let mut allowance = Allowance::new(began);
        assert!(allowance.take(IDLE_WORDS_MAX, began));
        let taken = (0..10_000)
            .filter(|tenth| allowance.take(1, began + Duration::from_micros(100 * tenth)));
        assert!(IDLE_WORDS_PER_SECOND * 9 / 10 < taken.count());
    }
}
