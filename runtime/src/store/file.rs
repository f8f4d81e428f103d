//! Records in the files of a directory.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::path::{Path, PathBuf};

use synod_core::durable::{Disk, DurableLog, LOG_FILE, LogError};
use synod_core::{Envelope, EventId, NodeId, Schema};

use super::directory::{DirectoryDisk, sync_directory};
use super::lock::DirectoryLock;
use super::{Opened, Store, StoreError, marks};

/// Keeps records in a directory of its own: a [`DurableLog`] over its files.
///
/// The end of the log that was being written when the machine died is cut off. Damage anywhere
/// else is an error that names the place: a node must not come up with a part of its memory.
/// The directory is locked for one node.
///
/// **A directory that was put back from a copy.** Each life of a node writes its number, the
/// incarnation, durably before it says a word. A copy that is put back begins a life whose number
/// was used before, and peers that are linked with a later life refuse it. What no store can know
/// by itself is whether the directory as a whole is a copy: where no peer remembers a later life, the
/// node comes up with what the copy holds. Once a peer has said so, the directory is [fenced](Store::fence),
/// since each start would raise the number, until it is higher than what the peer remembers. A log
/// that alone was put back, without its note, or next to a later one, is refused.
#[derive(Debug)]
pub struct FileStore {
    directory: PathBuf,
    lock: Option<DirectoryLock>,
    /// Whose records these are, in words.
    owner: Option<String>,
    log: DurableLog,
    /// Whether the files are those of the directory, and not of another disk.
    is_real: bool,
}

impl FileStore {
    /// A store in `directory`, which is made if need be. Nothing is touched before
    /// [`Store::open`].
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        let disk = Box::new(DirectoryDisk::new(&directory));
        Self { log: DurableLog::new(disk), directory, lock: None, owner: None, is_real: true }
    }

    /// A store over another disk, which belongs to nobody else: nothing is locked. `name` stands
    /// in errors for the directory.
    pub fn over(name: impl Into<PathBuf>, disk: Box<dyn Disk>) -> Self {
        let log = DurableLog::new(disk);
        Self { log, directory: name.into(), lock: None, owner: None, is_real: false }
    }

    /// Says whose records these are: which node, of which cluster, of which algorithm. It is written down at the
    /// first start, and the records of anybody else are not opened. Unless this is called, it is just the node,
    /// which whoever says more of it must begin with: `n1 of cluster demo` may open what `n1` has left, and
    /// the other way round.
    #[must_use]
    pub fn owned_by(self, owner: impl Into<String>) -> Self {
        Self { owner: Some(owner.into()), ..self }
    }

    /// The file that holds the records.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.directory.join(LOG_FILE)
    }

    /// Makes the directory and locks it, unless it is another one's or an old copy.
    fn take(&mut self) -> Result<(), StoreError> {
        if self.is_real && self.lock.is_none() {
            create_directory(&self.directory)?;
            self.lock = Some(DirectoryLock::take(&self.directory.join(super::LOCK_FILE))?);
        }
        if self.is_real {
            marks::check_unfenced(&self.directory)?;
            self.owner.as_ref().map_or(Ok(()), |owner| marks::own(&self.directory, owner))?;
        }
        Ok(())
    }

    fn told(&self) -> impl FnOnce(LogError) -> StoreError {
        let directory = self.directory.clone();
        move |cause| StoreError::Log { directory, cause }
    }
}

impl Store for FileStore {
    fn expect(&mut self, records: BTreeMap<&'static str, Schema>) {
        self.log.expect(records);
    }

    fn own(&mut self, node: NodeId) {
        self.owner.get_or_insert_with(|| node.to_string());
    }

    fn open(&mut self) -> Result<Opened, StoreError> {
        self.take()?;
        self.log.open().map_err(self.told())
    }

    fn fence(&mut self, why: &str) -> Result<(), StoreError> {
        if self.is_real { marks::fence(&self.directory, why) } else { Ok(()) }
    }

    fn append(&mut self, record: &Envelope) -> Result<(), StoreError> {
        self.log.append(record).map_err(self.told())
    }

    fn checkpoint(&mut self, record: &Envelope, replaces: &[EventId]) -> Result<(), StoreError> {
        self.log.checkpoint(record, replaces).map_err(self.told())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.log.sync().map_err(self.told())
    }
}

/// Makes a directory with all that leads to it, for its owner alone; a name that is new is durable then.
pub(super) fn create_directory(directory: &Path) -> Result<(), StoreError> {
    let io = |cause| StoreError::Io { action: "create", path: directory.to_path_buf(), cause };
    if directory.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let parents = parents_of_new(directory);
    builder.recursive(true).create(directory).map_err(io)?;
    parents.into_iter().try_for_each(sync_directory).map_err(io)
}

/// The directories that hold the name of this one and those of the new ones that lead to it, the innermost
/// first.
fn parents_of_new(directory: &Path) -> Vec<&Path> {
    let mut names = directory.ancestors().filter(|path| !path.as_os_str().is_empty());
    let last = names.next();
    let parents =
        last.into_iter().chain(names.take_while(|path| !path.is_dir())).filter_map(Path::parent);
    let is_here = |path: &Path| path.as_os_str().is_empty();
    parents.map(|parent| if is_here(parent) { Path::new(".") } else { parent }).collect()
}

#[cfg(test)]
mod tests;
