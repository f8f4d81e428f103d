//! What the tests share: waiting on conditions, and nodes over the in-memory network.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Event, HandlerSet, Handlers, NodeId, Stack};
use synod_runtime::{EventStatus, MemoryNetwork, NodeBuilder, NodeHandle, Output, Outputs};

pub(crate) const N1: NodeId = NodeId(1);
pub(crate) const N2: NodeId = NodeId(2);

/// No condition of these tests takes longer on a machine that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `holds`.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited too long until {what}");
}

/// A number that travels, and one that only goes round in a node.
#[derive(Event, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "test.number")]
pub(crate) struct Number(pub(crate) u64);

/// Another event type.
#[derive(Event, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "test.word")]
pub(crate) struct Word(pub(crate) String);

/// What the application is told.
#[derive(Event, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "test.seen", local)]
pub(crate) struct Seen(pub(crate) u64);

/// What handlers of a test have seen, from any thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal<T>(Arc<Mutex<Vec<T>>>);

impl<T: Clone> Journal<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Vec::new())))
    }

    pub(crate) fn write(&self, line: T) {
        self.0.lock().expect("no test panics while it writes").push(line);
    }

    pub(crate) fn read(&self) -> Vec<T> {
        self.0.lock().expect("no test panics while it writes").clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().expect("no test panics while it writes").len()
    }
}

/// A builder of a node in a cluster of `size`.
pub(crate) fn node<T: Stack>(
    network: &MemoryNetwork,
    id: NodeId,
    size: u32,
    make: impl Fn() -> T + Send + Sync + 'static,
) -> NodeBuilder {
    let peers = (1..=size).map(NodeId).collect();
    NodeBuilder::new(id, peers, make).transport(Arc::new(network.transport(id)))
}

/// A node of no state with these handlers.
pub(crate) fn table(
    handlers: impl Fn() -> Handlers<()> + Send + Sync + 'static,
) -> impl Fn() -> HandlerSet<()> + Send + Sync + 'static {
    move || HandlerSet::with((), handlers())
}

pub(crate) async fn start(builder: NodeBuilder) -> NodeHandle {
    builder.start().await.expect("the node starts")
}

pub(crate) fn status_of<E: Event>(node: &NodeHandle) -> EventStatus {
    let events = node.status().events;
    events.into_iter().find(|event| event.name == E::NAME).expect("the event is handled")
}

pub(crate) fn drops(node: &NodeHandle, word: &str) -> u64 {
    node.status().drops.get(word).copied().unwrap_or(0)
}

/// The next output, which must be an `E`.
pub(crate) async fn next<E: Event>(outputs: &mut Outputs) -> E {
    let next = tokio::time::timeout(PATIENCE, outputs.next()).await;
    match next.expect("an output comes in time") {
        Some(Output::Event(envelope)) => envelope.open().expect("the output is of this type"),
        other => panic!("{other:?} instead of an event"),
    }
}

/// A door that handlers or stores wait at until the test opens it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Door(Arc<(Mutex<bool>, std::sync::Condvar)>);

impl Door {
    pub(crate) fn open(&self) {
        *self.0.0.lock().expect("the door is never poisoned") = true;
        self.0.1.notify_all();
    }

    /// Blocks the thread.
    pub(crate) fn pass(&self) {
        let closed = self.0.0.lock().expect("the door is never poisoned");
        drop(self.0.1.wait_while(closed, |open| !*open));
    }
}
