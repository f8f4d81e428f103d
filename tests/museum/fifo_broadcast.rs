//! FIFO broadcast: the messages of a node are delivered in the order in which it sent them.
//!
//! Source: C. Cachin, R. Guerraoui, L. Rodrigues, "Introduction to reliable and secure distributed
//! programming", 2nd ed., 2011, algorithm 3.12. The links keep no order, but lose nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, Model, NodeId, Property, Verdict};
use synod_simulator::{Scenario, Simulation};

use super::exhibit::{Exhibit, Family, passes, short};

const MESSAGES: u64 = 3;

#[derive(Clone, Copy, Debug, Hash, PartialEq)]
enum Defect {
    /// What a message was waited for is looked at once.
    DrainsOnce,
    /// Any message after the last one will do.
    GapsAreSkipped,
}

#[derive(Clone, Debug, Default, Hash)]
struct Fifo {
    defect: Option<Defect>,
    sent: u64,
    pending: BTreeSet<(NodeId, u64)>,
    delivered: BTreeMap<NodeId, Vec<u64>>,
}

impl Algorithm for Fifo {
    const NAME: &'static str = "FIFO broadcast";
    const MODEL: Model = Model::ASYNCHRONOUS;

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::speak).on(Self::data)
    }

    /// The first two nodes have something to say.
    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() <= NodeId(2) {
            ctx.after(Duration::from_millis(1), &Speak);
        }
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::always("messages are delivered in their order", delivered_in_order),
            Property::at_rest("everything is delivered", everything_is_delivered),
        ]
    }
}

impl Fifo {
    fn speak(&mut self, _: Speak, ctx: &mut Context) {
        self.sent += 1;
        let (me, number) = (ctx.me(), self.sent);
        self.delivered.entry(me).or_default().push(number);
        ctx.send_where(&Data(number), |peer| peer != me);
        if number < MESSAGES {
            ctx.after(Duration::from_millis(1), &Speak);
        }
    }

    fn data(&mut self, Data(number): Data, origin: NodeId) {
        self.pending.insert((origin, number));
        self.drain(origin);
    }

    /// Delivers what is next, for as long as it is there.
    fn drain(&mut self, origin: NodeId) {
        let delivered = self.delivered.entry(origin).or_default();
        loop {
            let last = delivered.last().copied().unwrap_or(0);
            let waiting = self.pending.range((origin, last + 1)..=(origin, u64::MAX)).next();
            let Some(&(_, number)) = waiting else {
                return;
            };
            if number != last + 1 && self.defect != Some(Defect::GapsAreSkipped) {
                return;
            }
            self.pending.remove(&(origin, number));
            delivered.push(number);
            if self.defect == Some(Defect::DrainsOnce) {
                return;
            }
        }
    }
}

fn delivered_in_order(cluster: &Cluster<'_, Fifo>) -> Verdict {
    for (node, state) in cluster.live() {
        for (origin, numbers) in &state.delivered {
            if !numbers.iter().copied().eq(1..=numbers.len() as u64) {
                return Err(format!("{node} delivers {numbers:?} of {origin}"));
            }
        }
    }
    Ok(())
}

fn everything_is_delivered(cluster: &Cluster<'_, Fifo>) -> Verdict {
    match cluster.live().find(|(_, state)| !state.pending.is_empty()) {
        Some((node, state)) => Err(format!("{node} never delivers {:?}", state.pending)),
        None => Ok(()),
    }
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "fifo_broadcast.speak", local)]
struct Speak;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "fifo_broadcast.data", unreliable)]
struct Data(u64);

fn with(defect: Option<Defect>) -> Scenario<Fifo> {
    Scenario::of(move |_| Fifo { defect, ..Fifo::default() })
}

fn world(scenario: &Scenario<Fifo>) -> Simulation<'_> {
    Simulation::new(scenario, 3).settings(|it| {
        short(it, 200);
        it.lose_datagram = 0;
    })
}

#[test]
fn the_correct_version_passes() {
    passes(&with(None), world);
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

#[test]
fn gaps_that_are_skipped() {
    let exhibit = Exhibit {
        defect: "any message above the last one is delivered, not only the next",
        family: Family::Comparison,
        violates: "messages are delivered in their order",
    };
    exhibit.is_found(&with(Some(Defect::GapsAreSkipped)), world);
}
