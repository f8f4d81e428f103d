//! Durable records: what a node finds again after a crash.
//!
//! A store knows records and nothing of who writes them. It is synchronous: a node gives it a
//! thread of its own.

mod copy;
mod directory;
mod file;
mod lock;
mod marks;
mod memory;
pub(crate) mod writer;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;

use synod_core::durable::{LOG_FILE, LogError};
use synod_core::{Envelope, EventId, NodeId, Schema};

pub use copy::{copy_store, inspect_store};
pub use directory::DirectoryDisk;
pub use file::FileStore;
pub use lock::check_unlocked;
pub use marks::{check_owner, check_unfenced};
pub use memory::MemoryStore;
pub use synod_core::durable::Opened;

/// Keeps records in the order of writing, and counts the lives of its node.
pub trait Store: Debug + Send {
    /// Says what the records of the program hold, by wire name, before it is opened: one that
    /// remembers what earlier programs said refuses to open where that is something else. One that
    /// does not outlast its program has nothing to remember.
    fn expect(&mut self, records: BTreeMap<&'static str, Schema>) {
        drop(records);
    }

    /// Says which node is to use it, before it is opened: one that remembers whose it is refuses to open for
    /// another. One that does not outlast its program has nothing to remember.
    fn own(&mut self, node: NodeId) {
        let _ = node;
    }

    /// Begins the next life of the node: raises the incarnation, durably, and reads all records.
    /// Called once before anything else, and again after a restart in the same process.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the store is not to be used then.
    fn open(&mut self) -> Result<Opened, StoreError>;

    /// Whether [`Store::open`] takes less time than to wake a thread: nothing waits for a disk.
    fn opens_at_once(&self) -> bool {
        false
    }

    /// A peer has known a later life of the node, or another process in this one: no life is to begin from
    /// these records any more, since each has a higher number than the one before. One that does not
    /// outlast its program has nothing to keep from.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn fence(&mut self, why: &str) -> Result<(), StoreError> {
        let _ = why;
        Ok(())
    }

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

/// Why a store does not work. All of them stop the node; the operator is to act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused something around the log: the directory, or its lock.
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
    /// The log in the directory does not work.
    #[error("the store in {directory}: {cause}", directory = directory.display())]
    Log {
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        cause: LogError,
    },
    /// A copy cannot be written there, or does not read as it was written. Nothing is left of it.
    #[error("no copy is made in {directory}: {cause}", directory = directory.display(), cause = cause.in_short())]
    Copy {
        /// The directory.
        directory: PathBuf,
        /// Why.
        cause: LogError,
    },
    /// There is no log in the directory. Nothing was written.
    #[error("there is no {LOG_FILE} in {directory}", directory = directory.display())]
    Empty {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory is to be empty, and is not. Nothing was written.
    #[error(
        "{directory} is not empty: move it away, or name another directory",
        directory = directory.display()
    )]
    Occupied {
        /// The directory.
        directory: PathBuf,
    },
    /// Another node uses the directory.
    #[error(
        "{path} is locked by process {holder}: stop it, or name another directory",
        path = path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The number of the process that holds it, as it has written it there.
        holder: String,
    },
    /// A peer has known a later life of the node than the one that these records begin. Nothing was written.
    #[error(
        "{path} says that this store is not the newest one of its node: {why} Bring back the newest one. If it is \
         lost, and the cluster survives that the node forgets what it promised since, remove that file",
        path = path.display()
    )]
    Fenced {
        /// The file that says so.
        path: PathBuf,
        /// What the peer said.
        why: String,
    },
    /// The records are another node's, or another algorithm's. Nothing was written.
    #[error(
        "{directory} is the store of {other}, not of {owner}: name the right directory",
        directory = directory.display()
    )]
    Foreign {
        /// The directory.
        directory: PathBuf,
        /// Whose it is.
        other: String,
        /// Who asked for it.
        owner: String,
    },
    /// The store has failed before, and is not to be used again.
    #[error("the store has failed before")]
    Broken,
}

/// The file that says who uses a directory.
const LOCK_FILE: &str = "lock";
