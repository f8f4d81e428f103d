//! What a log needs of a disk.

use std::fmt::Debug;

/// A flat directory of files, synchronous. What is written survives the process at once, and the
/// machine only once it is synced: contents by [`Disk::sync`], names by [`Disk::sync_names`].
///
/// After an error of `sync` or `sync_names` nothing is known of what was not synced before, and a
/// later success says nothing about it.
pub trait Disk: Debug + Send {
    /// The names of all files, sorted.
    ///
    /// # Errors
    ///
    /// [`DiskError`].
    fn list(&mut self) -> Result<Vec<String>, DiskError>;

    /// The whole content of a file. O(size).
    ///
    /// # Errors
    ///
    /// [`DiskError`]; [`DiskErrorKind::Missing`] if there is no such file.
    fn read(&mut self, file: &str) -> Result<Vec<u8>, DiskError>;

    /// Makes a file that is empty, whether or not there was one of this name.
    ///
    /// # Errors
    ///
    /// [`DiskError`].
    fn create(&mut self, file: &str) -> Result<(), DiskError>;

    /// Writes all of `bytes` at `offset`, beyond the end too, of a file that exists.
    ///
    /// # Errors
    ///
    /// [`DiskError`]; any part may have been written. [`DiskErrorKind::Full`] if there is no room.
    fn write_at(&mut self, file: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Makes the content and the length of a file durable, not its name.
    ///
    /// # Errors
    ///
    /// [`DiskError`]; do not call it again.
    fn sync(&mut self, file: &str) -> Result<(), DiskError>;

    /// Gives a file another name, in place of the file that had it. Atomic, not durable.
    ///
    /// # Errors
    ///
    /// [`DiskError`].
    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Makes the names durable.
    ///
    /// # Errors
    ///
    /// [`DiskError`]; do not call it again.
    fn sync_names(&mut self) -> Result<(), DiskError>;

    /// Removes a file. Not durable before [`Disk::sync_names`].
    ///
    /// # Errors
    ///
    /// [`DiskError`].
    fn remove(&mut self, file: &str) -> Result<(), DiskError>;
}

/// Why a disk did not do what it was asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("cannot {action} {file}: {what}")]
pub struct DiskError {
    /// What was tried, as a verb.
    pub action: &'static str,
    /// On which file.
    pub file: String,
    /// Of which kind the failure is.
    pub kind: DiskErrorKind,
    /// What the disk said.
    pub what: String,
}

/// The failures of a disk that call for different acts of an operator.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DiskErrorKind {
    /// There is no room.
    Full,
    /// There is no such file.
    Missing,
    /// Anything else.
    Failed,
}
