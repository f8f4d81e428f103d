//! Values that are kept once each and called by number: a state is a handful of such numbers.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{PoisonError, RwLock};

/// Values by number, and numbers by fingerprint. Two values are one if their 128-bit fingerprints
/// are equal. What is kept stays until the pool is swept. Values are small, and cheap to clone.
#[derive(Debug)]
pub(crate) struct Pool<V> {
    kept: RwLock<Kept<V>>,
}

#[derive(Debug)]
struct Kept<V> {
    numbers: Numbers,
    values: Vec<V>,
}

/// Only asked for the number of a fingerprint, so its order is nobody's.
#[expect(clippy::disallowed_types, reason = "it is never iterated")]
type Numbers = std::collections::HashMap<u128, u32, BuildHasherDefault<Half>>;

/// Takes half of a fingerprint, which is as good as any hash of it.
#[derive(Default)]
pub(crate) struct Half(u64);

impl Hasher for Half {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |all, byte| (all << 8) ^ u64::from(*byte));
    }

    fn write_u128(&mut self, fingerprint: u128) {
        self.0 = high(fingerprint);
    }
}

/// The upper half of a fingerprint.
pub(crate) fn high(fingerprint: u128) -> u64 {
    u64::try_from(fingerprint >> 64).unwrap_or(u64::MAX)
}

impl<V> Default for Pool<V> {
    fn default() -> Self {
        Self { kept: RwLock::new(Kept { numbers: Numbers::default(), values: Vec::new() }) }
    }
}

impl<V: Clone> Pool<V> {
    /// The number of the value with this fingerprint, which `value` makes if it is new.
    ///
    /// # Panics
    ///
    /// Beyond 2^32 values.
    pub(crate) fn number(&self, fingerprint: u128, value: impl FnOnce() -> V) -> u32 {
        let known = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = known.numbers.get(&fingerprint) {
            return *number;
        }
        drop(known);
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let Kept { numbers, values } = &mut *kept;
        *numbers.entry(fingerprint).or_insert_with(|| {
            values.push(value());
            u32::try_from(values.len() - 1).expect("fewer than 2^32 values")
        })
    }

    /// The value of a number that this pool has given.
    pub(crate) fn get(&self, number: u32) -> V {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.values.get(number as usize).expect("a number of this pool").clone()
    }

    /// Brings a thread's own copy of the list up to date, so that it reads without a lock.
    pub(crate) fn refresh<R>(&self, mirror: &mut Vec<R>, of: impl Fn(&V) -> R) {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        mirror.extend(kept.values.iter().skip(mirror.len()).map(of));
    }

    /// Keeps only the values of the numbers that are `live`, and gives them new numbers. Returns the
    /// new number of each old one that is live.
    pub(crate) fn keep(&self, live: &[bool]) -> Vec<u32> {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let is_live = |number: u32| live.get(number as usize) == Some(&true);
        let mut renumbered = Vec::with_capacity(live.len());
        let mut count = 0;
        for is_live in live {
            renumbered.push(count);
            count += u32::from(*is_live);
        }
        let Kept { numbers, values } = &mut *kept;
        let old = std::mem::take(numbers);
        #[expect(clippy::iter_over_hash_type, reason = "into another one, in any order")]
        for (print, number) in old {
            if is_live(number) {
                let new = renumbered.get(number as usize).copied().unwrap_or(u32::MAX);
                numbers.insert(print, new);
            }
        }
        let mut number = 0;
        values.retain(|_| {
            number += 1;
            is_live(number - 1)
        });
        values.shrink_to_fit();
        renumbered
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).values.len()
    }
}
