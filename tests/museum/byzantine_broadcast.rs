//! Reliable broadcast among traitors: what one correct node delivers, all correct ones deliver,
//! whatever the sender does.
//!
//! Source: G. Bracha, "Asynchronous Byzantine agreement protocols", Information and Computation
//! 75(2), 1987.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Model, NodeId, Property, Tolerance,
    Verdict,
};
use synod_simulator::{Scenario, Simulation};

use super::exhibit::{Exhibit, Family, passes, short};

#[derive(Clone, Debug, Default, Hash)]
struct Bracha {
    /// The defect: a node is ready by echoes alone.
    is_ready_by_echoes_alone: bool,
    has_echoed: bool,
    is_ready: bool,
    echoes: BTreeMap<u32, BTreeSet<NodeId>>,
    ready: BTreeMap<u32, BTreeSet<NodeId>>,
    delivered: Option<u32>,
}

const SENDER: NodeId = NodeId(1);

impl Algorithm for Bracha {
    const NAME: &'static str = "Byzantine broadcast";
    const MODEL: Model = Model::ASYNCHRONOUS.tolerating(Faults::Byzantine(Tolerance::Third));

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::value).on(Self::echo).on(Self::ready)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() == SENDER {
            let value = ctx.choose(2);
            ctx.broadcast(&Value(value));
        }
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::always("all deliver the same", all_deliver_the_same),
            Property::at_rest("what one delivers, all deliver", what_one_delivers_all_deliver),
            Property::at_rest("a correct sender is heard", a_correct_sender_is_heard),
        ]
    }
}

impl Bracha {
    fn value(&mut self, Value(value): Value, from: NodeId, ctx: &mut Context) {
        if from != SENDER || self.has_echoed {
            return;
        }
        self.has_echoed = true;
        ctx.broadcast(&Echo(value));
    }

    /// Upon enough `Echo`: two quorums have a correct node in common, which echoes one value.
    fn echo(&mut self, Echo(value): Echo, from: NodeId, ctx: &mut Context) {
        let nodes = ctx.peers().len();
        let bad = Tolerance::Third.of(nodes);
        let voters = self.echoes.entry(value).or_default();
        voters.insert(from);
        if (nodes + bad) / 2 < voters.len() {
            self.be_ready(value, ctx);
        }
    }

    /// Upon `Ready` of a correct node at least: be ready too. Upon enough of them that all correct
    /// nodes will be: deliver.
    fn ready(&mut self, Ready(value): Ready, from: NodeId, ctx: &mut Context) {
        let bad = Tolerance::Third.of(ctx.peers().len());
        let voters = self.ready.entry(value).or_default();
        voters.insert(from);
        let count = voters.len();
        if bad < count && !self.is_ready_by_echoes_alone {
            self.be_ready(value, ctx);
        }
        if 2 * bad < count && self.delivered.is_none() {
            self.delivered = Some(value);
        }
    }

    fn be_ready(&mut self, value: u32, ctx: &mut Context) {
        if !self.is_ready {
            self.is_ready = true;
            ctx.broadcast(&Ready(value));
        }
    }
}

fn all_deliver_the_same(cluster: &Cluster<'_, Bracha>) -> Verdict {
    let mut delivered = cluster.live().filter_map(|(node, it)| Some((node, it.delivered?)));
    let Some((one, its)) = delivered.next() else {
        return Ok(());
    };
    match delivered.find(|(_, value)| *value != its) {
        Some((other, value)) => Err(format!("{one} delivers {its}, {other} delivers {value}")),
        None => Ok(()),
    }
}

fn what_one_delivers_all_deliver(cluster: &Cluster<'_, Bracha>) -> Verdict {
    let one = cluster.live().find(|(_, it)| it.delivered.is_some());
    let other = cluster.live().find(|(_, it)| it.delivered.is_none());
    match (one, other) {
        (Some((one, _)), Some((other, _))) => Err(format!("{one} delivers, {other} does not")),
        _ => Ok(()),
    }
}

fn a_correct_sender_is_heard(cluster: &Cluster<'_, Bracha>) -> Verdict {
    let deaf = cluster.live().find(|(_, it)| it.delivered.is_none());
    match (cluster.state(SENDER), deaf) {
        (Some(_), Some((node, _))) => Err(format!("{node} delivers nothing")),
        _ => Ok(()),
    }
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "byzantine_broadcast.value")]
struct Value(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "byzantine_broadcast.echo")]
struct Echo(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "byzantine_broadcast.ready")]
struct Ready(u32);

fn with(is_ready_by_echoes_alone: bool) -> Scenario<Bracha> {
    Scenario::of(move |_| Bracha { is_ready_by_echoes_alone, ..Bracha::default() })
}

fn world(scenario: &Scenario<Bracha>) -> Simulation<'_> {
    Simulation::new(scenario, 4).settings(|it| short(it, 100))
}

#[test]
fn the_correct_version_passes() {
    passes(&with(false), world);
}

#[test]
fn a_node_that_is_not_ready_because_others_are() {
    let exhibit = Exhibit {
        defect: "a node is ready by echoes alone, so that a traitor lets one deliver, not all",
        family: Family::Omission,
        violates: "what one delivers, all deliver",
    };
    exhibit.is_found(&with(true), world);
}
