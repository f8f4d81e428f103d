use bytes::Bytes;
use synod_core::{EventId, Instance, Tag};

use super::*;

const LANE: LaneId = LaneId(1);
const WIRE: WireId = WireId(5);

/// A channel on a connection.
fn channel(kept_bytes_max: usize) -> Channel {
    let bounds = Bounds { kept_bytes_max, lanes_max: 2 };
    let sizes = Sizes::new(1_000, std::iter::empty());
    let channel = Channel::new(SessionId(1), bounds, Arc::new(sizes));
    channel.attach(WIRE, &vec![]).unwrap();
    channel
}

fn envelope(size: usize) -> Envelope {
    let body = Bytes::from(vec![0; size]);
    Envelope::from_parts(EventId::of("a"), Instance::ROOT, Tag::Plain, body)
}

fn push(channel: &Channel, size: usize) -> Result<(), SendError> {
    channel.push(LANE, &envelope(size)).single()
}

/// Waits on one thread for what is ready already.
fn now<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(future)
}

#[test]
fn after_an_overflow_nothing_is_taken_any_more() {
    let channel = channel(60);
    push(&channel, 10).unwrap();
    assert_eq!(push(&channel, 60), Err(SendError::Full));
    assert_eq!(push(&channel, 1), Err(SendError::Down));
    assert!(now(channel.take(WIRE, LANE)).is_none());
}

#[test]
fn of_events_that_are_pushed_together_each_has_its_own_fate() {
    let channel = channel(60);
    let envelopes = [10, 1_001, 5, 60, 1].map(envelope);
    let sent = channel.push_each(LANE, &envelopes.each_ref());
    let too_large = SendError::TooLarge { size: 1_011, size_max: 1_000 };
    assert_eq!((sent.queued, sent.refused), (2, vec![too_large, SendError::Full, SendError::Down]));
}

#[test]
fn a_finishing_channel_gives_what_it_has_and_then_ends() {
    let channel = channel(1_000);
    push(&channel, 1).unwrap();
    channel.finish();
    assert_eq!(push(&channel, 1), Err(SendError::Down));
    assert_eq!(now(channel.next_lane(WIRE)), Some(LANE));
    assert_eq!(now(channel.next_lane(WIRE)), None);
    assert!(now(channel.take(WIRE, LANE)).is_some());
    assert!(now(channel.take(WIRE, LANE)).is_none());
    channel.acknowledged(WIRE, &vec![(LANE, 1)]).unwrap();
    now(channel.drained());
}

#[test]
fn a_closed_channel_wakes_its_writer_with_nothing_and_counts_what_is_lost() {
    let channel = channel(1_000);
    for _ in 0..3 {
        push(&channel, 1).unwrap();
    }
    assert_eq!(channel.close(), [(LANE, 3)]);
    assert_eq!(channel.kept(), 0);
    assert!(now(channel.take(WIRE, LANE)).is_none());
    assert_eq!(now(channel.next_lane(WIRE)), None);
}

#[test]
fn the_writers_of_an_old_connection_get_nothing_and_those_of_the_new_one_all() {
    let channel = channel(1_000);
    push(&channel, 1).unwrap();
    push(&channel, 1).unwrap();
    let first = now(channel.take(WIRE, LANE)).unwrap();
    push(&channel, 1).unwrap();
    let next = WireId(6);
    channel.attach(next, &vec![(LANE, 1)]).unwrap();
    assert!(now(channel.take(WIRE, LANE)).is_none());
    assert_eq!(now(channel.next_lane(WIRE)), None);
    assert_eq!((now(channel.next_lane(next)), channel.cursor(LANE)), (Some(LANE), 1));
    assert_eq!(now(channel.take(next, LANE)).map(|bytes| bytes.len()), Some(first.len() / 2));
    channel.acknowledged(WIRE, &vec![(LANE, 99)]).expect("of the past, and not looked at");
    assert!(channel.acknowledged(next, &vec![(LANE, 99)]).is_err());
}

#[test]
fn what_is_owed_is_not_told_on_a_connection_of_the_past() {
    let channel = channel(1_000);
    channel.open(LANE, 0).unwrap();
    channel.take_in_settled(LANE, 10_000, 10_000);
    let next = WireId(6);
    channel.attach(next, &vec![]).unwrap();
    now(channel.owes(Owed::Now));
    assert_eq!(channel.acknowledge(WIRE), None);
    assert_eq!(channel.acknowledge(next), Some(vec![(LANE, 10_000)]));
}

#[test]
fn what_is_pushed_without_a_connection_waits_for_one() {
    let channel = channel(1_000);
    assert!(channel.detach(WIRE));
    push(&channel, 1).unwrap();
    let next = WireId(6);
    channel.attach(next, &vec![]).unwrap();
    assert_eq!(now(channel.next_lane(next)), Some(LANE));
    assert!(now(channel.take(next, LANE)).is_some());
}

#[test]
fn who_offers_help_writes_the_first_lane_that_is_filled_and_its_writer_sleeps_on() {
    let channel = channel(1_000);
    push(&channel, 1).unwrap();
    assert_eq!(now(channel.next_lane(WIRE)), Some(LANE));
    assert!(now(channel.take(WIRE, LANE)).is_some());

    assert!(channel.lets_in(WIRE, true));
    assert_eq!(channel.take_help_back(), None);
    assert!(channel.lets_in(WIRE, false) && !channel.lets_in(WireId(6), true));
    push(&channel, 1).unwrap();
    assert_eq!(channel.take_help_back(), None, "nobody has offered it");
    assert!(now(channel.take(WIRE, LANE)).is_some());
    assert!(channel.lets_in(WIRE, true));
    push(&channel, 2).unwrap();
    push(&channel, 3).unwrap();
    channel.push(LaneId(2), &envelope(4)).single().unwrap();
    assert_eq!(channel.take_help_back(), Some(LANE));
    assert_eq!(channel.take_help_back(), None);
    assert_eq!(now(channel.next_lane(WIRE)), Some(LaneId(2)), "a lane without a writer gets one");
    assert_eq!(channel.take_waiting(WireId(6), LANE), None, "another connection");
    let portion = channel.take_waiting(WIRE, LANE).unwrap();
    assert_eq!((portion.len(), channel.take_waiting(WIRE, LANE)), (2 * 14 + 5, None));

    push(&channel, 5).unwrap();
    assert!(now(channel.take(WIRE, LANE)).is_some(), "its writer is woken again");
}
