//! That a reduced exploration says what a full one says, and that depth first is breadth first in
//! another order: on hundreds of small random algorithms.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, NodeId, Property, Random};
use synod_simulator::{Bounds, Exploration, Explored, Scenario, Window};

use crate::kit::{N1, N2, Seen, ms, watch_local, watch_rest, window};

/// An algorithm that a seed has made up: what a node does depends on its value, on what comes,
/// and on nothing else that anybody could understand.
#[derive(Clone, Debug, Hash)]
struct MadeUp {
    world: World,
    value: u8,
}

/// Which kinds of things happen in a made-up algorithm.
#[derive(Clone, Copy, Debug, Hash)]
struct World {
    seed: u64,
    nodes: u32,
    /// How often what is sent may lead to something that is sent.
    hops: u8,
    datagrams: bool,
    timers: bool,
    choices: bool,
    durable: bool,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "made_up.word")]
struct Word(u8, u8);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "made_up.scrap", unreliable)]
struct Scrap(u8, u8);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "made_up.alarm", local)]
struct Alarm(u8, u8);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "made_up.value", local)]
struct Value(u8);

/// How many values a node can have.
const VALUES: u64 = 5;

impl Algorithm for MadeUp {
    const NAME: &'static str = "made-up";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|it: &mut Self, Word(word, hops): Word, ctx: &mut Context| {
                it.act(1, word, hops, ctx);
            })
            .on(|it: &mut Self, Scrap(word, hops): Scrap, ctx: &mut Context| {
                it.act(2, word, hops, ctx);
            })
            .on(|it: &mut Self, Alarm(word, hops): Alarm, ctx: &mut Context| {
                it.act(3, word, hops, ctx);
            })
            .restore(|it: &mut Self, Value(value): Value| it.value = value)
    }

    fn start(&mut self, ctx: &mut Context) {
        let hops = if ctx.incarnation() == 1 { self.world.hops } else { 0 };
        self.act(0, 0, hops, ctx);
    }
}

impl MadeUp {
    fn act(&mut self, kind: u64, word: u8, hops: u8, ctx: &mut Context) {
        let World { seed, nodes, datagrams, timers, choices, durable, .. } = self.world;
        let what = [kind, u64::from(word), u64::from(self.value), u64::from(ctx.me().0)];
        let seed =
            what.iter().fold(seed, |all, it| Random::new(all ^ it.wrapping_mul(0x9e37)).next_u64());
        let mut random = Random::new(seed);
        let mut below = |bound: u64| u8::try_from(random.below(bound)).expect("a small bound");
        self.value = below(VALUES);
        if choices && below(4) == 0 {
            self.value = (self.value + u8::try_from(ctx.choose(2)).expect("0 or 1")) % 5;
        }
        if durable && below(3) == 0 {
            ctx.persist(&Value(self.value));
        }
        let Some(left) = hops.checked_sub(1) else {
            return;
        };
        for _ in 0..below(3) {
            let (to, word) = (NodeId(1 + u32::from(below(u64::from(nodes)))), below(2));
            match below(4) {
                0 if datagrams && to != ctx.me() => ctx.send(to, &Scrap(word, left)),
                1 if timers => {
                    let delay = Duration::from_millis(10 * u64::from(1 + below(2)));
                    ctx.after(delay, &Alarm(word, left));
                }
                2 if timers => ctx.cancel(&Alarm(word, left)),
                _ => ctx.send(to, &Word(word, left)),
            }
        }
    }
}

fn world(seed: u64) -> World {
    let mut random = Random::new(seed);
    let mut one_in = |count| random.below(count) == 0;
    let nodes = if one_in(3) { 2 } else { 3 };
    World {
        seed,
        nodes,
        hops: if one_in(3) {
            3
        } else if one_in(2) {
            2
        } else {
            1
        },
        datagrams: one_in(2),
        timers: one_in(2),
        choices: one_in(3),
        durable: one_in(2),
    }
}

