//! Who the nodes of a cluster are.

use std::sync::Arc;

use crate::event::NodeId;

/// The nodes of a cluster in ascending order. Cloning copies nothing: in a large cluster the list
/// is larger than all the rest of a node.
#[derive(Clone, Debug)]
pub struct Peers {
    pub(crate) nodes: Arc<[NodeId]>,
    /// Whether they are numbered from 1 without gaps.
    is_gapless: bool,
}

impl FromIterator<NodeId> for Peers {
    /// In any order; naming a node twice is harmless.
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> Self {
        let mut nodes: Vec<NodeId> = nodes.into_iter().collect();
        nodes.sort_unstable();
        nodes.dedup();
        let last = nodes.last().map_or(0, |node| node.0 as usize);
        let is_gapless = last == nodes.len() && nodes.first().is_none_or(|node| node.0 == 1);
        Self { nodes: nodes.into(), is_gapless }
    }
}

impl Peers {
    /// Where `node` stands in the list. O(log n), and O(1) in a cluster that is numbered from 1
    /// without gaps.
    #[inline]
    pub(crate) fn place_of(&self, node: NodeId) -> Option<usize> {
        let usual = (node.0 as usize).wrapping_sub(1);
        if self.is_gapless {
            return (usual < self.nodes.len()).then_some(usual);
        }
        self.nodes.binary_search(&node).ok()
    }
}
