//! What a deployed node was fed, as a file: enough to feed another node the same, and to see
//! whether it does the same.
//!
//! A step is a function of the state, the time and the input, and the first state is a function of
//! the [`Boot`]. So a recording holds no effects, of these a [`Fingerprint`], and no state, unless it
//! begins in the middle of a life: then that of this moment, a [`Snapshot`].
//!
//! ```text
//! file    "synodrec" | format u32 | records
//! record  length u32 | its complement u32 | content | check u64
//! ```
//!
//! Integers are little-endian, and a content is in postcard's encoding: a life of the node begins,
//! what the node was if it began before, a step, or the remark that the rest of the life was not recorded. The check is the FNV-1a hash
//! of the record's number and its content, so that a record in the wrong place does not pass.
//!
//! This module knows no file: the writer yields bytes, the reader takes them.

mod fingerprint;
mod layout;
mod scan;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::envelope::DecodeError;
use crate::event::Time;
use crate::node::{Boot, Input, Snapshot};
use crate::schema::Schema;

pub use fingerprint::Fingerprint;
use layout::{Entry, FORMAT, Frame, PREFIX_BYTES};
pub use scan::RecordingScan;

/// All that was recorded of a node.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Recording {
    /// The lives of the node, in the order of recording.
    pub lives: Vec<RecordedLife>,
    /// Whether the last record is incomplete, and was left out: the process was killed while it
    /// wrote.
    pub torn: bool,
    /// The records.
    pub records: u64,
    /// The bytes up to the end of the last complete record.
    pub intact_bytes: usize,
}

/// One life of a node, from its first step on or from a later one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecordedLife {
    /// Whose it is.
    pub origin: Origin,
    /// What the node was before the first of the steps; nothing if that is the first one of the life.
    pub resumed: Option<Snapshot>,
    /// The steps, in the order of stepping.
    pub steps: Vec<RecordedStep>,
    /// Whether the node lived on without being recorded.
    pub cut: bool,
}

/// Where a recorded life comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// The algorithm's name.
    pub algorithm: String,
    /// The node, in this life of it.
    pub boot: Boot,
    /// All its event types, by wire name.
    pub events: BTreeMap<String, Schema>,
    /// When the recording of this life began; none if nobody looked at the clock on the wall.
    pub began: Option<Moment>,
}

/// One moment by two clocks: what a node is told begins at 0 with its process, and so tells nothing of when
/// something happened on another node.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Moment {
    /// By the clock that the node is told.
    pub now: Time,
    /// By the machine's clock on the wall: the time since the Unix epoch.
    pub wall: Duration,
}

impl Origin {
    /// Whether lives of both may stand in one recording: those of one node, with one algorithm.
    #[must_use]
    pub fn shares_a_recording_with(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.boot.id == other.boot.id
    }
}

/// One step: what the node was fed, and a hash of what came of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecordedStep {
    /// The time that the node was told.
    pub now: Time,
    /// What it was fed.
    pub input: Input,
    /// What came of it.
    pub fingerprint: Fingerprint,
}

/// Why bytes are not read as a recording.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRecording {
    /// The bytes are something else.
    #[error("this is not a recording of a node: it does not begin with `synodrec`")]
    NotARecording,
    /// Another version of the program wrote it.
    #[error("the recording has format {found}; this program reads format {known}")]
    Format {
        /// Its format.
        found: u32,
        /// The format that this program reads.
        known: u32,
    },
    /// The bytes were changed after they had been written.
    #[error("record {record} at byte {byte} is damaged: {what}")]
    Damaged {
        /// Which record, counted from 0.
        record: u64,
        /// Where it begins.
        byte: usize,
        /// How.
        what: &'static str,
    },
    /// The record is as it was written, but says nothing that this program understands: a bug of
    /// whoever wrote it.
    #[error("record {record} at byte {byte} does not decode: {cause}")]
    Undecodable {
        /// Which record, counted from 0.
        record: u64,
        /// Where it begins.
        byte: usize,
        /// What the codec said.
        #[source]
        cause: DecodeError,
    },
}

/// A record larger than [`Recording::RECORD_BYTES_MAX`]. Nothing was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a record of {0} bytes; {max} is the limit", max = Recording::RECORD_BYTES_MAX)]
pub struct RecordTooLarge(pub usize);

impl Recording {
    /// What every recording begins with.
    pub const MAGIC: &[u8; 8] = b"synodrec";
    /// Bytes of content that one record may have.
    pub const RECORD_BYTES_MAX: usize = 64 << 20;

