//! Recordings: what is written is read, and what was damaged is not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use synod_core::{
    BadRecording, Boot, Effect, Envelope, EventId, Fingerprint, Input, Instance, Lane, LaneId,
    Moment, NodeId, Origin, PeerDown, PeerUp, Reason, RecordTooLarge, RecordedLife, RecordedStep,
    Recording, RecordingScan, RecordingWriter, Schema, StepError, Tag, TimerId,
};

fn envelopes() -> impl Strategy<Value = Envelope> {
    let tags = (0_u8..4, any::<u64>()).prop_map(|(kind, number)| match kind {
        0 => Tag::Plain,
        1 => Tag::Ask(number),
        2 => Tag::Answer(number),
        _ => Tag::Expired(number),
    });
    (any::<u64>(), proptest::option::of(any::<u64>()), tags, vec(any::<u8>(), 0..40)).prop_map(
        |(event, key, tag, body)| {
            let instance = key.map_or(Instance::ROOT, Instance::of_key);
            Envelope::from_parts(EventId::from_bits(event), instance, tag, body.into())
        },
    )
}

fn inputs() -> impl Strategy<Value = Input> {
    let nodes = || any::<u32>().prop_map(NodeId);
    prop_oneof![
        Just(Input::Start),
        vec(envelopes(), 0..4).prop_map(Input::Recover),
        (nodes(), envelopes()).prop_map(|(from, envelope)| Input::Deliver { from, envelope }),
        envelopes().prop_map(Input::Trigger),
        any::<u64>().prop_map(|id| Input::Timer(TimerId(id))),
        (nodes(), any::<u64>())
            .prop_map(|(peer, incarnation)| Input::PeerUp(PeerUp { peer, incarnation })),
        nodes().prop_map(|peer| Input::PeerDown(PeerDown { peer, reason: Reason::Silent })),
    ]
}

fn steps() -> impl Strategy<Value = RecordedStep> {
    let times = (any::<u64>(), 0_u32..1_000_000_000);
    (times, inputs(), any::<u64>()).prop_map(|((seconds, nanos), input, fingerprint)| {
        let now = Duration::new(seconds, nanos);
        RecordedStep { now, input, fingerprint: Fingerprint(fingerprint) }
    })
}

fn lives() -> impl Strategy<Value = Vec<RecordedLife>> {
    let life = (any::<u64>(), any::<u64>(), vec(steps(), 0..6), any::<bool>()).prop_map(
        |(incarnation, seed, steps, cut)| RecordedLife {
            origin: origin(incarnation, seed),
            resumed: None,
            steps,
            cut,
        },
    );
    vec(life, 1..4)
}

fn origin(incarnation: u64, seed: u64) -> Origin {
    let boot = Boot { id: NodeId(2), peers: vec![NodeId(1), NodeId(2)], incarnation, seed };
    Origin {
        algorithm: "gossip".into(),
        boot,
        events: [("a".into(), Schema(1)), ("b".into(), Schema(2))].into(),
        began: seed.is_multiple_of(2).then_some(Moment {
            now: Duration::from_secs(seed % 7),
            wall: Duration::from_secs(seed),
        }),
    }
}

/// The recording of these lives, and where each record ends.
fn written(lives: &[RecordedLife]) -> (Vec<u8>, Vec<usize>) {
    let (mut writer, mut bytes, mut ends) = (RecordingWriter::new(), Vec::new(), Vec::new());
    for life in lives {
        writer.begin(&life.origin, &mut bytes).expect("it is small");
        ends.push(bytes.len());
        for RecordedStep { now, input, fingerprint } in &life.steps {
            writer.step(*now, input, *fingerprint, &mut bytes).expect("it is small");
            ends.push(bytes.len());
        }
        if life.cut {
            writer.cut(&mut bytes);
            ends.push(bytes.len());
        }
    }
    (bytes, ends)
}

