//! The files of a directory, as the log wants them.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use synod_core::durable::{Disk, DiskError, DiskErrorKind};

/// The files of a directory. A file stays open from its first use on, so that a write that the
/// operating system could not carry out is told to the sync of the same file.
#[derive(Debug)]
pub struct DirectoryDisk {
    directory: PathBuf,
    open: BTreeMap<String, File>,
}

impl DirectoryDisk {
    /// The files of `directory`, which has to exist once one is used.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), open: BTreeMap::new() }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    fn opened(&mut self, action: &'static str, file: &str) -> Result<&mut File, DiskError> {
        if !self.open.contains_key(file) {
            let opened = OpenOptions::new().read(true).write(true).open(self.path(file));
            self.open.insert(String::from(file), opened.map_err(failed(action, file))?);
        }
        self.open.get_mut(file).ok_or_else(|| failed(action, file)(ErrorKind::NotFound.into()))
    }
}

impl Disk for DirectoryDisk {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        let names = || {
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.directory)? {
                names.extend(entry?.file_name().into_string());
            }
            names.sort_unstable();
            Ok(names)
        };
        names().map_err(failed("list", DIRECTORY))
    }

    fn read(&mut self, file: &str) -> Result<Vec<u8>, DiskError> {
        fs::read(self.path(file)).map_err(failed("read", file))
    }

    fn create(&mut self, file: &str) -> Result<(), DiskError> {
        let made = private_file().open(self.path(file)).map_err(failed("create", file))?;
        self.open.insert(String::from(file), made);
        Ok(())
    }

    fn write_at(&mut self, file: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let opened = self.opened("write", file)?;
        let written = opened.seek(SeekFrom::Start(offset)).and_then(|_| opened.write_all(bytes));
        written.map_err(failed("write", file))
    }

    fn sync(&mut self, file: &str) -> Result<(), DiskError> {
        let synced = self.opened("sync", file)?.sync_all();
        synced.map_err(failed("sync", file))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        fs::rename(self.path(from), self.path(to)).map_err(failed("rename", from))?;
        self.open.remove(to);
        let moved = self.open.remove(from).map(|file| (String::from(to), file));
        self.open.extend(moved);
        Ok(())
    }

    fn sync_names(&mut self) -> Result<(), DiskError> {
        sync_directory(&self.directory).map_err(failed("sync", DIRECTORY))
    }

    fn remove(&mut self, file: &str) -> Result<(), DiskError> {
        self.open.remove(file);
        fs::remove_file(self.path(file)).map_err(failed("remove", file))
    }
}

/// How an empty file is made that only its owner can read: a record may hold what others shall not know.
pub(super) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes the names in a directory durable, where the operating system can.
pub(super) fn sync_directory(directory: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

fn failed(action: &'static str, file: &str) -> impl FnOnce(Error) -> DiskError {
    let file = String::from(file);
    move |cause| DiskError { action, file, kind: kind_of(&cause), what: cause.to_string() }
}

fn kind_of(cause: &Error) -> DiskErrorKind {
    match cause.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            DiskErrorKind::Full
        }
        ErrorKind::NotFound => DiskErrorKind::Missing,
        _ => DiskErrorKind::Failed,
    }
}

/// What an error calls the directory.
const DIRECTORY: &str = "the directory";
