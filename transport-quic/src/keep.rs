//! Watches over one link: notices silence, dials anew, and gives the peer up in the end.

use std::io::ErrorKind;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use synod_core::Reason;
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::{Instant, sleep, timeout};

use crate::dial;
use crate::limits::Limits;
use crate::link::{End, Link, Wire};
use crate::peers::Peer;
use crate::refusal::Close;
use crate::session::WireId;
use crate::shared::Shared;

/// Watches over a link for as long as it lasts, and takes it down.
pub(crate) async fn keep(shared: Arc<Shared>, link: Arc<Link>) {
    let mut watch = Watch::new(&shared.limits);
    let end = loop {
        tokio::select! {
            biased;
            end = link.over() => break end,
            () = link.stirred.notified() => (),
            () = sleep(watch.pause) => (),
        }
        if let Some(end) = watch.look(&shared, &link).await {
            break end;
        }
    };
    let reason = link.end(end);
    shared.link_down(&link, reason);
}

/// What is known of a peer's signs of life.
struct Watch {
    /// How often the link is looked at, and after how long the next time.
    pace: Duration,
    pause: Duration,
    /// Whether the peer is to dial first when the connection is lost.
    gives_way: bool,
    /// The connection of the last look, and the packets that had come on it.
    seen: Option<(WireId, u64)>,
    heard: Instant,
    round_trip: Duration,
    /// From where the peer was heard last.
    address: Option<SocketAddr>,
    /// How many times in a row that address has said that nobody listens.
    refused: u32,
    /// The certificate that this node last tried to show, by its serial number, and when.
    showed: Option<(String, Instant)>,
    /// Whether the peer was asked to dial since.
    has_asked: bool,
    /// When the peer's wish for another connection was last heard.
    asked: Option<Instant>,
}

impl Watch {
    fn new(limits: &Limits) -> Self {
        let pace = (limits.redial_after / 4).clamp(PACE_MIN, PACE_MAX);
        Self {
            pace,
            pause: pace,
            gives_way: false,
            seen: None,
            heard: Instant::now(),
            round_trip: Duration::ZERO,
            address: None,
            refused: 0,
            showed: None,
            has_asked: false,
            asked: None,
        }
    }

    /// One look at the link. Dials if it is silent; says how it ends if it has been for too long.
    async fn look(&mut self, shared: &Arc<Shared>, link: &Arc<Link>) -> Option<End> {
        if let Some(why) = shared.inbox.hung() {
            return Some(End::new(Reason::Silent, Close::Hung, &why));
        }
        let wire = link.wire();
        self.pause = self.pace;
        if let Some(wire) = &wire {
            self.show_anew(shared, link, wire);
            self.dial_if_asked(shared, link);
            if self.hears(link, wire) {
                self.gives_way = link.peer < shared.me;
                return None;
            }
        }
        let silent_for = self.heard.elapsed();
        let is_lost = wire.is_none();
        let is_silent = shared.limits.redial_after <= silent_for;
        if is_silent {
            link.set_silent_since(Some(self.heard));
        }
        if !is_lost && !is_silent {
            return None;
        }
        if is_lost && link.channel.is_finishing() && !link.channel.is_unfinished() {
            return Some(End::new(Reason::Closed, Close::Leaving, "nothing was left to say"));
        }
        if is_lost && shared.limits.session_grace <= silent_for {
            return Some(End::new(Reason::Silent, Close::Disconnected, "nothing was heard"));
        }
        if link.has_ended() {
            return None;
        }
        if is_lost && mem::take(&mut self.gives_way) {
            self.pause = HEAD_START.min(self.pace);
            return None;
        }
        self.redial(shared, link);
        self.is_gone(shared, link).await.then(|| {
            End::new(Reason::Silent, Close::Disconnected, "nobody listens at the peer's address")
        })
    }

    /// Whether something has come on the connection since the last look.
    fn hears(&mut self, link: &Link, wire: &Wire) -> bool {
        let seen = (wire.id, wire.connection.stats().udp_rx.datagrams);
        if self.seen == Some(seen) {
            return false;
        }
        let address = wire.connection.remote_address();
        let has_moved = self.seen.is_some_and(|(last, _)| last == wire.id)
            && self.address.is_some_and(|last| last != address);
        if has_moved {
            // The answer to a hello says where the peer is seen, and then it tells the others.
            wire.wants_another.notify_one();
        }
        self.seen = Some(seen);
        self.heard = Instant::now();
        link.set_silent_since(None);
        self.round_trip = wire.connection.rtt();
        self.address = Some(address);
        self.refused = 0;
        true
    }

