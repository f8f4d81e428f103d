//! In unit tests a search counts no use of an open operation after its first steps, so that small
//! histories show whether what is not counted leads to wrong answers.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::history::models::{
    Kv, KvAnswer, KvCall, Mutex, MutexAnswer, MutexCall, Queue, QueueAnswer, QueueCall, Register,
    RegisterAnswer, RegisterCall,
};

/// What is asked and answered, whether it returns, who asks, and what returns then.
type Drawn<I, O> = (I, Option<O>, bool, u8, u8);
type Known<S> = History<<S as Specification>::Input, <S as Specification>::Output>;

fn history<I: Clone, O: Clone>(drawn: &[Drawn<I, O>]) -> History<I, O> {
    let mut history = History::default();
    let mut under_way = Vec::new();
    for ((input, output, returns, client, turn), id) in drawn.iter().zip(0..) {
        history.invoke(client.to_string(), id, input.clone()).unwrap();
        if *returns {
            under_way.push((id, output.clone()));
        }
        while 3 < under_way.len() || !under_way.is_empty() && turn % 2 == 0 {
            let (id, output) = under_way.remove(usize::from(turn / 2) % under_way.len());
            history.returned(id, output).unwrap();
            if under_way.len() < 3 {
                break;
            }
        }
    }
    history
}

/// What is to be placed: an operation, and whether it has to be.
struct Left<'a, S: Specification> {
    operation: &'a Operation<S::Input, S::Output>,
    is_kept: bool,
}

impl<S: Specification> Left<'_, S> {
    fn must_be_placed(&self, end: u64) -> bool {
        self.is_kept && self.operation.returned().is_some_and(|returned| returned <= end)
    }

    /// Whether `other` cannot come after this.
    fn is_after(&self, other: &Self, consistency: Consistency) -> bool {
        let (own, other) = (self.operation, other.operation);
        match consistency {
            Consistency::Linearizable => other.returned().is_some_and(|at| at < own.invoked),
            Consistency::Sequential => own.client == other.client && other.invoked < own.invoked,
        }
    }
}

