//! A simulation as a test: what failed once runs first, then new seeds until the time is up.

use std::panic::Location;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use synod_core::{EventId, NodeId};

use crate::choice::{Decision, Stream};
use crate::failure::Failure;
use crate::schedule::{Recorded, Schedule};
use crate::simulation::{Report, Simulation, expect_somebody};
use crate::trace::{Step, StepKind, Trace, hash_of};
use crate::underway::Underway;
use crate::why::why_simulated;

mod environment;
mod github;
mod page;
mod state;

/// Seeds between two looks at the clock, at most. Before the first there is one for each thread, and the number
/// doubles while a round is short, so that a slow simulation keeps its time and a fast one is not held up.
const ROUND_MAX: u64 = 4_096;
/// A shrunk run of at most so many steps is told with the step that decided it: from each of its moments
/// so many runs go on at random.
const DECIDED_STEPS_MAX: usize = 200;
const DECIDED_RUNS: u32 = 40;
/// Nodes whose state is told when a run failed, and characters of it.
const NODES_TOLD_MAX: usize = 20;
const STATE_TOLD_MAX: usize = 400;
/// A round is short if it takes less than this part of the budget.
const ROUND_PART: u32 = 16;
/// A round that takes more than this part of it is told of: runs are not cut off.
const LONG_PART: u32 = 2;

