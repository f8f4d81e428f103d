//! What nodes make durable, and what of it survives them.
//!
//! A durable write is a barrier: it is durable once something behind it has left the node. What
//! nothing has left behind may be lost in a crash, the last first. Where no disk fails, records are
//! kept as they are. Where disks may fail, each node has the log of a deployed one on a disk of its
//! own, and every byte of it is there.

use std::sync::{Arc, Mutex};

use synod_core::durable::{DurableLog, is_replaced};
use synod_core::{Effect, Envelope, EventId, NodeId, Stack};

use super::{World, lock};
use crate::choice::{About, Label, Stream};
use crate::disk::{Decide, DiskFaults, SimulatedDisk};
use crate::queue::Crash;
use crate::settings::Settings;

/// The disk of a node.
#[derive(Debug, Default)]
pub(super) struct NodeDisk {
    records: Vec<Envelope>,
    /// Writes that nothing has left behind, in the order of asking.
    pending: Vec<Write>,
    /// Where disks may fail: the log, and what it is on.
    faulty: Option<Box<Faulty>>,
}

#[derive(Debug)]
struct Write {
    record: Envelope,
    replaces: Arc<[EventId]>,
}

#[derive(Debug)]
struct Faulty {
    disk: SimulatedDisk,
    log: DurableLog,
    is_open: bool,
}

/// Decides what a node's disk does from the run's stream.
#[derive(Debug)]
struct FromStream(Arc<Mutex<Stream>>, NodeId);

impl Decide for FromStream {
    fn choose(&mut self, what: &'static str, options: u64) -> u64 {
        lock(&self.0).choose(Label { what, about: About::Node(self.1) }, options)
    }

    fn chance(&mut self, what: &'static str, per_million: u32) -> bool {
        lock(&self.0).chance(Label { what, about: About::Node(self.1) }, per_million)
    }
}

impl Settings {
    /// Whether disks may do anything but their work.
    fn has_faulty_disks(&self) -> bool {
        0 < self.sync_fail | self.sync_lie | self.rot
    }
}

