use std::time::Duration;

use serde::Deserialize;
use synod_core::{Boot, Cluster, Effect, Envelope, Event, Input, Node, Reason};
use synod_simulator::{Bounds, Fault, Report, Scenario, Simulation, explore};

use super::*;

const SENDER: NodeId = NodeId(1);
const RECEIVER: NodeId = NodeId(2);
const TRANSFER: u64 = 7;
/// After the last fault.
const WITHIN: Duration = Duration::from_secs(2);

/// An application that sends a pattern, or keeps what comes.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Files {
    size: u64,
    kept: u64,
    ended: Vec<Outcome>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "files.kept", local)]
struct Kept(u64);

fn pattern(at: u64) -> u8 {
    u8::try_from(at * 7 % 251).expect("small")
}

impl Algorithm for Files {
    const NAME: &'static str = "files";
    const MODEL: Model = Bulk::MODEL;

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|files: &mut Self, offered: Offered, ctx: &mut Context| {
                let Offered { from, transfer, .. } = offered;
                ctx.trigger(&Accept { from, transfer, at: files.kept });
            })
            .on(|_: &mut Self, wanted: Wanted, ctx: &mut Context| {
                let Wanted { to, transfer, at, bytes } = wanted;
                let bytes = (at..at + bytes).map(pattern).collect();
                ctx.trigger(&Supply { to, transfer, at, bytes });
            })
            .on(Self::arrived)
            .on(|files: &mut Self, ended: Ended| files.ended.push(ended.outcome))
            .restore(|files: &mut Self, Kept(kept)| files.kept = kept)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() == SENDER {
            let (to, transfer, size) = (RECEIVER, TRANSFER, self.size);
            ctx.trigger(&Send { to, transfer, size });
        }
    }
}

impl Files {
    fn arrived(&mut self, arrived: Arrived, ctx: &mut Context) {
        let Arrived { from, transfer, at, bytes } = arrived;
        assert_eq!(at, self.kept, "pieces come once and in order");
        assert!(bytes.iter().zip(at..).all(|(byte, at)| *byte == pattern(at)));
        self.kept += bytes.len() as u64;
        ctx.persist(&Kept(self.kept));
        ctx.trigger(&Stored { from, transfer, at: self.kept });
    }
}

type Both = (Bulk, Files);

fn is_complete(cluster: &Cluster<'_, Both>) -> Verdict {
    let (Some(sender), Some(receiver)) = (cluster.state(SENDER), cluster.state(RECEIVER)) else {
        return Ok(());
    };
    let (size, kept) = (sender.1.size, receiver.1.kept);
    match sender.1.ended.last() {
        Some(Outcome::Done) if kept == size => Ok(()),
        ended => Err(format!("{kept} of {size} bytes are there, and the end is {ended:?}")),
    }
}

fn window_is_kept_in_both(cluster: &Cluster<'_, Both>) -> Verdict {
    for (node, (bulk, _)) in cluster.live() {
        let mut granted = bulk.outgoing.values().filter(|it| it.granted);
        if granted.any(|it| it.stored + bulk.window_bytes < it.wanted) {
            return Err(format!("{node} asks for more than a window"));
        }
    }
    Ok(())
}

/// Pieces of two bytes, two of them under way.
fn scenario(size: u64) -> Scenario<Both> {
    let make = move |_| (Bulk::cut(2, 4), Files { size, ..Files::default() });
    let scenario = Scenario::new("bulk", Bulk::MODEL, make).expect("the two fit together");
    scenario.property(Property::always("no more than a window", window_is_kept_in_both))
}

fn simulate(size: u64, seeds: u64) -> Report {
    let complete = Property::eventually("all bytes are stored", WITHIN, is_complete);
    let scenario = scenario(size).property(complete);
    Simulation::new(&scenario, 2).with(Fault::Delay).run(0..seeds)
}

#[test]
fn two_nodes_in_every_schedule_with_a_crash_and_a_recovery() {
    let scenario = scenario(5).property(Property::at_rest("complete", is_complete));
    let explored = explore(&scenario, &Bounds::within(&Bulk::MODEL, 2));
    explored.expect_complete();
    assert_eq!(explored.states, 639, "the header says so");
}

#[test]
fn a_transfer_goes_on_after_crashes_of_either_end() {
    let report = simulate(41, 1_000);
    report.expect_clean();
    assert!(0 < report.counts.crashes);
}

#[test]
fn an_empty_value_and_one_of_less_than_a_piece_arrive() {
    for size in [0, 1] {
        simulate(size, 50).expect_clean();
    }
}

fn both_ended_so(cluster: &Cluster<'_, Both>, outcome: Outcome) -> Verdict {
    match cluster.live().find(|(_, (_, files))| files.ended != [outcome]) {
        Some((node, (_, files))) => Err(format!("{node}: {:?}", files.ended)),
        None => Ok(()),
    }
}

