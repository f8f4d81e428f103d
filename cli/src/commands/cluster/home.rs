//! Where a cluster's run keeps its bundles, which have private keys in them.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use synod_transport_quic::random_bits;

use crate::problem::Problem;

/// How the name of each one begins.
const PREFIX: &str = "synod-cluster-";
/// A file that is locked for as long as the run lives, however it ends.
const LOCK: &str = "lock";

/// A directory for the bundles, removed with everything in it when this is dropped. What a run leaves that was killed,
/// the next one removes.
pub(super) struct Home {
    pub(super) path: PathBuf,
    _lock: File,
}

impl Home {
    /// # Errors
    ///
    /// A [`Problem`] of the environment if there is no room, or no leave to make it.
    pub(super) fn new() -> Result<Self, Problem> {
        let temporary = std::env::temp_dir();
        let path = temporary.join(format!("{PREFIX}{:016x}", random_bits()));
        let lock = make(&path).map_err(|error| {
            Problem::environment(format!("cannot make `{}`", path.display()), &error)
        })?;
        let _ = remove_dead(&temporary, &path); // Whoever cannot look there has left nothing there.
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What cannot be removed holds keys of a cluster that is gone.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Makes the directory, and locks it.
fn make(path: &Path) -> io::Result<File> {
    DirBuilder::new().mode(0o700).create(path)?;
    // Under another name until it is locked: a lock that nobody holds is that of a dead run.
    let new = path.join("lock.new");
    let lock = File::create_new(&new)?;
    lock.try_lock()?;
    fs::rename(new, path.join(LOCK))?;
    Ok(lock)
}

/// Removes the directories of dead runs of this user, to whom `own` belongs.
fn remove_dead(temporary: &Path, own: &Path) -> io::Result<()> {
    let owner = own.symlink_metadata()?.uid();
    for entry in fs::read_dir(temporary)? {
        let path = entry?.path();
        if is_dead(&path, owner) {
            let _ = fs::remove_dir_all(path);
        }
    }
    Ok(())
}

/// Whether this is surely the directory of a run that is over: its lock is there, and nobody holds it.
fn is_dead(path: &Path, owner: u32) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let is_home = name.is_some_and(|name| name.starts_with(PREFIX))
        && path.symlink_metadata().is_ok_and(|it| it.is_dir() && it.uid() == owner);
    is_home && File::open(path.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
}
