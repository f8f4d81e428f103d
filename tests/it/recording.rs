//! What deployed nodes record is replayed in the simulator, step by step.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use synod_algorithms::{Bully, ChangRoberts};
use synod_core::{
    Algorithm, Context, Event, HandlerSet, Handlers, Model, NodeId, Property, Recording, Stack,
};
use synod_runtime::{EndReason, NodeBuilder, RecordError};
use synod_simulator::{Diagram, Replayed, Scenario, Step, StepKind, merge, replay_recording};

use crate::world::{Nodes, memory, quic};

/// A directory for recordings, removed when it is dropped.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("synod-tests-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    fn file(&self, node: NodeId) -> PathBuf {
        self.0.join(format!("{node}.recording"))
    }

    /// Replays what every node has recorded.
    fn replay<T: Stack>(&self, scenario: &Scenario<T>, nodes: u32) -> Vec<Replayed> {
        (1..=nodes)
            .map(NodeId)
            .map(|node| replay_recording(scenario, &self.read(node)).expect("a member"))
            .collect()
    }

    fn read(&self, node: NodeId) -> Recording {
        let bytes = fs::read(self.file(node)).expect("the node was recorded");
        Recording::read(&bytes).expect("the recording is intact")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Five nodes over QUIC, of which the highest leads.
async fn elected(configured: impl Fn(NodeId, NodeBuilder) -> NodeBuilder) -> Nodes {
    let mut nodes = Nodes(BTreeMap::new());
    let transports = quic(5);
    let ids: Vec<NodeId> = transports.keys().copied().collect();
    for (id, transport) in transports {
        let builder = NodeBuilder::new(id, ids.clone(), Bully::default).transport(transport);
        nodes.0.insert(id, configured(id, builder).start().await.expect("the node starts"));
    }
    nodes.settle(leads("n5")).await;
    nodes
}

fn leads(leader: &'static str) -> impl Fn(NodeId, &BTreeMap<String, String>) -> bool {
    move |_, summary| summary.get("leader").is_some_and(|it| it == leader)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_election_over_quic_with_its_leader_killed_replays_without_divergence() {
    let place = Place::new("bully");
    let mut nodes = elected(|id, builder| builder.record("bully", place.file(id))).await;
    let ids: Vec<NodeId> = nodes.0.keys().copied().collect();
    nodes.kill(NodeId(5)).await;
    nodes.settle(leads("n4")).await;
    nodes.end().await;

    let scenario = Scenario::of(|_| Bully::default()).showing_states();
    let replayed = place.replay(&scenario, 5);
    for (node, id) in replayed.iter().zip(&ids) {
        assert_eq!(node.divergence, None);
        assert_eq!((node.node, node.steps), (*id, place.read(*id).steps()));
        assert!(10 < node.steps);
        let leads =
            |step: &Step| step.state.as_ref().is_some_and(|state| state.contains("role:leader"));
        // Lower ones may have led as well, until they were linked to these.
        let led = node.trace.steps.iter().any(leads);
        assert!(led || id.0 < 4, "{}", Diagram::of(&node.trace));
    }
    merges_in_the_order_of_causes(&replayed, NodeId(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_recorded_only_while_their_leader_dies_replay_without_divergence() {
    let place = Place::new("on-demand");
    let mut nodes = elected(|_, builder| builder).await;
    for (id, node) in &nodes.0 {
        node.record("bully", place.file(*id)).await.expect("it is written down");
    }
    let twice = nodes.0[&NodeId(1)].record("bully", place.file(NodeId(9))).await;
    assert!(matches!(twice, Err(RecordError::Busy)) && !place.file(NodeId(9)).exists());
    nodes.kill(NodeId(5)).await;
    nodes.settle(leads("n4")).await;
    for node in nodes.0.values() {
        let status = node.end_recording().await.expect("it was recorded");
        assert!(0 < status.steps && status.missed == 0, "{status:?}");
        assert!(node.end_recording().await.is_none());
    }
    // Another section of the same file.
    let first = &nodes.0[&NodeId(1)];
    first.record("bully", place.file(NodeId(1))).await.expect("it was ended");
    nodes.end().await;

    let scenario = Scenario::of(|_| Bully::default()).showing_states();
    let replayed = place.replay(&scenario, 5);
    for node in &replayed {
        assert_eq!(node.divergence, None);
        let recording = place.read(node.node);
        assert!(recording.lives.iter().all(|life| life.resumed.is_some()));
        assert!(recording.lives.iter().all(|life| life.origin.began.is_some()));
        assert_eq!(recording.lives.len(), if node.node == NodeId(1) { 2 } else { 1 });
        assert_eq!(recording.lives[0].cut, node.node != NodeId(5), "n5 was killed");
        // n5 may have been killed before its next step.
        if node.node != NodeId(5) {
            let state = node.trace.steps[0].state.as_deref().expect("what it was then");
            assert!(state.contains("leader:n5"), "{state}");
        }
    }
    let merged = merge(&replayed).expect("they are of one cluster");
    assert!(0 < merged.matched && merged.unmatched < merged.matched, "{merged:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_be_written_down_says_so_and_leaves_no_file() {
    let place = Place::new("silent");
    let (id, transport) = memory(1).pop_first().expect("one node");
    let builder = NodeBuilder::new(id, vec![id], Counting::default).transport(transport);
    let node = builder.start().await.expect("the node starts");
    let error = node.record("counting", place.file(id)).await.expect_err("it does not say how");
    let words = "Counting does not say how its state is written down: `Algorithm::snapshots` does";
    assert!(error.to_string().ends_with(words), "{error}");
    assert!(!place.file(id).exists());
    fs::write(place.file(id), "something else").expect("a file");
    let error = node.record("counting", place.file(id)).await.expect_err("no recording");
    assert!(matches!(error, RecordError::File { .. }), "{error}");
    assert_eq!(fs::read(place.file(id)).expect("a file"), b"something else");
    node.trigger(&More).await.expect("it goes on");
    node.shutdown(std::time::Duration::from_secs(5)).await;
}

fn merges_in_the_order_of_causes(replayed: &[Replayed], killed: NodeId) {
    let merged = merge(replayed).expect("they are of one cluster");
    let steps = &merged.trace.steps;
    let ends: Vec<NodeId> =
        steps.iter().filter(|it| it.kind == StepKind::Crash).filter_map(|it| it.node).collect();
    assert_eq!(steps.len(), replayed.iter().map(|it| it.steps).sum::<usize>() + ends.len());
    assert_eq!(ends.first(), Some(&killed), "{ends:?}");
    assert!(steps.is_sorted_by_key(|step| step.time_us));
    let mut delivered = 0;
    for step in steps.iter().filter(|step| step.kind == StepKind::Deliver) {
        let message = step.message.expect("a delivery has a message");
        let cause = step.cause.and_then(|cause| steps.get(cause)).expect("its send was recorded");
        assert!(cause.index < step.index && cause.time_us <= step.time_us);
        let sent = cause.sends.iter().find(|sent| sent.id == message).expect("it was sent there");
        let as_sent = (Some(sent.to), &sent.event, &sent.payload, sent.lost.is_none());
        assert_eq!(as_sent, (step.node, &step.event, &step.payload, true));
        delivered += 1;
    }
    assert_eq!((merged.matched, merged.unmatched), (delivered, 0));
    for node in replayed {
        let own = steps.iter().filter(|step| step.node == Some(node.node));
        let own = own.filter(|step| step.kind != StepKind::Crash);
        assert!(own.map(|step| &step.event).eq(node.trace.steps.iter().map(|step| &step.event)));
    }
}

/// One more.
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "recording.more", local)]
struct More;

/// Counts, and promises not to count far.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Counting(u64);

impl Algorithm for Counting {
    const NAME: &'static str = "counting";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|me: &mut Self, _: More| me.0 += 1)
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::local("it counts to two", |_, me: &Self| match me.0 {
            ..=2 => Ok(()),
            count => Err(format!("it has counted to {count}")),
        })]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_violates_a_local_property_ends_the_node_and_is_found_again_in_its_recording() {
    let place = Place::new("watched");
    let (id, transport) = memory(1).pop_first().expect("one node");
    let builder = NodeBuilder::watched(id, vec![id], Counting::default, &Counting::properties());
    let node = builder.record("counting", place.file(id)).transport(transport).start().await;
    let node = node.expect("the node starts");
    for _ in 0..3 {
        node.trigger(&More).await.expect("it is running");
    }
    let words = "the property `it counts to two` is violated: it has counted to 3";
    let ended = node.wait().await;
    assert!(matches!(&ended, EndReason::Panicked(letter) if letter.panic == words), "{ended}");

    let replayed = &place.replay(&Scenario::of(|_| Counting::default()), 1)[0];
    assert_eq!((&replayed.divergence, replayed.steps), (&None, 4));
    let last = replayed.trace.steps.last().expect("the step that violates it");
    assert!(last.wrong.as_ref().is_some_and(|wrong| wrong.contains(words)), "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_algorithm_diverges_and_is_named() {
    let place = Place::new("changed");
    let transports = memory(3);
    let ids: Vec<NodeId> = transports.keys().copied().collect();
    let numbered = |node: NodeId| ChangRoberts::numbered(u64::from(node.0));
    let mut nodes = Nodes(BTreeMap::new());
    for (id, transport) in transports {
        let builder = NodeBuilder::new(id, ids.clone(), move || numbered(id));
        let builder = builder.record("chang-roberts", place.file(id)).transport(transport);
        nodes.0.insert(id, builder.start().await.expect("the node starts"));
    }
    nodes.settle(|_, summary| summary.get("leader").is_some_and(|leader| leader == "3")).await;
    nodes.end().await;

    let same = place.replay(&Scenario::of(numbered), 3);
    assert!(same.iter().all(|node| node.divergence.is_none()));
    let other =
        place.replay(&Scenario::of(|node| ChangRoberts::numbered(u64::from(9 - node.0))), 3);
    for (replayed, before) in other.iter().zip(&same) {
        let divergence = replayed.divergence.as_ref().expect("other numbers, other effects");
        assert_ne!(divergence.expected, divergence.got);
        assert_eq!(replayed.steps, divergence.index + 1);
        let step = replayed.trace.steps.last().expect("the step that diverges");
        assert!(step.wrong.is_some() && divergence.input.contains(&step.event));
        assert!(replayed.steps <= before.steps);
    }
    // Another program altogether.
    let handlers =
        || Handlers::new().on(|_: &mut (), _: synod_core::PeerUp, ctx: &mut Context| ctx.log("up"));
    let stranger =
        Scenario::new("stranger", Model::ASYNCHRONOUS, move |_| HandlerSet::with((), handlers()));
    let replayed = &place.replay(&stranger.expect("one handler"), 3)[0];
    let divergence = replayed.divergence.as_ref().expect("it does nothing of the kind");
    assert_eq!((divergence.index, divergence.effects.len()), (0, 0));
    assert_eq!(replayed.events_new, ["synod.peer_up"]);
    assert!(replayed.events_gone.iter().any(|name| name.starts_with("chang_roberts.")));
}
