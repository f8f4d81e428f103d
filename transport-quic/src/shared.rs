//! What all tasks of one transport share, and the only place where links come and go.
//!
//! Links change on the endpoint's thread alone, so what the inbox hears is in order: up and down
//! alternate, and nothing is delivered outside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use quinn::{Connection, Endpoint, ServerConfig};
use synod_core::{EventId, Inbox, LinkChange, NodeId, Reason};
use tracing::{debug, info};

use crate::control::Greeting;
use crate::journal::Journal;
use crate::limits::Limits;
use crate::link::{End, Link};
use crate::outbox::Outbox;
use crate::peers::Peers;
use crate::refusal::{Close, Turned};
use crate::tls::Tls;

/// What the tasks of one transport share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) me: NodeId,
    pub(crate) greeting: Greeting,
    /// The events that this node handles from the wire.
    pub(crate) events: BTreeMap<EventId, String>,
    pub(crate) limits: Limits,
    pub(crate) tls: Arc<Tls>,
    pub(crate) server: ServerConfig,
    pub(crate) transport: Arc<quinn::TransportConfig>,
    pub(crate) endpoint: Endpoint,
    pub(crate) peers: Arc<Peers>,
    pub(crate) inbox: Arc<dyn Inbox>,
    pub(crate) journal: Journal,
    /// Handshakes under way.
    pub(crate) handshakes: AtomicUsize,
    /// Whether the node is leaving: nobody new is let in.
    pub(crate) leaving: AtomicBool,
}

impl Shared {
    /// A link to whoever has said hello as `theirs`, on a connection that `dialer` has dialled.
    pub(crate) fn link(&self, theirs: &Greeting, dialer: NodeId, connection: Connection) -> Link {
        self.compare_events(theirs);
        let Limits { frame_bytes_max, outbox_bytes_max, lanes_max, .. } = self.limits;
        let outbox = Outbox::new(frame_bytes_max, outbox_bytes_max, lanes_max);
        Link::new(theirs, dialer, connection, outbox)
    }

    /// Makes `link` the link to its peer; one that is up goes down first, for `replaced`.
    pub(crate) fn link_up(&self, link: &Arc<Link>, replaced: Reason) {
        let Some(peer) = self.peers.get(link.peer) else { return };
        if let Some(old) = peer.link() {
            let text = "a newer connection took the place of this one";
            let reason = old.end(End::new(replaced, Close::Replaced, text));
            self.link_down(&old, reason);
        }
        peer.set_link(Some(Arc::clone(link)));
        debug!(node = %self.me, peer = %link.peer, address = link.address, "link up");
        self.inbox.link(link.peer, LinkChange::Up { incarnation: link.incarnation });
        self.peers.changed.notify_waiters();
    }

    /// Takes `link` down, if it is the link to its peer.
    pub(crate) fn link_down(&self, link: &Arc<Link>, reason: Reason) {
        let Some(peer) = self.peers.get(link.peer) else { return };
        link.is_down.store(true, Ordering::Relaxed);
        link.outbox.close();
        if peer.link().is_none_or(|now| !Arc::ptr_eq(&now, link)) {
            return;
        }
        peer.set_link(None);
        debug!(node = %self.me, peer = %link.peer, address = link.address, ?reason, "link down");
        self.inbox.link(link.peer, LinkChange::Down(reason));
        self.peers.changed.notify_waiters();
    }

    /// The peer of a link that is up has broken the protocol: tells so, and how the link ends.
    pub(crate) fn refuse(&self, link: &Link, turned: &Turned) -> End {
        self.journal.refuses(Some(link.peer), &link.address, turned);
        End::refused(turned)
    }

    /// Logs, once per link, which events one side sends in vain.
    fn compare_events(&self, theirs: &Greeting) {
        let (peer, ours) = (theirs.node, &self.greeting);
        let unknown_there = ours.unknown_to(theirs);
        let unknown_here = theirs.unknown_to(ours);
        if !unknown_there.is_empty() || !unknown_here.is_empty() {
            info!(node = %self.me, %peer, ?unknown_there, ?unknown_here, "the event sets differ");
        }
    }
}
