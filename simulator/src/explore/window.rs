//! Timers that fire early or late.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How early and how late a timer fires, in per cent of the time that it was asked for: each timer by
/// itself, as if every clock ran at any speed between these, now faster and now slower. Written
/// `80..150`.
///
/// Time then goes in ticks of so small a part of the bound on delays that the window of a timer of
/// that bound, or of a multiple, begins and ends with a tick: a half for `50..200`, a tenth for
/// `80..150`. No timing that differs in what it reaches is left out, and none is added. The window of
/// any other timer begins with the tick before and ends with the tick after: it is longer by less than
/// a tick on each side.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    min_percent: u32,
    max_percent: u32,
}

/// Why a window is none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{text}` is no window of timers: expected MIN..MAX in per cent of what was asked for, such as \
     80..150, with 1 <= MIN <= MAX <= {max}",
    max = Window::PERCENT_MAX
)]
pub struct BadWindow {
    /// What was to be one.
    pub text: String,
}

/// When a timer fires: not before so many ticks have passed, and before more than so many have.
/// Without a bound on delays, both are the same number of microseconds.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Due {
    pub(crate) earliest: u64,
    pub(crate) latest: u64,
}

impl Window {
    /// Every timer fires when it was asked for.
    pub const EXACT: Self = Self { min_percent: 100, max_percent: 100 };

    /// The latest that a timer may fire, in per cent: ten times what was asked for.
    pub const PERCENT_MAX: u32 = 1_000;

    /// Timers that fire from `min_percent` to `max_percent` of the time that they were asked for.
    ///
    /// # Errors
    ///
    /// [`BadWindow`] if it begins at 0, ends before it begins, or ends after
    /// [`Window::PERCENT_MAX`].
    pub fn of_percent(min_percent: u32, max_percent: u32) -> Result<Self, BadWindow> {
        let window = Self { min_percent, max_percent };
        if (1..=max_percent).contains(&min_percent) && max_percent <= Self::PERCENT_MAX {
            Ok(window)
        } else {
            Err(BadWindow { text: window.to_string() })
        }
    }

    /// Whether every timer fires when it was asked for.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        *self == Self::EXACT
    }

    /// In how many ticks a message arrives at the latest: in the fewest of which both ends of the
    /// window of such a time are whole ones.
    pub(crate) fn ticks_of_delay(self) -> u64 {
        100 / u64::from(common_divisor(100, common_divisor(self.min_percent, self.max_percent)))
    }

    /// When a timer of so many microseconds is due, where a message takes `delay_us` at most.
    pub(crate) fn due(self, after_us: u64, delay_us: u64) -> Due {
        let after = u128::from(after_us) * u128::from(self.ticks_of_delay());
        let whole = 100 * u128::from(delay_us);
        let ticks = |ticks: u128| u64::try_from(ticks).unwrap_or(u64::MAX);
        Due {
            earliest: ticks(after * u128::from(self.min_percent) / whole),
            latest: ticks((after * u128::from(self.max_percent)).div_ceil(whole)),
        }
    }
}

/// The greatest one of two numbers, of which the first is not 0.
fn common_divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { common_divisor(other, one % other) }
}

impl Due {
    /// At one moment.
    pub(crate) fn at(time: u64) -> Self {
        Self { earliest: time, latest: time }
    }

    /// Some time has passed.
    pub(crate) fn pass(&mut self, time: u64) {
        self.earliest = self.earliest.saturating_sub(time);
        self.latest = self.latest.saturating_sub(time);
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::EXACT
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.min_percent, self.max_percent)
    }
}

impl FromStr for Window {
    type Err = BadWindow;

    fn from_str(text: &str) -> Result<Self, BadWindow> {
        let bad = || BadWindow { text: String::from(text) };
        let (min, max) = text.split_once("..").ok_or_else(bad)?;
        let (min, max) = (min.parse().map_err(|_| bad())?, max.parse().map_err(|_| bad())?);
        Self::of_percent(min, max)
    }
}

impl TryFrom<String> for Window {
    type Error = BadWindow;

    fn try_from(text: String) -> Result<Self, BadWindow> {
        text.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_window_is_read_as_it_is_written_and_nothing_else_is() {
        let window = Window::of_percent(80, 150).expect("a window");
        assert_eq!((window.to_string().as_str(), "80..150".parse()), ("80..150", Ok(window)));
        for text in ["", "100", "0..100", "0..0", "90..80", "100..1001", "-1..9", "8..=9", "a..b"] {
            let bad = text.parse::<Window>().expect_err("no window");
            assert_eq!(bad.text, text);
        }
    }

    #[test]
    fn ticks_are_as_long_as_a_window_allows() {
        for (window, ticks) in
            [("100..100", 1), ("50..200", 2), ("75..300", 4), ("80..150", 10), ("99..100", 100)]
        {
            let window: Window = window.parse().expect("a window");
            assert_eq!(window.ticks_of_delay(), ticks, "{window}");
        }
    }

    /// Against the definition: a moment of real time belongs to the whole tick before it and to the
    /// one after it.
    #[test]
    fn a_timer_may_fire_at_the_ticks_around_every_moment_of_its_window_and_at_no_other() {
        const DELAY_US: u64 = 7;
        for (min, max) in [(1, 1), (33, 101), (90, 130), (100, 250), (110, 120)] {
            let window = Window::of_percent(min, max).expect("a window");
            for after_us in 0..50_u64 {
                // In the smallest part of a microsecond that matters.
                let parts = window.ticks_of_delay();
                let end = |percent: u32| after_us * u64::from(percent) * parts;
                let tick = 100 * DELAY_US;
                let around = |moment: u64| [moment / tick, moment.div_ceil(tick)];
                let ticks: BTreeSet<u64> = (end(min)..=end(max)).flat_map(around).collect();
                let Due { earliest, latest } = window.due(after_us, DELAY_US);
                let due: BTreeSet<u64> = (earliest..=latest).collect();
                assert_eq!(due, ticks, "{after_us} us, {window}");
                if after_us % DELAY_US == 0 {
                    assert_eq!([earliest, latest].map(|it| it * tick), [end(min), end(max)]);
                }
            }
        }
    }
}
