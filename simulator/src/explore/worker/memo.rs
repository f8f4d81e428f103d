//! What came of handler activations, as far as it pays to remember it.

use std::hash::{Hash, Hasher};

use super::Folding;
use super::activation::{Key, Move, Way};
use crate::explore::segments::Segments;

/// Moves by what led to them. How many are remembered follows how often they are asked for.
pub(super) struct Memo {
    index: Index,
    /// Those that are more than a plain change of the local state.
    entries: Segments<Entry, 16>,
    /// The lists of all entries, one after the other.
    lists: Vec<u32>,
    /// With so many, all are forgotten, or the bound is doubled.
    bound: usize,
    /// How often one was asked for that was known, since then.
    hits: usize,
}

/// A move that is remembered, until room is made for others: twice the local state that it leads to, if
/// that is all there is to it, or one more than twice the number of its entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At(u32);

impl At {
    /// # Panics
    ///
    /// From 2^31 local states on.
    fn plain(place: u32) -> Self {
        Self(place.checked_mul(2).expect("fewer than 2^31 local states"))
    }

    fn entry(number: usize) -> Self {
        let number = u32::try_from(number).ok().and_then(|number| number.checked_mul(2));
        Self(number.expect("fewer than 2^31 moves") + 1)
    }

    /// The local state that it leads to, if that is all there is to it.
    #[inline]
    pub(super) fn only_place(self) -> Option<u32> {
        (self.0 & 1 == 0).then_some(self.0 / 2)
    }

    fn number(self) -> usize {
        (self.0 / 2) as usize
    }
}

/// What came of it. Of `lists` it has the way, what was asked, and what was sent.
struct Entry {
    place: u32,
    /// `UNTOLD`, or what was indicated.
    told: u32,
    had: u32,
    begin: u32,
    way: u16,
    asked: u16,
    sent: u32,
}

/// Moves by the hash of what leads to them, by open addressing: most of an exploration is to look here, so
/// it does little more than that.
#[derive(Default)]
struct Index {
    places: Vec<(Key, At)>,
    taken: usize,
}

const FREE: (Key, At) = (Key::NONE, At(0));

impl Index {
    #[inline(always)]
    fn find(&self, key: Key, hash: u64, is_same: impl Fn(At) -> bool) -> Option<At> {
        let mask = self.places.len().wrapping_sub(1);
        let mut at = home(hash, mask);
        loop {
            match self.places.get(at) {
                Some((other, moved)) if *other == key && is_same(*moved) => return Some(*moved),
                Some((other, _)) if *other != Key::NONE => at = (at + 1) & mask,
                _ => return None,
            }
        }
    }

    /// Takes in what it does not have.
    fn insert(&mut self, key: Key, moved: At, hash_of: impl Fn(Key, At) -> u64) {
        self.taken += 1;
        if 2 * self.places.len() < 3 * self.taken {
            let more = PLACES_MIN.max(2 * self.places.len());
            let old = std::mem::replace(&mut self.places, vec![FREE; more]);
            for (key, moved) in old.into_iter().filter(|(key, _)| *key != Key::NONE) {
                self.place(key, moved, hash_of(key, moved));
            }
        }
        self.place(key, moved, hash_of(key, moved));
    }

    fn place(&mut self, key: Key, moved: At, hash: u64) {
        let mask = self.places.len() - 1;
        let mut at = home(hash, mask);
        while self.places.get(at).is_some_and(|(other, _)| *other != Key::NONE) {
            at = (at + 1) & mask;
        }
        if let Some(place) = self.places.get_mut(at) {
            *place = (key, moved);
        }
    }

    fn clear(&mut self) {
        self.places.fill(FREE);
        self.taken = 0;
    }
}

/// Where to begin to look; `mask` is one less than a power of two.
fn home(hash: u64, mask: usize) -> usize {
    usize::try_from(hash & mask as u64).unwrap_or(0)
}

/// Places at first.
const PLACES_MIN: usize = 1 << 5;

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
        let (entries, index, lists) = (Segments::default(), Index::default(), Vec::new());
        Self { entries, index, lists, bound: BOUND, hits: 0 }
    }
}

impl Memo {
    /// Forgets all that is known, if there is too much of it.
    #[inline]
    pub(super) fn make_room(&mut self) {
        if self.bound <= self.index.taken {
            self.forget();
        }
    }

