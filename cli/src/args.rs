//! The command line.

mod cert;
mod history;
mod node;
mod shell;
mod store;
mod sweep;
mod trace;
mod why;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use synod_simulator::{Fault, LinkDelay, Settings, Strategy, Window};

pub(crate) use self::cert::{
    Cert, CertCheck, CertInit, CertInspect, CertIssue, CertRenew, CertRevoke, CertTrust, seed,
};
pub(crate) use self::history::{ConsistencyArg, History, HistoryCheck};
pub(crate) use self::node::{Cluster, Doctor, Node, Record, Status};
pub(crate) use self::shell::{Completions, Manual};
pub(crate) use self::store::{Store, StoreBackup, StoreDirectory, StoreRestore};
pub(crate) use self::sweep::Sweep;
pub(crate) use self::trace::{Trace, TraceConvert, TraceDiff, TraceMerge};
pub(crate) use self::why::Why;
use crate::look::Look;

/// Write a distributed algorithm once; simulate it, check it, deploy it.
#[derive(Debug, Parser)]
#[command(
    name = "synod",
    version,
    after_help = "\
Examples:
  synod                                   show the whole job in ten seconds
  synod sim bully --nodes 5 --seeds 1000  run a thousand worlds with crashes
  synod check bully --nodes 3             visit every schedule of three nodes"
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) look: Look,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole job: simulate, check, find a bug, elect a leader over QUIC. The default.
    #[command(after_help = "\
Examples:
  synod demo
  synod demo --json")]
    Demo,
    /// Run an algorithm in many simulated worlds, one for each seed.
    Sim(Sim),
    /// Visit every schedule of a small cluster.
    Check(Check),
    /// Run a recorded schedule, or the recording of a deployed node, once more.
    Replay(Replay),
    /// Say which step of a recorded run decides that it fails.
    Why(Why),
    /// Run a grid of worlds, and tell what an algorithm costs in each, as CSV.
    Sweep(Sweep),
    /// Run a cluster of real processes on this machine, over QUIC.
    Cluster(Cluster),
    /// Run one node, from its bundle.
    Node(Node),
    /// Say what would keep a node from running, before it is started or while it runs.
    Doctor(Doctor),
    /// Say how nodes of this machine are: what they do, and who is linked.
    Status(Status),
    /// Record what running nodes of this machine are fed, for a while.
    Record(Record),
    /// Make and read the certificates of a cluster.
    #[command(subcommand)]
    Cert(Cert),
    /// Check, print and copy what a node has written down.
    #[command(subcommand)]
    Store(Store),
    /// Work on what happened in runs.
    #[command(subcommand)]
    Trace(Trace),
    /// Work on what clients saw.
    #[command(subcommand)]
    History(History),
    /// Write what a shell needs to complete commands and flags.
    Completions(Completions),
    /// Write a manual page for each command.
    Man(Manual),
}

