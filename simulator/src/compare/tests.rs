use proptest::prelude::*;
use synod_core::NodeId;

use super::{Comparison, Likeness, Pair, SideBySide};
use crate::trace::{MessageId, Sent, Step, StepKind, Trace};

fn trace(steps: impl IntoIterator<Item = Step>) -> Trace {
    let mut trace = Trace { algorithm: "a".into(), nodes: 3, ..Trace::default() };
    steps.into_iter().for_each(|step| trace.push(step));
    trace
}

fn arrives(event: &str, number: u64, time_us: u64) -> Step {
    Step {
        kind: StepKind::Deliver,
        node: Some(NodeId(2)),
        event: format!("a.{event}"),
        message: Some(MessageId { from: NodeId(1), number }),
        delay_us: Some(1_000),
        time_us,
        ..Step::default()
    }
}

fn starts(node: u32) -> Step {
    Step { node: Some(NodeId(node)), event: "starts".into(), ..Step::default() }
}

fn likenesses(comparison: &Comparison<'_>) -> Vec<Likeness> {
    comparison.pairs().iter().map(|pair| pair.likeness).collect()
}

#[test]
fn equal_runs_part_nowhere() {
    let run = trace([starts(1), arrives("vote", 1, 10), arrives("vote", 2, 20)]);
    let comparison = Comparison::of(&run, &run);
    assert_eq!(likenesses(&comparison), [Likeness::Equal; 3]);
    assert_eq!(comparison.parts_at(), None);
}

#[test]
fn runs_part_at_the_first_step_that_takes_another_time() {
    let one = trace([starts(1), arrives("vote", 1, 10), arrives("beat", 2, 20)]);
    let other = trace([starts(1), arrives("vote", 1, 11), arrives("beat", 2, 20)]);
    let comparison = Comparison::of(&one, &other);
    assert_eq!(likenesses(&comparison), [Likeness::Equal, Likeness::Shifted, Likeness::Equal]);
    assert_eq!(comparison.parts_at(), Some(1));
}

#[test]
fn a_step_of_one_run_stands_alone_and_what_follows_is_paired_whatever_its_numbers() {
    let one = trace([starts(1), arrives("more", 1, 5), arrives("vote", 2, 10)]);
    let other = trace([starts(1), arrives("vote", 1, 10)]);
    let comparison = Comparison::of(&one, &other);
    assert_eq!(likenesses(&comparison), [Likeness::Equal, Likeness::OnlyOne, Likeness::Equal]);
    let back = Comparison::of(&other, &one);
    assert_eq!(likenesses(&back), [Likeness::Equal, Likeness::OnlyOther, Likeness::Equal]);
}

#[test]
fn a_lost_message_is_paired_with_its_arrival() {
    let arrival = arrives("vote", 1, 10);
    let loss = Step { kind: StepKind::Lost, ..arrival.clone() };
    let (one, other) = (trace([arrival]), trace([loss]));
    assert_eq!(likenesses(&Comparison::of(&one, &other)), [Likeness::Changed]);
}

#[test]
fn a_step_that_sends_something_else_is_changed_and_its_numbers_are_not_looked_at() {
    let sends = |to, number| Step {
        sends: vec![Sent {
            id: MessageId { from: NodeId(2), number },
            to: NodeId(to),
            event: "a.reply".into(),
            payload: "Reply".into(),
            lost: None,
        }],
        ..arrives("vote", 1, 10)
    };
    let one = trace([sends(1, 1)]);
    assert_eq!(likenesses(&Comparison::of(&one, &trace([sends(1, 7)]))), [Likeness::Equal]);
    assert_eq!(likenesses(&Comparison::of(&one, &trace([sends(3, 1)]))), [Likeness::Changed]);
}

#[test]
fn what_comes_in_another_order_says_where_it_is_in_the_other_run() {
    let one = trace([starts(1), arrives("a", 1, 10), arrives("b", 2, 20), arrives("c", 3, 30)]);
    let other = trace([starts(1), arrives("c", 1, 5), arrives("a", 2, 10), arrives("b", 3, 20)]);
    let comparison = Comparison::of(&one, &other);
    let alone: Vec<_> = comparison.pairs().iter().filter_map(Pair::alone).collect();
    assert_eq!(alone, [(Likeness::OnlyOther, Some(3)), (Likeness::OnlyOne, Some(1))]);
    assert_eq!(comparison.count(Likeness::Equal), 3);
}

impl Pair<'_> {
    fn alone(&self) -> Option<(Likeness, Option<usize>)> {
        let is_alone = self.one.is_none() || self.other.is_none();
        is_alone.then_some((self.likeness, self.elsewhere))
    }
}

