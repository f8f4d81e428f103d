//! How a node is configured: a file, over it the environment, over it the command line.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;
use synod_core::{NodeId, WireEvent};
use synod_transport_quic::{Bundle, Limits};
use tracing_subscriber::filter::LevelFilter;

use crate::app::App;
use crate::args::{Node, seed};
use crate::problem::{Exit, Problem};

/// A configuration file is no larger, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// How a node is configured.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) algorithm: Option<String>,
    pub(crate) store: Option<PathBuf>,
    pub(crate) record: Option<PathBuf>,
    pub(crate) admin: Admin,
    pub(crate) level: Level,
    pub(crate) format: LogFormat,
    pub(crate) limits: Limits,
    /// How long a handler may run, or the store work, before the node counts as hung.
    pub(crate) hung_after: Duration,
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

/// The configuration file. Every key may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    algorithm: Option<String>,
    store: Option<PathBuf>,
    record: Option<PathBuf>,
    admin: Option<String>,
    start_after: Option<usize>,
    log: LogKeys,
    limits: LimitKeys,
    seeds: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogKeys {
    level: Option<String>,
    format: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LimitKeys {
    connect_timeout_ms: Option<u64>,
    idle_timeout_ms: Option<u64>,
    keep_alive_ms: Option<u64>,
    redial_after_ms: Option<u64>,
    session_grace_ms: Option<u64>,
    frame_timeout_ms: Option<u64>,
    hung_after_ms: Option<u64>,
    outbox_bytes_max: Option<usize>,
    bytes_per_peer_cap: Option<usize>,
    packet_bytes_max: Option<u16>,
    segmentation_offload: Option<bool>,
}

impl Settings {
    /// What the file, the environment and the command line say together.
    ///
    /// # Errors
    ///
    /// A [`Problem`] of usage with the file, the line or the key, and what is allowed. Nothing has
    /// been opened by then but the file.
    pub(crate) fn of(asked: &Node) -> Result<Self, Problem> {
        let path = asked.config.as_deref();
        let file = path.map_or_else(|| Ok(File::default()), read)?;
        let place = path.map(|path| path.display().to_string()).unwrap_or_default();
        let of_file = || file.settings().map_err(|words| usage(format!("`{place}`: {words}")));
        let mut said = of_file()?;
        said.seeds.extend(asked.seeds.iter().cloned());
        Ok(Self {
            algorithm: asked.algorithm.clone().or(said.algorithm),
            store: asked.store.clone().or(said.store),
            record: asked.record.clone().or(said.record),
            admin: asked.admin.unwrap_or(said.admin),
            level: asked.log.unwrap_or(said.level),
            format: asked.log_format.unwrap_or(said.format),
            limits: said.limits,
            hung_after: said.hung_after,
            seeds: said.seeds,
            start_after: asked.start_after.unwrap_or(said.start_after),
        })
    }

    /// The events that the algorithm handles from the wire, for which the limits have room.
    ///
    /// # Errors
    ///
    /// A [`Problem`] of usage if there is no such algorithm, or no room.
    pub(crate) fn handled(&self, app: &App) -> Result<Vec<WireEvent>, Problem> {
        let entry = app.entry(self.algorithm.as_deref())?;
        let catalogue = entry.catalogue().map_err(|error| Problem::caused(&error))?;
        let handled = catalogue.from_the_wire();
        let fits = self.limits.check(&handled);
        fits.map_err(|error| usage(format!("table `limits`: {error}")))?;
        Ok(handled)
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
        let mut bundle = bundle.clone();
        bundle.peers.extend(self.seeds.clone());
        Ok(bundle)
    }
}

impl File {
    fn settings(&self) -> Result<Settings, String> {
        let admin = self.admin.as_deref().map(str::parse).transpose();
        Ok(Settings {
            algorithm: self.algorithm.clone(),
            store: self.store.clone(),
            record: self.record.clone(),
            admin: at_key("admin", admin)?.unwrap_or_default(),
            level: one_of("log.level", self.log.level.as_deref())?,
            format: one_of("log.format", self.log.format.as_deref())?,
            limits: self.limits.limits()?,
            hung_after: self.limits.hung_after()?,
            seeds: self.seeds()?,
            start_after: self.start_after.unwrap_or(0),
        })
    }

    fn seeds(&self) -> Result<BTreeMap<NodeId, String>, String> {
        let read = |(node, address): (&String, &String)| {
            at_key(&format!("seeds.{node}"), seed(&format!("{node}={address}")))
        };
        self.seeds.iter().map(read).collect()
    }
}

impl LimitKeys {
    fn hung_after(&self) -> Result<Duration, String> {
        let given = self.hung_after_ms.map(|given| time("hung_after_ms", given)).transpose()?;
        Ok(given.unwrap_or_else(|| synod_runtime::Limits::default().hung_after))
    }

    fn limits(&self) -> Result<Limits, String> {
        let mut limits = Limits::default();
        let times = [
            ("connect_timeout_ms", self.connect_timeout_ms, &mut limits.connect_timeout),
            ("idle_timeout_ms", self.idle_timeout_ms, &mut limits.idle_timeout),
            ("keep_alive_ms", self.keep_alive_ms, &mut limits.keep_alive),
            ("redial_after_ms", self.redial_after_ms, &mut limits.redial_after),
            ("session_grace_ms", self.session_grace_ms, &mut limits.session_grace),
            ("frame_timeout_ms", self.frame_timeout_ms, &mut limits.frame_timeout),
        ];
        for (key, given, limit) in times {
            if let Some(given) = given {
                *limit = time(key, given)?;
            }
        }
        if limits.idle_timeout < 2 * limits.keep_alive {
            return Err(format!(
                "key `limits.idle_timeout_ms`: {} is less than twice `limits.keep_alive_ms`, {}: \
                 a peer that has nothing to say would look dead",
                limits.idle_timeout.as_millis(),
                limits.keep_alive.as_millis(),
            ));
        }
        if limits.redial_after <= limits.keep_alive {
            return Err(format!(
                "key `limits.redial_after_ms`: {} is not more than `limits.keep_alive_ms`, {}: \
                 a peer that has nothing to say would be dialled over and over",
                limits.redial_after.as_millis(),
                limits.keep_alive.as_millis(),
            ));
        }
        if let Some(bytes) = self.outbox_bytes_max {
            if !(OUTBOX_MIN..=OUTBOX_MAX).contains(&bytes) {
                let allowed = format!("expected {OUTBOX_MIN} to {OUTBOX_MAX} bytes");
                return Err(format!("key `limits.outbox_bytes_max`: {bytes}: {allowed}"));
            }
            limits.outbox_bytes_max = bytes;
        }
        limits.bytes_per_peer_cap = self.bytes_per_peer_cap.unwrap_or(limits.bytes_per_peer_cap);
        limits.packet_bytes_max = self.packet_bytes_max.unwrap_or(limits.packet_bytes_max);
        limits.segmentation_offload =
            self.segmentation_offload.unwrap_or(limits.segmentation_offload);
        limits.check(&[]).map_err(|error| format!("table `limits`: {error}"))?;
        Ok(limits)
    }
}

fn time(key: &str, given: u64) -> Result<Duration, String> {
    if !(TIME_MIN_MS..=TIME_MAX_MS).contains(&given) {
        let allowed = format!("expected {TIME_MIN_MS} to {TIME_MAX_MS} milliseconds");
        return Err(format!("key `limits.{key}`: {given} is out of range: {allowed}"));
    }
    Ok(Duration::from_millis(given))
}

const TIME_MIN_MS: u64 = 10;
const TIME_MAX_MS: u64 = 600_000;
/// A queue for a peer holds the largest event at least.
const OUTBOX_MIN: usize = 128 * 1024;
const OUTBOX_MAX: usize = 1 << 30;

fn read(path: &Path) -> Result<File, Problem> {
    let named = |words: String| usage(format!("`{}`: {words}", path.display()));
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::InvalidData => named(String::from("not UTF-8")),
        _ => Problem::environment(format!("cannot read `{}`", path.display()), &error),
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if FILE_BYTES_MAX < size {
        return Err(named(format!("{size} bytes are too many, {FILE_BYTES_MAX} are allowed")));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    toml::from_str(&text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or(&text);
        let line = before.matches('\n').count();
        let shown = text.lines().nth(line).unwrap_or_default().trim();
        named(format!("line {}: `{shown}`: {}", line + 1, error.message()))
    })
}

fn at_key<T>(key: &str, parsed: Result<T, impl Display>) -> Result<T, String> {
    parsed.map_err(|error| format!("key `{key}`: {error}"))
}

fn one_of<T: ValueEnum + Default>(key: &str, given: Option<&str>) -> Result<T, String> {
    let Some(given) = given else { return Ok(T::default()) };
    T::from_str(given, false).map_err(|_| {
        let known = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let names: Vec<String> = known.map(|it| String::from(it.get_name())).collect();
        format!("key `{key}`: `{given}` is not known: expected one of {}", names.join(", "))
    })
}

fn usage(what: String) -> Problem {
    Problem::new(Exit::Usage, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        let file: File = toml::from_str(text).map_err(|error| String::from(error.message()))?;
        file.settings()
    }

    #[test]
    fn an_empty_file_says_nothing() {
        let settings = settings("").expect("every key may be missing");
        assert_eq!((settings.admin, settings.level), (Admin::Beside, Level::Info));
        assert_eq!(settings.limits, Limits::default());
    }

    #[test]
    fn the_limits_in_the_guide_are_the_defaults() {
        let guide = include_str!("../../../docs/operating.md");
        let shown = guide.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
        let settings = settings(shown.expect("a configuration")).expect("a good one");
        assert_eq!(settings.limits, Limits::default());
        assert_eq!(settings.hung_after, synod_runtime::Limits::default().hung_after);
        let shown = shown.expect("a configuration");
        assert!(shown.contains("hung_after_ms = 20000"), "every limit is shown: {shown}");
    }

    #[test]
    fn a_wrong_value_is_told_with_its_key_and_what_is_allowed() {
        for (text, words) in [
            ("admin = '0.0.0.0:7401'", ["key `admin`", "loopback"]),
            ("admin = 'somewhere'", ["key `admin`", "127.0.0.1:PORT, or off"]),
            ("[log]\nlevel = 'loud'", ["key `log.level`", "off, error, warn, info"]),
            ("[log]\nformat = 'xml'", ["key `log.format`", "text, json"]),
            ("[limits]\nidle_timeout_ms = 1", ["key `limits.idle_timeout_ms`", "10 to 600000"]),
            (
                "[limits]\nidle_timeout_ms = 100",
                ["key `limits.idle_timeout_ms`", "would look dead"],
            ),
            ("[limits]\nhung_after_ms = 9", ["key `limits.hung_after_ms`", "10 to 600000"]),
            ("[limits]\nredial_after_ms = 500", ["key `limits.redial_after_ms`", "over and over"]),
            ("[limits]\noutbox_bytes_max = 1", ["key `limits.outbox_bytes_max`", "131072"]),
            ("[limits]\noutbox_bytes_max = 134217728", ["`bytes_per_peer_cap`", "134217728"]),
            ("[limits]\npacket_bytes_max = 9000", ["`packet_bytes_max`", "1200 to 6500"]),
            ("[limits]\nsegmentation_offload = 1", ["invalid type", "boolean"]),
            ("[seeds]\nn1 = 'nowhere'", ["key `seeds.n1`", "HOST:PORT"]),
            ("[seeds]\nx = 'a:1'", ["key `seeds.x`", "`x`"]),
            ("start_after = -1", ["invalid value", "-1"]),
            ("alogrithm = 'bully'", ["unknown field `alogrithm`", "`algorithm`"]),
            ("algorithm = 3", ["invalid type: integer", "expected a string"]),
        ] {
            let error = settings(text).expect_err(text);
            let told = words.iter().all(|word| error.contains(word));
            assert!(told, "{text}: {error}");
        }
    }
}
