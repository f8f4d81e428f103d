//! The nodes that are measured: one sends, the others receive.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Call, Context, Event, Handlers, NodeId, PeerUp, Request, Ticket, Transport,
};
use synod_runtime::{MemoryNetwork, NodeBuilder, NodeHandle};
use synod_transport_quic::{Bundle, Limits, QuicTransport};
use tokio::runtime::{Builder, Runtime};

use crate::child::{self, Order, Times};
use crate::place::{SENDER, bundle_of};

/// Runs a node for as long as it is asked for anything.
pub(crate) fn run(place: &Path, node: NodeId) {
    // One thread runs the handlers, and one that the transport has made everything of QUIC.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a thread");
    let bundle = Bundle::read(&bundle_of(place, node)).expect("a bundle");
    let begin = Instant::now();
    let transport = QuicTransport::new(&bundle, Limits::default()).expect("a transport");
    let transport = Arc::new(transport);
    let builder = NodeBuilder::new(node, bundle.nodes().into_iter().collect(), Bench::default);
    let started = runtime.block_on(builder.transport(transport.clone()).start());
    let handle = started.expect("the node starts");
    if node == SENDER {
        let Linked = ask(&runtime, &handle, &AwaitLinks);
    }
    child::serve(begin.elapsed(), |order| match order {
        Order::Flood { events, bytes } => {
            let begin = Instant::now();
            let Flooded = ask(&runtime, &handle, &FloodRequest { events, bytes });
            let taken = begin.elapsed();
            assert!(handle.status().drops.is_empty(), "events were dropped");
            vec![taken]
        }
        Order::Ping { pings, bytes } => {
            let Pings { trips } = ask(&runtime, &handle, &PingRequest { pings, bytes });
            child::percentiles(trips)
        }
        Order::Within { .. } => Times::new(),
        Order::Resume => {
            let resumed = || transport.links().iter().map(|link| link.resumed).sum::<u64>();
            let (before, bytes) = (resumed(), child::RESUME_BYTES);
            let begin = Instant::now();
            transport.reconnect(NodeId(2));
            let Pings { .. } = ask(&runtime, &handle, &PingRequest { pings: 1, bytes });
            let taken = begin.elapsed();
            assert_eq!(resumed(), before + 1, "it was not on the next connection");
            vec![taken]
        }
    });
    runtime.block_on(handle.shutdown(Duration::ZERO));
}

/// Triggers events on a node without peers, from one task.
pub(crate) fn run_alone() {
    let runtime = Runtime::new().expect("threads");
    let builder = NodeBuilder::new(SENDER, vec![SENDER], Bench::default);
    let transport = Arc::new(MemoryNetwork::new().transport(SENDER));
    let handle = runtime.block_on(builder.transport(transport).start()).expect("the node starts");
    child::serve(Duration::ZERO, |order| {
        let begin = Instant::now();
        let (events, obeyed) = match order {
            Order::Flood { events, bytes } => {
                (events, runtime.spawn(trigger_all(handle.clone(), events, bytes)))
            }
            Order::Within { events, bytes } => {
                (events, runtime.spawn(trigger_bursts(handle.clone(), events, bytes)))
            }
            Order::Ping { .. } | Order::Resume => return Times::new(),
        };
        runtime.block_on(obeyed).expect("no panic");
        let Handled(count) = ask(&runtime, &handle, &Count);
        assert_eq!(count, events);
        vec![begin.elapsed()]
    });
}

async fn trigger_all(node: NodeHandle, events: u64, bytes: usize) {
    let mut data = Local(Data::of_size(bytes));
    for number in 0..events {
        data.0.number = number.to_le_bytes();
        node.trigger(&data).await.expect("it is running");
    }
}

async fn trigger_bursts(node: NodeHandle, events: u64, bytes: usize) {
    assert!(events.is_multiple_of(BURST), "only whole bursts");
    for _ in 0..events / BURST {
        node.trigger(&Burst { bytes }).await.expect("it is running");
    }
}

