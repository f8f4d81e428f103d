//! Which functions are handlers, and what is read off their signatures.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use synod_core::{
    Access, Algorithm, Call, Context, Envelope, Event, HandlerSet, Handlers, Input, NodeId, Reply,
    Request, Tag, Time,
};

use crate::kit::{
    N1, N2, N3, SECOND, asked, deliver, lane, logs, node, outputs, sends, step, trigger,
};

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "shapes.write")]
struct Write(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "shapes.add")]
struct Add(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "shapes.clear")]
struct Clear;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "shapes.claim")]
struct Claim;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "shapes.read")]
struct Read;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "shapes.show", local)]
struct Show;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "shapes.value")]
struct Value(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "shapes.get")]
struct Get;

impl Request for Get {
    type Answer = Value;
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "shapes.swap")]
struct Swap(u64);

impl Request for Swap {
    type Answer = Swapped;
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "shapes.swapped")]
struct Swapped(u64);

/// A register with one handler of every shape.
#[derive(Clone, Debug, Default, Hash)]
struct Register {
    value: u64,
    owner: Option<NodeId>,
}

impl Algorithm for Register {
    const NAME: &'static str = "shapes.register";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::write)
            .on(Self::add)
            .on(Self::clear)
            .on(Self::claim)
            .on(Self::read)
            .on(Self::show)
            .on(Self::get)
            .on(Self::swap)
            .on(Self::value)
    }
}

impl Register {
    fn write(&mut self, Write(value): Write, from: NodeId, ctx: &mut Context) {
        self.value = value;
        ctx.send(from, &Value(value));
    }

    fn add(&mut self, Add(more): Add, ctx: &mut Context) {
        self.value += more;
        ctx.log(self.value);
    }

    fn clear(&mut self, _: Clear) {
        self.value = 0;
    }

    fn claim(&mut self, _: Claim, from: NodeId) {
        self.owner = Some(from);
    }

    fn read(&self, _: Read, from: NodeId, ctx: &mut Context) {
        ctx.send(from, &Value(self.value));
    }

    fn show(&self, _: Show, ctx: &mut Context) {
        ctx.log(self.value);
        ctx.ask(N2, &Get, SECOND);
    }

    fn get(&self, call: Call<Get>, ctx: &mut Context) {
        ctx.answer(call.ticket, &Value(self.value));
    }

    fn swap(&mut self, call: Call<Swap>, ctx: &mut Context) {
        let Swap(value) = call.request;
        ctx.answer(call.ticket, &Swapped(std::mem::replace(&mut self.value, value)));
    }

    fn value(&mut self, reply: Reply<Get>, _: &mut Context) {
        if let Some((_, Value(value))) = reply.answer {
            self.value = value;
        }
    }
}

#[test]
fn an_exclusive_handler_takes_the_event_the_sender_and_the_context() {
    let mut node = node(Register::default());
    let effects = step(&mut node, deliver(N2, &Write(5)));
    assert_eq!(node.stack().value, 5);
    let expected = (N2, lane("shapes.register"), &Envelope::seal(&Value(5)));
    assert_eq!(sends(&effects), [expected]);
}

#[test]
fn an_exclusive_handler_may_leave_out_the_sender_the_context_or_both() {
    let mut node = node(Register::default());
    assert_eq!(logs(&step(&mut node, deliver(N2, &Add(2)))), ["2"]);
    assert_eq!(step(&mut node, deliver(N3, &Claim)), []);
    assert_eq!((node.stack().value, node.stack().owner), (2, Some(N3)));
    assert_eq!(step(&mut node, deliver(N3, &Clear)), []);
    assert_eq!(node.stack().value, 0);
}

#[test]
fn a_shared_handler_answers_through_the_context_with_or_without_the_sender() {
    let mut node = node(Register { value: 3, owner: None });
    let effects = step(&mut node, deliver(N3, &Read));
    assert_eq!(sends(&effects)[0].2.open::<Value>().unwrap().0, 3);
    assert_eq!(logs(&step(&mut node, trigger(&Show))), ["3"]);
}

