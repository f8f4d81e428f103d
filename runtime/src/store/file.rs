//! Records in an append-only file.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use synod_core::{Envelope, EventId};

use super::lock::DirectoryLock;
use super::memory::is_replaced;
use super::record::{self, CONTENT_MAX, FILE_HEADER, FORMAT, Kind, MAGIC};
use super::{Opened, Store, StoreError};

/// Keeps records in `node.log` of a directory of its own.
///
/// The end of the log that was being written when the machine died is cut off. Damage anywhere
/// else is an error that names the place: a node must not come up with a part of its memory.
/// A checkpoint writes a new file and renames it. The directory is locked for one node.
#[derive(Debug)]
pub struct FileStore {
    directory: PathBuf,
    lock: Option<DirectoryLock>,
    log: Option<File>,
    /// The number of the next record.
    number: u64,
    /// What is appended and not yet written: one write per sync.
    buffer: Vec<u8>,
    incarnation: u64,
    broken: bool,
}

impl FileStore {
    /// A store in `directory`, which is made if need be. Nothing is touched before
    /// [`Store::open`].
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            lock: None,
            log: None,
            number: 1,
            buffer: Vec::new(),
            incarnation: 0,
            broken: false,
        }
    }

    /// The file that holds the records.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.directory.join("node.log")
    }

    fn begin_life(&mut self) -> Result<Opened, StoreError> {
        fs::create_dir_all(&self.directory).map_err(io("create", &self.directory))?;
        if self.lock.is_none() {
            self.lock = Some(DirectoryLock::take(self.directory.join("lock"))?);
        }
        let path = self.log_path();
        if !path.exists() {
            self.replace_log(&[])?;
        }
        let bytes = Bytes::from(fs::read(&path).map_err(io("read", &path))?);
        let log = self.read_log(&bytes)?;
        let (first, torn_bytes) = (log.incarnation == 0, log.torn_bytes);
        self.open_log(bytes.len() as u64 - torn_bytes)?;
        (self.number, self.incarnation) = (log.number, log.incarnation + 1);
        self.write(Kind::Life, &self.incarnation.to_le_bytes());
        self.flush_and_sync()?;
        Ok(Opened { incarnation: self.incarnation, first, records: log.records, torn_bytes })
    }

    /// Opens the log for appending, after cutting off what is torn.
    fn open_log(&mut self, length: u64) -> Result<(), StoreError> {
        let path = self.log_path();
        let file = OpenOptions::new().append(true).open(&path).map_err(io("open", &path))?;
        file.set_len(length).map_err(io("truncate", &path))?;
        self.log = Some(file);
        Ok(())
    }

    fn read_log(&self, bytes: &Bytes) -> Result<Log, StoreError> {
        let path = self.log_path();
        let damaged = |offset: usize, what: &str| StoreError::Damaged {
            path: path.clone(),
            offset: offset as u64,
            what: String::from(what),
        };
        let (magic, rest) =
            bytes.split_first_chunk::<8>().ok_or_else(|| damaged(0, "it has no header"))?;
        let (format, rest) =
            rest.split_first_chunk::<4>().ok_or_else(|| damaged(8, "it has no format"))?;
        let found = u32::from_le_bytes(*format);
        if magic != MAGIC {
            return Err(damaged(0, "it is no log of a node"));
        }
        if found != FORMAT {
            return Err(StoreError::Format { path, found, known: FORMAT });
        }
        let (records, end) = record::walk(rest);
        let torn = rest.get(end..).unwrap_or_default();
        if record::proves_durable(torn, records.len() as u64 + 1) {
            return Err(damaged(FILE_HEADER + end, "a record does not match its checksum"));
        }
        Log::of(&records, torn.len(), |content| {
            Envelope::decode(&bytes.slice_ref(content))
                .map_err(|cause| StoreError::Record { path: path.clone(), cause })
        })
    }

    /// Writes a new log with these records and the running life, and puts it in place.
    fn replace_log(&mut self, records: &[Envelope]) -> Result<(), StoreError> {
        let (path, new) = (self.log_path(), self.directory.join("node.log.new"));
        self.buffer = record::file_header();
        self.number = 1;
        for record in records {
            self.write(Kind::Envelope, &encoded(record)?);
        }
        if 0 < self.incarnation {
            self.write(Kind::Life, &self.incarnation.to_le_bytes());
        }
        self.log = Some(File::create(&new).map_err(io("create", &new))?);
        self.flush_and_sync()?;
        fs::rename(&new, &path).map_err(io("rename", &new))?;
        sync_directory(&self.directory)
    }

    fn write(&mut self, kind: Kind, content: &[u8]) {
        record::encode(&mut self.buffer, self.number, kind, content);
        self.number += 1;
    }

    /// Writes the buffer and syncs, then notes that it did: the note needs no sync, as it only
    /// has to survive what damages a log without a crash.
    fn flush_and_sync(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        let path = self.log_path();
        let log = self.log.as_ref().ok_or(StoreError::Broken)?;
        log.sync_all().map_err(io("sync", &path))?;
        self.write(Kind::Synced, &[]);
        self.flush()
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let path = self.log_path();
        let log = self.log.as_mut().ok_or(StoreError::Broken)?;
        log.write_all(&self.buffer).map_err(io("write", &path))?;
        self.buffer.clear();
        Ok(())
    }

    /// Rewrites the log without what `record` stands for.
    fn compact(&mut self, record: &Envelope, replaces: &[EventId]) -> Result<(), StoreError> {
        self.flush()?;
        let path = self.log_path();
        let bytes = Bytes::from(fs::read(&path).map_err(io("read", &path))?);
        let mut records = self.read_log(&bytes)?.records;
        records.retain(|old| !is_replaced(old, record, replaces));
        records.push(record.clone());
        self.replace_log(&records)
    }

    /// Runs `work` unless something has failed before, and remembers whether it failed.
    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.broken {
            return Err(StoreError::Broken);
        }
        let result = work(self);
        self.broken = result.is_err();
        result
    }
}

