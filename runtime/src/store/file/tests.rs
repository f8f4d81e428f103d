use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use synod_core::durable::{NEW_FILE, NOTE_FILE};
use synod_core::{Instance, Tag};

use super::super::{check_unlocked, copy_store, inspect_store};
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

    fn put(&self, file: &str, bytes: &[u8]) {
        fs::create_dir_all(&self.0).unwrap();
        fs::write(self.0.join(file), bytes).unwrap();
    }

    fn names(&self) -> Vec<String> {
        DirectoryDisk::new(&self.0).list().unwrap()
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

/// A store of `count` records, each synced.
fn written(scratch: &Scratch, count: u8) {
    let mut store = scratch.store();
    store.open().unwrap();
    for record in numbered(count) {
        store.append(&record).unwrap();
        store.sync().unwrap();
    }
}

#[test]
fn records_come_back_in_order_and_each_life_has_a_higher_number() {
    let scratch = Scratch::new();
    written(&scratch, 3);
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
    let seen = check_unlocked(&scratch.0);
    assert!(matches!(seen, Err(StoreError::Locked { .. })), "{seen:?}");
    drop(store);
    assert!(check_unlocked(&scratch.0).is_ok());
    assert_eq!(scratch.store().open().unwrap().incarnation, 3);
}

#[test]
fn a_lock_file_that_nobody_holds_is_taken_over() {
    let scratch = Scratch::new();
    written(&scratch, 1);
    scratch.put("lock", b"4194305 17");
    assert!(scratch.store().open().is_ok());
    scratch.put("lock", b"");
    assert!(scratch.store().open().is_ok());
}

#[test]
fn a_lock_that_is_held_is_respected_whatever_stands_in_its_file() {
    let scratch = Scratch::new();
    written(&scratch, 1);
    let holder = fs::File::options().write(true).open(scratch.0.join("lock")).unwrap();
    holder.lock().unwrap();
    // A node in another container may have the same number.
    for text in [String::new(), String::from("4194305"), std::process::id().to_string()] {
        scratch.put("lock", text.as_bytes());
        let refused = scratch.store().open();
        assert!(matches!(refused, Err(StoreError::Locked { .. })), "{refused:?}");
    }
    drop(holder);
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
    assert_eq!(scratch.names(), ["lock", LOG_FILE, NOTE_FILE]);
    drop(file);
    let opened = scratch.store().open().unwrap();
    assert_eq!((opened.records.len(), opened.incarnation), (4, 3));
}

#[test]
fn a_log_cut_anywhere_is_an_error_that_names_the_directory_and_the_place() {
    let scratch = Scratch::new();
    written(&scratch, 4);
    let bytes = fs::read(scratch.store().log_path()).unwrap();
    for length in (0..bytes.len()).step_by(7) {
        scratch.put(LOG_FILE, &bytes[..length]);
        let refused = scratch.store().open();
        let Err(StoreError::Log { directory, cause: LogError::Damaged { offset, .. } }) = refused
        else {
            panic!("cut at {length}: {refused:?}");
        };
        assert_eq!(directory, scratch.0);
        assert!(offset <= length as u64);
    }
}

#[test]
fn a_torn_end_is_cut_off_and_counted() {
    let scratch = Scratch::new();
    written(&scratch, 2);
    let mut bytes = fs::read(scratch.store().log_path()).unwrap();
    bytes.extend_from_slice(&[7; 33]);
    scratch.put(LOG_FILE, &bytes);
    scratch.put(NEW_FILE, b"half of a new log");
    let opened = scratch.store().open().unwrap();
    assert_eq!((opened.torn_bytes, opened.records), (33, numbered(2)));
    assert_eq!(scratch.store().open().unwrap().torn_bytes, 0);
    assert_eq!(scratch.names(), ["lock", LOG_FILE, NOTE_FILE]);
}

#[test]
fn a_store_that_has_failed_stays_failed() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    let failed = |result| matches!(result, Err(StoreError::Log { cause: LogError::Failed, .. }));
    assert!(failed(store.sync()), "a store that was never opened");
    scratch.put(LOG_FILE, b"something else");
    assert!(store.open().is_err());
    assert!(failed(store.open().map(drop)));
    assert!(failed(store.append(&numbered(1)[0])));
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let scratch = Scratch::new();
    scratch.put("file", b"");
    let told = FileStore::new(scratch.0.join("file/inside")).open().unwrap_err().to_string();
    assert!(told.contains("cannot create") && told.contains("file/inside"), "{told}");
}

