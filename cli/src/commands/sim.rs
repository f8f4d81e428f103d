//! `sim`: many simulated worlds.

use serde_json::json;
use synod_simulator::{Diagram, Failure, Report};

use super::keep;
use crate::app::App;
use crate::args::{FaultArg, Sim};
use crate::entry::{Asked, Entry};
use crate::printer::{Printer, thousands};
use crate::problem::{Exit, Problem};

pub(crate) fn run(app: &App, sim: &Sim, printer: &Printer) -> Result<(), Problem> {
    let entry = app.entry(Some(&sim.algorithm))?;
    if sim.seeds == 0 {
        return Err(Problem::new(Exit::NothingRan, "no seed was asked for"));
    }
    let asked = Asked {
        nodes: sim.nodes,
        seeds: sim.seed..sim.seed.saturating_add(sim.seeds),
        calm: sim.faults.contains(&FaultArg::None),
        faults: sim.faults.iter().filter_map(|fault| fault.fault()).collect(),
        time_us: sim.time.map(|seconds| u64::from(seconds) * 1_000_000),
    };
    let report = entry.simulate(&asked);
    numbers(entry, &asked, &report, printer);
    match &report.failure {
        None => clean(entry, &asked, &report, printer),
        Some(failure) => violated(sim, failure, &report, printer)?,
    }
    Ok(())
}

/// What the runs were, and what they came to.
pub(crate) fn numbers(entry: &dyn Entry, asked: &Asked, report: &Report, printer: &Printer) {
    let counts = &report.counts;
    printer.say(format!("{} on {} nodes · {}", entry.name(), asked.nodes, entry.model()));
    printer.say(format!(
        "  {} runs · {:.1} virtual minutes · {} messages delivered, {} lost · {} crashes · {} partitions",
        thousands(report.runs),
        minutes(counts.time_us),
        thousands(counts.delivered),
        thousands(counts.lost),
        thousands(counts.crashes),
        thousands(counts.partitions),
    ));
}

fn clean(entry: &dyn Entry, asked: &Asked, report: &Report, printer: &Printer) {
    for property in entry.properties() {
        printer.say(format!("  ✓ {property}"));
    }
    let counts = &report.counts;
    printer.event(&json!({
        "event": "sim", "algorithm": entry.name(), "nodes": asked.nodes,
        "runs": report.runs, "violations": 0,
        "delivered": counts.delivered, "simulated_seconds": counts.time_us / 1_000_000,
        "sent": counts.sent, "lost": counts.lost,
        "crashes": counts.crashes, "partitions": counts.partitions,
        "dropped": dropped(report),
    }));
    printer.next(format!("check {} --nodes 3", entry.name()));
}

fn violated(
    sim: &Sim,
    failure: &Failure,
    report: &Report,
    printer: &Printer,
) -> Result<(), Problem> {
    let Failure { seed, violation, trace, steps_found, replays, .. } = failure;
    let name = format!("{}-{seed}", sim.algorithm);
    let file = keep(&sim.out, &name, &failure.text)?;
    printer.say(format!("  ✗ {}: {}", violation.property, violation.reason));
    printer.say(format!(
        "    seed {seed} · shrunk from {} to {} steps in {} replays",
        thousands(*steps_found),
        trace.steps.len(),
        thousands(u64::from(*replays)),
    ));
    for assumption in dropped(report) {
        printer.say(format!("    outside the model: dropped the assumption that {assumption}"));
    }
    let diagram = Diagram::of(trace);
    let diagram = if sim.ascii { diagram.ascii() } else { diagram };
    printer.say(format!("\n{diagram}"));
    printer.next(format!("replay {}", file.display()));
    printer.event(&json!({
        "event": "sim", "algorithm": sim.algorithm, "nodes": sim.nodes,
        "runs": report.runs, "violations": 1,
        "delivered": report.counts.delivered,
        "simulated_seconds": report.counts.time_us / 1_000_000,
        "property": violation.property, "reason": violation.reason,
        "seed": seed, "schedule": file.display().to_string(),
        "dropped": dropped(report), "within_model": report.dropped.is_empty(),
        "steps_found": steps_found, "steps": trace.steps.len(), "replays": replays,
        "trace_hash": trace.hash(),
    }));
    Err(Problem::violated(&violation.property))
}

fn dropped(report: &Report) -> Vec<String> {
    report.dropped.iter().map(ToString::to_string).collect()
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn minutes(micros: u64) -> f64 {
    micros as f64 / 60_000_000.0
}