    /// Reads what a [`RecordingWriter`] wrote, or any part of it from the beginning on. O(size).
    ///
    /// # Errors
    ///
    /// [`BadRecording`], unless all that is wrong is that the end is missing.
    pub fn read(bytes: &[u8]) -> Result<Self, BadRecording> {
        let mut recording = Self::default();
        if !layout::begins(bytes)? {
            recording.torn = !bytes.is_empty();
            return Ok(recording);
        }
        recording.intact_bytes = PREFIX_BYTES;
        while let Some(rest) = bytes.get(recording.intact_bytes..).filter(|it| !it.is_empty()) {
            let (record, byte) = (recording.records, recording.intact_bytes);
            let damaged = |what| BadRecording::Damaged { record, byte, what };
            let Frame::Whole { content, size } = layout::frame(record, rest).map_err(damaged)?
            else {
                recording.torn = true;
                break;
            };
            let entry = Entry::decode(content);
            let entry = entry.map_err(|cause| BadRecording::Undecodable { record, byte, cause })?;
            recording.add(entry).map_err(damaged)?;
            recording.records += 1;
            recording.intact_bytes += size;
        }
        Ok(recording)
    }

    fn add(&mut self, entry: Entry<'_>) -> Result<(), &'static str> {
        if let Entry::Life(opening) = entry {
            let (origin, resumed, steps) = (opening.into(), None, Vec::new());
            self.lives.push(RecordedLife { origin, resumed, steps, cut: false });
            return Ok(());
        }
        let life = self.lives.last_mut().ok_or("it belongs to no life")?;
        if life.cut {
            return Err("its life was cut before");
        }
        match entry {
            Entry::Step { now, input, fingerprint } => {
                let fingerprint = Fingerprint(u64::from_le_bytes(fingerprint));
                life.steps.push(RecordedStep { now, input: input.into(), fingerprint });
            }
            Entry::Resumed(_) if life.resumed.is_some() || !life.steps.is_empty() => {
                return Err("its life has begun before");
            }
            Entry::Resumed(kept) => life.resumed = Some(kept.into()),
            Entry::Life(_) | Entry::Cut => life.cut = true,
        }
        Ok(())
    }

    /// How many steps there are.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.lives.iter().map(|life| life.steps.len()).sum()
    }
}

/// Turns what happens to a node into the bytes of a recording.
///
/// ```
/// # use synod_core::*;
/// # use std::time::Duration;
/// let boot = Boot { id: NodeId(1), peers: vec![NodeId(1)], incarnation: 1, seed: 0 };
/// let origin = Origin { algorithm: "bully".into(), boot, events: [].into(), began: None };
/// let (mut writer, mut bytes) = (RecordingWriter::new(), Vec::new());
/// writer.begin(&origin, &mut bytes)?;
/// let fingerprint = Fingerprint::of(&Ok(()), &[]);
/// writer.step(Duration::ZERO, &Input::Start, fingerprint, &mut bytes)?;
/// assert_eq!(Recording::read(&bytes)?.steps(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct RecordingWriter {
    /// The next record.
    number: u64,
    /// Whether what every recording begins with stands there.
    begun: bool,
}

impl RecordingWriter {
    /// A writer of a new recording.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer that goes on after the [`RecordingScan::intact_bytes`] of what was scanned.
    #[must_use]
    pub fn after(scan: &RecordingScan) -> Self {
        Self { number: scan.records, begun: scan.has_begun() }
    }

    /// Appends the beginning of a life to `out`. The steps that follow are its steps.
    ///
    /// # Errors
    ///
    /// [`RecordTooLarge`]; `out` is then as it was.
    pub fn begin(&mut self, origin: &Origin, out: &mut Vec<u8>) -> Result<(), RecordTooLarge> {
        if !self.begun {
            out.extend_from_slice(Recording::MAGIC);
            out.extend_from_slice(&FORMAT.to_le_bytes());
        }
        let written = self.write(&Entry::Life(origin.into()), out);
        if written.is_err() && !self.begun {
            out.truncate(out.len() - PREFIX_BYTES);
        }
        self.begun |= written.is_ok();
        written
    }

    /// Appends to `out`, right after the beginning of the life, what the node is from which the steps
    /// that follow go on. O(size).
    ///
    /// # Errors
    ///
    /// [`RecordTooLarge`]; `out` is then as it was.
    pub fn resume(&mut self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), RecordTooLarge> {
        self.write(&Entry::Resumed(snapshot.into()), out)
    }

    /// Appends a step to `out`. O(size of the input).
    ///
    /// # Errors
    ///
    /// [`RecordTooLarge`]; `out` is then as it was.
    pub fn step(
        &mut self,
        now: Time,
        input: &Input,
        fingerprint: Fingerprint,
        out: &mut Vec<u8>,
    ) -> Result<(), RecordTooLarge> {
        let fingerprint = fingerprint.0.to_le_bytes();
        self.write(&Entry::Step { now, input: input.into(), fingerprint }, out)
    }

    /// Appends the remark that the rest of the life is not recorded.
    pub fn cut(&mut self, out: &mut Vec<u8>) {
        let written = self.write(&Entry::Cut, out);
        debug_assert_eq!(written, Ok(()), "a remark is a byte");
    }

    fn write(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) -> Result<(), RecordTooLarge> {
        layout::put(self.number, entry, out)?;
        self.number += 1;
        Ok(())
    }
}
