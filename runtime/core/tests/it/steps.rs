//! One step: what a handler asks for, in which order it leaves, and what runs inside the step.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Boot, Choices, Context, Effect, Envelope, Event, HandlerSet, Handlers, Input, Lane,
    Node, NodeId, Order, PeerDown, PeerUp, Reason, TimerId,
};

use crate::kit::{
    N1, N2, N3, SECOND, STRANGER, boot, deliver, deliver_at, instance, lane, logs, node, outputs,
    sends, step, trigger,
};

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "steps.go")]
struct Go;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "steps.count")]
struct Count(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "steps.text")]
struct Text(String);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "steps.local", local)]
struct Local(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "steps.beat", unreliable)]
struct Beat;

/// A state that does `act` upon [`Go`].
fn upon_go(act: fn(&mut Context)) -> HandlerSet<()> {
    let handlers = Handlers::new().on(move |(): &mut (), _: Go, ctx: &mut Context| act(ctx));
    HandlerSet::with((), handlers.restore(|(): &mut (), _: Local| ()))
}

fn go(act: fn(&mut Context)) -> Vec<Effect> {
    step(&mut node(upon_go(act)), deliver(N2, &Go))
}

#[test]
fn what_no_algorithm_listens_to_leaves_in_the_order_of_asking_too() {
    let handlers = upon_go(|ctx| {
        ctx.trigger(&Local(1));
        ctx.trigger(&Count(2));
        ctx.persist(&Local(3));
        ctx.trigger(&Local(4));
        ctx.send(N2, &Count(5));
        ctx.trigger(&Local(6));
    });
    let heard = handlers.on(|(): &mut (), Count(number): Count, ctx: &mut Context| {
        ctx.send(N3, &Count(10 * number));
        ctx.trigger(&Local(10 * number));
    });
    let effects = step(&mut node(heard), deliver(N2, &Go));
    let (lane, output) =
        (lane("handlers"), |number| Effect::Output(Envelope::seal(&Local(number))));
    let send = |to, number| Effect::Send { to, lane, envelope: Envelope::seal(&Count(number)) };
    let expected = [
        output(1),
        Effect::Persist(Envelope::seal(&Local(3))),
        output(4),
        send(N2, 5),
        output(6),
        send(N3, 20),
        output(20),
    ];
    assert_eq!(effects, expected);
}

#[test]
fn effects_leave_in_the_order_of_asking() {
    let effects = go(|ctx| {
        ctx.log("first");
        ctx.send(N2, &Count(1));
        ctx.persist(&Local(2));
        ctx.after(SECOND, &Local(3));
        ctx.job(&Local(4));
        ctx.checkpoint(&Local(5));
        ctx.send(N3, &Count(6));
        ctx.cancel(&Local(3));
        ctx.log("last");
    });
    let (lane, id) = (lane("handlers"), TimerId(1));
    let expected = [
        Effect::Log(String::from("first")),
        Effect::Send { to: N2, lane, envelope: Envelope::seal(&Count(1)) },
        Effect::Persist(Envelope::seal(&Local(2))),
        Effect::Timer { id, after: SECOND, envelope: Envelope::seal(&Local(3)) },
        Effect::Job(Envelope::seal(&Local(4))),
        Effect::Checkpoint { record: Envelope::seal(&Local(5)), replaces: Arc::new([Local::ID]) },
        Effect::Send { to: N3, lane, envelope: Envelope::seal(&Count(6)) },
        Effect::Cancel(id),
        Effect::Log(String::from("last")),
    ];
    assert_eq!(effects, expected);
}

#[test]
fn effects_are_appended_to_what_the_host_has_kept() {
    let mut node = node(upon_go(|ctx| ctx.log("new")));
    let mut out = vec![Effect::Log(String::from("old"))];
    node.step(SECOND, &deliver(N2, &Go), &mut out).unwrap();
    assert_eq!(logs(&out), ["old", "new"]);
}

#[test]
fn a_handler_that_panics_has_released_nothing() {
    let mut node = node(upon_go(|ctx| {
        ctx.persist(&Local(1));
        ctx.broadcast(&Count(1));
        panic!("a mistake of the algorithm");
    }));
    let mut out = vec![Effect::Log(String::from("old"))];
    let stepped = catch_unwind(AssertUnwindSafe(|| node.step(SECOND, &deliver(N2, &Go), &mut out)));
    assert!(stepped.is_err());
    assert_eq!(out, [Effect::Log(String::from("old"))]);
}

