//! Uniform reliable broadcast: what any node delivers, even one that dies, all live ones deliver.
//!
//! Source: C. Cachin, R. Guerraoui, L. Rodrigues, "Introduction to reliable and secure distributed
//! programming", 2nd ed., 2011, algorithm 3.5: deliver what a majority has. What a node has
//! delivered before it died is known from the receipts that it sent as it delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Model, NodeId, Property, Tolerance,
    Verdict,
};
use synod_simulator::{Scenario, Simulation};

use super::exhibit::{Exhibit, Family, passes, short};

#[derive(Clone, Copy, Debug, Hash, PartialEq)]
enum Defect {
    /// A message is delivered as it comes.
    DeliveredEarly,
    /// Two of five are enough.
    MajorityIsRoundedDown,
}

#[derive(Clone, Debug, Default, Hash)]
struct Uniform {
    defect: Option<Defect>,
    /// By the origin of a message, who is known to have it.
    owners: BTreeMap<NodeId, BTreeSet<NodeId>>,
    delivered: BTreeSet<NodeId>,
    /// The messages that somebody has delivered.
    receipts: BTreeSet<NodeId>,
}

impl Algorithm for Uniform {
    const NAME: &'static str = "uniform broadcast";
    const MODEL: Model = Model::ASYNCHRONOUS.tolerating(Faults::CrashStop(Tolerance::Minority));

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::speak).on(Self::data).on(Self::receipt)
    }

    /// The first node has something to say.
    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() == NodeId(1) {
            let pause = 20 + 4 * u64::from(ctx.choose(8));
            ctx.after(Duration::from_millis(pause), &Speak);
        }
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::at_rest("what anybody delivered, all deliver", all_deliver)]
    }
}

impl Uniform {
    fn speak(&mut self, _: Speak, ctx: &mut Context) {
        let me = ctx.me();
        self.take(me, me, ctx);
    }

    /// Upon `Data` from p: p has it; relay it once; deliver what a majority has.
    fn data(&mut self, Data { origin }: Data, from: NodeId, ctx: &mut Context) {
        self.take(origin, from, ctx);
    }

    fn take(&mut self, origin: NodeId, from: NodeId, ctx: &mut Context) {
        let me = ctx.me();
        let is_new = !self.owners.contains_key(&origin);
        let owners = self.owners.entry(origin).or_default();
        owners.extend([from, me]);
        let enough = match self.defect {
            None => ctx.peers().len() / 2 + 1,
            Some(Defect::DeliveredEarly) => 1,
            Some(Defect::MajorityIsRoundedDown) => ctx.peers().len() / 2,
        };
        if enough <= owners.len() && self.delivered.insert(origin) {
            ctx.send_where(&Receipt { origin }, |peer| peer != me);
        }
        if is_new {
            ctx.send_where(&Data { origin }, |peer| peer != me);
        }
    }

    fn receipt(&mut self, Receipt { origin }: Receipt) {
        self.receipts.insert(origin);
    }
}

fn all_deliver(cluster: &Cluster<'_, Uniform>) -> Verdict {
    let receipts: BTreeSet<NodeId> =
        cluster.live().flat_map(|(_, state)| state.receipts.iter().copied()).collect();
    for (node, state) in cluster.live() {
        if let Some(origin) = receipts.difference(&state.delivered).next() {
            return Err(format!("{node} never delivers the message of {origin}"));
        }
    }
    Ok(())
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "uniform_broadcast.speak", local)]
struct Speak;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "uniform_broadcast.data")]
struct Data {
    origin: NodeId,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "uniform_broadcast.receipt")]
struct Receipt {
    origin: NodeId,
}

fn with(defect: Option<Defect>) -> Scenario<Uniform> {
    Scenario::of(move |_| Uniform { defect, ..Uniform::default() })
}

fn world_of(scenario: &Scenario<Uniform>, nodes: u32) -> Simulation<'_> {
    Simulation::new(scenario, nodes).settings(|it| short(it, 100))
}

fn three(scenario: &Scenario<Uniform>) -> Simulation<'_> {
    world_of(scenario, 3)
}

fn five(scenario: &Scenario<Uniform>) -> Simulation<'_> {
    world_of(scenario, 5)
}

#[test]
fn the_correct_version_passes() {
    passes(&with(None), three);
    passes(&with(None), five);
}

#[test]
fn delivered_early() {
    let exhibit = Exhibit {
        defect: "a message is delivered as it comes, before a majority has it",
        family: Family::Quorum,
        violates: "what anybody delivered, all deliver",
    };
    exhibit.is_found(&with(Some(Defect::DeliveredEarly)), three);
}

#[test]
fn a_majority_rounded_down() {
    let exhibit = Exhibit {
        defect: "two of five pass for a majority",
        family: Family::Quorum,
        violates: "what anybody delivered, all deliver",
    };
    exhibit.is_found(&with(Some(Defect::MajorityIsRoundedDown)), five);
}
