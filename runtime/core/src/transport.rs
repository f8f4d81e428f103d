//! What a host needs of a network, and a network of a host.
//!
//! Neither trait is async: a transport owns its tasks, and hands over what it receives. A host
//! that dials, backs off and supervises does so over [`Transport::connect`], the same for every
//! transport.

use std::fmt::{self, Debug};
use std::future::Future;
use std::ops::AddAssign;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::envelope::{Envelope, Lane, LaneId};
use crate::envelopes::Envelopes;
use crate::event::{EventId, NodeId, Reason};
use crate::framed::Framed;

/// Carries envelopes to peers: those of a lane once and in order for as long as a link lasts,
/// datagrams at most once. A link may outlast the connections that carry it.
pub trait Transport: Debug + Send + Sync {
    /// Begins to accept links, on behalf of the node that `hello` describes, and to deliver to
    /// `inbox`. Called once, before anything else.
    ///
    /// # Errors
    ///
    /// [`TransportError`]; nothing is open then.
    fn start(&self, hello: Hello, inbox: Arc<dyn Inbox>) -> Result<(), TransportError>;

    /// Makes one attempt to link with `peer`, in the background. The outcome is told to
    /// [`Inbox::link`]: up, or unreachable. Nothing happens if a link is up or being made.
    fn connect(&self, peer: NodeId);

    /// Ends the link to `peer`, if there is one, and tells [`Inbox::link`].
    fn disconnect(&self, peer: NodeId, reason: Reason);

    /// Ends every link, telling the peers [`Reason::Restarted`] and [`Inbox::link`] that it is
    /// down, and says `hello` on all later ones: a new life of the node has begun.
    ///
    /// # Errors
    ///
    /// [`TransportError`] if the transport cannot announce another life, which is the default.
    fn restart(&self, hello: Hello) -> Result<(), TransportError> {
        Err(TransportError(format!("this transport cannot announce a new life of {}", hello.node)))
    }

    /// Queues `envelope` for `to` without waiting.
    ///
    /// # Errors
    ///
    /// [`SendError`]; the envelope was not queued.
    fn send(&self, to: NodeId, lane: Lane, envelope: &Envelope) -> Result<(), SendError>;

    /// Queues envelopes for one lane of `to`, in order, as [`Transport::send`] does each.
    fn send_all(&self, to: NodeId, lane: LaneId, envelopes: &Framed) -> Sent {
        let mut sent = Sent::default();
        envelopes.envelopes().for_each(|it| sent.count(self.send(to, Lane::Ordered(lane), &it)));
        sent
    }

    /// Queues envelopes of one event type for one lane of `to`, in order, as [`Transport::send`] does
    /// each: such as are large, or for an instance.
    fn send_each(&self, to: NodeId, lane: LaneId, envelopes: &[&Envelope]) -> Sent {
        let mut sent = Sent::default();
        envelopes.iter().for_each(|it| sent.count(self.send(to, Lane::Ordered(lane), it)));
        sent
    }

    /// The links, one per known peer, in ascending order.
    fn links(&self) -> Vec<LinkStatus>;

    /// Whether an inbox may run handlers within [`Inbox::deliver`]: while it delivers, the transport
    /// holds no lock that these methods take, and it can wait for a handler that is quick.
    fn lends_threads(&self) -> bool {
        false
    }

    /// Why no peer can be reached now, in words for the operator; none while all is well. A
    /// transport that repairs itself tells so in the meantime.
    fn fault(&self) -> Option<String> {
        None
    }

    /// What the ordered lanes of each peer count: those of the link that is up, and those that an
    /// event was lost or refused on. None if the transport does not count them.
    fn lanes(&self) -> Vec<(NodeId, LaneId, LaneCounts)> {
        Vec::new()
    }

    /// Says good-bye to every peer after what is queued has left, for `deadline` at most, and
    /// ends all tasks. Called again while that is under way, it is over at the earlier one of the deadlines, and
    /// each [`Closing`] resolves then.
    fn close(&self, deadline: Duration) -> Closing;
}

/// A farewell under way. Dropping it ends the transport at once.
pub type Closing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who a node is to its peers, from the first frame on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hello {
    /// The node.
    pub node: NodeId,
    /// Which life of the node this is.
    pub incarnation: u64,
    /// The events that it handles from the wire.
    pub events: Vec<WireEvent>,
}

