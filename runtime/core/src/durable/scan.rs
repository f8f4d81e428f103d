//! Reading a log: what is intact, what was torn, what is damaged.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::record::{self, FORMAT, Head, Kind, Tail};
use super::{Disk, DiskErrorKind, LOG_FILE, LogError, NOTE_FILE, note, old};
use crate::{DecodeError, Envelope, EventId, Schema};

/// What the files of a log say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Inspection {
    /// The layout of the file.
    pub format: u32,
    /// How often the log was written anew.
    pub generation: u64,
    /// The latest life of the node that the log knows of; 0 if none has begun.
    pub incarnation: u64,
    /// What the records hold, by event, as far as the lives say so.
    pub schemas: BTreeMap<EventId, Schema>,
    /// The records, in the order of writing.
    pub entries: Vec<Entry>,
    /// Bytes of the file that hold intact records, its head included.
    pub intact_bytes: u64,
    /// Bytes behind them that were being written when the machine died.
    pub torn_bytes: u64,
    /// Bytes that are known to have been durable.
    pub durable_bytes: u64,
    pub(super) tail: Tail,
    pub(super) noted: Option<Tail>,
}

/// A record of a log, and where it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Which record it is, from 1.
    pub number: u64,
    /// Where it begins, in bytes of the file.
    pub offset: u64,
    /// What it says.
    pub kind: EntryKind,
}

/// What a record says.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EntryKind {
    /// The algorithm made this durable.
    Record(Envelope),
    /// A life of the node began, with this incarnation.
    Life(u64),
}

/// Reads and checks a log, and changes nothing; `None` if there is no log yet. The note is read
/// first, so a log that grows meanwhile gives a prefix. O(size).
///
/// # Errors
///
/// [`LogError`].
pub fn inspect(disk: &mut dyn Disk) -> Result<Option<Inspection>, LogError> {
    Ok(read(disk)?.map(|(found, _)| found))
}

/// The same, with the bytes of the file.
pub(super) fn read(disk: &mut dyn Disk) -> Result<Option<(Inspection, Bytes)>, LogError> {
    let noted = match note::read(disk) {
        Err(error) if error.kind == DiskErrorKind::Missing => None,
        read => read?,
    };
    match (disk.read(LOG_FILE), noted) {
        (Ok(bytes), noted) => {
            let bytes = Bytes::from(bytes);
            Ok(Some((read_log(&bytes, noted)?, bytes)))
        }
        (Err(error), None) if error.kind == DiskErrorKind::Missing => Ok(None),
        (Err(error), Some(noted)) if error.kind == DiskErrorKind::Missing => {
            let what = format!("it is gone; {NOTE_FILE} says that it had {} bytes", noted.position);
            Err(damaged(0, 0, what))
        }
        (Err(error), _) => Err(error.into()),
    }
}

fn read_log(bytes: &Bytes, noted: Option<Tail>) -> Result<Inspection, LogError> {
    match record::decode_head(bytes) {
        Head::Intact { start, born } => read_records(bytes, start, born, noted),
        Head::Foreign => Err(damaged(0, 0, "it does not begin as the log of a node")),
        Head::Broken => Err(damaged(0, 0, "its head does not match its checksum")),
        Head::Other(old::FORMAT) => read_old(bytes),
        Head::Other(found) => Err(LogError::Format { file: LOG_FILE, found, known: FORMAT }),
    }
}

fn read_records(
    bytes: &Bytes,
    head: Tail,
    born: u64,
    noted: Option<Tail>,
) -> Result<Inspection, LogError> {
    if let Some(noted) = noted.filter(|noted| head.generation < noted.generation) {
        let what = format!(
            "it is copy {} of the log, and {NOTE_FILE} says that copy {} has taken its place",
            head.generation, noted.generation
        );
        return Err(damaged(0, 0, what));
    }
    let noted = noted.filter(|noted| noted.generation == head.generation);
    let mut draft = Draft::new(bytes, born, noted);
    let mut tail = head;
    draft.pass(tail);
    while let Some(record) = bytes
        .get(usize::try_from(tail.position).unwrap_or(usize::MAX)..)
        .and_then(|rest| record::decode(rest, tail.generation))
        .filter(|record| record.position == tail.position && record.previous == tail.previous)
    {
        draft.entry(tail.position, record.kind, record.content)?;
        draft.durable = draft.durable.max(record.durable);
        tail.position += record.size() as u64;
        tail.previous = record.crc;
        draft.pass(tail);
    }
    draft.finish(tail)
}

/// The log as far as it is read.
struct Draft<'a> {
    bytes: &'a Bytes,
    entries: Vec<Entry>,
    incarnation: u64,
    schemas: BTreeMap<EventId, Schema>,
    /// Bytes that are known to have been durable.
    durable: u64,
    noted: Option<Tail>,
    /// Whether the log was at some point just what the note says.
    is_as_noted: bool,
}

impl<'a> Draft<'a> {
    fn new(bytes: &'a Bytes, durable: u64, noted: Option<Tail>) -> Self {
        let (entries, schemas) = (Vec::new(), BTreeMap::new());
        Self { bytes, entries, incarnation: 0, schemas, durable, noted, is_as_noted: false }
    }

