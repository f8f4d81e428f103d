use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{Instance, Schema, Tag};

/// A disk that keeps everything at once, and counts its syncs.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<Files>>);

#[derive(Debug, Default)]
struct Files {
    files: BTreeMap<String, Vec<u8>>,
    syncs: usize,
    sync_fails: bool,
}

impl Memory {
    fn bytes(&self, file: &str) -> Vec<u8> {
        self.0.lock().unwrap().files[file].clone()
    }

    fn put(&self, file: &str, bytes: &[u8]) {
        self.0.lock().unwrap().files.insert(String::from(file), Vec::from(bytes));
    }

    fn log(&self) -> DurableLog {
        DurableLog::new(Box::new(self.clone()))
    }

    fn copy(&self) -> Self {
        let copy = Self::default();
        copy.0.lock().unwrap().files.clone_from(&self.0.lock().unwrap().files);
        copy
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.lock().unwrap().files.clone()
    }

    fn syncs(&self) -> usize {
        self.0.lock().unwrap().syncs
    }
}

impl Disk for Memory {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        Ok(self.0.lock().unwrap().files.keys().cloned().collect())
    }

    fn read(&mut self, file: &str) -> Result<Vec<u8>, DiskError> {
        self.0.lock().unwrap().files.get(file).cloned().ok_or_else(|| DiskError {
            action: "read",
            file: String::from(file),
            kind: DiskErrorKind::Missing,
            what: String::from("no such file"),
        })
    }

    fn create(&mut self, file: &str) -> Result<(), DiskError> {
        self.put(file, &[]);
        Ok(())
    }

    fn write_at(&mut self, file: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let mut content = self.bytes(file);
        let offset = usize::try_from(offset).unwrap();
        content.resize(content.len().max(offset + bytes.len()), 0);
        content[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.put(file, &content);
        Ok(())
    }

    fn sync(&mut self, file: &str) -> Result<(), DiskError> {
        let mut files = self.0.lock().unwrap();
        files.syncs += 1;
        let failed = DiskError {
            action: "sync",
            file: String::from(file),
            kind: DiskErrorKind::Failed,
            what: String::from("input/output error"),
        };
        if files.sync_fails { Err(failed) } else { Ok(()) }
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let content = self.0.lock().unwrap().files.remove(from).unwrap();
        self.put(to, &content);
        Ok(())
    }

    fn sync_names(&mut self) -> Result<(), DiskError> {
        self.0.lock().unwrap().syncs += 1;
        Ok(())
    }

    fn remove(&mut self, file: &str) -> Result<(), DiskError> {
        self.0.lock().unwrap().files.remove(file);
        Ok(())
    }
}

fn record(event: &str, key: u64, body: &[u8]) -> Envelope {
    let body = Bytes::copy_from_slice(body);
    Envelope::from_parts(EventId::of(event), Instance::of_key(key), Tag::Plain, body)
}

fn numbered(count: u8) -> Vec<Envelope> {
    (0..count).map(|number| record("vote", 1, &[number; 5])).collect()
}

/// A log of `count` records, each synced.
fn written(count: u8) -> Memory {
    let disk = Memory::default();
    let mut log = disk.log();
    log.open().unwrap();
    for record in numbered(count) {
        log.append(&record).unwrap();
        log.sync().unwrap();
    }
    disk
}

#[test]
fn records_come_back_in_order_and_each_life_has_a_higher_number() {
    let disk = written(3);
    for life in 2..5 {
        let opened = disk.log().open().unwrap();
        assert_eq!((opened.incarnation, opened.first), (life, false));
        assert_eq!((opened.records, opened.torn_bytes), (numbered(3), 0));
    }
}

#[test]
fn a_checkpoint_replaces_its_own_instance_and_events_only() {
    let disk = Memory::default();
    let mut log = disk.log();
    log.open().unwrap();
    for record in [record("vote", 1, b"a"), record("vote", 2, b"b"), record("term", 1, b"c")] {
        log.append(&record).unwrap();
    }
    log.checkpoint(&record("vote", 1, b"d"), &[EventId::of("vote")]).unwrap();
    log.append(&record("vote", 1, b"e")).unwrap();
    log.sync().unwrap();
    let opened = disk.log().open().unwrap();
    let left: Vec<&[u8]> = opened.records.iter().map(|left| left.body()).collect();
    assert_eq!(left, [b"b", b"c", b"d", b"e"]);
    assert_eq!(opened.incarnation, 2);
}

