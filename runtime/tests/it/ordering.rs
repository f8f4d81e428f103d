//! Order, and what happens to it under load.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Context, Event, HandlerSet, Handlers, Instance, Keyed, NodeId, Order};
use synod_runtime::{Limits, MemoryNetwork, NodeHandle, Output};
use tokio::task::JoinHandle;

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

const PRODUCERS: u64 = 16;
const KEYS: u64 = 16;
const EVENTS_PER_KEY: u64 = 100;

/// What one producer says for one key: who, and the how manieth it is.
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "test.said", local)]
struct Said(u64, u64);

/// The state of one key: what is expected of each producer.
#[derive(Clone, Debug, Default, Hash)]
struct Ledger {
    expected: BTreeMap<u64, u64>,
}

impl Algorithm for Ledger {
    const NAME: &'static str = "ledger";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|me: &mut Self, Said(producer, number): Said, ctx: &mut Context| {
                let expected = me.expected.entry(producer).or_default();
                assert_eq!(number, *expected, "an event of its producer is missing or too early");
                *expected += 1;
                let all: u64 = me.expected.values().sum();
                if all == PRODUCERS * EVENTS_PER_KEY {
                    ctx.trigger(&Seen(all));
                }
            })
            .indicates::<Seen>()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_key_gets_all_events_of_all_producers_in_the_order_of_each_in_one_state() {
    let make = || Keyed::new(|_| Ledger::default());
    let one = start(node(&MemoryNetwork::new(), N1, 1, make)).await;
    let mut outputs = one.outputs();
    for producer in 0..PRODUCERS {
        let one = one.clone();
        tokio::spawn(async move {
            for number in 0..EVENTS_PER_KEY {
                for key in 0..KEYS {
                    let said = Said(producer, number);
                    one.trigger_at(Instance::of_key(key), &said).await.unwrap();
                }
            }
        });
    }
    let mut done = Vec::new();
    for _ in 0..KEYS {
        let output = tokio::time::timeout(PATIENCE, outputs.next()).await.unwrap();
        let Some(Output::Event(envelope)) = output else { panic!("{output:?}") };
        assert_eq!(envelope.open::<Seen>().unwrap(), Seen(PRODUCERS * EVENTS_PER_KEY));
        done.push(envelope.instance().keys().to_vec());
    }
    done.sort();
    assert!(done.into_iter().eq((0..KEYS).map(|key| vec![key])));
    assert!(one.shutdown(PATIENCE).await.is_complete());
    assert_eq!(status_of::<Said>(&one).handled, PRODUCERS * KEYS * EVENTS_PER_KEY);
    assert_eq!(one.status().summary, [(String::from("instances"), KEYS.to_string())]);
}

/// The connections that have begun and not ended, with their traffic.
type Open = BTreeMap<u64, u64>;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_trigger_that_is_given_up_has_not_happened_so_whoever_outlives_it_can_conclude() {
    let (ended, taken) = (Journal::new(), Journal::new());
    let lines = ended.clone();
    let make = move || {
        let ended = lines.clone();
        HandlerSet::new(Open::new())
            .on(|open: &mut Open, Even(key): Even| {
                assert_eq!(open.insert(key, 0), None, "it began twice");
                std::thread::sleep(Duration::from_micros(200));
            })
            .on(|open: &mut Open, Number(key): Number| {
                *open.get_mut(&key).expect("it has begun and not ended") += 1;
                std::thread::sleep(Duration::from_micros(200));
            })
            .on(move |open: &mut Open, Odd(key): Odd| {
                ended.write((key, open.remove(&key).expect("it ends once")));
                assert!(!open.contains_key(&key));
            })
    };
    let limits = Limits { queue_events: 2, ..Limits::default() };
    let one = start(node(&MemoryNetwork::new(), N1, 1, make).limits(limits)).await;
    let producers: Vec<_> = (0..100).map(|key| (key, produce(key, &one, &taken))).collect();
    for (key, producer) in producers {
        tokio::time::sleep(Duration::from_micros(100 * (key % 7))).await;
        producer.abort();
        drop(producer.await);
        if taken.read().contains(&(key, true)) {
            one.trigger(&Odd(key)).await.unwrap();
        }
    }
    assert!(one.shutdown(PATIENCE).await.is_complete());
    let (taken, ended) = (taken.read(), ended.read());
    let begun = taken.iter().filter(|(_, begins)| *begins).count();
    assert_eq!((ended.len(), begun < 100), (begun, true));
    for (key, traffic) in ended {
        let sent = taken.iter().filter(|(of, begins)| *of == key && !begins).count();
        assert_eq!(traffic, sent as u64, "traffic of {key}");
    }
}

/// Begins, and sends traffic until it is aborted; writes down what was taken.
fn produce(key: u64, node: &NodeHandle, taken: &Journal<(u64, bool)>) -> JoinHandle<()> {
    let (node, taken) = (node.clone(), taken.clone());
    tokio::spawn(async move {
        node.trigger(&Even(key)).await.expect("the node runs");
        taken.write((key, true));
        loop {
            node.trigger(&Number(key)).await.expect("the node runs");
            taken.write((key, false));
        }
    })
}
