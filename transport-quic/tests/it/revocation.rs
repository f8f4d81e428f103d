//! Certificates that their authority has taken back.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use quinn::VarInt;
use synod_core::{Inbox, LinkChange, NodeId, Reason, Transport, TransportError};
use synod_transport_quic::{Authority, Bundle, Limits, QuicTransport, Revocations, TakenLists};

use crate::links::{quick, relay};
use crate::raw::{Client, Greeting, Offer, PROTOCOL, Server, forge_list};
use crate::support::{
    DAY, Directory, LANE, Mailbox, N1, N2, N3, assert_says, authority, bundle, hello, introduce,
    link, start, start_with,
};

const ALL: [NodeId; 3] = [N1, N2, N3];

/// The list of an authority that takes back the certificate in each of these bundles.
fn list(authority: &Authority, before: Option<&Revocations>, of: &[&Bundle]) -> Revocations {
    let serials: Vec<_> = of.iter().map(|it| it.credentials.facts().unwrap().serial).collect();
    authority.revoke(before, &serials).unwrap()
}

fn heeding(bundle: &Bundle, lists: &[&Revocations]) -> Bundle {
    let revocations = lists.iter().map(|list| (*list).clone()).collect();
    Bundle { revocations, ..bundle.clone() }
}

#[test]
fn a_revoked_peer_is_out_while_it_is_linked_and_both_sides_are_told_why() {
    let authority = authority();
    let (first, second) = (bundle(&authority, N1, &ALL), bundle(&authority, N2, &ALL));
    let (one, two) = (start(&first), start(&second));
    let three = start(&bundle(&authority, N3, &ALL));
    link(&two, &one);
    link(&three, &one);
    let list = list(&authority, None, &[&second]);
    let began = Instant::now();
    one.transport.renew(&heeding(&first, &[&list])).expect("it is a good list");
    one.wait_down(N2);
    two.wait_down(N1);
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(one.inbox.look(|it| it.links.contains(&(N2, LinkChange::Down(Reason::Refused)))));
    let serial = second.credentials.facts().unwrap().serial;
    let words = ["the certificate of n2", &serial, "was revoked by its authority", "cert renew"];
    for (side, whose) in [(&one, "n2 at 127.0.0.1:"), (&two, "refuses n2")] {
        let refusal = side.inbox.wait("a refusal", |told| told.refusal("revoked").cloned());
        assert_says(&refusal.text, &words);
        assert_says(&refusal.text, &[whose]);
    }
    three.send(N1, LANE, 7);
    one.inbox.wait_until("an event of the other", |told| told.numbers(LANE) == [7]);
    assert_eq!(three.inbox.look(|told| told.downs()), 0);
}

#[test]
fn a_peer_that_was_renewed_while_it_is_linked_is_out_when_its_new_certificate_is_revoked() {
    let authority = authority();
    let (first, second) = (bundle(&authority, N1, &ALL), bundle(&authority, N2, &ALL));
    let (one, two) = (start(&first), start(&second));
    link(&two, &one);
    let renewed = Bundle { credentials: authority.issue(N2, DAY / 2).unwrap(), ..second };
    two.transport.renew(&renewed).expect("it is a good bundle");
    let end = renewed.credentials.facts().unwrap().not_after;
    let began = Instant::now();
    while one.transport.certificate_ends().get(&N2) != Some(&end) {
        two.send(N1, LANE, 1);
        assert!(began.elapsed() < Duration::from_secs(60), "the new certificate is not shown");
        sleep(Duration::from_millis(10));
    }
    assert_eq!([&one, &two].map(|node| node.inbox.look(|told| told.downs())), [0, 0]);
    let list = list(&authority, None, &[&renewed]);
    one.transport.renew(&heeding(&first, &[&list])).expect("it is a good list");
    one.wait_down(N2);
    two.wait_down(N1);
}

#[test]
fn a_peer_that_is_revoked_while_its_connection_is_lost_is_out_at_once_on_both_sides() {
    let authority = authority();
    let (first, second) = (bundle(&authority, N1, &ALL), bundle(&authority, N2, &ALL));
    // Nothing here may wait for the end of the grace.
    let limits = Limits { session_grace: 100 * DAY, ..quick() };
    let one = start_with(&first, hello(N1, &["a"]), limits.clone());
    let two = start_with(&second, hello(N2, &["a"]), limits);
    let (between, stop) = relay(one.address());
    two.transport.set_address(N1, between);
    two.transport.connect(N1);
    two.wait_up(N1);
    one.wait_up(N2);
    for (node, peer) in [(&one, N2), (&two, N1)] {
        node.transport.set_address(peer, NOWHERE);
    }
    stop.store(true, Ordering::Relaxed);
    while [&one, &two].iter().any(|node| node.transport.links().iter().any(|it| it.connected)) {
        sleep(Duration::from_millis(10));
    }
    assert_eq!([&one, &two].map(|node| node.inbox.look(|told| told.downs())), [0, 0]);
    let list = list(&authority, None, &[&second]);
    one.transport.renew(&heeding(&first, &[&list])).expect("it is a good list");
    one.wait_down(N2);
    two.transport.set_address(N1, one.address());
    two.wait_down(N1);
    for (node, peer) in [(&one, N2), (&two, N1)] {
        let down = (peer, LinkChange::Down(Reason::Refused));
        assert!(node.inbox.look(|told| told.links.contains(&down)));
    }
}

