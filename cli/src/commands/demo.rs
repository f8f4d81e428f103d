//! `demo`: the whole job, without arguments: simulate, check, find a bug, elect over QUIC.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use synod_simulator::{
    Bounds, Counterexample, Diagram, Failure, Fault, Trace, Underway, Violation,
};

use super::{check, cluster, keep, keep_page, sim};
use crate::app::App;
use crate::entry::{Asked, Entry, Exploring, Way};
use crate::loopback::Loopback;
use crate::printer::{Printer, quoted, thousands, typed};
use crate::problem::{Exit, Problem};

/// States of three nodes that are visited at most: a few seconds of a debug build.
const STATES_MAX: u64 = 100_000;

const ELECTED_WITHIN: Duration = Duration::from_secs(30);

pub(crate) fn run(app: &App, printer: &Printer) -> Result<(), Problem> {
    show(app, Path::new("target/synod"), printer)
}

/// Shows it all, and keeps the schedules of what is violated in `out`.
fn show(app: &App, out: &Path, printer: &Printer) -> Result<(), Problem> {
    let entry = app.entry(None)?;
    printer.say("synod: write a distributed algorithm once; simulate it, check it, deploy it.\n");
    let began = Instant::now();
    simulate(entry, out, printer)?;
    check_all(entry, out, printer)?;
    let schedule = find(entry, out, printer)?;
    let clustered = cluster::suggested(entry);
    if clustered.ends_with("--kill-leader") {
        deploy(entry, printer)?;
    }
    printer.say(format!("all of it in {:.1} s. What to type next:", began.elapsed().as_secs_f64()));
    let replay = schedule.map(|schedule| format!("replay {}", quoted(schedule)));
    for command in replay.into_iter().chain([clustered, String::from("--help")]) {
        printer.say(format!("  {}", typed(command)));
    }
    Ok(())
}

/// Tells what is violated where nothing should be, and keeps its schedule.
fn violated(
    out: &Path,
    name: &str,
    (violation, trace, text): (&Violation, &Trace, &str),
    printer: &Printer,
) -> Problem {
    printer.say(format!("  ✗ {}: {}\n", violation.property, violation.reason));
    printer.draw(Diagram::of(trace));
    keep_page(out, name, trace, printer);
    match keep(out, name, text) {
        Ok(file) => printer.next(format!("replay {}", quoted(file))),
        Err(problem) => return problem,
    }
    Problem { told: false, ..Problem::violated(&violation.property) }
}

fn simulate(entry: &dyn Entry, out: &Path, printer: &Printer) -> Result<(), Problem> {
    title(printer, "1  simulate: what the algorithm claims to survive");
    let asked = Asked::of(5, 0..500);
    let report = entry.simulate(&asked, &Underway::default());
    sim::numbers(entry, &asked, &report, printer);
    if let Some(Failure { seed, violation, trace, text, .. }) = &report.failure {
        let name = format!("{}-{seed}", entry.name());
        return Err(violated(out, &name, (violation, trace, text), printer));
    }
    for property in entry.properties() {
        let mark = if report.never.contains(&property) { "? never:" } else { "✓" };
        printer.say(format!("  {mark} {property}"));
    }
    printer.say("");
    printer.event(&json!({
        "event": "simulated", "runs": report.runs, "violations": 0,
        "delivered": report.counts.delivered, "crashes": report.counts.crashes,
    }));
    Ok(())
}

fn check_all(entry: &dyn Entry, out: &Path, printer: &Printer) -> Result<(), Problem> {
    title(printer, "2  check: every schedule of three nodes");
    let bounds = Bounds { states_max: STATES_MAX, ..Bounds::within(&entry.model(), 3) };
    let mut watch = |_: &_| ControlFlow::Continue(());
    let (threads, way) = (None, Way::Breadth);
    let how = Exploring { threads, way, symmetry: false, live: false, watch: &mut watch };
    let explored = entry.explore(&bounds, how)?;
    check::numbers(entry, &bounds, &explored, printer);
    if let Some(Counterexample { violation, trace, text, .. }) = explored.failure.as_deref() {
        let name = format!("{}-check", entry.name());
        return Err(violated(out, &name, (violation, trace, text), printer));
    }
    check::properties(entry, &explored, false, printer);
    if !explored.complete {
        let all = typed(format!("check {} --nodes 3", entry.name()));
        printer.say(format!("  nothing is violated in so many states; there are more: {all}"));
    }
    printer.say("");
    printer.event(&json!({
        "event": "checked", "states": explored.states, "complete": explored.complete,
        "violations": 0,
    }));
    Ok(())
}

