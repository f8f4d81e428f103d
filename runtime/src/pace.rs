//! How long the handlers of an event type take, and events that are handled by the thread that brings
//! them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::MutexGuard;

use crate::cell::{Cell, Turn};
use crate::host::{Host, Slot};
use crate::queue::Batch;

/// How many batches were quick since one was slow, up to [`Pace::MOST`]; or that one has taken so long
/// that none is believed to be quick again. Only the holder of the cell writes it.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU32);

impl Pace {
    /// From here on a handler is believed to be quick.
    const QUICK: u32 = 8;
    /// A slow batch takes [`Pace::QUICK`] away: a single one after many that were quick is more likely one
    /// that the system has interrupted.
    const MOST: u32 = 2 * Self::QUICK;
    const SLOW: u32 = u32::MAX;
    /// A connection whose thread is held up for so long may be taken for lost.
    const HELD_UP: Duration = Duration::from_millis(500);

    /// A batch of so many events took so long, and its handlers so much of that.
    pub(crate) fn note(&self, events: usize, took: Duration, handlers: Duration, quick: Duration) {
        let before = self.0.load(Ordering::Relaxed);
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        let now = if events == 0 {
            before
        } else if before == Self::SLOW || Self::HELD_UP <= took {
            Self::SLOW
        } else if handlers < quick.saturating_mul(events) {
            Self::MOST.min(before + 1)
        } else {
            before.saturating_sub(Self::QUICK)
        };
        if now != before {
            self.0.store(now, Ordering::Relaxed);
        }
    }

    fn is_quick(&self) -> bool {
        (Self::QUICK..=Self::MOST).contains(&self.0.load(Ordering::Relaxed))
    }
}

impl Host {
    /// The cell, if so few events of this type are to be handled by the thread that brings them.
    pub(crate) fn cell_at_once(&self, slot: &Slot, events: usize) -> Option<MutexGuard<'_, Cell>> {
        if EVENTS_AT_ONCE < events || !slot.pace.is_quick() || !self.transport.lends_threads() {
            return None;
        }
        let cell = self.cell.try_lock().ok()?;
        let is_idle = cell.sequence.ready.is_empty() && slot.queue.is_empty() && self.is_open();
        is_idle.then_some(cell)
    }

    /// Handles a batch on this thread. What cannot be finished here goes on elsewhere.
    pub(crate) fn handle_at_once(self: &Arc<Self>, mut cell: MutexGuard<'_, Cell>, batch: Batch) {
        let _in_runtime = self.runtime.enter(); // A handler may spawn.
        cell.sequence.admit(batch);
        if cell.turn(self, None) == Turn::More {
            let host = Arc::clone(self);
            self.runtime.spawn(async move { host.work(None).await });
        }
    }
}

/// More are worth a thread of their own.
const EVENTS_AT_ONCE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(20);

    #[test]
    fn a_handler_is_quick_after_some_batches_in_a_row_and_slow_for_good_after_one_that_held_all_up()
    {
        let pace = Pace::default();
        let note = |events, took| pace.note(events, took, took, LIMIT);
        let quick = |times| (0..times).for_each(|_| note(2, Duration::from_micros(39)));
        quick(7);
        assert!(!pace.is_quick());
        quick(1);
        assert!(pace.is_quick());
        note(1, LIMIT);
        assert!(!pace.is_quick());
        quick(16);
        note(1, LIMIT);
        assert!(pace.is_quick(), "one that was interrupted");
        note(1, LIMIT);
        assert!(!pace.is_quick());
        quick(8);
        assert!(pace.is_quick());
        note(1_000_000, Pace::HELD_UP);
        quick(100);
        assert!(!pace.is_quick());
    }

    #[test]
    fn what_comes_of_an_event_does_not_count_as_its_handler_unless_it_holds_all_up() {
        let pace = Pace::default();
        (0..8).for_each(|_| pace.note(1, LIMIT * 2, LIMIT / 2, LIMIT));
        assert!(pace.is_quick());
        pace.note(1, Pace::HELD_UP, LIMIT / 2, LIMIT);
        assert!(!pace.is_quick());
    }

    #[test]
    fn with_a_limit_of_zero_no_handler_is_quick() {
        let pace = Pace::default();
        (0..100).for_each(|_| pace.note(1, Duration::ZERO, Duration::ZERO, Duration::ZERO));
        assert!(!pace.is_quick());
    }
}
