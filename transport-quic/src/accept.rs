//! The accepting side: who knocks, who is let in, and which of two connections stays.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn::{Connection, ConnectionError, Incoming, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use synod_core::NodeId;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::debug;

use crate::control::{self, Greeting, Message, Silence};
use crate::limits::{HOLD, LAST_WORDS};
use crate::link::{Link, Wire};
use crate::peers::{Claim, Peer, Verdict};
use crate::refusal::{Close, Kind, Turned, turned_by};
use crate::serve;
use crate::session::{Answer, Choice, Offer, choose};
use crate::shared::Shared;
use crate::tls::{Tls, Verifier};
use crate::versions::Agreed;

/// Lets in whoever may come in, until the endpoint dies.
pub(crate) async fn accept(shared: &Arc<Shared>) {
    let Some(endpoint) = shared.gateway.endpoint() else { return };
    while let Some(incoming) = endpoint.accept().await {
        admit(shared, incoming);
    }
}

/// Bounds the handshakes under way, in all and from one host: first by asking diallers to prove
/// their address, then by turning them away. Peers that are linked already are not affected.
fn admit(shared: &Arc<Shared>, incoming: Incoming) {
    let host = host_of(incoming.remote_address());
    let (pending, of_host) = shared.handshakes.count(host);
    let limits = &shared.limits;
    let is_crowded =
        limits.handshakes_before_retry <= pending || limits.handshakes_per_host_max <= of_host;
    if shared.lets_nobody_in() {
        incoming.refuse();
    } else if limits.handshakes_max <= pending {
        let text = format!("{pending} handshakes are under way already");
        turn_off(shared, incoming, text);
    } else if is_crowded && incoming.may_retry() {
        if let Err(error) = incoming.retry() {
            error.into_incoming().refuse();
        }
    } else if limits.handshakes_per_host_max <= of_host {
        let text = format!("{of_host} handshakes from this host are under way already");
        turn_off(shared, incoming, text);
    } else {
        let handshake = Handshake::begin(shared, host);
        tokio::spawn(welcome(Arc::clone(shared), incoming, handshake));
    }
}

fn turn_off(shared: &Shared, incoming: Incoming, text: String) {
    let address = incoming.remote_address().to_string();
    incoming.refuse();
    shared.journal.refuses(None, &address, &Turned::new(Kind::Flood, text));
}

/// Who is behind an address, as far as a flood is concerned: whoever has one address of IPv6 has
/// the 64 bits behind it as well.
fn host_of(address: SocketAddr) -> IpAddr {
    match address.ip().to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        ip @ IpAddr::V4(_) => ip,
    }
}

/// How many handshakes are under way, by host. There are no more hosts than handshakes.
#[derive(Debug, Default)]
pub(crate) struct Handshakes(Mutex<BTreeMap<IpAddr, usize>>);

impl Handshakes {
    /// In all, and from this host. O(hosts).
    fn count(&self, host: IpAddr) -> (usize, usize) {
        let hosts = self.hosts();
        (hosts.values().sum(), hosts.get(&host).copied().unwrap_or(0))
    }

