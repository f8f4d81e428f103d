//! Nodes that are shut down while a peer does not hear them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Context, Event, HandlerSet, Handlers, NodeId, Transport};
use synod_runtime::{NodeBuilder, NodeHandle, ShutdownReport};
use synod_transport_quic::{Bundle, Limits, QuicTransport};

use crate::proxy::Proxy;
use crate::world::{authority, bundle, until};

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "draining.number")]
struct Number(u64);

/// N1 passes on to n2 what it is told.
fn passing_on() -> HandlerSet<()> {
    let handlers = Handlers::new().on(|_: &mut (), number: Number, ctx: &mut Context| {
        if ctx.me() == N1 {
            ctx.send(N2, &number);
        }
    });
    HandlerSet::with((), handlers)
}

/// Two nodes, linked through a relay that the second has dialled; the first does not know where the
/// second is.
async fn pair() -> (NodeHandle, NodeHandle, Proxy) {
    let authority = authority();
    let transport = |node, peers| {
        let bundle = Bundle { peers, ..bundle(&authority, node, 2) };
        Arc::new(QuicTransport::new(&bundle, Limits::default()).expect("a transport"))
    };
    let first = transport(N1, BTreeMap::new());
    let proxy = Proxy::start(first.local_address()).await;
    let second = transport(N2, BTreeMap::from([(N1, proxy.address.to_string())]));
    let start = |id, transport: Arc<QuicTransport>| {
        let builder = NodeBuilder::new(id, vec![N1, N2], passing_on);
        builder.transport(transport as Arc<dyn Transport>).start()
    };
    let one = start(N1, first).await.expect("the node starts");
    let two = start(N2, second).await.expect("the node starts");
    until("the link", || {
        [&one, &two].iter().all(|it| it.status().peers.iter().all(|peer| peer.up))
    })
    .await;
    (one, two, proxy)
}

/// Cuts the link, lets n1 send three events, and shuts it down while `meanwhile` happens.
async fn cut_and_shut_down(
    (one, proxy): (&NodeHandle, &Proxy),
    deadline: Duration,
    meanwhile: impl Future<Output = ()>,
) -> ShutdownReport {
    proxy.cut(true, true);
    for number in 0..3 {
        one.trigger(&Number(number)).await.expect("it runs");
    }
    let (report, ()) = tokio::join!(one.shutdown(deadline), meanwhile);
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_peer_does_not_hear_within_the_limit_is_reported() {
    let (one, two, proxy) = pair().await;
    let limit = Duration::from_millis(300);
    let report = cut_and_shut_down((&one, &proxy), limit, async {}).await;
    assert_eq!(report.unacknowledged, BTreeMap::from([(N2, 3)]));
    assert!(!report.is_complete() && report.unhandled.is_empty());
    two.shutdown(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_back_within_the_limit_hears_all() {
    let (one, two, proxy) = pair().await;
    let back = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        proxy.cut(false, false);
    };
    let report = cut_and_shut_down((&one, &proxy), Duration::from_secs(20), back).await;
    assert!(report.is_complete(), "{report:?}");
    let handled = |event: &synod_runtime::EventStatus| event.handled;
    until("all three", || two.status().events.iter().map(handled).sum::<u64>() == 3).await;
    two.shutdown(Duration::ZERO).await;
}
