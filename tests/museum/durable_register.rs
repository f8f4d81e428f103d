//! A server that keeps what its clients wrote: what is acknowledged survives every crash.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Model, NodeId, Property, Tolerance,
    Verdict,
};
use synod_simulator::{Bounds, DiskFault, Fault, Scenario, Simulation};

use super::exhibit::{Exhibit, Family, passes, short};

const SERVER: NodeId = NodeId(1);
const SEND_AGAIN_EVERY: Duration = Duration::from_millis(40);

#[derive(Clone, Copy, Debug, Hash, PartialEq)]
enum Defect {
    /// The acknowledgement leaves, and then the write is made durable.
    AnsweredFirst,
    /// One client's record takes the place of the others' records.
    CheckpointOfOne,
}

/// The server's half, and the half of a client, which writes 1, 2, 3 and so on.
#[derive(Clone, Debug, Default, Hash)]
struct Register {
    defect: Option<Defect>,
    stored: BTreeMap<NodeId, u32>,
    written: u32,
    acknowledged: u32,
}

impl Algorithm for Register {
    const NAME: &'static str = "durable register";
    const MODEL: Model = Model::ASYNCHRONOUS.tolerating(Faults::CrashRecovery(Tolerance::Minority));

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .restore(Self::restored)
            .on(Self::next)
            .on(Self::send_again)
            .on(Self::write)
            .on(Self::done)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() != SERVER {
            ctx.after(Duration::from_millis(5), &Next);
        }
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("what is acknowledged is kept", what_is_acknowledged_is_kept)]
    }
}

impl Register {
    fn restored(&mut self, Stored(stored): Stored) {
        self.stored = stored;
    }

    fn next(&mut self, _: Next, ctx: &mut Context) {
        self.written += 1;
        self.send(ctx);
    }

    fn send_again(&mut self, _: SendAgain, ctx: &mut Context) {
        self.send(ctx);
    }

    fn send(&self, ctx: &mut Context) {
        ctx.send(SERVER, &Write(self.written));
        ctx.after(SEND_AGAIN_EVERY, &SendAgain);
    }

    fn write(&mut self, Write(number): Write, from: NodeId, ctx: &mut Context) {
        let stored = self.stored.entry(from).or_default();
        *stored = number.max(*stored);
        match self.defect {
            None => {
                ctx.checkpoint(&Stored(self.stored.clone()));
                ctx.send(from, &Done(number));
            }
            Some(Defect::AnsweredFirst) => {
                ctx.send(from, &Done(number));
                ctx.checkpoint(&Stored(self.stored.clone()));
            }
            Some(Defect::CheckpointOfOne) => {
                ctx.checkpoint(&Stored(BTreeMap::from([(from, *stored)])));
                ctx.send(from, &Done(number));
            }
        }
    }

    fn done(&mut self, Done(number): Done, ctx: &mut Context) {
        if self.acknowledged < number && number == self.written {
            self.acknowledged = number;
            ctx.cancel(&SendAgain);
            if number < 3 {
                ctx.after(Duration::from_millis(5), &Next);
            }
        }
    }
}

fn what_is_acknowledged_is_kept(cluster: &Cluster<'_, Register>) -> Verdict {
    let Some(server) = cluster.state(SERVER) else {
        return Ok(());
    };
    for (client, state) in cluster.live() {
        let stored = server.stored.get(&client).copied().unwrap_or(0);
        if stored < state.acknowledged {
            return Err(format!("the write {} of {client} is lost", state.acknowledged));
        }
    }
    Ok(())
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "durable_register.stored", local)]
struct Stored(BTreeMap<NodeId, u32>);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "durable_register.next", local)]
struct Next;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "durable_register.send_again", local)]
struct SendAgain;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "durable_register.write")]
struct Write(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "durable_register.done")]
struct Done(u32);

fn with(defect: Option<Defect>) -> Scenario<Register> {
    Scenario::of(move |_| Register { defect, ..Register::default() })
}

fn world(scenario: &Scenario<Register>) -> Simulation<'_> {
    Simulation::new(scenario, 3).settings(|it| short(it, 200))
}

#[test]
fn the_correct_version_passes() {
    passes(&with(None), world);
}

const ANSWERED_FIRST: Exhibit = Exhibit {
    defect: "a write is acknowledged, and then made durable",
    family: Family::Durability,
    violates: "what is acknowledged is kept",
};

#[test]
fn answered_before_it_is_durable() {
    ANSWERED_FIRST.is_found(&with(Some(Defect::AnsweredFirst)), world);
}

#[test]
fn answered_before_it_is_durable_explored() {
    let bounds = Bounds { recoveries: 1, ..Bounds::within(&Register::MODEL, 3) };
    ANSWERED_FIRST.is_explored(&with(Some(Defect::AnsweredFirst)), &bounds);
}

/// The world of disks that claim to have synced, and have not.
fn lying_disks(scenario: &Scenario<Register>) -> Simulation<'_> {
    world(scenario).with(Fault::DiskOnly(DiskFault::Lie))
}

#[test]
fn an_acknowledged_write_on_a_disk_that_lies() {
    let exhibit = Exhibit {
        defect: "the algorithm is correct; the disk claims a sync that it has not made",
        family: Family::Assumption,
        violates: "what is acknowledged is kept",
    };
    exhibit.is_found(&with(None), lying_disks);
}

#[test]
fn a_checkpoint_of_one_client_for_all() {
    let exhibit = Exhibit {
        defect: "the record of one client takes the place of everybody's",
        family: Family::Durability,
        violates: "what is acknowledged is kept",
    };
    exhibit.is_found(&with(Some(Defect::CheckpointOfOne)), world);
}
