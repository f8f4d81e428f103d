//! `sim`: many simulated worlds.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value, json};
use synod_simulator::{
    Decision, Diagram, Drawn, Failure, Fault, LinkDelay, Recorded, Report, Settings, Strategy,
    Underway,
};

use super::progress::{Runs, telling};
use super::replay::{parse, text};
use super::{keep, keep_page, seeds};
use crate::app::App;
use crate::args::{Down, FaultArg, Sim};
use crate::defect;
use crate::entry::{Asked, Entry};
use crate::printer::{Printer, counted, named, quoted, thousands};
use crate::problem::{Exit, Problem};

pub(crate) fn run(app: &App, sim: &Sim, printer: &Printer) -> Result<(), Problem> {
    let entry = app.entry(Some(&sim.algorithm))?;
    let (calm, faults) = faults(sim)?;
    crashes(sim, entry, calm, &faults)?;
    let asked = Asked {
        nodes: sim.nodes.0.clone(),
        calm,
        crashes: sim.crashes,
        down: sim.down,
        faults,
        links: links(sim)?,
        requests: requests(sim, entry)?,
        time_us: sim.time.map(|seconds| u64::from(seconds) * 1_000_000),
        strategy: sim.strategy,
        near: near(sim)?,
        threads: sim.threads,
        ..Asked::of(0, seeds(sim.seed, sim.seeds)?)
    };
    let underway = Underway::default();
    let runs = Runs::new(&underway, asked.seeds.end - asked.seeds.start);
    let simulate = || telling(printer, runs, || entry.simulate(&asked, &underway));
    let report = defect::caught(simulate).map_err(|defect| defect.in_runs(&underway.running()))?;
    numbers(entry, &asked, &report, printer);
    match (&report.failure, &report.divergence) {
        (Some(failure), _) => violated(sim, failure, &report, printer),
        (None, Some(divergence)) => Err(Problem::new(Exit::Diverged, divergence.to_string())),
        (None, None) => clean(entry, &asked, &report, printer),
    }
}

/// Whether nothing goes wrong, and else which kinds of faults there are on top of the model.
fn faults(sim: &Sim) -> Result<(bool, Vec<Fault>), Problem> {
    let calm = sim.faults.contains(&FaultArg::None);
    let faults: Vec<Fault> = sim.faults.iter().filter_map(|it| it.kind()).collect();
    if calm && 1 < sim.faults.len() {
        let what = "`--faults none` and other faults contradict each other";
        return Err(Problem::new(Exit::Usage, what).hint("leave `none` out, or the others"));
    }
    let needs_others =
        |it: &Fault| matches!(it, Fault::Byzantine | Fault::Leave | Fault::Partition);
    if *sim.nodes.0.start() == 1 && faults.iter().any(needs_others) {
        let what =
            "a node alone can leave, betray or be cut off from nobody, and `--nodes` begins at 1";
        return Err(Problem::new(Exit::Usage, what).hint("ask for 2 nodes at least"));
    }
    Ok((calm, faults))
}

/// Refuses what `--crashes` and `--down` say of crashes that no run has.
fn crashes(sim: &Sim, entry: &dyn Entry, calm: bool, faults: &[Fault]) -> Result<(), Problem> {
    let flag = match (sim.crashes, sim.down) {
        (None | Some(0), None) => return Ok(()),
        (_, Some(Down { min_us, max_us })) => {
            format!(
                "--down {:?}..{:?}",
                Duration::from_micros(min_us),
                Duration::from_micros(max_us)
            )
        }
        (Some(most), None) => format!("--crashes {most}"),
    };
    let wrong = |why: String, hint: &str| {
        Err(Problem::new(Exit::Usage, format!("`{flag}`: {why}")).hint(hint))
    };
    if calm {
        return wrong(
            String::from("with `--faults none` no node crashes"),
            "leave one of them out",
        );
    }
    if sim.down.is_some() && sim.crashes == Some(0) {
        return wrong(String::from("with `--crashes 0` no node crashes"), "leave one of them out");
    }
    let (name, nodes, model) = (entry.name(), *sim.nodes.0.end(), entry.model());
    let mut world = Settings::within(&model, nodes);
    faults.iter().for_each(|fault| drop(world.add(*fault, &model)));
    if world.down_max == 0 {
        let why = format!(
            "`{name}` on {} claims to survive no crash",
            counted(nodes.into(), "node", "nodes")
        );
        return wrong(why, "add `--faults crash`, which goes beyond what it claims");
    }
    if sim.down.is_some() && world.down_us == 0 {
        let why =
            format!("a node of `{name}` that has crashed never comes back, as its model says");
        return wrong(why, "leave `--down` out");
    }
    Ok(())
}