    fn pass(&mut self, tail: Tail) {
        if self.noted == Some(tail) {
            self.is_as_noted = true;
            self.durable = self.durable.max(tail.position);
        }
    }

    fn entry(&mut self, offset: u64, kind: Kind, content: &[u8]) -> Result<(), LogError> {
        let number = self.entries.len() as u64 + 1;
        let wrong = |cause| LogError::Record { file: LOG_FILE, offset, record: number, cause };
        let kind = match kind {
            Kind::Envelope => {
                let envelope = Envelope::decode(&self.bytes.slice_ref(content));
                EntryKind::Record(envelope.map_err(wrong)?)
            }
            Kind::Life => {
                let life = record::decode_life(content);
                let (life, schemas) = life.ok_or_else(|| {
                    wrong(DecodeError::new("a life has 8 bytes, and 16 an event"))
                })?;
                self.schemas.extend(schemas);
                self.incarnation = self.incarnation.max(life);
                EntryKind::Life(life)
            }
        };
        self.entries.push(Entry { number, offset, kind });
        Ok(())
    }

    /// Judges what is behind the intact records.
    fn finish(self, tail: Tail) -> Result<Inspection, LogError> {
        let end = usize::try_from(tail.position).unwrap_or(usize::MAX);
        let beyond = record::proven_beyond(self.bytes, end, tail.generation);
        let noted = self.noted.map_or(0, |noted| noted.position);
        let durable = self.durable.max(beyond).max(noted);
        let next = self.entries.len() as u64 + 1;
        if tail.position < durable {
            let what = format!(
                "no intact record stands there, and {durable} bytes of the file were durable"
            );
            return Err(damaged(tail.position, next, what));
        }
        if self.noted.is_some() && !self.is_as_noted {
            let what = format!("{NOTE_FILE} vouches for other records than these");
            return Err(damaged(noted, 0, what));
        }
        Ok(Inspection {
            format: FORMAT,
            generation: tail.generation,
            incarnation: self.incarnation,
            schemas: self.schemas,
            entries: self.entries,
            intact_bytes: tail.position,
            torn_bytes: self.bytes.len() as u64 - tail.position,
            durable_bytes: durable,
            tail,
            noted: self.noted,
        })
    }
}

/// Reads a log of the first layout.
fn read_old(bytes: &Bytes) -> Result<Inspection, LogError> {
    let (records, end, is_damaged) = old::walk(bytes);
    let mut draft = Draft::new(bytes, 0, None);
    for (offset, record) in &records {
        match record {
            old::Record::Envelope(content) => {
                draft.entry(*offset as u64, Kind::Envelope, content)?;
            }
            old::Record::Life(content) => draft.entry(*offset as u64, Kind::Life, content)?,
            old::Record::Synced => (),
        }
    }
    if is_damaged {
        let what = "a record does not match its checksum, and later ones were durable";
        return Err(damaged(end as u64, records.len() as u64 + 1, what));
    }
    Ok(Inspection {
        format: old::FORMAT,
        generation: 0,
        incarnation: draft.incarnation,
        schemas: draft.schemas,
        entries: draft.entries,
        intact_bytes: end as u64,
        torn_bytes: (bytes.len() - end) as u64,
        durable_bytes: 0,
        tail: Tail::default(),
        noted: None,
    })
}

pub(super) fn damaged(offset: u64, record: u64, what: impl Into<String>) -> LogError {
    LogError::Damaged { file: LOG_FILE, offset, record, what: what.into() }
}

impl Inspection {
    /// The records of the node's algorithms, in the order of writing.
    pub fn records(&self) -> impl Iterator<Item = &Envelope> {
        self.entries.iter().filter_map(|entry| match &entry.kind {
            EntryKind::Record(envelope) => Some(envelope),
            EntryKind::Life(_) => None,
        })
    }

    /// Checks that a program whose records hold this, by wire name, reads them as they were meant.
    /// O(records).
    ///
    /// # Errors
    ///
    /// [`LogError::OtherSchema`] for the first that it would misread.
    pub fn suits(&self, records: &BTreeMap<&'static str, Schema>) -> Result<(), LogError> {
        let here: BTreeSet<EventId> = self.records().map(Envelope::event).collect();
        for (name, known) in records {
            let event = EventId::of(name);
            let written = self.schemas.get(&event).copied().filter(|written| written != known);
            if let Some(written) = written.filter(|_| here.contains(&event)) {
                return Err(LogError::OtherSchema { name, written, known: *known });
            }
        }
        Ok(())
    }

    pub(super) fn is_present_format(&self) -> bool {
        self.format == FORMAT
    }

    /// Whether there is a note of this log. Without one, nobody can tell a torn end from records that were cut off.
    #[must_use]
    pub fn is_noted(&self) -> bool {
        self.noted.is_some()
    }

    /// Whether the note vouches for every byte of the file, and so for its name.
    pub(super) fn is_vouched_for(&self) -> bool {
        self.torn_bytes == 0 && self.noted == Some(self.tail)
    }
}
