//! Two nodes over QUIC on a network that misbehaves for longer than a connection bears it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use synod_core::{Context, Event, HandlerSet, Handlers, NodeId, PeerDown, Reason, Transport};
use synod_runtime::{NodeBuilder, NodeHandle};
use synod_transport_quic::{Limits, QuicTransport};
use tokio::net::UdpSocket;

use crate::proxy::Proxy;
use crate::world::{Nodes, certified, until};

/// Asks a node to send so many letters.
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "network.post", local)]
struct Post {
    letters: u64,
    bytes: usize,
}

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "network.letter")]
struct Letter {
    number: u64,
    text: String,
}

/// What a node has seen of the other one.
#[derive(Clone, Debug, Default)]
struct Seen {
    sent: u64,
    letters: Vec<u64>,
    downs: Vec<Reason>,
}

type Diary = Arc<Mutex<Seen>>;

fn read<T>(diary: &Diary, look: impl FnOnce(&mut Seen) -> T) -> T {
    look(&mut diary.lock().unwrap_or_else(PoisonError::into_inner))
}

fn writer(diary: &Diary) -> HandlerSet<()> {
    let (posts, letters, downs) = (Arc::clone(diary), Arc::clone(diary), Arc::clone(diary));
    let handlers = Handlers::new()
        .on(move |_: &mut (), post: Post, ctx: &mut Context| {
            let other = if ctx.me() == ONE { TWO } else { ONE };
            for _ in 0..post.letters {
                let number = read(&posts, |seen| {
                    seen.sent += 1;
                    seen.sent - 1
                });
                ctx.send(other, &Letter { number, text: "x".repeat(post.bytes) });
            }
        })
        .on(move |_: &mut (), letter: Letter| {
            read(&letters, |seen| seen.letters.push(letter.number));
        })
        .on(move |_: &mut (), down: PeerDown| read(&downs, |seen| seen.downs.push(down.reason)));
    HandlerSet::with((), handlers)
}

/// Two nodes with a relay between them, in the direction of each one's dials.
struct World {
    nodes: Nodes,
    diaries: BTreeMap<NodeId, Diary>,
    to_two: Proxy,
    to_one: Proxy,
    transports: BTreeMap<NodeId, Arc<QuicTransport>>,
}

impl World {
    async fn start(limits: &Limits) -> Self {
        Self::start_on_path(limits, None).await
    }

    /// The same where larger packets never pass, if that is given.
    async fn start_on_path(limits: &Limits, packet_bytes: Option<usize>) -> Self {
        let transports = certified(2, limits);
        let of = |node| transports.get(&node).expect("one of two");
        let (one, two): (&Arc<QuicTransport>, _) = (of(ONE), of(TWO));
        let to_two = Proxy::start(two.local_address()).await;
        let to_one = Proxy::start(one.local_address()).await;
        for relay in [&to_two, &to_one] {
            packet_bytes.into_iter().for_each(|bytes| relay.drop_larger_than(bytes));
        }
        one.set_address(TWO, to_two.address);
        two.set_address(ONE, to_one.address);
        let (mut nodes, mut diaries) = (BTreeMap::new(), BTreeMap::new());
        for (id, transport) in &transports {
            let diary = Diary::default();
            let kept = Arc::clone(&diary);
            let builder = NodeBuilder::new(*id, vec![ONE, TWO], move || writer(&kept));
            let transport = Arc::clone(transport) as Arc<dyn Transport>;
            nodes.insert(*id, builder.transport(transport).start().await.expect("it starts"));
            diaries.insert(*id, diary);
        }
        let world = Self { nodes: Nodes(nodes), diaries, to_two, to_one, transports };
        until("the link", || world.are_linked(1)).await;
        world
    }

    /// Whether both nodes say that their link is up, and has come up so many times at least.
    fn are_linked(&self, ups: u64) -> bool {
        let mut peers = self.nodes.0.values().flat_map(|node| node.status().peers);
        peers.all(|peer| peer.up && ups <= peer.ups)
    }

    /// Whether both nodes say that their link is down.
    fn are_apart(&self) -> bool {
        self.nodes.0.values().flat_map(|node| node.status().peers).all(|peer| !peer.up)
    }

    fn node(&self, id: NodeId) -> &NodeHandle {
        self.nodes.0.get(&id).expect("one of two")
    }

    fn diary(&self, id: NodeId) -> &Diary {
        self.diaries.get(&id).expect("one of two")
    }

    async fn post(&self, from: NodeId, letters: u64, bytes: usize) {
        self.node(from).trigger(&Post { letters, bytes }).await.expect("it runs");
    }

    fn letters(&self, at: NodeId) -> Vec<u64> {
        read(self.diary(at), |seen| seen.letters.clone())
    }

