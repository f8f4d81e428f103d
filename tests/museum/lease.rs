//! A lease: n1 lends a right for a time, and lends it again when that time is over.
//!
//! Source: C. Gray, D. Cheriton, "Leases: an efficient fault-tolerant mechanism for distributed
//! file cache consistency", SOSP 1989. The holder counts from when it asked, by its own clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Model, NodeId, Property, Time, Tolerance,
    Verdict,
};
use synod_simulator::{Fault, Scenario, Simulation};

use super::exhibit::{Exhibit, Family, passes, short};

const LENDER: NodeId = NodeId(1);
const LEASE: Duration = Duration::from_millis(30);
const ASK_EVERY: Duration = Duration::from_millis(12);

#[derive(Clone, Copy, Debug, Hash, PartialEq)]
enum Defect {
    /// The holder counts from the answer, which comes later than the lender counts from.
    CountedFromTheAnswer,
    /// The holder keeps the right until it is told that it is over.
    KeptUntilTold,
    /// A lender that comes back lends at once what it lent before.
    LendsAgainAfterACrash,
}

#[derive(Clone, Debug, Default, Hash)]
struct Lease {
    defect: Option<Defect>,
    /// At the lender: nobody gets the right before this is over.
    is_lent: bool,
    holds: bool,
}

impl Algorithm for Lease {
    const NAME: &'static str = "lease";
    const MODEL: Model = Model::synchronous(Duration::from_millis(10))
        .tolerating(Faults::CrashRecovery(Tolerance::Exactly(1)));

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::ask)
            .on(Self::wanted)
            .on(Self::lent)
            .on(Self::free)
            .on(Self::over)
            .on(Self::told)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() != LENDER {
            let pause = 1 + 3 * u64::from(ctx.choose(4));
            ctx.after(Duration::from_millis(pause), &Ask);
        } else if 1 < ctx.incarnation() && self.defect != Some(Defect::LendsAgainAfterACrash) {
            // The right may be lent: this node does not know any more.
            self.is_lent = true;
            ctx.after(LEASE, &Free { to: LENDER });
        }
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("at most one node holds", at_most_one_holds)]
    }
}

impl Lease {
    fn ask(&mut self, _: Ask, ctx: &mut Context) {
        if !self.holds {
            ctx.send(LENDER, &Wanted { asked: ctx.now() });
        }
        ctx.after(ASK_EVERY, &Ask);
    }

    fn wanted(&mut self, Wanted { asked }: Wanted, from: NodeId, ctx: &mut Context) {
        if !self.is_lent {
            self.is_lent = true;
            ctx.send(from, &Lent { asked });
            ctx.after(LEASE, &Free { to: from });
        }
    }

    /// Upon `Lent`: the lender began to count after this node had asked, so it ends later.
    fn lent(&mut self, Lent { asked }: Lent, ctx: &mut Context) {
        let since = match self.defect {
            Some(Defect::CountedFromTheAnswer) => ctx.now(),
            _ => asked,
        };
        let left = (since + LEASE).saturating_sub(ctx.now());
        self.holds = !left.is_zero();
        if self.defect != Some(Defect::KeptUntilTold) {
            ctx.after(left, &Over);
        }
    }

    fn free(&mut self, Free { to }: Free, ctx: &mut Context) {
        self.is_lent = false;
        if to != LENDER {
            ctx.send(to, &Told);
        }
    }

    fn over(&mut self, _: Over) {
        self.holds = false;
    }

    /// Upon `Told`: the lender thinks so too.
    fn told(&mut self, _: Told) {
        if self.defect == Some(Defect::KeptUntilTold) {
            self.holds = false;
        }
    }
}

fn at_most_one_holds(cluster: &Cluster<'_, Lease>) -> Verdict {
    let mut holders = cluster.live().filter(|(_, state)| state.holds).map(|(node, _)| node);
    match (holders.next(), holders.next()) {
        (Some(one), Some(other)) => Err(format!("{one} and {other} both hold")),
        _ => Ok(()),
    }
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "lease.ask", local)]
struct Ask;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "lease.wanted")]
struct Wanted {
    asked: Time,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "lease.lent")]
struct Lent {
    asked: Time,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "lease.free", local)]
struct Free {
    to: NodeId,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "lease.over", local)]
struct Over;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "lease.told")]
struct Told;

fn with(defect: Option<Defect>) -> Scenario<Lease> {
    Scenario::of(move |_| Lease { defect, ..Lease::default() })
}

fn world(scenario: &Scenario<Lease>) -> Simulation<'_> {
    Simulation::new(scenario, 3).settings(|it| short(it, 120))
}

fn paused(scenario: &Scenario<Lease>) -> Simulation<'_> {
    Simulation::new(scenario, 3).with(Fault::Pause).settings(|it| short(it, 120))
}

#[test]
fn the_correct_version_passes() {
    passes(&with(None), world);
}

fn finds(scenario: &Scenario<Lease>, sentence: &'static str, family: Family) {
    let exhibit = Exhibit { defect: sentence, family, violates: "at most one node holds" };
    exhibit.is_found(scenario, world);
}

#[test]
fn counted_from_the_answer() {
    let sentence = "the holder counts from the answer, later than the lender does";
    finds(&with(Some(Defect::CountedFromTheAnswer)), sentence, Family::Comparison);
}

#[test]
fn kept_until_told() {
    let sentence = "the holder keeps the right until it hears that it is over";
    finds(&with(Some(Defect::KeptUntilTold)), sentence, Family::Guard);
}

#[test]
fn lent_again_after_a_crash() {
    let sentence = "a lender that comes back lends what it had lent before the crash";
    finds(&with(Some(Defect::LendsAgainAfterACrash)), sentence, Family::Durability);
}

/// The algorithm is correct in its model, which knows no pauses.
#[test]
fn a_holder_that_pauses() {
    let exhibit = Exhibit {
        defect: "a holder that pauses acts on a lease that is over",
        family: Family::Assumption,
        violates: "at most one node holds",
    };
    exhibit.is_found(&with(None), paused);
}
