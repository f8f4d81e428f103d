use synod_algorithms::Bully;
use synod_core::{
    Boot, Effect, EventId, Fingerprint, Input, Instance, Moment, Node, Origin, Reason, Recording,
    RecordingWriter, Tag,
};

use super::*;
use crate::playback::replay_recording;
use crate::scenario::Scenario;
use crate::trace::StepKind;

const MS: Duration = Duration::from_millis(1);

/// A recorded cluster, run by hand: each node's clock is ahead by something else.
struct Run {
    nodes: Vec<(Node<Bully>, RecordingWriter, Vec<u8>)>,
    ahead: Vec<Duration>,
    now: Duration,
    events: BTreeMap<(Duration, usize), (usize, Input)>,
    asked: usize,
}

impl Run {
    fn new(ahead: &[u32]) -> Self {
        let peers: Vec<NodeId> = (1..).map(NodeId).take(ahead.len()).collect();
        let node = |id: &NodeId| {
            let boot = Boot { id: *id, peers: peers.clone(), incarnation: 1, seed: 0 };
            let origin = Origin {
                algorithm: "bully".into(),
                boot: boot.clone(),
                events: [].into(),
                began: None,
            };
            let (mut writer, mut bytes) = (RecordingWriter::new(), Vec::new());
            writer.begin(&origin, &mut bytes).expect("it is small");
            (Node::new(boot, Bully::default()).expect("a member"), writer, bytes)
        };
        let nodes = peers.iter().map(node).collect();
        let ahead = ahead.iter().map(|ahead| MS * *ahead).collect();
        Self { nodes, ahead, now: Duration::ZERO, events: BTreeMap::new(), asked: 0 }
    }

    fn ask(&mut self, after: Duration, node: usize, input: Input) {
        self.asked += 1;
        self.events.insert((self.now + after, self.asked), (node, input));
    }

    fn step(&mut self, index: usize, input: Input) {
        let (node, writer, bytes) = &mut self.nodes[index];
        let (from, now, mut effects) = (node.id(), self.now + self.ahead[index], Vec::new());
        let stepped = node.step(now, &input, &mut effects);
        let fingerprint = Fingerprint::of(&stepped, &effects);
        writer.step(now, &input, fingerprint, bytes).expect("it is small");
        for effect in effects {
            match effect {
                Effect::Send { to, envelope, .. } => {
                    self.ask(MS, to.0 as usize - 1, Input::Deliver { from, envelope });
                }
                Effect::Timer { id, after, .. } => self.ask(after, index, Input::Timer(id)),
                _ => (),
            }
        }
    }

    fn recordings(mut self) -> Vec<Recording> {
        (0..self.nodes.len()).for_each(|node| self.step(node, Input::Start));
        while let Some(((at, _), (node, input))) = self.events.pop_first()
            && at < MS * 3_000
        {
            self.now = at;
            self.step(node, input);
        }
        let bytes = self.nodes.into_iter().map(|(_, _, bytes)| bytes);
        bytes.map(|bytes| Recording::read(&bytes).expect("it is intact")).collect()
    }
}

fn replayed(ahead: &[u32]) -> Vec<Replayed> {
    let scenario = Scenario::of(|_| Bully::default());
    let recordings = Run::new(ahead).recordings();
    recordings.iter().map(|it| replay_recording(&scenario, it).expect("a member")).collect()
}

fn check(merged: &Merged) {
    let steps = &merged.trace.steps;
    assert!(steps.is_sorted_by_key(|step| step.time_us));
    let mut last: BTreeMap<Option<NodeId>, u64> = BTreeMap::new();
    for step in steps {
        assert!(last.insert(step.node, step.time_us).unwrap_or(0) <= step.time_us);
        if let Some(cause) = step.cause {
            assert!(cause < step.index && steps[cause].time_us <= step.time_us);
        }
    }
}