/// What is left of `lives` when only so many records are.
fn first(lives: &[RecordedLife], mut records: usize) -> Vec<RecordedLife> {
    let mut left = Vec::new();
    for life in lives {
        if records == 0 {
            break;
        }
        let steps = life.steps.len().min(records - 1);
        let cut = life.cut && steps + 1 < records;
        records -= 1 + steps + usize::from(cut);
        let origin = life.origin.clone();
        let steps = life.steps.iter().take(steps).cloned().collect();
        left.push(RecordedLife { origin, resumed: None, steps, cut });
    }
    left
}

fn scanned(bytes: &[u8], piece: usize) -> Result<RecordingScan, BadRecording> {
    let mut scan = RecordingScan::default();
    bytes.chunks(piece).try_for_each(|piece| scan.take(piece))?;
    Ok(scan)
}

proptest! {
    #[test]
    fn what_is_written_is_read(lives in lives()) {
        let (bytes, ends) = written(&lives);
        let recording = Recording::read(&bytes).expect("it is intact");
        prop_assert_eq!(&recording.lives, &lives);
        prop_assert_eq!(recording.records, ends.len() as u64);
        prop_assert_eq!((recording.intact_bytes, recording.torn), (bytes.len(), false));
    }

    #[test]
    fn every_beginning_reads_as_what_it_holds_and_can_be_gone_on_with(lives in lives()) {
        let (bytes, ends) = written(&lives);
        for length in 0..bytes.len() {
            let recording = Recording::read(&bytes[..length]).expect("only its end is missing");
            let whole = ends.iter().filter(|end| **end <= length).count();
            prop_assert_eq!(&recording.lives, &first(&lives, whole), "of {} bytes", length);
            prop_assert_eq!(recording.torn, recording.intact_bytes < length);
        }
        let torn = &bytes[..bytes.len() - 1];
        let recording = Recording::read(torn).expect("only its end is missing");
        let mut mended = Vec::from(&torn[..recording.intact_bytes]);
        let mut writer = RecordingWriter::after(&scanned(torn, torn.len()).expect("a torn end"));
        writer.begin(&lives[0].origin, &mut mended).expect("it is small");
        let mended = Recording::read(&mended).expect("it is intact");
        prop_assert_eq!(mended.lives.len(), recording.lives.len() + 1);
    }

    #[test]
    fn who_scans_it_in_pieces_of_any_size_finds_the_same_end(lives in lives(), piece in 1..50_usize) {
        let (bytes, _) = written(&lives);
        for length in 0..bytes.len() {
            let recording = Recording::read(&bytes[..length]).expect("only its end is missing");
            let scan = scanned(&bytes[..length], piece).expect("only its end is missing");
            prop_assert_eq!(scan.intact_bytes(), recording.intact_bytes as u64, "of {}", length);
            let whose = |origin: &Origin| (origin.algorithm.clone(), origin.boot.id);
            let all: BTreeSet<_> = recording.lives.iter().map(|life| whose(&life.origin)).collect();
            let seen: Vec<_> = scan.origins().iter().map(whose).collect();
            prop_assert_eq!(seen.len(), all.len());
            prop_assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), all);
        }
    }

    #[test]
    fn a_changed_byte_is_found(lives in lives(), at in any::<prop::sample::Index>(), mask in 1_u8..) {
        let (mut bytes, _) = written(&lives);
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        let read = Recording::read(&bytes);
        prop_assert!(read.is_err(), "byte {at}: {read:?}");
        let scanned = scanned(&bytes, 1 + at % 7);
        prop_assert!(scanned.is_err(), "byte {at}: {scanned:?}");
        if let Err(BadRecording::Damaged { byte, .. }) = read {
            prop_assert!(byte <= at);
        }
    }

    #[test]
    fn records_that_changed_places_are_found(steps in vec(steps(), 2..6)) {
        let life = RecordedLife { origin: origin(1, 2), resumed: None, steps, cut: false };
        let (bytes, ends) = written(&[life]);
        let swapped = [&bytes[..ends[0]], &bytes[ends[1]..ends[2]], &bytes[ends[0]..ends[1]]];
        prop_assert!(Recording::read(&swapped.concat()).is_err());
        let missing = [&bytes[..ends[0]], &bytes[ends[1]..]];
        prop_assert!(Recording::read(&missing.concat()).is_err());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Recording::read(&bytes);
        let named = [Recording::MAGIC.as_slice(), &4_u32.to_le_bytes(), &bytes].concat();
        let _ = Recording::read(&named);
        let _ = scanned(&named, 3);
    }
}

