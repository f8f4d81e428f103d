//! The world of a simulated run: how large, how long, and what may go wrong in it.

mod check;
mod fault;
mod link;
mod shape;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Assumption, Faults, Links, Model, Timing};

pub use self::check::Impossible;
pub use self::fault::Fault;
pub use self::link::{LinkDelay, NotALink};
pub use self::shape::Shape;
use crate::disk::DiskFault;
use crate::scenario::micros;

/// The world of a simulated run: how large, how long, and which faults may happen. Times are in
/// microseconds of virtual time, rates in chances in a million.
///
/// Faults begin in the first half of a run, and the noise of the network (`tail`, `lose`,
/// `duplicate`, `burst`) ends with it, so that the second half shows whether the cluster recovers;
/// `noise_us` says otherwise. A burst that lasts longer, and a late message until it arrives, count as
/// faults to what is promised some time after the last one.
///
/// Part of a schedule, so a field keeps its meaning for ever.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The number of nodes.
    pub nodes: u32,
    /// How long the run lasts.
    pub time_us: u64,
    /// Until when faults begin and the network is noisy; 0 is half of the run. A shrunk run ends
    /// where it fails, which is no reason for its faults to come at other times.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub noise_us: u64,
    /// The least delay of a message; with `races`, one that lost a race may take less.
    pub delay_min_us: u64,
    /// The greatest delay of a message outside the tail.
    pub delay_max_us: u64,
    /// How delays are spread between the two.
    #[serde(default)]
    pub shape: Shape,
    /// Links whose messages take another time than that, never less than the least of the link.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkDelay>,
    /// Whether the messages on their way to a node draw their times anew when one of them arrives:
    /// those that lost the race (partial order sampling).
    #[serde(default, skip_serializing_if = "is_false")]
    pub races: bool,
    /// How many messages in a million are in the tail.
    pub tail: u32,
    /// The greatest delay of a message in the tail.
    pub tail_max_us: u64,
    /// How many messages in a million are lost, each on its own.
    pub lose: u32,
    /// How many messages in a million begin a burst, in which their link loses everything.
    #[serde(default)]
    pub burst: u32,
    /// How long a burst lasts at most.
    #[serde(default)]
    pub burst_us: u64,
    /// How many datagrams in a million are lost.
    pub lose_datagram: u32,
    /// How many messages in a million arrive twice.
    pub duplicate: u32,
    /// Requests of clients drawn at most, of those that the scenario offers.
    #[serde(default, skip_serializing_if = "is_none")]
    pub requests: u32,
    /// Crashes planned at most.
    pub crashes: u32,
    /// Nodes that may be down at once.
    pub down_max: u32,
    /// How long a crashed node stays down at most; 0 means for ever.
    pub down_us: u64,
    /// How long it stays down at least, if it comes back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub down_min_us: u64,
    /// Partitions planned at most, one-way or both ways.
    pub partitions: u32,
    /// How long a partition lasts at most.
    pub partition_us: u64,
    /// Clogs planned at most: what goes to or from some nodes is held, and comes in the end.
    #[serde(default)]
    pub clogs: u32,
    /// How long a node is clogged at most. Nodes of one clog begin and end each on its own.
    #[serde(default)]
    pub clog_us: u64,
    /// Pauses planned at most: a node does nothing, and then finds everything that has come.
    #[serde(default)]
    pub pauses: u32,
    /// How long a pause lasts at most.
    #[serde(default)]
    pub pause_us: u64,
    /// How much a node's clock may be too fast or too slow, in parts in a million.
    #[serde(default)]
    pub drift: u32,
    /// How far the nodes' clocks may be apart from the start.
    #[serde(default)]
    pub skew_us: u64,
    /// Jumps of clocks planned at most, always forward: a node's time never runs backwards.
    #[serde(default)]
    pub jumps: u32,
    /// How far a clock jumps at most.
    #[serde(default)]
    pub jump_us: u64,
    /// Nodes that start later than the others, at most.
    #[serde(default)]
    pub joins: u32,
    /// Nodes that leave for good, at most: they say good-bye, and nothing returns.
    #[serde(default)]
    pub leaves: u32,
    /// Nodes that become traitors, at most: they lie, or fall silent while their links are up.
    #[serde(default)]
    pub traitors: u32,
    /// Faults of disks planned at most, each of one of the kinds in `disk_faults`.
    #[serde(default, skip_serializing_if = "is_none")]
    pub disks: u32,
    /// What a disk may do wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disk_faults: Vec<DiskFault>,
    /// How long a disk has no room, or lies, at most.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub disk_us: u64,
}

