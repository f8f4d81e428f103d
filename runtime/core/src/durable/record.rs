//! The layout of the log: one record after the other, each checked on its own and tied to the one
//! before it.
//!
//! ```text
//! file    "synodlog" | format u32 | generation u64 | born u64 | crc32 u32 | records
//! record  crc32 u32 | length u32 | position u64 | durable u64 | previous u32 | kind u8 | content
//! ```
//!
//! Integers are little-endian. `born` is how many bytes the file had when it got its name: it was
//! written as a whole and synced before. `position` is the record's place in the file, in bytes;
//! `durable` is how many bytes of the file were known to be durable when it was written; `previous`
//! is the checksum of the record before it, or that of the generation. The checksum of a record
//! covers the file's generation and everything of the record after the checksum: a record in
//! another place, of another file, or behind another record does not pass.
//!
//! The content of a life is its incarnation (u64), and for each event that the program persists the
//! identity (u64) and the schema (u64); earlier programs wrote the incarnation alone.

use std::collections::BTreeMap;

use crate::{EventId, Schema};

/// What every log begins with.
const MAGIC: &[u8; 8] = b"synodlog";
/// The version of the layout.
pub(super) const FORMAT: u32 = 2;
/// The head of the file.
pub(super) const FILE_HEADER: usize = 32;
/// Everything of a record but its content.
pub(super) const RECORD_HEADER: usize = 29;
/// Bytes of content that one record may have.
pub(super) const CONTENT_MAX: usize = 64 << 20;

/// What a record says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// An envelope of the node.
    Envelope,
    /// A life of the node has begun: its incarnation.
    Life,
}

/// A record as it stands in the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Record<'a> {
    pub(super) crc: u32,
    pub(super) position: u64,
    pub(super) durable: u64,
    pub(super) previous: u32,
    pub(super) kind: Kind,
    pub(super) content: &'a [u8],
}

impl Record<'_> {
    /// Its size in the log.
    pub(super) fn size(&self) -> usize {
        RECORD_HEADER + self.content.len()
    }
}

/// Where the next record goes, and to what it is tied.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Tail {
    pub(super) generation: u64,
    pub(super) position: u64,
    pub(super) previous: u32,
}

/// What the head of a file says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Head {
    /// It is none of a log.
    Foreign,
    /// The bytes end too early, or the checksum does not match.
    Broken,
    /// A layout of another version.
    Other(u32),
    /// Intact: records follow, which filled so many bytes of the file when it got its name.
    Intact { start: Tail, born: u64 },
}

/// Where the first record of a file goes.
pub(super) fn start(generation: u64) -> Tail {
    let previous = crc32fast::hash(&generation.to_le_bytes());
    Tail { generation, position: FILE_HEADER as u64, previous }
}

/// The head of a file that gets its name when it has `born` bytes.
pub(super) fn encode_head(generation: u64, born: u64) -> Vec<u8> {
    let mut head = Vec::from(*MAGIC);
    head.extend_from_slice(&FORMAT.to_le_bytes());
    head.extend_from_slice(&generation.to_le_bytes());
    head.extend_from_slice(&born.to_le_bytes());
    head.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
    head
}

pub(super) fn decode_head(bytes: &[u8]) -> Head {
    let read = || {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (format, rest) = rest.split_first_chunk::<4>()?;
        Some((magic == MAGIC, u32::from_le_bytes(*format), rest))
    };
    match read() {
        None => Head::Broken,
        Some((false, ..)) => Head::Foreign,
        Some((true, FORMAT, rest)) => decode_rest_of_head(bytes, rest).unwrap_or(Head::Broken),
        Some((true, format, _)) => Head::Other(format),
    }
}

fn decode_rest_of_head(bytes: &[u8], rest: &[u8]) -> Option<Head> {
    let (generation, rest) = rest.split_first_chunk::<8>()?;
    let (born, rest) = rest.split_first_chunk::<8>()?;
    let (crc, _) = rest.split_first_chunk::<4>()?;
    let intact = crc32fast::hash(bytes.get(..FILE_HEADER - 4)?) == u32::from_le_bytes(*crc);
    let start = start(u64::from_le_bytes(*generation));
    intact.then_some(Head::Intact { start, born: u64::from_le_bytes(*born) })
}

