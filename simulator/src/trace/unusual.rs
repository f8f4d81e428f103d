//! Which messages came in an unusual way: late, after one that was sent later, or a second time. A picture says so, and
//! does not fold them.

use std::collections::{BTreeMap, BTreeSet};

use synod_core::NodeId;

use super::{MessageId, Step, StepKind, Trace};

/// Where no delay is that of most messages, one of so many times the median is late.
const TIMES_MEDIAN: u64 = 4;

/// What is unusual about the deliveries of a trace, by the numbers of their steps.
#[derive(Debug, Default)]
pub(crate) struct Unusual(BTreeMap<usize, &'static str>);

impl Unusual {
    /// O(n log n) in the steps.
    pub(crate) fn of(trace: &Trace) -> Self {
        let deliveries = || trace.steps.iter().filter(|it| it.kind == StepKind::Deliver);
        let usual_us = usual_us(deliveries().filter_map(|it| it.delay_us).collect());
        let mut last: BTreeMap<(NodeId, NodeId), u64> = BTreeMap::new();
        let mut arrived: BTreeSet<(MessageId, NodeId)> = BTreeSet::new();
        let mut unusual = Self::default();
        for step in deliveries() {
            let (Some(message), Some(to)) = (step.message, step.node) else { continue };
            let is_late = step.delay_us.is_some_and(|it| usual_us < it);
            let latest = last.entry((message.from, to)).or_default();
            let word = match (arrived.insert((message, to)), message.number < *latest) {
                (false, _) => Some("again"),
                (true, true) if is_late => Some("late, overtaken"),
                (true, true) => Some("overtaken"),
                (true, false) => is_late.then_some("late"),
            };
            *latest = message.number.max(*latest);
            unusual.0.extend(word.map(|word| (step.index, word)));
        }
        unusual
    }

    /// What is unusual about how the message of a step came, if anything.
    pub(crate) fn word(&self, step: &Step) -> Option<&'static str> {
        self.0.get(&step.index).copied()
    }
}

/// How long messages take that are not late: what most of them take, as in a shrunk run, where only some decisions
/// are left; elsewhere a few times the median.
fn usual_us(mut delays: Vec<u64>) -> u64 {
    delays.sort_unstable();
    let Some(median) = delays.get(delays.len() / 2).copied() else { return u64::MAX };
    let alike = delays.iter().filter(|it| **it == median).count();
    if delays.len() < 2 * alike { median } else { median.saturating_mul(TIMES_MEDIAN) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A delivery from n1 to n2: which of its messages, and how long it took.
    fn words(deliveries: &[(u64, u64)]) -> Vec<Option<&'static str>> {
        let mut trace = Trace { nodes: 2, ..Trace::default() };
        for (number, delay_us) in deliveries {
            trace.push(Step {
                kind: StepKind::Deliver,
                node: Some(NodeId(2)),
                message: Some(MessageId { from: NodeId(1), number: *number }),
                delay_us: Some(*delay_us),
                ..Step::default()
            });
        }
        let unusual = Unusual::of(&trace);
        trace.steps.iter().map(|step| unusual.word(step)).collect()
    }

    #[test]
    fn where_most_messages_take_one_time_a_longer_one_is_late() {
        let deliveries = [(1, 1_000), (2, 1_000), (4, 1_000), (5, 1_000), (3, 1_001), (6, 1_002)];
        let none = [None; 4];
        assert_eq!(
            words(&deliveries),
            [&none[..], &[Some("late, overtaken"), Some("late")]].concat()
        );
    }

    #[test]
    fn where_all_differ_one_of_several_times_the_median_is_late() {
        let deliveries = [(1, 1_000), (2, 2_000), (3, 3_000), (5, 8_000), (4, 12_001)];
        let late = [None, None, None, None, Some("late, overtaken")];
        assert_eq!(words(&deliveries), late);
        let deliveries = [(1, 1_000), (3, 2_000), (2, 3_000), (4, 4_000)];
        assert_eq!(words(&deliveries), [None, None, Some("overtaken"), None]);
    }

    #[test]
    fn a_second_arrival_is_told() {
        assert_eq!(words(&[(1, 5), (1, 5), (2, 5)]), [None, Some("again"), None]);
        assert!(words(&[]).is_empty());
    }
}
