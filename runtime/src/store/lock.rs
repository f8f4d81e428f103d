//! One node per directory: a lock file that names its holder.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::StoreError;
use crate::gate::locked;

/// Holds a directory until it is dropped.
///
/// The file outlives a process that is killed; its holder is then known to be gone, because the
/// file says when that process had started. Two processes that find a dead holder in the same
/// instant may both remove its file, and one of them then removes the other's: start a node once.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    path: PathBuf,
}

/// What this process holds: another process may have had its number before.
static HELD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

impl DirectoryLock {
    /// # Errors
    ///
    /// [`StoreError::Locked`], or [`StoreError::Io`].
    pub(super) fn take(path: PathBuf) -> Result<Self, StoreError> {
        let io = |cause| StoreError::Io { action: "create", path: path.clone(), cause };
        let mut held = locked(&HELD);
        for _ in 0..2 {
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    write_holder(file).map_err(io)?;
                    held.insert(path.clone());
                    return Ok(Self { path });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    let holder = fs::read_to_string(&path).unwrap_or_default();
                    if held.contains(&path) || is_alive(&holder) {
                        return Err(StoreError::Locked { path, holder });
                    }
                    tracing::warn!(path = %path.display(), holder, "the lock of a dead process");
                    fs::remove_file(&path).map_err(io)?;
                }
                Err(cause) => return Err(io(cause)),
            }
        }
        Err(StoreError::Locked { path, holder: String::from("somebody who was faster") })
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        let mut held = locked(&HELD);
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the lock");
        }
        held.remove(&self.path);
    }
}

fn write_holder(mut file: File) -> std::io::Result<()> {
    let pid = std::process::id();
    let started = started(pid).unwrap_or_default();
    write!(file, "{pid} {started}")?;
    file.sync_all()
}

/// Whether the holder may still run. Without the `/proc` of Linux nobody can know, so it does.
fn is_alive(holder: &str) -> bool {
    if !Path::new("/proc/self/stat").exists() {
        return true;
    }
    let mut words = holder.split(' ');
    let Some(pid) = words.next().and_then(|pid| pid.parse().ok()) else {
        return false; // It died while it wrote its name.
    };
    pid != std::process::id() && started(pid).as_deref() == words.next()
}

/// When a process started, in ticks since the start of the machine.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19).map(String::from)
}
