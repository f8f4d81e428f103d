//! That an exploration visits every state, each once, and the nearest violation first. The
//! expected numbers are computed by hand or by brute force.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, Links, Model, NodeId, Property};
use synod_simulator::{Bounds, Exploration, Limit, Progress, Recorded, Scenario, explore, replay};

use crate::kit::{N1, N2, calm_bounds, ms, watch, watch_rest};

/// n1 sends `each` numbered messages to every other node, in order or as datagrams.
#[derive(Clone, Debug, Hash)]
struct Shower {
    each: u32,
    as_datagrams: bool,
    keeps_order: bool,
    received: Vec<u32>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "shower.drop")]
struct Drop(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "shower.spray", unreliable)]
struct Spray(u32);

impl Algorithm for Shower {
    const NAME: &'static str = "shower";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|it: &mut Self, Drop(number): Drop| it.receive(number))
            .on(|it: &mut Self, Spray(number): Spray| it.receive(number))
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() != N1 {
            return;
        }
        for number in 0..self.each {
            if self.as_datagrams {
                ctx.send_where(&Spray(number), |peer| peer != N1);
            } else {
                ctx.send_where(&Drop(number), |peer| peer != N1);
            }
        }
    }
}

impl Shower {
    fn receive(&mut self, number: u32) {
        self.received.push(number);
        if !self.keeps_order {
            self.received.sort_unstable();
        }
    }
}

fn shower(each: u32, as_datagrams: bool, keeps_order: bool) -> Scenario<Shower> {
    Scenario::of(move |_| Shower { each, as_datagrams, keeps_order, received: Vec::new() })
}

#[test]
fn independent_messages_make_a_state_of_each_subset() {
    for peers in 0..=8_u32 {
        let explored = explore(&shower(1, false, true), &calm_bounds(peers + 1));
        explored.expect_complete();
        assert_eq!(explored.states, 1 << peers);
        assert_eq!(explored.transitions, u64::from(peers) * (1 << peers) / 2);
        assert_eq!(explored.depth, peers);
    }
}

#[test]
fn messages_of_one_lane_make_a_state_of_each_prefix() {
    for (each, peers) in [(1, 1), (5, 1), (3, 2), (2, 4)] {
        let explored = explore(&shower(each, false, true), &calm_bounds(peers + 1));
        explored.expect_complete();
        assert_eq!(explored.states, u64::from(each + 1).pow(peers));
        assert_eq!(explored.depth, each * peers);
    }
}

#[test]
fn each_datagram_is_under_way_or_lost_or_there() {
    for each in 0..=5 {
        let explored = explore(&shower(each, true, false), &calm_bounds(2));
        explored.expect_complete();
        assert_eq!(explored.states, 3_u64.pow(each));
        assert_eq!(explored.transitions, 2 * u64::from(each) * 3_u64.pow(each) / 3);
    }
}

#[test]
fn datagrams_come_in_every_order() {
    let (scenario, seen) = watch_rest(shower(3, true, true), |cluster| {
        cluster.state(N2).map(|state| state.received.clone())
    });
    let explored = explore(&scenario, &calm_bounds(2));
    explored.expect_complete();
    // Every sequence of different ones: 1 + 3 + 6 + 6.
    assert_eq!(seen.all().len(), 16);
    // For each sequence, each of the others is under way or lost: 8 + 3·4 + 6·2 + 6.
    assert_eq!(explored.states, 38);
}

#[test]
fn equal_datagrams_are_not_told_apart() {
    let first = |node: NodeId| Twin { sends: node == N1, received: 0 };
    let explored = explore(&Scenario::of(first), &calm_bounds(2));
    explored.expect_complete();
    // How many of three are under way, and how many of the others are lost: 1 + 2 + 3 + 4.
    assert_eq!(explored.states, 10);
}

/// Sends three equal datagrams.
#[derive(Clone, Debug, Hash)]
struct Twin {
    sends: bool,
    received: u32,
}

impl Algorithm for Twin {
    const NAME: &'static str = "twin";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|it: &mut Self, _: Spray| it.received += 1)
    }

    fn start(&mut self, ctx: &mut Context) {
        if self.sends {
            (0..3).for_each(|_| ctx.send(N2, &Spray(0)));
        }
    }
}

