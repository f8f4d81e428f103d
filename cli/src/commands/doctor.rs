//! `doctor`: what would keep a node from running, found out before it is started.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::json;
use synod_core::{Catalogue, NodeId, Schema, WireEvent};
use synod_runtime::{StoreError, check_owner, check_unfenced, check_unlocked, inspect_store};
use synod_transport_quic::{Bundle, Limits, Presence, granted_buffer_bytes, probe};
use tokio::task::JoinSet;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime as LogTime};

use super::node::{forgets, owner, untold};
use super::status;
use crate::app::App;
use crate::args::Doctor;
use crate::operating::settings::Settings;
use crate::printer::{Printer, quoted, typed, typed_again, typed_instead};
use crate::problem::{Exit, Problem};

/// A disk without room for so much is full.
const ROOM_BYTES: usize = 64 * 1_024;

/// A certificate with less time left is worth a warning.
const CERTIFICATE_LEFT: Duration = Duration::from_secs(30 * 86_400);

pub(crate) fn run(app: &App, asked: &Doctor, printer: &Printer) -> Result<(), Problem> {
    let path = &asked.node.bundle;
    let mut findings = Findings::new(printer);
    let settings = findings.take("settings", Settings::of(&asked.node), "as they should be");
    let mut program = None;
    if let Some(settings) = &settings {
        let fits = settings.program(app);
        program = findings.take("algorithm", fits, "known, and its events fit into the limits");
        if let Some(Ok(entry)) = program.as_ref().map(|_| app.entry(settings.algorithm.as_deref()))
            && let Some(words) = forgets(entry.name(), &entry.model())
        {
            findings.add("restarts", Finding::new(Severity::Warning, words));
        }
    }
    let program = program.unwrap_or_default();
    let bundle = Bundle::read(path).map_err(|error| Problem::of_file(&error));
    let bundle = findings.take("bundle", bundle, "can be read");
    let mut running = None;
    if let Some(bundle) = &bundle {
        findings.add("secrecy", secrecy(path));
        findings.add("certificate", certificate(bundle));
        if let Some(settings) = settings.as_ref().filter(|settings| settings.store.is_some()) {
            let words = "none of revoked certificates is older than one that was taken";
            findings.take("lists", settings.check_lists(bundle), words);
        }
        findings.add("clock", Finding::fine(format!("{} here", now())));
        let listening = settings.as_ref().map(|settings| settings.listening(bundle));
        let listening = listening.as_ref().unwrap_or(bundle);
        let admin = settings.as_ref().and_then(|settings| settings.admin.address(listening));
        running = admin.and_then(|it| status::running_at(it, bundle.node));
        findings.add("port", port(listening, running.is_some()));
        if let Some(admin) = admin {
            findings.add("admin", admin_port(admin, running.is_some()));
        }
        if let Some(fault) = running.as_ref().and_then(|it| it.fault.clone()) {
            findings.add("links", Finding::new(Severity::Environment, fault));
        }
    }
    let limits = settings.as_ref().map_or_else(Limits::default, |it| it.limits.clone());
    findings.add("buffers", buffers(&limits));
    if let Some(store) = settings.as_ref().and_then(|settings| settings.store.as_ref()) {
        let entry = settings.as_ref().and_then(|it| app.entry(it.algorithm.as_deref()).ok());
        let owner = bundle.as_ref().zip(entry).map(|(it, entry)| owner(it, entry.name()));
        let found = store_at(store, running.as_ref().map(|it| it.process), &program);
        let foreign = owner.and_then(|owner| check_owner(store, &owner).err());
        findings.add(
            "store",
            match foreign.filter(|_| found.severity == Severity::Fine) {
                Some(error) => Finding::new(Severity::Environment, error.to_string()),
                None => found,
            },
        );
    }
    let seeded = match (&settings, bundle) {
        (Some(settings), Some(bundle)) => {
            findings.take("seeds", settings.applied_to(&bundle), "of nodes in the bundle")
        }
        (_, bundle) => bundle,
    };
    if let Some(bundle) = seeded.filter(|bundle| bundle.check().is_ok()) {
        for (peer, finding) in peers(&bundle, &limits, &program.from_the_wire())? {
            findings.add(&peer.to_string(), finding);
        }
    }
    findings.conclude(match running {
        Some(_) => typed(format!("status {}", quoted(path))),
        None => typed_instead("doctor", "node"),
    })
}

/// How bad something is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Severity {
    Fine,
    /// The node runs, and somebody should look.
    Warning,
    /// Something outside the files is wrong.
    Environment,
    /// A file is wrong.
    Usage,
}