/// How many requests of clients a run draws at most, if that is told.
fn requests(sim: &Sim, entry: &dyn Entry) -> Result<Option<u32>, Problem> {
    if sim.requests.is_none_or(|most| most == 0) || entry.offers() {
        return Ok(sim.requests);
    }
    let what = format!("`{}` offers clients nothing to ask for", entry.name());
    let hint = "leave `--requests` out, or let the algorithm's `workload()` or the `Scenario` offer something";
    Err(Problem::new(Exit::Usage, what).hint(hint))
}

/// The links that are told of on their own: each once, between nodes of the largest cluster.
fn links(sim: &Sim) -> Result<Vec<LinkDelay>, Problem> {
    let world = Settings { links: sim.link.clone(), ..Settings::calm(*sim.nodes.0.end()) };
    world.check().map_err(|why| {
        let hint = "`--link A-B=MIN..MAX` once for each link, with nodes from 1 to `--nodes`";
        Problem::new(Exit::Usage, why.to_string()).hint(hint)
    })?;
    Ok(world.links)
}

/// The decisions around which the runs are.
fn near(sim: &Sim) -> Result<Option<Vec<Decision>>, Problem> {
    let Some(path) = &sim.near else { return Ok(None) };
    let schedule = parse(path, &text(path)?)?;
    let file = path.display();
    if schedule.algorithm != sim.algorithm {
        let what = format!("`{file}` is a run of {}, not of {}", schedule.algorithm, sim.algorithm);
        return Err(Problem::new(Exit::Usage, what));
    }
    match schedule.run {
        Recorded::Simulated { decisions, .. } => Ok(Some(decisions)),
        Recorded::Explored { .. } => {
            let what = format!("`{file}` was found by `check`: it has actions, and no decisions");
            Err(Problem::new(Exit::Usage, what).hint("`sim` writes schedules of decisions"))
        }
    }
}

/// What the runs were, and what they came to.
pub(crate) fn numbers(entry: &dyn Entry, asked: &Asked, report: &Report, printer: &Printer) {
    let counts = &report.counts;
    let nodes = words(&asked.nodes);
    let nodes = if nodes == "1" { String::from("1 node") } else { format!("{nodes} nodes") };
    printer.say(format!("{} on {nodes} · {}", entry.name(), entry.model()));
    let requests = match counts.requests {
        0 => String::new(),
        drawn => format!(" · {}", counted(drawn, "request", "requests")),
    };
    printer.say(format!(
        "  {} · {:.1} virtual minutes{requests} · {} delivered, {} lost · {} · {}",
        counted(report.runs, "run", "runs"),
        minutes(counts.time_us),
        counted(counts.delivered, "message", "messages"),
        thousands(counts.lost),
        counted(counts.crashes, "crash", "crashes"),
        counted(counts.partitions, "partition", "partitions"),
    ));
}

