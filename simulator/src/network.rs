//! The simulated links: what is between two nodes, and what keeps its order.

use std::collections::BTreeMap;

use synod_core::{Lane, LaneId, NodeId};

use crate::settings::{LinkDelay, Settings};
use crate::side::Side;

/// The links of a cluster. It knows who can reach whom and when a lane's last message arrives;
/// it holds no messages.
#[derive(Debug)]
pub(crate) struct Network {
    nodes: usize,
    /// The links that are not as fast, or as slow, as the others.
    delays: BTreeMap<(NodeId, NodeId), LinkDelay>,
    /// Per sender, by receiver and lane, when the last message arrives: a lane is first in, first
    /// out. Sorted, so that a few receivers cost little memory and many are found fast.
    tails: Vec<Vec<((NodeId, LaneId), u64)>>,
    /// The partitions that are in force.
    splits: Vec<Split>,
    /// Until when what goes to or from a node is held.
    clogged_until_us: Vec<u64>,
    /// Until when each ordered pair loses everything.
    burst_until_us: BTreeMap<(NodeId, NodeId), u64>,
}

/// A partition: one side, and whether only what leaves that side is cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Split {
    pub(crate) side: Side,
    pub(crate) one_way: bool,
}

impl Network {
    pub(crate) fn new(settings: &Settings) -> Self {
        let nodes = settings.nodes as usize;
        let links = settings.links.iter();
        Self {
            nodes,
            delays: links.flat_map(|link| link.ways().map(|way| (way, *link))).collect(),
            tails: vec![Vec::new(); nodes],
            splits: Vec::new(),
            clogged_until_us: Vec::new(),
            burst_until_us: BTreeMap::new(),
        }
    }

    /// What is known of the delays of this link alone.
    #[inline]
    pub(crate) fn delay(&self, from: NodeId, to: NodeId) -> Option<&LinkDelay> {
        if self.delays.is_empty() { None } else { self.delays.get(&(from, to)) }
    }

    /// Whether no partition cuts the way from one to the other.
    #[inline]
    pub(crate) fn connects(&self, from: NodeId, to: NodeId) -> bool {
        self.splits.iter().all(|Split { side, one_way }| {
            let (inside, reaches) = (side.holds(from), side.holds(to));
            inside == reaches || (*one_way && reaches)
        })
    }

    pub(crate) fn split(&mut self, split: Split) {
        self.splits.push(split);
    }

    pub(crate) fn heal(&mut self, healed: Split) {
        if let Some(index) = self.splits.iter().position(|split| *split == healed) {
            self.splits.remove(index);
        }
    }

    /// Holds what goes to or from `node`.
    pub(crate) fn clog(&mut self, node: NodeId, until_us: u64) {
        self.clogged_until_us.resize(self.nodes, 0);
        if let Some(until) = self.clogged_until_us.get_mut(node.0 as usize - 1) {
            *until = until_us.max(*until);
        }
    }

    /// Until when what goes between the two is held; 0 if it is not.
    #[inline]
    pub(crate) fn held_until_us(&self, from: NodeId, to: NodeId) -> u64 {
        let until = |node: NodeId| self.clogged_until_us.get(node.0 as usize - 1).copied();
        until(from).max(until(to)).unwrap_or(0)
    }

    pub(crate) fn begin_burst(&mut self, from: NodeId, to: NodeId, until_us: u64) {
        self.burst_until_us.insert((from, to), until_us);
    }

    /// Whether any pair ever lost everything for a while.
    #[inline]
    pub(crate) fn has_bursts(&self) -> bool {
        !self.burst_until_us.is_empty()
    }

    #[inline]
    pub(crate) fn is_in_burst(&self, from: NodeId, to: NodeId, now_us: u64) -> bool {
        self.burst_until_us.get(&(from, to)).is_some_and(|until| now_us < *until)
    }

    #[inline]
    pub(crate) fn is_whole(&self) -> bool {
        self.splits.is_empty()
    }

    /// When a message that could arrive at `at_us` does arrive, given what is before it on its
    /// lane.
    #[inline]
    pub(crate) fn arrival(&mut self, from: NodeId, to: NodeId, lane: Lane, at_us: u64) -> u64 {
        let Lane::Ordered(lane) = lane else {
            return at_us;
        };
        let Some(tails) = self.tails.get_mut(from.0 as usize - 1) else {
            return at_us;
        };
        // Where it stands if the sender has sent to everybody on this lane, or to nobody else.
        let usual = (to.0 as usize - 1).saturating_sub(usize::from(from < to));
        let usual = usual.min(tails.len().saturating_sub(1));
        let is_usual = tails.get(usual).is_some_and(|(key, _)| *key == (to, lane));
        let place = if is_usual { usual } else { place_of(tails, (to, lane)) };
        tails.get_mut(place).map_or(at_us, |(_, tail)| {
            *tail = at_us.max(*tail);
            *tail
        })
    }

    /// A restart makes new sessions, which wait for nothing.
    pub(crate) fn forget(&mut self, node: NodeId) {
        for (from, tails) in (1..).map(NodeId).zip(&mut self.tails) {
            tails.retain(|((to, _), _)| from != node && *to != node);
        }
    }
}

/// The place of a receiver and lane among those of a sender, made if there is none.
#[inline(never)]
fn place_of(tails: &mut Vec<((NodeId, LaneId), u64)>, key: (NodeId, LaneId)) -> usize {
    tails.binary_search_by_key(&key, |(key, _)| *key).unwrap_or_else(|free| {
        tails.insert(free, (key, 0));
        free
    })
}

/// The sides of a partition, in words.
pub(crate) fn members(split: Split, nodes: u32) -> String {
    split.side.words(nodes, if split.one_way { "|>" } else { "|" })
}