/// Events that one handler triggers for another one.
const BURST: u64 = 500;

fn ask<R: Request>(runtime: &Runtime, node: &NodeHandle, request: &R) -> R::Answer {
    runtime.block_on(node.ask(request, PATIENCE)).expect("an answer")
}

const PATIENCE: Duration = Duration::from_secs(60);

/// Asks a node to answer once it is linked with all others.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "bench.await_links", local)]
struct AwaitLinks;

#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "bench.linked", local)]
struct Linked;

impl Request for AwaitLinks {
    type Answer = Linked;
}

/// Asks the sender to send so many events of so many bytes to each receiver, and to answer once all
/// of them are handled, in order.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "bench.flood", local)]
struct FloodRequest {
    events: u64,
    bytes: usize,
}

#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "bench.flooded", local)]
struct Flooded;

impl Request for FloodRequest {
    type Answer = Flooded;
}

/// A numbered payload.
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "bench.data")]
struct Data {
    number: [u8; 8],
    text: String,
}

impl Data {
    fn of_size(bytes: usize) -> Self {
        let child::Payload { number, text } = child::Payload::of_size(bytes);
        Self { number, text }
    }
}

/// The same, triggered by the application.
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "bench.local", local)]
struct Local(Data);

/// Asks one handler to trigger events for another one.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "bench.burst", local)]
struct Burst {
    bytes: usize,
}

/// Asks how many of those were handled, and begins to count anew.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "bench.count", local)]
struct Count;

#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "bench.handled", local)]
struct Handled(u64);

impl Request for Count {
    type Answer = Handled;
}

/// From here on a credit is wanted after so many events each.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "bench.begin")]
struct Begin {
    batch: u64,
}

/// The receiver has handled a batch.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "bench.credit")]
struct Credit;

/// Asks the sender for so many round trips of so many bytes, one after the other.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "bench.pings", local)]
struct PingRequest {
    pings: u64,
    bytes: usize,
}

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "bench.trips", local)]
struct Pings {
    trips: Vec<Duration>,
}

impl Request for PingRequest {
    type Answer = Pings;
}

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "bench.ping")]
struct Ping(Data);

#[derive(Debug, Default)]
struct Bench {
    up: usize,
    waiting: Vec<Ticket<AwaitLinks>>,
    /// Events handled since the beginning.
    count: u64,
    batch: u64,
    flood: Option<Flood>,
    pinging: Option<Pinging>,
}

#[derive(Debug)]
struct Flood {
    data: Data,
    ticket: Ticket<FloodRequest>,
    events: u64,
    batch: u64,
    sent: BTreeMap<NodeId, u64>,
    uncredited: u64,
}

#[derive(Debug)]
struct Pinging {
    request: PingRequest,
    ticket: Ticket<PingRequest>,
    sent_at: Instant,
    trips: Vec<Duration>,
}

impl Algorithm for Bench {
    const NAME: &'static str = "bench";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::await_links)
            .on(Self::peer_up)
            .on(Self::flood)
            .on(Self::begin)
            .on(Self::data)
            .on(Self::credit)
            .on(Self::start_pings)
            .on(Self::ping)
            .on(|bench: &mut Self, Local(data): Local| bench.number(&data))
            .on(Self::burst)
            .on(Self::tell_count)
    }
}

impl Bench {
    fn await_links(&mut self, call: Call<AwaitLinks>, ctx: &mut Context) {
        self.waiting.push(call.ticket);
        self.tell_links(ctx);
    }

    fn peer_up(&mut self, _: PeerUp, ctx: &mut Context) {
        self.up += 1;
        self.tell_links(ctx);
    }

    fn tell_links(&mut self, ctx: &mut Context) {
        if ctx.peers().len() <= self.up + 1 {
            self.waiting.drain(..).for_each(|ticket| ctx.answer(ticket, &Linked));
        }
    }

