//! What is known of every peer: its address, the attempt under way, its link; and the one rule
//! that decides between two connections of one pair.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use synod_core::{LaneCounts, LaneId, NodeId};
use tokio::sync::Notify;

use crate::life::Life;
use crate::link::Link;
use crate::random::random_bits;
use crate::session::{Counts, SessionId, WireId};

/// All peers of one node. Their set is fixed by the bundle.
#[derive(Debug)]
pub(crate) struct Peers {
    peers: BTreeMap<NodeId, Peer>,
    /// Wakes whoever waits for a link or an attempt to change.
    pub(crate) changed: Notify,
    /// Datagrams that were too large, that the peer does not take, or that took the room of others.
    pub(crate) datagrams_dropped: AtomicU64,
}

/// One peer.
#[derive(Debug)]
pub(crate) struct Peer {
    link: RwLock<Option<Arc<Link>>>,
    dialing: Mutex<Dialing>,
    /// The name of the next session that this node offers.
    fresh: AtomicU64,
    /// Events of each lane that were lost or refused.
    unsent: Mutex<Unsent>,
    /// The life that was linked last: what it outdates is somebody's copy.
    newest: Mutex<Option<Proven>>,
}

/// A life of a peer, and the serial number of the certificate by which it was believed.
#[derive(Debug)]
struct Proven {
    life: Life,
    serial: Option<String>,
}

#[derive(Debug, Default)]
struct Dialing {
    /// Where the peer is by the bundle, or the host.
    listed: Option<String>,
    /// Where it is by its own account, as the peers pass it on.
    learned: Option<String>,
    /// Where it was connected last, and has shown its certificate.
    found: Option<String>,
    /// Whether the next attempt goes there, and not where it is said to be.
    goes_back: bool,
    attempt: Option<Attempt>,
    /// Whether the attempt has come as far as its hello. Before that it can be cancelled without
    /// the peer having heard of it.
    is_greeting: bool,
}

/// What was not sent to a peer, or not acknowledged, by lane.
#[derive(Debug, Default)]
struct Unsent {
    lanes: BTreeMap<LaneId, LaneCounts>,
    /// Events that were not acknowledged, on all lanes.
    lost: u64,
}

impl Unsent {
    /// Counts on one lane. A lane beyond [`LANES_COUNTED_MAX`] counts in the sum only.
    fn add(&mut self, lane: LaneId, counts: LaneCounts) {
        self.lost += counts.lost;
        if self.lanes.len() < LANES_COUNTED_MAX || self.lanes.contains_key(&lane) {
            *self.lanes.entry(lane).or_default() += counts;
        }
    }
}

/// One attempt to link. Cancelling it wakes its task.
pub(crate) type Attempt = Arc<Notify>;

