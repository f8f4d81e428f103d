//! How a node ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Call, Closing, Context, Envelope, Event, Handlers, Hello, Inbox, Lane, LaneCounts, LaneId,
    LinkStatus, NodeId, Reason, Request, SendError, Transport, TransportError,
};
use synod_runtime::{EndReason, Limits, MemoryNetwork, NodeBuilder};

use crate::support::{
    Door, Journal, N1, N2, Number, PATIENCE, Seen, Word, node, start, status_of, table, until,
};

#[tokio::test]
async fn a_shutdown_handles_what_is_queued_and_says_good_bye() {
    let network = MemoryNetwork::new();
    let handlers = || {
        Handlers::new().on(|_: &mut (), number: Number, from: NodeId, ctx: &mut Context| {
            if from == ctx.me() {
                ctx.send(N2, &number);
            }
        })
    };
    let one = start(node(&network, N1, 2, table(handlers))).await;
    let two = start(node(&network, N2, 2, table(handlers))).await;
    until("they are linked", || one.status().peers[0].up && two.status().peers[0].up).await;
    for number in 0..1_000 {
        one.trigger(&Number(number)).await.unwrap();
    }
    let report = one.shutdown(PATIENCE).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(status_of::<Number>(&one).handled, 1_000);
    assert_eq!(one.wait().await, EndReason::Shutdown);
    until("all have arrived", || status_of::<Number>(&two).handled == 1_000).await;
    let closed = || two.status().peers[0].last_error.as_deref() == Some("down: Closed");
    until("the peer has said good-bye", closed).await;
    assert_eq!(one.shutdown(PATIENCE).await, report, "a second shutdown changes nothing");
}