/// Drops the assumption that there are no partitions. Returns where the schedule is, if they do any
/// harm.
fn find(entry: &dyn Entry, out: &Path, printer: &Printer) -> Result<Option<PathBuf>, Problem> {
    title(printer, "3  find a bug: drop the assumption that there are no partitions");
    let asked = Asked { faults: vec![Fault::Partition], ..Asked::of(5, 0..1_000) };
    let report = entry.simulate(&asked, &Underway::default());
    let Some(failure) = &report.failure else {
        printer.say(format!("  no partition did any harm in {} runs\n", thousands(report.runs)));
        return Ok(None);
    };
    let name = format!("{}-{}", entry.name(), failure.seed);
    let file = keep(out, &name, &failure.text)?;
    let violation = &failure.violation;
    printer.say(format!("  ✗ {}: {}", violation.property, violation.reason));
    printer.say(format!("    seed {} · {}\n", failure.seed, failure.shrinking()));
    printer.draw(Diagram::of(&failure.trace));
    let page = keep_page(out, &name, &failure.trace, printer);
    let replayed = entry.replay(&failure.schedule);
    if replayed.trace.hash() != failure.trace.hash() {
        return Err(Problem::new(Exit::Diverged, "the replay is not the run"));
    }
    printer.say(format!("  replayed from its schedule, byte for byte: {}\n", failure.trace.hash()));
    printer.event(&json!({
        "event": "found", "property": violation.property, "reason": violation.reason,
        "seed": failure.seed, "steps": failure.trace.steps.len(), "schedule": file.display().to_string(),
        "page": page, "dropped": failure.schedule.dropped, "trace_hash": failure.trace.hash(),
    }));
    Ok(Some(file))
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

fn title(printer: &Printer, words: &str) {
    printer.say(words);
}

#[cfg(test)]
mod tests {
    use synod_algorithms::HelloWorld;
    use synod_core::{Algorithm, Context, Event, Handlers, Property};
    use synod_simulator::Schedule;

    use super::*;
    use crate::look::Look;

    /// Promises what it does not keep.
    #[derive(Clone, Debug, Default, Hash, serde::Serialize)]
    struct Broken;

    impl Algorithm for Broken {
        const NAME: &'static str = "broken";

        fn handlers() -> Handlers<Self> {
            Handlers::new()
        }

        fn properties() -> Vec<Property<Self>> {
            vec![Property::always("nothing starts", |_| Err(String::from("it does")))]
        }
    }

    /// Has no last state: every node counts for ever.
    #[derive(Clone, Debug, Default, Hash, serde::Serialize)]
    struct Endless(u64);

    #[derive(Event, Debug, serde::Serialize, serde::Deserialize)]
    #[event(name = "endless.tick", local)]
    struct Tick;

    impl Endless {
        fn tick(&mut self, _: Tick, ctx: &mut Context) {
            self.0 += 1;
            ctx.after(Duration::from_secs(5), &Tick);
        }
    }

    impl Algorithm for Endless {
        const NAME: &'static str = "endless";

        fn handlers() -> Handlers<Self> {
            Handlers::new().on(Self::tick)
        }

        fn start(&mut self, ctx: &mut Context) {
            ctx.trigger(&Tick);
        }
    }

    fn shown(app: &App, name: &str) -> (Result<(), Problem>, Vec<String>) {
        let out = std::env::temp_dir().join(format!("synod-demo-{name}-{}", std::process::id()));
        let result = show(app, &out, &Printer::new(Look::default()));
        let files = std::fs::read_dir(&out).into_iter().flatten().flatten();
        let mut files: Vec<_> = files.map(|file| file.path()).collect();
        files.sort();
        let kept = files.iter().map(|file| std::fs::read_to_string(file).expect("UTF-8")).collect();
        let _absent_if_nothing_was_kept = std::fs::remove_dir_all(&out);
        (result, kept)
    }

    #[test]
    fn a_promise_that_is_not_kept_leaves_a_page_and_a_schedule_to_replay() {
        let (result, kept) = shown(&App::new().algorithm::<Broken>(), "broken");
        let problem = result.expect_err("a violation");
        assert_eq!((problem.exit, kept.len()), (Exit::Violated, 2));
        assert!(kept[0].starts_with("<!doctype html>"));
        let schedule: Schedule = kept[1].parse().expect("a schedule");
        assert_eq!(schedule.property.as_deref(), Some("nothing starts"));
    }

    #[test]
    fn an_algorithm_without_a_leader_is_shown_as_far_as_it_goes() {
        let (result, _) = shown(&App::new().algorithm::<HelloWorld>(), "hello");
        assert!(result.is_ok(), "{result:?}");
    }

    #[test]
    fn an_algorithm_without_a_last_state_does_not_keep_anybody_waiting() {
        let (result, _) = shown(&App::new().algorithm::<Endless>(), "endless");
        assert!(result.is_ok(), "{result:?}");
    }
}
