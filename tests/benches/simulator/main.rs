//! How fast the simulator delivers, side by side with others, and how fast the explorer visits.
//!
//! `cargo bench -p synod-tests --bench simulator`. Every program delivers the same messages, each
//! measurement is a process of its own, and the programs take turns, so that a busy machine slows
//! all of them; figures are medians of five, per second of processor time. Settings up and tearing down are
//! included. The others are built in `tests/peers`; where that is impossible, the run goes on without
//! them. What each row bounds or leaves out is said below it.
#![allow(clippy::print_stdout, reason = "a benchmark talks to its reader")]

mod bare;
mod handlers;
mod ours;
#[path = "../process.rs"]
mod process;
mod program;
mod work;

use synod_algorithms::Bully;
use synod_core::Algorithm;
use synod_simulator::{Bounds, Scenario, explore};

use program::Program;
use work::{Report, Shape, Work};

/// How often each program does the same work.
const TURNS: usize = 5;
/// Messages of a measurement, about.
const MESSAGES: u64 = 500_000;

fn main() {
    if let Some(program) = std::env::args().nth(1).and_then(|name| Program::named(&name)) {
        let work = Work::told(1).expect("PROGRAM SHAPE NODES MESSAGES RUNS");
        println!("{}", program.measure(work).line());
        return;
    }
    let programs = Program::all();
    warm_up(&programs);
    messages(&programs);
    short_runs(&programs);
    memory(&programs);
    exploration();
}

/// A processor that comes from a build, or from rest, is not at its usual speed: each program runs
/// once for nothing.
fn warm_up(programs: &[Program]) {
    let work = Work { shape: Shape::Ring, nodes: 5, messages: MESSAGES, runs: 1 };
    for program in programs {
        if let Err(error) = program.start(work) {
            println!("{}: {error}", program.title());
        }
    }
}

/// Rows that take too long or too much memory are not run; turmoil bounds its own runs.
fn fits(program: Program, shape: Shape, nodes: u32) -> bool {
    match (program, shape) {
        (Program::Turmoil, Shape::Pairs) => nodes <= 100,
        (Program::Turmoil, _) | (_, Shape::Pairs) => nodes <= 1_000,
        _ => true,
    }
}

fn messages(programs: &[Program]) {
    println!("\nmessages per second of processor time");
    heading(programs);
    for shape in [Shape::Ring, Shape::Pairs] {
        for nodes in [5, 100, 1_000, 10_000] {
            let name = format!("{}, {nodes} nodes", format!("{shape:?}").to_lowercase());
            let works = |program| {
                fits(program, shape, nodes).then(|| {
                    let in_one = Work { shape, nodes, messages: MESSAGES, runs: 1 };
                    match program {
                        // The fast ones run several times, for a measurable time.
                        Program::Bare | Program::Handlers | Program::Ours => {
                            Work { runs: 4, ..in_one }
                        }
                        Program::Madsim | Program::Turmoil => in_one,
                    }
                })
            };
            row(&name, programs, works, |report| report.delivered as f64 / report.seconds);
        }
    }
    println!(
        "The bare heap holds times and names, and calls nothing. The heap with handlers carries"
    );
    println!("16 bytes for each message to boxed handlers, and does nothing else.");
    println!("turmoil stops after 2 s of processor time, with 1,000 hosts after 20 s: its cost");
    println!("follows ticks, hosts and links. All pairs of 10,000 nodes are 100 million messages");
    println!("under way, which fit nowhere.");
}

fn short_runs(programs: &[Program]) {
    println!("\nsimulations per second of processor time, each made and dropped");
    heading(programs);
    let works = |program| {
        let runs = match program {
            Program::Bare | Program::Handlers => 100_000,
            Program::Ours => 20_000,
            Program::Madsim => 2_000,
            Program::Turmoil => 300,
        };
        Some(Work { shape: Shape::Ring, nodes: 5, messages: 100, runs })
    };
    let runs = |report: Report| report.delivered as f64 / 100.0 / report.seconds;
    row("5 nodes, 100 messages each", programs, works, runs);
}

fn memory(programs: &[Program]) {
    println!("\nbytes of memory for each idle node, at the peak");
    heading(programs);
    for nodes in [1_000, 10_000] {
        let work = |nodes| Work { shape: Shape::Idle, nodes, messages: 0, runs: 1 };
        let cells = programs.iter().map(|program| {
            // The bare loop has no nodes, and a handler alone is no node.
            let is_floor = matches!(program, Program::Bare | Program::Handlers);
            let fits = !is_floor && fits(*program, Shape::Idle, nodes);
            let peak = |nodes| Some(program.start(work(nodes)).ok()?.peak_kib);
            let (few, many) = if fits { (peak(5)?, peak(nodes)?) } else { return None };
            Some((many.saturating_sub(few) * 1_024) as f64 / f64::from(nodes - 5))
        });
        print_row(&format!("{nodes} nodes"), programs, &cells.collect::<Vec<_>>());
    }
}

fn heading(programs: &[Program]) {
    let names = programs.iter().map(|program| format!("{:>24}", program.title()));
    println!("{:<28}{}", "", names.collect::<String>());
}

/// Lets the programs take turns, and prints their medians.
fn row(
    name: &str,
    programs: &[Program],
    work: impl Fn(Program) -> Option<Work>,
    rate: impl Fn(Report) -> f64,
) {
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); programs.len()];
    for turn in 0..TURNS {
        for (program, rates) in programs.iter().zip(&mut rates) {
            let Some(work) = work(*program) else { continue };
            let is_long = *program == Program::Turmoil && 1_000 <= work.nodes;
            if is_long && 0 < turn {
                continue;
            }
            match program.start(work) {
                Ok(report) => rates.push(rate(report)),
                Err(error) => println!("{}: {error}", program.title()),
            }
        }
    }
    print_row(name, programs, &rates.into_iter().map(median).collect::<Vec<_>>());
}

/// Each figure, and how many times less or more than that of synod it is.
fn print_row(name: &str, programs: &[Program], cells: &[Option<f64>]) {
    let mut rows = programs.iter().zip(cells);
    let ours = rows.find(|(program, _)| **program == Program::Ours).and_then(|(_, cell)| *cell);
    let cells = programs.iter().zip(cells).map(|(program, cell)| match (cell, ours) {
        (None, _) => format!("{:>24}", "-"),
        (Some(figure), Some(ours)) if *program != Program::Ours => {
            format!("{:>14} ({:>5}x)", grouped(*figure), times(ours / figure))
        }
        (Some(figure), _) => format!("{:>24}", grouped(*figure)),
    });
    println!("{name:<28}{}", cells.collect::<String>());
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

fn times(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}") } else { format!("{ratio:.0}") }
}

/// 1234567 as 1,234,567.
fn grouped(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups = groups.map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(",")
}

fn exploration() {
    println!("\nvisited states per second of processor time");
    let rates = (0..TURNS).map(|_| {
        let scenario = Scenario::of(|_| Bully::default());
        let before = work::processor_seconds();
        let states = explore(&scenario, &Bounds::within(&Bully::MODEL, 3)).states;
        states as f64 / (work::processor_seconds() - before)
    });
    let rate = median(rates.collect()).map(grouped).unwrap_or_default();
    println!("bully, 3 nodes, 1 crash, 1 recovery {rate:>16}");
}
