//! Values that are kept once each and called by number: a state is a handful of such numbers.

use std::sync::{PoisonError, RwLock};

use hashbrown::HashTable;

/// Values by number, and numbers by fingerprint. Two values are one if their 128-bit fingerprints
/// are equal. What is kept stays until the pool is swept. Values are small, and cheap to clone.
#[derive(Debug)]
pub(crate) struct Pool<V> {
    kept: RwLock<Kept<V>>,
}

#[derive(Debug)]
struct Kept<V> {
    prints: Prints,
    values: Vec<V>,
}

/// Fingerprints by number, and numbers by fingerprint: what of a pool does not depend on its values.
#[derive(Debug, Default)]
struct Prints {
    numbers: Numbers,
    list: Vec<u128>,
}

/// The numbers of fingerprints that stand elsewhere: whoever looks for one says where.
#[derive(Debug, Default)]
pub(crate) struct Numbers(HashTable<u32>);

impl Numbers {
    /// The number of a fingerprint, if it has one; `of` has those of all numbers.
    pub(crate) fn find(&self, print: u128, of: impl Fn(u32) -> Option<u128>) -> Option<u32> {
        self.0.find(high(print), |number| of(*number) == Some(print)).copied()
    }

    /// Takes in a fingerprint that it does not have.
    pub(crate) fn add(&mut self, print: u128, number: u32, of: impl Fn(u32) -> Option<u128>) {
        // Half of a fingerprint is as good as any hash of it.
        let hash = |number: &u32| of(*number).map_or(0, high);
        self.0.insert_unique(high(print), number, hash);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The upper half of a fingerprint.
pub(crate) fn high(fingerprint: u128) -> u64 {
    u64::try_from(fingerprint >> 64).unwrap_or(u64::MAX)
}

/// Appends to a list that grows by a quarter once it is long: it does not take much more than it holds.
fn append<V>(list: &mut Vec<V>, value: V) {
    if list.len() == list.capacity() && LONG <= list.len() {
        list.reserve_exact(list.len() / 4);
    }
    list.push(value);
}

/// What short lists leave over is soon used for others.
const LONG: usize = 1 << 10;

impl<V> Default for Pool<V> {
    fn default() -> Self {
        let kept = Kept { prints: Prints::default(), values: Vec::new() };
        Self { kept: RwLock::new(kept) }
    }
}

impl Prints {
    #[inline]
    fn number(&self, fingerprint: u128) -> Option<u32> {
        self.numbers.find(fingerprint, |number| self.list.get(number as usize).copied())
    }

    /// Gives a fingerprint that has no number the next one.
    fn add(&mut self, fingerprint: u128) -> u32 {
        let number = u32::try_from(self.list.len()).expect("fewer than 2^32 values");
        append(&mut self.list, fingerprint);
        self.enter(fingerprint, number);
        number
    }

    fn enter(&mut self, fingerprint: u128, number: u32) {
        let Self { numbers, list } = self;
        numbers.add(fingerprint, number, |number| list.get(number as usize).copied());
    }

    /// Forgets what is not `live`. Returns the new number of each old one that is.
    fn keep(&mut self, live: &[bool]) -> Vec<u32> {
        let mut renumbered = Vec::with_capacity(live.len());
        let mut count = 0;
        for is_live in live {
            renumbered.push(count);
            count += u32::from(*is_live);
        }
        retain(&mut self.list, live);
        self.numbers = Numbers::default();
        for number in 0..count {
            let print = self.list.get(number as usize).copied();
            print.into_iter().for_each(|print| self.enter(print, number));
        }
        renumbered
    }
}

impl<V: Clone> Pool<V> {
    /// The number of the value with this fingerprint, if there is one.
    pub(crate) fn known(&self, fingerprint: u128) -> Option<u32> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).prints.number(fingerprint)
    }

    /// The number of the value with this fingerprint, which `value` makes if it is new.
    ///
    /// # Panics
    ///
    /// Beyond 2^32 values.
    pub(crate) fn number(&self, fingerprint: u128, value: impl FnOnce() -> V) -> u32 {
        if let Some(known) = self.known(fingerprint) {
            return known;
        }
        self.add(fingerprint, value())
    }

    #[inline(never)] // What makes the value is not under it.
    fn add(&self, fingerprint: u128, value: V) -> u32 {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been faster.
        if let Some(known) = kept.prints.number(fingerprint) {
            return known;
        }
        append(&mut kept.values, value);
        kept.prints.add(fingerprint)
    }

    /// The value of a number that this pool has given.
    pub(crate) fn get(&self, number: u32) -> V {
        self.look(number, V::clone)
    }

    /// What there is to see in the value of a number that this pool has given.
    pub(crate) fn look<R>(&self, number: u32, see: impl FnOnce(&V) -> R) -> R {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        see(kept.values.get(number as usize).expect("a number of this pool"))
    }

    /// Brings a thread's own copy of the list up to date, so that it reads without a lock.
    pub(crate) fn refresh<R>(&self, mirror: &mut Vec<R>, of: impl Fn(u128, &V) -> R) {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        if mirror.capacity() < kept.values.len() {
            mirror.reserve_exact(kept.values.capacity() - mirror.len());
        }
        let new = kept.prints.list.iter().zip(&kept.values).skip(mirror.len());
        mirror.extend(new.map(|(print, value)| of(*print, value)));
    }

    /// Keeps only the values of the numbers that are `live`, and gives them new numbers. Returns the
    /// new number of each old one that is live.
    pub(crate) fn keep(&self, live: &[bool]) -> Vec<u32> {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        retain(&mut kept.values, live);
        kept.prints.keep(live)
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).values.len()
    }
}

/// Keeps only what is live, in its order.
fn retain<V>(list: &mut Vec<V>, live: &[bool]) {
    let mut live = live.iter();
    list.retain(|_| live.next() == Some(&true));
    list.shrink_to_fit();
}
