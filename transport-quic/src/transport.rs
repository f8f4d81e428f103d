//! The transport as its host sees it, and the thread that everything runs on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, mpsc};
use std::time::{Duration, Instant, SystemTime};

use quinn::{Endpoint, SendDatagramError, ServerConfig};
use synod_core::{
    Closing, Envelope, EventId, Framed, Hello, Inbox, Lane, LaneCounts, LaneId, LinkChange,
    LinkStatus, NodeId, Reason, SendError, Sent, Transport, TransportError,
};
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::accept::Handshakes;
use crate::addresses::{AddressBook, is_address};
use crate::channel::Channel;
use crate::control::{self, Greeting};
use crate::engine::{Engine, Idle, Opened};
use crate::gateway::{Failing, Gateway};
use crate::identity::{Bundle, CertificateError, TakenLists};
use crate::journal::Journal;
use crate::life;
use crate::limits::{INCOMING_BYTES_MAX, LAST_WORDS, Limits};
use crate::link::End;
use crate::peers::{Peer, Peers};
use crate::refusal::Close;
use crate::renewal;
use crate::shared::Shared;
use crate::socket;
use crate::tls::{Current, Tls};

/// Links to the peers of one node, over QUIC.
///
/// Everything runs on a thread of its own, so that slow handlers cannot kill a connection. It is lent to
/// those that have been quick.
/// Dropping the transport ends it at once; [`Transport::close`] says good-bye first.
///
/// ```no_run
/// use synod_transport_quic::{Bundle, Limits, QuicTransport};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bundle = Bundle::read("n1.synod".as_ref())?;
/// let transport = QuicTransport::new(&bundle, Limits::default())?;
/// println!("{} listens on {}", bundle.node, transport.local_address());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct QuicTransport {
    me: NodeId,
    /// When the process began, as peers are told.
    began: u64,
    local_address: SocketAddr,
    /// Where the node says that it listens; none if its peers must tell it.
    own_address: Option<String>,
    limits: Limits,
    identity: Arc<Current>,
    /// The lists of revoked certificates that the identity has had.
    taken: Mutex<TakenLists>,
    /// Where they are kept.
    taken_file: Option<PathBuf>,
    peers: Arc<Peers>,
    /// Made with the transport, taken when it starts.
    idle: Mutex<Option<Idle>>,
    engine: OnceLock<Engine>,
}

impl QuicTransport {
    /// Checks the bundle and binds the socket. Nobody is let in before [`Transport::start`].
    ///
    /// # Errors
    ///
    /// [`TransportError`] if the certificate is not valid for this node now, if the limits do not
    /// fit together, or if the address is taken.
    pub fn new(bundle: &Bundle, limits: Limits) -> Result<Self, TransportError> {
        let unusable = |error: CertificateError| TransportError(error.to_string());
        limits.check(&[])?;
        let listening = listen(bundle, &limits);
        // What is wrong with the bundle is told first.
        let tls = Tls::checked(bundle).map_err(unusable)?;
        let (local_address, idle) = listening?;
        let others = tls.trust.peers().iter();
        let others = others.map(|peer| (*peer, bundle.peers.get(peer).cloned()));
        let own_address = own_address(bundle, local_address);
        let peers = Arc::new(Peers::new(others));
        Ok(Self {
            me: bundle.node,
            began: life::now(),
            local_address,
            own_address,
            peers,
            limits,
            identity: Arc::new(Current::new(tls)),
            taken: Mutex::default(),
            taken_file: None,
            idle: Mutex::new(Some(idle)),
            engine: OnceLock::new(),
        })
    }

    /// Keeps in `file`, over restarts, which lists of revoked certificates the node has taken, so that it takes no older
    /// ones: [`TakenLists`]. It is in a directory that nobody else uses, such as the node's store, which must be there
    /// when the transport starts. Without a file, only the lists of this process are remembered.
    #[must_use]
    pub fn keeping_lists_in(mut self, file: impl Into<PathBuf>) -> Self {
        self.taken_file = Some(file.into());
        self
    }

