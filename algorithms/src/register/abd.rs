//! ABD: a register that every node reads and writes, kept by a majority.
//!
//! Source: H. Attiya, A. Bar-Noy, D. Dolev, "Sharing memory robustly in message-passing systems",
//! Journal of the ACM 42(1), 1995; for several writers as in N. Lynch, A. Shvartsman, "Robust
//! emulation of shared memory using dynamic quorum-acknowledged broadcasts", FTCS 1997. Every node
//! is a replica, and serves its client one operation after the other.
//!
//! | Assumes   | asynchronous; crash-stop of a minority; reliable links between live nodes. A     |
//! |           | replica keeps nothing on disk: one that came back would have forgotten what a    |
//! |           | majority was promised                                                            |
//! | Safety    | operations seem to happen one by one, each between its invocation and return     |
//! | Liveness  | every operation of a live node returns                                           |
//! | Messages  | 4(n−1) for a read and for a write; 4 delays until its client knows               |
//! | Checked   | 3 nodes, a write at one and a read at another, 1 crash anywhere: 5,984 states   |
//!
//! ```text
//! upon <Read>, <Write | v>:            queue the operation
//! upon an operation, none running:     send <Query> to all
//! upon <Query> from q:                 send <Found | tag, value> to q
//! upon <Found> of a majority:          (tag, value) := the highest of them
//!                                      if it is a write: (tag, value) := ((tag + 1, self), v)
//!                                      send <Store | tag, value> to all
//! upon <Store | t, v> from q:          if t is above tag: (tag, value) := (t, v)
//!                                      send <Stored> to q
//! upon <Stored> of a majority:         return the value
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Model, NodeId, Property, Quorum,
    Snapshots, Summary, Symmetry, Tolerance, Verdict, Workload,
};

/// Operations that wait at one node at most. Beyond, one is refused: it is not invoked.
pub const WAITING_MAX: usize = 1_024;

/// The state of one node.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Abd {
    /// The replica.
    kept: Version,
    /// The client: what is asked for, the first one under way if there is a question.
    operations: VecDeque<(u64, Operation)>,
    /// The number of the question that is open; an answer to an earlier one does not count.
    question: u64,
    found: Quorum<Version>,
    stored: Quorum,
    /// What the running operation will have read or written.
    result: Option<Version>,
    /// What the last operation had.
    returned: Version,
    running: bool,
}

/// A value, with its place among all values that were ever written. None was written at first.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize,
)]
struct Version {
    number: u64,
    /// Tells apart what is written side by side. None at first.
    writer: Option<NodeId>,
    value: Option<u64>,
}

/// What a client asks of the register.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub enum Operation {
    /// What is in it?
    Read,
    /// Put this value in.
    Write(u64),
}

impl Algorithm for Abd {
    const NAME: &'static str = "abd";
    const MODEL: Model = Model::ASYNCHRONOUS.tolerating(Faults::CrashStop(Tolerance::Minority));

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::read)
            .on(Self::write)
            .when("an operation waits and none runs", Self::can_begin, Self::begin)
            .on(Self::query)
            .on(Self::found)
            .on(Self::store)
            .on_commuting(Self::stored)
            .indicates::<Invoked>()
            .indicates::<Returned>()
    }

    fn snapshots() -> Snapshots<Self> {
        Snapshots::encoded()
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::always("a version has one value", versions_are_unique),
            Property::always("what was returned is at a majority", returned_is_at_a_majority),
            Property::at_rest("every operation returns", every_operation_returns),
        ]
    }

    /// Writers are told apart by their names where they write the same number.
    fn symmetry() -> Symmetry<Self> {
        Symmetry::of_the_unasked()
    }

    fn workload() -> Workload {
        Workload::default()
            .trigger(NodeId(1), Duration::ZERO, &Write { operation: 1, value: 7 })
            .trigger(NodeId(2), Duration::ZERO, &Read { operation: 2 })
            .offer(|number| Read { operation: 10 + number })
            .offer(|number| Write { operation: 10 + number, value: 10 + number })
    }

    fn summary(&self) -> Summary {
        let summary = Summary::default()
            .role(if self.running { "asking" } else { "idle" })
            .with("version", self.kept.number);
        match self.kept.value {
            Some(value) => summary.with("value", value),
            None => summary,
        }
    }
}

impl Abd {
    /// The value at this replica, which is not always the register's.
    #[must_use]
    pub fn value(&self) -> Option<u64> {
        self.kept.value
    }

    /// Upon `Read`: queue it.
    fn read(&mut self, Read { operation }: Read, ctx: &mut Context) {
        self.queue(operation, Operation::Read, ctx);
    }

    /// Upon `Write`: queue it.
    fn write(&mut self, Write { operation, value }: Write, ctx: &mut Context) {
        self.queue(operation, Operation::Write(value), ctx);
    }

    fn queue(&mut self, operation: u64, input: Operation, ctx: &mut Context) {
        if self.operations.len() < WAITING_MAX {
            ctx.trigger(&Invoked { operation, client: ctx.me(), input });
            self.operations.push_back((operation, input));
        }
    }

