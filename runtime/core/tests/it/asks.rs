//! Questions, answers, and the lack of an answer.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Boot, Call, Context, Effect, Envelope, Event, HandlerSet, Handlers, Input, Keyed,
    Node, NodeId, Reply, Request, StepError, Tag, Ticket,
};

use crate::kit::{
    N1, N2, N3, SECOND, armed, asked, boot, deliver, instance, lane, logs, node, outputs, refuse,
    sends, step, trigger,
};

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "asks.get")]
struct Get(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "asks.got")]
struct Got(u32);

impl Request for Get {
    type Answer = Got;
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "asks.peek")]
struct Peek;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "asks.peeked", local)]
struct Peeked;

impl Request for Peek {
    type Answer = Peeked;
}

/// A request that cannot be sent.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "asks.look", local)]
struct Look;

impl Request for Look {
    type Answer = Got;
}

/// Asks the node that it names.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "asks.ask", local)]
struct Ask(NodeId);

/// Answers the call that was kept first.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "asks.settle")]
struct Settle;

#[derive(Clone, Debug, Default, Hash)]
struct Peer {
    asked: Vec<Ticket<Get>>,
    kept: Vec<Ticket<Get>>,
}

/// Hands the right to answer on, as a chain does whose end answers.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "asks.hand_on")]
struct HandOn(Ticket<Get>);

#[test]
fn a_ticket_of_a_node_is_answered_by_whoever_has_it_and_one_of_an_application_by_who_was_asked() {
    let make = || {
        let holds = HandlerSet::new(()).on(|(): &mut (), call: Call<Get>, ctx: &mut Context| {
            ctx.send(N2, &HandOn(call.ticket));
        });
        holds.on(|(): &mut (), HandOn(ticket): HandOn, ctx: &mut Context| {
            ctx.answer(ticket, &Got(1));
        })
    };
    let handed_on = |number| {
        let asked = Envelope::seal(&Get(1)).tagged(Tag::Ask(number));
        let effects = step(&mut node(make()), Input::Trigger(asked));
        let Some((N2, _, ticket)) = sends(&effects).pop() else { panic!("it is handed on") };
        let input = Input::Deliver { from: N1, envelope: ticket.clone() };
        let mut second = Node::new(boot(N2), make()).unwrap();
        catch_unwind(AssertUnwindSafe(|| step(&mut second, input)))
    };
    assert_eq!(sends(&handed_on(7).expect("n2 may answer")).len(), 1);
    let why = handed_on(Tag::OF_APPLICATION | 7).expect_err("only n1 can answer its application");
    let why = why.downcast_ref::<String>().expect("words");
    assert!(
        why.starts_with("the application of n1 has asked `asks.get`, and only n1 can"),
        "{why}"
    );
}

#[test]
fn an_instance_may_answer_what_another_one_has_asked_on_its_node_or_another_one() {
    type Nodes = (HandlerSet<()>, Keyed<Child>);
    let make = || -> Nodes {
        let parent = HandlerSet::new(())
            .on(|(): &mut (), Ask(whom): Ask, ctx: &mut Context| {
                ctx.ask(whom, &Get(7), SECOND);
            })
            .on(|(): &mut (), call: Call<Get>, ctx: &mut Context| {
                ctx.trigger_at(u64::from(call.request.0), &HandOn(call.ticket));
            })
            .on(|(): &mut (), reply: Reply<Get>, ctx: &mut Context| {
                ctx.log(format_args!("{:?}", reply.answer.map(|(from, Got(value))| (from, value))));
            });
        (parent, Keyed::new(|_| Child))
    };
    let (mut one, mut two) = (node(make()), Node::new(boot(N2), make()).unwrap());
    let own = step(&mut one, trigger(&Ask(N1)));
    assert_eq!(logs(&own), ["Some((n1, 70))"]);
    let asked = step(&mut one, trigger(&Ask(N2)));
    let [(N2, _, question)] = sends(&asked)[..] else { panic!("{asked:?}") };
    let input = Input::Deliver { from: N1, envelope: question.clone() };
    let answered = step(&mut two, input);
    let [(N1, _, answer)] = sends(&answered)[..] else { panic!("{answered:?}") };
    assert_eq!(answer.instance(), &instance(&[7]));
    let heard = Input::Deliver { from: N2, envelope: answer.clone() };
    assert_eq!(logs(&step(&mut one, heard.clone())), ["Some((n2, 70))"]);
    assert_eq!(one.timers().count(), 0, "nobody waits any more");
    let again = one.step(SECOND, &heard, &mut Vec::new());
    assert!(matches!(again, Err(StepError::Stale { from: N2, .. })), "{again:?}");
}

