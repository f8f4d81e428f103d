//! `demo`: the whole job, without arguments: simulate, check, find a bug, elect over QUIC.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use synod_simulator::{Bounds, Diagram, Fault};

use super::{check, keep, sim};
use crate::app::App;
use crate::entry::{Asked, Entry, Exploring, Way};
use crate::loopback::Loopback;
use crate::printer::{Printer, program};
use crate::problem::{Exit, Problem};

const ELECTED_WITHIN: Duration = Duration::from_secs(30);

pub(crate) fn run(app: &App, printer: &Printer) -> Result<(), Problem> {
    let entry = app.entry(None)?;
    printer.say("synod: write a distributed algorithm once; simulate it, check it, deploy it.\n");
    let began = Instant::now();
    simulate(entry, printer)?;
    check_all(entry, printer)?;
    let schedule = find(entry, printer)?;
    deploy(entry, printer)?;
    let called = program();
    printer.say(format!("all of it in {:.1} s. What to type next:", began.elapsed().as_secs_f64()));
    printer.say(format!("  {called} replay {schedule}"));
    printer.say(format!("  {called} cluster {} --nodes 5 --kill-leader", entry.name()));
    printer.say(format!("  {called} --help"));
    Ok(())
}

fn simulate(entry: &dyn Entry, printer: &Printer) -> Result<(), Problem> {
    title(printer, "1  simulate: what the algorithm claims to survive");
    let asked = Asked::of(5, 0..500);
    let report = entry.simulate(&asked);
    sim::numbers(entry, &asked, &report, printer);
    if let Some(failure) = &report.failure {
        return Err(Problem::new(Exit::Violated, failure.block()));
    }
    held(entry, printer);
    printer.event(&json!({
        "event": "simulated", "runs": report.runs, "violations": 0,
        "delivered": report.counts.delivered, "crashes": report.counts.crashes,
    }));
    Ok(())
}

fn check_all(entry: &dyn Entry, printer: &Printer) -> Result<(), Problem> {
    title(printer, "2  check: every schedule of three nodes");
    let bounds = Bounds::within(&entry.model(), 3);
    let mut watch = |_: &_| ControlFlow::Continue(());
    let (threads, way) = (None, Way::Breadth);
    let how = Exploring { threads, way, symmetry: false, live: false, watch: &mut watch };
    let explored = entry.explore(&bounds, how)?;
    check::numbers(entry, &bounds, &explored, printer);
    if let Some(failure) = &explored.failure {
        return Err(Problem::new(Exit::Violated, failure.block()));
    }
    held(entry, printer);
    printer.event(&json!({
        "event": "checked", "states": explored.states, "complete": explored.complete,
        "violations": 0,
    }));
    Ok(())
}

/// Drops the assumption that there are no partitions. Returns where the schedule is.
fn find(entry: &dyn Entry, printer: &Printer) -> Result<String, Problem> {
    title(printer, "3  find a bug: drop the assumption that there are no partitions");
    let asked = Asked { faults: vec![Fault::Partition], ..Asked::of(5, 0..1_000) };
    let report = entry.simulate(&asked);
    let Some(failure) = &report.failure else {
        return Err(Problem::new(Exit::Inconclusive, "no partition did any harm"));
    };
    let name = format!("{}-{}", entry.name(), failure.seed);
    let file = keep(Path::new("target/synod"), &name, &failure.text)?.display().to_string();
    let violation = &failure.violation;
    printer.say(format!("  ✗ {}: {}", violation.property, violation.reason));
    printer.say(format!(
        "    seed {} · shrunk from {} to {} steps in {} replays\n",
        failure.seed,
        failure.steps_found,
        failure.trace.steps.len(),
        failure.replays,
    ));
    printer.say(Diagram::of(&failure.trace).to_string());
    let replayed = entry.replay(&failure.schedule);
    if replayed.trace.hash() != failure.trace.hash() {
        return Err(Problem::new(Exit::Diverged, "the replay is not the run"));
    }
    printer.say(format!("  replayed from its schedule, byte for byte: {}\n", failure.trace.hash()));
    printer.event(&json!({
        "event": "found", "property": violation.property, "reason": violation.reason,
        "seed": failure.seed, "steps": failure.trace.steps.len(), "schedule": file,
        "dropped": failure.schedule.dropped, "trace_hash": failure.trace.hash(),
    }));
    Ok(file)
}

fn deploy(entry: &dyn Entry, printer: &Printer) -> Result<(), Problem> {
    title(printer, "4  deploy: the same code on five nodes over QUIC, on this machine");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::environment("no threads for the nodes", &error))?;
    runtime.block_on(async {
        let began = Instant::now();
        let mut cluster = Loopback::start(entry, 5).await?;
        let first = cluster.elected(ELECTED_WITHIN).await?;
        elected(printer, 5, &first.to_string(), began);
        let began = Instant::now();
        cluster.kill(first).await;
        printer.say(format!("  {first} is killed"));
        let next = cluster.elected(ELECTED_WITHIN).await?;
        elected(printer, 4, &next.to_string(), began);
        cluster.end().await;
        printer.say("");
        Ok(())
    })
}

fn elected(printer: &Printer, agreed: u32, leader: &str, began: Instant) {
    let after = began.elapsed().as_millis();
    printer.say(format!("  {agreed} nodes follow {leader} after {after} ms"));
    printer.event(&json!({
        "event": "elected", "leader": leader, "agreed": agreed,
        "after_ms": u64::try_from(after).unwrap_or(u64::MAX),
    }));
}

fn held(entry: &dyn Entry, printer: &Printer) {
    for property in entry.properties() {
        printer.say(format!("  ✓ {property}"));
    }
    printer.say("");
}

fn title(printer: &Printer, words: &str) {
    printer.say(words);
}
