//! Paxos for one value: every node proposes, until it knows what is chosen.
//!
//! Source: L. Lamport, "Paxos made simple", ACM SIGACT News 32(4), 2001.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Envelope, Event, Faults, Handlers, Links, Model, NodeId, Property,
    Tolerance, Verdict,
};
use synod_simulator::{Scenario, Simulation};

use super::exhibit::{Exhibit, Family, passes, short};

const ASK_AGAIN_EVERY: Duration = Duration::from_millis(15);
const PROPOSE_AGAIN_AFTER: Duration = Duration::from_millis(35);

#[derive(Clone, Copy, Debug, Hash, PartialEq)]
enum Defect {
    PromiseIsNotDurable,
    AcceptanceIsNotDurable,
    /// A proposer proposes its own value whatever it is told.
    OwnValueIsProposed,
    /// An acceptor accepts in a ballot below its promise.
    PromiseIsNotKept,
    /// Of the accepted values, that of the highest node is taken, not of the highest ballot.
    BallotsAreNotCompared,
    /// Two proposers may have the same ballot.
    BallotsAreShared,
    /// A proposer forgets in a crash in which rounds it was.
    RoundIsNotDurable,
    /// Half of an even number is enough.
    HalfIsAQuorum,
}

/// A round, and who proposes in it. Nobody else does.
type Ballot = (u64, NodeId);

/// What is proposed: by whom, and in which life of the proposer.
type Value = (NodeId, u64);

#[derive(Clone, Debug, Default, Hash)]
struct Paxos {
    defect: Option<Defect>,
    /// The acceptor: below which ballot it does nothing, and what it has accepted last.
    promised: Option<Ballot>,
    accepted: Option<(Ballot, Value)>,
    /// The proposer.
    round: u64,
    proposal: Option<Value>,
    promises: BTreeMap<NodeId, Option<(Ballot, Value)>>,
    acceptors: BTreeSet<NodeId>,
    chosen: Option<Value>,
}

impl Algorithm for Paxos {
    const NAME: &'static str = "Paxos";
    const MODEL: Model = Model::ASYNCHRONOUS
        .tolerating(Faults::CrashRecovery(Tolerance::Minority))
        .over(Links::FairLoss);

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .restore(Self::restored_promise)
            .restore(Self::restored_acceptance)
            .restore(Self::restored_round)
            .on(Self::propose)
            .on(Self::prepare)
            .on(Self::promise)
            .on(Self::again)
            .on(Self::accept)
            .on(Self::accepted)
            .indicates::<Voted>()
    }

    fn start(&mut self, ctx: &mut Context) {
        wait(Duration::ZERO, ctx);
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("one value is chosen", one_value_is_chosen)]
    }
}

impl Paxos {
    fn restored_promise(&mut self, Promised(ballot): Promised) {
        self.promised = Some(ballot);
    }

    fn restored_acceptance(&mut self, Acceptance(ballot, value): Acceptance) {
        self.promised = self.promised.max(Some(ballot));
        self.accepted = Some((ballot, value));
    }

    fn restored_round(&mut self, Began(round): Began) {
        self.round = round;
    }

    fn propose(&mut self, _: Propose, ctx: &mut Context) {
        if self.chosen.is_some() {
            return;
        }
        self.round += 1;
        if self.defect != Some(Defect::RoundIsNotDurable) {
            ctx.persist(&Began(self.round));
        }
        self.proposal = None;
        self.promises.clear();
        self.acceptors.clear();
        ctx.broadcast(&Prepare(self.round));
        wait(PROPOSE_AGAIN_AFTER, ctx);
    }

    /// Lamport 2001, phase 1b: promise to accept nothing below, and tell what was accepted.
    fn prepare(&mut self, Prepare(round): Prepare, from: NodeId, ctx: &mut Context) {
        let ballot = self.ballot(round, from);
        if Some(ballot) < self.promised {
            return;
        }
        self.promised = Some(ballot);
        if self.defect != Some(Defect::PromiseIsNotDurable) {
            ctx.persist(&Promised(ballot));
        }
        ctx.send(from, &Promise { round, accepted: self.accepted });
    }