#[derive(Clone, Debug, Hash)]
struct Child;

impl Algorithm for Child {
    const NAME: &'static str = "child";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|_: &mut Self, HandOn(ticket): HandOn, ctx: &mut Context| {
            ctx.answer(ticket, &Got(70));
        })
    }
}

#[test]
fn a_ticket_that_a_peer_has_made_up_is_answered_in_vain_and_harms_nobody() {
    let make = HandlerSet::new(())
        .on(|(): &mut (), Ask(whom): Ask, ctx: &mut Context| {
            ctx.ask(whom, &Peek, SECOND);
        })
        .on(|(): &mut (), HandOn(ticket): HandOn, ctx: &mut Context| {
            ctx.answer(ticket, &Got(1));
        })
        .on(|(): &mut (), _: Reply<Peek>, _: &mut Context| ());
    let mut node = node(make);
    let number = asked(&step(&mut node, trigger(&Ask(N2))));
    let made_up = postcard::to_allocvec(&(N1, number)).expect("numbers serialize");
    let ticket: Ticket<Get> =
        postcard::from_bytes(&made_up).expect("a ticket is who, and a number");
    let effects = step(&mut node, deliver(N2, &HandOn(ticket)));
    assert!(logs(&effects)[0].contains("comes too late"), "{effects:?}");
    assert_eq!(node.timers().count(), 1, "the question is still open");
}

#[test]
fn requests_beyond_four_billion_have_no_number_of_the_next_life() {
    let lives = [1, 2, (1 << 31) - 1, 1 << 31];
    let counts = [0, 1, u64::from(u32::MAX), 1 << 32, (1 << 32) + 1, u64::MAX];
    for (life, next) in lives.into_iter().zip(lives.into_iter().skip(1)) {
        for (one, other) in counts.into_iter().flat_map(|one| counts.map(|other| (one, other))) {
            let number = Tag::number(life, one);
            assert_ne!(number, Tag::number(next, other), "{life}: {one} and {other}");
            assert_eq!(number & Tag::OF_APPLICATION, 0);
        }
    }
}

/// Asks when told to; answers even numbers at once, and odd ones when told to.
fn peer() -> HandlerSet<Peer> {
    HandlerSet::new(Peer::default())
        .on(|it: &mut Peer, Ask(whom): Ask, ctx: &mut Context| {
            it.asked.push(ctx.ask(whom, &Get(4), SECOND));
        })
        .on(|it: &mut Peer, call: Call<Get>, ctx: &mut Context| {
            if call.request.0.is_multiple_of(2) {
                ctx.answer(call.ticket, &Got(call.request.0));
            } else {
                it.kept.push(call.ticket);
            }
        })
        .on(|it: &mut Peer, _: Settle, ctx: &mut Context| {
            for ticket in it.kept.drain(..) {
                ctx.answer(ticket, &Got(100));
            }
        })
        .on(|it: &mut Peer, reply: Reply<Get>, ctx: &mut Context| {
            assert!(it.asked.contains(&reply.ticket), "an answer to somebody else's question");
            match reply.answer {
                Some((from, Got(value))) => ctx.log(format_args!("{value} from {from}")),
                None => ctx.log("no answer"),
            }
        })
}

fn ask(node: &mut Node<HandlerSet<Peer>>) -> (u64, Vec<Effect>) {
    let effects = step(node, trigger(&Ask(N2)));
    let number = asked(&effects);
    (number, effects)
}

fn answer(number: u64, value: u32) -> Input {
    Input::Deliver { from: N2, envelope: Envelope::seal(&Got(value)).tagged(Tag::Answer(number)) }
}

#[test]
fn a_question_is_sent_with_a_number_and_a_deadline() {
    let mut node = node(peer());
    let (number, effects) = ask(&mut node);
    let question = Envelope::seal(&Get(4)).tagged(Tag::Ask(number));
    assert_eq!(sends(&effects), [(N2, lane("handlers"), &question)]);
    assert_eq!(armed(&effects).len(), 1);
    assert_ne!(ask(&mut node).0, number);
}

