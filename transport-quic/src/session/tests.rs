use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use synod_core::{
    Boot, Context, Effect, Envelope, Event, EventId, Framed, HandlerSet, Input, Instance, Node,
    NodeId, SendError, Tag,
};

use super::incoming::{Misstep, Owed};
use super::outgoing::SEGMENT_COST;
use super::*;

const LANE: LaneId = LaneId(1);
const BOUNDS: Bounds = Bounds { kept_bytes_max: 200_000, lanes_max: 2 };

fn sizes() -> Arc<Sizes> {
    Arc::new(Sizes::new(1_000, std::iter::empty()))
}

fn envelope(size: usize) -> Envelope {
    let body = Bytes::from(vec![0; size]);
    Envelope::from_parts(EventId::of("a"), Instance::ROOT, Tag::Plain, body)
}

/// One with so many frames on [`LANE`].
fn filled(frames: usize, size: usize) -> Outgoing {
    let mut outgoing = Outgoing::new(BOUNDS, sizes());
    for _ in 0..frames {
        outgoing.push(LANE, &envelope(size)).unwrap();
    }
    outgoing
}

fn count(portion: &Portion) -> usize {
    let mut rest = Bytes::from(portion.to_vec());
    let mut count = 0;
    while !rest.is_empty() {
        crate::frame::skip(&mut rest);
        count += 1;
    }
    count
}

/// Everything that a writer gets, in frames for each portion.
fn drained(outgoing: &mut Outgoing) -> Vec<usize> {
    std::iter::from_fn(|| outgoing.take(LANE)).map(|portion| count(&portion)).collect()
}

#[test]
fn a_writer_takes_everything_that_waits_at_once() {
    let mut outgoing = filled(3, 10);
    assert_eq!(outgoing.waiting().collect::<Vec<_>>(), [LANE]);
    assert_eq!(drained(&mut outgoing), [3]);
    assert_eq!(outgoing.waiting().count(), 0);
    assert!(outgoing.push(LANE, &envelope(1)).unwrap().was_idle);
}

/// So many events of one type, as a node gathers them.
fn framed(count: u8) -> Framed {
    #[derive(Clone, Debug, Deserialize, Event, Serialize)]
    #[event(name = "a")]
    struct A(Vec<u8>);
    let handlers = HandlerSet::new(()).on(|(): &mut (), a: A, ctx: &mut Context| {
        a.0.iter().for_each(|size| ctx.send(NodeId(2), &A(vec![7; usize::from(*size)])));
    });
    let boot = Boot { id: NodeId(1), peers: vec![NodeId(1), NodeId(2)], incarnation: 1, seed: 1 };
    let mut node = Node::new(boot, handlers).unwrap();
    node.gather_sends();
    let (order, mut effects) = (Envelope::seal(&A((0..count).collect())), Vec::new());
    node.step(Duration::ZERO, &Input::Trigger(order), &mut effects).unwrap();
    match effects.pop() {
        Some(Effect::SendAll { envelopes, .. }) => envelopes,
        other => panic!("{other:?} is not gathered"),
    }
}

#[test]
fn events_that_are_pushed_together_are_those_that_are_pushed_one_by_one() {
    let together = framed(200);
    let [mut one, mut other] = [(); 2].map(|()| Outgoing::new(BOUNDS, sizes()));
    assert!(one.push_all(LANE, &together).unwrap().was_idle);
    assert!(!one.push_all(LANE, &together).unwrap().was_idle);
    for envelope in together.envelopes().chain(together.envelopes()) {
        other.push(LANE, &envelope).unwrap();
    }
    assert_eq!(one.kept(), other.kept());
    assert_eq!(one.take(LANE).unwrap(), other.take(LANE).unwrap());
    assert_eq!(one.unacknowledged(), 400);
}

#[test]
fn events_that_do_not_all_fit_are_not_pushed_together() {
    let together = framed(100);
    let bounds = Bounds { kept_bytes_max: together.bytes().len() - 1, lanes_max: 2 };
    let mut narrow = Outgoing::new(bounds, sizes());
    assert_eq!(narrow.push_all(LANE, &together).unwrap_err(), SendError::Full);
    let mut small = Outgoing::new(BOUNDS, Arc::new(Sizes::new(80, std::iter::empty())));
    let too_large = SendError::TooLarge { size: together.largest(), size_max: 80 };
    assert_eq!(small.push_all(LANE, &together).unwrap_err(), too_large);
    assert_eq!([narrow.unacknowledged(), small.unacknowledged()], [0, 0]);
}