#[derive(Debug)]
struct Finding {
    severity: Severity,
    words: String,
}

impl Finding {
    fn new(severity: Severity, words: impl Into<String>) -> Self {
        Self { severity, words: words.into() }
    }

    fn fine(words: impl Into<String>) -> Self {
        Self::new(Severity::Fine, words)
    }
}

/// What was found so far, told as it is found.
struct Findings<'a> {
    printer: &'a Printer,
    worst: Severity,
    first_wrong: Option<String>,
}

impl<'a> Findings<'a> {
    fn new(printer: &'a Printer) -> Self {
        printer.say(row("CHECK", "STATE", "WORDS"));
        Self { printer, worst: Severity::Fine, first_wrong: None }
    }

    fn add(&mut self, what: &str, Finding { severity, words }: Finding) {
        let state = match severity {
            Severity::Fine => "fine",
            Severity::Warning => "look",
            Severity::Environment | Severity::Usage => "wrong",
        };
        self.printer.say(row(what, state, &words));
        self.printer.event(&json!({
            "event": "check", "check": what, "state": state, "words": words,
        }));
        if Severity::Warning < severity && self.first_wrong.is_none() {
            self.first_wrong = Some(format!("{what}: {words}"));
        }
        self.worst = self.worst.max(severity);
    }

    /// The value, if there is one, and a finding in any case.
    fn take<T>(&mut self, what: &str, value: Result<T, Problem>, words: &str) -> Option<T> {
        match value {
            Ok(value) => {
                self.add(what, Finding::fine(words));
                Some(value)
            }
            Err(problem) => {
                let severity = match problem.exit {
                    Exit::Usage => Severity::Usage,
                    _ => Severity::Environment,
                };
                self.add(what, Finding::new(severity, problem.what));
                None
            }
        }
    }

    /// Says what is wrong first, or what is `next`.
    fn conclude(self, next: String) -> Result<(), Problem> {
        let exit = match self.worst {
            Severity::Fine | Severity::Warning => None,
            Severity::Environment => Some(Exit::Environment),
            Severity::Usage => Some(Exit::Usage),
        };
        match (exit, self.first_wrong) {
            (Some(exit), Some(wrong)) => {
                let hint = format!("mend it, then ask again: {}", typed_again(Some));
                Err(Problem::new(exit, wrong).hint(hint))
            }
            _ => {
                self.printer.event(&json!({"event": "healthy"}));
                self.printer.advise(next);
                Ok(())
            }
        }
    }
}

fn row(what: &str, state: &str, words: &str) -> String {
    format!("{what:<12} {state:<6} {words}")
}

fn secrecy(path: &Path) -> Finding {
    let files = Bundle::secret_files(path).unwrap_or_else(|_| vec![path.to_path_buf()]);
    let found = files.iter().map(|file| open_to_others(file)).find(|it| !matches!(it, Ok(None)));
    match found {
        None | Some(Ok(None)) => Finding::fine("only its owner reads the bundle"),
        Some(Ok(Some(words))) => Finding::new(Severity::Usage, words),
        Some(Err(error)) => Finding::new(Severity::Environment, error.to_string()),
    }
}

/// What to say of a file with a key in it that others than its owner may read or write.
pub(super) fn open_to_others(path: &Path) -> io::Result<Option<String>> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    let path = quoted(path);
    let words = format!("others may read the key in it (mode {mode:o}): chmod 600 {path}");
    Ok((mode & 0o077 != 0).then_some(words))
}

fn certificate(bundle: &Bundle) -> Finding {
    let facts = match bundle.check().and_then(|()| bundle.credentials.facts()) {
        Ok(facts) => facts,
        Err(error) => return Finding::new(Severity::Environment, error.to_string()),
    };
    let left = facts.remaining(SystemTime::now());
    let words = format!(
        "{} of cluster {}, {} days left, {} lists of revoked ones",
        bundle.node,
        bundle.cluster,
        left.as_secs() / 86_400,
        bundle.revocations.len()
    );
    match left < CERTIFICATE_LEFT {
        true => Finding::new(Severity::Warning, format!("{words}: `cert renew` it soon")),
        false => Finding::fine(words),
    }
}

/// As in the logs, and as the certificates' dates are told.
fn now() -> String {
    let mut text = String::new();
    match LogTime.format_time(&mut Writer::new(&mut text)) {
        Ok(()) => text,
        Err(_) => String::from("no date that can be told"),
    }
}