/// What the stores of `tests/golden` hold: they were written once, and open for ever.
fn golden() -> Vec<Envelope> {
    vec![
        record("golden.vote", 1, b"first"),
        record("golden.vote", 2, &[0xa5; 700]),
        record("golden.term", u64::MAX, b""),
    ]
}

#[test]
fn stores_of_every_format_open_for_ever() {
    for (format, lives) in [("format-1", 2), ("format-2", 3)] {
        let scratch = Scratch::new();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format);
        for file in DirectoryDisk::new(&folder).list().unwrap() {
            scratch.put(&file, &fs::read(folder.join(&file)).unwrap());
        }
        let opened = scratch.store().open().unwrap();
        assert_eq!((opened.incarnation, opened.torn_bytes), (lives + 1, 0), "{format}");
        assert_eq!(opened.records, golden(), "{format}");
        let found = inspect_store(&scratch.0).unwrap();
        assert_eq!((found.format, found.incarnation), (2, lives + 1), "{format}");
        assert_eq!(scratch.store().open().unwrap().records, golden(), "{format}");
        let kept = scratch.0.join(format!("node.log.{format}"));
        match format {
            "format-2" => assert!(!kept.exists(), "nothing was written anew"),
            _ => assert_eq!(fs::read(kept).unwrap(), fs::read(folder.join("node.log")).unwrap()),
        }
    }
}

#[test]
fn a_copy_of_a_store_in_use_is_what_was_written_and_goes_only_where_nothing_is() {
    let (scratch, copy) = (Scratch::new(), Scratch::new());
    let mut store = scratch.store();
    store.open().unwrap();
    for (count, record) in (0..).zip(numbered(5)) {
        store.append(&record).unwrap();
        store.sync().unwrap();
        let copy = Scratch::new();
        let copied = copy_store(&scratch.0, &copy.0, &[]).unwrap();
        assert_eq!(copied.records().count(), count + 1);
    }
    store.checkpoint(&numbered(1)[0], &[EventId::of("vote")]).unwrap();
    copy_store(&scratch.0, &copy.0, &[]).unwrap();
    let opened = copy.store().open().unwrap();
    assert_eq!((opened.records, opened.incarnation), (numbered(1), 2));
    let occupied = copy_store(&scratch.0, &copy.0, &[]);
    assert!(matches!(occupied, Err(StoreError::Occupied { .. })), "{occupied:?}");
    let empty = copy_store(&scratch.0.join("nothing"), &Scratch::new().0, &[]);
    assert!(matches!(empty, Err(StoreError::Empty { .. })), "{empty:?}");
}

#[test]
fn cuts_flipped_bits_and_sectors_out_of_place_are_seen_in_real_files() {
    let scratch = Scratch::new();
    written(&scratch, 50);
    let bytes = fs::read(scratch.store().log_path()).unwrap();
    let damaged = |bytes: &[u8]| {
        scratch.put(LOG_FILE, bytes);
        let found = inspect_store(&scratch.0);
        matches!(
            found,
            Err(StoreError::Log { cause: LogError::Damaged { .. } | LogError::Format { .. }, .. })
        )
    };
    assert!((0..bytes.len()).step_by(3).all(|length| damaged(&bytes[..length])));
    for bit in (0..8 * bytes.len()).step_by(41) {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(damaged(&flipped), "bit {bit}");
    }
    for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 1), (3, 2)] {
        let sector = |index: usize| 512 * index..512 * (index + 1);
        let (mut twice, mut zeroed) = (bytes.clone(), bytes.clone());
        twice.copy_within(sector(from), 512 * to);
        zeroed[sector(from)].fill(0);
        assert!(damaged(&twice), "sector {from} in the place of {to}");
        assert!(damaged(&zeroed), "sector {from} is zero");
        let mut swapped = twice;
        swapped[sector(from)].copy_from_slice(&bytes[sector(to)]);
        assert!(damaged(&swapped), "sectors {from} and {to} are swapped");
    }
    assert!(!damaged(&bytes));
}

#[test]
fn every_name_that_leads_to_a_new_directory_is_made_durable() {
    let scratch = Scratch::new();
    let (outer, inner) = (scratch.0.join("a"), scratch.0.join("a").join("b"));
    let temporary = std::env::temp_dir();
    assert_eq!(parents_of_new(&inner), [&*outer, &scratch.0, &temporary]);
    fs::create_dir_all(&scratch.0).unwrap();
    assert_eq!(parents_of_new(&inner), [&*outer, &scratch.0]);
    create_directory(&inner).unwrap();
    assert_eq!((inner.is_dir(), parents_of_new(&inner)), (true, vec![&*outer]));
    assert_eq!(parents_of_new(Path::new("synod-there-is-no-such-one")), [Path::new(".")]);
}
