//! What the host holds for a node, up or down.

use std::collections::BTreeMap;

use synod_core::{NodeId, TimerId};

use super::disk::NodeDisk;
use crate::clock::Clock;
use crate::queue::{Crash, Place};

/// What is left of a node when it is down, and what the host holds for it when it is up. It fills
/// one line of a cache: most events touch nothing else of it.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct NodePlace {
    pub(super) incarnation: u64,
    pub(super) timers: BTreeMap<TimerId, Place>,
    pub(super) clock: Clock,
    rare: Option<Box<Rare>>,
}

/// What a node has that writes, is told of links, or suffers faults.
#[derive(Debug, Default)]
pub(super) struct Rare {
    pub(super) disk: NodeDisk,
    /// A crash that waits for the node's next handler.
    pub(super) doomed: Option<Crash>,
    /// What the node is told last of each other one.
    pub(super) heard: BTreeMap<NodeId, News>,
    /// Until when the node does nothing.
    pub(super) paused_until_us: u64,
    /// Whether the node starts later than the others.
    pub(super) is_late: bool,
    /// Whether the node has said good-bye.
    pub(super) has_left: bool,
}

/// Which life of another node is up, 0 for none, and when a node learns of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct News {
    pub(super) life: u64,
    pub(super) at_us: u64,
}

impl NodePlace {
    /// What is rare, if the node has any of it.
    #[inline]
    pub(super) fn rare(&self) -> Option<&Rare> {
        self.rare.as_deref()
    }

    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Until when the node does nothing; 0 if it is not paused.
    #[inline]
    pub(super) fn paused_until_us(&self) -> u64 {
        self.rare().map_or(0, |rare| rare.paused_until_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_fills_one_line_of_a_cache() {
        assert_eq!(size_of::<NodePlace>(), 64);
    }
}
