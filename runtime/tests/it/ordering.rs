//! Order, and what happens to it under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Context, Event, Handlers, NodeId, Order};
use synod_runtime::{Limits, MemoryNetwork};

use crate::support::{
    Door, Journal, N1, N2, Number, PATIENCE, Seen, Word, next, node, start, status_of, table, until,
};

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "test.even")]
struct Even(u64);

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "test.odd")]
struct Odd(u64);

/// Sends numbers as two event types in turn; expects them in order.
#[derive(Clone, Debug, Default, Hash)]
struct Alternating {
    sent: u64,
    expected: u64,
}

const EVENTS: u64 = 100_000;

impl Algorithm for Alternating {
    const NAME: &'static str = "alternating";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::send_more)
            .on(|me: &mut Self, even: Even, _: NodeId, ctx: &mut Context| me.expect(even.0, ctx))
            .on(|me: &mut Self, odd: Odd, _: NodeId, ctx: &mut Context| me.expect(odd.0, ctx))
    }
}

impl Alternating {
    fn send_more(&mut self, more: Number, ctx: &mut Context) {
        for _ in 0..more.0 {
            match self.sent % 2 {
                0 => ctx.send(N2, &Even(self.sent)),
                _ => ctx.send(N2, &Odd(self.sent)),
            }
            self.sent += 1;
        }
    }