#[test]
fn a_peer_that_is_revoked_between_its_handshake_and_its_hello_is_not_let_in() {
    let authority = authority();
    let (first, second) = (bundle(&authority, N1, &ALL), bundle(&authority, N2, &ALL));
    let one = start(&first);
    let credentials = Some(second.credentials.clone());
    let client = Client::with(&authority, N2, credentials, b"synod/1");
    let mut raw = client.connect(one.address()).unwrap();
    while raw.connection.stats().frame_rx.handshake_done == 0 {
        sleep(Duration::from_millis(1)); // Until then its certificate may not have been looked at.
    }
    let list = list(&authority, None, &[&second]);
    one.transport.renew(&heeding(&first, &[&list])).expect("it is a good list");
    let pretends = Greeting { incarnation: u64::MAX, ..Greeting::of(N2) };
    raw.say(&pretends.hello(PROTOCOL, &Offer::new()));
    assert_says(&raw.closed(), &["revoked", "was revoked by its authority"]);
    assert!(one.inbox.look(|told| told.links.is_empty()));
    one.inbox.wait("a refusal", |told| told.refusal("revoked").cloned());
    let renewed = Bundle { credentials: authority.issue(N2, DAY).unwrap(), ..second };
    link(&start(&renewed), &one);
}

#[test]
fn a_life_that_was_said_with_a_certificate_that_is_revoked_keeps_nobody_out() {
    for leaves_before in [false, true] {
        let authority = authority();
        let (first, second) = (bundle(&authority, N1, &ALL), bundle(&authority, N2, &ALL));
        let one = start(&first);
        let client = Client::with(&authority, N2, Some(second.credentials.clone()), b"synod/1");
        let mut thief = client.connect(one.address()).unwrap();
        let pretends = Greeting { incarnation: u64::MAX, ..Greeting::of(N2) };
        thief.say(&pretends.hello(PROTOCOL, &Offer::new()));
        thief.hear();
        thief.confirm();
        one.wait_up(N2);
        if leaves_before {
            thief.connection.close(LEAVING, b"n2 leaves");
            one.wait_down(N2);
        }
        let list = list(&authority, None, &[&second]);
        one.transport.renew(&heeding(&first, &[&list])).expect("it is a good list");
        one.wait_down(N2);
        let renewed = Bundle { credentials: authority.issue(N2, DAY).unwrap(), ..second };
        link(&start(&renewed), &one);
    }
}

#[test]
fn a_peer_that_is_revoked_or_taken_off_the_list_while_it_is_dialled_is_not_linked() {
    let authority = authority();
    let (first, second) = (bundle(&authority, N1, &ALL), bundle(&authority, N2, &ALL));
    let list = list(&authority, None, &[&second]);
    let without = without_peer(first.clone(), N2);
    for (renewed, kind) in [(heeding(&first, &[&list]), "revoked"), (without, "unknown_node")] {
        let one = start(&first);
        let server = Server::with(N2, &second.credentials, b"synod/1");
        one.transport.set_address(N2, server.address());
        one.transport.connect(N2);
        let mut raw = server.accept().unwrap();
        let offer = raw.hear_hello().expect("a hello");
        one.transport.renew(&renewed).expect("it is a good bundle");
        raw.say(&Greeting::of(N2).answer(PROTOCOL, offer.fresh));
        assert_says(&raw.closed(), &[kind]);
        one.inbox.wait_until("the outcome", |told| told.unreachable().len() == 1);
        assert_eq!(one.inbox.look(|told| told.links.len()), 1);
    }
}

fn without_peer(mut bundle: Bundle, peer: NodeId) -> Bundle {
    bundle.peers.remove(&peer);
    bundle
}

/// The code of a connection whose node leaves.
const LEAVING: VarInt = VarInt::from_u32(1);

/// Where nobody listens.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1)), 9);

