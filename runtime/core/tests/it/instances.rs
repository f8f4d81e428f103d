//! Many instances of one algorithm on one node.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Call, Context, Effect, Envelope, Event, HandlerSet, Handlers, Input, Instance,
    Keyed, NodeId, PeerDown, PeerUp, Reason, Reply, Request, StepError, Tag,
};

use crate::kit::{
    N1, N2, N3, SECOND, armed, asked, deliver, deliver_at, instance, logs, node, outputs, refuse,
    sends, step, trigger,
};

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "instances.add")]
struct Add(u16);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "instances.sum")]
struct Sum(u16);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "instances.read")]
struct Read;

impl Request for Read {
    type Answer = Sum;
}

/// Ask n2 for its sum.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "instances.compare", local)]
struct Compare;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "instances.full", local)]
struct Reached(u16);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "instances.added", local)]
struct Added(u16);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "instances.tick", local)]
struct Tick;

/// The parent adds to all of its instances.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "instances.spread")]
struct Spread(u16);

/// A durable sum that knows its key.
#[derive(Clone, Debug, Hash)]
struct Counter {
    key: u64,
    sum: u16,
}

impl Counter {
    fn new(key: u64) -> Self {
        Self { key, sum: 0 }
    }
}

impl Algorithm for Counter {
    const NAME: &'static str = "instances.counter";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::add)
            .on(Self::read)
            .on(Self::compare)
            .on(Self::sum)
            .on(Self::tick)
            .restore(Self::added)
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.log(format_args!("{} started with {}", self.key, self.sum));
    }
}

impl Counter {
    fn add(&mut self, Add(more): Add, ctx: &mut Context) {
        ctx.persist(&Added(more));
        self.sum += more;
        if 100 <= self.sum {
            ctx.trigger(&Reached(self.sum));
        }
    }

    fn read(&self, call: Call<Read>, ctx: &mut Context) {
        ctx.answer(call.ticket, &Sum(self.sum));
    }

    fn compare(&mut self, _: Compare, ctx: &mut Context) {
        ctx.ask(N2, &Read, SECOND);
        ctx.after(SECOND, &Tick);
    }

    fn sum(&mut self, reply: Reply<Read>, ctx: &mut Context) {
        ctx.log(format_args!("{}: {} and {:?}", self.key, self.sum, reply.answer));
    }

    fn tick(&mut self, _: Tick, ctx: &mut Context) {
        ctx.log(format_args!("tick of {}", self.key));
    }

    fn added(&mut self, Added(more): Added) {
        self.sum += more;
    }
}

/// Spreads what it is given over two instances, and hears from them.
#[derive(Clone, Debug, Default, Hash)]
struct Parent {
    reached: Vec<u16>,
}

impl Algorithm for Parent {
    const NAME: &'static str = "instances.parent";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::spread).on(Self::reached)
    }
}

impl Parent {
    fn spread(&mut self, Spread(more): Spread, ctx: &mut Context) {
        ctx.trigger_at(4, &Add(more));
        ctx.trigger_at(7, &Add(more + 1));
    }

    fn reached(&mut self, Reached(sum): Reached, from: NodeId) {
        assert_eq!(from, N1);
        self.reached.push(sum);
    }
}

fn sums(counters: &Keyed<Counter>) -> Vec<(u64, u16)> {
    counters.iter().map(|(key, counter)| (key, counter.sum)).collect()
}

fn ask_at(keys: &[u64], number: u64) -> Input {
    let envelope = Envelope::seal(&Read).tagged(Tag::Ask(number)).addressed_to(instance(keys));
    Input::Deliver { from: N2, envelope }
}

#[test]
fn each_key_has_its_own_state() {
    let mut node = node(Keyed::new(Counter::new));
    step(&mut node, deliver_at(N2, &[4], &Add(1)));
    step(&mut node, deliver_at(N2, &[7], &Add(10)));
    step(&mut node, deliver_at(N3, &[4], &Add(2)));
    assert_eq!(sums(node.stack()), [(4, 3), (7, 10)]);
    assert_eq!(node.stack().get(4).map(|counter| counter.key), Some(4));
    assert!(node.stack().get(5).is_none());
    assert_eq!(node.summary().to_string(), "instances:2");
}

#[test]
fn an_instance_starts_with_its_first_event_and_only_then() {
    let mut node = node(Keyed::new(Counter::new));
    assert_eq!(step(&mut node, Input::Start), []);
    let effects = step(&mut node, deliver_at(N2, &[4], &Add(1)));
    let record = Envelope::seal(&Added(1)).addressed_to(Instance::of_key(4));
    let started = Effect::Log(String::from("4 started with 0"));
    assert_eq!(effects, [started, Effect::Persist(record.clone())]);
    assert_eq!(step(&mut node, deliver_at(N2, &[4], &Add(1))), [Effect::Persist(record)]);
}

