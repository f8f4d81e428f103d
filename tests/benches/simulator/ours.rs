//! The work on synod's simulator: an algorithm as a user writes it, and a calm world.

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Context, Event, Handlers, NodeId};
use synod_simulator::{Scenario, Settings, Stream, run};

use super::work::{DELAY_MAX_US, Shape, Work};

/// Passes on whatever arrives, as often as the message says.
#[derive(Clone, Debug)]
pub(crate) struct Bus(Work);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bus.message")]
struct Message {
    left: u64,
    padding: u64,
}

/// Encodes to ten bytes, since small integers are short; a message has 11 to 13.
const PADDING: u64 = u64::MAX;

impl Algorithm for Bus {
    const NAME: &'static str = "bus";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::message)
    }

    fn start(&mut self, ctx: &mut Context) {
        let Self(work) = *self;
        let message = Message { left: work.hops().saturating_sub(1), padding: PADDING };
        match work.shape {
            Shape::Ring => ctx.send(ctx.successor(), &message),
            Shape::Pairs => {
                let me = ctx.me();
                ctx.send_where(&message, |peer| peer != me);
            }
            Shape::Idle => (),
        }
    }
}

impl Bus {
    fn message(&self, message: Message, from: NodeId, ctx: &mut Context) {
        if 0 < message.left {
            let to = if self.0.shape == Shape::Pairs { from } else { ctx.successor() };
            ctx.send(to, &Message { left: message.left - 1, ..message });
        }
    }
}

pub(crate) fn scenario(work: Work) -> Scenario<Bus> {
    Scenario::of(move |_| Bus(work))
}

/// Delivers the messages; returns how many, and the virtual milliseconds.
pub(crate) fn once(scenario: &Scenario<Bus>, work: Work, seed: u64) -> (u64, u64) {
    // Long enough for every message to take the longest delay.
    let time_us = (1 + work.hops()) * DELAY_MAX_US;
    let settings = Settings { time_us, ..Settings::calm(work.nodes) };
    let (outcome, _) = run(scenario, &settings, Stream::seeded(seed), false);
    (outcome.counts.delivered, outcome.counts.time_us / 1_000)
}
