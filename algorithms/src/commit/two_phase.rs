//! Two-phase commit: all nodes commit a transaction, or all abort it.
//!
//! Source: J. Gray, "Notes on data base operating systems", in "Operating Systems: An Advanced
//! Course", 1978; the log as in P. Bernstein, V. Hadzilacos, N. Goodman, "Concurrency Control and
//! Recovery in Database Systems", 1987, chapter 7. One transaction; many are a
//! [`Keyed`](synod_core::Keyed) of it. The node whose client asks coordinates, and takes part too.
//!
//! | Assumes   | asynchronous; crash-recovery of all but one; reliable links between live nodes;  |
//! |           | one client asks, once                                                            |
//! | Safety    | no node commits while another aborts; a node that refuses never commits          |
//! | Liveness  | while the coordinator is up, every live node learns the outcome. While it is     |
//! |           | down, who has promised waits: the algorithm blocks                               |
//! | Messages  | 4(n−1) to commit; 2 delays until the client knows                                |
//! | Checked   | 3 nodes, 1 crash anywhere and its recovery, a refusal at any time: 171,046 states |
//!
//! ```text
//! upon <Refuse>, not promised:   log <Refused>: this node refuses
//! upon <Commit>:                 log <Began>; send <Prepare> to all; wait for <Late>
//! upon <Prepare> from q:         if this node refuses: log <Concluded | abort>; send <No> to q
//!                                else log <Promised>; send <Yes> to q
//! upon a <Yes> of every node:    decide(commit)
//! upon <No>, or <Late>:          decide(abort)
//! decide(outcome), once:         log <Concluded | outcome>; send <Decide | outcome> to all others
//! upon <Decide | outcome> from q: log <Concluded | outcome>; send <Done> to q
//! upon recovery, begun and not decided: decide(abort)
//! upon <PeerUp | q>, decided and q is not done: send <Decide | outcome> to q
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Model, NodeId, PeerUp, Property, Quorum,
    Snapshots, Summary, Symmetry, Tolerance, Verdict, Workload,
};

/// How long the coordinator waits for votes. Safety does not depend on it.
pub const VOTES_WITHIN: Duration = Duration::from_secs(1);

/// The state of one node.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct TwoPhase {
    /// The operation of the client of this node, if it coordinates.
    coordinates: Option<u64>,
    votes: Quorum,
    /// Who has made the decision durable; none before there is one.
    done: Option<Quorum>,
    /// Whether the application of this node cannot commit.
    refuses: bool,
    /// Whether this node has promised to do what the coordinator decides.
    promised: bool,
    outcome: Option<Outcome>,
}

/// What becomes of the transaction.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// It takes effect at every node.
    Committed,
    /// It takes effect nowhere.
    Aborted,
}

impl Algorithm for TwoPhase {
    const NAME: &'static str = "two-phase-commit";
    const MODEL: Model =
        Model::ASYNCHRONOUS.tolerating(Faults::CrashRecovery(Tolerance::AllButOne));

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .restore(Self::restore_began)
            .restore(Self::restore_promised)
            .restore(Self::restore_refused)
            .restore(Self::restore_concluded)
            .on(Self::refuse)
            .on(Self::commit)
            .on(Self::prepare)
            .on_commuting(Self::yes)
            .on_commuting(Self::no)
            .on(Self::late)
            .on(Self::decision)
            .on_commuting(Self::acknowledged)
            .on(Self::peer_up)
            .indicates::<Invoked>()
            .indicates::<Returned>()
            .indicates::<Learned>()
    }

    fn snapshots() -> Snapshots<Self> {
        Snapshots::encoded()
    }

    /// Upon recovery: who does not know that it has decided has not, for it would be in the log.
    fn start(&mut self, ctx: &mut Context) {
        match (self.outcome, self.coordinates) {
            // Whether the application was told in a former life, nobody knows.
            (Some(outcome), _) => ctx.trigger(&Learned(outcome)),
            (None, Some(operation)) => {
                self.conclude(Outcome::Aborted, ctx);
                let (client, output) = (ctx.me(), Outcome::Aborted);
                ctx.trigger(&Returned { operation, client, output });
            }
            (None, None) => (),
        }
        self.done = self.coordinates.map(|_| Quorum::of(ctx.peers().len() - 1));
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::always("no node commits while another aborts", nobody_disagrees),
            Property::always("a node that refuses never commits", no_refusal_is_overruled),
            Property::at_rest("a live coordinator leaves nobody in doubt", nobody_is_in_doubt),
        ]
    }

    fn symmetry() -> Symmetry<Self> {
        Symmetry::of_all()
    }

    fn workload() -> Workload {
        let at = Duration::from_millis;
        let commit = Commit { operation: 1 };
        Workload::default()
            .trigger(NodeId(1), at(0), &commit)
            .trigger(NodeId(2), at(5), &Refuse)
            .offer(|_| Refuse)
    }

    fn summary(&self) -> Summary {
        let summary = Summary::default().role(match (self.coordinates, self.promised) {
            (Some(_), _) => "coordinator",
            (None, true) => "participant",
            (None, false) => "idle",
        });
        match self.outcome {
            Some(Outcome::Committed) => summary.with("outcome", "committed"),
            Some(Outcome::Aborted) => summary.with("outcome", "aborted"),
            None => summary,
        }
    }
}

