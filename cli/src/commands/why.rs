//! `why`: which step of a run decides that it fails.

use serde_json::json;
use synod_simulator::{Point, Schedule};

use super::replay::{entry, read};
use crate::app::App;
use crate::args::Why;
use crate::printer::{Printer, quoted, thousands};
use crate::problem::{Exit, Problem};

pub(crate) fn run(app: &App, asked: &Why, printer: &Printer) -> Result<(), Problem> {
    let schedule = read(&asked.file)?;
    let entry = entry(app, &asked.file, &schedule)?;
    let Ok(why) = entry.why(&schedule, asked.runs) else {
        return Err(holds(asked, &schedule));
    };
    printer.say(format!(
        "{} · {}: {}",
        schedule.algorithm, why.violation.property, why.violation.reason
    ));
    let bisected = if why.complete { "" } else { ", bisected" };
    printer.say(format!(
        "  {} steps · {} random continuations from each of {} moments{bisected}",
        why.trace.steps.len(),
        thousands(u64::from(asked.runs)),
        why.curve.len(),
    ));
    for curve in why.curves(printer.is_ascii()) {
        printer.say(format!("  {curve}"));
    }
    for (before, after) in why.jumps() {
        printer.say(format!("  {}", jump(&why, before, after)));
    }
    for line in why.verdict() {
        printer.say(line);
    }
    events(&schedule, &why, printer);
    printer.next(format!("replay {} --full", quoted(&asked.file)));
    Ok(())
}

/// The run was to fail, and does not; or nobody said that it would.
fn holds(asked: &Why, schedule: &Schedule) -> Problem {
    let file = asked.file.display();
    match &schedule.property {
        Some(property) => {
            let what = format!("the schedule no longer violates `{property}`");
            let hint = format!("`replay {file}` tells how many of its decisions are gone");
            Problem::new(Exit::Diverged, what).hint(hint)
        }
        None => {
            let what = format!("the run of `{file}` violates no property");
            let hint = "`sim` and `check` write the schedules of violations to target/synod";
            Problem::new(Exit::NothingRan, what).hint(hint)
        }
    }
}

/// One line of the list of jumps.
fn jump(why: &synod_simulator::Why, before: Point, after: Point) -> String {
    let step = after.step.unwrap_or(0);
    let (time, words) = (time(why, step), why.words(step));
    let (before, after) = (before.percent(), after.percent());
    format!("step {step:>3}  {time:>10}  {before:>3}% -> {after:>3}%  {words}")
}

fn time(why: &synod_simulator::Why, step: usize) -> String {
    let time_us = why.trace.steps.get(step).map_or(0, |step| step.time_us);
    format!("{}.{}ms", time_us / 1_000, time_us % 1_000 / 100)
}

fn events(schedule: &Schedule, why: &synod_simulator::Why, printer: &Printer) {
    for point in &why.curve {
        let time_us = point.step.and_then(|step| Some(why.trace.steps.get(step)?.time_us));
        printer.event(&json!({
            "event": "point", "step": point.step, "time_us": time_us,
            "failed": point.failed, "in_time": point.in_time, "runs": point.runs,
        }));
    }
    let culprit = why.culprit.as_ref();
    let hastener = why.hastener.as_ref().map(|it| {
        json!({
            "step": it.step, "what": it.what, "decisions": it.decisions,
            "before_percent": it.before.in_time_percent(),
            "after_percent": it.after.in_time_percent(),
        })
    });
    let is_late = culprit.is_none();
    let percent = |it: &Point| if is_late { it.in_time_percent() } else { it.percent() };
    let conditions = why.conditions.iter().map(|it| {
        json!({
            "step": it.step, "what": it.what, "decisions": it.decisions,
            "before_percent": percent(&it.before), "after_percent": percent(&it.after),
        })
    });
    printer.event(&json!({
        "event": "why", "algorithm": schedule.algorithm,
        "property": why.violation.property, "reason": why.violation.reason,
        "steps": why.trace.steps.len(), "complete": why.complete,
        "continuations": why.continuations(),
        "decided_at": culprit.map(|it| it.step), "what": culprit.map(|it| &it.what),
        "before_percent": culprit.map(|it| it.before.percent()),
        "after_percent": culprit.map(|it| it.after.percent()),
        "decisions": culprit.map(|it| &it.decisions), "hastened": hastener,
        "made_possible_by": conditions.collect::<Vec<_>>(),
        "start_percent": why.curve.first().map(Point::percent),
        "past": why.past(), "unknown": why.unknown(),
    }));
}
