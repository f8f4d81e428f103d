//! Two-phase commit: n1 asks everybody, and commits if everybody says yes.
//!
//! Source: J. Gray, "Notes on data base operating systems", 1978, with presumed abort: a
//! coordinator that comes back without a decision aborts.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Model, NodeId, Property, Tolerance,
    Verdict,
};
use synod_simulator::{Scenario, Simulation};

use super::exhibit::{Exhibit, Family, passes, short};

const COORDINATOR: NodeId = NodeId(1);
const VOTES_WITHIN: Duration = Duration::from_millis(25);
const INQUIRE_EVERY: Duration = Duration::from_millis(30);

#[derive(Clone, Copy, Debug, Hash, PartialEq)]
enum Defect {
    /// The coordinator does not write its decision down.
    DecisionIsForgotten,
    /// Who does not answer in time is taken to say yes.
    SilenceIsConsent,
    /// A participant that is left in doubt commits.
    DoubtCommits,
    /// A participant does not write down that it has said yes.
    YesIsForgotten,
    /// The outcome leaves, and then it is written.
    OutcomeLeavesFirst,
}

#[derive(Clone, Debug, Default, Hash)]
struct Commit {
    defect: Option<Defect>,
    said_yes: bool,
    decision: Option<Outcome>,
    votes: BTreeSet<NodeId>,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Serialize, Deserialize)]
enum Outcome {
    Committed,
    Aborted,
}

impl Algorithm for Commit {
    const NAME: &'static str = "two-phase commit";
    const MODEL: Model =
        Model::ASYNCHRONOUS.tolerating(Faults::CrashRecovery(Tolerance::AllButOne));

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .restore(Self::restored_yes)
            .restore(Self::restored_decision)
            .on(Self::begin)
            .on(Self::prepare)
            .on(Self::yes)
            .on(Self::no)
            .on(Self::late)
            .on(Self::inquire)
            .on(Self::inquiry)
            .on(Self::decided)
    }

    fn start(&mut self, ctx: &mut Context) {
        match (ctx.me(), ctx.incarnation(), self.decision) {
            (COORDINATOR, 1, _) => ctx.after(Duration::from_millis(5), &Begin),
            (COORDINATOR, _, None) => self.decide(Outcome::Aborted, ctx),
            (_, 1, _) | (_, _, Some(_)) => (),
            // Who has not said yes may abort alone; who has must ask.
            (_, _, None) if !self.said_yes => self.keep(Outcome::Aborted, ctx),
            (_, _, None) => ctx.after(INQUIRE_EVERY, &Inquire),
        }
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("all decide the same", all_decide_the_same)]
    }
}

impl Commit {
    fn restored_yes(&mut self, _: SaidYes) {
        self.said_yes = true;
    }

    fn restored_decision(&mut self, Kept(outcome): Kept) {
        self.decision = Some(outcome);
    }

    fn begin(&mut self, _: Begin, ctx: &mut Context) {
        ctx.send_where(&Prepare, |peer| peer != COORDINATOR);
        ctx.after(VOTES_WITHIN, &Late);
    }

    fn prepare(&mut self, _: Prepare, ctx: &mut Context) {
        if self.decision.is_some() || ctx.choose(4) == 1 {
            ctx.send(COORDINATOR, &No);
            self.keep(Outcome::Aborted, ctx);
            return;
        }
        self.said_yes = true;
        if self.defect != Some(Defect::YesIsForgotten) {
            ctx.persist(&SaidYes);
        }
        ctx.send(COORDINATOR, &Yes);
        ctx.after(INQUIRE_EVERY, &Inquire);
    }

    fn yes(&mut self, _: Yes, from: NodeId, ctx: &mut Context) {
        self.votes.insert(from);
        if self.votes.len() + 1 == ctx.peers().len() {
            self.decide(Outcome::Committed, ctx);
        }
    }

    fn no(&mut self, _: No, ctx: &mut Context) {
        self.decide(Outcome::Aborted, ctx);
    }

    /// Upon `Late`: somebody has not voted, so nothing is promised to anybody.
    fn late(&mut self, _: Late, ctx: &mut Context) {
        match self.defect {
            Some(Defect::SilenceIsConsent) => self.decide(Outcome::Committed, ctx),
            _ => self.decide(Outcome::Aborted, ctx),
        }
    }

