//! What a node asks of its host: jobs and timers; and what the application asks of it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Context, Event, Faults, Handlers, Model, Property, Tolerance};
use synod_simulator::{Bounds, Scenario, Settings, StepKind, Stream, explore, run};

use crate::kit::{N1, calm_bounds, ms, run_clean, run_decided, steps, watch_rest};

/// Has two numbers squared.
#[derive(Clone, Debug, Default, Hash)]
struct Worker {
    life: u64,
    squares: Vec<u32>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "worker.work", local)]
struct Work;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "worker.square", local)]
struct Square(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "worker.squared", local)]
struct Squared(u32);

impl Algorithm for Worker {
    const NAME: &'static str = "worker";
    const MODEL: Model =
        Model::ASYNCHRONOUS.tolerating(Faults::CrashRecovery(Tolerance::Exactly(1)));

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::work)
            .on(Self::squared)
            .job(|Square(number)| Squared(number * number))
    }

    fn start(&mut self, ctx: &mut Context) {
        self.life = ctx.incarnation();
    }
}

impl Worker {
    fn work(&mut self, _: Work, ctx: &mut Context) {
        ctx.job(&Square(3));
        ctx.job(&Square(7));
    }

    fn squared(&mut self, Squared(square): Squared) {
        self.squares.push(square);
    }
}

#[test]
fn the_result_of_a_job_comes_back_as_an_event_of_a_later_step() {
    let scenario = Scenario::of(|_| Worker::default()).trigger(N1, ms(5), &Work);
    let (outcome, _) = run(&scenario, &Settings::calm(1), Stream::seeded(1), true);
    let asked = steps(&outcome, StepKind::Told, "worker.work").next().expect("it is told");
    let told: Vec<_> = steps(&outcome, StepKind::Told, "worker.squared").collect();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|step| asked.time_us < step.time_us));
}

#[test]
fn results_of_jobs_come_back_in_any_order() {
    let orders: BTreeSet<Vec<u32>> = [vec![9, 49], vec![49, 9]].into();
    let scenario = Scenario::of(|_| Worker::default()).trigger(N1, ms(5), &Work);
    let (scenario, seen) =
        watch_rest(scenario, |cluster| cluster.state(N1).map(|state| state.squares.clone()));
    (0..50).for_each(|seed| run_clean(&scenario, &Settings::calm(1), seed));
    assert_eq!(seen.all(), orders);

    let scenario = Scenario::of(|_| Worker::default()).trigger(N1, ms(5), &Work);
    let (scenario, seen) =
        watch_rest(scenario, |cluster| cluster.state(N1).map(|state| state.squares.clone()));
    explore(&scenario, &calm_bounds(1)).expect_complete();
    assert_eq!(seen.all(), orders);
}

#[test]
fn a_job_dies_with_the_life_that_asked_for_it() {
    let scenario = Scenario::of(|_| Worker::default()).trigger(N1, ms(10_000), &Work);
    let (scenario, seen) = watch_rest(scenario, |cluster| {
        cluster.state(N1).map(|state| (state.life, state.squares.len()))
    });
    let settings = Settings {
        crashes: 1,
        down_max: 1,
        down_us: 1,
        delay_max_us: 500_000,
        ..Settings::calm(1)
    };
    let lines =
        ["crash.node 1 #1 = 1", "crash.after 1 #1 = 3", "job n1 #1 = 400000", "job n1 #2 = 400000"];
    assert_eq!(run_decided(&scenario, &settings, &lines).violation, None);
    assert_eq!(seen.list(), [(2, 0)]);

    let scenario = Scenario::of(|_| Worker::default()).trigger(N1, ms(10_000), &Work);
    let (scenario, seen) = watch_rest(scenario, |cluster| {
        cluster.state(N1).filter(|state| state.life == 2).map(|state| state.squares.len())
    });
    let bounds = Bounds { crashes: 1, recoveries: 1, down_max: 1, ..calm_bounds(1) };
    explore(&scenario, &bounds).expect_complete();
    assert!(seen.all().contains(&0));
}