    /// Lamport 2001, phase 2a: propose what was accepted in the highest ballot, if anything was.
    fn promise(&mut self, promise: Promise, from: NodeId, ctx: &mut Context) {
        if promise.round != self.round || self.proposal.is_some() {
            return;
        }
        self.promises.insert(from, promise.accepted);
        if self.is_quorum(self.promises.len(), ctx) {
            let told = self.promises.values().flatten();
            let told = match self.defect {
                Some(Defect::OwnValueIsProposed) => None,
                Some(Defect::BallotsAreNotCompared) => told.max_by_key(|(ballot, _)| ballot.1),
                _ => told.max_by_key(|(ballot, _)| *ballot),
            };
            let own = (ctx.me(), ctx.incarnation());
            let value = told.map_or(own, |(_, value)| *value);
            self.proposal = Some(value);
            self.ask(ctx);
        }
    }

    fn again(&mut self, _: Again, ctx: &mut Context) {
        self.ask(ctx);
    }

    /// Asks until the value is chosen, for messages may be lost.
    fn ask(&self, ctx: &mut Context) {
        if let (Some(value), None) = (self.proposal, self.chosen) {
            ctx.broadcast(&Accept { round: self.round, value });
            ctx.after(ASK_AGAIN_EVERY, &Again);
        }
    }

    /// Lamport 2001, phase 2b: accept, unless a higher ballot has been promised.
    fn accept(&mut self, Accept { round, value }: Accept, from: NodeId, ctx: &mut Context) {
        let ballot = self.ballot(round, from);
        if Some(ballot) < self.promised && self.defect != Some(Defect::PromiseIsNotKept) {
            return;
        }
        self.promised = self.promised.max(Some(ballot));
        self.accepted = Some((ballot, value));
        if self.defect != Some(Defect::AcceptanceIsNotDurable) {
            ctx.persist(&Acceptance(ballot, value));
        }
        ctx.trigger(&Voted { ballot, value });
        ctx.send(from, &Accepted(round));
    }

    fn accepted(&mut self, Accepted(round): Accepted, from: NodeId, ctx: &mut Context) {
        if round == self.round && self.proposal.is_some() {
            self.acceptors.insert(from);
            if self.is_quorum(self.acceptors.len(), ctx) {
                self.chosen = self.proposal;
            }
        }
    }

    fn ballot(&self, round: u64, proposer: NodeId) -> Ballot {
        match self.defect {
            Some(Defect::BallotsAreShared) => (round, NodeId(0)),
            _ => (round, proposer),
        }
    }

    fn is_quorum(&self, count: usize, ctx: &Context) -> bool {
        let all = ctx.peers().len();
        all < 2 * count || (self.defect == Some(Defect::HalfIsAQuorum) && all == 2 * count)
    }
}

/// Until this node proposes; the higher ones later.
fn wait(least: Duration, ctx: &mut Context) {
    let more = 5 * u64::from(ctx.me().0) + 5 * u64::from(ctx.choose(6));
    ctx.after(least + Duration::from_millis(more), &Propose);
}

fn one_value_is_chosen(cluster: &Cluster<'_, Paxos>) -> Verdict {
    let mut known = cluster.live().filter_map(|(node, state)| Some((node, state.chosen?)));
    let Some((one, first)) = known.next() else {
        return Ok(());
    };
    match known.find(|(_, value)| *value != first) {
        Some((other, value)) => Err(format!("{first:?} for {one}, {value:?} for {other}")),
        None => Ok(()),
    }
}

/// Lamport 2001, section 2.2: different proposals have different numbers. Two values in one ballot
/// are wrong long before two are chosen: for that, an acceptor that knows only the first value has
/// to be asked together with one that knows only the second, before the proposer has told it the
/// second.
fn a_ballot_has_one_value() -> impl FnMut(NodeId, &Envelope) -> Verdict + Send {
    let mut values: BTreeMap<Ballot, Value> = BTreeMap::new();
    move |node, envelope| {
        let Voted { ballot, value } = envelope.open().map_err(|error| error.to_string())?;
        match *values.entry(ballot).or_insert(value) {
            first if first == value => Ok(()),
            first => Err(format!("{node} accepts {value:?} in {ballot:?}, another had {first:?}")),
        }
    }
}

