//! The layout of the log: one record after the other, each checked on its own.
//!
//! ```text
//! file    "synodlog" | format u32 | records
//! record  crc32 u32 | length u32 | number u64 | kind u8 | content
//! ```
//!
//! Integers are little-endian. The checksum covers everything after it, the number included, so
//! a record in the wrong place does not pass. Numbers count up from 1.

/// What every log begins with.
pub(super) const MAGIC: &[u8; 8] = b"synodlog";
/// The version of the layout.
pub(super) const FORMAT: u32 = 1;
/// Magic and format.
pub(super) const FILE_HEADER: usize = 12;
/// Everything of a record but its content.
pub(super) const RECORD_HEADER: usize = 17;
/// Bytes of content that one record may have.
pub(super) const CONTENT_MAX: usize = 64 << 20;

/// What a record says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// An envelope of the node.
    Envelope,
    /// A life of the node has begun: its incarnation.
    Life,
    /// All records up to this one were durable when this one was written: a sync had returned.
    Synced,
}

/// A record as it stands in the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Record<'a> {
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) content: &'a [u8],
}

impl Record<'_> {
    /// Its size in the log.
    pub(super) fn size(&self) -> usize {
        RECORD_HEADER + self.content.len()
    }
}

pub(super) fn file_header() -> Vec<u8> {
    let mut header = Vec::from(*MAGIC);
    header.extend_from_slice(&FORMAT.to_le_bytes());
    header
}

/// Appends a record to `out`. The content is at most [`CONTENT_MAX`] bytes.
pub(super) fn encode(out: &mut Vec<u8>, number: u64, kind: Kind, content: &[u8]) {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let kind = [match kind {
        Kind::Envelope => 0_u8,
        Kind::Life => 1,
        Kind::Synced => 2,
    }];
    let parts: [&[u8]; 4] = [&length.to_le_bytes(), &number.to_le_bytes(), &kind, content];
    let mut crc = crc32fast::Hasher::new();
    parts.iter().for_each(|part| crc.update(part));
    out.extend_from_slice(&crc.finalize().to_le_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Reads the record at the start of `bytes`, if an intact one stands there. O(length).
pub(super) fn decode(bytes: &[u8]) -> Option<Record<'_>> {
    let (header, rest) = bytes.split_first_chunk::<RECORD_HEADER>()?;
    let (crc, checked) = header.split_first_chunk::<4>()?;
    let (length, numbered) = checked.split_first_chunk::<4>()?;
    let (number, kind) = numbered.split_first_chunk::<8>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let content = rest.get(..length).filter(|_| length <= CONTENT_MAX)?;
    let kind = match kind {
        [0] => Kind::Envelope,
        [1] => Kind::Life,
        [2] => Kind::Synced,
        _ => return None,
    };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(checked);
    hasher.update(content);
    let intact = hasher.finalize() == u32::from_le_bytes(*crc);
    intact.then_some(Record { number: u64::from_le_bytes(*number), kind, content })
}

/// The intact records at the start of `bytes`, numbered from 1, and how many bytes they take.
pub(super) fn walk(bytes: &[u8]) -> (Vec<Record<'_>>, usize) {
    let (mut records, mut offset) = (Vec::new(), 0);
    while let Some(record) = bytes.get(offset..).and_then(decode)
        && record.number == records.len() as u64 + 1
    {
        offset += record.size();
        records.push(record);
    }
    (records, offset)
}

/// Whether `rest`, the bytes from the first damage on, proves that record `number` was durable:
/// then the damage is no torn write. O(length), as a number that does not fit is passed over
/// before its checksum is computed.
pub(super) fn proves_durable(rest: &[u8], number: u64) -> bool {
    let reach = number + rest.len() as u64;
    (0..rest.len()).filter_map(|offset| rest.get(offset..)).any(|bytes| {
        let claimed = bytes.get(8..16).and_then(|bytes| bytes.first_chunk::<8>());
        let claimed = claimed.map_or(0, |bytes| u64::from_le_bytes(*bytes));
        number < claimed
            && claimed <= reach
            && decode(bytes).is_some_and(|record| record.kind == Kind::Synced)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            number: u64,
            content in prop::collection::vec(any::<u8>(), 0..200),
            tail in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            for kind in [Kind::Envelope, Kind::Life, Kind::Synced] {
                let mut bytes = Vec::new();
                encode(&mut bytes, number, kind, &content);
                bytes.extend_from_slice(&tail);
                prop_assert_eq!(decode(&bytes), Some(Record { number, kind, content: &content }));
            }
        }

        #[test]
        fn a_flipped_bit_anywhere_is_seen(
            number: u64,
            content in prop::collection::vec(any::<u8>(), 0..200),
            at: prop::sample::Index,
            bit in 0..8_u8,
        ) {
            let mut bytes = Vec::new();
            encode(&mut bytes, number, Kind::Envelope, &content);
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert_eq!(decode(&bytes), None);
        }

        #[test]
        fn noise_is_never_a_record(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(decode(&bytes), None);
        }
    }

    #[test]
    fn zeros_are_not_a_record() {
        assert_eq!(decode(&[0; 64]), None);
    }

    #[test]
    fn the_layout_is_pinned() {
        let mut bytes = Vec::new();
        encode(&mut bytes, 1, Kind::Life, &[7]);
        assert_eq!(bytes[4..], [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 7]);
        assert_eq!(bytes[..4], 0x2409_576d_u32.to_le_bytes());
    }
}
