//! Whatever the world sends, a refused input leaves the node as it was.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Call, Context, Envelope, Event, EventId, HandlerSet, Handlers, Input, Instance,
    Keyed, Node, NodeId, Reply, Request, StepError, Tag,
};

use crate::kit::{
    N1, N2, N3, SECOND, STRANGER, deliver, deliver_at, instance, logs, node, refuse, step, trigger,
};

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "refusals.add")]
struct Add(u16);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "refusals.reset", local)]
struct Reset;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "refusals.read")]
struct Read;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "refusals.value")]
struct Value(u16);

impl Request for Read {
    type Answer = Value;
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "refusals.unknown")]
struct Unknown;

/// A sum that leaves as many traces of an event as it can.
#[derive(Clone, Debug, Default, Hash)]
struct Sum(u16);

impl Algorithm for Sum {
    const NAME: &'static str = "refusals.sum";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::add).on(Self::reset).on(Self::read).on(Self::value)
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.after(SECOND, &Reset);
        ctx.log("started");
    }
}

impl Sum {
    fn add(&mut self, Add(more): Add, from: NodeId, ctx: &mut Context) {
        self.0 = self.0.wrapping_add(more);
        let jitter = ctx.random();
        ctx.log(jitter);
        ctx.after(SECOND, &Reset);
        ctx.send(from, &Add(self.0));
        ctx.ask(N3, &Read, SECOND);
    }

    fn reset(&mut self, _: Reset, ctx: &mut Context) {
        self.0 = 0;
        ctx.log("reset");
    }

    fn read(&self, call: Call<Read>, ctx: &mut Context) {
        ctx.answer(call.ticket, &Value(self.0));
    }

    fn value(&mut self, reply: Reply<Read>, ctx: &mut Context) {
        ctx.log(format_args!("{:?}", reply.answer));
    }
}

/// A node under way: it has armed timers, open questions and a state.
fn started<T: synod_core::Stack>(stack: T) -> Node<T> {
    let mut node = node(stack);
    step(&mut node, Input::Start);
    step(&mut node, deliver(N2, &Add(4)));
    node
}

fn raw(event: EventId, tag: Tag, body: &'static [u8]) -> Envelope {
    Envelope::from_parts(event, Instance::ROOT, tag, Bytes::from_static(body))
}

fn from_peer(envelope: Envelope) -> Input {
    Input::Deliver { from: N2, envelope }
}

#[test]
fn an_unknown_event_is_refused() {
    let refused = refuse(&mut started(Sum(1)), deliver(N2, &Unknown), &deliver(N3, &Add(1)));
    assert_eq!(refused, StepError::Unhandled(Unknown::ID));
}

#[test]
fn an_event_for_an_unknown_instance_is_refused() {
    let astray = deliver_at(N2, &[1], &Add(1));
    let refused = refuse(&mut started(Sum(1)), astray, &deliver(N3, &Add(1)));
    assert_eq!(refused, StepError::Unhandled(Add::ID));
}

#[test]
fn a_body_that_does_not_decode_is_refused_with_the_peer_to_blame() {
    let damaged = from_peer(raw(Add::ID, Tag::Plain, &[0xff]));
    let refused = refuse(&mut started(Sum(1)), damaged, &deliver(N3, &Add(1)));
    assert_eq!(
        refused.to_string(),
        "`refusals.add` from n2 does not decode: the bytes end too early"
    );
    let too_large = from_peer(raw(Add::ID, Tag::Plain, &[0xff, 0xff, 0xff]));
    let refused = refuse(&mut started(Sum(1)), too_large, &deliver(N3, &Add(1)));
    assert!(matches!(refused, StepError::Decode { event: "refusals.add", from: N2, .. }));
}

#[test]
fn bytes_after_the_event_are_refused() {
    let longer = from_peer(raw(Add::ID, Tag::Plain, &[4, 0]));
    let refused = refuse(&mut started(Sum(1)), longer, &deliver(N3, &Add(1)));
    assert_eq!(
        refused.to_string(),
        "`refusals.add` from n2 does not decode: 1 bytes are left over"
    );
}

#[test]
fn a_local_event_from_a_peer_is_refused() {
    let refused = refuse(&mut started(Sum(1)), deliver(N2, &Reset), &deliver(N3, &Add(1)));
    assert_eq!(refused, StepError::LocalOnly { event: Reset::ID, from: N2 });
}

#[test]
fn a_local_event_of_the_application_is_heard() {
    assert_eq!(logs(&step(&mut started(Sum(1)), trigger(&Reset))), ["reset"]);
}

#[test]
fn a_local_event_from_a_peer_is_refused_before_any_of_several_algorithms_hears_it() {
    let counts = || {
        HandlerSet::new(0_u32)
            .on(|count: &mut u32, _: Reset| *count += 1)
            .on(|count: &mut u32, _: Add| *count += 1)
    };
    let mut node = started((counts(), Sum(1), counts()));
    let refused = refuse(&mut node, deliver(N2, &Reset), &trigger(&Reset));
    assert_eq!(refused, StepError::LocalOnly { event: Reset::ID, from: N2 });
}

#[test]
fn a_local_event_from_a_peer_makes_no_instance() {
    let mut node = started((Sum(1), Keyed::new(|_| Sum(0))));
    let refused = refuse(&mut node, deliver_at(N2, &[3], &Reset), &deliver_at(N2, &[3], &Add(1)));
    assert_eq!(refused, StepError::LocalOnly { event: Reset::ID, from: N2 });
    assert!(node.stack().1.get(3).is_none());
}

