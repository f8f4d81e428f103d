//! Whoever may not come in: both sides learn why, and nobody else is disturbed.

use std::sync::Arc;

use rcgen::{CustomExtension, ExtendedKeyUsagePurpose};
use synod_core::{NodeId, Refusal, Transport};
use synod_transport_quic::{Authority, Bundle, Credentials, KeyKind, Limits, inspect};

use crate::raw::{Client, Server, Tickets, forge, forge_more, forge_rsa, forge_with};
use crate::support::{
    LANE, N1, N2, N3, Peer, assert_heard, assert_says, authority, bundle, hello, introduce, link,
    start, start_with,
};

const ALL: [NodeId; 3] = [N1, N2, N3];

/// A node with a live peer, which must come through every refusal untouched.
struct Guarded {
    authority: Authority,
    node: Peer,
    friend: Peer,
}

impl Guarded {
    fn new() -> Self {
        let authority = authority();
        let node = start(&bundle(&authority, N1, &ALL));
        let friend = start(&bundle(&authority, N3, &ALL));
        link(&friend, &node);
        Self { authority, node, friend }
    }

    fn refusal(&self, kind: &str) -> Refusal {
        refusal(&self.node, kind)
    }

    fn assert_untouched(&self) {
        self.friend.send(N1, LANE, 7);
        self.node.inbox.wait_until("an event of the friend", |told| told.numbers(LANE) == [7]);
        assert_eq!(self.node.inbox.look(|told| told.downs()), 0);
        assert_eq!(self.node.inbox.look(|told| told.events.len()), 1);
    }
}

fn refusal(peer: &Peer, kind: &str) -> Refusal {
    peer.inbox.wait(kind, |told| told.refusal(kind).cloned())
}

fn unreachable(peer: &Peer) -> String {
    peer.inbox.wait("an answer", |told| told.unreachable().pop().map(String::from))
}

/// A transport that dials a guarded node and is refused by it.
fn refused_dialer(guarded: &Guarded, bundle: &Bundle, kind: &str, parts: &[&str]) {
    let dialer = start(bundle);
    introduce(&[&dialer, &guarded.node]);
    dialer.transport.connect(N1);
    let here = guarded.refusal(kind);
    assert_says(&here.text, parts);
    assert_says(&here.text, &["is refused"]);
    let there = unreachable(&dialer);
    assert_says(&there, parts);
    assert_says(&there, &["n1 at 127.0.0.1:", "refuses"]);
    assert_says(&refusal(&dialer, kind).text, parts);
    guarded.assert_untouched();
}

/// A raw dialler that shows a certificate with these names and is refused.
fn refused_certificate(names: &[&str], days: (i64, i64), kind: &str, parts: &[&str]) {
    let guarded = Guarded::new();
    let shown = forge(&guarded.authority, names, days.0, days.1);
    refused_client(&guarded, shown, kind, parts);
}

/// A raw dialler that shows a certificate to a guarded node and is refused.
fn refused_client(guarded: &Guarded, shown: Credentials, kind: &str, parts: &[&str]) {
    let client = Client::with(&guarded.authority, N2, Some(shown), b"synod/1");
    let heard = match client.connect(guarded.node.address()) {
        Ok(raw) => raw.closed(),
        Err(error) => error.to_string(),
    };
    assert_heard(&heard, parts);
    let refusal = guarded.refusal(kind);
    assert_says(&refusal.text, parts);
    assert!(refusal.address.starts_with("127.0.0.1:"));
    assert_eq!(refusal.peer, None, "nobody has proved to be anybody");
    let counted = guarded.node.inbox.look(|told| told.refusals.len());
    assert_eq!(counted, 1, "each refusal is counted once");
    guarded.assert_untouched();
}

/// A raw listener that shows `credentials` to a node that dials n2, and is refused.
fn refused_listener(authority: &Authority, shown: &Credentials, kind: &str, parts: &[&str]) {
    let server = Server::with(N2, shown, b"synod/1");
    let one = start(&bundle(authority, N1, &ALL));
    one.transport.set_address(N2, server.address());
    one.transport.connect(N2);
    // The client's Finished comes together with its refusal, so either may be seen first.
    let heard = match server.accept() {
        Ok(raw) => raw.closed(),
        Err(error) => error.to_string(),
    };
    assert_heard(&heard, parts);
    assert_says(&unreachable(&one), parts);
    let refusal = refusal(&one, kind);
    assert_eq!(refusal.peer, Some(N2));
    assert_says(&refusal.text, parts);
}

