//! Events on their way between linked nodes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use synod_core::{
    Envelope, EventId, Instance, Lane, LaneCounts, LaneId, LinkChange, NodeId, Reason, SendError,
    Tag, Transport,
};
use synod_transport_quic::{Limits, QuicTransport};

use crate::support::{
    LANE, LARGE, Mailbox, N1, N2, N3, PATIENCE, Peer, assert_says, authority, bundle, event, hello,
    introduce, large, large_hello, link, pair, start, start_with,
};

#[test]
fn two_nodes_exchange_events_in_the_order_of_each_lane() {
    let (one, two) = pair();
    let other = Lane::Ordered(LaneId(8));
    for number in 0..100 {
        one.send(N2, LANE, number);
        one.transport.send(N2, other, &event("b", 1_000 + number)).unwrap();
        two.send(N1, LANE, 2_000 + number);
    }
    two.inbox.wait_until("200 events", |told| told.events.len() == 200);
    one.inbox.wait_until("100 events", |told| told.events.len() == 100);
    assert_eq!(two.inbox.look(|told| told.numbers(LANE)), (0..100).collect::<Vec<_>>());
    assert_eq!(two.inbox.look(|told| told.numbers(other)), (1_000..1_100).collect::<Vec<_>>());
    assert_eq!(one.inbox.look(|told| told.numbers(LANE)), (2_000..2_100).collect::<Vec<_>>());
}

#[test]
fn an_envelope_arrives_whole() {
    let (one, two) = pair();
    let body = Bytes::from(vec![9; 60_000]);
    let sent = Envelope::from_parts(EventId::of("a"), Instance::of_key(3), Tag::Ask(4), body);
    one.transport.send(N2, LANE, &sent).unwrap();
    let received = two.inbox.wait("an envelope", |told| told.events.first().cloned());
    assert_eq!(received, (N1, LANE, sent));
}

#[test]
fn a_large_burst_arrives_whole_and_in_order() {
    let (one, two) = pair();
    for number in 0..50_000 {
        one.send(N2, LANE, number);
    }
    two.inbox.wait_until("50,000 events", |told| told.events.len() == 50_000);
    assert!(two.inbox.look(|told| told.numbers(LANE)).into_iter().eq(0..50_000));
}

#[test]
fn an_inbox_without_room_holds_the_sender_and_loses_nothing() {
    let (one, two) = pair();
    two.inbox.shut();
    for number in 0..50_000 {
        one.send(N2, LANE, number);
    }
    // The windows fill up, and then nothing moves any more.
    let mut last = usize::MAX;
    wait_for("the sender to be held", || {
        std::thread::sleep(Duration::from_millis(50));
        let queued = one.transport.links()[0].queued_bytes;
        std::mem::replace(&mut last, queued) == queued
    });
    assert!(0 < count(&two.inbox), "the first batch is always taken");
    assert!(count(&two.inbox) <= Limits::default().batch_max, "one batch and no more");
    two.inbox.open();
    two.inbox.wait_until("50,000 events", |told| told.events.len() == 50_000);
    assert!(two.inbox.look(|told| told.numbers(LANE)).into_iter().eq(0..50_000));
}

#[test]
fn a_lane_without_room_does_not_hold_the_others() {
    let authority = authority();
    let one = start(&bundle(&authority, N1, &[N1, N2, N3]));
    let two = start(&bundle(&authority, N2, &[N1, N2, N3]));
    link(&one, &two);
    two.inbox.shut();
    for number in 0..20_000 {
        one.send(N2, LANE, number);
    }
    let heartbeat = Lane::Ordered(LaneId(99));
    one.send(N2, heartbeat, 1);
    two.inbox.wait_until("a heartbeat", |told| told.numbers(heartbeat) == [1]);
    two.inbox.open();
    two.inbox.wait_until("all", |told| told.events.len() == 20_001);
}

#[test]
fn datagrams_arrive() {
    let (one, two) = pair();
    // Any of them may be lost, all of them not.
    wait_for("a datagram", || {
        one.send(N2, Lane::Datagram, 5);
        std::thread::sleep(Duration::from_millis(5));
        two.inbox.look(|told| told.numbers(Lane::Datagram).contains(&5))
    });
}

#[test]
fn datagrams_that_take_the_room_of_others_are_counted() {
    let authority = authority();
    let limits = Limits { datagram_bytes_max: 16 * 1024, ..Limits::default() };
    let one = start_with(&bundle(&authority, N1, &[N1, N2]), hello(N1, &["a"]), limits);
    let mute = crate::raw::Client::new(&authority, N2).link(one.address());
    one.wait_up(N2);
    // Nobody acknowledges anything any more, so all but the first ones wait.
    let _ghost = mute.vanish();
    for number in 0..100 {
        one.transport.send(N2, Lane::Datagram, &large("a", number, 1_000)).unwrap();
    }
    let dropped = one.transport.datagrams_dropped();
    assert!((1..100).contains(&dropped), "{dropped}");
}

