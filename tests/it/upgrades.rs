//! A cluster whose program is replaced by a later version, one node at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Context, Event, Handlers, NodeId, Schema, Stack, Summary};
use synod_runtime::{NodeBuilder, NodeHandle};
use synod_transport_quic::{Authority, Bundle, Limits, QuicTransport};

use crate::world::{authority, bundle, until, value};

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "upgrades.tick", local)]
struct Tick;

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "upgrades.beat")]
struct Beat;

/// What the later version adds.
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "upgrades.added")]
struct Added;

#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Before {
    beats: u64,
}

impl Algorithm for Before {
    const NAME: &'static str = "upgrades";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|_: &mut Self, _: Tick, ctx: &mut Context| {
                ctx.send_where(&Beat, |_| true);
                ctx.after(PACE, &Tick);
            })
            .on(|before: &mut Self, _: Beat| before.beats += 1)
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.after(PACE, &Tick);
    }

    fn summary(&self) -> Summary {
        Summary::default().with("beats", self.beats)
    }
}

#[derive(Clone, Debug, Default, Hash, Serialize)]
struct After {
    beats: u64,
    added: u64,
}

impl Algorithm for After {
    const NAME: &'static str = "upgrades";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|after: &mut Self, _: Added| after.added += 1)
            .on(|_: &mut Self, _: Tick, ctx: &mut Context| {
                ctx.send_where(&Added, |_| true);
                ctx.send_where(&Beat, |_| true);
                ctx.after(PACE, &Tick);
            })
            .on(|after: &mut Self, _: Beat| after.beats += 1)
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.after(PACE, &Tick);
    }

    fn summary(&self) -> Summary {
        Summary::default().with("beats", self.beats).with("added", self.added)
    }
}

/// A beat under its old name, with a field more.
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "upgrades.beat")]
struct OtherBeat {
    number: u64,
}

/// A version that was made without care.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Careless;

impl Algorithm for Careless {
    const NAME: &'static str = "upgrades";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|_: &mut Self, _: OtherBeat| ())
    }
}

const PACE: Duration = Duration::from_millis(5);

struct Running {
    authority: Authority,
    nodes: BTreeMap<NodeId, (NodeHandle, String)>,
}

impl Running {
    /// Starts a node that knows where those are that run.
    async fn start<T: Stack>(&mut self, id: NodeId, make: fn() -> T) {
        let peers = self.nodes.iter().map(|(peer, (_, address))| (*peer, address.clone()));
        let bundle = Bundle { peers: peers.collect(), ..bundle(&self.authority, id, 3) };
        let transport = Arc::new(QuicTransport::new(&bundle, Limits::default()).expect("valid"));
        let address = transport.local_address().to_string();
        let builder = NodeBuilder::new(id, NODES.to_vec(), make);
        let node = builder.transport(transport).start().await.expect("the node starts");
        self.nodes.insert(id, (node, address));
    }

    async fn stop(&mut self, id: NodeId) {
        let (node, _) = self.nodes.remove(&id).expect("it runs");
        let report = node.shutdown(Duration::from_secs(5)).await;
        assert!(report.is_complete(), "{report:?}");
    }

    /// Waits until every node hears beats of all others.
    async fn beats(&self) {
        let all = |at_least: &BTreeMap<NodeId, u64>| {
            self.nodes.iter().all(|(id, (node, _))| {
                let peers = node.status().peers;
                let received = peers.iter().all(|it| it.up && 0 < it.received);
                received && at_least.get(id).is_none_or(|least| *least < value(node, "beats"))
            })
        };
        until("all links", || all(&BTreeMap::new())).await;
        let now = self.nodes.iter().map(|(id, (node, _))| (*id, value(node, "beats")));
        let now: BTreeMap<NodeId, u64> = now.collect();
        until("more beats", || all(&now)).await;
    }

    fn node(&self, id: NodeId) -> &NodeHandle {
        &self.nodes.get(&id).expect("it runs").0
    }

    fn unhandled(&self, id: NodeId) -> u64 {
        self.node(id).status().drops.get("peer_unhandled").copied().unwrap_or(0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_with_one_more_event_replaces_another_one_node_at_a_time_over_quic() {
    let mut cluster = Running { authority: authority(), nodes: BTreeMap::new() };
    for id in NODES {
        cluster.start(id, Before::default).await;
    }
    cluster.beats().await;
    for id in NODES {
        cluster.stop(id).await;
        cluster.start(id, After::default).await;
        cluster.beats().await;
        if id != NODES[2] {
            // What the others do not know is not sent to them, and that is counted.
            until("what is not sent", || 0 < cluster.unhandled(id)).await;
        }
    }
    for id in NODES {
        until("the added event", || 0 < value(cluster.node(id), "added")).await;
    }
    let before: Vec<u64> = NODES.map(|id| cluster.unhandled(id)).to_vec();
    cluster.beats().await;
    for (id, before) in NODES.into_iter().zip(before) {
        assert_eq!(cluster.unhandled(id), before, "now all know it");
        let status = cluster.node(id).status();
        assert!(status.refusals.is_empty(), "{:?}", status.refusals);
        assert!(!status.drops.contains_key("undecodable"), "{:?}", status.drops);
        cluster.stop(id).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e11_a_version_with_other_fields_under_an_old_name_is_turned_away_with_both_schemas() {
    let mut cluster = Running { authority: authority(), nodes: BTreeMap::new() };
    for id in NODES {
        cluster.start(id, Before::default).await;
    }
    cluster.beats().await;
    cluster.stop(NODES[2]).await;
    cluster.start(NODES[2], Careless::default).await;
    let why = || {
        let peers = cluster.node(NODES[2]).status().peers.into_iter();
        peers.filter_map(|peer| peer.last_error).collect::<Vec<_>>()
    };
    until("both refusals", || why().iter().filter(|it| it.contains("upgrades.beat")).count() == 2)
        .await;
    let [ours, theirs] = [Schema::of::<Beat>(), Schema::of::<OtherBeat>()].map(|it| it.to_string());
    let why = why().concat();
    assert!(why.contains(&ours) && why.contains(&theirs) && why.contains("a new name"), "{why}");
    for id in [NODES[0], NODES[1]] {
        let refusals = cluster.node(id).status().refusals;
        assert!(refusals.contains_key("other_schema"), "{refusals:?}");
        let before = value(cluster.node(id), "beats");
        until("more beats", || before + 3 < value(cluster.node(id), "beats")).await;
    }
    cluster.stop(NODES[2]).await;
    cluster.start(NODES[2], After::default).await;
    cluster.beats().await;
    for id in NODES {
        cluster.stop(id).await;
    }
}