impl Simulation<'_> {
    /// Runs as a test of that name, in the folder `tests/schedules` of the package that is tested
    /// (`CARGO_MANIFEST_DIR`, or else the current folder): first the schedules that are stored
    /// there under the name, then seeds from `SYNOD_SEED` on, or from 0, until `SYNOD_BUDGET` is spent
    /// (seconds, or with a unit: `500ms`, `2s`, `10m`), or `SYNOD_RUNS` of them have run. A failure is
    /// shrunk and stored there, so that it runs first the next time, and can be kept in git. Under
    /// `GITHUB_ACTIONS` it is also told as an annotation at the test's line, and where
    /// `GITHUB_STEP_SUMMARY` names a file, with its diagram on the page of the step.
    ///
    /// `SYNOD_REPLAY` names one schedule that runs instead of all that, in the tests of its algorithm.
    ///
    /// # Panics
    ///
    /// If a run fails: with everything that is needed to understand it. If `name` cannot begin that of a file. If a
    /// stored schedule cannot be read, is one of an exploration or of another algorithm, or decides about an event that there is no more. If
    /// `SYNOD_BUDGET` is not a time, `SYNOD_RUNS` no number from 1, or `SYNOD_SEED` not a number below
    /// 2^63. If a node of no cluster is to trigger something, or when all runs are over. If what should happen
    /// sometimes happened in no run, or a promise was held against none.
    #[track_caller]
    pub fn check(&self, name: &str) {
        let place = Location::caller();
        let is_begin = !name.is_empty() && !name.contains(['/', '\\', '\0']);
        assert!(is_begin, "`{name}` cannot be the name of a test: that of a file begins with it");
        let directory = &folder();
        let replayed = environment::replayed().map(|path| (read(&path), path));
        let own = |(schedule, _): &((String, Schedule), PathBuf)| {
            schedule.1.algorithm == self.runnable().name()
        };
        if let Some((schedule, path)) = replayed.filter(own) {
            return self.rerun(schedule, name, place, &path);
        }
        expect_somebody(&self.nobody());
        for path in stored(directory, name) {
            let schedule = read(&path);
            let (of, own) = (&schedule.1.algorithm, self.runnable().name());
            assert!(
                of == own,
                "`{}` is of `{of}`, and this test of `{own}`: are two tests called `{name}`?",
                path.display()
            );
            self.rerun(schedule, name, place, &path);
        }
        let (budget, begin) = (environment::budget(), now());
        let first = environment::first_seed();
        let end = budget.runs.map_or(u64::MAX, |runs| first.saturating_add(runs));
        let goes_on = |next| {
            next < end && (next == first || budget.time.is_none_or(|time| begin.elapsed() < time))
        };
        let (mut next, mut round) = (first, self.threads_used());
        let (underway, mut longest) = (Underway::default(), (Duration::ZERO, 0));
        let (mut never, mut undue) =
            (self.runnable().should_happen(), self.runnable().due_sometime());
        while goes_on(next) {
            let began = now();
            let report = self.run_in(&underway, next..end.min(next + round));
            if let Some(failure) = &report.failure {
                let stored = store(directory, name, failure);
                panic!("{}", self.block(failure, name, place, stored.as_deref()));
            }
            if let Some(divergence) = &report.divergence {
                panic!("{divergence}");
            }
            never.retain(|it| report.never.contains(it));
            undue.retain(|it| report.undue.contains(it));
            longest = longest.max((began.elapsed(), next));
            next = end.min(next + round);
            if budget.time.is_none_or(|time| began.elapsed() < time / ROUND_PART) {
                round = (2 * round).min(ROUND_MAX);
            }
        }
        let runs = next - first;
        assert!(
            never.is_empty(),
            "in {runs} runs of `{name}` there was never: {never:?}; a longer SYNOD_BUDGET or more \
             faults may show it"
        );
        assert!(
            undue.is_empty(),
            "in {runs} runs of `{name}` these were never judged: {undue:?}; {}",
            Report::UNDUE
        );
        let (took, long) = (begin.elapsed().as_secs_f64(), long_round(longest, budget.time));
        say(&format!("{name}: {runs} runs from seed {first}, {took:.1} s{long}"));
    }

    fn rerun(
        &self,
        (text, schedule): (String, Schedule),
        name: &str,
        place: &Location<'_>,
        path: &Path,
    ) {
        let Recorded::Simulated { settings, seed, decisions } = &schedule.run else {
            panic!("{}", explored(path));
        };
        let (seen, stream) = self.run_one(*seed, settings, decisions);
        if seen.violation.is_none() {
            self.knows_events(&text, decisions, path);
            let (gone, of) = (decisions.len() - stream.found(), decisions.len());
            if 0 < gone {
                let path = path.display();
                say(&format!("`{path}` holds: {gone} of {of} decisions are no longer asked for"));
            }
            return;
        }
        let (outcome, _) = self.runnable().run(settings, Stream::replaying(decisions), true);
        let Some(violation) = outcome.violation else {
            panic!("`{}` fails in one of two executions: not deterministic", path.display());
        };
        let (trace, states, state) = (outcome.trace, outcome.states, outcome.state);
        let (steps_found, decisions_found) = (trace.steps.len() as u64, decisions.len());
        let failure = Failure {
            seed: *seed,
            drawn: None,
            violation,
            found: text.clone(),
            text,
            trace,
            states,
            state,
            steps_found,
            decisions_found,
            replays: 0,
            is_minimal: true,
            is_by_chance: false,
            schedule,
        };
        panic!("{}", self.block(&failure, name, place, Ok(path)));
    }

    /// A schedule of events that were renamed holds whatever the program does.
    fn knows_events(&self, text: &str, decisions: &[Decision], path: &Path) {
        let known = self.runnable().catalogue();
        for event in decisions.iter().filter_map(|it| it.label.event()) {
            let name = text.split_whitespace().find(|word| EventId::of(word) == event);
            assert!(
                known.knows(event),
                "`{}` decides about `{}`, and there is no such event now: if it has another name, give it \
                 that in the file, otherwise delete the file",
                path.display(),
                name.unwrap_or_default()
            );
        }
    }

    /// Everything that is needed to understand a failure: which test it is and where stands above.
    fn block(
        &self,
        failure: &Failure,
        name: &str,
        place: &Location<'_>,
        stored: Result<&Path, &NotStored>,
    ) -> String {
        let told = failure.block();
        let (property, rest) = told.split_once('\n').unwrap_or((&told, ""));
        let (source, line) = (place.file(), place.line());
        let mut block = github::annotation(failure, name, place).unwrap_or_default();
        block += &format!("{property}\n  in `{name}`, {source}:{line}\n{rest}");
        block += "state when it broke\n";
        for node in (1..=failure.trace.nodes).map(NodeId).take(NODES_TOLD_MAX) {
            let state = failure.states.get(&node).map_or("not up", String::as_str);
            block += &format!("  {node}  {}\n", shortened(state));
        }
        block += &state::told(failure).unwrap_or_default();
        block += &self.decided(failure);
        let lines = log_lines(&failure.trace);
        if !lines.is_empty() {
            block += &format!("log lines of this run\n{lines}");
        }
        if let Some(page) = stored.as_ref().ok().and_then(|file| page::written(failure, file)) {
            block += &format!("picture   {}   (open it in a browser)\n", page.display());
        }
        let command = command(name);
        github::summarize(failure, name, &command);
        block += &match stored {
            Ok(file) => format!(
                "replay    {command}   (stored schedules run first)\nkeep it   git add {}\n",
                file.display()
            ),
            Err(error) => format!("not kept  {error}\n"),
        };
        block
    }

    /// Which step of the run decided that it fails, or which ones led to it.
    fn decided(&self, failure: &Failure) -> String {
        let Recorded::Simulated { settings, decisions, .. } = &failure.schedule.run else {
            return String::new();
        };
        if DECIDED_STEPS_MAX < failure.trace.steps.len() {
            return String::new();
        }
        let why = why_simulated(self.runnable(), settings, decisions, DECIDED_RUNS);
        why.map_or_else(|_| String::new(), |why| why.verdict().join("\n") + "\n")
    }
}

