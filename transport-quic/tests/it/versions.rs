//! Peers of other versions of the program.

use synod_core::Transport;

use crate::hostile::{Stage, good_frame, lane, refuses_answer};
use crate::raw::{ACKNOWLEDGED, Client, Greeting, Offer, PROTOCOL, Raw, Server, control_frame};
use crate::support::{LANE, N1, N2, assert_heard};

/// A peer of the next version, which still speaks this one.
const NEXT: [u16; 2] = [PROTOCOL + 1, PROTOCOL];

/// Of the version after it, which does not.
const LATER: [u16; 2] = [PROTOCOL + 2, PROTOCOL + 1];

impl Stage {
    fn protocol(&self) -> Option<u16> {
        let links = self.node.transport.links();
        links.into_iter().find(|link| link.peer == N2).and_then(|link| link.protocol)
    }

    /// The peer is linked, speaks the version of this node, and must keep to it.
    fn speaks_as_before(&self, raw: &mut Raw) {
        self.node.wait_up(N2);
        assert_eq!(self.protocol(), Some(PROTOCOL));
        let _stream = raw.stream(&lane(&[&good_frame("a", 1)]));
        self.node.inbox.wait_until("an event", |told| told.numbers(LANE) == [1]);
        self.node.send(N2, LANE, 2);
        // The acknowledgement of the one, and whatever else is said until it comes.
        let acknowledges = |frame: &[u8]| frame.starts_with(&[8, 0, ACKNOWLEDGED]);
        while !acknowledges(&raw.hear()) {}
        raw.say(&control_frame(NEXT[0], ACKNOWLEDGED, &[0]));
        self.ends(raw, "version", &["synod/9", "synod/8 was agreed on"]);
    }
}

#[test]
fn a_dialler_of_the_next_version_is_let_in_and_spoken_to_in_this_one() {
    let stage = Stage::new();
    let mut raw = Client::new(&stage.authority, N2).connect(stage.node.address()).unwrap();
    raw.say(&Greeting::of(N2).hello_of(NEXT, &Offer::new(), b"what the next version adds"));
    let answer = raw.hear();
    assert!(answer.starts_with(&[8, 0, 8, 0, 1]), "{answer:?}");
    raw.confirm();
    stage.speaks_as_before(&mut raw);
}

#[test]
fn an_acceptor_of_the_next_version_is_let_in_and_spoken_to_in_this_one() {
    let stage = Stage::new();
    let server = Server::new(&stage.authority, N2);
    stage.node.transport.set_address(N2, server.address());
    stage.node.transport.connect(N2);
    let answer = |offer: &Offer| Greeting::of(N2).answer_of(NEXT, offer.fresh, &[1, 2, 3]);
    let mut raw = server.answer(answer);
    stage.speaks_as_before(&mut raw);
}

#[test]
fn a_peer_that_speaks_only_later_versions_is_refused_and_told_who_is_to_be_upgraded() {
    let frame = Greeting::of(N2).hello_of(LATER, &Offer::new(), &[]);
    let words = "n2 speaks synod/9 to synod/10 and n1 speaks synod/8: upgrade n1";
    Stage::new().refuses_hello(&frame, "version", &[words]);
    refuses_answer(
        |offer| Greeting::of(N2).answer_of(LATER, offer.fresh, &[]),
        "version",
        &[words],
    );
}

#[test]
fn a_peer_from_before_there_were_ranges_is_refused_and_told_who_is_to_be_upgraded() {
    let words = "n2 speaks synod/5 and n1 speaks synod/8: upgrade n2";
    Stage::new().refuses_hello(&control_frame(5, 0, &[4, b'd']), "version", &[words]);
    // That is how such a node refuses.
    refuses_answer(|_| control_frame(5, 2, &[0, 0]), "version", &[words]);
}

#[test]
fn a_peer_that_speaks_nothing_at_all_is_refused() {
    let frame = Greeting::of(N2).hello_of([8, 9], &Offer::new(), &[]);
    Stage::new().refuses_hello(&frame, "bad_hello", &["synod/9 to synod/8", "no version"]);
}

#[test]
fn two_nodes_of_this_version_say_so() {
    let stage = Stage::new();
    let links = stage.friend.transport.links();
    let link = links.iter().find(|link| link.peer == N1).unwrap();
    assert_eq!(link.protocol, Some(PROTOCOL));
    assert_eq!(stage.protocol(), None, "{N2} is not connected");
    let raw = stage.linked();
    assert_eq!(stage.protocol(), Some(PROTOCOL));
    stage.node.transport.disconnect(N2, synod_core::Reason::Closed);
    assert_heard(&raw.closed(), &["ends this link"]);
}
