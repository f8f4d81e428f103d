use synod_core::{Assumption, Boot, Effect, Envelope, Input, Node};
use synod_simulator::{Bounds, Fault, Scenario, Simulation, explore};

use super::*;
use crate::cost::cost;

/// n1 coordinates.
fn asked() -> Scenario<TwoPhase> {
    let scenario = Scenario::of(|_| TwoPhase::default());
    scenario.trigger(NodeId(1), Duration::ZERO, &Commit { operation: 1 })
}

#[test]
fn three_nodes_in_every_schedule_with_a_crash_and_a_recovery() {
    let scenario = Scenario::of(|_| TwoPhase::default()).with_workload();
    let explored = explore(&scenario, &Bounds::within(&TwoPhase::MODEL, 3));
    explored.expect_complete();
    assert_eq!(explored.states, 171_046, "the header says so");
}

#[test]
fn five_nodes_by_ten_thousand_seeds() {
    let scenario = Scenario::of(|_| TwoPhase::default()).with_workload();
    // Messages as slow as crashes are seldom, so that they meet.
    let simulation = Simulation::new(&scenario, 5).settings(|world| {
        (world.time_us, world.delay_max_us, world.down_us) = (6_000_000, 300_000, 1_000_000);
    });
    let report = simulation.run(0..10_000);
    report.expect_clean();
    assert!(report.counts.crashes > 2_000, "{:?}", report.counts);
}

#[test]
fn a_transaction_commits_in_some_runs_and_aborts_in_others() {
    let with = |outcome| {
        move |cluster: &Cluster<'_, TwoPhase>| {
            cluster.live().all(|(_, state)| state.outcome() == Some(outcome))
        }
    };
    let scenario = Scenario::of(|_| TwoPhase::default())
        .with_workload()
        .property(Property::sometimes("all commit", with(Outcome::Committed)))
        .property(Property::sometimes("all abort", with(Outcome::Aborted)));
    let report = Simulation::new(&scenario, 3).run(0..1_000);
    report.expect_clean();
    assert_eq!(report.never, Vec::<&str>::new());
}

/// Gray 1978: the coordinator asks and tells each of the others, and each of them answers twice.
#[test]
fn a_commit_takes_four_messages_for_each_participant_and_two_delays() {
    for nodes in 2..=6_u32 {
        assert_eq!(cost(&asked(), nodes), (4 * u64::from(nodes - 1), 2), "{nodes} nodes");
    }
}

#[test]
fn a_participant_in_doubt_is_blocked_for_as_long_as_the_coordinator_is_down() {
    let scenario =
        asked().property(Property::at_rest("nobody is in doubt", |cluster: &Cluster<'_, _>| {
            match cluster.live().find(|(_, state)| TwoPhase::is_in_doubt(state)) {
                Some((node, _)) => Err(format!("{node} is in doubt")),
                None => Ok(()),
            }
        }));
    let forever = Bounds { recoveries: 0, ..Bounds::within(&TwoPhase::MODEL, 3) };
    let explored = explore(&scenario, &forever);
    assert_eq!(explored.expect_failure().violation.property, "nobody is in doubt");
}

#[test]
fn a_lost_message_leaves_a_participant_in_doubt() {
    let scenario = asked();
    let report = Simulation::new(&scenario, 3).with(Fault::Loss).run(0..1_000);
    let failure = report.expect_failure();
    assert_eq!(failure.violation.property, "a live coordinator leaves nobody in doubt");
    assert_eq!(report.dropped, [Assumption::NoLoss]);
}

/// The node n2 of two.
fn participant(incarnation: u64) -> Node<TwoPhase> {
    let boot = Boot { id: NodeId(2), peers: vec![NodeId(1), NodeId(2)], incarnation, seed: 0 };
    Node::new(boot, TwoPhase::default()).expect("it is a member")
}

fn step(node: &mut Node<TwoPhase>, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    node.step(Duration::ZERO, &input, &mut effects).expect("it takes the input");
    effects
}

fn records(effects: &[Effect]) -> Vec<Envelope> {
    let durable = |effect: &Effect| match effect {
        Effect::Persist(record) => Some(record.clone()),
        _ => None,
    };
    effects.iter().filter_map(durable).collect()
}

#[test]
fn a_node_that_has_refused_does_so_after_a_crash_too() {
    let mut node = participant(1);
    step(&mut node, Input::Start);
    let refused = step(&mut node, Input::Trigger(Envelope::seal(&Refuse)));
    let mut node = participant(2);
    step(&mut node, Input::Recover(records(&refused)));
    let asked = Input::Deliver { from: NodeId(1), envelope: Envelope::seal(&Prepare) };
    let answers = step(&mut node, asked);
    let no = |effect: &Effect| matches!(effect, Effect::Send { envelope, .. } if envelope.event() == No::ID);
    assert!(answers.iter().any(no), "{answers:?}");
}

#[test]
fn an_outcome_is_indicated_in_each_life_that_knows_it() {
    let records = vec![Envelope::seal(&Promised), Envelope::seal(&Concluded(Outcome::Committed))];
    let told = step(&mut participant(2), Input::Recover(records));
    assert_eq!(told, [Effect::Output(Envelope::seal(&Learned(Outcome::Committed)))]);
}