impl Settings {
    /// Nodes that a simulated cluster may have at most.
    pub const NODES_MAX: u32 = 10_000;

    /// No faults: `nodes` nodes, delays of 1 to 10 ms, 20 s.
    #[must_use]
    pub const fn calm(nodes: u32) -> Self {
        Self {
            nodes,
            time_us: 20_000_000,
            noise_us: 0,
            delay_min_us: 1_000,
            delay_max_us: 10_000,
            shape: Shape::Uniform,
            links: Vec::new(),
            races: false,
            tail: 0,
            tail_max_us: 0,
            lose: 0,
            burst: 0,
            burst_us: 0,
            lose_datagram: 0,
            duplicate: 0,
            requests: 0,
            crashes: 0,
            down_max: 0,
            down_us: 0,
            down_min_us: 0,
            partitions: 0,
            partition_us: 0,
            clogs: 0,
            clog_us: 0,
            pauses: 0,
            pause_us: 0,
            drift: 0,
            skew_us: 0,
            jumps: 0,
            jump_us: 0,
            joins: 0,
            leaves: 0,
            traitors: 0,
            disks: 0,
            disk_faults: Vec::new(),
            disk_us: 0,
        }
    }

    /// Exactly what `model` says that the algorithm survives.
    ///
    /// # Panics
    ///
    /// If `nodes` is 0, or above [`Settings::NODES_MAX`].
    #[must_use]
    #[track_caller]
    pub fn within(model: &Model, nodes: u32) -> Self {
        Self::expect_nodes(nodes);
        let mut settings = Self { lose_datagram: 10_000, ..Self::calm(nodes) };
        match model.delay_max() {
            Some(bound) => settings.delay_max_us = micros(bound).max(1_000),
            None => settings.delay(Duration::from_millis(10)),
        }
        if let Timing::PartiallySynchronous { delay_max } = model.timing {
            settings.delay(delay_max);
        }
        if model.timing == Timing::Asynchronous {
            // Without a bound on delays, a slow link and a slow node are nothing new.
            (settings.clogs, settings.clog_us) = (2, 2_000_000);
            (settings.pauses, settings.pause_us) = (2, 2_000_000);
        }
        if model.down_max(nodes as usize) > 0 {
            settings.crash(model);
        }
        settings.traitors = narrow(model.traitors_max(nodes as usize)).min(nodes - 1);
        if model.links == Links::FairLoss {
            (settings.lose, settings.duplicate) = (50_000, 50_000);
        }
        settings
    }

    /// Lets a run go on, and a node that comes back be down, for longer than what is promised `within` a time
    /// may take: else nobody would see whether the promise is kept, or kept without those that are down.
    pub(crate) fn outlast(&mut self, within: Duration) {
        let within_us = micros(within);
        if self.time_us / 2 < within_us {
            self.time_us = within_us.saturating_mul(3);
        }
        if 0 < self.down_us {
            self.down_us = self.down_us.max(within_us.saturating_mul(3) / 2);
        }
    }

    /// Adds a kind of fault, whether or not the model allows it. Returns the assumptions that this
    /// breaks, if any.
    pub fn add(&mut self, fault: Fault, model: &Model) -> Vec<Assumption> {
        let lossy = model.links == Links::FairLoss;
        let timed = matches!(model.timing, Timing::Synchronous { .. });
        let usual = model.delay_max().unwrap_or(Duration::from_millis(10));
        let (fine, broken) = match fault {
            Fault::Crash => {
                self.crash(model);
                let tolerated = model.down_max(self.nodes as usize);
                ((self.down_max as usize) <= tolerated, Assumption::FaultBound)
            }
            Fault::Partition => {
                (self.partitions, self.partition_us) = (2, 5_000_000);
                (false, Assumption::NoPartition)
            }
            Fault::Loss => {
                self.lose = 50_000;
                (lossy, Assumption::NoLoss)
            }
            Fault::Burst => {
                (self.burst, self.burst_us) = (5_000, 2_000_000);
                (lossy, Assumption::NoLoss)
            }
            Fault::Duplication => {
                self.duplicate = 50_000;
                (lossy, Assumption::NoDuplication)
            }
            Fault::Delay => {
                self.delay(usual);
                (!timed, Assumption::BoundedDelay)
            }
            Fault::Clog => {
                (self.clogs, self.clog_us) = (2, 3_000_000);
                (!timed, Assumption::BoundedDelay)
            }
            Fault::Pause => {
                (self.pauses, self.pause_us) = (2, 3_000_000);
                (!timed, Assumption::BoundedDelay)
            }
            Fault::Clock => {
                (self.drift, self.skew_us) = (100_000, 1_000_000);
                (self.jumps, self.jump_us) = (2, 5_000_000);
                (!timed, Assumption::ExactClocks)
            }
            Fault::Join => {
                self.joins = self.nodes.div_ceil(2);
                let recovers = matches!(model.faults, Faults::CrashRecovery(_));
                (recovers, Assumption::StartTogether)
            }
            Fault::Leave => (self.leave(model), Assumption::FaultBound),
            Fault::Byzantine => self.betray(model),
            Fault::DiskOnly(fault) => self.spoil(fault, model),
            Fault::Disk => return self.spoil_all(model),
        };
        (!fine).then_some(broken).into_iter().collect()
    }

