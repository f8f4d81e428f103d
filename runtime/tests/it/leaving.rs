//! How what a handler sends reaches the transport.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use synod_core::{
    Closing, Context, Envelope, Framed, Handlers, Hello, Inbox, Lane, LaneId, LinkChange,
    LinkStatus, NodeId, Reason, SendError, Sent, Transport, TransportError,
};
use synod_runtime::NodeBuilder;

use crate::support::{Journal, N1, N2, Number, Word, start, table, until};

const N3: NodeId = NodeId(3);

/// A transport that writes down how many events it gets at once, and for whom. Two nodes are linked.
#[derive(Clone, Debug)]
struct Counting(Journal<(NodeId, usize)>, Arc<OnceLock<Arc<dyn Inbox>>>);

impl Transport for Counting {
    fn start(&self, _: Hello, inbox: Arc<dyn Inbox>) -> Result<(), TransportError> {
        for peer in [N2, N3] {
            inbox.link(peer, LinkChange::Up { incarnation: 1 });
        }
        self.1.set(inbox).map_err(|_| TransportError(String::from("twice")))
    }

    fn connect(&self, _: NodeId) {}

    fn disconnect(&self, _: NodeId, _: Reason) {}

    fn send(&self, to: NodeId, _: Lane, _: &Envelope) -> Result<(), SendError> {
        self.0.write((to, 1));
        Ok(())
    }

    fn send_all(&self, to: NodeId, _: LaneId, envelopes: &Framed) -> Sent {
        self.0.write((to, envelopes.len()));
        Sent { queued: envelopes.len() as u64, refused: Vec::new() }
    }

    fn send_each(&self, to: NodeId, _: LaneId, envelopes: &[&Envelope]) -> Sent {
        self.0.write((to, envelopes.len()));
        assert!(envelopes.is_sorted_by(|one, other| one.event() == other.event()), "of one type");
        Sent { queued: envelopes.len() as u64 - 1, refused: vec![SendError::Down] }
    }

    fn links(&self) -> Vec<LinkStatus> {
        Vec::new()
    }

    fn close(&self, _: Duration) -> Closing {
        Box::pin(async {})
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_events_that_are_sent_in_a_row_are_handed_over_together() {
    let handlers = || {
        Handlers::new().on(|_: &mut (), _: Number| ()).restore(|_: &mut (), _: Number| ()).on(
            |_: &mut (), _: Word, ctx: &mut Context| {
                let large = Word("x".repeat(20_000));
                (0..3).for_each(|_| ctx.send(N2, &large));
                (0..2).for_each(|_| ctx.send(N3, &large));
                (0..4).for_each(|number| ctx.send(N3, &Number(number)));
                ctx.send(N2, &large);
                ctx.send(N2, &Number(4));
                ctx.persist(&Number(5));
                (0..2).for_each(|_| ctx.send(N2, &large));
            },
        )
    };
    let calls = Journal::new();
    let transport = Counting(calls.clone(), Arc::default());
    let builder = NodeBuilder::new(N1, vec![N1, N2, N3], table(handlers));
    let node = start(builder.transport(Arc::new(transport))).await;
    let status = || node.status();
    until("both links", || status().peers.iter().all(|peer| peer.up)).await;
    node.trigger(&Word(String::new())).await.unwrap();
    until("all", || calls.len() == 7).await;
    let before = [(N2, 3), (N3, 2), (N3, 4), (N2, 1), (N2, 1)];
    assert_eq!(calls.read(), [&before[..], &[(N2, 1), (N2, 1)]].concat(), "a record is a border");
    assert_eq!(node.status().drops.values().sum::<u64>(), 2, "one of each run was refused");
}
