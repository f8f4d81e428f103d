//! What nodes make durable, and what of it survives them.
//!
//! A durable write is a barrier: it is durable once something behind it has left the node. What
//! nothing has left behind may be lost in a crash, the last first. Where no disk fails, records are
//! kept as they are. Where disks may fail, each node has the log of a deployed one on a disk of its
//! own, and every byte of it is there.

use std::any::Any;
use std::sync::Arc;

use synod_core::durable::{DurableLog, LogError, is_replaced};
use synod_core::{Effect, Envelope, EventId, NodeId, Stack};

use super::World;
use crate::choice::{About, Label, Stream};
use crate::disk::{Decide, DiskFault, DiskFaults, SimulatedDisk};
use crate::queue::{Crash, Happening};

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
    /// Faults that wait for their occasion.
    due: Vec<DiskFault>,
    /// Until when there is no room, and for how many bytes in all there is.
    full_until_us: u64,
    room: u64,
    /// Until when no sync is made that is claimed.
    lying_until_us: u64,
    is_damaged: bool,
}

/// The run's stream, lent to the disk of a node.
#[derive(Debug)]
struct LentTo(NodeId, Box<Stream>);

impl Decide for LentTo {
    fn choose(&mut self, what: &'static str, options: u64) -> u64 {
        self.1.choose(Label { what, about: About::Node(self.0) }, options)
    }

    fn chance(&mut self, what: &'static str, per_million: u32) -> bool {
        // What is certain is no question.
        per_million == CERTAIN
            || self.1.chance(Label { what, about: About::Node(self.0) }, per_million)
    }
}