fn clean(
    entry: &dyn Entry,
    asked: &Asked,
    report: &Report,
    printer: &Printer,
) -> Result<(), Problem> {
    for property in entry.properties() {
        let mark = match property {
            it if report.never.contains(&it) => "? never:",
            it if report.undue.contains(&it) => "? never judged:",
            _ => "✓",
        };
        printer.say(format!("  {mark} {property}"));
    }
    if 1 < report.sizes.len() {
        let sizes =
            report.sizes.iter().map(|(nodes, runs)| format!("{nodes} in {}", thousands(*runs)));
        printer.say(format!("  numbers of nodes: {}", sizes.collect::<Vec<_>>().join(", ")));
    }
    let drawn: Vec<String> =
        report.drawn.iter().map(|(kind, runs)| format!("{kind} in {}", thousands(*runs))).collect();
    if !drawn.is_empty() {
        printer.say(format!("  faults that were on: {}", drawn.join(", ")));
    }
    let told = |(what, runs): (&&str, &u64)| format!("one {what} in {}", thousands(*runs));
    let treasons: Vec<String> = report.treasons.iter().map(told).collect();
    if !treasons.is_empty() {
        printer.say(format!("  traitors: {}", treasons.join(", ")));
    }
    disks(asked, report, printer);
    for nobody in &report.nobody {
        printer.say(format!("  – no run has {nobody}"));
    }
    outside_the_model(report, printer);
    let counts = &report.counts;
    printer.event(&json!({
        "event": "sim", "algorithm": entry.name(), "nodes": number(&asked.nodes),
        "runs": report.runs, "violations": 0,
        "delivered": counts.delivered, "simulated_seconds": counts.time_us / 1_000_000,
        "requests": counts.requests, "sent": counts.sent, "lost": counts.lost,
        "crashes": counts.crashes, "partitions": counts.partitions,
        "leaves": counts.leaves, "traitors": counts.traitors, "treasons": report.treasons,
        "disk_faults": report.disk_faults,
        "dropped": dropped(report), "drawn": report.drawn, "sizes": report.sizes,
        "audited": report.audited,
        "never": report.never, "undue": report.undue, "nobody": report.nobody,
        "trace_hash": report.trace_hash,
    }));
    if !report.never.is_empty() {
        let what = format!("in {} runs there was never: {}", report.runs, report.never.join(", "));
        let hint = "more seeds, a longer --time, or more --faults may show it";
        return Err(Problem::new(Exit::Inconclusive, what).hint(hint));
    }
    if !report.undue.is_empty() {
        let (runs, undue) = (report.runs, report.undue.join(", "));
        let what = format!("in {runs} runs these were never judged: {undue}");
        let hint = "what holds in time needs a longer --time or fewer --faults, what holds at rest an end of \
            messages and timers, what judges clients a client that asks";
        return Err(Problem::new(Exit::Inconclusive, what).hint(hint));
    }
    printer.next(format!("check {} --nodes 3", quoted(entry.name())));
    Ok(())
}

/// What the disks did wrong, or that nobody wrote to them.
fn disks(asked: &Asked, report: &Report, printer: &Printer) {
    let told = |(what, times): (&&str, &u64)| format!("{what} {}", thousands(*times));
    let happened: Vec<String> = report.disk_faults.iter().map(told).collect();
    let is_asked = |it: &Fault| matches!(it, Fault::Disk | Fault::DiskOnly(_));
    if !happened.is_empty() {
        printer.say(format!("  faults of disks that happened: {}", happened.join(", ")));
    } else if asked.faults.iter().any(is_asked) {
        printer.say("  no fault of a disk happened: hardly anything was written");
    }
}

/// One number as such, a range in words.
fn number(nodes: &RangeInclusive<u32>) -> Value {
    if nodes.start() == nodes.end() { json!(nodes.start()) } else { json!(words(nodes)) }
}

/// One number, or a range.
fn words(nodes: &RangeInclusive<u32>) -> String {
    match (nodes.start(), nodes.end()) {
        (least, most) if least == most => most.to_string(),
        (least, most) => format!("{least}..{most}"),
    }
}