    /// Where the node listens: the port that the system chose, if the bundle asks for port 0.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Replaces the address of `peer` for the attempts to come, and what its peers say of it. A node that is not in the peer
    /// list stays a stranger.
    pub fn set_address(&self, peer: NodeId, address: SocketAddr) {
        if let Some(peer) = self.peers.get(peer) {
            peer.set_address(address);
        }
    }

    /// Gives up the connection with `peer`, if there is one, and makes another one. The link goes
    /// on: nothing is lost, and neither host is told.
    pub fn reconnect(&self, peer: NodeId) {
        let link = self.peers.get(peer).and_then(|peer| peer.link());
        if let Some(wire) = link.and_then(|link| link.wire()) {
            wire.connection
                .close(Close::Replaced.code(), b"another connection is to take its place");
        }
    }

    /// Takes another bundle of the same node while it runs: a new certificate, other authorities,
    /// more revoked certificates, fewer peers. Handshakes from now on use it; within a second, connections
    /// that were made with another certificate are replaced, and their links go on. A link to a peer that
    /// is not listed any more, or whose certificate is revoked or of no trusted authority any more,
    /// ends at once, and both sides are told why; the other links are not disturbed. Nodes that were not listed when the transport was
    /// made stay strangers until it is made anew.
    ///
    /// # Errors
    ///
    /// [`TransportError`] if the bundle is of another node or cluster, or not valid now, or if its
    /// list of revoked certificates is older than one that was taken, or what is taken cannot be written down. The
    /// one before stays in use then.
    pub fn renew(&self, bundle: &Bundle) -> Result<(), TransportError> {
        let unusable = |error: CertificateError| TransportError(error.to_string());
        let before = self.identity.get();
        if bundle.node != self.me || bundle.cluster != before.trust.cluster {
            return Err(TransportError(format!(
                "the bundle is that of {} of cluster {}, and this is {} of cluster {}",
                bundle.node, bundle.cluster, self.me, before.trust.cluster
            )));
        }
        let tls = Tls::checked(bundle).map_err(unusable)?;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.take(&tls.trust).map_err(unusable)?;
        self.identity.replace(tls);
        drop(taken);
        if let Some((_, shared)) = self.shared() {
            renewal::apply(&shared);
        }
        Ok(())
    }

    /// Makes the socket fail as it does where the system takes the network away, for tests of what
    /// comes after: the transport opens another one, and its links go on.
    #[doc(hidden)]
    pub fn fail_socket(&self) {
        self.fail(Failing::Error);
    }

    /// Makes the task of quinn panic that has the socket, for tests of what comes after.
    #[doc(hidden)]
    pub fn panic_within(&self) {
        self.fail(Failing::Panic);
    }

    fn fail(&self, how: Failing) {
        if let Some((_, shared)) = self.shared()
            && let Err(error) = shared.gateway.fail_socket(how)
        {
            warn!(node = %self.me, %error, "the socket does not fail");
        }
    }

    /// When the certificates of the peers end that are connected now. O(peers), with a look at each
    /// certificate.
    #[must_use]
    pub fn certificate_ends(&self) -> BTreeMap<NodeId, SystemTime> {
        let links = self.peers.links();
        links.iter().filter_map(|link| Some((link.peer, link.certificate_ends()?))).collect()
    }

    /// Datagrams that were not sent because they are too large, or because the peer takes none; and how often
    /// one took the room of older ones that still waited ([`Limits::datagram_bytes_max`]).
    #[must_use]
    pub fn datagrams_dropped(&self) -> u64 {
        self.peers.datagrams_dropped.load(Ordering::Relaxed)
    }

    fn shared(&self) -> Option<(&Engine, Arc<Shared>)> {
        let engine = self.engine.get()?;
        Some((engine, engine.shared.upgrade()?))
    }

