//! Echo: a wave goes through a network of any shape, and comes back when it has been everywhere.
//!
//! Source: E. Chang, "Echo algorithms: depth parallel operations on general graphs", IEEE
//! Transactions on Software Engineering 8(4), 1982; in the form of G. Tel, "Introduction to
//! Distributed Algorithms", the chapter on wave algorithms. The wave counts the nodes on its way
//! back, which shows that it was at each of them once.
//!
//! | Assumes   | asynchronous; no failures; reliable links, both ways; a connected network; one   |
//! |           | node begins, once                                                                |
//! | Safety    | when the wave is back it has been at every node, and the parents are a tree      |
//! | Liveness  | the wave comes back                                                              |
//! | Messages  | 2E over E links, exactly                                                         |
//! | Checked   | every schedule of 3 nodes, all linked: 29 states; of a ring of 4 and a chord: 343 |
//!
//! ```text
//! upon <Begin>:                       send <Token | 0> to all neighbours
//! upon <Token | nodes> from p, first: parent := p; send <Token | 0> to all other neighbours
//! upon <Token | nodes> from p:        counted := counted + nodes
//! upon a <Token> of every neighbour:  if initiator: decide(counted + 1)
//!                                     else send <Token | counted + 1> to parent
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Handlers, NodeId, Property, Quorum, Snapshots, Summary,
    Symmetry, Verdict, Workload,
};

/// The state of one node.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Echo {
    /// Whom this node has links to: all others, unless [`Echo::linked`] says whom.
    neighbours: Option<BTreeSet<NodeId>>,
    /// Whose wave has been here.
    initiator: Option<NodeId>,
    /// From whom it came. The initiator has none.
    parent: Option<NodeId>,
    /// The neighbours from which a token has come.
    heard: Quorum,
    /// The nodes below this one, as far as they have echoed.
    counted: u32,
    /// What the wave came to, at the initiator.
    decided: Option<u32>,
}

impl Algorithm for Echo {
    const NAME: &'static str = "echo";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::begin).on(Self::token).indicates::<Decided>()
    }

    fn snapshots() -> Snapshots<Self> {
        Snapshots::encoded()
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::always("a wave that is back was everywhere once", was_everywhere_once),
            Property::at_rest("a wave that has begun is back", the_wave_is_back),
        ]
    }

    fn symmetry() -> Symmetry<Self> {
        Symmetry::of_all()
    }

    fn workload() -> Workload {
        Workload::default().trigger(NodeId(1), Duration::ZERO, &Begin)
    }

    fn summary(&self) -> Summary {
        let role = match (self.initiator, self.parent) {
            (None, _) => "idle",
            (Some(_), None) => "initiator",
            (Some(_), Some(_)) => "visited",
        };
        let mut summary = Summary::default().role(role);
        if let Some(initiator) = self.initiator {
            summary = summary.with("initiator", initiator);
        }
        if let Some(parent) = self.parent {
            summary = summary.with("parent", parent);
        }
        match self.decided {
            Some(nodes) => summary.with("decided", nodes),
            None => summary,
        }
    }
}

impl Echo {
    /// A node with links to `neighbours` alone. They must have one to it.
    #[must_use]
    pub fn linked(neighbours: impl IntoIterator<Item = NodeId>) -> Self {
        Self { neighbours: Some(neighbours.into_iter().collect()), ..Self::default() }
    }

    /// From whom the wave came to this node. None before, and at the initiator.
    #[must_use]
    pub fn parent(&self) -> Option<NodeId> {
        self.parent
    }

    /// How many nodes the wave has counted, at the initiator, once it is back.
    #[must_use]
    pub fn decided(&self) -> Option<u32> {
        self.decided
    }

    /// Upon `Begin`: this node is the initiator.
    fn begin(&mut self, _: Begin, ctx: &mut Context) {
        if self.initiator.is_none() {
            self.join(ctx.me(), ctx);
        }
    }

    /// Upon `Token`: the first one tells the parent; one of every neighbour, that all below is done.
    fn token(&mut self, Token { initiator, nodes }: Token, from: NodeId, ctx: &mut Context) {
        if self.initiator.is_none() {
            self.parent = Some(from);
            self.join(initiator, ctx);
        }
        self.counted += nodes;
        if self.heard.add(from, ()) {
            self.finish(ctx);
        }
    }

    /// Takes part in the wave: passes it on to all neighbours but the parent.
    fn join(&mut self, initiator: NodeId, ctx: &mut Context) {
        self.initiator = Some(initiator);
        let neighbours = self.neighbours(ctx);
        self.heard = Quorum::of(neighbours.len());
        let parent = self.parent;
        let outward = |peer| neighbours.contains(&peer) && Some(peer) != parent;
        ctx.send_where(&Token { initiator, nodes: 0 }, outward);
        if neighbours.is_empty() {
            self.finish(ctx);
        }
    }

    /// Everything below this node has been visited.
    fn finish(&mut self, ctx: &mut Context) {
        let nodes = self.counted + 1;
        match (self.parent, self.initiator) {
            (Some(parent), Some(initiator)) => ctx.send(parent, &Token { initiator, nodes }),
            _ => {
                self.decided = Some(nodes);
                ctx.trigger(&Decided { nodes });
            }
        }
    }

    fn neighbours(&self, ctx: &Context) -> BTreeSet<NodeId> {
        match &self.neighbours {
            Some(neighbours) => neighbours.clone(),
            None => ctx.peers().iter().copied().filter(|peer| *peer != ctx.me()).collect(),
        }
    }
}

fn was_everywhere_once(cluster: &Cluster<'_, Echo>) -> Verdict {
    for (node, nodes) in cluster.live().filter_map(|(node, state)| Some((node, state.decided?))) {
        if nodes as usize != cluster.size() {
            return Err(format!("{node} has counted {nodes} of {} nodes", cluster.size()));
        }
        for (stray, _) in cluster.live() {
            if !leads_to(cluster, stray, node) {
                return Err(format!("the parents of {stray} do not lead to {node}"));
            }
        }
    }
    Ok(())
}

/// Whether one comes from `node` to `root` by way of parents.
fn leads_to(cluster: &Cluster<'_, Echo>, mut node: NodeId, root: NodeId) -> bool {
    for _ in 0..cluster.size() {
        match cluster.state(node).and_then(Echo::parent) {
            Some(parent) => node = parent,
            None => break,
        }
    }
    node == root
}

fn the_wave_is_back(cluster: &Cluster<'_, Echo>) -> Verdict {
    let begun = |(node, state): &(NodeId, &Echo)| state.initiator == Some(*node);
    match cluster.live().find(|it| begun(it) && it.1.decided.is_none()) {
        Some((node, _)) => Err(format!("the wave of {node} is not back")),
        None => Ok(()),
    }
}

/// Lets this node begin a wave. From the application.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "echo.begin", local)]
pub struct Begin;

/// The wave of an initiator: on its way out with no nodes, or back with those that it has visited.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "echo.token")]
struct Token {
    initiator: NodeId,
    nodes: u32,
}

/// Indicates to the application that the wave which it began is back, and how many nodes there are.
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "echo.decided", local)]
pub struct Decided {
    /// The nodes that the wave has visited, this one included.
    pub nodes: u32,
}

#[cfg(test)]
mod tests;
