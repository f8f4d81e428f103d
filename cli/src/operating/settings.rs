//! How a node is configured: a file, over it the environment, over it the command line.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use synod_core::{Catalogue, NodeId};
use synod_runtime::PanicPolicy;
use synod_transport_quic::{Bundle, Limits, TakenLists};
use tracing_subscriber::filter::LevelFilter;

use super::file;
use crate::app::App;
use crate::args::Node;
use crate::problem::{Exit, Problem};

/// How a node is configured.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) algorithm: Option<String>,
    pub(crate) store: Option<PathBuf>,
    pub(crate) record: Option<PathBuf>,
    /// Where recordings on demand are kept.
    pub(crate) recordings: Option<PathBuf>,
    pub(crate) admin: Admin,
    pub(crate) level: Level,
    pub(crate) format: LogFormat,
    pub(crate) limits: Limits,
    /// How long a handler may run, or the store work, before the node counts as hung.
    pub(crate) hung_after: Duration,
    /// What a panic of a handler comes to.
    pub(crate) on_panic: PanicPolicy,
    /// Where the node listens, in place of what the bundle says.
    pub(crate) listen: Option<SocketAddr>,
    /// Where nodes are, in place of what the bundle says.
    pub(crate) seeds: BTreeMap<NodeId, String>,
    /// How many peers must be linked before the algorithm starts.
    pub(crate) start_after: usize,
}

/// Where the node tells of itself over HTTP.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Admin {
    /// On the loopback interface, on the TCP port after the UDP port of the node.
    #[default]
    Beside,
    /// On this address, which is one of the loopback interface.
    At(SocketAddr),
    /// Nowhere.
    Off,
}

impl FromStr for Admin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::At(address)),
            Ok(_) => Err(format!(
                "`{text}` can be reached from elsewhere: expected an address of the loopback \
                 interface such as 127.0.0.1:7401, or off"
            )),
            Err(_) => Err(format!("`{text}` is no address: expected 127.0.0.1:PORT, or off")),
        }
    }
}

impl Admin {
    /// The address for the node of `bundle`, if there is to be one.
    pub(crate) fn address(self, bundle: &Bundle) -> Option<SocketAddr> {
        match self {
            Self::Beside => Some(beside(bundle)),
            Self::At(address) => Some(address),
            Self::Off => None,
        }
    }
}

/// Where the node of `bundle` tells of itself unless it is told otherwise. A node on any free port
/// does so on any free port, too.
pub(crate) fn beside(bundle: &Bundle) -> SocketAddr {
    let port = match bundle.listen.port() {
        0 => 0,
        port => port.checked_add(1).unwrap_or(port - 1),
    };
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Level {
    /// Nothing.
    Off,
    /// What ends the node.
    Error,
    /// What an operator should look at, too.
    Warn,
    /// Every change of state, too.
    #[default]
    Info,
    /// What helps to find a fault, too.
    Debug,
    /// Everything.
    Trace,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Off => Self::OFF,
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object for each line.
    Json,
}

impl Settings {
    /// What the file, the environment and the command line say together.
    ///
    /// # Errors
    ///
    /// A [`Problem`] of usage with the file, the line or the key, and what is allowed. Nothing has
    /// been opened by then but the file.
    pub(crate) fn of(asked: &Node) -> Result<Self, Problem> {
        let empty = || file::settings("").map_err(usage);
        let mut said = asked.config.as_deref().map_or_else(empty, file::read)?;
        said.seeds.extend(asked.seeds.iter().cloned());
        let store = asked.store.clone().or(said.store);
        let recordings = asked.recordings.clone().or(said.recordings);
        Ok(Self {
            algorithm: asked.algorithm.clone().or(said.algorithm),
            recordings: recordings.or_else(|| Some(store.as_ref()?.join("recordings"))),
            store,
            record: asked.record.clone().or(said.record),
            admin: asked.admin.unwrap_or(said.admin),
            level: asked.log.unwrap_or(said.level),
            format: asked.log_format.unwrap_or(said.format),
            limits: said.limits,
            hung_after: said.hung_after,
            on_panic: said.on_panic,
            listen: asked.listen.or(said.listen),
            seeds: said.seeds,
            start_after: asked.start_after.unwrap_or(said.start_after),
        })
    }

    /// What the algorithm handles and stores; the limits have room for what it handles from the wire.
    ///
    /// # Errors
    ///
    /// A [`Problem`] of usage if there is no such algorithm, or no room.
    pub(crate) fn program(&self, app: &App) -> Result<Catalogue, Problem> {
        let entry = app.entry(self.algorithm.as_deref())?;
        let catalogue = entry.catalogue().map_err(|error| Problem::caused(&error))?;
        let fits = self.limits.check(&catalogue.from_the_wire());
        fits.map_err(|error| usage(format!("table `limits`: {error}")))?;
        Ok(catalogue)
    }

    /// Where it is kept which lists of revoked certificates the node has taken, if it has a store.
    pub(crate) fn taken_lists(&self) -> Option<PathBuf> {
        self.store.as_ref().map(|store| store.join(TakenLists::FILE))
    }

    /// Checks that the lists of revoked certificates in `bundle` are no older than those that the node has taken.
    ///
    /// # Errors
    ///
    /// A [`Problem`] with the file, and what to do.
    pub(crate) fn check_lists(&self, bundle: &Bundle) -> Result<(), Problem> {
        let Some(file) = self.taken_lists() else { return Ok(()) };
        let taken = TakenLists::kept_in(file).map_err(|error| Problem::of_file(&error))?;
        taken.check(bundle).map_err(|error| usage(error.to_string()))
    }

    /// The bundle with the address that the node listens at.
    pub(crate) fn listening(&self, bundle: &Bundle) -> Bundle {
        Bundle { listen: self.listen.unwrap_or(bundle.listen), ..bundle.clone() }
    }

    /// The bundle with the addresses that are set beside it.
    ///
    /// # Errors
    ///
    /// A [`Problem`] of usage if something is said of a node that is none of the cluster, or more
    /// peers are to be waited for than there are.
    pub(crate) fn applied_to(&self, bundle: &Bundle) -> Result<Bundle, Problem> {
        let nodes = bundle.nodes();
        if let Some(stranger) = self.seeds.keys().find(|node| !nodes.contains(node)) {
            let known: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
            let what = format!("key `seeds`: {stranger} is no node of the bundle");
            return Err(usage(what).hint(format!("its nodes are {}", known.join(", "))));
        }
        let most = nodes.len() - 1;
        if most < self.start_after {
            let what = format!("key `start_after`: {} peers cannot be linked", self.start_after);
            return Err(usage(what).hint(format!("expected 0 to {most}, the number of peers")));
        }
        let mut bundle = self.listening(bundle);
        bundle.peers.extend(self.seeds.clone());
        Ok(bundle)
    }
}

fn usage(what: String) -> Problem {
    Problem::new(Exit::Usage, what)
}