    /// Takes the lists that the node starts with, unless it has taken later ones in a former life.
    fn take_lists(&self) -> Result<(), TransportError> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &self.taken_file {
            *taken =
                TakenLists::kept_in(file).map_err(|error| TransportError(error.with_cause()))?;
        }
        taken.take(&self.identity.get().trust).map_err(|error| TransportError(error.to_string()))
    }

    fn launch(&self, hello: &Hello, inbox: Arc<dyn Inbox>) -> Result<Engine, TransportError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let idle = idle.ok_or_else(|| failed(&"it has been started before"))?;
        let Opened { endpoint, tasks } = idle.opened().map_err(|error| failed(&error))?;
        let shared = Arc::new(self.build_shared(hello, inbox, endpoint)?);
        let bytes_per_peer_max = self.limits.bytes_per_peer_max(&hello.events);
        info!(node = %self.me, address = %self.local_address, bytes_per_peer_max, "listening");
        idle.begin(tasks, shared).map_err(|error| failed(&error))
    }

    fn build_shared(
        &self,
        hello: &Hello,
        inbox: Arc<dyn Inbox>,
        endpoint: Endpoint,
    ) -> Result<Shared, TransportError> {
        let tls = self.identity.get();
        let greeting = Greeting::new(&tls.trust.cluster, hello, self.began);
        control::check_size(&greeting, self.limits.lanes_max)?;
        let (crypto, _) = tls.acceptor().map_err(|error| failed(&error))?;
        let mut server = ServerConfig::with_crypto(Arc::new(crypto));
        server
            .max_incoming(self.limits.handshakes_max)
            .incoming_buffer_size(INCOMING_BYTES_MAX)
            .incoming_buffer_size_total(INCOMING_BYTES_MAX * self.limits.handshakes_max as u64);
        let gateway = Gateway::new(self.me, endpoint, &self.limits, server);
        let members = tls.trust.peers().iter().copied().chain([self.me]).collect();
        let mut addresses = AddressBook::new(self.me, hello.incarnation, members);
        if let Some(address) = &self.own_address {
            addresses.announce(address);
        }
        Ok(Shared {
            me: self.me,
            addresses: Mutex::new(addresses),
            addresses_changed: Notify::new(),
            began: Instant::now(),
            events: greeting.names(),
            sizes: Arc::new(self.limits.sizes(greeting.bytes_max())),
            greeting: RwLock::new(Arc::new(greeting)),
            limits: self.limits.clone(),
            identity: Arc::clone(&self.identity),
            dialed: self.limits.dialed()?,
            accepted: self.limits.accepted()?,
            gateway: gateway.map_err(|error| failed(&error))?,
            peers: Arc::clone(&self.peers),
            journal: Journal::new(self.me, Arc::clone(&inbox)),
            inbox,
            handshakes: Handshakes::default(),
            leaving: AtomicBool::new(false),
        })
    }

    /// Queues so many events of one type for an ordered lane, and counts what became of them.
    fn queue(
        &self,
        to: NodeId,
        lane: LaneId,
        (event, count): (EventId, usize),
        push: impl FnOnce(&Channel) -> Sent,
    ) -> Sent {
        let peer = self.peers.get(to);
        let sent = match peer.and_then(Peer::link) {
            None => Sent::none(count, SendError::Down),
            Some(link) if !link.takes(event) => Sent::none(count, SendError::Unhandled),
            Some(link) => {
                let sent = push(&link.channel);
                if sent.refused.contains(&SendError::Full) {
                    let text = "the queue to the peer is full";
                    link.end(End::new(Reason::Overflow, Close::Overflow, text));
                }
                sent
            }
        };
        if let (Some(peer), [_, ..]) = (peer, &*sent.refused) {
            peer.count_refused(lane, sent.refused.len());
        }
        sent
    }

    fn send_datagram(&self, to: NodeId, envelope: &Envelope) -> Result<(), SendError> {
        let link = self.peers.get(to).and_then(Peer::link).ok_or(SendError::Down)?;
        if !link.takes(envelope.event()) {
            return Err(SendError::Unhandled);
        }
        let wire = link.wire().ok_or(SendError::Down)?;
        let mut bytes = Vec::with_capacity(DATAGRAM_HEADER_GUESS + envelope.body().len());
        envelope.encode_into(&mut bytes);
        let size = bytes.len();
        let takes_room = wire.connection.datagram_send_buffer_space() < size;
        let sent = wire.connection.send_datagram(bytes.into());
        if sent.is_ok() && takes_room {
            self.peers.count_dropped_datagram();
        }
        sent.map_err(|error| match error {
            SendDatagramError::ConnectionLost(_) => SendError::Down,
            SendDatagramError::TooLarge
            | SendDatagramError::UnsupportedByPeer
            | SendDatagramError::Disabled => {
                self.peers.count_dropped_datagram();
                let size_max = wire.connection.max_datagram_size().unwrap_or(0);
                SendError::TooLarge { size, size_max }
            }
        })
    }
}

