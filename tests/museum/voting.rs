//! Weighted voting: who holds votes of at least `WRITE_QUORUM` weight may write, and of at least
//! `READ_QUORUM` read.
//!
//! Source: D. Gifford, "Weighted voting for replicated data", SOSP 1979. Every node is a
//! representative with a vote, and reads or writes now and then. A value is its version here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Envelope, Event, Handlers, Links, Model, NodeId, Property, Verdict,
};
use synod_simulator::{Fault, Scenario, Simulation};

use super::exhibit::{Exhibit, Family, passes, short};

/// The votes of n1 to n5: seven in all, so a quorum of five meets every other one, and every one of
/// three.
const POWERS: [u32; 5] = [1, 2, 1, 2, 1];
const WRITE_QUORUM: u32 = 5;
const READ_QUORUM: u32 = 3;
/// A writer that has not its votes by then gives them back.
const ANSWER_WITHIN: Duration = Duration::from_millis(15);
/// Messages may be lost, so a writer says again what is to be stored.
const STORE_AGAIN_EVERY: Duration = Duration::from_millis(12);

#[derive(Clone, Copy, Debug, Hash, PartialEq)]
enum Defect {
    /// The weight collected in one round is kept in the next.
    RightsAreNeverReset,
    /// A vote of any round counts, and each time that it comes.
    VotesHaveNoRound,
}

#[derive(Clone, Debug, Default, Hash)]
struct Voting {
    defect: Option<Defect>,
    round: u64,
    phase: Phase,
    reads: bool,
    /// The version that each voter has.
    votes: BTreeMap<NodeId, u64>,
    rights: u32,
    /// What this node writes, and who has stored it.
    writing: u64,
    stored: BTreeSet<NodeId>,
    /// The representative: what it has stored.
    version: u64,
    /// To whom, and in which of its rounds, this node has given its vote.
    given: Option<(NodeId, u64)>,
}

#[derive(Clone, Copy, Debug, Default, Hash, PartialEq)]
enum Phase {
    #[default]
    Idle,
    Asking,
    Writing,
}

impl Algorithm for Voting {
    const NAME: &'static str = "weighted voting";
    const MODEL: Model = Model::ASYNCHRONOUS.over(Links::FairLoss);

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::begin)
            .on(Self::ask)
            .on(Self::vote)
            .on(Self::give_up)
            .on(Self::store)
            .on(Self::stored)
            .on(Self::store_again)
            .on(Self::release)
            .indicates::<Begun>()
            .indicates::<Done>()
    }

    fn start(&mut self, ctx: &mut Context) {
        pause(ctx);
    }
}

impl Voting {
    fn begin(&mut self, _: Begin, ctx: &mut Context) {
        self.round += 1;
        self.phase = Phase::Asking;
        self.reads = ctx.choose(2) == 1;
        self.votes.clear();
        if self.defect != Some(Defect::RightsAreNeverReset) {
            self.rights = 0;
        }
        ctx.trigger(&Begun);
        ctx.broadcast(&Ask { round: self.round });
        ctx.after(ANSWER_WITHIN, &GiveUp);
    }

    /// Upon `Ask` from p: vote, unless another has the vote, or p had it in a later round.
    fn ask(&mut self, Ask { round }: Ask, from: NodeId, ctx: &mut Context) {
        let free = self.given.is_none_or(|(holder, older)| holder == from && older <= round);
        if free {
            self.given = Some((from, round));
            ctx.send(from, &Vote { round, version: self.version });
        }
    }

    /// Upon `Vote`: count it once, in the round that asked for it.
    fn vote(&mut self, Vote { round, version }: Vote, from: NodeId, ctx: &mut Context) {
        let counts = match self.defect {
            Some(Defect::VotesHaveNoRound) => true,
            _ => round == self.round && !self.votes.contains_key(&from),
        };
        if self.phase != Phase::Asking || !counts {
            return;
        }
        self.votes.insert(from, version);
        self.rights += power(from);
        let newest = self.votes.values().copied().max().unwrap_or(0);
        if self.reads && READ_QUORUM <= self.rights {
            ctx.trigger(&Done { version: newest, read: true });
            self.finish(ctx);
        } else if !self.reads && WRITE_QUORUM <= self.rights {
            self.phase = Phase::Writing;
            self.writing = newest + 1;
            self.stored.clear();
            ctx.cancel(&GiveUp);
            self.store_again(StoreAgain, ctx);
        }
    }

    fn give_up(&mut self, _: GiveUp, ctx: &mut Context) {
        self.finish(ctx);
    }

    fn store_again(&mut self, _: StoreAgain, ctx: &mut Context) {
        let (round, version) = (self.round, self.writing);
        let missing = self.votes.keys().filter(|voter| !self.stored.contains(voter));
        missing.for_each(|voter| ctx.send(*voter, &Store { round, version }));
        ctx.after(STORE_AGAIN_EVERY, &StoreAgain);
    }

    fn store(&mut self, Store { round, version }: Store, from: NodeId, ctx: &mut Context) {
        self.version = version.max(self.version);
        ctx.send(from, &Stored { round });
    }

    /// Upon `Stored`: the write is over when a quorum has it.
    fn stored(&mut self, Stored { round }: Stored, from: NodeId, ctx: &mut Context) {
        if self.phase != Phase::Writing || round != self.round {
            return;
        }
        self.stored.insert(from);
        // What it counts as its votes may be more than it has.
        let missing = self.votes.keys().any(|voter| !self.stored.contains(voter));
        if WRITE_QUORUM <= self.stored.iter().map(|it| power(*it)).sum() || !missing {
            ctx.trigger(&Done { version: self.writing, read: false });
            self.finish(ctx);
        }
    }