#[test]
fn a_dialler_of_another_authority_is_refused() {
    let guarded = Guarded::new();
    let other = authority();
    // It trusts both authorities, so the refusal is the listener's alone.
    let mut intruder = bundle(&other, N2, &ALL);
    intruder.authorities.push(String::from(guarded.authority.certificate_pem()));
    let ours = guarded.authority.facts().short_fingerprint();
    let theirs = other.facts().short_fingerprint();
    refused_dialer(&guarded, &intruder, "bad_ca", &["n2", "another authority", &ours, &theirs]);
}

#[test]
fn a_listener_of_another_authority_is_refused() {
    let (ours, theirs) = (authority(), authority());
    let one = start(&bundle(&ours, N1, &ALL));
    let two = start(&bundle(&theirs, N2, &ALL));
    introduce(&[&one, &two]);
    one.transport.connect(N2);
    let ours = ours.facts().short_fingerprint();
    let theirs = theirs.facts().short_fingerprint();
    let parts = [
        "the certificate of n2 is of another authority",
        &ours,
        &theirs,
        "cert renew",
        "cert trust",
    ];
    assert_says(&unreachable(&one), &parts);
    assert_says(&refusal(&one, "bad_ca").text, &parts);
    let there = refusal(&two, "bad_ca");
    assert_says(&there.text, &parts);
    assert_says(&there.text, &["refuses n2"]);
}

#[test]
fn an_expired_certificate_is_refused() {
    let names = ["n2.demo.synod.internal"];
    let parts =
        ["the certificate of n2 expired 1 day ago (20", "clock of n1", "says 20", "cert renew"];
    refused_certificate(&names, (-9, -1), "expired", &parts);
    let authority = authority();
    refused_listener(&authority, &forge(&authority, &names, -9, -1), "expired", &parts);
}

#[test]
fn a_certificate_before_its_time_is_refused() {
    let names = ["n2.demo.synod.internal"];
    let parts = ["the certificate of n2 begins in", "the clock of n1 says 20", "clocks differ"];
    refused_certificate(&names, (3, 9), "not_yet_valid", &parts);
    let authority = authority();
    refused_listener(&authority, &forge(&authority, &names, 3, 9), "not_yet_valid", &parts);
}

#[test]
fn a_certificate_that_names_two_nodes_is_refused() {
    let names = ["n2.demo.synod.internal", "n3.demo.synod.internal"];
    let parts = ["must name one node", "`nN.demo.synod.internal`", names[0], names[1]];
    refused_certificate(&names, (-1, 1), "bad_identity", &parts);
    let authority = authority();
    refused_listener(&authority, &forge(&authority, &names, -1, 1), "bad_identity", &parts);
}

#[test]
fn a_certificate_with_a_wildcard_is_refused() {
    let names = ["*.demo.synod.internal"];
    let parts = ["must name one node", names[0]];
    refused_certificate(&names, (-1, 1), "bad_identity", &parts);
    let authority = authority();
    refused_listener(&authority, &forge(&authority, &names, -1, 1), "bad_identity", &parts);
}

#[test]
fn a_certificate_in_upper_case_is_refused() {
    let names = ["N2.demo.synod.internal"];
    let parts = ["must name one node", names[0]];
    refused_certificate(&names, (-1, 1), "bad_identity", &parts);
    let authority = authority();
    refused_listener(&authority, &forge(&authority, &names, -1, 1), "bad_identity", &parts);
}

#[test]
fn a_certificate_with_a_name_that_is_too_long_is_refused() {
    let label = "a".repeat(60);
    let name = format!("n2.{label}.{label}.{label}.{label}.synod.internal");
    refused_certificate(&[&name], (-1, 1), "bad_identity", &["must name one node", &label]);
    let authority = authority();
    let shown = forge(&authority, &[&name], -1, 1);
    refused_listener(&authority, &shown, "bad_identity", &["must name one node", &label]);
}

#[test]
fn a_certificate_that_says_it_is_its_own_authority_is_refused() {
    let guarded = Guarded::new();
    let names = ["n2.demo.synod.internal"];
    let uses = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let stranger = authority();
    let issuer = (guarded.authority.certificate_pem(), stranger.key_pem());
    let shown = forge_with(issuer, &names, (-1, 1), &uses);
    refused_client(&guarded, shown, "bad_ca", &["the certificate of n2 is of another authority"]);
}

#[test]
fn a_certificate_without_a_name_is_refused() {
    refused_certificate(&[], (-1, 1), "bad_identity", &["must name one node", "names nothing"]);
}