impl Transport for QuicTransport {
    fn start(&self, hello: Hello, inbox: Arc<dyn Inbox>) -> Result<(), TransportError> {
        if hello.node != self.me {
            let text = format!("the bundle is that of {}, and the node is {}", self.me, hello.node);
            return Err(TransportError(text));
        }
        self.limits.check(&hello.events)?;
        self.take_lists()?;
        let engine = self.launch(&hello, inbox)?;
        self.engine.set(engine).map_err(|_| failed(&"it has been started before"))
    }

    fn connect(&self, peer: NodeId) {
        let Some((engine, shared)) = self.shared() else { return };
        let identity = self.identity.get();
        let listed = identity.trust.peers().contains(&peer);
        match self.peers.get(peer).filter(|_| listed) {
            Some(known) => {
                let _inside = engine.tasks.enter();
                shared.dial(peer, known);
            }
            None => {
                let text = format!("{peer} is not in the peer list of {}", self.me);
                let stranger =
                    async move { shared.inbox.link(peer, LinkChange::Unreachable(text)) };
                engine.tasks.spawn(stranger);
            }
        }
    }

    fn disconnect(&self, peer: NodeId, reason: Reason) {
        if let Some(link) = self.peers.get(peer).and_then(|peer| peer.link()) {
            link.end(End::new(reason, Close::Disconnected, "the node ends this link"));
        }
    }

    fn restart(&self, hello: Hello) -> Result<(), TransportError> {
        let has_not_started = || TransportError(format!("{} has not started", self.me));
        let (engine, shared) = self.shared().ok_or_else(has_not_started)?;
        let cluster = self.identity.get().trust.cluster.clone();
        let greeting = Greeting::new(&cluster, &hello, self.began);
        // Links change on that thread alone.
        let (done, is_done) = mpsc::channel();
        engine.tasks.spawn(async move {
            shared.begin_life(greeting);
            let _ = done.send(());
        });
        is_done.recv_timeout(LAST_WORDS).map_err(|_| TransportError(String::from("it has ended")))
    }

    fn send(&self, to: NodeId, lane: Lane, envelope: &Envelope) -> Result<(), SendError> {
        let Lane::Ordered(lane) = lane else { return self.send_datagram(to, envelope) };
        let push = |channel: &Channel| channel.push(lane, envelope);
        self.queue(to, lane, (envelope.event(), 1), push).single()
    }

    fn send_all(&self, to: NodeId, lane: LaneId, envelopes: &Framed) -> Sent {
        let push = |channel: &Channel| channel.push_all(lane, envelopes);
        self.queue(to, lane, (envelopes.event(), envelopes.len()), push)
    }

    fn send_each(&self, to: NodeId, lane: LaneId, envelopes: &[&Envelope]) -> Sent {
        let Some(first) = envelopes.first() else { return Sent::default() };
        let push = |channel: &Channel| channel.push_each(lane, envelopes);
        self.queue(to, lane, (first.event(), envelopes.len()), push)
    }

    fn lends_threads(&self) -> bool {
        true
    }