#[test]
fn a_call_is_taken_by_shared_and_by_exclusive_handlers() {
    let mut node = node(Register { value: 3, owner: None });
    let get = Envelope::seal(&Get).tagged(Tag::Ask(8));
    let effects = step(&mut node, Input::Deliver { from: N2, envelope: get });
    let answer = Envelope::seal(&Value(3)).tagged(Tag::Answer(8));
    assert_eq!(sends(&effects), [(N2, lane("shapes.register"), &answer)]);
    let swap = Envelope::seal(&Swap(4)).tagged(Tag::Ask(9));
    let effects = step(&mut node, Input::Deliver { from: N2, envelope: swap });
    let answer = Envelope::seal(&Swapped(3)).tagged(Tag::Answer(9));
    assert_eq!(sends(&effects), [(N2, lane("shapes.register"), &answer)]);
    assert_eq!(node.stack().value, 4);
}

#[test]
fn a_reply_handler_listens_to_the_answer_of_its_request() {
    let mut node = node(Register::default());
    let effects = step(&mut node, trigger(&Show));
    let number = asked(&effects);
    let envelope = Envelope::seal(&Value(6)).tagged(Tag::Answer(number));
    step(&mut node, Input::Deliver { from: N2, envelope });
    assert_eq!(node.stack().value, 6);
}

#[test]
fn the_access_is_read_off_the_receiver() {
    let table = Register::handlers();
    let access: BTreeMap<_, _> = table.events().map(|event| (event.name, event.access)).collect();
    let expected = BTreeMap::from([
        ("shapes.add", Access::Exclusive),
        ("shapes.claim", Access::Exclusive),
        ("shapes.clear", Access::Exclusive),
        ("shapes.get", Access::Shared),
        ("shapes.read", Access::Shared),
        ("shapes.show", Access::Shared),
        ("shapes.swap", Access::Exclusive),
        ("shapes.value", Access::Exclusive),
        ("shapes.write", Access::Exclusive),
    ]);
    assert_eq!(access, expected);
}

#[test]
fn the_catalogue_knows_what_the_derive_was_told() {
    let catalogue = node(Register::default()).catalogue();
    let show = catalogue.handled(Show::ID).unwrap();
    let write = catalogue.handled(Write::ID).unwrap();
    assert_eq!((show.name, show.local, show.unreliable), ("shapes.show", true, false));
    assert_eq!((write.name, write.local, write.unreliable), ("shapes.write", false, false));
    assert_eq!(catalogue.show(&Envelope::seal(&Write(4))), "Write(4)");
}

#[test]
fn closures_are_handlers_of_every_shape() {
    let ready = HandlerSet::new(Register::default())
        .on(|it: &mut Register, Write(value): Write| it.value = value)
        .on(|it: &mut Register, Add(more): Add, ctx: &mut Context| {
            it.value += more;
            ctx.log(it.value);
        })
        .on(|it: &mut Register, _: Claim, from: NodeId| it.owner = Some(from))
        .on(|it: &Register, _: Show, ctx: &mut Context| ctx.log(it.value))
        .on(|it: &Register, _: Read, from: NodeId, ctx: &mut Context| {
            ctx.send(from, &Value(it.value));
        })
        .on(|it: &Register, call: Call<Get>, ctx: &mut Context| {
            ctx.answer(call.ticket, &Value(it.value));
        });
    let mut node = node(ready);
    step(&mut node, deliver(N2, &Write(2)));
    step(&mut node, deliver(N2, &Claim));
    assert_eq!(logs(&step(&mut node, deliver(N2, &Add(3)))), ["5"]);
    assert_eq!(logs(&step(&mut node, trigger(&Show))), ["5"]);
    assert_eq!(sends(&step(&mut node, deliver(N3, &Read))).len(), 1);
    assert_eq!(node.stack().state().owner, Some(N2));
}

#[test]
fn a_closure_may_hold_what_its_host_gave_it() {
    let step_width = 10;
    let ready = HandlerSet::new(0).on(move |sum: &mut u64, Add(more): Add| {
        *sum += step_width * more;
    });
    let mut node = node(ready);
    step(&mut node, deliver(N2, &Add(4)));
    assert_eq!(*node.stack().state(), 40);
}

/// An event that carries whatever its user wants to carry.
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "shapes.flooded")]
struct Flooded<P>(P);

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "shapes.delivered", local)]
struct Delivered<P>
where
    P: Clone,
{
    payload: P,
    from: NodeId,
}

