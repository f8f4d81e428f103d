//! How fast the simulator delivers, and how fast the explorer visits.
//!
//! `cargo bench -p synod-tests --bench simulator`. Figures are per second of processor time of
//! the measuring thread, so that a busy machine tells the same as an idle one; each is the best
//! of three runs. The workload is that of a message bus: 16 bytes, delays of 1 to 10 ms, no loss.
#![allow(clippy::print_stdout, reason = "a benchmark talks to its reader")]

use std::fs;
use std::hint::black_box;

use serde::{Deserialize, Serialize};
use synod_algorithms::Bully;
use synod_core::{Algorithm, Context, Event, Handlers, NodeId};
use synod_simulator::{Bounds, Scenario, Settings, Stream, explore, run};

const MESSAGES: u64 = 1_000_000;

fn main() {
    println!("delivered messages per second of processor time");
    for nodes in [5, 100] {
        report(&format!("ring, {nodes} nodes"), || deliver(nodes, false));
        report(&format!("pairs, {nodes} nodes"), || deliver(nodes, true));
    }
    println!("runs per second of processor time");
    report("5 nodes, 100 messages each", small_runs);
    println!("visited states per second of processor time");
    report("bully, 3 nodes, 1 crash, 1 recovery", || {
        let scenario = Scenario::of(|_| Bully::default());
        explore(&scenario, &Bounds::within(&Bully::MODEL, 3)).states
    });
}

/// Prints the best of three rates.
fn report(name: &str, mut work: impl FnMut() -> u64) {
    let best = (0..3)
        .map(|_| {
            let before = processor_seconds();
            let done = black_box(work());
            done as f64 / (processor_seconds() - before)
        })
        .fold(0.0, f64::max);
    println!("  {name:<40} {best:>12.0}/s");
}

/// Delivers about `MESSAGES` messages: each is under way for 5.5 ms on average.
fn deliver(nodes: u32, pairs: bool) -> u64 {
    let scenario = Scenario::of(move |_| Bus { pairs });
    let others = u64::from(nodes - 1);
    let under_way = u64::from(nodes) * if pairs { others } else { 1 };
    let time_us = MESSAGES * 5_500 / under_way;
    let settings = Settings { time_us, ..Settings::calm(nodes) };
    let (outcome, _) = run(&scenario, &settings, Stream::seeded(1), false);
    outcome.counts.delivered
}

fn small_runs() -> u64 {
    const RUNS: u64 = 10_000;
    let scenario = Scenario::of(|_| Bus { pairs: false });
    let settings = Settings { time_us: 20 * 5_500, ..Settings::calm(5) };
    for seed in 0..RUNS {
        black_box(run(&scenario, &settings, Stream::seeded(seed), false));
    }
    RUNS
}

/// The time that this thread has spent on a processor.
fn processor_seconds() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos: f64 = text.split(' ').next().and_then(|it| it.parse().ok()).expect("a number");
    nanos / 1e9
}

/// Passes on whatever arrives: round a ring, or back and forth between all pairs.
#[derive(Clone, Debug)]
struct Bus {
    pairs: bool,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bus.message")]
struct Message(u64, u64);

impl Algorithm for Bus {
    const NAME: &'static str = "bus";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::message)
    }

    fn start(&mut self, ctx: &mut Context) {
        let me = ctx.me();
        let message = Message(u64::MAX, u64::from(me.0));
        if self.pairs {
            ctx.send_where(&message, |peer| peer != me);
        } else {
            ctx.send(ctx.successor(), &message);
        }
    }
}

impl Bus {
    fn message(&self, message: Message, from: NodeId, ctx: &mut Context) {
        let to = if self.pairs { from } else { ctx.successor() };
        ctx.send(to, &message);
    }
}