/// Each node but n1 sends its operation to n1, which applies them as they come.
#[derive(Clone, Debug, Hash)]
struct Calculator {
    value: u32,
}

#[derive(Clone, Copy, Event, Debug, Serialize, Deserialize)]
#[event(name = "calculator.operation")]
enum Operation {
    Add(u32),
    Multiply(u32),
}

impl Operation {
    const ALL: [Self; 5] =
        [Self::Add(1), Self::Multiply(2), Self::Add(3), Self::Multiply(5), Self::Add(7)];

    fn apply(self, value: u32) -> u32 {
        match self {
            Self::Add(number) => value + number,
            Self::Multiply(number) => value * number,
        }
    }
}

impl Algorithm for Calculator {
    const NAME: &'static str = "calculator";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|it: &mut Self, operation: Operation| it.value = operation.apply(it.value))
    }

    fn start(&mut self, ctx: &mut Context) {
        let index = ctx.me().0 as usize;
        if let Some(operation) = index.checked_sub(2).and_then(|index| Operation::ALL.get(index)) {
            ctx.send(N1, operation);
        }
    }
}

/// The least number of operations that make `target` of `value`.
fn least(value: u32, target: u32, left: &[Operation]) -> Option<usize> {
    if value == target {
        return Some(0);
    }
    let with = (0..left.len()).filter_map(|index| {
        let mut left = left.to_vec();
        let operation = left.remove(index);
        Some(1 + least(operation.apply(value), target, &left)?)
    });
    with.min()
}

#[test]
fn the_shortest_violation_is_found_first() {
    let mut lengths = BTreeSet::new();
    for target in 1..=120 {
        let scenario = Scenario::of(|_| Calculator { value: 1 }).property(Property::always(
            "the target is missed",
            move |cluster: &Cluster<'_, Calculator>| match cluster.state(N1) {
                Some(state) if state.value == target => Err(format!("it is {target}")),
                _ => Ok(()),
            },
        ));
        let explored = explore(&scenario, &calm_bounds(6));
        let found = explored.failure.as_ref().map(|failure| match &failure.schedule.run {
            Recorded::Explored { actions, .. } => actions.len(),
            Recorded::Simulated { .. } => panic!("an exploration records actions"),
        });
        let expected = least(1, target, &Operation::ALL);
        assert_eq!(found, expected, "to {target}");
        assert_eq!(explored.complete, expected.is_none());
        if let Some(length) = expected {
            assert_eq!(explored.depth as usize, length);
        }
        lengths.extend(expected);
    }
    assert_eq!(lengths, (0..=5).collect(), "the targets are near and far");
}

#[test]
fn an_exploration_that_reaches_its_limit_of_states_does_not_claim_to_be_complete() {
    let whole = explore(&shower(1, false, true), &calm_bounds(7));
    whole.expect_complete();
    assert_eq!(whole.states, 64);
    for states_max in [1, 10, 63] {
        let bounds = Bounds { states_max, ..calm_bounds(7) };
        let explored = explore(&shower(1, false, true), &bounds);
        assert!(!explored.complete && explored.failure.is_none());
        assert_eq!(explored.states, states_max);
    }
    let bounds = Bounds { states_max: 64, ..calm_bounds(7) };
    explore(&shower(1, false, true), &bounds).expect_complete();
}

/// Arms its timers at the start; n1 also sends to n2.
#[derive(Clone, Debug, Hash)]
struct Timed {
    timers: Vec<u64>,
    log: Vec<Line>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Line {
    Timer(u64),
    Message,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "timed.fire", local)]
struct Fire(u64);

impl Algorithm for Timed {
    const NAME: &'static str = "timed";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|it: &mut Self, Fire(number): Fire| it.log.push(Line::Timer(number)))
            .on(|it: &mut Self, _: Drop| it.log.push(Line::Message))
    }

    fn start(&mut self, ctx: &mut Context) {
        for timer in &self.timers {
            ctx.after(Duration::from_millis(*timer), &Fire(*timer));
        }
        if ctx.me() == N1 {
            ctx.send(N2, &Drop(0));
        }
    }
}