/// Whether there is an order, by trying all. Those that are not kept may be placed or not, whatever
/// they return, and do not care when they were invoked. What did not return by `end` may be placed.
fn tried<S: Specification>(
    left: &[Left<'_, S>],
    specification: &S,
    state: &S::State,
    consistency: Consistency,
    end: u64,
) -> bool {
    if !left.iter().any(|it| it.must_be_placed(end)) {
        return true;
    }
    (0..left.len()).any(|place| {
        let next = &left[place];
        let is_early = |it: &Left<'_, S>| it.must_be_placed(end) && next.is_after(it, consistency);
        if next.is_kept && left.iter().any(is_early) {
            return false;
        }
        let output = next.operation.output().filter(|_| next.is_kept);
        let Some(after) = specification.step(state, &next.operation.input, output) else {
            return false;
        };
        let is_late =
            |it: &Left<'_, S>| next.is_kept && !it.is_kept && next.is_after(it, consistency);
        let rest = left.iter().zip(0..).filter(|(it, other)| *other != place && !is_late(it));
        let rest = rest.map(|(it, _)| Left { operation: it.operation, is_kept: it.is_kept });
        tried(&rest.collect::<Vec<_>>(), specification, &after, consistency, end)
    })
}

fn has_order<S: Specification>(
    history: &Known<S>,
    kept: impl Fn(u64) -> bool,
    specification: &S,
    start: &S::State,
    consistency: Consistency,
    end: u64,
) -> bool {
    let operations = history.operations().iter();
    let left = operations.map(|operation| Left { operation, is_kept: kept(operation.id) });
    let left: Vec<_> = left.collect();
    // What is invoked after the end came too late to matter.
    let left = left.into_iter().filter(|it| it.operation.invoked < end);
    tried(&left.collect::<Vec<_>>(), specification, start, consistency, end)
}

/// Every state that any of the operations leads to.
fn states<S: Specification>(history: &Known<S>, specification: &S) -> Vec<S::State> {
    let mut states = vec![specification.initial()];
    let mut place = 0;
    while let Some(state) = states.get(place).cloned() {
        for operation in history.operations() {
            for output in [operation.output(), None] {
                let after = specification.step(&state, &operation.input, output);
                states.extend(after.filter(|after| !states.contains(after)));
            }
        }
        place += 1;
    }
    states
}

/// Compares the checker with the definition; also the part that it says has no order.
fn agrees<S: Specification>(history: &Known<S>, specification: &S) {
    let first = specification.initial();
    for consistency in [Consistency::Linearizable, Consistency::Sequential] {
        let expected = has_order(history, |_| true, specification, &first, consistency, u64::MAX);
        let checked = check(history, specification, consistency, &mut Limit::none());
        let Verdict::Inconsistent(part) = checked.verdict else {
            assert!(matches!(checked.verdict, Verdict::Consistent));
            assert!(expected, "{consistency:?}\n{history:#?}");
            continue;
        };
        assert!(!expected, "{consistency:?}\n{history:#?}");
        if consistency == Consistency::Linearizable {
            let kept: BTreeSet<u64> = part.operations.iter().map(|it| it.id).collect();
            let starts =
                if part.starts == 1 { vec![first.clone()] } else { states(history, specification) };
            // By the return of one of its operations there is no order any more.
            let ends = part.operations.iter().filter_map(|it| it.returned);
            let has_none = |end: u64| {
                let is_kept = |id| kept.contains(&id);
                let mut starts = starts.iter();
                !starts.any(|it| has_order(history, is_kept, specification, it, consistency, end))
            };
            assert!({ ends }.any(has_none), "{kept:?} of {} starts\n{history:#?}", part.starts);
        }
    }
}

fn drawn<I: Clone + fmt::Debug, O: Clone + fmt::Debug>(
    operation: impl Strategy<Value = (I, Option<O>)>,
) -> impl Strategy<Value = Vec<Drawn<I, O>>> {
    let one = (operation, prop::bool::weighted(0.6), 0..3_u8, any::<u8>());
    let one = one.prop_map(|((input, output), returns, client, turn)| {
        (input, output, returns, client, turn)
    });
    vec(one, 1..9)
}

fn register() -> impl Strategy<Value = (RegisterCall<u8>, Option<RegisterAnswer<u8>>)> {
    prop_oneof![
        3 => (0..4_u8).prop_map(|it| (RegisterCall::Read, Some(RegisterAnswer::Value(it)))),
        1 => Just((RegisterCall::Read, None)),
        2 => (0..4_u8).prop_map(|it| (RegisterCall::Write(it), Some(RegisterAnswer::Written))),
        2 => (0..4_u8, 0..4_u8, any::<bool>()).prop_map(|(old, new, swapped)| {
            (RegisterCall::Cas { old, new }, Some(RegisterAnswer::Swapped(swapped)))
        }),
        1 => (0..4_u8, 0..4_u8).prop_map(|(old, new)| (RegisterCall::Cas { old, new }, None)),
    ]
}

fn kv() -> impl Strategy<Value = (KvCall, Option<KvAnswer>)> {
    let key = || Just(String::from("k"));
    prop_oneof![
        (key(), "x?y?x?").prop_map(|(key, it)| (KvCall::Get(key), Some(KvAnswer::Value(it)))),
        (key(), "[xy]").prop_map(|(key, it)| (KvCall::Append(key, it), Some(KvAnswer::Done))),
        (key(), "[xy]?").prop_map(|(key, it)| (KvCall::Put(key, it), Some(KvAnswer::Done))),
    ]
}

fn mutex() -> impl Strategy<Value = (MutexCall, Option<MutexAnswer>)> {
    let call = prop_oneof![Just(MutexCall::Acquire), Just(MutexCall::Release)];
    let answer =
        prop_oneof![6 => Just(Some(MutexAnswer::Done)), 1 => Just(Some(MutexAnswer::Refused))];
    (call, answer)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_register_is_judged_right_when_not_every_use_counts(drawn in drawn(register())) {
        agrees(&history(&drawn), &Register::new(0));
    }

    #[test]
    fn a_store_is_judged_right_when_not_every_use_counts(drawn in drawn(kv())) {
        // So many that the store forgets what nobody reads: it has few states then.
        let often = drawn.iter().map(|(input, output, ..)| (input, output.as_ref()));
        let often: Vec<_> = std::iter::repeat_n(often, 100).flatten().collect();
        agrees(&history(&drawn), &Kv::default().focused(&often));
    }

    #[test]
    fn a_lock_is_judged_right_when_not_every_use_counts(drawn in drawn(mutex())) {
        agrees(&history(&drawn), &Mutex);
    }
}

#[test]
fn a_read_of_unknown_answer_does_not_hide_what_a_write_before_it_could_have_done() {
    let mut history = History::default();
    let mut one = |id, input, output| {
        history.invoke("a", id, input).unwrap();
        history.returned(id, output).unwrap();
    };
    one(1, RegisterCall::Write(7), None);
    one(2, RegisterCall::Write(8), None);
    one(3, RegisterCall::Read, None);
    one(4, RegisterCall::Read, Some(RegisterAnswer::Value(7)));
    let judged =
        check(&history, &Register::new(0), Consistency::Linearizable, &mut Limit::none()).verdict;
    let Verdict::Inconsistent(part) = judged else { panic!("{judged:?}") };
    // Without the write of 8, and of 7 before the read of unknown answer, there is an order.
    assert_eq!(part.operations.iter().map(|it| it.id).collect::<Vec<_>>(), [2, 4]);
}

#[test]
fn a_queue_is_judged_though_there_is_no_end_of_its_states() {
    let mut history = History::default();
    for value in 0..6_u64 {
        history.invoke(value.to_string(), value, QueueCall::Enqueue(value)).unwrap();
    }
    (0..6).for_each(|id| history.returned(id, Some(QueueAnswer::Enqueued)).unwrap());
    for (value, id) in [5, 3, 1, 0, 2, 4].into_iter().zip(6..) {
        history.invoke("a", id, QueueCall::Dequeue).unwrap();
        history.returned(id, Some(QueueAnswer::Dequeued(value))).unwrap();
    }
    let mut limit = Limit::steps(10_000);
    let checked = check(&history, &Queue::default(), Consistency::Linearizable, &mut limit);
    assert!(matches!(checked.verdict, Verdict::Consistent), "{:?}", checked.verdict);
}

#[test]
fn the_part_is_the_smallest_also_where_an_open_operation_leads_to_ever_more_states() {
    let mut history = History::default();
    let client = |id: u64| if id < 4 { "a" } else { "b" };
    let calls = [None, None, Some(0), None, Some(0), Some(1)];
    for (value, id) in calls.into_iter().zip(0..) {
        let call = value.map_or(QueueCall::Dequeue, QueueCall::Enqueue);
        history.invoke(client(id), id, call).unwrap();
        let answer = if value.is_none() { QueueAnswer::Empty } else { QueueAnswer::Enqueued };
        if id != 3 && id != 5 {
            history.returned(id, Some(answer)).unwrap();
        }
    }
    history.returned(3, Some(QueueAnswer::Empty)).unwrap();
    let judged =
        check(&history, &Queue::default(), Consistency::Linearizable, &mut Limit::none()).verdict;
    let Verdict::Inconsistent(part) = judged else { panic!("{judged:?}") };
    assert!(part.is_minimal, "{part}");
}

#[test]
fn what_no_order_comes_to_is_told_with_all_that_was_invoked_before_its_return() {
    let k = || String::from("k");
    let done = Some(KvAnswer::Done);
    // No order comes to the first read. Seen before all orders were tried up to it, it must not be taken for the
    // second one, which returned before the last append was invoked.
    let drawn = [
        (KvCall::Get(k()), Some(KvAnswer::Value("xy".into())), true, 0, 1),
        (KvCall::Append(k(), "y".into()), done.clone(), true, 0, 103),
        (KvCall::Get(k()), Some(KvAnswer::Value("x".into())), true, 0, 14),
        (KvCall::Append(k(), "x".into()), done.clone(), true, 0, 47),
        (KvCall::Put(k(), "x".into()), done.clone(), true, 0, 74),
        (KvCall::Append(k(), "x".into()), done, false, 0, 52),
    ];
    let often = drawn.iter().map(|(input, output, ..)| (input, output.as_ref()));
    let often: Vec<_> = std::iter::repeat_n(often, 100).flatten().collect();
    agrees(&history(&drawn), &Kv::default().focused(&often));
}
