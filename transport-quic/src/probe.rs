//! One handshake for the sake of its outcome: what an operator asks before a node is started.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::{ClientConfig, Connection, ConnectionError, Endpoint};
use socket2::{Domain, Socket, Type};
use synod_core::{NodeId, Schema, TransportError};
use tokio::time::{Instant, timeout, timeout_at};

use crate::control::{self, Message, Silence};
use crate::dial::{resolve, unanswered};
use crate::identity::{Bundle, CertificateError};
use crate::limits::{LAST_WORDS, Limits};
use crate::refusal::{Close, Kind, printable, turned_by};
use crate::tls::{Tls, Verifier};
use crate::versions::{Agreed, SPOKEN};

/// What a peer has answered that was asked who it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Presence {
    /// The round trip.
    pub round_trip: Duration,
    /// Which versions of the protocol this program speaks, as `synod/8` or `synod/8 to synod/9`.
    pub ours: String,
    /// Which versions the peer speaks.
    pub theirs: String,
    /// The events that it handles, with their schemas; none if its program is of a version that does not tell.
    pub events: Option<BTreeMap<String, Schema>>,
}

/// Shakes hands with `peer` as the node of the bundle would, asks who it is instead of saying hello, and hangs
/// up: a link between the two, if there is one, does not notice. To be called within a tokio runtime.
///
/// # Errors
///
/// [`TransportError`] with what the peer, or this node, has against it, in the words that a node
/// would log; or that there was no answer within [`Limits::connect_timeout`].
pub async fn probe(
    bundle: &Bundle,
    limits: &Limits,
    peer: NodeId,
) -> Result<Presence, TransportError> {
    let attempt = Attempt { bundle, limits, peer, address: bundle.peers.get(&peer).cloned() };
    attempt.run().await.map_err(TransportError)
}

/// What the system grants of the socket buffers that [`Limits::socket_buffer_bytes`] asks for, in
/// bytes: the smaller of the two.
///
/// # Errors
///
/// [`TransportError`] if there is no socket at all.
pub fn granted_buffer_bytes(limits: &Limits) -> Result<usize, TransportError> {
    let refused = |error| TransportError(format!("no UDP socket can be made: {error}"));
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).map_err(refused)?;
    Ok(crate::socket::granted(&socket, limits.socket_buffer_bytes))
}

struct Attempt<'a> {
    bundle: &'a Bundle,
    limits: &'a Limits,
    peer: NodeId,
    address: Option<String>,
}

impl Attempt<'_> {
    async fn run(&self) -> Result<Presence, String> {
        let peer = self.peer;
        let listed = self.address.as_deref();
        let address = listed.ok_or_else(|| format!("{peer} is not in the bundle's peer list"))?;
        let at = format!("{peer} at {address}");
        let patience = self.limits.connect_timeout;
        let deadline = Instant::now() + patience;
        let late = || unanswered(&at, patience);
        let found = timeout_at(deadline, resolve(&at, address, self.bundle.listen)).await;
        let found = found.map_err(|_| late())??;
        let (endpoint, config, verifier) = self.dialer(address, found)?;
        let name = self.bundle.cluster.certificate_name(peer);
        let connecting = endpoint.connect_with(config, found, &name);
        let connecting = connecting.map_err(|error| format!("{at} cannot be dialled: {error}"))?;
        match timeout_at(deadline, connecting).await {
            Err(_) | Ok(Err(ConnectionError::TimedOut)) => Err(late()),
            Ok(Err(error)) => Err(self.explain(&at, &error, &verifier)),
            Ok(Ok(connection)) => {
                let asked = timeout_at(deadline, self.ask(&at, &connection, &verifier)).await;
                connection.close(Close::GivenUp.code(), b"this was only a question");
                // Whoever hangs up at once may take the words along that are under way.
                let _ = timeout(LAST_WORDS, endpoint.wait_idle()).await;
                asked.unwrap_or_else(|_| Err(late()))
            }
        }
    }

    fn dialer(
        &self,
        address: &str,
        found: SocketAddr,
    ) -> Result<(Endpoint, ClientConfig, Arc<Verifier>), String> {
        let unusable = |error: CertificateError| error.to_string();
        let member = self.bundle.member().map_err(unusable)?;
        let tls = Tls::of(member);
        let (crypto, verifier) = tls.dialer(self.peer, address).map_err(unusable)?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        let dialed = self.limits.dialed().map_err(|error| error.to_string())?;
        config.transport_config(dialed.to(found));
        let any: SocketAddr = match found {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let endpoint = Endpoint::client(any).map_err(|error| format!("no UDP socket: {error}"))?;
        Ok((endpoint, config, verifier))
    }

    /// A dialler is connected before the peer has judged its certificate: one that is let in is answered.
    async fn ask(
        &self,
        at: &str,
        connection: &Connection,
        verifier: &Verifier,
    ) -> Result<Presence, String> {
        let me = self.bundle.node;
        let heard = inquire(connection, me, self.peer).await;
        let (answer, agreed) = match heard {
            Ok(heard) => heard,
            Err(Silence::Turned(turned)) => return Err(format!("{me} refuses {at}: {turned}")),
            Err(Silence::Ended) => {
                let error = connection.closed().await;
                return Err(self.explain(at, &error, verifier));
            }
        };
        let events = match answer {
            Message::Introduction(greeting) => {
                Some(greeting.events.iter().map(|it| (printable(&it.name), it.schema)).collect())
            }
            // That is how a program answers that does not know the question.
            Message::Refused { kind, .. } if kind == Kind::BadHello.word() => None,
            Message::Refused { text, .. } => {
                return Err(format!("{at} refuses {me}: {}", printable(&text)));
            }
            _ => return Err(format!("{at} says something that is no answer")),
        };
        let (ours, theirs) = (SPOKEN.to_string(), agreed.theirs.to_string());
        Ok(Presence { round_trip: connection.rtt(), ours, theirs, events })
    }

    fn explain(&self, at: &str, error: &ConnectionError, verifier: &Verifier) -> String {
        let me = self.bundle.node;
        match (verifier.turned(), turned_by(error), error) {
            (Some(turned), ..) => format!("{me} refuses {at}: {turned}"),
            (_, Some(turned), ConnectionError::TransportError(_)) => {
                format!("{me} refuses {at}: {turned}")
            }
            (_, Some(turned), _) => format!("{at} refuses {me}: {turned}"),
            (_, None, _) => format!("{at}: {}", printable(&error.to_string())),
        }
    }
}

/// Asks who is there, in place of a hello.
async fn inquire(
    connection: &Connection,
    me: NodeId,
    peer: NodeId,
) -> Result<(Message, Agreed), Silence> {
    let (mut send, mut receive) = connection.open_bi().await.map_err(|_| Silence::Ended)?;
    control::write_first(&mut send, &Message::Inquiry).await?;
    control::read_first(&mut receive, me, peer).await
}
