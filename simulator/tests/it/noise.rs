//! What bursts, clogs and clocks do to a run, to the microsecond.

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, Model, NodeId, Property, Timing};
use synod_simulator::{Outcome, Scenario, Settings, StepKind, Stream, run};

use crate::kit::{N1, N2, N3, ms, run_decided, steps};

/// Every node says what its clock shows, ten times; n3 also sends numbers to the others.
#[derive(Clone, Debug, Default, Hash)]
struct Ticker {
    ticks: u32,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "ticker.tick", local)]
struct Tick;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "ticker.number")]
struct Number(u32);

impl Algorithm for Ticker {
    const NAME: &'static str = "ticker";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::tick).on(|_: &mut Self, _: Number| ())
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.after(ms(10), &Tick);
    }
}

impl Ticker {
    fn tick(&mut self, _: Tick, ctx: &mut Context) {
        self.ticks += 1;
        ctx.log(ctx.now().as_micros());
        if ctx.me() == N3 {
            ctx.send_where(&Number(self.ticks), |peer| peer != N3);
        }
        if self.ticks < 10 {
            ctx.after(ms(10), &Tick);
        }
    }
}

/// A run in which a message takes 1 ms unless something is in its way.
fn ticked(settings: &Settings, lines: &[&str]) -> Outcome {
    run_decided(&Scenario::of(|_| Ticker::default()), settings, lines)
}

/// When n3's messages reach a node, in microseconds.
fn arrivals(outcome: &Outcome, node: NodeId) -> Vec<u64> {
    let there = steps(outcome, StepKind::Deliver, "ticker.number");
    there.filter(|step| step.node == Some(node)).map(|step| step.time_us).collect()
}

/// When a node's timer fires, and what its clock shows then, in microseconds.
fn clock(outcome: &Outcome, node: NodeId) -> Vec<(u64, u64)> {
    let ticks = steps(outcome, StepKind::Timer, "ticker.tick");
    let mine = ticks.filter(|step| step.node == Some(node));
    let shown = |line: &String| line.parse().expect("a time");
    mine.filter_map(|step| Some((step.time_us, step.log.first().map(shown)?))).collect()
}

/// Each of ten times, but for those in the way of something.
fn usual() -> impl Iterator<Item = u64> {
    (1..=10).map(|tick| 10_000 * tick)
}

#[test]
fn a_burst_takes_everything_on_its_link_for_its_time_and_nothing_elsewhere() {
    let settings = Settings { burst: 1, burst_us: 100_000, ..Settings::calm(3) };
    let burst = ["burst ticker.number n3>n1 #3 = 1", "burst.length ticker.number n3>n1 #1 = 29999"];
    let outcome = ticked(&settings, &burst);
    let heard: Vec<u64> = usual().filter(|at| !(30_000..60_000).contains(at)).collect();
    assert_eq!(arrivals(&outcome, N1), heard.iter().map(|at| at + 1_000).collect::<Vec<_>>());
    assert_eq!(arrivals(&outcome, N2).len(), 10);
    let sent = outcome.trace.steps.iter().flat_map(|step| &step.sends);
    let lost: Vec<_> = sent.filter_map(|sent| sent.lost.as_deref()).collect();
    assert_eq!(lost, ["lost in a burst"; 3]);
}

#[test]
fn nodes_of_one_clog_are_held_and_released_each_at_its_time_and_nothing_is_lost() {
    let settings = Settings { clogs: 1, clog_us: 100_000, ..Settings::calm(3) };
    let clog = [
        "clog.side 1 #1 = 3",
        "clog.at 1 #1 = 15000",
        "clog.length 1 #1 = 49999",
        "clog.later 1 #2 = 20000",
        "clog.length 1 #2 = 9999",
    ];
    let outcome = ticked(&settings, &clog);
    let held = |from_us: u64, until_us: u64| -> Vec<u64> {
        let arrives = usual().map(|at| at + 1_000);
        let waits = |at: u64| (from_us..until_us).contains(&at);
        arrives.map(|at| if waits(at) { until_us } else { at }).collect()
    };
    assert_eq!(arrivals(&outcome, N1), held(15_000, 65_000));
    assert_eq!(arrivals(&outcome, N2), held(35_000, 45_000));
    assert_eq!(outcome.counts.lost, 0);
}

