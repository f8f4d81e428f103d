//! A cluster in this process: real nodes over QUIC on the loopback interface.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use synod_core::NodeId;
use synod_runtime::NodeHandle;
use synod_transport_quic::{Authority, Limits, QuicTransport};

use crate::args::days;
use crate::commands::cert::bundle;
use crate::entry::Entry;
use crate::problem::{Exit, Problem};

/// Nodes of one cluster, by name.
pub(crate) struct Loopback(BTreeMap<NodeId, NodeHandle>);

impl Loopback {
    /// Starts `nodes` nodes, each with its own socket, certificate and threads.
    pub(crate) async fn start(entry: &dyn Entry, nodes: u32) -> Result<Self, Problem> {
        let authority = Authority::new("loopback", days(1)).map_err(environment)?;
        let ids: Vec<NodeId> = (1..=nodes).map(NodeId).collect();
        let anywhere = ids.iter().map(|node| (*node, String::from("127.0.0.1:0"))).collect();
        let mut transports = Vec::new();
        for node in &ids {
            let bundle = bundle(&authority, *node, &anywhere, days(1))?;
            let transport = QuicTransport::new(&bundle, Limits::default());
            transports.push(Arc::new(transport.map_err(environment)?));
        }
        for transport in &transports {
            for (peer, other) in ids.iter().zip(&transports) {
                transport.set_address(*peer, other.local_address());
            }
        }
        let mut running = BTreeMap::new();
        for (node, transport) in ids.iter().zip(transports) {
            let started = entry.node(*node, ids.clone()).transport(transport).start().await;
            running.insert(*node, started.map_err(environment)?);
        }
        Ok(Self(running))
    }

    /// Waits until every node knows the same leader, and it is one of them.
    pub(crate) async fn elected(&self, within: Duration) -> Result<NodeId, Problem> {
        let deadline = Instant::now() + within;
        loop {
            let known: Vec<_> = self.0.values().map(leader_of).collect();
            if let Some(Some(first)) = known.first()
                && known.iter().all(|leader| leader == &Some(*first))
                && self.0.contains_key(first)
            {
                return Ok(*first);
            }
            if deadline < Instant::now() {
                let what = format!("no agreement within {within:?}: {known:?}");
                return Err(Problem::new(Exit::Inconclusive, what));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends one node, without a word to the others.
    pub(crate) async fn kill(&mut self, node: NodeId) {
        if let Some(handle) = self.0.remove(&node) {
            handle.shutdown(Duration::ZERO).await;
        }
    }

    pub(crate) async fn end(self) {
        for handle in self.0.into_values() {
            handle.shutdown(Duration::ZERO).await;
        }
    }
}

fn leader_of(node: &NodeHandle) -> Option<NodeId> {
    let summary = node.status().summary;
    summary.iter().find(|(name, _)| name == "leader").and_then(|(_, leader)| leader.parse().ok())
}

fn environment(error: impl std::error::Error + 'static) -> Problem {
    Problem::environment("the cluster does not start", &error)
}
