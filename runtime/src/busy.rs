//! Which handler runs, and since when: a status must not wait for it to find out.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use synod_core::Time;

/// Written by the holder of the cell alone, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    /// Nanoseconds since the start of the node; 0 while nothing runs.
    since: AtomicU64,
    what: AtomicUsize,
}

impl Busy {
    /// From `now` on a handler of `what` runs: the number of a slot, or another one.
    pub(crate) fn begin(&self, what: usize, now: Time) {
        self.what.store(what, Ordering::Relaxed);
        let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.since.store(nanos.max(1), Ordering::Release);
    }

    pub(crate) fn end(&self) {
        self.since.store(0, Ordering::Release);
    }

    /// What runs, and since when; nothing also while that changes.
    pub(crate) fn get(&self) -> Option<(usize, Time)> {
        let since = self.since.load(Ordering::Acquire);
        let what = self.what.load(Ordering::Acquire);
        let is_same = since == self.since.load(Ordering::Acquire);
        (since != 0 && is_same).then(|| (what, Time::from_nanos(since)))
    }
}
