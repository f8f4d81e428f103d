//! Where the search has been.

use xxhash_rust::xxh3::xxh3_64;

/// How often open operations of each kind were used, ascending by kind; kinds that were not used
/// are left out.
pub(super) type Uses = Vec<(u32, u32)>;

/// Whether `one` uses no more of anything than `other`.
pub(super) fn within(one: &[(u32, u32)], other: &[(u32, u32)]) -> bool {
    let mut rest = other.iter();
    one.iter().all(|(kind, count)| rest.any(|(it, most)| it == kind && count <= most))
}

/// The uses with `count` of `kind`.
pub(super) fn with(uses: &[(u32, u32)], kind: u32, count: u32) -> Uses {
    let mut uses = uses.to_vec();
    match uses.binary_search_by_key(&kind, |(it, _)| *it) {
        Ok(place) => uses.iter_mut().skip(place).take(1).for_each(|(_, it)| *it = count),
        Err(place) => uses.insert(place, (kind, count)),
    }
    uses
}

/// The configurations that were visited: what has its place and the state, with the least uses of
/// open operations. Found by hash, and compared exactly behind it.
#[derive(Debug, Default)]
pub(super) struct Memo {
    /// Places in `entries`, one more than there are; 0 is free.
    slots: Vec<u32>,
    entries: Vec<Entry>,
    words: Vec<u32>,
    kept: usize,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    start: usize,
    end: usize,
    least: Vec<Least>,
}

/// Uses, with a bit for each of their kinds, or for several: most others are told apart by these alone.
#[derive(Debug)]
struct Least {
    kinds: u64,
    uses: Uses,
}

impl Least {
    fn new(uses: &[(u32, u32)]) -> Self {
        let kinds = uses.iter().fold(0, |kinds, (kind, _)| kinds | 1 << (kind % 64));
        Self { kinds, uses: uses.to_vec() }
    }

    /// Whether this uses no more of anything than `other`.
    fn is_within(&self, other: &Self) -> bool {
        self.kinds & !other.kinds == 0 && within(&self.uses, &other.uses)
    }
}

impl Memo {
    /// Configurations to remember at most: some hundred bytes each.
    pub(super) const KEPT_MAX: usize = 1 << 22;

    /// Whether this configuration has anything new: none that was visited has used less. Then it
    /// counts as visited.
    pub(super) fn visit(&mut self, key: &[u32], uses: &[(u32, u32)]) -> bool {
        let hash = hash_of(key);
        let known = self.find(hash, key);
        let new = Least::new(uses);
        if let Some(entry) = known.and_then(|place| self.entries.get_mut(place)) {
            let least = &mut entry.least;
            if least.iter().any(|visited| visited.is_within(&new)) {
                return false;
            }
            let before = least.len();
            least.retain(|visited| !new.is_within(visited));
            least.push(new);
            self.kept = self.kept + least.len() - before;
            return true;
        }
        let start = self.words.len();
        self.words.extend_from_slice(key);
        let end = self.words.len();
        self.entries.push(Entry { hash, start, end, least: vec![new] });
        self.kept += 1;
        if self.slots.len() < 2 * self.entries.len() {
            self.grow();
        } else {
            self.place(hash, self.entries.len());
        }
        true
    }

    /// How many configurations are remembered.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    fn find(&self, hash: u64, key: &[u32]) -> Option<usize> {
        self.walk(hash).map_while(|slot| self.entry_at(slot)).find(|place| {
            self.entries.get(*place).is_some_and(|entry| {
                entry.hash == hash && self.words.get(entry.start..entry.end) == Some(key)
            })
        })
    }

    /// The slots in which an entry of that hash may stand, in the order of looking.
    fn walk(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let mask = self.slots.len().saturating_sub(1);
        let slots = self.slots.len();
        let start = usize::try_from(hash & u64::from(u32::MAX)).unwrap_or(0);
        (0..slots).map(move |further| (start + further) & mask)
    }

    fn entry_at(&self, slot: usize) -> Option<usize> {
        (*self.slots.get(slot)? as usize).checked_sub(1)
    }

    /// Lets a free slot lead to the entry of that hash and number, counted from 1.
    fn place(&mut self, hash: u64, number: usize) {
        let number = u32::try_from(number).expect("bounded by KEPT_MAX");
        let free = self.walk(hash).find(|slot| self.slots.get(*slot) == Some(&0));
        if let Some(slot) = free.and_then(|free| self.slots.get_mut(free)) {
            *slot = number;
        }
    }

    fn grow(&mut self) {
        self.slots = vec![0; (2 * self.slots.len()).max(64)];
        let hashes: Vec<u64> = self.entries.iter().map(|entry| entry.hash).collect();
        for (number, hash) in (1..).zip(hashes) {
            self.place(hash, number);
        }
    }
}

fn hash_of(key: &[u32]) -> u64 {
    let mut bytes = [0_u8; 256];
    let mut hash = key.len() as u64;
    for part in key.chunks(64) {
        let mut end = 0;
        for (place, word) in bytes.chunks_exact_mut(4).zip(part) {
            place.copy_from_slice(&word.to_le_bytes());
            end += 4;
        }
        hash = hash.rotate_left(23) ^ xxh3_64(bytes.get(..end).unwrap_or_default());
    }
    hash
}
