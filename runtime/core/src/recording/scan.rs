//! What must be known of a recording to go on with it, found without keeping its steps.

use super::layout::{self, Frame, PREFIX_BYTES};
use super::{BadRecording, Origin};

/// Reads a recording piece by piece, and keeps of it only what whoever goes on with it must know: how
/// far it is intact, and whose it is. It takes the memory of one record. Whether the steps
/// decode, it leaves to [`Recording::read`](super::Recording::read).
#[derive(Clone, Debug, Default)]
pub struct RecordingScan {
    origins: Vec<Origin>,
    pub(super) records: u64,
    intact_bytes: u64,
    /// What has come behind the last complete record.
    rest: Vec<u8>,
}

impl RecordingScan {
    /// Takes the next bytes, as many as there are at a time. O(size).
    ///
    /// # Errors
    ///
    /// [`BadRecording`], unless all that is wrong so far is that the end is missing.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), BadRecording> {
        self.rest.extend_from_slice(bytes);
        let mut taken = 0;
        if !self.has_begun() {
            if !layout::begins(&self.rest)? {
                return Ok(());
            }
            taken = PREFIX_BYTES;
        }
        while let Some(ahead) = self.rest.get(taken..).filter(|it| !it.is_empty()) {
            let byte = usize::try_from(self.intact_bytes).unwrap_or(usize::MAX) + taken;
            let record = self.records;
            let damaged = |what| BadRecording::Damaged { record, byte, what };
            let Frame::Whole { content, size } = layout::frame(record, ahead).map_err(damaged)?
            else {
                break;
            };
            let origin = layout::origin(content);
            let origin =
                origin.map_err(|cause| BadRecording::Undecodable { record, byte, cause })?;
            if let Some(origin) = origin
                && !self.origins.iter().any(|other| other.shares_a_recording_with(&origin))
            {
                self.origins.push(origin);
            }
            self.records += 1;
            taken += size;
        }
        self.rest.drain(..taken);
        self.intact_bytes += taken as u64;
        Ok(())
    }

    /// Whose lives stand in it: the first life of each algorithm on each node.
    #[must_use]
    pub fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// The bytes up to the end of the last complete record.
    #[must_use]
    pub fn intact_bytes(&self) -> u64 {
        self.intact_bytes
    }

    /// Whether what every recording begins with stands there.
    pub(super) fn has_begun(&self) -> bool {
        0 < self.intact_bytes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Boot, Fingerprint, Input, NodeId, RecordingWriter};

    #[test]
    fn a_long_recording_takes_the_memory_of_a_record_and_a_piece() {
        let boot = Boot { id: NodeId(1), peers: vec![NodeId(1)], incarnation: 1, seed: 0 };
        let origin = Origin { algorithm: String::from("a"), boot, events: [].into(), began: None };
        let (mut writer, mut bytes) = (RecordingWriter::new(), Vec::new());
        let (mut scan, mut most) = (RecordingScan::default(), 0);
        for _life in 0..100 {
            writer.begin(&origin, &mut bytes).expect("it is small");
            for _step in 0..100 {
                let came = Fingerprint::of(&Ok(()), &[]);
                writer.step(Duration::ZERO, &Input::Start, came, &mut bytes).expect("it is small");
            }
        }
        for piece in bytes.chunks(1_000) {
            scan.take(piece).expect("it is intact");
            most = most.max(scan.rest.capacity());
        }
        assert_eq!((scan.intact_bytes(), scan.records), (bytes.len() as u64, 10_100));
        assert!(most < 4_000 && scan.origins().len() == 1, "{most} bytes of {}", bytes.len());
    }
}