#[test]
fn an_answer_is_for_the_instance_that_asked_whichever_one_gives_it() {
    let mut node = node(Keyed::new(Counter::new));
    let compare = Input::Trigger(Envelope::seal(&Compare).addressed_to(instance(&[4])));
    let effects = step(&mut node, compare.clone());
    let question = sends(&effects)[0].2.clone();
    assert_eq!(question.instance(), &Instance::of_key(4));
    let number = asked(&effects);
    let answer = |keys: &[u64]| {
        let envelope = Envelope::seal(&Sum(6)).tagged(Tag::Answer(number));
        Input::Deliver { from: N2, envelope: envelope.addressed_to(instance(keys)) }
    };
    for giver in [4, 5] {
        let effects = step(&mut node.clone(), answer(&[giver]));
        assert_eq!(logs(&effects), ["4: 0 and Some((n2, Sum(6)))"]);
    }
    step(&mut node, answer(&[5]));
    let again = refuse(&mut node, answer(&[4]), &compare);
    assert_eq!(again, StepError::Stale { number, from: N2 });
}

#[test]
fn an_instance_answers_from_itself() {
    let mut node = node(Keyed::new(Counter::new));
    step(&mut node, deliver_at(N2, &[4], &Add(3)));
    step(&mut node, deliver_at(N2, &[7], &Add(5)));
    let effects = step(&mut node, ask_at(&[7], 11));
    let expected = Envelope::seal(&Sum(5)).tagged(Tag::Answer(11)).addressed_to(instance(&[7]));
    assert_eq!(sends(&effects)[0].2, &expected);
}

#[test]
fn timers_of_two_instances_are_two_timers() {
    let mut node = node(Keyed::new(Counter::new));
    let mut compare = |key| {
        let envelope = Envelope::seal(&Compare).addressed_to(Instance::of_key(key));
        step(&mut node, Input::Trigger(envelope))
    };
    let (four, seven) = (armed(&compare(4)), armed(&compare(7)));
    assert_eq!((four.len(), seven.len()), (2, 2));
    assert_eq!(logs(&step(&mut node, Input::Timer(four[1]))), ["tick of 4"]);
    assert_eq!(logs(&step(&mut node, Input::Timer(seven[0]))), ["7: 0 and None"]);
    assert_eq!(logs(&step(&mut node, Input::Timer(seven[1]))), ["tick of 7"]);
}

#[test]
fn records_come_back_to_their_instance_which_starts_after_them() {
    let record = |key, sum| Envelope::seal(&Added(sum)).addressed_to(Instance::of_key(key));
    let mut node = node(Keyed::new(Counter::new));
    let records = vec![record(7, 1), record(4, 2), record(7, 3)];
    let effects = step(&mut node, Input::Recover(records));
    assert_eq!(logs(&effects), ["4 started with 2", "7 started with 4"]);
    assert_eq!(sums(node.stack()), [(4, 2), (7, 4)]);
    assert!(logs(&step(&mut node, deliver_at(N2, &[4], &Add(1)))).is_empty());
}

#[test]
fn a_record_of_one_algorithm_makes_no_instance_of_another_one() {
    let strange = Keyed::new(|_| HandlerSet::new(0).on(|_: &mut u32, _: Tick| ()));
    let mut node = node((Keyed::new(Counter::new), strange));
    let record = Envelope::seal(&Added(2)).addressed_to(Instance::of_key(4));
    step(&mut node, Input::Recover(vec![record]));
    assert_eq!(sums(&node.stack().0), [(4, 2)]);
    assert!(node.stack().1.get(4).is_none());
}

#[test]
fn a_parent_speaks_to_its_instances_and_hears_what_they_trigger() {
    let mut node = node((Parent::default(), Keyed::new(Counter::new)));
    let effects = step(&mut node, deliver(N2, &Spread(98)));
    assert_eq!(sums(&node.stack().1), [(4, 98), (7, 99)]);
    assert_eq!(logs(&effects), ["4 started with 0", "7 started with 0"]);
    step(&mut node, deliver_at(N2, &[4], &Add(2)));
    step(&mut node, deliver(N2, &Spread(1)));
    assert_eq!(node.stack().0.reached, [100, 101, 101]);
    assert!(outputs(&effects).is_empty());
}

#[test]
fn what_an_instance_triggers_and_nobody_hears_says_which_instance_it_was() {
    let mut node = node(Keyed::new(Counter::new));
    let effects = step(&mut node, deliver_at(N2, &[4], &Add(200)));
    let expected = Envelope::seal(&Reached(200)).addressed_to(Instance::of_key(4));
    assert_eq!(outputs(&effects), [&expected]);
}

