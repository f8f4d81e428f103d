use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::event::NodeId;

/// Everything that serde has, with nodes in it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
struct Everything {
    flag: bool,
    numbers: (u8, i16, u32, i64, u128),
    letter: char,
    text: String,
    unit: (),
    leader: Option<NodeId>,
    ring: Vec<NodeId>,
    voters: BTreeSet<NodeId>,
    votes: BTreeMap<NodeId, Vote>,
    pair: [NodeId; 2],
    meters: Meters,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
enum Vote {
    Nobody,
    For(NodeId),
    Between(NodeId, u8),
    Until { node: NodeId, round: u64 },
}

/// A number that is no node.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
struct Meters(u32);

fn node() -> impl Strategy<Value = NodeId> {
    (1..=4_u32).prop_map(NodeId)
}

fn vote() -> impl Strategy<Value = Vote> {
    prop_oneof![
        Just(Vote::Nobody),
        node().prop_map(Vote::For),
        (node(), any::<u8>()).prop_map(|(node, weight)| Vote::Between(node, weight)),
        (node(), any::<u64>()).prop_map(|(node, round)| Vote::Until { node, round }),
    ]
}

fn everything() -> impl Strategy<Value = Everything> {
    let plain = (any::<bool>(), any::<(u8, i16, u32, i64, u128)>(), any::<char>(), ".{0,5}");
    let nodes = (
        prop::option::of(node()),
        prop::collection::vec(node(), 0..4),
        prop::collection::btree_set(node(), 0..4),
        prop::collection::btree_map(node(), vote(), 0..4),
        [node(), node()],
        (1..=4_u32).prop_map(Meters),
    );
    (plain, nodes).prop_map(|((flag, numbers, letter, text), nodes)| {
        let (leader, ring, voters, votes, pair, meters) = nodes;
        let unit = ();
        Everything { flag, numbers, letter, text, unit, leader, ring, voters, votes, pair, meters }
    })
}

/// The same by hand.
fn by_hand(it: &Everything, names: Permutation) -> Everything {
    let vote = |vote: &Vote| match *vote {
        Vote::Nobody => Vote::Nobody,
        Vote::For(node) => Vote::For(names.of(node)),
        Vote::Between(node, weight) => Vote::Between(names.of(node), weight),
        Vote::Until { node, round } => Vote::Until { node: names.of(node), round },
    };
    Everything {
        leader: it.leader.map(|node| names.of(node)),
        ring: it.ring.iter().map(|node| names.of(*node)).collect(),
        voters: it.voters.iter().map(|node| names.of(*node)).collect(),
        votes: it.votes.iter().map(|(node, to)| (names.of(*node), vote(to))).collect(),
        pair: it.pair.map(|node| names.of(node)),
        ..it.clone()
    }
}

fn permutation() -> impl Strategy<Value = Permutation> {
    Just([1, 2, 3, 4_u32]).prop_shuffle().prop_map(|names| {
        (1..)
            .zip(names)
            .fold(Permutation::IDENTITY, |all, (node, name)| all.with(NodeId(node), NodeId(name)))
    })
}

fn shape(it: &Everything, marked: NodeId) -> u64 {
    let mut renamer = Renamer::shaping((1..=4).map(NodeId).collect(), marked);
    renamer.value(it).expect("it comes back");
    renamer.shape()
}

proptest! {
    #[test]
    fn nodes_are_renamed_wherever_they_stand_and_nothing_else_is(
        it in everything(),
        names in permutation(),
    ) {
        let mut renamer = Renamer::to(names);
        prop_assert_eq!(renamer.value(&it).expect("it comes back"), by_hand(&it, names));
        let mentioned = |node| {
            let swapped = by_hand(&it, Permutation::swap(node, NodeId(9)));
            swapped != it
        };
        for node in (1..=4).map(NodeId) {
            prop_assert_eq!(renamer.seen().has(node), mentioned(node));
        }
    }

    #[test]
    fn a_shape_does_not_depend_on_the_names(
        it in everything(),
        names in permutation(),
        marked in node(),
    ) {
        prop_assert_eq!(shape(&it, marked), shape(&by_hand(&it, names), names.of(marked)));
    }
}

#[test]
fn a_shape_tells_what_is_said_of_the_marked_node() {
    let votes = |votes: &[(u32, Vote)]| -> BTreeMap<NodeId, Vote> {
        votes.iter().map(|(node, vote)| (NodeId(*node), vote.clone())).collect()
    };
    let mut shapes = BTreeSet::new();
    for votes in [
        votes(&[(1, Vote::Nobody), (2, Vote::Nobody)]),
        votes(&[(1, Vote::For(NodeId(2))), (2, Vote::Nobody)]),
        votes(&[(1, Vote::Nobody), (2, Vote::For(NodeId(1)))]),
        votes(&[(3, Vote::Nobody), (2, Vote::For(NodeId(1)))]),
    ] {
        let mut renamer = Renamer::shaping((1..=4).map(NodeId).collect(), NodeId(1));
        renamer.value(&votes).expect("it comes back");
        shapes.insert(renamer.shape());
    }
    assert_eq!(shapes.len(), 4);
}
