//! What is under way between nodes.

use std::hash::Hash;

use synod_core::{Input, Lane, LaneId, NodeId};
use xxhash_rust::xxh3::Xxh3;

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
}

/// A node's own lane, for what the host tells it of links.
pub(crate) const OWN: Lane = Lane::Ordered(LaneId(u64::MAX));
/// A node's own lane for what its application triggers. It survives the node.
pub(crate) const APPLICATION: Lane = Lane::Ordered(LaneId(u64::MAX - 1));
/// A node's own lane for the results of its jobs, which come back in any order.
pub(crate) const JOBS: Lane = Lane::Datagram;

impl Parcel {
    /// Where lanes keep no order, all but those of a node to itself do not.
    pub(crate) fn new(link: Link, input: Input, left: u64, lanes_keep_order: bool) -> Self {
        let mut hasher = Xxh3::new();
        (link, &input).hash(&mut hasher);
        let letter = hasher.digest128();
        left.hash(&mut hasher);
        let (from, to, lane) = link;
        let ordered = lane != Lane::Datagram && (lanes_keep_order || from == to);
        Self { link, input, left, print: hasher.digest128(), letter, ordered }
    }

    /// Whether it may be lost.
    pub(crate) fn is_lossy(&self) -> bool {
        self.link.2 == Lane::Datagram && !self.is_own()
    }

    /// Whether a node has it from itself.
    pub(crate) fn is_own(&self) -> bool {
        self.link.0 == self.link.1
    }
}
