//! The simulated links: what is between two nodes, and what keeps its order.

use synod_core::{Lane, LaneId, NodeId};

/// The links of a cluster. It knows who can reach whom and when a lane's last message arrives;
/// it holds no messages.
#[derive(Debug)]
pub(crate) struct Network {
    nodes: usize,
    /// Per ordered pair, when the last message of each lane arrives: a lane is first in, first out.
    tails: Vec<Vec<(LaneId, u64)>>,
    /// The sides of the partitions that are in force, as sets of bits.
    splits: Vec<u64>,
}

impl Network {
    pub(crate) fn new(nodes: u32) -> Self {
        let nodes = nodes as usize;
        Self { nodes, tails: vec![Vec::new(); nodes * nodes], splits: Vec::new() }
    }

    /// Whether no partition lies between the two.
    pub(crate) fn connects(&self, one: NodeId, other: NodeId) -> bool {
        self.splits.iter().all(|side| is_in(*side, one) == is_in(*side, other))
    }

    pub(crate) fn split(&mut self, side: u64) {
        self.splits.push(side);
    }

    pub(crate) fn heal(&mut self, side: u64) {
        if let Some(index) = self.splits.iter().position(|split| *split == side) {
            self.splits.remove(index);
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.splits.is_empty()
    }

    /// When a message that could arrive at `at_us` does arrive, given what is before it on its
    /// lane.
    pub(crate) fn arrival(&mut self, from: NodeId, to: NodeId, lane: Lane, at_us: u64) -> u64 {
        let Lane::Ordered(lane) = lane else {
            return at_us;
        };
        let pair = (from.0 as usize - 1) * self.nodes + (to.0 as usize - 1);
        let Some(tails) = self.tails.get_mut(pair) else {
            return at_us;
        };
        match tails.iter_mut().find(|(taken, _)| *taken == lane) {
            Some((_, tail)) => {
                *tail = at_us.max(*tail);
                *tail
            }
            None => {
                tails.push((lane, at_us));
                at_us
            }
        }
    }

    /// A restart makes new sessions, which wait for nothing.
    pub(crate) fn forget(&mut self, node: NodeId) {
        let index = node.0 as usize - 1;
        for (pair, tails) in self.tails.iter_mut().enumerate() {
            if pair / self.nodes == index || pair % self.nodes == index {
                tails.clear();
            }
        }
    }
}

fn is_in(side: u64, node: NodeId) -> bool {
    let bit = node.0 - 1;
    bit < u64::BITS && side >> bit & 1 == 1
}

/// The members of a partition's side, in words.
pub(crate) fn members(side: u64, nodes: u32) -> String {
    let of = |inside: bool| {
        let names = (1..=nodes).map(NodeId).filter(|node| is_in(side, *node) == inside);
        names.map(|node| node.to_string()).collect::<Vec<_>>().join(" ")
    };
    format!("{} | {}", of(true), of(false))
}
