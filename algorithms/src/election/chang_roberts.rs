//! Chang-Roberts: on a ring, the node of the highest number is elected.
//!
//! Source: E. Chang, R. Roberts, "An improved algorithm for decentralized extrema-finding in
//! circular configurations of processes", Communications of the ACM 22(5), 1979.
//!
//! | Assumes   | asynchronous; no failures; reliable links, in one direction round a ring        |
//! | Safety    | only the node of the highest number is ever elected                             |
//! | Liveness  | every node learns who                                                           |
//! | Messages  | all begin: n·H(n) on average over all orders, n(n+1)/2 at most, then n to tell  |
//! | Checked   | 3 nodes, both orders, every schedule: 14 and 17 states                          |
//!
//! ```text
//! upon <Start>:                     send <Claim | own> to the successor
//! upon <Claim | number>, above own: send <Claim | number> to the successor
//! upon <Claim | number>, below own: nothing: the claim ends here
//! upon <Claim | own>:               leader := own; send <Elected | own> to the successor
//! upon <Elected | number>:          leader := number
//!                                   if number is not own: send <Elected | number> to the successor
//! ```

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Handlers, Model, Property, Snapshots, Summary, Topology,
    Verdict,
};

/// The state of one process on the ring.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct ChangRoberts {
    /// What is compared. The identity of the node unless [`ChangRoberts::numbered`] says another.
    own: Option<u64>,
    leader: Option<u64>,
}

impl Algorithm for ChangRoberts {
    const NAME: &'static str = "chang-roberts";
    const MODEL: Model = Model::ASYNCHRONOUS.on(Topology::Ring);

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::claim).on(Self::elected).indicates::<Chosen>()
    }

    fn snapshots() -> Snapshots<Self> {
        Snapshots::encoded()
    }

    /// Every process claims.
    fn start(&mut self, ctx: &mut Context) {
        let own = *self.own.get_or_insert_with(|| u64::from(ctx.me().0));
        ctx.send(ctx.successor(), &Claim(own));
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::always("only the highest number is elected", only_the_highest_is_elected),
            Property::at_rest("everybody knows the leader", everybody_knows),
        ]
    }

    fn summary(&self) -> Summary {
        let role = match self.leader {
            None => "candidate",
            leader if leader == self.own => "leader",
            Some(_) => "follower",
        };
        let summary = Summary::default().role(role).with("own", self.own.unwrap_or_default());
        match self.leader {
            Some(leader) => summary.with("leader", leader),
            None => summary,
        }
    }
}

impl ChangRoberts {
    /// A process that is known by `own`, wherever on the ring it stands. Numbers must differ.
    #[must_use]
    pub fn numbered(own: u64) -> Self {
        Self { own: Some(own), leader: None }
    }

    /// The elected number, once this process knows it.
    #[must_use]
    pub fn leader(&self) -> Option<u64> {
        self.leader
    }

    /// Upon `Claim`: only a higher one goes on; the own one has been all the way round.
    fn claim(&mut self, Claim(number): Claim, ctx: &mut Context) {
        let own = self.own.unwrap_or_default();
        if own < number {
            ctx.send(ctx.successor(), &Claim(number));
        } else if own == number {
            self.leader = Some(own);
            ctx.trigger(&Chosen(own));
            ctx.send(ctx.successor(), &Elected(own));
        }
    }

    /// Upon `Elected`: learn it, and pass it on until it has come round.
    fn elected(&mut self, Elected(number): Elected, ctx: &mut Context) {
        self.leader = Some(number);
        if self.own != Some(number) {
            ctx.trigger(&Chosen(number));
            ctx.send(ctx.successor(), &Elected(number));
        }
    }
}

fn only_the_highest_is_elected(cluster: &Cluster<'_, ChangRoberts>) -> Verdict {
    let highest = cluster.live().filter_map(|(_, state)| state.own).max();
    match cluster.live().find(|(_, state)| state.leader.is_some() && state.leader != highest) {
        Some((node, state)) => Err(format!("{node} takes {:?} for the leader", state.leader)),
        None => Ok(()),
    }
}

fn everybody_knows(cluster: &Cluster<'_, ChangRoberts>) -> Verdict {
    match cluster.live().find(|(_, state)| state.leader.is_none()) {
        Some((node, _)) => Err(format!("{node} knows no leader")),
        None => Ok(()),
    }
}

/// "I stand for election", of the process of that number.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "chang_roberts.claim")]
struct Claim(u64);

/// "That number is elected."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "chang_roberts.elected")]
struct Elected(u64);

/// Indicates the elected number to the application.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "chang_roberts.chosen", local)]
pub struct Chosen(pub u64);

#[cfg(test)]
mod tests;
