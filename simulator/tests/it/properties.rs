//! When promises are held against a run, and what else counts as broken.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, Model, NodeId, Property, Verdict};
use synod_simulator::{
    Bounds, Scenario, Settings, Simulation, Stream, Violation, explore, replay, run,
};

use crate::kit::{N1, N2, calm_bounds, ms, run_decided};

/// Is done when its timer fires. Assumes that messages take 100 ms at most.
#[derive(Clone, Debug, Hash)]
struct Task {
    takes: Duration,
    is_done: bool,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "task.done", local)]
struct Done;

impl Algorithm for Task {
    const NAME: &'static str = "task";
    const MODEL: Model = Model::synchronous(ms(100));

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::done)
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.after(self.takes, &Done);
    }
}

impl Task {
    fn done(&mut self, _: Done) {
        self.is_done = true;
    }
}

fn task(takes: Duration) -> Scenario<Task> {
    Scenario::of(move |_| Task { takes, is_done: false })
}

fn is_done(cluster: &Cluster<'_, Task>) -> Verdict {
    match cluster.live().find(|(_, state)| !state.is_done) {
        Some((node, _)) => Err(format!("{node} is not done")),
        None => Ok(()),
    }
}

fn is_not_done(cluster: &Cluster<'_, Task>) -> Verdict {
    match cluster.live().find(|(_, state)| state.is_done) {
        Some((node, _)) => Err(format!("{node} is done")),
        None => Ok(()),
    }
}

/// What a calm run of a scenario violates.
fn violation<T: synod_core::Stack>(scenario: &Scenario<T>, nodes: u32) -> Option<Violation> {
    run(scenario, &Settings::calm(nodes), Stream::seeded(1), false).0.violation
}

#[test]
fn always_is_broken_by_the_first_step_that_breaks_it() {
    let scenario = task(ms(3_000)).property(Property::always("nobody is done", is_not_done));
    let violation = violation(&scenario, 2).expect("both get done");
    assert_eq!(violation.property, "nobody is done");
    assert_eq!(violation.reason, "n1 is done");
    assert_eq!(violation.time_us, 3_000_000);
    let explored = explore(&scenario, &Bounds::within(&Task::MODEL, 2));
    assert_eq!(explored.expect_failure().violation.time_us, 3_000_000);
}

#[test]
fn a_promise_that_is_kept_in_time_is_kept() {
    let scenario = task(ms(1_900)).property(Property::eventually("done", ms(2_000), is_done));
    assert_eq!(violation(&scenario, 2), None);
    explore(&scenario, &Bounds::within(&Task::MODEL, 2)).expect_complete();
}

#[test]
fn a_promise_that_is_kept_too_late_is_broken_when_its_time_is_over() {
    // Nothing happens between the bound and the timer, and it is broken all the same.
    let scenario = task(ms(3_000)).property(Property::eventually("done", ms(2_000), is_done));
    let violation = violation(&scenario, 2).expect("nobody is done within 2 s");
    assert_eq!((violation.property.as_str(), violation.time_us), ("done", 2_000_000));
    let explored = explore(&scenario, &Bounds::within(&Task::MODEL, 2));
    let violation = &explored.expect_failure().violation;
    assert_eq!((violation.property.as_str(), violation.time_us), ("done", 2_000_000));
}

#[test]
fn a_promise_that_is_never_kept_is_broken_even_if_nothing_happens_any_more() {
    let scenario = task(ms(100)).property(Property::eventually("not", ms(15_000), is_not_done));
    let violation = violation(&scenario, 1).expect("it stays done");
    assert_eq!((violation.property.as_str(), violation.time_us), ("not", 15_000_000));
}

#[test]
fn a_promise_for_later_than_the_end_of_the_run_is_not_held_against_it() {
    let scenario = task(ms(30_000)).property(Property::eventually("done", ms(25_000), is_done));
    assert_eq!(violation(&scenario, 1), None);
}

#[test]
fn a_bound_between_two_ticks_is_not_held_against_the_earlier_one() {
    let scenario = task(ms(100)).property(Property::eventually("done", ms(150), is_done));
    assert_eq!(violation(&scenario, 1), None);
    explore(&scenario, &Bounds::within(&Task::MODEL, 1)).expect_complete();
}

#[test]
fn without_a_clock_an_eventual_promise_is_named_as_not_held_against_the_states() {
    let scenario = task(ms(3_000)).property(Property::eventually("done", ms(2_000), is_done));
    let explored = explore(&scenario, &calm_bounds(2));
    assert!(explored.complete, "but nothing is judged");
    assert_eq!(explored.skipped, ["done"]);
}

