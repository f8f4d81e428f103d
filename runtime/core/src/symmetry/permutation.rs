//! Other names for the nodes of a small cluster.

use crate::event::NodeId;

/// A permutation of the nodes n1 to n16. All other nodes keep their names.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Permutation {
    /// Four bits for each node, the first one's the lowest: its new name, counted from 0.
    names: u64,
}

/// A set of the nodes n1 to n16.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Nodes(u16);

const BITS: u32 = 4;
const NAME: u64 = (1 << BITS) - 1;

impl Permutation {
    /// Every node keeps its name.
    pub const IDENTITY: Self = Self { names: 0xfedc_ba98_7654_3210 };

    /// Nodes that may get another name, at most: those from n1 on.
    pub const NODES_MAX: u32 = 16;

    /// Two nodes change names.
    #[must_use]
    pub fn swap(one: NodeId, other: NodeId) -> Self {
        Self::IDENTITY.with(one, other).with(other, one)
    }

    /// The same, but `node` is now called `name`; the caller gives each name once.
    #[must_use]
    pub fn with(self, node: NodeId, name: NodeId) -> Self {
        match (place(node), place(name)) {
            (Some(node), Some(name)) => {
                let shift = node * BITS;
                let names = self.names & !(NAME << shift) | u64::from(name) << shift;
                Self { names }
            }
            _ => self,
        }
    }

    /// What a node is called now. O(1).
    #[must_use]
    pub fn of(self, node: NodeId) -> NodeId {
        let name = |place: u32| u32::try_from(self.names >> (place * BITS) & NAME).unwrap_or(0);
        place(node).map_or(node, |place| NodeId(name(place) + 1))
    }

    /// What it does to `nodes`, as a number: equal for permutations that do the same to them.
    #[must_use]
    pub fn on(self, nodes: Nodes) -> u64 {
        let places = (0..Self::NODES_MAX).filter(|place| nodes.0 & (1 << place) != 0);
        places.fold(0, |all, place| all | self.names & NAME << (place * BITS))
    }
}

impl Nodes {
    /// The set with `node` too, unless that is beyond n16.
    #[must_use]
    pub fn with(self, node: NodeId) -> Self {
        place(node).map_or(self, |place| Self(self.0 | 1 << place))
    }

    /// Whether `node` is one of them.
    #[must_use]
    pub fn has(self, node: NodeId) -> bool {
        place(node).is_some_and(|place| self.0 & (1 << place) != 0)
    }
}

impl FromIterator<NodeId> for Nodes {
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> Self {
        nodes.into_iter().fold(Self::default(), Self::with)
    }
}

/// Where a node that may get another name stands, counted from 0.
fn place(node: NodeId) -> Option<u32> {
    node.0.checked_sub(1).filter(|place| *place < Permutation::NODES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes_change_names_and_the_others_keep_theirs() {
        let swapped = Permutation::swap(NodeId(1), NodeId(16));
        let named = |node| swapped.of(NodeId(node)).0;
        assert_eq!([1, 2, 15, 16, 17, 0].map(named), [16, 2, 15, 1, 17, 0]);
        assert_eq!(Permutation::swap(NodeId(3), NodeId(3)), Permutation::IDENTITY);
    }

    #[test]
    fn permutations_that_do_the_same_to_some_nodes_are_one_number_on_them() {
        let few: Nodes = [NodeId(1), NodeId(2)].into_iter().collect();
        let swapped = Permutation::swap(NodeId(3), NodeId(4));
        assert_eq!(swapped.on(few), Permutation::IDENTITY.on(few));
        assert_ne!(swapped.on(few.with(NodeId(3))), Permutation::IDENTITY.on(few.with(NodeId(3))));
    }
}