/// What n2 sees in each run, with timers of `first` and `second`, in ticks of 10 ms or none.
fn logs(first: &[u64], second: &[u64], tick_us: u64) -> BTreeSet<Vec<Line>> {
    let (first, second) = (first.to_vec(), second.to_vec());
    let scenario = Scenario::of(move |node| Timed {
        timers: if node == N1 { first.clone() } else { second.clone() },
        log: Vec::new(),
    });
    let (scenario, seen) =
        watch_rest(scenario, |cluster| cluster.state(N2).map(|state| state.log.clone()));
    explore(&scenario, &Bounds { tick_us, ..calm_bounds(2) }).expect_complete();
    seen.all()
}

#[test]
fn without_a_bound_the_timers_of_a_node_fire_in_the_order_of_its_clock_around_any_message() {
    use Line::{Message, Timer};
    let expected = [
        vec![Message, Timer(10), Timer(20), Timer(30)],
        vec![Timer(10), Message, Timer(20), Timer(30)],
        vec![Timer(10), Timer(20), Message, Timer(30)],
        vec![Timer(10), Timer(20), Timer(30), Message],
    ];
    assert_eq!(logs(&[], &[30, 10, 20], 0), expected.into());
}

#[test]
fn with_a_bound_a_message_is_there_before_any_later_timer() {
    use Line::{Message, Timer};
    let early = vec![Message, Timer(10), Timer(20), Timer(30)];
    let at_the_bound = vec![Timer(10), Message, Timer(20), Timer(30)];
    assert_eq!(logs(&[], &[30, 10, 20], 10_000), [early, at_the_bound].into());
    assert_eq!(logs(&[], &[20], 10_000), [vec![Message, Timer(20)]].into());
}

/// In which order the timers of two nodes fire.
fn orders(first: u64, second: u64, tick_us: u64) -> BTreeSet<(bool, bool)> {
    let scenario = Scenario::of(move |node| Timed {
        timers: vec![if node == N1 { first } else { second }],
        log: Vec::new(),
    });
    let (scenario, seen) = watch(scenario, |cluster| {
        let has_fired = |node| {
            let state: &Timed = cluster.state(node)?;
            Some(state.log.iter().any(|line| matches!(line, Line::Timer(_))))
        };
        Some((has_fired(N1)?, has_fired(N2)?))
    });
    explore(&scenario, &Bounds { tick_us, ..calm_bounds(2) }).expect_complete();
    seen.all()
}

#[test]
fn timers_of_different_nodes_keep_their_order_only_with_a_common_clock() {
    let all = BTreeSet::from([(false, false), (false, true), (true, false), (true, true)]);
    let first_only = BTreeSet::from([(false, false), (true, false), (true, true)]);
    assert_eq!(orders(10, 20, 10_000), first_only);
    assert_eq!(orders(10, 10, 10_000), all);
    assert_eq!(orders(10, 20, 0), all);
}

#[test]
fn an_application_speaks_at_its_time_under_a_common_clock_and_at_any_time_without() {
    let spoken = |tick_us| {
        let scenario = Scenario::of(|_| Timed { timers: vec![20, 40], log: Vec::new() })
            .trigger(N1, ms(50), &Fire(5))
            .trigger(N1, ms(30), &Fire(3));
        let (scenario, seen) =
            watch_rest(scenario, |cluster| cluster.state(N1).map(|state| state.log.clone()));
        explore(&scenario, &Bounds { tick_us, ..calm_bounds(2) }).expect_complete();
        seen.all()
    };
    let line = [20, 3, 40, 5].map(Line::Timer).to_vec();
    assert_eq!(spoken(10_000), [line].into());
    assert_eq!(spoken(0).len(), 6, "two of its own among two of the application");
}