    fn downs(&self, at: NodeId) -> Vec<Reason> {
        read(self.diary(at), |seen| seen.downs.clone())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_only_one_way_works_the_link_is_down_on_both_sides_until_both_do() {
    let limits = Limits {
        idle_timeout: Duration::from_millis(400),
        keep_alive: Duration::from_millis(50),
        redial_after: Duration::from_millis(200),
        session_grace: Duration::from_millis(800),
        ..Limits::default()
    };
    let world = World::start(&limits).await;
    // Whatever the second node says arrives; it hears nothing.
    world.to_two.cut(true, false);
    world.to_one.cut(false, true);
    until("both ends", || world.are_apart()).await;
    for node in [ONE, TWO] {
        assert_eq!(world.downs(node).last(), Some(&Reason::Silent), "{node}");
    }
    let downs = [ONE, TWO].map(|node| world.downs(node).len());
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(world.are_apart());
    assert_eq!([ONE, TWO].map(|node| world.downs(node).len()), downs, "it came up meanwhile");
    world.to_two.cut(false, false);
    world.to_one.cut(false, false);
    until("the link", || world.are_linked(2)).await;
    world.nodes.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_takes_only_small_packets_from_now_on_holds_a_transfer_up_and_loses_nothing() {
    let world = World::start(&Limits::default()).await;
    world.post(ONE, 100, 30_000).await;
    until("what large packets carry", || world.letters(TWO).len() == 100).await;
    let largest = world.to_two.largest().max(world.to_one.largest());
    assert!(1_452 < largest, "no packet was larger than {largest} bytes");
    for relay in [&world.to_two, &world.to_one] {
        relay.drop_larger_than(1_300);
    }
    world.post(ONE, 100, 30_000).await;
    world.post(TWO, 10, 100).await;
    until("what small packets carry", || world.letters(TWO).len() == 200).await;
    until("the way back", || world.letters(ONE).len() == 10).await;
    assert_eq!(world.letters(TWO), (0..200).collect::<Vec<u64>>());
    assert!(world.downs(ONE).is_empty() && world.downs(TWO).is_empty());
    world.nodes.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn within_a_machine_a_relay_that_takes_only_small_packets_is_noticed_and_nothing_is_lost() {
    let world = World::start_on_path(&Limits::default(), Some(1_300)).await;
    world.post(ONE, 50, 30_000).await;
    world.post(TWO, 50, 30_000).await;
    until("the letters", || world.letters(TWO).len() == 50).await;
    until("the way back", || world.letters(ONE).len() == 50).await;
    world.transports[&ONE].reconnect(TWO);
    world.post(ONE, 50, 30_000).await;
    until("what another connection carries", || world.letters(TWO).len() == 100).await;
    assert_eq!(world.letters(TWO), (0..100).collect::<Vec<u64>>());
    assert!(world.downs(ONE).is_empty() && world.downs(TWO).is_empty());
    world.nodes.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_endpoint_has_died_is_not_ready_until_it_is_open_again() {
    let world = World::start(&Limits::default()).await;
    let node = world.node(TWO);
    assert!(node.status().is_ready());
    let began = Instant::now();
    // Each death after the first is followed by a longer pause.
    while node.status().is_ready() {
        world.transports[&TWO].fail_socket();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(began.elapsed() < Duration::from_secs(1), "it is deaf and says it is ready");
    }
    until("an endpoint", || node.status().is_ready()).await;
    world.post(ONE, 10, 64).await;
    until("the letters", || world.letters(TWO).len() == 10).await;
    assert!(world.downs(ONE).is_empty() && world.downs(TWO).is_empty());
    world.nodes.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_handshakes_are_many_a_dialler_proves_its_address_first() {
    for (handshakes_before_retry, is_asked) in [(0, true), (32, false)] {
        let limits = Limits { handshakes_before_retry, ..Limits::default() };
        let world = World::start(&limits).await;
        let retries = world.to_one.retries() + world.to_two.retries();
        assert_eq!(0 < retries, is_asked, "{retries} with {handshakes_before_retry}");
        world.nodes.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_at_the_port_disturbs_no_link_and_is_answered_with_less_than_came() {
    let world = World::start(&Limits::default()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    socket.connect(world.transports[&TWO].local_address()).await.expect("loopback");
    let (mut sent, mut answered, mut noise) = (0, 0, 1_u64);
    let mut answer = vec![0; 65_536];
    for round in 0..50_u64 {
        world.post(ONE, 1, 64).await;
        for size in [1, 20, 60, 1_200].into_iter().cycle().take(100) {
            let mut packet = vec![0; size];
            for byte in &mut packet {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = noise.to_be_bytes()[0];
            }
            sent += socket.send(&packet).await.expect("loopback takes it");
            while let Ok(size) = socket.try_recv(&mut answer) {
                answered += size;
            }
        }
        until("a letter", || round < world.letters(TWO).len() as u64).await;
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(200) {
        tokio::time::sleep(Duration::from_millis(10)).await;
        while let Ok(size) = socket.try_recv(&mut answer) {
            answered += size;
        }
    }
    assert!(answered < sent, "{answered} bytes for {sent}");
    assert_eq!(world.letters(TWO), (0..50).collect::<Vec<u64>>());
    assert!(world.downs(ONE).is_empty() && world.downs(TWO).is_empty());
    world.nodes.end().await;
}

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