#[test]
fn the_picture_folds_what_is_equal_and_marks_where_the_runs_part() {
    let leads = |step| Step { state: Some("role:leader".into()), ..step };
    let begin = || [starts(1), starts(2), starts(3), arrives("vote", 1, 1_000)];
    let one = trace(begin().into_iter().chain([leads(arrives("vote", 2, 2_000))]));
    let split = Step {
        kind: StepKind::Partition,
        event: "n1 | n2 n3".into(),
        time_us: 1_500,
        ..Step::default()
    };
    let lost =
        Step { kind: StepKind::Lost, log: vec!["partition".into()], ..arrives("vote", 2, 2_000) };
    let other = trace(begin().into_iter().chain([split, lost]));
    let comparison = Comparison::of(&one, &other);
    let picture = SideBySide::of(&comparison, ["one", "other"], 80).ascii().to_string();
    let expected = "\
one                                      other
          n1  n2  n3                               n1  n2  n3
         : (2 alike)
    0.0ms |   |   *   starts                 0.0ms |   |   *   starts
    1.0ms +--->   |   vote +1.0ms            1.0ms +--->   |   vote +1.0ms
-- the runs part at step 4 -----------------------------------------------------
          |   |   |                    >     1.5ms #   #   #   partition: n1 |
          |   |   |                                |   |   |   n2 n3
    2.0ms +--->   |   vote +1.0ms [n2  !     2.0ms +---x   |   vote +1.0ms
          |   |   |   role:leader]                 |   |   |   partition
";
    assert_eq!(picture, expected);
}

#[test]
fn a_long_picture_shows_where_the_runs_part_and_how_they_end() {
    let state = |mark: &'static str| {
        move |at: u64| Step {
            state: Some(format!("{mark}:{at}")),
            ..arrives("beat", at, 10_000 + at)
        }
    };
    let end = Step { wrong: Some("two lead".into()), ..arrives("end", 99, 99_000) };
    let begin = || (0..50).map(|at| arrives("vote", at, at));
    let one = trace(begin().chain((0..100).map(state("one"))).chain([end]));
    let other = trace(begin().chain((0..100).map(state("other"))));
    let comparison = Comparison::of(&one, &other);
    let picture = SideBySide::of(&comparison, ["one", "other"], 100).to_string();
    assert!(picture.lines().count() <= 40, "{picture}");
    for words in ["(48 alike)", "the runs part at step 50", "one:0", "more rows)", "✗ two"] {
        assert!(picture.contains(words), "{words}: {picture}");
    }
    let full = SideBySide::of(&comparison, ["one", "other"], 100).full().to_string();
    assert!(151 <= full.lines().count() && full.contains("other:99"), "{full}");
}

#[test]
fn without_room_for_lanes_the_nodes_are_named() {
    let mut one = trace([starts(1), arrives("vote", 1, 1_000)]);
    one.nodes = 8;
    let other = trace([starts(1)]);
    let comparison = Comparison::of(&one, &other);
    let picture = SideBySide::of(&comparison, ["one", "other"], 80).to_string();
    assert!(picture.contains("n1>n2 vote +1.0ms"), "{picture}");
}

fn run() -> impl Strategy<Value = Trace> {
    let step = (0..4_usize, 0..3_u64, any::<bool>()).prop_map(|(event, time_us, is_lost)| {
        let name = ["vote", "beat", "a\u{202e}b c", "very-long-name-of-an-event-that-never-ends"];
        let mut step = arrives(name.get(event).expect("a name"), 1, time_us);
        if is_lost {
            step.kind = StepKind::Lost;
        }
        step
    });
    proptest::collection::vec(step, 0..40).prop_map(trace)
}

proptest! {
    #[test]
    fn every_step_of_both_runs_stands_in_one_pair_and_in_order(one in run(), other in run()) {
        let comparison = Comparison::of(&one, &other);
        let steps = |side: fn(&Pair<'_>) -> Option<usize>| -> Vec<usize> {
            comparison.pairs().iter().filter_map(side).collect()
        };
        let left = steps(|pair| pair.one.map(|step| step.index));
        let right = steps(|pair| pair.other.map(|step| step.index));
        prop_assert_eq!(left, (0..one.steps.len()).collect::<Vec<_>>());
        prop_assert_eq!(right, (0..other.steps.len()).collect::<Vec<_>>());
        let back = Comparison::of(&other, &one);
        prop_assert_eq!(comparison.pairs().len(), back.pairs().len());
        prop_assert_eq!(comparison.parts_at(), back.parts_at());
    }

    #[test]
    fn no_line_is_wider_than_asked_for(one in run(), other in run(), width in 60..140_usize) {
        let comparison = Comparison::of(&one, &other);
        for picture in [SideBySide::of(&comparison, ["one", "other"], width),
                        SideBySide::of(&comparison, ["one", "other"], width).full()] {
            for line in picture.to_string().lines() {
                prop_assert!(line.chars().count() <= width, "{}", line);
                let is_visible = !line.contains('\u{202e}');
                prop_assert!(is_visible);
            }
        }
        let short = SideBySide::of(&comparison, ["one", "other"], width).ascii().to_string();
        prop_assert!(short.is_ascii() && short.lines().count() <= 40, "{}", short);
    }
}
