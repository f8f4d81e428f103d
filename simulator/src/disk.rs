//! A disk that loses, tears, lies and rots.
//!
//! What is written is in the memory of the operating system until it is synced, sector by sector,
//! with names and lengths of files apart from contents. A loss of power keeps of it what was
//! synced, and of the rest any part. What happens is decided by a [`Decide`]: the choice stream of
//! a simulated run, or the generator of a test. Choice 0 is always the calm one.
//!
//! It knows nothing of logs.

mod fault;
mod file;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use synod_core::Random;
use synod_core::durable::{Disk, DiskError, DiskErrorKind};

pub use fault::{DiskFault, Injected};
use file::File;

/// Who decides what a disk does. One that is lent to it is known again by [`Any`].
pub trait Decide: Any + Debug + Send {
    /// A number below `options`, at least 1; 0 is calm. `what` names the decision.
    fn choose(&mut self, what: &'static str, options: u64) -> u64;

    /// Whether something happens that is not calm, with `per_million` chances in a million.
    fn chance(&mut self, what: &'static str, per_million: u32) -> bool;
}

impl Decide for Random {
    fn choose(&mut self, _: &'static str, options: u64) -> u64 {
        self.below(options)
    }

    fn chance(&mut self, _: &'static str, per_million: u32) -> bool {
        0 < per_million && self.below(1_000_000) < u64::from(per_million)
    }
}

/// How often a disk fails, in chances in a million: see [`DiskFault`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DiskFaults {
    /// A sync returns an error. Any part was written; what was not never will be, and may read
    /// well all the same.
    pub sync_fails: u32,
    /// A sync claims to have written, and has not.
    pub sync_lies: u32,
    /// A sync leaves one sector as it was, and claims to have written it.
    pub sector_stale: u32,
    /// A sync writes one sector in the place of another one.
    pub sector_misplaced: u32,
    /// A loss of power, too, flips a bit of what was durable.
    pub rot: u32,
    /// A read returns an error.
    pub read_fails: u32,
    /// Bytes that the files may have together; `None` is no bound.
    pub room: Option<u64>,
}

/// A disk in memory. A clone is another handle to the same disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk(Arc<Mutex<Platter>>);

/// Which file a name stands for: a file outlives its name for as long as a name may come back.
type FileId = u64;

#[derive(Debug)]
struct Platter {
    decide: Box<dyn Decide>,
    faults: DiskFaults,
    /// Faults that happen once each, at the first occasion.
    armed: Vec<DiskFault>,
    files: BTreeMap<FileId, File>,
    names: BTreeMap<String, FileId>,
    durable_names: BTreeMap<String, FileId>,
    /// What was done to names since the last sync of names.
    pending: Vec<Naming>,
    made: FileId,
    operations: u64,
    /// The operation after which the process or the machine is gone.
    dies_after: Option<u64>,
    /// Whether it is gone.
    is_off: bool,
    injected: Injected,
}

#[derive(Clone, Debug)]
enum Naming {
    Make(String, FileId),
    Move(String, String, FileId),
    Remove(String),
}

impl SimulatedDisk {
    /// An empty disk with these faults, decided by `decide`.
    #[must_use]
    pub fn new(faults: DiskFaults, decide: Box<dyn Decide>) -> Self {
        Self(Arc::new(Mutex::new(Platter {
            decide,
            faults,
            armed: Vec::new(),
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
            made: 0,
            operations: 0,
            dies_after: None,
            is_off: false,
            injected: Injected::default(),
        })))
    }

    /// An empty disk with these faults, decided at random from `seed`.
    #[must_use]
    pub fn seeded(faults: DiskFaults, seed: u64) -> Self {
        Self::new(faults, Box::new(Random::new(seed)))
    }

    /// Another one decides from now on. Returns who did before.
    pub fn decide_by(&self, decide: Box<dyn Decide>) -> Box<dyn Decide> {
        std::mem::replace(&mut self.platter().decide, decide)
    }

    /// Other faults from now on.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.platter().faults = faults;
    }

