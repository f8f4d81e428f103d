use proptest::prelude::*;

use super::*;
use crate::history::models::{Register, RegisterAnswer, RegisterCall};
use crate::history::{Consistency, History, Limit, Verdict, check};

type Call = RegisterCall<u8>;
type Event = Seen<Call, RegisterAnswer<u8>>;

fn invoked(id: u64, input: Call) -> Event {
    Seen::Invoked { client: id.to_string(), id, input }
}

fn returned(id: u64, output: Option<RegisterAnswer<u8>>) -> Event {
    Seen::Returned { id, output }
}

fn print(configurations: &Configurations<Register<u8>>) -> u128 {
    let mut hasher = Xxh3::new();
    configurations.hash(&mut hasher);
    hasher.digest128()
}

fn after(events: &[Event]) -> u128 {
    let mut configurations = Configurations::new(Register::new(0));
    events.iter().for_each(|it| configurations.see(it.clone()).expect("an order"));
    print(&configurations)
}

/// Events with at most four operations under way, from what is drawn for each.
fn events(drawn: &[(u8, Call, u8)]) -> Vec<Event> {
    let (mut events, mut under_way) = (Vec::new(), Vec::new());
    for ((turn, input, value), id) in drawn.iter().zip(0..) {
        if 3 < under_way.len() || turn % 2 == 0 && !under_way.is_empty() {
            let place = usize::from(turn / 2) % under_way.len();
            let (id, input): (u64, Call) = under_way.remove(place);
            let output = match input {
                RegisterCall::Read => RegisterAnswer::Value(value % 3),
                RegisterCall::Write(_) => RegisterAnswer::Written,
                RegisterCall::Cas { .. } => RegisterAnswer::Swapped(value % 2 == 0),
            };
            events.push(returned(id, (turn % 9 != 0).then_some(output)));
        } else {
            under_way.push((id, input.clone()));
            events.push(invoked(id, input.clone()));
        }
    }
    events
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        Just(RegisterCall::Read),
        (0..3_u8).prop_map(RegisterCall::Write),
        (0..3_u8, 0..3_u8).prop_map(|(old, new)| RegisterCall::Cas { old, new }),
    ]
}

proptest! {
    #[test]
    fn there_is_a_configuration_as_long_as_there_is_an_order(
        drawn in prop::collection::vec((any::<u8>(), call(), any::<u8>()), 1..24),
    ) {
        let mut configurations = Configurations::new(Register::new(0));
        let mut history = History::default();
        for event in events(&drawn) {
            match event.clone() {
                Seen::Invoked { client, id, input } => history.invoke(client, id, input),
                Seen::Returned { id, output } => history.returned(id, output),
            }
            .expect("a history");
            let is_possible = configurations.see(event).is_ok();
            let mut limit = Limit::none();
            let checked = check(&history, &Register::new(0), Consistency::Linearizable, &mut limit);
            prop_assert_eq!(is_possible, matches!(checked.verdict, Verdict::Consistent));
            if !is_possible {
                break;
            }
        }
    }
}

#[test]
fn runs_that_come_to_the_same_are_the_same() {
    let write = |id, value| invoked(id, RegisterCall::Write(value));
    let written = |id| returned(id, Some(RegisterAnswer::Written));
    let read = |id| invoked(id, RegisterCall::Read);
    let value = |id, value| returned(id, Some(RegisterAnswer::Value(value)));
    // Who was invoked first does not matter while nothing returned.
    assert_eq!(after(&[write(1, 7), read(2)]), after(&[read(2), write(1, 7)]));
    // What is over leaves nothing but the value.
    let long = [write(1, 7), written(1), read(2), value(2, 7), write(3, 7), written(3)];
    assert_eq!(after(&long), after(&[write(9, 7), written(9)]));
    // A read that saw the write tells that it took effect.
    let [unseen, seen] = [0, 7].map(|it| after(&[write(1, 7), read(2), value(2, it)]));
    assert_ne!(unseen, seen);
    // One that might return either way is not one that returned.
    assert_ne!(after(&[write(1, 7), read(2)]), unseen);
}

#[test]
fn what_is_no_history_is_told() {
    let mut configurations = Configurations::new(Register::new(0));
    let wrong = configurations.see(returned(1, None)).expect_err("nobody asked");
    assert_eq!(wrong, "operation 1 returns, but was never invoked");
    configurations.see(invoked(1, RegisterCall::Read)).expect("a call");
    let wrong = configurations.see(invoked(1, RegisterCall::Read)).expect_err("under way");
    assert_eq!(wrong, "operation 1 is invoked a second time");
    configurations.see(returned(1, Some(RegisterAnswer::Value(0)))).expect("an answer");
    configurations.see(invoked(1, RegisterCall::Write(3))).expect("over, so free again");
}