impl<T: Stack> World<'_, T> {
    /// Makes durable what the effects of a step ask for. Returns the crash of a node whose disk
    /// has failed; its effects end where they would have left behind a write that is not durable.
    #[inline]
    pub(super) fn write_down(&mut self, node: NodeId, effects: &mut Vec<Effect>) -> Option<Crash> {
        let writes = effects
            .iter()
            .any(|effect| matches!(effect, Effect::Persist(_) | Effect::Checkpoint { .. }));
        let disk = self.places[node].rare().map(|rare| &rare.disk);
        if !writes && disk.is_none_or(|disk| disk.pending.is_empty()) {
            return None;
        }
        self.write_all_down(node, effects)
    }

    #[inline(never)]
    fn write_all_down(&mut self, node: NodeId, effects: &mut Vec<Effect>) -> Option<Crash> {
        for (index, effect) in effects.iter().enumerate() {
            let pending = &mut self.places[node].rare_mut().disk.pending;
            match effect {
                Effect::Persist(record) => {
                    let (record, replaces) = (record.clone(), Arc::new([]));
                    pending.push(Write { record, replaces });
                }
                Effect::Checkpoint { record, replaces } => {
                    let (record, replaces) = (record.clone(), Arc::clone(replaces));
                    pending.push(Write { record, replaces });
                }
                _ => {
                    if let Err(error) = self.settle_disk(node) {
                        effects.truncate(index);
                        return Some(self.crash_of_disk(node, &error));
                    }
                }
            }
        }
        None
    }

    /// Makes durable what is pending, or claims to.
    fn settle_disk(&mut self, node: NodeId) -> Result<(), LogError> {
        let NodeDisk { records, pending, .. } = &mut self.places[node].rare_mut().disk;
        if pending.is_empty() {
            return Ok(());
        }
        if self.settings.disks == 0 {
            pending.drain(..).for_each(|write| apply(records, write));
            return Ok(());
        }
        let writes = std::mem::take(pending);
        let may_end = self.may_crash(node);
        self.use_disk(node, may_end, |faulty| faulty.write(writes))
    }

    /// Lets the node's log do its work on a disk on which the faults happen that are due. Those
    /// that end the node wait until it `may_end`.
    fn use_disk<V>(
        &mut self,
        node: NodeId,
        may_end: bool,
        work: impl FnOnce(&mut Faulty) -> Result<V, LogError>,
    ) -> Result<V, LogError> {
        self.rot(node);
        let (now_us, is_over) = (self.now_us, self.settings.faults_until_us() <= self.now_us);
        let faulty = self.faulty(node);
        if is_over {
            faulty.due.clear();
        }
        let before = faulty.disk.injected();
        let due = std::mem::take(&mut faulty.due).into_iter();
        let (now, later): (Vec<DiskFault>, _) = due.partition(|it| may_end || it.damages());
        faulty.due = later;
        let room = (may_end && now_us < faulty.full_until_us).then_some(faulty.room);
        let sync_lies = if now_us < faulty.lying_until_us { CERTAIN } else { 0 };
        faulty.disk.set_faults(DiskFaults { room, sync_lies, ..DiskFaults::default() });
        faulty.disk.arm(now);
        let result = self.on_disk(node, work);
        let faulty = self.faulty(node);
        faulty.due.extend(faulty.disk.disarm());
        let happened = faulty.disk.injected().since(before);
        happened.for_each(|fault| self.tell_disk_fault(node, fault, fault.words()));
        result
    }

    /// Lets the run's stream decide what the disk does in `work`.
    fn on_disk<V>(&mut self, node: NodeId, work: impl FnOnce(&mut Faulty) -> V) -> V {
        let stream = self.stream.lend_open();
        let faulty = self.faulty(node);
        let idle = faulty.disk.decide_by(Box::new(LentTo(node, stream)));
        let result = work(faulty);
        let lent: Box<dyn Any> = faulty.disk.decide_by(idle);
        let LentTo(_, stream) = *lent.downcast().expect("the disk gives back what it was lent");
        self.stream.take_back(Some(stream));
        result
    }

    fn faulty(&mut self, node: NodeId) -> &mut Faulty {
        self.places[node].rare_mut().disk.faulty.get_or_insert_with(Faulty::new)
    }

    fn ask_for_disk(&mut self, node: NodeId, what: &'static str, options: u64) -> u64 {
        self.stream.choose(Label { what, about: About::Node(node) }, options)
    }

    fn tell_disk_fault(&mut self, node: NodeId, fault: DiskFault, words: impl Into<String>) {
        self.disturb(0);
        self.disk_faults.push(fault);
        self.tell_fault(node, words.into());
    }

    /// A planned fault of a disk begins. What damages it does so only where another node may be
    /// down: the node may not come back.
    pub(super) fn spoil_disk(&mut self, node: NodeId, fault: DiskFault, length_us: u64) {
        if fault.damages() {
            if !self.may_crash(node) {
                return;
            }
            self.faulty(node).is_damaged = true;
        }
        let until_us = self.now_us + length_us;
        match fault {
            DiskFault::Full => {
                let left = self.ask_for_disk(node, "disk.room", ROOM_MAX);
                let faulty = self.faulty(node);
                (faulty.full_until_us, faulty.room) = (until_us, faulty.disk.used() + left);
            }
            DiskFault::Lie => self.faulty(node).lying_until_us = until_us,
            _ => self.faulty(node).due.push(fault),
        }
        self.rot(node);
    }

    /// Rot waits only for something to be there.
    fn rot(&mut self, node: NodeId) {
        let faulty = self.faulty(node);
        if let Some(index) = faulty.due.iter().position(|it| *it == DiskFault::Rot)
            && let Some((file, byte)) = self.on_disk(node, |faulty| faulty.disk.rot())
        {
            self.faulty(node).due.remove(index);
            let words = format!("a bit of {file} flips, in byte {byte}");
            self.tell_disk_fault(node, DiskFault::Rot, words);
        }
    }

    /// A node that cannot write ends, and comes back as after any crash.
    fn crash_of_disk(&mut self, node: NodeId, error: &LogError) -> Crash {
        if !matches!(error, LogError::Disk(_)) {
            self.tell_fault(node, format!("ends: {error}"));
        }
        let settings = self.settings;
        let down_us = settings.time_down(|most| self.ask_for_disk(node, "disk.down", most));
        Crash { node, after: 0, losing: false, in_start: false, down_us }
    }

    /// The node is gone, and what was not durable may be gone with it.
    pub(super) fn lose_power(&mut self, node: NodeId) {
        let NodeDisk { records, pending, faulty } = &mut self.places[node].rare_mut().disk;
        let label = Label { what: "disk.kept", about: About::Node(node) };
        if !pending.is_empty() {
            let lost = self.stream.choose_aside(label, pending.len() as u64 + 1);
            let kept = pending.len() - usize::try_from(lost).unwrap_or(0);
            pending.truncate(kept);
        }
        if self.settings.disks == 0 {
            pending.drain(..).for_each(|write| apply(records, write));
            return;
        }
        let writes = std::mem::take(pending);
        if !writes.is_empty() {
            let copies = writes.iter().any(|write| !write.replaces.is_empty());
            let operations = if copies { OPERATIONS_OF_COPY } else { OPERATIONS_OF_SYNC };
            let within = self.ask_for_disk(node, "disk.within", operations);
            self.on_disk(node, |faulty| faulty.die_writing(writes, within));
        } else if faulty.is_none() {
            return;
        }
        self.on_disk(node, |faulty| faulty.disk.power_cut());
        self.faulty(node).is_open = false;
    }

    /// The records that a node finds when it comes back; `None` if its log does not open, and the
    /// node stays down: for now if the disk refused, for ever if it is damaged.
    pub(super) fn recover_disk(&mut self, node: NodeId) -> Option<Vec<Envelope>> {
        let NodeDisk { records, faulty, .. } = &self.places[node].rare_mut().disk;
        if faulty.is_none() {
            return Some(records.clone());
        }
        let error = match self.use_disk(node, true, Faulty::open) {
            Ok(records) => return Some(records),
            Err(error) => error,
        };
        if matches!(error, LogError::Disk(_)) {
            let again_us = (self.now_us + AGAIN_AFTER_US).max(self.faulty(node).full_until_us);
            self.queue.add(again_us, Happening::Restart(node));
            self.tell_fault(node, format!("does not come back yet: {error}"));
        } else {
            self.tell_fault(node, format!("does not come back: {error}"));
        }
        None
    }
}

