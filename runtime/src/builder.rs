//! How a node comes up.

use std::sync::Arc;

use synod_core::{
    Boot, BuildError, Input, Machine, Node, NodeId, Stack, Transport, TransportError,
};

use crate::cell::Stepped;
use crate::failure::PanicPolicy;
use crate::handle::NodeHandle;
use crate::host::{Host, Ledger, Make, Parts};
use crate::inbox::Mailbox;
use crate::limits::Limits;
use crate::store::writer::Writer;
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
        let build = move |boot| Ok(Box::new(Node::new(boot, make())?) as Box<dyn Machine>);
        Self {
            id,
            peers,
            build: Box::new(build),
            transport: None,
            store: Box::new(MemoryStore::new()),
            policy: PanicPolicy::default(),
            limits: Limits::default(),
            seed: 0,
        }
    }

    /// What carries events to the peers. Required.
    #[must_use]
    pub fn transport(self, transport: Arc<dyn Transport>) -> Self {
        Self { transport: Some(transport), ..self }
    }

    /// What keeps durable records; a [`MemoryStore`] unless called.
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

    /// What feeds the random choices of the algorithms; 0 unless called.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Brings the node up: opens the store, runs the first step, starts transport and actors.
    ///
    /// What the first step sends waits until its receivers are linked.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left running.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with a clock.
    pub async fn start(self) -> Result<NodeHandle, StartError> {
        let Self { id, mut peers, build, transport, store, policy, limits, seed } = self;
        let transport = transport.ok_or(StartError::NoTransport)?;
        peers.sort_unstable();
        peers.dedup();
        let members = peers.clone();
        let make: Make = Box::new(move |incarnation| {
            build(Boot { id, peers: members.clone(), incarnation, seed })
        });
        make(0)?; // A node that cannot be built leaves no trace in its store.
        let writer = Writer::spawn(format!("{id} store"), store)
            .map_err(|error| spawn_error("the thread of the store", &error))?;
        let opened = writer.open().await?;
        let machine = make(opened.incarnation)?;
        let incarnation = opened.incarnation;
        let parts = Parts { id, peers, limits, policy, make, transport, writer, incarnation };
        let host = Arc::new(Host::new(parts, machine));
        match bring_up(&host, opened).await {
            Ok(()) => Ok(NodeHandle::new(host)),
            Err(error) => {
                host.end(crate::EndReason::Shutdown);
                host.writer.close().await;
                Err(error)
            }
        }
    }
}

async fn bring_up(host: &Arc<Host>, opened: Opened) -> Result<(), StartError> {
    if 0 < opened.torn_bytes {
        tracing::warn!(node = %host.id, bytes = opened.torn_bytes, "cut a torn end off the log");
    }
    host.writer.observe(Box::new(Ledger(Arc::downgrade(host))));
    let input = if opened.first { Input::Start } else { Input::Recover(opened.records) };
    match host.cell.lock().await.engine.step(host, input) {
        Stepped::Handled => (),
        Stepped::Refused(error) => return Err(StartError::Recovery(error.to_string())),
        Stepped::Died(panic) => return Err(StartError::Panicked(panic)),
    }
    host.transport.start(host.hello(), Arc::new(Mailbox(Arc::downgrade(host))))?;
    supervisor::spawn(host).await.map_err(|error| spawn_error("the supervisor", &error))?;
    tracing::info!(node = %host.id, incarnation = host.incarnation(), "the node is up");
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
