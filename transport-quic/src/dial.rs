//! The dialling side: one attempt to link with one peer.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{
    ClientConfig, Connection, ConnectionError, RecvStream, SendStream, TransportErrorCode,
};
use synod_core::{LinkChange, NodeId, Reason};
use tokio::time::{Instant, timeout, timeout_at};

use crate::control::{self, Greeting, Message, Silence};
use crate::limits::LAST_WORDS;
use crate::link::{End, Link, Wire};
use crate::peers::{Attempt, Peer};
use crate::refusal::{Close, Kind, Turned, printable, turned_by};
use crate::serve;
use crate::session::{Answer, Offer, understand};
use crate::shared::Shared;
use crate::tls::{Tls, Verifier};
use crate::versions::Agreed;

/// A peer that has answered the hello.
struct Answered {
    connection: Connection,
    tls: Arc<Tls>,
    send: SendStream,
    receive: RecvStream,
    speaks: Agreed,
    theirs: Greeting,
    offer: Offer,
    answer: Answer,
}

/// What came of an attempt.
enum Outcome {
    Answered(Box<Answered>),
    /// In a sentence for the operator.
    Failed(String),
    /// The peer does not believe this node any more, in such a sentence. It has proved who it is.
    Refused(String),
    /// The peer's own attempt has become the link.
    Cancelled,
}

/// Makes one attempt, for `patience` at most, tells what came of it, and serves the connection
/// until it ends.
pub(crate) async fn dial(shared: Arc<Shared>, node: NodeId, attempt: Attempt, patience: Duration) {
    let Some(peer) = shared.peers.get(node) else { return };
    let outcome = match peer.next_address() {
        Some(address) => {
            Dialer { shared: &shared, node, address, patience }.attempt(peer, &attempt).await
        }
        None => Outcome::Failed(format!(
            "the address of {node} is not listed, and no peer has told it yet: \
             is {node} started, and can it reach a seed?"
        )),
    };
    match outcome {
        Outcome::Answered(answered) => take(&shared, peer, &attempt, *answered).await,
        Outcome::Failed(text) => {
            peer.look_elsewhere();
            if peer.end_attempt(&attempt) && peer.link_that_is_up().is_none() {
                shared.inbox.link(node, LinkChange::Unreachable(text));
            }
            shared.peers.changed.notify_waiters();
        }
        Outcome::Refused(text) => {
            // What the peer believes is the certificate of the connection that is there, if one is.
            let link = peer.link();
            let is_believed = link.as_ref().is_some_and(|link| link.wire().is_some());
            if peer.end_attempt(&attempt) && !is_believed {
                // Nothing is to be resumed any more, so there is nothing to wait for.
                link.map(|link| link.end(End::new(Reason::Refused, Close::Leaving, &text)));
                if peer.link_that_is_up().is_none() {
                    shared.inbox.link(node, LinkChange::Unreachable(text));
                }
            }
            shared.peers.changed.notify_waiters();
        }
        // Whoever cancelled it has ended it.
        Outcome::Cancelled => (),
    }
}

/// The attempt has succeeded: its connection carries the link, unless the peer's own came first.
async fn take(shared: &Arc<Shared>, peer: &Peer, attempt: &Attempt, answered: Answered) {
    let Answered { connection, tls, mut send, receive, speaks, theirs, offer, answer } = answered;
    if !peer.end_attempt(attempt) {
        connection.close(Close::LostTie.code(), b"the other connection stays");
        return;
    }
    let wire = Arc::new(Wire::new(offer.wire, shared.me, tls, speaks, connection));
    match join(shared, peer, &theirs, &offer, &answer, &wire) {
        Ok(link) => {
            // If this fails the connection is lost, which `serve` notices.
            let _ = control::write(&mut send, wire.speaks.version, &Message::Confirmed).await;
            serve::serve(shared, &link, &wire, send, receive).await;
        }
        Err(turned) => {
            let text = shared.journal.refuses(Some(theirs.node), &wire.address, &turned);
            wire.connection.close(Close::Refused.code(), turned.reason().as_bytes());
            if peer.link_that_is_up().is_none() {
                shared.inbox.link(theirs.node, LinkChange::Unreachable(text));
            }
            shared.peers.changed.notify_waiters();
        }
    }
}

/// Puts the connection in the place that the answer gives it.
fn join(
    shared: &Arc<Shared>,
    peer: &Peer,
    theirs: &Greeting,
    offer: &Offer,
    answer: &Answer,
    wire: &Arc<Wire>,
) -> Result<Arc<Link>, Turned> {
    if let Some(newest) = peer.outdating(theirs.life) {
        return Err(Turned::stale(shared.me, theirs, newest));
    }
    let live =
        peer.link().filter(|it| it.incarnation == theirs.life.incarnation && !it.has_ended());
    let choice = understand(live.map(|link| link.channel.id()), offer, answer);
    let choice = choice.ok_or_else(|| {
        let text = "the answer to a hello names a session that was not offered";
        Turned::new(Kind::BadHello, text)
    })?;
    shared.join(peer, theirs, choice, wire, &answer.received)
}

