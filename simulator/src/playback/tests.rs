use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Boot, Context, Event, Handlers, Origin, PeerDown, PeerUp, Reason, RecordingWriter,
    Schema, Snapshots,
};

use super::*;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "playback.number")]
struct Number(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "playback.tick", local)]
struct Tick;

/// Adds numbers, by `step` each; panics upon 13.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Sum {
    step: u64,
    total: u64,
}

impl Algorithm for Sum {
    const NAME: &'static str = "sum";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::number).on(Self::tick).restore(|me: &mut Self, number: Number| {
            me.total += number.0;
        })
    }

    fn snapshots() -> Snapshots<Self> {
        Snapshots::encoded()
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.after(Duration::from_secs(1), &Tick);
    }
}

impl Sum {
    fn number(&mut self, Number(number): Number, ctx: &mut Context) {
        assert!(number != 13, "thirteen");
        self.total += number * self.step;
        ctx.persist(&Number(self.total));
        ctx.send(NodeId(2), &Number(self.total));
    }

    fn tick(&mut self, _: Tick, ctx: &mut Context) {
        ctx.log("tick");
    }
}

fn sum(step: u64) -> Scenario<Sum> {
    Scenario::of(move |_| Sum { step, total: 0 }).showing_states()
}

/// The recording of lives that are fed these inputs, a second apart.
fn record(lives: Vec<Vec<Input>>) -> Recording {
    let (mut writer, mut bytes) = (RecordingWriter::new(), Vec::new());
    for (incarnation, life) in (1..).zip(lives) {
        let peers = vec![NodeId(1), NodeId(2)];
        let boot = Boot { id: NodeId(1), peers, incarnation, seed: 3 };
        let number = Schema::of::<Number>();
        let events = [("gone", Schema(1)), ("playback.number", number)];
        let events = events.map(|(name, schema)| (String::from(name), schema)).into();
        let origin = Origin { algorithm: "sum".into(), boot: boot.clone(), events, began: None };
        writer.begin(&origin, &mut bytes).expect("it is small");
        let mut node = Some(sum(1).node(boot).expect("a member"));
        for (second, input) in (0..).zip(life) {
            let now = Duration::from_secs(second);
            let mut step = RecordedStep { now, input, fingerprint: Fingerprint(0) };
            step.fingerprint = once(&mut node, &step, &[]).got;
            writer.step(now, &step.input, step.fingerprint, &mut bytes).expect("it is small");
        }
    }
    Recording::read(&bytes).expect("it is intact")
}

fn deliver(number: u64) -> Input {
    Input::Deliver { from: NodeId(2), envelope: Envelope::seal(&Number(number)) }
}

#[test]
fn all_lives_are_replayed_in_one_time() {
    let up = Input::PeerUp(PeerUp { peer: NodeId(2), incarnation: 9 });
    let down = Input::PeerDown(PeerDown { peer: NodeId(2), reason: Reason::Closed });
    let stranger = Input::Deliver { from: NodeId(7), envelope: Envelope::seal(&Number(1)) };
    let first = vec![Input::Start, up, Input::Timer(TimerId(1)), deliver(2), stranger, deliver(13)];
    let records = vec![Envelope::seal(&Number(2))];
    let second = vec![Input::Recover(records), Input::Trigger(Envelope::seal(&Number(5))), down];
    let recording = record(vec![first, second]);
    let replayed = replay_recording(&sum(1), &recording).expect("a member");
    assert_eq!((replayed.divergence, replayed.steps), (None, 9));
    assert_eq!(
        (replayed.events_gone, replayed.events_new, replayed.events_changed),
        (vec!["gone".into()], vec!["playback.tick".into()], Vec::new())
    );
    let steps = &replayed.trace.steps;
    let seconds: Vec<u64> = steps.iter().map(|step| step.time_us / 1_000_000).collect();
    assert_eq!(seconds, [0, 1, 2, 3, 4, 5, 5, 6, 7]);
    let words: Vec<&str> = steps.iter().map(|step| step.event.as_str()).collect();
    let number = "playback.number";
    let told = ["starts", "n2 is up", "playback.tick", number, number, number];
    assert_eq!(words[..6], told);
    assert_eq!(words[6..], ["recovers 1 records", number, "n2 is down: Closed"]);
    assert_eq!((steps[2].cause, &steps[2].log), (Some(0), &vec![String::from("tick")]));
    assert_eq!(steps[3].changes[0].path, "total");
    assert_eq!(steps[4].log, ["refused: n7 is no peer of this node"]);
    assert_eq!(steps[5].wrong.as_deref(), Some("panics: thirteen"));
    assert_eq!((steps[3].sends[0].id.number, steps[7].sends[0].id.number), (1, 2));
}