#[test]
fn a_missing_answer_cannot_be_forged_by_a_peer() {
    let mut node = started(Sum(1));
    let (_, waiting) = node.timers().find(|(_, it)| it.tag() != Tag::Plain).unwrap();
    let forged = from_peer(waiting.clone());
    let refused = refuse(&mut node, forged, &deliver(N3, &Add(1)));
    assert_eq!(refused, StepError::LocalOnly { event: Value::ID, from: N2 });
}

#[test]
fn a_question_of_an_application_cannot_be_forged_by_a_peer() {
    let asked = Envelope::seal(&Read).tagged(Tag::of_application(7));
    let refused = refuse(&mut started(Sum(1)), from_peer(asked), &deliver(N3, &Add(1)));
    assert_eq!(refused, StepError::LocalOnly { event: Read::ID, from: N2 });
}

#[test]
fn a_stranger_is_refused() {
    let refused = refuse(&mut started(Sum(1)), deliver(STRANGER, &Add(1)), &deliver(N3, &Add(1)));
    assert_eq!(refused, StepError::Stranger(STRANGER));
    assert_eq!(refused.to_string(), "n9 is no peer of this node");
}

#[test]
fn who_claims_to_be_the_node_itself_is_refused() {
    let refused = refuse(&mut started(Sum(1)), deliver(N1, &Add(1)), &deliver(N3, &Add(1)));
    assert_eq!(refused, StepError::Stranger(N1));
    let refused = refuse(&mut started(Sum(1)), deliver(N1, &Reset), &deliver(N3, &Add(1)));
    assert_eq!(refused, StepError::Stranger(N1));
}

#[test]
fn a_request_that_is_sent_and_not_asked_is_refused() {
    let refused = refuse(&mut started(Sum(1)), deliver(N2, &Read), &deliver(N3, &Add(1)));
    assert_eq!(
        refused.to_string(),
        "`refusals.read` from n2 does not decode: its handler takes a `Call`, and it was sent or triggered \
         instead of asked"
    );
}

#[test]
fn an_answer_without_a_ticket_is_refused() {
    let refused = refuse(&mut started(Sum(1)), deliver(N2, &Value(1)), &deliver(N3, &Add(1)));
    assert!(matches!(refused, StepError::Decode { event: "refusals.value", from: N2, .. }));
}

#[test]
fn a_request_that_one_algorithm_refuses_is_heard_by_none() {
    let bare = HandlerSet::new(0_u32).on(|reads: &mut u32, _: Read, ctx: &mut Context| {
        *reads += 1;
        ctx.log("read");
    });
    let mut node = started((bare, Sum(1)));
    refuse(&mut node, deliver(N2, &Read), &deliver(N3, &Add(1)));
    assert_eq!(*node.stack().0.state(), 0);
}

#[test]
fn an_instance_too_many_is_refused() {
    let mut node = started((Sum(1), Keyed::new(|_| Sum(0)).at_most(2)));
    step(&mut node, deliver_at(N2, &[1], &Add(1)));
    step(&mut node, deliver_at(N2, &[2], &Add(1)));
    let next = deliver_at(N3, &[2], &Add(1));
    let refused = refuse(&mut node, deliver_at(N2, &[3], &Add(1)), &next);
    assert_eq!(refused, StepError::Full { instances_max: 2 });
    assert_eq!(refused.to_string(), "2 instances exist, and there may not be more");
}

#[test]
fn an_instance_too_many_for_one_algorithm_is_opened_by_none() {
    let roomy = Keyed::new(|_| Sum(0));
    let tight = Keyed::new(|_| HandlerSet::new(0).on(|sum: &mut u16, Add(more): Add| *sum += more));
    let mut node = node((roomy, tight.at_most(1)));
    step(&mut node, deliver_at(N2, &[1], &Add(1)));
    let refused = refuse(&mut node, deliver_at(N2, &[2], &Add(1)), &deliver_at(N2, &[1], &Add(1)));
    assert_eq!(refused, StepError::Full { instances_max: 1 });
    assert!(node.stack().0.get(2).is_none());
}

#[test]
fn a_trigger_of_bytes_that_do_not_decode_is_an_error_and_not_a_panic() {
    let bad = Input::Trigger(raw(Add::ID, Tag::Plain, &[0xff]));
    let refused = refuse(&mut started(Sum(1)), bad, &deliver(N3, &Add(1)));
    assert!(matches!(refused, StepError::Decode { event: "refusals.add", from: N1, .. }));
}

#[test]
fn a_trigger_of_bad_bytes_for_an_instance_is_an_error_and_leaves_none() {
    let mut node = started((Sum(1), Keyed::new(|_| Sum(0))));
    let envelope = raw(Add::ID, Tag::Plain, &[0xff]).addressed_to(instance(&[5]));
    refuse(&mut node, Input::Trigger(envelope), &deliver_at(N2, &[5], &Add(1)));
    assert!(node.stack().1.get(5).is_none());
}

#[test]
fn a_trigger_of_a_request_without_a_ticket_is_an_error() {
    let refused = refuse(&mut started(Sum(1)), trigger(&Read), &deliver(N3, &Add(1)));
    assert!(matches!(refused, StepError::Decode { event: "refusals.read", from: N1, .. }));
}
