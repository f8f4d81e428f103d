//! The store of a deployed node over the disk of the simulator: what was acknowledged survives
//! whatever a disk may do to it, or the store refuses and says so.

use bytes::Bytes;
use synod_core::durable::LogError;
use synod_core::{Envelope, EventId, Instance, Random, Tag};
use synod_runtime::{FileStore, Opened, Store, StoreError};
use synod_simulator::{DiskFaults, Injected, SimulatedDisk};

const VOTE: EventId = EventId::of("store.vote");
const TERM: EventId = EventId::of("store.term");

/// What is asked of a store.
#[derive(Clone, Debug)]
enum Write {
    Append(Envelope),
    Checkpoint(Envelope, Vec<EventId>),
}

/// A disk, and what a store has written to it in all lives of its node.
#[derive(Debug)]
struct Run {
    disk: SimulatedDisk,
    random: Random,
    /// The records after each of the writes so far: the first entry is before any of them.
    states: Vec<Vec<Envelope>>,
    /// How many writes are acknowledged: a sync behind them has returned.
    acknowledged: usize,
    incarnation: u64,
    written: u32,
}

impl Run {
    fn new(seed: u64, faults: DiskFaults) -> Self {
        Self {
            disk: SimulatedDisk::seeded(faults, !seed),
            random: Random::new(seed),
            states: vec![Vec::new()],
            acknowledged: 0,
            incarnation: 0,
            written: 0,
        }
    }

    fn store(&self) -> FileStore {
        FileStore::over("simulated", Box::new(self.disk.clone()))
    }

    /// A write that was not there before, so that no two states look alike.
    fn draw(&mut self) -> Write {
        self.written += 1;
        let event = if self.random.below(2) == 0 { VOTE } else { TERM };
        let instance = Instance::of_key(self.random.below(2));
        // Some are larger than a few sectors, and the number is in every part of them.
        let words = if self.random.below(8) == 0 { 600 } else { 20 };
        let words = 1 + self.random.below(words);
        let body: Vec<u8> = (0..words).flat_map(|_| self.written.to_le_bytes()).collect();
        let record = Envelope::from_parts(event, instance, Tag::Plain, Bytes::from(body));
        if self.random.below(6) == 0 {
            return Write::Checkpoint(record, vec![VOTE]);
        }
        Write::Append(record)
    }

    fn note(&mut self, write: &Write) {
        let mut next = self.states.last().cloned().unwrap_or_default();
        match write {
            Write::Append(record) => next.push(record.clone()),
            Write::Checkpoint(record, replaces) => {
                next.retain(|old| {
                    old.instance() != record.instance() || !replaces.contains(&old.event())
                });
                next.push(record.clone());
            }
        }
        self.states.push(next);
    }

    /// How many writes a store has found.
    ///
    /// # Panics
    ///
    /// If it is not the outcome of the first so many writes.
    fn held(&self, opened: &Opened) -> usize {
        let held = self.states.iter().rposition(|state| *state == opened.records);
        held.unwrap_or_else(|| panic!("a mixture: {:?}", opened.records))
    }

    /// Opens a store, and writes until it fails or has written enough. Whatever it finds has to be
    /// all that was acknowledged, and perhaps more.
    fn live(&mut self) -> Result<(), StoreError> {
        let mut store = self.store();
        let opened = store.open()?;
        let held = self.held(&opened);
        assert!(self.acknowledged <= held, "{held} writes of {}", self.acknowledged);
        assert!(self.incarnation < opened.incarnation, "life {} again", opened.incarnation);
        self.incarnation = opened.incarnation;
        self.states.truncate(held + 1);
        // What a node comes up with is acknowledged: it may speak of it at once.
        self.acknowledged = held;
        for _ in 0..self.random.below(12) {
            let write = self.draw();
            self.note(&write);
            match &write {
                Write::Append(record) => store.append(record)?,
                Write::Checkpoint(record, replaces) => store.checkpoint(record, replaces)?,
            }
            if self.random.below(2) == 0 {
                store.sync()?;
                self.acknowledged = self.states.len() - 1;
            }
        }
        Ok(())
    }

