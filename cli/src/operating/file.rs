//! The file that configures a node. What is wrong in it is told with its line, its key, what stands there and
//! what is allowed.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;
use synod_core::NodeId;
use synod_runtime::PanicPolicy;
use synod_transport_quic::Limits;
use toml::{Spanned, Value};

use super::settings::Settings;
use crate::args::seed;
use crate::problem::{Exit, Problem};

/// A file is no larger, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The file. Every key may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    algorithm: Option<String>,
    store: Option<Spanned<PathBuf>>,
    record: Option<Spanned<PathBuf>>,
    recordings: Option<Spanned<PathBuf>>,
    admin: Option<Spanned<String>>,
    listen: Option<Spanned<String>>,
    start_after: Option<Spanned<Value>>,
    log: LogKeys,
    limits: LimitKeys,
    seeds: BTreeMap<String, Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table with `level` and `format`")]
struct LogKeys {
    level: Option<Spanned<String>>,
    format: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of limits")]
struct LimitKeys {
    connect_timeout_ms: Option<Spanned<Value>>,
    idle_timeout_ms: Option<Spanned<Value>>,
    keep_alive_ms: Option<Spanned<Value>>,
    redial_after_ms: Option<Spanned<Value>>,
    session_grace_ms: Option<Spanned<Value>>,
    frame_timeout_ms: Option<Spanned<Value>>,
    hung_after_ms: Option<Spanned<Value>>,
    panics_a_minute_max: Option<Spanned<Value>>,
    outbox_bytes_max: Option<Spanned<Value>>,
    bytes_per_peer_cap: Option<Spanned<Value>>,
    packet_bytes_max: Option<Spanned<Value>>,
    segmentation_offload: Option<bool>,
}

/// What is wrong, and at which byte of the file, if at any in particular.
#[derive(Debug)]
struct Wrong {
    at: Option<usize>,
    words: String,
}

impl Wrong {
    /// A value that is not allowed.
    fn value<T>(key: &str, given: &Spanned<T>, words: impl Display) -> Self {
        Self { at: Some(given.span().start), words: format!("key `{key}`: {words}") }
    }

    /// Values that do not go together, the first of which is to blame if it is there.
    fn together(given: [&Option<Spanned<Value>>; 2], words: String) -> Self {
        let at = given.into_iter().flatten().map(|given| given.span().start).next();
        Self { at, words }
    }

    /// The same in the words of an operator.
    fn told(&self, text: &str) -> String {
        let Some(at) = self.at else { return self.words.clone() };
        let line = text.get(..at).unwrap_or(text).matches('\n').count();
        let shown = text.lines().nth(line).unwrap_or_default().trim();
        format!("line {}: `{shown}`: {}", line + 1, self.words)
    }
}

/// What the file in `path` says.
///
/// # Errors
///
/// A [`Problem`] of usage; of the environment if the file cannot be read.
pub(super) fn read(path: &Path) -> Result<Settings, Problem> {
    let named = |words| Problem::new(Exit::Usage, format!("`{}`: {words}", path.display()));
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::InvalidData => named(String::from("not UTF-8")),
        _ => Problem::environment(format!("cannot read `{}`", path.display()), &error),
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if FILE_BYTES_MAX < size {
        return Err(named(format!("{size} bytes are too many, {FILE_BYTES_MAX} are allowed")));
    }
    settings(&std::fs::read_to_string(path).map_err(failed)?).map_err(named)
}

/// What a file with this text says.
pub(super) fn settings(text: &str) -> Result<Settings, String> {
    let file: Result<File, _> = toml::from_str(text);
    let file = file.map_err(|error| {
        let at = Some(error.span().map_or(0, |span| span.start));
        Wrong { at, words: String::from(error.message()) }
    });
    file.and_then(|file| file.settings()).map_err(|wrong| wrong.told(text))
}

impl File {
    fn settings(&self) -> Result<Settings, Wrong> {
        let admin = self.admin.as_ref().map(|given| {
            given.get_ref().parse().map_err(|error| Wrong::value("admin", given, error))
        });
        let listen = self.listen.as_ref().map(|given| {
            let words = "expected IP:PORT, such as [::]:7400";
            given.get_ref().parse().map_err(|_| Wrong::value("listen", given, words))
        });
        Ok(Settings {
            algorithm: self.algorithm.clone(),
            store: place("store", self.store.as_ref())?,
            record: place("record", self.record.as_ref())?,
            recordings: place("recordings", self.recordings.as_ref())?,
            admin: admin.transpose()?.unwrap_or_default(),
            level: one_of("log.level", self.log.level.as_ref())?,
            format: one_of("log.format", self.log.format.as_ref())?,
            limits: self.limits.limits()?,
            hung_after: self.limits.hung_after()?,
            on_panic: self.limits.on_panic()?,
            listen: listen.transpose()?,
            seeds: self.seeds()?,
            start_after: whole("start_after", self.start_after.as_ref(), PEERS, "peers")?
                .unwrap_or(0),
        })
    }

