//! A node whose handler does not return looks dead to its peers, for all that its connections live.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Event, HandlerSet, NodeId, PeerDown, PeerUp, Reason};
use synod_runtime::{Limits, NodeBuilder, NodeHandle};

use crate::world;

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);

/// The handler of it waits at the door.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "hung.work", local)]
struct Work;

type Door = Arc<(Mutex<bool>, Condvar)>;

/// What the node was told of its peers.
type Told = Arc<Mutex<Vec<(NodeId, Option<Reason>)>>>;

async fn start(
    id: NodeId,
    transport: Arc<dyn synod_core::Transport>,
    door: &Door,
) -> (NodeHandle, Told) {
    let told = Told::default();
    let (door, telling) = (Arc::clone(door), Arc::clone(&told));
    let make = move || {
        let (door, up, down) = (Arc::clone(&door), Arc::clone(&telling), Arc::clone(&telling));
        let tell = |told: &Told, what| told.lock().expect("nobody panics with it").push(what);
        HandlerSet::new(())
            .on(move |_: &mut (), _: Work| {
                let shut = door.0.lock().expect("nobody panics with it");
                drop(door.1.wait_while(shut, |is_open| !*is_open));
            })
            .on(move |_: &mut (), it: PeerUp| tell(&up, (it.peer, None)))
            .on(move |_: &mut (), it: PeerDown| tell(&down, (it.peer, Some(it.reason))))
    };
    let mut builder = NodeBuilder::new(id, vec![N1, N2, N3], make);
    if id == N1 {
        // The others must not look hung because the machine is busy.
        let hung_after = Duration::from_secs(1);
        builder = builder.limits(Limits { hung_after, ..Limits::default() });
    }
    (builder.transport(transport).start().await.expect("the node starts"), told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_handler_does_not_return_is_down_at_its_peers_until_it_has() {
    let door = Door::default();
    let (mut nodes, mut told) = (Vec::new(), Vec::new());
    for (id, transport) in world::quic(3) {
        let (node, its) = start(id, transport, &door).await;
        nodes.push(node);
        told.push(its);
    }
    let of = |node: usize, peer: NodeId| -> Vec<Option<Reason>> {
        let told = told[node].lock().expect("nobody panics with it");
        told.iter().filter(|(it, _)| *it == peer).map(|(_, change)| *change).collect()
    };
    let has_linked =
        || told.iter().all(|told| told.lock().expect("nobody panics with it").len() == 2);
    world::until("every link", has_linked).await;

    nodes[0].trigger(&Work).await.expect("it is running");
    let is_down = |node| of(node, N1) == [None, Some(Reason::Silent)];
    world::until("n1 to be down at both", || is_down(1) && is_down(2)).await;
    let why = || nodes[1].status().peers[0].last_error.clone().unwrap_or_default();
    world::until("the reason", || why().contains("the handler of `hung.work` has run for ")).await;
    assert!(why().contains("n1 handles nothing"), "{}", why());
    assert!(nodes[0].status().hung.is_some());

    *door.0.lock().expect("nobody panics with it") = true;
    door.1.notify_all();
    let is_back = |node| of(node, N1).last() == Some(&None);
    world::until("n1 to be back", || is_back(1) && is_back(2)).await;
    assert_eq!((of(1, N3), of(2, N2)), (vec![None], vec![None]), "the others never noticed");
    for node in nodes {
        node.shutdown(Duration::ZERO).await;
    }
}