/// Bounds of one sort or another.
fn bounds(world: World) -> Bounds {
    let mut random = Random::new(!world.seed);
    let crashes = u32::from(random.below(3) == 0);
    let recoveries = if random.below(2) == 0 { crashes } else { 0 };
    let tick_us = if random.below(3) == 0 { 10_000 } else { 0 };
    let losses = if random.below(2) == 0 { 1 } else { u32::MAX };
    let copies = u32::from(random.below(6) == 0);
    let unordered = random.below(4) == 0;
    let timers = match random.below(4) {
        1 if 0 < tick_us => window("50..100"),
        2 if 0 < tick_us => window("100..150"),
        3 if 0 < tick_us => window("50..150"),
        _ => Window::EXACT,
    };
    let lossy = random.below(4) == 0;
    let calm = Bounds::calm(world.nodes);
    let faults = Bounds { crashes, recoveries, down_max: crashes, losses, copies, ..calm };
    Bounds { tick_us, timers, unordered, lossy, ..faults }
}

fn scenario(world: World) -> Scenario<MadeUp> {
    Scenario::of(move |_| MadeUp { world, value: 0 })
}

/// What one way to explore found.
struct Found {
    explored: Explored,
    local: BTreeSet<(NodeId, u8)>,
    at_rest: BTreeSet<Vec<Option<u8>>>,
}

fn found(scenario: Scenario<MadeUp>, run: impl FnOnce(&Scenario<MadeUp>) -> Explored) -> Found {
    let (scenario, local): (_, Seen<(NodeId, u8)>) =
        watch_local(scenario, |node, state: &MadeUp| (node, state.value));
    let (scenario, at_rest) = watch_rest(scenario, |cluster: &Cluster<'_, MadeUp>| {
        let nodes = (1..=cluster.size()).map(|it| NodeId(u32::try_from(it).expect("few")));
        Some(nodes.map(|node| cluster.state(node).map(|state| state.value)).collect())
    });
    let explored = run(&scenario);
    Found { explored, local: local.all(), at_rest: at_rest.all() }
}

/// States of a full exploration at most; larger algorithms are left out.
const STATES_MAX: u64 = 400;
/// States of all runs of a reduced one at most.
const RUNS_MAX: u64 = 2_000;

fn full(world: World, scenario: Scenario<MadeUp>) -> Option<Found> {
    let bounds = Bounds { states_max: STATES_MAX, ..bounds(world) };
    let found = found(scenario, |it| Exploration::new(it, bounds).run());
    found.explored.cut.is_none().then_some(found)
}

fn reduced(world: World, scenario: Scenario<MadeUp>) -> Option<Found> {
    let bounds = Bounds { states_max: RUNS_MAX, ..bounds(world) };
    let found = found(scenario, |it| {
        Exploration::new(it, bounds).reduced().expect("only local promises and at rest").run()
    });
    found.explored.cut.is_none().then_some(found)
}

#[test]
fn a_reduced_exploration_finds_every_local_state_and_every_end_that_a_full_one_finds() {
    let (mut compared, mut fewer, mut early_or_late) = (0, 0, 0);
    for seed in 0..400 {
        let world = world(seed);
        let Some(full) = full(world, scenario(world)) else {
            continue;
        };
        let Some(reduced) = reduced(world, scenario(world)) else {
            continue;
        };
        assert_eq!(full.local, reduced.local, "local states, seed {seed}: {:?}", bounds(world));
        assert_eq!(full.at_rest, reduced.at_rest, "ends, seed {seed}: {:?}", bounds(world));
        compared += 1;
        fewer += usize::from(reduced.explored.states < full.explored.transitions);
        early_or_late += usize::from(world.timers && !bounds(world).timers.is_exact());
    }
    assert!(200 < compared, "{compared} are small enough");
    assert!(compared / 4 < fewer, "{fewer} of {compared} are reduced");
    assert!(20 < early_or_late, "{early_or_late} have windows of timers");
}