    fn seeds(&self) -> Result<BTreeMap<NodeId, String>, Wrong> {
        let read = |(node, address): (&String, &Spanned<String>)| {
            seed(&format!("{node}={}", address.get_ref()))
                .map_err(|error| Wrong::value(&format!("seeds.{node}"), address, error))
        };
        self.seeds.iter().map(read).collect()
    }
}

impl LimitKeys {
    fn hung_after(&self) -> Result<Duration, Wrong> {
        let given = time("hung_after_ms", self.hung_after_ms.as_ref())?;
        Ok(given.unwrap_or_else(|| synod_runtime::Limits::default().hung_after))
    }

    fn on_panic(&self) -> Result<PanicPolicy, Wrong> {
        let key = "limits.panics_a_minute_max";
        let given = whole(key, self.panics_a_minute_max.as_ref(), PANICS, "panics")?.unwrap_or(0);
        Ok(match u32::try_from(given) {
            Ok(restarts_max @ 1..) => PanicPolicy::Restart { restarts_max, within: MINUTE },
            _ => PanicPolicy::Stop,
        })
    }

    fn limits(&self) -> Result<Limits, Wrong> {
        let mut limits = Limits::default();
        self.times(&mut limits)?;
        let bytes = |key: &str, given: &Option<_>, range| {
            whole(&format!("limits.{key}"), given.as_ref(), range, "bytes")
        };
        let outbox = bytes("outbox_bytes_max", &self.outbox_bytes_max, OUTBOX)?;
        limits.outbox_bytes_max = outbox.unwrap_or(limits.outbox_bytes_max);
        let cap = bytes("bytes_per_peer_cap", &self.bytes_per_peer_cap, OUTBOX_MIN..=BYTES_MAX)?;
        limits.bytes_per_peer_cap = cap.unwrap_or(limits.bytes_per_peer_cap);
        let packet = bytes("packet_bytes_max", &self.packet_bytes_max, PACKET)?;
        let packet = packet.and_then(|packet| u16::try_from(packet).ok());
        limits.packet_bytes_max = packet.unwrap_or(limits.packet_bytes_max);
        limits.segmentation_offload =
            self.segmentation_offload.unwrap_or(limits.segmentation_offload);
        limits.check(&[]).map_err(|error| {
            let words = format!("table `limits`: {error}");
            Wrong::together([&self.outbox_bytes_max, &self.bytes_per_peer_cap], words)
        })?;
        Ok(limits)
    }