    fn finish(&mut self, ctx: &mut Context) {
        self.phase = Phase::Idle;
        ctx.cancel(&GiveUp);
        ctx.cancel(&StoreAgain);
        ctx.broadcast(&Release { round: self.round });
        pause(ctx);
    }

    /// Upon `Release` from p: the vote is free again, if it is the one that p had.
    fn release(&mut self, Release { round }: Release, from: NodeId) {
        if self.given == Some((from, round)) {
            self.given = None;
        }
    }
}

/// Until the next operation.
fn pause(ctx: &mut Context) {
    let pause = 5 * u64::from(ctx.me().0) + 10 * u64::from(ctx.choose(4));
    ctx.after(Duration::from_millis(pause), &Begin);
}

fn power(node: NodeId) -> u32 {
    POWERS.get(node.0 as usize - 1).copied().unwrap_or(0)
}

fn a_write_holds_a_quorum(cluster: &Cluster<'_, Voting>) -> Verdict {
    for (node, writer) in cluster.live().filter(|(_, state)| state.phase == Phase::Writing) {
        let given = Some((node, writer.round));
        let voters = cluster.live().filter(|(_, state)| state.given == given);
        let weight: u32 = voters.map(|(voter, _)| power(voter)).sum();
        if weight < WRITE_QUORUM {
            return Err(format!("{node} writes with {weight} votes of {WRITE_QUORUM}"));
        }
    }
    Ok(())
}

/// What ends before another operation begins has not seen, or written, a later version than that
/// one. Looks only at what the nodes indicate.
fn operations_seem_to_happen_one_by_one() -> impl FnMut(NodeId, &Envelope) -> Verdict + Send {
    let mut newest = 0;
    let mut at_begin: BTreeMap<NodeId, u64> = BTreeMap::new();
    move |node, envelope| {
        if envelope.event() == Begun::ID {
            at_begin.insert(node, newest);
        } else if envelope.event() == Done::ID {
            let done: Done = envelope.open().map_err(|error| error.to_string())?;
            let least = at_begin.get(&node).copied().unwrap_or(0) + u64::from(!done.read);
            if done.version < least {
                let what = if done.read { "reads" } else { "writes" };
                let Done { version, .. } = done;
                return Err(format!("{node} {what} version {version}, and {least} is the least"));
            }
            newest = done.version.max(newest);
        }
        Ok(())
    }
}

/// An operation begins; what was under way at the node is given up.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "voting.begun", local)]
struct Begun;

/// An operation is over, with what it has read or written.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "voting.done", local)]
struct Done {
    version: u64,
    read: bool,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "voting.begin", local)]
struct Begin;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "voting.ask")]
struct Ask {
    round: u64,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "voting.vote")]
struct Vote {
    round: u64,
    version: u64,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "voting.give_up", local)]
struct GiveUp;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "voting.store_again", local)]
struct StoreAgain;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "voting.store")]
struct Store {
    round: u64,
    version: u64,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "voting.stored")]
struct Stored {
    round: u64,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "voting.release")]
struct Release {
    round: u64,
}

/// A write holds the votes of a quorum.
const GRANTED: &str = "a write holds the votes of a quorum";
/// What was read and written could have been so by one node.
const LINEARIZABLE: &str = "operations seem to happen one by one";

fn with(defect: Option<Defect>) -> Scenario<Voting> {
    Scenario::of(move |_| Voting { defect, ..Voting::default() })
}

fn granted(scenario: Scenario<Voting>) -> Scenario<Voting> {
    scenario.property(Property::always(GRANTED, a_write_holds_a_quorum))
}

fn linearizable(scenario: Scenario<Voting>) -> Scenario<Voting> {
    let monitor = Property::monitor(LINEARIZABLE, operations_seem_to_happen_one_by_one);
    scenario.property(monitor)
}

fn world(scenario: &Scenario<Voting>) -> Simulation<'_> {
    Simulation::new(scenario, 5).settings(|it| short(it, 100))
}

#[test]
fn the_correct_version_passes() {
    passes(&linearizable(granted(with(None))), world);
}

#[test]
fn the_correct_version_passes_where_nodes_are_cut_off_too() {
    let scenario = linearizable(granted(with(None)));
    let world = world(&scenario).with(Fault::Partition);
    let report = world.settings(|it| it.partition_us = 30_000).run(0..2_000);
    report.expect_clean();
    assert!(1_000 < report.counts.partitions, "{report:?}");
}

#[test]
fn rights_that_are_never_reset() {
    let exhibit = Exhibit {
        defect: "the votes of a round that failed are kept for the next one",
        family: Family::Epoch,
        violates: GRANTED,
    };
    exhibit.is_found(&granted(with(Some(Defect::RightsAreNeverReset))), world);
}

#[test]
fn a_read_on_rights_that_are_never_reset() {
    let exhibit = Exhibit {
        defect: "the votes of a round that failed are kept, so that a read misses a write",
        family: Family::Epoch,
        violates: LINEARIZABLE,
    };
    exhibit.is_found(&linearizable(with(Some(Defect::RightsAreNeverReset))), world);
}

#[test]
fn votes_without_a_round() {
    let exhibit = Exhibit {
        defect: "a vote counts whatever its round is, and again when it comes again",
        family: Family::Quorum,
        violates: GRANTED,
    };
    exhibit.is_found(&granted(with(Some(Defect::VotesHaveNoRound))), world);
}
