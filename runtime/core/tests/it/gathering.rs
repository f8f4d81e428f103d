//! Events that are sent one after the other, as one effect.

use serde::{Deserialize, Serialize};
use synod_core::{Context, Effect, Envelope, Event, Fingerprint, HandlerSet, Handlers, Lane, Node};

use crate::kit::{N2, N3, node, step, trigger};

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "gather.number")]
struct Number(u64);

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "gather.text")]
struct Text(String);

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "gather.loose", unreliable)]
struct Loose(u64);

/// Asks for everything at once.
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "gather.go", local)]
struct Go;

fn sender() -> Node<HandlerSet<()>> {
    let handlers = Handlers::new().on(|(): &mut (), _: Go, ctx: &mut Context| {
        for number in 0..5 {
            ctx.send(N2, &Number(number));
        }
        ctx.send(N3, &Number(5));
        ctx.send(N2, &Number(6));
        ctx.send(N2, &Text("x".repeat(40_000)));
        for _ in 0..200 {
            ctx.send(N2, &Text("y".repeat(400)));
        }
        ctx.persist(&Number(7));
        ctx.send(N2, &Loose(8));
        ctx.send(N2, &Loose(9));
    });
    node(HandlerSet::with((), handlers.restore(|(): &mut (), _: Number| ())))
}

/// The same effects, each event by itself.
fn alone(effects: &[Effect]) -> Vec<Effect> {
    let each = effects.iter().flat_map(|effect| match effect {
        Effect::SendAll { to, lane, envelopes } => {
            let (to, lane) = (*to, Lane::Ordered(*lane));
            let envelopes: Vec<Envelope> = envelopes.envelopes().collect();
            envelopes.into_iter().map(|envelope| Effect::Send { to, lane, envelope }).collect()
        }
        other => vec![other.clone()],
    });
    each.collect()
}

#[test]
fn events_of_one_type_for_one_lane_are_gathered_and_are_what_they_were() {
    let mut gathering = sender();
    gathering.gather_sends();
    let (effects, single) = (step(&mut gathering, trigger(&Go)), step(&mut sender(), trigger(&Go)));
    assert_eq!(alone(&effects), single);
    assert_eq!(single.len(), 211);
    let sizes: Vec<usize> =
        effects.iter().map(|it| alone(std::slice::from_ref(it)).len()).collect();
    // Another node, another event type, a large event, a full batch, a record and datagrams are the
    // borders. A text has 416 bytes in its frame.
    assert_eq!(sizes, [5, 1, 1, 1, 158, 42, 1, 1, 1]);
    assert_eq!(Fingerprint::of(&Ok(()), &effects), Fingerprint::of(&Ok(()), &single));
}

#[test]
fn what_is_triggered_in_between_leaves_in_between_and_is_replayed_as_it_was() {
    let sender = || {
        node(HandlerSet::new(()).on(|(): &mut (), _: Go, ctx: &mut Context| {
            ctx.send(N2, &Number(0));
            ctx.trigger(&Text(String::from("unheard")));
            ctx.send(N2, &Number(1));
            ctx.send(N2, &Number(2));
            ctx.trigger(&Text(String::from("unheard, too")));
        }))
    };
    let mut gathering = sender();
    gathering.gather_sends();
    let (effects, single) = (step(&mut gathering, trigger(&Go)), step(&mut sender(), trigger(&Go)));
    assert_eq!(alone(&effects), single);
    assert_eq!((effects.len(), single.len()), (4, 5));
    assert_eq!(Fingerprint::of(&Ok(()), &effects), Fingerprint::of(&Ok(()), &single));
}

#[test]
fn what_a_local_event_sends_leaves_behind_what_was_indicated_before_it() {
    let sender = || {
        let handlers = HandlerSet::new(())
            .on(|(): &mut (), _: Go, ctx: &mut Context| {
                ctx.send(N2, &Number(0));
                ctx.trigger(&Text(String::from("unheard")));
                ctx.trigger(&Loose(1));
            })
            .on(|(): &mut (), Loose(number): Loose, ctx: &mut Context| {
                ctx.send(N2, &Number(number));
            });
        node(handlers)
    };
    let mut gathering = sender();
    gathering.gather_sends();
    let (effects, single) = (step(&mut gathering, trigger(&Go)), step(&mut sender(), trigger(&Go)));
    assert_eq!(alone(&effects), single);
    assert_eq!(Fingerprint::of(&Ok(()), &effects), Fingerprint::of(&Ok(()), &single));
}

/// Logs what it handles, and triggers more upon every second number.
fn listener() -> Node<HandlerSet<()>> {
    let handlers = HandlerSet::new(())
        .on(|(): &mut (), _: Go, ctx: &mut Context| {
            (0..4).for_each(|number| ctx.trigger(&Number(number)));
            ctx.trigger(&Text(String::from("between")));
            ctx.trigger(&Number(4));
            ctx.trigger(&Text("x".repeat(40_000)));
            ctx.trigger(&Text("y".repeat(40_000)));
            ctx.trigger(&Text(String::from("last")));
            ctx.trigger(&Loose(5));
        })
        .on(|(): &mut (), Number(number): Number, ctx: &mut Context| {
            ctx.log(number);
            if number < 100 && number % 2 == 0 {
                ctx.trigger(&Number(100 + number));
                ctx.trigger(&Number(200 + number));
            }
        })
        .on(|(): &mut (), Text(text): Text, ctx: &mut Context| ctx.log(text));
    node(handlers)
}

#[test]
fn events_that_are_triggered_in_a_row_are_handled_in_the_order_of_triggering() {
    let mut gathering = listener();
    gathering.gather_sends();
    let effects = step(&mut gathering, trigger(&Go));
    assert_eq!(effects, step(&mut listener(), trigger(&Go)));
    let logged = |at: usize| match &effects[at] {
        Effect::Log(line) => line.get(..7).unwrap_or(line),
        other => panic!("{other:?} at {at}"),
    };
    let first = ["0", "1", "2", "3", "between", "4", "xxxxxxx", "yyyyyyy", "last"];
    assert!((1..10).map(logged).eq(first));
    assert!((10..16).map(logged).eq(["100", "200", "102", "202", "104", "204"]));
    assert!(matches!(effects[0], Effect::Output(_)), "nobody listens to the loose one");
}

/// Triggers so many events in a row.
fn trigger_in_a_row(count: u64) -> Vec<Effect> {
    let handlers = HandlerSet::new(count)
        .on(|count: &mut u64, _: Go, ctx: &mut Context| {
            (0..*count).for_each(|number| ctx.trigger(&Number(number)));
        })
        .on(|_: &mut u64, _: Number| ());
    let mut node = node(handlers);
    node.gather_sends();
    step(&mut node, trigger(&Go))
}

#[test]
fn many_events_that_are_triggered_in_a_row_come_to_an_end() {
    assert_eq!(trigger_in_a_row(20_000), []);
}

#[test]
#[should_panic(expected = "handlers trigger each other without end")]
fn too_many_events_in_a_row_are_too_many() {
    trigger_in_a_row(1_100_000);
}