trait Payload: Clone + Debug + Serialize + DeserializeOwned + Send + PartialEq + 'static {}

impl Payload for String {}
impl Payload for (u8, bool) {}

#[derive(Clone, Debug)]
struct Flooding<P> {
    seen: Vec<P>,
}

impl<P: Payload> Algorithm for Flooding<P> {
    const NAME: &'static str = "shapes.flooding";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::flooded).indicates::<Delivered<P>>()
    }
}

impl<P: Payload> Flooding<P> {
    fn flooded(&mut self, Flooded(payload): Flooded<P>, from: NodeId, ctx: &mut Context) {
        if self.seen.contains(&payload) {
            return;
        }
        self.seen.push(payload.clone());
        ctx.send_where(&Flooded(payload.clone()), |peer| peer != N1 && peer != from);
        ctx.trigger(&Delivered { payload, from });
    }
}

#[test]
fn a_generic_algorithm_has_generic_events() {
    let mut texts = node(Flooding::<String> { seen: Vec::new() });
    let hello = Flooded(String::from("hello"));
    let effects = step(&mut texts, deliver(N2, &hello));
    let to: Vec<NodeId> = sends(&effects).iter().map(|sent| sent.0).collect();
    assert_eq!(to, [N3]);
    let told = outputs(&effects)[0].open::<Delivered<String>>().unwrap();
    assert_eq!((told.payload.as_str(), told.from), ("hello", N2));
    assert_eq!(step(&mut texts, deliver(N3, &hello)), []);

    let mut pairs = node(Flooding::<(u8, bool)> { seen: Vec::new() });
    step(&mut pairs, deliver(N2, &Flooded((1_u8, true))));
    assert_eq!(pairs.stack().seen, [(1, true)]);
}

#[derive(Clone, Debug)]
struct Relay<E> {
    relayed: Vec<E>,
}

impl<E: Event + Clone> Algorithm for Relay<E> {
    const NAME: &'static str = "shapes.relay";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::relay)
    }
}

impl<E: Event + Clone> Relay<E> {
    fn relay(&mut self, event: E, ctx: &mut Context) {
        ctx.send(N3, &event);
        self.relayed.push(event);
    }
}

#[test]
fn an_algorithm_may_be_generic_over_the_event_itself() {
    let mut node = node(Relay::<Flooded<u8>> { relayed: Vec::new() });
    let effects = step(&mut node, deliver(N2, &Flooded(9_u8)));
    assert_eq!(sends(&effects)[0].0, N3);
    assert_eq!(node.stack().relayed.len(), 1);
}

/// Nine event types, and an observer that writes down all that it hears.
macro_rules! observed {
    ($($event:ident $name:tt),*) => {
        $(#[derive(Event, Debug, Serialize, Deserialize)]
        #[event(name = $name)]
        struct $event { stream: u64, bytes: u32 })*

        fn observer() -> HandlerSet<Vec<(Time, NodeId, String)>> {
            HandlerSet::new(Vec::new())$(.on(|seen: &mut Vec<_>, event: $event, from: NodeId, ctx: &mut Context| {
                seen.push((ctx.now(), from, format!("{event:?}")));
            }))*
        }

        /// One event of each type, with how it is written out.
        fn one_of_each() -> Vec<(Input, String)> {
            let mut stream = 0;
            vec![$({
                stream += 1;
                let event = $event { stream, bytes: 7 };
                (deliver(N2, &event), format!("{event:?}"))
            }),*]
        }
    };
}

observed!(
    Started "proxy.started", Connected "proxy.connected", Fronted "proxy.fronted",
    Moved "proxy.moved", Finished "proxy.finished", Refused "proxy.refused",
    Listed "proxy.listed", Replayed "proxy.replayed", Resized "proxy.resized"
);

#[test]
fn of_nine_event_types_each_of_two_observers_sees_each_event_once_and_whole() {
    let mut node = node((observer(), observer()));
    let mut expected = Vec::new();
    for (millis, (input, text)) in (1..).zip(one_of_each()) {
        let now = Time::from_millis(millis);
        node.step(now, &input, &mut Vec::new()).unwrap();
        expected.push((now, N2, text));
    }
    assert_eq!(expected.len(), 9);
    assert_eq!((node.stack().0.state(), node.stack().1.state()), (&expected, &expected));
}
