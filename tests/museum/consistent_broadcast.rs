//! Consistent broadcast among traitors: no two correct nodes deliver different values, and a
//! correct sender is heard by all.
//!
//! Source: C. Cachin, R. Guerraoui, L. Rodrigues, "Introduction to reliable and secure distributed
//! programming", 2nd ed., 2011, algorithm 3.16 (authenticated echo broadcast).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Model, NodeId, Property, Tolerance,
    Verdict,
};
use synod_simulator::{Scenario, Simulation};

use super::exhibit::{Exhibit, Family, passes, short};

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
enum Defect {
    #[default]
    None,
    /// What the sender says is delivered as it comes.
    NoEchoes,
    /// More than half of all nodes pass for a quorum.
    MajorityOfEchoes,
}

#[derive(Clone, Debug, Default, Hash)]
struct Consistent {
    defect: Defect,
    has_echoed: bool,
    echoes: BTreeMap<u32, BTreeSet<NodeId>>,
    delivered: Option<u32>,
}

const SENDER: NodeId = NodeId(1);

impl Algorithm for Consistent {
    const NAME: &'static str = "consistent broadcast";
    const MODEL: Model = Model::ASYNCHRONOUS.tolerating(Faults::Byzantine(Tolerance::Third));

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::value).on(Self::echo)
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
            Property::at_rest("a correct sender is heard", a_correct_sender_is_heard),
        ]
    }
}

impl Consistent {
    fn value(&mut self, Value(value): Value, from: NodeId, ctx: &mut Context) {
        if from != SENDER || self.has_echoed {
            return;
        }
        self.has_echoed = true;
        if self.defect == Defect::NoEchoes {
            self.delivered = Some(value);
        } else {
            ctx.broadcast(&Echo(value));
        }
    }

    /// Upon enough `Echo`: any two quorums have a correct node in common, which echoes one value.
    fn echo(&mut self, Echo(value): Echo, from: NodeId, ctx: &mut Context) {
        let nodes = ctx.peers().len();
        let quorum = match self.defect {
            Defect::MajorityOfEchoes => nodes / 2 + 1,
            _ => (nodes + Tolerance::Third.of(nodes)) / 2 + 1,
        };
        let voters = self.echoes.entry(value).or_default();
        voters.insert(from);
        if quorum <= voters.len() && self.delivered.is_none() {
            self.delivered = Some(value);
        }
    }
}

fn all_deliver_the_same(cluster: &Cluster<'_, Consistent>) -> Verdict {
    let mut delivered = cluster.live().filter_map(|(node, it)| Some((node, it.delivered?)));
    let Some((one, its)) = delivered.next() else {
        return Ok(());
    };
    match delivered.find(|(_, value)| *value != its) {
        Some((other, value)) => Err(format!("{one} delivers {its}, {other} delivers {value}")),
        None => Ok(()),
    }
}

fn a_correct_sender_is_heard(cluster: &Cluster<'_, Consistent>) -> Verdict {
    let deaf = cluster.live().find(|(_, it)| it.delivered.is_none());
    match (cluster.state(SENDER), deaf) {
        (Some(_), Some((node, _))) => Err(format!("{node} delivers nothing")),
        _ => Ok(()),
    }
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "consistent_broadcast.value")]
struct Value(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "consistent_broadcast.echo")]
struct Echo(u32);

fn with(defect: Defect) -> Scenario<Consistent> {
    Scenario::of(move |_| Consistent { defect, ..Consistent::default() })
}

fn four(scenario: &Scenario<Consistent>) -> Simulation<'_> {
    Simulation::new(scenario, 4).settings(|it| short(it, 100))
}

fn five(scenario: &Scenario<Consistent>) -> Simulation<'_> {
    Simulation::new(scenario, 5).settings(|it| short(it, 100))
}

#[test]
fn the_correct_version_passes() {
    passes(&with(Defect::None), four);
    passes(&with(Defect::None), five);
}

#[test]
fn a_sender_that_tells_each_node_another_thing() {
    let exhibit = Exhibit {
        defect: "what the sender says is delivered without asking what it told the others",
        family: Family::Omission,
        violates: "all deliver the same",
    };
    exhibit.is_found(&with(Defect::NoEchoes), four);
}

#[test]
fn a_quorum_whose_common_node_is_the_traitor() {
    let exhibit = Exhibit {
        defect: "three of five pass for a quorum, though two such may share the traitor alone",
        family: Family::Quorum,
        violates: "all deliver the same",
    };
    exhibit.is_found(&with(Defect::MajorityOfEchoes), five);
}
