//! `replay`: a recorded schedule once more.

use std::fs;

use serde_json::json;
use synod_simulator::{Diagram, Schedule};

use crate::app::App;
use crate::args::Replay;
use crate::printer::Printer;
use crate::problem::{Exit, Problem};

pub(crate) fn run(app: &App, asked: &Replay, printer: &Printer) -> Result<(), Problem> {
    let schedule = read(asked)?;
    let entry = app.entry(Some(&schedule.algorithm))?;
    let replayed = entry.replay(&schedule);
    let hash = replayed.trace.hash();
    if let Some(path) = &asked.trace {
        let text = replayed.trace.json_lines();
        fs::write(path, text).map_err(|error| {
            Problem::environment(format!("cannot write `{}`", path.display()), &error)
        })?;
    }
    let diagram = Diagram::of(&replayed.trace);
    let diagram = if asked.ascii { diagram.ascii() } else { diagram };
    let diagram = if asked.full { diagram.full() } else { diagram };
    printer.say(diagram.to_string());
    let gone = replayed.decisions - replayed.found.min(replayed.decisions);
    printer.say(format!("replayed {} of {} decisions", replayed.found, replayed.decisions));
    printer.say(format!("trace {hash}"));
    let violation = replayed.violation.as_ref();
    printer.event(&json!({
        "event": "replay", "algorithm": schedule.algorithm, "steps": replayed.trace.steps.len(),
        "decisions": replayed.decisions, "replayed": replayed.found, "trace_hash": hash,
        "property": violation.map(|it| &it.property), "reason": violation.map(|it| &it.reason),
        "dropped": schedule.dropped,
    }));
    match (&schedule.property, violation) {
        (_, Some(violation)) => {
            printer.next(format!("replay {} --full", asked.file.display()));
            Err(Problem::violated(&violation.property))
        }
        (Some(property), None) => {
            let what = format!("the schedule no longer violates `{property}`");
            let hint = format!("{gone} of its decisions are no longer asked for: is it fixed?");
            Err(Problem::new(Exit::Diverged, what).hint(hint))
        }
        (None, None) => Ok(()),
    }
}

fn read(asked: &Replay) -> Result<Schedule, Problem> {
    let file = asked.file.display();
    let cannot = |error: std::io::Error| {
        Problem::environment(format!("cannot read `{file}`"), &error)
            .hint("`sim` and `check` write the schedules of violations to target/synod")
    };
    let size = fs::metadata(&asked.file).map_err(cannot)?.len();
    if u64::try_from(Schedule::SIZE_MAX).unwrap_or(u64::MAX) < size {
        let what = format!("`{file}` has {size} bytes, {} at most are read", Schedule::SIZE_MAX);
        return Err(Problem::new(Exit::Usage, what));
    }
    let text = fs::read_to_string(&asked.file).map_err(cannot)?;
    text.parse().map_err(|error| Problem::new(Exit::Usage, format!("`{file}`, {error}")))
}
