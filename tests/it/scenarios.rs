//! What nodes promise each other, in numbers: every event once and in order, nothing that nobody
//! asked for, restarts that are told, and mistakes that cost no more than themselves. The same in
//! the simulator and over QUIC.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use synod_algorithms::Topics;
use synod_algorithms::membership::topics::{Delivered, Publish, Settled, Subscribe, Unsubscribe};
use synod_core::{
    Algorithm, Boot, Cluster, Context, Envelope, Event, EventId, Faults, HandlerSet, Handlers,
    Input, Model, Node, NodeId, PeerDown, PeerUp, Property, StepError, Summary, Tolerance,
    Transport, Verdict,
};
use synod_runtime::{NodeBuilder, NodeHandle, Output, Outputs, PanicPolicy};
use synod_simulator::{Scenario, Script, Settings, Stream, run};
use synod_transport_quic::{Bundle, Limits, QuicTransport};

use crate::world::{Nodes, PATIENCE, authority, bundle, quic, until, value};

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "scenarios.go", local)]
struct Go;

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "scenarios.numbered")]
struct Numbered(u64);

async fn until_linked(nodes: &BTreeMap<NodeId, NodeHandle>) {
    let linked = || nodes.values().all(|node| node.status().peers.iter().all(|peer| peer.up));
    until("all links", linked).await;
}

// E2: a handler that publishes several events at once.

/// So many runs of a handler,
const RUNS: u64 = 2_000;
/// with so many events each.
const EACH: u64 = 3;

/// Publishes from n1, and counts elsewhere; whatever is out of order, or comes twice, is a panic.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Publisher {
    runs: u64,
    published: u64,
    received: u64,
}

impl Algorithm for Publisher {
    const NAME: &'static str = "publisher";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::go).on(|publisher: &mut Self, numbered: Numbered| {
            assert_eq!(numbered.0, publisher.received, "every event once, and in order");
            publisher.received += 1;
        })
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() == N1 {
            ctx.after(Duration::from_millis(1), &Go);
        }
    }

    fn summary(&self) -> Summary {
        Summary::default().with("received", self.received)
    }
}

impl Publisher {
    fn go(&mut self, _: Go, ctx: &mut Context) {
        for _ in 0..EACH {
            ctx.send_where(&Numbered(self.published), |peer| peer != N1);
            self.published += 1;
        }
        self.runs += 1;
        if self.runs < RUNS {
            ctx.after(Duration::from_micros(100), &Go);
        }
    }
}