#[test]
fn whoever_gives_up_tells_the_other_end() {
    let at = Duration::from_millis(50);
    let (to, from, transfer) = (RECEIVER, SENDER, TRANSFER);
    let cancelled = scenario(1_000).trigger(SENDER, at, &Cancel { to, transfer });
    let declined = scenario(1_000).trigger(RECEIVER, at, &Decline { from, transfer });
    for (scenario, outcome) in [(cancelled, Outcome::Cancelled), (declined, Outcome::Declined)] {
        let both = Property::at_rest("both ends know", move |it: &_| both_ended_so(it, outcome));
        Simulation::new(&scenario.property(both), 2).calm().run(0..100).expect_clean();
    }
}

#[test]
fn what_waits_for_a_node_that_is_never_there_can_be_cancelled() {
    let (to, transfer, at) = (NodeId(3), 7, Duration::from_millis(5));
    let scenario = scenario(1)
        .trigger(SENDER, Duration::ZERO, &Send { to, transfer, size: 1 })
        .trigger(SENDER, at, &Cancel { to, transfer });
    let ended = Property::at_rest("it has ended", |cluster: &Cluster<'_, Both>| {
        let ended = cluster.state(SENDER).map(|(_, files)| files.ended.clone()).unwrap_or_default();
        if ended.contains(&Outcome::Cancelled) { Ok(()) } else { Err(format!("{ended:?}")) }
    });
    Simulation::new(&scenario.property(ended), 2).calm().run(0..5).expect_clean();
}

#[test]
fn one_transfer_too_many_is_refused_at_once() {
    let mut scenario = scenario(1);
    for transfer in 0..=TRANSFERS_MAX as u64 {
        let begins = Send { to: NodeId(3), transfer, size: 1 };
        scenario = scenario.trigger(SENDER, Duration::ZERO, &begins);
    }
    let refused = Property::at_rest("one is refused", |cluster: &Cluster<'_, Both>| {
        let ended = cluster.state(SENDER).map(|(_, files)| files.ended.clone()).unwrap_or_default();
        let refused = ended.iter().filter(|outcome| **outcome == Outcome::TooMany).count();
        if refused == 2 { Ok(()) } else { Err(format!("{ended:?}")) }
    });
    // To a node that is never there, beside the one of the application itself.
    Simulation::new(&scenario.property(refused), 2).calm().run(0..5).expect_clean();
}

/// What a node of two does, its application included.
fn step(node: &mut Node<Bulk>, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    node.step(Duration::ZERO, &input, &mut effects).expect("it takes the input");
    effects
}

#[test]
fn transfers_to_which_senders_do_not_come_back_leave_room_for_others() {
    let boot = Boot { id: RECEIVER, peers: vec![SENDER, RECEIVER], incarnation: 1, seed: 0 };
    let mut node = Node::new(boot, Bulk::default()).expect("it is a member");
    let open = |transfer, attempt| {
        let envelope = Envelope::seal(&Open { transfer, attempt, size: 9 });
        Input::Deliver { from: SENDER, envelope }
    };
    let up = |incarnation| Input::PeerUp(PeerUp { peer: SENDER, incarnation });
    let offers = |effects: &[Effect], transfer| {
        let offered = Envelope::seal(&Offered { from: SENDER, transfer, size: 9 });
        effects.contains(&Effect::Output(offered))
    };
    step(&mut node, up(1));
    let last = TRANSFERS_MAX as u64;
    for transfer in 0..last {
        assert!(offers(&step(&mut node, open(transfer, transfer + 1)), transfer));
    }
    assert!(!offers(&step(&mut node, open(last, last + 1)), last), "all are under way");
    step(&mut node, Input::PeerDown(PeerDown { peer: SENDER, reason: Reason::Restarted }));
    step(&mut node, up(2));
    step(&mut node, open(0, 1));
    let effects = step(&mut node, open(last, 2));
    assert!(offers(&effects, last), "{effects:?}");
    let (peer, transfer, outcome) = (SENDER, 1, Outcome::Cancelled);
    let ended = Effect::Output(Envelope::seal(&Ended { peer, transfer, outcome }));
    assert!(effects.contains(&ended), "the application is told which one: {effects:?}");
}

#[test]
fn no_two_lives_of_a_sender_have_an_attempt_in_common() {
    let attempt = |incarnation| {
        let boot = Boot { id: SENDER, peers: vec![SENDER, RECEIVER], incarnation, seed: 0 };
        let mut node = Node::new(boot, Bulk::default()).expect("it is a member");
        step(&mut node, Input::PeerUp(PeerUp { peer: RECEIVER, incarnation: 1 }));
        let sends = Envelope::seal(&Send { to: RECEIVER, transfer: TRANSFER, size: 9 });
        let effects = step(&mut node, Input::Trigger(sends));
        let [Effect::Send { envelope, .. }] = &effects[..] else { panic!("{effects:?}") };
        envelope.open::<Open>().expect("it asks").attempt
    };
    assert_ne!(attempt(1), attempt(2));
}