    fn hosts(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handshake under way, counted for as long as this lives.
struct Handshake {
    shared: Arc<Shared>,
    host: IpAddr,
}

impl Handshake {
    fn begin(shared: &Arc<Shared>, host: IpAddr) -> Self {
        *shared.handshakes.hosts().entry(host).or_default() += 1;
        Self { shared: Arc::clone(shared), host }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut hosts = self.shared.handshakes.hosts();
        let left = hosts.remove(&self.host).unwrap_or(0).saturating_sub(1);
        if 0 < left {
            hosts.insert(self.host, left);
        }
    }
}

/// Somebody who has shown a certificate and said hello.
struct Guest {
    /// Whoever waits to be let in, or to read why not, counts as a handshake.
    handshake: Handshake,
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
    node: NodeId,
    /// What it was shown, and whom this node believed then.
    tls: Arc<Tls>,
    speaks: Agreed,
    theirs: Greeting,
    offer: Offer,
}

async fn welcome(shared: Arc<Shared>, incoming: Incoming, handshake: Handshake) {
    let address = incoming.remote_address();
    let patience = shared.limits.connect_timeout;
    let deadline = Instant::now() + patience;
    let known = match timeout_at(deadline, shake_hands(&shared, incoming, address)).await {
        Ok(known) => known,
        Err(_) => {
            debug!(node = %shared.me, %address, "a handshake was not finished in time");
            None
        }
    };
    let Some((connection, node, tls)) = known else { return };
    let guest = receive_guest(&shared, connection.clone(), handshake, (node, tls), address);
    match timeout_at(deadline, guest).await {
        Ok(Some(guest)) => settle(&shared, guest).await,
        Ok(None) => (),
        Err(_) => {
            let turned = Turned::new(Kind::BadHello, format!("no hello came within {patience:?}"));
            shared.journal.refuses(Some(node), &address.to_string(), &turned);
            connection.close(Close::Refused.code(), turned.reason().as_bytes());
        }
    }
}

/// Hears the hello of a node that has shown its certificate. Whoever is turned away here has been
/// told.
async fn receive_guest(
    shared: &Arc<Shared>,
    connection: Connection,
    handshake: Handshake,
    (node, tls): (NodeId, Arc<Tls>),
    address: SocketAddr,
) -> Option<Guest> {
    let (mut send, mut receive) = match connection.accept_bi().await {
        Ok(streams) => streams,
        Err(error) => {
            report(shared, Some(node), address, &error, None);
            return None;
        }
    };
    let hello = match control::read_first(&mut receive, shared.me, node).await {
        Ok((Message::Hello(theirs, offer), speaks)) => {
            shared.agree(&theirs, node).map(|()| (theirs, offer, speaks))
        }
        Ok((Message::Inquiry, _)) => {
            introduce(shared, &connection, &mut send).await;
            return None;
        }
        Ok(_) => Err(Turned::new(Kind::BadHello, "the first word must be a hello")),
        Err(Silence::Turned(turned)) => Err(turned),
        Err(Silence::Ended) => {
            if let Some(error) = connection.close_reason() {
                report(shared, Some(node), address, &error, None);
            }
            return None;
        }
    };
    match hello {
        Ok((theirs, offer, speaks)) => {
            Some(Guest { handshake, connection, send, receive, node, tls, speaks, theirs, offer })
        }
        Err(turned) => {
            shared.journal.refuses(Some(node), &address.to_string(), &turned);
            turn_away(&connection, &mut send, &turned).await;
            None
        }
    }
}

/// The TLS handshake, the node behind the certificate that it was made with, and the identity that this
/// node had.
async fn shake_hands(
    shared: &Shared,
    incoming: Incoming,
    address: SocketAddr,
) -> Option<(Connection, NodeId, Arc<Tls>)> {
    let tls = shared.identity.get();
    let (crypto, verifier) = match tls.acceptor() {
        Ok(acceptor) => acceptor,
        Err(error) => {
            debug!(node = %shared.me, %address, %error, "nobody can be let in");
            incoming.refuse();
            return None;
        }
    };
    let mut config = shared.gateway.server().clone();
    config.crypto = Arc::new(crypto);
    config.transport_config(shared.accepted.to(address));
    let connected = match incoming.accept_with(Arc::new(config)) {
        Ok(connecting) => connecting.await,
        Err(error) => Err(error),
    };
    let connection = match connected {
        Ok(connection) => connection,
        Err(error) => {
            report(shared, None, address, &error, Some(&verifier));
            return None;
        }
    };
    match identity(&connection, &verifier) {
        Ok(node) => Some((connection, node, tls)),
        Err(turned) => {
            shared.journal.refuses(None, &address.to_string(), &turned);
            connection.close(Close::Refused.code(), turned.reason().as_bytes());
            None
        }
    }
}

/// The node behind the certificate that the connection was made with.
fn identity(connection: &Connection, verifier: &Verifier) -> Result<NodeId, Turned> {
    let shown = connection.peer_identity();
    let chain = shown.and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    let leaf = chain.as_ref().and_then(|chain| chain.first());
    leaf.and_then(|leaf| verifier.believed(leaf)).ok_or_else(|| {
        Turned::new(Kind::NoCertificate, "a certificate is wanted and none was shown")
    })
}

/// Tells who refused whom, if anybody did; other failures are the network's.
fn report(
    shared: &Shared,
    node: Option<NodeId>,
    address: SocketAddr,
    error: &ConnectionError,
    verifier: Option<&Verifier>,
) {
    let address = address.to_string();
    let ours = verifier.and_then(Verifier::turned);
    match (ours.or_else(|| turned_by(error)), error) {
        (Some(turned), ConnectionError::TransportError(_)) => {
            shared.journal.refuses(node, &address, &turned);
        }
        (Some(turned), _) => {
            shared.journal.is_refused(node, &address, &turned);
        }
        (None, _) => debug!(node = %shared.me, address, %error, "a handshake was broken off"),
    }
}

/// Says why, and leaves the peer time to read it.
async fn turn_away(connection: &Connection, send: &mut SendStream, turned: &Turned) {
    let kind = String::from(turned.kind.word());
    // The close frame says the same, so nothing is lost if the time is up.
    say_last(connection, send, &Message::Refused { kind, text: turned.text.clone() }).await;
    connection.close(Close::Refused.code(), turned.reason().as_bytes());
}

/// Says who this node is to a peer that asks for nothing else.
async fn introduce(shared: &Shared, connection: &Connection, send: &mut SendStream) {
    let greeting = Greeting::clone(&shared.greeting());
    say_last(connection, send, &Message::Introduction(greeting)).await;
    connection.close(Close::GivenUp.code(), b"this was only a question");
}

/// Says the only word of a connection, until the peer has hung up or the time is up.
async fn say_last(connection: &Connection, send: &mut SendStream, message: &Message) {
    let said = async {
        if control::write_first(send, message).await.is_ok() && send.finish().is_ok() {
            connection.closed().await;
        }
    };
    let _ = timeout(LAST_WORDS, said).await;
}

/// Decides between this connection and whatever else there is between the two nodes.
async fn settle(shared: &Arc<Shared>, mut guest: Guest) {
    let deadline = Instant::now() + HOLD;
    let Some(peer) = shared.peers.get(guest.node) else { return };
    let mut claim = Claim {
        me: shared.me,
        peer: guest.node,
        life: guest.theirs.life,
        last_wire: guest.offer.last_wire,
        was_tied: false,
        is_last_call: false,
    };
    loop {
        let changed = shared.peers.changed.notified();
        if shared.lets_nobody_in() {
            guest.connection.close(Close::Leaving.code(), b"the node is about to end");
            return;
        }
        let standing = peer.standing();
        match claim.judge(standing) {
            Verdict::Take => return take(shared, peer, guest).await,
            Verdict::LostTie => {
                guest.connection.close(Close::LostTie.code(), b"the other connection stays");
                return;
            }
            Verdict::Stale => return refuse_stale(shared, peer, &mut guest).await,
            Verdict::Wait => claim.was_tied |= standing.is_greeting(),
        }
        tokio::select! {
            () = changed => (),
            () = sleep_until(deadline) => claim.is_last_call = true,
            _ = guest.connection.closed() => return,
        }
    }
}

/// Lets the connection carry the link, says so, gives up this node's own attempt, and serves it.
async fn take(shared: &Arc<Shared>, peer: &Peer, guest: Guest) {
    let Guest { handshake, connection, mut send, receive, node, tls, speaks, theirs, offer } =
        guest;
    // Before anything else can happen: an attempt that is cancelled now says no hello.
    peer.cancel_attempt();
    let wire = Arc::new(Wire::new(offer.wire, node, tls, speaks, connection));
    let (link, answer) = match join(shared, peer, &theirs, &offer, &wire) {
        Ok(joined) => joined,
        Err(turned) => {
            shared.journal.refuses(Some(node), &wire.address, &turned);
            return turn_away(&wire.connection, &mut send, &turned).await;
        }
    };
    drop(handshake);
    shared.limits.let_in(&wire.connection);
    let ack = Message::HelloAck(Greeting::clone(&shared.greeting()), answer, wire.address.clone());
    // If this fails the connection is lost, which `serve` notices.
    let _ = control::write_first(&mut send, &ack).await;
    serve::serve(shared, &link, &wire, send, receive).await;
}

/// Chooses the session that the connection carries, and puts it in its place.
fn join(
    shared: &Arc<Shared>,
    peer: &Peer,
    theirs: &Greeting,
    offer: &Offer,
    wire: &Arc<Wire>,
) -> Result<(Arc<Link>, Answer), Turned> {
    let same_life = |link: &Arc<Link>| link.incarnation == theirs.life.incarnation;
    let live = peer.link().filter(|link| same_life(link) && !link.has_ended());
    let live = live.map(|link| link.channel.id());
    let choice = choose(live, peer.fresh(), offer);
    let session = match choice {
        Choice::Resume => live,
        Choice::Begin(id) => Some(id),
    };
    // Not what it says, if that is of another session than this one.
    let received = session.map(|id| offer.received_in(id)).unwrap_or_default();
    let link = shared.join(peer, theirs, choice, wire, &received)?;
    let answer = Answer { session: link.channel.id(), received: link.channel.received() };
    Ok((link, answer))
}

async fn refuse_stale(shared: &Shared, peer: &Peer, guest: &mut Guest) {
    let Some(newest) = peer.outdating(guest.theirs.life) else { return };
    let turned = Turned::stale(shared.me, &guest.theirs, newest);
    let address = guest.connection.remote_address().to_string();
    shared.journal.refuses(Some(guest.node), &address, &turned);
    turn_away(&guest.connection, &mut guest.send, &turned).await;
}
