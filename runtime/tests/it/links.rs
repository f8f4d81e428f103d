//! Links that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Closing, Context, Envelope, Event, Handlers, Hello, Inbox, Lane, LinkStatus, NodeId,
    Order, PeerDown, PeerUp, Reason, SendError, Transport, TransportError,
};
use synod_runtime::{EndReason, Limits, MemoryNetwork, MemoryTransport, NodeBuilder, StartError};

use crate::support::{
    Door, Journal, N1, N2, Number, PATIENCE, Word, drops, node, start, status_of, table, until,
};

fn quick() -> Limits {
    let (backoff_min, backoff_max) = (Duration::from_millis(5), Duration::from_millis(20));
    Limits { backoff_min, backoff_max, ..Limits::default() }
}

/// Writes down links and numbers; sends on what comes from the node itself.
fn witness(journal: &Journal<String>) -> impl Fn() -> Handlers<()> + Send + Sync + 'static {
    let journal = journal.clone();
    move || {
        let (ups, downs, numbers) = (journal.clone(), journal.clone(), journal.clone());
        Handlers::new()
            .on(move |_: &mut (), up: PeerUp| ups.write(format!("{} up", up.peer)))
            .on(move |_: &mut (), down: PeerDown| {
                downs.write(format!("{} down {:?}", down.peer, down.reason));
            })
            .on(move |_: &mut (), number: Number, from: NodeId, ctx: &mut Context| {
                if from == ctx.me() {
                    let me = ctx.me();
                    ctx.send_where(&number, |peer| peer != me);
                } else {
                    numbers.write(number.0.to_string());
                }
            })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_link_is_told_after_what_it_carried_and_comes_back() {
    let (network, ours, theirs) = (MemoryNetwork::new(), Journal::new(), Journal::new());
    let one = start(node(&network, N1, 2, table(witness(&ours))).limits(quick())).await;
    let two = start(node(&network, N2, 2, table(witness(&theirs))).limits(quick())).await;
    for round in 0..20 {
        until("both are up", || ours.len() == 2 * round + 1 && one.status().peers[0].up).await;
        one.trigger(&Number(7)).await.unwrap();
        until("it has arrived", || theirs.len() == 3 * round + 2).await;
        network.cut(N1, N2);
        until("both are down", || ours.len() == 2 * round + 2 && theirs.len() == 3 * round + 3)
            .await;
        network.heal(N1, N2);
    }
    let round = ["n1 up", "7", "n1 down Silent"];
    assert_eq!(theirs.read()[..60], round.repeat(20));
    until("it is up again", || two.status().peers[0].up).await;
    let status = two.status().peers[0].clone();
    assert_eq!((status.received, status.downs, status.ups), (20, 20, 21));
}

#[tokio::test]
async fn a_peer_that_is_back_is_a_reason_to_dial_the_others_at_once() {
    let (backoff_min, backoff_max) = (Duration::from_secs(600), Duration::from_secs(600));
    let patient = Limits { backoff_min, backoff_max, ..Limits::default() };
    let network = MemoryNetwork::new();
    let mut nodes = Vec::new();
    for (id, limits) in [(N1, patient), (N2, quick()), (NodeId(3), patient)] {
        let builder = node(&network, id, 3, table(witness(&Journal::new()))).limits(limits);
        nodes.push(start(builder).await);
    }
    let links = |ups| nodes[0].status().peers.iter().all(|peer| (peer.up, peer.ups) == (true, ups));
    until("n1 has both links", || links(1)).await;
    for peer in [N2, NodeId(3)] {
        network.cut(N1, peer);
    }
    until("n1 is alone", || nodes[0].status().peers.iter().all(|peer| !peer.up)).await;
    for peer in [NodeId(3), N2] {
        network.heal(N1, peer);
    }
    until("n2 dials, and n1 then dials n3", || links(2)).await;
}

#[tokio::test]
async fn what_is_sent_while_a_link_is_down_is_dropped_and_counted() {
    let (network, journal) = (MemoryNetwork::new(), Journal::new());
    let one = start(node(&network, N1, 2, table(witness(&journal))).limits(quick())).await;
    let _two = start(node(&network, N2, 2, table(witness(&Journal::new()))).limits(quick())).await;
    until("it is up", || journal.len() == 1).await;
    network.cut(N1, N2);
    until("it is down", || journal.len() == 2).await;
    one.trigger(&Number(1)).await.unwrap();
    until("the drop is counted", || drops(&one, "link_down") == 1).await;
    until("attempts fail", || 2 < one.status().peers[0].failed_attempts).await;
    let error = one.status().peers[0].last_error.clone();
    assert_eq!(error.as_deref(), Some("the network between n1 and n2 is cut"));
}

#[tokio::test]
async fn what_waits_for_a_peer_that_never_came_is_bounded() {
    let (network, theirs) = (MemoryNetwork::new(), Journal::new());
    let limits = Limits { early_sends: 10, ..quick() };
    let one = start(node(&network, N1, 2, table(witness(&Journal::new()))).limits(limits)).await;
    for number in 0..15 {
        one.trigger(&Number(number)).await.unwrap();
    }
    until("five are dropped", || drops(&one, "early_full") == 5).await;
    let _two = start(node(&network, N2, 2, table(witness(&theirs)))).await;
    until("the others arrive", || theirs.len() == 11).await;
    let numbers: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    assert_eq!(theirs.read()[1..], numbers);
}

#[tokio::test]
async fn two_clusters_in_one_process_do_not_disturb_each_other() {
    let networks = [MemoryNetwork::new(), MemoryNetwork::new()];
    let mut nodes = Vec::new();
    for network in &networks {
        for id in [N1, N2] {
            nodes.push(start(node(network, id, 2, table(witness(&Journal::new())))).await);
        }
    }
    until("all are linked", || nodes.iter().all(|node| node.status().peers[0].up)).await;
    nodes[0].trigger(&Number(1)).await.unwrap();
    until("it arrives", || status_of::<Number>(&nodes[1]).handled == 1).await;
    assert_eq!(status_of::<Number>(&nodes[3]).handled, 0);
    for node in &nodes[..2] {
        node.shutdown(PATIENCE).await;
    }
    nodes[2].trigger(&Number(2)).await.unwrap();
    until("it arrives", || status_of::<Number>(&nodes[3]).handled == 1).await;
}

#[tokio::test]
async fn a_second_node_of_one_name_does_not_start_and_does_not_harm_the_first() {
    let (network, journal) = (MemoryNetwork::new(), Journal::new());
    let one = start(node(&network, N1, 2, table(witness(&journal)))).await;
    let second = node(&network, N1, 2, table(witness(&Journal::new()))).start().await;
    assert!(matches!(&second, Err(StartError::Transport(_))), "{second:?}");
    let two = start(node(&network, N2, 2, table(witness(&Journal::new())))).await;
    until("the first is linked", || journal.read() == ["n2 up"]).await;
    two.trigger(&Number(3)).await.unwrap();
    until("it has arrived", || status_of::<Number>(&one).handled == 1).await;
}

/// Sends numbers back as datagrams and in lanes of each event type.
#[derive(Clone, Debug, Hash)]
struct Loose;

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "test.datagram", unreliable)]
struct Datagram(u64);

