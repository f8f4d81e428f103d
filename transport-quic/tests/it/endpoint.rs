//! The endpoint dies with its socket, and is opened anew.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use synod_core::{Envelopes, Hello, Inbox, Lane, LinkChange, NodeId, Refusal, Room, Transport};
use synod_transport_quic::{Limits, QuicTransport};

use crate::raw::Client;
use crate::support::{
    LANE, Mailbox, N1, N2, N3, PATIENCE, Peer, assert_says, authority, bundle, hello, introduce,
    link, pair, start, start_with,
};

fn wait_for_fault(peer: &Peer, is_there: bool) {
    let deadline = Instant::now() + PATIENCE;
    while peer.transport.fault().is_some() != is_there {
        assert!(Instant::now() < deadline, "fault: {:?}", peer.transport.fault());
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn an_endpoint_that_dies_is_opened_anew_at_its_address_and_its_links_lose_nothing() {
    let (one, two) = pair();
    let address = two.address();
    for count in 0..300 {
        one.send(N2, LANE, count);
        two.send(N1, LANE, count);
        if count % 100 == 50 {
            two.transport.fail_socket();
        }
    }
    let all: Vec<u64> = (0..300).collect();
    two.inbox.wait_until("what n1 sent", |told| told.numbers(LANE) == all);
    one.inbox.wait_until("what n2 sent", |told| told.numbers(LANE) == all);
    wait_for_fault(&two, false);
    assert_eq!(two.address(), address);
    assert_eq!((one.inbox.look(|told| told.downs()), two.inbox.look(|told| told.downs())), (0, 0));
    // It takes in new peers as well.
    let three = start(&bundle(&authority(), N3, &[N1, N2, N3]));
    three.transport.set_address(N2, address);
    three.transport.connect(N2);
    two.inbox.wait_until("a stranger", |told| told.refusal("bad_ca").is_some());
}

#[test]
fn a_node_whose_endpoint_is_dead_says_so_within_a_second() {
    let (one, two) = pair();
    assert_eq!(two.transport.fault(), None);
    let began = Instant::now();
    // Each death after the first is followed by a longer pause.
    while two.transport.fault().is_none() {
        two.transport.fail_socket();
        sleep(Duration::from_millis(1));
        assert!(began.elapsed() < Duration::from_secs(1), "the fault is not told");
    }
    let fault = two.transport.fault();
    assert_says(&fault.unwrap_or_default(), &["127.0.0.1:", "/udp"]);
    wait_for_fault(&two, false);
    one.send(N2, LANE, 7);
    two.inbox.wait_until("an event", |told| told.numbers(LANE) == [7]);
}

/// Says to a process that it is the one of the test below.
const PANICS: &str = "SYNOD_TEST_PANICS";

#[test]
fn a_panic_within_quinn_ends_the_process_and_leaves_no_deaf_node() {
    if std::env::var_os(PANICS).is_some() {
        let (_one, two) = pair();
        two.transport.panic_within();
        sleep(Duration::from_secs(1));
        panic!("it lives, and tells {:?}", two.transport.fault());
    }
    let name = "endpoint::a_panic_within_quinn_ends_the_process_and_leaves_no_deaf_node";
    let program = std::env::current_exe().unwrap();
    let child = Command::new(program).args(["--exact", name]).env(PANICS, "1").output().unwrap();
    assert_eq!((child.status.code(), child.status.signal()), (None, Some(SIGABRT)), "{child:?}");
}

/// What `abort` ends a process with.
const SIGABRT: i32 = 6;

/// An inbox that fails once, in the middle of the transport's own work.
#[derive(Debug, Default)]
struct Fragile {
    inbox: Mailbox,
    has_failed: AtomicBool,
}

impl Inbox for Fragile {
    fn deliver(&self, from: NodeId, lane: Lane, batch: Envelopes) -> Option<Room> {
        self.inbox.deliver(from, lane, batch)
    }

    fn link(&self, peer: NodeId, change: LinkChange) {
        self.inbox.link(peer, change);
    }

    fn refused(&self, refusal: Refusal) {
        let is_first = !self.has_failed.swap(true, Ordering::Relaxed);
        assert!(!is_first, "this is what is tried: {refusal:?}");
        self.inbox.refused(refusal);
    }
}

#[test]
fn a_transport_that_fails_within_goes_on() {
    let authority = authority();
    let ours = [N1, N2];
    // On a busy machine, too, the first one has its place until it is dropped.
    let connect_timeout = Duration::from_secs(60);
    let limits = Limits {
        handshakes_max: 1,
        handshakes_before_retry: 1,
        connect_timeout,
        ..Limits::default()
    };
    let transport = QuicTransport::new(&bundle(&authority, N1, &ours), limits).unwrap();
    let inbox = Arc::new(Fragile::default());
    transport.start(hello(N1, &["a"]), Arc::clone(&inbox) as Arc<dyn Inbox>).unwrap();
    let client = Client::new(&authority, N2);
    // The first one says nothing, and takes the only place; the others are turned away.
    let mute: Vec<_> = (0..3).map(|_| client.connect(transport.local_address())).collect();
    assert_eq!(mute.iter().filter(|it| it.is_ok()).count(), 1);
    inbox.inbox.wait_until("a refusal", |told| told.refusal("flood").is_some());
    assert!(inbox.has_failed.load(Ordering::Relaxed));
    drop(mute);
    let friend = start(&bundle(&authority, N2, &ours));
    friend.transport.set_address(N1, transport.local_address());
    // Whoever is turned away tries again, also where nobody is told of it.
    let began = Instant::now();
    while !inbox.inbox.look(|told| told.is_up(N2)) {
        assert!(began.elapsed() < Duration::from_secs(60), "waited in vain for a link");
        friend.transport.connect(N1);
        sleep(Duration::from_millis(20));
    }
    assert_eq!(transport.fault(), None);
}

#[test]
fn an_earlier_life_of_a_node_is_refused_by_whoever_has_known_a_later_one() {
    let authority = authority();
    let ours = [N1, N2];
    let one = start(&bundle(&authority, N1, &ours));
    let life = |incarnation| {
        let hello = Hello { incarnation, ..hello(N2, &["a"]) };
        start_with(&bundle(&authority, N2, &ours), hello, Limits::default())
    };
    let later = life(1_000_009);
    link(&later, &one);
    later.close();
    one.wait_down(N2);
    drop(later);
    let restored = life(1_000_003);
    introduce(&[&one, &restored]);
    let words = ["n2 says it is in its life 1000003", "n1 has known its life 1000009", "old copy"];
    restored.transport.connect(N1);
    let told = restored.inbox.wait("a refusal", |told| told.unreachable().pop().map(String::from));
    assert_says(&told, &words);
    one.transport.connect(N2);
    let told = one.inbox.wait("a refusal", |told| told.unreachable().pop().map(String::from));
    assert_says(&told, &words);
    let refusals =
        one.inbox.look(|told| told.refusals.iter().filter(|it| it.kind == "duplicate").count());
    assert_eq!(refusals, 2);
    assert!(!one.inbox.look(|told| told.is_up(NodeId(2))));
}

#[test]
fn of_two_processes_in_one_life_of_a_node_the_first_stays_and_the_other_is_told_why() {
    let authority = authority();
    let ours = [N1, N2];
    let one = start(&bundle(&authority, N1, &ours));
    // As a machine that is copied with its bundle and its store.
    let same = hello(N2, &["a"]);
    let process = || start_with(&bundle(&authority, N2, &ours), same.clone(), Limits::default());
    let original = process();
    link(&original, &one);
    sleep(BEYOND_A_TICK);
    let copy = process();
    introduce(&[&one, &copy]);
    copy.transport.connect(N1);
    let told = copy.inbox.wait("a refusal", |told| told.unreachable().pop().map(String::from));
    assert_says(
        &told,
        &["n2", "n1 has known another process of it in this life", "second process"],
    );
    let refusal = one.inbox.wait("a refusal", |told| told.refusal("duplicate").cloned());
    assert_says(&refusal.text, &["n2 at 127.0.0.1:", "second process"]);
    one.send(N2, LANE, 1);
    original.inbox.wait_until("an event", |told| told.numbers(LANE) == [1]);

    // Nor is the copy believed where it is dialled, after the original has gone.
    original.close();
    one.wait_down(N2);
    one.transport.connect(N2);
    let told = one.inbox.wait("a refusal", |told| told.unreachable().pop().map(String::from));
    assert_says(&told, &["another process of it in this life"]);
    assert_eq!(one.inbox.look(|told| told.links.iter().filter(is_up).count()), 1);
}

/// Whether a link came up.
fn is_up((_, change): &&(NodeId, LinkChange)) -> bool {
    matches!(change, LinkChange::Up { .. })
}

/// A process that begins sooner after another one may have been given the same number for its life.
const BEYOND_A_TICK: Duration = Duration::from_millis(1_100);
