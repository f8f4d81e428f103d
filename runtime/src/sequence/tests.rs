use proptest::prelude::*;
use synod_core::{Envelope, EventId, Instance, Reason, Tag};

use super::*;
use crate::queue::Queue;

const PEER: NodeId = NodeId(2);

/// Something that arrives, in this order.
#[derive(Clone, Debug)]
enum Arrival {
    Batch(u64),
    Change,
}

#[derive(Debug)]
enum Sent {
    Batch(Batch),
    Change(u64, LinkChange),
}

fn envelope() -> Envelope {
    let (event, nothing) = (EventId::of("a"), bytes::Bytes::new());
    Envelope::from_parts(event, Instance::ROOT, Tag::Plain, nothing)
}

fn batch(slot: usize, ticket: Ticket) -> Batch {
    Batch { slot, source: Source::Peer(ticket), events: envelope().into(), receipt: None }
}

/// Draws tickets for arrivals; the index of an arrival travels as the slot of its batch.
fn sent(arrivals: &[Arrival]) -> Vec<Sent> {
    let tickets = Tickets::new([PEER].into_iter());
    let mut all = Vec::new();
    for (index, arrival) in arrivals.iter().enumerate() {
        match arrival {
            Arrival::Batch(lane) => {
                let lane_id = Lane::Ordered(LaneId(*lane));
                let taken = tickets.draw(PEER, lane_id, 10, |ticket| {
                    all.push(Sent::Batch(batch(index, ticket)));
                    Taken::Alone
                });
                assert!(taken.is_ok());
            }
            Arrival::Change => {
                let change = LinkChange::Down(Reason::Closed);
                tickets.turn(PEER, |batches| all.push(Sent::Change(batches, change)));
            }
        }
    }
    all
}

proptest! {
    #[test]
    fn whatever_the_queues_do_lanes_keep_their_order_and_changes_their_place(
        arrivals in prop::collection::vec(
            prop_oneof![4 => (0..3_u64).prop_map(Arrival::Batch), 1 => Just(Arrival::Change)], 1..60),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 60),
    ) {
        let mut waiting = sent(&arrivals);
        let mut sequence = Sequence::default();
        let mut handled: Vec<usize> = Vec::new();
        let mut changes = arrivals.iter().enumerate()
            .filter(|(_, arrival)| matches!(arrival, Arrival::Change)).map(|(index, _)| index);
        for pick in picks {
            if waiting.is_empty() {
                break;
            }
            // Changes of one peer come through one actor, so they keep their order.
            let mut at = pick.index(waiting.len());
            if matches!(waiting[at], Sent::Change(..)) {
                at = waiting.iter().position(|sent| matches!(sent, Sent::Change(..))).unwrap();
            }
            match waiting.remove(at) {
                Sent::Batch(batch) => sequence.admit(batch),
                Sent::Change(batches, change) => sequence.change(PEER, batches, change),
            }
            while let Some(first) = sequence.ready.front() {
                match first {
                    Ready::Batch(batch) => handled.push(batch.slot),
                    Ready::Change(..) => handled.push(changes.next().unwrap()),
                }
                sequence.complete();
            }
        }
        prop_assert_eq!(handled.len(), arrivals.len());
        for (earlier, one) in handled.iter().enumerate() {
            for other in &handled[earlier + 1..] {
                let ordered = match (&arrivals[*one], &arrivals[*other]) {
                    (Arrival::Batch(a), Arrival::Batch(b)) => a != b || one < other,
                    _ => one < other,
                };
                prop_assert!(ordered, "{one} was handled before {other}");
            }
        }
    }
}

#[test]
fn a_peer_has_a_bounded_number_of_lanes() {
    let tickets = Tickets::new([PEER].into_iter());
    let draw =
        |lane| tickets.draw(PEER, Lane::Ordered(LaneId(lane)), 2, |_| Taken::Alone).map(drop);
    assert_eq!((draw(1), draw(2), draw(3)), (Ok(()), Ok(()), Err(NoTicket::LanesFull)));
    assert!(tickets.turn(PEER, |batches| assert_eq!(batches, 2)));
    assert_eq!(draw(3), Ok(()));
}

#[test]
fn events_of_the_application_share_a_batch_while_nothing_comes_between() {
    let (tickets, queue) = (Tickets::new([PEER].into_iter()), Queue::new(6));
    let draw = |queue: &dyn Fn(Ticket) -> Taken| {
        tickets.draw(PEER, Lane::Ordered(LaneId(0)), 1, queue).map(drop)
    };
    let offer = || draw(&|ticket| queue.offer(0, ticket, &mut Some(envelope())));
    let popped = || queue.pop().map(|batch| batch.events.len());
    (0..3).for_each(|_| assert_eq!(offer(), Ok(())));
    assert_eq!((popped(), popped()), (Some(3), None));
    assert_eq!(offer(), Ok(()));
    assert_eq!(draw(&|_| Taken::Alone), Ok(()), "an event of another type");
    assert_eq!((offer(), offer()), (Ok(()), Ok(())));
    assert_eq!(offer(), Err(NoTicket::NoRoom), "those that were popped still count");
    assert_eq!((popped(), popped(), popped()), (Some(1), Some(2), None));
}