    #[cold]
    fn forget(&mut self) {
        let count = self.index.taken;
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
        self.index.clear();
        self.lists.clear();
    }

    #[inline(always)] // Nearly every transition looks here, and in a way that is known where it does.
    pub(super) fn find(&mut self, key: Key, way: Way<'_>) -> Option<At> {
        let is_same = |at: At| match at.only_place() {
            Some(_) => way.is_calm(),
            None => self.entry(at).is(way, &self.lists),
        };
        let known = self.index.find(key, hash(key, way), is_same);
        self.hits += usize::from(known.is_some());
        known
    }

    #[inline]
    fn entry(&self, at: At) -> &Entry {
        self.entries.get(at.number()).expect("no room was made since it was found")
    }

    /// What is remembered here.
    #[inline]
    pub(super) fn at(&self, at: At) -> Move<'_> {
        if let Some(place) = at.only_place() {
            return Move::plain(place);
        }
        let entry = self.entry(at);
        let [asked, sent] = [entry.way, entry.way + entry.asked].map(usize::from);
        let begin = entry.begin as usize;
        let sends = self.lists.get(begin + sent..).and_then(|it| it.get(..entry.sent as usize));
        Move {
            place: entry.place,
            asked: self.lists.get(begin + asked..begin + sent).unwrap_or_default(),
            had: entry.had as usize,
            sends: sends.unwrap_or_default(),
            told: (entry.told != UNTOLD).then_some(entry.told),
        }
    }

    /// Takes in what is not known yet.
    ///
    /// # Panics
    ///
    /// If a handler asks 2^16 questions, or has 2^32 effects; from 2^31 local states on.
    pub(super) fn insert(&mut self, key: Key, way: Way<'_>, moved: Move<'_>) -> At {
        let at = if moved.is_plain() && way.is_calm() {
            At::plain(moved.place)
        } else {
            self.push(way, moved)
        };
        let Self { index, entries, lists, .. } = self;
        index.insert(key, at, |key, at| {
            let entry = at.only_place().is_none().then(|| entries.get(at.number())).flatten();
            hash(key, entry.map_or(Way::CALM, |entry| entry.way(lists)))
        });
        at
    }

    fn push(&mut self, way: Way<'_>, moved: Move<'_>) -> At {
        let number = |count: usize| u32::try_from(count).expect("fewer than 2^32");
        let few = |count: usize| u16::try_from(count).expect("fewer than 2^16 questions");
        let Self { entries, lists, .. } = self;
        let begin = number(lists.len());
        way.pack(lists);
        let packed = few(lists.len() - begin as usize);
        lists.extend_from_slice(moved.asked);
        lists.extend_from_slice(moved.sends);
        let Move { place, had, .. } = moved;
        let told = moved.told.unwrap_or(UNTOLD);
        let (asked, sent) = (few(moved.asked.len()), number(moved.sends.len()));
        let had = number(had);
        entries.push(Entry { place, told, had, begin, way: packed, asked, sent });
        At::entry(entries.len() - 1)
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

#[cfg(test)]
mod tests {
    use super::super::activation::What;
    use super::*;

    #[test]
    fn what_was_inserted_is_found_until_room_is_made() {
        let mut memo = Memo::default();
        let key = |number: u32| Key::of(number % 7, What::Parcel(number / 2));
        let way = |choices| Way { choices, cut: None };
        let ways = [way(&[]), way(&[1]), way(&[1, 0]), Way { choices: &[], cut: Some(0) }];
        let all = || (0..).zip(ways.into_iter().cycle()).take(BOUND);
        for (number, way) in all() {
            memo.make_room();
            assert!(memo.find(key(number), way).is_none(), "{number}");
            let (asked, sends) = (way.choices, &[number, 7][..]);
            memo.insert(key(number), way, Move { place: number, asked, had: 0, sends, told: None });
        }
        for (number, way) in all() {
            let at = memo.find(key(number), way).expect("it was inserted");
            let moved = memo.at(at);
            let expected = (number, way.choices, &[number, 7][..]);
            assert_eq!((moved.place, moved.asked, moved.sends), expected);
        }
        memo.make_room();
        assert!(all().all(|(number, way)| memo.find(key(number), way).is_none()));
    }
}