#[test]
fn a_certificate_with_a_critical_extension_that_nobody_knows_is_refused() {
    for is_critical in [true, false] {
        let guarded = Guarded::new();
        let mut unknown =
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55_555], vec![5, 0]);
        unknown.set_criticality(is_critical);
        let uses = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let issuer = (guarded.authority.certificate_pem(), guarded.authority.key_pem());
        let names = ["n2.demo.synod.internal"];
        let shown = forge_more(issuer, &names, (-1, 1), &uses, vec![unknown]);
        if is_critical {
            refused_client(&guarded, shown, "bad_certificate", &["does not verify", "ritical"]);
        } else {
            let client = Client::with(&guarded.authority, N2, Some(shown), b"synod/1");
            let _link = client.link(guarded.node.address());
            guarded.node.wait_up(N2);
        }
    }
}

#[test]
fn a_certificate_for_servers_only_does_not_dial() {
    let guarded = Guarded::new();
    let issuer = (guarded.authority.certificate_pem(), guarded.authority.key_pem());
    let uses = [ExtendedKeyUsagePurpose::ServerAuth];
    let shown = forge_with(issuer, &["n2.demo.synod.internal"], (-1, 1), &uses);
    refused_client(&guarded, shown, "bad_certificate", &["does not verify", "issue it anew"]);
}

#[test]
fn a_certificate_for_clients_only_does_not_listen() {
    let authority = authority();
    let issuer = (authority.certificate_pem(), authority.key_pem());
    let uses = [ExtendedKeyUsagePurpose::ClientAuth];
    let shown = forge_with(issuer, &["n2.demo.synod.internal"], (-1, 1), &uses);
    refused_listener(&authority, &shown, "bad_certificate", &["does not verify"]);
}

#[test]
fn a_certificate_for_a_weak_key_is_refused_on_both_sides_and_says_so_when_it_is_looked_at() {
    let guarded = Guarded::new();
    let weak = forge_rsa(&guarded.authority, 1_024);
    let facts = inspect(&weak.certificate_pem).unwrap();
    assert_eq!(facts.key, KeyKind::Rsa { bits: 1_024 });
    assert_says(&facts.to_string(), &["RSA with 1024 bits"]);
    let parts = ["the key of n2 is RSA with 1024 bits", "RSA with 2048 to 8192", "cert issue"];
    refused_client(&guarded, weak.clone(), "bad_certificate", &parts);
    refused_listener(&guarded.authority, &weak, "bad_certificate", &parts);
}

#[test]
fn a_certificate_for_a_key_that_the_peer_does_not_have_is_refused() {
    let guarded = Guarded::new();
    let shown = forge_rsa(&guarded.authority, 2_048);
    assert!(inspect(&shown.certificate_pem).unwrap().key.is_believed());
    refused_client(&guarded, shown, "tls", &[]);
}

#[test]
fn a_certificate_that_another_node_has_issued_is_refused() {
    let guarded = Guarded::new();
    let node = guarded.authority.issue(N3, crate::support::DAY).unwrap();
    let uses = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let issuer = (node.certificate_pem.as_str(), node.key_pem.as_str());
    let mut shown = forge_with(issuer, &["n2.demo.synod.internal"], (-1, 1), &uses);
    // The chain goes up to the authority, by way of a node that is none.
    shown.certificate_pem.push_str(&node.certificate_pem);
    refused_client(&guarded, shown, "bad_certificate", &["does not verify"]);
}

#[test]
fn a_certificate_of_the_node_itself_is_refused() {
    let names = ["n1.demo.synod.internal"];
    refused_certificate(
        &names,
        (-1, 1),
        "wrong_node",
        &["n1 itself", "one bundle serves one process"],
    );
}

#[test]
fn a_certificate_of_another_cluster_is_refused() {
    let names = ["n2.test.synod.internal"];
    let parts = ["n2 belongs to the cluster `test`", "n1 to `demo`"];
    refused_certificate(&names, (-1, 1), "other_cluster", &parts);
    let authority = authority();
    refused_listener(&authority, &forge(&authority, &names, -1, 1), "other_cluster", &parts);
}

#[test]
fn a_node_outside_the_peer_list_is_refused() {
    let guarded = Guarded::new();
    let n9 = NodeId(9);
    let stranger = bundle(&guarded.authority, n9, &[N1, n9]);
    let parts = ["n9 is not in the peer list of n1 (n2, n3)", "add it"];
    refused_dialer(&guarded, &stranger, "unknown_node", &parts);
}

