//! The command line.

mod sweep;
mod why;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use synod_core::NodeId;
use synod_simulator::{Fault, Format, Settings, Strategy};

pub(crate) use self::sweep::Sweep;
pub(crate) use self::why::Why;

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
    /// Print JSON lines, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole job: simulate, check, find a bug, elect a leader over QUIC. The default.
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
    /// Make and read the certificates of a cluster.
    #[command(subcommand)]
    Cert(Cert),
    /// Work on what happened in runs.
    #[command(subcommand)]
    Trace(Trace),
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod sim bully --nodes 5 --seeds 1000
  synod sim bully --seeds 1000 --faults partition   beyond what the algorithm claims to survive")]
pub(crate) struct Sim {
    /// The algorithm's name.
    pub(crate) algorithm: String,
    /// The number of nodes, or a range from which each seed draws: 3..7.
    #[arg(long, default_value = "5", value_parser = sizes)]
    pub(crate) nodes: Sizes,
    /// How many seeds to run.
    #[arg(long, default_value_t = 1000)]
    pub(crate) seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// What goes wrong: `model` (what the algorithm claims to survive), `none`, or kinds on top
    /// of the model, separated by commas: crash, partition, loss, burst, duplication, delay, clog,
    /// pause, clock, join.
    #[arg(long, value_delimiter = ',', default_value = "model", value_parser = fault)]
    pub(crate) faults: Vec<FaultArg>,
    /// How seeds become runs: portfolio (the others in turn), random, swarm, pct, delay-bounded.
    #[arg(long, default_value = "portfolio", value_parser = strategy)]
    pub(crate) strategy: Strategy,
    /// Threads to use; all cores unless given. The output is the same.
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// The virtual time of each run, in seconds.
    #[arg(long)]
    pub(crate) time: Option<u32>,
    /// Where to write the schedule of a violation.
    #[arg(long, default_value = "target/synod")]
    pub(crate) out: PathBuf,
    /// Draw diagrams with ASCII characters only.
    #[arg(long)]
    pub(crate) ascii: bool,
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
  synod check bully --nodes 3 --timing unbounded   delays without a bound: two leaders")]
pub(crate) struct Check {
    /// The algorithm's name.
    pub(crate) algorithm: String,
    /// The number of nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) nodes: u32,
    /// What is known of delays; the algorithm's model unless given.
    #[arg(long)]
    pub(crate) timing: Option<TimingArg>,
    /// Crashes in a run at most; the model's unless given, but one.
    #[arg(long)]
    pub(crate) crashes: Option<u32>,
    /// Recoveries in a run at most; as many as crashes unless given.
    #[arg(long)]
    pub(crate) recoveries: Option<u32>,
    /// States to visit at most. Beyond, the exit code is 3.
    #[arg(long)]
    pub(crate) max_states: Option<u64>,
    /// Where to write the schedule of a violation.
    #[arg(long, default_value = "target/synod")]
    pub(crate) out: PathBuf,
    /// Draw diagrams with ASCII characters only.
    #[arg(long)]
    pub(crate) ascii: bool,
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
  synod replay n1.recording                        what `synod node --record` has written")]
pub(crate) struct Replay {
    /// The schedule, or the recording.
    pub(crate) file: PathBuf,
    /// Draw every step, not only those that changed something.
    #[arg(long)]
    pub(crate) full: bool,
    /// Draw with ASCII characters only.
    #[arg(long)]
    pub(crate) ascii: bool,
    /// Write the trace to this file, as JSON lines.
    #[arg(long)]
    pub(crate) trace: Option<PathBuf>,
    /// Print a Rust test that fails in the same way, decision by decision.
    #[arg(long, conflicts_with_all = ["full", "ascii", "trace"])]
    pub(crate) as_test: bool,
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod cluster bully --nodes 5 --kill-leader
  synod cluster bully --nodes 3 --for 60       keep it running for a minute
  synod cluster bully --record recordings      one recording for each process")]
pub(crate) struct Cluster {
    /// The algorithm's name.
    pub(crate) algorithm: String,
    /// The number of processes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub(crate) nodes: u32,
    /// Kill the process of the elected leader, and wait for the next one.
    #[arg(long)]
    pub(crate) kill_leader: bool,
    /// Keep the cluster running for so many seconds after the election.
    #[arg(long = "for", default_value_t = 0)]
    pub(crate) linger: u64,
    /// Seconds to wait for an election.
    #[arg(long, default_value_t = 30)]
    pub(crate) timeout: u64,
    /// Record what each node is fed, in files of this directory, as n1.recording.
    #[arg(long)]
    pub(crate) record: Option<PathBuf>,
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod node n1.synod
  synod node n1.synod --algorithm bully --store /var/lib/synod/n1
  synod node n1.synod --record n1.recording                         for `synod replay`

Logs go to the standard error; SYNOD_LOG=debug shows more of them, SYNOD_LOG=error fewer.")]
pub(crate) struct Node {
    /// The node's bundle.
    pub(crate) bundle: PathBuf,
    /// The algorithm's name; the first one of the program unless given.
    #[arg(long)]
    pub(crate) algorithm: Option<String>,
    /// The directory of the durable log; without it, records live as long as the process.
    #[arg(long)]
    pub(crate) store: Option<PathBuf>,
    /// Record what the node is fed in this file, after what stands there already.
    #[arg(long)]
    pub(crate) record: Option<PathBuf>,
    /// End when the standard input ends, as it does when a parent process is gone.
    #[arg(long, hide = true)]
    pub(crate) exit_with_stdin: bool,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  synod cert init ca --cluster demo
  synod cert issue --ca ca n1=10.0.0.1:7400 n2=10.0.0.2:7400 n3=10.0.0.3:7400
  synod cert inspect n1.synod")]
pub(crate) enum Cert {
    /// Make the authority of a new cluster.
    Init(CertInit),
    /// Issue one bundle for each node: its identity, its key, and whom it trusts.
    Issue(CertIssue),
    /// Say what a bundle or a certificate holds.
    Inspect(CertInspect),
}

#[derive(Debug, Parser)]
pub(crate) struct CertInit {
    /// The directory for `ca.pem` and `ca.key`.
    pub(crate) directory: PathBuf,
    /// The cluster's name: lower-case letters, digits and hyphens.
    #[arg(long, default_value = "demo")]
    pub(crate) cluster: String,
    /// How long the authority is valid, in days.
    #[arg(long, default_value_t = 3650)]
    pub(crate) days: u32,
}

#[derive(Debug, Parser)]
pub(crate) struct CertIssue {
    /// Each node with its address, as `n1=10.0.0.1:7400`. Together they are the cluster.
    #[arg(required = true, value_parser = member)]
    pub(crate) nodes: Vec<(NodeId, String)>,
    /// The directory of the authority.
    #[arg(long, default_value = "ca")]
    pub(crate) ca: PathBuf,
    /// The directory for the bundles.
    #[arg(long, default_value = ".")]
    pub(crate) out: PathBuf,
    /// How long the certificates are valid, in days.
    #[arg(long, default_value_t = 90)]
    pub(crate) days: u32,
}

#[derive(Debug, Parser)]
pub(crate) struct CertInspect {
    /// A bundle, or a certificate as PEM.
    pub(crate) file: PathBuf,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  synod trace merge recordings/*.recording --out run.jsonl
  synod trace convert run.jsonl --to svg --out run.svg")]
pub(crate) enum Trace {
    /// Make one trace of a cluster from the recordings of its nodes.
    Merge(TraceMerge),
    /// Write a trace, or the run of a schedule, for another tool.
    Convert(TraceConvert),
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod trace merge n1.recording n2.recording n3.recording
  synod trace merge recordings/*.recording --out run.jsonl

Each delivery comes after its send. Times are those of the nodes' own clocks, shifted as little as
it takes.")]
pub(crate) struct TraceMerge {
    /// The recordings.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Write the trace to this file, not to the standard output.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod trace convert run.jsonl --to svg --out run.svg
  synod trace convert target/synod/bully-0.schedule --to shiviz --out run.log
  synod trace convert run.jsonl --to mermaid

Pictures show 200 steps at most, the last ones that changed something.")]
pub(crate) struct TraceConvert {
    /// A trace, as JSON lines, or a schedule.
    pub(crate) file: PathBuf,
    /// What to convert it to.
    #[arg(long)]
    pub(crate) to: FormatArg,
    /// Write the result to this file, not to the standard output.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

/// What `--to` takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum FormatArg {
    /// A log with vector clocks, for ShiViz.
    Shiviz,
    /// Trace events as JSON, for Perfetto.
    Chrome,
    /// A sequence diagram.
    Plantuml,
    /// A sequence diagram for Markdown.
    Mermaid,
    /// A space-time diagram.
    Svg,
    /// A table with a row for each step.
    Csv,
}

impl FormatArg {
    pub(crate) fn format(self) -> Format {
        match self {
            Self::Shiviz => Format::ShiViz,
            Self::Chrome => Format::Chrome,
            Self::Plantuml => Format::PlantUml,
            Self::Mermaid => Format::Mermaid,
            Self::Svg => Format::Svg,
            Self::Csv => Format::Csv,
        }
    }
}

/// Reads `n1=10.0.0.1:7400`.
fn member(text: &str) -> Result<(NodeId, String), String> {
    let (node, address) = text.split_once('=').ok_or("expected NODE=HOST:PORT")?;
    let node = node.parse::<NodeId>().map_err(|error| error.to_string())?;
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(port) if 0 < port => Ok((node, String::from(address))),
        _ => Err(format!("`{address}` is no address: expected HOST:PORT, with a port above 0")),
    }
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

    #[test]
    fn members_are_read_and_nonsense_is_refused() {
        assert_eq!(member("n1=a.example:7400"), Ok((NodeId(1), "a.example:7400".into())));
        for wrong in ["n1", "n01=a:1", "n1=a", "n1=a:0", "n1=a:99999", "1=a:1"] {
            assert!(member(wrong).is_err(), "{wrong}");
        }
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
