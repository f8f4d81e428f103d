//! What `node` and `cluster` take.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use synod_core::NodeId;

use super::cert::seed;
use crate::operating::recordings::SECONDS;
use crate::operating::settings::{Admin, Level, LogFormat};

/// The longest time that a cluster runs or is waited for: a year, in seconds.
const SECONDS_MAX: u64 = 31_536_000;

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod cluster bully --nodes 5 --kill-leader
  synod cluster bully --nodes 3 --for 1m       keep it running for a minute
  synod cluster bully --record recordings      one recording for each process

It waits until all nodes show one leader, chosen, outcome, value or initiator in their summaries; where
a summary has none of these (`-` is none), until each shows what it comes to in a calm simulation.")]
pub(crate) struct Cluster {
    /// The algorithm's name.
    pub(crate) algorithm: String,
    /// The number of processes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub(crate) nodes: u32,
    /// Kill the process of the elected leader, and wait for the next one.
    #[arg(long)]
    pub(crate) kill_leader: bool,
    /// Keep the cluster running for so long after the election: 60, 60s, 1m.
    #[arg(long = "for", default_value_t = 0, value_parser = |text: &str| super::seconds::<u64>(text, 0..=SECONDS_MAX))]
    pub(crate) linger: u64,
    /// How long to wait for an election, or for what else all nodes show alike in their summaries.
    #[arg(long, default_value_t = 30, value_parser = |text: &str| super::seconds::<u64>(text, 1..=SECONDS_MAX))]
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
  synod node n1.synod --config node.toml --log-format json
  synod node n1.synod --record n1.recording                         for `synod replay`
  synod node n3.synod --seed n1=10.0.0.1:7400 --start-after 2

The file of --config is TOML with the keys algorithm, store, record, recordings, admin, log.level, log.format,
limits.connect_timeout_ms, limits.idle_timeout_ms, limits.keep_alive_ms, limits.redial_after_ms,
limits.session_grace_ms, limits.frame_timeout_ms, limits.hung_after_ms,
limits.panics_a_minute_max, limits.outbox_bytes_max, limits.bytes_per_peer_cap, limits.packet_bytes_max,
limits.segmentation_offload, listen, start_after and seeds.NODE. Variables of the environment come before it, and flags before both. Logs go to the standard error.")]
pub(crate) struct Node {
    /// The node's bundle.
    pub(crate) bundle: PathBuf,
    /// A file with settings.
    #[arg(long, env = "SYNOD_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The algorithm's name; the first one of the program unless given.
    #[arg(long, env = "SYNOD_ALGORITHM")]
    pub(crate) algorithm: Option<String>,
    /// The directory of the durable log; without it, records live as long as the process.
    #[arg(long, env = "SYNOD_STORE")]
    pub(crate) store: Option<PathBuf>,
    /// Record what the node is fed in this file, after what stands there already.
    #[arg(long, env = "SYNOD_RECORD")]
    pub(crate) record: Option<PathBuf>,
    /// Where recordings are kept that `synod record` asks for while the node runs; `recordings` in the
    /// directory of --store unless given.
    #[arg(long, env = "SYNOD_RECORDINGS")]
    pub(crate) recordings: Option<PathBuf>,
    /// Where /metrics, /status, /livez, /readyz and /record are answered over HTTP: an address of the
    /// loopback interface, or `off`; the TCP port after the node's UDP port unless given.
    #[arg(long, env = "SYNOD_ADMIN")]
    pub(crate) admin: Option<Admin>,
    /// The UDP address that the node listens at, in place of the one in the bundle: [::]:7400 is every interface over IPv6
    /// and IPv4.
    #[arg(long, env = "SYNOD_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where a node of the bundle is, in place of what the bundle says, as n1=10.0.0.1:7400. The
    /// others are found through those that are known.
    #[arg(long = "seed", env = "SYNOD_SEEDS", value_delimiter = ',', value_parser = seed)]
    pub(crate) seeds: Vec<(NodeId, String)>,
    /// Start the algorithm only when so many peers are linked, unless it goes on from its store.
    #[arg(long, env = "SYNOD_START_AFTER")]
    pub(crate) start_after: Option<usize>,
    /// Send metrics to this OpenTelemetry collector, over OTLP in plain HTTP: http://HOST:PORT.
    #[cfg(feature = "otel")]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub(crate) otlp: Option<String>,
    /// How much is logged; info unless given.
    #[arg(long, env = "SYNOD_LOG")]
    pub(crate) log: Option<Level>,
    /// How log lines look; text unless given.
    #[arg(long, env = "SYNOD_LOG_FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// Ask for what the algorithm's own workload says, after each start.
    #[arg(long)]
    pub(crate) workload: bool,
    /// End when the standard input ends, as it does when a parent process is gone.
    #[arg(long, hide = true)]
    pub(crate) exit_with_stdin: bool,
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod doctor n1.synod
  synod doctor n1.synod --config node.toml --store /var/lib/synod/n1

It takes what `synod node` takes, and starts nothing. It looks at the bundle and who may read it, the
certificate and the clock, the settings, the UDP port and its buffers, the store, the names of the
peers, and shakes hands with each of them. Exit code 2 if a file is wrong, 6 if something else is.")]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) node: Node,
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod status n1.synod
  synod status n1.synod n2.synod --watch
  synod status 127.0.0.1:7401 --json

A node tells of itself on its own machine only: where it runs, or through a tunnel.")]
pub(crate) struct Status {
    /// The bundles of nodes that run on this machine, or the addresses of their admin ports.
    #[arg(required = true)]
    pub(crate) nodes: Vec<String>,
    /// Draw the table anew every second, until interrupted.
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod record n1.synod --for 60s
  synod record n1.synod n2.synod n3.synod --for 10s --out incident

A node records on its own machine, from now on, in the middle of its life; `synod replay` steps through it.
It needs a place for that: --store or --recordings of `synod node`; and an algorithm that says how its state
is written down.")]
pub(crate) struct Record {
    /// The bundles of nodes that run on this machine, or the addresses of their admin ports.
    #[arg(required = true)]
    pub(crate) nodes: Vec<String>,
    /// For how long: 60, 60s, 1m; an hour at most.
    #[arg(long = "for", default_value = "60", value_parser = |text: &str| super::seconds::<u64>(text, SECONDS))]
    pub(crate) seconds: u64,
    /// The directory that the recordings are brought to, as n1.recording.
    #[arg(long, default_value = "recordings")]
    pub(crate) out: PathBuf,
}
