//! Bully: the live node of the highest identity leads.
//!
//! Source: H. Garcia-Molina, "Elections in a Distributed Computing System", IEEE Transactions on
//! Computers C-31(1), 1982: the Bully Election Algorithm, with its halting of the lower nodes. The
//! failure detector is a heartbeat of the leader, and epochs and incarnations are added: in the
//! textbook form, without halting, a node that comes back leads beside the node that it bullies.
//!
//! | Assumes   | synchronous: messages take at most `DELAY_MAX`; crash-recovery of all but one;     |
//! |           | reliable links between live nodes, no partition; nothing is kept on disk           |
//! | Safety    | at most one live node leads, at any time; a node's epochs only grow                |
//! | Liveness  | `SETTLED_WITHIN` after the last crash or recovery, every live node follows the     |
//! |           | highest one                                                                        |
//! | Messages  | O(n²) for an election, n−1 for a heartbeat                                         |
//! | Checked   | 3 nodes, 1 crash anywhere and its recovery, delays up to the bound: 51,221 states  |
//!
//! ```text
//! upon <Start>:                       elect()
//! elect():                            role := candidate
//!                                     if a node is higher: send <Election> to all higher ones,
//!                                                          and wait for <Unanswered>
//!                                     else take_over()
//! upon <Election> from a lower q:     send <Alive> to q
//!                                     if leader: send <Coordinator | epoch> to q
//!                                     else if neither candidate nor halting: elect()
//! upon <Alive>, electing:             role := waiting; have patience
//! upon <Unanswered>:                  take_over()
//! take_over():                        role := halting; send <Halt> to all lower nodes, and wait
//!                                     for <Halted>
//! upon <Halt> from a higher q:        role := waiting; have patience
//!                                     send <Yielded | highest epoch> to q
//! upon <Yielded | e>:                 highest epoch := the higher of both
//! upon <Halted>:                      role := leader; epoch := highest epoch + 1
//!                                     send <Coordinator | epoch> to all, now and every BEAT_EVERY
//! upon <Coordinator | e> from q:      if q is lower: elect(), unless electing
//!                                     else if e is below: send <Yielded | highest epoch> to q
//!                                     else role := follower of q in e; listen for q's silence
//! upon <Impatient> or <Silence>:      elect()
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Model, NodeId, Property, Snapshots,
    Summary, Tolerance, Verdict,
};

/// The assumed bound on the delay of a message, processing included.
pub const DELAY_MAX: Duration = Duration::from_millis(100);

/// A live higher node answers within two delays; a third keeps the answer and the timer apart.
const ANSWER_WITHIN: Duration = DELAY_MAX.saturating_mul(3);
/// The same for the epochs of the lower nodes.
const HALT_WITHIN: Duration = DELAY_MAX.saturating_mul(3);
/// A higher node that was alive leads by then, unless it has crashed: it asks, halts, announces.
const PATIENCE: Duration = DELAY_MAX.saturating_mul(8);
/// How often a leader repeats its announcement.
const BEAT_EVERY: Duration = DELAY_MAX.saturating_mul(4);
/// A live leader is heard again by then: one beat, one delay, and one more to keep them apart.
const SILENCE: Duration = DELAY_MAX.saturating_mul(6);
/// When every live node follows the highest one, counted from the last crash or recovery.
pub const SETTLED_WITHIN: Duration = DELAY_MAX.saturating_mul(30);

/// The state of one node.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Bully {
    role: Role,
    /// The reign that this node leads, or follows, or last did.
    epoch: Epoch,
    /// The highest number of an epoch that this node has heard of.
    highest: u64,
}

/// What a node is doing about the leadership.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
enum Role {
    /// Asks whether a higher node is alive.
    #[default]
    Candidate,
    /// Makes the lower nodes yield.
    Halting,
    /// Knows that a higher node is alive, and waits for its announcement.
    Waiting,
    /// Follows the leader of the epoch.
    Follower,
    /// Leads in the epoch.
    Leader,
}

