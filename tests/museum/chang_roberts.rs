//! Chang-Roberts: on a ring, the node of the highest number is elected.
//!
//! Source: E. Chang, R. Roberts, "An improved algorithm for decentralized extrema-finding in
//! circular configurations of processes", Communications of the ACM 22(5), 1979.

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Handlers, Model, NodeId, Property, Topology, Verdict,
};
use synod_simulator::{Bounds, Scenario, Simulation, explore};

use super::exhibit::{Exhibit, Family, passes, short};

#[derive(Clone, Copy, Debug, Hash, PartialEq)]
enum Defect {
    /// Every claim goes on.
    LowerClaimsGoOn,
    /// A claim that comes back to its node ends there like a lower one.
    OwnClaimIsSwallowed,
    /// The announcement goes on at the node that made it.
    AnnouncementNeverStops,
}

#[derive(Clone, Debug, Default, Hash)]
struct Ring {
    defect: Option<Defect>,
    leader: Option<NodeId>,
    /// How often this node has heard the announcement.
    heard: u32,
}

impl Algorithm for Ring {
    const NAME: &'static str = "Chang-Roberts";
    const MODEL: Model = Model::ASYNCHRONOUS.on(Topology::Ring);

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::claim).on(Self::elected)
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.send(ctx.successor(), &Claim(ctx.me()));
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::always("only the highest is elected", only_the_highest_is_elected),
            Property::always("the announcement goes round once", announced_once),
            Property::at_rest("everybody knows the leader", everybody_knows),
        ]
    }
}

impl Ring {
    fn claim(&mut self, Claim(node): Claim, ctx: &mut Context) {
        let me = ctx.me();
        if node == me && self.defect != Some(Defect::OwnClaimIsSwallowed) {
            self.leader = Some(me);
            ctx.send(ctx.successor(), &Elected(me));
        } else if me < node || self.defect == Some(Defect::LowerClaimsGoOn) {
            ctx.send(ctx.successor(), &Claim(node));
        }
    }

    fn elected(&mut self, Elected(node): Elected, ctx: &mut Context) {
        self.leader = Some(node);
        self.heard += 1;
        if node != ctx.me() || self.defect == Some(Defect::AnnouncementNeverStops) {
            ctx.send(ctx.successor(), &Elected(node));
        }
    }
}

fn only_the_highest_is_elected(cluster: &Cluster<'_, Ring>) -> Verdict {
    let highest = cluster.live().next_back().map(|(node, _)| node);
    match cluster.live().find(|(_, state)| state.leader.is_some() && state.leader != highest) {
        Some((node, state)) => Err(format!("{node} takes {:?} for the leader", state.leader)),
        None => Ok(()),
    }
}

fn announced_once(cluster: &Cluster<'_, Ring>) -> Verdict {
    match cluster.live().find(|(_, state)| 1 < state.heard) {
        Some((node, state)) => Err(format!("{node} has heard it {} times", state.heard)),
        None => Ok(()),
    }
}

fn everybody_knows(cluster: &Cluster<'_, Ring>) -> Verdict {
    match cluster.live().find(|(_, state)| state.leader.is_none()) {
        Some((node, _)) => Err(format!("{node} knows no leader")),
        None => Ok(()),
    }
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "chang_roberts.claim")]
struct Claim(NodeId);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "chang_roberts.elected")]
struct Elected(NodeId);

fn with(defect: Option<Defect>) -> Scenario<Ring> {
    Scenario::of(move |_| Ring { defect, ..Ring::default() })
}

fn world(scenario: &Scenario<Ring>) -> Simulation<'_> {
    Simulation::new(scenario, 5).settings(|it| short(it, 1_000))
}

#[test]
fn the_correct_version_passes() {
    passes(&with(None), world);
    explore(&with(None), &Bounds::within(&Ring::MODEL, 4)).expect_complete();
}

#[test]
fn lower_claims_that_go_on() {
    let exhibit = Exhibit {
        defect: "a node passes on claims below its own, so that every claim comes round",
        family: Family::Comparison,
        violates: "only the highest is elected",
    };
    exhibit.is_found(&with(Some(Defect::LowerClaimsGoOn)), world);
}

#[test]
fn an_own_claim_that_is_swallowed() {
    let exhibit = Exhibit {
        defect: "a claim must be above the node's own, also the one that comes back to it",
        family: Family::Comparison,
        violates: "everybody knows the leader",
    };
    exhibit.is_found(&with(Some(Defect::OwnClaimIsSwallowed)), world);
}

#[test]
fn an_announcement_that_never_stops() {
    let exhibit = Exhibit {
        defect: "the leader passes its own announcement on when it comes round",
        family: Family::Guard,
        violates: "the announcement goes round once",
    };
    exhibit.is_found(&with(Some(Defect::AnnouncementNeverStops)), world);
}
