//! One file for each command.

pub(crate) mod as_test;
pub(crate) mod cert;
pub(crate) mod check;
pub(crate) mod cluster;
pub(crate) mod convert;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod history;
pub(crate) mod node;
mod progress;
pub(crate) mod record;
pub(crate) mod recording;
pub(crate) mod replay;
pub(crate) mod shell;
pub(crate) mod sim;
pub(crate) mod status;
pub(crate) mod store;
pub(crate) mod sweep;
mod told_to_end;
pub(crate) mod trace;
pub(crate) mod why;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use synod_simulator::{Format, Trace, convert};

use crate::printer::Printer;
use crate::problem::{Exit, Problem};

/// Writes the schedule of a violation under `directory`. Returns where.
fn keep(directory: &Path, name: &str, text: &str) -> Result<PathBuf, Problem> {
    kept(directory, format!("{name}.schedule"), text)
}

/// Writes the page of a run under `directory`. Returns where; where it cannot, the schedule says more.
fn keep_page(directory: &Path, name: &str, trace: &Trace, printer: &Printer) -> Option<PathBuf> {
    let page = convert(trace, Format::Html);
    let path = kept(directory, format!("{name}.html"), &page).ok()?;
    printer.say(format!("to go through it in a browser: {}", path.display()));
    Some(path)
}

fn kept(directory: &Path, file: String, text: &str) -> Result<PathBuf, Problem> {
    let path = directory.join(file);
    fs::create_dir_all(directory).map_err(|error| {
        Problem::environment(format!("cannot make `{}`", directory.display()), &error)
    })?;
    replace(&path, text)?;
    Ok(path)
}

/// Refuses to write a result over a file that it comes from, or over what is no file.
fn spared(out: Option<&Path>, from: &[&Path]) -> Result<(), Problem> {
    let Some((out, there)) = out.and_then(|out| Some((out, fs::canonicalize(out).ok()?))) else {
        return Ok(());
    };
    let is_there = |path: &&Path| fs::canonicalize(path).is_ok_and(|path| path == there);
    let what = if !there.is_file() {
        format!("`{}` is not a file", out.display())
    } else if from.iter().any(is_there) {
        format!("`{}` is what is read", out.display())
    } else {
        return Ok(());
    };
    Err(Problem::new(Exit::Usage, what).hint("choose another file for the result"))
}

/// `count` seeds from `first` on, one at least.
fn seeds(first: u64, count: u64) -> Result<Range<u64>, Problem> {
    if count == 0 {
        return Err(Problem::new(Exit::NothingRan, "no seed was asked for").hint("raise --seeds"));
    }
    let end = first.checked_add(count).ok_or_else(|| {
        let what = format!("--seed {first} leaves no room for {count} seeds");
        Problem::new(Exit::Usage, what).hint("lower --seed")
    })?;
    Ok(first..end)
}

/// The bytes of a file, `most` at most, even if it has no end. `hint` says where such files come
/// from.
fn bytes(path: &Path, most: usize, hint: &str) -> Result<Vec<u8>, Problem> {
    let file = path.display();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(
        |error| Problem::environment(format!("cannot read `{file}`"), &error).hint(hint),
    )?;
    of_size(path, bytes.len(), most)?;
    Ok(bytes)
}

/// Refuses what is too large.
fn of_size(path: &Path, bytes: usize, most: usize) -> Result<(), Problem> {
    if bytes <= most {
        return Ok(());
    }
    let what = format!("`{}` has more than the {most} bytes that are read", path.display());
    Err(Problem::new(Exit::Usage, what))
}

/// The same as text.
pub(crate) fn text(path: &Path, most: usize, hint: &str) -> Result<String, Problem> {
    String::from_utf8(bytes(path, most, hint)?).map_err(|error| {
        let (good, _) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        Problem::new(Exit::Usage, format!("`{}`, line {line}: not UTF-8", path.display()))
    })
}

/// Writes a file as a whole: what was there before, or nothing, stays until all of it is written. A
/// symbolic link stays one: what it leads to is written.
fn replace(path: &Path, text: &str) -> Result<(), Problem> {
    Partial::create(path)?.finish(text)
}

/// A file that appears under its name when it is whole. What is not finished is removed.
struct Partial {
    path: PathBuf,
    partial: PathBuf,
    file: File,
}

impl Partial {
    /// Before there is a text, so that a wrong name costs nothing.
    fn create(path: &Path) -> Result<Self, Problem> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if path.exists() && !path.is_file() {
            let kind = if path.is_dir() { "a directory" } else { "not a regular file" };
            let what = format!("`{}` is {kind}, and is not replaced", path.display());
            return Err(Problem::new(Exit::Environment, what));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let partial = path.with_file_name(format!(".{name}.{}.partial", std::process::id()));
        match File::create(&partial) {
            Ok(file) => Ok(Self { path, partial, file }),
            Err(error) => Err(cannot_write(&path, &error)),
        }
    }

    fn finish(mut self, text: &str) -> Result<(), Problem> {
        // Synced before it has its name: after a loss of power there would be the name alone.
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_all());
        let renamed = written.and_then(|()| fs::rename(&self.partial, &self.path));
        renamed.map_err(|error| cannot_write(&self.path, &error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // There is none where it has its name already. If it cannot be removed, that is not what went wrong first.
        let _ = fs::remove_file(&self.partial);
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Problem {
    Problem::environment(format!("cannot write `{}`", path.display()), error)
}