#[test]
fn clocks_that_are_apart_are_brought_together() {
    for ahead in [[0, 0, 0], [0, 700, 20], [5_000, 0, 90]] {
        let nodes = replayed(&ahead);
        assert!(nodes.iter().all(|node| node.divergence.is_none()));
        let merged = merge(&nodes).expect("one run");
        check(&merged);
        let steps = &merged.trace.steps;
        let delivered = steps.iter().filter(|step| step.kind == StepKind::Deliver);
        assert!(delivered.clone().all(|step| step.cause.is_some()));
        assert_eq!((merged.matched, merged.unmatched), (delivered.clone().count(), 0));
        // Every message took a millisecond; clocks are known up to that.
        assert!(delivered.clone().all(|step| step.delay_us.is_some_and(|delay| delay <= 2_000)));
        assert!(steps.last().is_some_and(|step| step.time_us < 8_010_000));
    }
}

#[test]
fn what_an_unrecorded_node_sent_has_numbers_of_its_own() {
    let nodes = replayed(&[0, 0, 0]);
    let merged = merge(&nodes[..2]).expect("one run");
    check(&merged);
    let delivered = |step: &&Step| step.kind == StepKind::Deliver;
    let steps = merged.trace.steps.iter().filter(delivered);
    let unknown: Vec<MessageId> =
        steps.filter(|step| step.cause.is_none()).filter_map(|step| step.message).collect();
    assert_eq!(unknown.len(), merged.unmatched);
    assert!(!unknown.is_empty() && 0 < merged.matched);
    let expected = (1..).map(|number| MessageId { from: NodeId(3), number });
    assert!(unknown.iter().copied().eq(expected.take(unknown.len())));
}

#[test]
fn a_recording_that_ends_early_loses_only_its_own_part() {
    let scenario = Scenario::of(|_| Bully::default());
    let merged = |cut_off: usize| {
        let mut recordings = Run::new(&[0, 300, 0]).recordings();
        let steps = &mut recordings[cut_off].lives[0].steps;
        steps.truncate(steps.len() / 2);
        let nodes: Vec<Replayed> = recordings
            .iter()
            .map(|it| replay_recording(&scenario, it).expect("a member"))
            .collect();
        let merged = merge(&nodes).expect("one run");
        check(&merged);
        let steps = &merged.trace.steps;
        let lost = steps.iter().flat_map(|step| &step.sends).filter(|sent| sent.lost.is_some());
        (merged.unmatched, lost.filter(|sent| sent.to.0 as usize == cut_off + 1).count())
    };
    let (unmatched, _) = merged(2);
    assert!(0 < unmatched, "the leader's last announcements were not recorded");
    let (_, lost) = merged(0);
    assert!(0 < lost, "that they arrived was not recorded");
}

#[test]
fn one_life_told_twice_and_two_algorithms_are_refused() {
    let mut nodes = replayed(&[0, 0]);
    let twice = [nodes[0].clone(), nodes[0].clone()];
    let life = CannotMerge::Twice { node: NodeId(1), incarnation: 1 };
    assert_eq!(merge(&twice).expect_err("twice"), life);
    nodes[1].trace.algorithm = String::from("other");
    assert!(matches!(merge(&nodes), Err(CannotMerge::Algorithms { .. })));
    assert!(merge(&[]).expect("nothing to clash").trace.steps.is_empty());
}

fn envelope(body: &'static [u8]) -> Envelope {
    Envelope::from_parts(EventId::of("test"), Instance::ROOT, Tag::Plain, body.into())
}

/// When, what is received, what is sent.
type Told = (u32, Option<&'static [u8]>, Option<&'static [u8]>);