    fn links(&self) -> Vec<LinkStatus> {
        let status = |(node, peer): (NodeId, &Peer)| {
            let link = peer.link_that_is_up();
            let wire = link.as_ref().and_then(|link| link.wire());
            let silent_for = link.as_ref().and_then(|link| link.silent_for());
            let path = wire.as_ref().map(|wire| wire.connection.stats().path);
            LinkStatus {
                peer: node,
                incarnation: link.as_ref().map(|link| link.incarnation),
                connected: wire.is_some(),
                address: wire.as_ref().map(|it| it.connection.remote_address().to_string()),
                protocol: wire.as_ref().map(|wire| wire.speaks.version),
                silent_for,
                round_trip: path.filter(|_| silent_for.is_none()).map(|path| path.rtt),
                packets_sent: path.map_or(0, |path| path.sent_packets),
                packets_lost: path.map_or(0, |path| path.lost_packets),
                queued_bytes: link.as_ref().map_or(0, |link| link.channel.kept()),
                resumed: link.as_ref().map_or(0, |link| link.channel.resumed()),
                lost: peer.lost(),
            }
        };
        self.peers.iter().map(status).collect()
    }

    fn lanes(&self) -> Vec<(NodeId, LaneId, LaneCounts)> {
        let of_peer = |(node, peer): (NodeId, &Peer)| {
            peer.lanes().into_iter().map(move |(lane, counts)| (node, lane, counts))
        };
        self.peers.iter().flat_map(of_peer).collect()
    }

    fn fault(&self) -> Option<String> {
        let engine = self.engine.get()?;
        let has_ended = *engine.stopped.borrow() || engine.stopped.has_changed().is_err();
        match engine.shared.upgrade().filter(|_| !has_ended) {
            Some(shared) => shared.gateway.fault(),
            None => Some(String::from("the transport has ended")),
        }
    }

    fn close(&self, deadline: Duration) -> Closing {
        let Some(engine) = self.engine.get() else { return Box::pin(async {}) };
        if let Some(shared) = engine.shared.upgrade() {
            engine.tasks.spawn(farewell(shared, deadline, Arc::clone(&engine.stop)));
        }
        let mut stopped = engine.stopped.clone();
        let ends_on_drop = StopOnDrop(Arc::clone(&engine.stop));
        Box::pin(async move {
            // An error means that the thread has gone, which is what is waited for.
            let _ = stopped.wait_for(|stopped| *stopped).await;
            drop(ends_on_drop);
        })
    }
}

impl Drop for QuicTransport {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.get() {
            engine.stop.notify_one();
        }
    }
}

struct StopOnDrop(Arc<Notify>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Lets every link send what waits, until the peers have read it or the time is up.
async fn farewell(shared: Arc<Shared>, deadline: Duration, stop: Arc<Notify>) {
    shared.leaving.store(true, Ordering::Relaxed);
    for (_, peer) in shared.peers.iter() {
        peer.cancel_attempt();
        if let Some(link) = peer.link() {
            link.channel.finish();
            link.stirred.notify_one();
        }
    }
    let gone = async {
        loop {
            let changed = shared.peers.changed.notified();
            if shared.peers.links().is_empty() {
                return;
            }
            changed.await;
        }
    };
    let _ = timeout(deadline, gone).await;
    stop.notify_one();
}

/// Binds the socket, and has the endpoint opened on it while the bundle is checked, which takes as long.
fn listen(bundle: &Bundle, limits: &Limits) -> Result<(SocketAddr, Idle), TransportError> {
    let socket = socket::bind(bundle.listen, limits.socket_buffer_bytes)?;
    let local_address = socket.local_addr().map_err(|error| failed(&error))?;
    let idle = Idle::start(bundle.node, socket, limits.packet_bytes_max);
    Ok((local_address, idle.map_err(|error| failed(&error))?))
}

/// Where a node listens, as far as it can know by itself: what its bundle says of it, or the address
/// that its socket is bound to, unless that is every one of the machine.
fn own_address(bundle: &Bundle, bound: SocketAddr) -> Option<String> {
    let listed = bundle.peers.get(&bundle.node).filter(|address| is_address(address));
    listed.cloned().or_else(|| (!bound.ip().is_unspecified()).then(|| bound.to_string()))
}

fn failed(error: &dyn std::fmt::Display) -> TransportError {
    TransportError(format!("the QUIC transport cannot start: {error}"))
}

/// An envelope's header is rarely longer.
const DATAGRAM_HEADER_GUESS: usize = 16;