    /// At the coordinator: the first decision stands.
    fn decide(&mut self, outcome: Outcome, ctx: &mut Context) {
        if self.decision.is_some() {
            return;
        }
        if self.defect == Some(Defect::OutcomeLeavesFirst) {
            ctx.send_where(&Decided(outcome), |peer| peer != COORDINATOR);
        }
        if self.defect == Some(Defect::DecisionIsForgotten) {
            self.decision = Some(outcome);
        } else {
            self.keep(outcome, ctx);
        }
        if self.defect != Some(Defect::OutcomeLeavesFirst) {
            ctx.send_where(&Decided(outcome), |peer| peer != COORDINATOR);
        }
    }

    fn keep(&mut self, outcome: Outcome, ctx: &mut Context) {
        self.decision = Some(outcome);
        ctx.persist(&Kept(outcome));
    }

    /// Upon `Inquire`: in doubt, a participant can only ask, for as long as it takes.
    fn inquire(&mut self, _: Inquire, ctx: &mut Context) {
        if self.decision.is_some() {
            return;
        }
        if self.defect == Some(Defect::DoubtCommits) {
            self.keep(Outcome::Committed, ctx);
            return;
        }
        ctx.send(COORDINATOR, &Inquiry);
        ctx.after(INQUIRE_EVERY, &Inquire);
    }

    fn inquiry(&mut self, _: Inquiry, from: NodeId, ctx: &mut Context) {
        if let Some(outcome) = self.decision {
            ctx.send(from, &Decided(outcome));
        }
    }

    fn decided(&mut self, Decided(outcome): Decided, ctx: &mut Context) {
        if self.decision.is_none() {
            self.keep(outcome, ctx);
        }
    }
}

fn all_decide_the_same(cluster: &Cluster<'_, Commit>) -> Verdict {
    let with = |wanted| cluster.live().find(|(_, state)| state.decision == Some(wanted));
    match (with(Outcome::Committed), with(Outcome::Aborted)) {
        (Some((one, _)), Some((other, _))) => Err(format!("{one} commits, {other} aborts")),
        _ => Ok(()),
    }
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase_commit.said_yes", local)]
struct SaidYes;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase_commit.kept", local)]
struct Kept(Outcome);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase_commit.begin", local)]
struct Begin;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase_commit.prepare")]
struct Prepare;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase_commit.yes")]
struct Yes;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase_commit.no")]
struct No;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase_commit.late", local)]
struct Late;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase_commit.inquire", local)]
struct Inquire;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase_commit.inquiry")]
struct Inquiry;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "two_phase_commit.decided")]
struct Decided(Outcome);

fn with(defect: Option<Defect>) -> Scenario<Commit> {
    Scenario::of(move |_| Commit { defect, ..Commit::default() })
}

fn world(scenario: &Scenario<Commit>) -> Simulation<'_> {
    Simulation::new(scenario, 3).settings(|it| short(it, 150))
}

#[test]
fn the_correct_version_passes() {
    passes(&with(None), world);
}

fn finds(defect: Defect, sentence: &'static str, family: Family) {
    let exhibit = Exhibit { defect: sentence, family, violates: "all decide the same" };
    exhibit.is_found(&with(Some(defect)), world);
}

#[test]
fn a_decision_that_is_forgotten() {
    let sentence = "the coordinator does not write its decision down, and aborts when it is back";
    finds(Defect::DecisionIsForgotten, sentence, Family::Durability);
}

#[test]
fn silence_is_consent() {
    let sentence = "the coordinator takes silence for a yes, and commits on a timeout";
    finds(Defect::SilenceIsConsent, sentence, Family::Quorum);
}

#[test]
fn doubt_commits() {
    let sentence = "a participant in doubt commits on a timeout";
    finds(Defect::DoubtCommits, sentence, Family::Assumption);
}

#[test]
fn a_yes_that_is_forgotten() {
    let sentence = "a participant does not write its yes down, and aborts when it is back";
    finds(Defect::YesIsForgotten, sentence, Family::Durability);
}

#[test]
fn an_outcome_that_leaves_before_it_is_durable() {
    let sentence = "the outcome is sent, and then written down";
    finds(Defect::OutcomeLeavesFirst, sentence, Family::Durability);
}
