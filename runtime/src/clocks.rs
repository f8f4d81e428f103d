//! Watches the two clocks of the system: whether the process was stopped, and whether the wall clock was set.
//!
//! Handlers never see the wall clock, and timers go by the other one; certificates go by the wall
//! clock. So neither is a fault of the node, and both explain much of what its peers say.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::host::Host;

/// What has happened to the clocks since they were looked at before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Oddity {
    /// For so long the process did not run: it was stopped, or there was no processor for it.
    Paused(Duration),
    /// The wall clock was set: so much later, or earlier. The sleep of a machine may look the same.
    Jumped { by: Duration, forward: bool },
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused(time) => {
                write!(f, "the process did not run for {:.1} s", time.as_secs_f64())?;
                f.write_str(": was it stopped, or the machine too busy? peers may have given it up")
            }
            Self::Jumped { by, forward } => {
                let sign = if *forward { '+' } else { '-' };
                write!(f, "clock jumped by {sign}{:.1} s", by.as_secs_f64())?;
                f.write_str(": certificates go by it, and nothing else does")
            }
        }
    }
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// Runs evenly.
    even: Instant,
    /// Since 1970.
    wall: Duration,
    /// The wall clock was read so long after the other one, at most.
    apart: Duration,
}

impl Reading {
    fn now() -> Self {
        let even = Instant::now();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { even, wall, apart: even.elapsed() }
    }

    /// What has happened from `before` until now, after a sleep of [`LOOK_EVERY`].
    fn since(&self, before: &Self) -> [Option<Oddity>; 2] {
        let passed = self.even.saturating_duration_since(before.even);
        let awake_late = passed.saturating_sub(LOOK_EVERY);
        let paused = (PAUSE_MIN <= awake_late).then_some(Oddity::Paused(awake_late));
        let expected = before.wall + passed;
        let by = self.wall.abs_diff(expected);
        let noticed = JUMP_MIN + self.apart + before.apart <= by;
        let jumped = noticed.then_some(Oddity::Jumped { by, forward: expected < self.wall });
        [paused, jumped]
    }
}

/// Looks at the clocks for as long as the node lives.
pub(crate) fn watch(host: Weak<Host>) -> impl Future<Output = ()> {
    // Now, and not when the future first runs: a process may be stopped before.
    let mut before = Reading::now();
    async move {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(host) = host.upgrade().filter(|host| !host.has_ended()) else { return };
            let now = Reading::now();
            now.since(&before).into_iter().flatten().for_each(|oddity| tell(&host, oddity));
            before = now;
        }
    }
}

fn tell(host: &Arc<Host>, oddity: Oddity) {
    let counter = match oddity {
        Oddity::Paused(_) => &host.pauses,
        Oddity::Jumped { .. } => &host.clock_jumps,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    tracing::warn!(node = %host.id, "{oddity}");
}

/// How often the clocks are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Shorter pauses are those of a busy machine.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Less is what keeps a clock right, and not a jump: a clock that is slewed changes by a thousandth at most.
const JUMP_MIN: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// What is seen when so many milliseconds have passed on each clock.
    fn seen(even: u64, wall: u64) -> [Option<Oddity>; 2] {
        let (began, hour) = (Instant::now(), Duration::from_secs(3_600));
        let before = Reading { even: began, wall: hour, apart: ms(0) };
        let after = Reading { even: began + ms(even), wall: ms(wall), apart: ms(3) };
        after.since(&before)
    }

    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn clocks_that_run_evenly_are_nothing_to_tell() {
        for late in [0, 1, 40, 999] {
            assert_eq!(seen(500 + late, HOUR_MS + 500 + late), [None, None]);
        }
        assert_eq!(seen(500, HOUR_MS + 500 + 252), [None, None], "the readings were apart");
    }

    #[test]
    fn a_process_that_was_stopped_sees_how_long_and_no_jump() {
        let [paused, jumped] = seen(15_500, HOUR_MS + 15_500);
        assert_eq!((paused, jumped), (Some(Oddity::Paused(ms(15_000))), None));
        let words = paused.expect("it is there").to_string();
        assert!(words.starts_with("the process did not run for 15.0 s"), "{words}");
    }

    #[test]
    fn a_wall_clock_that_is_set_is_a_jump_and_no_pause() {
        for (wall, by, forward, said) in [
            (2 * HOUR_MS + 500, HOUR_MS, true, "clock jumped by +3600.0 s"),
            (500, HOUR_MS, false, "clock jumped by -3600.0 s"),
            (HOUR_MS + 900, 400, true, "clock jumped by +0.4 s"),
        ] {
            let [paused, jumped] = seen(500, wall);
            assert_eq!((paused, jumped), (None, Some(Oddity::Jumped { by: ms(by), forward })));
            let words = jumped.expect("it is there").to_string();
            assert!(words.starts_with(said), "{words}");
        }
    }

    #[test]
    fn a_machine_that_slept_may_show_both() {
        let [paused, jumped] = seen(2_000, HOUR_MS + 62_000);
        assert_eq!(paused, Some(Oddity::Paused(ms(1_500))));
        assert_eq!(jumped, Some(Oddity::Jumped { by: ms(60_000), forward: true }));
    }
}
