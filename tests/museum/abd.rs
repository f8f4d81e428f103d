//! A shared register over a majority of replicas: n1 writes, n2 reads.
//!
//! Source: H. Attiya, A. Bar-Noy, D. Dolev, "Sharing memory robustly in message-passing systems",
//! Journal of the ACM 42(1), 1995. A value is its version here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Model, NodeId, Order, Property, Time,
    Tolerance, Verdict,
};
use synod_simulator::{Scenario, Simulation};

use super::exhibit::{Exhibit, Family, passes, short};

const WRITER: NodeId = NodeId(1);
const READER: NodeId = NodeId(2);
const OPERATIONS: u64 = 2;

#[derive(Clone, Copy, Debug, Hash, PartialEq)]
enum Defect {
    /// A read returns what it has found, and tells nobody.
    NothingIsWrittenBack,
    /// Answers to an earlier operation count for this one.
    OperationsAreNotTold,
    /// Half of an even number is enough.
    HalfIsAQuorum,
}

#[derive(Clone, Debug, Default, Hash)]
struct Register {
    defect: Option<Defect>,
    /// The replica.
    version: u64,
    /// The operation under way, and how far it is.
    operation: u64,
    phase: Phase,
    begin: Time,
    found: BTreeMap<NodeId, u64>,
    stored: BTreeSet<NodeId>,
    history: Vec<Done>,
}

#[derive(Clone, Copy, Debug, Default, Hash, PartialEq)]
enum Phase {
    #[default]
    Idle,
    Asking,
    Storing {
        version: u64,
    },
}

/// An operation that is over: when it began, when it ended, and what it wrote or read.
#[derive(Clone, Copy, Debug, Hash)]
struct Done {
    begin: Time,
    end: Time,
    version: u64,
}

impl Algorithm for Register {
    const NAME: &'static str = "ABD register";
    const ORDER: Order = Order::PerEvent;
    const MODEL: Model = Model::ASYNCHRONOUS.tolerating(Faults::CrashStop(Tolerance::Minority));

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::begin)
            .on(Self::query)
            .on(Self::found)
            .on(Self::store)
            .on(Self::stored)
    }

    fn start(&mut self, ctx: &mut Context) {
        if [WRITER, READER].contains(&ctx.me()) {
            pause(ctx);
        }
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("operations seem to happen one by one", no_inversion)]
    }
}

impl Register {
    fn begin(&mut self, _: Begin, ctx: &mut Context) {
        self.operation += 1;
        self.begin = ctx.now();
        self.found.clear();
        if ctx.me() == WRITER {
            let version = self.version + 1;
            self.store_all(version, ctx);
        } else {
            self.phase = Phase::Asking;
            ctx.broadcast(&Query { operation: self.operation });
        }
    }

    fn query(&mut self, Query { operation }: Query, from: NodeId, ctx: &mut Context) {
        ctx.send(from, &Found { operation, version: self.version });
    }

    fn found(&mut self, found: Found, from: NodeId, ctx: &mut Context) {
        if self.phase != Phase::Asking || !self.is_told(found.operation) {
            return;
        }
        self.found.insert(from, found.version);
        if self.is_quorum(self.found.len(), ctx) {
            let version = self.found.values().copied().max().unwrap_or(0);
            if self.defect == Some(Defect::NothingIsWrittenBack) {
                self.finish(version, ctx);
            } else {
                self.store_all(version, ctx);
            }
        }
    }

    fn store_all(&mut self, version: u64, ctx: &mut Context) {
        self.phase = Phase::Storing { version };
        self.stored.clear();
        ctx.broadcast(&Store { operation: self.operation, version });
    }

    fn store(&mut self, Store { operation, version }: Store, from: NodeId, ctx: &mut Context) {
        self.version = version.max(self.version);
        ctx.send(from, &Stored { operation });
    }

    fn stored(&mut self, Stored { operation }: Stored, from: NodeId, ctx: &mut Context) {
        let Phase::Storing { version } = self.phase else {
            return;
        };
        if self.is_told(operation) {
            self.stored.insert(from);
            if self.is_quorum(self.stored.len(), ctx) {
                self.finish(version, ctx);
            }
        }
    }

    fn finish(&mut self, version: u64, ctx: &mut Context) {
        self.phase = Phase::Idle;
        self.history.push(Done { begin: self.begin, end: ctx.now(), version });
        if self.operation < OPERATIONS {
            pause(ctx);
        }
    }

    fn is_told(&self, operation: u64) -> bool {
        operation == self.operation || self.defect == Some(Defect::OperationsAreNotTold)
    }

    fn is_quorum(&self, count: usize, ctx: &Context) -> bool {
        let all = ctx.peers().len();
        all < 2 * count || (self.defect == Some(Defect::HalfIsAQuorum) && all == 2 * count)
    }
}

/// Until the next operation.
fn pause(ctx: &mut Context) {
    let pause = u64::from(ctx.me().0) + 3 * u64::from(ctx.choose(4));
    ctx.after(Duration::from_millis(pause), &Begin);
}

/// What ends before another begins has not seen, or written, a later version.
fn no_inversion(cluster: &Cluster<'_, Register>) -> Verdict {
    let all = || cluster.live().flat_map(|(_, state)| &state.history);
    for first in all() {
        if let Some(later) = all().find(|it| first.end < it.begin && it.version < first.version) {
            return Err(format!("version {}, and then {}", first.version, later.version));
        }
    }
    Ok(())
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "abd.begin", local)]
struct Begin;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "abd.query")]
struct Query {
    operation: u64,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "abd.found")]
struct Found {
    operation: u64,
    version: u64,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "abd.store")]
struct Store {
    operation: u64,
    version: u64,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "abd.stored")]
struct Stored {
    operation: u64,
}

fn with(defect: Option<Defect>) -> Scenario<Register> {
    Scenario::of(move |_| Register { defect, ..Register::default() })
}

/// One message in four is late, for what matters is which majority answers first.
fn world_of(scenario: &Scenario<Register>, nodes: u32) -> Simulation<'_> {
    Simulation::new(scenario, nodes).settings(|it| {
        short(it, 100);
        (it.tail, it.tail_max_us) = (250_000, 50_000);
    })
}

fn three(scenario: &Scenario<Register>) -> Simulation<'_> {
    world_of(scenario, 3)
}

fn four(scenario: &Scenario<Register>) -> Simulation<'_> {
    world_of(scenario, 4)
}

#[test]
fn the_correct_version_passes() {
    passes(&with(None), three);
    passes(&with(None), four);
}

fn finds(defect: Defect, sentence: &'static str, family: Family) {
    let world = if defect == Defect::HalfIsAQuorum { four } else { three };
    let violates = "operations seem to happen one by one";
    Exhibit { defect: sentence, family, violates }.is_found(&with(Some(defect)), world);
}

#[test]
fn nothing_is_written_back() {
    let sentence = "a read does not store what it returns, so that a later read finds less";
    finds(Defect::NothingIsWrittenBack, sentence, Family::Omission);
}

#[test]
fn operations_that_are_not_told_apart() {
    let sentence = "late answers to an operation count for the next one";
    finds(Defect::OperationsAreNotTold, sentence, Family::Epoch);
}

#[test]
fn half_is_a_quorum() {
    let sentence = "half of an even number of replicas passes for a quorum";
    finds(Defect::HalfIsAQuorum, sentence, Family::Quorum);
}
