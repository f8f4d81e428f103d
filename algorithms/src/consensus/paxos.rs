//! Paxos: the nodes choose one of the values that are proposed, once and for all.
//!
//! Source: L. Lamport, "Paxos made simple", ACM SIGACT News 32(4), 2001, section 2. Every node is
//! proposer, acceptor and learner. A proposer that has waited in vain begins a higher ballot, each
//! time later, which makes up for lost messages as well.
//!
//! | Assumes   | partially synchronous: in the end, messages take at most `DELAY_MAX`;            |
//! |           | crash-recovery of a minority; links that lose and double some messages           |
//! | Safety    | one value is chosen, and it was proposed; neither needs a bound on delays        |
//! | Liveness  | `SETTLED_WITHIN` after the last fault, every live proposer knows what is chosen  |
//! | Messages  | 5(n−1) for a proposer alone; 4 delays until its client knows                     |
//! | Checked   | 3 nodes, 2 proposers of one ballot each, 1 crash anywhere and its recovery,      |
//! |           | delays without a bound: 212,859 states                                            |
//!
//! ```text
//! upon <Propose | v>:                   wish := v; begin a ballot
//! begin a ballot:                       ballot := (a higher round, self); log it
//!                                       send <Prepare | ballot> to all; wait for <Impatient>
//! upon <Prepare | b> from q, b not below promised:
//!                                       promised := b; log it; send <Promise | b, accepted> to q
//! upon <Promise | ballot> of a majority: proposal := the value accepted in the highest ballot,
//!                                       wish if none was; send <Accept | ballot, proposal> to all
//! upon <Accept | b, v> from q, b not below promised:
//!                                       promised := b; accepted := (b, v); log it
//!                                       send <Accepted | b> to q
//! upon <Prepare | b>, <Accept | b>, b below promised: send <Refused | promised> to q
//! upon <Accepted | ballot> of a majority: chosen := proposal; send <Chosen | chosen> to all
//! upon <Impatient>:                     begin a ballot
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Links, Model, NodeId, Property, Quorum,
    Snapshots, Summary, Symmetry, Timing, Tolerance, Verdict, Workload,
};

/// The bound on the delay of a message that holds in the end, processing included.
pub const DELAY_MAX: Duration = Duration::from_millis(50);
/// When every live proposer knows what is chosen, counted from the last fault.
pub const SETTLED_WITHIN: Duration = DELAY_MAX.saturating_mul(160);

/// A ballot that nobody disturbs is over by then: two phases, there and back, and one more delay
/// to keep the last answer and the timer apart.
const BALLOT: u32 = 5;
/// How much longer the next higher node waits, in delays, so that one of them is undisturbed.
const APART: u32 = 3;
/// From this many lower nodes on, all wait as long: the longest wait is well below [`SETTLED_WITHIN`], and
/// of those that begin at once the highest one is undisturbed.
const RANK_MAX: u32 = 8;
/// From this ballot of a proposer on, it does not wait longer each time.
const PATIENCE_MAX: u32 = 3;
/// Operations that wait at one node at most. Beyond, one is refused: it is not invoked.
pub const WAITING_MAX: usize = 1_024;

/// The state of one node.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Paxos {
    /// What outlives a crash.
    durable: Durable,
    /// Operations of the client of this node that have not returned.
    operations: Vec<u64>,
    /// The highest round that refused a ballot of this node.
    heard: u64,
    /// The value that this node proposes if it may.
    wish: Option<u64>,
    /// Ballots that this node has begun in this life, and may begin at most.
    ballots: u32,
    ballots_max: Option<u32>,
    promises: Quorum<Option<Acceptance>>,
    acceptances: Quorum,
    proposal: Option<u64>,
    chosen: Option<u64>,
}

/// A round, and who proposes in it. Nobody else does. Ordered.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
struct Ballot {
    round: u64,
    proposer: NodeId,
}

/// What was accepted last. Ordered: the higher ballot first.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
struct Acceptance {
    ballot: Ballot,
    value: u64,
}

/// Lamport 2001, section 2.5: an acceptor remembers these beyond a failure, and a proposer the
/// highest round it has tried. A record of all stands for the ones before.
#[derive(Event, Clone, Copy, Debug, Default, Hash, Serialize, Deserialize)]
#[event(name = "paxos.durable", local)]
struct Durable {
    /// The round of the last ballot that this node has begun.
    round: u64,
    promised: Option<Ballot>,
    accepted: Option<Acceptance>,
}