/// Appends a record to `out` at the place of `tail`, which moves behind it. The content is at most
/// [`CONTENT_MAX`] bytes.
pub(super) fn encode(out: &mut Vec<u8>, tail: &mut Tail, durable: u64, kind: Kind, content: &[u8]) {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let kind = [match kind {
        Kind::Envelope => 0_u8,
        Kind::Life => 1,
    }];
    let parts: [&[u8]; 6] = [
        &length.to_le_bytes(),
        &tail.position.to_le_bytes(),
        &durable.to_le_bytes(),
        &tail.previous.to_le_bytes(),
        &kind,
        content,
    ];
    let mut hasher = hasher(tail.generation);
    parts.iter().for_each(|part| hasher.update(part));
    tail.previous = hasher.finalize();
    tail.position += (RECORD_HEADER + content.len()) as u64;
    out.extend_from_slice(&tail.previous.to_le_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// The content of the record that begins a life: its incarnation, and what the node's records hold.
pub(super) fn encode_life(incarnation: u64, schemas: &BTreeMap<EventId, Schema>) -> Vec<u8> {
    let mut content = Vec::from(incarnation.to_le_bytes());
    for (event, schema) in schemas {
        content.extend_from_slice(&event.bits().to_le_bytes());
        content.extend_from_slice(&schema.0.to_le_bytes());
    }
    content
}

/// What such a content says; none if it is none.
pub(super) fn decode_life(content: &[u8]) -> Option<(u64, BTreeMap<EventId, Schema>)> {
    let (incarnation, rest) = content.split_first_chunk::<8>()?;
    let (pairs, []) = rest.as_chunks::<16>() else { return None };
    let pair = |pair: &[u8; 16]| {
        let (event, schema) = pair.split_first_chunk::<8>()?;
        let schema = Schema(u64::from_le_bytes(*schema.first_chunk()?));
        Some((EventId::from_bits(u64::from_le_bytes(*event)), schema))
    };
    let schemas: Option<_> = pairs.iter().map(pair).collect();
    Some((u64::from_le_bytes(*incarnation), schemas?))
}

/// Reads the record at the start of `bytes`, if an intact one of this generation stands there.
/// O(length).
pub(super) fn decode(bytes: &[u8], generation: u64) -> Option<Record<'_>> {
    let (crc, checked) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = checked.split_first_chunk::<4>()?;
    let (position, rest) = rest.split_first_chunk::<8>()?;
    let (durable, rest) = rest.split_first_chunk::<8>()?;
    let (previous, rest) = rest.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<1>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let content = rest.get(..length).filter(|_| length <= CONTENT_MAX)?;
    let kind = match kind {
        [0] => Kind::Envelope,
        [1] => Kind::Life,
        _ => return None,
    };
    let crc = u32::from_le_bytes(*crc);
    let mut hasher = hasher(generation);
    hasher.update(checked.get(..RECORD_HEADER - 4 + length)?);
    (hasher.finalize() == crc).then_some(Record {
        crc,
        position: u64::from_le_bytes(*position),
        durable: u64::from_le_bytes(*durable),
        previous: u32::from_le_bytes(*previous),
        kind,
        content,
    })
}

fn hasher(generation: u64) -> crc32fast::Hasher {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&generation.to_le_bytes());
    hasher
}

/// How many bytes of the file the intact records behind the first damage, at `from`, prove to have
/// been durable; 0 if none stands there. O(length): a place is compared before a checksum is
/// computed.
pub(super) fn proven_beyond(bytes: &[u8], from: usize, generation: u64) -> u64 {
    (from..bytes.len())
        .filter(|offset| {
            let claimed = bytes.get(offset + 8..offset + 16);
            claimed == Some(&(*offset as u64).to_le_bytes()[..])
        })
        .filter_map(|offset| decode(bytes.get(offset..)?, generation))
        .map(|record| record.durable)
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tail() -> Tail {
        Tail { generation: 3, position: 24, previous: 9 }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            generation: u64,
            position in 0..1_u64 << 40,
            previous: u32,
            durable: u64,
            content in prop::collection::vec(any::<u8>(), 0..200),
            rest in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            for kind in [Kind::Envelope, Kind::Life] {
                let (mut bytes, mut tail) = (Vec::new(), Tail { generation, position, previous });
                encode(&mut bytes, &mut tail, durable, kind, &content);
                let length = bytes.len();
                prop_assert_eq!(tail.position, position + length as u64);
                bytes.extend_from_slice(&rest);
                let crc = tail.previous;
                let written = Record { crc, position, durable, previous, kind, content: &content };
                prop_assert_eq!(decode(&bytes, generation), Some(written));
                prop_assert_eq!(written.size(), length);
                prop_assert_eq!(decode(&bytes, generation ^ 1), None);
            }
        }

        #[test]
        fn a_flipped_bit_anywhere_is_seen(
            content in prop::collection::vec(any::<u8>(), 0..200),
            at: prop::sample::Index,
            bit in 0..8_u8,
        ) {
            let mut bytes = Vec::new();
            encode(&mut bytes, &mut tail(), 24, Kind::Envelope, &content);
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert_eq!(decode(&bytes, 3), None);
        }

        #[test]
        fn noise_is_never_a_record(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(decode(&bytes, 1), None);
        }
    }

    #[test]
    fn zeros_are_not_a_record() {
        assert_eq!(decode(&[0; 64], 0), None);
    }

    #[test]
    fn a_flipped_bit_in_the_head_is_seen() {
        let head = encode_head(7, 99);
        let intact = Head::Intact { start: start(7), born: 99 };
        assert_eq!((decode_head(&head), head.len()), (intact, FILE_HEADER));
        for bit in 0..8 * FILE_HEADER {
            let mut damaged = head.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(decode_head(&damaged), Head::Intact { .. }), "bit {bit}");
        }
        assert_eq!(decode_head(&head[..31]), Head::Broken);
    }

    #[test]
    fn the_layout_is_pinned() {
        let (mut record, mut tail) = (Vec::new(), start(1));
        let root = tail.previous;
        encode(&mut record, &mut tail, 32, Kind::Life, &[7]);
        let head = encode_head(1, tail.position);
        assert_eq!(head[..28], *b"synodlog\x02\0\0\0\x01\0\0\0\0\0\0\0\x3e\0\0\0\0\0\0\0");
        assert_eq!(record[4..20], *b"\x01\0\0\0\x20\0\0\0\0\0\0\0\x20\0\0\0");
        assert_eq!(record[20..24], [0; 4]);
        assert_eq!(record[24..28], root.to_le_bytes());
        assert_eq!(record[28..], [1, 7]);
    }
}
