//! When a link is up: once both sides have accepted each other.

use std::sync::atomic::Ordering;

use quinn::VarInt;
use synod_core::Transport;
use synod_transport_quic::Limits;

use crate::hostile::{Stage, good_frame, lane};
use crate::raw::{ACKNOWLEDGED, Client, Greeting, Offer, PROTOCOL, Raw, Server, control_frame};
use crate::support::{
    LANE, N1, N2, N3, Peer, assert_says, authority, bundle, hello, introduce, link, start,
    start_with,
};

/// Waits until so many refusals of a kind have been told to `peer`.
fn refusals(peer: &Peer, kind: &str, count: usize) {
    peer.inbox.wait_until("refusals", |told| {
        count <= told.refusals.iter().filter(|refusal| refusal.kind == kind).count()
    });
}

/// One dials the other until an attempt of each has failed three times; no link is told on either side.
fn is_linked_nowhere(dialer: &Peer, acceptor: &Peer, kind: &str) {
    for attempts in 1..=3 {
        dialer.transport.connect(acceptor.node);
        dialer.inbox.wait_until("an attempt", |told| attempts <= told.unreachable().len());
        refusals(dialer, kind, attempts);
        refusals(acceptor, kind, attempts);
    }
    assert!(acceptor.inbox.look(|told| told.links.is_empty()));
    assert!(dialer.inbox.look(|told| told.unreachable().len() == told.links.len()));
}

#[test]
fn a_link_that_the_acceptor_refuses_is_up_on_neither_side() {
    let authority = authority();
    let one = start(&bundle(&authority, N1, &[N1, N2]));
    let two = start(&bundle(&authority, N2, &[N2, N3]));
    introduce(&[&one, &two]);
    is_linked_nowhere(&one, &two, "unknown_node");
}

#[test]
fn a_link_that_the_dialler_refuses_is_up_on_neither_side_as_where_it_is_hung() {
    let authority = authority();
    let one = start(&bundle(&authority, N1, &[N1, N2]));
    let two = start(&bundle(&authority, N2, &[N1, N2]));
    introduce(&[&one, &two]);
    one.inbox.is_hung.store(true, Ordering::Relaxed);
    is_linked_nowhere(&one, &two, "busy");
    one.inbox.is_hung.store(false, Ordering::Relaxed);
    link(&one, &two);
}

#[test]
fn a_node_that_has_been_outdated_is_linked_nowhere_although_it_is_dialled() {
    let authority = authority();
    let one = start(&bundle(&authority, N1, &[N1, N2]));
    let second = bundle(&authority, N2, &[N1, N2]);
    let older = hello(N2, &["a", "b"]);
    let newer = start(&second);
    link(&one, &newer);
    newer.close();
    one.wait_down(N2);
    let two = start_with(&second, older, Limits::default());
    one.transport.set_address(N2, two.address());
    for attempts in 1..=3 {
        one.transport.connect(N2);
        refusals(&one, "duplicate", attempts);
        refusals(&two, "duplicate", attempts);
    }
    assert!(two.inbox.look(|told| told.links.is_empty()));
    assert_eq!(one.inbox.look(|told| told.downs()), 1);
}

/// A dialler whose hello has been answered.
fn answered(stage: &Stage) -> Raw {
    let mut raw = Client::new(&stage.authority, N2).connect(stage.node.address()).unwrap();
    raw.say(&Greeting::of(N2).hello(PROTOCOL, &Offer::new()));
    raw.hear();
    raw
}

#[test]
fn a_link_is_up_once_the_dialler_has_confirmed_the_answer_and_nothing_is_delivered_before() {
    let stage = Stage::new();
    let mut raw = answered(&stage);
    let _stream = raw.stream(&lane(&[&good_frame("a", 1)]));
    // The friend's event takes the same way, later.
    stage.friend.send(N1, LANE, 7);
    stage.node.inbox.wait_until("an event", |told| told.numbers(LANE) == [7]);
    assert!(!stage.node.inbox.look(|told| told.is_up(N2)));
    let links = stage.node.transport.links();
    assert_eq!(links.iter().filter(|it| it.incarnation.is_some()).count(), 1, "{links:?}");
    raw.confirm();
    stage.node.inbox.wait_until("an event", |told| told.numbers(LANE) == [7, 1]);
    assert!(stage.node.inbox.look(|told| told.is_up(N2)));
}

#[test]
fn a_dialler_that_says_something_else_than_that_it_takes_the_answer_is_refused() {
    let stage = Stage::new();
    let mut raw = answered(&stage);
    raw.say(&control_frame(PROTOCOL, ACKNOWLEDGED, &[0]));
    stage.ends(&raw, "bad_hello", &["confirms the answer first"]);
    assert_eq!(stage.node.inbox.look(|told| told.downs()), 0);
}

#[test]
fn what_comes_of_dialling_a_peer_that_has_not_taken_the_answer_to_its_own_hello_is_told() {
    let stage = Stage::new();
    let raw = answered(&stage);
    raw.connection.close(GIVEN_UP, b"the answer came too late");
    let told =
        stage.node.inbox.wait("an attempt", |told| told.unreachable().pop().map(String::from));
    assert_says(&told, &["n2 at 127.0.0.1:9"]);
}

const GIVEN_UP: VarInt = VarInt::from_u32(7);

#[test]
fn what_one_life_has_offered_begins_no_session_with_the_next_one() {
    let authority = authority();
    let one = start(&bundle(&authority, N1, &[N1, N2]));
    let server = Server::new(&authority, N2);
    one.transport.set_address(N2, server.address());
    one.transport.connect(N2);
    let offered = server.accept().unwrap().hear_hello().expect("a hello");
    one.transport.restart(hello(N1, &["a"])).expect("another life begins");
    let live = Some(offered.fresh);
    let offer = Offer { live, ..Offer::new() };
    let (_raw, (session, _)) = Client::new(&authority, N2).link_with(one.address(), &offer);
    assert_eq!(session, offer.fresh);
}

#[test]
fn a_dialler_that_never_takes_the_answer_is_given_up() {
    for is_broken_off in [false, true] {
        let stage = Stage::new();
        let mut raw = answered(&stage);
        if is_broken_off {
            raw.break_off();
        }
        assert_says(&raw.closed(), &["not confirmed in time"]);
        assert!(stage.node.inbox.look(|told| !told.links.iter().any(|(peer, _)| *peer == N2)));
        stage.linked();
    }
}
