//! Joining: nodes that are given the addresses of two seeds find all others, and start when enough
//! of them are there.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex, PoisonError};

use synod_algorithms::Gathering;
use synod_core::{Algorithm, Context, Handlers, NodeId, PeerUp, Transport};
use synod_runtime::{NodeBuilder, NodeHandle};
use synod_simulator::{Scenario, Simulation};
use synod_transport_quic::{Authority, Bundle, Limits, QuicTransport};

use crate::proxy::Proxy;
use crate::world::{Nodes, authority, bundle, seeded, until};

const SEEDS: u32 = 2;
const NODES: u32 = 7;

/// With how many linked peers each node's start handler ran.
#[derive(Debug, Default)]
struct Starts {
    transports: Mutex<BTreeMap<NodeId, Arc<QuicTransport>>>,
    linked: Mutex<BTreeMap<NodeId, usize>>,
}

impl Starts {
    fn started(&self, node: NodeId) {
        let transports = self.transports.lock().unwrap_or_else(PoisonError::into_inner);
        let links = transports.get(&node).expect("it runs").links();
        let linked = links.iter().filter(|link| link.incarnation.is_some()).count();
        self.linked.lock().unwrap_or_else(PoisonError::into_inner).insert(node, linked);
    }

    fn count(&self) -> usize {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// An algorithm whose start handler notes who is there.
struct Noting(Arc<Starts>);

impl Algorithm for Noting {
    const NAME: &'static str = "noting";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|_: &mut Self, _: PeerUp| ())
    }

    fn start(&mut self, ctx: &mut Context) {
        self.0.started(ctx.me());
    }
}

async fn start(
    id: NodeId,
    transport: &Arc<QuicTransport>,
    starts: &Arc<Starts>,
    after: usize,
) -> NodeHandle {
    starts
        .transports
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(id, Arc::clone(transport));
    let starts = Arc::clone(starts);
    let members = (1..=NODES).map(NodeId).collect();
    let builder =
        NodeBuilder::new(id, members, move || Noting(Arc::clone(&starts))).start_after(after);
    let transport = Arc::clone(transport) as Arc<dyn Transport>;
    builder.transport(transport).start().await.expect("the node starts")
}

/// How many links are up, each counted at both ends.
fn ends(nodes: &Nodes) -> usize {
    let up = |node: &NodeHandle| node.status().peers.iter().filter(|peer| peer.up).count();
    nodes.0.values().map(up).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e9_two_seeds_and_five_others_link_all_21_pairs_and_start_when_all_are_there() {
    let transports = seeded(NODES, SEEDS);
    let starts = Arc::new(Starts::default());
    let everybody = NODES as usize - 1;
    let mut nodes = Nodes(BTreeMap::new());
    for (id, transport) in &transports {
        assert_eq!(starts.count(), 0, "nobody starts before the last one is there");
        nodes.0.insert(*id, start(*id, transport, &starts, everybody).await);
    }
    until("all links", || ends(&nodes) == 42).await;
    until("all starts", || starts.count() == NODES as usize).await;
    let linked = starts.linked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(linked.values().all(|linked| *linked == everybody), "{linked:?}");
    assert!(nodes.0.values().all(|node| node.status().started));
    nodes.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_back_at_another_address_is_found_there() {
    let authority = authority();
    let transports = seeded_by(&authority, 4);
    let starts = Arc::new(Starts::default());
    let mut nodes = Nodes(BTreeMap::new());
    for (id, transport) in &transports {
        nodes.0.insert(*id, start(*id, transport, &starts, 0).await);
    }
    until("all links", || ends(&nodes) == 12).await;
    let gone = NodeId(4);
    let before = transports.get(&gone).expect("a transport").local_address();
    nodes.kill(gone).await;
    until("its absence", || ends(&nodes) == 6).await;

    let seed = transports.get(&NodeId(1)).expect("a seed").local_address().to_string();
    let known = BTreeMap::from([(NodeId(1), seed)]);
    let anew = Bundle { peers: known, ..bundle(&authority, gone, NODES) };
    let anew = Arc::new(QuicTransport::new(&anew, Limits::default()).expect("a transport"));
    assert_ne!(anew.local_address(), before);
    nodes.0.insert(gone, start(gone, &anew, &starts, 0).await);
    until("all links again", || ends(&nodes) == 12).await;
    nodes.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_moves_while_it_runs_is_looked_for_where_it_is_now() {
    let authority = authority();
    let mut transports = seeded_by(&authority, 3);
    let seed = transports.get(&NodeId(1)).expect("a seed").local_address();
    let proxy = Proxy::start(seed).await;
    // It knows by itself neither where it is nor where the third node is.
    let nobody = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let nowhere = nobody.local_addr().expect("bound").to_string();
    let peers = BTreeMap::from([(NodeId(1), proxy.address.to_string()), (NodeId(3), nowhere)]);
    let anywhere = "0.0.0.0:0".parse().expect("an address");
    let moving = Bundle { listen: anywhere, peers, ..bundle(&authority, NodeId(2), 3) };
    let moving = QuicTransport::new(&moving, Limits::default()).expect("a transport");
    transports.insert(NodeId(2), Arc::new(moving));
    let starts = Arc::new(Starts::default());
    let mut nodes = Nodes(BTreeMap::new());
    for (id, transport) in &transports {
        nodes.0.insert(*id, start(*id, transport, &starts, 0).await);
    }
    let third = nodes.0.get(&NodeId(3)).expect("it runs").clone();
    let looks_at = || {
        let peers = third.status().peers;
        let error = peers.into_iter().find(|peer| peer.peer == NodeId(2))?.last_error?;
        Some(String::from(error.strip_prefix("no answer from n2 at ")?.split_once('/')?.0))
    };
    until("an attempt", || looks_at().is_some()).await;
    let before = looks_at();
    proxy.change_port();
    until("an attempt elsewhere", || looks_at().is_some_and(|it| Some(it) != before)).await;
    nodes.end().await;
}

/// One seed, and others, all with certificates of this authority.
fn seeded_by(authority: &Authority, nodes: u32) -> BTreeMap<NodeId, Arc<QuicTransport>> {
    let (mut known, mut transports) = (BTreeMap::new(), BTreeMap::new());
    for node in (1..=nodes).map(NodeId) {
        let bundle = Bundle { peers: known.clone(), ..bundle(authority, node, NODES) };
        let transport = QuicTransport::new(&bundle, Limits::default()).expect("a transport");
        if known.is_empty() {
            known.insert(node, transport.local_address().to_string());
        }
        transports.insert(node, Arc::new(transport));
    }
    transports
}

#[test]
fn e9_seven_nodes_gather_in_the_simulator_and_no_barrier_opens_too_early() {
    let scenario = Scenario::of(|_| Gathering::of(NODES as usize - 1));
    Simulation::new(&scenario, NODES).run(0..200).expect_clean();
}