impl Command {
    /// Whether it runs nodes, whose panics do not end it.
    pub(crate) fn runs_nodes(&self) -> bool {
        matches!(self, Self::Demo | Self::Cluster(_) | Self::Node(_) | Self::Doctor(_))
    }
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod sim bully --nodes 5 --seeds 1000
  synod sim bully --seeds 1000 --faults partition   beyond what the algorithm claims to survive
  synod sim bully --faults byzantine,leave          traitors, and nodes that leave for good
  synod sim bully --crashes 5 --down 50ms..2s       five short crashes in a run, at most")]
pub(crate) struct Sim {
    /// The algorithm's name.
    pub(crate) algorithm: String,
    /// The number of nodes, or a range from which each seed draws: 3..7.
    #[arg(long, default_value = "5", value_parser = sizes)]
    pub(crate) nodes: Sizes,
    /// How many seeds to run.
    #[arg(long, default_value_t = 1000, env = "SYNOD_RUNS")]
    pub(crate) seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0, env = "SYNOD_SEED")]
    pub(crate) seed: u64,
    /// What goes wrong: `model` (what the algorithm claims to survive), `none`, or kinds on top
    /// of the model, separated by commas: crash, partition, loss, burst, duplication, delay, clog,
    /// pause, clock, join, leave, byzantine, disk.
    #[arg(long, value_delimiter = ',', default_value = "model", value_parser = fault)]
    pub(crate) faults: Vec<FaultArg>,
    /// Crashes in a run at most, 0 to 10,000; 3 unless given, where nodes crash at all.
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(crate) crashes: Option<u32>,
    /// How long a crashed node is down: 50ms..2s, or 1s for exactly that. Up to 5 s unless given, or half as long
    /// again as what the algorithm promises may take; up to a day.
    #[arg(long, value_name = "MIN..MAX", value_parser = down)]
    pub(crate) down: Option<Down>,
    /// How long messages take between two nodes, in milliseconds, where it is not as between the
    /// others: 1-2=80..120 both ways, 1>2=80..120 one way. May be given several times.
    #[arg(long)]
    pub(crate) link: Vec<LinkDelay>,
    /// Requests of clients that each run draws at most, of those that the algorithm offers, 0 to 10,000; 8
    /// unless given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(crate) requests: Option<u32>,
    /// How seeds become runs: portfolio (the others in turn), random, swarm, pct, pos,
    /// delay-bounded.
    #[arg(long, default_value = "portfolio", value_parser = strategy)]
    pub(crate) strategy: Strategy,
    /// Runs that differ from the one of this schedule in a few decisions, instead of what a strategy
    /// draws. Ask for the nodes and faults that it was found with.
    #[arg(long, value_name = "SCHEDULE", conflicts_with = "strategy")]
    pub(crate) near: Option<PathBuf>,
    /// Threads to use, 1 to 256; all cores unless given. The output is the same.
    #[arg(long, value_parser = threads)]
    pub(crate) threads: Option<usize>,
    /// The virtual time of each run, in seconds; 20 unless given.
    #[arg(long, value_parser = |text: &str| seconds::<u32>(text, 1..=86_400))]
    pub(crate) time: Option<u32>,
    /// Where to write the schedule of a violation.
    #[arg(long, default_value = "target/synod", env = "SYNOD_OUT")]
    pub(crate) out: PathBuf,
}

/// What `--faults` takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FaultArg {
    /// What the algorithm's model allows.
    Model,
    /// No faults at all.
    None,
    /// A kind on top of the model.
    Kind(Fault),
}

impl FaultArg {
    pub(crate) fn kind(self) -> Option<Fault> {
        match self {
            Self::Model | Self::None => None,
            Self::Kind(fault) => Some(fault),
        }
    }
}

fn fault(text: &str) -> Result<FaultArg, String> {
    match text {
        "model" => Ok(FaultArg::Model),
        "none" => Ok(FaultArg::None),
        kind => Fault::named(kind).map(FaultArg::Kind).ok_or_else(|| {
            let known: Vec<&str> = Fault::ALL.iter().map(|(name, _)| *name).collect();
            format!("expected model, none, or some of {}", known.join(", "))
        }),
    }
}

/// How long a node is down, in microseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Down {
    pub(crate) min_us: u64,
    pub(crate) max_us: u64,
}

/// Reads a range of times, or one time.
fn down(text: &str) -> Result<Down, String> {
    const DAY_US: u128 = 86_400_000_000;
    let read = |text| Some(time(text).ok()?.as_micros()).filter(|it| (1..=DAY_US).contains(it));
    let read = |text| read(text).and_then(|us| u64::try_from(us).ok());
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    match (read(least), read(most)) {
        (Some(min_us), Some(max_us)) if min_us <= max_us => Ok(Down { min_us, max_us }),
        _ => Err(String::from("expected MIN..MAX, such as 50ms..2s, or one time, up to 1440m")),
    }
}

fn strategy(text: &str) -> Result<Strategy, String> {
    Strategy::named(text).ok_or_else(|| {
        let known: Vec<&str> = Strategy::ALL.iter().map(|(name, _)| *name).collect();
        format!("expected one of {}", known.join(", "))
    })
}

