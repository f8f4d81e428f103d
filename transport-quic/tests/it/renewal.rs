//! A node takes another bundle while it runs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use synod_core::{LinkChange, NodeId, Reason, Transport};
use synod_transport_quic::{Authority, Bundle};

use crate::support::{
    DAY, LANE, N1, N2, N3, PATIENCE, assert_says, authority, bundle, introduce, link, start,
};

const ALL: [NodeId; 3] = [N1, N2, N3];

/// The bundle of `node` with a certificate of `next`, which both authorities are trusted for.
fn taken_over(first: &Authority, next: &Authority, node: NodeId) -> Bundle {
    let mut bundle = bundle(next, node, &ALL);
    bundle.trust(first);
    bundle
}

#[test]
fn a_new_certificate_disturbs_no_link_and_is_shown_from_then_on() {
    let (first, next) = (authority(), Authority::new("demo", DAY).unwrap());
    let one = start(&bundle(&first, N1, &ALL));
    let two = start(&bundle(&first, N2, &ALL));
    link(&one, &two);
    let three = start(&bundle(&next, N3, &ALL));
    introduce(&[&one, &three]);
    three.transport.connect(N1);
    three.inbox.wait_until("a refusal", |told| !told.unreachable().is_empty());
    for count in 0..100 {
        one.send(N2, LANE, count);
        if count == 50 {
            one.transport.renew(&taken_over(&first, &next, N1)).expect("it is a good bundle");
        }
    }
    three.transport.connect(N1);
    three.wait_up(N1);
    two.inbox.wait_until("all events", |told| told.numbers(LANE) == (0..100).collect::<Vec<_>>());
    // It does not believe the new certificate yet, and stays with the connection that is there.
    two.inbox.wait_until("a refusal", |told| told.refusal("bad_ca").is_some());
    assert_eq!((one.inbox.look(|told| told.downs()), two.inbox.look(|told| told.downs())), (0, 0));
}

#[test]
fn a_new_certificate_is_shown_at_once_also_where_only_the_peer_can_dial() {
    let authority = authority();
    let listed_nowhere = |node| Bundle {
        peers: BTreeMap::new(),
        members: ALL.into_iter().collect(),
        ..bundle(&authority, node, &ALL)
    };
    // It says of itself that it listens where nobody does, so that it is not found either.
    let two = Bundle { peers: [(N2, String::from("127.0.0.1:9"))].into(), ..listed_nowhere(N2) };
    let (one, two) = (start(&listed_nowhere(N1)), start(&two));
    two.transport.set_address(N1, one.address());
    two.transport.connect(N1);
    one.wait_up(N2);
    two.wait_up(N1);
    one.send(N2, LANE, 1);
    let renewed =
        Bundle { credentials: authority.issue(N1, DAY / 2).unwrap(), ..listed_nowhere(N1) };
    let ends = || two.transport.certificate_ends().get(&N1).copied();
    let before = ends().expect("they are connected");
    one.transport.renew(&renewed).expect("it is a good bundle");
    let begin = Instant::now();
    while ends().is_none_or(|end| end == before) {
        assert!(begin.elapsed() < PATIENCE * 2, "the new certificate is not shown");
        std::thread::sleep(Duration::from_millis(10));
    }
    one.send(N2, LANE, 2);
    two.inbox.wait_until("both events", |told| told.numbers(LANE) == [1, 2]);
    assert_eq!((one.inbox.look(|told| told.downs()), two.inbox.look(|told| told.downs())), (0, 0));
}