#[test]
fn at_rest_means_that_nothing_is_under_way() {
    let kept = task(ms(3_000)).property(Property::at_rest("done at rest", is_done));
    assert_eq!(violation(&kept, 2), None);
    explore(&kept, &calm_bounds(2)).expect_complete();
    let broken = task(ms(3_000)).property(Property::at_rest("not at rest", is_not_done));
    let found = violation(&broken, 2).expect("both are done at rest");
    assert_eq!((found.property.as_str(), found.time_us), ("not at rest", 20_000_000));
    let explored = explore(&broken, &calm_bounds(2));
    assert_eq!(explored.expect_failure().violation.property, "not at rest");
}

#[test]
fn a_run_that_ends_before_its_last_timer_has_not_come_to_rest() {
    for nodes in 1..=2 {
        let scenario = task(ms(30_000)).property(Property::at_rest("done at rest", is_done));
        assert_eq!(violation(&scenario, nodes), None, "{nodes} nodes");
    }
}

/// Fails in the way that is asked for.
#[derive(Clone, Debug, Default, Hash)]
struct Clumsy;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "clumsy.panic", local)]
struct Panic(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "clumsy.shout", local)]
struct Shout;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "clumsy.unheard")]
struct Unheard;

impl Algorithm for Clumsy {
    const NAME: &'static str = "clumsy";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::panic).on(Self::shout).indicates::<Unheard>()
    }
}

impl Clumsy {
    fn panic(&mut self, Panic(number): Panic, ctx: &mut Context) {
        ctx.send(N2, &Unheard);
        assert_ne!(number, 7, "seven is one too many");
    }

    fn shout(&mut self, _: Shout, ctx: &mut Context) {
        ctx.send(N2, &Unheard);
    }
}

#[test]
fn a_panic_of_a_handler_is_a_violation_with_its_text() {
    let scenario = Scenario::of(|_| Clumsy).trigger(N1, ms(5), &Panic(7));
    let found = violation(&scenario, 2).expect("it panics");
    assert_eq!(found.property, "no handler panics");
    assert!(found.reason.starts_with("n1: ") && found.reason.contains("seven is one too many"));
    assert_eq!(found.time_us, 5_000);
    let (outcome, _) = run(&scenario, &Settings::calm(2), Stream::seeded(1), true);
    assert_eq!(outcome.counts.sent, 0, "a handler that panics has no effect");
    let last = outcome.trace.steps.last().and_then(|step| step.wrong.as_ref());
    assert!(last.is_some_and(|wrong| wrong.contains("seven is one too many")), "{last:?}");

    let explored = explore(&scenario, &calm_bounds(2));
    let explored = &explored.expect_failure().violation;
    assert_eq!((&explored.property, &explored.reason), (&found.property, &found.reason));
}

#[test]
fn a_panic_is_found_shrunk_and_reported_like_any_violation() {
    let scenario = Scenario::of(|_| Clumsy).trigger(N1, ms(5), &Panic(7));
    let report = Simulation::new(&scenario, 5).run(10..200);
    let failure = report.expect_failure();
    assert_eq!((report.runs, failure.seed), (1, 10));
    assert_eq!(failure.violation.property, "no handler panics");
    // Alone n1 would panic too, since there is no n2, but elsewhere.
    assert!(failure.violation.reason.contains("seven is one too many"), "{failure:?}");
    let place = failure.violation.place.as_deref().expect("a place");
    assert!(place.contains("properties.rs:"), "{place}");
    assert!(failure.block().contains(&format!("\n  at {place}\n")), "{}", failure.block());
    assert_eq!(replay(&scenario, &failure.schedule).violation.as_ref(), Some(&failure.violation));
    assert!(failure.schedule.property.as_deref() == Some("no handler panics"));
}

/// Sends as many bytes as it is told, in an event that may have the usual size or a larger one.
#[derive(Clone, Debug, Hash)]
struct Stout;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "stout.send", local)]
struct SendBytes(usize);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "stout.usual")]
struct Usual(Vec<u8>);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "stout.large", bytes_max = 100_000)]
struct Large(Vec<u8>);

impl Algorithm for Stout {
    const NAME: &'static str = "stout";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|_: &mut Self, SendBytes(size): SendBytes, ctx: &mut Context| {
                ctx.send(N2, &Large(vec![7; size]));
                ctx.send(N2, &Usual(vec![7; size.min(70_000)]));
            })
            .on(|_: &mut Self, _: Usual, _: &mut Context| ())
            .on(|_: &mut Self, _: Large, _: &mut Context| ())
    }
}

