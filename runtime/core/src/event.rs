//! Events, their stable wire names, and the names of nodes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::envelope::Envelope;

/// A fact that a handler can react to: a message from a peer, a timeout, or a local indication.
///
/// Every event is plain serializable data, also the local ones: that is what makes a run
/// recordable, a message duplicable and a state hashable. It is derived:
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use synod_core::Event;
///
/// #[derive(Event, Debug, Serialize, Deserialize)]
/// #[event(name = "bully.election")]
/// struct Election;
/// ```
///
/// A changed layout is a new event: give it a new name, `"bully.election.2"`. Nodes whose
/// [`Schema`](crate::Schema)s of one event differ do not link.
///
/// An event that may be larger than 64 KiB on the wire says so, and how large: every node that
/// handles it counts with that. What is larger still is sent in pieces.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use synod_core::Event;
/// #[derive(Event, Debug, Serialize, Deserialize)]
/// #[event(name = "store.snapshot", bytes_max = 1_048_576)]
/// struct Snapshot(Vec<u64>);
/// ```
pub trait Event: fmt::Debug + Serialize + DeserializeOwned + Send + 'static {
    /// The wire name. Stable for ever: renaming the Rust type must not change it.
    const NAME: &'static str;

    /// The identity derived from [`Event::NAME`].
    const ID: EventId = EventId::of(Self::NAME);

    /// Whether the event never comes from the wire: timers, indications, records.
    /// A peer that sends one is refused.
    const LOCAL: bool = false;

    /// Whether the event travels as a datagram: it may be lost, and overtake others.
    const UNRELIABLE: bool = false;

    /// The largest envelope of it in bytes, encoded, that a peer takes; [`Envelope::BYTES_CAP`] at
    /// most.
    const BYTES_MAX: u32 = Envelope::BYTES_MAX;
}

/// A 64-bit identity of an event type: the FNV-1a hash of its wire name.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EventId(u64);

impl EventId {
    /// Hashes `name` at compile time. O(len).
    #[must_use]
    pub const fn of(name: &str) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut rest = name.as_bytes();
        while let [first, tail @ ..] = rest {
            hash = (hash ^ *first as u64).wrapping_mul(0x0100_0000_01b3);
            rest = tail;
        }
        Self(hash)
    }

    /// The identity as it stands on the wire.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The identity that stood on the wire.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {:016x}", self.0)
    }
}

/// The identity of a node, unique in its cluster. Written `n7`.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename = "synod.NodeId")]
pub struct NodeId(pub u32);

impl NodeId {
    /// By this name a [`Renamer`](crate::Renamer) knows a node in whatever is encoded.
    pub(crate) const SERDE_NAME: &'static str = "synod.NodeId";
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("n{}", self.0))
    }
}

/// A text that is not a node's name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a node: write `n` and a number from 1 to 4294967295 without leading zeros")]
pub struct NotANode(String);

impl FromStr for NodeId {
    type Err = NotANode;

    /// Reads `n7`. There is one way to write a node, so names can be compared as bytes.
    fn from_str(text: &str) -> Result<Self, NotANode> {
        let number = text.strip_prefix('n').and_then(|digits| digits.parse().ok()).map(NodeId);
        number
            .filter(|node| 0 < node.0 && node.to_string() == text)
            .ok_or_else(|| NotANode(text.chars().take(64).collect()))
    }
}

/// The time since the start of the run, as told by the host. The core never reads a clock.
pub type Time = Duration;

/// The link to a peer has come up, or a new incarnation of the peer has appeared.
///
/// A link outlasts the connections that carry it, if the transport can: a peer that is silent for
/// a while and comes back is neither down nor up again, and every event arrives once and in order.
/// What this node asked for before it is told may reach the new incarnation first: an event behind a
/// [`persist`](crate::Context::persist) that was still under way, for example.
///
/// An indication of the host: an algorithm that wants it registers a handler for it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct PeerUp {
    /// Who.
    pub peer: NodeId,
    /// Which life of the peer; each start of a node has a higher one.
    pub incarnation: u64,
}

/// The link to a peer is lost: what was under way on it, in either direction, may be lost too.
///
/// An indication of the host: an algorithm that wants it registers a handler for it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct PeerDown {
    /// Who.
    pub peer: NodeId,
    /// Why, as far as this node can tell.
    pub reason: Reason,
}

/// Why a link ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reason {
    /// The peer said good-bye.
    Closed,
    /// The peer has fallen silent, for longer than the transport waits for it; or its process is
    /// known to be gone; or it is back after a silence that was too long for it.
    Silent,
    /// The peer has restarted: its earlier incarnation is gone.
    Restarted,
    /// More bytes were waiting for the peer than its queue holds.
    Overflow,
    /// The peer broke the protocol, or is not who it should be.
    Refused,
}

impl Event for PeerUp {
    const NAME: &'static str = "synod.peer_up";
    const LOCAL: bool = true;
}

impl Event for PeerDown {
    const NAME: &'static str = "synod.peer_down";
    const LOCAL: bool = true;
}

#[cfg(test)]
mod tests {
    use super::{EventId, NodeId};

    #[test]
    fn a_node_is_written_in_one_way_and_read_back() {
        for node in [NodeId(1), NodeId(10), NodeId(4_294_967_295)] {
            assert_eq!(node.to_string().parse(), Ok(node));
        }
        assert_eq!("n1".parse(), Ok(NodeId(1)));
        assert_eq!(format!("{:?} {0}", NodeId(7)), "n7 n7");
    }

    #[test]
    fn a_written_node_takes_the_width_it_is_given() {
        assert_eq!(format!("[{:>4}] [{0:<4}]", NodeId(7)), "[  n7] [n7  ]");
    }

    #[test]
    fn any_other_way_to_write_a_node_is_refused() {
        let wrong = [
            "",
            "n",
            "1",
            "n0",
            "n01",
            "N1",
            "n-1",
            "n+1",
            " n1",
            "n1 ",
            "nn1",
            "n1.0",
            "n1_0",
            "n4294967296",
            "n١",
        ];
        for text in wrong {
            assert!(text.parse::<NodeId>().is_err(), "`{text}` was read as a node");
        }
    }

    #[test]
    fn the_refusal_repeats_what_was_written_in_short() {
        let refused = "x".repeat(1_000).parse::<NodeId>().unwrap_err().to_string();
        assert!(refused.starts_with("`xxx"), "{refused}");
        assert!(refused.len() < 200, "{refused}");
    }

    #[test]
    fn the_identity_of_an_event_is_pinned() {
        // The published FNV-1a vectors for 64 bits.
        assert_eq!(EventId::of("").bits(), 0xcbf2_9ce4_8422_2325);
        assert_eq!(EventId::of("a").bits(), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(EventId::of("foobar").bits(), 0x8594_4171_f739_67e8);
    }
}