#[tokio::test]
async fn a_disk_that_does_not_answer_does_not_keep_a_node_that_is_to_end() {
    let (store, door, _syncs) = crate::durability::Slow::new(false);
    let handlers = || {
        Handlers::new().restore(|_: &mut (), _: Number| ()).on(
            |_: &mut (), number: Number, ctx: &mut Context| {
                ctx.persist(&number);
                ctx.trigger(&Seen(number.0));
            },
        )
    };
    let one = start(node(&MemoryNetwork::new(), N1, 1, table(handlers)).store(store)).await;
    one.trigger(&Number(1)).await.unwrap();
    until("it is handled", || status_of::<Number>(&one).handled == 1).await;
    let ending = one.shutdown(Duration::from_millis(10));
    let report = tokio::time::timeout(PATIENCE, ending).await.expect("it ends");
    assert!(0 < report.held && !report.is_complete(), "{report:?}");
    door.open();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_that_runs_out_of_time_reports_exactly_what_was_not_handled() {
    let door = Door::default();
    let at = door.clone();
    let handlers = move || {
        let at = at.clone();
        Handlers::new()
            .on(move |_: &mut (), number: Number| {
                if number.0 == 400 {
                    at.pass();
                }
            })
            .on(|_: &mut (), _: Word| ())
            .on(|_: &mut (), seen: Seen, ctx: &mut Context| {
                ctx.after(Duration::from_secs(3600), &seen);
            })
    };
    let one = start(node(&MemoryNetwork::new(), N1, 1, table(handlers))).await;
    one.trigger(&Seen(1)).await.unwrap();
    for number in 0..1_000 {
        one.trigger(&Number(number)).await.unwrap();
    }
    one.trigger(&Word(String::new())).await.unwrap();
    until("one handler blocks", || status_of::<Number>(&one).handled == 400).await;
    let opener = tokio::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_millis(60));
        door.open();
    });
    let report = one.shutdown(Duration::from_millis(20)).await;
    opener.await.unwrap();
    let handled = status_of::<Number>(&one).handled;
    let unhandled = report.unhandled.get("test.number").copied().unwrap();
    assert_eq!((handled, unhandled), (401, 599));
    assert_eq!(report.unhandled.get("test.word"), Some(&1));
    assert_eq!((report.timers, report.is_complete()), (1, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_was_taken_while_a_node_ends_is_handled_or_reported_and_nothing_runs_afterwards() {
    for round in 0..20 {
        let journal = Journal::new();
        let lines = journal.clone();
        let handlers = move || {
            let lines = lines.clone();
            Handlers::new().on(move |_: &mut (), number: Number| {
                lines.write(number.0);
                std::thread::sleep(Duration::from_micros(100));
            })
        };
        let one = start(node(&MemoryNetwork::new(), N1, 1, table(handlers))).await;
        let producers = [1, 2, 3, 4].map(|number| {
            let one = one.clone();
            tokio::spawn(async move {
                let mut taken = 0;
                while one.trigger(&Number(number)).await.is_ok() {
                    taken += 1;
                }
                taken
            })
        });
        until("they are at work", || 20 < journal.len()).await;
        // Every second node has time for all of it, were it not for the producers.
        let deadline = if round % 2 == 0 { Duration::ZERO } else { Duration::from_millis(5) };
        let report = one.shutdown(deadline).await;
        let handled = journal.len();
        let mut taken = 0;
        for producer in producers {
            taken += producer.await.unwrap();
        }
        let unhandled = report.unhandled.get("test.number").copied().unwrap_or(0);
        assert_eq!(handled + unhandled, taken, "round {round}");
        assert_eq!(journal.len(), handled, "a handler ran after the report");
    }
}

#[tokio::test]
async fn times_without_an_end_are_times_like_others() {
    let handlers = || {
        Handlers::new().on(|_: &mut (), call: Call<Question>, ctx: &mut Context| {
            ctx.answer(call.ticket, &Seen(call.request.0));
        })
    };
    let limits = Limits { turn_time: Duration::MAX, ..Limits::default() };
    let one = start(node(&MemoryNetwork::new(), N1, 1, table(handlers)).limits(limits)).await;
    assert_eq!(one.ask(&Question(7), Duration::MAX).await, Ok(Seen(7)));
    assert!(one.shutdown(Duration::MAX).await.is_complete());
}

/// A question to the node itself.
#[derive(Event, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "test.how_many", local)]
struct Question(u64);

impl Request for Question {
    type Answer = Seen;
}

#[tokio::test]
async fn a_node_that_nobody_holds_runs_on() {
    let network = MemoryNetwork::new();
    let handlers =
        || Handlers::new().on(|_: &mut (), _: Number, ctx: &mut Context| ctx.trigger(&Seen(1)));
    let one = start(node(&network, N1, 1, table(handlers))).await;
    let mut outputs = one.outputs();
    one.trigger(&Number(1)).await.unwrap();
    drop(one);
    assert_eq!(crate::support::next::<Seen>(&mut outputs).await, Seen(1));
}

/// A transport to nobody whose good-bye takes a while.
#[derive(Debug)]
struct Slow(Journal<&'static str>);

impl Transport for Slow {
    fn start(&self, _: Hello, _: Arc<dyn Inbox>) -> Result<(), TransportError> {
        Ok(())
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
        self.0.write("good-bye");
        Box::pin(tokio::time::sleep(Duration::from_millis(50)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_node_says_good_bye_no_timer_begins_anything() {
    let journal = Journal::new();
    let ticks = journal.clone();
    let handlers = move || {
        let ticks = ticks.clone();
        Handlers::new().restore(|_: &mut (), _: Word| ()).on(
            move |_: &mut (), word: Word, ctx: &mut Context| {
                ticks.write("tick");
                ctx.persist(&word);
                ctx.after(Duration::from_millis(1), &word);
            },
        )
    };
    let transport = Arc::new(Slow(journal.clone()));
    let one = start(NodeBuilder::new(N1, vec![N1, N2], table(handlers)).transport(transport)).await;
    one.trigger(&Word(String::new())).await.unwrap();
    until("the timer is fired over and over", || 5 < journal.len()).await;
    let report = one.shutdown(PATIENCE).await;
    assert_eq!(journal.read().last(), Some(&"good-bye"));
    assert!(report.is_complete(), "{report:?}");
}

/// A transport on whose one link an event waits for its acknowledgement. It ends when it is to end at once, and counts the
/// event as lost then, if it does.
#[derive(Debug)]
struct Waiting {
    ends: bool,
    lost: Arc<AtomicU64>,
}

impl Waiting {
    fn new(ends: bool) -> Arc<Self> {
        Arc::new(Self { ends, lost: Arc::default() })
    }
}

impl Transport for Waiting {
    fn start(&self, _: Hello, _: Arc<dyn Inbox>) -> Result<(), TransportError> {
        Ok(())
    }

    fn connect(&self, _: NodeId) {}

    fn disconnect(&self, _: NodeId, _: Reason) {}

    fn send(&self, _: NodeId, _: Lane, _: &Envelope) -> Result<(), SendError> {
        Err(SendError::Down)
    }

    fn links(&self) -> Vec<LinkStatus> {
        let lost = self.lost.load(Ordering::SeqCst);
        vec![LinkStatus {
            peer: N2,
            incarnation: None,
            connected: false,
            address: None,
            protocol: None,
            silent_for: None,
            round_trip: None,
            packets_sent: 0,
            packets_lost: 0,
            queued_bytes: 0,
            resumed: 0,
            lost,
        }]
    }

    fn lanes(&self) -> Vec<(NodeId, LaneId, LaneCounts)> {
        let unacknowledged = 1 - self.lost.load(Ordering::SeqCst);
        vec![(N2, LaneId(1), LaneCounts { unacknowledged, ..LaneCounts::default() })]
    }

    fn close(&self, deadline: Duration) -> Closing {
        let (ends, lost) = (self.ends && deadline.is_zero(), Arc::clone(&self.lost));
        Box::pin(async move {
            if !ends {
                std::future::pending::<()>().await;
            }
            tokio::task::yield_now().await;
            lost.store(1, Ordering::SeqCst);
        })
    }
}

#[tokio::test]
async fn a_shutdown_that_is_cut_short_reports_what_was_not_acknowledged_whether_or_not_the_link_has_ended()
 {
    for ends in [true, false] {
        let handlers = || Handlers::new().on(|_: &mut (), _: Number| ());
        let transport = Waiting::new(ends);
        let one = NodeBuilder::new(N1, vec![N1, N2], table(handlers)).transport(transport.clone());
        let one = start(one).await;
        let patient = one.shutdown(PATIENCE);
        let cut_short = tokio::time::timeout(Duration::from_millis(20), patient).await;
        assert!(cut_short.is_err(), "it waits for the acknowledgement");
        let report = one.shutdown(Duration::ZERO).await;
        assert_eq!(report.unacknowledged.get(&N2), Some(&1), "{report:?}");
        assert_eq!(
            (report.is_complete(), transport.lost.load(Ordering::SeqCst)),
            (false, ends.into())
        );
    }
}
