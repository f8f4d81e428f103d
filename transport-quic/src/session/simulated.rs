//! Sessions over a network that loses, doubles, reorders and cuts, between nodes that crash and
//! come back: what is promised holds, and a planted defect is found.
//!
//! A connection is a name here, as it is for the machine: everything travels as datagrams that
//! carry it. Whoever hears nothing for a while gives the connection up, and the smaller node dials.

mod load;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Envelope, Envelopes, Event, Faults, Handlers, LaneId, Links,
    Model, NodeId, Property, Tolerance, Verdict,
};
use synod_simulator::{Fault, Report, Scenario, Simulation};

use super::{Answer, Bounds, Choice, Counts, Offer, Outgoing, Owed, Session, SessionId, WireId};
use super::{choose, understand};
use crate::frame::{Sizes, Splitter};

const FRAMES: u64 = 12;
fn sizes() -> Arc<Sizes> {
    Arc::new(Sizes::new(100, std::iter::empty()))
}

const LANES: [LaneId; 2] = [LaneId(1), LaneId(2)];
const TICK: Duration = Duration::from_millis(10);
/// Another connection is tried beside one on which nothing comes, or nothing is acknowledged, for
/// so long; after twice the time it is lost.
const PATIENCE: Duration = Duration::from_millis(50);
/// After the last fault, everything is as it should be within this time.
const RESUMED_WITHIN: Duration = Duration::from_millis(700);
const BOUNDS: Bounds = Bounds { kept_bytes_max: 4_000, lanes_max: 2 };

#[derive(Clone, Copy, Debug, Hash, PartialEq)]
enum Defect {
    /// One frame that was taken before is taken again.
    SkipsOneTooFew,
    /// One frame that was not taken before is skipped.
    SkipsOneTooMany,
    /// Frames are acknowledged when they come, and handed over a moment later.
    AcknowledgesTooEarly,
    /// What was under way when a connection was lost is not sent again.
    SendsNothingAgain,
    /// What was acknowledged when a connection was lost is not acknowledged again.
    AcknowledgesOnce,
    /// Frames of a connection that is given up are taken.
    TakesOldFrames,
    /// What was received in one session is taken for what was received in the next one.
    MixesSessionsUp,
    /// Each attempt offers another new session.
    OffersAnotherSession,
}

#[derive(Clone, Debug, Default, Hash)]
struct Nodes {
    defect: Option<Defect>,
    load: Load,
    life: u64,
    wires: u64,
    ends: BTreeMap<NodeId, End>,
    begun: BTreeMap<(NodeId, u64), u32>,
}

/// What is sent.
#[derive(Clone, Copy, Debug, Hash)]
struct Load {
    /// Frames for each lane in each session, so many at each tick.
    frames: u64,
    at_once: u64,
    /// The one that sends, if not all do. Then only it is linked.
    sender: Option<NodeId>,
    bounds: Bounds,
}

impl Default for Load {
    fn default() -> Self {
        Self { frames: FRAMES, at_once: 1, sender: None, bounds: BOUNDS }
    }
}

/// What one node has with another one.
#[derive(Clone, Debug, Hash)]
struct End {
    session: Option<Talk>,
    fresh: SessionId,
    dialing: Option<Offer>,
    dialed_at: Duration,
    /// The last connection that the peer has dialled.
    dialled: WireId,
}

#[derive(Clone, Debug, Hash)]
struct Talk {
    session: Session,
    peer_life: u64,
    heard_at: Duration,
    load: Load,
    produced: u64,
    arrived: BTreeMap<LaneId, Vec<Frame>>,
    /// Taken and not handed over yet, with [`Defect::AcknowledgesTooEarly`].
    late: Vec<(LaneId, Frame)>,
}

/// The session that a frame was pushed into, and its number there.
type Frame = (u64, u64);

