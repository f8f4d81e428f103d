//! Three nodes over QUIC whose connections break over and over: nothing is lost, nothing comes
//! twice, nothing out of order, and no algorithm hears of it.
//!
//! A hundred breaks by default; a thousand with
//! `SYNOD_SOAK=1000 cargo test -p synod-tests --test it soak -- --nocapture`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use synod_core::{Context, Event, HandlerSet, Handlers, NodeId, PeerDown, Transport};
use synod_runtime::NodeBuilder;
use synod_transport_quic::{Authority, Limits, QuicTransport};

use crate::proxy::Proxy;
use crate::world::{Nodes, PATIENCE, anywhere, authority, certified_by, until};

/// Numbered by each node for each other one.
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "soak.numbered")]
struct Numbered {
    number: u64,
    text: String,
    checksum: u64,
}

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "soak.tick", local)]
struct Tick;

impl Numbered {
    fn new(number: u64, from: NodeId, to: NodeId) -> Self {
        let text: String = (0..number % 150).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
        let checksum = Self::check(number, &text, from, to);
        Self { number, text, checksum }
    }

    fn check(number: u64, text: &str, from: NodeId, to: NodeId) -> u64 {
        let seed = number ^ (u64::from(from.0) << 40) ^ (u64::from(to.0) << 48);
        let mix = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        text.bytes().fold(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), mix)
    }
}

/// What has gone from one node to another.
#[derive(Clone, Debug, Default)]
struct Flow {
    sent: u64,
    handled: u64,
}

/// What all nodes have done.
#[derive(Debug, Default)]
struct Ledger {
    flows: Mutex<BTreeMap<(NodeId, NodeId), Flow>>,
    wrong: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

impl Ledger {
    fn of<T>(&self, from: NodeId, to: NodeId, look: impl FnOnce(&mut Flow) -> T) -> T {
        let mut flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        look(flows.entry((from, to)).or_default())
    }

    fn complain(&self, what: String) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    fn receive(&self, event: &Numbered, from: NodeId, me: NodeId) {
        let expected = self.of(from, me, |flow| {
            flow.handled += 1;
            flow.handled - 1
        });
        if event.number != expected {
            self.complain(format!("{me}: {} of {from} in place of {expected}", event.number));
        }
        if event.checksum != Numbered::check(event.number, &event.text, from, me) {
            self.complain(format!("{me}: number {} of {from} is damaged", event.number));
        }
    }