#[test]
fn a_reduced_exploration_gives_the_verdict_of_a_full_one() {
    let (mut broken, mut kept) = (0, 0);
    for seed in 0..400 {
        let world = world(seed);
        let wrong = u8::try_from(seed % VALUES).expect("a small value");
        let promised = |scenario: Scenario<MadeUp>| {
            let local = Property::local("n1 avoids a value", move |node, state: &MadeUp| {
                if node == N1 && state.value == wrong { Err("it has it".into()) } else { Ok(()) }
            });
            let rest =
                Property::at_rest("n1 and n2 differ", move |cluster: &Cluster<'_, MadeUp>| {
                    let value = |node| cluster.state(node).map_or(wrong, |state| state.value);
                    if value(N1) == wrong && value(N2) == wrong {
                        Err("both".into())
                    } else {
                        Ok(())
                    }
                });
            if seed % 2 == 0 { scenario.property(local) } else { scenario.property(rest) }
        };
        let (Some(full), Some(reduced)) =
            (full(world, promised(scenario(world))), reduced(world, promised(scenario(world))))
        else {
            continue;
        };
        let verdict = |found: &Found| {
            found.explored.failure.as_ref().map(|failure| failure.violation.property.clone())
        };
        assert_eq!(verdict(&full), verdict(&reduced), "seed {seed}");
        if verdict(&full).is_some() { broken += 1 } else { kept += 1 }
    }
    assert!(50 < broken && 50 < kept, "{broken} broken, {kept} kept");
}

#[test]
fn depth_first_visits_the_same_states_in_another_order() {
    for seed in 0..100 {
        let world = world(seed);
        let Some(breadth) = full(world, scenario(world)) else {
            continue;
        };
        let depth =
            found(scenario(world), |it| Exploration::new(it, bounds(world)).depth_first().run());
        assert_eq!(breadth.explored.states, depth.explored.states, "seed {seed}");
        assert_eq!(breadth.explored.transitions, depth.explored.transitions, "seed {seed}");
        assert_eq!((breadth.local, breadth.at_rest), (depth.local, depth.at_rest), "seed {seed}");
        assert!(breadth.explored.depth <= depth.explored.depth);
        depth.explored.expect_complete();
    }
}

#[test]
fn depth_first_leaves_out_no_state_that_few_steps_lead_to() {
    let mut cut = 0;
    for seed in 0..100 {
        let world = world(seed);
        for depth_max in [2, 4, 6] {
            let bounds = Bounds { depth_max, ..bounds(world) };
            let breadth = found(scenario(world), |it| Exploration::new(it, bounds.clone()).run());
            let depth = found(scenario(world), |it| {
                Exploration::new(it, bounds.clone()).depth_first().run()
            });
            let states = |found: &Found| (found.explored.states, found.explored.cut);
            assert_eq!(states(&breadth), states(&depth), "seed {seed}, {depth_max} steps");
            assert_eq!((breadth.local, breadth.at_rest), (depth.local, depth.at_rest), "{seed}");
            cut += usize::from(depth.explored.cut.is_some());
        }
    }
    assert!(100 < cut, "{cut} are cut");
}

#[test]
fn threads_change_nothing_that_is_found() {
    for seed in 0..60 {
        let world = world(seed);
        let wrong = u8::try_from(seed % VALUES).expect("a small value");
        let scenario = scenario(world).property(Property::always(
            "n1 and n2 never both have a value",
            move |cluster: &Cluster<'_, MadeUp>| {
                let has = |node| cluster.state(node).is_some_and(|state| state.value == wrong);
                if has(N1) && has(N2) { Err("both have it".into()) } else { Ok(()) }
            },
        ));
        let bounds = Bounds { states_max: STATES_MAX, ..bounds(world) };
        let [one, two, three] = [1, 2, 3].map(|threads| {
            let explored = Exploration::new(&scenario, bounds.clone()).threads(threads).run();
            let Explored { states, transitions, depth, frontier, cut, failure, .. } = explored;
            let text = failure.map(|failure| failure.text);
            (states, transitions, depth, frontier, cut, text)
        });
        assert_eq!(one, two, "seed {seed}");
        assert_eq!(one, three, "seed {seed}");
    }
}