impl Algorithm for Nodes {
    const NAME: &'static str = "sessions";
    const MODEL: Model = Model::ASYNCHRONOUS
        .tolerating(Faults::CrashRecovery(Tolerance::Exactly(1)))
        .over(Links::FairLoss);

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::tick)
            .on(Self::hello)
            .on(Self::hello_ack)
            .on(Self::frames)
            .on(Self::acks)
            .indicates::<Complete>()
    }

    fn start(&mut self, ctx: &mut Context) {
        self.life = ctx.incarnation();
        let me = ctx.me();
        let is_linked = |peer: &NodeId| {
            *peer != me && self.load.sender.is_none_or(|sender| [me, *peer].contains(&sender))
        };
        let peers: Vec<NodeId> = ctx.peers().iter().copied().filter(is_linked).collect();
        for peer in peers {
            let fresh = SessionId(ctx.random());
            let (dialing, dialed_at) = (None, Duration::ZERO);
            let end = End { session: None, fresh, dialing, dialed_at, dialled: WireId(0) };
            self.ends.insert(peer, end);
        }
        ctx.after(TICK, &Tick);
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::always("every frame arrives once and in order", arrives_in_order),
            Property::always("nothing acknowledged is missing", acknowledged_has_arrived),
            Property::always("what is kept is bounded", kept_is_bounded),
            Property::always("two lives have one session", one_session),
            Property::eventually("the session goes on", RESUMED_WITHIN, all_has_arrived),
            Property::sometimes("a session is resumed with frames under way", is_resumed),
        ]
    }
}

impl Nodes {
    fn tick(&mut self, _: Tick, ctx: &mut Context) {
        let now = ctx.now();
        for (peer, end) in &mut self.ends {
            if let Some(talk) = &mut end.session {
                if self.load.sender.is_none_or(|sender| sender == ctx.me()) {
                    talk.produce();
                }
                if (now.as_millis() / 10).is_multiple_of(4) {
                    talk.hand_over_late();
                }
                if let Some(wire) = talk.session.wire() {
                    if talk.heard_at + 2 * PATIENCE < now {
                        talk.session.detach(wire);
                    } else {
                        talk.flush(wire, *peer, ctx);
                    }
                }
            }
            // A connection that is silent may still come back while the next one is made.
            let is_silent = end
                .session
                .as_ref()
                .is_none_or(|talk| talk.session.wire().is_none() || talk.heard_at + PATIENCE < now);
            let is_trying = end.dialing.is_some() && now < end.dialed_at + PATIENCE;
            if is_silent && !is_trying && ctx.me() < *peer {
                end.dialed_at = now;
                self.wires += 1;
                let wire = WireId((self.life << 32) | self.wires);
                if self.defect == Some(Defect::OffersAnotherSession) {
                    end.fresh = SessionId(ctx.random());
                }
                let offer = end.offer(wire);
                ctx.send(*peer, &Hello { life: self.life, offer: offer.clone() });
                end.dialing = Some(offer);
            }
        }
        ctx.after(TICK, &Tick);
    }

    fn hello(&mut self, hello: Hello, from: NodeId, ctx: &mut Context) {
        let Hello { life, offer } = hello;
        let Some(end) = self.ends.get_mut(&from) else { return };
        // A connection begins once: a copy of its first packet is nothing new.
        if offer.wire <= end.dialled {
            return;
        }
        end.dialled = offer.wire;
        if end.session.as_ref().is_some_and(|talk| talk.peer_life != life) {
            end.session = None;
        }
        let choice = choose(end.live(), end.fresh, &offer);
        if let Choice::Begin(id) = choice {
            *self.begun.entry((from, life)).or_default() += 1;
            end.begin(id, life, self.load, ctx);
        }
        let Some(talk) = &mut end.session else { return };
        let received = match self.defect {
            Some(Defect::MixesSessionsUp) => offer.received,
            _ => offer.received_in(talk.session.id()),
        };
        talk.attach(offer.wire, received, self.defect, ctx.now());
        let received = talk.session.incoming.received();
        let answer = Answer { session: talk.session.id(), received };
        ctx.send(from, &HelloAck { life: self.life, wire: offer.wire, answer });
    }

    fn hello_ack(&mut self, ack: HelloAck, from: NodeId, ctx: &mut Context) {
        let HelloAck { life, wire, answer } = ack;
        let Some(end) = self.ends.get_mut(&from) else { return };
        let Some(offer) = end.dialing.take_if(|offer| offer.wire == wire) else { return };
        if end.session.as_ref().is_some_and(|talk| talk.peer_life != life) {
            end.session = None;
        }
        if let Some(Choice::Begin(id)) = understand(end.live(), &offer, &answer) {
            *self.begun.entry((from, life)).or_default() += 1;
            end.begin(id, life, self.load, ctx);
        }
        if let Some(talk) = &mut end.session {
            talk.attach(wire, answer.received, self.defect, ctx.now());
        }
    }

