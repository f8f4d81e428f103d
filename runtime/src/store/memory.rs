//! Records that die with the process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use synod_core::durable::is_replaced;
use synod_core::{Envelope, EventId};

use super::{Opened, Store, StoreError};

/// Keeps records for as long as the process lives: enough for algorithms that never recover, and
/// for restarts after a panic.
///
/// A process that starts anew finds nothing, but its incarnation is higher than before: it is
/// read off the wall clock, in quarters of a second.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    records: Vec<Envelope>,
    opened: bool,
}

impl MemoryStore {
    /// No records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemoryStore {
    fn open(&mut self) -> Result<Opened, StoreError> {
        let first = !std::mem::replace(&mut self.opened, true);
        let records = self.records.clone();
        Ok(Opened { incarnation: next_incarnation(), first, records, torn_bytes: 0 })
    }

    fn opens_at_once(&self) -> bool {
        true
    }

    fn append(&mut self, record: &Envelope) -> Result<(), StoreError> {
        self.records.push(record.clone());
        Ok(())
    }

    fn checkpoint(&mut self, record: &Envelope, replaces: &[EventId]) -> Result<(), StoreError> {
        self.records.retain(|old| !is_replaced(old, record, replaces));
        self.append(record)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Quarters of a second since 2025, and higher than any other that this process has drawn.
fn next_incarnation() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let epoch = UNIX_EPOCH + Duration::from_secs(1_735_689_600);
    let since = SystemTime::now().duration_since(epoch).unwrap_or_default();
    let quarters = since.as_secs() * 4 + u64::from(since.subsec_millis()) / 250;
    let draw = |last: u64| Some(quarters.max(last + 1));
    match LAST.fetch_update(Ordering::AcqRel, Ordering::Acquire, draw) {
        Ok(last) | Err(last) => quarters.max(last + 1),
    }
}
