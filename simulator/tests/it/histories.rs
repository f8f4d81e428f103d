//! Histories are judged as the definition says: by trying every order.

use proptest::collection::vec;
use proptest::prelude::*;
use synod_simulator::history::models::{
    Access, Kv, KvAnswer, KvCall, MultiRegister, Mutex, MutexAnswer, MutexCall, Queue, QueueAnswer,
    QueueCall, Register, RegisterAnswer, RegisterCall, Set, SetAnswer, SetCall,
};
use synod_simulator::history::{
    Consistency, History, Limit, Limited, Operation, Specification, Verdict, check,
};

/// An operation as the generator makes it: the client, what it asks, what it gets, and how events
/// interleave.
type Drawn<I, O> = (u8, I, Option<O>, u8);

/// Makes a history: each client has one operation under way at a time, and some never return.
fn history<I: Clone, O: Clone>(drawn: &[Drawn<I, O>]) -> History<I, O> {
    let mut history = History::default();
    let mut under_way: Vec<(u8, u64, Option<O>)> = Vec::new();
    for ((client, input, output, turn), id) in drawn.iter().zip(0..) {
        let returns = under_way.iter().position(|(other, ..)| other == client);
        // What the client has under way returns, or stays open if its turn says so.
        if let Some(place) = returns {
            let (_, id, output) = under_way.remove(place);
            if turn % 8 != 0 {
                history.returned(id, output).expect("it is under way");
            }
        }
        history.invoke(client.to_string(), id, input.clone()).expect("a new number");
        under_way.push((*client, id, output.clone()));
        if turn % 3 == 0 {
            let place = usize::from(turn / 3) % under_way.len();
            let (_, id, output) = under_way.remove(place);
            history.returned(id, output).expect("it is under way");
        }
    }
    for (client, id, output) in under_way {
        if client % 2 == 0 {
            history.returned(id, output).expect("it is under way");
        }
    }
    history
}

/// Whether there is an order, by trying all of them.
fn tried<S: Specification>(
    left: &[&Operation<S::Input, S::Output>],
    specification: &S,
    state: &S::State,
    consistency: Consistency,
) -> bool {
    if left.iter().all(|it| it.returned().is_none()) {
        return true;
    }
    left.iter().enumerate().any(|(place, next)| {
        let is_before = |other: &Operation<S::Input, S::Output>| match consistency {
            Consistency::Linearizable => other.returned().is_some_and(|at| at < next.invoked),
            Consistency::Sequential => {
                other.returned().is_some()
                    && other.client == next.client
                    && other.invoked < next.invoked
            }
        };
        if left.iter().any(|other| is_before(other)) {
            return false;
        }
        let Some(after) = specification.step(state, &next.input, next.output()) else {
            return false;
        };
        let mut rest = left.to_vec();
        rest.remove(place);
        tried(&rest, specification, &after, consistency)
    })
}

/// Compares the checker with the definition, as the specification is and focused on the history.
fn agrees<S: Specification>(history: &History<S::Input, S::Output>, specification: &S) {
    let all: Vec<_> = history.operations().iter().collect();
    // So many that the specification does forget what cannot be told apart.
    let often: Vec<_> =
        (0..100).flat_map(|_| all.iter().map(|it| (&it.input, it.output()))).collect();
    for consistency in [Consistency::Linearizable, Consistency::Sequential] {
        let expected = tried(&all, specification, &specification.initial(), consistency);
        for specification in [specification.clone(), specification.focused(&often)] {
            let checked = check(history, &specification, consistency, &mut Limit::none());
            let found = match &checked.verdict {
                Verdict::Consistent => true,
                Verdict::Inconsistent(part) => {
                    assert!(!part.operations.is_empty() && part.is_minimal, "{part}");
                    false
                }
                Verdict::Unknown(limited) => panic!("{limited}"),
            };
            assert_eq!(found, expected, "{consistency:?}\n{history:#?}");
        }
    }
}

