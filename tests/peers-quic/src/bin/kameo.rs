//! An actor of kameo with a bounded mailbox, and one task that tells it things.
#![allow(dead_code, reason = "the other program uses the rest of the common module")]

#[path = "../../../benches/quic/child.rs"]
mod child;

use std::time::{Duration, Instant};

use child::{Order, Payload, Times};
use kameo::Actor;
use kameo::actor::Spawn;
use kameo::mailbox;
use kameo::message::{Context, Message};
use tokio::runtime::Runtime;

#[derive(Actor, Default)]
struct Receiver(u64);

impl Message<Payload> for Receiver {
    type Reply = ();

    async fn handle(&mut self, payload: Payload, _: &mut Context<Self, ()>) {
        assert_eq!(payload.number(), self.0, "an event is out of order");
        self.0 += 1;
    }
}

struct Count;

impl Message<Count> for Receiver {
    type Reply = u64;

    async fn handle(&mut self, _: Count, _: &mut Context<Self, u64>) -> u64 {
        std::mem::take(&mut self.0)
    }
}

fn main() {
    let runtime = Runtime::new().expect("threads");
    let _inside = runtime.enter();
    let receiver = Receiver::spawn_with_mailbox(Receiver::default(), mailbox::bounded(MAILBOX));
    child::serve(Duration::ZERO, |order| {
        let Order::Flood { events, bytes } = order else { return Times::new() };
        let begin = Instant::now();
        let told = receiver.clone();
        let told = runtime.spawn(async move {
            let payload = Payload::of_size(bytes);
            for number in 0..events {
                let mut payload = payload.clone();
                payload.numbered(number);
                told.tell(payload).await.expect("it lives");
            }
            told.ask(Count).await.expect("it lives")
        });
        assert_eq!(runtime.block_on(told).expect("no panic"), events);
        vec![begin.elapsed()]
    });
}

/// Events that wait.
const MAILBOX: usize = 1_024;
