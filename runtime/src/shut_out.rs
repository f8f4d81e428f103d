//! Peers that take nothing of this node, and the end of a life that is not its newest one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use synod_core::NodeId;

use crate::failure::EndReason;
use crate::gate::locked;
use crate::host::Host;

/// What peers said when they turned this node away; forgotten when the link is up.
#[derive(Debug, Default)]
pub(crate) struct ShutOut(Mutex<BTreeMap<NodeId, Word>>);

#[derive(Debug)]
struct Word {
    why: String,
    /// Whether it is that the peer has known a later life.
    is_outdated: bool,
}

impl ShutOut {
    /// Whether nobody has said so before, and how many have said now that the life is outdated.
    fn add(&self, peer: NodeId, why: &str, is_outdated: bool) -> (bool, usize) {
        let mut words = locked(&self.0);
        let outdated =
            |words: &BTreeMap<NodeId, Word>| words.values().filter(|word| word.is_outdated).count();
        let is_first = outdated(&words) == 0;
        words.insert(peer, Word { why: String::from(why), is_outdated });
        (is_first, outdated(&words))
    }

    pub(crate) fn remove(&self, peer: NodeId) {
        locked(&self.0).remove(&peer);
    }

    /// Why all of these `peers` take nothing, if that is so and there are any.
    fn by_all(&self, mut peers: impl Iterator<Item = NodeId>) -> Option<String> {
        let words = locked(&self.0);
        let (first, word) = words.first_key_value()?;
        peers.all(|peer| words.contains_key(&peer)).then(|| {
            format!("every peer turns this node away, {first} since {why}", why = word.why)
        })
    }
}

impl Host {
    /// `peer` takes nothing of this node. If that is because this life is not the newest one, no life begins any
    /// more from its records, since each would have a higher number; and once as many peers say so as a
    /// majority of the cluster, the node ends: one that is a traitor ends nobody.
    pub(crate) fn is_shut_out(self: &Arc<Self>, peer: NodeId, why: &str, is_outdated: bool) {
        let (is_first, count) = self.shut_out.add(peer, why, is_outdated);
        if !is_outdated {
            return;
        }
        if is_first {
            tracing::error!(node = %self.id, %peer, "no life begins from this store any more: {why}");
            self.writer.fence(String::from(why));
        }
        let peers = self.links.len();
        if peers.min(peers.div_ceil(2) + 1) <= count {
            let (host, why) = (Arc::clone(self), String::from(why));
            // On a thread of its own runtime: whoever tells of it may be the transport that is closed then.
            self.runtime.spawn(async move { host.end(EndReason::Outdated(why)) });
        }
    }

    /// Why no peer takes anything of this node, if that is so.
    pub(crate) fn is_shut_out_by_all(&self) -> Option<String> {
        self.shut_out.by_all(self.links.keys().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_shut_out_if_every_peer_says_so_and_none_has_linked_since() {
        let shut_out = ShutOut::default();
        let peers = || [NodeId(2), NodeId(3)].into_iter();
        assert_eq!(shut_out.by_all(peers()), None);
        assert_eq!(shut_out.add(NodeId(3), "its certificate has expired", false), (true, 0));
        assert_eq!(shut_out.by_all(peers()), None);
        assert_eq!(shut_out.add(NodeId(2), "n2 has known its life 4", true), (true, 1));
        let why = shut_out.by_all(peers()).expect("both");
        assert!(why.contains("n2 since n2 has known its life 4"), "{why}");
        assert_eq!(shut_out.add(NodeId(3), "n3 has known its life 4", true), (false, 2));
        shut_out.remove(NodeId(3));
        assert_eq!(shut_out.by_all(peers()), None);
    }
}
