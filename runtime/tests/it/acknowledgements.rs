//! When the sender of a batch hears that it has come.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use synod_core::{
    Acknowledgement, Closing, Context, Envelope, Envelopes, Event, EventId, Handlers, Hello, Inbox,
    Lane, LaneId, LinkStatus, NodeId, Reason, Receipt, SendError, Transport, TransportError,
};
use synod_runtime::NodeBuilder;

use crate::durability::Slow;
use crate::support::{Door, Journal, N1, N2, Number, Word, drops, start, status_of, table, until};

const LANE: LaneId = LaneId(7);

/// A transport of which the test is the other side.
#[derive(Clone, Debug, Default)]
struct Hand(Arc<OnceLock<Arc<dyn Inbox>>>);

impl Transport for Hand {
    fn start(&self, _: Hello, inbox: Arc<dyn Inbox>) -> Result<(), TransportError> {
        self.0.set(inbox).map_err(|_| TransportError(String::from("twice")))
    }

    fn connect(&self, _: NodeId) {}

    fn disconnect(&self, _: NodeId, _: Reason) {}

    fn send(&self, _: NodeId, _: Lane, _: &Envelope) -> Result<(), SendError> {
        Ok(())
    }

    fn links(&self) -> Vec<LinkStatus> {
        Vec::new()
    }

    fn close(&self, _: Duration) -> Closing {
        Box::pin(async {})
    }
}

impl Hand {
    fn inbox(&self) -> &Arc<dyn Inbox> {
        self.0.get().expect("the node has started")
    }

    /// Delivers an event, and writes its name down when it is acknowledged.
    fn deliver<E: Event>(&self, lane: LaneId, name: &str, event: &E, heard: &Journal<String>) {
        let (name, heard) = (String::from(name), heard.clone());
        let receipt = Receipt::new(move || heard.write(name));
        let batch = Envelope::seal(event).into();
        let _room = self.inbox().deliver_for_receipt(N2, lane, batch, receipt);
    }
}

/// Persists every number; waits at the door upon every word.
fn handlers(door: &Door) -> impl Fn() -> Handlers<()> + Send + Sync + 'static {
    let door = Mutex::new(door.clone());
    move || {
        let door = door.lock().expect("never poisoned").clone();
        Handlers::new()
            .on(|_: &mut (), number: Number, ctx: &mut Context| ctx.persist(&number))
            .on(move |_: &mut (), _: Word| door.pass())
            .restore(|_: &mut (), _: Number| ())
    }
}

fn builder(hand: &Hand, door: &Door) -> NodeBuilder {
    let builder = NodeBuilder::new(N1, vec![N1, N2], table(handlers(door)));
    builder.transport(Arc::new(hand.clone()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_acknowledged_as_handled_when_its_handler_has_returned() {
    let (hand, door, heard) = (Hand::default(), Door::default(), Journal::new());
    let node = start(builder(&hand, &door).acknowledge(Acknowledgement::Handled)).await;
    assert_eq!(hand.inbox().acknowledgement(LANE), Acknowledgement::Handled);
    hand.deliver(LANE, "a word", &Word(String::new()), &heard);
    hand.deliver(LANE, "a number", &Number(1), &heard);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(heard.len(), 0, "the handler still runs");
    door.open();
    until("both are handled", || heard.read() == ["a word", "a number"]).await;
    drop(node);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_events_that_come_encoded_each_is_handled_or_refused() {
    let (hand, door) = (Hand::default(), Door::default());
    let node = start(builder(&hand, &door)).await;
    let longer = Envelope::from_parts(
        Number::ID,
        synod_core::Instance::ROOT,
        synod_core::Tag::Plain,
        bytes::Bytes::from_static(&[1, 2]),
    );
    let all = [Envelope::seal(&Number(1)), longer, Envelope::seal(&Number(300))];
    let mut frames = Vec::new();
    for envelope in &all {
        let mut bytes = Vec::new();
        envelope.encode_into(&mut bytes);
        frames.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        frames.extend(bytes);
    }
    let batch = Envelopes::cut_off(&mut frames.into(), 9).unwrap().unwrap();
    assert!(hand.inbox().deliver(N2, Lane::Ordered(LANE), batch).is_none());
    let handled = || status_of::<Number>(&node).handled;
    until("the good ones are handled", || handled() == 2).await;
    assert_eq!((status_of::<Number>(&node).refused, drops(&node, "undecodable")), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_acknowledged_as_durable_when_all_records_so_far_are() {
    let (hand, door, heard) = (Hand::default(), Door::default(), Journal::new());
    door.open();
    let (store, disk, _) = Slow::new(false);
    let quick = LaneId(8);
    let node = builder(&hand, &door)
        .store(store)
        .acknowledge(Acknowledgement::Durable)
        .acknowledge_lane(quick, Acknowledgement::Handled);
    let node = start(node).await;
    hand.deliver(LANE, "before", &Word(String::new()), &heard);
    until("the first needs no record", || heard.read() == ["before"]).await;
    hand.deliver(LANE, "number", &Number(1), &heard);
    hand.deliver(LANE, "after", &Word(String::new()), &heard);
    until("the record waits", || 0 < node.status().held).await;
    hand.deliver(quick, "other lane", &Number(2), &heard);
    until("the other lane does not wait", || heard.len() == 2).await;
    assert_eq!(heard.read(), ["before", "other lane"]);
    disk.open();
    until("all are durable", || heard.len() == 4).await;
    assert_eq!(heard.read()[2..], ["number", "after"]);
}

#[tokio::test]
async fn an_event_that_is_turned_down_is_acknowledged_and_one_that_comes_too_late_is_not() {
    let (hand, door, heard) = (Hand::default(), Door::default(), Journal::new());
    let node = start(builder(&hand, &door).acknowledge(Acknowledgement::Durable)).await;
    let stranger = Envelope::from_parts(
        EventId::of("test.stranger"),
        synod_core::Instance::ROOT,
        synod_core::Tag::Plain,
        bytes::Bytes::new(),
    );
    let note = heard.clone();
    let receipt = Receipt::new(move || note.write(String::from("a stranger")));
    let _room = hand.inbox().deliver_for_receipt(N2, LANE, stranger.into(), receipt);
    assert_eq!(heard.read(), ["a stranger"]);
    let inbox = Arc::clone(hand.inbox());
    node.shutdown(Duration::from_secs(1)).await;
    let note = heard.clone();
    let receipt = Receipt::new(move || note.write(String::from("too late")));
    let _room = inbox.deliver_for_receipt(N2, LANE, Envelope::seal(&Number(1)).into(), receipt);
    assert_eq!(heard.len(), 1);
}