#[test]
fn the_layout_is_pinned() {
    let input = Input::Deliver { from: NodeId(1), envelope: envelope(7) };
    let step = RecordedStep { now: Duration::new(3, 5), input, fingerprint: Fingerprint(9) };
    let (bytes, ends) = written(&[RecordedLife {
        origin: origin(4, 6),
        resumed: None,
        steps: vec![step],
        cut: true,
    }]);
    assert_eq!(&bytes[..12], b"synodrec\x04\0\0\0");
    let life =
        b"\x1a\0\0\0\xe5\xff\xff\xff\0\x06gossip\x02\x02\x01\x02\x04\x06\x02\x01a\x01\x01b\x02\x01\x06\0\x06\0";
    assert_eq!(&bytes[12..ends[0] - 8], life);
    let step = b"\x19\0\0\0\xe6\xff\xff\xff\x01\x03\x05\x02\x01\x07\0\0\0\0\0\0\0\0\0\x01\x07\x09\0\0\0\0\0\0\0";
    assert_eq!(&bytes[ends[0]..ends[1] - 8], step);
    assert_eq!(&bytes[ends[1]..ends[2] - 8], b"\x01\0\0\0\xfe\xff\xff\xff\x02");
}

#[test]
fn what_is_no_recording_says_so() {
    for other in [&b"synod schedule 1\n"[..], b"x", b"synodlog\x01\0\0\0"] {
        assert_eq!(Recording::read(other), Err(BadRecording::NotARecording));
    }
    let newer = Recording::read(b"synodrec\x05\0\0\0");
    assert_eq!(newer, Err(BadRecording::Format { found: 5, known: 4 }));
}

#[test]
fn damage_is_named_with_its_place() {
    let step =
        RecordedStep { now: Duration::ZERO, input: Input::Start, fingerprint: Fingerprint(1) };
    let steps = vec![step.clone(), step];
    let life = RecordedLife { origin: origin(1, 2), resumed: None, steps, cut: false };
    let (mut bytes, ends) = written(&[life]);
    bytes[ends[0] + 9] ^= 1;
    let damaged = Recording::read(&bytes).expect_err("a byte has changed");
    let expected =
        format!("record 1 at byte {} is damaged: its content is not what was written", ends[0]);
    assert_eq!(damaged.to_string(), expected);
    // The step of one recording without the life that it belongs to.
    let mut alone = Vec::new();
    let mut writer = RecordingWriter::after(&scanned(&bytes[..12], 12).expect("a beginning"));
    writer.step(Duration::ZERO, &Input::Start, Fingerprint(1), &mut alone).expect("it is small");
    let alone = Recording::read(&[&bytes[..12], &alone].concat()).expect_err("nobody's step");
    assert_eq!(alone.to_string(), "record 0 at byte 12 is damaged: it belongs to no life");
}

#[test]
fn zeros_where_a_record_was_to_be_are_a_torn_end() {
    let (mut bytes, _) =
        written(&[RecordedLife { origin: origin(1, 2), resumed: None, steps: vec![], cut: false }]);
    let intact = bytes.len();
    bytes.extend([0; 100]);
    let recording = Recording::read(&bytes).expect("only its end is missing");
    assert_eq!((recording.torn, recording.intact_bytes), (true, intact));
    assert_eq!(scanned(&bytes, 9).expect("a torn end").intact_bytes(), intact as u64);
}