/// Whether the node can have its port, or has it.
fn port(bundle: &Bundle, runs: bool) -> Finding {
    let (node, listen) = (bundle.node, bundle.listen);
    let wrong = |words| Finding::new(Severity::Environment, words);
    match UdpSocket::bind(listen) {
        Ok(_) => Finding::fine(format!("{listen}/udp is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match runs {
            true => Finding::fine(format!("{node} runs at {listen}/udp already")),
            false => wrong(format!(
                "{listen}/udp is taken, by {node} itself if that runs and does not tell of itself at \
                 this admin port: end the other program, or change `listen`"
            )),
        },
        Err(error) => wrong(format!("cannot listen on {listen}/udp: {error}")),
    }
}

/// Whether the node can tell of itself, or does.
fn admin_port(address: SocketAddr, runs: bool) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::fine(format!("{address}/tcp is free")),
        Err(_) if runs => Finding::fine(format!("it tells of itself at {address}/tcp")),
        Err(error) => {
            let Problem { what, hint, .. } = untold(address, &error);
            let words = format!("{what}: {}", hint.unwrap_or_default());
            Finding::new(Severity::Environment, words)
        }
    }
}

fn buffers(limits: &Limits) -> Finding {
    let asked = limits.socket_buffer_bytes;
    match granted_buffer_bytes(limits) {
        Ok(granted) if asked <= granted => Finding::fine(format!("{granted} bytes")),
        Ok(granted) => Finding::new(
            Severity::Warning,
            format!(
                "the system grants {granted} of {asked} bytes, and packets are lost under load: \
                 sysctl -w net.core.rmem_max={asked} net.core.wmem_max={asked}"
            ),
        ),
        Err(error) => Finding::new(Severity::Environment, error.to_string()),
    }
}

/// What is in the store, unless it is in use by another process than that of the node itself.
fn store_at(directory: &Path, process: Option<u32>, program: &Catalogue) -> Finding {
    let is_own = |holder: &str| process.is_some_and(|own| own.to_string() == holder);
    match check_unlocked(directory) {
        Err(StoreError::Locked { holder, .. }) if is_own(&holder) => content(directory, program),
        Err(error) => Finding::new(Severity::Environment, error.to_string()),
        Ok(()) => content(directory, program),
    }
}

fn content(directory: &Path, program: &Catalogue) -> Finding {
    let name = directory.display();
    match check_unfenced(directory).and_then(|()| inspect_store(directory)) {
        Err(error @ StoreError::Fenced { .. }) => {
            Finding::new(Severity::Environment, error.to_string())
        }
        Ok(found) => match (found.suits(&program.records()), writable(directory)) {
            (Err(error), _) => Finding::new(Severity::Usage, format!("{name}: {error}")),
            (Ok(()), Ok(())) => {
                let (bytes, life) = (found.intact_bytes, found.incarnation);
                Finding::fine(format!("{name} is sound: {bytes} bytes, life {life}"))
            }
            (Ok(()), Err(error)) => unwritable(directory, &error),
        },
        Err(StoreError::Log { cause, .. }) => {
            let more = typed(format!("store check {}", quoted(directory)));
            let words = format!("{name}: {cause}: `{more}` says more");
            Finding::new(Severity::Usage, words)
        }
        Err(_) if !directory.exists() => match directory.parent().map(writable) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                unwritable(directory, &error)
            }
            _ => Finding::fine(format!("{name} will be made")),
        },
        Err(_) => match writable(directory) {
            Ok(()) => Finding::fine(format!("{name} is empty, and can be written")),
            Err(error) => unwritable(directory, &error),
        },
    }
}

fn unwritable(directory: &Path, error: &io::Error) -> Finding {
    let words = format!("{} cannot be written: {error}", directory.display());
    Finding::new(Severity::Environment, words)
}

