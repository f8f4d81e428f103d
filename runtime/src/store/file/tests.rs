use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use synod_core::{Instance, Tag};

use super::*;

/// A directory that is removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("synod-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(name))
    }

    fn store(&self) -> FileStore {
        FileStore::new(&self.0)
    }

    fn log(&self) -> Vec<u8> {
        fs::read(self.store().log_path()).unwrap()
    }

    /// Opens a store on these bytes.
    fn open_with(&self, log: &[u8]) -> Result<Opened, StoreError> {
        fs::create_dir_all(&self.0).unwrap();
        fs::write(self.store().log_path(), log).unwrap();
        self.store().open()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn record(event: &str, key: u64, body: &[u8]) -> Envelope {
    let body = Bytes::copy_from_slice(body);
    Envelope::from_parts(EventId::of(event), Instance::of_key(key), Tag::Plain, body)
}

fn numbered(count: u8) -> Vec<Envelope> {
    (0..count).map(|number| record("vote", 1, &[number; 5])).collect()
}

/// A log of `count` records, each synced, except that the last `unsynced` never were.
fn written(scratch: &Scratch, count: u8, unsynced: u8) -> Vec<u8> {
    let mut store = scratch.store();
    store.open().unwrap();
    for (number, record) in (0..count).zip(numbered(count)) {
        store.append(&record).unwrap();
        if number + unsynced < count {
            store.sync().unwrap();
        } else {
            store.flush().unwrap();
        }
    }
    scratch.log()
}

#[test]
fn records_come_back_in_order_and_each_life_has_a_higher_number() {
    let scratch = Scratch::new();
    written(&scratch, 3, 0);
    for life in 2..5 {
        let opened = scratch.store().open().unwrap();
        assert_eq!((opened.incarnation, opened.first), (life, false));
        assert_eq!((opened.records, opened.torn_bytes), (numbered(3), 0));
    }
}

#[test]
fn an_open_store_can_be_opened_again_by_its_owner_only() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    assert!(store.open().unwrap().first);
    assert_eq!(store.open().unwrap().incarnation, 2);
    let second = scratch.store().open();
    assert!(matches!(second, Err(StoreError::Locked { .. })), "{second:?}");
    drop(store);
    assert_eq!(scratch.store().open().unwrap().incarnation, 3);
}

#[test]
fn the_lock_of_a_dead_process_is_taken_over() {
    let scratch = Scratch::new();
    written(&scratch, 1, 0);
    fs::write(scratch.0.join("lock"), "4194305 17").unwrap();
    assert!(scratch.store().open().is_ok());
    fs::write(scratch.0.join("lock"), "").unwrap();
    assert!(scratch.store().open().is_ok());
}

#[test]
fn a_checkpoint_replaces_its_own_instance_and_events_only() {
    let scratch = Scratch::new();
    let (mut file, mut memory) = (scratch.store(), super::super::MemoryStore::new());
    for store in [&mut file as &mut dyn Store, &mut memory] {
        store.open().unwrap();
        for record in [record("vote", 1, b"a"), record("vote", 2, b"b"), record("term", 1, b"c")] {
            store.append(&record).unwrap();
        }
        store.checkpoint(&record("vote", 1, b"d"), &[EventId::of("vote")]).unwrap();
        store.append(&record("vote", 1, b"e")).unwrap();
        store.sync().unwrap();
        let left = store.open().unwrap().records;
        let left: Vec<&[u8]> = left.iter().map(|left| left.body()).collect();
        assert_eq!(left, [b"b", b"c", b"d", b"e"]);
    }
    drop(file);
    let opened = scratch.store().open().unwrap();
    assert_eq!((opened.records.len(), opened.incarnation), (4, 3));
}

#[test]
fn a_log_cut_anywhere_gives_a_prefix_or_an_error_and_never_panics() {
    let scratch = Scratch::new();
    let log = written(&scratch, 4, 0);
    for length in 0..=log.len() {
        match scratch.open_with(&log[..length]) {
            Ok(opened) => {
                let all = numbered(4);
                assert_eq!(opened.records, all[..opened.records.len()]);
                assert!(FILE_HEADER <= length);
            }
            Err(error) => assert!(length < FILE_HEADER, "cut at {length}: {error}"),
        }
    }
}

#[test]
fn a_flipped_bit_in_what_was_synced_is_an_error_that_names_file_and_offset() {
    let scratch = Scratch::new();
    let log = written(&scratch, 3, 0);
    let marker = log.len() - record::RECORD_HEADER;
    for at in 0..log.len() {
        let mut damaged = log.clone();
        damaged[at] ^= 1 << (at % 8);
        match scratch.open_with(&damaged) {
            // Only the note that the last sync had returned may go: nothing is lost with it.
            Ok(opened) => {
                assert!(marker <= at, "byte {at} was damaged and nobody noticed");
                assert_eq!(opened.records, numbered(3));
            }
            Err(StoreError::Damaged { path, offset, .. }) => {
                assert_eq!(path, scratch.store().log_path());
                let at = at as u64;
                assert!(offset <= at && at < offset + 60, "byte {at} was reported as {offset}");
            }
            Err(StoreError::Format { .. }) => assert!((8..12).contains(&at)),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_hole_in_what_was_never_synced_is_cut_off() {
    let scratch = Scratch::new();
    let log = written(&scratch, 5, 3);
    let size = record::walk(&log[FILE_HEADER..]).0.last().unwrap().size();
    let mut damaged = log.clone();
    let from = log.len() - 2 * size + 5;
    damaged[from..from + 4].fill(0);
    let opened = scratch.open_with(&damaged).unwrap();
    assert_eq!(opened.torn_bytes, 2 * size as u64);
    assert_eq!(opened.records, numbered(5)[..3]);
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    let mut log = written(&scratch, 1, 0);
    log[8] = 2;
    let refused = scratch.open_with(&log);
    assert!(matches!(refused, Err(StoreError::Format { found: 2, known: 1, .. })), "{refused:?}");
    assert_eq!(scratch.log(), log);
}

#[test]
fn a_store_that_has_failed_stays_failed() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    assert!(matches!(store.sync(), Err(StoreError::Broken)));
    assert!(matches!(store.open(), Err(StoreError::Broken)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_to_the_bytes_nothing_synced_is_lost_in_silence(
        at: prop::sample::Index,
        noise in prop::collection::vec(any::<u8>(), 1..40),
        unsynced in 0..3_u8,
    ) {
        let scratch = Scratch::new();
        let log = written(&scratch, 5, unsynced);
        let at = at.index(log.len());
        let mut damaged = log.clone();
        let kept = damaged.len().min(at + noise.len());
        damaged.splice(at..kept, noise);
        damaged.truncate(log.len());
        // The notes of the first syncs are intact, or the damage is in what they vouch for.
        if let Ok(opened) = scratch.open_with(&damaged) {
            prop_assert_eq!(&opened.records[..], &numbered(5)[..opened.records.len()]);
            let synced = usize::from(5 - unsynced);
            let reaches_the_end = log.len() <= at + 60;
            prop_assert!(synced <= opened.records.len() || 0 < unsynced || reaches_the_end);
        }
    }
}