    fn frames(&mut self, frames: Frames, from: NodeId, ctx: &mut Context) {
        let Frames { wire, lane, first, bytes } = frames;
        let takes_all = self.defect == Some(Defect::TakesOldFrames);
        let Some(talk) = self.ends.get_mut(&from).and_then(|end| end.session.as_mut()) else {
            return;
        };
        if !talk.session.carries(wire) && !takes_all {
            return;
        }
        talk.heard_at = ctx.now();
        // A gap is a datagram that was lost: the connection will be given up.
        let Ok(known) = talk.session.incoming.open(lane, first) else { return };
        let known = match self.defect {
            Some(Defect::SkipsOneTooFew) => known.saturating_sub(1),
            Some(Defect::SkipsOneTooMany) if 0 < known => known + 1,
            _ => known,
        };
        let new: Vec<Frame> = split(&bytes).skip(usize::try_from(known).expect("few")).collect();
        let count = new.len() as u64;
        match self.defect {
            Some(Defect::AcknowledgesTooEarly) => {
                talk.late.extend(new.into_iter().map(|frame| (lane, frame)));
            }
            _ => talk.arrive(lane, &new, ctx),
        }
        talk.session.incoming.take(lane, count);
        talk.session.incoming.settle(lane, count, bytes.len() as u64);
    }

    fn acks(&mut self, acks: Acks, from: NodeId, ctx: &mut Context) {
        let end = self.ends.get_mut(&from);
        let Some(talk) = end.and_then(|end| end.session.as_mut()) else { return };
        if !talk.session.carries(acks.wire) {
            return;
        }
        let before = talk.session.outgoing.unacknowledged();
        for (lane, count) in acks.counts {
            talk.session.outgoing.acknowledged(lane, count).expect("the peer is honest");
        }
        let after = talk.session.outgoing.unacknowledged();
        // A datagram that is lost leaves a gap, and nothing behind it is acknowledged any more.
        if after < before || after == 0 {
            talk.heard_at = ctx.now();
        }
    }
}

impl End {
    fn live(&self) -> Option<SessionId> {
        self.session.as_ref().map(|talk| talk.session.id())
    }

    fn offer(&self, wire: WireId) -> Offer {
        let session = self.session.as_ref().map(|talk| &talk.session);
        let received = session.map(|session| session.incoming.received()).unwrap_or_default();
        let last_wire = session.and_then(Session::last_wire);
        Offer { wire, last_wire, live: self.live(), fresh: self.fresh, received }
    }

    fn begin(&mut self, id: SessionId, peer_life: u64, load: Load, ctx: &mut Context) {
        self.fresh = SessionId(ctx.random());
        self.session = Some(Talk {
            session: Session::new(id, load.bounds, sizes()),
            load,
            peer_life,
            heard_at: ctx.now(),
            produced: 0,
            arrived: BTreeMap::new(),
            late: Vec::new(),
        });
    }
}

impl Talk {
    fn attach(
        &mut self,
        wire: WireId,
        mut received: Counts,
        defect: Option<Defect>,
        now: Duration,
    ) {
        if defect == Some(Defect::SendsNothingAgain) {
            let outgoing = &self.session.outgoing;
            received = LANES.map(|lane| (lane, outgoing.cursor(lane))).into();
        }
        self.session.attach(wire, &received).expect("the peer is honest");
        if defect == Some(Defect::AcknowledgesOnce) {
            self.session.incoming.acknowledge();
        }
        self.heard_at = now;
    }

    /// Takes frames in. The last one of a lane is indicated.
    fn arrive(&mut self, lane: LaneId, new: &[Frame], ctx: &mut Context) {
        let arrived = self.arrived.entry(lane).or_default();
        arrived.extend(new);
        if !new.is_empty() && arrived.len() as u64 == self.load.frames {
            let id = self.session.id().0;
            let in_order = arrived.iter().zip(0..).all(|(frame, number)| *frame == (id, number));
            ctx.trigger(&Complete { lane, in_order });
        }
    }

    fn produce(&mut self) {
        for _ in 0..self.load.at_once.min(self.load.frames - self.produced) {
            let frame = (self.session.id().0, self.produced);
            for lane in LANES {
                let pushed = self.session.outgoing.push(lane, &Envelope::seal(&Body(frame)));
                pushed.expect("there is room for all");
            }
            self.produced += 1;
        }
    }

