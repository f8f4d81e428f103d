//! Links that come, go, come again, and collide.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use synod_core::{LinkChange, NodeId, Reason, Transport};
use synod_transport_quic::Limits;

use crate::support::{
    LANE, N1, N2, N3, PATIENCE, Peer, assert_says, authority, bundle, hello, introduce, link, pair,
    start, start_with,
};

fn last(peer: &Peer) -> Option<(NodeId, LinkChange)> {
    peer.inbox.look(|told| told.links.last().cloned())
}

#[test]
fn both_sides_dialling_at_once_end_in_exactly_one_link() {
    let authority = authority();
    for round in 0..20 {
        let one = start(&bundle(&authority, N1, &[N1, N2]));
        let two = start(&bundle(&authority, N2, &[N1, N2]));
        introduce(&[&one, &two]);
        std::thread::scope(|scope| {
            scope.spawn(|| one.transport.connect(N2));
            scope.spawn(|| two.transport.connect(N1));
        });
        one.wait_up(N2);
        two.wait_up(N1);
        // The link that both see is one and the same, and it stays.
        one.send(N2, LANE, round);
        two.send(N1, LANE, round);
        one.inbox.wait_until("an event", |told| told.numbers(LANE) == [round]);
        two.inbox.wait_until("an event", |told| told.numbers(LANE) == [round]);
        for peer in [&one, &two] {
            assert_eq!(peer.inbox.look(|told| told.links.len()), 1, "round {round}");
        }
    }
}

#[test]
fn a_second_connect_changes_nothing() {
    let (one, two) = pair();
    one.transport.connect(N2);
    two.transport.connect(N1);
    one.send(N2, LANE, 1);
    two.inbox.wait_until("an event", |told| told.numbers(LANE) == [1]);
    assert_eq!(one.inbox.look(|told| told.links.len()), 1);
}

#[test]
fn a_link_that_is_ended_is_down_on_both_sides_and_can_be_linked_again() {
    let (one, two) = pair();
    for round in 0..5 {
        one.transport.disconnect(N2, Reason::Silent);
        let downs = usize::try_from(round).unwrap() + 1;
        one.inbox.wait_until("the end of a link", |told| told.downs() == downs);
        two.wait_down_by_peer(downs, Reason::Closed);
        two.transport.connect(N1);
        one.wait_up(N2);
        two.wait_up(N1);
        one.send(N2, LANE, round);
        two.inbox.wait_until("an event", |told| told.events.len() as u64 == round + 1);
    }
}

#[test]
fn a_node_of_which_nothing_is_heard_is_silent_after_the_grace() {
    let authority = authority();
    let limits = Limits {
        idle_timeout: Duration::from_millis(600),
        keep_alive: Duration::from_millis(100),
        session_grace: Duration::from_millis(900),
        ..Limits::default()
    };
    let one = start_with(&bundle(&authority, N1, &[N1, N2]), hello(N1, &["a"]), limits);
    let mute = crate::raw::Client::new(&authority, N2).link(one.address());
    one.wait_up(N2);
    let _ghost = mute.vanish();
    one.wait_down(N2);
    assert_eq!(last(&one), Some((N2, LinkChange::Down(Reason::Silent))));
}

#[test]
fn a_restarted_peer_goes_down_as_restarted_and_comes_up_as_its_new_incarnation() {
    let authority = authority();
    let one = start(&bundle(&authority, N1, &[N1, N2]));
    let two = start(&bundle(&authority, N2, &[N1, N2]));
    link(&one, &two);
    // The old process is still there: nobody has told the first node that it is gone.
    let again = start(&bundle(&authority, N2, &[N1, N2]));
    introduce(&[&one, &again]);
    again.transport.connect(N1);
    one.inbox.wait_until("three changes", |told| told.links.len() == 3);
    let changes = one.inbox.look(|told| told.links.clone());
    assert_eq!(changes[1].1, LinkChange::Down(Reason::Restarted));
    assert!(matches!(changes[2].1, LinkChange::Up { .. }));
    two.wait_down(N1);

    // The old process is told why it cannot come back, and nothing flips.
    two.transport.connect(N1);
    let refusal = one.inbox.wait("a refusal", |told| told.refusal("duplicate").cloned());
    assert_says(&refusal.text, &["n2", "n1", "second process"]);
    let text = two.inbox.wait("the answer", |told| told.unreachable().pop().map(String::from));
    assert_says(&text, &["n1", "second process"]);
    one.send(N2, LANE, 1);
    again.inbox.wait_until("an event", |told| told.numbers(LANE) == [1]);
    assert_eq!(one.inbox.look(|told| told.links.len()), 3);
}