#[test]
fn a_promise_that_a_reduced_exploration_could_miss_is_refused_by_name() {
    let made_up = scenario(world(1)).property(Property::always("all agree", |_| Ok(())));
    let refused = Exploration::new(&made_up, Bounds::calm(2)).reduced().expect_err("it could miss");
    assert_eq!(refused.property, "all agree");
    assert!(refused.to_string().contains("several nodes at one moment"), "{refused}");
    let later = scenario(world(1)).property(Property::eventually("soon", ms(10), |_| Ok(())));
    let timed = Bounds { tick_us: 10_000, ..Bounds::calm(2) };
    assert!(Exploration::new(&later, timed).reduced().is_err());
    let some = scenario(world(1)).property(Property::sometimes("it happens", |_| true));
    assert!(Exploration::new(&some, Bounds::calm(2)).reduced().is_err());
    let kept = scenario(world(1))
        .property(Property::local("one by one", |_, _| Ok(())))
        .property(Property::at_rest("all agree in the end", |_| Ok(())));
    assert!(Exploration::new(&kept, Bounds::calm(2)).reduced().is_ok());
}

/// n2, n3, .. each send n1 one message, or each send one to a node of their own.
#[derive(Clone, Debug, Hash)]
struct Fan {
    in_pairs: bool,
    got: Vec<u8>,
}

impl Algorithm for Fan {
    const NAME: &'static str = "fan";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|it: &mut Self, Word(word, _): Word| it.got.push(word))
    }

    fn start(&mut self, ctx: &mut Context) {
        let me = ctx.me().0;
        let word = Word(u8::try_from(me).expect("few nodes"), 0);
        match (self.in_pairs, me) {
            (true, me) if me % 2 == 0 => ctx.send(NodeId(me - 1), &word),
            (false, me) if 1 < me => ctx.send(N1, &word),
            _ => (),
        }
    }
}

fn fan(nodes: u32, in_pairs: bool) -> Explored {
    let scenario = Scenario::of(move |_| Fan { in_pairs, got: Vec::new() });
    let exploration = Exploration::new(&scenario, Bounds::calm(nodes));
    let explored = exploration.reduced().expect("nothing is promised").run();
    explored.expect_complete();
    explored
}

#[test]
fn messages_to_one_node_come_in_every_order_and_messages_to_different_nodes_in_one() {
    for (senders, orders) in [(1, 1), (2, 2), (3, 6), (4, 24), (5, 120)] {
        assert_eq!(fan(senders + 1, false).executions, orders, "{senders} senders");
        assert_eq!(fan(2 * senders, true).executions, 1, "{senders} pairs");
    }
}

#[test]
fn an_estimate_comes_near_the_number_of_runs() {
    let estimate = |in_pairs, nodes| {
        let scenario = Scenario::of(move |_| Fan { in_pairs, got: Vec::new() });
        Exploration::new(&scenario, Bounds::calm(nodes)).estimate(100)
    };
    // Where every run has as many ways to go on, each probe is exact: 5 factorial.
    let even = estimate(false, 6);
    assert_eq!((even.runs, even.runs_median, even.depth), (120.0, 120.0, 5));
    assert_eq!((even.probes, even.cut, even.violations), (100, 0, 0));
    assert_eq!(estimate(true, 4).runs, 2.0);
    let scenario = scenario(World { hops: 2, ..world(3) });
    let exploration = || Exploration::new(&scenario, Bounds::calm(world(3).nodes));
    assert_eq!(exploration().estimate(50), exploration().estimate(50));
    let cut = Exploration::new(&scenario, Bounds { depth_max: 0, ..Bounds::calm(2) }).estimate(3);
    assert_eq!(cut.depth, 0);
}
