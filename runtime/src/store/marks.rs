//! What stands in a directory beside the log: whose store it is, and that it was found to be an old copy.

use std::fs;
use std::io::{Error, ErrorKind, Write};
use std::path::Path;

use super::StoreError;
use super::directory::{private_file, sync_directory};

/// The file that says whose store it is.
pub(super) const OWNER_FILE: &str = "owner";
/// The file that says why no node may start from it.
const FENCE_FILE: &str = "fenced";

/// Says whether the store in a directory may be used: it may not after a peer has said that it knows a later
/// life of the node, or another process in this one. Changes nothing.
///
/// # Errors
///
/// [`StoreError::Fenced`]; [`StoreError::Io`].
pub fn check_unfenced(directory: &Path) -> Result<(), StoreError> {
    match read(directory, FENCE_FILE)? {
        Some(why) => Err(StoreError::Fenced { path: directory.join(FENCE_FILE), why }),
        None => Ok(()),
    }
}

/// Lets no node start from the directory until somebody removes the mark.
pub(super) fn fence(directory: &Path, why: &str) -> Result<(), StoreError> {
    write(directory, FENCE_FILE, why)
}

/// Says whether the store in a directory may be used by `owner`, as [`FileStore::owned_by`](super::FileStore::owned_by)
/// tells it: it is that one's, or nobody's yet. Changes nothing.
///
/// # Errors
///
/// [`StoreError::Foreign`]; [`StoreError::Io`].
pub fn check_owner(directory: &Path, owner: &str) -> Result<(), StoreError> {
    match read(directory, OWNER_FILE)? {
        Some(other) if !says_more(&other, owner) && !says_more(owner, &other) => {
            let (directory, owner) = (directory.to_path_buf(), String::from(owner));
            Err(StoreError::Foreign { directory, other, owner })
        }
        _ => Ok(()),
    }
}

/// Writes down whose the store is, or refuses if it is another one's.
pub(super) fn own(directory: &Path, owner: &str) -> Result<(), StoreError> {
    check_owner(directory, owner)?;
    match read(directory, OWNER_FILE)? {
        Some(known) if says_more(&known, owner) => Ok(()),
        _ => write(directory, OWNER_FILE, owner),
    }
}

/// Whether `whole` is what `part` says of an owner, and perhaps more.
fn says_more(whole: &str, part: &str) -> bool {
    whole.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ',']))
}

/// Copies what a file says, where there is one: a copy is the same one's store.
pub(super) fn copy_mark(from: &Path, to: &Path, file: &str) -> Result<(), StoreError> {
    read(from, file)?.map_or(Ok(()), |text| write(to, file, &text))
}

fn read(directory: &Path, file: &str) -> Result<Option<String>, StoreError> {
    let path = directory.join(file);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(String::from(text.trim_end()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(StoreError::Io { action: "read", path, cause }),
    }
}

/// Whole and durable, or not at all.
fn write(directory: &Path, file: &str, text: &str) -> Result<(), StoreError> {
    let (path, new) = (directory.join(file), directory.join(format!("{file}.new")));
    let written = || -> Result<(), Error> {
        let mut opened = private_file().open(&new)?;
        writeln!(opened, "{text}")?;
        opened.sync_all()?;
        fs::rename(&new, &path)?;
        sync_directory(directory)
    };
    written().map_err(|cause| StoreError::Io { action: "write", path: path.clone(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_its_owners_and_a_fenced_one_is_nobodys() {
        let directory = std::env::temp_dir().join(format!("synod-marks-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        own(&directory, "n1 of demo").expect("nobody's yet");
        own(&directory, "n1 of demo").expect("its own");
        let refused = own(&directory, "n2 of demo").expect_err("n1's").to_string();
        assert!(refused.contains("is the store of n1 of demo, not of n2 of demo"), "{refused}");
        own(&directory, "n1").expect("who says less of it");
        own(&directory, "n1 of demo, bully").expect("who says more of it");
        let refused = own(&directory, "n1 of demo, paxos").expect_err("another one's").to_string();
        assert!(refused.contains("is the store of n1 of demo, bully"), "{refused}");
        own(&directory, "n").expect_err("a part of a word is nobody");
        check_unfenced(&directory).expect("not yet");
        fence(&directory, "n2 has known its life 4").expect("written");
        let refused = check_unfenced(&directory).expect_err("fenced").to_string();
        assert!(refused.contains("n2 has known its life 4"), "{refused}");
        fs::remove_dir_all(&directory).expect("removed");
    }
}
