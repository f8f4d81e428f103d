//! Short ways to build a node, feed it and look at what it asks for.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use synod_core::{
    Boot, Effect, Envelope, Event, EventId, Input, Instance, Lane, LaneId, Node, NodeId, Stack,
    StepError, Tag, TimerId,
};

pub(crate) const N1: NodeId = NodeId(1);
pub(crate) const N2: NodeId = NodeId(2);
pub(crate) const N3: NodeId = NodeId(3);
/// Not of the cluster.
pub(crate) const STRANGER: NodeId = NodeId(9);

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The first life of a node among n1, n2 and n3.
pub(crate) fn boot(id: NodeId) -> Boot {
    Boot { id, peers: vec![N3, N1, N2], incarnation: 1, seed: 7 }
}

/// The node n1 of three, not started.
pub(crate) fn node<T: Stack>(stack: T) -> Node<T> {
    Node::new(boot(N1), stack).expect("the test's stack fits together")
}

/// Feeds `input`, which must be accepted.
pub(crate) fn step<T: Stack>(node: &mut Node<T>, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    node.step(SECOND, &input, &mut effects).expect("the input is accepted");
    effects
}

/// Feeds `input`, which must be refused without a trace: no effect, and the node does the same
/// upon `next` as one that has never seen `input`.
pub(crate) fn refuse<T>(node: &mut Node<T>, input: Input, next: &Input) -> StepError
where
    T: Stack + Clone + Hash + Debug,
{
    let mut untouched = node.clone();
    let mut effects = Vec::new();
    let error = node.step(SECOND, &input, &mut effects).expect_err("the input is refused");
    assert_eq!(effects, []);
    assert_eq!(fingerprint(node), fingerprint(&untouched), "the refusal left a trace");
    let again = node.clone();
    assert_eq!(step(node, next.clone()), step(&mut untouched, next.clone()));
    assert_eq!(fingerprint(node), fingerprint(&untouched));
    *node = again;
    error
}

pub(crate) fn deliver<E: Event>(from: NodeId, event: &E) -> Input {
    Input::Deliver { from, envelope: Envelope::seal(event) }
}

pub(crate) fn deliver_at<E: Event>(from: NodeId, keys: &[u64], event: &E) -> Input {
    let envelope = Envelope::seal(event).addressed_to(instance(keys));
    Input::Deliver { from, envelope }
}

pub(crate) fn trigger<E: Event>(event: &E) -> Input {
    Input::Trigger(Envelope::seal(event))
}

/// The instance at the end of any way down from the root.
pub(crate) fn instance(keys: &[u64]) -> Instance {
    let bytes = postcard::to_allocvec(keys).expect("integers serialize");
    postcard::from_bytes(&bytes).expect("an instance is its keys")
}

pub(crate) fn fingerprint(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The lane of an algorithm, or of an event type.
pub(crate) fn lane(name: &str) -> Lane {
    Lane::Ordered(LaneId(EventId::of(name).bits()))
}

pub(crate) fn sends(effects: &[Effect]) -> Vec<(NodeId, Lane, &Envelope)> {
    let each = effects.iter().filter_map(|effect| match effect {
        Effect::Send { to, lane, envelope } => Some((*to, *lane, envelope)),
        _ => None,
    });
    each.collect()
}

pub(crate) fn outputs(effects: &[Effect]) -> Vec<&Envelope> {
    let each = effects.iter().filter_map(|effect| match effect {
        Effect::Output(envelope) => Some(envelope),
        _ => None,
    });
    each.collect()
}

pub(crate) fn logs(effects: &[Effect]) -> Vec<&str> {
    let each = effects.iter().filter_map(|effect| match effect {
        Effect::Log(line) => Some(line.as_str()),
        _ => None,
    });
    each.collect()
}

/// The timers armed in `effects`.
pub(crate) fn armed(effects: &[Effect]) -> Vec<TimerId> {
    let each = effects.iter().filter_map(|effect| match effect {
        Effect::Timer { id, .. } => Some(*id),
        _ => None,
    });
    each.collect()
}

/// The number of the first question in `effects`.
pub(crate) fn asked(effects: &[Effect]) -> u64 {
    let numbers = sends(effects).into_iter().map(|(_, _, envelope)| match envelope.tag() {
        Tag::Ask(number) => Some(number),
        Tag::Plain | Tag::Answer(_) | Tag::Expired(_) => None,
    });
    numbers.flatten().next().expect("a question was sent")
}