    /// Some lives without faults.
    fn calm(&mut self, lives: u32) {
        self.disk.set_faults(DiskFaults::default());
        for _ in 0..lives {
            self.live().expect("a calm disk");
        }
    }

    fn crash(&mut self) {
        if self.random.below(3) == 0 { self.disk.restart() } else { self.disk.power_cut() }
    }
}

/// Adds up what happened to the disks of all runs.
fn add(total: &mut Injected, one: Injected) {
    total.power_cuts += one.power_cuts;
    total.lost += one.lost;
    total.sync_fails += one.sync_fails;
    total.sync_lies += one.sync_lies;
    total.stale += one.stale;
    total.misplaced += one.misplaced;
    total.rotten += one.rotten;
    total.read_fails += one.read_fails;
    total.full += one.full;
}

/// Whether an error says where and what to do.
fn is_named(error: &StoreError) -> bool {
    let StoreError::Log { cause, .. } = error else {
        return false;
    };
    match cause {
        LogError::Damaged { file, .. } => {
            let text = error.to_string();
            text.contains(file) && text.contains("at byte") && text.contains("put back a backup")
        }
        LogError::Format { .. } => true,
        _ => false,
    }
}

#[test]
fn whatever_survives_a_crash_at_any_operation_nothing_acknowledged_is_lost_or_mixed() {
    let mut total = Injected::default();
    for seed in 0..1_500 {
        let mut run = Run::new(seed, DiskFaults::default());
        for _ in 0..6 {
            run.disk.die_after(run.random.below(30));
            let lived = run.live();
            assert!(lived.is_ok() || run.disk.is_off(), "seed {seed}: {lived:?}");
            run.crash();
        }
        run.calm(1);
        add(&mut total, run.disk.injected());
    }
    assert!(3_000 < total.power_cuts && 5_000 < total.lost, "{total:?}");
}

#[test]
fn a_failed_sync_loses_nothing_acknowledged_even_if_the_pages_read_well_afterwards() {
    let faults = DiskFaults { sync_fails: 60_000, ..DiskFaults::default() };
    let mut total = Injected::default();
    for seed in 0..800 {
        let mut run = Run::new(seed, faults);
        for _ in 0..8 {
            let before = run.disk.injected().sync_fails;
            let lived = run.live();
            let failed = before < run.disk.injected().sync_fails;
            assert_eq!(lived.is_err(), failed, "seed {seed}: {lived:?}");
            run.crash();
        }
        run.calm(1);
        add(&mut total, run.disk.injected());
    }
    assert!(800 < total.sync_fails, "{total:?}");
}

#[test]
fn a_full_disk_acknowledges_nothing_and_the_store_opens_again_once_there_is_room() {
    let mut total = Injected::default();
    for seed in 0..400 {
        let room = Some(2_000 + 10 * seed);
        let mut run = Run::new(seed, DiskFaults { room, ..DiskFaults::default() });
        for _ in 0..8 {
            if let Err(error) = run.live() {
                let told = error.to_string();
                assert!(told.contains("no space left") && told.contains("make room"), "{told}");
            }
            run.crash();
        }
        run.calm(1);
        add(&mut total, run.disk.injected());
    }
    assert!(400 < total.full, "{total:?}");
}

#[test]
fn a_disk_that_cannot_read_is_no_empty_disk() {
    let mut failures = 0;
    for seed in 0..200 {
        let mut run = Run::new(seed, DiskFaults::default());
        run.calm(2);
        run.disk.set_faults(DiskFaults { read_fails: 300_000, ..DiskFaults::default() });
        for _ in 0..3 {
            failures += u64::from(run.live().is_err());
            run.disk.power_cut();
        }
        run.calm(1);
    }
    assert!(150 < failures, "{failures}");
}