impl Algorithm for Paxos {
    const NAME: &'static str = "paxos";
    const MODEL: Model = Model {
        timing: Timing::PartiallySynchronous { delay_max: DELAY_MAX },
        ..Model::ASYNCHRONOUS
    }
    .tolerating(Faults::CrashRecovery(Tolerance::Minority))
    .over(Links::FairLoss);

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .restore(Self::restore)
            .on(Self::propose)
            .on(Self::prepare)
            .on(Self::promise)
            .on(Self::accept)
            .on_commuting(Self::accepted)
            .on_commuting(Self::refused)
            .on(Self::chosen)
            .on(Self::impatient)
            .indicates::<Invoked>()
            .indicates::<Returned>()
    }

    fn snapshots() -> Snapshots<Self> {
        Snapshots::encoded()
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::always("one value is chosen", one_value_is_chosen),
            Property::at_rest("every proposal returns", every_proposal_returns),
            Property::eventually(
                "proposals return in time",
                SETTLED_WITHIN,
                every_proposal_returns,
            ),
        ]
    }

    /// Proposers are told apart by their names where their rounds are equal.
    fn symmetry() -> Symmetry<Self> {
        Symmetry::of_the_unasked()
    }

    fn workload() -> Workload {
        Workload::default()
            .trigger(NodeId(1), Duration::ZERO, &Propose { operation: 1, value: 7 })
            .trigger(NodeId(2), DELAY_MAX * BALLOT, &Propose { operation: 2, value: 8 })
            .offer(|number| Propose { operation: 10 + number, value: 10 + number })
    }

    fn summary(&self) -> Summary {
        let role = match (self.chosen, self.wish) {
            (Some(_), _) => "learner",
            (None, Some(_)) => "proposer",
            (None, None) => "acceptor",
        };
        let summary = Summary::default().role(role).with("round", self.durable.round);
        match self.chosen {
            Some(value) => summary.with("chosen", value),
            None => summary,
        }
    }
}

impl Paxos {
    /// A node that begins at most so many ballots in a life, so that an exploration without a
    /// bound on delays is finite.
    #[must_use]
    pub fn giving_up_after(ballots: u32) -> Self {
        Self { ballots_max: Some(ballots), ..Self::default() }
    }

    /// The chosen value, once this node knows it.
    #[must_use]
    pub fn decision(&self) -> Option<u64> {
        self.chosen
    }

    fn restore(&mut self, durable: Durable) {
        self.durable = durable;
    }

    /// Upon `Propose`: propose this value, unless one is proposed here already.
    fn propose(&mut self, Propose { operation, value }: Propose, ctx: &mut Context) {
        if WAITING_MAX <= self.operations.len() {
            return;
        }
        ctx.trigger(&Invoked { operation, client: ctx.me(), input: value });
        self.operations.push(operation);
        if self.chosen.is_some() {
            self.settle(ctx);
        } else if self.wish.is_none() {
            self.wish = Some(value);
            self.begin(ctx);
        }
    }

    /// Lamport 2001, phase 1a: a ballot of a higher number than all that this node has heard of.
    fn begin(&mut self, ctx: &mut Context) {
        if self.ballots_max.is_some_and(|most| most <= self.ballots) {
            return;
        }
        self.ballots += 1;
        let promised = self.durable.promised.map_or(0, |ballot| ballot.round);
        self.durable.round = self.durable.round.max(self.heard).max(promised) + 1;
        self.proposal = None;
        self.promises = Quorum::majority(ctx.peers().len());
        self.acceptances = Quorum::default();
        ctx.checkpoint(&self.durable);
        ctx.broadcast(&Prepare(self.durable.round));
        ctx.after(self.patience(ctx), &Impatient);
    }

    /// Upon `Prepare`, phase 1b: promise to accept nothing below, and tell what was accepted.
    fn prepare(&mut self, Prepare(round): Prepare, from: NodeId, ctx: &mut Context) {
        let ballot = Ballot { round, proposer: from };
        if self.may_answer(ballot, ctx) {
            self.durable.promised = Some(ballot);
            ctx.checkpoint(&self.durable);
            ctx.send(from, &Promise { round, accepted: self.durable.accepted });
        }
    }

    /// Upon `Promise` of a majority, phase 2a: propose what may have been chosen already.
    fn promise(&mut self, Promise { round, accepted }: Promise, from: NodeId, ctx: &mut Context) {
        if round != self.durable.round || !self.promises.add(from, accepted) {
            return;
        }
        let highest = self.promises.answers().flatten().max();
        let Some(value) = highest.map(|it| it.value).or(self.wish) else {
            return;
        };
        self.proposal = Some(value);
        self.promises = Quorum::default();
        self.acceptances = Quorum::majority(ctx.peers().len());
        ctx.broadcast(&Accept { round, value });
    }

