//! What a pair of nodes costs over QUIC, beside the same frames on bare quinn streams.
//!
//! `cargo bench -p synod-tests --bench quic`. Both sides of a pair live in this process and speak
//! over the loopback interface, with the same certificates, the same limits and, for the bare
//! streams, one thread per side. Figures are the best of three runs, by the clock on the wall and
//! by the processor time of the whole process; both sides of a pair are in the latter.
#![allow(clippy::print_stdout, reason = "a benchmark talks to its reader")]

#[path = "quic/nodes.rs"]
mod nodes;
#[path = "quic/raw.rs"]
mod raw;
#[path = "../it/world.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod world;

use std::fs;
use std::time::{Duration, Instant};

use synod_core::Envelope;
use tokio::runtime::Runtime;

use nodes::{Data, Flood, FloodRequest, Flooded, Pair, Ping, PingRequest, Pings};
use raw::Raw;

/// Payload sizes in bytes, with how many events of each make a run.
const FLOODS: [(usize, u64); 2] = [(64, 4_000_000), (1_024, 1_000_000)];
const PING_BYTES: usize = 64;
const PINGS: u64 = 20_000;
const RUNS: usize = 3;
const CONNECTS: usize = 5;

fn main() {
    let runtime = Runtime::new().expect("threads");
    println!("{:<44}{:>12}{:>12}{:>12}", "", "synod", "raw quinn", "synod/raw");
    println!("events per second, one way");
    for (bytes, events) in FLOODS {
        compare_floods(&runtime, bytes, events);
    }
    for (bytes, events) in FLOODS {
        flood_memory(&runtime, bytes, events);
    }
    println!("microseconds per round trip, {PING_BYTES} B");
    compare_pings(&runtime);
    println!("milliseconds from start to link, median of {CONNECTS}");
    compare_connects(&runtime);
}

fn compare_floods(runtime: &Runtime, bytes: usize, events: u64) {
    let request = FloodRequest { events, bytes };
    let frame = frame_of(&Data::of_size(bytes));
    let raw = Raw::start();
    let nodes = runtime.block_on(Pair::start(world::quic(2), |_| Flood::default()));
    let costs: [(Cost, Cost); RUNS] = std::array::from_fn(|_| {
        let synod = Cost::of(|| flood(runtime, &nodes, &request));
        (synod, Cost::of(|| raw.flood(&frame, Data::NUMBER_AT, events)))
    });
    runtime.block_on(nodes.end());
    raw.end();
    for (what, cost) in Cost::KINDS {
        let rate = |seconds: f64| events as f64 / seconds;
        let synod = rate(least(costs.iter().map(|(synod, _)| cost(synod))));
        let raw = rate(least(costs.iter().map(|(_, raw)| cost(raw))));
        row(&format!("QUIC, {bytes} B, {what}"), synod, Some(raw), 0);
    }
}

fn flood_memory(runtime: &Runtime, bytes: usize, events: u64) {
    let request = FloodRequest { events, bytes };
    let nodes = runtime.block_on(Pair::start(world::memory(2), |_| Flood::default()));
    let costs: [Cost; RUNS] =
        std::array::from_fn(|_| Cost::of(|| flood(runtime, &nodes, &request)));
    runtime.block_on(nodes.end());
    for (what, cost) in Cost::KINDS {
        let rate = events as f64 / least(costs.iter().map(cost));
        row(&format!("one process, memory, {bytes} B, {what}"), rate, None, 0);
    }
}

fn flood(runtime: &Runtime, nodes: &Pair, request: &FloodRequest) {
    let Flooded = runtime.block_on(nodes.ask(request));
}

