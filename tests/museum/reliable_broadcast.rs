//! Reliable broadcast: if one live node delivers a message, all do; everybody relays.
//!
//! Source: C. Cachin, R. Guerraoui, L. Rodrigues, "Introduction to reliable and secure distributed
//! programming", 2nd ed., 2011, algorithm 3.3.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Model, NodeId, Property, Tolerance,
    Verdict,
};
use synod_simulator::{Bounds, Scenario, Simulation};

use super::exhibit::{Exhibit, Family, passes, short};

#[derive(Clone, Debug, Default, Hash)]
struct Reliable {
    /// The defect: nobody relays what it gets.
    relay_is_left_out: bool,
    delivered: BTreeSet<NodeId>,
}

impl Algorithm for Reliable {
    const NAME: &'static str = "reliable broadcast";
    const MODEL: Model = Model::ASYNCHRONOUS.tolerating(Faults::CrashStop(Tolerance::AllButOne));

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::speak).on(Self::data)
    }

    /// Every node has something to say.
    fn start(&mut self, ctx: &mut Context) {
        let pause = 1 + 4 * u64::from(ctx.choose(8));
        ctx.after(Duration::from_millis(pause), &Speak);
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::at_rest("what one delivers, all deliver", what_one_delivers_all_deliver)]
    }
}

impl Reliable {
    fn speak(&mut self, _: Speak, ctx: &mut Context) {
        let me = ctx.me();
        self.delivered.insert(me);
        ctx.send_where(&Data { origin: me }, |peer| peer != me);
    }

    /// Upon `Data`: deliver it once, and relay it: its origin may have died on the way.
    fn data(&mut self, data: Data, from: NodeId, ctx: &mut Context) {
        let is_new = self.delivered.insert(data.origin);
        if is_new && !self.relay_is_left_out {
            let knows = [ctx.me(), from, data.origin];
            ctx.send_where(&data, |peer| !knows.contains(&peer));
        }
    }
}

fn what_one_delivers_all_deliver(cluster: &Cluster<'_, Reliable>) -> Verdict {
    for (one, state) in cluster.live() {
        for (other, its) in cluster.live() {
            if let Some(origin) = state.delivered.difference(&its.delivered).next() {
                return Err(format!("{one} has the message of {origin}, {other} has not"));
            }
        }
    }
    Ok(())
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "reliable_broadcast.speak", local)]
struct Speak;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "reliable_broadcast.data")]
struct Data {
    origin: NodeId,
}

fn with(relay_is_left_out: bool) -> Scenario<Reliable> {
    Scenario::of(move |_| Reliable { relay_is_left_out, ..Reliable::default() })
}

fn world(scenario: &Scenario<Reliable>) -> Simulation<'_> {
    Simulation::new(scenario, 3).settings(|it| short(it, 100))
}

#[test]
fn the_correct_version_passes() {
    passes(&with(false), world);
}

const RELAY_LEFT_OUT: Exhibit = Exhibit {
    defect: "nobody relays, so that a sender that dies midway is heard by some only",
    family: Family::Omission,
    violates: "what one delivers, all deliver",
};

#[test]
fn a_relay_left_out() {
    RELAY_LEFT_OUT.is_found(&with(true), world);
}

#[test]
fn a_relay_left_out_explored() {
    let bounds = Bounds::within(&Reliable::MODEL, 3);
    RELAY_LEFT_OUT.is_explored(&with(true), &bounds);
}