    /// Nodes leave for good. Returns whether the model tolerates as many that are down.
    fn leave(&mut self, model: &Model) -> bool {
        self.leaves = 2;
        let tolerated = model.down_max(self.nodes as usize);
        self.down_max = self.down_max.max(narrow(tolerated.max(1)).min(self.nodes - 1));
        (self.down_max as usize) <= tolerated
    }

    /// Disks fail in every way. Returns the assumptions that this breaks.
    fn spoil_all(&mut self, model: &Model) -> Vec<Assumption> {
        let each = DiskFault::ALL.into_iter().map(|fault| self.spoil(fault, model));
        let mut broken: Vec<Assumption> =
            each.filter(|(fine, _)| !fine).map(|(_, broken)| broken).collect();
        broken.sort_unstable();
        broken.dedup();
        broken
    }

    /// How long a crashed node stays down, if `draw` draws a number below its argument; 0 is for ever.
    pub(crate) fn time_down(&self, draw: impl FnOnce(u64) -> u64) -> u64 {
        let least = self.down_min_us.max(1);
        match self.down_us {
            0 => 0,
            most => least + draw((most + 1).saturating_sub(least)),
        }
    }

    /// Whether one more node may go bad while so many are down or traitors.
    pub(crate) fn may_betray(&self, bad: usize) -> bool {
        bad < self.down_max.max(self.traitors) as usize
    }

    /// How many nodes of a cluster of another size may be down at once: a world within the model stays
    /// within it, and one beyond it leaves one node up, if there is more than one.
    pub(crate) fn down_max_of(&self, nodes: u32, model: &Model) -> u32 {
        let beyond = model.down_max(self.nodes as usize) < self.down_max as usize;
        let tolerated = narrow(model.down_max(nodes as usize));
        self.down_max.min(if beyond { (nodes - 1).max(1) } else { tolerated })
    }

    /// How many traitors a cluster of another size may have: a world within the model stays within
    /// it, and one beyond it leaves one node at least that is none.
    pub(crate) fn traitors_of(&self, nodes: u32, model: &Model) -> u32 {
        let beyond = model.traitors_max(self.nodes as usize) < self.traitors as usize;
        let tolerated = narrow(model.traitors_max(nodes as usize));
        self.traitors.min(if beyond { u32::MAX } else { tolerated }).min(nodes - 1)
    }

