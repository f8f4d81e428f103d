//! Durable records: what a node finds again after a crash.
//!
//! A store knows records and nothing of who writes them. It is synchronous: a node gives it a
//! thread of its own.

mod file;
mod lock;
mod memory;
mod record;
pub(crate) mod writer;

use std::fmt::Debug;
use std::path::PathBuf;

use synod_core::{DecodeError, Envelope, EventId};

pub use file::FileStore;
pub use memory::MemoryStore;

/// Keeps records in the order of writing, and counts the lives of its node.
pub trait Store: Debug + Send {
    /// Begins the next life of the node: raises the incarnation, durably, and reads all records.
    /// Called once before anything else, and again after a restart in the same process.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the store is not to be used then.
    fn open(&mut self) -> Result<Opened, StoreError>;

    /// Adds a record. It is durable after the next [`Store::sync`].
    ///
    /// # Errors
    ///
    /// [`StoreError`]; what was not synced may or may not be there after a restart.
    fn append(&mut self, record: &Envelope) -> Result<(), StoreError>;

    /// Adds a record in place of all earlier ones of the same instance that hold one of these
    /// events. Durable after the next [`Store::sync`]; a crash before leaves the old records.
    ///
    /// # Errors
    ///
    /// As [`Store::append`].
    fn checkpoint(&mut self, record: &Envelope, replaces: &[EventId]) -> Result<(), StoreError>;

    /// Makes everything durable. Never called again after an error: what an operating system
    /// could not write once it may claim to have written the next time.
    ///
    /// # Errors
    ///
    /// As [`Store::append`].
    fn sync(&mut self) -> Result<(), StoreError>;
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

/// Why a store does not work. All of them stop the node; the operator is to act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused. Nothing is known of what was not synced.
    #[error("cannot {action} {path}: {cause}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        cause: std::io::Error,
    },
    /// The file was damaged after it had been written. It is left as it is.
    #[error(
        "{path} is damaged at byte {offset}: {what}; put back a copy of the file, or start the \
         node with an empty directory under a new name",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// How.
        what: String,
    },
    /// The file was written by another version of this program. It is left as it is.
    #[error("{path} has format {found}; this program reads format {known}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format that this program reads.
        known: u32,
    },
    /// A record is intact but not an envelope: a bug of whoever wrote it.
    #[error("a record in {path} does not decode: {cause}", path = path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What the codec said.
        #[source]
        cause: DecodeError,
    },
    /// The record is larger than one may be. Nothing was written.
    #[error("a record of {size} bytes; {size_max} is the limit")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The bound in bytes.
        size_max: usize,
    },
    /// Another node uses the directory.
    #[error(
        "{path} is held by process {holder}: stop it, or remove the file if it is no node",
        path = path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// What the lock file says about its holder.
        holder: String,
    },
    /// The store has failed before, and is not to be used again.
    #[error("the store has failed before")]
    Broken,
}
