//! How fast one node handles what a transport delivers.

use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use synod_core::{
    Algorithm, Closing, Envelope, Envelopes, Handlers, Hello, Inbox, Lane, LaneId, LinkStatus,
    NodeId, Reason, SendError, Transport, TransportError,
};
use synod_runtime::{Limits, NodeBuilder};

use crate::support::{Journal, N1, N2, Number, start, status_of, table, until};

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

    fn lends_threads(&self) -> bool {
        true
    }

    fn close(&self, _: Duration) -> Closing {
        Box::pin(std::future::ready(()))
    }
}

impl Tap {
    /// Delivers numbers from a thread of their own, and says which.
    fn deliver(&self, numbers: &[u64]) -> ThreadId {
        let inbox = Arc::clone(self.0.get().expect("the transport has started"));
        let batch = numbers.iter().map(|number| Envelope::seal(&Number(*number))).collect();
        let batch = Envelopes::of(batch).expect("some");
        let deliver = move || inbox.deliver(N2, Lane::Ordered(LaneId(1)), batch).is_none();
        let thread = thread::spawn(deliver);
        let id = thread.thread().id();
        assert!(thread.join().expect("no panic"), "there is room");
        id
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

/// Upon this one, the handler holds up its thread.
const SLOW: u64 = u64::MAX;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_is_quick_runs_on_the_thread_that_brings_its_event_until_it_holds_that_up() {
    let (tap, seen) = (Arc::new(Tap::default()), Journal::new());
    let journal = Mutex::new(seen.clone());
    let handlers = table(move || {
        let journal = journal.lock().expect("never poisoned").clone();
        Handlers::new().on(move |_: &mut (), Number(number): Number| {
            if number == SLOW {
                thread::sleep(Duration::from_millis(600));
            }
            journal.write(thread::current().id());
        })
    });
    let limits = Limits { quick_handler: Duration::from_millis(5), ..Limits::default() };
    let builder = NodeBuilder::new(N1, vec![N1, N2], handlers).limits(limits);
    let _node = start(builder.transport(tap.clone())).await;
    let mut handled = 0;
    let mut bring = async |numbers: &[u64]| {
        let brought_by = tap.deliver(numbers);
        handled += numbers.len();
        until("all are handled", || seen.len() == handled).await;
        seen.read().last() == Some(&brought_by)
    };
    assert!(!bring(&[1]).await, "nobody knows yet how quick it is");
    for _ in 0..100 {
        bring(&[2]).await;
    }
    assert!(bring(&[3]).await || bring(&[4]).await, "it runs where it comes");
    assert!(!bring(&[5; 5]).await, "a batch is worth a thread");
    bring(&[SLOW]).await;
    for _ in 0..20 {
        assert!(!bring(&[6]).await, "it is never believed again");
    }
}
