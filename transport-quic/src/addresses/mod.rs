//! Where the nodes of a cluster listen, as they tell each other.
//!
//! A node needs the addresses of a few peers, its seeds; it learns those of the others. Each node
//! writes one entry, its own, and passes on all that it has to every peer it is connected with,
//! again and again until the peer confirms it. An entry of a later life, or a later revision, takes
//! the place of an earlier one, so all come to have the same, in whatever order they hear of it.
//!
//! An entry is a hint and no more: whoever is found at the address must show the node's certificate.
//!
//! **Invariant:** a state machine and nothing else. It knows no clock, no task, no connection:
//! whoever drives the machine says what time it is, and carries what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::NodeId;

/// What one node says of itself.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) node: NodeId,
    pub(crate) version: Version,
    /// As `HOST:PORT`.
    pub(crate) address: String,
}

/// Which of two entries of a node is the later one.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize,
)]
pub(crate) struct Version {
    pub(crate) incarnation: u64,
    pub(crate) revision: u64,
}

/// The latest version of each node's entry that somebody has.
pub(crate) type Versions = BTreeMap<NodeId, Version>;

/// What a peer has told cannot be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Nonsense {
    /// More entries at once than are allowed.
    TooMany(usize),
    /// Something that is no address.
    NoAddress(NodeId),
}

/// What came of the entries that a peer has told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Heard {
    /// What to confirm.
    pub(crate) taken: Vec<(NodeId, Version)>,
    /// The nodes that are known to be elsewhere now.
    pub(crate) moved: Vec<NodeId>,
    /// Nodes that are not of this cluster, as far as this node knows.
    pub(crate) strangers: Vec<NodeId>,
}

/// What one node knows of all addresses, and of what its peers know.
#[derive(Clone, Debug, Hash)]
pub(crate) struct AddressBook {
    me: NodeId,
    incarnation: u64,
    members: BTreeSet<NodeId>,
    /// Whether the node knows by itself where it listens.
    is_sure: bool,
    entries: BTreeMap<NodeId, Entry>,
    readers: BTreeMap<NodeId, Reader>,
}

/// A peer that is told.
#[derive(Clone, Debug, Default, Hash)]
struct Reader {
    incarnation: u64,
    /// What it has confirmed, or told.
    has: Versions,
    /// What it was told on the connection of now, and when that was last.
    told: Versions,
    told_at: Duration,
}

impl AddressBook {
    /// The book of one life of a node. Only nodes in `members` are ever entered.
    pub(crate) fn new(me: NodeId, incarnation: u64, members: BTreeSet<NodeId>) -> Self {
        let (entries, readers) = (BTreeMap::new(), BTreeMap::new());
        Self { me, incarnation, members, is_sure: false, entries, readers }
    }

    /// Where the node itself listens, from now on.
    pub(crate) fn announce(&mut self, address: &str) {
        self.is_sure = true;
        self.write_own(address);
    }

    /// A peer sees this node there: it listens there, unless it knows better. What one machine
    /// sees of itself is good for nobody else, and counts only until another one says something.
    pub(crate) fn seen_at(&mut self, address: &str) {
        let is_worse =
            is_loopback(address) && self.address(self.me).is_some_and(|own| !is_loopback(own));
        if is_address(address) && !is_worse && !self.is_sure {
            self.write_own(address);
        }
    }

    /// Another life of the node begins, at the same address.
    pub(crate) fn begin_life(&mut self, incarnation: u64) {
        self.incarnation = incarnation;
        if let Some(entry) = self.entries.get_mut(&self.me) {
            entry.version = Version { incarnation, revision: 1 };
        }
    }

    fn write_own(&mut self, address: &str) {
        let before = self.entries.get(&self.me);
        if before.is_some_and(|entry| entry.address == address) {
            return;
        }
        let revision = before.map_or(0, |entry| entry.version.revision) + 1;
        let version = Version { incarnation: self.incarnation, revision };
        let entry = Entry { node: self.me, version, address: String::from(address) };
        self.entries.insert(self.me, entry);
    }

    /// Where `node` says it listens.
    pub(crate) fn address(&self, node: NodeId) -> Option<&str> {
        self.entries.get(&node).map(|entry| entry.address.as_str())
    }