#[test]
fn e2_what_one_handler_publishes_arrives_once_and_in_order_in_the_simulator() {
    let scenario = Scenario::of(|_| Publisher::default());
    for seed in 0..3 {
        let settings = Settings { time_us: 1_000_000, ..Settings::calm(5) };
        let (outcome, _) = run(&scenario, &settings, Stream::seeded(seed), false);
        assert_eq!(outcome.violation, None);
        // Nobody takes one twice, so that each has all.
        assert_eq!(outcome.counts.delivered, 4 * RUNS * EACH);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e2_what_one_handler_publishes_arrives_once_and_in_order_over_quic() {
    let nodes = Nodes::start(quic(5), |_| Publisher::default()).await;
    let all = (RUNS * EACH).to_string();
    nodes.settle(|node, summary| node == N1 || summary.get("received") == Some(&all)).await;
    // What comes twice comes late.
    tokio::time::sleep(Duration::from_millis(100)).await;
    for (id, node) in &nodes.0 {
        let status = node.status();
        assert_eq!((status.restarts, status.last_panic), (0, None), "{id}");
        let received: u64 = status.peers.iter().map(|peer| peer.received).sum();
        assert_eq!(received, if *id == N1 { 0 } else { RUNS * EACH }, "{id}");
    }
    nodes.end().await;
}

// E4: subscriptions.

/// The topic that n2 is not always interested in.
const TOPIC: u64 = 7;

#[derive(Debug, Default)]
struct Told {
    delivered: Vec<u64>,
    /// How many were delivered when a request was settled.
    settled: Vec<(bool, usize)>,
}

#[test]
fn e4_items_come_while_a_subscription_lasts_and_none_after_its_end_in_the_simulator() {
    let told = Arc::new(Mutex::new(Told::default()));
    let at = |ms: u64| Duration::from_millis(ms);
    let mut scenario = Scenario::of(|_| Topics::default())
        .trigger(N2, at(100), &Subscribe { topic: TOPIC })
        .trigger(N2, at(300), &Unsubscribe { topic: TOPIC });
    for item in 0..400 {
        scenario = scenario.trigger(N1, at(item), &Publish { topic: TOPIC, item });
    }
    let noted = Arc::clone(&told);
    let scenario = scenario.property(Property::monitor("takes down what is told", move || {
        let told = Arc::clone(&noted);
        move |_: NodeId, event: &Envelope| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            if let Ok(Delivered { item, .. }) = event.open() {
                told.delivered.push(item);
            }
            if let Ok(Settled { on, .. }) = event.open() {
                let delivered = told.delivered.len();
                told.settled.push((on, delivered));
            }
            Ok(())
        }
    }));
    let settings = Settings { delay_max_us: 1_000, ..Settings::calm(2) };
    let (outcome, _) = run(&scenario, &settings, Stream::seeded(4), false);
    assert_eq!(outcome.violation, None);
    let told = told.lock().unwrap_or_else(PoisonError::into_inner);
    let items = told.delivered.len();
    assert!((190..=210).contains(&items), "{items}");
    let first = told.delivered.first().copied().unwrap_or_default();
    assert!(told.delivered.iter().copied().eq(first..first + items as u64), "all, in order");
    // None before it was confirmed, and none after its end was.
    assert_eq!(told.settled, [(true, 0), (false, items)]);
    let requests_and_confirmations = 4;
    let others = outcome.counts.sent - items as u64 - requests_and_confirmations;
    assert!(others <= 5, "{others} frames more than were under way when it ended");
}

async fn next<E: Event>(outputs: &mut Outputs) -> E {
    loop {
        let output =
            tokio::time::timeout(PATIENCE, outputs.next()).await.expect("it comes in time");
        if let Some(Output::Event(envelope)) = output
            && let Ok(event) = envelope.open()
        {
            return event;
        }
    }
}

/// Publishes some items, and waits until they have left, as far as they do.
async fn publish(node: &NodeHandle, items: std::ops::Range<u64>) {
    let handled = || {
        let events = node.status().events;
        events.iter().find(|event| event.name == Publish::NAME).map_or(0, |event| event.handled)
    };
    let before = handled();
    let count = items.end - items.start;
    for item in items {
        node.trigger(&Publish { topic: TOPIC, item }).await.expect("it runs");
    }
    until("what was published", || handled() == before + count).await;
}

fn sent_to(node: &NodeHandle, peer: NodeId) -> u64 {
    node.status().peers.iter().find(|it| it.peer == peer).map_or(0, |it| it.sent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e4_items_come_while_a_subscription_lasts_and_none_after_its_end_over_quic() {
    let nodes = Nodes::start(quic(2), |_| Topics::default()).await;
    until_linked(&nodes.0).await;
    let (one, two) = (&nodes.0[&N1], &nodes.0[&N2]);
    let mut outputs = two.outputs();

    publish(one, 0..100).await;
    assert_eq!(sent_to(one, N2), 0, "no frame for who does not subscribe");

    two.trigger(&Subscribe { topic: TOPIC }).await.expect("it runs");
    let settled: Settled = next(&mut outputs).await;
    assert!(settled.on);
    // A node counts what it has sent once that is on its way.
    until("the confirmation to count", || sent_to(one, N2) == 1).await;
    publish(one, 100..200).await;
    for item in 100..200 {
        let delivered: Delivered = next(&mut outputs).await;
        assert_eq!((delivered.item, delivered.publisher), (item, N1));
    }
    until("a frame for each item", || sent_to(one, N2) == 101).await;

    two.trigger(&Unsubscribe { topic: TOPIC }).await.expect("it runs");
    let settled: Settled = next(&mut outputs).await;
    assert!(!settled.on);
    until("the other confirmation to count", || sent_to(one, N2) == 102).await;
    publish(one, 200..300).await;
    let nothing = tokio::time::timeout(Duration::from_millis(100), outputs.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    assert_eq!(sent_to(one, N2), 102, "no frame after the end was confirmed");
    nodes.end().await;
}

// E5: a peer that restarts.

/// Sends a number each millisecond, and writes down links and numbers.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Stopwatch {
    sent: u64,
    /// The first and the last number of this life, with no gap in between.
    received: Option<(u64, u64)>,
    ups: u64,
    downs: u64,
}

impl Algorithm for Stopwatch {
    const NAME: &'static str = "stopwatch";
    const MODEL: Model =
        Model::ASYNCHRONOUS.tolerating(Faults::CrashRecovery(Tolerance::Exactly(1)));

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::go)
            .on(|it: &mut Self, _: PeerUp| it.ups += 1)
            .on(|it: &mut Self, _: PeerDown| it.downs += 1)
            .on(|it: &mut Self, Numbered(number): Numbered| {
                let first = it.received.map_or(number, |(first, last)| {
                    assert_eq!(number, last + 1, "no gap and nothing twice within a link");
                    first
                });
                it.received = Some((first, number));
            })
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() == N1 {
            ctx.after(Duration::from_millis(1), &Go);
        }
    }

    fn summary(&self) -> Summary {
        let (first, last) = self.received.unwrap_or_default();
        Summary::default()
            .with("sent", self.sent)
            .with("first", first)
            .with("last", last)
            .with("ups", self.ups)
            .with("downs", self.downs)
    }
}

impl Stopwatch {
    fn go(&mut self, _: Go, ctx: &mut Context) {
        ctx.send(N2, &Numbered(self.sent));
        self.sent += 1;
        ctx.after(Duration::from_millis(1), &Go);
    }
}

fn e5_held(cluster: &Cluster<'_, Stopwatch>) -> Verdict {
    let (Some(one), Some(two)) = (cluster.state(N1), cluster.state(N2)) else { return Ok(()) };
    if one.downs == 0 {
        return Ok(());
    }
    // It was down for 3 s, and hears everything since it is back.
    let (first, last) = two.received.unwrap_or_default();
    let is_back = (6_900..=7_100).contains(&first) && one.sent < last + 100;
    if is_back && (one.ups, one.downs) == (2, 1) {
        return Ok(());
    }
    Err(format!("{} sent, {first} to {last}; {} ups, {} downs", one.sent, one.ups, one.downs))
}

#[test]
fn e5_a_peer_that_restarts_after_three_seconds_is_told_and_hears_all_from_then_on_in_the_simulator()
{
    let late = Duration::from_millis(2_500);
    let scenario = Scenario::of(|_| Stopwatch::default());
    let scenario = scenario.property(Property::eventually("it is back", late, e5_held));
    let settings = Settings {
        time_us: 10_000_000,
        crashes: 1,
        down_max: 1,
        down_us: 5_000_000,
        noise_us: 5_000_000,
        ..Settings::calm(2)
    };
    let replay = Script::new(settings)
        .decide("crash.node 1", 2)
        .decide("crash.at 1", 4_000_000)
        .decide("crash.down 1", 3_000_000)
        .run(&scenario);
    assert_eq!(replay.violation, None);
    assert_eq!(replay.found, replay.decisions, "everything was asked for");
}

async fn start(id: NodeId, transport: Arc<QuicTransport>) -> NodeHandle {
    let builder = NodeBuilder::new(id, vec![N1, N2], Stopwatch::default);
    builder.transport(transport as Arc<dyn Transport>).start().await.expect("the node starts")
}

/// A tenth of the times of the simulation. The peer ends without a word, and its next life tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e5_a_peer_that_restarts_is_told_and_hears_all_from_then_on_over_quic() {
    let authority = authority();
    let transport = |node, peers: BTreeMap<NodeId, String>| {
        let bundle = Bundle { peers, ..bundle(&authority, node, 2) };
        Arc::new(QuicTransport::new(&bundle, Limits::default()).expect("a transport"))
    };
    let first = transport(N1, BTreeMap::new());
    let known = BTreeMap::from([(N1, first.local_address().to_string())]);
    let proxy = crate::proxy::Proxy::start(first.local_address()).await;
    let through = BTreeMap::from([(N1, proxy.address.to_string())]);
    let one = start(N1, Arc::clone(&first)).await;
    let two = start(N2, transport(N2, through)).await;
    until("the link", || value(&two, "last") > 0).await;

    tokio::time::sleep(Duration::from_millis(400)).await;
    proxy.cut(true, true);
    // What was under way arrives.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let last = value(&two, "last");
    two.shutdown(Duration::ZERO).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let restarted = Instant::now();
    let two = start(N2, transport(N2, known)).await;
    until("it is back", || value(&one, "ups") == 2 && value(&two, "last") > 0).await;
    let took = restarted.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");

    let status = one.status();
    let peer = status.peers.first().expect("a peer");
    assert_eq!((peer.ups, peer.downs, value(&one, "downs")), (2, 1, 1));
    let gap = value(&two, "first") - last - 1;
    let dropped: u64 = status.drops.values().sum();
    assert!(0 < gap && gap <= peer.lost + dropped, "{gap} are missing, {peer:?}, {dropped}");
    for node in [one, two] {
        node.shutdown(Duration::from_secs(5)).await;
    }
}