#[test]
fn a_peer_that_has_lost_the_link_may_dial_again_while_it_looks_alive_here() {
    let authority = authority();
    for (listener, dialer) in [(N1, N2), (N2, N1)] {
        let node = start(&bundle(&authority, listener, &[N1, N2]));
        let client = crate::raw::Client::new(&authority, dialer);
        let _lost = client.link(node.address());
        node.wait_up(dialer);
        let _again = client.link(node.address());
        node.inbox.wait_until("three changes", |told| told.links.len() == 3);
        let changes = node.inbox.look(|told| told.links.clone());
        assert_eq!(changes[1].1, LinkChange::Down(Reason::Silent));
    }
}

#[test]
fn a_peer_that_the_host_does_not_admit_is_told_and_may_come_later() {
    let authority = authority();
    let one = start(&bundle(&authority, N1, &[N1, N2]));
    let two = start(&bundle(&authority, N2, &[N1, N2]));
    introduce(&[&one, &two]);
    one.inbox.turns_away.store(true, Ordering::Relaxed);
    two.transport.connect(N1);
    let text = two.inbox.wait("the answer", |told| told.unreachable().pop().map(String::from));
    assert_says(&text, &["n1", "n2", "handler", "block"]);
    assert!(one.inbox.look(|told| told.refusal("busy").is_some() && told.links.is_empty()));
    one.inbox.turns_away.store(false, Ordering::Relaxed);
    two.transport.connect(N1);
    one.wait_up(N2);
    two.wait_up(N1);
}

#[test]
fn a_node_that_does_nothing_is_linked_with_nobody_although_its_connections_are_alive() {
    let (one, two) = pair();
    one.inbox.is_hung.store(true, Ordering::Relaxed);
    one.wait_down(N2);
    two.wait_down_by_peer(1, Reason::Silent);
    two.transport.connect(N1);
    let text = two.inbox.wait("the answer", |told| told.unreachable().pop().map(String::from));
    assert_says(&text, &["n1 handles nothing", "the handler of `a` has run for 20 s"]);
    assert!(one.inbox.look(|told| told.refusal("busy").is_some() && told.links.len() == 2));
    one.inbox.is_hung.store(false, Ordering::Relaxed);
    two.transport.connect(N1);
    one.wait_up(N2);
    two.wait_up(N1);
}

#[test]
fn a_peer_that_dials_although_it_was_dialled_gets_through_after_a_while() {
    // The smaller node has dialled; the larger one has lost that link and dials itself.
    let authority = authority();
    let server = crate::raw::Server::new(&authority, N2);
    let one = start(&bundle(&authority, N1, &[N1, N2]));
    one.transport.set_address(N2, server.address());
    one.transport.connect(N2);
    let _link = server.accept_link();
    one.wait_up(N2);
    let _again = crate::raw::Client::new(&authority, N2).link(one.address());
    one.inbox.wait_until("three changes", |told| told.links.len() == 3);
}

#[test]
fn a_new_authority_takes_over_while_both_are_trusted() {
    let (old, new) = (authority(), authority());
    let trusted = vec![String::from(old.certificate_pem()), String::from(new.certificate_pem())];
    let mut before = bundle(&old, N1, &[N1, N2]);
    let mut after = bundle(&new, N2, &[N1, N2]);
    before.authorities.clone_from(&trusted);
    after.authorities = trusted;
    link(&start(&before), &start(&after));
}

#[test]
fn a_node_that_leaves_dials_nobody() {
    let (one, two) = pair();
    one.close();
    one.transport.connect(N2);
    two.wait_down(N1);
    assert_eq!(one.inbox.look(|told| told.links.len()), 2);
}

#[test]
fn nobody_at_the_address_is_told_within_the_connect_timeout() {
    let authority = authority();
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    let one = start(&bundle(&authority, N1, &[N1, N2]));
    one.transport.set_address(N2, nobody.local_addr().unwrap());
    let begin = Instant::now();
    one.transport.connect(N2);
    let text = one.inbox.wait("an answer", |told| told.unreachable().pop().map(String::from));
    let address = nobody.local_addr().unwrap().to_string();
    assert_says(&text, &["no answer from n2", &address, "within 3s", "UDP port"]);
    assert!(Duration::from_secs(2) < begin.elapsed());
}