    fn tick(&self, ctx: &mut Context) {
        let me = ctx.me();
        let others: Vec<NodeId> = ctx.peers().iter().copied().filter(|it| *it != me).collect();
        for to in others {
            let number = self.of(me, to, |flow| {
                flow.sent += 1;
                flow.sent - 1
            });
            ctx.send(to, &Numbered::new(number, me, to));
        }
        if !self.is_over.load(Ordering::Relaxed) {
            ctx.after(PERIOD, &Tick);
        }
    }
}

/// A node that sends to all others, and writes down what it receives.
fn witness(ledger: &Arc<Ledger>) -> HandlerSet<()> {
    let (ticks, numbers, downs) = (Arc::clone(ledger), Arc::clone(ledger), Arc::clone(ledger));
    let handlers = Handlers::new()
        .on(move |_: &mut (), _: Tick, ctx: &mut Context| ticks.tick(ctx))
        .on(move |_: &mut (), event: Numbered, from: NodeId, ctx: &mut Context| {
            numbers.receive(&event, from, ctx.me());
        })
        .on(move |_: &mut (), down: PeerDown, ctx: &mut Context| {
            if !downs.is_over.load(Ordering::Relaxed) {
                downs.complain(format!("{}: {} is down: {:?}", ctx.me(), down.peer, down.reason));
            }
        });
    HandlerSet::with((), handlers)
}

/// The ways to break the connection of two nodes.
#[derive(Clone, Copy, Debug)]
enum Break {
    Kill,
    PortChange,
    Pause,
    OneWayCut,
    /// A new certificate of one of them, which has to be shown.
    Renewal,
}

/// Two nodes, the relays between them, and what they send each other.
struct Pair {
    nodes: (NodeId, NodeId),
    transports: (Arc<QuicTransport>, Arc<QuicTransport>),
    authority: Arc<Authority>,
    there: Proxy,
    back: Proxy,
    ledger: Arc<Ledger>,
}

impl Pair {
    /// Breaks the connection, heals it, and waits for what was sent after that. Returns how long it
    /// took.
    async fn suffer(&self, how: Break, number: usize) -> Duration {
        match how {
            Break::Kill => self.transports.0.reconnect(self.nodes.1),
            Break::Renewal => self.renew(number.is_multiple_of(2)).await,
            Break::PortChange => {
                self.there.change_port();
                self.back.change_port();
            }
            Break::Pause => {
                self.there.cut(true, true);
                self.back.cut(true, true);
                tokio::time::sleep(BEYOND_IDLE).await;
            }
            Break::OneWayCut => {
                let to_second = number.is_multiple_of(2);
                self.there.cut(to_second, !to_second);
                self.back.cut(!to_second, to_second);
                tokio::time::sleep(BEYOND_IDLE).await;
            }
        }
        self.there.cut(false, false);
        self.back.cut(false, false);
        let healed = Instant::now();
        let (one, two) = self.nodes;
        for (from, to) in [(one, two), (two, one)] {
            let sent = self.ledger.of(from, to, |flow| flow.sent);
            while self.ledger.of(from, to, |flow| flow.handled) <= sent {
                assert!(healed.elapsed() < PATIENCE, "{from} to {to} after a {how:?}");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        healed.elapsed()
    }

    /// Gives one of them another certificate, and waits for the connection that shows it.
    async fn renew(&self, the_first: bool) {
        let ((one, two), (first, second)) = (self.nodes, &self.transports);
        let (node, peer, transport) =
            if the_first { (one, two, first) } else { (two, one, second) };
        let resumed = || transport.links().iter().find(|it| it.peer == peer).map(|it| it.resumed);
        let before = resumed();
        transport.renew(&anywhere(&self.authority, node, NODES)).expect("a good bundle");
        until("the connection with the new certificate", || before < resumed()).await;
    }

    /// Breaks the connection so many times, in all ways.
    async fn suffer_all(self, breaks: usize) -> Vec<(Break, Duration)> {
        let ways = [Break::Kill, Break::Pause, Break::PortChange, Break::OneWayCut, Break::Renewal];
        let mut took = Vec::new();
        for (number, how) in (0..breaks).zip(ways.into_iter().cycle()) {
            took.push((how, self.suffer(how, number / ways.len()).await));
        }
        took
    }
}

fn limits() -> Limits {
    Limits {
        idle_timeout: IDLE,
        keep_alive: Duration::from_millis(60),
        redial_after: Duration::from_millis(250),
        // Longer than a busy machine can stall.
        session_grace: PATIENCE,
        ..Limits::default()
    }
}

/// A pair for every two nodes, with a relay in each direction.
async fn pairs(
    authority: Authority,
    transports: &BTreeMap<NodeId, Arc<QuicTransport>>,
    ledger: &Arc<Ledger>,
) -> Vec<Pair> {
    let authority = Arc::new(authority);
    let mut pairs = Vec::new();
    for (one, first) in transports {
        for (two, second) in transports.range(NodeId(one.0 + 1)..) {
            let there = Proxy::start(second.local_address()).await;
            let back = Proxy::start(first.local_address()).await;
            first.set_address(*two, there.address);
            second.set_address(*one, back.address);
            let (nodes, transports) = ((*one, *two), (Arc::clone(first), Arc::clone(second)));
            let (authority, ledger) = (Arc::clone(&authority), Arc::clone(ledger));
            pairs.push(Pair { nodes, transports, authority, there, back, ledger });
        }
    }
    pairs
}

async fn start(transports: &BTreeMap<NodeId, Arc<QuicTransport>>, ledger: &Arc<Ledger>) -> Nodes {
    let ids: Vec<NodeId> = transports.keys().copied().collect();
    let mut nodes = BTreeMap::new();
    for (id, transport) in transports {
        let ledger = Arc::clone(ledger);
        let builder = NodeBuilder::new(*id, ids.clone(), move || witness(&ledger));
        let transport = Arc::clone(transport) as Arc<dyn Transport>;
        nodes.insert(*id, builder.transport(transport).start().await.expect("the node starts"));
    }
    Nodes(nodes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_break_over_and_over_lose_double_and_reorder_nothing() {
    let asked = std::env::var("SYNOD_SOAK").ok().and_then(|count| count.parse().ok());
    let breaks: usize = asked.unwrap_or(BREAKS);
    let ledger = Arc::new(Ledger::default());
    let authority = authority();
    let transports = certified_by(&authority, NODES, &limits());
    let pairs = pairs(authority, &transports, &ledger).await;
    let nodes = start(&transports, &ledger).await;
    let linked = || nodes.0.values().all(|node| node.status().peers.iter().all(|peer| peer.up));
    until("all links", linked).await;
    for node in nodes.0.values() {
        node.trigger(&Tick).await.expect("it runs");
    }

    let begin = Instant::now();
    let each = breaks.div_ceil(pairs.len());
    let suffering: Vec<_> =
        pairs.into_iter().map(|pair| tokio::spawn(pair.suffer_all(each))).collect();
    let mut took = Vec::new();
    for pair in suffering {
        took.extend(pair.await.expect("the pair recovers"));
    }
    ledger.is_over.store(true, Ordering::Relaxed);
    let flows = || ledger.flows.lock().unwrap_or_else(PoisonError::into_inner).clone();
    until("the last event", || flows().values().all(|flow| flow.handled == flow.sent)).await;
    // What comes twice comes late.
    tokio::time::sleep(BEYOND_IDLE).await;

    let wrong = ledger.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(flows().values().all(|flow| flow.handled == flow.sent), "{:?}", flows());
    let resumed: u64 = nodes
        .0
        .values()
        .flat_map(|node| node.status().peers)
        .map(|peer| {
            assert_eq!((peer.ups, peer.downs, peer.lost), (1, 0, 0), "{peer:?}");
            peer.resumed
        })
        .sum();
    tell(&took, flows().values().map(|flow| flow.sent).sum(), resumed, begin.elapsed());
    nodes.end().await;
}

/// Prints what came of it, and holds it against the aim.
#[expect(clippy::print_stdout, reason = "the figures are for people")]
fn tell(took: &[(Break, Duration)], events: u64, resumed: u64, within: Duration) {
    println!("{} breaks in {within:.1?}, {events} events, {resumed} ends resumed", took.len());
    for (name, is) in WAYS {
        let mut times: Vec<_> =
            took.iter().filter(|(how, _)| is(how)).map(|(_, time)| *time).collect();
        times.sort_unstable();
        let at = |percent: usize| {
            let place = times.len().saturating_sub(1) * percent / 100;
            *times.get(place).expect("breaks of every kind")
        };
        println!("  {name}: p50 {:.0?}, p99 {:.0?}, most {:.0?}", at(50), at(99), at(100));
        assert!(at(50) < RESUMED_WITHIN, "half of them took longer than {:?}", at(50));
    }
    // At the least, every pause and every kill is another connection at both ends.
    assert!(took.len() as u64 <= resumed, "{resumed} ends resumed");
}

/// The name of a way to break, and what it is.
type Way = (&'static str, fn(&Break) -> bool);

const WAYS: [Way; 5] = [
    ("kill of the connection", |how| matches!(how, Break::Kill)),
    ("change of ports", |how| matches!(how, Break::PortChange)),
    ("pause beyond the idle time", |how| matches!(how, Break::Pause)),
    ("one-way cut beyond the idle time", |how| matches!(how, Break::OneWayCut)),
    ("renewal of a certificate", |how| matches!(how, Break::Renewal)),
];

const NODES: u32 = 3;
const BREAKS: usize = 100;
const PERIOD: Duration = Duration::from_millis(5);
const IDLE: Duration = Duration::from_millis(500);
const BEYOND_IDLE: Duration = Duration::from_millis(650);

/// From the return of the link to the arrival of what is sent then.
const RESUMED_WITHIN: Duration = Duration::from_secs(1);