impl Peers {
    pub(crate) fn new(addresses: impl Iterator<Item = (NodeId, Option<String>)>) -> Self {
        let peers = addresses.map(|(node, listed)| {
            let dialing = Mutex::new(Dialing { listed, ..Dialing::default() });
            let fresh = AtomicU64::new(random_bits());
            let peer = Peer {
                link: RwLock::default(),
                dialing,
                fresh,
                unsent: Mutex::default(),
                newest: Mutex::default(),
            };
            (node, peer)
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

    /// The link, if both sides have accepted each other.
    pub(crate) fn link_that_is_up(&self) -> Option<Arc<Link>> {
        self.link().filter(|link| link.is_up.load(Ordering::Relaxed))
    }

    /// Puts a link in its place, or none. Only the endpoint's thread does so.
    pub(crate) fn set_link(&self, link: Option<Arc<Link>>) {
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = link;
    }

    /// Where to find the peer, if that is known. What is listed comes before what is learned.
    pub(crate) fn address(&self) -> Option<String> {
        let dialing = self.dialing();
        dialing.listed.clone().or_else(|| dialing.learned.clone())
    }

    /// Where the next attempt looks for the peer. What its peers say of it and where it was found last take turns, if
    /// they differ: one that says what is not so must not keep two others apart.
    pub(crate) fn next_address(&self) -> Option<String> {
        let dialing = self.dialing();
        let Dialing { listed, learned, found, goes_back, .. } = &*dialing;
        let told =
            learned.as_ref().map(|told| found.as_ref().filter(|_| *goes_back).unwrap_or(told));
        listed.as_ref().or(told).cloned()
    }

    /// The peer is connected from there.
    pub(crate) fn found_at(&self, address: &str) {
        self.dialing().found = Some(String::from(address));
    }

    /// An attempt has failed: the next one looks elsewhere, if there is another place.
    pub(crate) fn look_elsewhere(&self) {
        let mut dialing = self.dialing();
        dialing.goes_back = !dialing.goes_back;
    }

    pub(crate) fn set_address(&self, address: SocketAddr) {
        self.dialing().listed = Some(address.to_string());
    }

    /// The peer has said where it is. Whether that changes where it is looked for.
    pub(crate) fn learn_address(&self, address: &str) -> bool {
        let mut dialing = self.dialing();
        let is_new = dialing.learned.as_deref() != Some(address);
        dialing.learned = Some(String::from(address));
        dialing.goes_back &= !is_new;
        is_new && dialing.listed.is_none()
    }

    /// The name of the next session that this node offers. The same until one begins, so that an
    /// attempt whose answer is lost and the next one are about the same session.
    pub(crate) fn fresh(&self) -> SessionId {
        SessionId(self.fresh.load(Ordering::Relaxed))
    }

    /// A session has begun, or another life of this node: the next one has another name.
    pub(crate) fn renew_fresh(&self) {
        self.fresh.store(random_bits(), Ordering::Relaxed);
    }

    /// This life of the peer is linked, by the certificate of that serial number: none that it outdates will be.
    pub(crate) fn remember(&self, life: Life, serial: Option<String>) {
        *self.proven() = Some(Proven { life, serial });
    }

    /// Forgets a life that was said with a certificate that is taken back: a thief may say any, and the
    /// greatest would keep the peer itself out.
    pub(crate) fn forget_life(&self, is_revoked: impl Fn(&str) -> bool) {
        self.proven().take_if(|proven| proven.serial.as_deref().is_some_and(is_revoked));
    }

    /// The life that was linked last, if one was.
    fn newest(&self) -> Option<Life> {
        self.proven().as_ref().map(|proven| proven.life)
    }

    fn proven(&self) -> MutexGuard<'_, Option<Proven>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life that was linked last, if it outdates this one.
    pub(crate) fn outdating(&self, life: Life) -> Option<Life> {
        self.newest().filter(|newest| newest.outdates(life))
    }

    /// So many events of each lane were not acknowledged when their link ended.
    pub(crate) fn count_lost(&self, events: &Counts) {
        let mut unsent = self.unsent();
        for (lane, events) in events {
            unsent.add(*lane, LaneCounts { lost: *events, ..LaneCounts::default() });
        }
    }

    /// So many events of a lane were not taken to be sent.
    pub(crate) fn count_refused(&self, lane: LaneId, events: usize) {
        let refused = u64::try_from(events).unwrap_or(u64::MAX);
        self.unsent().add(lane, LaneCounts { refused, ..LaneCounts::default() });
    }

    /// Events that were not acknowledged when their link ended, in all.
    pub(crate) fn lost(&self) -> u64 {
        self.unsent().lost
    }

    /// What the lanes of the link count, and those that something was lost or refused on.
    pub(crate) fn lanes(&self) -> BTreeMap<LaneId, LaneCounts> {
        let mut counts = self.unsent().lanes.clone();
        if let Some(link) = self.link() {
            link.channel.count(&mut counts);
        }
        counts
    }

    fn unsent(&self) -> MutexGuard<'_, Unsent> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an attempt, unless one is under way. One that is not to resume is not needed while a
    /// link is up.
    pub(crate) fn begin_attempt(&self, resumes: bool) -> Option<Attempt> {
        let mut dialing = self.dialing();
        if dialing.attempt.is_some() || self.link().is_some() != resumes {
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

    /// Whether this node is dialling the peer.
    pub(crate) fn is_dialing(&self) -> bool {
        self.dialing().attempt.is_some()
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
        let link = self.link().map(|link| {
            let wire = link.wire().map(|wire| (wire.dialer, wire.id));
            Linked { incarnation: link.incarnation, wire }
        });
        Standing { link, newest: self.newest(), greeting: self.is_greeting() }
    }
}

/// Lanes of one peer that lost and refused events are counted by.
const LANES_COUNTED_MAX: usize = 256;

/// How things stand between two nodes when one of them has dialled the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Standing {
    link: Option<Linked>,
    /// The life of the peer that was linked last.
    newest: Option<Life>,
    /// Whether this node is dialling the peer, and has said hello.
    greeting: bool,
}

impl Standing {
    /// Whether this node is dialling the peer, and has said hello.
    pub(crate) fn is_greeting(&self) -> bool {
        self.greeting
    }
}

/// The link that is up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Linked {
    /// The peer's incarnation on it.
    incarnation: u64,
    /// Who has dialled the connection that carries it, and its name; none while there is none.
    wire: Option<(NodeId, WireId)>,
}

/// A hello of the peer, on a connection that the peer has dialled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Claim {
    pub(crate) me: NodeId,
    pub(crate) peer: NodeId,
    pub(crate) life: Life,
    /// The last connection between the two that the peer knows of.
    pub(crate) last_wire: Option<WireId>,
    /// Whether the claim has waited for an attempt of this node.
    pub(crate) was_tied: bool,
    /// Whether it has waited as long as anyone waits.
    pub(crate) is_last_call: bool,
}

/// What becomes of a connection that the peer has dialled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// It carries the link from here on, in place of another one if need be.
    Take,
    /// It waits: this node's own attempt may win, or the peer may withdraw.
    Wait,
    /// This node's own attempt has won.
    LostTie,
    /// A life of the peer that outdates this one is or was linked.
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
        if standing.newest.is_some_and(|newest| newest.outdates(self.life)) {
            return Verdict::Stale;
        }
        if standing.link.is_some_and(|link| link.incarnation < self.life.incarnation) {
            return Verdict::Take;
        }
        if standing.greeting && may_wait {
            return Verdict::Wait;
        }
        let Some((dialer, wire)) = standing.link.and_then(|link| link.wire) else {
            return Verdict::Take;
        };
        // The same dialler dials again, or the peer had this connection and dials another one: to
        // it, this one is lost.
        let is_lost_there = dialer == self.peer || self.last_wire == Some(wire);
        if is_lost_there || !is_smaller {
            Verdict::Take
        } else if self.was_tied {
            Verdict::LostTie
        } else if self.is_last_call {
            Verdict::Take
        } else {
            // A leftover that the peer is about to withdraw; if it does not, it knows nothing of
            // the connection that is there.
            Verdict::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: NodeId = NodeId(1);
    const LARGE: NodeId = NodeId(2);
    const WIRE: WireId = WireId(7);
    const IDLE: Standing = Standing { link: None, newest: None, greeting: false };
    const GREETING: Standing = Standing { link: None, newest: None, greeting: true };

    fn claim(me: NodeId, peer: NodeId) -> Claim {
        let (was_tied, is_last_call) = (false, false);
        Claim { me, peer, life: life(5), last_wire: None, was_tied, is_last_call }
    }

    fn life(incarnation: u64) -> Life {
        Life { incarnation, began: 1 }
    }

    fn linked(dialer: NodeId, incarnation: u64) -> Standing {
        let link = Linked { incarnation, wire: Some((dialer, WIRE)) };
        Standing { link: Some(link), newest: Some(life(incarnation)), greeting: false }
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
    fn of_two_attempts_to_resume_the_smaller_nodes_wins_as_well() {
        for wire in [None, Some((SMALL, WIRE)), Some((LARGE, WIRE))] {
            let link = Some(Linked { incarnation: 5, wire });
            let resuming = Standing { link, newest: Some(life(5)), greeting: true };
            for last_wire in [None, Some(WIRE)] {
                let at_small = Claim { last_wire, ..claim(SMALL, LARGE) };
                assert_eq!(at_small.judge(resuming), Verdict::Wait);
                let at_large = Claim { last_wire, ..claim(LARGE, SMALL) };
                assert_eq!(at_large.judge(resuming), Verdict::Take);
            }
        }
    }

    #[test]
    fn an_attempt_that_has_not_said_hello_gives_way_and_says_none() {
        let peers = Peers::new([(LARGE, None)].into_iter());
        let peer = peers.get(LARGE).expect("a peer");
        assert!(peer.begin_attempt(true).is_none(), "there is nothing to resume");
        let attempt = peer.begin_attempt(false).expect("nothing is under way");
        assert_eq!(claim(SMALL, LARGE).judge(peer.standing()), Verdict::Take);
        peer.cancel_attempt();
        assert!(!peer.begin_greeting(&attempt));
        let second = peer.begin_attempt(false).expect("the first one was cancelled");
        assert!(peer.begin_greeting(&second));
        assert_eq!(claim(SMALL, LARGE).judge(peer.standing()), Verdict::Wait);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let last = Claim { is_last_call: true, ..claim(SMALL, LARGE) };
        assert_eq!(last.judge(GREETING), Verdict::Take);
        assert_eq!(last.judge(linked(SMALL, 5)), Verdict::Take);
    }

    #[test]
    fn a_newer_incarnation_is_taken_and_an_older_one_is_stale() {
        for (me, peer) in [(SMALL, LARGE), (LARGE, SMALL)] {
            for dialer in [me, peer] {
                assert_eq!(claim(me, peer).judge(linked(dialer, 4)), Verdict::Take);
                assert_eq!(claim(me, peer).judge(linked(dialer, 6)), Verdict::Stale);
            }
        }
    }

    #[test]
    fn an_older_incarnation_stays_out_after_the_link_has_ended() {
        let ended = Standing { newest: Some(life(6)), ..IDLE };
        assert_eq!(claim(SMALL, LARGE).judge(ended), Verdict::Stale);
        assert_eq!(
            claim(SMALL, LARGE).judge(Standing { newest: Some(life(5)), ..IDLE }),
            Verdict::Take
        );
    }

    #[test]
    fn a_peer_that_dials_again_has_lost_the_connection_that_looks_alive_here() {
        assert_eq!(claim(SMALL, LARGE).judge(linked(LARGE, 5)), Verdict::Take);
        assert_eq!(claim(LARGE, SMALL).judge(linked(SMALL, 5)), Verdict::Take);
        assert_eq!(claim(LARGE, SMALL).judge(linked(LARGE, 5)), Verdict::Take);
        let knowing = Claim { last_wire: Some(WIRE), ..claim(SMALL, LARGE) };
        assert_eq!(knowing.judge(linked(SMALL, 5)), Verdict::Take);
        let ignorant = claim(SMALL, LARGE);
        assert_eq!(ignorant.judge(linked(SMALL, 5)), Verdict::Wait, "a leftover, maybe");
    }

    #[test]
    fn a_link_without_a_connection_takes_any() {
        let link = Some(Linked { incarnation: 5, wire: None });
        let waiting = Standing { link, newest: Some(life(5)), greeting: false };
        for (me, peer) in [(SMALL, LARGE), (LARGE, SMALL)] {
            assert_eq!(claim(me, peer).judge(waiting), Verdict::Take);
        }
    }
}