#[test]
fn large_amounts_come_in_segments_that_are_dropped_one_by_one() {
    let mut outgoing = filled(150, 900);
    let portions = drained(&mut outgoing);
    assert_eq!(portions.iter().sum::<usize>(), 150);
    assert_eq!(portions.len(), 3);
    let before = outgoing.kept();
    outgoing.acknowledged(LANE, portions[0] as u64 - 1).unwrap();
    assert_eq!(outgoing.kept(), before, "a part of a segment frees nothing");
    outgoing.acknowledged(LANE, portions[0] as u64).unwrap();
    assert!(outgoing.kept() < before - 60_000);
    outgoing.acknowledged(LANE, 150).unwrap();
    assert_eq!((outgoing.kept(), outgoing.unacknowledged()), (0, 0));
}

#[test]
fn large_bodies_are_sent_and_kept_where_they_stand_from_whichever_frame_on() {
    let (large, sizes) = (40_000, Arc::new(Sizes::new(50_000, std::iter::empty())));
    let bodies = [10, large, large, 20, 30, large, 40];
    let frames = bodies.map(|size| {
        let mut frame = Vec::new();
        crate::frame::append(&mut frame, &envelope(size), &sizes).unwrap();
        frame
    });
    let mut outgoing = Outgoing::new(BOUNDS, Arc::clone(&sizes));
    let shared = envelope(large);
    for size in bodies {
        let own = (size != large).then(|| envelope(size));
        outgoing.push(LANE, own.as_ref().unwrap_or(&shared)).unwrap();
    }
    let place = shared.shared_body().unwrap().as_ptr();
    for from in 0..bodies.len() {
        let kept = outgoing.kept();
        outgoing.rewind(&vec![(LANE, from as u64)]).unwrap();
        let portions: Vec<Portion> = std::iter::from_fn(|| outgoing.take(LANE)).collect();
        let sent: Vec<u8> = portions.iter().flat_map(Portion::to_vec).collect();
        assert_eq!(sent, frames[from..].concat(), "from frame {from} on");
        let with_body = portions.iter().filter(|portion| !portion.body.is_empty());
        assert!(with_body.map(|portion| portion.body.as_ptr()).all(|it| it == place));
        assert_eq!(outgoing.kept(), kept + if from == 0 { SEGMENT_COST } else { 0 });
    }
    let others = BOUNDS.kept_bytes_max - outgoing.kept();
    assert!(others < 80_000, "a shared body is counted as any other");
    assert_eq!(outgoing.push(LANE, &shared).map(drop), Ok(()));
    assert_eq!(outgoing.push(LANE, &shared), Err(SendError::Full));
    outgoing.acknowledged(LANE, 7).unwrap();
    outgoing.take(LANE);
    outgoing.acknowledged(LANE, 8).unwrap();
    assert_eq!((outgoing.kept(), outgoing.unacknowledged()), (0, 0));
}

#[test]
fn what_was_not_taken_is_sent_again_from_the_middle_of_a_segment() {
    let mut outgoing = filled(10, 10);
    assert_eq!(drained(&mut outgoing), [10]);
    outgoing.push(LANE, &envelope(10)).unwrap();
    assert_eq!(drained(&mut outgoing), [1]);
    outgoing.acknowledged(LANE, 3).unwrap();
    outgoing.rewind(&vec![(LANE, 4)]).unwrap();
    assert_eq!(outgoing.cursor(LANE), 4);
    assert_eq!(drained(&mut outgoing), [7], "small portions are put together");
}

#[test]
fn a_peer_cannot_have_taken_what_was_never_sent() {
    let mut outgoing = filled(10, 10);
    drained(&mut outgoing);
    outgoing.acknowledged(LANE, 5).unwrap();
    for wrong in [vec![(LANE, 11)], vec![(LANE, 5), (LaneId(9), 1)]] {
        assert!(outgoing.rewind(&wrong).is_err(), "{wrong:?}");
        assert_eq!(outgoing.cursor(LANE), 10);
    }
    assert!(outgoing.acknowledged(LANE, 11).is_err());
    assert!(outgoing.acknowledged(LaneId(9), 1).is_err());
    assert_eq!(outgoing.acknowledged(LANE, 2), Ok(false), "an old count is no news");
    outgoing.rewind(&vec![(LANE, 10)]).unwrap();
}