    /// Upon a burst: trigger events, which are handled before anything else.
    fn burst(&mut self, Burst { bytes }: Burst, ctx: &mut Context) {
        let mut data = Local(Data::of_size(bytes));
        for number in self.count..self.count + BURST {
            data.0.number = number.to_le_bytes();
            ctx.trigger(&data);
        }
    }

    fn tell_count(&mut self, call: Call<Count>, ctx: &mut Context) {
        ctx.answer(call.ticket, &Handled(std::mem::take(&mut self.count)));
    }

    fn flood(&mut self, call: Call<FloodRequest>, ctx: &mut Context) {
        let FloodRequest { events, bytes } = call.request;
        let batch = (BATCH_BYTES / bytes as u64).clamp(1, BATCH_MAX);
        let others: Vec<NodeId> = ctx.peers().iter().copied().filter(|it| *it != SENDER).collect();
        let sent = others.iter().map(|peer| (*peer, 0)).collect();
        assert!(events.is_multiple_of(batch), "only whole batches have a credit");
        let uncredited = events / batch * others.len() as u64;
        let (data, ticket) = (Data::of_size(bytes), call.ticket);
        self.flood = Some(Flood { data, ticket, events, batch, sent, uncredited });
        for peer in others {
            ctx.send(peer, &Begin { batch });
            (0..BATCHES_UNDER_WAY).for_each(|_| self.send_batch(peer, ctx));
        }
    }

    /// Upon a credit: send the next batch, or answer if this was the last one.
    fn credit(&mut self, _: Credit, from: NodeId, ctx: &mut Context) {
        self.send_batch(from, ctx);
        if let Some(flood) = &mut self.flood {
            flood.uncredited -= 1;
            if flood.uncredited == 0 {
                ctx.answer(flood.ticket, &Flooded);
            }
        }
    }

    fn send_batch(&mut self, to: NodeId, ctx: &mut Context) {
        let Some(Flood { data, events, batch, sent, .. }) = &mut self.flood else { return };
        let Some(sent) = sent.get_mut(&to) else { return };
        for _ in 0..(*batch).min(*events - *sent) {
            data.number = sent.to_le_bytes();
            *sent += 1;
            ctx.send(to, data);
        }
    }

    /// Upon a beginning: count from here on.
    fn begin(&mut self, Begin { batch }: Begin) {
        (self.batch, self.count) = (batch, 0);
    }

    /// Upon the next event: give a credit for each batch.
    fn data(&mut self, data: Data, ctx: &mut Context) {
        self.number(&data);
        if self.count.is_multiple_of(self.batch) {
            ctx.send(SENDER, &Credit);
        }
    }

    fn number(&mut self, data: &Data) {
        assert_eq!(u64::from_le_bytes(data.number), self.count, "an event is out of order");
        self.count += 1;
    }

    fn start_pings(&mut self, call: Call<PingRequest>, ctx: &mut Context) {
        let Call { request, ticket } = call;
        let ping = Ping(Data::of_size(request.bytes));
        let (sent_at, trips) = (Instant::now(), Vec::new());
        self.pinging = Some(Pinging { request, ticket, sent_at, trips });
        ctx.send(NodeId(2), &ping);
    }

    fn ping(&mut self, ping: Ping, ctx: &mut Context) {
        let Some(pinging) = &mut self.pinging else {
            return ctx.send(SENDER, &ping);
        };
        pinging.trips.push(pinging.sent_at.elapsed());
        if (pinging.trips.len() as u64) < pinging.request.pings {
            pinging.sent_at = Instant::now();
            ctx.send(NodeId(2), &ping);
        } else {
            let trips = std::mem::take(&mut pinging.trips);
            ctx.answer(pinging.ticket, &Pings { trips });
        }
    }
}

/// Bytes of a batch, about, and its events at most.
const BATCH_BYTES: u64 = 64 * 1_024;
const BATCH_MAX: u64 = 1_000;

/// Batches without a credit: enough to keep every thread busy, and less than an outbox holds.
const BATCHES_UNDER_WAY: u64 = 20;
