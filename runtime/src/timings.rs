//! How long something takes, counted by upper bounds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// How long something took, each time so far.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Timings {
    /// How many times it took up to each of [`Timings::BOUNDS`] and more than the one before, and in the
    /// last place, more than all.
    pub counts: [u64; Self::BOUNDS.len() + 1],
    /// All of it together.
    pub total: Duration,
}

impl Timings {
    /// Upper bounds: 250 ns, and each four times the one before, up to a second.
    pub const BOUNDS: [Duration; 12] = [
        Duration::from_nanos(LEAST),
        Duration::from_micros(1),
        Duration::from_micros(4),
        Duration::from_micros(16),
        Duration::from_micros(64),
        Duration::from_micros(256),
        Duration::from_micros(1_024),
        Duration::from_micros(4_096),
        Duration::from_micros(16_384),
        Duration::from_micros(65_536),
        Duration::from_micros(262_144),
        Duration::from_micros(1_048_576),
    ];

    /// How many times it was.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Where one thread at a time notes what others read: it takes no operation that others must wait for.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    counts: [AtomicU64; Timings::BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Stopwatch {
    /// So many times took so long together, and are taken to have taken the same. O(1).
    pub(crate) fn note(&self, times: u64, took: Duration) {
        if times == 0 {
            return;
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get(place(nanos / times)) {
            count.store(count.load(Ordering::Relaxed) + times, Ordering::Relaxed);
        }
        let before = self.nanos.load(Ordering::Relaxed);
        self.nanos.store(before.saturating_add(nanos), Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Timings {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        Timings { counts, total: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)) }
    }
}

/// The place of the first bound that is not less.
fn place(nanos: u64) -> usize {
    let place = match nanos.div_ceil(LEAST) {
        0 | 1 => 0,
        quarters => (quarters - 1).ilog2() / 2 + 1,
    };
    usize::try_from(place).unwrap_or(usize::MAX).min(Timings::BOUNDS.len())
}

/// The least bound in nanoseconds.
const LEAST: u64 = 250;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_at_the_first_bound_that_is_not_less() {
        for (at, bound) in Timings::BOUNDS.iter().enumerate() {
            let nanos = u64::try_from(bound.as_nanos()).unwrap();
            assert_eq!((place(nanos - 1), place(nanos), place(nanos + 1)), (at, at, at + 1));
        }
        assert_eq!((place(0), place(u64::MAX)), (0, Timings::BOUNDS.len()));
    }

    #[test]
    fn events_that_were_measured_together_count_each() {
        let stopwatch = Stopwatch::default();
        stopwatch.note(8, Duration::from_micros(8));
        stopwatch.note(0, Duration::from_secs(5));
        stopwatch.note(1, Duration::from_secs(2));
        let timings = stopwatch.read();
        assert_eq!((timings.counts[1], timings.counts[12], timings.count()), (8, 1, 9));
        assert_eq!(timings.total, Duration::from_micros(2_000_008));
    }
}
