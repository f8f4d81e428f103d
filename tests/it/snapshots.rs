//! Every algorithm of the library comes back from its snapshot, wherever it is taken.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::time::Duration;

use synod_algorithms::{
    Abd, Bulk, Bully, ChangRoberts, Echo, Gathering, HelloWorld, Paxos, Topics, TwoPhase,
};
use synod_core::{Algorithm, Boot, Effect, Input, Node, NodeId, PeerUp};

const NODES: u32 = 3;
/// Steps of a run: enough for each of the algorithms to come to its end, or round and round.
const STEPS: usize = 2_000;

/// A cluster whose messages arrive in the order of sending, and whose timers are over in the order of
/// arming, in turn.
struct Run<A: Algorithm> {
    nodes: BTreeMap<NodeId, Node<A>>,
    waiting: VecDeque<(NodeId, Input)>,
}

fn boot(id: NodeId) -> Boot {
    Boot { id, peers: (1..=NODES).map(NodeId).collect(), incarnation: 1, seed: 5 }
}

fn node<A: Algorithm + Default>(id: NodeId) -> Node<A> {
    Node::new(boot(id), A::default()).expect("a member")
}

impl<A: Algorithm + Clone + Default + Debug> Run<A> {
    fn new() -> Self {
        let ids = (1..=NODES).map(NodeId);
        let mut waiting: VecDeque<_> = ids.clone().map(|id| (id, Input::Start)).collect();
        for (one, other) in ids.clone().flat_map(|one| ids.clone().map(move |it| (one, it))) {
            if one != other {
                waiting.push_back((one, Input::PeerUp(PeerUp { peer: other, incarnation: 1 })));
            }
        }
        let asked = A::workload();
        for (id, _, envelope) in asked.inputs().filter(|(id, ..)| id.0 <= NODES) {
            waiting.push_back((*id, Input::Trigger(envelope.clone())));
        }
        for (number, offer) in (0_u32..).zip(asked.offers()) {
            let id = NodeId(1 + number % NODES);
            waiting.push_back((id, Input::Trigger(offer.request(number.into()))));
        }
        Self { nodes: ids.map(|id| (id, node(id))).collect(), waiting }
    }

    /// Takes a step; the node, and one that goes on from its snapshot, come to the same. False at the end.
    fn step(&mut self, now: Duration) -> bool {
        let Some((id, input)) = self.waiting.pop_front() else { return false };
        let one = self.nodes.get_mut(&id).expect("a member");
        let snapshot = one.snapshot().expect("it says how");
        let mut other = node::<A>(id);
        other.resume(&snapshot).expect("it comes back");
        let states = |one: &Node<A>, other: &Node<A>| {
            assert_eq!(format!("{:?}", one.stack()), format!("{:?}", other.stack()), "{input:?}");
        };
        states(one, &other);
        let (mut effects, mut others) = (Vec::new(), Vec::new());
        let came = one.step(now, &input, &mut effects);
        assert_eq!(other.step(now, &input, &mut others), came);
        assert_eq!(effects, others);
        states(one, &other);
        effects.into_iter().for_each(|effect| self.carry_out(id, effect));
        true
    }

    fn carry_out(&mut self, from: NodeId, effect: Effect) {
        match effect {
            Effect::Send { to, envelope, .. } => {
                self.waiting.push_back((to, Input::Deliver { from, envelope }));
            }
            Effect::Timer { id, .. } => self.waiting.push_back((from, Input::Timer(id))),
            _ => (),
        }
    }
}

fn comes_back<A: Algorithm + Clone + Default + Debug>() -> (&'static str, usize) {
    let mut run = Run::<A>::new();
    let times = (0..).map(Duration::from_millis);
    (A::NAME, times.take(STEPS).take_while(|now| run.step(*now)).count())
}

#[test]
fn every_algorithm_of_the_library_goes_on_from_any_snapshot_as_it_would_have() {
    let all = [
        comes_back::<Abd>(),
        comes_back::<Bulk>(),
        comes_back::<Bully>(),
        comes_back::<ChangRoberts>(),
        comes_back::<Echo>(),
        comes_back::<Gathering>(),
        comes_back::<HelloWorld>(),
        comes_back::<Paxos>(),
        comes_back::<Topics>(),
        comes_back::<TwoPhase>(),
    ];
    for (name, steps) in all {
        assert!(9 <= steps, "{name}: {steps}");
    }
    let never_ends = |(_, steps): &&(&str, usize)| *steps == STEPS;
    assert!(all.iter().filter(never_ends).any(|(name, _)| *name == "bully"), "{all:?}");
}
