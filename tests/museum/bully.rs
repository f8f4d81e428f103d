//! The bully election with the halting of lower nodes, in short: without epochs.
//!
//! Source: H. Garcia-Molina, "Elections in a distributed computing system", IEEE Transactions on
//! Computers C-31(1), 1982.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Model, NodeId, Property, Tolerance,
    Verdict,
};
use synod_simulator::{Bounds, Fault, Scenario, Simulation};

use super::exhibit::{Exhibit, Family, passes, short};

const DELAY_MAX: Duration = Duration::from_millis(10);
/// A live higher node answers within two delays, a live lower one makes way.
const ANSWER_WITHIN: Duration = DELAY_MAX.saturating_mul(3);
const PATIENCE: Duration = DELAY_MAX.saturating_mul(8);
const BEAT_EVERY: Duration = DELAY_MAX.saturating_mul(4);
const SILENCE: Duration = DELAY_MAX.saturating_mul(6);

#[derive(Clone, Copy, Debug, Hash, PartialEq)]
enum Defect {
    /// The textbook form: a new leader does not make the lower nodes yield first.
    WithoutHalting,
    /// Answers are awaited for less than they take.
    Impatient,
    /// An announcement counts whoever makes it.
    AnyLeaderCounts,
}

#[derive(Clone, Debug, Default, Hash)]
struct Bully {
    defect: Option<Defect>,
    role: Role,
    leader: Option<NodeId>,
}

#[derive(Clone, Copy, Debug, Default, Hash, PartialEq)]
enum Role {
    #[default]
    Candidate,
    Halting,
    Waiting,
    Follower,
    Leader,
}

impl Algorithm for Bully {
    const NAME: &'static str = "bully";
    const MODEL: Model =
        Model::synchronous(DELAY_MAX).tolerating(Faults::CrashRecovery(Tolerance::AllButOne));

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::election)
            .on(Self::alive)
            .on(Self::unanswered)
            .on(Self::halt)
            .on(Self::halted)
            .on(Self::coordinator)
            .on(Self::beat)
            .on(Self::silence)
    }

    fn start(&mut self, ctx: &mut Context) {
        self.elect(ctx);
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::always("at most one node leads", at_most_one_leads),
            Property::always("nobody follows a lower node", nobody_follows_a_lower_node),
        ]
    }
}

impl Bully {
    fn election(&mut self, _: Election, from: NodeId, ctx: &mut Context) {
        ctx.send(from, &Alive);
        match self.role {
            Role::Leader => ctx.send(from, &Coordinator),
            Role::Candidate | Role::Halting => (),
            Role::Waiting | Role::Follower => self.elect(ctx),
        }
    }

    fn alive(&mut self, _: Alive, ctx: &mut Context) {
        if self.is_electing() {
            self.wait(ctx);
        }
    }

    fn unanswered(&mut self, _: Unanswered, ctx: &mut Context) {
        self.take_over(ctx);
    }

    fn halt(&mut self, _: Halt, ctx: &mut Context) {
        self.wait(ctx);
    }

    fn halted(&mut self, _: Halted, ctx: &mut Context) {
        self.lead(ctx);
    }

    fn coordinator(&mut self, _: Coordinator, from: NodeId, ctx: &mut Context) {
        if ctx.me() < from || self.defect == Some(Defect::AnyLeaderCounts) {
            self.enter(Role::Follower, ctx);
            self.leader = Some(from);
            ctx.after(SILENCE, &Silence);
        } else if !self.is_electing() {
            self.elect(ctx);
        }
    }

    fn beat(&self, _: Beat, ctx: &mut Context) {
        announce(ctx);
    }

    fn silence(&mut self, _: Silence, ctx: &mut Context) {
        self.elect(ctx);
    }

    fn elect(&mut self, ctx: &mut Context) {
        self.enter(Role::Candidate, ctx);
        let me = ctx.me();
        if ctx.peers().last() == Some(&me) {
            self.take_over(ctx);
        } else {
            ctx.send_where(&Election, |peer| me < peer);
            ctx.after(self.answer_within(), &Unanswered);
        }
    }

    fn wait(&mut self, ctx: &mut Context) {
        self.enter(Role::Waiting, ctx);
        ctx.after(PATIENCE, &Silence);
    }

