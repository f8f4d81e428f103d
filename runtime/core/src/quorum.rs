//! Answers of distinct nodes to one question.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::NodeId;

/// Collects the answers to one question, one of each node, until there are enough.
///
/// A node counts once, however often it answers, and the collector says once that there are
/// enough: what comes later is not kept. Its state does not depend on the order of the answers.
///
/// ```
/// # use synod_core::{NodeId, Quorum};
/// let mut promises = Quorum::majority(3);
/// assert!(!promises.add(NodeId(1), "first"));
/// assert!(!promises.add(NodeId(1), "again"));
/// assert!(promises.add(NodeId(3), "third"));
/// assert!(!promises.add(NodeId(2), "late"));
/// ```
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Quorum<T = ()> {
    needed: usize,
    answers: BTreeMap<NodeId, T>,
}

impl<T> Quorum<T> {
    /// A question that wants the answers of `needed` nodes. If that is 0, it never has enough:
    /// nothing was asked.
    #[must_use]
    pub const fn of(needed: usize) -> Self {
        Self { needed, answers: BTreeMap::new() }
    }

    /// A question that wants the answers of more than half of `nodes` nodes.
    #[must_use]
    pub const fn majority(nodes: usize) -> Self {
        Self::of(nodes / 2 + 1)
    }

    /// Takes the answer of `from`: its first one counts. True if with this one there are enough.
    /// O(log answers).
    pub fn add(&mut self, from: NodeId, answer: T) -> bool {
        let wanted = self.answers.len() < self.needed;
        if !wanted || self.answers.contains_key(&from) {
            return false;
        }
        self.answers.insert(from, answer);
        self.is_reached()
    }

    /// Whether there are enough answers.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        0 < self.needed && self.needed <= self.answers.len()
    }

    /// Whether `node` has answered.
    #[must_use]
    pub fn has(&self, node: NodeId) -> bool {
        self.answers.contains_key(&node)
    }

    /// The answers, in the order of the nodes.
    pub fn answers(&self) -> impl Iterator<Item = &T> {
        self.answers.values()
    }
}

#[cfg(test)]
mod tests {
    use super::Quorum;
    use crate::event::NodeId;

    #[test]
    fn a_majority_is_more_than_half_at_even_and_odd_sizes() {
        for (nodes, needed) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4)] {
            let mut quorum = Quorum::majority(nodes);
            let fired: Vec<u32> = (1..=6).filter(|node| quorum.add(NodeId(*node), ())).collect();
            assert_eq!(fired, [needed], "{nodes} nodes");
        }
    }

    #[test]
    fn a_node_counts_once_and_its_first_answer_stands() {
        let mut quorum = Quorum::of(2);
        assert_eq!([1, 1, 1].map(|node| quorum.add(NodeId(node), node * 10)), [false; 3]);
        assert!(!quorum.is_reached());
        assert!(quorum.add(NodeId(2), 20));
        assert_eq!(quorum.answers().collect::<Vec<_>>(), [&10, &20]);
    }

    #[test]
    fn answers_after_the_quorum_change_nothing() {
        let mut quorum = Quorum::of(1);
        assert!(quorum.add(NodeId(3), ()));
        let reached = quorum.clone();
        assert!(!quorum.add(NodeId(1), ()));
        assert_eq!(quorum, reached);
        assert!(quorum.has(NodeId(3)) && !quorum.has(NodeId(1)));
    }

    #[test]
    fn what_was_never_asked_is_never_answered() {
        let mut quorum = Quorum::default();
        assert!(!quorum.add(NodeId(1), ()));
        assert!(!quorum.is_reached());
        assert_eq!(quorum, Quorum::default());
    }

    #[test]
    fn the_order_of_the_answers_leaves_no_trace() {
        let mut one = Quorum::of(3);
        let mut other = Quorum::of(3);
        for node in [1, 2] {
            one.add(NodeId(node), node);
            other.add(NodeId(3 - node), 3 - node);
        }
        assert_eq!(one, other);
    }
}
