//! Nodes on loopback, and an inbox that remembers everything and can be waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use synod_core::{
    Envelope, Envelopes, EventId, Hello, Inbox, Instance, Lane, LaneId, LinkChange, NodeId, Reason,
    Refusal, Room, Tag, Transport, WireEvent,
};
use synod_transport_quic::{Authority, Bundle, Limits, QuicTransport};

pub(crate) const N1: NodeId = NodeId(1);
pub(crate) const N2: NodeId = NodeId(2);
pub(crate) const N3: NodeId = NodeId(3);
pub(crate) const LANE: Lane = Lane::Ordered(LaneId(7));
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What an inbox has been told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) links: Vec<(NodeId, LinkChange)>,
    pub(crate) events: Vec<(NodeId, Lane, Envelope)>,
    pub(crate) refusals: Vec<Refusal>,
    up: BTreeMap<NodeId, bool>,
    /// What the contract of `Inbox` forbids.
    broken: Vec<String>,
}

impl Told {
    pub(crate) fn is_up(&self, peer: NodeId) -> bool {
        self.up.get(&peer).copied().unwrap_or(false)
    }

    pub(crate) fn numbers(&self, lane: Lane) -> Vec<u64> {
        self.events.iter().filter(|event| event.1 == lane).map(|event| number(&event.2)).collect()
    }

    pub(crate) fn refusal(&self, kind: &str) -> Option<&Refusal> {
        self.refusals.iter().find(|refusal| refusal.kind == kind)
    }

    pub(crate) fn unreachable(&self) -> Vec<&str> {
        let texts = self.links.iter().filter_map(|(_, change)| match change {
            LinkChange::Unreachable(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    pub(crate) fn downs(&self) -> usize {
        self.links.iter().filter(|(_, change)| matches!(change, LinkChange::Down(_))).count()
    }
}

/// An inbox that remembers, and takes nothing more while its gate is shut.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    told: Mutex<Told>,
    changed: Condvar,
    gate: Arc<Gate>,
    pub(crate) turns_away: AtomicBool,
    pub(crate) is_hung: AtomicBool,
}

#[derive(Debug, Default)]
struct Gate {
    is_shut: Mutex<bool>,
    waiting: Mutex<Vec<Waker>>,
}

impl Mailbox {
    pub(crate) fn shut(&self) {
        *self.gate.is_shut.lock().unwrap() = true;
    }

    pub(crate) fn open(&self) {
        *self.gate.is_shut.lock().unwrap() = false;
        self.gate.waiting.lock().unwrap().drain(..).for_each(Waker::wake);
    }

    /// Waits until `condition` gives a value, and fails loudly if it does not.
    pub(crate) fn wait<T>(&self, what: &str, condition: impl Fn(&Told) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut told = self.told.lock().unwrap();
        loop {
            assert!(told.broken.is_empty(), "{:?}", told.broken);
            if let Some(value) = condition(&told) {
                return value;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "waited in vain for {what}: {} events, {:?}, {:?}",
                told.events.len(),
                told.links,
                told.refusals
            );
            told = self.changed.wait_timeout(told, left).unwrap().0;
        }
    }

    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn(&Told) -> bool) {
        self.wait(what, |told| condition(told).then_some(()));
    }

    pub(crate) fn look<T>(&self, at: impl Fn(&Told) -> T) -> T {
        at(&self.told.lock().unwrap())
    }

    fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.told.lock().unwrap());
        self.changed.notify_all();
    }
}

impl Inbox for Mailbox {
    fn deliver(&self, from: NodeId, lane: Lane, batch: Envelopes) -> Option<Room> {
        self.tell(|told| {
            if !told.is_up(from) {
                told.broken.push(format!("a delivery from {from}, which is not up"));
            }
            let event = batch.event();
            let batch: Vec<_> = batch.map(|envelope| (from, lane, envelope)).collect();
            if batch.is_empty() || batch.iter().any(|(.., it)| it.event() != event) {
                told.broken.push(String::from("a batch is not of one event type"));
            }
            told.events.extend(batch);
        });
        let gate = Arc::clone(&self.gate);
        let is_shut = *gate.is_shut.lock().unwrap();
        is_shut.then(|| -> Room {
            Box::pin(poll_fn(move |context| {
                let is_shut = gate.is_shut.lock().unwrap();
                if !*is_shut {
                    return Poll::Ready(());
                }
                gate.waiting.lock().unwrap().push(context.waker().clone());
                Poll::Pending
            }))
        })
    }

    fn admits(&self, _: NodeId) -> bool {
        !self.turns_away.load(Ordering::Relaxed)
    }

    fn hung(&self) -> Option<String> {
        let is_hung = self.is_hung.load(Ordering::Relaxed);
        is_hung.then(|| String::from("the handler of `a` has run for 20 s"))
    }

    fn link(&self, peer: NodeId, change: LinkChange) {
        self.tell(|told| {
            let was_up = told.is_up(peer);
            let is_up = matches!(change, LinkChange::Up { .. });
            let is_fine = match &change {
                LinkChange::Up { .. } | LinkChange::Unreachable(_) => !was_up,
                _ => was_up,
            };
            if !is_fine {
                told.broken.push(format!("{peer}: {change:?} while up is {was_up}"));
            }
            told.up.insert(peer, is_up);
            told.links.push((peer, change));
        });
    }

    fn refused(&self, refusal: Refusal) {
        self.tell(|told| told.refusals.push(refusal));
    }
}

/// A node on loopback.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) transport: QuicTransport,
    pub(crate) inbox: Arc<Mailbox>,
}