    /// Garcia-Molina 1982, section III: no lower node leads any more before this one does.
    fn take_over(&mut self, ctx: &mut Context) {
        if self.defect == Some(Defect::WithoutHalting) {
            self.lead(ctx);
            return;
        }
        self.enter(Role::Halting, ctx);
        let me = ctx.me();
        ctx.send_where(&Halt, |peer| peer < me);
        ctx.after(self.answer_within(), &Halted);
    }

    fn answer_within(&self) -> Duration {
        match self.defect {
            Some(Defect::Impatient) => DELAY_MAX / 2,
            _ => ANSWER_WITHIN,
        }
    }

    fn lead(&mut self, ctx: &mut Context) {
        self.enter(Role::Leader, ctx);
        announce(ctx);
    }

    fn is_electing(&self) -> bool {
        matches!(self.role, Role::Candidate | Role::Halting)
    }

    /// A new role waits for its own timer only.
    fn enter(&mut self, role: Role, ctx: &mut Context) {
        (self.role, self.leader) = (role, None);
        ctx.cancel(&Unanswered);
        ctx.cancel(&Halted);
        ctx.cancel(&Silence);
        ctx.cancel(&Beat);
    }
}

fn announce(ctx: &mut Context) {
    let me = ctx.me();
    ctx.send_where(&Coordinator, |peer| peer != me);
    ctx.after(BEAT_EVERY, &Beat);
}

fn at_most_one_leads(cluster: &Cluster<'_, Bully>) -> Verdict {
    let leads = |state: &Bully| state.role == Role::Leader;
    let mut leaders = cluster.live().filter(|(_, state)| leads(state)).map(|(node, _)| node);
    match (leaders.next(), leaders.next()) {
        (Some(one), Some(other)) => Err(format!("{one} and {other} both lead")),
        _ => Ok(()),
    }
}

fn nobody_follows_a_lower_node(cluster: &Cluster<'_, Bully>) -> Verdict {
    let mut following = cluster.live().filter_map(|(node, state)| Some((node, state.leader?)));
    match following.find(|(node, leader)| leader < node) {
        Some((node, leader)) => Err(format!("{node} follows {leader}")),
        None => Ok(()),
    }
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bully.election")]
struct Election;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bully.alive")]
struct Alive;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bully.unanswered", local)]
struct Unanswered;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bully.halt")]
struct Halt;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bully.halted", local)]
struct Halted;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bully.coordinator")]
struct Coordinator;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bully.beat", local)]
struct Beat;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bully.silence", local)]
struct Silence;

fn with(defect: Option<Defect>) -> Scenario<Bully> {
    Scenario::of(move |_| Bully { defect, ..Bully::default() })
}

fn world(scenario: &Scenario<Bully>) -> Simulation<'_> {
    Simulation::new(scenario, 3).settings(|it| short(it, 300))
}

fn paused(scenario: &Scenario<Bully>) -> Simulation<'_> {
    Simulation::new(scenario, 3).with(Fault::Pause).settings(|it| short(it, 300))
}

#[test]
fn the_correct_version_passes() {
    passes(&with(None), world);
}

const WITHOUT_HALTING: Exhibit = Exhibit {
    defect: "a node that comes back leads at once, beside the one that led without it",
    family: Family::Omission,
    violates: "at most one node leads",
};

#[test]
fn without_halting() {
    WITHOUT_HALTING.is_found(&with(Some(Defect::WithoutHalting)), world);
}

#[test]
fn without_halting_explored() {
    let bounds = Bounds::within(&Bully::MODEL, 3);
    WITHOUT_HALTING.is_explored(&with(Some(Defect::WithoutHalting)), &bounds);
}

#[test]
fn impatient() {
    let exhibit = Exhibit {
        defect: "a node waits half a delay for an answer, which takes two",
        family: Family::Assumption,
        violates: "at most one node leads",
    };
    exhibit.is_found(&with(Some(Defect::Impatient)), world);
}

#[test]
fn any_leader_counts() {
    let exhibit = Exhibit {
        defect: "an announcement is taken from a lower node, whose reign is over",
        family: Family::Epoch,
        violates: "nobody follows a lower node",
    };
    exhibit.is_found(&with(Some(Defect::AnyLeaderCounts)), world);
}

/// The algorithm is correct in its model, which knows no pauses.
#[test]
fn a_leader_that_pauses() {
    let exhibit = Exhibit {
        defect: "a leader keeps its role through a pause in which another took over",
        family: Family::Assumption,
        violates: "at most one node leads",
    };
    exhibit.is_found(&with(None), paused);
}