#[test]
fn another_node_at_the_address_is_refused() {
    let authority = authority();
    let one = start(&bundle(&authority, N1, &ALL));
    let three = start(&bundle(&authority, N3, &ALL));
    one.transport.set_address(N2, three.address());
    one.transport.connect(N2);
    let sentence = format!("{} is n3, not n2: check the address list", three.address());
    assert_says(&unreachable(&one), &[&sentence]);
    assert_says(&refusal(&one, "wrong_node").text, &[&sentence]);
    assert_says(&refusal(&three, "wrong_node").text, &[&sentence]);
}

#[test]
fn a_dialler_without_a_certificate_is_refused() {
    let guarded = Guarded::new();
    let client = Client::with(&guarded.authority, N2, None, b"synod/1");
    let heard = match client.connect(guarded.node.address()) {
        Ok(raw) => raw.closed(),
        Err(error) => error.to_string(),
    };
    assert_heard(&heard, &["peer sent no certificates"]);
    assert_says(&guarded.refusal("no_certificate").text, &["somebody at", "node bundle"]);
    guarded.assert_untouched();
}

#[test]
fn another_protocol_in_the_handshake_is_refused() {
    let guarded = Guarded::new();
    let credentials = guarded.authority.issue(N2, crate::support::DAY).unwrap();
    let client = Client::with(&guarded.authority, N2, Some(credentials.clone()), b"synod/2");
    assert!(client.connect(guarded.node.address()).is_err());
    assert_says(&guarded.refusal("version").text, &["synod/8", "a node of this program?"]);
    guarded.assert_untouched();

    let server = Server::with(N2, &credentials, b"synod/2");
    guarded.node.transport.set_address(N2, server.address());
    guarded.node.transport.connect(N2);
    assert!(server.accept().is_err());
    let text =
        guarded.node.inbox.wait("an answer", |told| told.unreachable().pop().map(String::from));
    assert_says(&text, &["n2 at", "synod/8", "a node of this program?"]);
}

#[test]
fn nobody_gets_a_ticket_that_would_outlive_a_certificate() {
    let guarded = Guarded::new();
    let tickets = Arc::new(Tickets::default());
    let client = Client::keeping(&guarded.authority, N2, Arc::clone(&tickets));
    let _link = client.link(guarded.node.address());
    // Tickets would come right behind the handshake, and so before these.
    guarded.node.wait_up(N2);
    guarded.node.send(N2, LANE, 1);
    let _again = client.link(guarded.node.address());
    assert_eq!(tickets.count(), 0);
    assert!(!client.has_early_data(guarded.node.address()), "nothing is said before a handshake");
}

#[test]
fn a_flood_from_one_host_is_stopped_before_it_takes_every_place() {
    let authority = authority();
    let limits = Limits { handshakes_per_host_max: 3, ..Limits::default() };
    let node = start_with(&bundle(&authority, N1, &ALL), hello(N1, &["a"]), limits);
    let friend = start(&bundle(&authority, N3, &ALL));
    link(&friend, &node);
    let client = Client::new(&authority, N2);
    let mute: Vec<_> = (0..6).map(|_| client.connect(node.address())).collect();
    assert!(mute.iter().filter(|it| it.is_ok()).count() <= 3, "some were refused");
    assert_says(&refusal(&node, "flood").text, &["3 handshakes from this host"]);
    friend.send(N1, LANE, 7);
    node.inbox.wait_until("an event of the friend", |told| told.numbers(LANE) == [7]);
}

#[test]
fn a_flood_of_handshakes_leaves_live_peers_alone() {
    let authority = authority();
    let limits = Limits { handshakes_max: 4, handshakes_before_retry: 1, ..Limits::default() };
    let node = start_with(&bundle(&authority, N1, &ALL), hello(N1, &["a"]), limits);
    let friend = start(&bundle(&authority, N3, &ALL));
    link(&friend, &node);
    // Each of these shakes hands, says nothing, and so stays a handshake under way.
    let client = Client::new(&authority, N2);
    let mute: Vec<_> = (0..8).map(|_| client.connect(node.address())).collect();
    assert!(mute.iter().any(Result::is_err), "some were refused");
    assert_says(&refusal(&node, "flood").text, &["handshakes are under way"]);
    friend.send(N1, LANE, 7);
    node.inbox.wait_until("an event of the friend", |told| told.numbers(LANE) == [7]);
    drop(mute);
    // Once they have gone, there is room again.
    let two = start(&bundle(&authority, N2, &ALL));
    introduce(&[&two, &node]);
    node.inbox.wait_until("a link", |told| {
        two.transport.connect(N1);
        told.is_up(N2)
    });
}
