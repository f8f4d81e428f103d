//! One link: a session with a peer, the connection that carries it now, and how it ends.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use quinn::{Connection, ConnectionError};
use rustls::pki_types::CertificateDer;
use synod_core::{EventId, LaneId, NodeId, Reason, Room};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::Instant;

use crate::channel::Channel;
use crate::control::Greeting;
use crate::identity::CertificateFacts;
use crate::outlet::Outlets;
use crate::refusal::{Close, Turned, reason_of};
use crate::session::WireId;
use crate::tls::Tls;
use crate::versions::Agreed;

/// A link to a peer: what the host is told is up and down. It outlasts its connections, and ends
/// once, for the first reason that is given. Until the dialler has confirmed that it takes the answer to its hello, the
/// acceptor's host knows nothing of it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: NodeId,
    pub(crate) incarnation: u64,
    /// The events that the peer handles.
    pub(crate) events: BTreeMap<EventId, String>,
    /// The last of them that was asked for: mostly it is the next one, too.
    asked: AtomicU64,
    pub(crate) channel: Channel,
    wire: Mutex<Option<Arc<Wire>>>,
    /// The last one that was there, for the certificate that the peer has shown on it.
    last_wire: Mutex<Option<Arc<Wire>>>,
    gates: Mutex<BTreeMap<LaneId, Arc<Gate>>>,
    places: Mutex<BTreeMap<EventId, Place>>,
    end: Mutex<Option<End>>,
    ended: Notify,
    /// Wakes whoever watches over the link: a connection has come or gone.
    pub(crate) stirred: Notify,
    /// Whether the inbox has been told that this link is up. It is told once both sides have accepted each other.
    pub(crate) is_up: AtomicBool,
    /// Whether this link is down, whatever the inbox has been told: nothing is delivered then.
    pub(crate) is_down: AtomicBool,
    /// Whether the peer asks for another connection.
    pub(crate) is_asked: AtomicBool,
    /// Since when nothing has been heard of the peer, if that is long enough to be told.
    silent_since: Mutex<Option<Instant>>,
}

/// One connection that both sides have said hello on.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) id: WireId,
    /// Which of the two nodes dialled.
    pub(crate) dialer: NodeId,
    /// The peer's address as text.
    pub(crate) address: String,
    /// What this node has shown on it, and whom it believed when it was made.
    pub(crate) tls: Arc<Tls>,
    /// What the two sides speak on it.
    pub(crate) speaks: Agreed,
    pub(crate) connection: Connection,
    /// When both sides had said hello.
    pub(crate) made: SystemTime,
    pub(crate) outlets: Outlets,
    /// Wakes whoever asks the peer for another connection.
    pub(crate) wants_another: Notify,
}

impl Wire {
    pub(crate) fn new(
        id: WireId,
        dialer: NodeId,
        tls: Arc<Tls>,
        speaks: Agreed,
        connection: Connection,
    ) -> Self {
        let address = connection.remote_address().to_string();
        let (made, outlets) = (SystemTime::now(), Outlets::default());
        let wants_another = Notify::new();
        Self { id, dialer, address, tls, speaks, connection, made, outlets, wants_another }
    }

    /// What the certificate says that the peer has shown on it.
    pub(crate) fn certificate(&self) -> Option<CertificateFacts> {
        let shown = self.connection.peer_identity()?;
        let chain = shown.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        CertificateFacts::of(chain.first()?).ok()
    }
}

/// What keeps a lane from being read: the inbox has no room. It outlasts the connection, so that
/// a new one does not get around it.
#[derive(Default)]
pub(crate) struct Gate(Mutex<Option<Room>>);

impl Gate {
    /// Shuts it until there is room.
    pub(crate) fn shut(&self, room: Room) {
        *locked(&self.0) = Some(room);
    }

    /// Resolves when it is open. One reader alone is woken, so none waits here whose connection is not the
    /// current one: it would take the place of the one that does.
    pub(crate) async fn opens(&self, is_current: impl Fn() -> bool) {
        let poll = |cx: &mut Context<'_>| {
            let mut room = locked(&self.0);
            match room.as_mut() {
                None => return Poll::Ready(()),
                Some(room) if is_current() => ready!(room.as_mut().poll(cx)),
                Some(_) => return Poll::Pending,
            }
            *room = None;
            Poll::Ready(())
        };
        poll_fn(poll).await;
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("gate")
    }
}

/// The place for the one unfinished frame of an event type whose frames are larger than others.
pub(crate) type Place = Arc<AsyncMutex<()>>;

/// Why and how a link ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct End {
    /// What this node is told.
    pub(crate) reason: Reason,
    /// What the peer is told.
    pub(crate) close: Close,
    /// The words that go with it.
    pub(crate) text: String,
}

impl End {
    pub(crate) fn new(reason: Reason, close: Close, text: &str) -> Self {
        Self { reason, close, text: String::from(text) }
    }