fn compare_pings(runtime: &Runtime) {
    let frame = frame_of(&Data::of_size(PING_BYTES));
    let raw = Raw::start();
    let nodes = runtime.block_on(Pair::start(world::quic(2), |_| Ping::default()));
    let request = PingRequest { pings: PINGS, bytes: PING_BYTES };
    let mut trips: [Vec<RoundTrips>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..RUNS {
        let [synod, bare] = &mut trips;
        synod.push(RoundTrips::of(|| {
            let Pings { nanos } = runtime.block_on(nodes.ask(&request));
            nanos
        }));
        bare.push(RoundTrips::of(|| raw.ping(&frame, PINGS)));
    }
    runtime.block_on(nodes.end());
    raw.end();
    for (what, micros) in RoundTrips::KINDS {
        let [synod, raw] = trips.each_ref().map(|runs| least(runs.iter().map(micros)));
        row(what, synod, Some(raw), 1);
    }
}

/// Two nodes from their start until both know of the link, beside a handshake of two endpoints
/// that are already there.
fn compare_connects(runtime: &Runtime) {
    let millis = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
    let mut synod = [0.0; CONNECTS];
    let mut bare = [0.0; CONNECTS];
    for (synod, bare) in synod.iter_mut().zip(&mut bare) {
        let transports = world::quic(2);
        let start = Instant::now();
        let nodes = runtime.block_on(Pair::start(transports, |_| Ping::default()));
        *synod = millis(start);
        runtime.block_on(nodes.end());
        let raw = Raw::start();
        *bare = raw.connected_in.as_secs_f64() * 1e3;
        raw.end();
    }
    row("wall clock", median(synod), Some(median(bare)), 1);
}

/// One figure of a run, with its name.
type Kind<T> = (&'static str, fn(&T) -> f64);

/// What a run has cost, in seconds.
struct Cost {
    wall: f64,
    processor: f64,
}

impl Cost {
    const KINDS: [Kind<Self>; 2] =
        [("wall clock", |cost| cost.wall), ("processor time", |cost| cost.processor)];

    fn of(work: impl FnOnce()) -> Self {
        let (start, processor) = (Instant::now(), processor_time());
        work();
        let wall = start.elapsed().as_secs_f64();
        Self { wall, processor: (processor_time() - processor).as_secs_f64() }
    }
}

/// The round trips of one run, in microseconds.
struct RoundTrips {
    p50: f64,
    p99: f64,
    processor: f64,
}

impl RoundTrips {
    const KINDS: [Kind<Self>; 3] = [
        ("p50", |trips| trips.p50),
        ("p99", |trips| trips.p99),
        ("processor time", |trips| trips.processor),
    ];

    fn of(work: impl FnOnce() -> Vec<u64>) -> Self {
        let mut nanos = Vec::new();
        let cost = Cost::of(|| nanos = work());
        nanos.sort_unstable();
        let percentile = |percent: usize| {
            let place = nanos.get(nanos.len() * percent / 100);
            *place.expect("a hundred pings at least") as f64 / 1e3
        };
        let processor = cost.processor * 1e6 / nanos.len() as f64;
        Self { p50: percentile(50), p99: percentile(99), processor }
    }
}

/// A frame as a lane carries it: a length, and the envelope.
fn frame_of(data: &Data) -> Vec<u8> {
    let mut envelope = Vec::new();
    Envelope::seal(data).encode_into(&mut envelope);
    let length = u32::try_from(envelope.len()).expect("a small frame").to_le_bytes();
    [&length[..], &envelope].concat()
}

fn row(name: &str, synod: f64, raw: Option<f64>, digits: usize) {
    let raw = raw.map(|raw| format!("{raw:>12.digits$}{:>12.2}", synod / raw));
    println!("  {name:<42}{synod:>12.digits$}{}", raw.unwrap_or_default());
}

fn least(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, f64::min)
}

fn median(mut values: [f64; CONNECTS]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let [.., median, _, _] = values;
    median
}

/// The time that all threads of the process have spent on a processor, those that ended included.
fn processor_time() -> Duration {
    let text = fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = text.rsplit_once(')').expect("a name in parentheses");
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * MILLIS_PER_TICK)
}

/// Linux counts in hundredths of a second, whatever its own clock does.
const MILLIS_PER_TICK: u64 = 10;
