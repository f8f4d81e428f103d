//! A value for each node of a cluster.

use std::ops::{Index, IndexMut};

use synod_core::NodeId;

/// A value for each node, found by the node's identity.
#[derive(Clone, Debug)]
pub(crate) struct PerNode<V>(Vec<V>);

impl<V> PerNode<V> {
    pub(crate) fn of(nodes: u32, value: impl FnMut(NodeId) -> V) -> Self {
        Self((1..=nodes).map(NodeId).map(value).collect())
    }

    /// The values, by ascending identity.
    pub(crate) fn all(&self) -> &[V] {
        &self.0
    }
}

#[expect(clippy::indexing_slicing, reason = "a cluster's nodes are numbered from 1 without gaps")]
impl<V> Index<NodeId> for PerNode<V> {
    type Output = V;

    fn index(&self, node: NodeId) -> &V {
        &self.0[node.0 as usize - 1]
    }
}

#[expect(clippy::indexing_slicing, reason = "a cluster's nodes are numbered from 1 without gaps")]
impl<V> IndexMut<NodeId> for PerNode<V> {
    fn index_mut(&mut self, node: NodeId) -> &mut V {
        &mut self.0[node.0 as usize - 1]
    }
}