    /// Lets each of `faults` happen once, at the first occasion, whatever the rates are. Lack of
    /// room and rot have no occasion: see [`DiskFaults::room`] and [`SimulatedDisk::rot`].
    pub fn arm(&self, faults: impl IntoIterator<Item = DiskFault>) {
        self.platter().armed.extend(faults);
    }

    /// Takes back the faults that were armed and have not happened.
    pub fn disarm(&self) -> Vec<DiskFault> {
        std::mem::take(&mut self.platter().armed)
    }

    /// Bytes that the files have together.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.platter().used()
    }

    /// Lets the process die within the operation after so many more: that one and all later ones
    /// return an error, until [`SimulatedDisk::power_cut`] or [`SimulatedDisk::restart`].
    pub fn die_after(&self, operations: u64) {
        let mut platter = self.platter();
        platter.dies_after = Some(platter.operations + operations);
    }

    /// Whether the process has died within an operation.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.platter().is_off
    }

    /// Operations so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.platter().operations
    }

    /// Faults so far.
    #[must_use]
    pub fn injected(&self) -> Injected {
        self.platter().injected
    }

    /// The machine loses power and comes back. Of what was not synced any part survives: each
    /// sector, length and name on its own.
    pub fn power_cut(&self) {
        self.platter().power_cut();
    }

    /// The process dies and comes back: all that was written is still there, synced or not.
    pub fn restart(&self) {
        self.platter().turn_on();
    }

    /// The machine is switched off in order and comes back: the operating system writes all that
    /// it holds, and forgets it.
    pub fn switch_off(&self) {
        let mut platter = self.platter();
        platter.files.values_mut().for_each(File::write_back);
        platter.durable_names = platter.names.clone();
        platter.pending.clear();
        platter.turn_on();
    }

    /// Flips one bit of what is durable, chosen among all files with a name. Returns the file and
    /// the byte, or nothing if all are empty.
    pub fn rot(&self) -> Option<(String, u64)> {
        self.platter().rot()
    }

    /// The bytes of a file as a process reads them, if there is one.
    #[must_use]
    pub fn bytes(&self, file: &str) -> Option<Vec<u8>> {
        let platter = self.platter();
        let id = platter.names.get(file)?;
        Some(platter.files.get(id)?.cached().to_vec())
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one operation, unless the process is gone.
    fn operate<T>(
        &self,
        action: &'static str,
        file: &str,
        work: impl FnOnce(&mut Platter) -> Result<T, Failure>,
    ) -> Result<T, DiskError> {
        let mut platter = self.platter();
        let failed = |(kind, what): Failure| DiskError {
            action,
            file: String::from(file),
            kind,
            what: String::from(what),
        };
        if platter.is_off {
            return Err(failed(GONE));
        }
        platter.operations += 1;
        let result = work(&mut platter);
        if platter.dies_after.is_some_and(|last| last < platter.operations) {
            platter.is_off = true;
            return Err(failed(GONE));
        }
        result.map_err(failed)
    }
}

