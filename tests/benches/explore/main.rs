//! How fast states are explored, and in how much memory, side by side with Stateright.
//!
//! `cargo bench -p synod-tests --bench explore`. Both explore the same models breadth first, with
//! one thread, to the end, and hold one property against each state. Each measurement is a process
//! of its own, and the programs take turns, so that a busy machine slows both; figures are medians
//! of processor time, in user and kernel mode. Stateright is built in `tests/peers-explore`; where
//! that is impossible, the run goes on without it. `-- factors` prints only what symmetry and
//! reduction save.
#![allow(clippy::print_stdout, reason = "a benchmark talks to its reader")]

mod abd;
mod clients;
mod factors;
mod ours;
mod paxos;
#[path = "../process.rs"]
mod process;
mod program;
#[path = "../../published/models/mod.rs"]
#[allow(dead_code, reason = "one of several models is measured")]
mod published;
mod two_phase;
mod work;

use program::Program;
use work::{Count, Model, ONE_NODE, Registers, Report, Way, Work};

/// How often each program explores each model.
const TURNS: usize = 3;

fn main() {
    if let Some(work) = program::told() {
        println!("{}", program::measure(work).line());
        return;
    }
    if std::env::args().any(|word| word == "factors") {
        return factors::print();
    }
    let programs = Program::all();
    println!(
        "{:<36} {:<18} {:>9} {:>11} {:>12} {:>9} {:>9} {:>12}",
        "model", "", "states", "steps", "states/s", "ratio", "peak MiB", "bytes/state"
    );
    for model in models() {
        row(&programs, model);
    }
    explain(&programs);
    reduction();
    factors::print();
}

fn models() -> Vec<Model> {
    let registers = |clients, servers| Registers { clients, servers };
    vec![
        Model::TwoPhase(3),
        Model::TwoPhase(5),
        Model::TwoPhase(7),
        Model::OneNode,
        Model::Paxos(registers(2, 3)),
        Model::Abd(registers(2, 2)),
        Model::Abd(registers(3, 2)),
    ]
}

fn name(model: Model) -> String {
    match model {
        Model::TwoPhase(managers) => format!("two-phase commit, {managers} managers"),
        Model::OneNode => format!("the same, {ONE_NODE} managers, as one node"),
        Model::Paxos(Registers { clients, servers }) => {
            format!("Paxos, {clients} clients, {servers} servers")
        }
        Model::Abd(Registers { clients, servers }) => {
            format!("ABD, {clients} clients, {servers} servers")
        }
    }
}

/// Lets the programs take turns, and prints their medians.
fn row(programs: &[Program], model: Model) {
    let mut reports: Vec<Vec<Report>> = vec![Vec::new(); programs.len()];
    for _ in 0..TURNS {
        for (program, reports) in programs.iter().zip(&mut reports) {
            match program.start(Work { model, way: Way::Taken }) {
                Ok(report) => reports.push(report),
                Err(error) => println!("{}: {error}", program.title()),
            }
        }
    }
    let medians: Vec<Option<Report>> = reports.iter().map(|reports| median(reports)).collect();
    let first = medians.first().copied().flatten();
    for (program, median) in programs.iter().zip(&medians) {
        if let (Some(median), Some(first)) = (median, &first) {
            print_row(&name(model), &program.title(), median, first);
        }
    }
    let counts: Vec<Count> = medians.iter().flatten().map(|median| median.count).collect();
    if let [ours, theirs] = counts.as_slice()
        && !are_alike(model, *ours, *theirs)
    {
        println!("  NOT THE SAME MODEL: {ours:?}, {theirs:?}");
    }
}

/// Whether the programs have explored the same states, by the same transitions where one's steps are the
/// other's.
fn are_alike(model: Model, ours: Count, theirs: Count) -> bool {
    let same_steps = !matches!(model, Model::TwoPhase(_));
    ours.states == theirs.states && (!same_steps || ours.transitions == theirs.transitions)
}

/// The median of the times and that of the peaks.
fn median(reports: &[Report]) -> Option<Report> {
    let middle = |mut sorted: Vec<Report>, key: fn(&Report) -> f64| {
        sorted.sort_by(|one, other| key(one).total_cmp(&key(other)));
        sorted.get(sorted.len() / 2).copied()
    };
    let time = middle(reports.to_vec(), |report| report.seconds)?;
    let peak = middle(reports.to_vec(), |report| report.peak_kib as f64)?;
    Some(Report { seconds: time.seconds, ..peak })
}

fn print_row(name: &str, title: &str, report: &Report, first: &Report) {
    let rate = |report: &Report| report.count.states as f64 / report.seconds;
    let bytes = report.peak_kib.saturating_sub(report.before_kib) as f64 * 1_024.0;
    println!(
        "{name:<36} {title:<18} {:>9} {:>11} {:>12} {:>8.2}x {:>9.1} {:>12.0}",
        grouped(report.count.states as f64),
        grouped(report.count.transitions as f64),
        grouped(rate(report)),
        rate(first) / rate(report),
        report.peak_kib as f64 / 1_024.0,
        bytes / report.count.states as f64,
    );
}

/// 1234567 as 1,234,567.
fn grouped(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups = groups.map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(",")
}

const EXPLANATION: &str = "\
ratio: how many times as many states per second synod explores. peak: of the process in its first
exploration, without the pages of its program; bytes/state: what of it is more than before, by state.
Two-phase commit is the published TLA+ model: without nodes on Stateright, with nodes on synod, where a
message that comes too late is a step too, one that changes nothing. As one node, which chooses, it is
what suits synod least: a handler runs for each step, and no two states share anything.
Paxos and ABD have the same servers and clients on both sides, each client puts once and gets once,
and the network neither loses, nor doubles, nor orders. A message is gone once it was delivered, also
one that changes nothing, and the state holds no history. Stateright by itself leaves such a message
in the network, and keeps the clients' history in the state. Neither runs a handler twice or under
watch; synod does unless it is told not to (`Bounds::audited`), to see that a handler goes by state and
event alone, and returns.";

fn explain(programs: &[Program]) {
    println!("{EXPLANATION}");
    for model in models() {
        let work = Work { model, way: Way::Kept };
        let has_kept = programs.contains(&Program::Stateright)
            && !matches!(model, Model::TwoPhase(_) | Model::OneNode);
        if let (true, Ok(report)) = (has_kept, Program::Stateright.start(work)) {
            println!("  So it counts for {}: {}", name(model), grouped(report.count.states as f64));
        }
    }
}

/// What partial-order reduction saves, with the property held wherever nothing is under way.
fn reduction() {
    println!(
        "\nsynod with partial-order reduction, which remembers no state: the property holds in"
    );
    for model in models() {
        let Some(reduced) = ours::reduced(model) else { continue };
        let full = ours::explored(model).transitions as f64;
        let steps = reduced.transitions as f64;
        let which = if reduced.complete { "all" } else { "NOT ALL, but the first" };
        println!(
            "  {which} {} runs of {}: {} steps instead of {}, factor {:.2}",
            grouped(reduced.executions as f64),
            name(model),
            grouped(steps),
            grouped(full),
            full / steps,
        );
    }
}