#[test]
fn a_revoked_peer_does_not_come_back_by_either_side_and_a_renewed_one_does() {
    let authority = authority();
    let (first, second) = (bundle(&authority, N1, &ALL), bundle(&authority, N2, &ALL));
    let list = list(&authority, None, &[&second]);
    let (one, two) = (start(&heeding(&first, &[&list])), start(&second));
    introduce(&[&one, &two]);
    two.transport.connect(N1);
    let told = two.inbox.wait("a refusal", |told| told.unreachable().pop().map(String::from));
    assert_says(&told, &["n1 at 127.0.0.1:", "refuses n2", "was revoked by its authority"]);
    let refusal = one.inbox.wait("a refusal", |told| told.refusal("revoked").cloned());
    assert_says(&refusal.text, &["somebody at 127.0.0.1:", "who says n2 is refused"]);
    one.transport.connect(N2);
    let told = one.inbox.wait("a refusal", |told| told.unreachable().pop().map(String::from));
    assert_says(&told, &["n2 at 127.0.0.1:", "is refused", "was revoked by its authority"]);
    assert_eq!(one.inbox.look(|told| told.refusals.len()), 2);
    let renewed = Bundle { credentials: authority.issue(N2, DAY).unwrap(), ..second };
    two.transport.renew(&renewed).expect("it is a good bundle");
    two.transport.connect(N1);
    two.wait_up(N1);
    one.wait_up(N2);
}

#[test]
fn a_list_that_is_foreign_or_older_or_gone_is_not_taken_and_the_one_before_stays() {
    let (authority, stranger) = (authority(), authority());
    let (first, second) = (bundle(&authority, N1, &ALL), bundle(&authority, N2, &ALL));
    let old = authority.revoke(None, &[]).unwrap();
    let list = list(&authority, Some(&old), &[&second]);
    assert_eq!((old.number, list.number), (1, 2));
    let (one, two) = (start(&heeding(&first, &[&list])), start(&second));
    introduce(&[&one, &two]);
    for (lists, words) in [
        (vec![], "must have list number 2"),
        (vec![&old], "and has number 1"),
        (vec![&stranger.revoke(None, &[]).unwrap()], "no trusted authority"),
    ] {
        let error = one.transport.renew(&heeding(&first, &lists)).expect_err(words).to_string();
        assert_says(&error, &["revoked.crl", words, "copy"]);
    }
    two.transport.connect(N1);
    one.inbox.wait("a refusal", |told| told.refusal("revoked").cloned());
    assert!(authority.revoke(Some(&stranger.revoke(None, &[]).unwrap()), &[]).is_err());
}

#[test]
fn a_list_after_its_end_is_refused_and_the_one_before_stays() {
    let authority = authority();
    let (first, second) = (bundle(&authority, N1, &ALL), bundle(&authority, N2, &ALL));
    let forged = |until| Revocations::parse(&forge_list(&authority, -2, until)).unwrap().remove(0);
    let (ended, good) = (forged(-1), forged(1));
    let refused = QuicTransport::new(&heeding(&first, &[&ended]), Limits::default()).unwrap_err();
    let words = ["`revoked.crl` has a list that ended on", "`synod cert revoke`"];
    assert_says(&refused.to_string(), &words);
    assert!(QuicTransport::new(&heeding(&first, &[&good]), Limits::default()).is_ok());

    let list = list(&authority, None, &[&second]);
    let (one, two) = (start(&heeding(&first, &[&list])), start(&second));
    let refused = one.transport.renew(&heeding(&first, &[&ended])).unwrap_err();
    assert_says(&refused.to_string(), &words);
    introduce(&[&one, &two]);
    two.transport.connect(N1);
    one.inbox.wait("a refusal", |told| told.refusal("revoked").cloned());
}

#[test]
fn the_end_of_the_certificate_of_a_connected_peer_is_known() {
    let authority = authority();
    let (one, two) = (start(&bundle(&authority, N1, &ALL)), start(&bundle(&authority, N2, &ALL)));
    assert!(one.transport.certificate_ends().is_empty());
    link(&one, &two);
    let ends = one.transport.certificate_ends();
    let left = ends[&N2].duration_since(SystemTime::now()).unwrap();
    assert!(ends.len() == 1 && DAY / 2 < left && left <= DAY, "{ends:?}");
}

#[test]
fn of_two_authorities_of_one_name_each_takes_back_its_own_certificates_only() {
    let (first, next) = (authority(), Authority::new("demo", DAY).unwrap());
    let trusting = |bundle: Bundle| {
        let mut bundle = bundle;
        bundle.trust(&first);
        bundle.trust(&next);
        bundle
    };
    let second = trusting(bundle(&next, N2, &ALL));
    let serial = second.credentials.facts().unwrap().serial;
    let one = trusting(bundle(&first, N1, &ALL));
    // The first authority says nothing of what the next one has issued, whatever it writes.
    let of_first = first.revoke(None, &[serial]).unwrap();
    let of_next = next.revoke(None, &[String::from("01")]).unwrap();
    let one = start(&heeding(&one, &[&of_first, &of_next]));
    let two = start(&second);
    link(&two, &one);
}