impl<T: Stack> World<'_, T> {
    /// Makes durable what the effects of a step ask for. Returns the crash of a node whose disk
    /// has failed; its effects end where they would have left behind a write that is not durable.
    pub(super) fn write_down(&mut self, node: NodeId, effects: &mut Vec<Effect>) -> Option<Crash> {
        let writes = effects
            .iter()
            .any(|effect| matches!(effect, Effect::Persist(_) | Effect::Checkpoint { .. }));
        if !writes && self.places[node].disk.pending.is_empty() {
            return None;
        }
        for (index, effect) in effects.iter().enumerate() {
            let pending = &mut self.places[node].disk.pending;
            match effect {
                Effect::Persist(record) => {
                    let (record, replaces) = (record.clone(), Arc::new([]));
                    pending.push(Write { record, replaces });
                }
                Effect::Checkpoint { record, replaces } => {
                    let (record, replaces) = (record.clone(), Arc::clone(replaces));
                    pending.push(Write { record, replaces });
                }
                _ if self.settle_disk(node) => (),
                _ => {
                    effects.truncate(index);
                    return Some(self.crash_of_disk(node));
                }
            }
        }
        None
    }

    /// Makes durable what is pending. Returns whether the disk did so, or claims it.
    fn settle_disk(&mut self, node: NodeId) -> bool {
        if self.places[node].disk.pending.is_empty() {
            return true;
        }
        if !self.settings.has_faulty_disks() {
            let NodeDisk { records, pending, .. } = &mut self.places[node].disk;
            pending.drain(..).for_each(|write| apply(records, write));
            return true;
        }
        let faults = self.disk_faults();
        let NodeDisk { pending, faulty, .. } = &mut self.places[node].disk;
        let faulty = faulty.get_or_insert_with(|| Faulty::new(self.stream, node));
        faulty.disk.set_faults(faults);
        let settled = faulty.write(pending.drain(..)).is_ok();
        faulty.disk.set_faults(DiskFaults::default());
        settled
    }

    /// What the disks may do now: fail and lie in the first half of a run, and fail only where
    /// another node may be down.
    fn disk_faults(&self) -> DiskFaults {
        if self.settings.time_us / 2 <= self.now_us {
            return DiskFaults::default();
        }
        let sync_fails = if self.may_crash() { self.settings.sync_fail } else { 0 };
        DiskFaults { sync_fails, sync_lies: self.settings.sync_lie, ..DiskFaults::default() }
    }

    /// A node that cannot write ends, and comes back as after any crash.
    fn crash_of_disk(&mut self, node: NodeId) -> Crash {
        self.tell_fault(node, String::from("its disk fails to sync"));
        let label = Label { what: "disk.down", about: About::Node(node) };
        let down_us = match self.settings.down_us {
            0 => 0,
            most => 1 + lock(self.stream).choose(label, most),
        };
        Crash { node, after: 0, losing: false, in_start: false, down_us }
    }

    /// The node is gone, and what was not durable may be gone with it.
    pub(super) fn lose_power(&mut self, node: NodeId) {
        let NodeDisk { records, pending, faulty } = &mut self.places[node].disk;
        let label = Label { what: "disk.kept", about: About::Node(node) };
        if !pending.is_empty() {
            let lost = lock(self.stream).choose_aside(label, pending.len() as u64 + 1);
            let kept = pending.len() - usize::try_from(lost).unwrap_or(0);
            pending.truncate(kept);
        }
        if !self.settings.has_faulty_disks() {
            pending.drain(..).for_each(|write| apply(records, write));
            return;
        }
        if pending.is_empty() && faulty.is_none() {
            return;
        }
        let faulty = faulty.get_or_insert_with(|| Faulty::new(self.stream, node));
        // A calm disk has no reason to fail.
        let _written = faulty.write(pending.drain(..));
        faulty.disk.set_faults(DiskFaults { rot: self.settings.rot, ..DiskFaults::default() });
        faulty.disk.power_cut();
        faulty.disk.set_faults(DiskFaults::default());
        faulty.is_open = false;
    }

    /// The records that a node finds when it comes back; `None` if its log refuses to open, and
    /// the node stays down.
    pub(super) fn recover_disk(&mut self, node: NodeId) -> Option<Vec<Envelope>> {
        let NodeDisk { records, faulty, .. } = &mut self.places[node].disk;
        let Some(faulty) = faulty else {
            return Some(records.clone());
        };
        faulty.log = DurableLog::new(Box::new(faulty.disk.clone()));
        match faulty.log.open() {
            Ok(opened) => {
                faulty.is_open = true;
                Some(opened.records)
            }
            Err(error) => {
                self.tell_fault(node, format!("does not come back: {error}"));
                None
            }
        }
    }
}

impl Faulty {
    fn new(stream: &Arc<Mutex<Stream>>, node: NodeId) -> Box<Self> {
        let decide = FromStream(Arc::clone(stream), node);
        let disk = SimulatedDisk::new(DiskFaults::default(), Box::new(decide));
        let log = DurableLog::new(Box::new(disk.clone()));
        Box::new(Self { disk, log, is_open: false })
    }

    /// Writes and syncs.
    fn write(
        &mut self,
        writes: impl Iterator<Item = Write>,
    ) -> Result<(), synod_core::durable::LogError> {
        if !self.is_open {
            self.log.open()?;
            self.is_open = true;
        }
        for Write { record, replaces } in writes {
            if replaces.is_empty() {
                self.log.append(&record)?;
            } else {
                self.log.checkpoint(&record, &replaces)?;
            }
        }
        self.log.sync()
    }
}

fn apply(records: &mut Vec<Envelope>, Write { record, replaces }: Write) {
    records.retain(|old| !is_replaced(old, &record, &replaces));
    records.push(record);
}
