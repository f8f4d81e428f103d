//! Election by terms: a node votes once in a term, a majority of votes makes a leader.
//!
//! Source: D. Ongaro, "Consensus: bridging theory and practice", 2014, section 3.4, without a
//! log; leaders here do not hold off the next election, so that there are many.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Links, Model, NodeId, Property,
    Tolerance, Verdict,
};
use synod_simulator::{Scenario, Simulation};

use super::exhibit::{Exhibit, Family, passes, short};

const ASK_AGAIN_EVERY: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, Hash, PartialEq)]
enum Defect {
    VoteIsNotDurable,
    /// The vote leaves, and then it is written.
    VoteLeavesFirst,
    /// Two of four are a majority.
    HalfIsAMajority,
    /// A vote of an earlier term counts in this one.
    VotesOfAnyTermCount,
    /// Votes are counted, not voters.
    VotersAreNotTold,
}

#[derive(Clone, Debug, Default, Hash)]
struct Election {
    defect: Option<Defect>,
    term: u64,
    voted: Option<NodeId>,
    stands: bool,
    voters: BTreeSet<NodeId>,
    votes: usize,
    /// The terms in which this node has led, in this life.
    led: BTreeSet<u64>,
}

impl Algorithm for Election {
    const NAME: &'static str = "election by terms";
    const MODEL: Model = Model::ASYNCHRONOUS
        .tolerating(Faults::CrashRecovery(Tolerance::Minority))
        .over(Links::FairLoss);

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .restore(Self::restored)
            .on(Self::stand)
            .on(Self::ask_again)
            .on(Self::ask)
            .on(Self::vote)
    }

    fn start(&mut self, ctx: &mut Context) {
        wait(ctx);
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("a term has at most one leader", one_leader_in_a_term)]
    }
}

impl Election {
    fn restored(&mut self, Ballot { term, voted }: Ballot) {
        (self.term, self.voted) = (term, Some(voted));
    }

    fn stand(&mut self, _: Stand, ctx: &mut Context) {
        (self.term, self.stands) = (self.term + 1, true);
        (self.voters, self.votes) = (BTreeSet::from([ctx.me()]), 1);
        self.voted = Some(ctx.me());
        ctx.persist(&Ballot { term: self.term, voted: ctx.me() });
        self.ask_all(ctx);
        wait(ctx);
    }

    fn ask_again(&mut self, _: AskAgain, ctx: &mut Context) {
        if self.stands {
            self.ask_all(ctx);
        }
    }

    fn ask_all(&self, ctx: &mut Context) {
        let me = ctx.me();
        ctx.send_where(&Ask(self.term), |peer| peer != me);
        ctx.after(ASK_AGAIN_EVERY, &AskAgain);
    }

    /// Upon `Ask` from p: vote for p, unless this node has voted for another in that term.
    fn ask(&mut self, Ask(term): Ask, from: NodeId, ctx: &mut Context) {
        if self.term < term {
            (self.term, self.voted, self.stands) = (term, None, false);
        }
        if term < self.term || self.voted.is_some_and(|voted| voted != from) {
            return;
        }
        self.voted = Some(from);
        let ballot = Ballot { term, voted: from };
        match self.defect {
            Some(Defect::VoteIsNotDurable) => ctx.send(from, &Vote(term)),
            Some(Defect::VoteLeavesFirst) => {
                ctx.send(from, &Vote(term));
                ctx.persist(&ballot);
            }
            _ => {
                ctx.persist(&ballot);
                ctx.send(from, &Vote(term));
            }
        }
    }

    fn vote(&mut self, Vote(term): Vote, from: NodeId, ctx: &mut Context) {
        let any_term = self.defect == Some(Defect::VotesOfAnyTermCount);
        if !self.stands || (term != self.term && !any_term) {
            return;
        }
        let is_new = self.voters.insert(from);
        if is_new || self.defect == Some(Defect::VotersAreNotTold) {
            self.votes += 1;
        }
        let (twice, all) = (2 * self.votes, ctx.peers().len());
        if all < twice || (self.defect == Some(Defect::HalfIsAMajority) && all == twice) {
            self.stands = false;
            self.led.insert(self.term);
        }
    }
}

/// Until this node stands, again.
fn wait(ctx: &mut Context) {
    let wait = 20 * u64::from(ctx.me().0) + 10 * u64::from(ctx.choose(6));
    ctx.after(Duration::from_millis(wait), &Stand);
}

fn one_leader_in_a_term(cluster: &Cluster<'_, Election>) -> Verdict {
    for (one, state) in cluster.live() {
        for (other, its) in cluster.live().filter(|(other, _)| one < *other) {
            if let Some(term) = state.led.intersection(&its.led).next() {
                return Err(format!("{one} and {other} both lead in term {term}"));
            }
        }
    }
    Ok(())
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "term_election.ballot", local)]
struct Ballot {
    term: u64,
    voted: NodeId,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "term_election.stand", local)]
struct Stand;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "term_election.ask_again", local)]
struct AskAgain;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "term_election.ask")]
struct Ask(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "term_election.vote")]
struct Vote(u64);

fn with(defect: Option<Defect>) -> Scenario<Election> {
    Scenario::of(move |_| Election { defect, ..Election::default() })
}

/// A node is down for less than an election takes.
fn world_of(scenario: &Scenario<Election>, nodes: u32, time_ms: u64) -> Simulation<'_> {
    Simulation::new(scenario, nodes).settings(|it| short(it, time_ms))
}

fn three(scenario: &Scenario<Election>) -> Simulation<'_> {
    world_of(scenario, 3, 140)
}

fn four(scenario: &Scenario<Election>) -> Simulation<'_> {
    world_of(scenario, 4, 70)
}

fn five(scenario: &Scenario<Election>) -> Simulation<'_> {
    world_of(scenario, 5, 80)
}

#[test]
fn the_correct_version_passes() {
    passes(&with(None), three);
    passes(&with(None), four);
    passes(&with(None), five);
}

fn finds(defect: Defect, sentence: &'static str, family: Family) {
    let world = match defect {
        Defect::HalfIsAMajority => four,
        Defect::VotersAreNotTold => five,
        _ => three,
    };
    let violates = "a term has at most one leader";
    Exhibit { defect: sentence, family, violates }.is_found(&with(Some(defect)), world);
}

#[test]
fn a_vote_that_is_not_durable() {
    let sentence = "a vote is not written down, so that a crash lets the node vote again";
    finds(Defect::VoteIsNotDurable, sentence, Family::Durability);
}

#[test]
fn a_vote_that_leaves_before_it_is_durable() {
    let sentence = "a vote is sent, and then written down";
    finds(Defect::VoteLeavesFirst, sentence, Family::Durability);
}

#[test]
fn half_is_a_majority() {
    let sentence = "half of an even number of nodes passes for a majority";
    finds(Defect::HalfIsAMajority, sentence, Family::Quorum);
}

#[test]
fn votes_of_any_term() {
    let sentence = "a vote of an earlier term counts in this one";
    finds(Defect::VotesOfAnyTermCount, sentence, Family::Epoch);
}

#[test]
fn voters_that_are_not_told_apart() {
    let sentence = "votes are counted, not voters, so that a duplicate counts twice";
    finds(Defect::VotersAreNotTold, sentence, Family::Quorum);
}