#[test]
fn a_hello_that_is_older_than_an_acknowledgement_takes_nothing_back() {
    let mut outgoing = filled(10, 10);
    drained(&mut outgoing);
    outgoing.acknowledged(LANE, 5).unwrap();
    for old in [vec![(LANE, 4)], vec![]] {
        outgoing.rewind(&old).unwrap();
        assert_eq!(outgoing.cursor(LANE), 5, "{old:?}");
        assert_eq!(drained(&mut outgoing).iter().sum::<usize>(), 5, "{old:?}");
    }
}

#[test]
fn what_is_acknowledged_before_it_is_sent_again_is_sent_and_then_dropped() {
    let mut outgoing = filled(10, 10);
    drained(&mut outgoing);
    outgoing.rewind(&vec![(LANE, 4)]).unwrap();
    outgoing.acknowledged(LANE, 10).unwrap();
    assert_eq!((outgoing.unacknowledged(), outgoing.kept() > 0), (0, true));
    assert_eq!(drained(&mut outgoing), [6]);
    assert_eq!(outgoing.kept(), 0);
}

#[test]
fn what_is_kept_is_bounded_also_when_a_writer_has_it() {
    let mut outgoing = Outgoing::new(Bounds { kept_bytes_max: 300, ..BOUNDS }, sizes());
    outgoing.push(LANE, &envelope(80)).unwrap();
    drained(&mut outgoing);
    assert_eq!(outgoing.push(LANE, &envelope(100)), Err(SendError::Full));
    assert_eq!(outgoing.push(LANE, &envelope(10)).map(|it| it.was_idle), Ok(true));
    outgoing.acknowledged(LANE, 1).unwrap();
    assert!(outgoing.push(LANE, &envelope(100)).is_ok());
}

#[test]
fn many_small_portions_cost_what_they_cost() {
    let mut outgoing = Outgoing::new(BOUNDS, sizes());
    let pushed = (0..).take_while(|_| {
        let pushed = outgoing.push(LANE, &envelope(1)).is_ok();
        outgoing.take(LANE);
        pushed
    });
    assert!(pushed.count() < BOUNDS.kept_bytes_max / 128);
}

#[test]
fn little_portions_stand_side_by_side_until_all_are_acknowledged() {
    let mut outgoing = filled(0, 0);
    let mut portions = Vec::new();
    for _ in 0..100 {
        outgoing.push(LANE, &envelope(100)).unwrap();
        portions.push(outgoing.take(LANE).unwrap().bytes);
    }
    let is_beside = |two: &[Bytes]| two[0].as_ptr_range().end == two[1].as_ptr();
    let neighbours = portions.windows(2).filter(|two| is_beside(two)).count();
    let size = portions[0].len();
    assert!(100 - 100usize.div_ceil(CHUNK_BYTES / size) <= neighbours, "{neighbours}");
    assert!(portions.iter().all(|portion| *portion == portions[0]));
    outgoing.acknowledged(LANE, 99).unwrap();
    assert_eq!(outgoing.kept(), size + SEGMENT_COST);
    outgoing.rewind(&vec![(LANE, 99)]).unwrap();
    assert_eq!(outgoing.take(LANE).unwrap().bytes, portions[0]);
}

#[test]
fn a_large_event_and_a_lane_too_many_are_refused() {
    let mut outgoing = filled(1, 10);
    let refused = outgoing.push(LANE, &envelope(2_000));
    assert_eq!(refused, Err(SendError::TooLarge { size: 2_010, size_max: 1_000 }));
    outgoing.push(LaneId(2), &envelope(1)).unwrap();
    assert_eq!(outgoing.push(LaneId(3), &envelope(1)), Err(SendError::Full));
    assert_eq!(drained(&mut outgoing), [1]);
}