/// Why an operation failed, without on what.
type Failure = (DiskErrorKind, &'static str);

const GONE: Failure = (DiskErrorKind::Failed, "the process is gone");
const MISSING: Failure = (DiskErrorKind::Missing, "no such file");
const FULL: Failure = (DiskErrorKind::Full, "no space left on the disk");
const BROKEN: Failure = (DiskErrorKind::Failed, "input/output error");

impl Platter {
    fn file(&mut self, name: &str) -> Result<&mut File, Failure> {
        let id = self.names.get(name).ok_or(MISSING)?;
        self.files.get_mut(id).ok_or(MISSING)
    }

    fn create(&mut self, name: &str) -> Result<(), Failure> {
        if let Ok(file) = self.file(name) {
            file.empty();
            return Ok(());
        }
        self.made += 1;
        self.files.insert(self.made, File::default());
        self.names.insert(String::from(name), self.made);
        self.pending.push(Naming::Make(String::from(name), self.made));
        Ok(())
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|id| self.files.get(id)).map(File::size).sum()
    }

    /// Whether a fault happens now: one that is armed if there is an occasion, or by its rate.
    fn strikes(&mut self, fault: DiskFault, occasion: bool, what: &'static str, rate: u32) -> bool {
        match self.armed.iter().position(|it| occasion && *it == fault) {
            Some(index) => {
                self.armed.remove(index);
                true
            }
            None => self.decide.chance(what, rate),
        }
    }

    fn write_at(&mut self, name: &str, offset: usize, bytes: &[u8]) -> Result<(), Failure> {
        let room = self.faults.room.map_or(u64::MAX, |room| room.saturating_sub(self.used()));
        let file = self.file(name)?;
        let end = file.cached().len().saturating_add(usize::try_from(room).unwrap_or(usize::MAX));
        let fits = end.saturating_sub(offset).min(bytes.len());
        file.write_at(offset, bytes.get(..fits).unwrap_or_default());
        if fits < bytes.len() {
            self.injected.full += 1;
            return Err(FULL);
        }
        if self.strikes(DiskFault::Torn, !bytes.is_empty(), "disk.torn", 0) {
            self.injected.torn += 1;
            self.is_off = true;
            return Err(GONE);
        }
        Ok(())
    }

    fn sync(&mut self, name: &str) -> Result<(), Failure> {
        let has_news = !self.file(name)?.unsynced_sectors().is_empty();
        let DiskFaults { sync_fails, sync_lies, sector_stale, sector_misplaced, .. } = self.faults;
        if self.strikes(DiskFault::Fail, true, "disk.fail", sync_fails) {
            self.injected.sync_fails += 1;
            let Self { decide, files, names, .. } = self;
            if let Some(file) = names.get(name).and_then(|id| files.get_mut(id)) {
                file.fail_to_sync(decide.as_mut());
            }
            return Err(BROKEN);
        }
        if self.strikes(DiskFault::Lie, has_news, "disk.lie", sync_lies) {
            self.injected.sync_lies += 1;
            return Ok(());
        }
        let stale = self.strikes(DiskFault::Stale, has_news, "disk.stale", sector_stale);
        let misplaced = self.strikes(
            DiskFault::Misplaced,
            has_news && !stale,
            "disk.misplace",
            sector_misplaced,
        );
        let skipped = (stale || misplaced).then(|| self.skip_one(name)).flatten();
        self.file(name)?.sync();
        if let Some((sector, old, new)) = skipped {
            self.file(name)?.overwrite(sector, &old);
            if misplaced {
                self.injected.misplaced += 1;
                self.misplace(&new);
            } else {
                self.injected.stale += 1;
            }
        }
        Ok(())
    }

    /// A sector of the file that is about to be written, as it was and as it should be.
    fn skip_one(&mut self, name: &str) -> Option<(usize, Vec<u8>, Vec<u8>)> {
        let sectors = self.file(name).ok()?.unsynced_sectors();
        let drawn = self.decide.choose("disk.sector", (sectors.len() as u64).max(1));
        let sector = *sectors.get(usize::try_from(drawn).ok()?)?;
        let file = self.file(name).ok()?;
        Some((sector, file.durable_sector(sector), file.cached_sector(sector)))
    }

    /// Puts a sector where another one is.
    fn misplace(&mut self, content: &[u8]) {
        let places: Vec<(FileId, usize)> = self
            .names
            .values()
            .filter_map(|id| Some((*id, self.files.get(id)?.durable_sectors())))
            .flat_map(|(id, sectors)| (0..sectors).map(move |sector| (id, sector)))
            .collect();
        let drawn = self.decide.choose("disk.sector", (places.len() as u64).max(1));
        if let Some((id, sector)) = places.get(usize::try_from(drawn).unwrap_or(0))
            && let Some(file) = self.files.get_mut(id)
        {
            file.overwrite(*sector, content);
        }
    }

    fn sync_names(&mut self) -> Result<(), Failure> {
        let DiskFaults { sync_fails, sync_lies, .. } = self.faults;
        if self.strikes(DiskFault::Fail, true, "disk.fail", sync_fails) {
            self.injected.sync_fails += 1;
            self.settle_names();
            return Err(BROKEN);
        }
        let has_news = !self.pending.is_empty();
        if self.strikes(DiskFault::Lie, has_news, "disk.lie", sync_lies) {
            self.injected.sync_lies += 1;
            return Ok(());
        }
        self.durable_names.clone_from(&self.names);
        self.pending.clear();
        Ok(())
    }

    /// Lets some of the changes of names become durable, and forgets the others.
    fn settle_names(&mut self) {
        for naming in std::mem::take(&mut self.pending) {
            if 0 < self.decide.choose("disk.name", 2) {
                self.injected.lost += 1;
                continue;
            }
            match naming {
                Naming::Make(name, id) => drop(self.durable_names.insert(name, id)),
                Naming::Remove(name) => drop(self.durable_names.remove(&name)),
                Naming::Move(from, to, id) => {
                    self.durable_names.retain(|name, it| *name != from || *it != id);
                    self.durable_names.insert(to, id);
                }
            }
        }
    }

    fn power_cut(&mut self) {
        self.injected.power_cuts += 1;
        let Self { decide, files, injected, .. } = self;
        for file in files.values_mut() {
            injected.lost += file.lose_power(decide.as_mut());
        }
        self.settle_names();
        self.names.clone_from(&self.durable_names);
        let named: Vec<FileId> = self.names.values().copied().collect();
        self.files.retain(|id, _| named.contains(id));
        if self.decide.chance("disk.rot", self.faults.rot) {
            self.rot();
        }
        self.turn_on();
    }

    fn turn_on(&mut self) {
        (self.is_off, self.dies_after) = (false, None);
    }

    fn rot(&mut self) -> Option<(String, u64)> {
        let sizes: Vec<(String, FileId, u64)> = self
            .names
            .iter()
            .filter_map(|(name, id)| Some((name.clone(), *id, self.files.get(id)?.durable_size())))
            .filter(|(_, _, size)| 0 < *size)
            .collect();
        let total: u64 = sizes.iter().map(|(_, _, size)| size).sum();
        let mut at = self.decide.choose("disk.rot.at", (8 * total).max(1));
        let (bit, mut byte) = (at % 8, 0);
        at /= 8;
        let (name, id) = sizes.into_iter().find_map(|(name, id, size)| {
            byte = at;
            (at < size).then_some((name, id)).or_else(|| {
                at -= size;
                None
            })
        })?;
        self.injected.rotten += 1;
        self.files.get_mut(&id)?.flip(usize::try_from(byte).ok()?, 1 << bit);
        Some((name, byte))
    }
}

