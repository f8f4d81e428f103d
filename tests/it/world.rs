//! Clusters of real nodes: over memory, or over QUIC on the loopback interface.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use synod_core::{NodeId, Stack, Transport};
use synod_runtime::{MemoryNetwork, NodeBuilder, NodeHandle};
use synod_transport_quic::{Authority, Bundle, Limits, QuicTransport};

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `holds`, and says what for if it is in vain.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A number in the summary of a node; 0 if it is not there.
pub(crate) fn value(node: &NodeHandle, name: &str) -> u64 {
    let summary = node.status().summary;
    let value = summary.iter().find(|(key, _)| key == name).map(|(_, value)| value.parse());
    value.and_then(Result::ok).unwrap_or_default()
}

/// The nodes of a cluster that are running.
pub(crate) struct Nodes(pub(crate) BTreeMap<NodeId, NodeHandle>);

impl Nodes {
    /// Starts a node of `make` on each transport.
    pub(crate) async fn start<T: Stack>(
        transports: BTreeMap<NodeId, Arc<dyn Transport>>,
        make: fn(NodeId) -> T,
    ) -> Self {
        let ids: Vec<NodeId> = transports.keys().copied().collect();
        let mut nodes = BTreeMap::new();
        for (id, transport) in transports {
            let builder = NodeBuilder::new(id, ids.clone(), move || make(id));
            let node = builder.transport(transport).start().await;
            nodes.insert(id, node.expect("the node starts"));
        }
        Self(nodes)
    }

    /// Waits until every running node's summary holds what `wanted` says.
    pub(crate) async fn settle(&self, wanted: impl Fn(NodeId, &BTreeMap<String, String>) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen: Vec<(NodeId, BTreeMap<String, String>)> = self
                .0
                .iter()
                .map(|(id, node)| (*id, node.status().summary.into_iter().collect()))
                .collect();
            if seen.iter().all(|(id, summary)| wanted(*id, summary)) {
                return;
            }
            assert!(Instant::now() < deadline, "still {seen:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn kill(&mut self, node: NodeId) {
        let handle = self.0.remove(&node).expect("a running node");
        handle.shutdown(Duration::ZERO).await;
    }

    pub(crate) async fn end(self) {
        for node in self.0.into_values() {
            node.shutdown(Duration::from_secs(5)).await;
        }
    }
}

/// Transports of one process without a network.
pub(crate) fn memory(nodes: u32) -> BTreeMap<NodeId, Arc<dyn Transport>> {
    let network = MemoryNetwork::new();
    let transport = |node| Arc::new(network.transport(node)) as Arc<dyn Transport>;
    (1..=nodes).map(NodeId).map(|node| (node, transport(node))).collect()
}

/// Transports over QUIC on the loopback interface that know each other's addresses.
pub(crate) fn quic(nodes: u32) -> BTreeMap<NodeId, Arc<dyn Transport>> {
    let transports = certified(nodes, &Limits::default());
    for transport in transports.values() {
        for (peer, other) in &transports {
            transport.set_address(*peer, other.local_address());
        }
    }
    let erased = |(node, transport)| (node, transport as Arc<dyn Transport>);
    transports.into_iter().map(erased).collect()
}

/// Transports over QUIC with certificates of an authority of their own. None knows where the others
/// are.
pub(crate) fn certified(nodes: u32, limits: &Limits) -> BTreeMap<NodeId, Arc<QuicTransport>> {
    certified_by(&authority(), nodes, limits)
}

/// The same, of this authority.
pub(crate) fn certified_by(
    authority: &Authority,
    nodes: u32,
    limits: &Limits,
) -> BTreeMap<NodeId, Arc<QuicTransport>> {
    let transport = |node: NodeId| {
        let bundle = anywhere(authority, node, nodes);
        let transport = QuicTransport::new(&bundle, limits.clone()).expect("a transport");
        (node, Arc::new(transport))
    };
    (1..=nodes).map(NodeId).map(transport).collect()
}

/// A bundle of a node whose peers are somewhere.
pub(crate) fn anywhere(authority: &Authority, node: NodeId, nodes: u32) -> Bundle {
    let peers = (1..=nodes).map(|node| (NodeId(node), String::from("127.0.0.1:0")));
    Bundle { peers: peers.collect(), ..bundle(authority, node, nodes) }
}

/// Transports over QUIC that know where the first `seeds` nodes are, and nobody else.
pub(crate) fn seeded(nodes: u32, seeds: u32) -> BTreeMap<NodeId, Arc<QuicTransport>> {
    let authority = authority();
    let (mut known, mut transports) = (BTreeMap::new(), BTreeMap::new());
    for node in (1..=nodes).map(NodeId) {
        let bundle = Bundle { peers: known.clone(), ..bundle(&authority, node, nodes) };
        let transport = QuicTransport::new(&bundle, Limits::default()).expect("a transport");
        if node.0 <= seeds {
            known.insert(node, transport.local_address().to_string());
        }
        transports.insert(node, Arc::new(transport));
    }
    transports
}

pub(crate) fn authority() -> Authority {
    Authority::new("test", Duration::from_secs(3_600)).expect("an authority")
}

/// A bundle of a node on loopback that does not know where the others are.
pub(crate) fn bundle(authority: &Authority, node: NodeId, nodes: u32) -> Bundle {
    Bundle {
        cluster: authority.cluster().clone(),
        node,
        listen: "127.0.0.1:0".parse().expect("an address"),
        credentials: authority.issue(node, Duration::from_secs(3_600)).expect("credentials"),
        authorities: vec![String::from(authority.certificate_pem())],
        peers: BTreeMap::new(),
        members: (1..=nodes).map(NodeId).collect(),
        revocations: Vec::new(),
    }
}
