//! Copying a log to another disk.

use bytes::Bytes;

use super::{Disk, Inspection, LOG_FILE, LogError, NEW_FILE, NOTE_FILE, inspect, note, scan};

/// The intact records of a log, as another disk may hold them.
#[derive(Clone, Debug)]
pub struct Image {
    found: Inspection,
    bytes: Bytes,
}

impl Image {
    /// Reads and checks a log; `None` if there is none. The log may grow meanwhile: the image is what it was at some
    /// moment. O(size).
    ///
    /// # Errors
    ///
    /// [`LogError`]; there is no image of a log that is damaged.
    pub fn of(disk: &mut dyn Disk) -> Result<Option<Self>, LogError> {
        Ok(scan::read(disk)?.map(|(found, bytes)| Self { found, bytes }))
    }

    /// Writes it to a disk that is empty, durably, and checks what that holds then. O(size).
    ///
    /// # Errors
    ///
    /// [`LogError`] of that disk.
    pub fn write_to(&self, disk: &mut dyn Disk) -> Result<Inspection, LogError> {
        let Self { found, bytes } = self;
        let length = usize::try_from(found.intact_bytes).unwrap_or(usize::MAX);
        disk.create(NEW_FILE)?;
        disk.write_at(NEW_FILE, 0, bytes.get(..length).unwrap_or(bytes))?;
        disk.sync(NEW_FILE)?;
        disk.rename(NEW_FILE, LOG_FILE)?;
        disk.sync_names()?;
        if found.is_present_format() {
            note::create(disk)?;
            note::write(disk, 0, found.tail)?;
            disk.sync(NOTE_FILE)?;
            disk.sync_names()?;
        }
        inspect(disk)?.ok_or_else(|| scan::damaged(0, 0, "it is gone"))
    }
}