fn drawn<I, O>(
    operation: impl Strategy<Value = (I, Option<O>)>,
) -> impl Strategy<Value = Vec<Drawn<I, O>>>
where
    I: std::fmt::Debug,
    O: std::fmt::Debug,
{
    let one = (0..4_u8, operation, any::<u8>());
    vec(one.prop_map(|(client, (input, output), turn)| (client, input, output, turn)), 1..8)
}

fn register() -> impl Strategy<Value = (RegisterCall<u8>, Option<RegisterAnswer<u8>>)> {
    prop_oneof![
        (0..3_u8).prop_map(|it| (RegisterCall::Read, Some(RegisterAnswer::Value(it)))),
        Just((RegisterCall::Read, None)),
        (0..3_u8).prop_map(|it| (RegisterCall::Write(it), Some(RegisterAnswer::Written))),
        (0..3_u8, 0..3_u8, any::<bool>()).prop_map(|(old, new, swapped)| {
            (RegisterCall::Cas { old, new }, Some(RegisterAnswer::Swapped(swapped)))
        }),
        (0..3_u8, 0..3_u8).prop_map(|(old, new)| (RegisterCall::Cas { old, new }, None)),
    ]
}

fn kv() -> impl Strategy<Value = (KvCall, Option<KvAnswer>)> {
    let key = || "[ab]";
    prop_oneof![
        (key(), "x?y?x?").prop_map(|(key, it)| (KvCall::Get(key), Some(KvAnswer::Value(it)))),
        (key(), "[xy]").prop_map(|(key, it)| (KvCall::Append(key, it), Some(KvAnswer::Done))),
        (key(), "[xy]?").prop_map(|(key, it)| (KvCall::Put(key, it), Some(KvAnswer::Done))),
    ]
}

type Several = (Vec<Access<u8, u8>>, Option<Vec<Option<u8>>>);

fn several() -> impl Strategy<Value = Several> {
    let access = (0..3_u8, 0..2_u8, any::<bool>(), proptest::option::of(0..2_u8));
    vec(access, 1..3).prop_map(|accesses| {
        let reads = accesses.iter().filter(|it| it.2).map(|it| it.3).collect();
        let asked = accesses.iter().map(|(key, value, reads, _)| match reads {
            true => Access::Read(*key),
            false => Access::Write(*key, *value),
        });
        (asked.collect(), Some(reads))
    })
}

fn queue() -> impl Strategy<Value = (QueueCall<u8>, Option<QueueAnswer<u8>>)> {
    prop_oneof![
        (0..3_u8).prop_map(|it| (QueueCall::Enqueue(it), Some(QueueAnswer::Enqueued))),
        (0..3_u8).prop_map(|it| (QueueCall::Dequeue, Some(QueueAnswer::Dequeued(it)))),
        Just((QueueCall::Dequeue, Some(QueueAnswer::Empty))),
        Just((QueueCall::Dequeue, None)),
    ]
}

fn mutex() -> impl Strategy<Value = (MutexCall, Option<MutexAnswer>)> {
    let call = prop_oneof![Just(MutexCall::Acquire), Just(MutexCall::Release)];
    let answer = prop_oneof![
        6 => Just(Some(MutexAnswer::Done)),
        1 => Just(Some(MutexAnswer::Refused)),
        1 => Just(None),
    ];
    (call, answer)
}

