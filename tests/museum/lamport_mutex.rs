//! Lamport's mutual exclusion: requests queue at every node in the order of their stamps.
//!
//! Source: L. Lamport, "Time, clocks, and the ordering of events in a distributed system",
//! Communications of the ACM 21(7), 1978. It assumes links that keep their order: a reply then
//! says that no older request is still on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Handlers, Model, NodeId, Order, Property, Verdict,
};
use synod_simulator::{Bounds, Scenario, Simulation, explore};

use super::exhibit::{Exhibit, Family, passes, short};

const HOLD: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, Debug, Hash, PartialEq)]
enum Defect {
    /// Requests of equal stamps are all the first.
    TieIsNotBroken,
    /// The head of the queue enters without hearing from the others.
    RepliesAreNotAwaited,
}

/// `IN_ORDER`: whether a link keeps the order of all that is sent on it, or of each type alone.
#[derive(Clone, Debug, Default, Hash)]
struct Mutex<const IN_ORDER: bool> {
    defect: Option<Defect>,
    clock: u64,
    /// Never wants to enter, and says so to nobody.
    is_idle: bool,
    requests: BTreeSet<(u64, NodeId)>,
    /// The latest stamp that came from each other node.
    heard: BTreeMap<NodeId, u64>,
    own: Option<(u64, NodeId)>,
    others: usize,
    holds: bool,
    entered: bool,
}

impl<const IN_ORDER: bool> Algorithm for Mutex<IN_ORDER> {
    const NAME: &'static str = "Lamport's mutual exclusion";
    const ORDER: Order = if IN_ORDER { Order::PerSender } else { Order::PerEvent };
    const MODEL: Model = Model::ASYNCHRONOUS;

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::want)
            .on(Self::request)
            .on(Self::reply)
            .on(Self::release)
            .on(Self::leave)
            .when("is_first", Self::is_first, Self::enter)
    }

    /// Every node that is not idle enters once.
    fn start(&mut self, ctx: &mut Context) {
        self.others = ctx.peers().len() - 1;
        if self.is_idle {
            return;
        }
        let pause = 1 + u64::from(ctx.choose(4));
        ctx.after(Duration::from_millis(pause), &Want);
    }

    fn properties() -> Vec<Property<Self>> {
        let safety = Property::always("at most one node holds", at_most_one_holds);
        let liveness = Property::at_rest("everybody has entered", everybody_has_entered);
        if IN_ORDER { vec![safety, liveness] } else { vec![safety] }
    }
}

impl<const IN_ORDER: bool> Mutex<IN_ORDER> {
    fn want(&mut self, _: Want, ctx: &mut Context) {
        self.clock += 1;
        let me = ctx.me();
        self.own = Some((self.clock, me));
        self.requests.insert((self.clock, me));
        ctx.send_where(&Request(self.clock), |peer| peer != me);
    }

    fn request(&mut self, Request(stamp): Request, from: NodeId, ctx: &mut Context) {
        self.hear(stamp, from);
        self.requests.insert((stamp, from));
        ctx.send(from, &Reply(self.clock));
    }

    fn reply(&mut self, Reply(stamp): Reply, from: NodeId) {
        self.hear(stamp, from);
    }

    fn release(&mut self, Release(stamp): Release, from: NodeId) {
        self.hear(stamp, from);
        self.requests.retain(|(_, node)| *node != from);
    }

    fn leave(&mut self, _: Leave, ctx: &mut Context) {
        self.holds = false;
        self.clock += 1;
        let me = ctx.me();
        self.requests.retain(|(_, node)| *node != me);
        ctx.send_where(&Release(self.clock), |peer| peer != me);
    }

    fn hear(&mut self, stamp: u64, from: NodeId) {
        self.clock = self.clock.max(stamp) + 1;
        self.heard.insert(from, stamp);
    }