// E10: mistakes.

/// What only n1 knows.
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "scenarios.unknown")]
struct Unknown(u64);

/// More than a frame may hold.
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "scenarios.large")]
struct Large(Vec<u8>);

/// As much, and it says so.
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "scenarios.declared", bytes_max = 1_048_576)]
struct Declared(Vec<u8>);

/// A shape that n1 gives to an event, which it does not handle: events that both handle are compared when
/// they meet,
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "scenarios.shape")]
struct OneShape(String);

/// and that which n2 expects.
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "scenarios.shape")]
struct AnotherShape(u64);

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "scenarios.poison")]
struct Poison;

/// Makes every mistake that a sender can make, and goes on with numbers.
fn careless() -> HandlerSet<()> {
    let handlers = Handlers::new()
        .on(|_: &mut (), _: Go, ctx: &mut Context| {
            ctx.send(N2, &Unknown(1));
            ctx.send(N2, &Large(vec![0; 70_000]));
            ctx.send(N2, &Declared(vec![200; 1_000_000]));
            ctx.send(N2, &OneShape(String::from("three words long")));
            ctx.send(N2, &Poison);
            ctx.after(Duration::from_millis(10), &Number);
        })
        .on(|_: &mut (), _: Number, ctx: &mut Context| {
            ctx.send(N2, &Numbered(7));
            ctx.after(Duration::from_millis(10), &Number);
        })
        .on(|_: &mut (), _: Unknown| ())
        .on(|_: &mut (), _: Large| ())
        .on(|_: &mut (), _: Poison| ())
        .on(|_: &mut (), _: Numbered| ());
    HandlerSet::with((), handlers)
}

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "scenarios.number", local)]
struct Number;

