//! The clocks of the nodes: apart, too fast, too slow, jumping; never backwards.

use std::time::Duration;

use synod_core::NodeId;

use crate::choice::{About, Label, Stream};
use crate::settings::Settings;

/// How one node's time relates to that of the run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    /// How far it is ahead, in microseconds.
    ahead_us: u64,
    /// Parts in a million by which it is too fast; negative if it is too slow.
    fast: i64,
}

/// Parts of the whole.
const MILLION: i64 = 1_000_000;

impl Clock {
    /// The clock of `node`, within what `settings` allow.
    pub(crate) fn draw(settings: &Settings, stream: &mut Stream, node: NodeId) -> Self {
        let mut ask = |what, most: u64| match most {
            0 => 0,
            most => stream.choose(Label { what, about: About::Node(node) }, most + 1),
        };
        // A clock does not stand still: at most half its speed is lost.
        let drift = u64::from(settings.drift).min(500_000);
        let (fast, slow) = (ask("clock.fast", drift), ask("clock.slow", drift));
        let fast = i64::try_from(fast).unwrap_or(0) - i64::try_from(slow).unwrap_or(0);
        Self { ahead_us: ask("clock.skew", settings.skew_us), fast }
    }

    /// What it shows at `now_us` of the run.
    #[inline]
    pub(crate) fn reads(self, now_us: u64) -> Duration {
        let drifted = scaled(now_us, MILLION + self.fast, MILLION);
        Duration::from_micros(drifted.saturating_add(self.ahead_us))
    }

    /// How long the run waits until this clock has counted `after_us`: a timer is never early by its own clock.
    #[inline]
    pub(crate) fn takes(self, after_us: u64) -> u64 {
        let takes = scaled(after_us, MILLION, MILLION + self.fast);
        takes.saturating_add(u64::from(scaled(takes, MILLION + self.fast, MILLION) < after_us))
    }

    pub(crate) fn jump(&mut self, by_us: u64) {
        self.ahead_us = self.ahead_us.saturating_add(by_us);
    }
}

#[inline]
fn scaled(time_us: u64, by: i64, of: i64) -> u64 {
    if by == of {
        return time_us; // The usual clock, and a division of 128 bits costs more than a handler.
    }
    let product = u128::from(time_us) * u128::from(by.unsigned_abs());
    u64::try_from(product / u128::from(of.unsigned_abs().max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_shows_more_and_waits_less() {
        let clock = Clock { ahead_us: 7, fast: 100_000 };
        assert_eq!(clock.reads(1_000_000), Duration::from_micros(1_100_007));
        assert_eq!(clock.takes(1_100_000), 1_000_000);
        let slow = Clock { ahead_us: 0, fast: -300_000 };
        for (clock, from_us, after_us) in [(clock, 0, 10), (clock, 3, 1), (slow, 7, 999)] {
            let until_us = from_us + clock.takes(after_us);
            let counted = clock.reads(until_us) - clock.reads(from_us);
            assert!(Duration::from_micros(after_us) <= counted, "{counted:?} of {after_us} us");
        }
        let exact = Clock::default();
        assert_eq!((exact.reads(5), exact.takes(5)), (Duration::from_micros(5), 5));
    }
}
