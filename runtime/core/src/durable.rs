//! Durable records: the log that a node finds again after a crash, over any [`Disk`].
//!
//! [`DurableLog`] knows no file system: a deployed node gives it the files of a directory, a
//! simulation a disk that loses, tears and rots. Both run the same code.
//!
//! What it does about what a disk may do:
//!
//! | The disk | The log |
//! |---|---|
//! | loses what was not synced, in any part | cuts the torn end off and counts it; no record behind a hole is served |
//! | changes, repeats, swaps or withholds what was synced | refuses to open and names file, byte and record |
//! | cannot sync | fails for good, and the next life writes anew what no note vouches for |
//! | is full | fails for good; nothing of the failed write counts as written |
//! | claims to have synced and has not | serves a prefix, or refuses: never a mixture |
//!
//! A log that is cut off at its very end can only be told from one that was never longer by the
//! note that is written after each sync, and the note itself is not synced: damage to the last
//! records passes for a torn end if a loss of power has taken the note too.

mod copy;
mod disk;
mod error;
mod log;
mod note;
mod old;
mod record;
mod scan;

pub use copy::Image;
pub use disk::{Disk, DiskError, DiskErrorKind};
pub use error::LogError;
pub use log::{DurableLog, Opened};
pub use scan::{Entry, EntryKind, Inspection, inspect};

use crate::{Envelope, EventId};

/// The file that holds the records.
pub const LOG_FILE: &str = "node.log";
/// A log that is being written in place of the other.
pub const NEW_FILE: &str = "node.log.new";
/// How much of the log is known to be durable.
pub const NOTE_FILE: &str = "node.note";

/// Whether a checkpoint of `replaces` by `new` makes `old` superfluous.
#[must_use]
pub fn is_replaced(old: &Envelope, new: &Envelope, replaces: &[EventId]) -> bool {
    old.instance() == new.instance() && replaces.contains(&old.event())
}

#[cfg(test)]
mod tests;