#[test]
fn a_panic_in_a_local_event_takes_the_whole_step_back() {
    let ready = upon_go(|ctx| {
        ctx.persist(&Local(1));
        ctx.trigger(&Local(1));
    });
    let mut node = node(ready.on(|(): &mut (), _: Local| panic!("a mistake of the algorithm")));
    let mut out = Vec::new();
    let stepped = catch_unwind(AssertUnwindSafe(|| node.step(SECOND, &deliver(N2, &Go), &mut out)));
    assert!(stepped.is_err());
    assert_eq!(out, []);
}

#[test]
fn the_time_is_what_the_host_says() {
    let effects = go(|ctx| ctx.log(format_args!("{:?}", ctx.now())));
    assert_eq!(logs(&effects), ["1s"]);
}

#[test]
fn a_broadcast_reaches_everybody_and_is_encoded_once() {
    // A short one is copied, since that costs less than to count its owners.
    let long = || Text("long".repeat(100));
    let effects = go(|ctx| ctx.broadcast(&Text("long".repeat(100))));
    let sent = sends(&effects);
    let to: Vec<NodeId> = sent.iter().map(|sent| sent.0).collect();
    assert_eq!(to, [N2, N3]);
    assert_eq!(sent[0].2.body().as_ptr(), sent[1].2.body().as_ptr());
    // Nobody on this node listens to its own copy.
    assert_eq!(outputs(&effects), [&Envelope::seal(&long())]);
}

#[test]
fn a_choice_of_receivers_may_include_the_sender() {
    let effects = go(|ctx| ctx.send_where(&Count(4), |peer| peer != N3));
    assert_eq!(sends(&effects).len(), 1);
    assert_eq!(outputs(&effects).len(), 1);
}

#[test]
fn a_send_to_oneself_does_not_leave_the_step() {
    let heard = upon_go(|ctx| ctx.send(N1, &Count(3))).on(
        |(): &mut (), Count(number): Count, from: NodeId, ctx: &mut Context| {
            ctx.log(format_args!("{number} from {from}"));
        },
    );
    let effects = step(&mut node(heard), deliver(N2, &Go));
    assert_eq!(effects, [Effect::Log(String::from("3 from n1"))]);
}

#[test]
#[should_panic(expected = "n9 is not of this cluster")]
fn a_send_to_a_stranger_panics() {
    go(|ctx| ctx.send(STRANGER, &Count(1)));
}

#[test]
#[should_panic(expected = "`steps.local` is local and cannot be sent")]
fn a_send_of_a_local_event_panics() {
    go(|ctx| ctx.send(N2, &Local(1)));
}

#[test]
#[should_panic(expected = "`steps.local` is local and cannot be sent")]
fn a_broadcast_of_a_local_event_panics() {
    go(|ctx| ctx.broadcast(&Local(1)));
}

/// Logs what it hears, and triggers the next ones upon [`Go`].
fn chained() -> HandlerSet<()> {
    upon_go(|ctx| {
        ctx.trigger(&Local(1));
        ctx.trigger(&Local(2));
        ctx.log("go");
    })
    .on(|(): &mut (), Local(number): Local, ctx: &mut Context| {
        ctx.log(number);
        if number < 3 {
            ctx.trigger(&Local(number + 10));
        }
    })
}

#[test]
fn local_events_run_in_the_same_step_first_in_first_out() {
    let effects = step(&mut node(chained()), deliver(N2, &Go));
    assert_eq!(logs(&effects), ["go", "1", "2", "11", "12"]);
    assert_eq!(effects.len(), 5);
}

/// Triggers itself as many times as it is told.
fn countdown() -> HandlerSet<()> {
    HandlerSet::new(()).on(|(): &mut (), Count(left): Count, ctx: &mut Context| {
        if 0 < left {
            ctx.trigger(&Count(left - 1));
        }
    })
}

#[test]
fn ten_thousand_local_events_one_after_the_other_are_not_too_many() {
    assert_eq!(step(&mut node(countdown()), deliver(N2, &Count(10_000))), []);
}

#[test]
#[should_panic(
    expected = "handlers trigger each other without end: 10000 local events in one step"
)]
fn one_local_event_more_panics() {
    step(&mut node(countdown()), deliver(N2, &Count(10_001)));
}