    fn expect(&mut self, number: u64, ctx: &mut Context) {
        assert_eq!(number, self.expected, "an event has overtaken another");
        self.expected += 1;
        if self.expected == EVENTS {
            ctx.trigger(&Seen(number));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn order_across_event_types_is_kept_through_different_handler_actors() {
    let network = MemoryNetwork::new();
    let one = start(node(&network, N1, 2, Alternating::default)).await;
    let two = start(node(&network, N2, 2, Alternating::default)).await;
    until("the link is up", || one.status().peers[0].up).await;
    for _ in 0..EVENTS / 1_000 {
        one.trigger(&Number(1_000)).await.unwrap();
    }
    assert_eq!(next::<Seen>(&mut two.outputs()).await, Seen(EVENTS - 1));
    assert_eq!(two.status().drops.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbered_events_to_all_peers_arrive_exactly_once_in_order() {
    let network = MemoryNetwork::new();
    let handlers = || {
        Handlers::new()
            .on(|_: &mut (), number: Number, ctx: &mut Context| {
                for part in 0..3 {
                    ctx.send_where(&Even(number.0 * 3 + part), |peer| peer != N1);
                }
            })
            .on(|_: &mut (), even: Even, ctx: &mut Context| ctx.trigger(&Seen(even.0)))
    };
    // No waiting for links: what is sent before they are up is kept.
    let one = start(node(&network, N1, 5, table(handlers))).await;
    let mut others = Vec::new();
    let limits = Limits { outputs: 8_192, ..Limits::default() };
    for id in (2..=5).map(NodeId) {
        others.push(start(node(&network, id, 5, table(handlers)).limits(limits)).await);
    }
    for number in 0..2_000 {
        one.trigger(&Number(number)).await.unwrap();
        if number == 100 {
            until("all are linked", || one.status().peers.iter().all(|peer| peer.up)).await;
        }
    }
    for other in &others {
        let mut outputs = other.outputs();
        for number in 0..6_000 {
            assert_eq!(next::<Seen>(&mut outputs).await, Seen(number));
        }
        until("each is counted once", || status_of::<Even>(other).handled == 6_000).await;
    }
}

#[tokio::test]
async fn what_the_application_triggers_is_handled_in_order_across_event_types() {
    let journal = Journal::new();
    let lines = journal.clone();
    let handlers = move || {
        let (evens, odds) = (lines.clone(), lines.clone());
        Handlers::new()
            .on(move |_: &mut (), even: Even| evens.write(even.0))
            .on(move |_: &mut (), odd: Odd| odds.write(odd.0))
    };
    let one = start(node(&MemoryNetwork::new(), N1, 1, table(handlers))).await;
    for number in 0..500 {
        one.trigger(&Even(2 * number)).await.unwrap();
        one.trigger(&Odd(2 * number + 1)).await.unwrap();
    }
    until("all are handled", || journal.len() == 1_000).await;
    assert!(journal.read().is_sorted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slow_handler_slows_its_sender_and_memory_stays_bounded() {
    let network = MemoryNetwork::new();
    let (door, seen) = (Door::default(), Arc::new(AtomicU64::new(0)));
    let sender = || {
        Handlers::new()
            .on(|_: &mut (), number: Number, ctx: &mut Context| ctx.send(N2, &Even(number.0)))
    };
    let (at, count) = (door.clone(), Arc::clone(&seen));
    let receiver = move || {
        let (at, count) = (at.clone(), Arc::clone(&count));
        Handlers::new().on(move |_: &mut (), _: Even| {
            at.pass();
            count.fetch_add(1, Ordering::SeqCst);
        })
    };
    let limits = Limits { queue_events: 64, congested_bytes: 64 << 10, ..Limits::default() };
    let one = start(node(&network, N1, 2, table(sender)).limits(limits)).await;
    let two = start(node(&network, N2, 2, table(receiver)).limits(limits)).await;
    until("the link is up", || one.status().peers[0].up).await;

    let sent = Arc::new(AtomicU64::new(0));
    let (triggered, from) = (Arc::clone(&sent), one.clone());
    let application = tokio::spawn(async move {
        for number in 0..20_000 {
            from.trigger(&Number(number)).await.unwrap();
            triggered.fetch_add(1, Ordering::SeqCst);
        }
    });
    until("the sender is held up", || one.status().peers[0].queued_bytes > 64 << 10).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let taken = sent.load(Ordering::SeqCst);
    assert!(taken < 10_000, "{taken} events were taken although nobody handles them");
    assert!(status_of::<Even>(&two).queued <= 64 + 256);
    door.open();
    application.await.unwrap();
    until("all are handled", || seen.load(Ordering::SeqCst) == 20_000).await;
    assert!(one.shutdown(PATIENCE).await.is_complete());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_waits_for_room() {
    let door = Door::default();
    let at = door.clone();
    let handlers = move || {
        let at = at.clone();
        Handlers::new().on(move |_: &mut (), _: Word| at.pass())
    };
    let limits = Limits { queue_events: 3, ..Limits::default() };
    let one = start(node(&MemoryNetwork::new(), N1, 1, table(handlers)).limits(limits)).await;
    for _ in 0..3 {
        one.trigger(&Word(String::new())).await.unwrap();
    }
    let word = Word(String::new());
    let fourth = one.trigger(&word);
    tokio::pin!(fourth);
    let waited = tokio::time::timeout(Duration::from_millis(50), &mut fourth).await;
    assert!(waited.is_err(), "there was no room");
    assert_eq!(status_of::<Word>(&one).queued, 3);
    door.open();
    fourth.await.unwrap();
}

/// Sends a flood of numbers; handles numbers slowly, and the first arms a
/// timer and waits at the door.
struct Slow {
    door: Door,
    journal: Journal<&'static str>,
}

impl Algorithm for Slow {
    const NAME: &'static str = "slow";
    const ORDER: Order = Order::PerEvent;

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|me: &mut Self, number: Number, ctx: &mut Context| {
                if number.0 == 0 {
                    ctx.after(Duration::from_millis(1), &Even(0));
                    me.door.pass();
                }
                std::thread::sleep(Duration::from_millis(5));
                me.journal.write("slow");
            })
            .on(|_: &mut Self, odd: Odd, ctx: &mut Context| {
                (0..odd.0).for_each(|number| ctx.send(N1, &Number(number)));
            })
            .on(|me: &mut Self, _: Even| me.journal.write("timer"))
            .on(|me: &mut Self, _: Word| me.journal.write("word"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_of_a_slow_handler_keeps_no_timer_and_no_other_event_from_its_turn() {
    let (door, journal) = (Door::default(), Journal::new());
    let (at, lines) = (door.clone(), journal.clone());
    let make = move || Slow { door: at.clone(), journal: lines.clone() };
    let network = MemoryNetwork::new();
    let one = start(node(&network, N1, 2, make.clone())).await;
    let two = start(node(&network, N2, 2, make)).await;
    two.trigger(&Odd(200)).await.unwrap();
    until("the flood is there", || status_of::<Number>(&one).queued == 200).await;
    one.trigger(&Word(String::new())).await.unwrap();
    door.open();
    for what in ["word", "timer"] {
        until(what, || journal.read().contains(&what)).await;
        let before = journal.read().iter().take_while(|line| **line != what).count();
        assert!(before < 100, "{before} events before the {what}");
    }
    for node in [one, two] {
        node.shutdown(Duration::ZERO).await;
    }
}
