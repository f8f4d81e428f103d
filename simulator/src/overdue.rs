//! Tells of a run that takes long: a handler that loops for ever is silent otherwise.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use synod_core::Catalogue;

use crate::choice::{Decision, Stream};
use crate::settings::Settings;
use crate::simulation::Simulation;
use crate::underway::{Running, Underway};
use crate::world::Outcome;

/// What a run of a simulation, or a handler in an exploration, may take on the clock of the wall before
/// somebody is told.
const LONG: Duration = Duration::from_secs(10);
/// How often one looks whether any takes that long. Runs read no clock for it.
const LOOKS: u32 = 10;

/// A run that takes long, and where it was when one looked before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Overdue {
    pub(crate) now: Running,
    pub(crate) before: Running,
}

impl Overdue {
    /// Where it is: in one step, or on its way.
    pub(crate) fn place(&self, catalogue: &Catalogue) -> String {
        let Self { now, before } = self;
        let (steps, time) = (now.steps, Duration::from_micros(now.time_us));
        let at = now.handler(catalogue).map_or_else(String::new, |it| format!(", {it}"));
        if now.steps == before.steps {
            return format!(
                "is still in step {steps}, at {time:?} of virtual time{at}: {LOOP}, or in a property?"
            );
        }
        format!("goes on: it is in step {steps}, at {time:?} of virtual time{at}.")
    }

    /// The same of an exploration, in which nothing but a handler is watched.
    pub(crate) fn in_handler(&self, catalogue: &Catalogue) -> String {
        let handler = self.now.handler(catalogue).unwrap_or_default();
        format!("has been in one handler for {} s, {handler}: {LOOP}?", LONG.as_secs())
    }
}

impl Simulation<'_> {
    /// Runs once what was decided, and tells of it if it takes long.
    pub(crate) fn run_one(
        &self,
        seed: u64,
        settings: &Settings,
        decisions: &[Decision],
    ) -> (Outcome, Stream) {
        let underway = Underway::default();
        let seat = underway.enter();
        seat.begin(seed);
        let run = || self.runnable().run_seen(settings, Stream::replaying(decisions), &seat);
        watched(&underway, |it| self.overdue(&it), run)
    }

    /// What is said of a run that takes long.
    pub(crate) fn overdue(&self, overdue: &Overdue) -> String {
        let Running { seed, is_shrunk, .. } = overdue.now;
        let (name, long) = (self.runnable().name(), LONG.as_secs());
        let alone = format!("--seed {seed} --seeds 1, in a test SYNOD_SEED={seed} SYNOD_RUNS=1");
        if is_shrunk {
            return format!(
                "seed {seed} of `{name}` fails, and smaller runs have been tried for {long} s; if that never \
                 ends, a handler in one of them does not return. That seed alone: {alone}"
            );
        }
        let place = overdue.place(self.runnable().catalogue());
        format!("seed {seed} of `{name}` has run for {long} s and {place} That seed alone: {alone}")
    }
}

/// What a handler that does not return mostly is.
const LOOP: &str = "is there a loop without end in the handler";

/// Does `work`, and says once, on the standard error, what `words` makes of a run in `underway` that takes long.
pub(crate) fn watched<R>(
    underway: &Underway,
    words: impl FnOnce(Overdue) -> String + Send,
    work: impl FnOnce() -> R,
) -> R {
    let say = move |overdue| say(&words(overdue));
    watched_every(LONG / LOOKS, underway, say, work)
}

fn watched_every<R>(
    every: Duration,
    underway: &Underway,
    tell: impl FnOnce(Overdue) + Send,
    work: impl FnOnce() -> R,
) -> R {
    let (working, over) = channel();
    thread::scope(|scope| {
        let watch = move || first(every, underway, &over).map(tell);
        // Where there is no thread to be had, nobody watches.
        let _ = thread::Builder::new().spawn_scoped(scope, watch);
        let _working = working; // Dropped also if the work panics.
        work()
    })
}

/// The first run that is seen at so many looks; none once the work is done, or if one was told of before.
fn first(every: Duration, underway: &Underway, over: &Receiver<()>) -> Option<Overdue> {
    let mut seen: Vec<(Running, u32)> = Vec::new();
    while over.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        let looked = |now: Running| {
            let known = seen.iter().find(|(before, _)| before.is_same_run(&now));
            known.map_or((now, now, 0), |(before, looks)| (now, *before, looks + 1))
        };
        let runs: Vec<_> = underway.running().into_iter().map(looked).collect();
        if let Some((now, before, _)) = runs.iter().find(|(.., looks)| *looks == LOOKS) {
            let overdue = Overdue { now: *now, before: *before };
            return (!underway.has_told()).then_some(overdue);
        }
        seen = runs.into_iter().map(|(now, _, looks)| (now, looks)).collect();
    }
    None
}

/// A line that a test runner does not keep to itself until the test ends: it may not end.
fn say(line: &str) {
    let mut out = io::stderr();
    // How far a command is stands on a terminal's line.
    let begin = if out.is_terminal() { "\r\x1b[K" } else { "" };
    let _ = writeln!(out, "{begin}synod: {line}");
}

#[cfg(test)]
mod tests;