/// The address behind a name that a socket bound to `own` reaches. Errors are sentences.
pub(crate) async fn resolve(
    at: &str,
    address: &str,
    own: SocketAddr,
) -> Result<SocketAddr, String> {
    let found = tokio::net::lookup_host(address).await;
    let found: Vec<_> =
        found.map_err(|error| format!("the address of {at} does not resolve: {error}"))?.collect();
    let fitting = found.iter().find(|address| address.is_ipv4() == own.is_ipv4());
    let chosen = fitting.or_else(|| found.first()).copied();
    let chosen = chosen.ok_or_else(|| format!("the name of {at} has no address"))?;
    // A socket of IPv6 that is bound to no address in particular reaches both families.
    let reaches_both = own.is_ipv6() && own.ip().is_unspecified();
    if chosen.is_ipv4() == own.is_ipv4() || reaches_both {
        return Ok(chosen);
    }
    let (theirs, ours) = if own.is_ipv4() { ("IPv6", "IPv4") } else { ("IPv4", "IPv6") };
    Err(format!(
        "{at} is reached over {theirs}, and this node listens at {own}, over {ours}: let it listen \
         at [::]:{}, which serves both, or list an address of {ours}",
        own.port()
    ))
}

pub(crate) fn unanswered(at: &str, patience: Duration) -> String {
    format!(
        "no answer from {at}/udp within {patience:?}: \
         is the node started, and is the UDP port open?"
    )
}

/// One attempt. Errors are sentences for the operator.
struct Dialer<'a> {
    shared: &'a Shared,
    node: NodeId,
    address: String,
    patience: Duration,
}

