//! What a partition takes, and when its time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, NodeId, Property, Verdict};
use synod_simulator::{Fault, Outcome, Scenario, Settings, Simulation, StepKind, Stream, run};

use crate::kit::{ms, run_decided};

/// Every node tells all others, ten times a second, that it is there.
#[derive(Clone, Debug, Default)]
struct Pulse {
    now: Duration,
    heard: BTreeMap<NodeId, Duration>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "pulse.beat")]
struct Beat;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "pulse.next", local)]
struct Next;

const EVERY: Duration = ms(100);

impl Algorithm for Pulse {
    const NAME: &'static str = "pulse";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::beat).on(Self::next)
    }

    fn start(&mut self, ctx: &mut Context) {
        self.next(Next, ctx);
    }
}

impl Pulse {
    fn next(&mut self, _: Next, ctx: &mut Context) {
        self.now = ctx.now();
        let me = ctx.me();
        ctx.send_where(&Beat, |peer| peer != me);
        ctx.after(EVERY, &Next);
    }

    fn beat(&mut self, _: Beat, from: NodeId, ctx: &mut Context) {
        self.heard.insert(from, ctx.now());
    }
}

/// Every node has heard of every other one within the last two beats.
fn all_hear_all(cluster: &Cluster<'_, Pulse>) -> Verdict {
    for (node, state) in cluster.live() {
        for (peer, _) in cluster.live().filter(|(peer, _)| *peer != node) {
            let heard =
                state.heard.get(&peer).ok_or_else(|| format!("{node} never heard {peer}"))?;
            if *heard + 2 * EVERY < state.now {
                return Err(format!("{node} last heard {peer} at {heard:?}"));
            }
        }
    }
    Ok(())
}

fn scenario() -> Scenario<Pulse> {
    Scenario::of(|_| Pulse::default())
}

/// Four nodes, of which the first two are on their own from 1 s to 2.05 s.
const SPLIT: [&str; 3] =
    ["partition.side 1 #1 = 3", "partition.at 1 #1 = 1000000", "partition.length 1 #1 = 1049999"];

fn settings() -> Settings {
    Settings { time_us: 4_000_000, partitions: 1, partition_us: 5_000_000, ..Settings::calm(4) }
}

fn is_across(one: NodeId, other: NodeId) -> bool {
    (one.0 <= 2) != (other.0 <= 2)
}

/// Who heard whom from `from_us` to `to_us`.
fn heard(outcome: &Outcome, from_us: u64, to_us: u64) -> BTreeSet<(NodeId, NodeId)> {
    let steps = outcome.trace.steps.iter();
    let steps = steps.filter(|step| (from_us..to_us).contains(&step.time_us));
    let heard = steps.filter(|step| step.kind == StepKind::Deliver);
    heard.filter_map(|step| Some((step.message?.from, step.node?))).collect()
}

#[test]
fn each_side_talks_within_itself_and_all_talk_again_when_it_heals() {
    let outcome = run_decided(&scenario(), &settings(), &SPLIT);
    assert_eq!(heard(&outcome, 0, 1_000_000).len(), 12);
    let split = heard(&outcome, 1_000_000, 2_050_000);
    assert_eq!(split.len(), 4);
    assert!(split.iter().all(|(from, to)| !is_across(*from, *to)));
    assert_eq!(heard(&outcome, 2_050_000, 3_000_000).len(), 12);
    let faults: Vec<_> = outcome
        .trace
        .steps
        .iter()
        .filter(|step| matches!(step.kind, StepKind::Partition | StepKind::Heal))
        .map(|step| (step.time_us, step.event.as_str()))
        .collect();
    assert_eq!(faults, [(1_000_000, "n1 n2 | n3 n4"), (2_050_000, "n1 n2 | n3 n4")]);
}

