//! What comes back after a crash, and what does not.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Context, Effect, Envelope, Event, EventId, HandlerSet, Handlers, Input, NodeId,
    StepError,
};

use crate::kit::{N2, SECOND, deliver, fingerprint, logs, node, step};

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "recovery.wrote", local)]
struct Wrote(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "recovery.all", local)]
struct All(Vec<u32>);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "recovery.write")]
struct Write(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "recovery.shrink")]
struct Shrink;

/// A list that is durable item by item, and shrinks its log when told to.
#[derive(Clone, Debug, Default, Hash)]
struct List {
    items: Vec<u32>,
    starts: u32,
}

impl Algorithm for List {
    const NAME: &'static str = "recovery.list";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::write)
            .on(Self::shrink)
            .restore(Self::wrote)
            .restore(Self::restore_all)
    }

    fn start(&mut self, ctx: &mut Context) {
        self.starts += 1;
        ctx.log(format_args!("started with {:?}", self.items));
    }
}

impl List {
    fn write(&mut self, Write(item): Write, ctx: &mut Context) {
        ctx.persist(&Wrote(item));
        self.items.push(item);
    }

    fn shrink(&mut self, _: Shrink, ctx: &mut Context) {
        ctx.checkpoint(&All(self.items.clone()));
    }

    /// Asks for everything that must not leak from a recovery.
    fn wrote(&mut self, Wrote(item): Wrote, from: NodeId, ctx: &mut Context) {
        assert_eq!(from, ctx.me());
        self.items.push(item);
        ctx.broadcast(&Write(item));
        ctx.persist(&Wrote(item));
        ctx.trigger(&Wrote(item));
        ctx.after(SECOND, &Wrote(item));
        ctx.log("restored");
    }

    fn restore_all(&mut self, All(items): All) {
        self.items = items;
    }
}

fn recover(records: Vec<Envelope>) -> Input {
    Input::Recover(records)
}

#[test]
fn the_start_comes_before_any_event_and_after_the_records() {
    let mut fresh = node(List::default());
    assert_eq!(logs(&step(&mut fresh, Input::Start)), ["started with []"]);
    let mut back = node(List::default());
    let records = vec![Envelope::seal(&Wrote(3)), Envelope::seal(&Wrote(1))];
    assert_eq!(logs(&step(&mut back, recover(records))), ["started with [3, 1]"]);
    assert_eq!(back.stack().starts, 1);
}

#[test]
fn nothing_leaks_from_restoring_records() {
    let mut node = node(List::default());
    let effects = step(&mut node, recover(vec![Envelope::seal(&Wrote(3))]));
    assert_eq!(effects, [Effect::Log(String::from("started with [3]"))]);
    assert_eq!(node.timers().count(), 0);
}

#[test]
fn what_a_node_made_durable_brings_its_state_back() {
    let mut before = node(List::default());
    step(&mut before, Input::Start);
    let mut disk = Vec::new();
    for item in [4, 8, 15] {
        for effect in step(&mut before, deliver(N2, &Write(item))) {
            match effect {
                Effect::Persist(record) => disk.push(record),
                other => panic!("an effect that was not asked for: {other:?}"),
            }
        }
    }
    let mut after = node(List::default());
    step(&mut after, recover(disk));
    assert_eq!(after.stack().items, [4, 8, 15]);
    assert_eq!(fingerprint(after.stack()), fingerprint(before.stack()));
}

#[test]
fn a_checkpoint_names_the_records_that_it_stands_for() {
    let mut node = node(List { items: vec![4, 8], starts: 0 });
    let effects = step(&mut node, deliver(N2, &Shrink));
    let mut replaces = [Wrote::ID, All::ID];
    replaces.sort();
    let record = Envelope::seal(&All(vec![4, 8]));
    assert_eq!(effects, [Effect::Checkpoint { record, replaces: Arc::new(replaces) }]);
}

#[test]
fn a_checkpoint_stands_only_for_the_records_of_its_own_algorithm() {
    let other = Handlers::new().restore(|(): &mut (), _: All| ());
    let other = other.on(|(): &mut (), _: Shrink, ctx: &mut Context| {
        ctx.checkpoint(&All(Vec::new()));
    });
    let mut node = node((List::default(), HandlerSet::with((), other)));
    let effects = step(&mut node, deliver(N2, &Shrink));
    let replaced: Vec<usize> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Checkpoint { replaces, .. } => Some(replaces.len()),
            _ => None,
        })
        .collect();
    assert_eq!(replaced, [2, 1]);
}

#[test]
fn later_records_are_restored_on_top_of_a_checkpoint() {
    let mut node = node(List::default());
    let records = vec![Envelope::seal(&All(vec![1, 2])), Envelope::seal(&Wrote(3))];
    step(&mut node, recover(records));
    assert_eq!(node.stack().items, [1, 2, 3]);
}

#[test]
fn each_algorithm_of_a_node_gets_its_own_records_and_those_that_it_shares() {
    let table = Handlers::new().restore(|sum: &mut u32, Wrote(item): Wrote| *sum += item);
    let mut node = node((List::default(), HandlerSet::with(0, table)));
    let records = vec![Envelope::seal(&Wrote(3)), Envelope::seal(&All(vec![9]))];
    step(&mut node, recover(records));
    assert_eq!(node.stack().0.items, [9]);
    assert_eq!(*node.stack().1.state(), 3);
}

#[test]
#[should_panic(expected = "`recovery.unread` is to be durable, and no handler restores it")]
fn what_no_handler_restores_is_not_made_durable() {
    #[derive(Event, Debug, Serialize, Deserialize)]
    #[event(name = "recovery.unread", local)]
    struct Unread;
    let table = Handlers::new().restore(|(): &mut (), _: Wrote| ());
    let table = table.on(|(): &mut (), _: Shrink, ctx: &mut Context| ctx.persist(&Unread));
    step(&mut node(HandlerSet::with((), table)), deliver(N2, &Shrink));
}

fn refusal(record: Envelope) -> StepError {
    let mut node = node(List::default());
    let mut out = Vec::new();
    let records = vec![Envelope::seal(&Wrote(1)), record];
    let error = node.step(SECOND, &recover(records), &mut out).expect_err("the record is foreign");
    assert_eq!(out, []);
    error
}

#[test]
fn a_record_that_nobody_restores_refuses_to_run() {
    assert_eq!(refusal(Envelope::seal(&Write(1))), StepError::Unhandled(Write::ID));
    let foreign = Envelope::from_parts(
        EventId::of("recovery.unknown"),
        synod_core::Instance::ROOT,
        synod_core::Tag::Plain,
        bytes::Bytes::new(),
    );
    assert_eq!(refusal(foreign), StepError::Unhandled(EventId::of("recovery.unknown")));
}

#[test]
fn a_record_of_an_instance_that_does_not_exist_refuses_to_run() {
    let record = Envelope::seal(&Wrote(1)).addressed_to(synod_core::Instance::of_key(4));
    assert_eq!(refusal(record), StepError::Unhandled(Wrote::ID));
}

#[test]
fn a_damaged_record_refuses_to_run_and_blames_the_node_itself() {
    let damaged = Envelope::from_parts(
        All::ID,
        synod_core::Instance::ROOT,
        synod_core::Tag::Plain,
        bytes::Bytes::from_static(&[5, 1]),
    );
    let StepError::Decode { event, from, cause } = refusal(damaged) else {
        panic!("the record was not taken for damaged");
    };
    assert_eq!(
        (event, from, cause.to_string().as_str()),
        ("recovery.all", crate::kit::N1, "the bytes end too early")
    );
}