impl Disk for SimulatedDisk {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        self.operate("list", DIRECTORY, |platter| Ok(platter.names.keys().cloned().collect()))
    }

    fn read(&mut self, file: &str) -> Result<Vec<u8>, DiskError> {
        self.operate("read", file, |platter| {
            let bytes = platter.file(file)?.cached().to_vec();
            let read_fails = platter.faults.read_fails;
            if platter.strikes(DiskFault::Read, true, "disk.read", read_fails) {
                platter.injected.read_fails += 1;
                return Err(BROKEN);
            }
            Ok(bytes)
        })
    }

    fn create(&mut self, file: &str) -> Result<(), DiskError> {
        self.operate("create", file, |platter| platter.create(file))
    }

    fn write_at(&mut self, file: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.operate("write", file, |platter| platter.write_at(file, offset, bytes))
    }

    fn sync(&mut self, file: &str) -> Result<(), DiskError> {
        self.operate("sync", file, |platter| platter.sync(file))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.operate("rename", from, |platter| {
            let id = platter.names.remove(from).ok_or(MISSING)?;
            platter.names.insert(String::from(to), id);
            platter.pending.push(Naming::Move(String::from(from), String::from(to), id));
            Ok(())
        })
    }

    fn sync_names(&mut self) -> Result<(), DiskError> {
        self.operate("sync", DIRECTORY, Platter::sync_names)
    }

    fn remove(&mut self, file: &str) -> Result<(), DiskError> {
        self.operate("remove", file, |platter| {
            platter.names.remove(file).ok_or(MISSING)?;
            platter.pending.push(Naming::Remove(String::from(file)));
            Ok(())
        })
    }
}

/// What an error calls the directory.
const DIRECTORY: &str = "the directory";

#[cfg(test)]
mod tests;