#[test]
fn clocks_are_apart_run_at_their_own_speed_and_jump() {
    let clocks = Settings { drift: 200_000, skew_us: 1_000_000, ..Settings::calm(3) };
    let settings = Settings { jumps: 1, jump_us: 1_000_000, ..clocks };
    let outcome = ticked(
        &settings,
        &[
            "clock.fast n1 #1 = 200000",
            "clock.skew n2 #1 = 700000",
            "jump.node 1 #1 = 3",
            "jump.at 1 #1 = 45000",
            "jump.by 1 #1 = 299999",
        ],
    );
    // A clock that is a fifth too fast counts 10 ms in 8.3, and no timer is early by it.
    let fast = clock(&outcome, N1);
    assert_eq!((fast[0], fast[9].0), ((8_334, 10_000), 83_340));
    let ahead: Vec<_> = usual().map(|at| (at, at + 700_000)).collect();
    assert_eq!(clock(&outcome, N2), ahead);
    let jumped = usual().map(|at| (at, if at < 45_000 { at } else { at + 300_000 }));
    assert_eq!(clock(&outcome, N3), jumped.collect::<Vec<_>>());
}

/// Every node tells the others every 10 ms that it is there, and counts how often in a row it did not hear
/// all of them meanwhile.
#[derive(Clone, Debug, Default, Hash)]
struct Listener {
    heard: u32,
    missed: u32,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "listener.here")]
struct Here;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "listener.beat", local)]
struct Beat;

impl Algorithm for Listener {
    const NAME: &'static str = "listener";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::beat).on(|it: &mut Self, _: Here| it.heard += 1)
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.after(ms(10), &Beat);
    }
}

impl Listener {
    fn beat(&mut self, beat: Beat, ctx: &mut Context) {
        self.missed = if 0 < self.heard { 0 } else { self.missed + 1 };
        self.heard = 0;
        let me = ctx.me();
        ctx.send_where(&Here, |peer| peer != me);
        ctx.after(ms(10), &beat);
    }
}

/// A promise that two nodes hear each other, which what the noise does to the last message before its end
/// may break for half a second.
fn assert_noise_is_a_fault_as_long_as_it_lasts(noisy: Settings, lines: &[&str]) {
    let silent = |cluster: &Cluster<'_, Listener>| {
        let silent = cluster.live().find(|(_, it)| 10 < it.missed);
        silent.map_or(Ok(()), |(node, _)| Err(format!("{node} hears nothing")))
    };
    let promise = |name| Property::eventually(name, ms(200), silent);
    let scenario = Scenario::of(|_| Listener::default()).property(promise("all are heard"));
    let settings = Settings { noise_us: 1_000_000, time_us: 3_000_000, ..noisy };
    let outcome = run_decided(&scenario, &settings, lines);
    assert_eq!((outcome.violation, outcome.undue), (None, Vec::new()));
    let always = Property::always("all are heard at all times", silent);
    let outcome = run_decided(&scenario.property(always), &settings, lines);
    assert!(outcome.violation.is_some(), "it is silent for a while");
}

#[test]
fn a_promise_waits_for_the_end_of_a_burst_that_began_in_the_noise() {
    let burst =
        ["burst listener.here n1>n2 #99 = 1", "burst.length listener.here n1>n2 #1 = 500000"];
    let settings = Settings { burst: 1, burst_us: 600_000, ..Settings::calm(2) };
    assert_noise_is_a_fault_as_long_as_it_lasts(settings, &burst);
}

#[test]
fn a_promise_waits_for_a_late_message_that_was_sent_in_the_noise() {
    let late = ["tail listener.here n1>n2 #99 = 1", "delay listener.here n1>n2 #99 = 500000"];
    let settings = Settings { tail: 1, tail_max_us: 600_000, ..Settings::calm(2) };
    assert_noise_is_a_fault_as_long_as_it_lasts(settings, &late);
}

#[test]
fn a_promise_is_held_against_noisy_runs_of_a_model_with_long_delays() {
    let timing = Timing::PartiallySynchronous { delay_max: ms(300) };
    let settings = Settings::within(&Model { timing, ..Model::ASYNCHRONOUS }, 3);
    assert!(0 < settings.tail, "late messages are what keeps a run from coming to rest");
    let promise = Property::eventually("nothing more", ms(200), |_: &Cluster<'_, Listener>| Ok(()));
    let scenario = Scenario::of(|_| Listener::default()).property(promise);
    for races in [false, true] {
        let settings = Settings { races, ..settings.clone() };
        let (outcome, _) = run(&scenario, &settings, Stream::seeded(1), false);
        assert!(outcome.undue.is_empty(), "it is held against no moment of the run");
    }
}
