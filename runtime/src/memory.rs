//! A network within one process: many nodes, no sockets.

mod link;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use synod_core::{
    Closing, Envelope, Framed, Hello, Inbox, Lane, LaneId, LinkChange, LinkStatus, NodeId, Reason,
    SendError, Sent, Transport, TransportError,
};
use tokio::runtime::Handle;

use crate::gate::locked;
use link::{End, MemoryLink};

/// Connects the nodes of one process. Clones are the same network.
///
/// Links keep the order of each lane, lose nothing while they last, and hold back a sender whose
/// receiver has no room, up to a bound in bytes; then the link ends with [`Reason::Overflow`].
#[derive(Clone, Debug, Default)]
pub struct MemoryNetwork(Arc<Mutex<Network>>);

#[derive(Debug, Default)]
struct Network {
    nodes: BTreeMap<NodeId, Place>,
    cuts: BTreeSet<(NodeId, NodeId)>,
}

/// One node that has started.
#[derive(Debug)]
struct Place {
    hello: Hello,
    inbox: Arc<dyn Inbox>,
    runtime: Handle,
    links: Links,
}

/// The links of one node, by peer. A link that has ended stays until the next one replaces it.
type Links = Arc<Mutex<BTreeMap<NodeId, Arc<MemoryLink>>>>;

impl MemoryNetwork {
    /// Bytes that may wait on one link in one direction.
    pub const QUEUED_BYTES_MAX: usize = 64 << 20;
    /// Bytes of one event.
    pub const EVENT_BYTES_MAX: usize = Envelope::BYTES_CAP as usize;

    /// A network without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The access of `node` to the network.
    #[must_use]
    pub fn transport(&self, node: NodeId) -> MemoryTransport {
        MemoryTransport { node, network: self.clone(), links: Links::default() }
    }

    /// Ends the link between `a` and `b`, and lets none come up until [`MemoryNetwork::heal`].
    pub fn cut(&self, a: NodeId, b: NodeId) {
        let mut network = locked(&self.0);
        network.cuts.insert(pair(a, b));
        if let Some(link) = network.nodes.get(&a).and_then(|place| place.link(b)) {
            link.end(Reason::Silent);
        }
    }

    /// Lets links between `a` and `b` come up again.
    pub fn heal(&self, a: NodeId, b: NodeId) {
        locked(&self.0).cuts.remove(&pair(a, b));
    }

    /// Makes a link, or says why not.
    fn connect(&self, from: NodeId, to: NodeId) -> Result<(), String> {
        let network = locked(&self.0);
        let (Some(dialler), Some(dialled)) = (network.nodes.get(&from), network.nodes.get(&to))
        else {
            return Err(format!("{to} is not running in this process"));
        };
        if network.cuts.contains(&pair(from, to)) {
            return Err(format!("the network between {from} and {to} is cut"));
        }
        if !dialler.link(to).is_some_and(|link| link.is_up()) {
            if !(dialled.inbox.admits(from) && dialler.inbox.admits(to)) {
                return Err(format!("{from} and {to} have not heard of all their last links"));
            }
            let link = MemoryLink::new([dialler.end(), dialled.end()]);
            locked(&dialler.links).insert(to, Arc::clone(&link));
            locked(&dialled.links).insert(from, Arc::clone(&link));
            link.begin();
        }
        Ok(())
    }

    fn inbox(&self, node: NodeId) -> Option<Arc<dyn Inbox>> {
        locked(&self.0).nodes.get(&node).map(|place| Arc::clone(&place.inbox))
    }

    /// Takes the node with these links out, if it is in the network.
    fn leave(&self, node: NodeId, links: &Links) {
        let mut network = locked(&self.0);
        if network.nodes.get(&node).is_some_and(|place| Arc::ptr_eq(&place.links, links)) {
            network.nodes.remove(&node);
        }
        drop(network);
        for link in locked(links).values() {
            link.end(Reason::Closed);
        }
    }
}

impl Place {
    fn link(&self, peer: NodeId) -> Option<Arc<MemoryLink>> {
        locked(&self.links).get(&peer).cloned()
    }

    fn all_links(&self) -> Vec<Arc<MemoryLink>> {
        locked(&self.links).values().cloned().collect()
    }

    fn end(&self) -> End {
        End {
            node: self.hello.node,
            incarnation: self.hello.incarnation,
            inbox: Arc::clone(&self.inbox),
            runtime: self.runtime.clone(),
        }
    }
}

/// The access of one node to a [`MemoryNetwork`].
#[derive(Debug)]
pub struct MemoryTransport {
    node: NodeId,
    network: MemoryNetwork,
    links: Links,
}

impl MemoryTransport {
    fn link(&self, peer: NodeId) -> Option<Arc<MemoryLink>> {
        locked(&self.links).get(&peer).cloned()
    }
}

impl Transport for MemoryTransport {
    fn start(&self, hello: Hello, inbox: Arc<dyn Inbox>) -> Result<(), TransportError> {
        let runtime = Handle::try_current()
            .map_err(|_| TransportError(String::from("there is no tokio runtime")))?;
        let mut network = locked(&self.network.0);
        if network.nodes.contains_key(&self.node) {
            return Err(TransportError(format!("{} is in this network already", self.node)));
        }
        let links = Arc::clone(&self.links);
        network.nodes.insert(self.node, Place { hello, inbox, runtime, links });
        Ok(())
    }

    fn connect(&self, peer: NodeId) {
        if let Err(text) = self.network.connect(self.node, peer)
            && let Some(inbox) = self.network.inbox(self.node)
        {
            inbox.link(peer, LinkChange::Unreachable(text));
        }
    }

    fn disconnect(&self, peer: NodeId, reason: Reason) {
        if let Some(link) = self.link(peer) {
            link.end(reason);
        }
    }

    fn restart(&self, hello: Hello) -> Result<(), TransportError> {
        let mut network = locked(&self.network.0);
        let Some(place) = network.nodes.get_mut(&self.node) else {
            return Err(TransportError(format!("{} has not started", self.node)));
        };
        place.hello = hello;
        place.all_links().iter().for_each(|link| link.end(Reason::Restarted));
        Ok(())
    }

    fn send(&self, to: NodeId, lane: Lane, envelope: &Envelope) -> Result<(), SendError> {
        let link = self.link(to).ok_or(SendError::Down)?;
        link.send(to, lane, std::iter::once(envelope.clone())).single()
    }

    fn send_all(&self, to: NodeId, lane: LaneId, envelopes: &Framed) -> Sent {
        match self.link(to) {
            Some(link) => link.send(to, Lane::Ordered(lane), envelopes.envelopes()),
            None => Sent::none(envelopes.len(), SendError::Down),
        }
    }

    fn links(&self) -> Vec<LinkStatus> {
        let links = locked(&self.links);
        links.iter().map(|(peer, link)| link.status(*peer)).collect()
    }

    fn close(&self, deadline: Duration) -> Closing {
        let links = Arc::clone(&self.links);
        let leaving = Leaving { network: self.network.clone(), node: self.node, links };
        let links = locked(&self.links).clone();
        Box::pin(async move {
            let drained = async {
                for (peer, link) in &links {
                    link.drained(*peer).await;
                }
            };
            let _all_said = tokio::time::timeout(deadline, drained).await;
            drop(leaving);
        })
    }
}

/// Takes a node out of the network when it is dropped.
struct Leaving {
    network: MemoryNetwork,
    node: NodeId,
    links: Links,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.network.leave(self.node, &self.links);
    }
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

/// Spawns on the runtime of the receiver.
fn spawn(runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) {
    drop(runtime.spawn(task));
}
