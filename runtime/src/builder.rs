//! How a node comes up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use synod_core::{
    Acknowledgement, Boot, BuildError, Input, LaneId, Machine, Node, NodeId, Property, Stack,
    Transport, TransportError, Watched,
};

use crate::barrier;
use crate::cell::Stepped;
use crate::clocks;
use crate::failure::PanicPolicy;
use crate::handle::NodeHandle;
use crate::host::{Host, Ledger, Make, Parts};
use crate::inbox::Mailbox;
use crate::limits::Limits;
use crate::on_demand::origin;
use crate::recorder::Recorder;
use crate::standstill;
use crate::store::writer::{Beginning, Writer};
use crate::store::{MemoryStore, Opened, Store, StoreError};
use crate::supervisor;

/// A node that is not yet running.
///
/// ```
/// # use std::sync::Arc;
/// # use synod_core::{Event, HandlerSet, NodeId};
/// # use synod_runtime::{MemoryNetwork, NodeBuilder};
/// # #[derive(Event, Debug, serde::Serialize, serde::Deserialize)]
/// # #[event(name = "doc.tick")]
/// # struct Tick;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let network = MemoryNetwork::new();
/// let make = || HandlerSet::new(0_u32).on(|ticks: &mut u32, _: Tick| *ticks += 1);
/// let node = NodeBuilder::new(NodeId(1), vec![NodeId(1)], make)
///     .transport(Arc::new(network.transport(NodeId(1))))
///     .start()
///     .await?;
/// node.trigger(&Tick).await?;
/// let report = node.shutdown(std::time::Duration::from_secs(5)).await;
/// assert!(report.is_complete());
/// # Ok(())
/// # }
/// ```
pub struct NodeBuilder {
    id: NodeId,
    peers: Vec<NodeId>,
    build: Build,
    transport: Option<Arc<dyn Transport>>,
    store: Box<dyn Store>,
    policy: PanicPolicy,
    limits: Limits,
    seed: u64,
    record: Option<(String, PathBuf)>,
    acknowledgement: Acknowledgement,
    acknowledgements: BTreeMap<LaneId, Acknowledgement>,
    start_after: usize,
}

/// Makes the machine of one life.
type Build = Box<dyn Fn(Boot) -> Result<Box<dyn Machine>, BuildError> + Send + Sync>;

/// Why a node did not come up. Nothing of it is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The algorithms do not fit together, or not into the cluster.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The transport does not start.
    #[error("the transport does not start: {0}")]
    Transport(#[from] TransportError),
    /// The builder was given no transport.
    #[error("the node has no transport: call `NodeBuilder::transport`")]
    NoTransport,
    /// The records of the store are not those of this node's algorithms.
    #[error("the records cannot be restored: {0}")]
    Recovery(String),
    /// The first step panicked.
    #[error("the algorithm panicked when it was started: {0}")]
    Panicked(String),
    /// The file of the recording cannot be written, or holds something else. It is left as it is.
    #[error("cannot record to {path}: {cause}", path = path.display())]
    Recording {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: std::io::Error,
    },
    /// The operating system gives no thread, or the actors did not come up.
    #[error("cannot start {what}: {cause}")]
    Spawn {
        /// What was to be started.
        what: &'static str,
        /// Why it was not.
        cause: String,
    },
}

impl NodeBuilder {
    /// A node of a cluster of `peers`, itself included; `make` makes the algorithms in the state
    /// of a new node, at each start of a life.
    pub fn new<T: Stack>(
        id: NodeId,
        peers: Vec<NodeId>,
        make: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        Self::of(id, peers, move |boot| Ok(Box::new(Node::new(boot, make())?)))
    }

    /// The same, held to those of `properties` that are about [single nodes](Property::local): where one is violated
    /// after a step, nothing of the step leaves the node, and what follows is what follows a panic.
    pub fn watched<T: Stack>(
        id: NodeId,
        peers: Vec<NodeId>,
        make: impl Fn() -> T + Send + Sync + 'static,
        properties: &[Property<T>],
    ) -> Self {
        let local = properties.iter().filter(|property| property.is_local()).cloned();
        let local: Arc<[Property<T>]> = local.collect();
        if local.is_empty() {
            return Self::new(id, peers, make);
        }
        Self::of(id, peers, move |boot| {
            Ok(Box::new(Watched::new(Node::new(boot, make())?, Arc::clone(&local))))
        })
    }