/// A schedule, and its text.
fn read(path: &Path) -> (String, Schedule) {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => panic!("cannot read `{}`: {error}", path.display()),
    };
    match text.parse() {
        Ok(schedule) => (text, schedule),
        Err(error) => panic!("`{}`, {error}", path.display()),
    }
}

/// A line that test runners show if they are asked to.
#[expect(clippy::print_stderr, reason = "runners capture what is printed, and nothing else")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// What is to be said of the longest round: nothing, unless the budget was spent by it.
fn long_round((took, seed): (Duration, u64), budget: Option<Duration>) -> String {
    if budget.is_none_or(|time| took <= time / LONG_PART) {
        return String::new();
    }
    let took = took.as_secs_f64();
    format!(" (no run is cut off: those from seed {seed} on took {took:.1} s)")
}

/// Why a path of an exploration is no schedule of a simulation, and what to do with it.
fn explored(path: &Path) -> String {
    let path = path.display();
    format!(
        "`{path}` is a path of an exploration, and a simulation runs only what was simulated: make \
         it a test of its own by `synod replay {path} --as-test`, and move the file elsewhere"
    )
}

#[expect(clippy::disallowed_methods, reason = "how many seeds fit is no part of a run")]
fn now() -> Instant {
    Instant::now()
}

/// Where a package keeps its schedules. Test runners set the variable; a test binary that is started
/// by hand has only the folder it is started in.
fn folder() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    package.unwrap_or_default().join("tests/schedules")
}

/// The command that runs a test again, by what its runner tells of it.
fn command(name: &str) -> String {
    let var = |name| std::env::var(name).ok();
    let runner = if var("NEXTEST").is_some() { "nextest run" } else { "test" };
    let package = var("CARGO_PKG_NAME").map(|it| format!(" -p {it}")).unwrap_or_default();
    // The main thread runs a test that is alone in its process; then the arguments name it.
    let thread = thread::current().name().map(String::from).filter(|it| it != "main");
    let test = thread.or_else(|| var("NEXTEST_TEST_NAME")).or_else(|| {
        let exact = std::env::args().any(|it| it == "--exact");
        std::env::args().skip(1).find(|it| exact && !it.starts_with('-'))
    });
    format!("cargo {runner}{package} {}", test.as_deref().unwrap_or(name))
}

/// The stored schedules of a test, by name.
fn stored(directory: &Path, name: &str) -> Vec<PathBuf> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => Some(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => panic!("cannot read `{}`: {error}", directory.display()),
    };
    let mut found: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
            let rest = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
            rest.is_some_and(|rest| rest.len() == 13 && rest.ends_with(".schedule"))
        })
        .collect();
    found.sort();
    found
}

/// A schedule that could not be written, though it is told.
#[derive(Debug, thiserror::Error)]
#[error("the schedule that stands above could not be written to `{}`: {error}", path.display())]
struct NotStored {
    path: PathBuf,
    error: io::Error,
}

/// Writes the schedule of a failure beside the tests; the file's name tells it from others.
fn store(directory: &Path, name: &str, failure: &Failure) -> Result<PathBuf, NotStored> {
    let hash: String = hash_of(&failure.text).chars().take(4).collect();
    let path = directory.join(format!("{name}-{hash}.schedule"));
    // A test that cannot write still tells the schedule.
    match replace(&path, &failure.text) {
        Ok(()) => Ok(path),
        Err(error) => Err(NotStored { path, error }),
    }
}

/// Writes a file as a whole, and the folder that it is to be in.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    // Tests run side by side, and each in a process of its own under some runners.
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(&partial, text))
        .and_then(|()| fs::rename(&partial, path));
    written.inspect_err(|_| drop(fs::remove_file(&partial)))
}

/// A state as far as a line should go.
fn shortened(state: &str) -> String {
    let told: String = state.chars().take(STATE_TOLD_MAX).collect();
    let more = if told.len() < state.len() { "…" } else { "" };
    format!("{told}{more}")
}

fn log_lines(trace: &Trace) -> String {
    // A message that is lost has a reason in the trace, and so has a crash, which nobody has logged.
    let is_logged = |it: &&Step| !matches!(it.kind, StepKind::Lost | StepKind::Crash);
    let told = trace.steps.iter().filter(is_logged);
    let steps = told.filter_map(|step| Some((step.node?, &step.log)));
    steps
        .flat_map(|(node, log)| log.iter().map(move |line| format!("  {node}  {line}\n")))
        .collect()
}