#[test]
fn of_several_new_certificates_in_a_row_each_is_shown_at_once() {
    let authority = authority();
    let one = start(&bundle(&authority, N1, &ALL));
    let two = start(&bundle(&authority, N2, &ALL));
    link(&one, &two);
    let ends = || two.transport.certificate_ends().get(&N1).copied();
    for part in 2..6 {
        let before = ends();
        let credentials = authority.issue(N1, DAY / part).unwrap();
        let renewed = Bundle { credentials, ..bundle(&authority, N1, &ALL) };
        one.transport.renew(&renewed).expect("it is a good bundle");
        let begin = Instant::now();
        while ends().is_none_or(|end| Some(end) == before) {
            // One that the peer does not believe is tried again after ten seconds.
            assert!(begin.elapsed() < PATIENCE / 2, "certificate {part} is not shown");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    assert_eq!((one.inbox.look(|told| told.downs()), two.inbox.look(|told| told.downs())), (0, 0));
}

#[test]
fn a_link_stays_up_when_a_certificate_ends_also_if_the_other_side_is_renewed_then() {
    let authority = authority();
    let short = Bundle {
        credentials: authority.issue(N2, Duration::from_secs(3)).unwrap(),
        ..bundle(&authority, N2, &ALL)
    };
    let (one, two) = (start(&bundle(&authority, N1, &ALL)), start(&short));
    link(&one, &two);
    let end = one.transport.certificate_ends()[&N2] + Duration::from_secs(1);
    std::thread::sleep(end.duration_since(SystemTime::now()).unwrap());
    one.transport.renew(&bundle(&authority, N1, &ALL)).expect("it is a good bundle");
    one.send(N2, LANE, 1);
    two.inbox.wait_until("an event", |told| told.numbers(LANE) == [1]);
    one.inbox
        .wait_until("a refusal of another connection", |told| told.refusal("expired").is_some());
    one.send(N2, LANE, 2);
    two.inbox.wait_until("another event", |told| told.numbers(LANE) == [1, 2]);
    assert_eq!((one.inbox.look(|told| told.downs()), two.inbox.look(|told| told.downs())), (0, 0));
}

#[test]
fn a_peer_that_is_not_listed_any_more_is_out_at_once_and_stays_out() {
    let authority = authority();
    let one = start(&bundle(&authority, N1, &ALL));
    let (two, three) = (start(&bundle(&authority, N2, &ALL)), start(&bundle(&authority, N3, &ALL)));
    link(&two, &one);
    link(&three, &one);
    one.transport.renew(&bundle(&authority, N1, &[N1, N3])).expect("it is a good bundle");
    one.wait_down(N2);
    two.wait_down(N1);
    let down = LinkChange::Down(Reason::Refused);
    assert!(one.inbox.look(|told| told.links.contains(&(N2, down.clone()))));
    two.transport.connect(N1);
    let refused = two.inbox.wait("a refusal", |told| told.unreachable().pop().map(String::from));
    assert_says(&refused, &["n2 is not in the peer list of n1"]);
    one.transport.connect(N2);
    one.inbox.wait_until("a refusal", |told| !told.unreachable().is_empty());
    three.send(N1, LANE, 7);
    one.inbox.wait_until("an event of the other", |told| told.numbers(LANE) == [7]);
}

#[test]
fn a_peer_of_an_authority_that_is_not_trusted_any_more_is_out() {
    let (first, next) = (authority(), Authority::new("demo", DAY).unwrap());
    let one = start(&taken_over(&first, &next, N1));
    let two = start(&taken_over(&next, &first, N2));
    link(&one, &two);
    one.transport.renew(&bundle(&next, N1, &ALL)).expect("it is a good bundle");
    one.wait_down(N2);
    two.wait_down(N1);
}

#[test]
fn a_bundle_that_is_not_the_nodes_own_or_not_valid_changes_nothing() {
    let first = authority();
    let one = start(&bundle(&first, N1, &ALL));
    let two = start(&bundle(&first, N2, &ALL));
    link(&one, &two);
    let expired = Bundle {
        credentials: first.issue(N1, Duration::ZERO).unwrap(),
        ..bundle(&first, N1, &ALL)
    };
    std::thread::sleep(Duration::from_millis(1_100)); // Certificates count in seconds.
    let other = Authority::new("other", DAY).unwrap();
    for (wrong, words) in [
        (bundle(&first, N2, &ALL), "the bundle is that of n2"),
        (bundle(&other, N1, &ALL), "cluster other"),
        (expired, "expired"),
    ] {
        let error = one.transport.renew(&wrong).expect_err(words);
        assert_says(&error.to_string(), &[words]);
    }
    one.send(N2, LANE, 7);
    two.inbox.wait_until("an event", |told| told.numbers(LANE) == [7]);
    assert_eq!(one.inbox.look(|told| told.downs()), 0);
}
