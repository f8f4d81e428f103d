//! Peers with a good certificate and bad manners.

use std::collections::BTreeSet;
use std::time::Duration;

use synod_core::{EventId, Hello, LinkChange, NodeId, Reason, Refusal, Schema, Transport};
use synod_transport_quic::{Authority, Bundle, Limits};

use crate::raw::{
    ACKNOWLEDGED, ADDRESSES, ADDRESSES_TAKEN, Client, Greeting, Offer, PROTOCOL, Raw, Server,
    control_frame, first_frame, told,
};
use crate::support::{
    LANE, LARGE, LAYOUT, N1, N2, N3, Peer, Told, assert_heard, assert_says, authority, bundle,
    event, hello, large_hello, link, start_with,
};

/// A node with a live peer that must not notice anything.
pub(crate) struct Stage {
    pub(crate) authority: Authority,
    pub(crate) node: Peer,
    pub(crate) friend: Peer,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(hello(N1, &["a"]))
    }

    fn with(hello: Hello) -> Self {
        let authority = authority();
        let limits = Limits { frame_timeout: Duration::from_millis(300), ..Limits::default() };
        let nodes = [N1, N2, N3];
        let node = start_with(&bundle(&authority, N1, &nodes), hello, limits);
        let friend = crate::support::start(&bundle(&authority, N3, &nodes));
        link(&friend, &node);
        Self { authority, node, friend }
    }

    pub(crate) fn linked(&self) -> Raw {
        let raw = Client::new(&self.authority, N2).link(self.node.address());
        self.node.wait_up(N2);
        raw
    }

    fn refusal(&self, kind: &str) -> Refusal {
        self.node.inbox.wait(kind, |told| told.refusal(kind).cloned())
    }

    /// The link of the bad peer ends with the same words on both sides, and that of the good
    /// one does not.
    pub(crate) fn ends(&self, raw: &Raw, kind: &str, parts: &[&str]) {
        assert_heard(&raw.closed(), &[kind]);
        assert_heard(&raw.closed(), parts);
        self.node.wait_down(N2);
        let refusal = self.refusal(kind);
        assert_eq!(refusal.peer, Some(N2));
        assert_says(&refusal.text, parts);
        self.friend_is_fine();
    }

    fn friend_is_fine(&self) {
        self.friend.send(N1, LANE, 7);
        self.node.inbox.wait_until("an event", |told| told.numbers(LANE).contains(&7));
        assert!(self.node.inbox.look(|told| told.is_up(N3)));
    }

    /// A hello that is refused, with words on the control stream as well.
    pub(crate) fn refuses_hello(&self, frame: &[u8], kind: &str, parts: &[&str]) {
        let mut raw = Client::new(&self.authority, N2).connect(self.node.address()).unwrap();
        raw.say(frame);
        let heard = String::from_utf8_lossy(&raw.hear()).into_owned();
        assert_says(&heard, &[kind]);
        assert_says(&heard, parts);
        assert_heard(&raw.closed(), &[kind]);
        assert_says(&self.refusal(kind).text, parts);
        assert!(!self.node.inbox.look(|told| told.is_up(N2)));
        self.friend_is_fine();
    }
}