fn set() -> impl Strategy<Value = (SetCall<u8>, Option<SetAnswer<u8>>)> {
    prop_oneof![
        (0..3_u8).prop_map(|it| (SetCall::Add(it), Some(SetAnswer::Done))),
        (0..3_u8).prop_map(|it| (SetCall::Remove(it), Some(SetAnswer::Done))),
        (0..3_u8, any::<bool>())
            .prop_map(|(it, found)| (SetCall::Contains(it), Some(SetAnswer::Found(found)))),
        vec(0..3_u8, 0..3).prop_map(|mut members| {
            members.sort_unstable();
            (SetCall::Read, Some(SetAnswer::Members(members)))
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(700))]

    #[test]
    fn a_register_is_judged_as_by_trying_every_order(drawn in drawn(register())) {
        agrees(&history(&drawn), &Register::new(0));
    }

    #[test]
    fn a_store_is_judged_as_by_trying_every_order(drawn in drawn(kv())) {
        agrees(&history(&drawn), &Kv::default());
    }

    #[test]
    fn several_registers_are_judged_as_by_trying_every_order(drawn in drawn(several())) {
        agrees(&history(&drawn), &MultiRegister::new([(0, 1)].into(), 0));
    }

    #[test]
    fn a_queue_is_judged_as_by_trying_every_order(drawn in drawn(queue())) {
        agrees(&history(&drawn), &Queue::default());
    }

    #[test]
    fn a_lock_is_judged_as_by_trying_every_order(drawn in drawn(mutex())) {
        agrees(&history(&drawn), &Mutex);
    }

    #[test]
    fn a_set_is_judged_as_by_trying_every_order(drawn in drawn(set())) {
        agrees(&history(&drawn), &Set::default());
    }
}

/// An operation on a queue: the client, its invocation, its return, what was asked and answered.
type OnQueue = (&'static str, u64, u64, QueueCall<char>, QueueAnswer<char>);

fn queue_of(events: &[OnQueue]) -> [bool; 2] {
    let mut history = History::default();
    let end = events.iter().map(|it| it.2).max().unwrap_or(0);
    for at in 0..=end {
        for ((client, invoked, returned, call, answer), id) in events.iter().zip(0..) {
            if *invoked == at {
                history.invoke(*client, id, call.clone()).expect("a new number");
            }
            if *returned == at {
                history.returned(id, Some(answer.clone())).expect("it is under way");
            }
        }
    }
    [Consistency::Linearizable, Consistency::Sequential].map(|consistency| {
        let checked = check(&history, &Queue::default(), consistency, &mut Limit::none());
        matches!(checked.verdict, Verdict::Consistent)
    })
}

// Herlihy and Wing 1990, section 1.2: queues of their figure 1.
#[test]
fn the_queues_of_herlihy_and_wing_are_judged_as_they_say() {
    let enqueue =
        |client, from, to, it| (client, from, to, QueueCall::Enqueue(it), QueueAnswer::Enqueued);
    let dequeue =
        |client, from, to, it| (client, from, to, QueueCall::Dequeue, QueueAnswer::Dequeued(it));
    // x and y are taken in at the same time, and given away in either order.
    let a = [
        enqueue("a", 0, 2, 'x'),
        enqueue("b", 1, 4, 'y'),
        dequeue("b", 5, 8, 'x'),
        dequeue("a", 6, 7, 'y'),
        enqueue("a", 9, 10, 'z'),
    ];
    assert_eq!(queue_of(&a), [true, true]);
    // y was taken in after x was, and is given away first.
    let b = [enqueue("a", 0, 1, 'x'), enqueue("b", 2, 3, 'y'), dequeue("a", 4, 5, 'y')];
    assert_eq!(queue_of(&b), [false, true]);
    // x is given away while it is taken in.
    let c = [enqueue("a", 0, 3, 'x'), dequeue("b", 1, 2, 'x')];
    assert_eq!(queue_of(&c), [true, true]);
    // y is given away twice.
    let d = [
        enqueue("a", 0, 2, 'x'),
        enqueue("b", 1, 3, 'y'),
        dequeue("a", 4, 7, 'y'),
        dequeue("c", 5, 6, 'y'),
    ];
    assert_eq!(queue_of(&d), [false, false]);
}

/// A history of a register with `clients` clients and `length` operations, of which some never
/// return, as a register would have it; and if asked for, with a stale read at its end.
fn long(
    clients: u64,
    length: u64,
    open_every: u64,
    stale: bool,
) -> History<RegisterCall<u64>, RegisterAnswer<u64>> {
    let mut history = History::default();
    let mut random = synod_core::Random::new(7);
    let mut held = 0;
    let mut under_way: Vec<(u64, RegisterCall<u64>)> = Vec::new();
    for id in 0..length {
        let client = random.below(clients);
        let call = match random.below(3) {
            0 => RegisterCall::Read,
            1 => RegisterCall::Write(random.below(5)),
            _ => RegisterCall::Cas { old: random.below(5), new: random.below(5) },
        };
        history.invoke(format!("{client}-{id}"), id, call.clone()).expect("a new number");
        under_way.push((id, call));
        while clients <= under_way.len() as u64 {
            let place = usize::try_from(random.below(clients)).expect("few");
            let (id, call) = under_way.remove(place);
            let answer = match call {
                RegisterCall::Read => RegisterAnswer::Value(held),
                RegisterCall::Write(value) => {
                    held = value;
                    RegisterAnswer::Written
                }
                RegisterCall::Cas { old, new } => {
                    let swaps = held == old;
                    held = if swaps { new } else { held };
                    RegisterAnswer::Swapped(swaps)
                }
            };
            if id % open_every != 0 {
                history.returned(id, Some(answer)).expect("it is under way");
            }
        }
    }
    if stale {
        history.invoke("late", length, RegisterCall::Read).expect("a new number");
        history.returned(length, Some(RegisterAnswer::Value(99))).expect("it is under way");
    }
    history
}

#[test]
fn a_thousand_operations_of_ten_clients_take_few_steps_also_with_many_open_ones() {
    for open_every in [10, 50, 2_000] {
        let judged = |stale| {
            let history = long(10, 1_000, open_every, stale);
            let mut limit = Limit::steps(3_000_000);
            check(&history, &Register::new(0), Consistency::Linearizable, &mut limit)
        };
        let good = judged(false);
        assert!(matches!(good.verdict, Verdict::Consistent), "{open_every}: {:?}", good.steps);
        assert!(good.steps < 100_000, "{open_every}: {}", good.steps);
        // Every order of the rest has to be tried, and of what is open, too.
        if open_every < 50 {
            continue;
        }
        match judged(true).verdict {
            Verdict::Inconsistent(part) => {
                assert_eq!(part.operations.len(), 1, "only the read that nobody wrote: {part}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_limit_ends_the_search_without_an_answer() {
    let history = long(10, 500, 10, false);
    let judge = |limit: &mut Limit<'_>| {
        check(&history, &Register::new(0), Consistency::Linearizable, limit).verdict
    };
    let is_unknown = |verdict| matches!(verdict, Verdict::Unknown(Limited::Effort));
    assert!(is_unknown(judge(&mut Limit::steps(100))));
    assert!(is_unknown(judge(&mut Limit::until(&mut || true))));
    assert!(matches!(judge(&mut Limit::none()), Verdict::Consistent));
}

#[test]
fn an_answer_is_matched_by_number_and_never_taken_twice() {
    let mut history = History::<(), ()>::default();
    history.invoke("a", 1, ()).unwrap();
    assert!(history.invoke("b", 1, ()).is_err());
    history.returned(1, None).unwrap();
    assert_eq!(
        history.returned(1, None).unwrap_err().to_string(),
        "operation 1 returns a second time"
    );
    assert!(history.returned(2, None).is_err() && history.failed(1).is_err());
    history.invoke("a", 2, ()).unwrap();
    history.invoke("a", 3, ()).unwrap();
    history.failed(2).unwrap();
    history.returned(3, None).unwrap();
    assert_eq!(history.operations().len(), 2);
    assert!(history.operation(2).is_none() && history.operation(3).is_some());
}
