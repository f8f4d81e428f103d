//! `node`: one node, from its bundle, until it is told to end.

use std::any::Any;
use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde_json::json;
use synod_core::{Catalogue, Envelope, Faults, Model, NodeId, Takes, Transport, Workload};
use synod_runtime::{
    EndReason, FileStore, Limits, NodeBuilder, NodeHandle, Output, ShutdownReport, StartError,
    Status, StoreError,
};
use synod_transport_quic::{Bundle, QuicTransport};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::doctor::open_to_others;
use super::told_to_end::ToldToEnd;
use crate::app::{App, Outcome};
use crate::args::Node;
use crate::entry::Entry;
use crate::operating::admin::{self, Subject, VERSION};
#[cfg(feature = "otel")]
use crate::operating::otlp::Collector;
use crate::operating::recordings::Recordings;
use crate::operating::renewal::{self, CertificateEnd, Files};
use crate::operating::service::{self, Systemd};
use crate::operating::settings::{LogFormat, Settings};
use crate::printer::{Printer, shown, typed_instead};
use crate::problem::{Exit, Problem, chain};

/// How often the node looks whether there is something to report.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How long a node that is told to end may take for what it has begun.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of an event that the log shows as it is: a piece of a transfer would fill it.
const SHOWN_BYTES_MAX: usize = 1_024;
/// How long a question of the workload may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long what is left behind may take to return.
const LEFT_BEHIND: Duration = Duration::from_millis(100);

pub(crate) fn run(app: &App, asked: &Node, printer: &Printer) -> Result<(), Problem> {
    let settings = Settings::of(asked)?;
    log_to_stderr(&settings);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::environment("no threads for the node", &error))?;
    to_the_end(runtime, serve(app, asked, settings, printer))
}

/// Does `work`. What has a thread then and does not return, as a handler that is hung, does not keep the process.
fn to_the_end<T>(runtime: Runtime, work: impl Future<Output = T>) -> T {
    let outcome = runtime.block_on(work);
    runtime.shutdown_timeout(LEFT_BEHIND);
    outcome
}

fn log_to_stderr(settings: &Settings) {
    let lines = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from(settings.level))
        .with_writer(io::stderr)
        // Whoever reads may have left: telling that of a line on the same output would panic, wherever it is logged.
        .log_internal_errors(false)
        .with_target(false)
        .with_ansi(false);
    // Those of the actors have numbers, which say nothing: every line names its node.
    let no_spans = || filter_fn(|about| !about.is_span());
    // A program that has set up logging of its own keeps it.
    let _ = match settings.format {
        LogFormat::Text => lines.finish().with(no_spans()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().with(no_spans()).try_init(),
    };
}

async fn serve(
    app: &App,
    asked: &Node,
    settings: Settings,
    printer: &Printer,
) -> Result<(), Problem> {
    let entry = app.entry(settings.algorithm.as_deref());
    let entry = entry.map_err(|problem| blame_the_file(asked, problem))?;
    let bundle = read(asked)?;
    settings.check_lists(&bundle)?;
    let seeded = settings.applied_to(&bundle)?;
    let handled = settings.program(app)?.from_the_wire();
    let transport = Arc::new(open(asked, &settings, &bundle, &seeded)?);
    #[cfg(feature = "otel")]
    let collector = asked.otlp.as_deref().map(Collector::of).transpose()?;
    // Nobody has linked with the node if this fails.
    let admin = open_admin(settings.admin.address(&seeded)).await?;
    // Before anybody can know that the node is there, and tell it to end.
    let mut told_to_end = ToldToEnd::new(asked.exit_with_stdin);
    let started = builder(entry, &settings, &bundle, &transport).start().await;
    let node = started.map_err(|error| does_not_start(&error))?;
    let certificate_end = CertificateEnd::of(&bundle).ok_or_else(|| {
        Problem::new(Exit::Environment, "the certificate in the bundle cannot be read")
    })?;
    let files = Files::default();
    let subject = Arc::new(Subject {
        displaced: AtomicU64::new(0),
        node: node.clone(),
        algorithm: entry.name(),
        certificate_end: certificate_end.clone(),
        files: files.clone(),
        bytes_per_peer_max: settings.limits.bytes_per_peer_max(&handled),
        transport: Arc::clone(&transport),
        recordings: Recordings::new(settings.recordings.clone(), settings.record.clone()),
    });
    let told_at = admin.as_ref().and_then(|it| it.local_addr().ok());
    if let Some(listener) = admin {
        tokio::spawn(admin::serve(listener, Arc::clone(&subject)));
    }
    warn_of_amnesia(&node, entry, settings.store.is_some());
    announce(&node, entry.name(), transport.local_address(), told_at, printer);
    // The first reader of the outputs is told all of them.
    let client = app.client.as_ref().map(|begin| tokio::spawn(begin(node.clone(), node.outputs())));
    tokio::spawn(service::tell(node.clone()));
    tokio::spawn(speak(node.clone()));
    tokio::spawn(renewal::watch(asked.bundle.clone(), bundle, transport, certificate_end, files));
    if asked.workload {
        tokio::spawn(ask(node.clone(), entry.workload()));
    }
    #[cfg(feature = "otel")]
    let _exporter = collector.map(|collector| collector.sent(subject));
    until_the_end(&node, &mut told_to_end, client, printer).await
}

