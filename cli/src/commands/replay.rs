//! `replay`: a recorded schedule, or the recording of a node, once more.

use std::path::Path;

use serde_json::json;
use synod_simulator::{
    BadSchedule, Comparison, Decision, Diagram, Replay as Replayed, Schedule, Trace, Violation,
};

use super::{as_test, recording};
use crate::app::App;
use crate::args::Replay;
use crate::entry::Entry;
use crate::printer::{Printer, quoted};
use crate::problem::{Exit, Problem};

/// Decisions that are told one by one, if they are no longer asked for.
const GONE_MAX: usize = 10;

pub(crate) fn run(app: &App, asked: &Replay, printer: &Printer) -> Result<(), Problem> {
    if asked.as_test {
        return as_test::run(app, asked, printer);
    }
    super::spared(asked.trace.as_deref(), &[&asked.file])?;
    if recording::is_one(&asked.file) {
        return recording::replay(app, asked, printer);
    }
    let (text, recorded) = recorded(&asked.file)?;
    let schedule = parse(&asked.file, &text)?;
    let entry = entry(app, &asked.file, &schedule)?;
    let replayed = entry.replay(&schedule);
    let gone: Vec<&str> = replayed.gone.iter().map(|it| as_written(it, &text)).collect();
    let hash = replayed.trace.hash();
    if let Some(path) = &asked.trace {
        super::replace(path, &replayed.trace.json_lines())?;
    }
    let diagram = Diagram::of(&replayed.trace);
    let diagram = if asked.full { diagram.full() } else { diagram };
    printer.draw(diagram);
    printer.say(format!("replayed {} of {} decisions", replayed.found, replayed.decisions));
    for gone in gone.iter().take(GONE_MAX) {
        printer.say(format!("  no longer asked for: {gone}"));
    }
    if let Some(more @ 1..) = gone.len().checked_sub(GONE_MAX) {
        printer.say(format!("  and {more} more"));
    }
    printer.say(format!("trace {hash}"));
    let violation = replayed.violation.as_ref();
    if let Some((Violation { property, .. }, place)) =
        violation.and_then(|it| Some((it, it.place_in_words()?)))
    {
        printer.say(format!("{property}: {place}"));
    }
    let parts_at = recorded.and_then(|it| Comparison::of(&it, &replayed.trace).parts_at());
    printer.event(&json!({
        "event": "replay", "algorithm": schedule.algorithm, "steps": replayed.trace.steps.len(),
        "decisions": replayed.decisions, "replayed": replayed.found, "gone": gone,
        "trace_hash": hash,
        "property": violation.map(|it| &it.property), "reason": violation.map(|it| &it.reason),
        "place": violation.map(|it| &it.place),
        "dropped": schedule.dropped, "parts_at": parts_at,
    }));
    if let Some(step) = parts_at {
        return Err(parted(asked, step, printer));
    }
    match violation {
        Some(violation) => {
            printer.next(format!("why {}", quoted(&asked.file)));
            Err(Problem::violated(&violation.property))
        }
        None => {
            printer.next(format!("trace convert {} --to html --out run.html", quoted(&asked.file)));
            diverged(&schedule, &replayed).map_or(Ok(()), Err)
        }
    }
}

/// The run of a trace's schedule is no longer the one that the trace tells.
fn parted(asked: &Replay, step: usize, printer: &Printer) -> Problem {
    let file = quoted(&asked.file);
    printer.next(match &asked.trace {
        Some(trace) => format!("trace diff {file} {}", quoted(trace)),
        None => format!("replay {file} --trace now.jsonl"),
    });
    let what =
        format!("the run is not the one in `{}`: they part at step {step}", asked.file.display());
    Problem { told: true, ..Problem::new(Exit::Diverged, what) }
}

/// A decision in the words of the schedule, which may name an event that the program no longer knows.
fn as_written<'t>(decision: &'t str, text: &'t str) -> &'t str {
    let Ok(wanted) = decision.parse::<Decision>() else {
        return decision;
    };
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("decide "));
    lines.find(|line| line.parse().is_ok_and(|it: Decision| it == wanted)).unwrap_or(decision)
}

/// A run that was to fail holds.
pub(super) fn diverged(schedule: &Schedule, replayed: &Replayed) -> Option<Problem> {
    let property = schedule.property.as_ref()?;
    let gone = replayed.gone.len();
    let what = format!("the schedule no longer violates `{property}`");
    let hint = match gone {
        0 => String::from("every decision in it was asked for: is it fixed?"),
        gone => format!("{gone} of its decisions are no longer asked for: is it fixed?"),
    };
    Some(Problem::new(Exit::Diverged, what).hint(hint))
}

/// The algorithm of a schedule.
pub(super) fn entry<'a>(
    app: &'a App,
    path: &Path,
    schedule: &Schedule,
) -> Result<&'a dyn Entry, Problem> {
    app.entry(Some(&schedule.algorithm)).map_err(|problem| Problem {
        what: format!("`{}`: {}", path.display(), problem.what),
        ..problem
    })
}

pub(super) fn read(path: &Path) -> Result<Schedule, Problem> {
    parse(path, &text(path)?)
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Schedule, Problem> {
    let wrong = |error| Problem::new(Exit::Usage, format!("`{}`, {error}", path.display()));
    text.parse().map_err(|error: BadSchedule| wrong(error))
}

/// The text of a schedule, of itself or from the header of a trace.
pub(super) fn text(path: &Path) -> Result<String, Problem> {
    recorded(path).map(|(text, _)| text)
}

/// The same, and the trace if it is one.
fn recorded(path: &Path) -> Result<(String, Option<Trace>), Problem> {
    let file = path.display();
    if recording::is_one(path) {
        let what = format!("`{file}` is the recording of a node, not a schedule");
        let hint = format!("`replay {file}` steps through it");
        return Err(Problem::new(Exit::Usage, what).hint(hint));
    }
    let hint = "`sim` and `check` write the schedules of violations to target/synod";
    let text = super::text(path, Trace::SIZE_MAX, hint)?;
    if !text.starts_with("{\"synod_trace\"") {
        return super::of_size(path, text.len(), Schedule::SIZE_MAX).map(|()| (text, None));
    }
    let trace = Trace::read(&text)
        .map_err(|error| Problem::new(Exit::Usage, format!("`{file}`, {error}")))?;
    match &trace.header.schedule {
        Some(schedule) => Ok((schedule.clone(), Some(trace))),
        None => {
            let what = format!("`{file}` is a trace without a schedule, and cannot be run again");
            let hint = "those that `replay SCHEDULE --trace` writes have one";
            Err(Problem::new(Exit::Usage, what).hint(hint))
        }
    }
}
