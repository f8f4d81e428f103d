//! Causal broadcast: a message is delivered after everything that its sender had delivered.
//!
//! Source: C. Cachin, R. Guerraoui, L. Rodrigues, "Introduction to reliable and secure distributed
//! programming", 2nd ed., 2011, algorithm 3.15. n1 asks, n2 answers n1, n3 answers n2, and so on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, Model, NodeId, Property, Verdict};
use synod_simulator::{Scenario, Simulation};

use super::exhibit::{Exhibit, Family, passes, short};

#[derive(Clone, Copy, Debug, Hash, PartialEq)]
enum Defect {
    /// A message waits for earlier ones of its own sender only.
    OnlyTheSenderIsCompared,
    /// What a message was waited for is looked at once.
    DrainsOnce,
}

/// How many messages of each node have been delivered.
type Vector = BTreeMap<NodeId, u64>;

#[derive(Clone, Debug, Default, Hash)]
struct Causal {
    defect: Option<Defect>,
    vector: Vector,
    pending: Vec<(NodeId, Vector)>,
    delivered: Vec<NodeId>,
}

impl Algorithm for Causal {
    const NAME: &'static str = "causal broadcast";
    const MODEL: Model = Model::ASYNCHRONOUS;

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::data)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() == NodeId(1) {
            self.speak(ctx);
        }
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::always("an answer comes after its question", answers_come_after),
            Property::at_rest("everything is delivered", everything_is_delivered),
        ]
    }
}

impl Causal {
    fn speak(&mut self, ctx: &mut Context) {
        let me = ctx.me();
        ctx.send_where(&Data(self.vector.clone()), |peer| peer != me);
        self.deliver(me);
    }

    fn data(&mut self, Data(past): Data, from: NodeId, ctx: &mut Context) {
        self.pending.push((from, past));
        while let Some(index) = self.pending.iter().position(|message| self.is_next(message)) {
            let (sender, _) = self.pending.remove(index);
            self.deliver(sender);
            if ctx.me() == NodeId(sender.0 + 1) {
                self.speak(ctx);
            }
            if self.defect == Some(Defect::DrainsOnce) {
                return;
            }
        }
    }

    fn deliver(&mut self, sender: NodeId) {
        *self.vector.entry(sender).or_default() += 1;
        self.delivered.push(sender);
    }

    /// Whether everything that its sender had delivered has been delivered here.
    fn is_next(&self, (sender, past): &(NodeId, Vector)) -> bool {
        let has = |(node, count): (&NodeId, &u64)| self.vector.get(node).unwrap_or(&0) >= count;
        match self.defect {
            Some(Defect::OnlyTheSenderIsCompared) => past.get_key_value(sender).is_none_or(has),
            _ => past.iter().all(has),
        }
    }
}

/// Each node speaks once, upon what the one before it said.
fn answers_come_after(cluster: &Cluster<'_, Causal>) -> Verdict {
    match cluster.live().find(|(_, state)| !state.delivered.is_sorted()) {
        Some((node, state)) => Err(format!("{node} delivers {:?}", state.delivered)),
        None => Ok(()),
    }
}

fn everything_is_delivered(cluster: &Cluster<'_, Causal>) -> Verdict {
    match cluster.live().find(|(_, state)| state.delivered.len() < cluster.size()) {
        Some((node, state)) => Err(format!("{node} delivers {:?} only", state.delivered)),
        None => Ok(()),
    }
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "causal_broadcast.data")]
struct Data(Vector);

fn with(defect: Option<Defect>) -> Scenario<Causal> {
    Scenario::of(move |_| Causal { defect, ..Causal::default() })
}

fn world(scenario: &Scenario<Causal>) -> Simulation<'_> {
    Simulation::new(scenario, 4).settings(|it| short(it, 200))
}

#[test]
fn the_correct_version_passes() {
    passes(&with(None), world);
}

#[test]
fn only_the_sender_is_compared() {
    let exhibit = Exhibit {
        defect: "a message waits for those of its own sender, not for what the sender had seen",
        family: Family::Comparison,
        violates: "an answer comes after its question",
    };
    exhibit.is_found(&with(Some(Defect::OnlyTheSenderIsCompared)), world);
}

#[test]
fn a_queue_that_is_drained_once() {
    let exhibit = Exhibit {
        defect: "of the messages that waited for one another, only the first is delivered",
        family: Family::Guard,
        violates: "everything is delivered",
    };
    exhibit.is_found(&with(Some(Defect::DrainsOnce)), world);
}
