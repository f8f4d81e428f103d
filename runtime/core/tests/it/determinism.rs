//! Equal nodes, fed equally, do the same; and a refused input might as well not have come.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Call, Context, Effect, Envelope, Event, EventId, Handlers, Input, Keyed, Node,
    NodeId, PeerDown, PeerUp, Reason, Reply, Request, StepError, Tag, Ticket, Time, TimerId,
};

use crate::kit::{N2, N3, SECOND, fingerprint, instance, node};

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "determinism.rumour", unreliable)]
struct Rumour(u8);

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "determinism.tick", local)]
struct Tick(u8);

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "determinism.ask")]
struct Ask(u8);

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "determinism.told")]
struct Told(u8);

impl Request for Ask {
    type Answer = Told;
}

/// Uses every door of the context, as its inputs and its luck will have it.
#[derive(Clone, Debug, Default, Hash)]
struct Gossip {
    sum: u32,
    waiting: Vec<Ticket<Ask>>,
    links: u32,
}

impl Algorithm for Gossip {
    const NAME: &'static str = "determinism.gossip";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::rumour)
            .on(Self::tick)
            .on(Self::ask)
            .on(Self::told)
            .on(Self::up)
            .on(Self::down)
            .when("is_crowded", Self::is_crowded, Self::release)
            .restore(|_: &mut Self, _: Rumour| ())
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.after(SECOND, &Tick(0));
        let jitter = ctx.random();
        ctx.log(jitter);
    }
}

impl Gossip {
    fn rumour(&mut self, Rumour(number): Rumour, from: NodeId, ctx: &mut Context) {
        self.sum = self.sum.wrapping_mul(31).wrapping_add(u32::from(number));
        ctx.persist(&Rumour(number));
        match ctx.choose(4) {
            0 => ctx.send(from, &Rumour(number / 2)),
            1 => ctx.after(SECOND, &Tick(number % 4)),
            2 => drop(ctx.ask(N3, &Ask(number), SECOND)),
            _ => ctx.cancel(&Tick(number % 4)),
        }
    }

    fn tick(&mut self, Tick(number): Tick, ctx: &mut Context) {
        ctx.send_where(&Rumour(number), |peer| peer != spared(number));
        if 0 < number {
            ctx.trigger(&Tick(number / 2));
        }
    }

    fn ask(&mut self, call: Call<Ask>, ctx: &mut Context) {
        self.waiting.push(call.ticket);
        ctx.job(&call.request);
    }

    fn told(&mut self, reply: Reply<Ask>, ctx: &mut Context) {
        ctx.log(format_args!("{reply:?}"));
    }

    fn up(&mut self, up: PeerUp, ctx: &mut Context) {
        self.links += 1;
        ctx.ask(up.peer, &Ask(1), SECOND);
    }

    fn down(&mut self, _: PeerDown) {
        self.links /= 2;
    }

    fn is_crowded(&self) -> bool {
        2 < self.waiting.len()
    }

    fn release(&mut self, ctx: &mut Context) {
        let ticket = self.waiting.remove(0);
        let told = u8::try_from(self.sum % 256).unwrap_or_default();
        ctx.answer(ticket, &Told(told));
    }
}

/// The node that is left out when a tick is spread.
const fn spared(number: u8) -> NodeId {
    if number.is_multiple_of(2) { N2 } else { N3 }
}

type Crowd = (Gossip, Keyed<Gossip>);

fn crowd() -> Node<Crowd> {
    node((Gossip::default(), Keyed::new(|_| Gossip::default()).at_most(3)))
}

/// What happens to a node, before it is known which timers the node has armed.
#[derive(Clone, Debug)]
enum Happening {
    Start,
    Deliver(NodeId, Envelope),
    Trigger(Envelope),
    /// One of the armed timers.
    Tick(prop::sample::Index),
    /// A timer that may never have been armed.
    Stray(u64),
    /// The answer to one of the open questions.
    Answer(NodeId, prop::sample::Index, u8),
    Up(PeerUp),
    Down(PeerDown),
}

impl Happening {
    fn at(&self, node: &Node<Crowd>) -> Input {
        match self.clone() {
            Self::Start => Input::Start,
            Self::Deliver(from, envelope) => Input::Deliver { from, envelope },
            Self::Trigger(envelope) => Input::Trigger(envelope),
            Self::Tick(which) => Input::Timer(tick(node, which).map_or(TimerId(0), |it| it.0)),
            Self::Stray(id) => Input::Timer(TimerId(id)),
            Self::Answer(from, which, told) => {
                let waiting = tick(node, which).map(|it| it.1.clone());
                let sealed = Envelope::seal(&Told(told));
                let envelope = match waiting.as_ref().map(|it| (it.tag(), it.instance())) {
                    Some((Tag::Expired(number), at)) => {
                        sealed.tagged(Tag::Answer(number)).addressed_to(at.clone())
                    }
                    _ => sealed,
                };
                Input::Deliver { from, envelope }
            }
            Self::Up(up) => Input::PeerUp(up),
            Self::Down(down) => Input::PeerDown(down),
        }
    }
}

fn tick(node: &Node<Crowd>, which: prop::sample::Index) -> Option<(TimerId, &Envelope)> {
    let armed = node.timers().count();
    if armed == 0 { None } else { node.timers().nth(which.index(armed)) }
}