/// An event type, as a node tells its peers of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WireEvent {
    /// The identity.
    pub id: EventId,
    /// The wire name.
    pub name: String,
    /// What its bytes hold, as [`Schema::layout_of`](crate::Schema::layout_of) tells it: a peer whose
    /// [`Schema`](crate::Schema) of it differs would misread it.
    pub layout: String,
    /// The largest envelope of it in bytes that the node takes, if its transport has no lower bound
    /// on events that declare nothing.
    pub bytes_max: u32,
}

/// Where a transport delivers to.
pub trait Inbox: Debug + Send + Sync {
    /// Takes a batch from one lane of a link that is up. The transport has authenticated `from`.
    ///
    /// The batch is always taken. If that filled the queue, the transport gets a [`Room`] and
    /// must not read from this lane of `from` until it resolves, so what waits is bounded.
    fn deliver(&self, from: NodeId, lane: Lane, batch: Envelopes) -> Option<Room>;

    /// When the events of an ordered lane are acknowledged, by a transport that does so.
    fn acknowledgement(&self, lane: LaneId) -> Acknowledgement {
        let _ = lane;
        Acknowledgement::Received
    }

    /// Takes a batch as [`Inbox::deliver`] does, and settles `receipt` when the batch has come as
    /// far as [`Inbox::acknowledgement`] says. Called in its place where that is not `Received`.
    fn deliver_for_receipt(
        &self,
        from: NodeId,
        lane: LaneId,
        batch: Envelopes,
        receipt: Receipt,
    ) -> Option<Room> {
        let room = self.deliver(from, Lane::Ordered(lane), batch);
        receipt.settle();
        room
    }

    /// Whether a link with `peer` may come up now. While the node has yet to hear of many that came
    /// and went it may not: the transport turns the peer away, who dials again. Does not wait.
    fn admits(&self, peer: NodeId) -> bool {
        let _ = peer;
        true
    }

    /// Why the node has done nothing for long, in words for the operator; none while it does what comes.
    /// The transport takes it for dead then, as its peers cannot: it ends the links, and lets none come
    /// up. Does not wait.
    fn hung(&self) -> Option<String> {
        None
    }

    /// Something happened to the link with `peer`. Up and down alternate.
    fn link(&self, peer: NodeId, change: LinkChange);

    /// A stranger, or a peer that broke the protocol, was turned away.
    fn refused(&self, refusal: Refusal);

    /// `peer` takes nothing of this node, and not for a moment only: `why`, in its words. `is_outdated` if it has
    /// known a later life of the node, or another process in this one. A host need not do anything about it.
    fn shut_out(&self, peer: NodeId, why: &str, is_outdated: bool) {
        let _ = (peer, why, is_outdated);
    }
}

/// Resolves when a queue has room again.
pub type Room = Pin<Box<dyn Future<Output = ()> + Send>>;

/// When an event that a peer has sent is acknowledged. The peer keeps it until then, so a later
/// moment holds a sender back sooner; and what it counts as lost when the link ends is exactly what
/// had not come so far, or what it has not heard of.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Acknowledgement {
    /// When it waits for its handler.
    #[default]
    Received,
    /// When its handler has returned, or the event was refused. A node that dies before has not
    /// acknowledged it.
    Handled,
    /// When every record that its handler, or one before it, has persisted is durable.
    Durable,
}

/// The acknowledgement of a batch, yet to be given. One that is dropped is never given.
pub struct Receipt(Box<dyn FnOnce() + Send>);

impl Receipt {
    /// A receipt that runs `acknowledge` when it is settled, on whatever thread that is. It must
    /// not wait.
    pub fn new(acknowledge: impl FnOnce() + Send + 'static) -> Self {
        Self(Box::new(acknowledge))
    }

    /// The batch has come as far as it must.
    pub fn settle(self) {
        (self.0)();
    }
}

impl Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("receipt")
    }
}

/// What happened to a link.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LinkChange {
    /// Both sides have said hello, and accepted each other: the link carries events.
    Up {
        /// Which life of the peer this is.
        incarnation: u64,
    },
    /// The link is lost, with whatever was under way on it.
    Down(Reason),
    /// An attempt to link failed, for a reason that is written for the operator.
    Unreachable(String),
}

