use bytes::Bytes;
use synod_core::{EventId, Instance, Tag};

use super::*;

const LANE: LaneId = LaneId(1);

fn envelope(size: usize) -> Envelope {
    let body = Bytes::from(vec![0; size]);
    Envelope::from_parts(EventId::of("a"), Instance::ROOT, Tag::Plain, body)
}

/// Waits on one thread for what is ready already.
fn now<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(future)
}

#[test]
fn a_writer_takes_everything_that_waits_at_once() {
    let outbox = Outbox::new(1_000, 1_000, 2);
    outbox.push(LANE, &envelope(10)).unwrap();
    outbox.push(LANE, &envelope(10)).unwrap();
    assert_eq!(now(outbox.next_lane()), Some(LANE));
    let bytes = now(outbox.take(LANE)).unwrap();
    assert_eq!(bytes.len(), outbox.queued());
    outbox.written(bytes.len());
    assert_eq!(outbox.queued(), 0);
}

#[test]
fn bytes_in_the_hands_of_a_writer_still_count() {
    let outbox = Outbox::new(1_000, 60, 2);
    outbox.push(LANE, &envelope(30)).unwrap();
    now(outbox.take(LANE)).unwrap();
    assert_eq!(outbox.push(LANE, &envelope(30)), Err(SendError::Full));
}

#[test]
fn after_an_overflow_nothing_is_taken_any_more() {
    let outbox = Outbox::new(1_000, 60, 2);
    outbox.push(LANE, &envelope(10)).unwrap();
    assert_eq!(outbox.push(LANE, &envelope(60)), Err(SendError::Full));
    assert_eq!(outbox.push(LANE, &envelope(1)), Err(SendError::Down));
}

#[test]
fn one_lane_too_many_is_an_overflow() {
    let outbox = Outbox::new(1_000, 1_000, 1);
    outbox.push(LANE, &envelope(1)).unwrap();
    assert_eq!(outbox.push(LaneId(2), &envelope(1)), Err(SendError::Full));
}

#[test]
fn a_large_event_is_refused_and_the_lane_goes_on() {
    let outbox = Outbox::new(50, 1_000, 1);
    let refused = outbox.push(LANE, &envelope(100));
    assert_eq!(refused, Err(SendError::TooLarge { size: 100, size_max: 50 }));
    assert_eq!(outbox.push(LANE, &envelope(1)), Ok(()));
}

#[test]
fn a_finishing_outbox_gives_what_it_has_and_then_ends() {
    let outbox = Outbox::new(1_000, 1_000, 2);
    outbox.push(LANE, &envelope(1)).unwrap();
    outbox.finish();
    assert_eq!(outbox.push(LANE, &envelope(1)), Err(SendError::Down));
    assert_eq!(now(outbox.next_lane()), Some(LANE));
    assert_eq!(now(outbox.next_lane()), None);
    assert!(now(outbox.take(LANE)).is_some());
    assert!(now(outbox.take(LANE)).is_none());
}

#[test]
fn a_closed_outbox_wakes_its_writer_with_nothing() {
    let outbox = Outbox::new(1_000, 1_000, 2);
    outbox.push(LANE, &envelope(1)).unwrap();
    outbox.close();
    assert_eq!(outbox.queued(), 0);
    assert!(now(outbox.take(LANE)).is_none());
    assert_eq!(now(outbox.next_lane()), None);
}