    /// The kinds of faults that may happen, by name.
    #[must_use]
    pub fn kinds(&self) -> Vec<&'static str> {
        let on = |kind: Fault| match kind {
            Fault::Crash => self.crashes,
            Fault::Partition => self.partitions,
            Fault::Loss => self.lose,
            Fault::Burst => self.burst,
            Fault::Duplication => self.duplicate,
            Fault::Delay => self.tail,
            Fault::Clog => self.clogs,
            Fault::Pause => self.pauses,
            Fault::Clock => self.drift | self.jumps,
            Fault::Join => self.joins,
            Fault::Leave => self.leaves,
            Fault::Byzantine => self.traitors,
            Fault::DiskOnly(fault) if self.disk_faults.contains(&fault) => self.disks,
            // The kinds of faults that disks have are told one by one.
            Fault::Disk | Fault::DiskOnly(_) => 0,
        };
        Fault::ALL.iter().filter(|(_, kind)| 0 < on(*kind)).map(|(name, _)| *name).collect()
    }

    /// Until when the network is noisy.
    #[inline]
    pub(crate) fn noisy_until_us(&self) -> u64 {
        let noise = self.tail | self.lose | self.burst | self.duplicate;
        if noise == 0 { 0 } else { self.faults_until_us() }
    }

    /// Until when faults may begin.
    pub(crate) fn faults_until_us(&self) -> u64 {
        if self.noise_us == 0 { self.time_us / 2 } else { self.noise_us }
    }

    /// The fields that turn a kind of fault, or the clients' requests, off at 0.
    pub(crate) const SWITCHES: [fn(&mut Self) -> &mut u32; 16] = [
        |it| &mut it.requests,
        |it| &mut it.tail,
        |it| &mut it.lose,
        |it| &mut it.burst,
        |it| &mut it.lose_datagram,
        |it| &mut it.duplicate,
        |it| &mut it.crashes,
        |it| &mut it.partitions,
        |it| &mut it.clogs,
        |it| &mut it.pauses,
        |it| &mut it.drift,
        |it| &mut it.jumps,
        |it| &mut it.joins,
        |it| &mut it.leaves,
        |it| &mut it.traitors,
        |it| &mut it.disks,
    ];

    /// Kinds of noise that are on, links that are not as the others, and faults and requests that are
    /// planned, added up.
    pub(crate) fn faults(&self) -> u64 {
        let noise =
            [self.tail, self.lose, self.burst, self.lose_datagram, self.duplicate, self.drift];
        let planned = [
            self.requests,
            self.crashes,
            self.partitions,
            self.clogs,
            self.pauses,
            self.jumps,
            self.joins,
            self.leaves,
            self.traitors,
            self.disks,
        ];
        let noise = noise.into_iter().map(|rate| u64::from(0 < rate));
        let planned = planned.into_iter().map(u64::from);
        u64::from(self.races) + self.links.len() as u64 + noise.chain(planned).sum::<u64>()
    }

    fn crash(&mut self, model: &Model) {
        self.crashes = 3;
        self.go_down(model);
    }

    /// Whether the model allows the traitors, and what they break if not.
    fn betray(&mut self, model: &Model) -> (bool, Assumption) {
        let tolerated = model.traitors_max(self.nodes as usize);
        self.traitors = narrow(tolerated.max(1)).min(self.nodes - 1);
        let byzantine = matches!(model.faults, Faults::Byzantine(_));
        let beyond = if byzantine { Assumption::FaultBound } else { Assumption::HonestNodes };
        ((self.traitors as usize) <= tolerated, beyond)
    }

    /// A disk that fails ends its node, as a crash does; one that is damaged does more.
    fn spoil(&mut self, fault: DiskFault, model: &Model) -> (bool, Assumption) {
        (self.disks, self.disk_us) = (3, 5_000_000);
        if !self.disk_faults.contains(&fault) {
            self.disk_faults.push(fault);
        }
        self.go_down(model);
        let tolerated = model.down_max(self.nodes as usize);
        let within = (self.down_max as usize) <= tolerated;
        match fault.damages() {
            true => (false, Assumption::KeptDisk),
            false => (within, Assumption::FaultBound),
        }
    }

    /// Nodes may be down: as many as the model allows, one at least.
    fn go_down(&mut self, model: &Model) {
        let tolerated = model.down_max(self.nodes as usize).max(1);
        let most = narrow(tolerated).min(self.nodes - 1).max(1);
        self.down_max = self.down_max.max(most);
        if self.down_us == 0 {
            self.down_us = match model.faults {
                // A Byzantine model counts the nodes that ever fail: one that comes back stays one.
                Faults::CrashStop(_) | Faults::Byzantine(_) => 0,
                Faults::None | Faults::CrashRecovery(_) => 5_000_000,
            };
        }
    }

    /// One message in twenty takes up to a hundred times the usual bound: stale messages are
    /// what bugs are made of, and delays of a few timeouts hide them. The last of them is there well before the end of
    /// the run: no promise is held against a run that ends sooner.
    fn delay(&mut self, usual: Duration) {
        let most_us = (self.time_us / 4).max(micros(usual));
        (self.tail, self.tail_max_us) = (50_000, micros(usual).saturating_mul(100).min(most_us));
    }
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
fn is_none(planned: &u32) -> bool {
    *planned == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests;
