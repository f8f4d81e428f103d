//! Two nodes with a link between them: one asks for work, the other does it with its peer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Call, Context, Event, Handlers, NodeId, PeerUp, Request, Stack, Ticket, Transport,
};

use crate::world::{Nodes, PATIENCE};

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);

/// Two nodes that are linked. The first one does what it is asked to.
pub(crate) struct Pair(Nodes);

impl Pair {
    /// Starts both nodes, and waits until both know of their link.
    pub(crate) async fn start<T: Stack>(
        transports: BTreeMap<NodeId, Arc<dyn Transport>>,
        make: fn(NodeId) -> T,
    ) -> Self {
        let pair = Self(Nodes::start(transports, make).await);
        for node in pair.0.0.values() {
            let Linked = node.ask(&AwaitLink, PATIENCE).await.expect("a link");
        }
        pair
    }

    /// Lets the first node do something, and waits until it is done.
    pub(crate) async fn ask<R: Request>(&self, request: &R) -> R::Answer {
        let first = self.0.0.get(&N1).expect("the first node");
        first.ask(request, PATIENCE).await.expect("an answer")
    }

    /// Shuts both nodes down, and checks that nothing was lost.
    pub(crate) async fn end(self) {
        for node in self.0.0.values() {
            let drops = node.status().drops;
            assert!(drops.is_empty(), "{} has dropped {drops:?}", node.id());
        }
        self.0.end().await;
    }
}

/// Asks a node to answer once it is linked.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "bench.await_link", local)]
pub(crate) struct AwaitLink;

#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "bench.linked", local)]
pub(crate) struct Linked;

impl Request for AwaitLink {
    type Answer = Linked;
}

/// Answers once the peer is linked.
#[derive(Debug, Default)]
struct Door {
    is_up: bool,
    waiting: Vec<Ticket<AwaitLink>>,
}

impl Door {
    fn await_link(&mut self, call: Call<AwaitLink>, ctx: &mut Context) {
        self.waiting.push(call.ticket);
        self.open(ctx);
    }

    fn peer_up(&mut self, ctx: &mut Context) {
        self.is_up = true;
        self.open(ctx);
    }

    fn open(&mut self, ctx: &mut Context) {
        if self.is_up {
            self.waiting.drain(..).for_each(|ticket| ctx.answer(ticket, &Linked));
        }
    }
}

/// A numbered payload.
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "bench.data")]
pub(crate) struct Data {
    number: [u8; 8],
    text: String,
}

impl Data {
    /// Where the number stands in a frame: after the length and the header of the envelope.
    pub(crate) const NUMBER_AT: usize = 4 + 10;

    /// One whose encoding has so many bytes.
    pub(crate) fn of_size(bytes: usize) -> Self {
        let of_text = |length| Self { number: [0; 8], text: "x".repeat(length) };
        let encoded = |data: &Self| synod_core::Envelope::seal(data).body().len();
        let text = (0..bytes).rev().map(of_text).find(|data| encoded(data) == bytes);
        text.expect("a payload of this size")
    }
}

/// Asks the first node to send so many events of so many bytes, and to answer once all of them
/// are handled, in order.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "bench.flood", local)]
pub(crate) struct FloodRequest {
    pub(crate) events: u64,
    pub(crate) bytes: usize,
}

#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "bench.flooded", local)]
pub(crate) struct Flooded;

impl Request for FloodRequest {
    type Answer = Flooded;
}

/// The receiver has handled a batch.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "bench.credit")]
struct Credit;

/// The first node sends batches; the second one counts, and gives a credit for each batch.
#[derive(Debug, Default)]
pub(crate) struct Flood {
    door: Door,
    work: Option<Work>,
    /// Events sent, by the first node, or handled, by the second.
    count: u64,
}

#[derive(Debug)]
struct Work {
    data: Data,
    ticket: Ticket<FloodRequest>,
    unsent: u64,
    uncredited: u64,
}

impl Algorithm for Flood {
    const NAME: &'static str = "flood";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::await_link)
            .on(Self::peer_up)
            .on(Self::flood)
            .on(Self::data)
            .on(Self::credit)
    }
}

