//! The note: how much of the log a sync has made durable.
//!
//! ```text
//! slot  "synodnot" | generation u64 | length u64 | previous u32 | crc32 u32
//! ```
//!
//! Two slots in sectors of their own, written in turn after each sync and not synced themselves:
//! whatever is left of them was true when it was written. That is enough to tell damage at the end
//! of the log from an end that was torn.

use super::record::Tail;
use super::{Disk, DiskError, NOTE_FILE};

const MAGIC: &[u8; 8] = b"synodnot";
/// Bytes of a slot.
const SLOT: usize = 32;
/// Bytes between the two slots: a damaged sector takes one of them.
const APART: usize = 512;

/// The latest note that is intact, if any: the tail of the log when it was written.
pub(super) fn read(disk: &mut dyn Disk) -> Result<Option<Tail>, DiskError> {
    let bytes = disk.read(NOTE_FILE)?;
    let slot = |at: usize| bytes.get(at..at + SLOT).and_then(decode);
    let newer = |tail: &Tail| (tail.generation, tail.position);
    Ok([slot(0), slot(APART)].into_iter().flatten().max_by_key(newer))
}

/// Makes the file, empty. O(1).
pub(super) fn create(disk: &mut dyn Disk) -> Result<(), DiskError> {
    disk.create(NOTE_FILE)?;
    disk.write_at(NOTE_FILE, 0, &[0; APART + SLOT])
}

/// Writes that the log is durable up to `tail`, in the slot whose turn it is.
pub(super) fn write(disk: &mut dyn Disk, turn: u64, tail: Tail) -> Result<(), DiskError> {
    let offset = if turn.is_multiple_of(2) { 0 } else { APART as u64 };
    disk.write_at(NOTE_FILE, offset, &encode(tail))
}

fn encode(tail: Tail) -> Vec<u8> {
    let mut slot = Vec::from(*MAGIC);
    slot.extend_from_slice(&tail.generation.to_le_bytes());
    slot.extend_from_slice(&tail.position.to_le_bytes());
    slot.extend_from_slice(&tail.previous.to_le_bytes());
    slot.extend_from_slice(&crc32fast::hash(&slot).to_le_bytes());
    slot
}

fn decode(slot: &[u8]) -> Option<Tail> {
    let (checked, crc) = slot.split_last_chunk::<4>()?;
    let rest = checked.strip_prefix(MAGIC)?;
    let (generation, rest) = rest.split_first_chunk::<8>()?;
    let (position, rest) = rest.split_first_chunk::<8>()?;
    let (previous, _) = rest.split_first_chunk::<4>()?;
    (crc32fast::hash(checked) == u32::from_le_bytes(*crc)).then_some(Tail {
        generation: u64::from_le_bytes(*generation),
        position: u64::from_le_bytes(*position),
        previous: u32::from_le_bytes(*previous),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_a_flipped_bit_is_seen() {
        let tail = Tail { generation: 5, position: 1 << 33, previous: 77 };
        let slot = encode(tail);
        assert_eq!((slot.len(), decode(&slot)), (SLOT, Some(tail)));
        for bit in 0..8 * SLOT {
            let mut damaged = slot.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&damaged), None, "bit {bit}");
        }
    }
}