    fn can_begin(&self) -> bool {
        !self.running && !self.operations.is_empty()
    }

    /// Upon an operation, none running: ask what is there. A write must know, to be above it.
    fn begin(&mut self, ctx: &mut Context) {
        self.running = true;
        self.question += 1;
        self.found = Quorum::majority(ctx.peers().len());
        ctx.broadcast(&Query(self.question));
    }

    /// Upon `Query`: tell what this replica keeps.
    fn query(&mut self, Query(question): Query, from: NodeId, ctx: &mut Context) {
        ctx.send(from, &Found { question, version: self.kept });
    }

    /// Upon `Found` of a majority: store the highest of them, or what is written, above it.
    /// A read stores it too, so that no later read returns less.
    fn found(&mut self, Found { question, version }: Found, from: NodeId, ctx: &mut Context) {
        if question != self.question || !self.found.add(from, version) {
            return;
        }
        let highest = self.found.answers().max().copied().unwrap_or_default();
        let version = match self.operations.front() {
            Some((_, Operation::Write(value))) => {
                Version { number: highest.number + 1, writer: Some(ctx.me()), value: Some(*value) }
            }
            _ => highest,
        };
        self.found = Quorum::default();
        self.result = Some(version);
        self.question += 1;
        self.stored = Quorum::majority(ctx.peers().len());
        ctx.broadcast(&Store { question: self.question, version });
    }

    /// Upon `Store`: keep it if it is later than what is here.
    fn store(&mut self, Store { question, version }: Store, from: NodeId, ctx: &mut Context) {
        self.kept = self.kept.max(version);
        ctx.send(from, &Stored(question));
    }

    /// Upon `Stored` of a majority: whoever asks from now on will find it.
    fn stored(&mut self, Stored(question): Stored, from: NodeId, ctx: &mut Context) {
        if question == self.question && self.stored.add(from, ()) {
            self.finish(ctx);
        }
    }

    fn finish(&mut self, ctx: &mut Context) {
        self.stored = Quorum::default();
        self.running = false;
        if let (Some(result), Some((operation, input))) =
            (self.result.take(), self.operations.pop_front())
        {
            self.returned = result;
            let output = if input == Operation::Read { result.value } else { None };
            ctx.trigger(&Returned { operation, client: ctx.me(), output });
        }
    }
}

fn versions_are_unique(cluster: &Cluster<'_, Abd>) -> Verdict {
    let place = |version: &Version| (version.number, version.writer);
    for (node, one) in cluster.live() {
        let same = |other: &&Abd| place(&other.kept) == place(&one.kept);
        let mut others = cluster.live().map(|(_, state)| state).filter(same);
        if let Some(other) = others.find(|other| other.kept.value != one.kept.value) {
            let (one, other) = (one.kept, other.kept);
            return Err(format!("{node} has {one:?}, another {other:?}"));
        }
    }
    Ok(())
}

/// Nodes that are down count for it: they may have had it, and never tell otherwise.
fn returned_is_at_a_majority(cluster: &Cluster<'_, Abd>) -> Verdict {
    for (node, Abd { returned, .. }) in cluster.live() {
        let without = cluster.live().filter(|(_, state)| state.kept < *returned).count();
        if cluster.size() <= 2 * without {
            return Err(format!("{node} returned {returned:?}, {without} replicas have less"));
        }
    }
    Ok(())
}

fn every_operation_returns(cluster: &Cluster<'_, Abd>) -> Verdict {
    match cluster.live().find(|(_, state)| !state.operations.is_empty()) {
        Some((node, state)) => Err(format!("{node} waits for {:?}", state.operations)),
        None => Ok(()),
    }
}

/// Lets this node read the register for a client. From the application.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "abd.read", local)]
pub struct Read {
    /// How the client calls what it asks for.
    pub operation: u64,
}

/// Lets this node write the register for a client. From the application.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "abd.write", local)]
pub struct Write {
    /// How the client calls what it asks for.
    pub operation: u64,
    /// What is written.
    pub value: u64,
}

/// Indicates that an operation of a client has begun.
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "abd.invoked", local)]
pub struct Invoked {
    /// How the client calls it.
    pub operation: u64,
    /// At which node the client is.
    pub client: NodeId,
    /// What it asks for.
    pub input: Operation,
}

/// Indicates that an operation of a client is over.
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "abd.returned", local)]
pub struct Returned {
    /// How the client calls it.
    pub operation: u64,
    /// At which node the client is.
    pub client: NodeId,
    /// What was read; none of a write, or if nothing was ever written.
    pub output: Option<u64>,
}

/// "What do you have?"
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "abd.query")]
struct Query(u64);

/// "This."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "abd.found")]
struct Found {
    question: u64,
    version: Version,
}

/// "Keep this, unless you have something later."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "abd.store")]
struct Store {
    question: u64,
    version: Version,
}

/// "I have that, or something later."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "abd.stored")]
struct Stored(u64);

#[cfg(test)]
mod tests;
