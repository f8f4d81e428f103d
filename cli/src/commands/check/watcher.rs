//! Watches an exploration from outside: time, memory, and how far it is.

use std::fmt;
use std::fs;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use synod_simulator::Progress;

use crate::printer::{Printer, thousands};

/// Tells programs how far an exploration is, keeps that for whoever tells people, and ends it when its
/// time is over.
pub(crate) struct Watcher<'p> {
    printer: &'p Printer,
    begun: Instant,
    time_max: Option<Duration>,
    told: Instant,
    /// The states when it was told last.
    before: u64,
    bytes_before: Option<u64>,
    /// How far it is.
    latest: &'p Mutex<Progress>,
}

/// What an exploration cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) seconds: f64,
    pub(crate) states_per_second: u64,
    /// The largest resident set of this process so far, where the system tells it.
    pub(crate) peak_bytes: Option<u64>,
    /// By how much the exploration made it grow, for each state, where there are enough to tell.
    pub(crate) bytes_per_state: Option<u64>,
}

/// With fewer states, what they take is lost in what everything else takes.
const STATES_MIN: u64 = 10_000;
/// How often a program is told.
const PROGRAM_EVERY: Duration = Duration::from_secs(1);

impl<'p> Watcher<'p> {
    pub(crate) fn new(
        printer: &'p Printer,
        time_max: Option<Duration>,
        latest: &'p Mutex<Progress>,
    ) -> Self {
        let begun = Instant::now();
        Self {
            printer,
            begun,
            time_max,
            told: begun,
            before: 0,
            bytes_before: resident("VmRSS:"),
            latest,
        }
    }

    pub(crate) fn watch(&mut self, progress: &Progress) -> ControlFlow<()> {
        let now = Instant::now();
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = *progress;
        let since = now - self.told;
        if PROGRAM_EVERY <= since {
            let new = progress.states.saturating_sub(self.before);
            self.tell(progress, rate(new, since.as_secs_f64()));
            (self.told, self.before) = (now, progress.states);
        }
        match self.time_max {
            Some(time_max) if time_max <= now - self.begun => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn tell(&self, progress: &Progress, states_per_second: u64) {
        let Progress { states, transitions, depth, frontier, .. } = *progress;
        self.printer.event(&json!({
            "event": "progress", "states": states, "transitions": transitions, "depth": depth,
            "frontier": frontier, "states_per_second": states_per_second,
            "seconds": self.begun.elapsed().as_secs_f64(),
        }));
    }

    /// Says what `states` states have cost.
    pub(crate) fn finish(self, states: u64) -> Cost {
        let seconds = self.begun.elapsed().as_secs_f64();
        let peak_bytes = resident("VmHWM:");
        let grown = peak_bytes.zip(self.bytes_before).map(|(peak, before)| peak - before.min(peak));
        let enough = STATES_MIN <= states;
        let bytes_per_state = grown.filter(|_| enough).map(|bytes| bytes / states.max(1));
        Cost { seconds, states_per_second: rate(states, seconds), peak_bytes, bytes_per_state }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s · {} states/s", self.seconds, thousands(self.states_per_second))?;
        if let Some(peak) = self.peak_bytes {
            write!(f, " · peak memory {} MiB", peak >> 20)?;
        }
        if let Some(each) = self.bytes_per_state {
            write!(f, ", {} bytes a state", thousands(each))?;
        }
        Ok(())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate for the reader, never negative"
)]
fn rate(count: u64, seconds: f64) -> u64 {
    (count as f64 / seconds.max(1e-9)) as u64
}

/// A figure of this process' memory, in bytes, on systems that have it in a file.
fn resident(figure: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(figure))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
