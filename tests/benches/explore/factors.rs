//! What is saved where names, and the order of independent events, are not told apart: on the
//! library's own algorithms, each explored in all ways with the same verdict.

use std::hash::Hash;
use std::time::Duration;

use synod_algorithms::commit::two_phase::{Commit, TwoPhase};
use synod_algorithms::consensus::paxos::{Paxos, Propose};
use synod_algorithms::register::abd::{Abd, Write};
use synod_algorithms::wave::echo::{Begin, Echo};
use synod_core::{Algorithm, Cluster, Event, NodeId, Property};
use synod_simulator::{Bounds, Exploration, Explored, Scenario};

use super::grouped;

/// Visits of states in a reduced exploration, at most.
const VISITS_MAX: u64 = 1_000_000;

pub(crate) fn print() {
    println!(
        "\nsynod's own algorithms, one node asked once, no crashes, every way with the same verdict"
    );
    println!(
        "{:<28} {:>10} {:>10} {:>8} {:>11} {:>12} {:>12} {:>12}",
        "", "states", "symmetric", "factor", "steps", "reduced", "collecting", "runs"
    );
    for nodes in [3, 4, 5] {
        row("echo", nodes, |_| Echo::default(), &Begin, Echo::decided);
    }
    for nodes in [3, 4] {
        let commit = Commit { operation: 1 };
        row("two-phase commit", nodes, |_| TwoPhase::default(), &commit, TwoPhase::outcome);
    }
    for nodes in [3, 4, 5] {
        let propose = Propose { operation: 1, value: 7 };
        row("Paxos", nodes, |_| Paxos::giving_up_after(1), &propose, Paxos::decision);
    }
    for nodes in [3, 4, 5] {
        let write = Write { operation: 1, value: 7 };
        row("ABD", nodes, |_| Abd::default(), &write, Abd::value);
    }
}

/// Explores one algorithm in every way. At rest, nobody disagrees about `result`.
fn row<A, V>(
    name: &str,
    nodes: u32,
    make: fn(NodeId) -> A,
    asked: &impl Event,
    result: fn(&A) -> Option<V>,
) where
    A: Algorithm + Clone + std::fmt::Debug + Hash + Sync,
    V: PartialEq + 'static,
{
    let agreement = move |cluster: &Cluster<'_, A>| {
        let mut results = cluster.live().filter_map(|(_, state)| result(state));
        let first = results.next();
        match results.all(|other| first.as_ref() == Some(&other)) {
            true => Ok(()),
            false => Err(String::from("two nodes have different results")),
        }
    };
    let scenario = || {
        let scenario = Scenario::new(A::NAME, A::MODEL, make).expect("events that fit together");
        let scenario = scenario.symmetric(A::symmetry()).trigger(NodeId(1), Duration::ZERO, asked);
        scenario.property(Property::at_rest("nobody disagrees", agreement))
    };
    let bounds = Bounds { links_in_any_order: true, states_max: VISITS_MAX, ..Bounds::calm(nodes) };
    let of = |scenario: &Scenario<A>, reduced: bool| {
        let exploration = Exploration::new(scenario, bounds.clone());
        let exploration = if reduced { exploration.reduced() } else { Ok(exploration) };
        exploration.expect("nothing that it would miss").run()
    };
    let plain = scenario();
    let full = of(&plain, false);
    let symmetric = Exploration::new(&plain, bounds.clone()).symmetric();
    let symmetric = symmetric.expect("nodes that were asked for nothing").run();
    let every_order = Property::local("each local state is looked at", |_, _| Ok(()));
    let reduced = of(&scenario().property(every_order), true);
    let collecting = of(&plain, true);
    for found in [&full, &symmetric, &reduced, &collecting] {
        assert!(found.failure.is_none() && found.untrue.is_none(), "{name}: another verdict");
    }
    let steps = |found: &Explored| within(found, found.transitions);
    println!(
        "{:<28} {:>10} {:>10} {:>7.1}x {:>11} {:>12} {:>12} {:>12}",
        format!("{name}, {nodes} nodes"),
        within(&full, full.states),
        within(&symmetric, symmetric.states),
        symmetric.folded.as_ref().map_or(1.0, |it| it.states as f64 / symmetric.states as f64),
        steps(&full),
        steps(&reduced),
        steps(&collecting),
        within(&collecting, collecting.executions),
    );
    if let (true, Some(folded)) = (full.complete && symmetric.complete, &symmetric.folded) {
        assert_eq!(folded.states, full.states, "{name}: the orbits hold another number of states");
    }
}

/// A figure, with a sign where the exploration was cut.
fn within(found: &Explored, figure: u64) -> String {
    let sign = if found.complete { "" } else { ">" };
    format!("{sign}{}", grouped(figure as f64))
}