/// Somebody was turned away, or a frame was.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Who, if that is known.
    pub peer: Option<NodeId>,
    /// Where from: an address as text.
    pub address: String,
    /// One of a fixed set of words, for a counter: `bad_ca`, `expired`, `frame_too_large`.
    pub kind: &'static str,
    /// A sentence for the operator: who, why, and what to do.
    pub text: String,
}

/// The state of one link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkStatus {
    /// The peer.
    pub peer: NodeId,
    /// Its incarnation, while the link is up.
    pub incarnation: Option<u64>,
    /// Whether a connection carries the link now. One that is up without a connection waits for
    /// the next one.
    pub connected: bool,
    /// Where the peer is seen on that connection, if the transport has addresses.
    pub address: Option<String>,
    /// The version of the protocol that both sides speak on that connection, if the transport has
    /// versions.
    pub protocol: Option<u16>,
    /// For how long nothing has been heard of the peer, once that is longer than one is silent that
    /// is there; none while it is heard of, or if the transport does not know.
    pub silent_for: Option<Duration>,
    /// The round trip, if the transport measures it. None while the peer is silent: the last one says nothing then.
    pub round_trip: Option<Duration>,
    /// Packets that were sent on the connection of now, and those of them that were lost, if the transport counts them.
    pub packets_sent: u64,
    /// As far as it is known that they were lost.
    pub packets_lost: u64,
    /// Bytes that wait to be sent, or that the peer has not acknowledged.
    pub queued_bytes: usize,
    /// How many times a connection has taken up where another one stopped, on this link.
    pub resumed: u64,
    /// Events that the peer had not acknowledged when their link ended, on all links so far.
    pub lost: u64,
}

/// What one ordered lane counts, in both directions. The last two go on over all links to the peer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct LaneCounts {
    /// Events that wait to be sent: the connection, or the peer, is slower than who sends them.
    pub queued: u64,
    /// Events that the peer has not acknowledged, those that wait included.
    pub unacknowledged: u64,
    /// The bytes of those, and what keeping them costs.
    pub kept_bytes: usize,
    /// Events that have come from the peer on this link.
    pub received: u64,
    /// Events of those that are not yet so far that they may be acknowledged.
    pub unsettled: u64,
    /// Events that the peer had not acknowledged when their link ended.
    pub lost: u64,
    /// Events that were not taken to be sent: see [`SendError`].
    pub refused: u64,
}

impl AddAssign for LaneCounts {
    fn add_assign(&mut self, other: Self) {
        self.queued += other.queued;
        self.unacknowledged += other.unacknowledged;
        self.kept_bytes += other.kept_bytes;
        self.received += other.received;
        self.unsettled += other.unsettled;
        self.lost += other.lost;
        self.refused += other.refused;
    }
}

/// What became of envelopes that were to be sent.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// How many were queued.
    pub queued: u64,
    /// Why others were not, for each of them.
    pub refused: Vec<SendError>,
}

impl Sent {
    /// None of so many was queued.
    #[must_use]
    pub fn none(count: usize, why: SendError) -> Self {
        Self { queued: 0, refused: vec![why; count] }
    }

    /// What became of the only one.
    ///
    /// # Errors
    ///
    /// Why it was not queued.
    pub fn single(self) -> Result<(), SendError> {
        self.refused.into_iter().next().map_or(Ok(()), Err)
    }

    /// Counts one more.
    pub fn count(&mut self, sent: Result<(), SendError>) {
        match sent {
            Ok(()) => self.queued += 1,
            Err(error) => self.refused.push(error),
        }
    }
}

/// Why an envelope was not queued.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The queue to this peer was full. The transport ends the link with
    /// [`Reason::Overflow`]: a gap in a lane is never silent.
    #[error("the queue to the peer is full")]
    Full,
    /// There is no link to this peer now.
    #[error("there is no link to the peer")]
    Down,
    /// The peer handles no such event, as its hello says.
    #[error("the peer does not handle the event")]
    Unhandled,
    /// The envelope is larger than a frame of its event may be: see
    /// [`Event::BYTES_MAX`](crate::Event::BYTES_MAX).
    #[error(
        "the event has {size} bytes, and a frame {size_max} at most: let it declare more by \
         `#[event(bytes_max = ..)]`, or send it in pieces"
    )]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The bound in bytes.
        size_max: usize,
    },
}

/// Why a transport cannot start, in words for the operator.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct TransportError(pub String);
