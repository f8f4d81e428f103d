//! Backpressure over QUIC: a slow handler holds up who sends to it, and nobody else.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Context, Event, Handlers, LaneCounts, NodeId, Order};
use synod_runtime::{Limits, NodeBuilder, NodeHandle, Output};

use crate::world;

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);

/// Something that takes long.
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "flow.work")]
struct Work(String);

/// Asks for an echo.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "flow.beat")]
struct Beat;

#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "flow.echo")]
struct Echo;

/// What the application triggers.
#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "flow.send_work", local)]
struct SendWork;

#[derive(Event, Clone, Copy, Debug, Serialize, Deserialize)]
#[event(name = "flow.send_beat", local)]
struct SendBeat(NodeId);

/// What the application hears.
#[derive(Event, Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[event(name = "flow.heard", local)]
struct Heard(NodeId);

#[derive(Debug, Default)]
struct Flow;

impl Algorithm for Flow {
    const NAME: &'static str = "flow";
    const ORDER: Order = Order::PerEvent;

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|_: &mut Self, _: SendWork, ctx: &mut Context| {
                ctx.send(N2, &Work("x".repeat(WORK_BYTES)));
            })
            .on(|_: &mut Self, _: Work| std::thread::sleep(WORK_TIME))
            .on(|_: &mut Self, beat: SendBeat, ctx: &mut Context| ctx.send(beat.0, &Beat))
            .on(|_: &mut Self, _: Beat, from: NodeId, ctx: &mut Context| ctx.send(from, &Echo))
            .on(|_: &mut Self, _: Echo, from: NodeId, ctx: &mut Context| ctx.trigger(&Heard(from)))
    }
}

/// How long a beat takes there and back.
async fn beat(from: &NodeHandle, to: NodeId) -> Duration {
    let mut outputs = from.outputs();
    let begin = Instant::now();
    from.trigger(&SendBeat(to)).await.expect("it is running");
    while let Some(output) = outputs.next().await {
        if let Output::Event(envelope) = output
            && envelope.open::<Heard>() == Ok(Heard(to))
        {
            return begin.elapsed();
        }
    }
    panic!("{} has ended", from.id());
}

fn lane(node: &NodeHandle, peer: NodeId, name: &str) -> LaneCounts {
    let lanes = node.status().lanes;
    let found = lanes.iter().find(|it| (it.peer, it.lane) == (peer, name));
    found.map(|lane| lane.counts).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_handler_holds_up_the_lane_of_its_sender_and_nobody_else() {
    // What does not fit into the queue and the window waits at its sender, who goes on sending.
    let limits = Limits { queue_events: 16, congested_bytes: 16 << 20, ..Limits::default() };
    let mut nodes = Vec::new();
    for (id, transport) in world::quic(3) {
        let builder = NodeBuilder::new(id, vec![N1, N2, N3], || Flow).limits(limits);
        nodes.push(builder.transport(transport).start().await.expect("the node starts"));
    }
    let [one, two, three] = nodes.try_into().expect("three nodes");
    let others = [(&one, N2), (&one, N3), (&three, N2)];
    for (from, to) in others {
        beat(from, to).await;
    }

    for _ in 0..WORK {
        one.trigger(&SendWork).await.expect("it is running");
    }
    world::until("the sender to be held up", || 0 < lane(&one, N2, "flow.work").queued).await;
    let held = lane(&one, N2, "flow.work");
    assert!(WORK / 4 < held.queued && held.queued <= held.unacknowledged, "{held:?}");
    assert!(WORK_BYTES * 300 < held.kept_bytes, "{held:?}");
    let events = two.status().events;
    let queue = events.iter().find(|event| event.name == "flow.work").expect("it is handled");
    assert!(queue.queued <= queue.bound + BATCH, "{queue:?}");

    for (from, to) in others {
        // What is before it is one turn of the slow handler.
        let taken = beat(from, to).await;
        assert!(taken < HELD / 4, "{} to {to}: {taken:?}", from.id());
    }
    assert!(0 < lane(&one, N2, "flow.work").queued, "it was still held up");
    assert_eq!(lane(&one, N2, "flow.beat").queued, 0);
    assert_eq!(lane(&one, N3, "flow.work"), LaneCounts::default());
    for node in [one, two, three] {
        node.shutdown(Duration::ZERO).await;
    }
}

/// Slow events, and their bytes: more than queue, window and batch take, less than the outbox does.
const WORK: u64 = 1_500;
const WORK_BYTES: usize = 8_000;
/// How long each of them takes.
const WORK_TIME: Duration = Duration::from_millis(2);
/// How long all of them take at least.
const HELD: Duration = WORK_TIME.saturating_mul(1_500);
/// Events that a lane may have in its hands when the queue is full.
const BATCH: usize = 256;
