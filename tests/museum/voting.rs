//! Weighted voting: who holds votes of at least `QUORUM` weight may write.
//!
//! Source: D. Gifford, "Weighted voting for replicated data", SOSP 1979; here only how a write is
//! granted. Every node is a representative with a vote, and a writer now and then.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Handlers, Links, Model, NodeId, Property, Verdict,
};
use synod_simulator::{Scenario, Simulation};

use super::exhibit::{Exhibit, Family, passes, short};

/// The votes of n1 to n5: seven in all, so two quorums of five meet.
const POWERS: [u32; 5] = [1, 2, 1, 2, 1];
const QUORUM: u32 = 5;
/// A writer that has not its votes by then gives them back.
const ANSWER_WITHIN: Duration = Duration::from_millis(15);
const WRITE_TAKES: Duration = Duration::from_millis(5);

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
    votes: BTreeMap<NodeId, u32>,
    rights: u32,
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
            .on(Self::written)
            .on(Self::release)
    }

    fn start(&mut self, ctx: &mut Context) {
        pause(ctx);
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("a write holds the votes of a quorum", a_write_holds_a_quorum)]
    }
}

impl Voting {
    fn begin(&mut self, _: Begin, ctx: &mut Context) {
        self.round += 1;
        self.phase = Phase::Asking;
        self.votes.clear();
        if self.defect != Some(Defect::RightsAreNeverReset) {
            self.rights = 0;
        }
        ctx.broadcast(&Ask { round: self.round });
        ctx.after(ANSWER_WITHIN, &GiveUp);
    }

    /// Upon `Ask` from p: vote, unless another has the vote, or p had it in a later round.
    fn ask(&mut self, Ask { round }: Ask, from: NodeId, ctx: &mut Context) {
        let free = self.given.is_none_or(|(holder, older)| holder == from && older <= round);
        if free {
            self.given = Some((from, round));
            ctx.send(from, &Vote { round });
        }
    }

    /// Upon `Vote`: count it once, in the round that asked for it.
    fn vote(&mut self, Vote { round }: Vote, from: NodeId, ctx: &mut Context) {
        let counts = match self.defect {
            Some(Defect::VotesHaveNoRound) => true,
            _ => round == self.round && !self.votes.contains_key(&from),
        };
        if self.phase != Phase::Asking || !counts {
            return;
        }
        self.votes.insert(from, power(from));
        self.rights += power(from);
        if QUORUM <= self.rights {
            self.phase = Phase::Writing;
            ctx.cancel(&GiveUp);
            ctx.after(WRITE_TAKES, &Written);
        }
    }

    fn give_up(&mut self, _: GiveUp, ctx: &mut Context) {
        self.finish(ctx);
    }

    fn written(&mut self, _: Written, ctx: &mut Context) {
        self.finish(ctx);
    }

    fn finish(&mut self, ctx: &mut Context) {
        self.phase = Phase::Idle;
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

/// Until the next write.
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
        if weight < QUORUM {
            return Err(format!("{node} writes with {weight} votes of {QUORUM}"));
        }
    }
    Ok(())
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
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "voting.give_up", local)]
struct GiveUp;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "voting.written", local)]
struct Written;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "voting.release")]
struct Release {
    round: u64,
}

fn with(defect: Option<Defect>) -> Scenario<Voting> {
    Scenario::of(move |_| Voting { defect, ..Voting::default() })
}

fn world(scenario: &Scenario<Voting>) -> Simulation<'_, Voting> {
    Simulation::new(scenario, 5).settings(|it| short(it, 60))
}

#[test]
fn the_correct_version_passes() {
    passes(&with(None), world);
}

#[test]
fn rights_that_are_never_reset() {
    let exhibit = Exhibit {
        defect: "the votes of a round that failed are kept for the next one",
        family: Family::Epoch,
        violates: "a write holds the votes of a quorum",
    };
    exhibit.is_found(&with(Some(Defect::RightsAreNeverReset)), world);
}

#[test]
fn votes_without_a_round() {
    let exhibit = Exhibit {
        defect: "a vote counts whatever its round is, and again when it comes again",
        family: Family::Quorum,
        violates: "a write holds the votes of a quorum",
    };
    exhibit.is_found(&with(Some(Defect::VotesHaveNoRound)), world);
}
