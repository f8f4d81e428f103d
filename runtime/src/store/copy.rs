//! Stores looked at and copied from outside.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use synod_core::durable::{Image, Inspection, LogError, NEW_FILE, inspect};

use super::StoreError;
use super::directory::{DirectoryDisk, private_file};
use super::file::create_directory;
use super::marks::{OWNER_FILE, check_unfenced, copy_mark};

/// Reads and checks the store in a directory, also while a node uses it, and changes nothing.
///
/// # Errors
///
/// [`StoreError::Empty`]; [`StoreError::Log`], with what is damaged and where.
pub fn inspect_store(directory: &Path) -> Result<Inspection, StoreError> {
    read(directory, inspect(&mut DirectoryDisk::new(directory)))
}

/// Copies the store in one directory to another one, which is empty or not there yet, durably, and
/// checks the copy. A node may use the first one: the copy is what had been written at some
/// moment. A store that is damaged or fenced is not copied. Texts in files of these names `beside` the records,
/// where there are such, are copied as well.
///
/// The records come last, so that a copy that is cut short is no store; of one that fails, nothing is left.
///
/// # Errors
///
/// [`StoreError`].
pub fn copy_store(from: &Path, to: &Path, beside: &[&str]) -> Result<Inspection, StoreError> {
    check_unfenced(from)?;
    let image = read(from, Image::of(&mut DirectoryDisk::new(from)))?;
    let is_new = !to.exists();
    create_directory(to)?;
    claim(to)?;
    let marks = beside.iter().chain([&OWNER_FILE]);
    let marked = marks.copied().try_for_each(|file| copy_mark(from, to, file));
    let copied = marked.and_then(|()| {
        let written = image.write_to(&mut DirectoryDisk::new(to));
        written.map_err(|cause| StoreError::Copy { directory: to.to_path_buf(), cause })
    });
    if copied.is_err() {
        clear(to, is_new);
    }
    copied
}

/// Takes a directory for a copy, unless something is there: that of another process in the same moment, too.
fn claim(directory: &Path) -> Result<(), StoreError> {
    let (path, occupied) =
        (directory.join(NEW_FILE), || StoreError::Occupied { directory: directory.to_path_buf() });
    private_file().create_new(true).open(&path).map_err(|cause| match cause.kind() {
        ErrorKind::AlreadyExists => occupied(),
        _ => StoreError::Io { action: "create", path: path.clone(), cause },
    })?;
    let is_other = |entry: fs::DirEntry| entry.file_name() != NEW_FILE;
    if fs::read_dir(directory).is_ok_and(|mut entries| entries.any(|it| it.is_ok_and(is_other))) {
        let _ = fs::remove_file(&path); // Ours: it was not there.
        return Err(occupied());
    }
    Ok(())
}

/// Removes what has been made of a copy in a directory that was empty, or was not there.
fn clear(directory: &Path, is_new: bool) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let _ = fs::remove_file(entry.path());
    }
    if is_new {
        let _ = fs::remove_dir(directory);
    }
}

fn read<T>(directory: &Path, found: Result<Option<T>, LogError>) -> Result<T, StoreError> {
    let directory = directory.to_path_buf();
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(StoreError::Empty { directory }),
        Err(cause) => Err(StoreError::Log { directory, cause }),
    }
}