impl Flood {
    fn await_link(&mut self, call: Call<AwaitLink>, ctx: &mut Context) {
        self.door.await_link(call, ctx);
    }

    fn peer_up(&mut self, _: PeerUp, ctx: &mut Context) {
        self.door.peer_up(ctx);
    }

    fn flood(&mut self, call: Call<FloodRequest>, ctx: &mut Context) {
        let FloodRequest { events, bytes } = call.request;
        assert!(events.is_multiple_of(BATCH), "only whole batches have a credit");
        let data = Data::of_size(bytes);
        let ticket = call.ticket;
        self.work = Some(Work { data, ticket, unsent: events, uncredited: events });
        (0..BATCHES_UNDER_WAY).for_each(|_| self.send_batch(ctx));
    }

    /// Upon a credit: send the next batch, or answer if this was the last one.
    fn credit(&mut self, _: Credit, ctx: &mut Context) {
        self.send_batch(ctx);
        if let Some(work) = &mut self.work {
            work.uncredited -= BATCH;
            if work.uncredited == 0 {
                ctx.answer(work.ticket, &Flooded);
            }
        }
    }

    fn send_batch(&mut self, ctx: &mut Context) {
        let Some(work) = &mut self.work else { return };
        for _ in 0..BATCH.min(work.unsent) {
            work.data.number = self.count.to_le_bytes();
            self.count += 1;
            work.unsent -= 1;
            ctx.send(N2, &work.data);
        }
    }

    /// Upon the next event: give a credit for each batch.
    fn data(&mut self, data: Data, ctx: &mut Context) {
        assert_eq!(u64::from_le_bytes(data.number), self.count, "an event is out of order");
        self.count += 1;
        if self.count.is_multiple_of(BATCH) {
            ctx.send(N1, &Credit);
        }
    }
}

/// Events of a batch.
const BATCH: u64 = 250;

/// Batches without a credit: enough to keep every thread busy, and less than an outbox holds.
const BATCHES_UNDER_WAY: u64 = 20;

/// Asks the first node to send so many events of so many bytes, each after the echo of the last.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "bench.ping", local)]
pub(crate) struct PingRequest {
    pub(crate) pings: u64,
    pub(crate) bytes: usize,
}

/// How long each round trip took, in nanoseconds.
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "bench.pings", local)]
pub(crate) struct Pings {
    pub(crate) nanos: Vec<u64>,
}

impl Request for PingRequest {
    type Answer = Pings;
}

/// The first node sends, and the second one sends back.
#[derive(Debug, Default)]
pub(crate) struct Ping {
    door: Door,
    work: Option<(PingRequest, Ticket<PingRequest>)>,
    sent_at: Option<Instant>,
    nanos: Vec<u64>,
}

impl Algorithm for Ping {
    const NAME: &'static str = "ping";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::await_link).on(Self::peer_up).on(Self::ping).on(Self::data)
    }
}

impl Ping {
    fn await_link(&mut self, call: Call<AwaitLink>, ctx: &mut Context) {
        self.door.await_link(call, ctx);
    }

    fn peer_up(&mut self, _: PeerUp, ctx: &mut Context) {
        self.door.peer_up(ctx);
    }

    fn ping(&mut self, call: Call<PingRequest>, ctx: &mut Context) {
        self.work = Some((call.request, call.ticket));
        self.send(&Data::of_size(call.request.bytes), ctx);
    }

    fn data(&mut self, data: Data, ctx: &mut Context) {
        let Some((request, ticket)) = self.work else {
            return ctx.send(N1, &data);
        };
        if let Some(sent_at) = self.sent_at {
            let nanos = sent_at.elapsed().as_nanos();
            self.nanos.push(u64::try_from(nanos).expect("a short time"));
        }
        if (self.nanos.len() as u64) < request.pings {
            self.send(&data, ctx);
        } else {
            ctx.answer(ticket, &Pings { nanos: std::mem::take(&mut self.nanos) });
        }
    }

    fn send(&mut self, data: &Data, ctx: &mut Context) {
        self.sent_at = Some(Instant::now());
        ctx.send(N2, data);
    }
}
