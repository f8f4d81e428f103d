//! What algorithms are told of links.

use std::collections::{BTreeMap, BTreeSet};

use synod_core::{
    Algorithm, Cluster, Context, Faults, Handlers, Model, NodeId, PeerDown, PeerUp, Tolerance,
};
use synod_simulator::{Bounds, Scenario, Settings, StepKind, Stream, explore, run};

use crate::kit::{N1, N2, run_clean, run_decided, watch, watch_rest};

/// Writes down what it is told of the others: the life of one that is up, 0 for one that is down.
#[derive(Clone, Debug, Default, Hash)]
struct Listener {
    life: u64,
    told: BTreeMap<NodeId, Vec<u64>>,
}

impl Algorithm for Listener {
    const NAME: &'static str = "listener";
    const MODEL: Model =
        Model::ASYNCHRONOUS.tolerating(Faults::CrashRecovery(Tolerance::Exactly(1)));

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::up).on(Self::down)
    }

    fn start(&mut self, ctx: &mut Context) {
        self.life = ctx.incarnation();
    }
}

impl Listener {
    fn up(&mut self, PeerUp { peer, incarnation }: PeerUp) {
        self.told.entry(peer).or_default().push(incarnation);
    }

    fn down(&mut self, PeerDown { peer, .. }: PeerDown) {
        self.told.entry(peer).or_default().push(0);
    }
}

fn listeners() -> Scenario<Listener> {
    Scenario::of(|_| Listener::default())
}

/// What `node` was told of `peer`.
fn told(cluster: &Cluster<'_, Listener>, node: NodeId, peer: NodeId) -> Option<Vec<u64>> {
    Some(cluster.state(node)?.told.get(&peer).cloned().unwrap_or_default())
}

#[test]
fn every_node_learns_once_of_every_other_that_it_is_up() {
    let (scenario, seen) = watch_rest(listeners(), |cluster| {
        Some(cluster.live().map(|(_, state)| state.told.clone()).collect::<Vec<_>>())
    });
    (0..50).for_each(|seed| run_clean(&scenario, &Settings::calm(3), seed));
    let all = seen.list();
    assert_eq!(all.len(), 1);
    for (node, told) in (1..).zip(&all[0]) {
        let others = (1..=3).filter(|peer| *peer != node);
        let others: BTreeMap<_, _> = others.map(|it| (NodeId(it), vec![1])).collect();
        assert_eq!(told, &others);
    }
}

#[test]
fn a_crash_and_a_restart_are_told_to_the_others_and_the_restarted_node_learns_who_is_there() {
    let (scenario, seen) =
        watch_rest(listeners(), |cluster| Some((told(cluster, N1, N2)?, told(cluster, N2, N1)?)));
    let settings = Settings { crashes: 1, down_max: 1, down_us: 1_000_000, ..Settings::calm(2) };
    let crash = ["crash.node 1 #1 = 2", "crash.at 1 #1 = 1000000", "crash.down 1 #1 = 500000"];
    assert_eq!(run_decided(&scenario, &settings, &crash).violation, None);
    // The cluster is at rest before the crash, and after the restart.
    assert_eq!(seen.list(), [(vec![1], vec![1]), (vec![1, 0, 2], vec![1])]);
}

/// Whether the news about one peer could come from a link: up and down alternate, and each life is
/// later than the one before.
fn is_a_story(told: &[u64]) -> bool {
    let lives: Vec<u64> = told.iter().copied().step_by(2).collect();
    let is_down = told.iter().skip(1).step_by(2).all(|life| *life == 0);
    is_down && !lives.contains(&0) && lives.is_sorted_by(|one, other| one < other)
}

#[test]
fn up_and_down_of_a_peer_alternate_whatever_the_delays() {
    let (scenario, seen) = watch(listeners(), |cluster| {
        Some(cluster.live().flat_map(|(_, state)| state.told.values().cloned()).collect::<Vec<_>>())
    });
    // Lives are shorter than the news of them may take.
    let settings =
        Settings { crashes: 6, down_max: 1, down_us: 3_000, time_us: 60_000, ..Settings::calm(3) };
    (0..500).for_each(|seed| run_clean(&scenario, &settings, seed));
    let stories: BTreeSet<_> = seen.all().into_iter().flatten().collect();
    assert!(stories.contains(&vec![1, 0, 2]));
    for story in stories {
        assert!(is_a_story(&story), "{story:?}");
    }
}

#[test]
fn the_exploration_tells_the_same_of_links_as_the_simulation() {
    let look = |cluster: &Cluster<'_, Listener>| {
        let lives = (cluster.state(N1)?.life, cluster.state(N2)?.life);
        (lives == (1, 2)).then_some(())?;
        Some((told(cluster, N1, N2)?, told(cluster, N2, N1)?))
    };
    let (scenario, seen) = watch_rest(listeners(), look);
    explore(&scenario, &Bounds::within(&Listener::MODEL, 2)).expect_complete();
    let explored = seen.all();
    let settings = Settings { crashes: 1, ..Settings::within(&Listener::MODEL, 2) };
    let (scenario, seen) = watch_rest(listeners(), look);
    (0..300).for_each(|seed| run_clean(&scenario, &settings, seed));
    assert_eq!(explored, seen.all());
}

/// Has no ear for links.
#[derive(Clone, Debug, Default, Hash)]
struct Deaf;

impl Algorithm for Deaf {
    const NAME: &'static str = "deaf";
    const MODEL: Model = Listener::MODEL;

    fn handlers() -> Handlers<Self> {
        Handlers::new()
    }
}

#[test]
fn nobody_is_told_who_does_not_listen() {
    let scenario = Scenario::of(|_| Deaf);
    for seed in 0..50 {
        let settings = Settings::within(&Deaf::MODEL, 3);
        let (outcome, _) = run(&scenario, &settings, Stream::seeded(seed), true);
        assert!(outcome.trace.steps.iter().all(|step| step.kind != StepKind::Told));
    }
    let explored = explore(&scenario, &Bounds::within(&Deaf::MODEL, 2));
    assert_eq!(explored.states, 5, "all up, either down, either back");
}