impl Algorithm for Loose {
    const NAME: &'static str = "loose";
    const ORDER: Order = Order::PerEvent;

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|_: &mut Self, number: Number, from: NodeId, ctx: &mut Context| {
                if from == ctx.me() {
                    ctx.send(N2, &number);
                    ctx.send(N2, &Datagram(number.0));
                }
            })
            .on(|_: &mut Self, _: Datagram| ())
    }
}

#[tokio::test]
async fn datagrams_and_lanes_of_one_event_type_arrive_as_well() {
    let network = MemoryNetwork::new();
    let one = start(node(&network, N1, 2, || Loose)).await;
    let two = start(node(&network, N2, 2, || Loose)).await;
    for number in 0..500 {
        one.trigger(&Number(number)).await.unwrap();
    }
    until("all have arrived", || {
        status_of::<Number>(&two).handled == 500 && status_of::<Datagram>(&two).handled == 500
    })
    .await;
}

/// A transport with a bug: its first sends panic.
#[derive(Debug)]
struct Buggy {
    inner: MemoryTransport,
    panics: AtomicU64,
}

impl Transport for Buggy {
    fn start(&self, hello: Hello, inbox: Arc<dyn Inbox>) -> Result<(), TransportError> {
        self.inner.start(hello, inbox)
    }