#[test]
fn a_stream_that_begins_too_early_is_skipped_and_one_that_begins_too_late_is_refused() {
    let mut incoming = Incoming::new(2);
    assert_eq!(incoming.open(LANE, 0), Ok(0));
    incoming.take(LANE, 5);
    assert_eq!(incoming.open(LANE, 2), Ok(3));
    assert_eq!(incoming.open(LANE, 6), Err(Misstep::Gap { lane: LANE, first: 6, taken: 5 }));
    assert_eq!(incoming.open(LaneId(2), 0), Ok(0));
    assert_eq!(incoming.open(LaneId(3), 0), Err(Misstep::TooManyLanes { lanes_max: 2 }));
}

#[test]
fn acknowledgements_come_together_unless_much_waits_for_one() {
    let mut incoming = Incoming::new(2);
    incoming.take(LANE, 20_000);
    assert_eq!(incoming.owed(), Owed::Nothing, "what is not settled is not acknowledged");
    assert_eq!(incoming.settle(LANE, 1, 100), Owed::Later);
    assert_eq!(incoming.settle(LANE, 1, 300_000), Owed::Now);
    assert_eq!(incoming.acknowledge(), [(LANE, 2)]);
    assert_eq!(incoming.settle(LANE, 10_000, 0), Owed::Now);
    assert_eq!(incoming.acknowledge(), [(LANE, 10_002)]);
    assert_eq!((incoming.owed(), incoming.acknowledge()), (Owed::Nothing, vec![]));
    incoming.tell_again();
    assert_eq!((incoming.owed(), incoming.acknowledge()), (Owed::Later, vec![(LANE, 10_002)]));
    assert_eq!(incoming.received(), [(LANE, 20_000)]);
}

#[test]
fn only_the_last_connection_carries_a_session() {
    let mut session = Session::new(SessionId(1), BOUNDS, sizes());
    let (old, new) = (WireId(1), WireId(2));
    session.attach(old, &vec![]).unwrap();
    session.attach(new, &vec![]).unwrap();
    assert!(!session.carries(old) && session.carries(new));
    assert!(!session.detach(old));
    assert!(session.detach(new) && !session.carries(new));
    assert_eq!((session.resumed(), session.wire(), session.last_wire()), (1, None, Some(new)));
    assert!(session.attach(old, &vec![(LANE, 1)]).is_err(), "nothing was sent");
    assert_eq!(session.wire(), None);
}

fn offer(live: Option<u64>, fresh: u64) -> Offer {
    let live = live.map(SessionId);
    Offer { wire: WireId(1), last_wire: None, live, fresh: SessionId(fresh), received: vec![] }
}

#[test]
fn a_session_goes_on_if_both_have_it_or_one_has_it_and_the_other_has_offered_it() {
    let live = Some(SessionId(7));
    let fresh = SessionId(8);
    assert_eq!(choose(live, fresh, &offer(Some(7), 9)), Choice::Resume);
    assert_eq!(choose(live, fresh, &offer(None, 7)), Choice::Resume, "no answer was heard");
    assert_eq!(choose(None, fresh, &offer(Some(8), 9)), Choice::Begin(fresh));
    for (live, offer) in [
        (live, offer(None, 9)),
        (live, offer(Some(6), 9)),
        (None, offer(Some(7), 9)),
        (live, offer(Some(8), 9)),
    ] {
        assert_eq!(choose(live, fresh, &offer), Choice::Begin(SessionId(9)));
    }
}

#[test]
fn what_a_dialler_has_received_is_of_the_session_that_it_has() {
    let offer = Offer { received: vec![(LANE, 3)], ..offer(Some(7), 9) };
    assert_eq!(offer.received_in(SessionId(7)), [(LANE, 3)]);
    assert_eq!(offer.received_in(SessionId(9)), [], "it has not heard that this one has begun");
}

#[test]
fn a_dialler_understands_only_answers_to_what_it_has_offered() {
    let answer = |id| Answer { session: SessionId(id), received: vec![] };
    let live = Some(SessionId(7));
    assert_eq!(understand(live, &offer(Some(7), 9), &answer(7)), Some(Choice::Resume));
    let begin = Some(Choice::Begin(SessionId(9)));
    assert_eq!(understand(live, &offer(Some(7), 9), &answer(9)), begin);
    assert_eq!(understand(live, &offer(Some(7), 9), &answer(8)), None);
    assert_eq!(understand(None, &offer(Some(7), 9), &answer(7)), None, "it has ended meanwhile");
}