/// One reign. Ordered: a later one is higher for every node that lives through both.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Higher than that of every epoch that a live node had heard of.
    pub number: u64,
    /// Who leads. A number may come again if everybody who had heard of it has crashed.
    pub leader: NodeId,
    /// In which of its lives.
    pub incarnation: u64,
}

impl Default for Epoch {
    /// Before every reign.
    fn default() -> Self {
        Self { number: 0, leader: NodeId(0), incarnation: 0 }
    }
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
            .on(Self::yielded)
            .on(Self::halted)
            .on(Self::coordinator)
            .on(Self::beat)
            .on(Self::impatient)
            .on(Self::silence)
            .indicates::<Elected>()
    }

    fn snapshots() -> Snapshots<Self> {
        Snapshots::encoded()
    }

    fn start(&mut self, ctx: &mut Context) {
        self.elect(ctx);
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::always("at most one node leads", at_most_one_leads),
            Property::eventually("the highest node leads all", SETTLED_WITHIN, the_highest_leads),
        ]
    }

    fn summary(&self) -> Summary {
        let summary = Summary::default().role(match self.role {
            Role::Candidate => "candidate",
            Role::Halting => "halting",
            Role::Waiting => "waiting",
            Role::Follower => "follower",
            Role::Leader => "leader",
        });
        match self.leader() {
            Some(leader) => summary.with("leader", leader).with("epoch", self.epoch.number),
            None => summary,
        }
    }
}

impl Bully {
    /// The leader that this node knows, itself included.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        let knows = matches!(self.role, Role::Follower | Role::Leader);
        knows.then_some(self.epoch.leader)
    }

    /// Whether this node leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.role == Role::Leader
    }

    /// Upon `Election` from a lower q: q must wait, for this node stands for election itself.
    fn election(&mut self, _: Election, from: NodeId, ctx: &mut Context) {
        ctx.send(from, &Alive);
        match self.role {
            Role::Leader => ctx.send(from, &Coordinator(self.epoch)),
            Role::Candidate | Role::Halting => (),
            Role::Waiting | Role::Follower => self.elect(ctx),
        }
    }

    /// Upon `Alive`: a higher node lives, so this one waits for its announcement.
    fn alive(&mut self, _: Alive, ctx: &mut Context) {
        if self.is_electing() {
            self.wait(ctx);
        }
    }

    /// Upon `Unanswered`: no higher node is alive.
    fn unanswered(&mut self, _: Unanswered, ctx: &mut Context) {
        self.take_over(ctx);
    }

    /// Upon `Halt` from a higher q: make way, and tell q which epochs there have been.
    fn halt(&mut self, _: Halt, from: NodeId, ctx: &mut Context) {
        self.wait(ctx);
        ctx.send(from, &Yielded(self.highest));
    }

    /// Upon `Yielded`: the next epoch is above this one. A leader is told that its own is not.
    fn yielded(&mut self, Yielded(highest): Yielded, ctx: &mut Context) {
        self.highest = self.highest.max(highest);
        if self.leads() && self.epoch.number < self.highest {
            self.lead(ctx);
        }
    }

    /// Upon `Halted`: every live lower node has yielded.
    fn halted(&mut self, _: Halted, ctx: &mut Context) {
        self.lead(ctx);
    }

    /// Upon `Coordinator` from q: follow q, unless q is lower or its reign is over.
    fn coordinator(&mut self, Coordinator(epoch): Coordinator, from: NodeId, ctx: &mut Context) {
        if from < ctx.me() {
            if !self.is_electing() {
                self.elect(ctx);
            }
        } else if epoch.number < self.highest {
            ctx.send(from, &Yielded(self.highest));
        } else {
            self.follow(epoch, ctx);
        }
    }

    /// Upon `Beat`: say again who leads.
    fn beat(&self, _: Beat, ctx: &mut Context) {
        self.announce(ctx);
    }

    /// Upon `Impatient`: the higher node that was alive is not any more.
    fn impatient(&mut self, _: Impatient, ctx: &mut Context) {
        self.elect(ctx);
    }

    /// Upon `Silence`: the leader is gone.
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
            ctx.after(ANSWER_WITHIN, &Unanswered);
        }
    }

    fn wait(&mut self, ctx: &mut Context) {
        self.enter(Role::Waiting, ctx);
        ctx.after(PATIENCE, &Impatient);
    }

    /// Garcia-Molina 1982, section III: before a node takes the leadership it halts every lower
    /// one, so that none of them leads, or believes in another leader, any more.
    fn take_over(&mut self, ctx: &mut Context) {
        self.enter(Role::Halting, ctx);
        let me = ctx.me();
        ctx.send_where(&Halt, |peer| peer < me);
        ctx.after(HALT_WITHIN, &Halted);
    }

    fn lead(&mut self, ctx: &mut Context) {
        self.enter(Role::Leader, ctx);
        self.highest += 1;
        let (leader, incarnation) = (ctx.me(), ctx.incarnation());
        self.epoch = Epoch { number: self.highest, leader, incarnation };
        ctx.trigger(&Elected(self.epoch));
        self.announce(ctx);
    }

    fn announce(&self, ctx: &mut Context) {
        let me = ctx.me();
        ctx.send_where(&Coordinator(self.epoch), |peer| peer != me);
        ctx.after(BEAT_EVERY, &Beat);
    }

    fn follow(&mut self, epoch: Epoch, ctx: &mut Context) {
        if self.role != Role::Follower || self.epoch != epoch {
            ctx.trigger(&Elected(epoch));
        }
        self.enter(Role::Follower, ctx);
        (self.epoch, self.highest) = (epoch, epoch.number);
        ctx.after(SILENCE, &Silence);
    }

    fn is_electing(&self) -> bool {
        matches!(self.role, Role::Candidate | Role::Halting)
    }

    /// A new role waits for its own timer only.
    fn enter(&mut self, role: Role, ctx: &mut Context) {
        self.role = role;
        ctx.cancel(&Unanswered);
        ctx.cancel(&Halted);
        ctx.cancel(&Impatient);
        ctx.cancel(&Silence);
        ctx.cancel(&Beat);
    }
}

