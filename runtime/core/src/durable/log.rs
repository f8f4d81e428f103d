//! The log as its node uses it.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::record::{self, CONTENT_MAX, FILE_HEADER, FORMAT, Kind, Tail};
use super::{
    Disk, Inspection, LOG_FILE, LogError, NEW_FILE, NOTE_FILE, inspect, is_replaced, note,
};
use crate::{Envelope, EventId, Schema};

/// Keeps records in the order of writing, and counts the lives of its node.
///
/// Files: the log, to which records are appended; a new log, which is written as a whole, synced,
/// and renamed over the other; the note, which says how much a sync has made durable.
///
/// After any error the log is not used again. A new life that finds records for which no note
/// vouches writes the log anew: what a failed sync has left behind in the memory of the operating
/// system reads well, and is not on the disk.
#[derive(Debug)]
pub struct DurableLog {
    disk: Box<dyn Disk>,
    /// Where the next record goes.
    tail: Tail,
    /// How many bytes of the file are durable.
    durable: u64,
    /// What is appended and not yet written: one write for each sync.
    buffer: Vec<u8>,
    incarnation: u64,
    /// What the program's records hold, by wire name.
    records: BTreeMap<&'static str, Schema>,
    /// What the log says of its records: that of the lives so far, and of the one that runs.
    schemas: BTreeMap<EventId, Schema>,
    /// Notes written, which take turns.
    notes: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    New,
    Open,
    Failed,
}

/// What a node finds when it comes up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Opened {
    /// Which life of the node begins: higher than all before, below 2^32.
    pub incarnation: u64,
    /// Whether it is the first one as far as the store can know.
    pub first: bool,
    /// The records, in the order of writing.
    pub records: Vec<Envelope>,
    /// Bytes at the end that were being written when the node died, and were cut off.
    pub torn_bytes: u64,
}

impl DurableLog {
    /// A log on `disk`. Nothing is touched before [`DurableLog::open`].
    #[must_use]
    pub fn new(disk: Box<dyn Disk>) -> Self {
        Self {
            disk,
            tail: Tail::default(),
            durable: 0,
            buffer: Vec::new(),
            incarnation: 0,
            records: BTreeMap::new(),
            schemas: BTreeMap::new(),
            notes: 0,
            state: State::New,
        }
    }

    /// Says what the records of the program hold, by wire name: [`DurableLog::open`] refuses those
    /// that were written with other fields, and the log tells later programs. To be called before
    /// that; a log that is told nothing compares nothing.
    pub fn expect(&mut self, records: BTreeMap<&'static str, Schema>) {
        self.records = records;
    }

    /// Begins the next life of the node: reads all records, and raises the incarnation, durably.
    /// To be called before anything else, and again after a restart in the same process. O(size).
    ///
    /// # Errors
    ///
    /// [`LogError`]; the log is not to be used then.
    pub fn open(&mut self) -> Result<Opened, LogError> {
        if self.state == State::Failed {
            return Err(LogError::Failed);
        }
        self.state = State::Open;
        self.guarded(Self::begin_life)
    }

    /// Adds a record. It is durable after the next [`DurableLog::sync`].
    ///
    /// # Errors
    ///
    /// [`LogError`]; what was not synced may or may not be there after a restart.
    pub fn append(&mut self, record: &Envelope) -> Result<(), LogError> {
        self.guarded(|log| {
            log.add(Kind::Envelope, &encoded(record)?);
            if BUFFER_MAX < log.buffer.len() { log.flush() } else { Ok(()) }
        })
    }

    /// Adds a record in place of all earlier ones of the same instance that hold one of these
    /// events, durably, with all that was appended before: the log is written anew. A crash on the
    /// way leaves the old records. O(size).
    ///
    /// # Errors
    ///
    /// As [`DurableLog::append`].
    pub fn checkpoint(&mut self, record: &Envelope, replaces: &[EventId]) -> Result<(), LogError> {
        self.guarded(|log| log.compact(record, replaces))
    }