    /// Upon `Accept`, phase 2b: accept, unless a higher ballot has been promised.
    fn accept(&mut self, Accept { round, value }: Accept, from: NodeId, ctx: &mut Context) {
        let ballot = Ballot { round, proposer: from };
        if self.may_answer(ballot, ctx) {
            self.durable.promised = Some(ballot);
            self.durable.accepted = Some(Acceptance { ballot, value });
            ctx.checkpoint(&self.durable);
            ctx.send(from, &Accepted(round));
        }
    }

    /// Upon `Accepted` of a majority: the value is chosen, whatever happens from now on.
    fn accepted(&mut self, Accepted(round): Accepted, from: NodeId, ctx: &mut Context) {
        if round == self.durable.round
            && self.acceptances.add(from, ())
            && let Some(value) = self.proposal
        {
            self.acceptances = Quorum::default();
            ctx.broadcast(&Chosen(value));
        }
    }

    /// Upon `Refused`: the next ballot of this node is above that round.
    fn refused(&mut self, Refused(round): Refused) {
        // A ballot that may still succeed goes on under its own number.
        self.heard = self.heard.max(round);
    }

    /// Upon `Chosen`: everything that was asked for here has its answer.
    fn chosen(&mut self, Chosen(value): Chosen, ctx: &mut Context) {
        self.chosen = Some(value);
        ctx.cancel(&Impatient);
        self.settle(ctx);
    }

    /// Upon `Impatient`: a message was lost, a node is down, or another proposer was faster.
    fn impatient(&mut self, _: Impatient, ctx: &mut Context) {
        self.begin(ctx);
    }

    /// Whether this acceptor does what a ballot asks. If not, the proposer learns why.
    fn may_answer(&self, ballot: Ballot, ctx: &mut Context) -> bool {
        if let Some(value) = self.chosen {
            ctx.send(ballot.proposer, &Chosen(value));
            return false;
        }
        match self.durable.promised {
            Some(promised) if ballot < promised => {
                ctx.send(ballot.proposer, &Refused(promised.round));
                false
            }
            _ => true,
        }
    }

    /// Longer with each ballot, and for each node another time, so that they get out of step.
    fn patience(&self, ctx: &Context) -> Duration {
        let lower = ctx.peers().iter().filter(|peer| **peer < ctx.me()).count();
        let rank = u32::try_from(lower).unwrap_or(RANK_MAX).min(RANK_MAX);
        DELAY_MAX * (BALLOT + APART * rank) * self.ballots.min(PATIENCE_MAX)
    }

    fn settle(&mut self, ctx: &mut Context) {
        if let Some(output) = self.chosen {
            for operation in std::mem::take(&mut self.operations) {
                ctx.trigger(&Returned { operation, client: ctx.me(), output });
            }
        }
    }
}

fn one_value_is_chosen(cluster: &Cluster<'_, Paxos>) -> Verdict {
    let mut known = cluster.live().filter_map(|(node, state)| Some((node, state.chosen?)));
    let Some((one, first)) = known.next() else {
        return Ok(());
    };
    match known.find(|(_, value)| *value != first) {
        Some((other, value)) => Err(format!("{first} for {one}, {value} for {other}")),
        None => Ok(()),
    }
}

fn every_proposal_returns(cluster: &Cluster<'_, Paxos>) -> Verdict {
    match cluster.live().find(|(_, state)| !state.operations.is_empty()) {
        Some((node, _)) => Err(format!("{node} does not know what is chosen")),
        None => Ok(()),
    }
}

/// Lets this node propose a value for a client. From the application.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "paxos.propose", local)]
pub struct Propose {
    /// How the client calls what it asks for.
    pub operation: u64,
    /// What is proposed.
    pub value: u64,
}

/// Indicates that an operation of a client has begun.
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "paxos.invoked", local)]
pub struct Invoked {
    /// How the client calls it.
    pub operation: u64,
    /// At which node the client is.
    pub client: NodeId,
    /// What it proposes.
    pub input: u64,
}

/// Indicates that an operation of a client is over.
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "paxos.returned", local)]
pub struct Returned {
    /// How the client calls it.
    pub operation: u64,
    /// At which node the client is.
    pub client: NodeId,
    /// What is chosen.
    pub output: u64,
}

/// "Will you keep out of ballots below mine, of this round?"
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.prepare")]
struct Prepare(u64);

/// "I will, and this is what I have accepted."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.promise")]
struct Promise {
    round: u64,
    accepted: Option<Acceptance>,
}

/// "Accept this value in my ballot of this round."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.accept")]
struct Accept {
    round: u64,
    value: u64,
}

/// "I have."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.accepted")]
struct Accepted(u64);

/// "I have promised a ballot of this round to another."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.refused")]
struct Refused(u64);

/// "This value is chosen."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.chosen")]
struct Chosen(u64);

/// No ballot of this node has come to an end.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.impatient", local)]
struct Impatient;

#[cfg(test)]
mod tests;