#[test]
fn runs_longer_than_the_bound_are_cut_and_said_to_be() {
    for depth_max in 0..6 {
        let bounds = Bounds { depth_max, ..calm_bounds(7) };
        let explored = explore(&shower(1, false, true), &bounds);
        assert_eq!((explored.complete, explored.cut), (false, Some(Limit::Depth)));
        // Subsets of six, up to a size.
        let subsets = [1, 7, 22, 42, 57, 63];
        assert_eq!((explored.states, explored.depth), (subsets[depth_max as usize], depth_max));
        let scenario = shower(1, false, true);
        let depth = Exploration::new(&scenario, bounds.clone()).depth_first().run();
        assert_eq!((depth.cut, depth.depth), (Some(Limit::Depth), depth_max));
        let reduced = Exploration::new(&scenario, bounds).reduced().expect("no promises").run();
        assert_eq!(reduced.cut, Some(Limit::Depth));
    }
    let whole = Bounds { depth_max: 6, ..calm_bounds(7) };
    explore(&shower(1, false, true), &whole).expect_complete();
}

#[test]
fn whoever_watches_can_end_it_and_is_told_how_far_it_is() {
    for depth_first in [false, true] {
        let scenario = shower(3, false, true);
        let mut told = Vec::new();
        let mut watch = |progress: &Progress| {
            told.push(*progress);
            if 1 < told.len() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let exploration = Exploration::new(&scenario, calm_bounds(8)).watch(&mut watch);
        let explored = if depth_first { exploration.depth_first() } else { exploration }.run();
        assert_eq!((explored.complete, explored.cut), (false, Some(Limit::Watcher)));
        assert!(explored.states < 4_u64.pow(7));
        assert_eq!(told.len(), 2);
        assert!(told[0].states <= told[1].states && told[0].transitions < told[1].transitions);
        assert!(told.iter().all(|progress| 0 < progress.frontier));
    }
}

#[test]
fn what_an_exploration_takes_in_memory_is_stated() {
    let explored = explore(&shower(3, false, true), &calm_bounds(8));
    explored.expect_complete();
    assert_eq!((explored.states, explored.frontier), (4_u64.pow(7), 0));
    // A fingerprint and the way to it for each state, more for those of the two widest depths.
    assert!((24..120).contains(&(explored.bytes / explored.states)), "{}", explored.bytes);
    // Each receiver has 0 to 3 messages; n1 is one, and none has started before it does.
    assert_eq!(explored.places, 7 * 4 + 1 + 8);
}

#[test]
fn as_many_datagrams_are_lost_as_the_budget_allows() {
    let choose = |count: u32, of: u32| {
        (0..count).map(|it| of - it).product::<u32>() / (1..=count).product::<u32>()
    };
    for (each, losses) in [(3, 0), (3, 1), (4, 2), (4, 4), (3, 9)] {
        let bounds = Bounds { losses, ..calm_bounds(2) };
        let explored = explore(&shower(each, true, false), &bounds);
        explored.expect_complete();
        // So many are lost, and each of the others is under way or there.
        let expected = (0..=losses.min(each)).map(|lost| choose(lost, each) << (each - lost));
        assert_eq!(explored.states, expected.map(u64::from).sum::<u64>());
    }
}

#[test]
fn links_that_lose_messages_lose_as_many_as_the_budget_allows_and_keep_the_order_of_the_rest() {
    for (losses, subsets) in [(0, 1), (1, 4), (2, 7), (u32::MAX, 8)] {
        let (scenario, seen) = watch_rest(shower(3, false, true), |cluster| {
            cluster.state(N2).map(|state| state.received.clone())
        });
        let bounds = Bounds { losses, lossy: true, ..calm_bounds(2) };
        explore(&scenario, &bounds).expect_complete();
        assert_eq!(seen.all().len(), subsets, "{losses}");
        assert!(seen.all().iter().all(|received| received.is_sorted()), "{losses}");
    }
}

#[test]
fn a_lost_message_breaks_an_assumption_and_replays_and_is_told_where_the_model_has_it() {
    let scenario = shower(2, false, true).property(Property::at_rest(
        "all come",
        |cluster: &Cluster<'_, Shower>| match cluster.state(N2) {
            Some(state) if state.received.len() < 2 => Err(String::from("one is missing")),
            _ => Ok(()),
        },
    ));
    let lossy = Bounds { losses: 1, lossy: true, ..calm_bounds(2) };
    let explored = explore(&scenario, &lossy);
    let failure = explored.expect_failure();
    assert_eq!(failure.schedule.dropped, ["no message is lost between live nodes"]);
    assert!(failure.text.contains("act lose shower.drop n1>n2"), "{}", failure.text);
    let read = failure.text.parse().expect("a schedule");
    assert_eq!(replay(&scenario, &read).violation.as_ref(), Some(&failure.violation));
    let model = Model::ASYNCHRONOUS.over(Links::FairLoss);
    assert_eq!(calm_bounds(2).not_explored(&model), ["lost messages", "repeated messages"]);
    assert_eq!(lossy.not_explored(&model), ["repeated messages"]);
}