/// A recording of these steps.
fn told(node: u32, acts: &[Told]) -> Replayed {
    let (node, peer) = (NodeId(node), NodeId(3 - node));
    let acts: Vec<Act> = acts
        .iter()
        .map(|(at, received, sent)| Act {
            incarnation: 1,
            now: MS * *at,
            received: received.map(|body| (peer, envelope(body))),
            sent: sent.iter().map(|body| (peer, envelope(body))).collect(),
            linked: None,
            parted: None,
        })
        .collect();
    let step = |act: &Act| Step {
        node: Some(node),
        kind: if act.received.is_some() { StepKind::Deliver } else { StepKind::Told },
        message: act.received.as_ref().map(|_| MessageId { from: peer, number: 1 }),
        ..Step::default()
    };
    let trace = Trace { steps: acts.iter().map(step).collect(), nodes: 2, ..Trace::default() };
    let (steps, divergence) = (acts.len(), None);
    let [events_gone, events_new, events_changed] = [const { Vec::new() }; 3];
    let (began, ended) = (BTreeMap::new(), BTreeSet::new());
    Replayed {
        node,
        steps,
        trace,
        divergence,
        events_gone,
        events_new,
        events_changed,
        acts,
        began,
        ended,
    }
}

/// The clock of a node that is recorded from a later moment on.
#[derive(Clone, Copy)]
struct Recorded {
    /// When that is.
    from: u32,
    /// How long ago its process began then.
    age: u32,
    /// How much its clock on the wall is fast.
    fast: u32,
}

impl Recorded {
    fn of(self, node: u32, acts: &[Told]) -> Replayed {
        let own = |at: u32| at - self.from + self.age;
        let acts = acts.iter().filter(|(at, ..)| self.from <= *at);
        let acts: Vec<Told> = acts.map(|&(at, got, sent)| (own(at), got, sent)).collect();
        let mut replayed = told(node, &acts);
        let moment = Moment { now: MS * self.age, wall: MS * (1_000_000 + self.from + self.fast) };
        replayed.began.insert(1, Began { moment: Some(moment), is_late: true });
        replayed
    }
}

/// The delays of the beats that one node sends every 100 ms and another receives after `delay`, as a merge
/// of their recordings tells them, and how many beats it does not know the sending of.
fn delays(sender: Recorded, receiver: Recorded, delay: u32) -> (Vec<u64>, usize) {
    let beats = (0..20).map(|beat| beat * 100);
    let sent: Vec<Told> = beats.clone().map(|at| (at, None, Some(&b"beat"[..]))).collect();
    let received: Vec<Told> = beats.map(|at| (at + delay, Some(&b"beat"[..]), None)).collect();
    let nodes = [sender.of(1, &sent), receiver.of(2, &received)];
    let merged = merge(&nodes).expect("one algorithm");
    check(&merged);
    let delays = merged.trace.steps.iter().filter_map(|step| Some(step.delay_us? / 1_000));
    (delays.collect(), merged.unmatched)
}

#[test]
fn equal_messages_are_told_apart_by_the_clocks_on_the_walls_where_recordings_begin_late() {
    for (from, delay) in
        [(0, 1), (0, 40), (250, 1), (299, 2), (300, 2), (301, 2), (250, 40), (995, 7)]
    {
        for fast in [0, 5] {
            let early = Recorded { from: 10, age: 5_000, fast: 0 };
            let late = Recorded { from: from + 10, age: 70, fast };
            let (told, unmatched) = delays(early, late, delay);
            assert!(
                !told.is_empty() && told.iter().all(|it| *it == u64::from(delay + fast)),
                "{from} {delay} {fast}: {told:?}"
            );
            assert_eq!(unmatched, unsent(&early, &late, delay));
            let (told, unmatched) = delays(late, early, delay);
            assert!(!told.is_empty() && told.iter().all(|it| *it <= u64::from(delay)), "{told:?}");
            assert_eq!(unmatched, unsent(&late, &early, delay), "{from} {delay} {fast}");
        }
    }
}

/// How many of the beats were received on record, and not sent.
fn unsent(sender: &Recorded, receiver: &Recorded, delay: u32) -> usize {
    let beats = (0..20).map(|beat| beat * 100);
    beats.filter(|at| *at < sender.from && receiver.from <= at + delay).count()
}

