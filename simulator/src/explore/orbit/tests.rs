//! Orbits against brute force, on small random algorithms that do not know names.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Context, Event, Handlers, Property, Renamer, Symmetry};

use super::*;
use crate::explore::search::starts;
use crate::explore::{Bounds, Exploration, Explored, Ground, Setting};
use crate::scenario::Scenario;

/// An algorithm that a seed has made up: what a node does depends on its value, on what comes, and
/// on how it knows the sender; never on a name.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
struct Nameless {
    world: World,
    value: u8,
    friend: Option<NodeId>,
    heard: BTreeSet<NodeId>,
    said: BTreeMap<NodeId, u8>,
    line: Vec<NodeId>,
}

#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
struct World {
    seed: u64,
    /// How often what is sent may lead to something that is sent.
    hops: u8,
    datagrams: bool,
    timers: bool,
}

/// A word, how far it may lead, and about whom it is.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(name = "nameless.word")]
struct Word(u8, u8, Option<NodeId>);

#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(name = "nameless.scrap", unreliable)]
struct Scrap(u8, u8, Option<NodeId>);

#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(name = "nameless.alarm", local)]
struct Alarm(u8, Option<NodeId>);

impl Algorithm for Nameless {
    const NAME: &'static str = "nameless";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|it: &mut Self, Word(word, hops, node): Word, from: NodeId, ctx: &mut Context| {
                it.act([1, word, hops], Some(from), node, ctx);
            })
            .on(|it: &mut Self, Scrap(word, hops, node): Scrap, from: NodeId, ctx: &mut Context| {
                it.act([2, word, hops], Some(from), node, ctx);
            })
            .on(|it: &mut Self, Alarm(word, node): Alarm, ctx: &mut Context| {
                it.act([3, word, 1], None, node, ctx);
            })
    }

    fn symmetry() -> Symmetry<Self> {
        Symmetry::of_all()
    }

    fn start(&mut self, ctx: &mut Context) {
        if self.value == 1 {
            self.act([0, 0, self.world.hops], None, None, ctx);
        }
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("few are of one mind", |cluster| {
            let mut minds = BTreeMap::new();
            for (_, Self { value, said, .. }) in cluster.live() {
                *minds.entry((*value, said.len())).or_insert(0) += 1;
            }
            match minds.into_iter().find(|((value, said), count)| *value == 3 && *said == *count) {
                Some((mind, count)) => Err(format!("{count} are {mind:?}")),
                None => Ok(()),
            }
        })]
    }
}

impl Nameless {
    fn act(
        &mut self,
        what: [u8; 3],
        from: Option<NodeId>,
        node: Option<NodeId>,
        ctx: &mut Context,
    ) {
        let knows = [
            from.is_some_and(|from| self.heard.contains(&from)),
            self.friend.is_some() && self.friend == from,
            node.is_some() && node == self.friend,
            node == Some(ctx.me()),
            from.is_some_and(|from| self.line.first() == Some(&from)),
        ];
        let inputs = what.map(u64::from).into_iter().chain(knows.map(u64::from));
        let inputs = inputs.chain([u64::from(self.value), self.heard.len() as u64]);
        let seed = inputs.fold(self.world.seed, |all, it| {
            Random::new(all ^ it.wrapping_add(1).wrapping_mul(0x9e37)).next_u64()
        });
        let mut random = Random::new(seed);
        let mut one_in = |count| random.below(count) == 0;
        self.value = if one_in(2) { self.value } else { (self.value + what[1] + 1) % 4 };
        if let Some(from) = from {
            if one_in(2) {
                self.heard.insert(from);
            }
            if one_in(2) {
                self.said.insert(from, what[1]);
            }
            if one_in(3) {
                self.line.push(from);
            }
            if one_in(3) {
                self.friend = Some(from);
            }
        }
        let Some(left) = what[2].checked_sub(1) else {
            return;
        };
        let word = u8::from(one_in(2));
        let about = [None, from, self.friend, Some(ctx.me())];
        let about = about[usize::from(one_in(2)) + 2 * usize::from(one_in(2))];
        if self.world.timers && one_in(3) {
            ctx.after(std::time::Duration::from_millis(10), &Alarm(word, about));
        }
        let me = ctx.me();
        let to: Vec<NodeId> = match (one_in(2), from, self.friend) {
            (true, ..) => ctx.peers().iter().copied().filter(|peer| *peer != me).collect(),
            (_, Some(from), None) => vec![from],
            (_, _, Some(friend)) if friend != me => vec![friend],
            _ => Vec::new(),
        };
        for to in to {
            if self.world.datagrams && what[0] != 2 {
                ctx.send(to, &Scrap(word, left, about));
            } else {
                ctx.send(to, &Word(word, left, about));
            }
        }
    }
}

/// A world of `seed` with its nodes, and how many of them begin.
fn scenario(seed: u64) -> (Scenario<Nameless>, World, u32, u32) {
    let mut random = Random::new(seed);
    let mut below = |bound| u32::try_from(random.below(bound)).expect("a small bound");
    let nodes = 2 + below(3);
    let busy = 1 + below(2);
    let hops = if nodes == 4 || busy == 2 { 1 } else { 2 };
    let world = World { seed, hops, datagrams: below(4) == 0, timers: below(3) == 0 };
    let scenario = Scenario::of(move |node| Nameless {
        world,
        value: u8::from(node.0 <= busy),
        friend: None,
        heard: BTreeSet::new(),
        said: BTreeMap::new(),
        line: Vec::new(),
    });
    (scenario, world, nodes, busy)
}