    fn flush(&mut self, wire: WireId, peer: NodeId, ctx: &mut Context) {
        for lane in LANES {
            loop {
                let first = self.session.outgoing.cursor(lane);
                let Some(portion) = self.session.outgoing.take(lane) else { break };
                ctx.send(peer, &Frames { wire, lane, first, bytes: portion.to_vec() });
            }
        }
        let counts = match self.session.incoming.owed() {
            Owed::Nothing => Vec::new(),
            Owed::Later | Owed::Now => self.session.incoming.acknowledge(),
        };
        ctx.send(peer, &Acks { wire, counts });
    }

    fn hand_over_late(&mut self) {
        for (lane, frame) in std::mem::take(&mut self.late) {
            self.arrived.entry(lane).or_default().push(frame);
        }
    }
}

fn split(bytes: &[u8]) -> impl Iterator<Item = Frame> {
    let mut splitter = Splitter::new(sizes());
    splitter.push(bytes);
    let mut frames = splitter.whole().expect("short frames").unwrap_or_default();
    let run = move || Envelopes::cut_off(&mut frames, usize::MAX).expect("envelopes");
    let envelopes = std::iter::from_fn(run).flatten();
    envelopes.map(|envelope| envelope.open::<Body>().expect("a body").0)
}

/// Both ends of each session that both nodes have.
fn pairs<'a>(cluster: &Cluster<'a, Nodes>) -> Vec<(&'a Talk, &'a Talk)> {
    let live: Vec<_> = cluster.live().collect();
    let talk = |from: &'a Nodes, to: NodeId| from.ends.get(&to)?.session.as_ref();
    let pair = |(one, other): (&(NodeId, &'a Nodes), &(NodeId, &'a Nodes))| {
        let (here, there) = (talk(one.1, other.0)?, talk(other.1, one.0)?);
        (here.session.id() == there.session.id()).then_some((here, there))
    };
    let all = live.iter().flat_map(|one| live.iter().map(move |other| (one, other)));
    all.filter_map(pair).collect()
}

fn talks<'a>(cluster: &Cluster<'a, Nodes>) -> impl Iterator<Item = &'a Talk> {
    let ends = cluster.live().flat_map(|(_, node)| node.ends.values());
    ends.filter_map(|end| end.session.as_ref())
}

fn arrives_in_order(cluster: &Cluster<'_, Nodes>) -> Verdict {
    for talk in talks(cluster) {
        for frames in talk.arrived.values() {
            let expected = (0..).map(|number| (talk.session.id().0, number));
            let wrong = frames.iter().zip(expected).find(|(frame, expected)| *frame != expected);
            if let Some((frame, expected)) = wrong {
                return Err(format!("frame {frame:?} came in place of {expected:?}"));
            }
        }
    }
    Ok(())
}

fn acknowledged_has_arrived(cluster: &Cluster<'_, Nodes>) -> Verdict {
    for (here, there) in pairs(cluster) {
        for lane in LANES {
            let acknowledged = here.session.outgoing.count_acknowledged(lane);
            let arrived = there.arrived.get(&lane).map_or(0, Vec::len) as u64;
            if arrived < acknowledged {
                return Err(format!("{acknowledged} are acknowledged, and {arrived} are there"));
            }
        }
    }
    Ok(())
}

fn kept_is_bounded(cluster: &Cluster<'_, Nodes>) -> Verdict {
    let kept = talks(cluster).map(|talk| talk.session.outgoing.kept()).max().unwrap_or(0);
    let is_sum = |outgoing: &Outgoing| {
        outgoing.kept() == outgoing.counts().map(|(_, lane)| lane.kept_bytes).sum::<usize>()
    };
    if !talks(cluster).all(|talk| is_sum(&talk.session.outgoing)) {
        return Err(String::from("what is kept is not what the lanes keep"));
    }
    // The cost of a segment is known only when it is ended, one for each lane.
    let most = BOUNDS.kept_bytes_max + 128 * BOUNDS.lanes_max;
    if kept <= most { Ok(()) } else { Err(format!("{kept} bytes are kept")) }
}

fn one_session(cluster: &Cluster<'_, Nodes>) -> Verdict {
    let mut begun = cluster.live().flat_map(|(node, state)| {
        state.begun.iter().map(move |((peer, life), times)| (node, *peer, *life, *times))
    });
    match begun.find(|(_, _, _, times)| 1 < *times) {
        Some((node, peer, life, times)) => {
            Err(format!("{node} has begun {times} sessions with life {life} of {peer}"))
        }
        None => Ok(()),
    }
}