#[test]
fn an_instance_does_not_hear_what_its_sibling_triggers() {
    let make = |key| {
        let heard = HandlerSet::new((key, 0_u32));
        heard
            .on(|it: &mut (u64, u32), Add(_): Add, ctx: &mut Context| {
                ctx.trigger(&Tick);
                it.1 += 1;
            })
            .on(|it: &mut (u64, u32), _: Tick| it.1 += 10)
    };
    let mut node = node(Keyed::new(make));
    step(&mut node, deliver_at(N2, &[4], &Add(1)));
    step(&mut node, deliver_at(N2, &[7], &Add(1)));
    let counts: Vec<u32> = node.stack().iter().map(|(_, set)| set.state().1).collect();
    assert_eq!(counts, [11, 11]);
}

#[test]
fn a_peer_cannot_speak_to_the_parent_through_an_instance() {
    let mut node = node((Parent::default(), Keyed::new(Counter::new)));
    let next = deliver(N2, &Spread(1));
    let refused = refuse(&mut node, deliver_at(N2, &[4], &Spread(1)), &next);
    assert_eq!(refused, StepError::Unhandled(Spread::ID));
}

#[test]
fn a_first_event_that_does_not_decode_leaves_no_instance() {
    let mut node = node(Keyed::new(Counter::new));
    let bad = Envelope::from_parts(
        Add::ID,
        instance(&[4]),
        Tag::Plain,
        Bytes::from_static(&[0xff, 0xff, 0xff]),
    );
    let bad = Input::Deliver { from: N2, envelope: bad };
    let refused = refuse(&mut node, bad, &deliver_at(N2, &[4], &Add(1)));
    assert!(matches!(refused, StepError::Decode { event: "instances.add", .. }));
    assert!(node.stack().get(4).is_none());
}

#[test]
fn an_event_that_nobody_hears_leaves_no_instance() {
    let mut node = node(Keyed::new(Counter::new));
    let next = deliver_at(N2, &[4], &Add(1));
    for astray in [deliver_at(N2, &[4], &Spread(1)), deliver_at(N2, &[4, 1], &Add(1))] {
        assert!(matches!(refuse(&mut node, astray, &next), StepError::Unhandled(_)));
        assert!(node.stack().get(4).is_none());
    }
    let refused = refuse(&mut node, deliver(N2, &Add(1)), &next);
    assert_eq!(refused, StepError::Unhandled(Add::ID));
}

#[test]
fn the_instances_that_exist_go_on_when_there_may_be_no_more() {
    let mut node = node(Keyed::new(Counter::new).at_most(1));
    step(&mut node, deliver_at(N2, &[4], &Add(1)));
    let next = deliver_at(N2, &[4], &Add(1));
    let refused = refuse(&mut node, deliver_at(N2, &[7], &Add(1)), &next);
    assert_eq!(refused, StepError::Full { instances_max: 1 });
    step(&mut node, next);
    assert_eq!(sums(node.stack()), [(4, 2)]);
}

#[test]
fn an_instance_may_have_instances_of_its_own() {
    let mut node = node(Keyed::new(|_| Keyed::new(Counter::new).at_most(2)));
    step(&mut node, deliver_at(N2, &[1, 4], &Add(1)));
    step(&mut node, deliver_at(N2, &[1, 5], &Add(2)));
    let effects = step(&mut node, deliver_at(N2, &[2, 4], &Add(200)));
    let nested: Vec<_> = node.stack().iter().map(|(key, below)| (key, sums(below))).collect();
    assert_eq!(nested, [(1, vec![(4, 1), (5, 2)]), (2, vec![(4, 200)])]);
    assert_eq!(outputs(&effects)[0].instance().keys(), [2, 4]);
    let next = deliver_at(N2, &[2, 5], &Add(1));
    let refused = refuse(&mut node, deliver_at(N2, &[1, 6], &Add(1)), &next);
    assert_eq!(refused, StepError::Full { instances_max: 2 });
    let refused = refuse(&mut node, deliver_at(N2, &[3], &Add(1)), &next);
    assert_eq!(refused, StepError::Unhandled(Add::ID));
    assert!(node.stack().get(3).is_none());
}

#[test]
fn records_come_back_through_both_keys() {
    let mut node = node(Keyed::new(|_| Keyed::new(Counter::new)));
    let record = Envelope::seal(&Added(9)).addressed_to(instance(&[1, 4]));
    step(&mut node, Input::Recover(vec![record]));
    let below = node.stack().get(1).and_then(|below| below.get(4));
    assert_eq!(below.map(|counter| counter.sum), Some(9));
}