/// Opens the node's socket; `seeded` is the bundle with the addresses of the settings.
fn open(
    asked: &Node,
    settings: &Settings,
    bundle: &Bundle,
    seeded: &Bundle,
) -> Result<QuicTransport, Problem> {
    let opened = QuicTransport::new(seeded, settings.limits.clone()).map_err(|error| {
        let file = bundle.check().is_err().then(|| format!("`{}`: ", asked.bundle.display()));
        let what = file.unwrap_or_default() + &error.to_string();
        let doctor = typed_instead("node", "doctor");
        Problem::new(Exit::Environment, what).hint(match is_taken(seeded.listen) {
            true => format!("{} may run here already, which tells: {doctor}", bundle.node),
            false => format!("to find out more: {doctor}"),
        })
    })?;
    Ok(match settings.taken_lists() {
        Some(file) => opened.keeping_lists_in(file),
        None => opened,
    })
}

/// Whether somebody has the UDP port already.
fn is_taken(address: SocketAddr) -> bool {
    UdpSocket::bind(address).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// The node as the settings want it.
fn builder(
    entry: &dyn Entry,
    settings: &Settings,
    bundle: &Bundle,
    transport: &Arc<QuicTransport>,
) -> NodeBuilder {
    let mut builder = entry
        .node(bundle.node, bundle.nodes().into_iter().collect())
        .transport(Arc::clone(transport) as Arc<dyn Transport>)
        .limits(Limits { hung_after: settings.hung_after, ..Limits::default() })
        .on_panic(settings.on_panic)
        .start_after(settings.start_after);
    if let Some(directory) = &settings.store {
        let owner = owner(bundle, entry.name());
        builder = builder.store(Box::new(FileStore::new(directory).owned_by(owner)));
    }
    if let Some(file) = &settings.record {
        builder = builder.record(entry.name(), file);
    }
    builder
}

/// Whose a store of the node is that runs this algorithm.
pub(super) fn owner(bundle: &Bundle, algorithm: &str) -> String {
    format!("{} of cluster {}, {algorithm}", bundle.node, bundle.cluster)
}

/// What to know of a restart, where the algorithm writes down nothing that a node could go on from.
pub(super) fn forgets(algorithm: &str, model: &Model) -> Option<String> {
    matches!(model.faults, Faults::None | Faults::CrashStop(_)).then(|| {
        format!(
            "{algorithm} counts a node that has ended as gone for good: one that is started again has forgotten all, \
             and is to be a node of another name"
        )
    })
}

/// A store tells that this is not the first life.
fn warn_of_amnesia(node: &NodeHandle, entry: &dyn Entry, has_store: bool) {
    let life = node.status().incarnation;
    if has_store
        && 1 < life
        && let Some(words) = forgets(entry.name(), &entry.model())
    {
        tracing::warn!(node = %node.id(), life, "{words}");
    }
}

/// Says that the node runs, and where it can be reached.
fn announce(
    node: &NodeHandle,
    algorithm: &str,
    address: SocketAddr,
    admin: Option<SocketAddr>,
    printer: &Printer,
) {
    let at = admin.map(tracing::field::display);
    tracing::info!(node = %node.id(), algorithm, version = VERSION, admin = at, "the node tells of itself");
    let pages = admin.map(|admin| format!(" · tells of itself at http://{admin}/status"));
    let pages = pages.unwrap_or_default();
    printer.say(format!("{} runs {algorithm} · listens on {address}/udp{pages}", node.id()));
    printer.event(&json!({
        "event": "started", "node": node.id().to_string(), "algorithm": algorithm,
        "address": address.to_string(), "incarnation": node.status().incarnation,
        "admin": admin.map(|admin| admin.to_string()), "version": VERSION,
    }));
}

/// Reports what happens, until the node ends or is told to, or its client fails.
async fn until_the_end(
    node: &NodeHandle,
    told_to_end: &mut ToldToEnd,
    client: Option<JoinHandle<Outcome>>,
    printer: &Printer,
) -> Result<(), Problem> {
    let reason = tokio::select! {
        reason = report(node, printer) => reason,
        () = told_to_end.told() => {
            return drain(node, told_to_end, printer).await;
        }
        failed = failure(client) => {
            let _is_told = drain(node, told_to_end, printer).await;
            let error = failed.unwrap_or_else(|panic| resume_unwind(panic));
            let what = format!("the client of {} has failed: {}", node.id(), chain(&*error));
            return Err(Problem::new(Exit::Environment, what));
        }
    };
    if reason == EndReason::Shutdown {
        printer.say(format!("{} has ended: {reason}", node.id())); // Nobody but the client can have ended it so.
        return Ok(());
    }
    Err(ended(node, &reason))
}

/// A node that has ended by itself.
fn ended(node: &NodeHandle, reason: &EndReason) -> Problem {
    let what = format!("{} has ended: {reason}", node.id());
    match reason {
        EndReason::Outdated(_) => Problem::new(Exit::Violated, what).hint(
            "do not start it again with this store, if it has one: end the other process, or bring back the newest store",
        ),
        _ => Problem::new(Exit::Environment, what),
    }
}

/// Resolves with what a client has failed of, or with its panic.
async fn failure(
    client: Option<JoinHandle<Outcome>>,
) -> Result<Box<dyn Error + Send + Sync>, Box<dyn Any + Send>> {
    let ended = match client {
        Some(client) => client.await,
        None => Ok(Ok(())),
    };
    match ended.map_err(JoinError::try_into_panic) {
        Ok(Err(error)) => Ok(error),
        Err(Ok(panic)) => Err(panic),
        // It has done what it is for, or the program ends.
        Ok(Ok(())) | Err(Err(_)) => std::future::pending().await,
    }
}

/// Whoever starts nodes anew when they fail is not to try an old store over and over.
fn does_not_start(error: &StartError) -> Problem {
    let problem = Problem::environment("the node does not start", error);
    match error {
        StartError::Store(StoreError::Fenced { .. }) => Problem { exit: Exit::Violated, ..problem },
        _ => problem,
    }
}

/// Names the file and the key behind an unknown algorithm, unless a flag has named it.
fn blame_the_file(asked: &Node, problem: Problem) -> Problem {
    match &asked.config {
        Some(file) if asked.algorithm.is_none() => {
            let what = format!("`{}`: key `algorithm`: {}", file.display(), problem.what);
            Problem { what, ..problem }
        }
        _ => problem,
    }
}

/// Ends the node in good order, or at once when it is told a second time, and says what was not
/// done.
async fn drain(
    node: &NodeHandle,
    told_to_end: &mut ToldToEnd,
    printer: &Printer,
) -> Result<(), Problem> {
    Systemd::of_environment().inspect(|systemd| systemd.hears("STOPPING=1"));
    printer.say(format!("{} drains for {DRAIN_WITHIN:?} at most", node.id()));
    printer.event(&json!({"event": "draining", "node": node.id().to_string()}));
    let (report, until) = tokio::select! {
        report = node.shutdown(DRAIN_WITHIN) => (report, format!("within {DRAIN_WITHIN:?}")),
        () = told_to_end.told() => {
            (node.shutdown(Duration::ZERO).await, String::from("when it was told to end again"))
        }
    };
    let reason = node.wait().await;
    if reason != EndReason::Shutdown {
        return Err(ended(node, &reason)); // It has ended amid what was left to do.
    }
    let words = words(&report, &until);
    printer.say(format!("{} ends: {words}", node.id()));
    printer.event(&json!({
        "event": "stopped", "drained": report.is_complete(), "held": report.held,
        "jobs": report.jobs, "timers": report.timers,
        "unhandled": report.unhandled.values().sum::<usize>(),
        "unacknowledged": report.unacknowledged.values().sum::<u64>(),
    }));
    if report.is_complete() {
        return Ok(());
    }
    let what = format!("{} has ended with something undone", node.id());
    Err(Problem { told: true, ..Problem::new(Exit::Inconclusive, what) })
}

/// Opens the admin port, if there is to be one. Nobody is answered yet.
async fn open_admin(address: Option<SocketAddr>) -> Result<Option<TcpListener>, Problem> {
    let Some(address) = address else { return Ok(None) };
    TcpListener::bind(address).await.map(Some).map_err(|error| untold(address, &error))
}

/// The admin port cannot be had.
pub(super) fn untold(address: SocketAddr, error: &io::Error) -> Problem {
    let what = format!("cannot tell of the node at {address}/tcp");
    let hint = "choose another port by --admin 127.0.0.1:PORT, or none by --admin off";
    Problem::environment(what, error).hint(hint)
}

/// What an orderly end came to.
fn words(report: &ShutdownReport, until: &str) -> String {
    if report.is_complete() {
        return String::from("everything that it took is done");
    }
    let events = report.unhandled.iter().map(|(name, events)| format!("{events} {name}"));
    let unhandled: Vec<String> = events.collect();
    let unacknowledged = report.unacknowledged.iter();
    let unacknowledged: Vec<String> =
        unacknowledged.map(|(peer, events)| format!("{events} of {peer}")).collect();
    format!(
        "not done {until}: {} effects and records held, {} jobs, events: [{}], \
         not acknowledged: [{}]",
        report.held,
        report.jobs,
        unhandled.join(", "),
        unacknowledged.join(", "),
    )
}

fn read(asked: &Node) -> Result<Bundle, Problem> {
    let hint = "make bundles with `cert init` and `cert issue`";
    let bundle = Bundle::read(&asked.bundle).map_err(|it| Problem::of_file(&it).hint(hint))?;
    // Who cannot be asked about it has been read all the same.
    for file in Bundle::secret_files(&asked.bundle).into_iter().flatten() {
        if let Ok(Some(words)) = open_to_others(&file) {
            tracing::warn!(node = %bundle.node, bundle = %asked.bundle.display(), "{words}");
        }
    }
    bundle.check_form().map_err(|error| {
        let what = format!("`{}`: {error}", asked.bundle.display());
        Problem::new(Exit::Usage, what).hint(hint)
    })?;
    Ok(bundle)
}

/// Logs what the algorithms indicate.
async fn speak(node: NodeHandle) {
    let mut outputs = node.outputs();
    while let Some(output) = outputs.next().await {
        match output {
            Output::Event(envelope) => {
                tracing::info!(node = %node.id(), "{}", line(node.catalogue(), &envelope));
            }
            Output::Gap { missed } => {
                tracing::warn!(node = %node.id(), missed, "outputs were not read in time");
            }
        }
    }
}

/// An event for the log: of a large one only what it is called, and its size.
fn line(catalogue: &Catalogue, event: &Envelope) -> String {
    let bytes = event.body().len();
    match bytes <= SHOWN_BYTES_MAX {
        true => catalogue.show(event),
        false => format!("{}, {bytes} bytes", catalogue.name(event.event())),
    }
}

/// Asks for what the algorithm's workload says of this node.
async fn ask(node: NodeHandle, workload: Workload) {
    let began = Instant::now();
    let inputs = || workload.inputs().filter(|(to, ..)| *to == node.id());
    if inputs().next().is_none() {
        tracing::warn!(node = %node.id(), "the workload asks for nothing at this node");
    }
    for (_, at, envelope) in inputs() {
        tokio::time::sleep_until(began + *at).await;
        let handled = node.catalogue().handled(envelope.event());
        if handled.is_some_and(|it| it.takes == Takes::Calls) {
            tokio::spawn(answer(node.clone(), envelope.clone()));
        } else if let Err(error) = node.trigger_sealed(envelope).await {
            tracing::warn!(node = %node.id(), "not asked for: {error}");
        }
    }
}

/// Logs what a question is answered.
async fn answer(node: NodeHandle, question: Envelope) {
    match node.ask_sealed(&question, ANSWER_WITHIN).await {
        Ok(answer) => tracing::info!(node = %node.id(), "{}", line(node.catalogue(), &answer)),
        Err(error) => {
            let question = line(node.catalogue(), &question);
            tracing::warn!(node = %node.id(), question, "not answered: {error}");
        }
    }
}

/// Tells every change of the state and of the links, until the node ends.
async fn report(node: &NodeHandle, printer: &Printer) -> EndReason {
    let ended = node.wait();
    tokio::pin!(ended);
    let mut told = Told::default();
    loop {
        told.tell(&node.status(), printer);
        tokio::select! {
            reason = &mut ended => return reason,
            () = tokio::time::sleep(LOOK_EVERY) => (),
        }
    }
}

/// What was told last.
#[derive(Default)]
struct Told {
    summary: Vec<(String, String)>,
    links: BTreeMap<NodeId, bool>,
    errors: BTreeMap<NodeId, String>,
}

impl Told {
    fn tell(&mut self, status: &Status, printer: &Printer) {
        if self.summary != status.summary {
            self.summary.clone_from(&status.summary);
            let words: Vec<String> =
                self.summary.iter().map(|(name, value)| format!("{name}:{value}")).collect();
            printer.say(format!("{} {}", status.id, shown(&words.join(" "))));
            let fields: BTreeMap<_, _> = self.summary.iter().cloned().collect();
            printer.event(&json!({
                "event": "state", "node": status.id.to_string(), "summary": fields,
            }));
        }
        for peer in &status.peers {
            let (id, node) = (peer.peer, status.id);
            if self.links.insert(id, peer.up).unwrap_or(false) != peer.up {
                let words = if peer.up { "up" } else { "down" };
                printer.say(format!("{node} {id} is {words}"));
                printer.event(&json!({
                    "event": "link", "node": node.to_string(), "peer": id.to_string(),
                    "up": peer.up, "incarnation": peer.incarnation,
                }));
            }
            if let Some(error) = peer.last_error.as_ref().filter(|_| !peer.up)
                && self.errors.insert(id, error.clone()).as_ref() != Some(error)
            {
                printer.event(&json!({
                    "event": "unreachable", "node": node.to_string(), "peer": id.to_string(),
                    "why": error,
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use serde::Serialize;
    use synod_algorithms::{Bulk, transfer::bulk};
    use synod_core::{Algorithm, Context, Event, Handlers};
    use synod_runtime::{MemoryNetwork, PanicPolicy};
    use synod_simulator::Scenario;
    use tokio::sync::oneshot;

    use super::*;
    use crate::entry::Registered;
    use crate::look::Look;

    #[derive(Event, Debug, Serialize, serde::Deserialize)]
    #[event(name = "test.fall", local)]
    struct Fall;

    /// Panics a while after it is asked to.
    #[derive(Clone, Debug, Default, Hash, Serialize)]
    struct Fragile;

    impl Algorithm for Fragile {
        const NAME: &'static str = "fragile";

        fn handlers() -> Handlers<Self> {
            Handlers::new().on(Self::fall)
        }
    }

    impl Fragile {
        fn fall(&mut self, _: Fall, _: &mut Context) {
            std::thread::sleep(Duration::from_millis(200));
            panic!("it falls");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_node_that_ends_by_itself_while_it_drains_has_not_done_everything() {
        let (network, id) = (MemoryNetwork::new(), NodeId(1));
        let builder = NodeBuilder::new(id, vec![id], Fragile::default)
            .transport(Arc::new(network.transport(id)))
            .on_panic(PanicPolicy::Stop);
        let node = builder.start().await.expect("it starts");
        let mut told_to_end = ToldToEnd::new(false);
        node.trigger(&Fall).await.expect("it is taken");
        let drained = drain(&node, &mut told_to_end, &Printer::new(Look::default())).await;
        let problem = drained.expect_err("a handler has panicked");
        assert_eq!(problem.exit, Exit::Environment);
        assert!(problem.what.contains("n1 has ended: "), "{}", problem.what);
        assert!(problem.what.contains("it falls"), "{}", problem.what);
    }

    #[test]
    fn of_a_large_event_the_log_has_its_name_and_its_size() {
        let known = Registered(Scenario::of(|_| Bulk::default())).catalogue().expect("it fits");
        let arrived = |size: usize| {
            let bytes = vec![7; size];
            let event = bulk::Arrived { from: NodeId(2), transfer: 1, at: 0, bytes };
            line(&known, &Envelope::seal(&event))
        };
        assert_eq!(arrived(1), "Arrived { from: n2, transfer: 1, at: 0, bytes: [7] }");
        assert_eq!(arrived(32_768), "bulk.arrived, 32774 bytes");
    }

    #[test]
    fn a_handler_that_does_not_return_does_not_keep_the_process() {
        let (let_go, hangs) = channel::<()>();
        let (done, is_done) = channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
            let outcome = to_the_end(runtime.expect("threads"), async {
                let (began, has_begun) = oneshot::channel();
                tokio::spawn(async move {
                    let _ = began.send(());
                    let _ = hangs.recv();
                });
                has_begun.await
            });
            done.send(outcome).expect("somebody waits");
        });
        let outcome = is_done.recv_timeout(Duration::from_secs(30));
        assert!(outcome.is_ok_and(|outcome| outcome.is_ok()), "it was waited for");
        drop(let_go);
    }
}
