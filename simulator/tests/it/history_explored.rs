//! What monitors remember is a part of the states of an exploration: clients' histories above all.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Context, Envelope, Event, Handlers, NodeId, Order, Property, Quorum, Verdict,
};
use synod_simulator::history::Seen;
use synod_simulator::history::linearizable;
use synod_simulator::history::models::{Register, RegisterAnswer, RegisterCall};
use synod_simulator::{Exploration, Explored, Scenario, Simulation, explore, replay};

use crate::kit::{N1, N2, N3, calm_bounds, ms};

/// A register whose replicas keep the highest value they were sent; only n1 writes.
#[derive(Clone, Debug, Default, Hash)]
struct Replicated {
    /// Whether a read stores what it has found before it returns.
    writes_back: bool,
    kept: u8,
    /// What is asked for, the first one under way.
    waiting: VecDeque<Option<u8>>,
    operation: u64,
    found: Quorum<u8>,
    stored: Quorum,
    result: u8,
}

/// The application asks for a write, or for a read.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "replicated.begin", local)]
struct Begin(Option<u8>);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "replicated.query")]
struct Query(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "replicated.found")]
struct Found(u64, u8);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "replicated.store")]
struct Store(u64, u8);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "replicated.stored")]
struct Stored(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "replicated.invoked", local)]
struct Invoked(u64, Option<u8>);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "replicated.returned", local)]
struct Returned(u64, u8);

impl Algorithm for Replicated {
    const NAME: &'static str = "replicated";
    const ORDER: Order = Order::PerEvent;

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::begin)
            .on(|it: &mut Self, Query(operation): Query, from: NodeId, ctx: &mut Context| {
                ctx.send(from, &Found(operation, it.kept));
            })
            .on(Self::found)
            .on(|it: &mut Self, Store(operation, value): Store, from: NodeId, ctx: &mut Context| {
                it.kept = it.kept.max(value);
                ctx.send(from, &Stored(operation));
            })
            .on(Self::stored)
    }
}

impl Replicated {
    fn begin(&mut self, Begin(write): Begin, ctx: &mut Context) {
        self.waiting.push_back(write);
        if self.waiting.len() == 1 {
            self.invoke(ctx);
        }
    }

    fn invoke(&mut self, ctx: &mut Context) {
        let Some(write) = self.waiting.front() else {
            return;
        };
        self.operation += 1;
        ctx.trigger(&Invoked(number(ctx, self.operation), *write));
        match *write {
            Some(value) => self.store(value, ctx),
            None => {
                self.found = Quorum::majority(ctx.peers().len());
                ctx.broadcast(&Query(self.operation));
            }
        }
    }

    fn found(&mut self, Found(operation, value): Found, from: NodeId, ctx: &mut Context) {
        if operation != self.operation || !self.found.add(from, value) {
            return;
        }
        let highest = self.found.answers().copied().max().unwrap_or_default();
        self.found = Quorum::default();
        if self.writes_back {
            self.store(highest, ctx);
        } else {
            self.result = highest;
            self.finish(ctx);
        }
    }

    fn store(&mut self, value: u8, ctx: &mut Context) {
        self.result = value;
        self.stored = Quorum::majority(ctx.peers().len());
        ctx.broadcast(&Store(self.operation, value));
    }

    fn stored(&mut self, Stored(operation): Stored, from: NodeId, ctx: &mut Context) {
        if operation == self.operation && self.stored.add(from, ()) {
            self.stored = Quorum::default();
            self.finish(ctx);
        }
    }

    fn finish(&mut self, ctx: &mut Context) {
        ctx.trigger(&Returned(number(ctx, self.operation), self.result));
        self.waiting.pop_front();
        self.invoke(ctx);
    }
}

/// What no other operation of the run is called.
fn number(ctx: &Context, operation: u64) -> u64 {
    100 * u64::from(ctx.me().0) + operation
}

fn observe(node: NodeId, told: &Envelope) -> Option<Seen<RegisterCall<u8>, RegisterAnswer<u8>>> {
    if let Ok(Invoked(id, write)) = told.open() {
        let input = write.map_or(RegisterCall::Read, RegisterCall::Write);
        return Some(Seen::Invoked { client: node.to_string(), id, input });
    }
    let Returned(id, value) = told.open().ok()?;
    let is_write = id / 100 == u64::from(N1.0);
    let answer = if is_write { RegisterAnswer::Written } else { RegisterAnswer::Value(value) };
    Some(Seen::Returned { id, output: Some(answer) })
}

/// n1 writes, n2 reads twice.
fn scenario(writes_back: bool) -> Scenario<Replicated> {
    Scenario::of(move |_| Replicated { writes_back, ..Replicated::default() })
        .property(linearizable("clients see one register", Register::new(0), observe))
        .trigger(N1, ms(0), &Begin(Some(1)))
        .trigger(N2, ms(0), &Begin(None))
        .trigger(N2, ms(0), &Begin(None))
}

#[test]
fn a_read_that_stores_nothing_may_be_followed_by_one_that_reads_less() {
    let scenario = scenario(false);
    let explored = explore(&scenario, &calm_bounds(3));
    let failure = explored.expect_failure();
    assert_eq!(failure.violation.property, "clients see one register");
    for part in ["read → 1", "read → 0", "has no place"] {
        assert!(failure.violation.reason.contains(part), "{part}: {}", failure.violation.reason);
    }
    let again = replay(&scenario, &failure.schedule);
    let found = again.violation.expect("the same run");
    assert_eq!(found.reason, failure.violation.reason, "with the picture of the history");
    let deep = Exploration::new(&scenario, calm_bounds(3)).depth_first().run();
    assert_eq!(deep.expect_failure().violation.property, "clients see one register");
}

