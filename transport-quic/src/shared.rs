//! What all tasks of one transport share, and the only place where links come and go.
//!
//! Links change on the endpoint's thread alone, so what the inbox hears is in order: up and down
//! alternate, and nothing is delivered outside.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use synod_core::{EventId, Inbox, LinkChange, NodeId, Reason};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use crate::accept::Handshakes;
use crate::addresses::{AddressBook, ENTRIES_MAX, Entry, Nonsense, Version};
use crate::channel::Channel;
use crate::control::Greeting;
use crate::dial;
use crate::frame::Sizes;
use crate::gateway::Gateway;
use crate::journal::Journal;
use crate::keep;
use crate::limits::{ByPath, Limits};
use crate::link::{End, Link, Wire};
use crate::peers::{Peer, Peers};
use crate::random::random_bits;
use crate::refusal::{Close, Kind, Turned};
use crate::renewal;
use crate::session::{Choice, Counts, Misstep, Offer, WireId};
use crate::tls::Current;
use crate::versions::{Agreed, SPOKEN};

/// What the tasks of one transport share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) me: NodeId,
    /// Who this node is, in the life of now.
    pub(crate) greeting: RwLock<Arc<Greeting>>,
    /// The events that this node handles from the wire.
    pub(crate) events: BTreeMap<EventId, String>,
    /// How large their frames may be.
    pub(crate) sizes: Arc<Sizes>,
    pub(crate) limits: Limits,
    pub(crate) identity: Arc<Current>,
    /// The bounds of the connections that this node dials, and of those that its peers dial.
    pub(crate) dialed: ByPath,
    pub(crate) accepted: ByPath,
    pub(crate) gateway: Gateway,
    pub(crate) peers: Arc<Peers>,
    /// Where nodes listen, by their own account.
    pub(crate) addresses: Mutex<AddressBook>,
    /// Wakes whoever tells of it.
    pub(crate) addresses_changed: Notify,
    /// The clock of the address book counts from here.
    pub(crate) began: Instant,
    pub(crate) inbox: Arc<dyn Inbox>,
    pub(crate) journal: Journal,
    /// Handshakes under way.
    pub(crate) handshakes: Handshakes,
    /// Whether the node is leaving: nobody new is let in.
    pub(crate) leaving: AtomicBool,
}

