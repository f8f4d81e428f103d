//! Messages on their way to one node race for it; the losers of a race draw anew when they arrive.
//!
//! Partial order sampling (X. Yuan, J. Yang, R. Gu, "Partial order aware concurrency sampling",
//! CAV 2018): every event has a random priority, the highest one that is possible happens, and
//! those that raced with it draw another. Here a message's time is its priority, since the
//! simulator has time; two messages race if they are on their way to the same node. Without a new
//! draw, a message that is late for its first race is late for all the others too, and the
//! orders in which something comes early and something else late twice are rare.

use std::collections::BTreeMap;

use synod_core::{Lane, LaneId, NodeId, Stack};

use super::World;
use crate::choice::{About, Label, REDRAW};
use crate::queue::Place;

/// The messages on their way to each node, in the order of sending.
#[derive(Debug, Default)]
pub(super) struct Races(BTreeMap<NodeId, Vec<Racer>>);

/// A message on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Racer {
    pub(super) place: Place,
    pub(super) about: About,
    pub(super) lane: Lane,
    pub(super) at_us: u64,
    /// When it has to arrive.
    pub(super) latest_us: u64,
    /// When it arrives at the earliest: its delay is what is above.
    pub(super) earliest_us: u64,
    /// When it arrives at the earliest, however often it draws; 0 where its link is like the others, which
    /// may be as fast as they like.
    pub(super) floor_us: u64,
    /// Which question its delay was the answer to.
    pub(super) ordinal: u32,
}

impl Races {
    pub(super) fn enter(&mut self, to: NodeId, racer: Racer) {
        self.0.entry(to).or_default().push(racer);
    }
}

impl<T: Stack> World<'_, T> {
    /// One message arrives at `node`: the others that are on their way to it draw their times anew,
    /// between now and when they have to arrive, not before their link lets them. The calm choice keeps
    /// the time. O(messages on their way to the node).
    pub(super) fn redraw(&mut self, node: NodeId) {
        let mut racers = self.races.0.remove(&node).unwrap_or_default();
        // The place in the queue of what was due may be another's by now.
        racers.retain(|racer| self.now_us < racer.at_us);
        // When the last one of a lane arrives, and whether it was moved.
        let mut tails: BTreeMap<(NodeId, LaneId), (u64, bool)> = BTreeMap::new();
        racers.retain_mut(|racer| {
            let lane = lane_of(racer);
            let (tail_us, follows) =
                lane.and_then(|lane| tails.get(&lane).copied()).unwrap_or_default();
            let at_us = self.draw_again(racer).max(tail_us);
            // What is behind one that moved moves too, be it to the same time: among what is due
            // or released together, the order of adding decides.
            let moves = follows || at_us != racer.at_us;
            tails.extend(lane.map(|lane| (lane, (at_us, moves))));
            !moves || self.arrive_at(racer, node, at_us)
        });
        self.races.0.insert(node, racers);
    }

    fn draw_again(&mut self, racer: &Racer) -> u64 {
        let label = Label { what: REDRAW, about: racer.about };
        let from_us = self.now_us.max(racer.floor_us);
        let left_us = racer.latest_us.saturating_sub(from_us);
        match self.stream.choose(label, left_us + 1) {
            0 => racer.at_us,
            above_us => from_us + above_us,
        }
    }

    /// Moves a message in the queue; false if it is no longer there, for a crash took it.
    fn arrive_at(&mut self, racer: &mut Racer, node: NodeId, at_us: u64) -> bool {
        let Some(message) = self.queue.withdraw(racer.place) else {
            return false;
        };
        (racer.place, racer.at_us) = (self.queue.add(at_us, message), at_us);
        let label = Label { what: "delay", about: racer.about };
        self.stream.revise(label, racer.ordinal, at_us.saturating_sub(racer.earliest_us));
        if let About::Message { from, .. } = racer.about {
            // What is sent later on the lane comes later.
            self.network.arrival(from, node, racer.lane, at_us);
        }
        true
    }
}

/// The lane that a message keeps its order on, if it does.
fn lane_of(racer: &Racer) -> Option<(NodeId, LaneId)> {
    match (racer.about, racer.lane) {
        (About::Message { from, .. }, Lane::Ordered(lane)) => Some((from, lane)),
        _ => None,
    }
}
