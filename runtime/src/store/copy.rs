//! Stores looked at and copied from outside.

use std::fs;
use std::path::Path;

use synod_core::durable::{Inspection, LogError, copy, inspect};

use super::StoreError;
use super::directory::DirectoryDisk;
use super::file::create_directory;
use super::marks::{check_unfenced, copy_owner};

/// Reads and checks the store in a directory, also while a node uses it, and changes nothing.
///
/// # Errors
///
/// [`StoreError::Empty`]; [`StoreError::Log`], with what is damaged and where.
pub fn inspect_store(directory: &Path) -> Result<Inspection, StoreError> {
    let mut disk = DirectoryDisk::new(directory);
    read(directory, inspect(&mut disk))
}

/// Copies the store in one directory to another one, which is empty or not there yet, durably, and
/// checks the copy. A node may use the first one: the copy is what had been written at some
/// moment. A store that is damaged or fenced is not copied.
///
/// # Errors
///
/// [`StoreError`].
pub fn copy_store(from: &Path, to: &Path) -> Result<Inspection, StoreError> {
    check_unfenced(from)?;
    inspect_store(from)?;
    if fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(StoreError::Occupied { directory: to.to_path_buf() });
    }
    create_directory(to)?;
    let (mut source, mut target) = (DirectoryDisk::new(from), DirectoryDisk::new(to));
    let copied = read(from, copy(&mut source, &mut target))?;
    copy_owner(from, to)?;
    Ok(copied)
}

fn read(
    directory: &Path,
    found: Result<Option<Inspection>, LogError>,
) -> Result<Inspection, StoreError> {
    let directory = directory.to_path_buf();
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(StoreError::Empty { directory }),
        Err(cause) => Err(StoreError::Log { directory, cause }),
    }
}