#[test]
fn an_answer_in_time_ends_the_wait() {
    let mut node = node(peer());
    let (number, effects) = ask(&mut node);
    let effects = [effects, step(&mut node, answer(number, 8))].concat();
    assert_eq!(logs(&effects), ["8 from n2"]);
    assert_eq!(effects.last(), Some(&Effect::Cancel(armed(&effects)[0])));
    assert_eq!(node.timers().count(), 0);
}

#[test]
fn a_second_answer_is_stale() {
    let mut node = node(peer());
    let (number, _) = ask(&mut node);
    step(&mut node, answer(number, 8));
    let refused = refuse(&mut node, answer(number, 8), &trigger(&Ask(N3)));
    assert_eq!(refused, StepError::Stale { number, from: N2 });
}

#[test]
fn a_deadline_gives_a_reply_without_an_answer_and_a_late_answer_is_stale() {
    let mut node = node(peer());
    let (number, effects) = ask(&mut node);
    assert_eq!(logs(&step(&mut node, Input::Timer(armed(&effects)[0]))), ["no answer"]);
    let refused = refuse(&mut node, answer(number, 8), &trigger(&Ask(N3)));
    assert_eq!(refused, StepError::Stale { number, from: N2 });
    assert_eq!(refused.to_string(), format!("the answer {number} from n2 comes too late"));
}

#[test]
fn a_deadline_that_was_overtaken_by_the_answer_does_nothing() {
    let mut node = node(peer());
    let (number, effects) = ask(&mut node);
    step(&mut node, answer(number, 8));
    assert_eq!(step(&mut node, Input::Timer(armed(&effects)[0])), []);
}

#[test]
fn an_answer_to_a_former_life_is_stale() {
    let mut former = node(peer());
    let (number, _) = ask(&mut former);
    let mut latter = Node::new(Boot { incarnation: 2, ..boot(N1) }, peer()).unwrap();
    let (renewed, _) = ask(&mut latter);
    assert_ne!(number, renewed);
    let refused = refuse(&mut latter, answer(number, 8), &answer(renewed, 9));
    assert_eq!(refused, StepError::Stale { number, from: N2 });
    assert_eq!(logs(&step(&mut latter, answer(renewed, 9))), ["9 from n2"]);
}

#[test]
fn an_answer_of_the_wrong_type_is_stale_and_the_question_stays_open() {
    let mut node = node(peer());
    let (number, _) = ask(&mut node);
    let envelope = Envelope::seal(&Settle).tagged(Tag::Answer(number));
    let wrong = Input::Deliver { from: N2, envelope };
    let refused = refuse(&mut node, wrong, &answer(number, 8));
    assert_eq!(refused, StepError::Stale { number, from: N2 });
    assert_eq!(logs(&step(&mut node, answer(number, 8))), ["8 from n2"]);
}

#[test]
fn an_answer_that_does_not_decode_leaves_the_question_open() {
    let mut node = node(peer());
    let (number, _) = ask(&mut node);
    let body = bytes::Bytes::from_static(&[0xff]);
    let envelope =
        Envelope::from_parts(Got::ID, synod_core::Instance::ROOT, Tag::Answer(number), body);
    let damaged = Input::Deliver { from: N2, envelope };
    let refused = refuse(&mut node, damaged, &answer(number, 8));
    assert!(matches!(refused, StepError::Decode { event: "asks.got", from: N2, .. }));
    assert_eq!(logs(&step(&mut node, answer(number, 8))), ["8 from n2"]);
}

#[test]
fn a_ticket_may_be_kept_and_answered_in_a_later_step() {
    let mut node = node(peer());
    let question = Envelope::seal(&Get(3)).tagged(Tag::Ask(77));
    assert_eq!(step(&mut node, Input::Deliver { from: N3, envelope: question }), []);
    let effects = step(&mut node, deliver(N2, &Settle));
    let answered = Envelope::seal(&Got(100)).tagged(Tag::Answer(77));
    assert_eq!(sends(&effects), [(N3, lane("handlers"), &answered)]);
}

#[test]
fn a_node_may_ask_itself() {
    let mut node = node(peer());
    let effects = step(&mut node, trigger(&Ask(N1)));
    assert_eq!(logs(&effects), ["4 from n1"]);
    assert_eq!(sends(&effects), []);
    assert_eq!(node.timers().count(), 0);
}

#[test]
fn the_application_asks_and_its_answer_is_an_output_although_an_algorithm_waits_for_others() {
    let mut node = node(peer());
    ask(&mut node);
    let number = (1 << 63) | 5;
    let asked = Input::Trigger(Envelope::seal(&Get(4)).tagged(Tag::Ask(number)));
    let effects = step(&mut node, asked);
    let answered = Envelope::seal(&Got(4)).tagged(Tag::Answer(number));
    assert_eq!(effects, [Effect::Output(answered)]);
}

