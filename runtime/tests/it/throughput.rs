//! How fast one node handles what a transport delivers.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use synod_core::{
    Algorithm, Closing, Envelope, Envelopes, Handlers, Hello, Inbox, Lane, LaneId, LinkStatus,
    NodeId, Reason, SendError, Transport, TransportError,
};
use synod_runtime::NodeBuilder;

use crate::support::{N1, N2, Number, start, status_of, until};

/// A transport that hands its inbox to the test.
#[derive(Debug, Default)]
struct Tap(OnceLock<Arc<dyn Inbox>>);

impl Transport for Tap {
    fn start(&self, _: Hello, inbox: Arc<dyn Inbox>) -> Result<(), TransportError> {
        self.0.set(inbox).map_err(|_| TransportError(String::from("started twice")))
    }

    fn connect(&self, _: NodeId) {}

    fn disconnect(&self, _: NodeId, _: Reason) {}

    fn send(&self, _: NodeId, _: Lane, _: &Envelope) -> Result<(), SendError> {
        Err(SendError::Down)
    }

    fn links(&self) -> Vec<LinkStatus> {
        Vec::new()
    }

    fn close(&self, _: Duration) -> Closing {
        Box::pin(std::future::ready(()))
    }
}

#[derive(Clone, Debug, Default, Hash)]
struct Sum(u64);

impl Algorithm for Sum {
    const NAME: &'static str = "sum";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|sum: &mut Self, number: Number| sum.0 += number.0)
    }
}

const BATCH: u64 = 256;
const EVENTS: u64 = BATCH * 4_096;

/// A smoke test in a debug build; with `--release -- --nocapture` it prints the rate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_events_from_a_transport_are_handled_within_the_bounds() {
    let tap = Arc::new(Tap::default());
    let builder = NodeBuilder::new(N1, vec![N1, N2], Sum::default).transport(tap.clone());
    let one = start(builder).await;
    let inbox = Arc::clone(tap.0.get().expect("the transport has started"));
    let batch: Vec<Envelope> = (0..BATCH).map(|number| Envelope::seal(&Number(number))).collect();
    let batch = Envelopes::of(batch).expect("some");
    let begin = Instant::now();
    for _ in 0..EVENTS / BATCH {
        if let Some(room) = inbox.deliver(N2, Lane::Ordered(LaneId(1)), batch.clone()) {
            room.await;
        }
    }
    until("all are handled", || status_of::<Number>(&one).handled == EVENTS).await;
    let rate = EVENTS as f64 / begin.elapsed().as_secs_f64() / 1e6;
    assert_eq!(one.status().drops.len(), 0);
    println!("{rate:.2} million events per second");
}
