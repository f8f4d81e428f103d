//! One side of a partition: a set of nodes as one number, so that it is one decision.

use synod_core::{NodeId, Random};

/// Nodes of a cluster whose sides are sets of bits; in a larger one they are patterns.
const BITS_NODES_MAX: u32 = 63;

/// Some nodes of a cluster, never all of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Side(Pattern);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pattern {
    /// A bit for each node.
    Bits(u64),
    /// Neighbours, those after the last one being the first ones: a rack.
    Range { first: u32, length: u32, nodes: u32 },
    /// Every so manieth: one of each rack.
    Stride { first: u32, every: u32 },
    /// Here and there, as a seed says: so many in 16, one node left out in any case.
    Scattered { seed: u64, in_16: u64, without: u32 },
}

impl Side {
    /// No node.
    pub(crate) const NONE: Self = Self(Pattern::Bits(0));

    /// How many sides there are to choose from in a cluster; choice 0 is no node.
    pub(crate) fn options(nodes: u32) -> u64 {
        match nodes {
            0..=BITS_NODES_MAX => (1 << nodes.max(1)) - 1,
            // As many ranges as there are, and as many each of the other patterns.
            _ => 1 + 3 * ranges(nodes),
        }
    }

    /// The side of a choice. Any node can be on it, and any can be off it.
    pub(crate) fn chosen(choice: u64, nodes: u32) -> Self {
        if nodes <= BITS_NODES_MAX || choice == 0 {
            return Self(Pattern::Bits(choice));
        }
        let (pattern, rest) = ((choice - 1) / ranges(nodes), (choice - 1) % ranges(nodes));
        let part = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let (place, other) = (part(rest % u64::from(nodes)), part(rest / u64::from(nodes)));
        Self(match pattern {
            0 => Pattern::Range { first: place, length: 1 + other, nodes },
            1 => {
                let every = 2 + other % (nodes / 2);
                Pattern::Stride { first: place % every, every }
            }
            _ => Pattern::Scattered { seed: rest, in_16: 1 + rest % 15, without: place },
        })
    }

    /// Whether `node` is on it. O(1).
    pub(crate) fn holds(self, node: NodeId) -> bool {
        let place = node.0 - 1;
        match self.0 {
            Pattern::Bits(bits) => place < u64::BITS && bits >> place & 1 == 1,
            Pattern::Range { first, length, nodes } => {
                let after = if first <= place { place - first } else { place + nodes - first };
                after < length
            }
            Pattern::Stride { first, every } => place % every == first,
            Pattern::Scattered { seed, in_16, without } => {
                let mut random = Random::new(seed ^ u64::from(node.0) << 32);
                place != without && random.below(16) < in_16
            }
        }
    }

    /// The nodes on it, among so many, in ascending order.
    pub(crate) fn members(self, nodes: u32) -> impl Iterator<Item = NodeId> {
        (1..=nodes).map(NodeId).filter(move |node| self.holds(*node))
    }

    /// Both sides in words, with `between` between them. A large cluster's neighbours are told as
    /// the first and the last of them.
    pub(crate) fn words(self, nodes: u32, between: &str) -> String {
        let of = |inside: bool| {
            let members = (1..=nodes).map(NodeId).filter(|node| self.holds(*node) == inside);
            if nodes <= BITS_NODES_MAX { each(members) } else { in_short(members) }
        };
        format!("{} {between} {}", of(true), of(false))
    }
}

/// Ranges of neighbours that are not the whole cluster.
fn ranges(nodes: u32) -> u64 {
    u64::from(nodes) * u64::from(nodes - 1)
}

fn each(members: impl Iterator<Item = NodeId>) -> String {
    members.map(|node| node.to_string()).collect::<Vec<_>>().join(" ")
}

