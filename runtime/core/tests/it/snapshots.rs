//! Snapshots: a node that goes on from one does what the other one does.

use std::fmt::Debug;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, BadRecording, Call, Context, Event, Fingerprint, Handlers, Input, Keyed, Node,
    NodeId, Origin, Recording, RecordingWriter, Reply, Request, Snapshot, SnapshotError, Snapshots,
    Stack, Ticket,
};

use crate::kit::{N1, N2, N3, SECOND, boot, deliver_at, node, step};

#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "test.note")]
struct Note(u64);

#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "test.alarm", local)]
struct Alarm(u64);

#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "test.question")]
struct Question;

#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "test.answer")]
struct Answer(u64);

impl Request for Question {
    type Answer = Answer;
}

/// Makes use of all that a node keeps between two steps.
#[derive(Clone, Debug, Default, Deserialize, Hash, Serialize)]
struct Diary {
    notes: Vec<u64>,
    open: Vec<Ticket<Question>>,
}

impl Algorithm for Diary {
    const NAME: &'static str = "diary";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::note).on(Self::alarm).on(Self::asked).on(Self::replied)
    }

    fn snapshots() -> Snapshots<Self> {
        Snapshots::encoded()
    }
}

impl Diary {
    fn note(&mut self, Note(number): Note, from: NodeId, ctx: &mut Context) {
        self.notes.push(number ^ ctx.random() ^ u64::from(ctx.choose(9)));
        ctx.after(Duration::from_millis(number % 7), &Alarm(number % 5));
        if number.is_multiple_of(3) {
            ctx.ask(from, &Question, SECOND);
        }
    }

    fn alarm(&mut self, Alarm(number): Alarm, ctx: &mut Context) {
        self.notes.push(number);
        self.open.drain(..).for_each(|ticket| ctx.answer(ticket, &Answer(number)));
    }

    fn asked(&mut self, call: Call<Question>, _: &mut Context) {
        self.open.push(call.ticket);
    }

    fn replied(&mut self, reply: Reply<Question>, _: &mut Context) {
        self.notes.push(reply.answer.map_or(0, |(_, Answer(number))| number));
    }
}

/// Says nothing of how it is written down.
#[derive(Clone, Debug, Default, Hash)]
struct Silent;

impl Algorithm for Silent {
    const NAME: &'static str = "silent";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|_: &mut Self, _: Note| ())
    }
}

/// What happens to a node: which of its timers, or what from whom and for which key.
#[derive(Clone, Debug)]
enum Act {
    Timer(usize),
    Note(NodeId, u64, u64),
    Question(NodeId, u64),
}

fn acts() -> impl Strategy<Value = Act> {
    let from = || prop_oneof![Just(N2), Just(N3)];
    prop_oneof![
        (0..4_usize).prop_map(Act::Timer),
        (from(), 0..3_u64, any::<u64>()).prop_map(|(from, key, it)| Act::Note(from, key, it)),
        (from(), 0..3_u64).prop_map(|(from, key)| Act::Question(from, key)),
    ]
}

/// Lets it happen, and tells all that came of it.
fn act<T: Stack + Debug>(node: &mut Node<T>, act: &Act) -> String {
    let input = match act {
        Act::Timer(which) => match node.timers().nth(*which) {
            Some((id, _)) => Input::Timer(id),
            None => return String::new(),
        },
        Act::Note(from, key, number) => deliver_at(*from, &[*key], &Note(*number)),
        Act::Question(from, key) => {
            let envelope = synod_core::Envelope::seal(&Question)
                .addressed_to(synod_core::Instance::of_key(*key))
                .tagged(synod_core::Tag::Ask(7));
            Input::Deliver { from: *from, envelope }
        }
    };
    let effects = step(node, input);
    format!("{effects:?} {:?}", node.stack())
}

fn stack() -> Keyed<Diary> {
    Keyed::new(|_| Diary::default())
}

fn origin() -> Origin {
    Origin { algorithm: "diary".into(), boot: boot(N1), events: [].into(), began: None }
}

/// The snapshot, after it was in a recording.
fn recorded(snapshot: &Snapshot) -> Snapshot {
    let (mut writer, mut bytes) = (RecordingWriter::new(), Vec::new());
    writer.begin(&origin(), &mut bytes).expect("it is small");
    writer.resume(snapshot, &mut bytes).expect("it is small");
    let recording = Recording::read(&bytes).expect("it is intact");
    recording.lives.first().and_then(|life| life.resumed.clone()).expect("it was written")
}

proptest! {
    #[test]
    fn a_node_that_goes_on_from_a_snapshot_does_what_the_other_one_does(
        before in vec(acts(), 0..12),
        after in vec(acts(), 1..12),
    ) {
        let mut one = node(stack());
        before.iter().for_each(|it| drop(act(&mut one, it)));
        let snapshot = one.snapshot().expect("all of it is written down");
        let mut other = node(stack());
        other.resume(&recorded(&snapshot)).expect("all of it is read back");
        prop_assert_eq!(&other.snapshot(), &Ok(snapshot));
        for it in &after {
            prop_assert_eq!(act(&mut one, it), act(&mut other, it));
        }
    }
}

#[test]
fn an_algorithm_that_does_not_say_how_it_is_written_down_is_named() {
    let error = node((Diary::default(), Silent)).snapshot().expect_err("one of them is silent");
    assert!(matches!(error, SnapshotError::Undeclared(state) if state.ends_with("Silent")));
}

#[test]
fn the_snapshot_of_other_algorithms_is_refused() {
    let one = node(Diary::default()).snapshot().expect("it is written down");
    let two = node((Diary::default(), stack())).snapshot().expect("they are written down");
    let error = node(Diary::default()).resume(&two).expect_err("it is of more");
    assert_eq!(error, SnapshotError::OtherAlgorithms);
    let error = node((Diary::default(), stack())).resume(&one).expect_err("it is of fewer");
    assert_eq!(error, SnapshotError::OtherAlgorithms);
    let error = node(stack()).resume(&two).expect_err("it is of others");
    assert!(matches!(error, SnapshotError::State { .. } | SnapshotError::OtherAlgorithms));
}

#[test]
fn a_life_goes_on_from_one_snapshot_before_its_first_step() {
    let snapshot = node(Diary::default()).snapshot().expect("it is written down");
    let (mut writer, mut bytes) = (RecordingWriter::new(), Vec::new());
    writer.begin(&origin(), &mut bytes).expect("it is small");
    let came = Fingerprint::of(&Ok(()), &[]);
    writer.step(SECOND, &Input::Start, came, &mut bytes).expect("it is small");
    writer.resume(&snapshot, &mut bytes).expect("it is small");
    let read = Recording::read(&bytes);
    assert!(matches!(read, Err(BadRecording::Damaged { record: 2, .. })), "{read:?}");
}