impl TwoPhase {
    /// What this node knows to have become of the transaction.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Whether this node has promised, and must wait for the coordinator.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.promised && self.outcome.is_none()
    }

    fn restore_began(&mut self, Began { operation }: Began) {
        self.coordinates = Some(operation);
    }

    fn restore_promised(&mut self, _: Promised) {
        self.promised = true;
    }

    fn restore_refused(&mut self, _: Refused) {
        self.refuses = true;
    }

    fn restore_concluded(&mut self, Concluded(outcome): Concluded) {
        self.outcome = Some(outcome);
    }

    /// Upon `Refuse`: the application cannot commit. Too late once this node has promised.
    fn refuse(&mut self, _: Refuse, ctx: &mut Context) {
        if !self.promised && self.outcome.is_none() && !self.refuses {
            self.refuses = true;
            ctx.persist(&Refused);
        }
    }

    /// Upon `Commit`: ask everybody, this node included.
    fn commit(&mut self, Commit { operation }: Commit, ctx: &mut Context) {
        if self.coordinates.is_some() || self.promised || self.outcome.is_some() {
            return;
        }
        self.coordinates = Some(operation);
        ctx.trigger(&Invoked { operation, client: ctx.me() });
        ctx.persist(&Began { operation });
        self.votes = Quorum::of(ctx.peers().len());
        ctx.broadcast(&Prepare);
        ctx.after(VOTES_WITHIN, &Late);
    }

    /// Upon `Prepare` from the coordinator: a yes is a promise, and outlives a crash.
    fn prepare(&mut self, _: Prepare, from: NodeId, ctx: &mut Context) {
        if self.outcome.is_some() {
            return;
        }
        if self.refuses {
            self.conclude(Outcome::Aborted, ctx);
            ctx.send(from, &No);
        } else {
            self.promised = true;
            ctx.persist(&Promised);
            ctx.send(from, &Yes);
        }
    }

    /// Upon `Yes` of every node: commit.
    fn yes(&mut self, _: Yes, from: NodeId, ctx: &mut Context) {
        if self.votes.add(from, ()) {
            self.decide(Outcome::Committed, ctx);
        }
    }

    /// Upon `No`: one is enough.
    fn no(&mut self, _: No, ctx: &mut Context) {
        self.decide(Outcome::Aborted, ctx);
    }

    /// Upon `Late`: somebody has not voted, and nothing is decided yet.
    fn late(&mut self, _: Late, ctx: &mut Context) {
        self.decide(Outcome::Aborted, ctx);
    }

    /// Upon `Decide` from the coordinator: its word is final.
    fn decision(&mut self, Decide(outcome): Decide, from: NodeId, ctx: &mut Context) {
        self.conclude(outcome, ctx);
        ctx.send(from, &Done);
    }

    /// Upon `Done`: that node need not be told again.
    fn acknowledged(&mut self, _: Done, from: NodeId) {
        if let Some(done) = &mut self.done {
            done.add(from, ());
        }
    }

    /// Upon `PeerUp`: what the peer was told in a former life of either may be lost.
    fn peer_up(&mut self, PeerUp { peer, .. }: PeerUp, ctx: &mut Context) {
        if let (Some(done), Some(outcome)) = (&self.done, self.outcome)
            && !done.has(peer)
        {
            ctx.send(peer, &Decide(outcome));
        }
    }

    /// Bernstein et al. 1987, section 7.4: the transaction has its outcome when the coordinator's
    /// record of it is durable. Nothing that tells it leaves before.
    fn decide(&mut self, outcome: Outcome, ctx: &mut Context) {
        let Some(operation) = self.coordinates else {
            return;
        };
        if self.done.is_some() {
            return;
        }
        self.conclude(outcome, ctx);
        self.done = Some(Quorum::of(ctx.peers().len() - 1));
        ctx.cancel(&Late);
        let me = ctx.me();
        ctx.send_where(&Decide(outcome), |peer| peer != me);
        ctx.trigger(&Returned { operation, client: me, output: outcome });
    }

    fn conclude(&mut self, outcome: Outcome, ctx: &mut Context) {
        if self.outcome.is_none() {
            self.outcome = Some(outcome);
            ctx.persist(&Concluded(outcome));
            ctx.trigger(&Learned(outcome));
        }
    }
}

