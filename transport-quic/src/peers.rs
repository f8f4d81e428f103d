//! What is known of every peer: its address, the attempt under way, its link; and the one rule
//! that decides between two connections of one pair.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use synod_core::{NodeId, Reason};
use tokio::sync::Notify;

use crate::link::Link;

/// All peers of one node. Their set is fixed by the bundle.
#[derive(Debug)]
pub(crate) struct Peers {
    peers: BTreeMap<NodeId, Peer>,
    /// Wakes whoever waits for a link or an attempt to change.
    pub(crate) changed: Notify,
    /// Datagrams that were too large, or that the peer does not take.
    pub(crate) datagrams_dropped: AtomicU64,
}

/// One peer.
#[derive(Debug)]
pub(crate) struct Peer {
    link: RwLock<Option<Arc<Link>>>,
    dialing: Mutex<Dialing>,
}

#[derive(Debug)]
struct Dialing {
    address: String,
    attempt: Option<Attempt>,
    /// Whether the attempt has come as far as its hello. Before that it can be cancelled without
    /// the peer having heard of it.
    is_greeting: bool,
}

/// One attempt to link. Cancelling it wakes its task.
pub(crate) type Attempt = Arc<Notify>;

impl Peers {
    pub(crate) fn new(addresses: impl Iterator<Item = (NodeId, String)>) -> Self {
        let peers = addresses.map(|(node, address)| {
            let dialing = Mutex::new(Dialing { address, attempt: None, is_greeting: false });
            (node, Peer { link: RwLock::default(), dialing })
        });
        Self {
            peers: peers.collect(),
            changed: Notify::new(),
            datagrams_dropped: AtomicU64::new(0),
        }
    }

    pub(crate) fn get(&self, node: NodeId) -> Option<&Peer> {
        self.peers.get(&node)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.peers.iter().map(|(node, peer)| (*node, peer))
    }

    /// The links that are up.
    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        self.peers.values().filter_map(Peer::link).collect()
    }

    pub(crate) fn count_dropped_datagram(&self) {
        self.datagrams_dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Peer {
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        self.link.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a link in its place, or none. Only the endpoint's thread does so.
    pub(crate) fn set_link(&self, link: Option<Arc<Link>>) {
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = link;
    }

    pub(crate) fn address(&self) -> String {
        self.dialing().address.clone()
    }

    pub(crate) fn set_address(&self, address: SocketAddr) {
        self.dialing().address = address.to_string();
    }

    /// Begins an attempt, unless one is under way or a link is up.
    pub(crate) fn begin_attempt(&self) -> Option<Attempt> {
        let mut dialing = self.dialing();
        if dialing.attempt.is_some() || self.link().is_some() {
            return None;
        }
        let attempt = Attempt::default();
        dialing.attempt = Some(Arc::clone(&attempt));
        dialing.is_greeting = false;
        Some(attempt)
    }

    /// The attempt is about to say hello. False if it was cancelled before.
    pub(crate) fn begin_greeting(&self, attempt: &Attempt) -> bool {
        let mut dialing = self.dialing();
        let current = dialing.attempt.as_ref().is_some_and(|now| Arc::ptr_eq(now, attempt));
        dialing.is_greeting |= current;
        current
    }

    /// Ends an attempt. False if it was cancelled before.
    pub(crate) fn end_attempt(&self, attempt: &Attempt) -> bool {
        let mut dialing = self.dialing();
        let current = dialing.attempt.as_ref().is_some_and(|now| Arc::ptr_eq(now, attempt));
        if current {
            dialing.attempt = None;
        }
        current
    }

    /// Cancels the attempt under way, if there is one.
    pub(crate) fn cancel_attempt(&self) {
        if let Some(attempt) = self.dialing().attempt.take() {
            attempt.notify_one();
        }
    }

    fn is_greeting(&self) -> bool {
        let dialing = self.dialing();
        dialing.attempt.is_some() && dialing.is_greeting
    }

    fn dialing(&self) -> MutexGuard<'_, Dialing> {
        self.dialing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How things stand with this peer when its hello comes in.
    pub(crate) fn standing(&self) -> Standing {
        let link = self.link().map(|link| (link.dialer, link.incarnation));
        Standing { link, greeting: self.is_greeting() }
    }
}

/// How things stand between two nodes when one of them has dialled the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Standing {
    /// Who dialled the link that is up, and the peer's incarnation on it.
    link: Option<(NodeId, u64)>,
    /// Whether this node is dialling the peer, and has said hello.
    greeting: bool,
}

/// A hello of the peer, on a connection that the peer has dialled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Claim {
    pub(crate) me: NodeId,
    pub(crate) peer: NodeId,
    pub(crate) incarnation: u64,
    /// Whether the claim has waited for an attempt of this node.
    pub(crate) was_tied: bool,
    /// Whether it has waited as long as anyone waits.
    pub(crate) is_last_call: bool,
}