#[test]
fn what_is_durable_already_takes_no_sync() {
    let disk = written(1);
    let mut log = disk.log();
    log.open().unwrap();
    let before = disk.syncs();
    log.sync().unwrap();
    assert_eq!(disk.syncs(), before);
    log.append(&numbered(1)[0]).unwrap();
    log.sync().unwrap();
    log.sync().unwrap();
    assert_eq!(disk.syncs(), before + 1);
}

#[test]
fn a_failed_sync_is_not_tried_again_and_the_next_life_writes_the_log_anew() {
    let mut disk = written(2);
    let mut log = disk.log();
    log.open().unwrap();
    log.append(&numbered(1)[0]).unwrap();
    disk.0.lock().unwrap().sync_fails = true;
    assert!(matches!(log.sync(), Err(LogError::Disk(_))));
    let syncs = disk.syncs();
    assert_eq!(log.sync(), Err(LogError::Failed));
    assert_eq!(log.append(&numbered(1)[0]), Err(LogError::Failed));
    assert_eq!(log.open(), Err(LogError::Failed));
    assert_eq!(disk.syncs(), syncs);
    disk.0.lock().unwrap().sync_fails = false;
    let generation = inspect(&mut disk).unwrap().unwrap().generation;
    assert_eq!(disk.log().open().unwrap().records.len(), 3);
    assert_eq!(inspect(&mut disk).unwrap().unwrap().generation, generation + 1);
}

#[test]
fn without_a_note_a_cut_gives_a_prefix_and_with_it_an_error_that_names_the_place() {
    let disk = written(4);
    let bytes = disk.bytes(LOG_FILE);
    let born = usize::from(bytes[20]);
    for length in 0..bytes.len() {
        let mut cut = disk.copy();
        cut.put(LOG_FILE, &bytes[..length]);
        let refused = cut.log().open();
        let Err(LogError::Damaged { file, offset, .. }) = refused else {
            panic!("cut at {length}: {refused:?}");
        };
        assert_eq!(file, LOG_FILE);
        assert!(offset <= length as u64, "cut at {length} was reported as {offset}");
        assert_eq!(cut.bytes(LOG_FILE), bytes[..length], "a damaged log was changed");

        cut.remove(NOTE_FILE).unwrap();
        match cut.log().open() {
            Ok(opened) => {
                assert_eq!(opened.records, numbered(4)[..opened.records.len()]);
                assert!(born <= length);
            }
            Err(error) => assert!(length < born, "cut at {length}: {error}"),
        }
    }
}

#[test]
fn a_flipped_bit_is_an_error_that_names_its_record() {
    let disk = written(3);
    let bytes = disk.bytes(LOG_FILE);
    let entries = inspect(&mut disk.clone()).unwrap().unwrap().entries;
    for bit in 0..8 * bytes.len() {
        let (mut damaged, copy) = (bytes.clone(), disk.copy());
        damaged[bit / 8] ^= 1 << (bit % 8);
        copy.put(LOG_FILE, &damaged);
        let at = bit as u64 / 8;
        let hit = entries.iter().rev().find(|entry| entry.offset <= at);
        match copy.log().open() {
            Err(LogError::Damaged { offset, record, .. }) => {
                let expected = hit.map_or((0, 0), |hit| (hit.offset, hit.number));
                assert_eq!((offset, record), expected, "bit {bit}");
            }
            Err(LogError::Format { .. }) => assert!((8..12).contains(&at), "bit {bit}"),
            other => panic!("bit {bit}: {other:?}"),
        }
    }
}

