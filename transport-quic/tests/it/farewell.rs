//! Nodes that leave while a connection is lost.

use std::thread;
use std::time::{Duration, Instant};

use synod_core::Transport;

use crate::links::quick;
use crate::raw::{Client, Offer};
use crate::support::{
    LANE, N1, N2, PATIENCE, Peer, assert_says, authority, bundle, hello, introduce, start,
    start_with,
};

/// Ends the transport within `deadline`, and says how long that took.
fn leave(peer: &Peer, deadline: Duration) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (closing, begin) = (peer.transport.close(deadline), Instant::now());
    let waited = runtime.block_on(async { tokio::time::timeout(PATIENCE, closing).await });
    waited.expect("a transport closes in time");
    begin.elapsed()
}

#[test]
fn a_node_that_leaves_right_after_a_loss_hands_all_over_on_the_next_connection_whoever_dials() {
    for knows_the_peer in [true, false] {
        let authority = authority();
        let one = start(&bundle(&authority, N1, &[N1, N2]));
        let two = start(&bundle(&authority, N2, &[N1, N2]));
        two.transport.set_address(N1, one.address());
        if knows_the_peer {
            introduce(&[&one, &two]);
        }
        two.transport.connect(N1);
        one.wait_up(N2);
        two.wait_up(N1);
        one.transport.reconnect(N2);
        (0..100).for_each(|number| one.send(N2, LANE, number));
        let took = leave(&one, PATIENCE);
        assert!(took < PATIENCE / 2, "{took:?}");
        assert!(two.inbox.look(|told| told.numbers(LANE)).into_iter().eq(0..100));
        assert_eq!(one.transport.links()[0].lost, 0);
        two.wait_down(N1);
    }
}

#[test]
fn a_node_that_leaves_gives_a_lost_peer_up_when_the_time_is_over_and_counts_what_it_has_not_heard()
{
    let authority = authority();
    let one = start_with(&bundle(&authority, N1, &[N1, N2]), hello(N1, &["a"]), quick());
    let raw = Client::new(&authority, N2).link(one.address());
    one.wait_up(N2);
    let _ghost = raw.vanish();
    (0..3).for_each(|number| one.send(N2, LANE, number));
    let deadline = Duration::from_millis(1_200);
    let took = leave(&one, deadline);
    assert!(deadline <= took, "{took:?}");
    assert_eq!(one.transport.links()[0].lost, 3);
}

#[test]
fn a_node_that_leaves_begins_no_session_with_a_peer_that_has_forgotten_the_one_before() {
    let authority = authority();
    let one = start_with(&bundle(&authority, N1, &[N1, N2]), hello(N1, &["a"]), quick());
    let raw = Client::new(&authority, N2).link(one.address());
    one.wait_up(N2);
    let _ghost = raw.vanish();
    (0..3).for_each(|number| one.send(N2, LANE, number));
    let took = thread::scope(|scope| {
        let left = scope.spawn(|| leave(&one, PATIENCE));
        let begin = Instant::now();
        while one.transport.links()[0].connected {
            assert!(begin.elapsed() < PATIENCE, "the connection is never lost");
            thread::sleep(Duration::from_millis(10));
        }
        let client = Client::new(&authority, N2);
        let mut forgetful = client.connect(one.address()).unwrap();
        forgetful.say(&crate::raw::Greeting::of(N2).hello(crate::raw::PROTOCOL, &Offer::new()));
        let heard = String::from_utf8_lossy(&forgetful.hear()).into_owned();
        assert_says(&heard, &["leaving", "n1 is about to end"]);
        drop(forgetful);
        left.join().unwrap()
    });
    assert!(took < PATIENCE, "{took:?}");
    assert_eq!(one.transport.links()[0].lost, 3);
}