impl Shared {
    /// Who this node is, in the life of now.
    pub(crate) fn greeting(&self) -> Arc<Greeting> {
        Arc::clone(&self.greeting.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another life of this node begins: every link of the last one ends, and every attempt.
    pub(crate) fn begin_life(&self, greeting: Greeting) {
        self.book().begin_life(greeting.life.incarnation);
        *self.greeting.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(greeting);
        for (_, peer) in self.peers.iter() {
            peer.cancel_attempt();
            // A peer may have taken what the last life has offered.
            peer.renew_fresh();
            if let Some(link) = peer.link() {
                let text = "another life of the node begins";
                let reason = link.end(End::new(Reason::Restarted, Close::Restarted, text));
                self.link_down(&link, reason);
            }
        }
    }

    /// Checks that this node and the one that has shown the certificate of `node` can work together. A later life
    /// of a peer that cannot is proof all the same that the one before is over.
    pub(crate) fn agree(&self, theirs: &Greeting, node: NodeId) -> Result<(), Turned> {
        let agreed = self.greeting().agree(theirs, node);
        if agreed.is_err()
            && theirs.node == node
            && let Some(link) = self.peers.get(node).and_then(Peer::link)
            && link.incarnation < theirs.life.incarnation
        {
            let text = "another life of the peer has begun, and is refused";
            let reason = link.end(End::new(Reason::Restarted, Close::Disconnected, text));
            self.link_down(&link, reason);
        }
        agreed
    }

    /// What this node offers to `peer` on a connection that it has dialled.
    pub(crate) fn offer(&self, peer: &Peer) -> Offer {
        let (wire, fresh) = (WireId(random_bits()), peer.fresh());
        match peer.link().filter(|link| !link.has_ended()) {
            Some(link) => link.channel.offer(wire, fresh),
            None => Offer { wire, last_wire: None, live: None, fresh, received: Vec::new() },
        }
    }

    /// Lets `wire` carry the link to whoever has said hello as `theirs`: the one that is there, or
    /// a new one, in whose favour the old one goes down. The peer has taken what `received` says.
    pub(crate) fn join(
        self: &Arc<Self>,
        peer: &Peer,
        theirs: &Greeting,
        choice: Choice,
        wire: &Arc<Wire>,
        received: &Counts,
    ) -> Result<Arc<Link>, Turned> {
        self.judge_by_now(wire, theirs.node)?;
        let serial = wire.certificate().map(|it| it.serial);
        let link = match (choice, peer.link()) {
            (Choice::Resume, Some(link)) => {
                self.attach(&link, wire, received)?;
                peer.remember(theirs.life, serial);
                link
            }
            (Choice::Resume, None) => {
                return Err(Turned::new(Kind::BadHello, "the link has ended"));
            }
            (Choice::Begin(id), old) => {
                if let Some(old) = old {
                    self.replace(&old, theirs);
                }
                if self.leaving.load(Ordering::Relaxed) {
                    return Err(Turned::leaving(self.me));
                }
                if let Some(why) = self.inbox.hung() {
                    return Err(Turned::hung(self.me, &why));
                }
                if !self.inbox.admits(theirs.node) {
                    return Err(Turned::busy(self.me, theirs.node));
                }
                self.compare_events(theirs);
                let sizes = Arc::new(self.limits.sizes(theirs.bytes_max()));
                let channel = Channel::new(id, self.limits.session(), sizes);
                let link = Arc::new(Link::new(theirs, channel));
                self.attach(&link, wire, received)?;
                peer.remember(theirs.life, serial);
                self.put_in_place(peer, &link);
                link
            }
        };
        // Whoever renews the bundle looks at the links that are there, and may not have seen this one.
        self.judge_by_now(wire, theirs.node).inspect_err(|turned| {
            let reason = link.end(End::refused(turned));
            self.link_down(&link, reason);
            renewal::forget_life(&self.identity.get().trust, peer);
        })?;
        peer.found_at(&wire.address);
        if wire.dialer == self.me {
            // The peer has answered, and now this node takes the answer.
            self.link_up(&link);
        }
        Ok(link)
    }

    /// Judges the peer once more if the bundle was renewed since its handshake began.
    fn judge_by_now(&self, wire: &Wire, peer: NodeId) -> Result<(), Turned> {
        let tls = self.identity.get();
        let is_same = Arc::ptr_eq(&tls, &wire.tls);
        if is_same { Ok(()) } else { renewal::judge(&tls.trust, self.me, peer, wire) }
    }

    /// Whether nobody is let in any more: the node leaves, and no peer has anything to acknowledge.
    pub(crate) fn lets_nobody_in(&self) -> bool {
        let is_unfinished = |peer: &Peer| peer.link().is_some_and(|it| it.channel.is_unfinished());
        self.leaving.load(Ordering::Relaxed)
            && !self.peers.iter().any(|(_, peer)| is_unfinished(peer))
    }

    /// A link goes down because another session begins.
    fn replace(&self, old: &Arc<Link>, theirs: &Greeting) {
        let restarted = old.incarnation != theirs.life.incarnation;
        let reason = if restarted { Reason::Restarted } else { Reason::Silent };
        let text = "another session took the place of this one";
        let reason = old.end(End::new(reason, Close::Disconnected, text));
        self.link_down(old, reason);
    }

    fn put_in_place(self: &Arc<Self>, peer: &Peer, link: &Arc<Link>) {
        peer.set_link(Some(Arc::clone(link)));
        peer.renew_fresh();
        self.peers.changed.notify_waiters();
        tokio::spawn(keep::keep(Arc::clone(self), Arc::clone(link)));
    }

    /// Both sides have accepted each other: tells the inbox, once.
    pub(crate) fn link_up(&self, link: &Link) {
        if link.is_down.load(Ordering::Relaxed) || link.is_up.swap(true, Ordering::Relaxed) {
            return;
        }
        debug!(node = %self.me, peer = %link.peer, "link up");
        self.inbox.link(link.peer, LinkChange::Up { incarnation: link.incarnation });
    }

    /// From here on `wire` carries the link, and the peer has taken what `received` says. The
    /// connection before, if there is one, is closed. If the peer says nonsense, nothing changes.
    fn attach(&self, link: &Link, wire: &Arc<Wire>, received: &Counts) -> Result<(), Turned> {
        link.channel.attach(wire.id, received).map_err(|misstep| turned(&misstep))?;
        if let Some(old) = link.set_wire(Some(Arc::clone(wire))) {
            old.connection.close(Close::Replaced.code(), b"a newer connection took its place");
        }
        let Agreed { version, theirs } = wire.speaks;
        if theirs != SPOKEN {
            let (ours, theirs) = (SPOKEN.to_string(), theirs.to_string());
            info!(node = %self.me, peer = %link.peer, ours, theirs, version, "the versions differ");
        }
        let resumed = link.channel.resumed();
        if 0 < resumed {
            info!(node = %self.me, peer = %link.peer, address = wire.address, resumed, "link resumed");
        }
        if link.has_ended() {
            wire.connection.close(Close::Disconnected.code(), b"the link has ended");
        }
        self.peers.changed.notify_waiters();
        Ok(())
    }

    /// The connection is lost, and the link waits for the next one.
    pub(crate) fn wire_lost(&self, link: &Link, wire: &Wire) {
        if link.channel.detach(wire.id) {
            info!(node = %self.me, peer = %link.peer, address = wire.address, "connection lost");
            link.set_wire(None);
            self.peers.changed.notify_waiters();
        }
    }

    /// Takes `link` down, if it is the link to its peer.
    pub(crate) fn link_down(&self, link: &Arc<Link>, reason: Reason) {
        let Some(peer) = self.peers.get(link.peer) else { return };
        link.is_down.store(true, Ordering::Relaxed);
        let dropped = link.channel.close();
        peer.count_lost(&dropped);
        if peer.link().is_none_or(|now| !Arc::ptr_eq(&now, link)) {
            return;
        }
        peer.set_link(None);
        // What was to go on is over; the host decides when to link again.
        peer.cancel_attempt();
        let dropped: u64 = dropped.iter().map(|(_, events)| events).sum();
        if 0 < dropped {
            warn!(node = %self.me, peer = %link.peer, dropped, "events were not acknowledged");
        }
        if link.is_up.load(Ordering::Relaxed) {
            debug!(node = %self.me, peer = %link.peer, ?reason, "link down");
            self.inbox.link(link.peer, LinkChange::Down(reason));
        }
        self.peers.changed.notify_waiters();
    }

    /// What is known of where nodes listen.
    pub(crate) fn book(&self) -> MutexGuard<'_, AddressBook> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A peer sees this node at that address.
    pub(crate) fn is_seen_at(&self, address: &str) {
        self.book().seen_at(address);
        self.addresses_changed.notify_waiters();
    }

    /// A peer tells where nodes listen. Whoever could not be found before is dialled at once.
    /// Returns what to confirm.
    pub(crate) fn hear(
        self: &Arc<Self>,
        link: &Link,
        wire: &Wire,
        told: Vec<Entry>,
    ) -> Result<Vec<(NodeId, Version)>, Turned> {
        let heard =
            self.book().hear(link.peer, told).map_err(|nonsense| not_addresses(&nonsense))?;
        for stranger in heard.strangers {
            let text = format!(
                "{stranger} is no node of the cluster to {}: add it to every bundle",
                self.me
            );
            let turned = Turned::new(Kind::UnknownNode, text);
            self.journal.ignores(link.peer, &wire.address, &turned);
        }
        for node in heard.moved {
            let address = self.book().address(node).map(String::from);
            if let (Some(peer), Some(address)) = (self.peers.get(node), address)
                && peer.learn_address(&address)
            {
                info!(node = %self.me, peer = %node, address, from = %link.peer, "address learned");
                self.dial(node, peer);
            }
        }
        self.addresses_changed.notify_waiters();
        Ok(heard.taken)
    }

    /// Makes an attempt to link, unless there is a link, or an attempt.
    pub(crate) fn dial(self: &Arc<Self>, node: NodeId, peer: &Peer) {
        let is_listed = self.identity.get().trust.peers().contains(&node);
        if is_listed
            && !self.leaving.load(Ordering::Relaxed)
            && let Some(attempt) = peer.begin_attempt(false)
        {
            let patience = self.limits.connect_timeout;
            tokio::spawn(dial::dial(Arc::clone(self), node, attempt, patience));
        }
    }

    /// The peer of a link that is up has broken the protocol: tells so, and how the link ends.
    pub(crate) fn refuse(&self, link: &Link, wire: &Wire, turned: &Turned) -> End {
        self.journal.refuses(Some(link.peer), &wire.address, turned);
        End::refused(turned)
    }

    /// Logs, once per link, which events one side sends in vain.
    fn compare_events(&self, theirs: &Greeting) {
        let (peer, ours) = (theirs.node, self.greeting());
        let unknown_there = ours.unknown_to(theirs);
        let unknown_here = theirs.unknown_to(&ours);
        if !unknown_there.is_empty() || !unknown_here.is_empty() {
            info!(node = %self.me, %peer, ?unknown_there, ?unknown_here, "the event sets differ");
        }
    }
}

fn not_addresses(nonsense: &Nonsense) -> Turned {
    let text = match nonsense {
        Nonsense::TooMany(count) => {
            format!("{count} addresses at once, and {ENTRIES_MAX} are allowed")
        }
        Nonsense::NoAddress(node) => {
            format!("what is told of {node} is no address: HOST:PORT is expected")
        }
    };
    Turned::new(Kind::BadAddress, text)
}

/// What a peer is told that has said something that cannot be.
pub(crate) fn turned(misstep: &Misstep) -> Turned {
    let text = match misstep {
        Misstep::Gap { lane, first, taken } => format!(
            "lane {:016x} goes on with frame {first}, and {taken} have come: events are missing",
            lane.0
        ),
        Misstep::TooManyLanes { lanes_max } => format!("more than {lanes_max} lanes on one link"),
        Misstep::WrongCount { lane, count, most } => format!(
            "{count} frames of lane {:016x} are said to have arrived, and {most} were sent",
            lane.0
        ),
    };
    Turned::new(Kind::BadLane, text)
}
