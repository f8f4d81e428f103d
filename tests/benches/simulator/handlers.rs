//! The floor of the model: a heap of times that carries bytes to handlers behind pointers.
//!
//! Each node is a boxed handler with a state; each message has sixteen bytes of its own, which move from
//! hand to hand. There is no order within a link, no encoding, no fault, no label of choices and no property.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use synod_core::Random;

use super::work::{DELAY_MAX_US, DELAY_MIN_US, Work};

/// How often it is still to be passed on, and padding.
type Body = Box<[[u8; 8]; 2]>;

/// When, the how-manieth, from whom, to whom, what.
type Flight = (u64, u64, u32, u32, Body);

trait Handler {
    /// Whatever is put into `out` is sent.
    fn message(&mut self, from: u32, body: Body, out: &mut Vec<(u32, Body)>);
}

/// Passes on whatever arrives, as often as the message says.
struct Bus {
    me: u32,
    work: Work,
}

impl Handler for Bus {
    fn message(&mut self, from: u32, mut body: Body, out: &mut Vec<(u32, Body)>) {
        let [counter, _] = &mut *body;
        let left = u64::from_le_bytes(*counter);
        if 0 < left {
            *counter = (left - 1).to_le_bytes();
            out.push((self.work.next(self.me, from), body));
        }
    }
}

struct Heap {
    flights: BinaryHeap<Reverse<Flight>>,
    random: Random,
    sent: u64,
}

/// Delivers the messages; returns how many, and the virtual milliseconds.
pub(crate) fn once(work: Work, seed: u64) -> (u64, u64) {
    let mut nodes: Vec<Box<dyn Handler>> =
        (0..work.nodes).map(|me| Box::new(Bus { me, work }) as Box<dyn Handler>).collect();
    let mut heap = Heap { flights: BinaryHeap::new(), random: Random::new(seed), sent: 0 };
    for node in 0..work.nodes {
        let left = work.hops().saturating_sub(1);
        let body = Box::new([left.to_le_bytes(), [u8::MAX; 8]]);
        work.first(node).for_each(|to| heap.send(0, node, to, body.clone()));
    }
    let (mut delivered, mut now_us, mut out) = (0, 0, Vec::new());
    while let Some(Reverse((at_us, _, from, to, body))) = heap.flights.pop() {
        (delivered, now_us) = (delivered + 1, at_us);
        if let Some(node) = nodes.get_mut(to as usize) {
            node.message(from, body, &mut out);
        }
        out.drain(..).for_each(|(next, body)| heap.send(now_us, to, next, body));
    }
    (delivered, now_us / 1_000)
}

impl Heap {
    fn send(&mut self, now_us: u64, from: u32, to: u32, body: Body) {
        self.sent += 1;
        let delay_us = DELAY_MIN_US + self.random.below(DELAY_MAX_US - DELAY_MIN_US + 1);
        self.flights.push(Reverse((now_us + delay_us, self.sent, from, to, body)));
    }
}
