//! `sweep`: a grid of worlds, and what an algorithm costs in each of them.

use serde_json::json;
use synod_core::{Assumption, Model};
use synod_simulator::{Fault, Measures, Settings, Spread};

use super::Partial;
use crate::app::App;
use crate::args::Sweep;
use crate::printer::{Printer, quoted, thousands};
use crate::problem::{Exit, Problem};

/// Worlds of a grid, at most.
const WORLDS_MAX: usize = 10_000;

const COLUMNS: &str = "nodes,loss_percent,delay_max_ms,crashes,runs,violations,\
    messages_mean,messages_p50,messages_p99,bytes_mean,settled_runs,settled_ms_p50,settled_ms_p99";

/// One cell of the grid.
#[derive(Clone, Copy, Debug)]
struct World {
    nodes: u32,
    /// Messages lost, in chances in a million.
    loss: u32,
    delay_max_ms: u32,
    crashes: u32,
}

/// A cell and what its runs came to.
struct Row {
    world: World,
    dropped: Vec<Assumption>,
    measures: Measures,
}

pub(crate) fn run(app: &App, asked: &Sweep, printer: &Printer) -> Result<(), Problem> {
    let entry = app.entry(Some(&asked.algorithm))?;
    let model = entry.model();
    let worlds = grid(asked, &model)?;
    let seeds = super::seeds(asked.seed, asked.seeds)?;
    let partial = asked.out.as_deref().map(Partial::create).transpose()?;
    if partial.is_none() {
        printer.copy(COLUMNS);
    }
    let mut rows = Vec::new();
    for world in worlds {
        let (mut settings, dropped) = world.settings(&model);
        settings.time_us = u64::from(asked.time) * 1_000_000;
        let measures = entry.measure(&settings, seeds.clone());
        let row = Row { world, dropped, measures };
        if partial.is_none() {
            printer.copy(&row.csv());
        }
        printer.event(&row.json(&asked.algorithm));
        rows.push(row);
    }
    if let (Some(partial), Some(out)) = (partial, &asked.out) {
        partial.finish(&table(&rows))?;
        let (count, file) = (thousands(rows.len() as u64), out.display());
        printer.say(format!("{count} worlds of {} runs each: {file}", thousands(asked.seeds)));
    }
    verdict(asked, &rows, printer)
}

/// Every world of the grid, the number of nodes turning last.
fn grid(asked: &Sweep, model: &Model) -> Result<Vec<World>, Problem> {
    let sides = [&asked.nodes, &asked.loss, &asked.delay_max_ms, &asked.crashes];
    let count = sides.iter().map(|side| side.0.len()).product::<usize>();
    if WORLDS_MAX < count {
        let what = format!("the grid has {count} worlds, {WORLDS_MAX} at most are run");
        return Err(Problem::new(Exit::Usage, what).hint("give fewer values to a side"));
    }
    let mut worlds = Vec::new();
    for &nodes in &asked.nodes.0 {
        for &loss in &asked.loss.0 {
            for &delay_max_ms in &asked.delay_max_ms.0 {
                for &crashes in &asked.crashes.0 {
                    let world = World { nodes, loss, delay_max_ms, crashes };
                    world.is_possible(model)?;
                    worlds.push(world);
                }
            }
        }
    }
    Ok(worlds)
}

impl World {
    fn is_possible(self, model: &Model) -> Result<(), Problem> {
        let Self { nodes, delay_max_ms, crashes, .. } = self;
        let wrong = |what: String, hint: &str| Err(Problem::new(Exit::Usage, what).hint(hint));
        if !(1..=Settings::NODES_MAX).contains(&nodes) {
            let what = format!("--nodes {nodes}: a cluster has 1 to {} nodes", Settings::NODES_MAX);
            return wrong(what, "change --nodes");
        }
        if delay_max_ms == 0 {
            let what = String::from("--delay-max-ms 0: a message takes 1 ms at least");
            return wrong(what, "leave the 0 out");
        }
        if 0 < crashes && nodes == 1 {
            let what = format!("--crashes {crashes} with --nodes 1: nobody is left");
            return wrong(what, "sweep the single node on its own, with --crashes 0");
        }
        let (settings, _) = self.settings(model);
        if settings.down_us == 0 && settings.down_max < crashes {
            let what = format!(
                "--crashes {crashes} with --nodes {nodes}: nodes stay down, and {} at most may be",
                settings.down_max
            );
            return wrong(what, "lower --crashes, or raise the least of --nodes");
        }
        Ok(())
    }