    /// Lamport 1978, rule 5: the own request is before all others, and something later has come
    /// from everybody.
    fn is_first(&self) -> bool {
        let Some(own) = self.own else {
            return false;
        };
        let first = self.requests.first();
        let is_before = |stamp: u64, node: NodeId| own < (stamp, node);
        let everybody = || self.heard.len() == self.others;
        match self.defect {
            None => {
                first == Some(&own)
                    && everybody()
                    && self.heard.iter().all(|(node, stamp)| is_before(*stamp, *node))
            }
            Some(Defect::TieIsNotBroken) => {
                first.is_some_and(|first| own.0 <= first.0)
                    && everybody()
                    && self.heard.values().all(|stamp| own.0 <= *stamp)
            }
            Some(Defect::RepliesAreNotAwaited) => first == Some(&own),
        }
    }

    fn enter(&mut self, ctx: &mut Context) {
        self.own = None;
        (self.holds, self.entered) = (true, true);
        ctx.after(HOLD, &Leave);
    }
}

fn at_most_one_holds<const IN_ORDER: bool>(cluster: &Cluster<'_, Mutex<IN_ORDER>>) -> Verdict {
    let mut holders = cluster.live().filter(|(_, state)| state.holds).map(|(node, _)| node);
    match (holders.next(), holders.next()) {
        (Some(one), Some(other)) => Err(format!("{one} and {other} both hold")),
        _ => Ok(()),
    }
}

fn everybody_has_entered<const IN_ORDER: bool>(cluster: &Cluster<'_, Mutex<IN_ORDER>>) -> Verdict {
    match cluster.live().find(|(_, state)| !state.entered && !state.is_idle) {
        Some((node, _)) => Err(format!("{node} has not entered")),
        None => Ok(()),
    }
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "lamport_mutex.want", local)]
struct Want;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "lamport_mutex.request")]
struct Request(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "lamport_mutex.reply")]
struct Reply(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "lamport_mutex.release")]
struct Release(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "lamport_mutex.leave", local)]
struct Leave;

fn with<const IN_ORDER: bool>(defect: Option<Defect>) -> Scenario<Mutex<IN_ORDER>> {
    Scenario::of(move |_| Mutex { defect, ..Mutex::default() })
}

fn world<const IN_ORDER: bool>(scenario: &Scenario<Mutex<IN_ORDER>>) -> Simulation<'_> {
    Simulation::new(scenario, 3).settings(|it| short(it, 1_000))
}

#[test]
fn the_correct_version_passes() {
    passes(&with::<true>(None), world);
}

#[test]
fn the_correct_version_passes_in_every_schedule() {
    let two = Bounds::within(&Mutex::<true>::MODEL, 2);
    explore(&with::<true>(None), &two).expect_complete();
    let three = Bounds::within(&Mutex::<true>::MODEL, 3);
    let one_idle = |node| Mutex::<true> { is_idle: node == NodeId(3), ..Mutex::default() };
    let explored = explore(&Scenario::of(one_idle), &three);
    explored.expect_complete();
}

#[test]
#[ignore = "a million states take a minute"]
fn the_correct_version_passes_in_every_schedule_of_three_that_want() {
    let three = Bounds::within(&Mutex::<true>::MODEL, 3);
    explore(&with::<true>(None), &three).expect_complete();
}

const WITHOUT_ORDER: Exhibit = Exhibit {
    defect: "the links keep no order between requests and replies",
    family: Family::Assumption,
    violates: "at most one node holds",
};

#[test]
fn links_without_order() {
    WITHOUT_ORDER.is_found(&with::<false>(None), world);
}

#[test]
fn links_without_order_explored() {
    let bounds = Bounds::within(&Mutex::<false>::MODEL, 2);
    WITHOUT_ORDER.is_explored(&with::<false>(None), &bounds);
}

#[test]
fn a_tie_that_is_not_broken() {
    let exhibit = Exhibit {
        defect: "stamps are compared without the nodes: two equal ones are both the first",
        family: Family::Comparison,
        violates: "at most one node holds",
    };
    exhibit.is_found(&with::<true>(Some(Defect::TieIsNotBroken)), world);
}

#[test]
fn replies_that_are_not_awaited() {
    let exhibit = Exhibit {
        defect: "the first of its own queue enters without hearing from the others",
        family: Family::Guard,
        violates: "at most one node holds",
    };
    exhibit.is_found(&with::<true>(Some(Defect::RepliesAreNotAwaited)), world);
}
