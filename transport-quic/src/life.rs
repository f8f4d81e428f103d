//! Which life of a node speaks, and of two of one number, which one is believed.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A life of a node as its peers tell it from others. Two processes with one bundle may say the same
/// incarnation: those of a copied machine, or an old copy of a store that is put back.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Life {
    pub(crate) incarnation: u64,
    /// When its process began: microseconds since 1970, by its own clock.
    pub(crate) began: u64,
}

impl Life {
    /// Whether whoever has been linked with this life takes `other` no more: one of a lower number, or one
    /// of the same number that is another process's. That one is taken only if it began right after:
    /// without a store lives are numbered by the clock, and a process may end within a tick of it.
    pub(crate) fn outdates(self, other: Self) -> bool {
        let follows = || (self.began..=self.began.saturating_add(TICK_MAX)).contains(&other.began);
        other.incarnation < self.incarnation
            || (other.incarnation == self.incarnation && !follows())
    }
}

/// When a process begins that begins now.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// No clock that numbers lives is coarser, in microseconds.
const TICK_MAX: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_lives_of_one_number_the_first_stays_unless_the_other_began_right_after() {
        let known = Life { incarnation: 7, began: 50_000_000 };
        let other = |incarnation, began| known.outdates(Life { incarnation, began });
        assert!(!known.outdates(known), "a process that comes back");
        assert!(!other(8, 0) && other(6, 90_000_000), "numbers come first");
        assert!(!other(7, 50_200_000), "started anew within a tick");
        assert!(other(7, 52_000_000), "a second process, or a copy");
        assert!(other(7, 49_999_999), "the earlier of two");
    }
}