impl NodeDisk {
    /// Whether what is on it may be other than what was written.
    pub(super) fn is_damaged(&self) -> bool {
        self.faulty.as_ref().is_some_and(|faulty| faulty.is_damaged)
    }
}

impl Faulty {
    fn new() -> Box<Self> {
        let disk = SimulatedDisk::seeded(DiskFaults::default(), 0);
        let log = DurableLog::new(Box::new(disk.clone()));
        Box::new(Self {
            disk,
            log,
            is_open: false,
            due: Vec::new(),
            full_until_us: 0,
            room: 0,
            lying_until_us: 0,
            is_damaged: false,
        })
    }

    /// Begins a life of the node. Returns the records that are found.
    fn open(&mut self) -> Result<Vec<Envelope>, LogError> {
        self.log = DurableLog::new(Box::new(self.disk.clone()));
        let opened = self.log.open()?;
        self.is_open = true;
        Ok(opened.records)
    }

    /// Writes and syncs.
    fn write(&mut self, writes: Vec<Write>) -> Result<(), LogError> {
        if !self.is_open {
            self.open()?;
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

    /// The process dies within so many of the operations that these writes take, or after them.
    fn die_writing(&mut self, writes: Vec<Write>, within: u64) {
        self.disk.set_faults(DiskFaults::default());
        self.disk.die_after(within);
        // Whether it was written to the end is what the next life finds out.
        let _cut_short = self.write(writes);
    }
}

fn apply(records: &mut Vec<Envelope>, Write { record, replaces }: Write) {
    records.retain(|old| !is_replaced(old, &record, &replaces));
    records.push(record);
}

/// As chances in a million.
const CERTAIN: u32 = 1_000_000;
/// How long a node waits whose disk has refused to be read before it tries again.
const AGAIN_AFTER_US: u64 = 1_000_000;
/// Bytes that a full disk has left, at most: the next record may fit in part.
const ROOM_MAX: u64 = 64;
/// What a sync takes: to write the log, to sync it, to write the note.
const OPERATIONS_OF_SYNC: u64 = 3;
/// What a log that is written anew takes, the records before it included.
const OPERATIONS_OF_COPY: u64 = 10;
