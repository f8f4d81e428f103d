//! What a host answers on the thread that brings it an event.

use std::sync::{Arc, OnceLock, Weak};
use std::thread::sleep;
use std::time::Duration;

use synod_core::{Envelopes, Inbox, Lane, LinkChange, NodeId, Refusal, Room, Transport};
use synod_transport_quic::{Limits, QuicTransport};

use crate::support::{LANE, N1, N2, Peer, authority, bundle, hello, large, number, start};

/// Answers each event with several large ones, numbered in a row, at once.
#[derive(Debug, Default)]
struct Echo(OnceLock<Weak<QuicTransport>>);

impl Inbox for Echo {
    fn deliver(&self, from: NodeId, lane: Lane, batch: Envelopes) -> Option<Room> {
        let transport = self.0.get().and_then(Weak::upgrade).expect("it runs");
        for envelope in batch {
            let first = number(&envelope) * ANSWERS;
            for number in first..first + ANSWERS {
                let answer = large("a", number, ANSWER_BYTES);
                transport.send(from, lane, &answer).expect("the link is up");
            }
        }
        None
    }

    fn link(&self, _: NodeId, _: LinkChange) {}

    fn refused(&self, _: Refusal) {}
}

const ANSWERS: u64 = 3;
const ANSWER_BYTES: usize = 30_000;

/// A node, and one that answers it.
fn asker() -> (Peer, Arc<QuicTransport>) {
    let authority = authority();
    let one = start(&bundle(&authority, N1, &[N1, N2]));
    let echo = QuicTransport::new(&bundle(&authority, N2, &[N1, N2]), Limits::default()).unwrap();
    let (echo, inbox) = (Arc::new(echo), Arc::new(Echo::default()));
    inbox.0.set(Arc::downgrade(&echo)).unwrap();
    echo.start(hello(N2, &["a"]), inbox).unwrap();
    one.transport.set_address(N2, echo.local_address());
    one.transport.connect(N2);
    one.wait_up(N2);
    (one, echo)
}

#[test]
fn answers_that_the_window_has_no_room_for_wait_and_all_arrive_in_order_over_two_connections() {
    let (one, echo) = asker();
    one.inbox.shut();
    for number in 0..100 {
        one.send(N2, LANE, number);
        sleep(Duration::from_millis(1));
        if number == 70 {
            echo.reconnect(N1);
        }
    }
    one.inbox.open();
    let all = 0..100 * ANSWERS;
    one.inbox.wait_until("all answers", |told| told.events.len() as u64 == all.end);
    assert!(one.inbox.look(|told| told.numbers(LANE)).into_iter().eq(all));
}

#[test]
fn what_does_not_leave_with_the_first_answer_is_not_forgotten() {
    let (one, _echo) = asker();
    for number in 0..10 {
        one.send(N2, LANE, number);
        let all = (number + 1) * ANSWERS;
        one.inbox.wait_until("all answers", |told| told.events.len() as u64 == all);
    }
}