#[test]
fn a_node_outside_the_peer_list_cannot_be_dialled() {
    let one = start(&bundle(&authority(), N1, &[N1, N2]));
    one.transport.connect(N3);
    let text = one.inbox.wait("an answer", |told| told.unreachable().pop().map(String::from));
    assert_says(&text, &["n3", "not in the peer list of n1"]);
}

#[test]
fn a_name_that_does_not_resolve_is_named() {
    let authority = authority();
    let mut bundle = bundle(&authority, N1, &[N1]);
    bundle.peers.insert(N2, String::from("no such host:7400"));
    let one = start(&bundle);
    one.transport.connect(N2);
    let text = one.inbox.wait("an answer", |told| told.unreachable().pop().map(String::from));
    assert_says(&text, &["n2 at no such host:7400"]);
}

#[test]
fn a_transport_starts_once_and_only_as_the_node_of_its_bundle() {
    let authority = authority();
    let one = start(&bundle(&authority, N1, &[N1, N2]));
    let inbox = Arc::clone(&one.inbox);
    let second = one.transport.start(hello(N1, &[]), inbox.clone()).unwrap_err();
    assert_says(&second.to_string(), &["started before"]);
    let other = one.transport.start(hello(N2, &[]), inbox).unwrap_err();
    assert_says(&other.to_string(), &["n1", "n2"]);
}

#[test]
fn dropping_a_farewell_ends_the_transport_and_frees_the_port() {
    let authority = authority();
    let (one, two) = pair();
    drop(one.transport.close(Duration::from_secs(60)));
    two.wait_down(N1);
    one.wait_down(N2);
    one.close();
    let mut again = bundle(&authority, N1, &[N1, N2]);
    again.listen = one.address();
    start(&again);
}

/// Bounds with which a lost connection is noticed within a moment.
pub(crate) fn quick() -> Limits {
    Limits {
        idle_timeout: Duration::from_millis(600),
        keep_alive: Duration::from_millis(50),
        redial_after: Duration::from_millis(200),
        ..Limits::default()
    }
}

#[test]
fn a_connection_that_is_given_up_is_followed_by_another_and_no_host_is_told() {
    let (one, two) = pair();
    let mut rounds = Vec::new();
    for round in 0..20 {
        let begin = Instant::now();
        let give_up = if round % 2 == 0 { &one } else { &two };
        let peer = if round % 2 == 0 { N2 } else { N1 };
        one.send(N2, LANE, 2 * round);
        give_up.transport.reconnect(peer);
        one.send(N2, LANE, 2 * round + 1);
        two.send(N1, LANE, round);
        two.inbox.wait_until("both", |told| told.events.len() as u64 == 2 * round + 2);
        one.inbox.wait_until("one", |told| told.events.len() as u64 == round + 1);
        rounds.push(begin.elapsed());
    }
    // Also right after the loss before it. On a busy machine one of them may well take longer.
    assert!(rounds[1..].iter().min() < Some(&Duration::from_millis(50)), "{rounds:?}");
    assert!(two.inbox.look(|told| told.numbers(LANE)).into_iter().eq(0..40));
    assert!(one.inbox.look(|told| told.numbers(LANE)).into_iter().eq(0..20));
    for peer in [&one, &two] {
        assert_eq!(peer.inbox.look(|told| told.links.len()), 1);
        let status = &peer.transport.links()[0];
        assert!(status.connected && 10 <= status.resumed && status.lost == 0, "{status:?}");
    }
}

/// Relays datagrams to `target` until it is told to stop. Then its port is closed.
pub(crate) fn relay(target: SocketAddr) -> (SocketAddr, Arc<AtomicBool>) {
    let [front, behind] = [(); 2].map(|()| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Arc::new(socket)
    });
    let (address, stop) = (front.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
    let dialler = Arc::new(OnceLock::new());
    let there = {
        let (front, behind, dialler) = (front.clone(), behind.clone(), dialler.clone());
        move |bytes: &mut [u8]| {
            let Ok((size, from)) = front.recv_from(bytes) else { return };
            dialler.get_or_init(|| from);
            behind.send_to(&bytes[..size], target).unwrap();
        }
    };
    let back = move |bytes: &mut [u8]| {
        let Ok((size, _)) = behind.recv_from(bytes) else { return };
        front.send_to(&bytes[..size], dialler.get().unwrap()).unwrap();
    };
    repeat(Arc::clone(&stop), there);
    repeat(Arc::clone(&stop), back);
    (address, stop)
}

