//! One file for each command.

pub(crate) mod as_test;
pub(crate) mod cert;
pub(crate) mod check;
pub(crate) mod cluster;
pub(crate) mod convert;
pub(crate) mod demo;
pub(crate) mod history;
pub(crate) mod node;
pub(crate) mod recording;
pub(crate) mod replay;
pub(crate) mod sim;
pub(crate) mod status;
pub(crate) mod store;
pub(crate) mod sweep;
pub(crate) mod trace;
pub(crate) mod why;

use std::fs;
use std::path::{Path, PathBuf};

use crate::problem::{Exit, Problem};

/// Writes the schedule of a violation under `directory`. Returns where.
fn keep(directory: &Path, name: &str, text: &str) -> Result<PathBuf, Problem> {
    let path = directory.join(format!("{name}.schedule"));
    let partial = path.with_extension("partial");
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&partial, text))
        .and_then(|()| fs::rename(&partial, &path))
        .map_err(|error| {
            Problem::environment(format!("cannot write `{}`", path.display()), &error)
        })?;
    Ok(path)
}

/// Writes a file as a whole: what was there before, or nothing, stays until all of it is written.
fn replace(path: &Path, text: &str) -> Result<(), Problem> {
    if path.exists() && !path.is_file() {
        let what = format!("`{}` is not a regular file, and is not replaced", path.display());
        return Err(Problem::new(Exit::Environment, what));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.{}.partial", std::process::id()));
    fs::write(&partial, text).and_then(|()| fs::rename(&partial, path)).map_err(|error| {
        // If it cannot be removed either, the first reason is the one to tell.
        let _ = fs::remove_file(&partial);
        Problem::environment(format!("cannot write `{}`", path.display()), &error)
    })
}