#[test]
fn what_nobody_listens_to_is_for_the_application() {
    let effects = go(|ctx| ctx.trigger(&Local(5)));
    assert_eq!(effects, [Effect::Output(Envelope::seal(&Local(5)))]);
}

#[test]
fn what_the_application_triggers_and_nobody_hears_comes_back_to_it() {
    let mut node = node(upon_go(|_| ()));
    assert_eq!(step(&mut node, trigger(&Local(5))), [Effect::Output(Envelope::seal(&Local(5)))]);
}

#[test]
fn an_event_is_heard_by_every_algorithm_that_listens_to_it() {
    let first = HandlerSet::new(0).on(|sum: &mut u32, Count(more): Count, ctx: &mut Context| {
        *sum += more;
        ctx.log("first");
    });
    let second = upon_go(|_| ());
    let third =
        HandlerSet::new(0).on(|product: &mut u32, Count(more): Count, ctx: &mut Context| {
            *product *= more;
            ctx.log("third");
        });
    let mut node = node((first, second, third));
    assert_eq!(logs(&step(&mut node, deliver(N2, &Count(4)))), ["first", "third"]);
    assert_eq!((*node.stack().0.state(), *node.stack().2.state()), (4, 0));
}

#[test]
fn a_layer_hears_what_another_one_triggers() {
    let above = HandlerSet::new(Vec::new()).on(|heard: &mut Vec<u32>, Local(number): Local| {
        heard.push(number);
    });
    let mut node = node((above, upon_go(|ctx| ctx.trigger(&Local(6)))));
    assert_eq!(step(&mut node, deliver(N2, &Go)), []);
    assert_eq!(*node.stack().0.state(), [6]);
}

/// Counts down by rules: one takes a half where it can, the other one takes one.
fn halving() -> Handlers<u32> {
    Handlers::new()
        .on(|left: &mut u32, Count(number): Count| *left = number)
        .when(
            "is_even",
            |left| 0 < *left && *left % 2 == 0,
            |left, ctx| {
                *left /= 2;
                ctx.log("halved");
            },
        )
        .when(
            "is_odd",
            |left| *left % 2 == 1,
            |left, ctx| {
                *left -= 1;
                ctx.log("taken");
            },
        )
}

#[test]
fn rules_are_checked_from_the_first_on_until_none_holds() {
    let mut node = node(HandlerSet::with(0, halving()));
    let effects = step(&mut node, deliver(N2, &Count(6)));
    assert_eq!(logs(&effects), ["halved", "taken", "halved", "taken"]);
    assert_eq!(*node.stack().state(), 0);
}

#[test]
fn rules_are_checked_after_the_start() {
    let mut node = node(HandlerSet::with(1, halving()));
    assert_eq!(logs(&step(&mut node, Input::Start)), ["taken"]);
}

#[test]
fn rules_are_checked_after_a_recovery_and_not_while_records_are_restored() {
    let table = halving().restore(|left: &mut u32, Count(number): Count| *left += number);
    let mut node = node(HandlerSet::with(0, table));
    let records = vec![Envelope::seal(&Count(1)), Envelope::seal(&Count(1))];
    assert_eq!(logs(&step(&mut node, Input::Recover(records))), ["halved", "taken"]);
}

#[test]
fn rules_run_before_the_events_that_the_handler_has_triggered() {
    let table = halving()
        .on(|left: &mut u32, _: Go, ctx: &mut Context| {
            *left = 1;
            ctx.trigger(&Local(0));
        })
        .on(|_: &mut u32, _: Local, ctx: &mut Context| ctx.log("triggered"));
    let mut node = node(HandlerSet::with(0, table));
    assert_eq!(logs(&step(&mut node, deliver(N2, &Go))), ["taken", "triggered"]);
}

#[test]
#[should_panic(expected = "the rule `is_stuck` holds for ever")]
fn a_rule_that_holds_for_ever_panics_with_its_name() {
    let table = halving().when("is_stuck", |_| true, |_, _| ());
    step(&mut node(HandlerSet::with(0, table)), Input::Start);
}