#[test]
fn a_rotten_bit_is_harmless_or_refused_by_name() {
    let (mut harmless, mut refused) = (0, 0);
    for seed in 0..1_500 {
        let mut run = Run::new(seed, DiskFaults::default());
        run.calm(2);
        run.disk.switch_off();
        let place = run.disk.rot();
        match run.store().open() {
            Ok(opened) => {
                let held = run.held(&opened);
                assert!(run.acknowledged <= held, "seed {seed}: {place:?}");
                harmless += 1;
            }
            Err(error) => {
                assert!(is_named(&error), "seed {seed}: {error}");
                refused += 1;
            }
        }
    }
    assert!(100 < harmless && 500 < refused, "{harmless} harmless, {refused} refused");
}

#[test]
fn a_sector_that_is_stale_or_in_the_wrong_place_is_harmless_or_refused_by_name() {
    let (mut harmless, mut refused, mut total) = (0, 0, Injected::default());
    for seed in 0..1_500 {
        let mut run = Run::new(seed, DiskFaults::default());
        run.calm(1);
        let (sector_stale, sector_misplaced) = (100_000, 100_000);
        run.disk.set_faults(DiskFaults { sector_stale, sector_misplaced, ..DiskFaults::default() });
        run.live().expect("nobody has noticed");
        // Its last words were written back in order: the note tells what there has to be.
        run.disk.set_faults(DiskFaults::default());
        run.disk.switch_off();
        match run.store().open() {
            Ok(opened) => {
                let held = run.held(&opened);
                assert!(run.acknowledged <= held, "seed {seed}: {held} of {}", run.acknowledged);
                harmless += 1;
            }
            Err(error) => {
                assert!(is_named(&error), "seed {seed}: {error}");
                refused += 1;
            }
        }
        add(&mut total, run.disk.injected());
    }
    assert!(200 < harmless && 200 < refused, "{harmless} harmless, {refused} refused");
    assert!(300 < total.stale && 300 < total.misplaced, "{total:?}");
}

#[test]
fn damage_and_a_loss_of_power_together_never_give_a_mixture() {
    let (mut served, mut refused) = (0, 0);
    for seed in 0..1_500 {
        let mut run = Run::new(seed, DiskFaults::default());
        run.calm(1);
        let (sector_stale, sector_misplaced, rot) = (50_000, 50_000, 500_000);
        let faults = DiskFaults { sector_stale, sector_misplaced, rot, ..DiskFaults::default() };
        run.disk.set_faults(faults);
        run.live().expect("nobody has noticed");
        run.disk.power_cut();
        match run.store().open() {
            Ok(opened) => {
                run.held(&opened);
                served += 1;
            }
            Err(error) => {
                assert!(is_named(&error), "seed {seed}: {error}");
                refused += 1;
            }
        }
    }
    assert!(300 < served && 300 < refused, "{served} served, {refused} refused");
}

#[test]
fn a_sync_that_lied_leaves_a_prefix_or_a_refusal() {
    let (mut shorter, mut refused, mut whole) = (0, 0, 0);
    for seed in 0..1_500 {
        let mut run = Run::new(seed, DiskFaults::default());
        run.calm(1);
        run.disk.set_faults(DiskFaults { sync_lies: 300_000, ..DiskFaults::default() });
        run.live().expect("nobody has noticed");
        run.disk.set_faults(DiskFaults::default());
        run.disk.power_cut();
        match run.store().open() {
            Ok(opened) if run.held(&opened) < run.acknowledged => shorter += 1,
            Ok(_) => whole += 1,
            Err(error) => {
                assert!(is_named(&error), "seed {seed}: {error}");
                refused += 1;
            }
        }
    }
    assert!(50 < shorter && 50 < refused && 50 < whole, "{shorter} {refused} {whole}");
}