fn violated(
    sim: &Sim,
    failure: &Failure,
    report: &Report,
    printer: &Printer,
) -> Result<(), Problem> {
    let Failure { seed, violation, trace, steps_found, decisions_found, replays, .. } = failure;
    let name = format!("{}-{seed}", sim.algorithm);
    printer.say(format!("  ✗ {}: {}", violation.property, violation.reason));
    if let Some(place) = violation.place_in_words() {
        printer.say(format!("    {place}"));
    }
    printer.say(format!("    seed {seed} · {}", failure.shrinking()));
    for line in failure.drawn.iter().flat_map(Drawn::lines) {
        printer.say(format!("    {line}"));
    }
    outside_the_model(report, printer);
    printer.say("");
    printer.draw(Diagram::of(trace));
    // What was found is told, even if it cannot be kept.
    let kept = keep(&sim.out, &name, &failure.text);
    let file = kept.as_ref().ok();
    let found = keep(&sim.out, &format!("{name}.found"), &failure.found).ok();
    if let Some(found) = &found {
        printer.say(format!("as it was found: {}", found.display()));
    }
    let page = keep_page(&sim.out, &name, trace, printer);
    printer.event(&json!({
        "event": "sim", "algorithm": sim.algorithm, "nodes": number(&sim.nodes.0),
        "runs": report.runs, "violations": 1,
        "delivered": report.counts.delivered,
        "simulated_seconds": report.counts.time_us / 1_000_000,
        "property": violation.property, "reason": violation.reason, "place": violation.place,
        "drew": failure.drawn.as_ref().map(|it| &it.world),
        "strategy": failure.drawn.as_ref().map(|it| it.strategy.map(Strategy::name)),
        "seed": seed, "schedule": file.map(named), "found": found.map(named), "page": page.map(named),
        "dropped": dropped(report), "within_model": report.dropped.is_empty(),
        "decisions_found": decisions_found, "decisions": failure.schedule.decisions(),
        "steps_found": steps_found, "steps": trace.steps.len(), "replays": replays,
        "trace_hash": trace.hash(),
    }));
    printer.next(format!("replay {}", quoted(kept?)));
    Err(Problem::violated(&violation.property))
}

fn outside_the_model(report: &Report, printer: &Printer) {
    for assumption in dropped(report) {
        printer.say(format!("    outside the model: dropped the assumption that {assumption}"));
    }
}

fn dropped(report: &Report) -> Vec<String> {
    report.dropped.iter().map(ToString::to_string).collect()
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn minutes(micros: u64) -> f64 {
    micros as f64 / 60_000_000.0
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde::{Deserialize, Serialize};
    use synod_core::{Algorithm, Event, Handlers};
    use synod_simulator::Scenario;

    use super::*;
    use crate::args::{Args, Command};

    #[derive(Clone, Debug, Default, Hash, Serialize)]
    struct Shop;

    #[derive(Event, Debug, Serialize, Deserialize)]
    #[event(name = "shop.buy", local)]
    struct Buy(u64);

    impl Algorithm for Shop {
        const NAME: &'static str = "shop";

        fn handlers() -> Handlers<Self> {
            Handlers::new().on(|_: &mut Self, _: Buy| ())
        }
    }

    #[test]
    fn requests_are_those_that_the_scenario_offers() {
        let asked = |app: &App| {
            let args = Args::parse_from(["synod", "sim", "shop", "--requests", "5"]);
            let Some(Command::Sim(sim)) = args.command else {
                panic!("a simulation was asked for");
            };
            requests(&sim, app.entry(Some("shop")).expect("it is there")).map_err(|it| it.what)
        };
        let none = Err(String::from("`shop` offers clients nothing to ask for"));
        assert_eq!(asked(&App::new().algorithm::<Shop>()), none);
        let offering = Scenario::of(|_| Shop).offer(Buy);
        assert_eq!(asked(&App::new().scenario(offering)), Ok(Some(5)));
    }
}
