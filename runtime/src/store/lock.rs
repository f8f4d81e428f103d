//! One node per directory: a lock file that its holder has locked.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::{LOCK_FILE, StoreError};

/// Says whether some node uses a directory, and changes nothing. A node that opens the directory in
/// the same few microseconds finds it locked.
///
/// # Errors
///
/// [`StoreError::Locked`], if one does; [`StoreError::Io`].
pub fn check_unlocked(directory: &Path) -> Result<(), StoreError> {
    let path = directory.join(LOCK_FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(io("open", path, cause)),
    };
    unlocked(&path, file.try_lock_shared())
}

/// Holds a directory until it is dropped, or until its process ends in whatever way.
///
/// What counts is the operating system's lock on the file, not what stands in it, so that neither
/// a process that was killed nor the numbers of processes in containers can mislead. The file
/// stays: to remove it would take it away from somebody who has just opened it.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _held: File,
}

impl DirectoryLock {
    /// # Errors
    ///
    /// [`StoreError::Locked`], or [`StoreError::Io`].
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let failed = |action| move |cause| io(action, path.to_path_buf(), cause);
        let options = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = options.map_err(failed("create"))?;
        unlocked(path, file.try_lock())?;
        write_holder(&file).map_err(failed("write"))?;
        Ok(Self { _held: file })
    }
}

fn unlocked(path: &Path, tried: Result<(), TryLockError>) -> Result<(), StoreError> {
    match tried {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(path).unwrap_or_default();
            Err(StoreError::Locked { path: path.to_path_buf(), holder })
        }
        Err(TryLockError::Error(cause)) => Err(io("lock", path.to_path_buf(), cause)),
    }
}

fn io(action: &'static str, path: PathBuf, cause: Error) -> StoreError {
    StoreError::Io { action, path, cause }
}

/// For whoever asks who holds the directory.
fn write_holder(mut file: &File) -> std::io::Result<()> {
    file.set_len(0)?;
    write!(file, "{}", std::process::id())
}