#[test]
fn damage_to_the_note_costs_nothing_but_its_proof() {
    let disk = written(3);
    for at in 0..disk.bytes(NOTE_FILE).len() {
        let copy = disk.copy();
        let mut note = copy.bytes(NOTE_FILE);
        note[at] ^= 0x11;
        copy.put(NOTE_FILE, &note);
        assert_eq!(copy.log().open().unwrap().records, numbered(3), "byte {at}");
    }
}

#[test]
fn an_older_copy_of_the_log_alone_is_refused() {
    let disk = written(2);
    let older = disk.bytes(LOG_FILE);
    let mut log = disk.log();
    log.open().unwrap();
    log.append(&numbered(1)[0]).unwrap();
    log.sync().unwrap();
    let mut copy = disk.copy();
    copy.put(LOG_FILE, &older);
    assert!(matches!(copy.log().open(), Err(LogError::Damaged { .. })));
    log.checkpoint(&numbered(1)[0], &[]).unwrap();
    copy.put(NOTE_FILE, &disk.bytes(NOTE_FILE));
    let told = copy.log().open().unwrap_err().to_string();
    assert!(told.contains("has taken its place"), "{told}");
    copy.remove(LOG_FILE).unwrap();
    let told = copy.log().open().unwrap_err().to_string();
    assert!(told.contains("it is gone"), "{told}");
}

#[test]
fn without_the_note_too_later_records_prove_what_was_durable() {
    let disk = written(4);
    let bytes = disk.bytes(LOG_FILE);
    let entries = inspect(&mut disk.copy()).unwrap().unwrap().entries;
    let [.., before, last] = entries.as_slice() else { panic!("{entries:?}") };
    for at in 0..bytes.len() {
        let (mut damaged, mut copy) = (bytes.clone(), disk.copy());
        damaged[at] ^= 0x20;
        copy.put(LOG_FILE, &damaged);
        copy.remove(NOTE_FILE).unwrap();
        match copy.log().open() {
            // What is left of the last record proves nothing, and what is left of the log does not
            // prove that the last one was there.
            Ok(opened) => {
                assert!(last.offset <= at as u64, "byte {at} of {before:?} or earlier");
                assert_eq!(opened.records, numbered(3));
            }
            Err(error) => assert!((at as u64) < last.offset, "byte {at}: {error}"),
        }
    }
}