#[test]
fn only_messages_across_are_lost_and_only_while_it_lasts() {
    let outcome = run_decided(&scenario(), &settings(), &SPLIT);
    let mut lost = 0;
    for step in &outcome.trace.steps {
        for sent in step.sends.iter().filter(|sent| sent.lost.is_some()) {
            assert_eq!(sent.lost.as_deref(), Some("partition"));
            assert!(is_across(sent.id.from, sent.to), "{sent:?}");
            assert!((1_000_000..2_050_000).contains(&step.time_us), "{sent:?}");
            lost += 1;
        }
        if let (StepKind::Lost, Some(message), Some(to)) = (step.kind, step.message, step.node) {
            assert!(is_across(message.from, to), "{step:?}");
            lost += 1;
        }
    }
    assert_eq!(outcome.counts.lost, lost);
    assert!(9 * 8 <= lost, "nine beats of each pair at least: {lost}");
}

#[test]
fn every_way_to_split_three_nodes_happens() {
    let settings = Settings { time_us: 100_000, ..Settings { nodes: 3, ..settings() } };
    let splits: BTreeSet<String> = (0..300)
        .flat_map(|seed| run(&scenario(), &settings, Stream::seeded(seed), true).0.trace.steps)
        .filter(|step| step.kind == StepKind::Partition)
        .map(|step| step.event)
        .collect();
    let sides = ["n1 n2", "n1 n3", "n1", "n2 n3", "n2", "n3"];
    let others = ["n3", "n2", "n2 n3", "n1", "n1 n3", "n1 n2"];
    let both = sides.iter().zip(others);
    let expected =
        both.flat_map(|(side, other)| ["|", "|>"].map(|cut| format!("{side} {cut} {other}")));
    assert_eq!(splits.into_iter().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn a_one_way_partition_cuts_only_what_leaves_its_side() {
    let one_way = [SPLIT.as_slice(), &["partition.one_way 1 #1 = 1"]].concat();
    let outcome = run_decided(&scenario(), &settings(), &one_way);
    let split = heard(&outcome, 1_000_000, 2_050_000);
    assert_eq!(split.len(), 8);
    let silenced = |from: &NodeId, to: &NodeId| from.0 <= 2 && 2 < to.0;
    assert!(!split.iter().any(|(from, to)| silenced(from, to)));
    assert_eq!(heard(&outcome, 2_050_000, 3_000_000).len(), 12);
}

#[test]
fn an_eventual_promise_has_its_time_from_the_heal_on() {
    let kept = scenario().property(Property::eventually("all hear all", ms(150), all_hear_all));
    assert_eq!(run_decided(&kept, &settings(), &SPLIT).violation, None);

    let broken = scenario().property(Property::eventually("all hear all", ms(20), all_hear_all));
    let outcome = run_decided(&broken, &settings(), &SPLIT);
    let violation = outcome.violation.expect("nobody beats within 20 ms of every moment");
    assert_eq!(violation.time_us, 2_070_000);
}

#[test]
fn an_eventual_promise_outlives_any_partition_of_any_seed() {
    let kept = scenario().property(Property::eventually("all hear all", ms(150), all_hear_all));
    let simulation = Simulation::new(&kept, 4).calm().with(Fault::Partition);
    let report = simulation.settings(|it| it.time_us = 4_000_000).run(0..100);
    report.expect_clean();
    assert!(50 < report.counts.partitions, "{:?}", report.counts);
}

#[test]
fn any_node_of_a_large_cluster_is_cut_off_and_heals() {
    let settings = Settings { time_us: 400_000, ..Settings { nodes: 80, ..settings() } };
    // The 80th range is the last node alone; another choice is a scattered set.
    for (side, cut_off) in [(80, vec![NodeId(80)]), (1 + 3 * 80 * 79 - 1, Vec::new())] {
        let side = format!("partition.side 1 #1 = {side}");
        let lines = [side.as_str(), "partition.at 1 #1 = 150000", "partition.length 1 #1 = 99999"];
        let outcome = run_decided(&scenario(), &settings, &lines);
        let heard_late = heard(&outcome, 170_000, 250_000);
        let alone = |node: &NodeId| heard_late.iter().filter(|(_, to)| to == node).count() == 0;
        if !cut_off.is_empty() {
            assert_eq!((1..=80).map(NodeId).filter(alone).collect::<Vec<_>>(), cut_off);
        }
        assert!(heard_late.len() < 80 * 79);
        assert_eq!(heard(&outcome, 250_000, 400_000).len(), 80 * 79);
    }
}