/// Whether there is room for a file in a directory, and leave to make it; it is removed again.
fn writable(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let path = directory.join(format!(".doctor.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let written = file.write_all(&[0; ROOM_BYTES]).and_then(|()| file.sync_all());
    fs::remove_file(&path)?;
    written
}

/// What a peer says of itself, to a node that handles these events.
fn introduced(at: &str, peer: &Presence, handled: &[WireEvent]) -> Finding {
    let Presence { round_trip, ours, theirs, events } = peer;
    let speaks = if ours == theirs {
        format!("speaks {theirs}")
    } else {
        format!("speaks {theirs}, and this program {ours}")
    };
    let round_trip = round_trip.as_secs_f64() * 1e3;
    let words = format!("shakes hands at {at}, round trip {round_trip:.1} ms, {speaks}");
    let Some(events) = events else {
        return Finding::fine(format!("{words}; does not tell which events it handles"));
    };
    let other = handled.iter().find_map(|event| other_schema(event, *events.get(&event.name)?));
    if let Some(other) = other {
        return Finding::new(Severity::Environment, format!("{words}; {other}"));
    }
    let lacking = handled.iter().filter(|event| !events.contains_key(&event.name));
    let lacking: Vec<&str> = lacking.map(|event| event.name.as_str()).collect();
    let lacking_all = lacking.len() == handled.len() && !events.is_empty();
    match lacking.as_slice() {
        [] => Finding::fine(words),
        _ if lacking_all => Finding::new(
            Severity::Environment,
            format!(
                "{words}; handles no event that this node does: run the same algorithm on both"
            ),
        ),
        _ => Finding::new(
            Severity::Warning,
            format!("{words}; does not handle {}, which is not sent to it", lacking.join(", ")),
        ),
    }
}

/// What to say of an event that a peer takes for something else than this program does.
fn other_schema(event: &WireEvent, theirs: Schema) -> Option<String> {
    let WireEvent { name, layout, .. } = event;
    let ours = Schema::of_layout(layout);
    let words = format!(
        "the fields of `{name}` are not the same there (schema {theirs}) and here (schema {ours}, {layout}): \
         run the same program on both, or give the changed event a new name"
    );
    (ours != theirs).then_some(words)
}

/// Asks every peer at once that has an address; where the others are, they tell.
fn peers(
    bundle: &Bundle,
    limits: &Limits,
    handled: &[WireEvent],
) -> Result<Vec<(NodeId, Finding)>, Problem> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::environment("no handshake can be made", &error))?;
    let mut attempts = JoinSet::new();
    for peer in bundle.peers.keys().copied().filter(|peer| *peer != bundle.node) {
        let (bundle, limits, handled) = (bundle.clone(), limits.clone(), handled.to_vec());
        let attempt = async move {
            let at = bundle.peers.get(&peer).map_or("", String::as_str);
            let finding = match probe(&bundle, &limits, peer).await {
                Ok(presence) => introduced(at, &presence, &handled),
                Err(error) => Finding::new(Severity::Environment, error.to_string()),
            };
            (peer, finding)
        };
        attempts.spawn_on(attempt, runtime.handle());
    }
    let mut found = runtime.block_on(attempts.join_all());
    let others = bundle.nodes().into_iter().filter(|node| !bundle.peers.contains_key(node));
    let others = others.filter(|node| *node != bundle.node);
    found.extend(others.map(|node| (node, Finding::fine("is found through the others"))));
    found.sort_by_key(|(peer, _)| *peer);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use synod_algorithms::Paxos;
    use synod_core::{Envelope, EventId, Instance, Tag};
    use synod_runtime::{FileStore, Store};

    use super::*;

    #[test]
    fn a_peer_whose_event_has_other_fields_is_told_with_both_schemas_and_the_fields_here() {
        let event = WireEvent {
            id: EventId::of("vote"),
            name: String::from("vote"),
            layout: String::from("{term: u64}"),
            bytes_max: Envelope::BYTES_MAX,
        };
        let ours = Schema::of_layout(&event.layout);
        let found = |schema| {
            let events = Some([(String::from("vote"), schema)].into());
            let [ours, theirs] = ["synod/7"; 2].map(String::from);
            let presence = Presence { round_trip: Duration::ZERO, ours, theirs, events };
            introduced("a:1", &presence, std::slice::from_ref(&event))
        };
        assert_eq!(found(ours).severity, Severity::Fine);
        let Finding { severity, words } = found(Schema(0xfeed));
        assert_eq!(severity, Severity::Environment);
        let told = format!(
            "`vote` are not the same there (schema 000000000000feed) and here (schema {ours}, {{term: u64}})"
        );
        assert!(words.contains(&told), "{words}");
    }

    #[test]
    fn a_store_whose_records_this_program_would_misread_is_told_with_both_schemas() {
        let app = App::new().algorithm::<Paxos>();
        let program = app.entry(None).unwrap().catalogue().unwrap();
        let (name, known) = program.records().into_iter().next().unwrap();
        let directory = std::env::temp_dir().join(format!("synod-doctor-{}", std::process::id()));
        let mut store = FileStore::new(&directory);
        store.expect([(name, Schema(0xfeed))].into());
        store.open().unwrap();
        let body = Vec::new().into();
        let record = Envelope::from_parts(EventId::of(name), Instance::ROOT, Tag::Plain, body);
        store.append(&record).unwrap();
        store.sync().unwrap();
        drop(store);
        let Finding { severity, words } = content(&directory, &program);
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(severity, Severity::Usage, "{words}");
        let told = format!("(schema 000000000000feed) than this program has (schema {known})");
        assert!(words.contains(name) && words.contains(&told), "{words}");
    }
}