#[test]
fn a_read_that_stores_what_it_found_is_linearizable_in_every_schedule() {
    let explored = explore(&scenario(true), &calm_bounds(3));
    explored.expect_complete();
    assert!(explored.skipped.is_empty(), "{:?}", explored.skipped);
    let without = Scenario::of(|_| Replicated { writes_back: true, ..Replicated::default() })
        .trigger(N1, ms(0), &Begin(Some(1)))
        .trigger(N2, ms(0), &Begin(None))
        .trigger(N2, ms(0), &Begin(None));
    let without = explore(&without, &calm_bounds(3));
    assert_eq!(
        (without.states, explored.states),
        (15_463, 18_483),
        "what clients saw tells states apart"
    );
    let two = Exploration::new(&scenario(true), calm_bounds(3)).threads(2).run();
    assert_eq!((two.states, two.transitions), (explored.states, explored.transitions));
    let deep = Exploration::new(&scenario(true), calm_bounds(3)).depth_first().run();
    assert_eq!((deep.states, deep.transitions), (explored.states, explored.transitions));
}

/// Each node says that it is there when its application wants it to, and remembers nothing.
#[derive(Clone, Debug, Default, Hash)]
struct RollCall;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "roll.call", local)]
struct Call;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "roll.here", local)]
struct Here;

impl Algorithm for RollCall {
    const NAME: &'static str = "roll";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|_: &mut Self, Call: Call, ctx: &mut Context| ctx.trigger(&Here))
    }
}

fn not_in_this_order(order: &mut Vec<u32>, node: NodeId, told: &Envelope) -> Verdict {
    assert!(told.open::<Here>().is_ok(), "nothing else is indicated");
    order.push(node.0);
    if order == &[2, 1, 3] { Err(String::from("2, 1, 3")) } else { Ok(()) }
}

fn roll_call() -> Scenario<RollCall> {
    [N1, N2, N3]
        .into_iter()
        .fold(Scenario::of(|_| RollCall), |scenario, node| scenario.trigger(node, ms(0), &Call))
}

fn automaton() -> Property<RollCall> {
    Property::automaton("not in this order", Vec::new(), not_in_this_order)
}

#[test]
fn runs_that_an_automaton_tells_apart_do_not_meet_in_one_state() {
    // A state is who was called: the order is remembered by the monitor alone.
    let explored = explore(&roll_call(), &calm_bounds(3));
    assert_eq!(explored.states, 8);
    let scenario = roll_call().property(Property::automaton(
        "all orders are fine",
        Vec::new(),
        |order: &mut Vec<u32>, node, _| {
            order.push(node.0);
            Ok(())
        },
    ));
    let explored = explore(&scenario, &calm_bounds(3));
    assert_eq!(explored.states, 1 + 3 + 6 + 6, "the orders of 0, 1, 2 and 3 of three");
    let is_wrong = |explored: &Explored| {
        let failure = explored.expect_failure();
        let steps: Vec<_> = failure.trace.steps.iter().filter_map(|step| step.node).collect();
        steps.ends_with(&[N2, N1, N3]) && failure.violation.reason == "2, 1, 3"
    };
    let scenario = roll_call().property(automaton());
    assert!(is_wrong(&explore(&scenario, &calm_bounds(3))));
    assert!(is_wrong(&Exploration::new(&scenario, calm_bounds(3)).threads(2).run()));
    assert!(is_wrong(&Exploration::new(&scenario, calm_bounds(3)).depth_first().run()));
}

#[test]
fn a_monitor_that_panics_is_violated_and_told_with_the_place_of_the_panic() {
    let panics = |count: &mut u32, _, _: &Envelope| {
        *count += 1;
        assert!(*count < 3, "the third");
        Ok(())
    };
    let scenario = roll_call().property(Property::automaton("two at most", 0, panics));
    let simulated = Simulation::new(&scenario, 3).calm().run(0..1);
    let explored = explore(&scenario, &calm_bounds(3));
    for violation in [&simulated.expect_failure().violation, &explored.expect_failure().violation] {
        assert_eq!(violation.property, "two at most");
        let reason = "it panicked: the third at simulator/tests/it/history_explored.rs:";
        assert!(violation.reason.starts_with(reason), "{}", violation.reason);
    }
}

#[test]
fn a_monitor_of_which_nothing_is_known_is_skipped_and_named() {
    let monitor = Property::monitor("nobody is third", || {
        let mut count = 0;
        move |_: NodeId, _: &Envelope| {
            count += 1;
            if count == 3 { Err(String::from("third")) } else { Ok(()) }
        }
    });
    let explored = explore(&roll_call().property(monitor.clone()), &calm_bounds(3));
    assert!(explored.complete, "but nothing is judged");
    assert_eq!((explored.states, explored.skipped), (8, vec!["nobody is third"]));
    let scenario = roll_call().property(monitor.explored_by(0, |count: &mut u32, _, _| {
        *count += 1;
        if *count == 3 { Err(String::from("third, they say")) } else { Ok(()) }
    }));
    let explored = explore(&scenario, &calm_bounds(3));
    assert_eq!(explored.expect_failure().violation.reason, "third", "the monitor explains");
}

#[test]
fn a_reduced_exploration_refuses_what_the_order_of_indications_matters_to() {
    let scenario = roll_call().property(automaton());
    let refused = Exploration::new(&scenario, calm_bounds(3)).reduced().expect_err("refused");
    assert!(refused.is_monitor, "{refused}");
    assert!(refused.to_string().contains("explore in full"), "{refused}");
}