fn all_has_arrived(cluster: &Cluster<'_, Nodes>) -> Verdict {
    let live = cluster.live().count();
    let pairs = pairs(cluster);
    if pairs.len() != live * (live - 1) {
        return Err(format!("{} ends of {live} nodes have a session", pairs.len()));
    }
    for (here, there) in pairs {
        let all = LANES.iter().all(|lane| {
            there.arrived.get(lane).is_some_and(|frames| frames.len() as u64 == FRAMES)
        });
        let left = here.session.outgoing.unacknowledged();
        if !all || left != 0 {
            return Err(format!("{left} are not acknowledged; {:?}", there.arrived));
        }
    }
    Ok(())
}

fn is_resumed(cluster: &Cluster<'_, Nodes>) -> bool {
    talks(cluster).any(|it| 0 < it.session.resumed() && 0 < it.session.outgoing.unacknowledged())
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "session.tick", local)]
struct Tick;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "session.complete", local)]
struct Complete {
    lane: LaneId,
    in_order: bool,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "session.body")]
struct Body(Frame);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "session.hello", unreliable)]
struct Hello {
    life: u64,
    offer: Offer,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "session.hello_ack", unreliable)]
struct HelloAck {
    life: u64,
    wire: WireId,
    answer: Answer,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "session.frames", unreliable)]
struct Frames {
    wire: WireId,
    lane: LaneId,
    first: u64,
    bytes: Vec<u8>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "session.acks", unreliable)]
struct Acks {
    wire: WireId,
    counts: Counts,
}

fn scenario(defect: Option<Defect>) -> Scenario<Nodes> {
    Scenario::of(move |_| Nodes { defect, ..Nodes::default() })
}

/// Loss, copies, reordering and crashes are within the model; cuts and bursts come on top.
fn run(scenario: &Scenario<Nodes>, nodes: u32, seeds: u64) -> Report {
    let simulation = Simulation::new(scenario, nodes)
        .with(Fault::Partition)
        .with(Fault::Delay)
        .with(Fault::Burst)
        .settings(|world| {
            world.time_us = 2_000_000;
            // Messages are lost as long as there are faults; datagrams would be for ever.
            (world.lose, world.lose_datagram) = (50_000, 0);
            (world.partition_us, world.burst_us) = (300_000, 200_000);
            (world.down_us, world.clog_us, world.pause_us) = (200_000, 200_000, 200_000);
            world.tail_max_us = 200_000;
        });
    simulation.run(0..seeds)
}

#[test]
fn sessions_keep_their_promises_between_two_nodes() {
    let report = run(&scenario(None), 2, 100);
    report.expect_clean();
    let counts = &report.counts;
    assert!(0 < counts.crashes, "{counts:?}");
}

#[test]
fn sessions_keep_their_promises_among_three_nodes() {
    run(&scenario(None), 3, 20).expect_clean();
}

/// Fails unless the simulator finds the defect, as a violation of the property.
fn is_found(defect: Defect, property: &str) {
    let report = run(&scenario(Some(defect)), 2, 300);
    let failure = report.expect_failure();
    assert_eq!(failure.violation.property, property, "{}", failure.block());
}

#[test]
fn a_frame_that_is_taken_twice_is_found() {
    is_found(Defect::SkipsOneTooFew, "every frame arrives once and in order");
}

#[test]
fn a_frame_that_is_skipped_is_found() {
    is_found(Defect::SkipsOneTooMany, "every frame arrives once and in order");
}

#[test]
fn an_acknowledgement_before_its_time_is_found() {
    is_found(Defect::AcknowledgesTooEarly, "nothing acknowledged is missing");
}

#[test]
fn frames_that_are_not_sent_again_are_found() {
    is_found(Defect::SendsNothingAgain, "the session goes on");
}

#[test]
fn acknowledgements_that_are_not_told_again_are_found() {
    is_found(Defect::AcknowledgesOnce, "the session goes on");
}

#[test]
fn frames_of_an_old_session_that_are_taken_are_found() {
    is_found(Defect::TakesOldFrames, "every frame arrives once and in order");
}

#[test]
fn counts_of_another_session_are_found() {
    is_found(Defect::MixesSessionsUp, "no handler panics");
}

#[test]
fn a_session_that_begins_twice_because_an_answer_was_lost_is_found() {
    is_found(Defect::OffersAnotherSession, "two lives have one session");
}
