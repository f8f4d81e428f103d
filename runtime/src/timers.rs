//! The armed timers of a node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use synod_core::{Time, TimerId};
use tokio::sync::Notify;

use crate::gate::locked;

/// Which timer fires when. Those that are due wait here until the cell takes them, so there is no
/// queue of fired timers beside this one.
#[derive(Debug)]
pub(crate) struct Timers {
    armed: Mutex<Armed>,
    max: usize,
    /// The first timer may have changed.
    pub(crate) changed: Notify,
}

#[derive(Debug, Default)]
struct Armed {
    order: BTreeSet<(Time, TimerId)>,
    times: BTreeMap<TimerId, Time>,
}

impl Timers {
    pub(crate) fn new(max: usize) -> Self {
        Self { armed: Mutex::default(), max, changed: Notify::new() }
    }

    /// False if too many are armed. O(log timers).
    pub(crate) fn arm(&self, id: TimerId, at: Time) -> bool {
        let mut armed = locked(&self.armed);
        if self.max <= armed.times.len() {
            return false;
        }
        armed.times.insert(id, at);
        armed.order.insert((at, id));
        if armed.order.first() == Some(&(at, id)) {
            self.changed.notify_one();
        }
        true
    }

    pub(crate) fn cancel(&self, id: TimerId) {
        let mut armed = locked(&self.armed);
        if let Some(at) = armed.times.remove(&id) {
            armed.order.remove(&(at, id));
        }
    }

    /// Takes the first timer that is due at `now`. Of two for the same time, the one armed first.
    pub(crate) fn take_due(&self, now: Time) -> Option<TimerId> {
        let mut armed = locked(&self.armed);
        let (at, id) = *armed.order.first()?;
        if now < at {
            return None;
        }
        armed.order.pop_first();
        armed.times.remove(&id);
        Some(id)
    }

    /// How long after `now` the first timer fires.
    pub(crate) fn next(&self, now: Time) -> Option<Duration> {
        let armed = locked(&self.armed);
        armed.order.first().map(|(at, _)| at.saturating_sub(now))
    }

    pub(crate) fn len(&self) -> usize {
        locked(&self.armed).times.len()
    }

    pub(crate) fn clear(&self) {
        *locked(&self.armed) = Armed::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_by_time_then_in_the_order_of_arming() {
        let timers = Timers::new(10);
        let ms = Duration::from_millis;
        for (id, at) in [(1, 30), (2, 10), (3, 30), (4, 10), (5, 20)] {
            assert!(timers.arm(TimerId(id), ms(at)));
        }
        timers.cancel(TimerId(5));
        timers.cancel(TimerId(9));
        assert_eq!(timers.next(ms(4)), Some(ms(6)));
        assert_eq!(timers.take_due(ms(9)), None);
        let fired: Vec<_> = std::iter::from_fn(|| timers.take_due(ms(30))).collect();
        assert_eq!(fired, [2, 4, 1, 3].map(TimerId));
        assert_eq!((timers.len(), timers.next(ms(30))), (0, None));
    }

    #[test]
    fn timers_are_bounded() {
        let timers = Timers::new(1);
        assert!(timers.arm(TimerId(1), Duration::ZERO));
        assert!(!timers.arm(TimerId(2), Duration::ZERO));
    }
}