fn nobody_disagrees(cluster: &Cluster<'_, TwoPhase>) -> Verdict {
    let with = |outcome| cluster.live().find(|(_, state)| state.outcome == Some(outcome));
    match (with(Outcome::Committed), with(Outcome::Aborted)) {
        (Some((one, _)), Some((other, _))) => Err(format!("{one} commits, {other} aborts")),
        _ => Ok(()),
    }
}

fn no_refusal_is_overruled(cluster: &Cluster<'_, TwoPhase>) -> Verdict {
    let overruled = |state: &TwoPhase| state.refuses && state.outcome == Some(Outcome::Committed);
    match cluster.live().find(|(_, state)| overruled(state)) {
        Some((node, _)) => Err(format!("{node} refuses, and commits")),
        None => Ok(()),
    }
}

fn nobody_is_in_doubt(cluster: &Cluster<'_, TwoPhase>) -> Verdict {
    if !cluster.live().any(|(_, state)| state.coordinates.is_some()) {
        return Ok(());
    }
    match cluster.live().find(|(_, state)| state.outcome.is_none()) {
        Some((node, _)) => Err(format!("{node} does not know the outcome")),
        None => Ok(()),
    }
}

/// Lets this node ask all nodes to commit, for a client. From the application.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "two_phase.commit", local)]
pub struct Commit {
    /// How the client calls what it asks for.
    pub operation: u64,
}

/// Says that this node cannot commit. From the application.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "two_phase.refuse", local)]
pub struct Refuse;

/// Indicates that an operation of a client has begun.
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "two_phase.invoked", local)]
pub struct Invoked {
    /// How the client calls it.
    pub operation: u64,
    /// At which node the client is.
    pub client: NodeId,
}

/// Indicates that an operation of a client is over.
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "two_phase.returned", local)]
pub struct Returned {
    /// How the client calls it.
    pub operation: u64,
    /// At which node the client is.
    pub client: NodeId,
    /// What became of the transaction.
    pub output: Outcome,
}

/// Indicates the outcome at this node, once in each life of it that knows it.
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "two_phase.learned", local)]
pub struct Learned(pub Outcome);

/// Record: this node coordinates.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase.began", local)]
struct Began {
    operation: u64,
}

/// "Can you commit?"
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase.prepare")]
struct Prepare;

/// Record: this node does what the coordinator decides.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase.promised", local)]
struct Promised;

/// Record: this node does not commit.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase.refused", local)]
struct Refused;

/// "I can, and will if you say so."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase.yes")]
struct Yes;

/// "I cannot."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase.no")]
struct No;

/// The time for votes is over.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase.late", local)]
struct Late;

/// Record: the outcome, as far as this node is concerned.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase.concluded", local)]
struct Concluded(Outcome);

/// "This is the outcome."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase.decide")]
struct Decide(Outcome);

/// "I have it."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase.done")]
struct Done;

#[cfg(test)]
mod tests;