    fn of(
        id: NodeId,
        peers: Vec<NodeId>,
        build: impl Fn(Boot) -> Result<Box<dyn Machine>, BuildError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            id,
            peers,
            build: Box::new(build),
            transport: None,
            store: Box::new(MemoryStore::new()),
            policy: PanicPolicy::default(),
            limits: Limits::default(),
            seed: 0,
            record: None,
            acknowledgement: Acknowledgement::default(),
            acknowledgements: BTreeMap::new(),
            start_after: 0,
        }
    }

    /// What carries events to the peers. Required.
    #[must_use]
    pub fn transport(self, transport: Arc<dyn Transport>) -> Self {
        Self { transport: Some(transport), ..self }
    }

    /// What keeps durable records; a [`MemoryStore`] unless called. That of another node is refused.
    #[must_use]
    pub fn store(self, store: Box<dyn Store>) -> Self {
        Self { store, ..self }
    }

    /// What to do when a handler panics; [`PanicPolicy::Stop`] unless called.
    #[must_use]
    pub fn on_panic(self, policy: PanicPolicy) -> Self {
        Self { policy, ..self }
    }

    /// The bounds of the node.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// When events of peers are acknowledged to them; [`Acknowledgement::Received`] unless called.
    #[must_use]
    pub fn acknowledge(self, acknowledgement: Acknowledgement) -> Self {
        Self { acknowledgement, ..self }
    }

    /// The same for one lane, such as that of an algorithm with a name of its own:
    /// `LaneId(EventId::of(NAME).bits())`.
    #[must_use]
    pub fn acknowledge_lane(mut self, lane: LaneId, acknowledgement: Acknowledgement) -> Self {
        self.acknowledgements.insert(lane, acknowledgement);
        self
    }

    /// Starts the algorithms only when so many peers are linked at the same time; at once unless
    /// called. Events wait until then. More than there are peers means all of them. One that has come and gone as
    /// often as [`Limits::link_changes`] allows counts as well: it is let in again once they have started.
    ///
    /// Only the first life of a node waits: one that comes back from its store goes on at once,
    /// since those that it would wait for may be down by now.
    #[must_use]
    pub fn start_after(self, peers: usize) -> Self {
        Self { start_after: peers, ..self }
    }

    /// What feeds the random choices of the algorithms; 0 unless called.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Records what the node is fed in the file of `path`, under the name of its algorithm, so that
    /// the run can be replayed step by step.
    ///
    /// A thread of its own writes. If it falls behind [`Limits::recording_waiting_bytes`], or the
    /// file is full, the recording ends with a warning and the node goes on; the status counts the
    /// steps that are missing. What was recorded is in the file when [`NodeHandle::shutdown`] or
    /// [`NodeHandle::wait`] returns. A process that is killed leaves what was written so far.
    ///
    /// A new life of the node is a new section of the same file, whether it begins in the same
    /// process or in the next one, which first cuts off what a killed process left half written.
    /// Two processes must not record to one file at the same time.
    #[must_use]
    pub fn record(self, algorithm: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self { record: Some((algorithm.into(), path.into())), ..self }
    }

    /// Brings the node up: opens the store, runs the first step, starts transport and actors.
    ///
    /// What the first step sends waits until its receivers are linked. A node that starts after
    /// some peers are there is up before; if its first step fails then, that ends it.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left running.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with a clock.
    pub async fn start(self) -> Result<NodeHandle, StartError> {
        let Self {
            id, mut peers, build, transport, mut store, policy, limits, seed, record, ..
        } = self;
        let (acknowledgement, acknowledgements) = (self.acknowledgement, self.acknowledgements);
        let start_after = self.start_after.min(peers.iter().filter(|peer| **peer != id).count());
        let transport = transport.ok_or(StartError::NoTransport)?;
        peers.sort_unstable();
        peers.dedup();
        let members = peers.clone();
        let make: Make = Box::new(move |incarnation| {
            build(Boot { id, peers: members.clone(), incarnation, seed })
        });
        // A node that cannot be built leaves no trace in its store.
        let leaves_traces = record.is_some() || !store.opens_at_once();
        let built = leaves_traces.then(|| make(0)).transpose()?;
        let catalogue = built.map(|machine| machine.catalogue()).unwrap_or_default();
        store.expect(catalogue.records());
        store.own(id);
        let recorder = match record {
            None => None,
            Some((algorithm, path)) => {
                let boot = Boot { id, peers: peers.clone(), incarnation: 0, seed };
                let origin = origin(algorithm, boot, &catalogue);
                let opened = Recorder::open_elsewhere(path.clone(), origin, limits).await;
                Some(opened.map_err(|cause| StartError::Recording { path, cause })?)
            }
        };
        let (writer, waiting, opened, machine) = match open_store(store, &make, id).await {
            Ok(opened) => opened,
            Err(error) => {
                if let Some(recorder) = recorder {
                    recorder.tape().close().await;
                }
                return Err(error);
            }
        };
        let incarnation = opened.incarnation;
        let parts = Parts {
            id,
            peers,
            limits,
            policy,
            make,
            transport,
            writer,
            incarnation,
            recorder,
            seed,
            acknowledgement,
            acknowledgements,
        };
        let host = Arc::new(Host::new(parts, machine));
        match bring_up(&host, opened, waiting, start_after).await {
            Ok(()) => Ok(NodeHandle::new(host)),
            Err(error) => {
                host.end(crate::EndReason::Shutdown);
                host.put_away(Duration::ZERO).await;
                Err(error)
            }
        }
    }
}