#[test]
fn a_record_beyond_the_bound_is_not_written() {
    let (mut writer, mut bytes) = (RecordingWriter::new(), Vec::new());
    writer.begin(&origin(1, 2), &mut bytes).expect("it is small");
    let before = bytes.clone();
    let body = Bytes::from(vec![0; Recording::RECORD_BYTES_MAX]);
    let large = Envelope::from_parts(EventId::of("large"), Instance::ROOT, Tag::Plain, body);
    let refused = writer.step(Duration::ZERO, &Input::Trigger(large), Fingerprint(0), &mut bytes);
    assert!(matches!(refused, Err(RecordTooLarge(size)) if Recording::RECORD_BYTES_MAX < size));
    assert_eq!(bytes, before);
    writer.cut(&mut bytes);
    assert!(Recording::read(&bytes).expect("it is intact").lives[0].cut);
}

fn envelope(body: u8) -> Envelope {
    let event = EventId::from_bits(u64::from(body));
    Envelope::from_parts(event, Instance::ROOT, Tag::Plain, Bytes::from(vec![body]))
}

#[test]
fn fingerprints_are_pinned() {
    let send =
        Effect::Send { to: NodeId(2), lane: Lane::Ordered(LaneId(3)), envelope: envelope(4) };
    let nothing = Fingerprint::of(&Ok(()), &[]);
    let sent = Fingerprint::of(&Ok(()), &[send]);
    let pinned = [nothing, sent, Fingerprint::PANICKED].map(|it| it.to_string());
    assert_eq!(pinned, ["88201fb960ff6465", "991b8a20df23ea8c", "e6bd86443df8ce07"]);
}

#[test]
fn what_differs_has_another_fingerprint() {
    let timer = |id, ms| Effect::Timer {
        id: TimerId(id),
        after: Duration::from_millis(ms),
        envelope: envelope(1),
    };
    let send = |to, lane| Effect::Send { to: NodeId(to), lane, envelope: envelope(1) };
    let effects = [
        send(1, Lane::Datagram),
        send(2, Lane::Datagram),
        send(1, Lane::Ordered(LaneId(1))),
        timer(1, 1),
        timer(2, 1),
        timer(1, 2),
        Effect::Cancel(TimerId(1)),
        Effect::Persist(envelope(1)),
        Effect::Persist(envelope(2)),
        Effect::Persist(envelope(1).tagged(Tag::Ask(0))),
        Effect::Persist(envelope(1).addressed_to(Instance::of_key(0))),
        Effect::Checkpoint { record: envelope(1), replaces: Arc::new([]) },
        Effect::Checkpoint { record: envelope(1), replaces: Arc::new([EventId::of("a")]) },
        Effect::Job(envelope(1)),
        Effect::Output(envelope(1)),
        Effect::Log(String::new()),
        Effect::Log(String::from("a line")),
    ];
    let event = EventId::of("a");
    let refusals = [
        StepError::Unhandled(event),
        StepError::LocalOnly { event, from: NodeId(1) },
        StepError::Stale { number: 1, from: NodeId(1) },
        StepError::Stranger(NodeId(1)),
        StepError::Full { instances_max: 1 },
    ];
    let mut seen: Vec<Fingerprint> = effects
        .iter()
        .map(|effect| Fingerprint::of(&Ok(()), std::slice::from_ref(effect)))
        .collect();
    seen.push(Fingerprint::of(&Ok(()), &effects[..2]));
    seen.push(Fingerprint::of(&Ok(()), &[effects[1].clone(), effects[0].clone()]));
    seen.push(Fingerprint::of(&Ok(()), &[]));
    seen.push(Fingerprint::PANICKED);
    seen.extend(refusals.map(|error| Fingerprint::of(&Err(error), &[])));
    let mut distinct: Vec<u64> = seen.iter().map(|fingerprint| fingerprint.0).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), seen.len());
}