    /// Makes everything durable that was appended. Does nothing if all of it is.
    ///
    /// # Errors
    ///
    /// As [`DurableLog::append`]. A sync that has failed is not tried again: what an operating
    /// system could not write once it may claim to have written the next time.
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.guarded(|log| {
            if log.durable < log.tail.position {
                log.flush_and_sync()?;
            }
            Ok(())
        })
    }

    fn begin_life(&mut self) -> Result<Opened, LogError> {
        self.flush_if_open()?;
        let found = inspect(self.disk.as_mut())?;
        if let Some(found) = &found {
            found.suits(&self.records)?;
            self.schemas.clone_from(&found.schemas);
        }
        let own = self.records.iter().map(|(name, schema)| (EventId::of(name), *schema));
        self.schemas.extend(own);
        let files = self.disk.list()?;
        if files.iter().any(|file| file == NEW_FILE) {
            self.disk.remove(NEW_FILE)?;
        }
        if files.iter().all(|file| file != NOTE_FILE) {
            note::create(self.disk.as_mut())?;
        }
        let incarnation = found.as_ref().map_or(0, |found| found.incarnation);
        self.incarnation = incarnation + 1;
        let (records, torn_bytes) = match found {
            Some(found) => (self.resume(&found)?, found.torn_bytes),
            None => (self.replace(Vec::new(), 0)?, 0),
        };
        self.disk.sync(NOTE_FILE)?;
        self.disk.sync_names()?;
        Ok(Opened { incarnation: self.incarnation, first: incarnation == 0, records, torn_bytes })
    }

    /// Goes on with a log that is vouched for, or writes it anew. The new life is durable then.
    fn resume(&mut self, found: &Inspection) -> Result<Vec<Envelope>, LogError> {
        let records: Vec<Envelope> = found.records().cloned().collect();
        if found.format != FORMAT {
            self.keep_as_it_was(found.format)?;
        }
        if !found.is_vouched_for() {
            return self.replace(records, found.generation);
        }
        (self.tail, self.durable) = (found.tail, found.durable_bytes);
        self.add(Kind::Life, &self.life());
        self.flush_and_sync()?;
        Ok(records)
    }

    /// Keeps the log of an earlier format, which is about to be written anew, durably: an earlier version of
    /// the program could not go on with the new one.
    fn keep_as_it_was(&mut self, format: u32) -> Result<(), LogError> {
        let (bytes, kept) = (self.disk.read(LOG_FILE)?, format!("{LOG_FILE}.format-{format}"));
        self.disk.create(&kept)?;
        self.disk.write_at(&kept, 0, &bytes)?;
        self.disk.sync(&kept)?;
        Ok(self.disk.sync_names()?)
    }

    fn compact(&mut self, record: &Envelope, replaces: &[EventId]) -> Result<(), LogError> {
        encoded(record)?; // One that is too large is refused before anything is written.
        self.flush()?;
        let found = inspect(self.disk.as_mut())?.ok_or(LogError::Failed)?;
        let mut records: Vec<Envelope> = found.records().cloned().collect();
        records.retain(|old| !is_replaced(old, record, replaces));
        records.push(record.clone());
        self.replace(records, found.generation).map(drop)
    }

    /// Writes a new log with these records and the running life, and puts it in place, durably.
    fn replace(&mut self, records: Vec<Envelope>, after: u64) -> Result<Vec<Envelope>, LogError> {
        self.tail = record::start(after + 1);
        self.durable = self.tail.position;
        self.buffer = vec![0; FILE_HEADER];
        for record in &records {
            self.add(Kind::Envelope, &encoded(record)?);
        }
        self.add(Kind::Life, &self.life());
        let head = record::encode_head(self.tail.generation, self.tail.position);
        self.buffer.splice(..FILE_HEADER, head);
        self.disk.create(NEW_FILE)?;
        self.disk.write_at(NEW_FILE, 0, &self.buffer)?;
        self.buffer.clear();
        self.disk.sync(NEW_FILE)?;
        self.disk.rename(NEW_FILE, LOG_FILE)?;
        self.disk.sync_names()?;
        self.vouch()?;
        Ok(records)
    }

    fn life(&self) -> Vec<u8> {
        record::encode_life(self.incarnation, &self.schemas)
    }

    fn add(&mut self, kind: Kind, content: &[u8]) {
        record::encode(&mut self.buffer, &mut self.tail, self.durable, kind, content);
    }

    fn flush_and_sync(&mut self) -> Result<(), LogError> {
        self.flush()?;
        self.disk.sync(LOG_FILE)?;
        self.vouch()
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let offset = self.tail.position - self.buffer.len() as u64;
        self.disk.write_at(LOG_FILE, offset, &self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// What was appended in a life that ends within the process goes to the file.
    fn flush_if_open(&mut self) -> Result<(), LogError> {
        if self.buffer.is_empty() { Ok(()) } else { self.flush() }
    }

    /// Notes that all is durable: a sync has returned.
    fn vouch(&mut self) -> Result<(), LogError> {
        self.durable = self.tail.position;
        self.notes += 1;
        Ok(note::write(self.disk.as_mut(), self.notes, self.tail)?)
    }

    /// Runs `work` unless something has failed before, and remembers whether it failed. A record
    /// that is too large does no harm.
    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        if self.state != State::Open {
            return Err(LogError::Failed);
        }
        let result = work(self);
        if !matches!(result, Ok(_) | Err(LogError::TooLarge { .. })) {
            self.state = State::Failed;
        }
        result
    }
}

fn encoded(record: &Envelope) -> Result<Vec<u8>, LogError> {
    let mut content = Vec::new();
    record.encode_into(&mut content);
    if CONTENT_MAX < content.len() {
        return Err(LogError::TooLarge { size: content.len(), size_max: CONTENT_MAX });
    }
    Ok(content)
}

/// Bytes that wait for a sync before they are written anyway.
const BUFFER_MAX: usize = 1 << 20;