/// An acceptor has accepted.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.voted", local)]
struct Voted {
    ballot: Ballot,
    value: Value,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.promised", local)]
struct Promised(Ballot);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.acceptance", local)]
struct Acceptance(Ballot, Value);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.began", local)]
struct Began(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.propose", local)]
struct Propose;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.again", local)]
struct Again;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.prepare")]
struct Prepare(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.promise")]
struct Promise {
    round: u64,
    accepted: Option<(Ballot, Value)>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.accept")]
struct Accept {
    round: u64,
    value: Value,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.accepted")]
struct Accepted(u64);

fn with(defect: Option<Defect>) -> Scenario<Paxos> {
    Scenario::of(move |_| Paxos { defect, ..Paxos::default() })
}

fn with_one_value_in_a_ballot(defect: Option<Defect>) -> Scenario<Paxos> {
    with(defect).property(Property::monitor(ONE_VALUE, a_ballot_has_one_value))
}

const ONE_VALUE: &str = "a ballot has one value";

fn world_of(scenario: &Scenario<Paxos>, nodes: u32) -> Simulation<'_> {
    Simulation::new(scenario, nodes).settings(|it| short(it, 100))
}

fn three(scenario: &Scenario<Paxos>) -> Simulation<'_> {
    world_of(scenario, 3)
}

fn four(scenario: &Scenario<Paxos>) -> Simulation<'_> {
    world_of(scenario, 4)
}

#[test]
fn the_correct_version_passes() {
    passes(&with_one_value_in_a_ballot(None), three);
    passes(&with_one_value_in_a_ballot(None), four);
}

fn finds(defect: Defect, sentence: &'static str, family: Family) {
    let world = if defect == Defect::HalfIsAQuorum { four } else { three };
    let exhibit = Exhibit { defect: sentence, family, violates: "one value is chosen" };
    exhibit.is_found(&with(Some(defect)), world);
}

#[test]
fn a_promise_that_is_not_durable() {
    let sentence = "an acceptor forgets its promise in a crash, and accepts in a lower ballot";
    finds(Defect::PromiseIsNotDurable, sentence, Family::Durability);
}

#[test]
fn an_acceptance_that_is_not_durable() {
    let sentence = "an acceptor forgets in a crash what it has accepted";
    finds(Defect::AcceptanceIsNotDurable, sentence, Family::Durability);
}

#[test]
fn the_own_value_is_proposed() {
    let sentence = "a proposer takes its own value, whatever the acceptors tell it";
    finds(Defect::OwnValueIsProposed, sentence, Family::Guard);
}

#[test]
fn a_promise_that_is_not_kept() {
    let sentence = "an acceptor accepts in a ballot below the one that it has promised";
    finds(Defect::PromiseIsNotKept, sentence, Family::Epoch);
}

#[test]
fn ballots_that_are_not_compared() {
    let sentence =
        "of the accepted values, that of the highest node is taken, not of the last round";
    finds(Defect::BallotsAreNotCompared, sentence, Family::Comparison);
}

#[test]
fn ballots_that_are_shared() {
    let sentence = "a ballot is a round alone, so that two proposers have the same";
    finds(Defect::BallotsAreShared, sentence, Family::Identity);
}

#[test]
fn a_round_that_is_not_durable() {
    let sentence = "a proposer forgets its round in a crash, and uses a ballot again";
    let exhibit = Exhibit { defect: sentence, family: Family::Identity, violates: ONE_VALUE };
    exhibit.is_found(&with_one_value_in_a_ballot(Some(Defect::RoundIsNotDurable)), three);
}

#[test]
#[ignore = "takes minutes: the nodes hardly ever disagree"]
fn a_round_that_is_not_durable_ends_in_disagreement() {
    let report = three(&with(Some(Defect::RoundIsNotDurable))).run(0..200_000);
    assert_eq!(report.expect_failure().violation.property, "one value is chosen");
}

#[test]
fn half_is_a_quorum() {
    let sentence = "half of an even number of acceptors passes for a quorum";
    finds(Defect::HalfIsAQuorum, sentence, Family::Quorum);
}