    fn connect(&self, peer: NodeId) {
        self.inner.connect(peer);
    }

    fn disconnect(&self, peer: NodeId, reason: Reason) {
        self.inner.disconnect(peer, reason);
    }

    fn send(&self, to: NodeId, lane: Lane, envelope: &Envelope) -> Result<(), SendError> {
        let left = self.panics.load(Ordering::SeqCst);
        self.panics.store(left.saturating_sub(1), Ordering::SeqCst);
        assert!(left == 0, "a bug of the transport");
        self.inner.send(to, lane, envelope)
    }

    fn links(&self) -> Vec<LinkStatus> {
        self.inner.links()
    }

    fn close(&self, deadline: Duration) -> Closing {
        self.inner.close(deadline)
    }
}

#[tokio::test]
async fn an_actor_that_dies_is_replaced_and_its_queue_survives() {
    let (network, theirs) = (MemoryNetwork::new(), Journal::new());
    let buggy = Buggy { inner: network.transport(N1), panics: AtomicU64::new(1) };
    let make = table(witness(&Journal::new()));
    let one = NodeBuilder::new(N1, vec![N1, N2], make).transport(Arc::new(buggy));
    let one = start(one).await;
    let _two = start(node(&network, N2, 2, table(witness(&theirs)))).await;
    until("the link is up", || one.status().peers[0].up).await;
    for number in 0..10 {
        one.trigger(&Number(number)).await.unwrap();
    }
    until("the others arrive", || theirs.read().contains(&String::from("9"))).await;
    let numbers: Vec<String> = (1..10).map(|number| number.to_string()).collect();
    assert_eq!(theirs.read()[1..], numbers, "all but the one that the bug has lost");
    assert_eq!(one.status().actor_restarts, 1);
    assert!(one.shutdown(PATIENCE).await.is_complete());
}