#[test]
fn a_record_of_another_course_of_things_does_not_fit_between_the_others() {
    let disk = written(2);
    let other = disk.copy();
    for (disk, event) in [(&disk, "one"), (&other, "two")] {
        let mut log = disk.log();
        log.open().unwrap();
        for key in 1..=3 {
            log.append(&record(event, key, b"equally long")).unwrap();
            log.sync().unwrap();
        }
    }
    let entries = inspect(&mut disk.copy()).unwrap().unwrap().entries;
    let [.., first, second, third] = entries.as_slice() else { panic!("{entries:?}") };
    let place = |entry: &Entry| usize::try_from(entry.offset).unwrap();
    let (mut bytes, graft) = (disk.bytes(LOG_FILE), other.bytes(LOG_FILE));
    bytes[place(second)..place(third)].copy_from_slice(&graft[place(second)..place(third)]);
    disk.put(LOG_FILE, &bytes);
    let refused = disk.log().open();
    let Err(LogError::Damaged { offset, record, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((offset, record), (second.offset, first.number + 1));
}

#[test]
fn another_format_is_refused_and_left_alone() {
    let disk = written(1);
    let mut bytes = disk.bytes(LOG_FILE);
    bytes[8] = 3;
    disk.put(LOG_FILE, &bytes);
    let refused = disk.log().open();
    assert_eq!(refused, Err(LogError::Format { file: LOG_FILE, found: 3, known: 2 }));
    assert_eq!(disk.bytes(LOG_FILE), bytes);
}

#[test]
fn a_record_that_is_too_large_does_no_harm() {
    let disk = written(1);
    let mut log = disk.log();
    log.open().unwrap();
    let large = record("vote", 1, &vec![0; 64 << 20]);
    assert!(matches!(log.append(&large), Err(LogError::TooLarge { .. })));
    assert!(matches!(log.checkpoint(&large, &[]), Err(LogError::TooLarge { .. })));
    log.append(&numbered(1)[0]).unwrap();
    log.sync().unwrap();
    assert_eq!(disk.log().open().unwrap().records.len(), 2);
}

proptest! {
    #[test]
    fn whatever_happens_to_the_bytes_of_the_log_nothing_is_lost_in_silence(
        at: prop::sample::Index,
        noise in prop::collection::vec(any::<u8>(), 1..600),
    ) {
        let disk = written(5);
        let mut damaged = disk.bytes(LOG_FILE);
        let (at, length) = (at.index(damaged.len()), damaged.len());
        damaged.splice(at..length.min(at + noise.len()), noise);
        damaged.truncate(length);
        let changed = damaged != disk.bytes(LOG_FILE);
        disk.put(LOG_FILE, &damaged);
        let opened = disk.log().open();
        prop_assert_eq!(opened.is_err(), changed, "{:?}", opened);
    }
}

/// Opens a log as a program does whose votes have this schema.
fn opened_with(disk: &Memory, schema: u64) -> (DurableLog, Result<Opened, LogError>) {
    let mut log = disk.log();
    log.expect([("vote", Schema(schema))].into());
    let opened = log.open();
    (log, opened)
}

#[test]
fn records_that_were_written_with_other_fields_are_refused_and_left_alone() {
    let disk = Memory::default();
    let (mut log, _) = opened_with(&disk, 1);
    log.append(&record("vote", 1, b"a")).unwrap();
    log.sync().unwrap();
    let before = disk.files();
    let (_, refused) = opened_with(&disk, 2);
    let error = LogError::OtherSchema { name: "vote", written: Schema(1), known: Schema(2) };
    assert_eq!(refused, Err(error.clone()));
    let words = "records `vote` were written with other fields (schema 0000000000000001) than this \
                 program has (schema 0000000000000002): start the node with the version that wrote them, or \
                 give the changed record a new name and read both";
    assert_eq!(error.to_string(), words);
    assert_eq!(disk.files(), before, "nothing was written");
    assert_eq!(opened_with(&disk, 1).1.unwrap().incarnation, 2);
}

#[test]
fn what_the_records_hold_is_known_after_a_checkpoint_and_a_failed_sync() {
    let disk = Memory::default();
    let (mut log, _) = opened_with(&disk, 1);
    log.append(&record("vote", 1, b"a")).unwrap();
    log.checkpoint(&record("term", 1, b"b"), &[EventId::of("term")]).unwrap();
    drop(log);
    assert!(matches!(opened_with(&disk, 2).1, Err(LogError::OtherSchema { .. })));
    let (mut log, _) = opened_with(&disk, 1);
    log.append(&record("vote", 1, b"a")).unwrap();
    disk.0.lock().unwrap().sync_fails = true;
    assert!(log.sync().is_err());
    disk.0.lock().unwrap().sync_fails = false;
    opened_with(&disk, 1).1.unwrap();
    assert!(matches!(opened_with(&disk, 2).1, Err(LogError::OtherSchema { .. })));
}

#[test]
fn where_no_record_is_left_or_nobody_said_what_they_hold_any_schema_will_do() {
    let disk = Memory::default();
    let (mut log, _) = opened_with(&disk, 1);
    log.append(&record("vote", 1, b"a")).unwrap();
    log.checkpoint(&record("term", 1, b"b"), &[EventId::of("vote")]).unwrap();
    drop(log);
    opened_with(&disk, 2).1.unwrap();
    opened_with(&disk, 3).1.unwrap();
    let silent = written(2);
    opened_with(&silent, 1).1.unwrap();
    assert!(
        matches!(opened_with(&silent, 2).1, Err(LogError::OtherSchema { .. })),
        "now it is told"
    );
    assert_eq!(
        silent.log().open().unwrap().records,
        numbered(2),
        "who expects nothing compares nothing"
    );
    assert!(
        matches!(opened_with(&silent, 2).1, Err(LogError::OtherSchema { .. })),
        "and forgets nothing"
    );
}