#[test]
fn a_datagram_that_is_too_large_is_refused_and_counted() {
    let (one, _two) = pair();
    let body = Bytes::from(vec![0; 20_000]);
    let large = Envelope::from_parts(EventId::of("a"), Instance::ROOT, Tag::Plain, body);
    let refused = one.transport.send(N2, Lane::Datagram, &large);
    assert!(matches!(refused, Err(SendError::TooLarge { .. })), "{refused:?}");
    assert_eq!(one.transport.datagrams_dropped(), 1);
}

#[test]
fn an_event_larger_than_a_frame_is_refused_and_the_lane_goes_on() {
    let (one, two) = pair();
    let body = Bytes::from(vec![0; 64 * 1024]);
    let large = Envelope::from_parts(EventId::of("a"), Instance::ROOT, Tag::Plain, body);
    let refused = one.transport.send(N2, LANE, &large);
    assert!(matches!(refused, Err(SendError::TooLarge { .. })), "{refused:?}");
    one.send(N2, LANE, 1);
    two.inbox.wait_until("the next event", |told| told.numbers(LANE) == [1]);
}

/// Two linked nodes, of which the second takes larger frames of `a`.
fn pair_with_large_events(limits: Limits) -> (Peer, Peer) {
    let authority = authority();
    let one = start(&bundle(&authority, N1, &[N1, N2]));
    let two = start_with(&bundle(&authority, N2, &[N1, N2]), large_hello(N2), limits);
    link(&one, &two);
    (one, two)
}

#[test]
fn an_event_is_as_large_as_its_receiver_declares_and_holds_up_no_other_lane() {
    let (one, two) = pair_with_large_events(Limits::default());
    let sent: Vec<_> = (0..5).map(|number| large("a", number, LARGE as usize - 10)).collect();
    for (number, envelope) in (0..).zip(&sent) {
        one.transport.send(N2, LANE, envelope).unwrap();
        one.send(N2, LANE, 100 + number);
        // Two lanes have large ones of the event at the same time.
        one.transport.send(N2, Lane::Ordered(LaneId(8)), envelope).unwrap();
    }
    let heartbeat = Lane::Ordered(LaneId(9));
    one.send(N2, heartbeat, 1);
    two.inbox.wait_until("a heartbeat", |told| told.numbers(heartbeat) == [1]);
    two.inbox.wait_until("all", |told| told.events.len() == 16);
    let numbers: Vec<u64> = (0..5).flat_map(|number| [number, 100 + number]).collect();
    two.inbox.look(|told| {
        assert_eq!(told.numbers(LANE), numbers);
        assert_eq!(told.numbers(Lane::Ordered(LaneId(8))), (0..5).collect::<Vec<_>>());
        assert!(told.events.iter().any(|(.., it)| *it == sent[4]), "every byte is there");
    });
    let size_max = LARGE as usize;
    let refused = one.transport.send(N2, LANE, &large("a", 0, size_max - 9));
    assert_eq!(refused, Err(SendError::TooLarge { size: size_max + 1, size_max }));
    let refused = one.transport.send(N2, LANE, &large("b", 0, 64 * 1024));
    assert_eq!(refused, Err(SendError::TooLarge { size: 65_546, size_max: 65_536 }));
    assert!(matches!(
        two.transport.send(N1, LANE, &large("a", 0, 64 * 1024)),
        Err(SendError::TooLarge { size_max: 65_536, .. })
    ));
}

#[test]
fn a_transport_whose_limits_have_no_room_for_a_declared_event_does_not_start() {
    let authority = authority();
    let limits = Limits::default();
    let most = limits.bytes_per_peer_max(&[]);
    let limits = Limits { bytes_per_peer_cap: most, ..limits };
    let transport = QuicTransport::new(&bundle(&authority, N1, &[N1, N2]), limits).unwrap();
    let refused = transport.start(large_hello(N1), Arc::new(Mailbox::default())).unwrap_err();
    assert_says(&refused.to_string(), &["bytes_per_peer_cap", "1000000 of them for `a`"]);
}

#[test]
fn without_a_link_nothing_is_queued() {
    let authority = authority();
    let one = start(&bundle(&authority, N1, &[N1, N2]));
    assert_eq!(one.transport.send(N2, LANE, &event("a", 1)), Err(SendError::Down));
    assert_eq!(one.transport.send(NodeId(9), LANE, &event("a", 1)), Err(SendError::Down));
}

#[test]
fn an_outbox_that_overflows_ends_the_link_on_both_sides() {
    let authority = authority();
    let limits = Limits { outbox_bytes_max: 256 * 1024, ..Limits::default() };
    let one = start_with(&bundle(&authority, N1, &[N1, N2]), hello(N1, &["a"]), limits);
    let two = start(&bundle(&authority, N2, &[N1, N2]));
    link(&one, &two);
    two.inbox.shut();
    let body = Bytes::from(vec![0; 60_000]);
    let large = Envelope::from_parts(EventId::of("a"), Instance::ROOT, Tag::Plain, body);
    let refused = (0..10_000).find_map(|_| one.transport.send(N2, LANE, &large).err());
    assert_eq!(refused, Some(SendError::Full));
    assert_eq!(one.transport.send(N2, LANE, &large), Err(SendError::Down));
    one.inbox.wait_until("the end of the link", |told| told.downs() == 1);
    let down = LinkChange::Down(Reason::Overflow);
    assert_eq!(one.inbox.look(|told| told.links[1].clone()), (N2, down));
    two.inbox.open();
    two.wait_down_by_peer(1, Reason::Overflow);
}

