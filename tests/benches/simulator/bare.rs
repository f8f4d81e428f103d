//! The floor: what a heap of times costs, and nothing else.
//!
//! There are no nodes, handlers, states or bodies, no order within a link, no faults, no labels of
//! choices and no properties. What it does is take the earliest, draw a delay and put the next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use synod_core::Random;

use super::work::{DELAY_MAX_US, DELAY_MIN_US, Work};

/// When, the how-manieth, from whom, to whom.
type Flight = (u64, u64, u32, u32);

struct Bare {
    heap: BinaryHeap<Reverse<Flight>>,
    random: Random,
    /// Messages that may still be sent.
    left: u64,
    sent: u64,
}

/// Delivers the messages; returns how many, and the virtual milliseconds.
pub(crate) fn once(work: Work, seed: u64) -> (u64, u64) {
    let random = Random::new(seed);
    let mut bare = Bare { heap: BinaryHeap::new(), random, left: work.total(), sent: 0 };
    for node in 0..work.nodes {
        work.first(node).for_each(|to| bare.send(0, node, to));
    }
    let (mut delivered, mut now_us) = (0, 0);
    while let Some(Reverse((at_us, _, from, to))) = bare.heap.pop() {
        (delivered, now_us) = (delivered + 1, at_us);
        bare.send(now_us, to, work.next(to, from));
    }
    (delivered, now_us / 1_000)
}

impl Bare {
    fn send(&mut self, now_us: u64, from: u32, to: u32) {
        if 0 < self.left {
            (self.left, self.sent) = (self.left - 1, self.sent + 1);
            let delay_us = DELAY_MIN_US + self.random.below(DELAY_MAX_US - DELAY_MIN_US + 1);
            let at_us = now_us + delay_us;
            self.heap.push(Reverse((at_us, self.sent, from, to)));
        }
    }
}
