//! Fingerprints: 128 bits for whatever can be hashed.

use std::cell::Cell;
use std::hash::Hasher;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Collects what is hashed, and hashes it at once: what there is in a node or a message is short.
#[derive(Debug)]
pub(crate) struct Print(Vec<u8>);

thread_local! {
    /// The memory of the last one, for the next.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Print {
    pub(crate) fn new() -> Self {
        Self(SPARE.take())
    }

    /// The fingerprint of all that was hashed so far.
    pub(crate) fn all(&self) -> u128 {
        self.of(self.bytes())
    }

    /// How many bytes were hashed so far.
    pub(crate) fn bytes(&self) -> usize {
        self.0.len()
    }

    /// The fingerprint of the first so many bytes.
    pub(crate) fn of(&self, bytes: usize) -> u128 {
        xxh3_128(self.0.get(..bytes).unwrap_or_default())
    }
}

impl Drop for Print {
    fn drop(&mut self) {
        let mut spare = std::mem::take(&mut self.0);
        spare.clear();
        SPARE.set(spare);
    }
}

impl Hasher for Print {
    fn finish(&self) -> u64 {
        xxh3_64(&self.0)
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    #[inline]
    fn write_u8(&mut self, byte: u8) {
        self.0.push(byte);
    }
}
