//! Peers with a good certificate that take more than their share, before they are let in.

use std::time::Duration;

use synod_core::Transport;
use synod_transport_quic::Limits;

use crate::raw::{
    ACKNOWLEDGED, ADDRESSES, Client, Greeting, Offer, PROTOCOL, Server, control_frame,
};
use crate::support::{
    LANE, N1, N2, N3, assert_heard, assert_says, authority, bundle, hello, link, start, start_with,
};

#[test]
fn a_peer_that_has_not_said_hello_has_room_for_nothing_else() {
    let authority = authority();
    let node = start(&bundle(&authority, N1, &[N1, N2]));
    let mut raw = Client::new(&authority, N2).connect(node.address()).unwrap();
    assert!(raw.try_stream(Duration::from_millis(100)).is_none());
    raw.say(&Greeting::of(N2).hello(PROTOCOL, &Offer::new()));
    raw.hear();
    raw.confirm();
    assert!(raw.try_stream(Duration::from_secs(5)).is_some());
}

/// What a raw peer says over and over, until its link ends.
fn floods(frame: &[u8], kind: &str) {
    let authority = authority();
    let nodes = [N1, N2, N3];
    let node = start(&bundle(&authority, N1, &nodes));
    let friend = start(&bundle(&authority, N3, &nodes));
    link(&friend, &node);
    let mut raw = Client::new(&authority, N2).link(node.address());
    node.wait_up(N2);
    let many = frame.repeat(1_000);
    for _ in 0..200 {
        raw.say(&many);
        if node.inbox.look(|told| told.refusal(kind).is_some()) {
            break;
        }
    }
    let refusal = node.inbox.wait("a refusal", |told| told.refusal(kind).cloned());
    assert_says(&refusal.text, &["n2", "control stream", "32768"]);
    assert_heard(&raw.closed(), &["flood"]);
    node.wait_down(N2);
    friend.send(N1, LANE, 7);
    node.inbox.wait_until("an event of the friend", |told| told.numbers(LANE) == [7]);
    assert!(node.inbox.look(|told| told.is_up(N3) && told.downs() == 1));
}

#[test]
fn a_peer_that_floods_the_control_stream_is_told_off_and_the_others_do_not_notice() {
    let body = |message: &[(u64, u64)]| postcard::to_allocvec(message).unwrap();
    floods(&control_frame(PROTOCOL, ACKNOWLEDGED, &body(&[])), "flood");
    floods(&control_frame(PROTOCOL, ACKNOWLEDGED, &body(&[(7, 0); 50])), "flood");
    let entry = vec![(3_u32, (1_u64, 1_u64), "127.0.0.1:9")];
    let addresses = postcard::to_allocvec(&entry).unwrap();
    floods(&control_frame(PROTOCOL, ADDRESSES, &addresses), "flood");
}

#[test]
fn connections_that_wait_to_be_let_in_are_as_few_as_handshakes() {
    let authority = authority();
    let nodes = [N1, N2, N3];
    let limits = Limits { handshakes_per_host_max: 3, ..Limits::default() };
    let node = start_with(&bundle(&authority, N1, &nodes), hello(N1, &["a"]), limits);
    let friend = start(&bundle(&authority, N3, &nodes));
    link(&friend, &node);
    // The smaller node has dialled, so what the larger one dials waits for the outcome.
    let server = Server::new(&authority, N2);
    node.transport.set_address(N2, server.address());
    node.transport.connect(N2);
    let _link = server.accept_link();
    node.wait_up(N2);
    let client = Client::new(&authority, N2);
    let waiting: Vec<_> = (0..6)
        .filter_map(|_| client.connect(node.address()).ok())
        .map(|mut raw| {
            raw.say(&Greeting::of(N2).hello(PROTOCOL, &Offer::new()));
            raw
        })
        .collect();
    assert!(waiting.len() <= 3, "{} wait", waiting.len());
    let refusal = node.inbox.wait("a refusal", |told| told.refusal("flood").cloned());
    assert_says(&refusal.text, &["3 handshakes from this host"]);
    friend.send(N1, LANE, 7);
    node.inbox.wait_until("an event of the friend", |told| told.numbers(LANE) == [7]);
}