#[test]
fn an_event_that_no_link_would_take_is_a_violation_that_names_its_size() {
    let told = |size| Scenario::of(|_| Stout).trigger(N1, ms(5), &SendBytes(size));
    let refused = |name, size, size_max| {
        let bounds = format!("the event has {size} bytes, and a frame {size_max} at most");
        let remedy = "let it declare more by `#[event(bytes_max = ..)]`, or send it in pieces";
        format!("n1 sends `{name}`: {bounds}: {remedy}")
    };
    // Ten bytes stand before a body, three of it are its length.
    for (size, expected) in [
        (65_523, None),
        (65_524, Some(refused("stout.usual", 65_537, 65_536))),
        (99_988, Some(refused("stout.large", 100_001, 100_000))),
    ] {
        let found = violation(&told(size), 2);
        let explored = explore(&told(size), &calm_bounds(2)).failure;
        for violation in [found, explored.map(|failure| failure.violation)] {
            assert_eq!(violation.as_ref().map(|it| &it.reason), expected.as_ref());
            let property = violation.map(|it| it.property);
            assert!(property.is_none_or(|it| it == "every event fits into its frame"));
        }
    }
}

/// Has work done by a function that it has forgotten to register.
#[derive(Clone, Debug, Default, Hash)]
struct Idle;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "idle.work", local)]
struct Work;

impl Algorithm for Idle {
    const NAME: &'static str = "idle";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.job(&Work);
    }
}

#[test]
fn a_job_without_a_function_is_a_violation() {
    let scenario = Scenario::of(|_| Idle);
    let found = run(&scenario, &Settings::calm(1), Stream::seeded(1), true).0.violation;
    let found = found.expect("nothing computes it");
    assert_eq!(found.property, "every job has a function");
    assert!(found.reason.starts_with("n1 asks for the job `idle.work`, and nothing"), "{found:?}");
    let explored = explore(&scenario, &calm_bounds(1));
    assert_eq!(explored.expect_failure().violation.property, "every job has a function");
}

#[test]
fn an_event_without_a_handler_is_a_violation_that_names_both() {
    let scenario = Scenario::of(|_| Clumsy).trigger(N1, ms(5), &Shout);
    let expected = "n2 has no handler for `clumsy.unheard`";
    let found = violation(&scenario, 2).expect("n2 has no such handler");
    assert_eq!(
        (found.property.as_str(), found.reason.as_str()),
        ("every event has a handler", expected)
    );
    let explored = explore(&scenario, &calm_bounds(2));
    assert_eq!(explored.expect_failure().violation.reason, expected);
}

/// Panics as it starts.
#[test]
fn what_must_hold_at_rest_must_hold_before_a_fault_that_has_not_begun_too() {
    let somebody_is_down = |cluster: &Cluster<'_, Task>| match cluster.live().count() {
        2 => Err(String::from("both are up")),
        _ => Ok(()),
    };
    let resting = |takes| task(takes).property(Property::at_rest("one is down", somebody_is_down));
    let settings = Settings { crashes: 1, down_max: 1, ..Settings::calm(2) };
    let crash = ["crash.node 1 #1 = 1", "crash.at 1 #1 = 3000000"];
    let outcome = |takes| run_decided(&resting(takes), &settings, &crash);
    // Both are done at 2 s and rest until the crash; or the crash comes while a timer runs.
    let violated = outcome(ms(2_000)).violation.map(|it| (it.reason, it.time_us));
    assert_eq!(violated, Some((String::from("both are up"), 2_000_000)));
    assert_eq!(outcome(ms(4_000)).violation, None);
}

#[derive(Clone, Debug, Hash)]
struct Stillborn;

impl Algorithm for Stillborn {
    const NAME: &'static str = "stillborn";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
    }

    fn start(&mut self, ctx: &mut Context) {
        assert!(ctx.me() == N1, "only n1 can start");
    }
}

#[test]
fn a_panic_at_the_start_is_a_violation_too() {
    let scenario = Scenario::of(|_| Stillborn);
    let reason = "n2: only n1 can start";
    assert_eq!(violation(&scenario, 2).expect("n2 panics").reason, reason);
    let explored = explore(&scenario, &calm_bounds(2));
    assert_eq!(explored.expect_failure().violation.reason, reason);
}

/// Asks for itself again, at once and `copies` times.
#[derive(Clone, Debug, Hash)]
struct Echoing {
    copies: u32,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "echoing.again", local)]
struct Again;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "echoing.more")]
struct More;

impl Algorithm for Echoing {
    const NAME: &'static str = "echoing";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::again).on(Self::more)
    }

    fn start(&mut self, ctx: &mut Context) {
        self.again(Again, ctx);
    }
}

impl Echoing {
    fn again(&mut self, _: Again, ctx: &mut Context) {
        match self.copies {
            0 => {
                ctx.after(Duration::ZERO, &Again);
            }
            _ => self.more(More, ctx),
        }
    }