    fn times(&self, limits: &mut Limits) -> Result<(), Wrong> {
        let times = [
            ("connect_timeout_ms", &self.connect_timeout_ms, &mut limits.connect_timeout),
            ("idle_timeout_ms", &self.idle_timeout_ms, &mut limits.idle_timeout),
            ("keep_alive_ms", &self.keep_alive_ms, &mut limits.keep_alive),
            ("redial_after_ms", &self.redial_after_ms, &mut limits.redial_after),
            ("session_grace_ms", &self.session_grace_ms, &mut limits.session_grace),
            ("frame_timeout_ms", &self.frame_timeout_ms, &mut limits.frame_timeout),
        ];
        for (key, given, limit) in times {
            *limit = time(key, given.as_ref())?.unwrap_or(*limit);
        }
        if limits.idle_timeout < 2 * limits.keep_alive {
            let words = format!(
                "key `limits.idle_timeout_ms`: {} is less than twice `limits.keep_alive_ms`, {}: \
                 a peer that has nothing to say would look dead",
                limits.idle_timeout.as_millis(),
                limits.keep_alive.as_millis(),
            );
            return Err(Wrong::together([&self.idle_timeout_ms, &self.keep_alive_ms], words));
        }
        if limits.redial_after <= limits.keep_alive {
            let words = format!(
                "key `limits.redial_after_ms`: {} is not more than `limits.keep_alive_ms`, {}: \
                 a peer that has nothing to say would be dialled over and over",
                limits.redial_after.as_millis(),
                limits.keep_alive.as_millis(),
            );
            return Err(Wrong::together([&self.redial_after_ms, &self.keep_alive_ms], words));
        }
        Ok(())
    }
}

fn place(key: &str, given: Option<&Spanned<PathBuf>>) -> Result<Option<PathBuf>, Wrong> {
    match given {
        Some(given) if given.get_ref().as_os_str().is_empty() => {
            Err(Wrong::value(key, given, "expected a path, or no such line"))
        }
        _ => Ok(given.map(|given| given.get_ref().clone())),
    }
}

fn time(key: &str, given: Option<&Spanned<Value>>) -> Result<Option<Duration>, Wrong> {
    let given = whole(&format!("limits.{key}"), given, TIME_MS, "milliseconds")?;
    Ok(given.map(|given| Duration::from_millis(given as u64)))
}

/// The whole number that a key has, if it has one.
fn whole(
    key: &str,
    given: Option<&Spanned<Value>>,
    range: RangeInclusive<usize>,
    unit: &str,
) -> Result<Option<usize>, Wrong> {
    let Some(given) = given else { return Ok(None) };
    let number = given.get_ref().as_integer().and_then(|number| usize::try_from(number).ok());
    number.filter(|number| range.contains(number)).map(Some).ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        let words =
            format!("{} is not allowed: expected {least} to {most} {unit}", given.get_ref());
        Wrong::value(key, given, words)
    })
}

fn one_of<T: ValueEnum + Default>(key: &str, given: Option<&Spanned<String>>) -> Result<T, Wrong> {
    let Some(given) = given else { return Ok(T::default()) };
    T::from_str(given.get_ref(), false).map_err(|_| {
        let known = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let names: Vec<String> = known.map(|it| String::from(it.get_name())).collect();
        let (given_word, names) = (given.get_ref(), names.join(", "));
        let words = format!("`{given_word}` is not known: expected one of {names}");
        Wrong::value(key, given, words)
    })
}