/// With a bound on delays where there are timers, and windows for these, for some seeds.
fn bounds(seed: u64, nodes: u32) -> Bounds {
    let timers = match seed % 3 {
        0 => "100..100",
        1 => "50..100",
        _ => "50..150",
    };
    let timers = timers.parse().expect("a window");
    let tick_us = if seed.is_multiple_of(2) { 10_000 } else { 0 };
    Bounds { states_max: 400, tick_us, timers, ..Bounds::calm(nodes) }
}

/// Those that begin are alike, and the others are.
fn busy_and_idle(nodes: u32, busy: u32) -> Group {
    let class = |nodes: std::ops::RangeInclusive<u32>| nodes.map(NodeId).collect();
    Group::of_classes(vec![class(1..=busy), class(busy + 1..=nodes)])
}

/// Every permutation of a group.
fn all(group: &Group) -> Vec<Permutation> {
    let mut orders = vec![Vec::new()];
    for class in &group.classes {
        let longer = |order: &Vec<NodeId>| -> Vec<Vec<NodeId>> {
            let of_class = group.nodes.iter().zip(&group.classes).filter(|(_, it)| *it == class);
            let free = of_class.map(|(node, _)| node).filter(|node| !order.contains(node));
            free.map(|node| [order.clone(), vec![*node]].concat()).collect()
        };
        orders = orders.iter().flat_map(longer).collect();
    }
    orders.iter().map(|order| group.named(order)).collect()
}

/// The fingerprint of a state in which every local state and every message is another one.
fn renamed(state: &State, names: Permutation, worker: &mut Worker<'_>) -> u128 {
    let mut other = state.clone();
    for place in &state.places {
        let node = names.of(worker.host(*place).node);
        other.places[node.0 as usize - 1] =
            worker.program().renamed(*place, names).expect("it has other names");
    }
    let setting = worker.setting();
    let mut wire: Vec<_> = Vec::new();
    for number in &state.wire {
        let parcel = worker.parcel(*number);
        let parcel = parcel.renamed(setting.catalogue, &mut Renamer::to(names)).expect("so has it");
        wire.push((parcel.link, setting.parcels.number(parcel.print, || Arc::new(parcel))));
    }
    wire.sort_by_key(|(link, _)| *link);
    other.wire = wire.into_iter().map(|(_, number)| number).collect();
    worker.learn();
    worker.weigh(&mut other);
    other.fingerprint()
}

/// All states that are reachable, one by one.
fn reachable(worker: &mut Worker<'_>) -> Vec<State> {
    let mut seen = BTreeSet::new();
    let mut states: Vec<State> =
        starts(worker).into_iter().map(|(_, begun)| begun.expect("nothing is wrong")).collect();
    seen.extend(states.iter().map(State::fingerprint));
    let mut at = 0;
    while let Some(state) = states.get(at).cloned() {
        let flow = worker.expand(&state, &mut |_, taken| {
            let next = taken.outcome.expect("nothing is wrong");
            if seen.insert(next.fingerprint()) {
                states.push(next.clone());
            }
            ControlFlow::Continue(())
        });
        assert!(flow.is_continue());
        at += 1;
    }
    states
}

fn explored(scenario: &Scenario<Nameless>, bounds: &Bounds) -> (Explored, Option<Explored>) {
    let full = Exploration::new(scenario, bounds.clone()).run();
    let folded = Exploration::new(scenario, bounds.clone()).symmetric().ok();
    (full, folded.map(Exploration::run))
}

#[test]
fn there_are_as_many_states_as_orbits_and_the_verdict_is_the_same() {
    let (mut checked, mut violated, mut saved, mut early_or_late) = (0, 0, 0, 0);
    for seed in 0..150 {
        let (scenario, world, nodes, busy) = scenario(seed);
        let bounds = bounds(seed, nodes);
        let (full, folded) = explored(&scenario, &bounds);
        let Some(folded) = folded else {
            assert!(nodes < 4, "four nodes begin in two ways");
            continue;
        };
        assert_eq!(folded.untrue, None, "seed {seed}");
        if full.cut.is_some() {
            continue;
        }
        checked += 1;
        assert_eq!(full.failure.is_some(), folded.failure.is_some(), "seed {seed}");
        if let (Some(one), Some(other)) = (&full.failure, &folded.failure) {
            violated += 1;
            assert_eq!(
                one.trace.steps.len(),
                other.trace.steps.len(),
                "seed {seed}: both shortest"
            );
            let again = crate::replay(&scenario, &other.schedule);
            assert_eq!(
                again.violation.map(|it| it.property),
                Some(other.violation.property.clone())
            );
            continue;
        }
        let ground = Ground::new(&scenario, Setting::of(&scenario, &bounds));
        let mut worker = Worker::new(&ground);
        let states = reachable(&mut worker);
        assert_eq!(states.len() as u64, full.states, "seed {seed}");
        let permutations = all(&busy_and_idle(nodes, busy));
        let mut orbits = BTreeSet::new();
        for state in &states {
            let images = permutations.iter().map(|names| renamed(state, *names, &mut worker));
            orbits.insert(images.min());
        }
        assert_eq!(folded.states, orbits.len() as u64, "seed {seed}");
        let stands_for = folded.folded.expect("it was symmetric");
        assert_eq!(stands_for.permutations, permutations.len() as u64, "seed {seed}");
        assert_eq!(stands_for.states, full.states, "seed {seed}");
        saved += full.states - folded.states;
        early_or_late += u32::from(world.timers && bounds.has_windows());
    }
    assert!(early_or_late > 5, "{early_or_late} have windows of timers");
    assert!(checked > 60 && violated > 10 && saved > 500, "{checked}, {violated}, {saved}");
}
