//! What an exploration is limited to.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Assumption, Faults, Links, Model};

use super::window::{Due, Window};
use crate::scenario::micros;

/// What an exploration is limited to.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// The number of nodes.
    pub nodes: u32,
    /// Crashes in a run, at most. At any moment, also within a handler.
    pub crashes: u32,
    /// Recoveries in a run, at most.
    pub recoveries: u32,
    /// Nodes that may be down at once.
    pub down_max: u32,
    /// The unit of time in microseconds, which is also the bound on the delay of a message.
    /// 0: there is no bound, and no common time.
    pub tick_us: u64,
    /// How early and how late timers fire; the unit of time is a part of the bound then. Without a
    /// bound this means nothing: clocks are unrelated, and go on when a timer fires.
    #[serde(default, skip_serializing_if = "Window::is_exact")]
    pub timers: Window,
    /// Messages lost in a run, at most; `u32::MAX` for any number. Only datagrams are lost, unless links
    /// are `lossy`.
    #[serde(default = "any", skip_serializing_if = "is_any")]
    pub losses: u32,
    /// Whether every message between two nodes may be lost, and not only datagrams. What was sent after
    /// it arrives all the same.
    #[serde(default, skip_serializing_if = "is_kept")]
    pub lossy: bool,
    /// Messages that arrive twice, or more often, in a run: arrivals beyond the first, at most;
    /// `u32::MAX` for any number. Without a bound on delays, what keeps no order then stays under way
    /// for ever: the network is a set, nothing is ever at rest, and nothing is judged that needs rest
    /// or fairness.
    #[serde(default, skip_serializing_if = "is_none")]
    pub copies: u32,
    /// Syncs of disks that claim to have made durable what they have not, in a run, at most.
    #[serde(default, skip_serializing_if = "is_none")]
    pub lies: u32,
    /// Whether messages overtake each other also where the algorithm counts on their order.
    #[serde(default, skip_serializing_if = "is_kept")]
    pub unordered: bool,
    /// Whether a node hears of its links to different peers in any order. If not, it hears of those
    /// that come up at the start in the order of the peers' names.
    #[serde(default, skip_serializing_if = "is_kept")]
    pub links_in_any_order: bool,
    /// States to visit, at most; 2^32 - 2 in any case.
    pub states_max: u64,
    /// Steps of a run, at most; those of the nodes' starts are not counted.
    #[serde(default = "any", skip_serializing_if = "is_any")]
    pub depth_max: u32,
    /// Whether the first 256 activations of each thread, and one in 16 of the others, run twice, so that handlers which
    /// go by more than state and event are told, and states that hash in part; and whether a thread tells of a handler
    /// that does not return. It takes a few microseconds for each that runs twice, and 0.2 ms and 20 KiB for the thread.
    #[serde(skip, default = "yes")]
    pub audited: bool,
}

fn yes() -> bool {
    true
}

fn any() -> u32 {
    u32::MAX
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_any(count: &u32) -> bool {
    *count == u32::MAX
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(count: &u32) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_kept(broken: &bool) -> bool {
    !*broken
}

impl Bounds {
    /// No faults but those of datagrams, no bound on delays, runs of any length; five million states.
    #[must_use]
    pub fn calm(nodes: u32) -> Self {
        Self {
            nodes,
            crashes: 0,
            recoveries: 0,
            down_max: 0,
            tick_us: 0,
            timers: Window::EXACT,
            losses: u32::MAX,
            lossy: false,
            copies: 0,
            lies: 0,
            unordered: false,
            links_in_any_order: false,
            states_max: 5_000_000,
            depth_max: u32::MAX,
            audited: true,
        }
    }

    /// What `model` allows: its timing, and one crash with its recovery if it tolerates any.
    #[must_use]
    pub fn within(model: &Model, nodes: u32) -> Self {
        let down = u32::try_from(model.down_max(nodes as usize)).unwrap_or(u32::MAX);
        let recovers = matches!(model.faults, Faults::CrashRecovery(_));
        Self {
            crashes: down.min(1),
            recoveries: if recovers { down.min(1) } else { 0 },
            down_max: down,
            tick_us: model.delay_max().map_or(0, micros),
            ..Self::calm(nodes)
        }
    }

    /// What `model` allows and is not within these bounds: an algorithm that passes is not checked
    /// against it.
    #[must_use]
    pub fn not_explored(&self, model: &Model) -> Vec<&'static str> {
        let loses = model.links == Links::FairLoss;
        let all = [
            (0 < model.traitors_max(self.nodes as usize), "traitors"),
            (loses && !(self.lossy && 0 < self.losses), "lost messages"),
            (loses && self.copies == 0, "repeated messages"),
        ];
        all.into_iter().filter(|(is_left_out, _)| *is_left_out).map(|(_, what)| what).collect()
    }

    /// Whether what was sent stays under way for ever.
    pub(crate) fn repeats_for_ever(&self) -> bool {
        self.copies == u32::MAX && self.tick_us == 0
    }

    /// Whether timers fire early or late.
    pub(crate) fn has_windows(&self) -> bool {
        0 < self.tick_us && !self.timers.is_exact()
    }

    /// When a timer is due.
    pub(crate) fn due(&self, after: Duration) -> Due {
        if self.has_windows() {
            self.timers.due(micros(after), self.tick_us)
        } else {
            Due::at(self.ticks(after))
        }
    }

    /// How many ticks a message takes at most.
    pub(crate) fn delay(&self) -> u64 {
        if self.has_windows() { self.timers.ticks_of_delay() } else { 1 }
    }

    /// A time in ticks, rounded up. Without a bound on delays, in microseconds.
    pub(crate) fn ticks(&self, time: Duration) -> u64 {
        let time = micros(time);
        match self.tick_us {
            0 => time,
            tick_us => time.saturating_mul(self.delay()).div_ceil(tick_us),
        }
    }

    /// So many ticks in microseconds; 0 without a bound on delays.
    pub(crate) fn time_us(&self, ticks: u64) -> u64 {
        ticks.saturating_mul(self.tick_us) / self.delay()
    }

    /// The same without a bound on delays, and so without windows for timers. Returns the assumption
    /// that this breaks, if any.
    pub fn unbound(&mut self) -> Option<Assumption> {
        self.timers = Window::EXACT;
        (std::mem::take(&mut self.tick_us) > 0).then_some(Assumption::BoundedDelay)
    }
}