#[test]
fn the_application_may_be_answered_in_a_later_step() {
    let mut node = node(peer());
    let asked = Input::Trigger(Envelope::seal(&Get(3)).tagged(Tag::Ask(1 << 63)));
    assert_eq!(step(&mut node, asked), []);
    let effects = step(&mut node, deliver(N2, &Settle));
    let answered = Envelope::seal(&Got(100)).tagged(Tag::Answer(1 << 63));
    assert_eq!(outputs(&effects), [&answered]);
}

#[test]
fn the_application_may_be_answered_with_a_local_event() {
    let local = HandlerSet::new(()).on(|(): &(), call: Call<Peek>, ctx: &mut Context| {
        ctx.answer(call.ticket, &Peeked);
    });
    let asked = Input::Trigger(Envelope::seal(&Peek).tagged(Tag::Ask(1 << 63)));
    assert_eq!(outputs(&step(&mut node(local), asked)).len(), 1);
}

#[test]
#[should_panic(expected = "`asks.peeked` is local and cannot be sent")]
fn a_local_answer_to_a_peer_panics() {
    let local = HandlerSet::new(()).on(|(): &(), call: Call<Peek>, ctx: &mut Context| {
        ctx.answer(call.ticket, &Peeked);
    });
    let envelope = Envelope::seal(&Peek).tagged(Tag::Ask(4));
    step(&mut node(local), Input::Deliver { from: N2, envelope });
}

#[test]
#[should_panic(expected = "`asks.look` is local and cannot be sent")]
fn a_local_question_to_a_peer_panics() {
    let local = HandlerSet::new(()).on(|(): &mut (), Ask(whom): Ask, ctx: &mut Context| {
        ctx.ask(whom, &Look, SECOND);
    });
    step(&mut node(local), trigger(&Ask(N2)));
}

#[test]
#[should_panic(expected = "n9 is not of this cluster")]
fn a_question_to_a_stranger_panics() {
    step(&mut node(peer()), trigger(&Ask(NodeId(9))));
}

#[test]
fn who_does_not_listen_to_the_answer_is_not_told_of_its_absence() {
    let deaf = HandlerSet::new(()).on(|(): &mut (), Ask(whom): Ask, ctx: &mut Context| {
        ctx.ask(whom, &Get(1), SECOND);
    });
    let mut deaf = node(deaf);
    let id = armed(&step(&mut deaf, trigger(&Ask(N2))))[0];
    assert_eq!(step(&mut deaf, Input::Timer(id)), []);

    let bare = HandlerSet::new(())
        .on(|(): &mut (), Ask(whom): Ask, ctx: &mut Context| {
            ctx.ask(whom, &Get(1), SECOND);
        })
        .on(|(): &mut (), Got(value): Got, ctx: &mut Context| ctx.log(value));
    let mut bare = node(bare);
    let id = armed(&step(&mut bare, trigger(&Ask(N2))))[0];
    assert_eq!(step(&mut bare, Input::Timer(id)), []);
}

#[test]
fn a_handler_of_the_bare_answer_hears_it() {
    let bare = HandlerSet::new(())
        .on(|(): &mut (), Ask(whom): Ask, ctx: &mut Context| {
            ctx.ask(whom, &Get(1), SECOND);
        })
        .on(|(): &mut (), Got(value): Got, from: NodeId, ctx: &mut Context| {
            ctx.log(format_args!("{value} from {from}"));
        });
    let mut node = node(bare);
    let effects = step(&mut node, trigger(&Ask(N2)));
    let number = asked(&effects);
    assert_eq!(logs(&step(&mut node, answer(number, 6))), ["6 from n2"]);
}

#[test]
fn tickets_are_told_apart_by_asker_and_number_and_survive_a_record() {
    let mut node = node(peer());
    ask(&mut node);
    ask(&mut node);
    let [one, two] = node.stack().state().asked[..] else { panic!("two questions were asked") };
    assert!(one < two);
    let bytes = postcard::to_allocvec(&one).unwrap();
    assert_eq!(postcard::from_bytes::<Ticket<Get>>(&bytes).unwrap(), one);
    assert_eq!(format!("{one:?}"), "ticket 4294967297 of n1");
}
