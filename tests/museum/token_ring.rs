//! A token on a ring over links that lose: it is sent until it is acknowledged.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, Links, Model, Property, Verdict};
use synod_core::{NodeId, Topology};
use synod_simulator::{Scenario, Settings, Simulation, Step, Stream, run};

use super::exhibit::{Exhibit, Family, all_runs, short};

const HOLD: Duration = Duration::from_millis(5);
const GOES_ROUND: &str = "the token goes round for ever";
const RESEND_EVERY: Duration = Duration::from_millis(25);

#[derive(Clone, Copy, Debug, Hash, PartialEq)]
enum Defect {
    /// Whatever token comes is taken, also one that came before.
    TokensAreNotTold,
    /// A token is sent once.
    NeverSentAgain,
    /// Any acknowledgement is taken for that of the last token.
    AnyAcknowledgementCounts,
}

#[derive(Clone, Debug, Default, Hash)]
struct Ring {
    defect: Option<Defect>,
    holds: bool,
    /// The number of the token that this node took last; it grows with every hop.
    taken: u64,
    /// What is not acknowledged yet.
    sent: Option<u64>,
}

impl Algorithm for Ring {
    const NAME: &'static str = "token ring";
    const MODEL: Model = Model::ASYNCHRONOUS.over(Links::FairLoss).on(Topology::Ring);

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::pass_on).on(Self::token).on(Self::acknowledged).on(Self::resend)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() == NodeId(1) {
            self.take(1, ctx);
        }
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::always("at most one node has the token", at_most_one_holds),
            Property::at_rest(GOES_ROUND, |_| Err(String::from("the token is lost"))),
        ]
    }
}

impl Ring {
    fn take(&mut self, number: u64, ctx: &mut Context) {
        (self.holds, self.taken) = (true, number);
        ctx.after(HOLD, &PassOn);
    }

    fn pass_on(&mut self, _: PassOn, ctx: &mut Context) {
        self.holds = false;
        self.sent = Some(self.taken + 1);
        self.send(ctx);
    }

    fn send(&self, ctx: &mut Context) {
        if let Some(number) = self.sent {
            ctx.send(ctx.successor(), &Token(number));
            if self.defect != Some(Defect::NeverSentAgain) {
                ctx.after(RESEND_EVERY, &Resend);
            }
        }
    }

    /// Upon `Token`: acknowledge it always, for the last acknowledgement may be lost; take it once.
    fn token(&mut self, Token(number): Token, from: NodeId, ctx: &mut Context) {
        ctx.send(from, &Acknowledged(number));
        let is_new = self.taken < number || self.defect == Some(Defect::TokensAreNotTold);
        if is_new && !self.holds {
            self.take(number, ctx);
        }
    }

    fn acknowledged(&mut self, Acknowledged(number): Acknowledged, ctx: &mut Context) {
        let any = self.defect == Some(Defect::AnyAcknowledgementCounts);
        if any || self.sent == Some(number) {
            self.sent = None;
            ctx.cancel(&Resend);
        }
    }

    fn resend(&mut self, _: Resend, ctx: &mut Context) {
        self.send(ctx);
    }
}

fn at_most_one_holds(cluster: &Cluster<'_, Ring>) -> Verdict {
    let mut holders = cluster.live().filter(|(_, state)| state.holds).map(|(node, _)| node);
    match (holders.next(), holders.next()) {
        (Some(one), Some(other)) => Err(format!("{one} and {other} both have a token")),
        _ => Ok(()),
    }
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "token_ring.pass_on", local)]
struct PassOn;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "token_ring.token")]
struct Token(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "token_ring.acknowledged")]
struct Acknowledged(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "token_ring.resend", local)]
struct Resend;

fn with(defect: Option<Defect>) -> Scenario<Ring> {
    Scenario::of(move |_| Ring { defect, ..Ring::default() })
}

fn world(scenario: &Scenario<Ring>) -> Simulation<'_> {
    Simulation::new(scenario, 3).settings(|it| short(it, 200))
}

#[test]
fn the_correct_version_passes() {
    let report = all_runs(&with(None), world);
    assert!(report.failure.is_none() && report.divergence.is_none(), "{report:?}");
    assert_eq!(report.undue, [GOES_ROUND], "no run comes to rest, as it should be");
}

#[test]
fn each_node_has_its_turns_though_half_of_all_messages_are_lost() {
    let time_us = 5_000_000;
    let settings = Settings { lose: 500_000, time_us, noise_us: time_us, ..Settings::calm(3) };
    for seed in 0..200 {
        let (outcome, _) = run(&with(None), &settings, Stream::seeded(seed), true);
        assert_eq!(outcome.violation, None, "seed {seed}");
        for node in (1..=3).map(NodeId) {
            let is_turn = |it: &&Step| it.node == Some(node) && it.event == "token_ring.pass_on";
            let turns = outcome.trace.steps.iter().filter(is_turn).count();
            assert!(10 <= turns, "{turns} turns of {node} with seed {seed}");
        }
    }
}

#[test]
fn tokens_that_are_not_told_apart() {
    let exhibit = Exhibit {
        defect: "a token that is sent again because its acknowledgement is lost is taken again",
        family: Family::Identity,
        violates: "at most one node has the token",
    };
    exhibit.is_found(&with(Some(Defect::TokensAreNotTold)), world);
}

#[test]
fn a_token_that_is_never_sent_again() {
    let exhibit = Exhibit {
        defect: "the token is sent once, over a link that loses",
        family: Family::Omission,
        violates: GOES_ROUND,
    };
    exhibit.is_found(&with(Some(Defect::NeverSentAgain)), world);
}

#[test]
fn any_acknowledgement_counts() {
    let exhibit = Exhibit {
        defect: "a late acknowledgement of an earlier token is taken for that of the last one",
        family: Family::Epoch,
        violates: GOES_ROUND,
    };
    exhibit.is_found(&with(Some(Defect::AnyAcknowledgementCounts)), world);
}