#[tokio::test]
async fn actors_that_die_over_and_over_end_the_node() {
    let network = MemoryNetwork::new();
    let buggy = Buggy { inner: network.transport(N1), panics: AtomicU64::new(u64::MAX) };
    let make = table(witness(&Journal::new()));
    let one = NodeBuilder::new(N1, vec![N1, N2], make).transport(Arc::new(buggy));
    let one = start(one).await;
    let _two = start(node(&network, N2, 2, table(witness(&Journal::new())))).await;
    until("the link is up", || one.status().peers[0].up).await;
    for number in 0..100 {
        let _taken_or_ended = one.trigger(&Number(number)).await;
    }
    let reason = one.wait().await;
    assert!(matches!(reason, EndReason::Actor(_)), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_comes_and_goes_while_a_handler_blocks_is_turned_away_after_a_while() {
    let (network, ours, door) = (MemoryNetwork::new(), Journal::new(), Door::default());
    let (seen, gate) = (witness(&ours), door.clone());
    let blocks = move || {
        let gate = gate.clone();
        seen().on(move |_: &mut (), _: Word| gate.pass())
    };
    let limits = Limits { link_changes: 4, ..quick() };
    let one = start(node(&network, N1, 2, table(blocks)).limits(limits)).await;
    let two = table(witness(&Journal::new()));
    let two = start(node(&network, N2, 2, two).limits(quick())).await;
    until("they are linked", || ours.len() == 1 && two.status().peers[0].up).await;
    one.trigger(&Word(String::from("wait"))).await.unwrap();

    let peer = || two.status().peers[0].clone();
    let is_refused = || peer().last_error.is_some_and(|text| text.contains("have not heard"));
    for rounds in 1..=20 {
        network.cut(N1, N2);
        until("the link is down", || peer().downs == rounds.min(3)).await;
        network.heal(N1, N2);
        until("it is up or refused", || peer().up || is_refused()).await;
    }
    assert_eq!((peer().ups, peer().downs), (3, 3));
    door.open();
    until("they are linked again", || peer().up && ours.len() == 7).await;
    let life = ["n2 up", "n2 down Silent"];
    assert_eq!(ours.read()[..6], life.repeat(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_waits_for_peers_handles_nothing_before_they_are_there() {
    let (network, journal) = (MemoryNetwork::new(), Journal::new());
    network.cut(N1, N2);
    let waiting = node(&network, N1, 2, table(witness(&journal))).limits(quick()).start_after(9);
    let waiting = start(waiting).await;
    waiting.trigger(&Number(7)).await.unwrap();
    let _other = start(node(&network, N2, 2, table(witness(&Journal::new())))).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((journal.len(), waiting.status().started), (0, false));
    network.heal(N1, N2);
    until("it has started", || waiting.status().started).await;
    until("it has handled what waited", || status_of::<Number>(&waiting).handled == 1).await;
    until("it knows of its peer", || journal.read() == ["n2 up"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_lose_each_other_while_they_wait_for_a_third_one_find_each_other_again() {
    let (network, journal) = (MemoryNetwork::new(), Journal::new());
    let waiting = |id, journal: &Journal<String>| {
        node(&network, id, 3, table(witness(journal))).limits(quick()).start_after(2)
    };
    let one = start(waiting(N1, &journal)).await;
    let two = start(waiting(N2, &Journal::new())).await;
    let are_linked = |up| [&one, &two].iter().all(|node| node.status().peers[0].up == up);
    until("both are linked", || are_linked(true)).await;
    network.cut(N1, N2);
    until("both know that they are not", || are_linked(false)).await;
    network.heal(N1, N2);
    until("both are linked again", || are_linked(true)).await;
    let three = start(waiting(NodeId(3), &Journal::new())).await;
    until("all have started", || [&one, &two, &three].iter().all(|it| it.status().started)).await;
    until("n1 has heard of all", || journal.len() == 4).await;
    let of_two: Vec<String> =
        journal.read().into_iter().filter(|it| it.starts_with("n2")).collect();
    assert_eq!(of_two, ["n2 up", "n2 down Silent", "n2 up"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_waits_for_peers_starts_although_one_has_come_and_gone_as_often_as_it_may() {
    let (network, journal) = (MemoryNetwork::new(), Journal::new());
    let limits = Limits { link_changes: 2, ..quick() };
    let waiting = node(&network, N1, 3, table(witness(&journal))).limits(limits).start_after(2);
    let one = start(waiting).await;
    let other = |id| node(&network, id, 3, table(witness(&Journal::new()))).limits(quick());
    let two = start(other(N2)).await;
    until("it is linked", || one.status().peers[0].up).await;
    network.cut(N1, N2);
    until("it is not", || two.status().peers[0].downs == 1).await;
    network.heal(N1, N2);
    let is_refused = |text: String| text.contains("have not heard");
    until("it is let in no more", || {
        two.status().peers[0].last_error.clone().is_some_and(is_refused)
    })
    .await;
    assert!(!one.status().started);
    let _three = start(other(NodeId(3))).await;
    until("it has started", || one.status().started).await;
    until("both are linked", || one.status().peers.iter().all(|peer| peer.up)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_step_that_panics_behind_the_barrier_ends_the_node() {
    #[derive(Clone, Debug, Default, Hash, Serialize)]
    struct Broken;
    impl Algorithm for Broken {
        const NAME: &'static str = "broken";
        fn handlers() -> Handlers<Self> {
            Handlers::new().on(|_: &mut Self, _: Number| ())
        }
        fn start(&mut self, _: &mut Context) {
            panic!("not like this");
        }
    }
    let network = MemoryNetwork::new();
    let one = start(node(&network, N1, 2, || Broken).start_after(1)).await;
    let _two = start(node(&network, N2, 2, table(witness(&Journal::new())))).await;
    let ended = tokio::time::timeout(PATIENCE, one.wait()).await.unwrap();
    assert!(matches!(ended, EndReason::Panicked(letter) if letter.event == "start"));
}