/// A number of nodes, or a range of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Sizes(pub(crate) std::ops::RangeInclusive<u32>);

fn sizes(text: &str) -> Result<Sizes, String> {
    let number = |text: &str| text.parse::<u32>().ok();
    let range = match text.split_once("..") {
        Some((least, most)) => number(least).zip(number(most)),
        None => number(text).map(|nodes| (nodes, nodes)),
    };
    match range {
        Some((least, most)) if 1 <= least && least <= most && most <= Settings::NODES_MAX => {
            Ok(Sizes(least..=most))
        }
        _ => Err(format!("expected a number of nodes or a range, 1 to {}", Settings::NODES_MAX)),
    }
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod check bully --nodes 3
  synod check bully --nodes 3 --timing unbounded   delays without a bound: two leaders
  synod check bully --nodes 2 --timers 50..150     clocks that run early or late
  synod check bully --nodes 4 --max-time 1m        as far as it comes in a minute
  synod check abd --lossy --losses 1               links that lose one message
  synod check two-phase-commit --live              what should hold in the end, of fair runs
  synod check hello --reduce                       one run for each order of dependent events

Complete means that every state within the bounds was visited; the first line of the result says
which. What the model allows and no exploration does is told below the properties.

The exit code is 0 if it is complete and every property holds, 1 if one is violated, 2 for bounds that
contradict each other and for --reduce with a property that it could miss, 3 if a bound has cut, or if
something that should happen in some state did in none.")]
pub(crate) struct Check {
    /// The algorithm's name.
    pub(crate) algorithm: String,
    /// The number of nodes, 1 to 16.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) nodes: u32,
    /// What is known of delays; the algorithm's model unless given.
    #[arg(long)]
    pub(crate) timing: Option<TimingArg>,
    /// When timers fire, in per cent of the time that they were asked for: 80..150, each by itself.
    /// Exactly then unless given; only where delays have a bound.
    #[arg(long, value_name = "MIN..MAX")]
    pub(crate) timers: Option<Window>,
    /// Crashes in a run at most; the model's unless given, but one.
    #[arg(long)]
    pub(crate) crashes: Option<u32>,
    /// Recoveries in a run at most; as many as crashes unless given.
    #[arg(long)]
    pub(crate) recoveries: Option<u32>,
    /// Messages lost in a run at most; any number unless given. Only datagrams are, without --lossy.
    #[arg(long)]
    pub(crate) losses: Option<u32>,
    /// Let every message between two nodes be lost, whatever the algorithm counts on.
    #[arg(long)]
    pub(crate) lossy: bool,
    /// Messages that come again in a run at most, or `any`.
    #[arg(long, default_value = "0", value_parser = copies)]
    pub(crate) copies: u32,
    /// How disks fail: `lying=1` lets one sync of a run claim what it has not done.
    #[arg(long, default_value = "lying=0", value_parser = lies)]
    pub(crate) disk: u32,
    /// Let messages overtake each other, whatever the algorithm counts on.
    #[arg(long)]
    pub(crate) unordered: bool,
    /// States to visit at most; five million unless given. Where this bound or one of the next two
    /// cuts, the exit code is 3.
    #[arg(long)]
    pub(crate) max_states: Option<u64>,
    /// Steps of a run at most, those of the starts not counted; any number unless given, and 10,000
    /// with --reduce or --estimate.
    #[arg(long)]
    pub(crate) max_depth: Option<u32>,
    /// Real time at most: 500ms, 60s, 10m; a number alone is seconds.
    #[arg(long, value_parser = time)]
    pub(crate) max_time: Option<Duration>,
    /// Threads to use, 1 to 256; all cores unless given. The result is the same.
    #[arg(long, value_parser = threads)]
    pub(crate) threads: Option<usize>,
    /// Which states are visited first: the nearest (on all cores, with a shortest violation), or
    /// those of each run to its end (on one, in less memory).
    #[arg(long, default_value = "breadth")]
    pub(crate) order: OrderArg,
    /// Take one run for each order of dependent events, and remember no state. Refused where a
    /// property looks at several nodes at one moment.
    #[arg(long, conflicts_with_all = ["order", "live", "symmetry"])]
    pub(crate) reduce: bool,
    /// Take states for one that differ only in the names of interchangeable nodes, where the
    /// algorithm says which nodes these are; without crashes.
    #[arg(long, conflicts_with = "live")]
    pub(crate) symmetry: bool,
    /// Judge runs without end too, where delays have no bound: what should hold eventually.
    #[arg(long)]
    pub(crate) live: bool,
    /// Only say how many runs there may be, from so many random ones: --estimate=1000.
    #[arg(long, value_name = "PROBES", num_args = 0..=1, require_equals = true,
        default_missing_value = "100", value_parser = clap::value_parser!(u32).range(1..=PROBES_MAX),
        conflicts_with_all = ["order", "live", "reduce", "symmetry", "max_states", "max_time", "threads"])]
    pub(crate) estimate: Option<u32>,
    /// Where to write the schedule of a violation.
    #[arg(long, default_value = "target/synod", env = "SYNOD_OUT")]
    pub(crate) out: PathBuf,
}