    /// Where the certificate has been replaced that this node has shown on the connection, makes another
    /// one: a peer judges what it has seen, and so would neither notice that the new certificate is
    /// revoked nor that the old one was not the last. A peer that does not believe the new one, since it
    /// has not been told of its authority, keeps the connection that is there. One that this node does
    /// not reach is asked to dial.
    fn show_anew(&mut self, shared: &Arc<Shared>, link: &Link, wire: &Wire) {
        let serial = &shared.identity.get().facts.serial;
        if wire.tls.facts.serial == *serial {
            return;
        }
        let is_recent = |at: &Instant| at.elapsed() < SHOW_AGAIN;
        if !self.showed.as_ref().is_some_and(|(tried, at)| tried == serial && is_recent(at)) {
            self.showed = Some((serial.clone(), Instant::now()));
            self.has_asked = false;
            self.redial(shared, link);
        } else if !self.has_asked && !shared.peers.get(link.peer).is_some_and(Peer::is_dialing) {
            self.has_asked = true;
            wire.wants_another.notify_one();
        }
    }

    /// Makes another connection if the peer asks for it, which has another certificate to show.
    fn dial_if_asked(&mut self, shared: &Arc<Shared>, link: &Link) {
        let is_soon = self.asked.is_some_and(|at| at.elapsed() < SHOW_AGAIN / 2);
        if !is_soon && link.is_asked.swap(false, Ordering::Relaxed) {
            self.asked = Some(Instant::now());
            self.redial(shared, link);
        }
    }

    /// Makes an attempt to connect anew, unless one is under way. Each is short, since within one
    /// QUIC asks less and less often.
    fn redial(&self, shared: &Arc<Shared>, link: &Link) {
        let Some(peer) = shared.peers.get(link.peer) else { return };
        if let Some(attempt) = peer.begin_attempt(true) {
            let patience = REDIAL_TIMEOUT.max(self.round_trip * REDIAL_ROUND_TRIPS);
            let patience = patience.min(shared.limits.connect_timeout);
            tokio::spawn(dial::dial(Arc::clone(shared), link.peer, attempt, patience));
        }
    }

    /// Whether the peer's process is gone, as far as the system of its machine tells: it answers
    /// for a port that nobody listens on. Asked several times, since a peer may just be replacing
    /// its socket; and only where the peer is known to listen: a translator of addresses answers
    /// the same for a mapping that it has forgotten. Whatever becomes of the link meanwhile comes first: a
    /// peer that is there has mostly taken the new connection before it would be asked.
    async fn is_gone(&mut self, shared: &Shared, link: &Link) -> bool {
        let listens_at = shared.peers.get(link.peer).and_then(Peer::address);
        let refused = match (self.address, listens_at) {
            (Some(address), Some(known)) => {
                let asked = async {
                    sleep(REFUSAL_DELAY).await;
                    resolves_to(&known, address).await && refuses(address).await
                };
                tokio::select! {
                    refused = timeout(REFUSAL_TIMEOUT, asked) => refused.unwrap_or(false),
                    () = link.stirred.notified() => {
                        link.stirred.notify_one();
                        false
                    }
                }
            }
            _ => false,
        };
        self.refused = if refused { self.refused + 1 } else { 0 };
        REFUSED_MAX <= self.refused
    }
}

async fn resolves_to(name: &str, address: SocketAddr) -> bool {
    let found = lookup_host(name).await;
    found.is_ok_and(|mut found| found.any(|it| it == address))
}

/// Whether the system of the other machine says that nobody listens there. Silence is a no.
async fn refuses(address: SocketAddr) -> bool {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let asked = async {
        let socket = UdpSocket::bind(any).await?;
        socket.connect(address).await?;
        // Too short to be a packet of QUIC: a peer that is there ignores it.
        socket.send(&[0]).await?;
        socket.recv(&mut [0]).await
    };
    asked.await.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// After how long a new certificate is shown again to a peer that has not believed it.
const SHOW_AGAIN: Duration = Duration::from_secs(10);

/// How often a link is looked at: a quarter of the silence that matters, within these bounds.
const PACE_MIN: Duration = Duration::from_millis(10);
const PACE_MAX: Duration = Duration::from_millis(250);

/// How much sooner the smaller of two nodes dials that have lost their connection together: two handshakes
/// at once take twice as long, and one of them is in vain.
const HEAD_START: Duration = Duration::from_millis(20);

/// How long an attempt to connect anew takes at least: its first packet is sent twice.
const REDIAL_TIMEOUT: Duration = Duration::from_millis(600);

/// And how many round trips of the lost connection: a handshake takes two, and a hello one.
const REDIAL_ROUND_TRIPS: u32 = 6;

/// How many refusals in a row mean that a process is gone.
const REFUSED_MAX: u32 = 3;

/// How long a new connection is tried before the system is asked whether the port is closed.
const REFUSAL_DELAY: Duration = Duration::from_millis(10);

/// How long an answer for a closed port is waited for, with that.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(100);