#[test]
fn a_link_that_comes_or_goes_is_told_to_who_listens() {
    let heard = HandlerSet::new(())
        .on(|(): &mut (), up: PeerUp, from: NodeId, ctx: &mut Context| {
            ctx.log(format_args!("{} in life {}, says {from}", up.peer, up.incarnation));
        })
        .on(|(): &mut (), down: PeerDown, ctx: &mut Context| {
            ctx.log(format_args!("{} {:?}", down.peer, down.reason));
        });
    let mut node = node((heard, upon_go(|_| ())));
    let up = Input::PeerUp(PeerUp { peer: N2, incarnation: 3 });
    assert_eq!(logs(&step(&mut node, up)), ["n2 in life 3, says n1"]);
    let down = Input::PeerDown(PeerDown { peer: N2, reason: Reason::Silent });
    assert_eq!(logs(&step(&mut node, down)), ["n2 Silent"]);
}

#[test]
fn a_link_that_nobody_listens_to_is_no_output() {
    let mut node = node(upon_go(|_| ()));
    assert_eq!(step(&mut node, Input::PeerUp(PeerUp { peer: N2, incarnation: 3 })), []);
    let down = PeerDown { peer: N2, reason: Reason::Closed };
    assert_eq!(step(&mut node, Input::PeerDown(down)), []);
}

/// Chooses the highest value, and one that is not offered for n3.
struct Highest;

impl Choices for Highest {
    fn choose(&mut self, node: NodeId, options: u32) -> u32 {
        if node == N3 { options + 5 } else { options - 1 }
    }
}

struct Flips;

impl Choices for Flips {
    fn choose(&mut self, _: NodeId, _: u32) -> u32 {
        0
    }

    fn random(&mut self, _: NodeId, bits: u64) -> u64 {
        !bits
    }
}

fn chosen<T: synod_core::Stack>(node: &mut Node<T>) -> Vec<u32> {
    let effects = step(node, deliver(N2, &Go));
    logs(&effects).iter().map(|line| line.parse().expect("a number was logged")).collect()
}

fn chooser() -> HandlerSet<()> {
    upon_go(|ctx| {
        for _ in 0..64 {
            let choice = ctx.choose(10);
            ctx.log(choice);
        }
    })
}

#[test]
fn whoever_decides_for_a_node_is_asked_and_kept_within_the_options() {
    for id in [N1, N3] {
        let mut node = Node::new(boot(id), chooser()).unwrap();
        node.decide_by(Box::new(Highest));
        let from = if id == N1 { N2 } else { N1 };
        let effects = step(&mut node, deliver(from, &Go));
        assert!(logs(&effects).iter().all(|line| *line == "9"));
    }
}

#[test]
fn a_seed_fixes_what_a_node_chooses() {
    let draw = |boot: Boot| chosen(&mut Node::new(boot, chooser()).unwrap());
    let drawn = draw(boot(N1));
    assert_eq!(drawn, draw(boot(N1)));
    assert!((0..10).all(|value| drawn.contains(&value)));
    assert_ne!(drawn, draw(boot(N3)));
    assert_ne!(drawn, draw(Boot { seed: 8, ..boot(N1) }));
    assert_ne!(drawn, draw(Boot { incarnation: 2, ..boot(N1) }));
}

#[test]
fn random_bits_come_from_the_seed_unless_who_decides_makes_others_of_them() {
    let draw = |decides: Option<Box<dyn Choices>>| {
        let mut node = node(upon_go(|ctx| {
            let bits = ctx.random();
            ctx.log(bits);
        }));
        if let Some(decides) = decides {
            node.decide_by(decides);
        }
        let effects = step(&mut node, deliver(N2, &Go));
        let bits: Vec<u64> = logs(&effects).iter().filter_map(|it| it.parse().ok()).collect();
        bits
    };
    let drawn = draw(None);
    assert_eq!((drawn.len(), draw(Some(Box::new(Highest)))), (1, drawn.clone()));
    let flipped: Vec<u64> = drawn.iter().map(|bits| !bits).collect();
    assert_eq!(draw(Some(Box::new(Flips))), flipped);
}

#[test]
#[should_panic(expected = "nothing to choose from")]
fn a_choice_of_nothing_panics() {
    go(|ctx| {
        ctx.choose(0);
    });
}

#[test]
fn a_job_is_found_in_the_catalogue_and_its_result_is_an_ordinary_event() {
    let table = Handlers::new()
        .job(|Count(number): Count| Local(number * 2))
        .on(|sum: &mut u32, Local(number): Local| *sum += number);
    let mut node = node(HandlerSet::with(0, table));
    let catalogue = node.catalogue();
    let job = Envelope::seal(&Count(21)).addressed_to(instance(&[4]));
    let result = catalogue.job(Count::ID).unwrap()(&job).unwrap();
    assert_eq!(result, Envelope::seal(&Local(42)).addressed_to(instance(&[4])));
    assert!(catalogue.job(Go::ID).is_none());
    step(&mut node, Input::Trigger(Envelope::seal(&Local(42))));
    assert_eq!(*node.stack().state(), 42);
}