#[test]
fn a_list_is_a_file_beside_the_bundle_and_a_damaged_one_is_named() {
    let directory = Directory::new();
    let authority = authority();
    let (first, second) = (bundle(&authority, N1, &ALL), bundle(&authority, N2, &ALL));
    let path = directory.file("n1.synod");
    first.write_new(&path).unwrap();
    assert_eq!(Bundle::read(&path).unwrap(), first);
    let list = list(&authority, None, &[&second, &first]);
    let file = directory.file(Revocations::FILE);
    list.replace(&file).unwrap();
    let read = Bundle::read(&path).unwrap();
    assert_eq!(read.revocations, [list]);
    let own = QuicTransport::new(&read, Limits::default()).unwrap_err().to_string();
    assert_says(&own, &["the certificate of n1", "was revoked"]);
    let good = fs::read_to_string(&file).unwrap();
    let half = good.replace("-----END X509 CRL-----", "");
    for damaged in ["", "nothing", &half, &good.replace("MII", "MIJ"), &good[..good.len() / 2]] {
        fs::write(&file, damaged).unwrap();
        let error = Bundle::read(&path).unwrap_err().to_string();
        assert_says(&error, &["revoked.crl"]);
    }
    let mut signature = good.clone();
    let at = good.len() - 40;
    let other = if good.as_bytes()[at] == b'A' { "B" } else { "A" };
    signature.replace_range(at..=at, other);
    fs::write(&file, signature).unwrap();
    let forged = Bundle::read(&path).map(|bundle| bundle.check().unwrap_err().to_string());
    assert_says(&forged.unwrap_or_else(|error| error.to_string()), &["revoked.crl"]);
}

/// A life of a node that keeps in `file` which lists it has taken.
fn keeping(bundle: &Bundle, file: &Path) -> Result<QuicTransport, TransportError> {
    let transport = QuicTransport::new(bundle, Limits::default()).unwrap().keeping_lists_in(file);
    let inbox = Arc::new(Mailbox::default()) as Arc<dyn Inbox>;
    transport.start(hello(bundle.node, &["a"]), inbox).map(|()| transport)
}

#[test]
fn a_list_that_is_older_than_one_taken_before_a_restart_is_refused_with_what_to_do() {
    let directory = Directory::new();
    let file = directory.file(TakenLists::FILE);
    let authority = authority();
    let bundle = bundle(&authority, N1, &ALL);
    let old = authority.revoke(None, &[]).unwrap();
    let list = authority.revoke(Some(&old), &[String::from("01")]).unwrap();
    let life = keeping(&heeding(&bundle, &[&old]), &file).expect("its first list");
    life.renew(&heeding(&bundle, &[&list])).expect("a later one");
    drop(life);
    for (lists, found) in [(vec![&old], "has number 1"), (vec![], "has none")] {
        let put_back = heeding(&bundle, &lists);
        let refused = keeping(&put_back, &file).expect_err("an older list").to_string();
        let path = file.display().to_string();
        let words = ["`revoked.crl` must have list number 2", &path, found, "copy it again"];
        assert_says(&refused, &words);
        let checked = TakenLists::kept_in(&file).unwrap().check(&put_back);
        assert_eq!(checked.unwrap_err().to_string(), refused, "found out before the start");
    }
    let later = authority.revoke(Some(&list), &[]).unwrap();
    drop(keeping(&heeding(&bundle, &[&later]), &file).expect("a later list"));
    keeping(&heeding(&bundle, &[&list]), &file).expect_err("what it started with is taken as well");
}

#[test]
fn a_list_is_not_used_unless_it_is_written_down_that_it_was_taken() {
    let directory = Directory::new();
    let file = directory.file("store").join(TakenLists::FILE);
    let authority = authority();
    let bundle = bundle(&authority, N1, &ALL);
    let list = authority.revoke(None, &[]).unwrap();
    let heeding = heeding(&bundle, &[&list]);
    let refused = keeping(&heeding, &file).expect_err("no directory").to_string();
    assert_says(&refused, &["cannot write", &file.display().to_string()]);
    let life = keeping(&bundle, &file).expect("nothing is to be written down");
    let refused = life.renew(&heeding).expect_err("no directory").to_string();
    assert_says(&refused, &["cannot write"]);
    life.renew(&bundle).expect("it has no list, as before");
    fs::create_dir(directory.file("store")).unwrap();
    life.renew(&heeding).expect("it can be written down");
    life.renew(&bundle).expect_err("the list is in use");
}