fn at_most_one_leads(cluster: &Cluster<'_, Bully>) -> Verdict {
    let mut leaders = cluster.live().filter(|(_, state)| state.leads()).map(|(node, _)| node);
    match (leaders.next(), leaders.next()) {
        (Some(one), Some(other)) => Err(format!("{one} and {other} both lead")),
        _ => Ok(()),
    }
}

fn the_highest_leads(cluster: &Cluster<'_, Bully>) -> Verdict {
    let highest = cluster.live().next_back().map(|(node, _)| node);
    match cluster.live().find(|(_, state)| state.leader() != highest) {
        Some((node, state)) => match state.leader() {
            Some(leader) => Err(format!("{node} follows {leader}")),
            None => Err(format!("{node} knows no leader")),
        },
        None => Ok(()),
    }
}

/// "Is anyone above me alive?"
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bully.election")]
struct Election;

/// "I am, and I am above you."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bully.alive")]
struct Alive;

/// The time for higher nodes to answer is over.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bully.unanswered", local)]
struct Unanswered;

/// "Make way."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bully.halt")]
struct Halt;

/// "I have made way, and this is the highest epoch that I know."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bully.yielded")]
struct Yielded(u64);

/// The time for lower nodes to make way is over.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bully.halted", local)]
struct Halted;

/// "I lead in this epoch."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bully.coordinator")]
struct Coordinator(Epoch);

/// It is time to say again who leads.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bully.beat", local)]
struct Beat;

/// No announcement has come.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bully.impatient", local)]
struct Impatient;

/// The leader has not been heard for too long.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bully.silence", local)]
struct Silence;

/// Indicates to the application that a reign has begun, at the leader and at each follower.
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "bully.elected", local)]
pub struct Elected(pub Epoch);

#[cfg(test)]
mod tests;
