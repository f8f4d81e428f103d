//! One file for each command.

pub(crate) mod cert;
pub(crate) mod check;
pub(crate) mod cluster;
pub(crate) mod demo;
pub(crate) mod node;
pub(crate) mod replay;
pub(crate) mod sim;

use std::fs;
use std::path::{Path, PathBuf};

use crate::problem::Problem;

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