/// Opens the store, and makes the machine of the life that begins with it.
async fn open_store(
    mut store: Box<dyn Store>,
    make: &Make,
    id: NodeId,
) -> Result<(Writer, Option<Beginning>, Opened, Box<dyn Machine>), StartError> {
    let at_once = store.opens_at_once().then(|| store.open()).transpose()?;
    let (writer, thread) = Writer::new(store);
    let (waiting, opened) = match at_once {
        Some(opened) => (Some(thread), opened),
        None => {
            begin_store(thread, id)?;
            let opened = writer.open().await;
            if opened.is_err() {
                // Whoever starts it anew must find the directory unlocked.
                writer.close().await;
            }
            (None, opened?)
        }
    };
    let machine = make(opened.incarnation)?;
    Ok((writer, waiting, opened, machine))
}

fn begin_store(thread: Beginning, id: NodeId) -> Result<(), StartError> {
    let began = thread.spawn(format!("{id} store"));
    began.map_err(|error| spawn_error("the thread of the store", &error))
}

async fn bring_up(
    host: &Arc<Host>,
    opened: Opened,
    store: Option<Beginning>,
    start_after: usize,
) -> Result<(), StartError> {
    host.count_torn(opened.torn_bytes);
    host.writer.observe(Box::new(Ledger(Arc::downgrade(host))));
    let waits = opened.first && 0 < start_after;
    if !waits {
        let input = if opened.first { Input::Start } else { Input::Recover(opened.records) };
        match host.begin(input).await {
            Stepped::Handled => (),
            Stepped::Refused(error) => return Err(StartError::Recovery(error.to_string())),
            Stepped::Died(panic) => return Err(StartError::Panicked(panic)),
        }
    }
    host.transport.start(host.hello(), Arc::new(Mailbox(Arc::downgrade(host))))?;
    // While hands are shaken, the others begin. What comes before they are there waits for them.
    host.links.keys().for_each(|peer| host.transport.connect(*peer));
    if let Some(store) = store {
        begin_store(store, host.id)?;
    }
    supervisor::spawn(host).await.map_err(|error| spawn_error("the supervisor", &error))?;
    tokio::spawn(clocks::watch(Arc::downgrade(host)));
    tokio::spawn(standstill::watch(Arc::downgrade(host)));
    tracing::info!(node = %host.id, incarnation = host.incarnation(), "the node is up");
    if waits {
        tracing::info!(node = %host.id, start_after, "waits for peers");
        tokio::spawn(barrier::wait(Arc::clone(host), start_after));
    }
    Ok(())
}

fn spawn_error(what: &'static str, cause: &dyn std::fmt::Display) -> StartError {
    StartError::Spawn { what, cause: cause.to_string() }
}

impl std::fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "builder of {}", self.id)
    }
}
