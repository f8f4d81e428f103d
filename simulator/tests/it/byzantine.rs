//! Algorithms among traitors: the one made for them passes, the others are found.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Assumption, Cluster, Context, Event, Faults, Handlers, Model, NodeId, Property,
    Tolerance, Verdict,
};
use synod_simulator::{Fault, Scenario, Schedule, Simulation, replay};

use crate::kit::N1;

/// n1 broadcasts a value; it is delivered upon so many echoes of it, which is safe for more than
/// (n + f) / 2 of them. Upon none: a relayed value is delivered as it comes, which survives
/// crashes and no lies.
#[derive(Clone, Debug, Default, Hash)]
struct Echoing {
    quorum: usize,
    has_echoed: bool,
    echoes: BTreeMap<u32, BTreeSet<NodeId>>,
    delivered: Option<u32>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "echoing.value")]
struct Value(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "echoing.echo")]
struct Echo(u32);

impl Algorithm for Echoing {
    const NAME: &'static str = "echoing";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::value).on(Self::echo)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() == N1 {
            let value = ctx.choose(2);
            ctx.broadcast(&Value(value));
        }
    }
}

impl Echoing {
    fn value(&mut self, Value(value): Value, from: NodeId, ctx: &mut Context) {
        if from == N1 && !self.has_echoed {
            self.has_echoed = true;
            ctx.broadcast(&Echo(value));
        }
    }

    fn echo(&mut self, Echo(value): Echo, from: NodeId) {
        let voters = self.echoes.entry(value).or_default();
        voters.insert(from);
        if self.quorum <= voters.len() && self.delivered.is_none() {
            self.delivered = Some(value);
        }
    }
}

const AGREEMENT: &str = "all deliver the same";

fn all_deliver_the_same(cluster: &Cluster<'_, Echoing>) -> Verdict {
    let values: BTreeSet<u32> = cluster.live().filter_map(|(_, it)| it.delivered).collect();
    if values.len() <= 1 { Ok(()) } else { Err(format!("{values:?} are delivered")) }
}

fn a_correct_sender_is_heard(cluster: &Cluster<'_, Echoing>) -> Verdict {
    let deaf = cluster.live().find(|(_, it)| it.delivered.is_none());
    match (cluster.state(N1), deaf) {
        (Some(_), Some((node, _))) => Err(format!("{node} delivers nothing")),
        _ => Ok(()),
    }
}

fn echoing(quorum: usize, faults: Faults) -> Scenario<Echoing> {
    let make = move |_| Echoing { quorum, ..Echoing::default() };
    let model = Model::ASYNCHRONOUS.tolerating(faults);
    let scenario = Scenario::new("echoing", model, make).expect("one algorithm");
    scenario
        .property(Property::always(AGREEMENT, all_deliver_the_same))
        .property(Property::at_rest("a correct sender is heard", a_correct_sender_is_heard))
}

const ONE_TRAITOR: Faults = Faults::Byzantine(Tolerance::Exactly(1));

fn simulation(scenario: &Scenario<Echoing>, nodes: u32) -> Simulation<'_> {
    Simulation::new(scenario, nodes).settings(|it| it.time_us = 200_000)
}

#[test]
fn an_algorithm_for_one_traitor_of_four_passes_with_each_kind_of_treason() {
    let scenario = echoing(3, ONE_TRAITOR);
    let report = simulation(&scenario, 4).run(0..2_000);
    report.expect_clean();
    assert_eq!(report.treasons.len(), 6, "{:?}", report.treasons);
    assert!(report.treasons.values().all(|runs| 50 < *runs), "{:?}", report.treasons);
}

#[test]
fn a_quorum_too_small_is_found_and_the_shrunk_run_is_replayed() {
    let scenario = echoing(2, ONE_TRAITOR);
    let report = simulation(&scenario, 4).run(0..5_000);
    let failure = report.expect_failure();
    assert_eq!(failure.violation.property, AGREEMENT);
    let schedule: Schedule = failure.text.parse().expect("a schedule reads back");
    let again = replay(&scenario, &schedule);
    assert_eq!(again.trace.hash(), failure.trace.hash());
    assert_eq!(
        (again.found, again.violation.as_ref()),
        (again.decisions, Some(&failure.violation))
    );
    assert!(failure.text.contains("decide traitor.node 1 #1 = "), "{}", failure.text);
    assert!(schedule.dropped.is_empty(), "within the model");
}

#[test]
fn three_nodes_are_too_few_for_one_traitor_whatever_the_quorum() {
    let violated = |quorum| {
        let scenario = echoing(quorum, ONE_TRAITOR);
        let report = simulation(&scenario, 3).run(0..5_000);
        report.expect_failure().violation.property.clone()
    };
    assert_eq!(violated(2), AGREEMENT);
    assert_eq!(violated(3), "a correct sender is heard");
}

#[test]
fn an_algorithm_that_survives_crashes_does_not_survive_lies() {
    let scenario = echoing(1, Faults::CrashStop(Tolerance::Exactly(1)));
    simulation(&scenario, 4).run(0..1_000).expect_clean();
    let report = simulation(&scenario, 4).with(Fault::Byzantine).run(0..5_000);
    let failure = report.expect_failure();
    assert_eq!(failure.violation.property, AGREEMENT);
    assert_eq!(report.dropped, [Assumption::HonestNodes]);
    let told = failure.block();
    assert!(told.contains("every node follows the algorithm until it stops"), "{told}");
}

#[test]
fn what_is_found_with_another_program_is_replayed_with_it() {
    let scenario = echoing(2, ONE_TRAITOR).traitor(|_| Forger);
    let report = simulation(&scenario, 4).run(0..5_000);
    let failure = report.expect_failure();
    let schedule: Schedule = failure.text.parse().expect("a schedule reads back");
    assert_eq!(replay(&scenario, &schedule).trace.hash(), failure.trace.hash());
}

/// Tells each half of the others another value, and echoes to each what it wants to hear.
#[derive(Debug, Default)]
struct Forger;

impl Algorithm for Forger {
    const NAME: &'static str = "forger";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::value).on(Self::echo)
    }

    fn start(&mut self, ctx: &mut Context) {
        for side in [0, 1] {
            let is_there = |peer: NodeId| peer.0 % 2 == side && peer != N1;
            ctx.send_where(&Value(side), is_there);
            ctx.send_where(&Echo(side), is_there);
        }
    }
}

impl Forger {
    fn value(&mut self, _: Value) {}

    fn echo(&mut self, _: Echo) {}
}