    /// A connection with this life of `peer` begins: what was told on the last one may be lost.
    pub(crate) fn connected(&mut self, peer: NodeId, incarnation: u64) {
        let reader = self.readers.entry(peer).or_default();
        if reader.incarnation != incarnation {
            *reader = Reader { incarnation, ..Reader::default() };
        }
        reader.told.clear();
    }

    /// What `peer` is to be told now, at most [`ENTRIES_MAX`] entries; they count as told. Empty if
    /// there is nothing new, or nothing that has waited for its confirmation for [`RESEND`].
    /// O(members · log members).
    pub(crate) fn due(&mut self, peer: NodeId, now: Duration) -> Vec<Entry> {
        let Some(reader) = self.readers.get_mut(&peer) else { return Vec::new() };
        let again = reader.told_at + RESEND <= now;
        let lacks = |versions: &Versions, entry: &Entry| {
            versions.get(&entry.node).is_none_or(|version| *version < entry.version)
        };
        let due: Vec<Entry> = self
            .entries
            .values()
            .filter(|entry| entry.node != peer && lacks(&reader.has, entry))
            .filter(|entry| again || lacks(&reader.told, entry))
            .take(ENTRIES_MAX)
            .cloned()
            .collect();
        if !due.is_empty() {
            reader.told_at = now;
            reader.told.extend(due.iter().map(|entry| (entry.node, entry.version)));
        }
        due
    }

    /// Whether `peer` has yet to confirm something.
    pub(crate) fn is_waiting(&self, peer: NodeId) -> bool {
        let Some(reader) = self.readers.get(&peer) else { return false };
        let has = |entry: &Entry| {
            reader.has.get(&entry.node).is_some_and(|version| entry.version <= *version)
        };
        !self.entries.values().all(|entry| entry.node == peer || has(entry))
    }

    /// `from` has told some entries. If they are nonsense, none is taken.
    pub(crate) fn hear(&mut self, from: NodeId, told: Vec<Entry>) -> Result<Heard, Nonsense> {
        if ENTRIES_MAX < told.len() {
            return Err(Nonsense::TooMany(told.len()));
        }
        if let Some(entry) = told.iter().find(|entry| !is_address(&entry.address)) {
            return Err(Nonsense::NoAddress(entry.node));
        }
        let mut heard = Heard::default();
        for entry in told {
            heard.taken.push((entry.node, entry.version));
            if entry.node == self.me {
                continue;
            }
            if !self.members.contains(&entry.node) {
                heard.strangers.push(entry.node);
                continue;
            }
            self.confirm(from, entry.node, entry.version);
            let before = self.entries.get(&entry.node);
            if before.is_none_or(|before| before.version < entry.version) {
                if before.is_none_or(|before| before.address != entry.address) {
                    heard.moved.push(entry.node);
                }
                self.entries.insert(entry.node, entry);
            }
        }
        Ok(heard)
    }

    /// `from` has confirmed that it has these, or later ones.
    pub(crate) fn confirmed(&mut self, from: NodeId, taken: &[(NodeId, Version)]) {
        for (node, version) in taken {
            // What was never written down here cannot have been told.
            if self.entries.contains_key(node) {
                self.confirm(from, *node, *version);
            }
        }
    }

    fn confirm(&mut self, peer: NodeId, node: NodeId, version: Version) {
        if let Some(reader) = self.readers.get_mut(&peer) {
            let has = reader.has.entry(node).or_default();
            *has = version.max(*has);
        }
    }
}

/// Whether a text is `HOST:PORT`, with a port above 0 and nothing that could not stand in either.
pub(crate) fn is_address(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]%".contains(&byte);
    let port = text.rsplit_once(':').and_then(|(host, port)| {
        let port = port.parse::<u16>().ok()?;
        (!host.is_empty()).then_some(port)
    });
    text.len() <= ADDRESS_BYTES_MAX && text.bytes().all(plain) && port.is_some_and(|port| 0 < port)
}

fn is_loopback(address: &str) -> bool {
    address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
}

/// Entries that are told at once.
pub(crate) const ENTRIES_MAX: usize = 64;

/// After so long without a confirmation, entries are told once more.
pub(crate) const RESEND: Duration = Duration::from_millis(500);

/// The longest name of a host, and a port.
const ADDRESS_BYTES_MAX: usize = 253 + 1 + 5;

#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;
