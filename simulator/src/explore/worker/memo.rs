//! What came of handler activations, as far as it pays to remember it.

use std::cell::Cell;
use std::hash::{BuildHasherDefault, Hash};
use std::sync::Arc;

use super::{Folding, Move};

/// Moves by what led to them. How many are remembered follows how often they are asked for.
pub(super) struct Memo<K> {
    known: Known<K>,
    /// With so many, all are forgotten, or the bound is doubled.
    bound: usize,
    /// How often one was asked for that was known, since then.
    hits: Cell<usize>,
}

/// Only asked for what it holds, so its order is nobody's.
#[expect(clippy::disallowed_types, reason = "it is never iterated")]
type Known<K> = std::collections::HashMap<K, Arc<Move>, BuildHasherDefault<Folding>>;

/// The bound at first.
const BOUND: usize = 1 << 12;
/// Where nothing comes again, remembering costs more than it saves.
const BOUND_MIN: usize = 1 << 6;
/// What is forgotten and comes again is soon known again.
const BOUND_MAX: usize = 1 << 16;

impl<K> Default for Memo<K> {
    fn default() -> Self {
        Self { known: Known::default(), bound: BOUND, hits: Cell::new(0) }
    }
}

impl<K: Eq + Hash> Memo<K> {
    pub(super) fn get(&self, key: &K) -> Option<&Arc<Move>> {
        let known = self.known.get(key);
        self.hits.set(self.hits.get() + usize::from(known.is_some()));
        known
    }

    pub(super) fn insert(&mut self, key: K, moved: Arc<Move>) {
        let count = self.known.len();
        if self.bound <= count {
            let hits = self.hits.replace(0);
            let grows = 2 * count <= hits && self.bound < BOUND_MAX;
            if grows {
                self.bound *= 2;
            } else {
                self.known = Known::default();
            }
            if 2 * hits < count {
                self.bound = BOUND_MIN.max(self.bound / 2);
            }
        }
        self.known.insert(key, moved);
    }
}
