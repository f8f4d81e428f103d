//! One file: what is durable, what a process reads, and what lies between the two.

use std::collections::BTreeMap;

use super::Decide;

/// Bytes of a sector: what a disk writes as a whole.
pub(super) const SECTOR: usize = 512;
/// Versions of a sector, and lengths of a file, between two syncs that are kept apart.
const VERSIONS_MAX: usize = 4;

/// A file as the operating system holds it.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    durable: Vec<u8>,
    cached: Vec<u8>,
    /// The sectors written since the last sync, each with what it held in between.
    unsynced: BTreeMap<usize, Vec<Vec<u8>>>,
    /// The lengths that the file had since the last sync, the present one left out.
    lengths: Vec<usize>,
    /// Whether the length has changed since the last sync.
    is_resized: bool,
}

impl File {
    pub(super) fn cached(&self) -> &[u8] {
        &self.cached
    }

    pub(super) fn size(&self) -> u64 {
        self.cached.len() as u64
    }

    pub(super) fn durable_size(&self) -> u64 {
        self.durable.len() as u64
    }

    pub(super) fn durable_sectors(&self) -> usize {
        self.durable.len().div_ceil(SECTOR)
    }

    pub(super) fn unsynced_sectors(&self) -> Vec<usize> {
        self.unsynced.keys().copied().collect()
    }

    pub(super) fn cached_sector(&self, sector: usize) -> Vec<u8> {
        sector_of(&self.cached, sector)
    }

    pub(super) fn durable_sector(&self, sector: usize) -> Vec<u8> {
        sector_of(&self.durable, sector)
    }

    pub(super) fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            let before = sector_of(&self.cached, sector);
            match self.unsynced.entry(sector) {
                std::collections::btree_map::Entry::Vacant(free) => {
                    free.insert(Vec::new());
                }
                std::collections::btree_map::Entry::Occupied(mut versions) => {
                    if versions.get().len() < VERSIONS_MAX {
                        versions.get_mut().push(before);
                    }
                }
            }
        }
        if self.cached.len() < end {
            self.resize(end);
        }
        if let Some(place) = self.cached.get_mut(offset..end) {
            place.copy_from_slice(bytes);
        }
    }

    pub(super) fn empty(&mut self) {
        if !self.cached.is_empty() {
            self.resize(0);
        }
    }

    fn resize(&mut self, length: usize) {
        if self.lengths.len() < VERSIONS_MAX {
            self.lengths.push(self.cached.len());
        }
        self.is_resized = true;
        self.cached.resize(length, 0);
    }

    /// Writes what was written since the last sync, and nothing else: what a sync before could not
    /// write is not tried again.
    pub(super) fn sync(&mut self) {
        let length = if self.is_resized { self.cached.len() } else { self.durable.len() };
        for sector in self.unsynced.keys() {
            put(&mut self.durable, *sector, &sector_of(&self.cached, *sector));
        }
        self.durable.resize(length, 0);
        self.forget_versions();
    }

    /// Writes the rest, and forgets what was read.
    pub(super) fn write_back(&mut self) {
        self.sync();
        self.cached.clone_from(&self.durable);
    }

    fn forget_versions(&mut self) {
        self.unsynced.clear();
        self.lengths.clear();
        self.is_resized = false;
    }

    /// Any part is written; the rest never will be. A process may go on reading what it wrote.
    pub(super) fn fail_to_sync(&mut self, decide: &mut dyn Decide) {
        self.settle(decide);
        if 0 < decide.choose("disk.forget", 2) {
            self.cached.clone_from(&self.durable);
        }
    }

    /// Returns how much was lost, in sectors and lengths.
    pub(super) fn lose_power(&mut self, decide: &mut dyn Decide) -> u64 {
        let lost = self.settle(decide);
        self.cached.clone_from(&self.durable);
        lost
    }

    /// Decides which version of each sector, and which length, is durable.
    fn settle(&mut self, decide: &mut dyn Decide) -> u64 {
        let mut lost = 0;
        let mut content = self.durable.clone();
        for (sector, between) in &self.unsynced {
            // The latest one, those in between from the last to the first, the durable one.
            let chosen = decide.choose("disk.keep", between.len() as u64 + 2);
            lost += u64::from(0 < chosen);
            let chosen = usize::try_from(chosen).unwrap_or(0);
            let survivor = match chosen {
                0 => Some(sector_of(&self.cached, *sector)),
                _ => between.iter().rev().nth(chosen - 1).cloned(),
            };
            if let Some(survivor) = survivor {
                put(&mut content, *sector, &survivor);
            }
        }
        let length = if self.is_resized {
            let chosen = decide.choose("disk.length", self.lengths.len() as u64 + 1);
            lost += u64::from(0 < chosen);
            let chosen = usize::try_from(chosen).unwrap_or(0);
            let earlier = chosen.checked_sub(1).and_then(|index| self.lengths.get(index));
            earlier.copied().unwrap_or(self.cached.len())
        } else {
            self.durable.len()
        };
        content.resize(length, 0);
        self.durable = content;
        self.forget_versions();
        lost
    }

    /// Changes what is durable behind the back of whoever reads through the cache.
    pub(super) fn overwrite(&mut self, sector: usize, content: &[u8]) {
        let length = self.durable.len();
        put(&mut self.durable, sector, content);
        self.durable.resize(length, 0);
    }

    /// Flips bits of a byte on the disk; the memory of the operating system forgets the file, so
    /// that the next one who reads sees it.
    pub(super) fn flip(&mut self, byte: usize, bits: u8) {
        for content in [&mut self.durable, &mut self.cached] {
            if let Some(byte) = content.get_mut(byte) {
                *byte ^= bits;
            }
        }
    }
}

/// A sector of a file, filled up with zeros.
fn sector_of(content: &[u8], sector: usize) -> Vec<u8> {
    let from = (sector * SECTOR).min(content.len());
    let to = (from + SECTOR).min(content.len());
    let mut copy = content.get(from..to).unwrap_or_default().to_vec();
    copy.resize(SECTOR, 0);
    copy
}

fn put(content: &mut Vec<u8>, sector: usize, bytes: &[u8]) {
    let end = (sector + 1) * SECTOR;
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(place) = content.get_mut(end - SECTOR..end) {
        place.copy_from_slice(bytes);
    }
}