/// Reads a number; `any` is without a bound.
fn copies(text: &str) -> Result<u32, String> {
    match text {
        "any" => Ok(u32::MAX),
        text => text.parse().map_err(|_| String::from("expected a number, or `any`")),
    }
}

/// Reads `500ms`, `60s` or `10m`; a number alone is seconds, and may have decimals: `0.5`.
fn lies(text: &str) -> Result<u32, String> {
    let count = text.strip_prefix("lying=").and_then(|count| count.parse().ok());
    count.ok_or_else(|| String::from("expected lying=COUNT"))
}

pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let unit = text.trim_start_matches(|it: char| it.is_ascii_digit() || it == '.');
    let count = text.strip_suffix(unit).and_then(|count| count.parse::<f64>().ok());
    let seconds = match (count, unit) {
        (Some(count), "ms") => Some(count / 1_000.0),
        (Some(count), "" | "s") => Some(count),
        (Some(count), "m") => Some(count * 60.0),
        _ => None,
    };
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| String::from("expected a time such as 500ms, 60s or 10m"))
}

/// A number of seconds within `range`: 30, 30s or 1m.
fn seconds<T: TryFrom<u64>>(text: &str, range: std::ops::RangeInclusive<u64>) -> Result<T, String> {
    let whole = time(text).ok().filter(|time| time.subsec_nanos() == 0).map(|time| time.as_secs());
    let count = whole.filter(|count| range.contains(count)).and_then(|count| count.try_into().ok());
    let (least, most) = range.into_inner();
    count.ok_or_else(|| format!("expected {least} to {most} seconds, such as 30, 30s or 1m"))
}

/// Random runs of an estimate at most: what each of them says is kept.
const PROBES_MAX: i64 = 1_000_000;

/// Threads that a command starts at most: far beyond the cores of a machine, far below what a
/// system refuses.
const THREADS_MAX: usize = 256;

fn threads(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count: &usize| (1..=THREADS_MAX).contains(count));
    count.ok_or_else(|| format!("expected a number of threads, 1 to {THREADS_MAX}"))
}

/// What `--order` takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum OrderArg {
    /// The nearest states first.
    Breadth,
    /// Each run to its end.
    Depth,
}

/// What `--timing` takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum TimingArg {
    /// Messages arrive within the model's bound.
    Bounded,
    /// A message may take for ever.
    Unbounded,
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod replay target/synod/bully-0.schedule
  synod replay target/synod/bully-0.schedule --full --trace run.jsonl
  synod replay target/synod/bully-0.schedule --as-test > tests/bully_0.rs
  synod replay run.jsonl                           the run of the schedule in a trace's header
  synod replay n1.recording                        what `synod node --record` has written")]