impl Store for FileStore {
    fn open(&mut self) -> Result<Opened, StoreError> {
        self.guarded(Self::begin_life)
    }

    fn append(&mut self, record: &Envelope) -> Result<(), StoreError> {
        self.guarded(|store| {
            store.write(Kind::Envelope, &encoded(record)?);
            if BUFFER_MAX < store.buffer.len() { store.flush() } else { Ok(()) }
        })
    }

    fn checkpoint(&mut self, record: &Envelope, replaces: &[EventId]) -> Result<(), StoreError> {
        self.guarded(|store| store.compact(record, replaces))
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.guarded(Self::flush_and_sync)
    }
}

/// What a log says.
struct Log {
    records: Vec<Envelope>,
    incarnation: u64,
    /// The number of the next record.
    number: u64,
    torn_bytes: u64,
}

impl Log {
    fn of(
        records: &[record::Record<'_>],
        torn_bytes: usize,
        open: impl Fn(&[u8]) -> Result<Envelope, StoreError>,
    ) -> Result<Self, StoreError> {
        let mut log = Self {
            records: Vec::new(),
            incarnation: 0,
            number: records.len() as u64 + 1,
            torn_bytes: torn_bytes as u64,
        };
        for record in records {
            match record.kind {
                Kind::Envelope => log.records.push(open(record.content)?),
                Kind::Life => {
                    let life = record.content.first_chunk::<8>();
                    let life = life.map_or(0, |life| u64::from_le_bytes(*life));
                    log.incarnation = log.incarnation.max(life);
                }
                Kind::Synced => (),
            }
        }
        Ok(log)
    }
}

fn encoded(record: &Envelope) -> Result<Vec<u8>, StoreError> {
    let mut content = Vec::new();
    record.encode_into(&mut content);
    if CONTENT_MAX < content.len() {
        return Err(StoreError::TooLarge { size: content.len(), size_max: CONTENT_MAX });
    }
    Ok(content)
}

/// Makes the names in a directory durable.
fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        let synced = File::open(directory).and_then(|opened| opened.sync_all());
        synced.map_err(io("sync", directory))?;
    }
    Ok(())
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_path_buf();
    move |cause| StoreError::Io { action, path, cause }
}

/// Bytes that wait for a sync before they are written anyway.
const BUFFER_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests;
