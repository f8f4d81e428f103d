//! One measurement: what a program is asked to explore, and what it reports. Shared by this
//! benchmark and the program of `tests/peers-explore`.

use std::fs;

/// Explorations are repeated until they have taken so many seconds of processor time.
const SECONDS_MIN: f64 = 1.0;
/// The kernel counts processor time in hundredths of a second, whatever its own clock is.
const TICKS_PER_SECOND: f64 = 100.0;

/// What is to be explored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) model: Model,
    /// How the state space is walked; only Stateright has more than one way here.
    pub(crate) way: Way,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Model {
    /// With so many resource managers.
    TwoPhase(u32),
    /// The same with [`ONE_NODE`] of them, as a state without nodes.
    OneNode,
    Paxos(Registers),
    Abd(Registers),
}

/// The resource managers of a two-phase commit without nodes.
pub(crate) const ONE_NODE: usize = 7;

/// Servers of a register, numbered from 0, and after them the clients, each of which puts one
/// value and then gets one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers {
    pub(crate) clients: u32,
    pub(crate) servers: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// A message is gone once it was delivered. The state is that of the nodes and the network.
    Taken,
    /// A message that changes nothing when it is delivered stays in the network, and the state also
    /// holds the history of the clients' operations: how Stateright counts states by itself.
    Kept,
}

/// What one exploration came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Count {
    /// Distinct states.
    pub(crate) states: u64,
    /// Steps to a state, also to one that was visited before.
    pub(crate) transitions: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) count: Count,
    /// Processor time of one exploration.
    pub(crate) seconds: f64,
    /// The most memory that the process held during its first exploration, its program's own pages
    /// aside.
    pub(crate) peak_kib: u64,
    /// The most that it held before.
    pub(crate) before_kib: u64,
}

impl Work {
    /// What stands on the command line after `before` words.
    pub(crate) fn told(before: usize) -> Option<Self> {
        let words: Vec<String> = std::env::args().skip(1 + before).collect();
        let [name, clients, servers, way] = words.as_slice() else { return None };
        let (clients, servers) = (clients.parse().ok()?, servers.parse().ok()?);
        let registers = Registers { clients, servers };
        let model = match name.as_str() {
            "two-phase" => Model::TwoPhase(servers),
            "one-node" => Model::OneNode,
            "paxos" => Model::Paxos(registers),
            "abd" => Model::Abd(registers),
            _ => return None,
        };
        let way = match way.as_str() {
            "taken" => Way::Taken,
            "kept" => Way::Kept,
            _ => return None,
        };
        Some(Self { model, way })
    }

    /// The words that tell it.
    #[allow(dead_code, reason = "only the benchmark starts programs")]
    pub(crate) fn words(self) -> [String; 4] {
        let (name, Registers { clients, servers }) = match self.model {
            Model::TwoPhase(servers) => ("two-phase", Registers { clients: 0, servers }),
            Model::OneNode => ("one-node", Registers { clients: 0, servers: 0 }),
            Model::Paxos(registers) => ("paxos", registers),
            Model::Abd(registers) => ("abd", registers),
        };
        let way = if self.way == Way::Taken { "taken" } else { "kept" };
        [String::from(name), clients.to_string(), servers.to_string(), String::from(way)]
    }
}

impl Report {
    /// Explores again and again, for a measurable time.
    pub(crate) fn of(mut explore: impl FnMut() -> Count) -> Self {
        let (before_kib, begin) = (peak_kib(), processor_seconds());
        let count = explore();
        let (peak_kib, mut explorations) = (peak_kib(), 1);
        while processor_seconds() - begin < SECONDS_MIN {
            // As many again: of a small model, reading the clock each time is a part of what it says.
            for _ in 0..explorations {
                assert_eq!(explore(), count, "explorations of one model differ");
            }
            explorations *= 2;
        }
        let seconds = (processor_seconds() - begin) / f64::from(explorations);
        Self { count, seconds, peak_kib, before_kib }
    }

    /// As one line for whoever started the program.
    pub(crate) fn line(&self) -> String {
        let Self { count: Count { states, transitions }, seconds, peak_kib, before_kib } = self;
        format!("{states} {transitions} {seconds} {peak_kib} {before_kib}")
    }

    #[allow(dead_code, reason = "only the benchmark reads reports")]
    pub(crate) fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [states, transitions, seconds, peak_kib, before_kib] = words.as_slice() else {
            return None;
        };
        let count = Count { states: states.parse().ok()?, transitions: transitions.parse().ok()? };
        Some(Self {
            count,
            seconds: seconds.parse().ok()?,
            peak_kib: peak_kib.parse().ok()?,
            before_kib: before_kib.parse().ok()?,
        })
    }
}

/// The time that all threads of this process, also those that have ended, have spent on
/// processors, in user and kernel mode.
fn processor_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").expect("Linux");
    // The name of the program is in parentheses, and may hold anything.
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let times = after_name.split_whitespace().skip(11).take(2);
    times.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}

/// The most memory that this process has held, less its program's own pages: these are read into memory
/// as they are first used, which for a small model is most of all.
fn peak_kib() -> u64 {
    let text = fs::read_to_string("/proc/self/status").expect("Linux");
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("an amount of memory in KiB")
    };
    kib("VmHWM:") - kib("RssFile:")
}
