//! `record`: what running nodes of this machine are fed, for a while.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use super::status::{node_at, place};
use crate::args::Record;
use crate::operating::client::{self, odd};
use crate::printer::{Printer, quoted};
use crate::problem::{Exit, Problem};

/// How often a node is asked whether its recording has ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the end of a recording may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A node that records, and where its recording is to be.
struct Recorded {
    node: String,
    address: SocketAddr,
    /// Where the node keeps it.
    kept: PathBuf,
    out: PathBuf,
}

pub(crate) fn run(asked: &Record, printer: &Printer) -> Result<(), Problem> {
    let places = asked.nodes.iter().map(|text| found(text)).collect::<Result<Vec<_>, _>>()?;
    let outs: Vec<PathBuf> = places.iter().map(|(node, _)| out(&asked.out, node)).collect();
    outs.iter().try_for_each(|out| free(out))?;
    fs::create_dir_all(&asked.out).map_err(|error| cannot_make(&asked.out, &error))?;
    let mut all = Vec::new();
    for ((node, address), out) in places.into_iter().zip(outs) {
        let kept = begin(&node, address, asked.seconds)?;
        printer.say(format!("{node} is recorded for {} s", asked.seconds));
        all.push(Recorded { node, address, kept, out });
    }
    let end = Instant::now() + Duration::from_secs(asked.seconds);
    thread::sleep(end.saturating_duration_since(Instant::now()));
    for recorded in &all {
        let steps = finish(recorded, end + PATIENCE)?;
        fetch(recorded)?;
        let Recorded { node, out, .. } = recorded;
        printer.say(format!("{} has {steps} steps of {node}", out.display()));
        printer.event(&json!({
            "event": "recorded", "node": node, "file": out.display().to_string(), "steps": steps,
        }));
    }
    printer.next(format!(
        "replay {}",
        all.iter().map(|it| quoted(&it.out)).next().unwrap_or_default()
    ));
    Ok(())
}

/// Who answers where the node of a bundle, or an address, is.
fn found(text: &str) -> Result<(String, SocketAddr), Problem> {
    let (name, address) = place(text)?;
    let node = node_at(address).map_err(|error| no_answer(&name, address, &error))?;
    Ok((node, address))
}

fn out(directory: &Path, node: &str) -> PathBuf {
    directory.join(format!("{node}.recording"))
}

fn free(out: &Path) -> Result<(), Problem> {
    if !out.exists() {
        return Ok(());
    }
    let what = format!("`{}` is there already", out.display());
    Err(Problem::new(Exit::Usage, what).hint("choose another directory by --out"))
}

fn cannot_make(path: &Path, error: &io::Error) -> Problem {
    Problem::environment(format!("cannot make `{}`", path.display()), error)
}

/// What a node says that has begun.
#[derive(Deserialize)]
struct Begun {
    file: PathBuf,
}

fn begin(node: &str, address: SocketAddr, seconds: u64) -> Result<PathBuf, Problem> {
    let reply = client::ask(address, &format!("POST /record?seconds={seconds}"));
    let reply = reply.map_err(|error| no_answer(node, address, &error))?;
    if reply.code != 202 {
        let what = format!("{node} is not recorded: {}", reply.page.trim_end());
        return Err(Problem::new(Exit::Environment, what));
    }
    let begun: Result<Begun, _> = serde_json::from_str(&reply.page);
    begun.map(|begun| begun.file).map_err(|_| no_answer(node, address, &odd()))
}

fn no_answer(node: &str, address: SocketAddr, error: &io::Error) -> Problem {
    Problem::environment(format!("{node} does not answer at http://{address}/record"), error)
        .hint("is it started on this machine, and not with --admin off?")
}

/// What `/status` says of a recording.
#[derive(Deserialize)]
struct Page {
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    recording: Option<Recording>,
}

#[derive(Deserialize)]
struct Recording {
    steps: u64,
    over: Option<String>,
}

/// Waits until the recording has ended. How many steps it has; those of a node that is gone are not known.
fn finish(recorded: &Recorded, until: Instant) -> Result<u64, Problem> {
    loop {
        let reply = client::ask(recorded.address, "GET /status");
        let reply = reply.map_err(|error| gone(recorded, &error))?;
        let page: Page = serde_json::from_str(&reply.page).map_err(|_| gone(recorded, &odd()))?;
        match page.status.recording {
            Some(Recording { steps, over: Some(_) }) => return Ok(steps),
            _ if until < Instant::now() => {
                let late = io::Error::new(io::ErrorKind::TimedOut, "its recording has not ended");
                return Err(gone(recorded, &late));
            }
            _ => thread::sleep(LOOK_EVERY),
        }
    }
}

fn gone(recorded: &Recorded, error: &io::Error) -> Problem {
    let Recorded { node, kept, .. } = recorded;
    Problem::environment(format!("{node} does not say what it has recorded"), error)
        .hint(format!("what there is of it stands in `{}`", kept.display()))
}

/// Brings a recording where it was asked for.
fn fetch(Recorded { node, kept, out, .. }: &Recorded) -> Result<(), Problem> {
    let moved = fs::rename(kept, out).or_else(|_| {
        fs::copy(kept, out)?;
        fs::remove_file(kept)
    });
    moved.map_err(|error| {
        let _ = fs::remove_file(out);
        let what = format!("cannot bring the recording of {node} to `{}`", out.display());
        Problem::environment(what, &error)
            .hint(format!("its owner finds it in `{}`", kept.display()))
    })
}
