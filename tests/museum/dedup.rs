//! Exactly-once delivery: every message is numbered, and the receiver remembers a window of them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Links, Model, NodeId, Property,
    Tolerance, Verdict,
};
use synod_simulator::{Scenario, Simulation};

use super::exhibit::{Exhibit, Family, passes, short};

const SENDER: NodeId = NodeId(1);
const RECEIVER: NodeId = NodeId(2);
/// Messages that far behind the newest are refused.
const WINDOW: u64 = 4;
const MESSAGES: u64 = 8;

#[derive(Clone, Copy, Debug, Hash, PartialEq)]
enum Defect {
    /// The oldest message of the window is neither remembered nor refused.
    WindowIsOneTooShort,
    /// The numbers begin again with each life of the sender.
    LivesAreNotTold,
}

/// A message's name: the sender's life, and its number in it.
type Name = (u64, u64);

#[derive(Clone, Debug, Default, Hash)]
struct Dedup {
    defect: Option<Defect>,
    next: u64,
    life: u64,
    /// What the receiver has said to have, as its sender knows.
    acknowledged: Vec<Name>,
    newest: Name,
    remembered: Vec<Name>,
    /// How often each message has been delivered.
    delivered: BTreeMap<Name, u32>,
}

impl Algorithm for Dedup {
    const NAME: &'static str = "deduplication";
    const MODEL: Model = Model::ASYNCHRONOUS
        .tolerating(Faults::CrashRecovery(Tolerance::Exactly(1)))
        .over(Links::FairLoss);

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::next).on(Self::data).on(Self::received)
    }

    fn start(&mut self, ctx: &mut Context) {
        self.life = ctx.incarnation();
        if ctx.me() == SENDER {
            ctx.after(Duration::from_millis(1), &Next);
        }
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::always("a message is delivered once", a_message_is_delivered_once),
            Property::always("what is acknowledged is delivered", acknowledged_is_delivered),
        ]
    }
}

impl Dedup {
    fn next(&mut self, _: Next, ctx: &mut Context) {
        self.next += 1;
        ctx.send(RECEIVER, &Data(self.life, self.next));
        if self.next < MESSAGES {
            ctx.after(Duration::from_millis(2), &Next);
        }
    }

    /// Upon `Data`: deliver it once, and acknowledge it, unless it is too old to tell.
    fn data(&mut self, Data(life, number): Data, from: NodeId, ctx: &mut Context) {
        let told = match self.defect {
            Some(Defect::LivesAreNotTold) => (0, number),
            _ => (life, number),
        };
        if self.is_new(told) {
            self.remember(told);
            *self.delivered.entry((life, number)).or_default() += 1;
        }
        if self.remembered.contains(&told) {
            ctx.send(from, &Received(life, number));
        }
    }

    /// Whether a message is within the window and not remembered.
    fn is_new(&self, name: Name) -> bool {
        let (life, number) = name;
        let too_old =
            life < self.newest.0 || (life == self.newest.0 && number + WINDOW <= self.newest.1);
        !too_old && !self.remembered.contains(&name)
    }

    fn remember(&mut self, name: Name) {
        self.newest = self.newest.max(name);
        self.remembered.push(name);
        let (life, newest) = self.newest;
        let kept = match self.defect {
            Some(Defect::WindowIsOneTooShort) => WINDOW - 1,
            _ => WINDOW,
        };
        self.remembered.retain(|(old, number)| *old == life && newest < number + kept);
    }

    fn received(&mut self, Received(life, number): Received) {
        if life == self.life {
            self.acknowledged.push((life, number));
        }
    }
}

fn a_message_is_delivered_once(cluster: &Cluster<'_, Dedup>) -> Verdict {
    let receiver = cluster.state(RECEIVER);
    let mut delivered = receiver.iter().flat_map(|state| &state.delivered);
    match delivered.find(|(_, times)| 1 < **times) {
        Some(((_, number), times)) => Err(format!("message {number} came {times} times")),
        None => Ok(()),
    }
}

/// As long as the receiver lives its first life; what it had delivered, a crash forgets.
fn acknowledged_is_delivered(cluster: &Cluster<'_, Dedup>) -> Verdict {
    let (Some(sender), Some(receiver)) = (cluster.state(SENDER), cluster.state(RECEIVER)) else {
        return Ok(());
    };
    let is_lost = |name: &&Name| receiver.life == 1 && !receiver.delivered.contains_key(name);
    match sender.acknowledged.iter().find(is_lost) {
        Some((life, number)) => Err(format!("message {number} of life {life} never came")),
        None => Ok(()),
    }
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "dedup.next", local)]
struct Next;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "dedup.data", unreliable)]
struct Data(u64, u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "dedup.received", unreliable)]
struct Received(u64, u64);

fn with(defect: Option<Defect>) -> Scenario<Dedup> {
    Scenario::of(move |_| Dedup { defect, ..Dedup::default() })
}

fn world(scenario: &Scenario<Dedup>) -> Simulation<'_> {
    Simulation::new(scenario, 2).settings(|it| short(it, 100))
}

#[test]
fn the_correct_version_passes() {
    passes(&with(None), world);
}

#[test]
fn a_window_that_is_one_too_short() {
    let exhibit = Exhibit {
        defect: "the oldest message of the window is neither remembered nor refused",
        family: Family::Comparison,
        violates: "a message is delivered once",
    };
    exhibit.is_found(&with(Some(Defect::WindowIsOneTooShort)), world);
}

#[test]
fn lives_that_are_not_told_apart() {
    let exhibit = Exhibit {
        defect: "a sender that comes back numbers from 1 again, and is taken for its former life",
        family: Family::Identity,
        violates: "what is acknowledged is delivered",
    };
    exhibit.is_found(&with(Some(Defect::LivesAreNotTold)), world);
}