fn in_short(members: impl Iterator<Item = NodeId>) -> String {
    let mut runs: Vec<(NodeId, NodeId)> = Vec::new();
    for node in members {
        match runs.last_mut() {
            Some((_, last)) if last.0 + 1 == node.0 => *last = node,
            _ => runs.push((node, node)),
        }
    }
    let words = runs.into_iter().map(|(first, last)| match last.0 - first.0 {
        0 => first.to_string(),
        1 => format!("{first} {last}"),
        _ => format!("{first}..{last}"),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(nodes: u32) -> impl Iterator<Item = Side> {
        let mut random = Random::new(7);
        (0..2_000).map(move |_| Side::chosen(random.below(Side::options(nodes)), nodes))
    }

    #[test]
    fn up_to_63_nodes_a_side_is_a_set_of_bits() {
        assert_eq!([1, 4, 63].map(Side::options), [1, 15, (1 << 63) - 1]);
        let of = |choice, nodes| Side::chosen(choice, nodes).words(nodes, "|");
        assert_eq!(of(5, 4), "n1 n3 | n2 n4");
        assert_eq!(Side::chosen(1 << 61, 63).members(63).collect::<Vec<_>>(), [NodeId(62)]);
        assert_eq!(Side::chosen(0, 4), Side::NONE);
    }

    #[test]
    fn each_node_can_be_cut_off_alone_so_that_it_hears_the_others_and_the_other_way_round() {
        for nodes in [2, 3, 5, 63, 64] {
            let all = || (1..=nodes).map(NodeId);
            let sides = || {
                let last = Side::options(nodes) - 1;
                let alone = all().map(|node| 1 << (node.0 - 1).min(62));
                let others = alone.clone().map(move |it| (last + 1).saturating_sub(it));
                let choices = alone.chain(others).chain(1..=8_064);
                choices.filter(move |it| *it <= last).map(|it| Side::chosen(it, nodes))
            };
            for node in all() {
                let is_alone = |side: Side| all().all(|it| side.holds(it) == (it == node));
                let is_left = |side: Side| all().all(|it| side.holds(it) == (it != node));
                assert!(sides().any(is_alone), "{node} of {nodes} cannot be alone");
                assert!(sides().any(is_left), "the others than {node} of {nodes} cannot be");
            }
            assert!(sides().all(|side| all().any(|node| !side.holds(node))), "{nodes}");
        }
    }

    #[test]
    fn in_a_large_cluster_any_two_nodes_can_be_on_different_sides() {
        for nodes in [64, 100, 10_000] {
            let pairs = [(1, 2), (1, nodes), (nodes / 2, nodes / 2 + 1), (nodes - 1, nodes)];
            for (one, other) in pairs.map(|(one, other)| (NodeId(one), NodeId(other))) {
                let apart = |(one, other)| drawn(nodes).any(|it| it.holds(one) && !it.holds(other));
                assert!(apart((one, other)) && apart((other, one)), "{one} and {other}");
            }
        }
    }

    #[test]
    fn nobody_is_left_out_and_never_are_all_on_one_side() {
        for nodes in [64, 65, 100, 1_000] {
            let mut on = vec![0_u32; nodes as usize];
            for side in drawn(nodes) {
                let members: Vec<NodeId> = side.members(nodes).collect();
                assert!(members.len() < nodes as usize, "{side:?}");
                members.into_iter().for_each(|node| on[node.0 as usize - 1] += 1);
            }
            assert!(on.iter().all(|times| 200 < *times && *times < 1_800), "{nodes}: {on:?}");
        }
    }

    #[test]
    fn the_smallest_choices_of_a_large_cluster_cut_off_one_node() {
        assert_eq!(Side::chosen(1, 100).words(100, "|"), "n1 | n2..n100");
        assert_eq!(Side::chosen(100, 100).words(100, "|>"), "n100 |> n1..n99");
        assert_eq!(Side::chosen(200, 100).words(100, "|"), "n1 n100 | n2..n99");
        assert_eq!(Side::chosen(0, 100).members(100).count(), 0);
    }
}