impl Dialer<'_> {
    async fn attempt(&self, peer: &Peer, cancelled: &Attempt) -> Outcome {
        let deadline = Instant::now() + self.patience;
        let tls = self.shared.identity.get();
        let connected = tokio::select! {
            connected = self.connect(&tls, deadline) => connected,
            () = cancelled.notified() => return Outcome::Cancelled,
        };
        let connection = match connected {
            Ok(connection) => connection,
            Err(text) => return Outcome::Failed(text),
        };
        if !peer.begin_greeting(cancelled) {
            connection.close(Close::LostTie.code(), b"the other connection stays");
            return Outcome::Cancelled;
        }
        let offer = self.shared.offer(peer);
        let greeted = tokio::select! {
            greeted = timeout_at(deadline, self.greet(&connection, tls, offer)) => greeted,
            () = cancelled.notified() => {
                connection.close(Close::LostTie.code(), b"the other connection stays");
                return Outcome::Cancelled;
            }
        };
        match greeted {
            Ok(Ok(answered)) => Outcome::Answered(Box::new(answered)),
            Ok(Err(outcome)) => outcome,
            Err(_) => {
                connection.close(Close::GivenUp.code(), b"no hello came in time");
                let (at, patience) = (self.at(), self.patience);
                let text =
                    format!("{at} took the connection and said no hello within {patience:?}");
                Outcome::Failed(text)
            }
        }
    }

    /// Resolves the address and shakes hands.
    async fn connect(&self, tls: &Tls, deadline: Instant) -> Result<Connection, String> {
        let resolved = timeout_at(deadline, self.resolve()).await;
        let address = resolved.unwrap_or_else(|_| Err(self.unanswered()))?;
        let (config, verifier) =
            tls.dialer(self.node, &self.address).map_err(|error| self.undialable(&error))?;
        let mut config = ClientConfig::new(Arc::new(config));
        config.transport_config(self.shared.dialed.to(address));
        let name = tls.trust.cluster.certificate_name(self.node);
        let endpoint = self.shared.gateway.endpoint();
        let endpoint = endpoint.ok_or_else(|| self.undialable(&"the endpoint is opened anew"))?;
        let connecting = endpoint.connect_with(config, address, &name);
        drop(endpoint);
        let connecting = connecting.map_err(|error| self.undialable(&error))?;
        match timeout_at(deadline, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Err(_) | Ok(Err(ConnectionError::TimedOut)) => Err(self.unanswered()),
            Ok(Err(error)) => Err(self.explain(&error, Some(&verifier))),
        }
    }

    /// The peer's address, asked for anew in each attempt: it may have moved.
    async fn resolve(&self) -> Result<SocketAddr, String> {
        resolve(&self.at(), &self.address, self.shared.gateway.address()).await
    }

    /// Says hello and hears the answer. Until then the peer may still refuse our certificate.
    async fn greet(
        &self,
        connection: &Connection,
        tls: Arc<Tls>,
        offer: Offer,
    ) -> Result<Answered, Outcome> {
        let lost = || self.lost(connection);
        let Ok((mut send, mut receive)) = connection.open_bi().await else {
            return Err(lost().await);
        };
        let hello = Message::Hello(Greeting::clone(&self.shared.greeting()), offer.clone());
        if control::write_first(&mut send, &hello).await.is_err() {
            return Err(lost().await);
        }
        let heard = control::read_first(&mut receive, self.shared.me, self.node).await;
        let (theirs, answer, speaks) = match heard {
            Ok((Message::HelloAck(theirs, answer, seen), speaks)) => {
                self.shared.is_seen_at(&seen);
                (theirs, answer, speaks)
            }
            Ok((Message::Refused { kind, text }, _)) => {
                connection.close(Close::Leaving.code(), b"understood");
                let kind = Kind::of_word(&kind).unwrap_or(Kind::BadHello);
                return Err(self.is_turned_away(&Turned::new(kind, printable(&text))));
            }
            Ok(_) => {
                let turned = Turned::new(Kind::BadHello, "the answer to a hello is a hello-ack");
                return Err(Outcome::Failed(self.refuse(connection, &turned)));
            }
            Err(Silence::Turned(turned)) => {
                return Err(Outcome::Failed(self.refuse(connection, &turned)));
            }
            Err(Silence::Ended) => return Err(lost().await),
        };
        match self.shared.agree(&theirs, self.node) {
            Ok(()) => {
                let connection = connection.clone();
                Ok(Answered { connection, tls, send, receive, speaks, theirs, offer, answer })
            }
            Err(turned) => Err(Outcome::Failed(self.refuse(connection, &turned))),
        }
    }

    /// The connection has ended before the answer came.
    async fn lost(&self, connection: &Connection) -> Outcome {
        let Ok(error) = timeout(LAST_WORDS, connection.closed()).await else {
            return Outcome::Failed(format!("{} ended the control stream", self.at()));
        };
        match (&error, turned_by(&error)) {
            (
                ConnectionError::ApplicationClosed(_) | ConnectionError::ConnectionClosed(_),
                Some(turned),
            ) => self.is_turned_away(&turned),
            _ => Outcome::Failed(self.explain(&error, None)),
        }
    }

    /// The peer has turned this node away, after the handshake: nobody else can have said so.
    fn is_turned_away(&self, turned: &Turned) -> Outcome {
        let text = self.is_refused(turned);
        if turned.kind.is_of_identity() { Outcome::Refused(text) } else { Outcome::Failed(text) }
    }

    /// Finds out who refused whom.
    fn explain(&self, error: &ConnectionError, verifier: Option<&Verifier>) -> String {
        let journal = &self.shared.journal;
        if let Some(turned) = verifier.and_then(Verifier::turned) {
            return journal.refuses(Some(self.node), &self.address, &turned);
        }
        match (error, turned_by(error)) {
            (ConnectionError::TransportError(_), Some(turned)) => {
                journal.refuses(Some(self.node), &self.address, &turned)
            }
            (_, Some(turned)) => self.is_refused(&turned),
            (ConnectionError::ConnectionClosed(close), None)
                if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
            {
                let at = self.at();
                format!(
                    "{at} takes no connection now: it is about to end, or too many knock at once"
                )
            }
            (_, None) => format!("{}: {}", self.at(), printable(&error.to_string())),
        }
    }

    fn refuse(&self, connection: &Connection, turned: &Turned) -> String {
        connection.close(Close::Refused.code(), turned.reason().as_bytes());
        self.shared.journal.refuses(Some(self.node), &self.address, turned)
    }

    fn is_refused(&self, turned: &Turned) -> String {
        self.shared.journal.is_refused(Some(self.node), &self.address, turned)
    }

    fn unanswered(&self) -> String {
        unanswered(&self.at(), self.patience)
    }

    fn undialable(&self, error: &dyn Display) -> String {
        format!("{} cannot be dialled: {error}", self.at())
    }

    fn at(&self) -> String {
        format!("{} at {}", self.node, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[tokio::test]
    async fn an_address_that_the_socket_cannot_reach_is_told_before_it_is_tried() {
        for (address, own, reached) in [
            ("127.0.0.1:1", "0.0.0.0:7400", true),
            ("[::1]:1", "[::1]:7400", true),
            ("127.0.0.1:1", "[::]:7400", true),
            ("[::1]:1", "0.0.0.0:7400", false),
            ("127.0.0.1:1", "[::1]:7400", false),
        ] {
            let found = resolve("n2", address, own.parse().unwrap()).await;
            match found {
                Ok(found) => assert!(reached && found.to_string() == address, "{address} of {own}"),
                Err(text) => assert!(!reached && text.contains("[::]:7400"), "{text}"),
            }
        }
    }
}