#[test]
fn each_lane_counts_what_waits_and_what_is_lost_or_refused() {
    let authority = authority();
    let limits = Limits { outbox_bytes_max: 256 * 1024, ..Limits::default() };
    let one = start_with(&bundle(&authority, N1, &[N1, N2]), hello(N1, &["a"]), limits);
    let two = start(&bundle(&authority, N2, &[N1, N2]));
    link(&one, &two);
    let other = Lane::Ordered(LaneId(8));
    one.send(N2, other, 1);
    two.inbox.wait_until("an event", |told| told.events.len() == 1);
    assert_eq!(lane(&two, N1, other).map(|lane| (lane.received, lane.unsettled)), Some((1, 0)));
    wait_for("its acknowledgement", || {
        lane(&one, N2, other) == Some(LaneCounts { lost: 0, ..LaneCounts::default() })
    });

    two.inbox.shut();
    let body = Bytes::from(vec![0; 60_000]);
    let large = Envelope::from_parts(EventId::of("a"), Instance::ROOT, Tag::Plain, body);
    let sent = (0..).find(|_| {
        let waiting = lane(&one, N2, LANE).unwrap_or_default();
        assert!(waiting.queued <= waiting.unacknowledged, "{waiting:?}");
        one.transport.send(N2, LANE, &large) == Err(SendError::Full)
    });
    let full = lane(&one, N2, LANE).expect("it was used");
    assert_eq!(full.refused, 1);
    one.inbox.wait_until("the end of the link", |told| told.downs() == 1);
    let after = lane(&one, N2, LANE).expect("it has lost something");
    assert_eq!((after.queued, after.unacknowledged, after.kept_bytes), (0, 0, 0));
    assert!(0 < after.lost && after.lost <= sent.unwrap_or(0), "{after:?} of {sent:?}");
    assert_eq!(after.lost, one.transport.links()[0].lost);
    assert_eq!(lane(&one, N2, other), None, "nothing was lost there");
    two.inbox.open();
}

fn lane(peer: &Peer, of: NodeId, lane: Lane) -> Option<LaneCounts> {
    let lanes = peer.transport.lanes();
    let found = lanes.iter().find(|(node, id, _)| (*node, Lane::Ordered(*id)) == (of, lane));
    found.map(|(.., counts)| *counts)
}

#[test]
fn an_event_that_only_the_sender_knows_is_not_sent() {
    let (one, two) = pair();
    for lane in [LANE, Lane::Datagram] {
        let sent = one.transport.send(N2, lane, &event("c", 1));
        assert_eq!(sent, Err(SendError::Unhandled));
    }
    one.send(N2, LANE, 2);
    two.inbox.wait_until("the known event", |told| told.numbers(LANE) == [2]);
    assert!(two.inbox.look(|told| told.refusals.is_empty()));
}

#[test]
fn what_was_sent_before_a_farewell_arrives() {
    let (one, two) = pair();
    for number in 0..20_000 {
        one.send(N2, LANE, number);
    }
    one.close();
    two.wait_down(N1);
    assert_eq!(count(&two.inbox), 20_000);
    let last = two.inbox.look(|told| told.links.last().cloned());
    assert_eq!(last, Some((N1, LinkChange::Down(Reason::Closed))));
    assert!(one.inbox.look(|told| !told.is_up(N2)));
}

#[test]
fn two_nodes_that_leave_at_once_both_leave() {
    let (one, two) = pair();
    one.send(N2, LANE, 1);
    two.send(N1, LANE, 2);
    std::thread::scope(|scope| {
        scope.spawn(|| one.close());
        scope.spawn(|| two.close());
    });
    assert!(one.inbox.look(|told| !told.is_up(N2)) && two.inbox.look(|told| !told.is_up(N1)));
}

#[test]
fn three_nodes_talk_pairwise() {
    let authority = authority();
    let nodes = [N1, N2, N3];
    let peers = nodes.map(|node| start(&bundle(&authority, node, &nodes)));
    introduce(&peers.each_ref());
    for (from, to) in [(0, N2), (1, N3), (2, N1)] {
        peers[from].transport.connect(to);
    }
    for peer in &peers {
        for other in nodes.into_iter().filter(|other| *other != peer.node) {
            peer.wait_up(other);
            peer.send(other, LANE, u64::from(peer.node.0));
        }
    }
    for peer in &peers {
        peer.inbox.wait_until("two events", |told| told.events.len() == 2);
        assert!(peer.transport.links().iter().all(|link| link.round_trip.is_some()));
    }
}

fn count(inbox: &Mailbox) -> usize {
    inbox.look(|told| told.events.len())
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
    }
}
