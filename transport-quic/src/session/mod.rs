//! A session: what two lives of two nodes owe each other, whatever becomes of their connections.
//!
//! The frames of each lane are numbered from 0 on. The sender keeps the encoded bytes until the
//! peer has acknowledged them; the receiver remembers how many it has taken. When a connection is
//! lost, the next one begins with both counts, and what was not taken is sent again: every frame
//! arrives once, in the order of its lane, for as long as the session lasts.
//!
//! **Invariant:** a state machine and nothing else. It knows no clock, no task, no connection: a
//! connection is a number here, and whoever drives the machine says when one comes and goes.

mod agree;
mod incoming;
mod outgoing;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use synod_core::LaneId;

use crate::frame::Sizes;

pub(crate) use agree::{Answer, Choice, Offer, choose, understand};
pub(crate) use incoming::{Incoming, Misstep, Owed};
pub(crate) use outgoing::{CHUNK_BYTES, Outgoing, Portion, Pushed, SEGMENT_BYTES};

/// The name of a session, drawn at random by one of the two.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(crate) struct SessionId(pub(crate) u64);

/// The name of a connection, drawn at random by whoever dials.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(crate) struct WireId(pub(crate) u64);

/// A number of frames for each lane: taken, or acknowledged.
pub(crate) type Counts = Vec<(LaneId, u64)>;

/// The bounds of one session.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Bounds {
    /// Bytes that the peer has not acknowledged, the cost of keeping them included.
    pub(crate) kept_bytes_max: usize,
    /// Lanes in each direction.
    pub(crate) lanes_max: usize,
}

/// One side of a session.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Session {
    id: SessionId,
    /// The one connection that carries it, if there is one now.
    wire: Option<WireId>,
    /// The connection that carried it last, which may still do.
    last_wire: Option<WireId>,
    /// How many times a connection has taken up where another one stopped.
    resumed: u64,
    pub(crate) outgoing: Outgoing,
    pub(crate) incoming: Incoming,
}

impl Session {
    /// A session with a peer that takes frames of these sizes.
    pub(crate) fn new(id: SessionId, bounds: Bounds, sizes: Arc<Sizes>) -> Self {
        Self {
            id,
            wire: None,
            last_wire: None,
            resumed: 0,
            outgoing: Outgoing::new(bounds, sizes),
            incoming: Incoming::new(bounds.lanes_max),
        }
    }

    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    /// The connection that carries the session now.
    pub(crate) fn wire(&self) -> Option<WireId> {
        self.wire
    }

    /// The connection that has carried it last.
    pub(crate) fn last_wire(&self) -> Option<WireId> {
        self.last_wire
    }

    pub(crate) fn resumed(&self) -> u64 {
        self.resumed
    }

    /// From here on `wire` carries the session, and no other connection does: what else comes in
    /// is of the past. The peer has taken as many frames as `received` says; the others are to be
    /// sent again. If it says nonsense, nothing changes.
    pub(crate) fn attach(&mut self, wire: WireId, received: &Counts) -> Result<(), Misstep> {
        self.outgoing.rewind(received)?;
        self.incoming.tell_again();
        self.resumed += u64::from(self.last_wire.is_some());
        self.wire = Some(wire);
        self.last_wire = Some(wire);
        Ok(())
    }

    /// The connection is lost. Says whether it was the one that carried the session.
    pub(crate) fn detach(&mut self, wire: WireId) -> bool {
        let carried = self.carries(wire);
        if carried {
            self.wire = None;
        }
        carried
    }

    /// Whether `wire` carries the session: only its frames and acknowledgements count.
    pub(crate) fn carries(&self, wire: WireId) -> bool {
        self.wire == Some(wire)
    }
}

#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;