    /// The peer broke the protocol.
    pub(crate) fn refused(turned: &Turned) -> Self {
        Self { reason: Reason::Refused, close: Close::Refused, text: turned.reason() }
    }

    /// The peer has ended the link with its connection; none if only the connection is lost.
    pub(crate) fn by_peer(error: &ConnectionError) -> Option<Self> {
        let text = error.to_string();
        reason_of(error).map(|reason| Self { reason, close: Close::Leaving, text })
    }
}

impl Link {
    pub(crate) fn new(theirs: &Greeting, channel: Channel) -> Self {
        Self {
            peer: theirs.node,
            incarnation: theirs.life.incarnation,
            events: theirs.names(),
            asked: AtomicU64::new(0),
            channel,
            wire: Mutex::default(),
            last_wire: Mutex::default(),
            gates: Mutex::default(),
            places: Mutex::default(),
            end: Mutex::default(),
            ended: Notify::new(),
            stirred: Notify::new(),
            is_up: AtomicBool::new(false),
            is_down: AtomicBool::new(false),
            is_asked: AtomicBool::new(false),
            silent_since: Mutex::default(),
        }
    }

    /// Whether the peer handles the event. What it does not is not sent.
    pub(crate) fn takes(&self, event: EventId) -> bool {
        let takes =
            self.asked.load(Ordering::Relaxed) == event.bits() || self.events.contains_key(&event);
        if takes {
            self.asked.store(event.bits(), Ordering::Relaxed);
        }
        takes
    }

    /// The connection that carries the link now.
    pub(crate) fn wire(&self) -> Option<Arc<Wire>> {
        locked(&self.wire).clone()
    }

    /// The connection that carries the link, or carried it last.
    pub(crate) fn last_wire(&self) -> Option<Arc<Wire>> {
        locked(&self.last_wire).clone()
    }

    /// When the certificate of the peer ends, as it was shown last; none while nothing is connected.
    pub(crate) fn certificate_ends(&self) -> Option<SystemTime> {
        Some(self.wire()?.certificate()?.not_after)
    }

    /// For how long nothing has been heard of the peer, once that is [`Limits::redial_after`](crate::Limits::redial_after).
    pub(crate) fn silent_for(&self) -> Option<Duration> {
        locked(&self.silent_since).map(|since| since.elapsed())
    }

    pub(crate) fn set_silent_since(&self, since: Option<Instant>) {
        *locked(&self.silent_since) = since;
    }

    /// Puts a connection in its place, or none. Returns the one before. Only the endpoint's thread
    /// does so.
    pub(crate) fn set_wire(&self, wire: Option<Arc<Wire>>) -> Option<Arc<Wire>> {
        if wire.is_some() {
            locked(&self.last_wire).clone_from(&wire);
        }
        let old = std::mem::replace(&mut *locked(&self.wire), wire);
        self.stirred.notify_one();
        old
    }

    pub(crate) fn gate(&self, lane: LaneId) -> Arc<Gate> {
        Arc::clone(locked(&self.gates).entry(lane).or_default())
    }

    /// The place of an event type, of which the node has said that it takes large frames.
    pub(crate) fn place(&self, event: EventId) -> Place {
        Arc::clone(locked(&self.places).entry(event).or_default())
    }

    /// Ends the link, from any thread. Only the first end counts; returns its reason.
    pub(crate) fn end(&self, end: End) -> Reason {
        let mut first = locked(&self.end);
        if let Some(first) = &*first {
            return first.reason;
        }
        let reason = end.reason;
        if let Some(wire) = self.wire() {
            wire.connection.close(end.close.code(), end.text.as_bytes());
        }
        *first = Some(end);
        self.ended.notify_one();
        reason
    }

    pub(crate) fn has_ended(&self) -> bool {
        locked(&self.end).is_some()
    }

    /// Waits for an end that was given from elsewhere. For one task only.
    pub(crate) async fn over(&self) -> End {
        loop {
            let end = locked(&self.end).clone();
            if let Some(end) = end {
                return end;
            }
            self.ended.notified().await;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn at_a_gate_whoever_reads_the_connection_of_now_is_woken() {
        let (gate, emptied) = (Gate::default(), Arc::new(Notify::new()));
        let room = Arc::clone(&emptied);
        gate.shut(Box::pin(async move { room.notified().await }));
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let (mut one, mut other) =
            (Context::from_waker(&waker), Context::from_waker(Waker::noop()));
        let (mut now, mut past) = (pin!(gate.opens(|| true)), pin!(gate.opens(|| false)));
        assert!(now.as_mut().poll(&mut one).is_pending());
        assert!(past.as_mut().poll(&mut other).is_pending());
        emptied.notify_one();
        assert!(woken.0.load(Ordering::Relaxed));
        assert!(past.as_mut().poll(&mut other).is_pending());
        assert!(now.as_mut().poll(&mut one).is_ready());
        assert!(past.as_mut().poll(&mut other).is_ready(), "it is open to all");
    }
}
