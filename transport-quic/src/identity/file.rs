//! Files that hold keys: never overwritten, never readable by others, never half written.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file of an identity cannot be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file is there already, and keys are not overwritten.
    #[error("`{}` exists already: move it away, or choose another name", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The system does not let us read or write.
    #[error("cannot {action} `{}`", path.display())]
    System {
        /// `read`, `write` or `remove`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("`{}`: {text}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        text: String,
    },
}

impl FileError {
    /// The whole in one sentence.
    pub(crate) fn with_cause(&self) -> String {
        match self {
            Self::System { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }

    pub(crate) fn content(path: &Path, text: impl ToString) -> Self {
        Self::Content { path: path.to_path_buf(), text: text.to_string() }
    }
}

/// Who may read a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Readers {
    Owner,
    Everybody,
}

pub(crate) fn read(path: &Path) -> Result<String, FileError> {
    let failed = |source| FileError::System { action: "read", path: path.to_path_buf(), source };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if FILE_BYTES_MAX < size {
        let text = format!("{size} bytes are too many, {FILE_BYTES_MAX} are allowed");
        return Err(FileError::content(path, text));
    }
    std::fs::read_to_string(path).map_err(|source| match source.kind() {
        io::ErrorKind::InvalidData => FileError::content(path, "not UTF-8"),
        _ => failed(source),
    })
}

pub(crate) fn refuse_existing(path: &Path) -> Result<(), FileError> {
    match path.symlink_metadata() {
        Ok(_) => Err(FileError::Exists { path: path.to_path_buf() }),
        Err(_) => Ok(()),
    }
}

/// Writes a new file and syncs it. A file that could not be written whole is removed again.
pub(crate) fn write_new(path: &Path, text: &str, readers: Readers) -> Result<(), FileError> {
    let failed = |source| FileError::System { action: "write", path: path.to_path_buf(), source };
    let mut file = match create_new(path, readers) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(FileError::Exists { path: path.to_path_buf() });
        }
        created => created.map_err(failed)?,
    };
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        // Ours alone: it did not exist before.
        let _ = std::fs::remove_file(path);
        failed(error)
    })
}

/// Replaces a file as a whole: whoever reads it sees the old text or the new one, also after a
/// power cut. A symbolic link stays one: what it leads to is replaced.
pub(crate) fn replace(path: &Path, text: &str, readers: Readers) -> Result<(), FileError> {
    let failed = |source| FileError::System { action: "write", path: path.to_path_buf(), source };
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let beside = beside(path);
    write_new(&beside, text, readers)?;
    let renamed = std::fs::rename(&beside, path).and_then(|()| sync_directory(path));
    renamed.map_err(|error| {
        // Ours alone: it did not exist before. After the renaming there is none.
        let _ = std::fs::remove_file(&beside);
        failed(error)
    })
}

/// The same for a file that nobody else replaces: what a program that was killed midway has left is in nobody's way.
pub(crate) fn replace_own(path: &Path, text: &str, readers: Readers) -> Result<(), FileError> {
    let left = beside(path);
    match std::fs::remove_file(&left) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(FileError::System { action: "remove", path: left, source })
        }
        _ => replace(path, text, readers),
    }
}

/// Where the new text of a file is written.
fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_os_string();
    beside.push(".new");
    PathBuf::from(beside)
}

/// Makes the entry of `path` in its directory durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

#[cfg(unix)]
fn create_new(path: &Path, readers: Readers) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::Everybody => 0o644,
    };
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

#[cfg(not(unix))]
fn create_new(path: &Path, _: Readers) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// No file of an identity is larger: a thousand peers take a twentieth of it.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_a_symbolic_link_leads_to_is_replaced_and_the_link_stays() {
        let directory = std::env::temp_dir().join(format!("synod-link-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("real")).unwrap();
        let [real, link] = ["real/n1.synod", "n1.synod"].map(|name| directory.join(name));
        write_new(&real, "old", Readers::Owner).unwrap();
        std::os::unix::fs::symlink("real/n1.synod", &link).unwrap();
        replace(&link, "new", Readers::Owner).unwrap();
        assert_eq!(std::fs::read_to_string(&real).unwrap(), "new");
        assert!(link.symlink_metadata().unwrap().is_symlink());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
