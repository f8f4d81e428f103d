//! A panic of the program itself, told as a defect: what broke, where, and how to report it.
//!
//! A panic of a handler is none of these: in a simulation it is a violation, and in a node its policy
//! says what follows.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::{Mutex, MutexGuard, PoisonError};

use synod_simulator::Running;

use crate::printer::{quoted, typed, typed_again, words};
use crate::problem::{Exit, Problem};

/// What a panic said: the first one, since what follows in other threads may follow from it; where nodes run,
/// the last one, since those before it ended nothing.
static SAID: Mutex<Option<Defect>> = Mutex::new(None);

/// What broke, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Defect {
    what: String,
    /// The line of the source.
    place: String,
}

impl Defect {
    fn of(info: &PanicHookInfo<'_>) -> Self {
        let payload = info.payload();
        let owned = payload.downcast_ref::<String>().map(String::as_str);
        let words = owned.or_else(|| payload.downcast_ref::<&str>().copied());
        let words = words.unwrap_or("a panic without words");
        let here = info.location().map_or_else(String::new, ToString::to_string);
        // The simulator says panics of properties anew, with their place in the last line.
        let (what, at) = words.rsplit_once("\n  at ").unwrap_or((words, &here));
        Self { what: String::from(what), place: String::from(at) }
    }

    /// As the problem of a command that has no runs of its own.
    pub(crate) fn problem(&self) -> Problem {
        self.report("", typed_again(Some))
    }

    /// As the problem of a simulation whose runs `broken_off` a panic has ended.
    pub(crate) fn in_runs(&self, broken_off: &[Running]) -> Problem {
        let seeds: Vec<String> = broken_off.iter().map(|run| run.seed.to_string()).collect();
        match &*seeds {
            [] => self.problem(),
            [seed] => self.report(&format!("  in the run of seed {seed}\n"), with_seed(seed)),
            // Several threads came upon it.
            [first, ..] => {
                let all = seeds.join(", ");
                self.report(&format!("  in the runs of the seeds {all}\n"), with_seed(first))
            }
        }
    }

    fn report(&self, run: &str, again: String) -> Problem {
        let Self { what, place } = self;
        let hint = format!(
            "at {place}\n{run}  the same again: {again}\n  \
             if that place is not in your own code, report these lines with what led to them:\n  \
             {}/issues (synod {}, {} on {})",
            env!("CARGO_PKG_REPOSITORY"),
            env!("CARGO_PKG_VERSION"),
            std::env::consts::ARCH,
            std::env::consts::OS,
        );
        Problem::new(Exit::Defect, format!("a defect of the program: {what}")).hint(hint)
    }
}

/// The command line as it was typed, for one seed.
fn with_seed(seed: &str) -> String {
    let mut again = Vec::new();
    let mut given = words().skip(1);
    while let Some(word) = given.next() {
        match &*word {
            "--seed" | "--seeds" => drop(given.next()),
            other if other.starts_with("--seed=") || other.starts_with("--seeds=") => (),
            _ => again.push(word),
        }
    }
    again.extend(["--seed", seed, "--seeds", "1"].map(String::from));
    typed(again.iter().map(quoted).collect::<Vec<_>>().join(" "))
}

/// Keeps what panics say instead of printing it, where a `caught` one is told anyway; where nodes run,
/// panics that end no command are printed as ever.
pub(crate) fn listen(runs_nodes: bool) {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let is_first = keep(info, runs_nodes);
        if runs_nodes {
            usual(info);
        } else if is_first {
            trace();
        }
    }));
}

/// Keeps what a panic says, over what is kept already or not. Returns whether it is the first.
fn keep(info: &PanicHookInfo<'_>, over: bool) -> bool {
    let mut said = said();
    let is_first = said.is_none();
    if is_first || over {
        *said = Some(Defect::of(info));
    }
    is_first
}

/// Prints how the program came here, where the environment asks for it.
fn trace() {
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        let _ = writeln!(io::stderr(), "{trace}");
    }
}

fn said() -> MutexGuard<'static, Option<Defect>> {
    SAID.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does `work`; a panic in it is a defect.
pub(crate) fn caught<R>(work: impl FnOnce() -> R) -> Result<R, Defect> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        let unknown = || Defect { what: String::from("a panic"), place: String::from("?") };
        said().take().unwrap_or_else(unknown)
    })
}