pub(crate) fn lane(frames: &[&[u8]]) -> Vec<u8> {
    let mut bytes = [7_u64, 0].map(u64::to_le_bytes).concat();
    for frame in frames {
        bytes.extend(u32::try_from(frame.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(frame);
    }
    bytes
}

pub(crate) fn good_frame(name: &str, number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    event(name, number).encode_into(&mut bytes);
    bytes
}

#[test]
fn a_well_behaved_raw_client_is_understood() {
    let stage = Stage::new();
    let raw = stage.linked();
    let _stream = raw.stream(&lane(&[&good_frame("a", 1), &good_frame("a", 2)]));
    stage.node.inbox.wait_until("two events", |told| told.numbers(LANE) == [1, 2]);
}

#[test]
fn a_frame_that_does_not_decode_ends_the_link() {
    let stage = Stage::new();
    let raw = stage.linked();
    // What came before it is delivered.
    let _stream = raw.stream(&lane(&[&good_frame("a", 1), &[1, 2, 3]]));
    let place = "a frame of 3 bytes is damaged (number 1 of lane 0000000000000007): ";
    stage.ends(&raw, "bad_frame", &[place]);
    assert!(stage.node.inbox.look(|told| told.numbers(LANE).contains(&1)));
}

#[test]
fn an_empty_frame_ends_the_link() {
    let stage = Stage::new();
    let raw = stage.linked();
    let _stream = raw.stream(&lane(&[&[]]));
    stage.ends(&raw, "bad_frame", &["a frame of 0 bytes"]);
}

#[test]
fn a_frame_that_claims_too_much_ends_the_link_before_its_bytes_come() {
    let stage = Stage::new();
    let raw = stage.linked();
    let mut bytes = lane(&[]);
    bytes.extend(u32::MAX.to_le_bytes());
    let _stream = raw.stream(&bytes);
    stage.ends(&raw, "frame_too_large", &["4294967295", "n1", "65536"]);
}

#[test]
fn a_large_frame_of_an_event_that_declares_none_ends_the_link() {
    let stage = Stage::with(large_hello(N1));
    let raw = stage.linked();
    let mut bytes = lane(&[]);
    bytes.extend(65_537_u32.to_le_bytes());
    bytes.extend(EventId::of("b").bits().to_le_bytes());
    let _stream = raw.stream(&bytes);
    stage.ends(&raw, "frame_too_large", &["65537 bytes of event `b`", "n1 allows 65536"]);
}

#[test]
fn of_large_frames_that_are_never_finished_one_is_begun_and_ends_the_link() {
    let stage = Stage::with(large_hello(N1));
    let raw = stage.linked();
    let _streams = [7_u64, 8, 9].map(|lane| {
        let mut bytes = [lane, 0].map(u64::to_le_bytes).concat();
        bytes.extend(LARGE.to_le_bytes());
        bytes.extend(EventId::of("a").bits().to_le_bytes());
        raw.stream(&bytes)
    });
    stage.ends(&raw, "frame_timeout", &["not finished within 300ms"]);
}

#[test]
fn a_lane_that_ends_within_a_frame_ends_the_link() {
    let stage = Stage::new();
    let raw = stage.linked();
    let mut bytes = lane(&[&good_frame("a", 1)]);
    bytes.pop();
    let mut stream = raw.stream(&bytes);
    stream.finish().unwrap();
    stage.ends(&raw, "bad_frame", &["ended within a frame"]);
}

#[test]
fn a_frame_that_is_never_finished_ends_the_link() {
    let stage = Stage::new();
    let raw = stage.linked();
    let mut bytes = lane(&[&good_frame("a", 1)]);
    bytes.pop();
    let _stream = raw.stream(&bytes);
    stage.ends(&raw, "frame_timeout", &["not finished within 300ms"]);
}

#[test]
fn a_lane_that_is_broken_off_ends_the_link() {
    let stage = Stage::new();
    let raw = stage.linked();
    let mut stream = raw.stream(&lane(&[&good_frame("a", 1)]));
    stage.node.inbox.wait_until("an event", |told| told.numbers(LANE) == [1]);
    stream.reset(quinn::VarInt::from_u32(0)).unwrap();
    stage.ends(&raw, "bad_lane", &["broken off"]);
}

#[test]
fn a_lane_that_is_opened_twice_ends_the_link() {
    let stage = Stage::new();
    let raw = stage.linked();
    let _one = raw.stream(&lane(&[]));
    let _two = raw.stream(&lane(&[]));
    stage.ends(&raw, "bad_lane", &["opened twice"]);
}

#[test]
fn a_lane_that_leaves_out_frames_ends_the_link() {
    let stage = Stage::new();
    let raw = stage.linked();
    let bytes = [7_u64, 5].map(u64::to_le_bytes).concat();
    let _stream = raw.stream(&bytes);
    stage.ends(&raw, "bad_lane", &["frame 5", "0 have come", "missing"]);
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_ends_the_link() {
    let stage = Stage::new();
    let mut raw = stage.linked();
    let counts = postcard::to_allocvec(&vec![(7_u64, 1_u64)]).unwrap();
    raw.say(&control_frame(PROTOCOL, ACKNOWLEDGED, &counts));
    stage.ends(&raw, "bad_lane", &["1 frames", "said to have arrived"]);
}

#[test]
fn a_peer_that_lies_about_the_address_of_another_one_does_not_keep_it_away() {
    let authority = authority();
    let members: BTreeSet<NodeId> = [N1, N2, N3].into();
    let bundle = |node| Bundle { members: members.clone(), ..bundle(&authority, node, &[N1, N3]) };
    let limits = Limits { connect_timeout: Duration::from_millis(300), ..Limits::default() };
    let one = start_with(&bundle(N1), hello(N1, &["a"]), limits);
    let two = crate::support::start(&bundle(N2));
    two.transport.set_address(N1, one.address());
    two.transport.connect(N1);
    one.wait_up(N2);
    let mut liar = Client::new(&authority, N3).link(one.address());
    let latest = (u64::MAX, u64::MAX);
    let lie = postcard::to_allocvec(&vec![(N2, latest, "127.0.0.1:9")]).unwrap();
    liar.say(&control_frame(PROTOCOL, ADDRESSES, &lie));
    while liar.hear()[2] != ADDRESSES_TAKEN {}
    one.transport.disconnect(N2, Reason::Closed);
    one.wait_down(N2);
    for failed in 1..10 {
        one.transport.connect(N2);
        let outcome = |told: &Told| told.is_up(N2) || failed <= told.unreachable().len();
        one.inbox.wait_until("an outcome", outcome);
        if one.inbox.look(|told| told.is_up(N2)) {
            return;
        }
    }
    panic!("it is not found any more");
}

#[test]
fn an_address_that_is_none_ends_the_link_and_that_of_a_stranger_is_counted() {
    let stage = Stage::new();
    let mut raw = stage.linked();
    let told = |node: u32, address: &str| {
        let entries = vec![(node, (1_u64, 1_u64), address)];
        control_frame(PROTOCOL, ADDRESSES, &postcard::to_allocvec(&entries).unwrap())
    };
    raw.say(&told(77, "127.0.0.1:9"));
    let text = stage
        .node
        .inbox
        .wait("a refusal", |told| told.refusal("unknown_node").map(|refusal| refusal.text.clone()));
    assert_says(&text, &["n77", "ignored", "every bundle"]);
    raw.say(&told(3, "over there"));
    stage.ends(&raw, "bad_address", &["n3", "HOST:PORT"]);
}

#[test]
fn a_hello_that_has_received_what_was_never_sent_is_refused_and_the_link_waits_for_a_better_one() {
    let stage = Stage::new();
    let client = Client::new(&stage.authority, N2);
    let first = Offer::new();
    let (raw, (session, _)) = client.link_with(stage.node.address(), &first);
    stage.node.wait_up(N2);
    let again = Offer { wire: 77, last_wire: Some(first.wire), live: Some(session), ..first };
    let lie = Offer { received: vec![(7, 5)], ..again };
    let mut liar = client.connect(stage.node.address()).unwrap();
    liar.say(&Greeting::of(N2).hello(PROTOCOL, &lie));
    assert_heard(&liar.closed(), &["bad_lane", "5 frames"]);
    let (_better, (resumed, _)) = client.link_with(stage.node.address(), &again);
    assert_eq!(resumed, session);
    assert_eq!(stage.node.inbox.look(|told| told.downs()), 0);
    drop(raw);
    stage.friend_is_fine();
}

#[test]
fn a_datagram_that_does_not_decode_ends_the_link() {
    let stage = Stage::new();
    let raw = stage.linked();
    raw.connection.send_datagram(vec![1, 2, 3].into()).unwrap();
    stage.ends(&raw, "bad_frame", &["a frame of 3 bytes"]);
}

#[test]
fn an_unknown_event_is_left_out_and_the_link_goes_on() {
    let stage = Stage::new();
    let raw = stage.linked();
    let _stream = raw.stream(&lane(&[&good_frame("zzz", 1), &good_frame("a", 2)]));
    stage.node.inbox.wait_until("the known event", |told| told.numbers(LANE) == [2]);
    let name = format!("{:016x}", EventId::of("zzz").bits());
    assert_says(&stage.refusal("unknown_event").text, &[&name, "not handled by n1"]);
    assert!(stage.node.inbox.look(|told| told.is_up(N2)));
}

#[test]
fn a_second_hello_ends_the_link() {
    let stage = Stage::new();
    let mut raw = stage.linked();
    raw.say(&control_frame(PROTOCOL, 0, &Greeting::of(N2).body(&Offer::new())));
    stage.ends(&raw, "bad_hello", &["a second hello"]);
}

#[test]
fn a_hello_of_another_cluster_is_refused() {
    let greeting = Greeting { cluster: String::from("test"), ..Greeting::of(N2) };
    let frame = greeting.hello(PROTOCOL, &Offer::new());
    Stage::new().refuses_hello(&frame, "other_cluster", &["n2", "`test`", "n1", "`demo`"]);
}

#[test]
fn a_hello_that_claims_another_node_is_refused() {
    let frame = Greeting::of(N3).hello(PROTOCOL, &Offer::new());
    let parts = ["the certificate is that of n2, and the hello says n3"];
    Stage::new().refuses_hello(&frame, "identity_mismatch", &parts);
}

#[test]
fn one_event_with_two_names_is_refused() {
    let events = vec![told(EventId::of("a").bits(), "other")];
    let frame = Greeting { events, ..Greeting::of(N2) }.hello(PROTOCOL, &Offer::new());
    Stage::new().refuses_hello(&frame, "event_clash", &["`a` on n1", "`other` on n2"]);
}

#[test]
fn one_event_with_other_fields_is_refused_with_both_schemas() {
    let mut greeting = Greeting::of(N2);
    greeting.events[0].2 = Schema(0xfeed);
    let frame = greeting.hello(PROTOCOL, &Offer::new());
    let ours = Schema::of_layout(LAYOUT);
    let ours = format!("the fields of `a` are not the same on n1 (schema {ours})");
    let parts = [ours.as_str(), "n2 (schema 000000000000feed)", "needs a new name"];
    Stage::new().refuses_hello(&frame, "other_schema", &parts);
}

#[test]
fn nodes_without_a_common_event_are_refused() {
    let frame = Greeting { events: vec![told(1, "x")], ..Greeting::of(N2) };
    let frame = frame.hello(PROTOCOL, &Offer::new());
    Stage::new().refuses_hello(&frame, "no_common_event", &["n1 and n2 have no event in common"]);
}

#[test]
fn a_later_life_that_is_refused_ends_the_link_to_the_one_before_and_no_earlier_one_does() {
    let stage = Stage::new();
    let client = Client::new(&stage.authority, N2);
    let _killed = client.link(stage.node.address());
    stage.node.wait_up(N2);
    for (incarnation, downs) in [(1, 0), (2, 1)] {
        let events = vec![told(1, "x")];
        let greeting = Greeting { incarnation, events, ..Greeting::of(N2) };
        let mut next = client.connect(stage.node.address()).unwrap();
        next.say(&greeting.hello(PROTOCOL, &Offer::new()));
        assert_heard(&next.closed(), &["no_common_event"]);
        assert_eq!(stage.node.inbox.look(|told| told.downs()), downs);
    }
    let last = stage.node.inbox.look(|told| told.links.last().cloned());
    assert_eq!(last, Some((N2, LinkChange::Down(Reason::Restarted))));
}

#[test]
fn a_first_word_that_is_no_hello_is_refused() {
    let stage = Stage::new();
    let first = |kind| first_frame([PROTOCOL; 2], kind, &[]);
    stage.refuses_hello(&first(4), "bad_hello", &["must be a hello"]);
    stage.refuses_hello(&first(99), "bad_hello", &[]);
    let too_long = [&u32::MAX.to_le_bytes()[..], &[0; 8]].concat();
    stage.refuses_hello(&too_long, "bad_hello", &[]);
}

#[test]
fn a_node_that_shakes_hands_and_says_no_hello_is_refused() {
    let authority = authority();
    let limits = Limits { connect_timeout: Duration::from_millis(1_500), ..Limits::default() };
    let node = start_with(&bundle(&authority, N1, &[N1, N2]), hello(N1, &["a"]), limits);
    let mut mute = Client::new(&authority, N2).connect(node.address()).unwrap();
    mute.say(&[1, 0]);
    assert_heard(&mute.closed(), &["bad_hello", "no hello came within 1.5s"]);
    let refusal = node.inbox.wait("a refusal", |told| told.refusal("bad_hello").cloned());
    assert_eq!(refusal.peer, Some(N2));
}

#[test]
fn an_answer_of_another_node_is_refused_by_the_dialler() {
    let answer = |offer: &Offer| Greeting::of(N3).answer(PROTOCOL, offer.fresh);
    refuses_answer(answer, "identity_mismatch", &["n2", "n3"]);
}

#[test]
fn an_answer_with_a_session_that_was_not_offered_is_refused_by_the_dialler() {
    let answer = |offer: &Offer| Greeting::of(N2).answer(PROTOCOL, offer.fresh.wrapping_add(1));
    refuses_answer(answer, "bad_hello", &["not offered"]);
}

#[test]
fn an_answer_that_is_no_hello_ack_is_refused_by_the_dialler() {
    let answer = |_: &Offer| Greeting::of(N2).hello(PROTOCOL, &Offer::new());
    refuses_answer(answer, "bad_hello", &["hello-ack"]);
}

/// A node dials a listener that answers the hello badly.
pub(crate) fn refuses_answer(frame: impl FnOnce(&Offer) -> Vec<u8>, kind: &str, parts: &[&str]) {
    let stage = Stage::new();
    let server = Server::new(&stage.authority, N2);
    stage.node.transport.set_address(N2, server.address());
    stage.node.transport.connect(N2);
    let raw = server.answer(frame);
    assert_heard(&raw.closed(), parts);
    assert_says(&stage.refusal(kind).text, parts);
    let told = &stage.node.inbox;
    let text = told.wait("an answer", |told| told.unreachable().pop().map(String::from));
    assert_says(&text, parts);
    stage.friend_is_fine();
}
