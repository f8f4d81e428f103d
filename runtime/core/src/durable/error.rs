//! Why a log does not work.

use super::{DiskError, DiskErrorKind};
use crate::{DecodeError, Schema};

/// Why a log does not work. The files are left as they are, for whoever examines them; the
/// operator is to act.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The disk refused. What was not synced may or may not be there after a restart.
    #[error("{0}{advice}", advice = advice(.0.kind))]
    Disk(#[from] DiskError),
    /// A file was changed after it had been made durable, or a part of it is gone.
    #[error(
        "{file} is damaged at byte {offset}, record {record}: {what}; put back a backup of the \
         directory, or start the node with an empty directory under a new name"
    )]
    Damaged {
        /// The file.
        file: &'static str,
        /// Where: the first byte of the record that is not as it was.
        offset: u64,
        /// Which record, from 1; 0 if it is none of them.
        record: u64,
        /// How.
        what: String,
    },
    /// The file was written by another version of this program.
    #[error(
        "{file} has format {found}; this program reads the formats up to {known}: start the node \
         with the version that wrote it, or a later one"
    )]
    Format {
        /// The file.
        file: &'static str,
        /// Its format.
        found: u32,
        /// The latest format that this program reads.
        known: u32,
    },
    /// A record is intact but no envelope: a bug of whoever wrote it.
    #[error("record {record} of {file}, at byte {offset}, does not decode: {cause}")]
    Record {
        /// The file.
        file: &'static str,
        /// Where the record begins.
        offset: u64,
        /// Which record, from 1.
        record: u64,
        /// What the codec said.
        #[source]
        cause: DecodeError,
    },
    /// Records were written by a program that has other fields in their event, and this one would
    /// misread them. Nothing was written.
    #[error(
        "records `{name}` were written with other fields (schema {written}) than this program has (schema \
         {known}): start the node with the version that wrote them, or give the changed record a new \
         name and read both"
    )]
    OtherSchema {
        /// The wire name of the records' event.
        name: &'static str,
        /// The schema that they were written with.
        written: Schema,
        /// That of this program.
        known: Schema,
    },
    /// The record is larger than one may be. Nothing was written.
    #[error("a record of {size} bytes; {size_max} is the limit")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The bound in bytes.
        size_max: usize,
    },
    /// The log has failed before, or was never opened, and is not to be used.
    #[error("the log has failed before, or is not open")]
    Failed,
}

impl LogError {
    /// What is wrong, without what to do about it where the log is that of a node.
    #[must_use]
    pub fn in_short(&self) -> String {
        match self {
            Self::Disk(error) => error.to_string(),
            Self::Damaged { file, offset, what, .. } => {
                format!("{file} is damaged at byte {offset}: {what}")
            }
            _ => self.to_string(),
        }
    }
}

fn advice(kind: DiskErrorKind) -> &'static str {
    match kind {
        DiskErrorKind::Full => "; make room and start the node again: nothing acknowledged is lost",
        DiskErrorKind::Missing | DiskErrorKind::Failed => "",
    }
}