#[test]
fn a_job_of_bytes_that_do_not_decode_is_an_error() {
    let table = Handlers::<()>::new().job(|Count(number): Count| Local(number));
    let run = node(HandlerSet::with((), table)).catalogue().job(Count::ID).cloned().unwrap();
    assert!(run(&Envelope::seal(&Go)).is_err());
}

/// Sends one event of every kind upon [`Go`]; the order is its parameter.
#[derive(Debug)]
struct Sender<const PER_EVENT: bool>;

impl<const PER_EVENT: bool> Algorithm for Sender<PER_EVENT> {
    const NAME: &'static str = "steps.sender";
    const ORDER: Order = if PER_EVENT { Order::PerEvent } else { Order::PerSender };

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::go)
    }
}

impl<const PER_EVENT: bool> Sender<PER_EVENT> {
    fn go(&mut self, _: Go, ctx: &mut Context) {
        ctx.send(N2, &Go);
        ctx.send(N2, &Count(1));
        ctx.send(N2, &Beat);
    }
}

fn lanes<const PER_EVENT: bool>() -> Vec<Lane> {
    let effects = step(&mut node(Sender::<PER_EVENT>), deliver(N2, &Go));
    sends(&effects).iter().map(|sent| sent.1).collect()
}

#[test]
fn the_events_of_an_algorithm_share_one_lane_and_the_unreliable_ones_have_none() {
    let all = lane("steps.sender");
    assert_eq!(lanes::<false>(), [all, all, Lane::Datagram]);
}

#[test]
fn an_algorithm_may_put_each_event_type_on_its_own_lane() {
    assert_eq!(lanes::<true>(), [lane("steps.go"), lane("steps.count"), Lane::Datagram]);
}

#[test]
fn each_algorithm_of_a_node_has_its_own_lane() {
    let mut node = node((Sender::<true>, Sender::<false>, upon_go(|ctx| ctx.send(N3, &Go))));
    let effects = step(&mut node, deliver(N2, &Go));
    let lanes: Vec<Lane> = sends(&effects).iter().map(|sent| sent.1).collect();
    let (own, shared, set) = (lane("steps.go"), lane("steps.sender"), lane("handlers"));
    let datagram = Lane::Datagram;
    assert_eq!(lanes, [own, lane("steps.count"), datagram, shared, shared, datagram, set]);
}

#[test]
fn the_successor_is_the_next_node_and_the_first_one_after_the_last() {
    let successor = |id: NodeId, peers: &[NodeId]| {
        let boot = Boot { id, peers: peers.to_vec(), incarnation: 1, seed: 1 };
        let ready = HandlerSet::new(()).on(|(): &mut (), _: Local, ctx: &mut Context| {
            ctx.log(ctx.successor());
        });
        let effects = step(&mut Node::new(boot, ready).unwrap(), trigger(&Local(0)));
        logs(&effects).concat()
    };
    let ring = [N3, N1, N2];
    assert_eq!(ring.map(|node| successor(node, &ring)), ["n1", "n2", "n3"]);
    assert_eq!(successor(N2, &[N2]), "n2");
}

#[test]
fn the_peers_are_sorted_and_each_is_there_once() {
    let boot = Boot { id: N2, peers: vec![N3, N2, N3, N1], incarnation: 4, seed: 1 };
    let ready = HandlerSet::new(()).on(|(): &mut (), _: Local, ctx: &mut Context| {
        let cluster = format!("{} in {} of {:?}", ctx.me(), ctx.incarnation(), ctx.peers());
        ctx.log(cluster);
    });
    let effects = step(&mut Node::new(boot, ready).unwrap(), trigger(&Local(0)));
    assert_eq!(logs(&effects), ["n2 in 4 of [n1, n2, n3]"]);
}

#[test]
fn what_a_peer_sends_to_an_instance_that_the_node_does_not_have_is_not_heard_at_the_root() {
    let mut node = node(chained());
    let mut out = Vec::new();
    assert!(node.step(SECOND, &deliver_at(N2, &[4], &Go), &mut out).is_err());
    assert_eq!(out, []);
}