#[test]
fn the_first_step_that_comes_to_something_else_is_named_with_what_came() {
    let recording = record(vec![vec![Input::Start, deliver(0), deliver(3), deliver(4)]]);
    let replayed = replay_recording(&sum(2), &recording).expect("a member");
    let deviation = replayed.divergence.expect("it adds twice as much");
    assert_eq!((deviation.index, deviation.incarnation, replayed.steps), (2, 1, 3));
    assert_eq!(deviation.time, Duration::from_secs(2));
    assert_eq!(deviation.input, "playback.number Number(3) from n2");
    assert_eq!(
        deviation.effects,
        ["persists playback.number Number(6)", "sends playback.number Number(6) to n2"]
    );
    assert_ne!(deviation.expected, deviation.got);
    assert!(replayed.trace.steps[2].wrong.is_some());
}

/// The same life, recorded only from the step of this number on.
fn from_step(recording: &Recording, first: usize) -> Recording {
    let mut life = recording.lives[0].clone();
    let mut node = Some(sum(1).node(life.origin.boot.clone()).expect("a member"));
    let steps = life.steps.split_off(first);
    life.steps.iter().for_each(|step| drop(once(&mut node, step, &[])));
    life.resumed = Some(node.expect("it lives").snapshot().expect("it is written down"));
    Recording { lives: vec![RecordedLife { steps, ..life }], ..recording.clone() }
}

#[test]
fn a_life_is_replayed_from_the_middle_on_as_from_its_beginning() {
    let inputs = vec![Input::Start, deliver(2), Input::Timer(TimerId(1)), deliver(5), deliver(1)];
    let whole = record(vec![inputs]);
    let all = replay_recording(&sum(1), &whole).expect("a member").trace.steps;
    for first in 1..5 {
        let replayed = replay_recording(&sum(1), &from_step(&whole, first)).expect("a member");
        assert_eq!((replayed.divergence, replayed.steps), (None, 5 - first));
        let steps = replayed.trace.steps;
        assert!(steps[0].log.iter().any(|line| line.starts_with("recorded from here on")));
        let changes = |steps: &[Step]| -> Vec<_> {
            steps.iter().map(|step| (step.event.clone(), step.changes.clone())).collect()
        };
        assert_eq!(changes(&steps), changes(&all[first..]));
    }
}

#[test]
fn what_another_program_was_in_the_middle_of_a_life_is_refused() {
    #[derive(Clone, Debug, Default, Deserialize, Serialize)]
    struct Other(String);
    impl Algorithm for Other {
        const NAME: &'static str = "sum";
        fn handlers() -> Handlers<Self> {
            Handlers::new()
        }
        fn snapshots() -> Snapshots<Self> {
            Snapshots::encoded()
        }
    }
    let mut recording = record(vec![vec![Input::Start, deliver(2)]]);
    let boot = recording.lives[0].origin.boot.clone();
    let other = Node::new(boot, Other(String::from("of another version"))).expect("a member");
    recording.lives[0].resumed = Some(other.snapshot().expect("it is written down"));
    let error = replay_recording(&sum(1), &recording).expect_err("it is no sum");
    assert!(matches!(error, CannotReplay::Snapshot { incarnation: 1, .. }), "{error}");
}

#[test]
fn a_panic_that_is_new_and_one_that_is_gone_are_divergences() {
    let mut recording = record(vec![vec![Input::Start, deliver(13), deliver(1)]]);
    let steps = &mut recording.lives[0].steps;
    steps[1].fingerprint = steps[2].fingerprint;
    let replayed = replay_recording(&sum(1), &recording).expect("a member");
    let deviation = replayed.divergence.expect("it panics");
    assert_eq!(deviation.effects, ["panics: thirteen"]);
    recording.lives[0].steps[1] =
        record(vec![vec![Input::Start, deliver(1)]]).lives[0].steps[1].clone();
    recording.lives[0].steps[1].fingerprint = Fingerprint::PANICKED;
    let replayed = replay_recording(&sum(1), &recording).expect("a member");
    assert_eq!(replayed.divergence.map(|it| it.index), Some(1));
}

#[test]
fn a_node_outside_of_its_cluster_is_refused_and_nothing_is_replayed_of_nothing() {
    let mut recording = record(vec![vec![Input::Start]]);
    recording.lives[0].origin.boot.peers.clear();
    assert!(matches!(
        replay_recording(&sum(1), &recording),
        Err(CannotReplay::Cluster(BuildError::NotAMember { .. }))
    ));
    let replayed = replay_recording(&sum(1), &Recording::default()).expect("nobody");
    assert_eq!((replayed.steps, replayed.node, replayed.divergence), (0, NodeId(0), None));
}