fn peers() -> impl Strategy<Value = NodeId> {
    // n1 is the node itself, and there is no n4.
    (1..=4_u32).prop_map(NodeId)
}

fn members() -> impl Strategy<Value = NodeId> {
    (1..=3_u32).prop_map(NodeId)
}

fn envelopes() -> impl Strategy<Value = Envelope> {
    let event = prop_oneof![
        4 => Just(Rumour::ID),
        1 => Just(Tick::ID),
        3 => Just(Ask::ID),
        1 => Just(Told::ID),
        1 => Just(EventId::of("determinism.unknown")),
    ];
    let tag = prop_oneof![
        3 => Just(Tag::Plain),
        2 => (0..8_u64).prop_map(Tag::Ask),
        1 => (0..8_u64).prop_map(Tag::Answer),
    ];
    let keys = prop_oneof![
        3 => Just(Vec::new()),
        3 => (0..5_u64).prop_map(|key| vec![key]),
        1 => prop::collection::vec(any::<u64>(), 0..4),
    ];
    let body = prop_oneof![
        5 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    (event, keys, tag, body).prop_map(|(event, keys, tag, body)| {
        Envelope::from_parts(event, instance(&keys), tag, Bytes::from(body))
    })
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let reasons = prop_oneof![Just(Reason::Silent), Just(Reason::Restarted), Just(Reason::Closed)];
    let ups =
        (members(), any::<u64>()).prop_map(|(peer, incarnation)| PeerUp { peer, incarnation });
    let downs = (members(), reasons).prop_map(|(peer, reason)| PeerDown { peer, reason });
    let answers = (peers(), any::<prop::sample::Index>(), any::<u8>());
    let happening = prop_oneof![
        8 => (peers(), envelopes()).prop_map(|(from, it)| Happening::Deliver(from, it)),
        3 => envelopes().prop_map(Happening::Trigger),
        4 => any::<prop::sample::Index>().prop_map(Happening::Tick),
        1 => any::<u64>().prop_map(Happening::Stray),
        3 => answers.prop_map(|(from, which, told)| Happening::Answer(from, which, told)),
        1 => ups.prop_map(Happening::Up),
        1 => downs.prop_map(Happening::Down),
    ];
    prop::collection::vec(happening, 1..60).prop_map(|mut all| {
        all.insert(0, Happening::Start);
        all
    })
}

type Outcome = (Result<(), StepError>, Vec<Effect>, u64);

fn feed(node: &mut Node<Crowd>, now: Time, input: Input) -> Outcome {
    let mut effects = Vec::new();
    let result = node.step(now, &input, &mut effects);
    (result, effects, fingerprint(node))
}

fn at(index: usize) -> Time {
    SECOND * u32::try_from(index).unwrap_or(u32::MAX)
}

proptest! {
    #[test]
    fn equal_nodes_fed_equally_stay_equal(all in happenings()) {
        let (mut one, mut other) = (crowd(), crowd());
        for (index, happening) in all.iter().enumerate() {
            let input = happening.at(&one);
            prop_assert_eq!(&input, &happening.at(&other));
            let outcome = feed(&mut one, at(index), input.clone());
            prop_assert_eq!(outcome, feed(&mut other, at(index), input));
        }
    }

    #[test]
    fn a_copy_goes_on_like_its_original(
        all in happenings(),
        moment in any::<prop::sample::Index>(),
    ) {
        let (before, after) = all.split_at(moment.index(all.len()));
        let mut original = crowd();
        for (index, happening) in before.iter().enumerate() {
            let input = happening.at(&original);
            let _ = feed(&mut original, at(index), input);
        }
        let mut copy = original.clone();
        for (index, happening) in after.iter().enumerate() {
            let input = happening.at(&original);
            let outcome = feed(&mut original, at(index), input.clone());
            prop_assert_eq!(outcome, feed(&mut copy, at(index), input));
        }
    }

    #[test]
    fn a_refused_input_might_as_well_not_have_come(all in happenings()) {
        let (mut disturbed, mut spared) = (crowd(), crowd());
        for (index, happening) in all.iter().enumerate() {
            let input = happening.at(&disturbed);
            let outcome = feed(&mut disturbed, at(index), input.clone());
            if outcome.0.is_err() {
                prop_assert_eq!(&outcome.1, &[]);
                prop_assert_eq!(outcome.2, fingerprint(&spared));
            } else {
                prop_assert_eq!(outcome, feed(&mut spared, at(index), input));
            }
        }
    }
}

#[test]
fn the_sequences_reach_every_kind_of_refusal() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let all = happenings().new_tree(&mut runner).expect("a sequence is drawn").current();
        let mut node = crowd();
        for (index, happening) in all.iter().enumerate() {
            let input = happening.at(&node);
            seen.insert(match feed(&mut node, at(index), input).0 {
                Ok(()) => "accepted",
                Err(StepError::Unhandled(_)) => "unhandled",
                Err(StepError::Decode { .. }) => "decode",
                Err(StepError::LocalOnly { .. }) => "local only",
                Err(StepError::Stale { .. }) => "stale",
                Err(StepError::Stranger(_)) => "stranger",
                Err(StepError::Full { .. }) => "full",
                Err(_) => "new",
            });
        }
    }
    let expected = ["accepted", "decode", "full", "local only", "stale", "stranger", "unhandled"];
    assert!(seen.iter().eq(&expected), "{seen:?}");
}