/// Arms, replaces and cancels timers at its start.
#[derive(Clone, Debug, Default, Hash)]
struct Clock {
    fired: Vec<u32>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "clock.tick", local)]
struct Tick(u32);

impl Algorithm for Clock {
    const NAME: &'static str = "clock";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::tick)
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.after(ms(10), &Tick(1));
        ctx.after(ms(40), &Tick(1));
        ctx.after(ms(20), &Tick(2));
        ctx.cancel(&Tick(2));
        ctx.after(ms(30), &Tick(3));
        ctx.after(ms(20), &Tick(4));
        ctx.after(ms(25), &Tick(5));
    }
}

impl Clock {
    fn tick(&mut self, Tick(number): Tick, ctx: &mut Context) {
        self.fired.push(number);
        match number {
            4 => ctx.cancel(&Tick(5)),
            3 => ctx.after(ms(5), &Tick(6)),
            _ => (),
        }
    }
}

#[test]
fn a_timer_that_was_replaced_or_cancelled_never_fires_and_the_others_are_exact() {
    let scenario = Scenario::of(|_| Clock::default());
    let (outcome, _) = run(&scenario, &Settings::calm(1), Stream::seeded(1), true);
    let fired: Vec<_> = steps(&outcome, StepKind::Timer, "clock.tick")
        .map(|step| (step.time_us / 1_000, step.payload.as_str()))
        .collect();
    assert_eq!(fired, [(20, "Tick(4)"), (30, "Tick(3)"), (35, "Tick(6)"), (40, "Tick(1)")]);
}

#[test]
fn the_exploration_fires_the_same_timers_with_and_without_a_bound_on_delays() {
    for tick_us in [0, 5_000] {
        let (scenario, seen) = watch_rest(Scenario::of(|_| Clock::default()), |cluster| {
            cluster.state(N1).map(|state| state.fired.clone())
        });
        let bounds = Bounds { tick_us, ..calm_bounds(1) };
        explore(&scenario, &bounds).expect_complete();
        assert_eq!(seen.list(), [vec![4, 3, 6, 1]]);
    }
}

/// Arms timers that are due at once, in a given order.
#[derive(Clone, Debug, Hash)]
struct Alarm {
    order: [u32; 3],
    fired: Option<u32>,
}

impl Algorithm for Alarm {
    const NAME: &'static str = "alarm";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|it: &mut Self, Tick(number): Tick| it.fired = Some(number))
    }

    fn start(&mut self, ctx: &mut Context) {
        self.order.iter().for_each(|number| ctx.after(ms(10), &Tick(*number)));
    }
}

#[test]
fn which_of_equally_short_counterexamples_is_told_does_not_depend_on_the_order_of_arming() {
    for order in [[1, 2, 3], [2, 3, 1], [3, 2, 1]] {
        let scenario = Scenario::of(move |_| Alarm { order, fired: None });
        let scenario = scenario.property(Property::local("no timer fires", |_, it: &Alarm| {
            it.fired.map_or(Ok(()), |number| Err(format!("{number} did")))
        }));
        for tick_us in [0, 10_000] {
            let explored = explore(&scenario, &Bounds { tick_us, ..calm_bounds(1) });
            assert_eq!(explored.expect_failure().violation.reason, "1 did", "{order:?}");
        }
    }
}

#[test]
fn a_crash_forgets_the_timers_and_a_restart_arms_them_anew() {
    let scenario = Scenario::of(|_| Clock::default());
    let settings = Settings { crashes: 1, down_max: 1, down_us: 1, ..Settings::calm(1) };
    let lines = ["crash.node 1 #1 = 1", "crash.at 1 #1 = 24999"];
    let outcome = run_decided(&scenario, &settings, &lines);
    let times: Vec<_> =
        steps(&outcome, StepKind::Timer, "clock.tick").map(|step| step.time_us / 1_000).collect();
    assert_eq!(times, [20, 45, 55, 60, 65]);
}

/// Waits for ever.
#[derive(Clone, Debug, Default, Hash)]
struct Patient;

