//! The first layout of the log, which is read once and written anew in the present one.
//!
//! ```text
//! file    "synodlog" | format u32 = 1 | records
//! record  crc32 u32 | length u32 | number u64 | kind u8 | content
//! ```
//!
//! Kind 2 is a note that all records before it were durable.

use super::record::CONTENT_MAX;

/// The number of the layout.
pub(super) const FORMAT: u32 = 1;
/// Magic and format.
pub(super) const FILE_HEADER: usize = 12;
const RECORD_HEADER: usize = 17;
const ENVELOPE: u8 = 0;
const LIFE: u8 = 1;
const SYNCED: u8 = 2;

/// A record of the first layout.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Record<'a> {
    Envelope(&'a [u8]),
    Life(&'a [u8]),
    Synced,
}

/// The intact records of a file with their offsets, where they end, and whether what follows
/// proves that more was durable.
pub(super) fn walk(bytes: &[u8]) -> (Vec<(usize, Record<'_>)>, usize, bool) {
    let (mut records, mut offset) = (Vec::new(), FILE_HEADER);
    while let Some((number, record, size)) = bytes.get(offset..).and_then(decode)
        && number == records.len() as u64 + 1
    {
        records.push((offset, record));
        offset += size;
    }
    let number = records.len() as u64 + 1;
    let is_damaged = (offset..bytes.len()).filter_map(|at| bytes.get(at..)).any(|rest| {
        let claimed = rest.get(8..16).and_then(|bytes| bytes.first_chunk::<8>());
        let claimed = claimed.map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let reach = number + bytes.len() as u64;
        number < claimed
            && claimed <= reach
            && decode(rest).is_some_and(|(_, record, _)| record == Record::Synced)
    });
    (records, offset, is_damaged)
}

/// Number, record and size of what stands at the start of `bytes`, if it is intact.
fn decode(bytes: &[u8]) -> Option<(u64, Record<'_>, usize)> {
    let (crc, checked) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = checked.split_first_chunk::<4>()?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    let (kind, rest) = rest.split_first()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let content = rest.get(..length).filter(|_| length <= CONTENT_MAX)?;
    let intact = crc32fast::hash(checked.get(..RECORD_HEADER - 4 + length)?);
    let record = match *kind {
        ENVELOPE => Record::Envelope(content),
        LIFE => Record::Life(content),
        SYNCED => Record::Synced,
        _ => return None,
    };
    (intact == u32::from_le_bytes(*crc)).then_some((
        u64::from_le_bytes(*number),
        record,
        RECORD_HEADER + length,
    ))
}