pub(crate) struct Replay {
    /// The schedule, a trace of its run, or the recording. The run of a trace must come to the same.
    pub(crate) file: PathBuf,
    /// Draw every step, not only those that changed something.
    #[arg(long)]
    pub(crate) full: bool,
    /// Write the trace to this file, as JSON lines.
    #[arg(long)]
    pub(crate) trace: Option<PathBuf>,
    /// Print a Rust test, decision by decision, that fails in the same way until the bug is fixed.
    #[arg(long, conflicts_with_all = ["full", "trace"])]
    pub(crate) as_test: bool,
}

/// Where a node listens that others reach at `address`: all interfaces, the same port; loopback
/// only if the address is.
pub(crate) fn listen_address(address: &str) -> Option<SocketAddr> {
    let port = address.rsplit_once(':')?.1.parse().ok()?;
    Some(match address.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => address,
        Ok(SocketAddr::V6(_)) => SocketAddr::from(([0_u16; 8], port)),
        _ => SocketAddr::from(([0, 0, 0, 0], port)),
    })
}

/// Whole days.
pub(crate) fn days(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_fits_together() {
        Args::command().debug_assert();
    }

    /// The lines of the help that are commands to type, without what is said beside them.
    fn examples(help: &str) -> Vec<Vec<String>> {
        let typed = help.lines().filter_map(|line| line.strip_prefix("  synod"));
        let typed = typed.map(|line| line.split("  ").next().unwrap_or(line));
        let typed = typed.map(|line| line.split(" > ").next().unwrap_or(line));
        typed.map(|line| line.split_whitespace().map(String::from).collect()).collect()
    }

    /// Asserts that `command`, and each below it, has two examples that can be typed.
    fn expect_examples(command: &clap::Command, path: &str) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = examples(&help);
        assert!(2 <= examples.len(), "`{path}` has {examples:?}");
        for example in examples {
            let words = std::iter::once(String::from("synod")).chain(example.clone());
            let parsed = Args::command().try_get_matches_from(words);
            assert!(parsed.is_ok(), "`{path}`, {example:?}: {}", parsed.unwrap_err());
        }
        for below in command.get_subcommands() {
            expect_examples(below, &format!("{path} {}", below.get_name()));
        }
    }

    #[test]
    fn every_command_has_examples_that_can_be_typed() {
        expect_examples(&Args::command(), "synod");
    }

    #[test]
    fn seconds_are_a_number_with_or_without_a_unit() {
        let read = |text| seconds::<u32>(text, 1..=86_400).ok();
        assert_eq!(
            ["30", "30s", "1m", "86400", "2000ms"].map(read),
            [30, 30, 60, 86_400, 2].map(Some)
        );
        assert_eq!(["0", "86401", "1.5", "500ms", "1h", "", "-1", "9e99"].map(read), [None; 8]);
    }

    #[test]
    fn a_time_is_a_number_with_a_unit() {
        let read = |text| time(text).ok().map(|it| it.as_millis());
        assert_eq!(["500ms", "60s", "2", "10m"].map(read), [500, 60_000, 2_000, 600_000].map(Some));
        assert_eq!(["0.5", "0"].map(read), [500, 0].map(Some));
        assert_eq!(["", "s", "1h", "-1s", "fast", "1.2.3"].map(read), [None; 6]);
        assert_eq!(read("99999999999999999999999"), None);
    }

    #[test]
    fn a_node_listens_where_it_can_be_reached() {
        let listens = |address| listen_address(address).map(|it| it.to_string());
        assert_eq!(listens("127.0.0.1:7400").as_deref(), Some("127.0.0.1:7400"));
        assert_eq!(listens("10.0.0.1:7400").as_deref(), Some("0.0.0.0:7400"));
        assert_eq!(listens("n1.example:7400").as_deref(), Some("0.0.0.0:7400"));
        assert_eq!(listens("[2001:db8::1]:7400").as_deref(), Some("[::]:7400"));
    }
}