    fn more(&mut self, _: More, ctx: &mut Context) {
        let me = ctx.me();
        (0..self.copies).for_each(|_| ctx.send_where(&More, |peer| peer != me));
    }
}

#[test]
fn a_run_in_which_time_stands_still_is_a_violation() {
    let violation = violation(&Scenario::of(|_| Echoing { copies: 0 }), 1).expect("no end");
    assert_eq!((violation.property.as_str(), violation.time_us), ("time goes on", 0));
}

#[test]
fn a_run_that_sends_ever_more_is_a_violation() {
    let violation = violation(&Scenario::of(|_| Echoing { copies: 50 }), 2).expect("no room");
    assert_eq!(violation.property, "what is sent has room", "{}", violation.reason);
}

#[test]
fn a_violation_is_told_with_the_place_where_its_property_is_declared() {
    let line = line!() + 1;
    let scenario = task(ms(3_000)).property(Property::always("nobody is done", is_not_done));
    let declared = format!("declared at {}:{line}:", file!());
    let simulated = violation(&scenario, 2).expect("both get done");
    let explored = explore(&scenario, &Bounds::within(&Task::MODEL, 2));
    for violation in [&simulated, &explored.expect_failure().violation] {
        let told = violation.place_in_words().expect("it has a place");
        assert!(told.starts_with(&declared), "{told}");
    }
    let hash = explored.expect_failure().trace.hash();
    let other = task(ms(3_000)).property(Property::always("nobody is done", is_not_done));
    let explored = explore(&other, &Bounds::within(&Task::MODEL, 2));
    assert_eq!(explored.expect_failure().trace.hash(), hash, "a place is no part of a run");
}

/// What the panic of some work says.
fn said(work: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(work)).expect_err("it panics");
    *panic.downcast::<String>().expect("words")
}

/// Sends, and indicates, what nobody listens to.
#[derive(Clone, Debug, Default, Hash)]
struct Mumbles;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "mumbles.word")]
struct Word(u8);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "mumbles.hint")]
struct Hint;

impl Algorithm for Mumbles {
    const NAME: &'static str = "mumbles";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.trigger(&Word(7));
        if ctx.me() == N1 {
            ctx.send(N2, &Hint);
        }
    }
}

#[test]
fn an_event_that_no_algorithm_listens_to_has_its_name_in_a_trace() {
    let (outcome, _) = run(&Scenario::of(|_| Mumbles), &Settings::calm(2), Stream::seeded(1), true);
    let steps = &outcome.trace.steps;
    assert_eq!(
        (&steps[0].outputs, &steps[0].sends[0].event),
        (&vec!["mumbles.word, 1 bytes".into()], &"mumbles.hint".into())
    );
    let violation = outcome.violation.expect("n2 does not know it");
    assert_eq!(violation.reason, "n2 has no handler for `mumbles.hint`");
}

#[test]
fn a_trigger_of_a_node_that_no_cluster_has_fails_the_test_with_its_place() {
    let line = line!() + 1;
    let scenario = task(ms(3_000)).trigger(NodeId(4), ms(1), &Done);
    let report = Simulation::new(&scenario, 2).sizes(2..=3).calm().run(0..2);
    let text = said(|| report.expect_clean());
    assert!(text.contains(&format!("n4, by `trigger` at {}:{line}:", file!())), "{text}");
    let larger = Simulation::new(&scenario, 2).sizes(2..=4).calm().run(0..2);
    assert_eq!(larger.nobody, Vec::<String>::new());
    let text = said(|| drop(task(ms(3_000)).trigger(NodeId(0), ms(1), &Done)));
    assert!(text.contains("nodes are numbered from 1"), "{text}");
}

#[test]
fn a_property_that_panics_is_violated_and_told_with_the_place_of_the_panic() {
    let panics = |cluster: &Cluster<'_, Task>| {
        let done = cluster.live().filter(|(_, state)| state.is_done).count();
        assert!(done == 0, "{done} of them are done");
        Ok(())
    };
    let scenario = task(ms(3_000)).property(Property::always("a sentence", panics));
    let violation = violation(&scenario, 2).expect("both get done");
    assert_eq!(violation.property, "a sentence");
    let reason = "it panicked: 1 of them are done at simulator/tests/it/properties.rs:";
    assert!(violation.reason.starts_with(reason), "{}", violation.reason);
    let explored = explore(&scenario, &Bounds::within(&Task::MODEL, 2));
    let violation = &explored.expect_failure().violation;
    assert_eq!(violation.property, "a sentence");
    assert!(
        violation.reason.starts_with("it panicked: 1 of them are done"),
        "{}",
        violation.reason
    );
}
