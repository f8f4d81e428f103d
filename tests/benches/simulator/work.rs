//! One measurement: what a program is asked to do, and what it reports. Shared by this benchmark
//! and the programs of `tests/peers`.
//!
//! Messages of 16 bytes take 1 to 10 ms and are never lost. On a ring, each node sends one to the
//! next, which passes it on; between all pairs, each message goes back and forth. A message is
//! passed on a fixed number of times, so every program delivers the same number of messages.

use std::fs;

/// The least delay of a message, in microseconds.
pub(crate) const DELAY_MIN_US: u64 = 1_000;
/// The greatest delay of a message, in microseconds.
pub(crate) const DELAY_MAX_US: u64 = 10_000;

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) shape: Shape,
    pub(crate) nodes: u32,
    /// Messages to deliver, at least one for each that is under way.
    pub(crate) messages: u64,
    /// Simulations to run, one after the other, each made and dropped.
    pub(crate) runs: u64,
}

/// Who sends to whom.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shape {
    Ring,
    Pairs,
    /// Nodes that are there, and wait.
    Idle,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    /// Messages delivered in all runs.
    pub(crate) delivered: u64,
    /// Time that the process spent on processors.
    pub(crate) seconds: f64,
    /// Virtual time that passed in the last run.
    pub(crate) virtual_ms: u64,
    /// The most memory that the process ever held.
    pub(crate) peak_kib: u64,
}

impl Work {
    /// Messages under way at once.
    pub(crate) fn under_way(&self) -> u64 {
        let nodes = u64::from(self.nodes);
        match self.shape {
            Shape::Ring => nodes,
            Shape::Pairs => nodes * (nodes - 1),
            Shape::Idle => 0,
        }
    }

    /// How often each message is delivered.
    pub(crate) fn hops(&self) -> u64 {
        self.messages.checked_div(self.under_way()).map_or(0, |hops| hops.max(1))
    }

    /// Messages delivered in a run.
    pub(crate) fn total(&self) -> u64 {
        self.under_way() * self.hops()
    }

    /// To whom `node` sends at first, of nodes numbered from 0.
    pub(crate) fn first(self, node: u32) -> impl Iterator<Item = u32> {
        let next = (node + 1) % self.nodes.max(1);
        let all = match self.shape {
            Shape::Ring => next..next + 1,
            Shape::Pairs => 0..self.nodes,
            Shape::Idle => 0..0,
        };
        all.filter(move |to| *to != node)
    }

    /// To whom `node` passes on what came from `from`.
    pub(crate) fn next(&self, node: u32, from: u32) -> u32 {
        match self.shape {
            Shape::Pairs => from,
            Shape::Ring | Shape::Idle => (node + 1) % self.nodes,
        }
    }

    /// What stands on the command line after the program and `before` other words.
    pub(crate) fn told(before: usize) -> Option<Self> {
        let words: Vec<String> = std::env::args().skip(1 + before).collect();
        let [shape, nodes, messages, runs] = words.as_slice() else { return None };
        let shape = match shape.as_str() {
            "ring" => Shape::Ring,
            "pairs" => Shape::Pairs,
            "idle" => Shape::Idle,
            _ => return None,
        };
        let (messages, runs) = (messages.parse().ok()?, runs.parse().ok()?);
        Some(Self { shape, nodes: nodes.parse().ok()?, messages, runs })
    }

    /// Does the work: `once` makes a simulation, runs it and drops it, and returns what it
    /// delivered and how many milliseconds of virtual time passed.
    pub(crate) fn measure(&self, mut once: impl FnMut(u64) -> (u64, u64)) -> Report {
        let before = processor_seconds();
        let (mut delivered, mut virtual_ms) = (0, 0);
        for seed in 1..=self.runs {
            let (of_run, passed) = once(seed);
            (delivered, virtual_ms) = (delivered + of_run, passed);
        }
        let seconds = processor_seconds() - before;
        Report { delivered, seconds, virtual_ms, peak_kib: peak_kib() }
    }
}

impl Report {
    /// As one line for whoever started the program.
    pub(crate) fn line(&self) -> String {
        let Self { delivered, seconds, virtual_ms, peak_kib } = self;
        format!("{delivered} {seconds} {virtual_ms} {peak_kib}")
    }
}

/// The time that the living threads of this process have spent on processors, in user and kernel
/// mode. The kernel brings it up to date with each tick of its own, every few milliseconds.
pub(crate) fn processor_seconds() -> f64 {
    let threads = fs::read_dir("/proc/self/task").expect("Linux");
    let of_thread = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    };
    threads.filter_map(|thread| of_thread(thread.ok()?)).sum::<f64>() / 1e9
}

fn peak_kib() -> u64 {
    let text = fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.split_whitespace().next()?.parse().ok());
    peak.expect("a peak of memory in KiB")
}
