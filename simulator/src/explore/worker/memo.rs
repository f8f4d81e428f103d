//! What came of handler activations, as far as it pays to remember it.

use std::hash::{Hash, Hasher};

use hashbrown::HashTable;

use super::Folding;
use super::activation::{Key, Move, Way};
use crate::explore::segments::Segments;

/// Moves by what led to them. How many are remembered follows how often they are asked for.
pub(super) struct Memo {
    entries: Segments<Entry, 32>,
    /// Where in `entries` each one is.
    places: HashTable<u32>,
    /// The lists of all entries, one after the other.
    lists: Vec<u32>,
    /// With so many, all are forgotten, or the bound is doubled.
    bound: usize,
    /// How often one was asked for that was known, since then.
    hits: usize,
}

/// Where a move is remembered, until room is made for others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At(u32);

/// A key and what came of it. Of `lists` it has the way, what was asked, and what was sent.
struct Entry {
    shift: u128,
    key: Key,
    place: u32,
    /// `UNTOLD`, or what was indicated.
    told: u32,
    had: u32,
    begin: u32,
    way: u16,
    asked: u16,
    sent: u32,
}

/// Nothing was indicated.
const UNTOLD: u32 = u32::MAX;

/// The bound at first.
const BOUND: usize = 1 << 12;
/// Where nothing comes again, remembering costs more than it saves.
const BOUND_MIN: usize = 1 << 6;
/// What is forgotten and comes again is soon known again.
const BOUND_MAX: usize = 1 << 16;

impl Default for Memo {
    fn default() -> Self {
        let (entries, places, lists) = (Segments::default(), HashTable::new(), Vec::new());
        Self { entries, places, lists, bound: BOUND, hits: 0 }
    }
}

impl Memo {
    /// Forgets all that is known, if there is too much of it.
    pub(super) fn make_room(&mut self) {
        if self.bound <= self.places.len() {
            self.forget();
        }
    }

    fn forget(&mut self) {
        let count = self.places.len();
        let hits = std::mem::take(&mut self.hits);
        if 2 * count <= hits && self.bound < BOUND_MAX {
            self.bound *= 2;
            return;
        }
        if 2 * hits < count && BOUND_MIN < self.bound {
            let bound = BOUND_MIN.max(self.bound / 2);
            *self = Self { bound, ..Self::default() };
            return;
        }
        self.entries.clear();
        self.places.clear();
        self.lists.clear();
    }

    #[inline]
    pub(super) fn find(&mut self, key: Key, way: Way<'_>) -> Option<At> {
        let Self { entries, places, lists, .. } = &*self;
        let is_same = |at: &u32| {
            entries.get(*at as usize).is_some_and(|it| it.key == key && it.is(way, lists))
        };
        let known = places.find(hash(key, way), is_same).copied();
        self.hits += usize::from(known.is_some());
        known.map(At)
    }

    /// What is remembered here.
    #[inline]
    pub(super) fn at(&self, At(at): At) -> Move<'_> {
        let entry = self.entries.get(at as usize).expect("no room was made since it was found");
        let [asked, sent] = [entry.way, entry.way + entry.asked].map(usize::from);
        let begin = entry.begin as usize;
        let sends = self.lists.get(begin + sent..).and_then(|it| it.get(..entry.sent as usize));
        Move {
            place: entry.place,
            asked: self.lists.get(begin + asked..begin + sent).unwrap_or_default(),
            had: entry.had as usize,
            sends: sends.unwrap_or_default(),
            shift: entry.shift,
            told: (entry.told != UNTOLD).then_some(entry.told),
        }
    }

    /// Takes in what is not known yet.
    ///
    /// # Panics
    ///
    /// If a handler asks 2^16 questions, or has 2^32 effects.
    pub(super) fn insert(&mut self, key: Key, way: Way<'_>, moved: Move<'_>) -> At {
        let number = |count: usize| u32::try_from(count).expect("fewer than 2^32");
        let few = |count: usize| u16::try_from(count).expect("fewer than 2^16 questions");
        let Self { entries, places, lists, .. } = self;
        let (at, begin) = (number(entries.len()), number(lists.len()));
        way.pack(lists);
        let packed = few(lists.len() - begin as usize);
        lists.extend_from_slice(moved.asked);
        lists.extend_from_slice(moved.sends);
        let Move { place, had, shift, .. } = moved;
        let told = moved.told.unwrap_or(UNTOLD);
        let (asked, sent) = (few(moved.asked.len()), number(moved.sends.len()));
        let had = number(had);
        entries.push(Entry { shift, key, place, told, had, begin, way: packed, asked, sent });
        let hash_of = |at: &u32| {
            entries.get(*at as usize).map_or(0, |entry| hash(entry.key, entry.way(lists)))
        };
        places.insert_unique(hash(key, way), at, hash_of);
        At(at)
    }
}

impl Entry {
    fn is(&self, way: Way<'_>, lists: &[u32]) -> bool {
        if self.way == 0 { way.is_calm() } else { self.way(lists) == way }
    }

    fn way<'l>(&self, lists: &'l [u32]) -> Way<'l> {
        let packed = lists.get(self.begin as usize..).unwrap_or_default();
        Way::unpack(packed.get(..usize::from(self.way)).unwrap_or_default())
    }
}

fn hash(key: Key, way: Way<'_>) -> u64 {
    let mut hasher = Folding::default();
    key.hash(&mut hasher);
    if !way.is_calm() {
        hasher.write_u32(way.cut.unwrap_or(u32::MAX));
        way.choices.iter().for_each(|choice| hasher.write_u32(*choice));
    }
    hasher.finish()
}
