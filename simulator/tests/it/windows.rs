//! That an exploration fires each timer at every moment of its window, and at no other. The expected
//! numbers are computed by hand.

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Assumption, Cluster, Context, Event, Handlers, Property};
use synod_simulator::{Bounds, Exploration, Explored, Scenario, Schedule, explore, replay};

use crate::kit::{N1, N2, calm_bounds, ms, window};

/// The bound on the delay of a message.
const DELAY_US: u64 = 10_000;

fn bounds(nodes: u32, timers: &str) -> Bounds {
    Bounds { tick_us: DELAY_US, timers: window(timers), ..calm_bounds(nodes) }
}

/// Waits for its timer.
#[derive(Clone, Debug, Default, Hash)]
struct Waits {
    is_over: bool,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "waits.over", local)]
struct Over;

impl Algorithm for Waits {
    const NAME: &'static str = "waits";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|it: &mut Self, _: Over| it.is_over = true)
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.after(ms(10), &Over);
    }
}

#[test]
fn a_timer_fires_at_each_tick_of_its_window() {
    let waits =
        |nodes, timers| explore(&Scenario::of(|_| Waits::default()), &bounds(nodes, timers));
    // With 50..150, a tick is half a delay, and the timer fires after 1, 2 or 3 of them. Armed, it is 0
    // to 3 ticks old: 4 states. Fired, it has no age: 1 state. Time goes on from ages 0, 1 and 2, and
    // for ever in the end; the timer fires at ages 1, 2 and 3.
    let one = waits(1, "50..150");
    assert_eq!((one.states, one.transitions), (4 + 1, 3 + 1 + 3));
    // Two of them have one clock. Neither has fired: 4 states. One has, in two ways: the other is 1
    // to 3 ticks old, 3 states each. Both have: 1 state.
    let two = waits(2, "50..150");
    assert_eq!(two.states, 4 + 2 * 3 + 1);
    // Without a window, a tick is a delay: ages 0 and 1, one or the other fired at age 1, and both.
    let exact = waits(2, "100..100");
    assert_eq!(exact.states, 2 + 2 + 1);
    // At one moment that is early or late: 0 to 3 halves of a delay, 0 to 11 tenths, 0 to 3 delays.
    let at_once = ["150..150", "110..110", "300..300"].map(|timers| waits(1, timers).states);
    assert_eq!(at_once, [4 + 1, 12 + 1, 4 + 1]);
}

/// n1 lends something to n2, which gives it back by itself, and has it again after a while.
#[derive(Clone, Debug, Hash)]
struct Lease {
    has_it: bool,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "lease.lent")]
struct Lent;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "lease.back", local)]
struct Back;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "lease.ended", local)]
struct Ended;

/// In delays of a message.
const LENT_FOR: u64 = 3;
const BACK_AFTER: u64 = 5;

impl Algorithm for Lease {
    const NAME: &'static str = "lease";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|it: &mut Self, _: Lent, ctx: &mut Context| {
                it.has_it = true;
                ctx.after(ms(10 * LENT_FOR), &Ended);
            })
            .on(|it: &mut Self, _: Ended| it.has_it = false)
            .on(|it: &mut Self, _: Back| it.has_it = true)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() == N1 {
            ctx.send(N2, &Lent);
            ctx.after(ms(10 * BACK_AFTER), &Back);
        }
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("one has it", |cluster: &Cluster<'_, Self>| {
            match cluster.live().filter(|(_, state)| state.has_it).count() {
                0 | 1 => Ok(()),
                _ => Err("both have it".into()),
            }
        })]
    }
}

fn lease() -> Scenario<Lease> {
    Scenario::of(|_| Lease { has_it: false })
}

/// n2 gives it back one delay and its own timer after the start at the latest, and both have it if
/// that is not before n1's timer at its earliest.
#[test]
fn a_lease_holds_exactly_as_long_as_the_clocks_are_near_enough() {
    let (mut held, mut broken) = (0, 0);
    for min in [75, 80, 85, 90, 100] {
        for max in [100, 120, 125, 135, 150] {
            let explored = explore(&lease(), &bounds(2, &format!("{min}..{max}")));
            let breaks = BACK_AFTER * min <= 100 + LENT_FOR * max;
            assert_eq!(explored.failure.is_some(), breaks, "{min}..{max}");
            assert_ne!(explored.complete, breaks);
            if breaks { broken += 1 } else { held += 1 }
        }
    }
    assert!(4 < held && 4 < broken, "{held} held, {broken} broken");
}

#[test]
fn every_way_to_explore_has_the_same_verdict_on_a_lease_and_all_threads_the_same_counts() {
    for timers in ["95..120", "75..120"] {
        let scenario = lease();
        let exploration = || Exploration::new(&scenario, bounds(2, timers));
        let [one, two] = [1, 2].map(|threads| exploration().threads(threads).run());
        let counts = |it: &Explored| (it.states, it.transitions, it.depth, it.complete);
        assert_eq!(counts(&one), counts(&two));
        assert_eq!(text(&one), text(&two));
        let depth = exploration().depth_first().run();
        assert_eq!(depth.failure.is_some(), one.failure.is_some());
        assert_eq!(one.failure.is_some(), timers == "75..120");
    }
}

fn text(explored: &Explored) -> Option<&str> {
    explored.failure.as_ref().map(|failure| failure.text.as_str())
}

#[test]
fn a_violation_keeps_its_window_and_is_replayed_at_its_times() {
    let explored = explore(&lease(), &bounds(2, "50..150"));
    let failure = explored.expect_failure();
    assert!(failure.text.contains(r#""timers":"50..150""#), "{}", failure.text);
    assert_eq!(failure.schedule.dropped, [Assumption::ExactClocks.to_string()]);
    let read: Schedule = failure.text.parse().expect("a schedule");
    let again = replay(&lease(), &read);
    assert_eq!(again.violation.as_ref(), Some(&failure.violation));
    assert_eq!(again.trace.hash(), failure.trace.hash());
    // Half of the five delays that n1 was to wait.
    assert_eq!(failure.violation.time_us, 5 * DELAY_US / 2);
}

#[test]
fn a_schedule_outside_its_window_is_not_replayed() {
    let explored = explore(&lease(), &bounds(2, "50..150"));
    let failure = explored.expect_failure();
    let text = failure.text.replace("50..150", "75..100");
    let read: Schedule = text.parse().expect("a schedule");
    let again = replay(&lease(), &read);
    assert_eq!(again.violation, None);
    let bad = failure.text.replace("50..150", "150..50");
    let told = bad.parse::<Schedule>().expect_err("no window").to_string();
    assert!(told.contains("`150..50` is no window of timers"), "{told}");
}

#[test]
fn without_a_bound_on_delays_there_is_no_window() {
    let mut unbound = bounds(2, "50..150");
    assert_eq!(unbound.unbound(), Some(Assumption::BoundedDelay));
    assert_eq!(unbound, calm_bounds(2));
    // A window that stands there all the same changes nothing.
    let counts = |timers| {
        let explored = explore(&lease(), &Bounds { timers: window(timers), ..calm_bounds(2) });
        let failure = explored.expect_failure();
        (explored.states, explored.transitions, failure.schedule.dropped.clone())
    };
    assert_eq!(counts("50..150"), counts("100..100"));
}
