//! What is under way between nodes.

use std::hash::Hash;

use synod_core::{
    Catalogue, DecodeError, EventId, Input, Lane, LaneId, NodeId, PeerDown, PeerUp, Renamer,
};

use super::bounds::Bounds;
use super::print::Print;

/// Sender, receiver and lane. A node's own jobs and notices are on lanes to itself.
pub(crate) type Link = (NodeId, NodeId, Lane);

/// Something under way, and in how many ticks it is due.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) link: Link,
    pub(crate) input: Input,
    pub(crate) left: u64,
    /// The hash of all this.
    pub(crate) print: u128,
    /// The hash of all this but the time that is left.
    pub(crate) letter: u128,
    /// Whether it comes before nothing that is on its lane already.
    pub(crate) ordered: bool,
    /// Whether it is under way for ever: it comes again any number of times.
    pub(crate) stays: bool,
}

/// A node's own lane for what its application triggers. It survives the node.
pub(crate) const APPLICATION: Lane = Lane::Ordered(LaneId(u64::MAX));
/// A node's own lane for the results of its jobs, which come back in any order.
pub(crate) const JOBS: Lane = Lane::Datagram;

/// A node's own lane for what its host tells it of the link to this peer, or of all links.
pub(crate) fn notices(peer: Option<NodeId>) -> Lane {
    Lane::Ordered(LaneId(u64::MAX - 1 - peer.map_or(0, |peer| u64::from(peer.0))))
}

impl Parcel {
    /// Within these bounds. A node's lanes to itself keep their order, and what is on them comes once,
    /// in any case.
    pub(crate) fn new(link: Link, input: Input, left: u64, bounds: &Bounds) -> Self {
        let (from, to, lane) = link;
        let ordered = lane != Lane::Datagram && (!bounds.unordered || from == to);
        let stays = bounds.repeats_for_ever() && !ordered && from != to;
        Self::of(link, input, left, (ordered, stays))
    }

    fn of(link: Link, input: Input, left: u64, (ordered, stays): (bool, bool)) -> Self {
        let mut hasher = Print::new();
        (link, &input).hash(&mut hasher);
        let letter = hasher.all();
        left.hash(&mut hasher);
        Self { link, input, left, print: hasher.all(), letter, ordered, stays }
    }

    /// The same under other names.
    pub(crate) fn renamed(
        &self,
        catalogue: &Catalogue,
        renamer: &mut Renamer,
    ) -> Result<Self, DecodeError> {
        let (from, to, lane) = self.link;
        renamer.mix(self.left);
        let mut link = (renamer.node(from), renamer.node(to), lane);
        let input = match &self.input {
            Input::Deliver { from, envelope } => {
                let from = renamer.node(*from);
                Input::Deliver { from, envelope: catalogue.renamed(envelope, renamer)? }
            }
            Input::Trigger(envelope) => Input::Trigger(catalogue.renamed(envelope, renamer)?),
            Input::PeerUp(up) => {
                let up = PeerUp { peer: renamer.node(up.peer), ..*up };
                link.2 = notices(Some(up.peer));
                Input::PeerUp(up)
            }
            Input::PeerDown(down) => {
                let down = PeerDown { peer: renamer.node(down.peer), ..*down };
                link.2 = notices(Some(down.peer));
                Input::PeerDown(down)
            }
            other => other.clone(),
        };
        Ok(Self::of(link, input, self.left, (self.ordered, self.stays)))
    }

    /// The event that it is, if it is one of an algorithm.
    pub(crate) fn event(&self) -> Option<EventId> {
        match &self.input {
            Input::Deliver { envelope, .. } | Input::Trigger(envelope) => Some(envelope.event()),
            _ => None,
        }
    }

    /// Whether it may be lost, within these bounds.
    pub(crate) fn is_lossy(&self, bounds: &Bounds) -> bool {
        (self.link.2 == Lane::Datagram || bounds.lossy) && !self.is_own()
    }

    /// Whether a node has it from itself.
    pub(crate) fn is_own(&self) -> bool {
        self.link.0 == self.link.1
    }
}
