//! Copying a log to another disk.

use super::{Disk, Inspection, LOG_FILE, LogError, NEW_FILE, inspect, note, scan};

/// Copies the intact records of a log to a disk that is empty, durably, and checks the copy;
/// `None` if there is no log. The log may grow meanwhile: the copy is what it was at some moment.
/// O(size).
///
/// # Errors
///
/// [`LogError`]; a log that is damaged is not copied.
pub fn copy(from: &mut dyn Disk, to: &mut dyn Disk) -> Result<Option<Inspection>, LogError> {
    let Some((found, bytes)) = scan::read(from)? else {
        return Ok(None);
    };
    let length = usize::try_from(found.intact_bytes).unwrap_or(usize::MAX);
    to.create(NEW_FILE)?;
    to.write_at(NEW_FILE, 0, bytes.get(..length).unwrap_or(&bytes))?;
    to.sync(NEW_FILE)?;
    to.rename(NEW_FILE, LOG_FILE)?;
    to.sync_names()?;
    if found.is_present_format() {
        note::create(to)?;
        note::write(to, 0, found.tail)?;
        to.sync(super::NOTE_FILE)?;
        to.sync_names()?;
    }
    inspect(to)
}