#[test]
fn a_burst_of_equal_messages_stays_in_order_where_recordings_begin_late() {
    let recorded = Recorded { from: 0, age: 9, fast: 0 };
    let sent: Vec<Told> = (50..55).map(|at| (at, None, Some(&b"a"[..]))).collect();
    let received: Vec<Told> = (60..65).map(|at| (at, Some(&b"a"[..]), None)).collect();
    let nodes = [recorded.of(1, &sent), Recorded { from: 20, ..recorded }.of(2, &received)];
    let merged = merge(&nodes).expect("one algorithm");
    let delivered = merged.trace.steps.iter().filter(|step| step.kind == StepKind::Deliver);
    assert!(delivered.clone().all(|step| step.delay_us == Some(10_000)));
    assert_eq!((delivered.count(), merged.matched), (5, 5));
}

#[test]
fn recordings_that_cannot_be_of_one_run_are_told_nevertheless() {
    // Each receives what the other one sends only afterwards.
    let one = told(1, &[(0, Some(b"b"), None), (1, None, Some(b"a"))]);
    let two = told(2, &[(5, Some(b"a"), None), (6, None, Some(b"b"))]);
    let merged = merge(&[one, two]).expect("one algorithm");
    assert_eq!((merged.trace.steps.len(), merged.matched, merged.unmatched), (4, 1, 1));
    check(&merged);
}

#[test]
fn clocks_that_run_apart_put_steps_off() {
    // The second clock stands still: no shift fits both messages.
    let one = told(1, &[(0, None, Some(b"a")), (10, Some(b"b"), None), (20, None, Some(b"c"))]);
    let two = told(2, &[(5, Some(b"a"), None), (5, None, Some(b"b")), (5, Some(b"c"), None)]);
    let merged = merge(&[one, two]).expect("one algorithm");
    assert_eq!((merged.matched, merged.unmatched), (3, 0));
    check(&merged);
}

/// The rows that tell of the end of the first node, which is recorded for a second, as the second one sees it:
/// at a time it finds the link there, or gone for a reason.
fn ends_of_first(
    is_recorded_to_its_end: bool,
    seen: &[(u32, Option<Reason>)],
) -> Vec<(u64, String)> {
    let mut first = told(1, &[(0, None, None), (1_000, None, None)]);
    first.ended.extend(is_recorded_to_its_end.then_some(1));
    let steps: Vec<Told> = seen.iter().map(|(at, _)| (*at, None, None)).collect();
    let mut second = told(2, &steps);
    second.ended.insert(1);
    for (act, (_, lost)) in second.acts.iter_mut().zip(seen) {
        match lost {
            None => act.linked = Some((NodeId(1), 1)),
            Some(reason) => act.parted = Some((NodeId(1), *reason)),
        }
    }
    let merged = merge(&[first, second]).expect("one algorithm");
    check(&merged);
    let ends = merged.trace.steps.into_iter().filter(|step| step.kind == StepKind::Crash);
    let ends = ends.filter(|step| step.node == Some(NodeId(1)));
    ends.map(|step| (step.time_us, step.event)).collect()
}

#[test]
fn a_node_that_was_killed_is_gone_after_its_last_step() {
    let gone = vec![(1_000_000, String::from("is gone without a good-bye"))];
    let left = vec![(1_000_000, String::from("leaves"))];
    let (up, silent, closed) = ((5, None), Some(Reason::Silent), Some(Reason::Closed));
    assert_eq!(ends_of_first(true, &[up, (1_500, silent)]), gone);
    assert_eq!(ends_of_first(true, &[up, (1_500, closed)]), left);
    let ends = vec![(1_000_000, String::from("ends, or its recording does"))];
    assert_eq!(ends_of_first(true, &[up, (1_500, Some(Reason::Refused))]), ends, "a link alone");
    assert_eq!(ends_of_first(true, &[up, (300, silent), (400, None), (1_100, silent)]), gone);
    assert_eq!(ends_of_first(true, &[up, (300, silent), (400, None)]), [], "everything ends then");
    assert_eq!(ends_of_first(false, &[up, (1_500, silent)]), [], "it may have lived on");
}
