//! Watches an exploration from outside: time, memory, and a line that tells how far it is.

use std::fmt;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde_json::json;
use synod_simulator::Progress;

use crate::printer::{Printer, thousands};

/// Tells how far an exploration is, on a terminal or to a program, and ends it when its time is
/// over.
pub(crate) struct Watcher<'p> {
    printer: &'p Printer,
    begun: Instant,
    time_max: Option<Duration>,
    told: Instant,
    /// The states when it was told last.
    before: u64,
    bytes_before: Option<u64>,
    on_terminal: bool,
    /// Whether a line stands on the terminal.
    standing: bool,
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
/// How often a line on a terminal changes.
const TERMINAL_EVERY: Duration = Duration::from_millis(200);
/// How often a program is told.
const PROGRAM_EVERY: Duration = Duration::from_secs(1);

impl<'p> Watcher<'p> {
    pub(crate) fn new(printer: &'p Printer, time_max: Option<Duration>) -> Self {
        let begun = Instant::now();
        let on_terminal = !printer.is_for_programs() && io::stderr().is_terminal();
        Self {
            printer,
            begun,
            time_max,
            told: begun,
            before: 0,
            bytes_before: resident("VmRSS:"),
            on_terminal,
            standing: false,
        }
    }

    pub(crate) fn watch(&mut self, progress: &Progress) -> ControlFlow<()> {
        let now = Instant::now();
        let every = if self.on_terminal { TERMINAL_EVERY } else { PROGRAM_EVERY };
        let since = now - self.told;
        if every <= since {
            let new = progress.states.saturating_sub(self.before);
            self.tell(progress, rate(new, since.as_secs_f64()));
            (self.told, self.before) = (now, progress.states);
        }
        match self.time_max {
            Some(time_max) if time_max <= now - self.begun => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn tell(&mut self, progress: &Progress, states_per_second: u64) {
        let Progress { states, transitions, depth, frontier, .. } = *progress;
        if self.on_terminal {
            let [states, frontier, rate] = [states, frontier, states_per_second].map(thousands);
            let line =
                format!("  {states} states · {rate}/s · depth {depth} · {frontier} to go on from");
            // A terminal that is gone is no reason to stop.
            let _ = write!(io::stderr(), "\r{line}\x1b[K");
            self.standing = true;
        }
        self.printer.event(&json!({
            "event": "progress", "states": states, "transitions": transitions, "depth": depth,
            "frontier": frontier, "states_per_second": states_per_second,
            "seconds": self.begun.elapsed().as_secs_f64(),
        }));
    }

    /// Wipes the line off the terminal, and says what `states` states have cost.
    pub(crate) fn finish(self, states: u64) -> Cost {
        if self.standing {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
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