/// What becomes of a connection that the peer has dialled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// It becomes the link.
    Take,
    /// It becomes the link, in place of the one that is up.
    Replace(Reason),
    /// It waits: this node's own attempt may win, or the peer may withdraw.
    Wait,
    /// This node's own attempt has won.
    LostTie,
    /// A newer incarnation of the peer is linked already.
    Stale,
}

impl Claim {
    /// Of two connections on which both dialers have said hello, that of the smaller node stays.
    /// Both sides reckon the same: the larger node always takes the smaller one's connection, and
    /// the smaller one lets the larger one's wait for the outcome of its own, unless its own has
    /// not come as far as the hello: then it is given up, and the peer never hears of it.
    pub(crate) fn judge(&self, standing: Standing) -> Verdict {
        let is_smaller = self.me < self.peer;
        let may_wait = is_smaller && !self.is_last_call;
        match standing.link {
            Some((_, linked)) if self.incarnation < linked => Verdict::Stale,
            Some((_, linked)) if linked < self.incarnation => Verdict::Replace(Reason::Restarted),
            // The same dialler dials again: to it, the link is lost.
            Some((dialer, _)) if dialer == self.peer => Verdict::Replace(Reason::Silent),
            Some(_) if is_smaller && self.was_tied => Verdict::LostTie,
            // A leftover that the peer is about to withdraw; if it does not, it knows nothing of
            // the link that is up here.
            Some(_) if may_wait => Verdict::Wait,
            Some(_) => Verdict::Replace(Reason::Silent),
            None if standing.greeting && may_wait => Verdict::Wait,
            None => Verdict::Take,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: NodeId = NodeId(1);
    const LARGE: NodeId = NodeId(2);
    const IDLE: Standing = Standing { link: None, greeting: false };
    const GREETING: Standing = Standing { link: None, greeting: true };

    fn claim(me: NodeId, peer: NodeId) -> Claim {
        Claim { me, peer, incarnation: 5, was_tied: false, is_last_call: false }
    }

    fn linked(dialer: NodeId, incarnation: u64) -> Standing {
        Standing { link: Some((dialer, incarnation)), greeting: false }
    }

    #[test]
    fn of_two_attempts_the_smaller_nodes_wins_on_both_sides() {
        let at_small = claim(SMALL, LARGE);
        assert_eq!(at_small.judge(GREETING), Verdict::Wait);
        let tied = Claim { was_tied: true, ..at_small };
        assert_eq!(tied.judge(linked(SMALL, 5)), Verdict::LostTie);
        assert_eq!(tied.judge(IDLE), Verdict::Take, "the own attempt has failed");
        assert_eq!(claim(LARGE, SMALL).judge(GREETING), Verdict::Take);
    }

    #[test]
    fn an_attempt_that_has_not_said_hello_gives_way_and_says_none() {
        let peers = Peers::new([(LARGE, String::from("127.0.0.1:1"))].into_iter());
        let peer = peers.get(LARGE).expect("a peer");
        let attempt = peer.begin_attempt().expect("nothing is under way");
        assert_eq!(claim(SMALL, LARGE).judge(peer.standing()), Verdict::Take);
        peer.cancel_attempt();
        assert!(!peer.begin_greeting(&attempt));
        let second = peer.begin_attempt().expect("the first one was cancelled");
        assert!(peer.begin_greeting(&second));
        assert_eq!(claim(SMALL, LARGE).judge(peer.standing()), Verdict::Wait);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let last = Claim { is_last_call: true, ..claim(SMALL, LARGE) };
        assert_eq!(last.judge(GREETING), Verdict::Take);
        assert_eq!(last.judge(linked(SMALL, 5)), Verdict::Replace(Reason::Silent));
    }

    #[test]
    fn a_newer_incarnation_replaces_and_an_older_one_is_stale() {
        for (me, peer) in [(SMALL, LARGE), (LARGE, SMALL)] {
            for dialer in [me, peer] {
                let restarted = Verdict::Replace(Reason::Restarted);
                assert_eq!(claim(me, peer).judge(linked(dialer, 4)), restarted);
                assert_eq!(claim(me, peer).judge(linked(dialer, 6)), Verdict::Stale);
            }
        }
    }

    #[test]
    fn a_peer_that_dials_again_has_lost_the_link_that_looks_alive_here() {
        let silent = Verdict::Replace(Reason::Silent);
        assert_eq!(claim(SMALL, LARGE).judge(linked(LARGE, 5)), silent);
        assert_eq!(claim(LARGE, SMALL).judge(linked(SMALL, 5)), silent);
        assert_eq!(claim(LARGE, SMALL).judge(linked(LARGE, 5)), silent);
        assert_eq!(claim(SMALL, LARGE).judge(linked(SMALL, 5)), Verdict::Wait);
    }
}