#[test]
fn messages_come_again_as_often_as_the_budget_allows() {
    let heard = |copies, as_datagrams| {
        let scenario = shower(1, as_datagrams, true);
        let (scenario, seen) =
            watch_rest(scenario, |cluster| cluster.state(N2).map(|state| state.received.len()));
        explore(&scenario, &Bounds { copies, losses: 0, ..calm_bounds(2) }).expect_complete();
        seen.list()
    };
    for as_datagrams in [false, true] {
        assert_eq!(heard(0, as_datagrams), [1]);
        assert_eq!(heard(3, as_datagrams), [1, 2, 3, 4]);
    }
}

#[test]
fn without_order_messages_of_one_lane_overtake_each_other_and_none_is_lost() {
    let scenario = shower(3, false, true);
    let (scenario, seen) =
        watch_rest(scenario, |cluster| cluster.state(N2).map(|state| state.received.clone()));
    let explored = explore(&scenario, &Bounds { unordered: true, ..calm_bounds(2) });
    explored.expect_complete();
    // Every sequence of different ones: 1 + 3 + 6 + 6; at rest all have come.
    assert_eq!((explored.states, seen.all().len()), (16, 6));
}

#[test]
fn a_message_that_comes_again_breaks_an_assumption_and_replays() {
    let scenario = shower(1, false, true).property(Property::always(
        "each comes once",
        |cluster: &Cluster<'_, Shower>| match cluster.state(N2) {
            Some(state) if 1 < state.received.len() => Err(String::from("it comes again")),
            _ => Ok(()),
        },
    ));
    let explored = explore(&scenario, &Bounds { copies: 1, ..calm_bounds(2) });
    let failure = explored.expect_failure();
    assert_eq!(failure.schedule.dropped, ["no message arrives twice"]);
    assert!(failure.text.contains("act repeat shower.drop n1>n2"), "{}", failure.text);
    let read = failure.text.parse().expect("a schedule");
    assert_eq!(replay(&scenario, &read).violation.as_ref(), Some(&failure.violation));
}

/// Shifts in a digit for each tick of its timer: a node of very many local states.
#[derive(Clone, Debug, Hash)]
struct Register {
    ticks: u32,
    digits: u32,
}

const DIGITS: u32 = 10;
const TICKS: u32 = 50;

impl Algorithm for Register {
    const NAME: &'static str = "register";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|it: &mut Self, again: Fire, ctx: &mut Context| {
            it.ticks += 1;
            it.digits = (2 * it.digits + ctx.choose(2)) % (1 << DIGITS);
            if it.ticks < TICKS {
                ctx.after(Duration::ZERO, &again);
            }
        })
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.after(Duration::ZERO, &Fire(0));
    }
}

#[test]
fn local_states_that_are_needed_no_more_are_forgotten_and_nothing_else_changes() {
    let scenario = Scenario::of(|_| Register { ticks: 0, digits: 0 });
    let all = (0..=TICKS).map(|ticks| 1 << ticks.min(DIGITS)).sum::<u64>();
    let exploration = || Exploration::new(&scenario, calm_bounds(1));
    let two = exploration().threads(2).run();
    for explored in [exploration().run(), two, exploration().depth_first().run()] {
        explored.expect_complete();
        assert_eq!((explored.states, explored.transitions), (all, 2 * (all - (1 << DIGITS))));
        assert_eq!(explored.depth, TICKS);
        assert!(explored.places < all, "{} are kept", explored.places);
    }
}
