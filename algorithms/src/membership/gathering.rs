//! Gathering: a barrier that opens when enough nodes are there.
//!
//! Source: the start of a round in E. W. Dijkstra's sense of a barrier, over the links that the
//! host tells of; C. Cachin, R. Guerraoui, L. Rodrigues, "Introduction to Reliable and Secure
//! Distributed Programming", 2011, section 2.6, for indications of a lower layer.
//!
//! | Assumes   | that the host tells which peers are linked; nothing about time                    |
//! | Safety    | at the moment that the barrier opens, this node is linked with enough peers       |
//! | Liveness  | if enough peers stay linked, the barrier opens                                    |
//! | Messages  | none                                                                              |
//! | Checked   | every schedule of 3 nodes, 1 crash anywhere and its recovery: 300 states          |
//!
//! ```text
//! upon <PeerUp | q>:    up := up + {q}; if up is large enough and the barrier is closed:
//!                           open it; trigger <Gathered | up>
//! upon <PeerDown | q>:  up := up - {q}
//! ```

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Model, NodeId, PeerDown, PeerUp,
    Property, Snapshots, Summary, Tolerance, Verdict,
};

/// The state of one node. Beside it in a stack stands whatever waits for [`Gathered`].
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Gathering {
    /// How many peers are enough. None: all of them.
    enough: Option<usize>,
    up: BTreeSet<NodeId>,
    /// With whom the barrier opened, once in this life.
    gathered: Option<BTreeSet<NodeId>>,
}

impl Algorithm for Gathering {
    const NAME: &'static str = "gathering";
    const MODEL: Model =
        Model::ASYNCHRONOUS.tolerating(Faults::CrashRecovery(Tolerance::AllButOne));

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::peer_up).on(Self::peer_down).indicates::<Gathered>()
    }

    fn snapshots() -> Snapshots<Self> {
        Snapshots::encoded()
    }

    fn start(&mut self, ctx: &mut Context) {
        self.open(ctx);
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::always("the barrier opens with enough peers", opens_with_enough),
            Property::at_rest("who sees enough peers has opened", has_opened),
            Property::at_rest("who is linked is there", linked_are_there),
        ]
    }

    fn summary(&self) -> Summary {
        let summary = Summary::default().with("linked", self.up.len());
        match self.gathered {
            Some(_) => summary.role("open"),
            None => summary.role("waiting").unready("too few peers are linked"),
        }
    }
}

impl Gathering {
    /// A barrier that opens at `peers` linked peers; at once if that is none.
    #[must_use]
    pub fn of(peers: usize) -> Self {
        Self { enough: Some(peers), ..Self::default() }
    }

    /// Whether the barrier is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.gathered.is_some()
    }

    /// Upon `PeerUp`: perhaps the last one that was missing.
    fn peer_up(&mut self, PeerUp { peer, .. }: PeerUp, ctx: &mut Context) {
        self.up.insert(peer);
        self.open(ctx);
    }

    /// Upon `PeerDown`: an open barrier stays open.
    fn peer_down(&mut self, PeerDown { peer, .. }: PeerDown) {
        self.up.remove(&peer);
    }

    /// How many peers are enough in a cluster of `nodes` nodes.
    fn enough(&self, nodes: usize) -> usize {
        self.enough.unwrap_or(nodes - 1)
    }

    fn open(&mut self, ctx: &mut Context) {
        if self.gathered.is_none() && self.enough(ctx.peers().len()) <= self.up.len() {
            self.gathered = Some(self.up.clone());
            ctx.trigger(&Gathered { peers: self.up.iter().copied().collect() });
        }
    }
}

fn opens_with_enough(cluster: &Cluster<'_, Gathering>) -> Verdict {
    for (node, state) in cluster.live() {
        let with = state.gathered.as_ref().map_or(usize::MAX, BTreeSet::len);
        if with < state.enough(cluster.size()) {
            return Err(format!("{node} opened with {with} peers"));
        }
    }
    Ok(())
}

fn has_opened(cluster: &Cluster<'_, Gathering>) -> Verdict {
    let waits =
        |state: &Gathering| !state.is_open() && state.enough(cluster.size()) <= state.up.len();
    match cluster.live().find(|(_, state)| waits(state)) {
        Some((node, _)) => Err(format!("{node} sees enough peers and waits")),
        None => Ok(()),
    }
}

fn linked_are_there(cluster: &Cluster<'_, Gathering>) -> Verdict {
    for (node, state) in cluster.live() {
        if let Some(peer) = state.up.iter().find(|peer| cluster.state(**peer).is_none()) {
            return Err(format!("{node} takes {peer} for linked, which is down"));
        }
    }
    Ok(())
}

/// Indicates that enough peers are linked, once in a life of the node.
#[derive(Event, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "gathering.gathered", local)]
pub struct Gathered {
    /// Who is linked at this moment, in ascending order.
    pub peers: Vec<NodeId>,
}

#[cfg(test)]
mod tests;
