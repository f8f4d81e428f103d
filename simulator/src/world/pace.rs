//! Runs that would not end, and those that nothing could hold.

use std::time::Duration;

use synod_core::Stack;

use super::{World, Wrong};

/// What may happen at one moment of virtual time, besides a message from each node to each other.
const AT_ONCE_MAX: u64 = 100_000;
/// What may wait to happen, messages under way and timers, besides four messages from each node to
/// each other.
const WAITING_MAX: u64 = 1_000_000;

impl<T: Stack> World<'_, T> {
    /// What happens next is at `at_us`. A run in which time stands still has no end, and one that
    /// sends ever more than arrives no room: both are violations, which shrink like others. O(1).
    #[inline]
    pub(super) fn keep_pace(&mut self, at_us: u64) -> Result<(), Wrong> {
        self.at_once = if at_us == self.now_us { self.at_once + 1 } else { 0 };
        if self.at_once <= AT_ONCE_MAX && self.queue.len() as u64 <= WAITING_MAX {
            return Ok(());
        }
        self.look_at_pace()
    }

    #[cold]
    fn look_at_pace(&self) -> Result<(), Wrong> {
        let links = u64::from(self.settings.nodes).pow(2);
        let (waiting, at_once) = (self.queue.len() as u64, self.at_once);
        if WAITING_MAX + 4 * links < waiting {
            let reason = format!("{waiting} messages and timers wait: is each answered by more?");
            return Err((String::from("what is sent has room"), reason));
        }
        if AT_ONCE_MAX + links < at_once {
            let now = Duration::from_micros(self.now_us);
            let reason =
                format!("{at_once} steps after {now:?} and none later: timers of no time?");
            return Err((String::from("time goes on"), reason));
        }
        Ok(())
    }
}