const PANICS: RangeInclusive<usize> = 0..=1_000;
const MINUTE: Duration = Duration::from_secs(60);
const TIME_MS: RangeInclusive<usize> = 10..=600_000;
/// A queue for a peer holds the largest event at least.
const OUTBOX: RangeInclusive<usize> = OUTBOX_MIN..=1 << 30;
const OUTBOX_MIN: usize = 128 * 1024;
const BYTES_MAX: usize = usize::MAX >> 1;
const PACKET: RangeInclusive<usize> = 1_200..=Limits::PACKET_BYTES_CAP as usize;
/// There are no more nodes in a bundle: its file would be too large.
const PEERS: RangeInclusive<usize> = 0..=65_535;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operating::settings::{Admin, Level};

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
        let shown = shown.expect("a configuration");
        let settings = settings(shown).expect("a good one");
        assert_eq!(settings.limits, Limits::default());
        assert_eq!(settings.hung_after, synod_runtime::Limits::default().hung_after);
        assert_eq!(settings.on_panic, PanicPolicy::default());
        for shows in ["hung_after_ms = 20000", "panics_a_minute_max = 0"] {
            assert!(shown.contains(shows), "every limit is shown: {shown}");
        }
    }

    #[test]
    fn the_bounds_in_the_guide_are_the_defaults() {
        let guide = include_str!("../../../docs/operating.md");
        let (node, peers) = (synod_runtime::Limits::default(), Limits::default());
        for (words, bound) in [
            ("the queue of an event type: 8,192 ", node.queue_events),
            ("events for a peer that never came: 1,024;", node.early_sends),
            ("; timers: 65,536;", node.timers),
            ("; jobs: 4 that run", node.jobs_running),
            (" that run and 1,024 that wait", node.jobs_waiting),
            ("; lanes of a peer: 128 ", peers.lanes_max as usize),
            ("questions without an answer: 1,024 ", node.asks),
            ("handshakes: 128,", peers.handshakes_max),
            (", and 64 of one host", peers.handshakes_per_host_max),
            ("from 32 on", peers.handshakes_before_retry),
            ("`outbox_bytes_max`: 16 MiB", peers.outbox_bytes_max >> 20),
            ("`unreliable` events: 1 MiB", peers.datagram_bytes_max >> 20),
            ("outputs for a slow reader: 4,096;", node.outputs),
            ("; dead letters: 64 ", node.dead_letters),
        ] {
            let digits = words.chars().filter(char::is_ascii_digit);
            assert_eq!(digits.collect::<String>(), bound.to_string(), "{words}");
            assert!(guide.contains(words), "{words}");
        }
    }

    #[test]
    fn a_node_may_outlive_some_panics() {
        let settings = settings("[limits]\npanics_a_minute_max = 3").expect("a good one");
        let within = Duration::from_secs(60);
        assert_eq!(settings.on_panic, PanicPolicy::Restart { restarts_max: 3, within });
    }

    #[test]
    fn a_wrong_value_is_told_with_its_key_and_what_is_allowed() {
        for (text, words) in [
            ("admin = '0.0.0.0:7401'", ["key `admin`", "loopback"]),
            ("admin = 'somewhere'", ["key `admin`", "127.0.0.1:PORT, or off"]),
            ("[log]\nlevel = 'loud'", ["key `log.level`", "off, error, warn, info"]),
            ("[log]\nformat = 'xml'", ["key `log.format`", "text, json"]),
            ("log = 3", ["line 1", "expected a table with `level` and `format`"]),
            ("[limits]\nidle_timeout_ms = 1", ["key `limits.idle_timeout_ms`", "10 to 600000"]),
            ("[limits]\nidle_timeout_ms = -1", ["-1 is not allowed", "10 to 600000 milliseconds"]),
            ("[limits]\nkeep_alive_ms = 1e3", ["1000.0 is not allowed", "10 to 600000"]),
            ("[limits]\nkeep_alive_ms = 'x'", ["\"x\" is not allowed", "10 to 600000"]),
            (
                "[limits]\nidle_timeout_ms = 100",
                ["key `limits.idle_timeout_ms`", "would look dead"],
            ),
            ("[limits]\nhung_after_ms = 9", ["key `limits.hung_after_ms`", "10 to 600000"]),
            ("[limits]\npanics_a_minute_max = 9999", ["`limits.panics_a_minute_max`", "0 to 1000"]),
            ("[limits]\nredial_after_ms = 500", ["key `limits.redial_after_ms`", "over and over"]),
            ("[limits]\noutbox_bytes_max = 1", ["key `limits.outbox_bytes_max`", "131072"]),
            ("[limits]\noutbox_bytes_max = 134217728", ["`bytes_per_peer_cap`", "134217728"]),
            ("[limits]\nbytes_per_peer_cap = 0", ["key `limits.bytes_per_peer_cap`", "131072"]),
            ("[limits]\npacket_bytes_max = 9000", ["`limits.packet_bytes_max`", "1200 to 6500"]),
            ("[limits]\npacket_bytes_max = 70000", ["70000 is not allowed", "1200 to 6500"]),
            ("[limits]\nsegmentation_offload = 1", ["invalid type", "boolean"]),
            ("[seeds]\nn1 = 'nowhere'", ["key `seeds.n1`", "HOST:PORT"]),
            ("[seeds]\nx = 'a:1'", ["key `seeds.x`", "`x`"]),
            ("start_after = -1", ["key `start_after`: -1 is not allowed", "0 to 65535 peers"]),
            ("alogrithm = 'bully'", ["unknown field `alogrithm`", "`algorithm`"]),
            ("listen = 'n1:7400'", ["key `listen`", "expected IP:PORT"]),
            ("store = ''", ["key `store`", "expected a path"]),
            ("recordings = ''", ["key `recordings`", "expected a path"]),
            ("algorithm = 3", ["invalid type: integer", "expected a string"]),
        ] {
            let error = settings(text).expect_err(text);
            let told = words.iter().all(|word| error.contains(word));
            assert!(told, "{text}: {error}");
            let last = text.lines().last().expect("a line");
            let place = format!("line {}: `{last}`: ", text.lines().count());
            assert!(error.starts_with(&place) || text == "log = 3", "{text}: {error}");
        }
    }
}
