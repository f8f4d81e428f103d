//! The fingerprints of the states that were visited.

use super::pool::high;

/// A set of fingerprints by open addressing: 16 bytes for each place, 55 to 75 % of them taken.
#[derive(Debug)]
pub(crate) struct Visited {
    /// By the upper bits of a fingerprint, so that one part grows at a time; one part while it is small.
    parts: Vec<Part>,
    /// How many bits these are.
    parts_log2: u32,
}

#[derive(Clone, Debug, Default)]
struct Part {
    /// 0 is a free place.
    places: Vec<u128>,
    taken: usize,
}

/// How many parts there are in the end, as a power of two: growing takes a 256th more at most.
const PARTS_LOG2: u32 = 8;
/// Places of a single part, at most.
const PLACES_ALONE: usize = 4_096;
/// Of so many places ..
const OF: usize = 20;
/// .. so many are taken at most, then the part grows ..
const TAKEN_MAX: usize = 15;
/// .. by so many.
const MORE: usize = 8;
/// Places of a part that has any ..
const PLACES_MIN: usize = 16;
/// .. and of a single one: what three hundred states take.
const PLACES_MIN_ALONE: usize = 400;

impl Visited {
    pub(crate) fn new() -> Self {
        Self { parts: vec![Part::default()], parts_log2: 0 }
    }

    /// Whether this fingerprint was inserted.
    pub(crate) fn holds(&self, fingerprint: u128) -> bool {
        let fingerprint = fingerprint.max(1);
        let (part, rest) = self.split(fingerprint);
        self.parts.get(part).is_some_and(|part| part.holds(fingerprint, rest))
    }

    /// Inserts a fingerprint. Returns whether it was new.
    pub(crate) fn insert(&mut self, fingerprint: u128) -> bool {
        let fingerprint = fingerprint.max(1);
        let (part, rest) = self.split(fingerprint);
        let parts_log2 = self.parts_log2;
        let Some(part) = self.parts.get_mut(part) else {
            return false;
        };
        if part.is_full() {
            if parts_log2 < PARTS_LOG2 && PLACES_ALONE <= part.places.len() {
                self.divide();
                return self.insert(fingerprint);
            }
            part.grow(parts_log2);
        }
        part.insert(fingerprint, rest)
    }

    fn divide(&mut self) {
        self.parts_log2 = PARTS_LOG2;
        let old = std::mem::replace(&mut self.parts, vec![Part::default(); 1 << PARTS_LOG2]);
        for fingerprint in old.into_iter().flat_map(|part| part.places).filter(|it| *it != 0) {
            self.insert(fingerprint);
        }
    }

    /// The part of a fingerprint, and the bits that find its place there.
    fn split(&self, fingerprint: u128) -> (usize, u64) {
        let part = high(fingerprint).checked_shr(u64::BITS - self.parts_log2).unwrap_or(0);
        (usize::try_from(part).unwrap_or(0), rest(fingerprint, self.parts_log2))
    }

    /// The bytes that it takes.
    pub(crate) fn bytes(&self) -> u64 {
        let places: usize = self.parts.iter().map(|part| part.places.capacity()).sum();
        (places * size_of::<u128>()) as u64
    }
}

/// The bits of a fingerprint that find its place in its part.
fn rest(fingerprint: u128, parts_log2: u32) -> u64 {
    high(fingerprint) << parts_log2
}

impl Part {
    /// Where to begin to look: in the order of the fingerprints, so that growing is one sweep.
    fn home(&self, rest: u64) -> usize {
        let scaled = (u128::from(rest) * self.places.len() as u128) >> u64::BITS;
        usize::try_from(scaled).unwrap_or(0)
    }

    fn holds(&self, fingerprint: u128, rest: u64) -> bool {
        if self.places.is_empty() {
            return false;
        }
        let mut at = self.home(rest);
        loop {
            match self.places.get(at) {
                Some(0) => return false,
                Some(place) if *place == fingerprint => return true,
                Some(_) => at += 1,
                None => at = 0,
            }
        }
    }

    fn insert(&mut self, fingerprint: u128, rest: u64) -> bool {
        let mut at = self.home(rest);
        loop {
            match self.places.get_mut(at) {
                Some(place) if *place == fingerprint => return false,
                Some(place) if *place == 0 => {
                    *place = fingerprint;
                    self.taken += 1;
                    return true;
                }
                Some(_) => at += 1,
                None => at = 0, // Some places are free.
            }
        }
    }

    /// Whether it has to grow before it takes another one.
    fn is_full(&self) -> bool {
        self.places.len() * TAKEN_MAX < (self.taken + 1) * OF
    }

    fn grow(&mut self, parts_log2: u32) {
        let least = if parts_log2 == 0 { PLACES_MIN_ALONE } else { PLACES_MIN };
        let more = least.max(self.places.len() * (OF + MORE) / OF);
        let old = std::mem::replace(&mut self.places, vec![0; more]);
        self.taken = 0;
        for fingerprint in old.into_iter().filter(|place| *place != 0) {
            self.insert(fingerprint, rest(fingerprint, parts_log2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn it_holds_what_was_inserted_and_nothing_else(
            numbers in prop::collection::vec((0_u128..4, 0_u128..4_000), 0..8_000),
        ) {
            // Fingerprints of the same few parts, beside each other and far apart.
            let all = numbers.iter().map(|(upper, lower)| (upper << 120) | (lower << 100) | lower);
            let (mut visited, mut expected) = (Visited::new(), BTreeSet::new());
            for fingerprint in all {
                let known = expected.contains(&fingerprint.max(1));
                prop_assert_eq!(visited.holds(fingerprint), known);
                prop_assert_eq!(visited.insert(fingerprint), expected.insert(fingerprint.max(1)));
                prop_assert!(visited.holds(fingerprint));
            }
        }
    }

    #[test]
    fn it_takes_less_than_31_bytes_for_each_fingerprint() {
        let mut visited = Visited::new();
        let mut random = synod_core::Random::new(1);
        for count in 1..=300_000_u64 {
            let fingerprint = (u128::from(random.next_u64()) << 64) | u128::from(random.next_u64());
            assert!(visited.insert(fingerprint));
            if 100_000 <= count && count.is_multiple_of(1_000) {
                assert!(visited.bytes() < 31 * count, "{count}");
            }
        }
    }
}