impl Peer {
    pub(crate) fn wait_up(&self, peer: NodeId) {
        self.inbox.wait_until("a link", |told| told.is_up(peer));
    }

    pub(crate) fn wait_down(&self, peer: NodeId) {
        self.inbox.wait_until("the end of a link", |told| !told.is_up(peer));
    }

    /// Waits until links were down so many times, the last time because the peer has ended it for
    /// `reason`. A peer whose last frame is lost, or overtaken by a reset, is silent instead, and
    /// then both sides may be linked anew already.
    pub(crate) fn wait_down_by_peer(&self, downs: usize, reason: Reason) {
        self.inbox.wait_until("the end of a link", |told| told.downs() == downs);
        let last = self.inbox.look(|told| {
            let down = told.links.iter().rev().find_map(|(_, change)| match change {
                LinkChange::Down(reason) => Some(*reason),
                _ => None,
            });
            down.unwrap()
        });
        assert!([reason, Reason::Silent].contains(&last), "{last:?}");
    }

    pub(crate) fn send(&self, to: NodeId, lane: Lane, count: u64) {
        self.transport.send(to, lane, &event("a", count)).expect("the link is up");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.transport.local_address()
    }

    /// Waits for the farewell on a runtime of its own.
    pub(crate) fn close(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let closing = self.transport.close(PATIENCE);
        let waited = runtime.block_on(async { tokio::time::timeout(PATIENCE, closing).await });
        waited.expect("a transport closes in time");
    }
}

pub(crate) fn authority() -> Authority {
    Authority::new("demo", DAY).unwrap()
}

pub(crate) fn bundle(authority: &Authority, node: NodeId, nodes: &[NodeId]) -> Bundle {
    Bundle {
        cluster: authority.cluster().clone(),
        node,
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        credentials: authority.issue(node, DAY).unwrap(),
        authorities: vec![String::from(authority.certificate_pem())],
        revocations: Vec::new(),
        peers: nodes.iter().map(|node| (*node, String::from("127.0.0.1:9"))).collect(),
        members: BTreeSet::new(),
    }
}

/// Each start of a node has a higher one.
static INCARNATION: AtomicU64 = AtomicU64::new(1);

/// What the events of a [`hello`] hold.
pub(crate) const LAYOUT: &str = "bytes";

pub(crate) fn hello(node: NodeId, events: &[&str]) -> Hello {
    let events = events.iter().map(|name| WireEvent {
        id: EventId::of(name),
        name: String::from(*name),
        layout: String::from(LAYOUT),
        bytes_max: Envelope::BYTES_MAX,
    });
    let incarnation = INCARNATION.fetch_add(1, Ordering::Relaxed);
    Hello { node, incarnation, events: events.collect() }
}

/// The largest envelope of the event `a` in [`large_hello`].
pub(crate) const LARGE: u32 = 1_000_000;

/// A node that handles `b`, and large events `a`.
pub(crate) fn large_hello(node: NodeId) -> Hello {
    let mut hello = hello(node, &["a", "b"]);
    hello.events[0].bytes_max = LARGE;
    hello
}

/// An event of so many bytes, the first of which are a number.
pub(crate) fn large(name: &str, number: u64, bytes: usize) -> Envelope {
    let mut body = number.to_le_bytes().to_vec();
    body.resize(bytes, 7);
    Envelope::from_parts(EventId::of(name), Instance::ROOT, Tag::Plain, body.into())
}

/// Starts a node that handles the events `a` and `b`.
pub(crate) fn start(bundle: &Bundle) -> Peer {
    start_with(bundle, hello(bundle.node, &["a", "b"]), Limits::default())
}

pub(crate) fn start_with(bundle: &Bundle, hello: Hello, limits: Limits) -> Peer {
    let transport = QuicTransport::new(bundle, limits).unwrap();
    let inbox = Arc::new(Mailbox::default());
    transport.start(hello, Arc::clone(&inbox) as Arc<dyn Inbox>).unwrap();
    Peer { node: bundle.node, transport, inbox }
}

/// Tells every node where the others are.
pub(crate) fn introduce(peers: &[&Peer]) {
    for one in peers {
        for other in peers {
            one.transport.set_address(other.node, other.address());
        }
    }
}

/// Two linked nodes, the first of which has dialled.
pub(crate) fn pair() -> (Peer, Peer) {
    let authority = authority();
    let one = start(&bundle(&authority, N1, &[N1, N2]));
    let two = start(&bundle(&authority, N2, &[N1, N2]));
    link(&one, &two);
    (one, two)
}

pub(crate) fn link(one: &Peer, two: &Peer) {
    introduce(&[one, two]);
    one.transport.connect(two.node);
    one.wait_up(two.node);
    two.wait_up(one.node);
}

/// An event that carries a number.
pub(crate) fn event(name: &str, number: u64) -> Envelope {
    let body = Bytes::copy_from_slice(&number.to_le_bytes());
    Envelope::from_parts(EventId::of(name), Instance::ROOT, Tag::Plain, body)
}

pub(crate) fn number(envelope: &Envelope) -> u64 {
    u64::from_le_bytes(*envelope.body().first_chunk().unwrap())
}

/// Fails unless `text` has every one of `parts`.
pub(crate) fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is missing in: {text}");
    }
}

/// Fails unless a close frame said so. Under load a reset can overtake the frame within QUIC; the
/// connection has ended then all the same.
pub(crate) fn assert_heard(text: &str, parts: &[&str]) {
    if text != "reset by peer" {
        assert_says(text, parts);
    }
}

/// A directory that is gone after the test.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("synod-quic-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
