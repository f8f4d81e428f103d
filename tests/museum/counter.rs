//! A counter that grows at every node: what comes from a node replaces what came before from it.
//!
//! Source: M. Shapiro, N. Preguiça, C. Baquero, M. Zawirski, "A comprehensive study of convergent
//! and commutative replicated data types", 2011, specification 6.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Handlers, Links, Model, NodeId, Property, Verdict,
};
use synod_simulator::{Scenario, Simulation};

use super::exhibit::{Exhibit, Family, passes, short};

const TELL_EVERY: Duration = Duration::from_millis(10);
const INCREMENTS: u64 = 3;

#[derive(Clone, Copy, Debug, Hash, PartialEq)]
enum Defect {
    /// What comes is added.
    IncrementsAreAdded,
    /// What comes replaces what is there, also if it is older.
    LastOneWins,
}

#[derive(Clone, Debug, Default, Hash)]
struct Counter {
    defect: Option<Defect>,
    counts: BTreeMap<NodeId, u64>,
    /// Whether some count has become smaller here.
    shrank: bool,
}

impl Algorithm for Counter {
    const NAME: &'static str = "grow-only counter";
    const MODEL: Model = Model::ASYNCHRONOUS.over(Links::FairLoss);

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::grow).on(Self::count)
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.after(TELL_EVERY, &Grow);
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::always("nobody counts more than there is", nobody_counts_more),
            Property::always("a count never shrinks", a_count_never_shrinks),
        ]
    }
}

impl Counter {
    fn grow(&mut self, _: Grow, ctx: &mut Context) {
        let me = ctx.me();
        let own = self.counts.entry(me).or_default();
        *own += 1;
        let told = if self.defect == Some(Defect::IncrementsAreAdded) { 1 } else { *own };
        ctx.send_where(&Count(told), |peer| peer != me);
        if *own < INCREMENTS {
            ctx.after(TELL_EVERY, &Grow);
        }
    }

    fn count(&mut self, Count(told): Count, from: NodeId) {
        let count = self.counts.entry(from).or_default();
        let before = *count;
        *count = match self.defect {
            None => told.max(before),
            Some(Defect::IncrementsAreAdded) => before + told,
            Some(Defect::LastOneWins) => told,
        };
        self.shrank |= *count < before;
    }
}

fn nobody_counts_more(cluster: &Cluster<'_, Counter>) -> Verdict {
    for (node, state) in cluster.live() {
        for (of, count) in &state.counts {
            let own = cluster.state(*of).and_then(|its| its.counts.get(of));
            if own.is_some_and(|own| own < count) {
                return Err(format!("{node} counts {count} for {of}, which has {own:?}"));
            }
        }
    }
    Ok(())
}

fn a_count_never_shrinks(cluster: &Cluster<'_, Counter>) -> Verdict {
    match cluster.live().find(|(_, state)| state.shrank) {
        Some((node, _)) => Err(format!("{node} has counted back")),
        None => Ok(()),
    }
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "counter.grow", local)]
struct Grow;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "counter.count", unreliable)]
struct Count(u64);

fn with(defect: Option<Defect>) -> Scenario<Counter> {
    Scenario::of(move |_| Counter { defect, ..Counter::default() })
}

fn world(scenario: &Scenario<Counter>) -> Simulation<'_> {
    Simulation::new(scenario, 2).settings(|it| short(it, 100))
}

#[test]
fn the_correct_version_passes() {
    passes(&with(None), world);
}

#[test]
fn increments_that_are_added() {
    let exhibit = Exhibit {
        defect: "a message that comes twice is counted twice",
        family: Family::Identity,
        violates: "nobody counts more than there is",
    };
    exhibit.is_found(&with(Some(Defect::IncrementsAreAdded)), world);
}

#[test]
fn the_last_one_wins() {
    let exhibit = Exhibit {
        defect: "what comes last is taken for the newest, over links without order",
        family: Family::Assumption,
        violates: "a count never shrinks",
    };
    exhibit.is_found(&with(Some(Defect::LastOneWins)), world);
}