    /// The world, and the assumptions of the model that it does not keep.
    fn settings(self, model: &Model) -> (Settings, Vec<Assumption>) {
        let Self { nodes, loss, delay_max_ms, crashes } = self;
        let mut settings = Settings::calm(nodes);
        let mut dropped = Vec::new();
        if 0 < crashes {
            dropped.extend(settings.add(Fault::Crash, model));
            settings.crashes = crashes;
        }
        if 0 < loss {
            dropped.extend(settings.add(Fault::Loss, model));
            (settings.lose, settings.lose_datagram) = (loss, loss);
        }
        settings.delay_max_us = u64::from(delay_max_ms) * 1_000;
        let bound = model.delay_max().map_or(u128::MAX, |bound| bound.as_micros());
        let beyond = bound < u128::from(settings.delay_max_us);
        dropped.extend(beyond.then_some(Assumption::BoundedDelay));
        (settings, dropped)
    }

    fn loss_percent(self) -> String {
        let text = format!("{}.{:04}", self.loss / 10_000, self.loss % 10_000);
        String::from(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Row {
    fn csv(&self) -> String {
        let Self { world, measures, .. } = self;
        let World { nodes, delay_max_ms, crashes, .. } = world;
        let (runs, violations) = (measures.runs().len(), measures.violations());
        let (messages, settled) = (measures.messages(), measures.settled_us());
        let (p50, p99) = (settled.map(|it| it.p50), settled.map(|it| it.p99));
        format!(
            "{nodes},{},{delay_max_ms},{crashes},{runs},{violations},{},{},{},{},{},{},{}",
            world.loss_percent(),
            mean(messages),
            messages.map_or(0, |it| it.p50),
            messages.map_or(0, |it| it.p99),
            mean(measures.bytes()),
            self.settled_runs(),
            p50.map(millis).unwrap_or_default(),
            p99.map(millis).unwrap_or_default(),
        )
    }

    fn json(&self, algorithm: &str) -> serde_json::Value {
        let Self { world, dropped, measures } = self;
        let (messages, settled) = (measures.messages(), measures.settled_us());
        let dropped: Vec<String> = dropped.iter().map(ToString::to_string).collect();
        json!({
            "event": "world", "algorithm": algorithm, "nodes": world.nodes,
            "loss_percent": number(&world.loss_percent()), "delay_max_ms": world.delay_max_ms,
            "crashes": world.crashes, "runs": measures.runs().len(),
            "violations": measures.violations(),
            "messages_mean": number(&mean(messages)),
            "messages_p50": messages.map(|it| it.p50), "messages_p99": messages.map(|it| it.p99),
            "bytes_mean": number(&mean(measures.bytes())), "settled_runs": self.settled_runs(),
            "settled_ms_p50": settled.map(|it| number(&millis(it.p50))),
            "settled_ms_p99": settled.map(|it| number(&millis(it.p99))),
            "dropped": dropped,
        })
    }

    fn settled_runs(&self) -> usize {
        self.measures.runs().iter().filter(|run| run.settled_us.is_some()).count()
    }
}

fn mean(spread: Option<Spread>) -> String {
    let hundredths = spread.map_or(0, |it| it.mean_hundredths);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn millis(micros: u64) -> String {
    format!("{}.{:03}", micros / 1_000, micros % 1_000)
}

/// A decimal number as JSON has it.
fn number(text: &str) -> serde_json::Value {
    text.parse::<f64>().map_or(serde_json::Value::Null, |number| json!(number))
}

/// The rows as a file has them.
fn table(rows: &[Row]) -> String {
    let lines = std::iter::once(String::from(COLUMNS)).chain(rows.iter().map(Row::csv));
    lines.map(|line| line + "\n").collect()
}

/// Tells what was outside the model, and which command looks closer.
fn verdict(asked: &Sweep, rows: &[Row], printer: &Printer) -> Result<(), Problem> {
    let algorithm = quoted(&asked.algorithm);
    let runs: usize = rows.iter().map(|row| row.measures.runs().len()).sum();
    let violations: usize = rows.iter().map(|row| row.measures.violations()).sum();
    let Some(first) = rows.iter().find(|row| 0 < row.measures.violations()) else {
        printer.next(format!("check {algorithm} --nodes 3"));
        return Ok(());
    };
    let World { nodes, loss, crashes, .. } = first.world;
    let late = first.dropped.contains(&Assumption::BoundedDelay);
    let faults = [(0 < loss, "loss"), (0 < crashes, "crash"), (late, "delay")];
    let faults: Vec<&str> = faults.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    let faults = if faults.is_empty() { vec!["none"] } else { faults };
    printer.next(format!("sim {algorithm} --nodes {nodes} --faults {}", faults.join(",")));
    let what = format!("a property was violated in {violations} of {runs} runs");
    let told = Problem::violated("");
    let hint = if first.dropped.is_empty() {
        String::from("the first such world is within the model")
    } else {
        let dropped: Vec<String> = first.dropped.iter().map(ToString::to_string).collect();
        format!("the first such world drops an assumption of the model: {}", dropped.join(", "))
    };
    Err(Problem { what, ..told }.hint(hint))
}