/// Its handlers are registered in another order, too.
fn careful() -> HandlerSet<()> {
    let handlers = Handlers::new()
        .on(|_: &mut (), _: Numbered| ())
        .on(|_: &mut (), _: Poison| panic!("a bug"))
        .on(|_: &mut (), _: AnotherShape| ())
        .on(|_: &mut (), declared: Declared| assert!(declared.0 == [200; 1_000_000]))
        .on(|_: &mut (), _: Large| ());
    HandlerSet::with((), handlers)
}

fn handled(node: &NodeHandle, name: &str) -> u64 {
    let events = node.status().events;
    events.iter().find(|event| event.name == name).map_or(0, |event| event.handled)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e10_what_cannot_be_handled_is_counted_by_its_reason_and_the_rest_goes_on_over_quic() {
    let mut transports = quic(2);
    let mut transport = |node| transports.remove(&node).expect("a transport");
    let policy = PanicPolicy::Restart { restarts_max: 1, within: PATIENCE };
    let one = NodeBuilder::new(N1, vec![N1, N2], careless).transport(transport(N1));
    let two = NodeBuilder::new(N2, vec![N1, N2], careful).transport(transport(N2));
    let one = one.start().await.expect("the node starts");
    let two = two.on_panic(policy).start().await.expect("the node starts");
    let nodes = BTreeMap::from([(N1, one.clone()), (N2, two.clone())]);
    until_linked(&nodes).await;
    one.trigger(&Go).await.expect("it runs");

    until("the panic", || two.status().restarts == 1).await;
    let is_back = || two.status().peers.iter().all(|peer| peer.up && 0 < peer.downs);
    until("the link of the next life", is_back).await;
    let before = handled(&two, Numbered::NAME);
    until("numbers in the next life", || before + 3 <= handled(&two, Numbered::NAME)).await;
    assert_eq!(handled(&two, Declared::NAME), 1);
    let (one, two) = (one.status(), two.status());
    assert_eq!(one.drops.get("too_large"), Some(&1), "{:?}", one.drops);
    assert_eq!(one.drops.get("peer_unhandled"), Some(&1), "{:?}", one.drops);
    assert!(two.refusals.is_empty(), "{:?}", two.refusals);
    assert_eq!(two.drops.get("undecodable"), Some(&1), "{:?}", two.drops);
    let letter = two.dead_letters.first().expect("the event is kept");
    assert_eq!((letter.event.as_str(), letter.panic.as_str()), (Poison::NAME, "a bug"));
    assert!(two.running, "{two:?}");
    for node in nodes.into_values() {
        node.shutdown(Duration::from_secs(5)).await;
    }
}

#[test]
fn e10_what_cannot_be_handled_is_refused_by_its_reason_and_the_rest_goes_on_in_a_step() {
    let boot = Boot { id: N2, peers: vec![N1, N2], incarnation: 1, seed: 0 };
    let mut node = Node::new(boot, careful()).expect("its handlers fit together");
    let mut effects = Vec::new();
    let mut step = |input| node.step(Duration::ZERO, &input, &mut effects);
    let from_n1 = |envelope| Input::Deliver { from: N1, envelope };
    assert!(matches!(step(Input::Start), Ok(())));
    let unknown = step(from_n1(Envelope::seal(&Unknown(1))));
    assert!(
        matches!(unknown, Err(StepError::Unhandled(event)) if event == EventId::of(Unknown::NAME))
    );
    let local = step(from_n1(Envelope::seal(&Go)));
    assert!(local.is_err(), "{local:?}");
    let shape = step(from_n1(Envelope::seal(&OneShape(String::from("three words long")))));
    assert!(matches!(shape, Err(StepError::Decode { .. })), "{shape:?}");
    assert!(matches!(step(from_n1(Envelope::seal(&Numbered(7)))), Ok(())));
}