fn repeat(stop: Arc<AtomicBool>, pass_on: impl Fn(&mut [u8]) + Send + 'static) {
    std::thread::spawn(move || {
        let mut bytes = [0; 2_000];
        while !stop.load(Ordering::Relaxed) {
            pass_on(&mut bytes);
        }
    });
}

#[test]
fn a_peer_on_whose_port_nobody_listens_any_more_is_down_long_before_the_grace_ends() {
    let authority = authority();
    let one = start_with(&bundle(&authority, N1, &[N1, N2]), hello(N1, &["a"]), quick());
    let server = crate::raw::Server::new(&authority, N2);
    let (address, stop) = relay(server.address());
    one.transport.set_address(N2, address);
    one.transport.connect(N2);
    let _link = server.accept_link();
    one.wait_up(N2);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(one.inbox.look(|told| told.downs()), 0, "a quiet link is fine");
    let begin = Instant::now();
    stop.store(true, Ordering::Relaxed);
    one.wait_down(N2);
    assert_eq!(last(&one), Some((N2, LinkChange::Down(Reason::Silent))));
    assert!(begin.elapsed() < Limits::default().session_grace / 4, "{:?}", begin.elapsed());
}

#[test]
fn what_is_sent_while_there_is_no_connection_waits_and_too_much_of_it_ends_the_link() {
    let authority = authority();
    let limits = Limits { outbox_bytes_max: 64 * 1024, ..quick() };
    let one = start_with(&bundle(&authority, N1, &[N1, N2]), hello(N1, &["a"]), limits);
    let raw = crate::raw::Client::new(&authority, N2).link(one.address());
    one.wait_up(N2);
    let ghost = raw.vanish();
    one.send(N2, LANE, 1);
    let begin = Instant::now();
    while one.transport.links()[0].connected {
        assert!(begin.elapsed() < Duration::from_secs(10), "the connection is never lost");
        std::thread::sleep(Duration::from_millis(10));
    }
    one.send(N2, LANE, 2);
    let body = bytes::Bytes::from(vec![0; 60_000]);
    let large = synod_core::Envelope::from_parts(
        synod_core::EventId::of("a"),
        synod_core::Instance::ROOT,
        synod_core::Tag::Plain,
        body,
    );
    one.transport.send(N2, LANE, &large).expect("there is room for one");
    assert!(one.transport.send(N2, LANE, &large).is_err());
    one.wait_down(N2);
    assert_eq!(last(&one), Some((N2, LinkChange::Down(Reason::Overflow))));
    assert_eq!(one.transport.links()[0].lost, 3);
    drop(ghost);
}

#[test]
fn a_peer_of_which_nothing_is_heard_is_told_as_silent_long_before_its_link_ends() {
    let authority = authority();
    let limits = Limits { idle_timeout: Limits::default().idle_timeout, ..quick() };
    let shown_after = limits.redial_after;
    let one = start_with(&bundle(&authority, N1, &[N1, N2]), hello(N1, &["a"]), limits);
    let raw = crate::raw::Client::new(&authority, N2).link(one.address());
    one.wait_up(N2);
    let _ghost = raw.vanish();
    let begin = Instant::now();
    let status = loop {
        let status = one.transport.links().remove(0);
        if status.silent_for.is_some() {
            break status;
        }
        assert!(begin.elapsed() < PATIENCE, "nothing is told: {status:?}");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(status.silent_for >= Some(shown_after), "{status:?}");
    assert_eq!(status.round_trip, None, "the last one is no news");
    assert_eq!(one.inbox.look(|told| told.downs()), 0, "the link is still up");
}

#[test]
fn a_session_that_one_side_has_given_up_is_not_resumed() {
    let authority = authority();
    let node = start(&bundle(&authority, N1, &[N1, N2]));
    let client = crate::raw::Client::new(&authority, N2);
    let first = crate::raw::Offer::new();
    let (_lost, (session, _)) = client.link_with(node.address(), &first);
    node.wait_up(N2);
    node.transport.disconnect(N2, Reason::Silent);
    node.wait_down(N2);
    let offer = crate::raw::Offer { live: Some(session), ..crate::raw::Offer::new() };
    let (_next, (begun, _)) = client.link_with(node.address(), &offer);
    assert_eq!(begun, offer.fresh, "frames of the old session have nowhere to go");
    node.wait_up(N2);
}
