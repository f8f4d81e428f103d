//! Two-phase commit, as in the TLA+ module `TwoPhase` of J. Gray, L. Lamport, "Consensus on
//! transaction commit", ACM Transactions on Database Systems 31(1), 2006: the transaction manager
//! first, and then the resource managers.
//!
//! What a manager may do of itself at any time is a timer. The messages are a set from which nothing
//! is ever taken, so the network is to repeat what it carries for ever. A step of the module is a
//! step here; to a manager for which a message is nothing new, or too late, it is one that changes
//! nothing, where the module sometimes has none. So the states are those of the module, and there are
//! more transitions.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, Model, NodeId, Property, Verdict};
use synod_simulator::Bounds;

#[derive(Clone, Debug, Hash)]
pub(crate) enum TwoPhase {
    Transaction(Transaction),
    Resource(Resource),
}

#[derive(Clone, Debug, Hash)]
pub(crate) struct Transaction {
    managers: u32,
    /// Whom it knows to be prepared, before and after the decision.
    prepared: BTreeSet<NodeId>,
    decided: bool,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Resource {
    Working,
    Prepared,
    Committed,
    Aborted,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase.prepare", local)]
struct Prepare;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase.give_up", local)]
struct GiveUp;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase.prepared")]
struct Prepared;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase.decide", local)]
struct Decide(bool);

/// To commit, or to abort.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase.decided")]
struct Decided(bool);

const TRANSACTION: NodeId = NodeId(1);

impl Algorithm for TwoPhase {
    const NAME: &'static str = "two-phase";
    const MODEL: Model = Model::ASYNCHRONOUS;

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::prepare)
            .on(Self::give_up)
            .on(Self::prepared)
            .on(Self::decide)
            .on(Self::decided)
    }

    fn start(&mut self, ctx: &mut Context) {
        match self {
            Self::Transaction(_) => ctx.after(Duration::ZERO, &Decide(false)),
            Self::Resource(_) => {
                ctx.after(Duration::ZERO, &Prepare);
                ctx.after(Duration::ZERO, &GiveUp);
            }
        }
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("nobody commits what another aborts", all_agree)]
    }
}

impl TwoPhase {
    pub(crate) fn of(managers: u32, node: NodeId) -> Self {
        if node != TRANSACTION {
            return Self::Resource(Resource::Working);
        }
        Self::Transaction(Transaction { managers, prepared: BTreeSet::new(), decided: false })
    }

    /// The network of the module, and so many resource managers.
    pub(crate) fn bounds(managers: u32) -> Bounds {
        let nodes = managers + 1;
        Bounds { copies: u32::MAX, unordered: true, ..Bounds::within(&Self::MODEL, nodes) }
    }

    fn prepare(&mut self, _: Prepare, ctx: &mut Context) {
        self.turn(Resource::Prepared, ctx);
        ctx.send(TRANSACTION, &Prepared);
    }

    fn give_up(&mut self, _: GiveUp, ctx: &mut Context) {
        self.turn(Resource::Aborted, ctx);
    }

    fn prepared(&mut self, _: Prepared, from: NodeId, ctx: &mut Context) {
        let Self::Transaction(Transaction { managers, prepared, decided: false }) = self else {
            return;
        };
        if prepared.insert(from) && prepared.len() == *managers as usize {
            ctx.after(Duration::ZERO, &Decide(true));
        }
    }

    fn decide(&mut self, Decide(commits): Decide, ctx: &mut Context) {
        if let Self::Transaction(transaction) = self {
            transaction.decided = true;
            ctx.cancel(&Decide(!commits));
            ctx.send_where(&Decided(commits), |node| node != TRANSACTION);
        }
    }

    fn decided(&mut self, Decided(commits): Decided, ctx: &mut Context) {
        self.turn(if commits { Resource::Committed } else { Resource::Aborted }, ctx);
    }

    /// Only one that is working may prepare, or give up.
    fn turn(&mut self, into: Resource, ctx: &mut Context) {
        *self = Self::Resource(into);
        ctx.cancel(&Prepare);
        ctx.cancel(&GiveUp);
    }
}

fn all_agree(cluster: &Cluster<'_, TwoPhase>) -> Verdict {
    let is = |wanted: Resource| {
        cluster.live().any(|(_, node)| matches!(node, TwoPhase::Resource(it) if *it == wanted))
    };
    if is(Resource::Committed) && is(Resource::Aborted) {
        return Err(String::from("one has committed, and another aborted"));
    }
    Ok(())
}