#[test]
fn instances_are_equal_when_their_states_are() {
    let mut one = node(Keyed::new(Counter::new));
    let mut other = node(Keyed::new(Counter::new));
    step(&mut one, deliver_at(N2, &[4], &Add(1)));
    step(&mut one, deliver_at(N2, &[7], &Add(1)));
    step(&mut other, deliver_at(N2, &[7], &Add(1)));
    step(&mut other, deliver_at(N3, &[4], &Add(1)));
    assert_eq!(crate::kit::fingerprint(&one), crate::kit::fingerprint(&other));
    assert_eq!(step(&mut one, trigger(&Tick)), step(&mut other, trigger(&Tick)));
}

/// Logs the key of whoever is told of a link.
fn linked(key: u64) -> HandlerSet<u64> {
    HandlerSet::new(key)
        .on(|_: &mut u64, _: Add| ())
        .on(|key: &mut u64, up: PeerUp, ctx: &mut Context| {
            ctx.log(format_args!("{key}: {} in life {}", up.peer, up.incarnation));
        })
        .on(|key: &mut u64, down: PeerDown, ctx: &mut Context| {
            ctx.log(format_args!("{key}: {} {:?}", down.peer, down.reason));
        })
}

const UP: Input = Input::PeerUp(PeerUp { peer: N2, incarnation: 3 });
const DOWN: Input = Input::PeerDown(PeerDown { peer: N2, reason: Reason::Silent });

#[test]
fn a_link_that_comes_or_goes_is_told_to_each_instance_there_is_and_to_nobody_else() {
    let mut one = node(Keyed::new(linked));
    assert_eq!(step(&mut one, UP), [], "nobody is there, and it is no output");
    step(&mut one, deliver_at(N2, &[7], &Add(1)));
    step(&mut one, deliver_at(N2, &[4], &Add(1)));
    let effects = step(&mut one, UP);
    assert_eq!((logs(&effects), effects.len()), (vec!["4: n2 in life 3", "7: n2 in life 3"], 2));
    let effects = step(&mut one, DOWN);
    assert_eq!((logs(&effects), effects.len()), (vec!["4: n2 Silent", "7: n2 Silent"], 2));
    assert_eq!(one.stack().iter().count(), 2);
}

#[test]
fn a_link_is_told_through_two_keys_and_beside_an_algorithm_that_does_not_listen() {
    let mut node = node((Parent::default(), Keyed::new(|_| Keyed::new(linked))));
    step(&mut node, deliver_at(N2, &[1, 7], &Add(1)));
    step(&mut node, deliver_at(N2, &[2, 4], &Add(1)));
    let effects = step(&mut node, UP);
    assert_eq!((logs(&effects), effects.len()), (vec!["7: n2 in life 3", "4: n2 in life 3"], 2));
}

#[test]
fn instances_that_do_not_listen_to_links_are_told_of_none() {
    let mut node = node(Keyed::new(Counter::new));
    step(&mut node, deliver_at(N2, &[4], &Add(1)));
    assert_eq!(step(&mut node, UP), []);
}

#[test]
fn each_of_twenty_thousand_instances_may_do_something_upon_a_link() {
    let make = |_| {
        HandlerSet::new(0_u16)
            .on(|_: &mut u16, _: Add| ())
            .on(|_: &mut u16, _: PeerUp, ctx: &mut Context| ctx.broadcast(&Sum(1)))
            .on(|sum: &mut u16, Sum(more): Sum| *sum += more)
    };
    let mut node = node(Keyed::new(make));
    for key in 0..20_000 {
        step(&mut node, deliver_at(N2, &[key], &Add(1)));
    }
    let effects = step(&mut node, Input::PeerUp(PeerUp { peer: N2, incarnation: 1 }));
    assert_eq!(sends(&effects).len(), 40_000);
    assert!(node.stack().iter().all(|(_, instance)| *instance.state() == 1));
}

#[test]
#[allow(clippy::disallowed_methods, reason = "nothing but time tells what an instance costs")]
fn one_more_instance_does_not_cost_more_the_more_there_are() {
    let make = |_| {
        HandlerSet::new(()).on(|(): &mut (), _: Add, ctx: &mut Context| ctx.after(SECOND, &Tick))
    };
    let mut node = node(Keyed::new(make));
    let begun = std::time::Instant::now();
    for key in 0..30_000 {
        step(&mut node, deliver_at(N2, &[key], &Add(1)));
    }
    // A tenth of a second, and half a minute if each copies what the others wait for.
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(node.timers().count(), 30_000);
}