impl Algorithm for Patient {
    const NAME: &'static str = "patient";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|_: &mut Self, _: Tick| ())
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.after(ms(1), &Tick(1));
        ctx.after(Duration::MAX, &Tick(2));
    }
}

#[test]
fn a_timer_may_be_as_far_away_as_a_duration_can_say() {
    let scenario = Scenario::of(|_| Patient);
    let (outcome, _) = run(&scenario, &Settings::calm(1), Stream::seeded(1), true);
    assert_eq!(steps(&outcome, StepKind::Timer, "clock.tick").count(), 1);
    explore(&scenario, &calm_bounds(1)).expect_complete();
}

#[test]
fn the_application_triggers_events_at_the_time_it_was_told_to() {
    let scenario = Scenario::of(|_| Worker::default()).trigger(N1, ms(7_000), &Work).trigger(
        N1,
        ms(3_000),
        &Work,
    );
    let (outcome, _) = run(&scenario, &Settings::calm(2), Stream::seeded(1), true);
    let told: Vec<_> = steps(&outcome, StepKind::Told, "worker.work")
        .map(|step| (step.time_us, step.node))
        .collect();
    assert_eq!(told, [(3_000_000, Some(N1)), (7_000_000, Some(N1))]);
}

#[test]
fn a_node_that_is_down_hears_nothing_of_its_application() {
    let scenario = Scenario::of(|_| Worker::default()).trigger(N1, ms(7_000), &Work);
    let settings = Settings { crashes: 1, down_max: 1, ..Settings::calm(2) };
    let outcome = run_decided(&scenario, &settings, &["crash.node 1 #1 = 1"]);
    assert_eq!(steps(&outcome, StepKind::Told, "worker.work").count(), 0);
}

/// Arms a timer for each of the next hundred seconds, and counts what it is told.
#[derive(Clone, Debug, Default, Hash)]
struct Calendar {
    told: u32,
}

impl Algorithm for Calendar {
    const NAME: &'static str = "calendar";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|_: &mut Self, _: Tick| ()).on(
            |it: &mut Self, _: Work, ctx: &mut Context| {
                it.told += 1;
                ctx.after(Duration::from_secs(it.told.into()), &Tick(it.told));
            },
        )
    }
}

#[test]
fn a_hundred_events_at_once_are_told_at_once_and_a_hundred_later_ones_at_their_seconds() {
    let scenario = Scenario::of(|_| Calendar::default());
    let scenario = (0..100).fold(scenario, |it, _| it.trigger(N1, ms(0), &Work));
    let settings = Settings { time_us: 200_000_000, ..Settings::calm(1) };
    let (outcome, _) = run(&scenario, &settings, Stream::seeded(1), true);
    assert_eq!(outcome.violation, None);
    let told = steps(&outcome, StepKind::Told, "worker.work").map(|step| step.time_us);
    assert!(told.eq(std::iter::repeat_n(0, 100)));
    let fired = steps(&outcome, StepKind::Timer, "clock.tick");
    let fired = fired.map(|step| (step.time_us, step.payload.clone()));
    assert!(fired.eq((1..=100).map(|second| (second * 1_000_000, format!("Tick({second})")))));
}

#[test]
fn timers_are_exact_around_seconds_that_do_not_fit_in_ten_digits_or_in_32_bits() {
    for second in [2_000_000_000, 1 << 31, 1 << 32] {
        let told = Duration::from_secs(second - 1) + ms(1);
        let scenario = Scenario::of(|_| Calendar::default());
        let scenario = (0..3).fold(scenario, |it, _| it.trigger(N1, told, &Work));
        let settings = Settings { time_us: 2 * second * 1_000_000, ..Settings::calm(1) };
        let (outcome, _) = run(&scenario, &settings, Stream::seeded(1), true);
        let fired = steps(&outcome, StepKind::Timer, "clock.tick").map(|step| step.time_us);
        let due = (second..second + 3).map(|second| second * 1_000_000 + 1_000);
        assert!(fired.eq(due), "around second {second}");
    }
}
