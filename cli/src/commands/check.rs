//! `check`: every schedule of a small cluster.

use serde_json::json;
use synod_simulator::{Bounds, Counterexample, Diagram, Explored};

use super::keep;
use crate::app::App;
use crate::args::{Check, TimingArg};
use crate::entry::Entry;
use crate::printer::{Printer, thousands};
use crate::problem::{Exit, Problem};

pub(crate) fn run(app: &App, check: &Check, printer: &Printer) -> Result<(), Problem> {
    let entry = app.entry(Some(&check.algorithm))?;
    let bounds = bounds(entry, check)?;
    let explored = entry.explore(&bounds);
    numbers(entry, &bounds, &explored, printer);
    if let Some(failure) = &explored.failure {
        return violated(check, &bounds, &explored, failure, printer);
    }
    for property in entry.properties() {
        let mark = if explored.complete { "✓" } else { "?" };
        let skipped = explored.skipped.contains(&property);
        printer.say(if skipped {
            format!("  – {property}: not checked, it needs a bound on delays")
        } else {
            format!("  {mark} {property}")
        });
    }
    for left_out in Bounds::not_explored(&entry.model(), bounds.nodes) {
        printer.say(format!("  – {left_out}: not explored, `synod sim` meets them"));
    }
    event(check, &bounds, &explored, None, printer);
    if !explored.complete {
        let what = format!("stopped after {} states: not every state was visited", explored.states);
        let hint = "raise --max-states, or lower --nodes or --crashes";
        return Err(Problem::new(Exit::Inconclusive, what).hint(hint));
    }
    printer.next(format!("cluster {} --nodes 5 --kill-leader", check.algorithm));
    Ok(())
}

fn bounds(entry: &dyn Entry, check: &Check) -> Result<Bounds, Problem> {
    let model = entry.model();
    let mut bounds = Bounds::within(&model, check.nodes);
    match check.timing {
        Some(TimingArg::Unbounded) => drop(bounds.unbound()),
        Some(TimingArg::Bounded) if bounds.tick_us == 0 => {
            let what = format!("{} assumes no bound on delays", entry.name());
            return Err(Problem::new(Exit::Usage, what).hint("leave --timing out"));
        }
        _ => (),
    }
    if let Some(crashes) = check.crashes {
        bounds.crashes = crashes;
        bounds.recoveries = if bounds.recoveries > 0 { crashes } else { 0 };
    }
    bounds.recoveries = check.recoveries.unwrap_or(bounds.recoveries);
    bounds.states_max = check.max_states.unwrap_or(bounds.states_max);
    Ok(bounds)
}

/// What was visited.
pub(crate) fn numbers(entry: &dyn Entry, bounds: &Bounds, explored: &Explored, printer: &Printer) {
    let timing = match bounds.tick_us {
        0 => String::from("delays without a bound"),
        tick => format!("delays up to {} ms", tick / 1_000),
    };
    printer.say(format!(
        "{} on {} nodes · every schedule · {timing} · at most {} crash(es), {} recovery(s)",
        entry.name(),
        bounds.nodes,
        bounds.crashes,
        bounds.recoveries,
    ));
    printer.say(format!(
        "  {} states · {} transitions · depth {}{}",
        thousands(explored.states),
        thousands(explored.transitions),
        explored.depth,
        if explored.complete { " · complete" } else { "" },
    ));
}

fn violated(
    check: &Check,
    bounds: &Bounds,
    explored: &Explored,
    failure: &Counterexample,
    printer: &Printer,
) -> Result<(), Problem> {
    let name = format!(
        "{}-check-{}",
        check.algorithm,
        if bounds.tick_us == 0 { "unbounded" } else { "bounded" }
    );
    let file = keep(&check.out, &name, &failure.text)?;
    let Counterexample { violation, trace, schedule, .. } = failure;
    printer.say(format!("  ✗ {}: {}", violation.property, violation.reason));
    for assumption in &schedule.dropped {
        printer.say(format!("    outside the model: dropped the assumption that {assumption}"));
    }
    let diagram = Diagram::of(trace);
    let diagram = if check.ascii { diagram.ascii() } else { diagram };
    printer.say(format!("\n{diagram}"));
    printer.next(format!("replay {}", file.display()));
    event(check, bounds, explored, Some((failure, &file.display().to_string())), printer);
    Err(Problem::violated(&violation.property))
}

fn event(
    check: &Check,
    bounds: &Bounds,
    explored: &Explored,
    failure: Option<(&Counterexample, &str)>,
    printer: &Printer,
) {
    let mut line = json!({
        "event": "check", "algorithm": check.algorithm, "nodes": bounds.nodes,
        "crashes": bounds.crashes, "recoveries": bounds.recoveries,
        "bounded": bounds.tick_us > 0,
        "states": explored.states, "complete": explored.complete,
        "violations": u32::from(failure.is_some()),
        "transitions": explored.transitions, "depth": explored.depth,
        "skipped": explored.skipped,
    });
    if let (Some((failure, file)), Some(fields)) = (failure, line.as_object_mut()) {
        let Counterexample { violation, schedule, trace, .. } = failure;
        let more = json!({
            "property": violation.property, "reason": violation.reason,
            "schedule": file, "dropped": schedule.dropped,
            "steps": trace.steps.len(), "trace_hash": trace.hash(),
        });
        fields.extend(more.as_object().cloned().unwrap_or_default());
    }
    printer.event(&line);
}
