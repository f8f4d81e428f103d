//! `record`: what running nodes of this machine are fed, for a while.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use synod_core::NodeId;
use synod_runtime::RecordingStatus;

use super::recording;
use super::status::{node_at, place};
use super::told_to_end::when_told_to_end;
use crate::args::Record;
use crate::operating::client::{self, PATIENCE, STATUS, odd};
use crate::operating::recordings::{Begun, number};
use crate::printer::{Printer, quoted};
use crate::problem::{Exit, Problem};

/// How often a node is asked whether its recording has ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often it is asked in the meantime.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// How long a recording may take to begin: as long as the handler that runs. A node gives up before.
const BEGINS_WITHIN: Duration = Duration::from_secs(6);
/// How long the end of a recording may take.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// A node, and where its recording is to be.
struct Recorded {
    node: NodeId,
    address: SocketAddr,
    out: PathBuf,
}

pub(crate) fn run(asked: &Record, printer: &Printer) -> Result<(), Problem> {
    let nodes = asked.nodes.iter().map(|text| found(text, &asked.out));
    let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
    has_room(&nodes)?;
    let (tell, told_to_end) = channel();
    when_told_to_end(move || {
        // Whoever would hear it has ended already.
        let _ = tell.send(());
    })?;
    let is_new = !asked.out.exists();
    fs::create_dir_all(&asked.out).map_err(|error| {
        Problem::environment(format!("cannot make `{}`", asked.out.display()), &error)
    })?;
    let kept = begin_all(&nodes, asked.seconds).inspect_err(|_| {
        if is_new {
            let _ = fs::remove_dir(&asked.out); // Nothing is brought there.
        }
    })?;
    for Recorded { node, .. } in &nodes {
        printer.say(format!("{node} is recorded for {} s", asked.seconds));
    }
    let early = wait_while_recorded(&nodes, &kept, &told_to_end);
    let until = Instant::now() + ENDS_WITHIN;
    let brought = nodes.iter().zip(&kept).map(|(recorded, Kept { file, .. })| {
        let is_early = early.contains(&recorded.node);
        let by_others = || is_early.then(|| String::from("somebody else has ended it"));
        let ended = wait_for_the_end(recorded.address, until).or_else(by_others);
        bring(recorded, file, ended, printer)
    });
    // One node that is gone takes no other one's recording with it.
    let outcomes: Vec<Result<(), Problem>> = brought.collect();
    let mut there = nodes.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
    if let Some((recorded, _)) = there.next() {
        printer.next(format!("replay {}", quoted(&recorded.out)));
    }
    outcomes.into_iter().collect()
}

/// Waits until the recordings end, or all have ended before, or ends them when this process is told to end. Those
/// that have ended before.
fn wait_while_recorded(
    nodes: &[Recorded],
    kept: &[Kept],
    told_to_end: &Receiver<()>,
) -> BTreeSet<NodeId> {
    let mut early = BTreeSet::new();
    while let Some(rest) = kept
        .iter()
        .map(|it| it.until)
        .max()
        .and_then(|it| it.checked_duration_since(Instant::now()))
        && early.len() < nodes.len()
    {
        if told_to_end.recv_timeout(rest.min(WATCH_EVERY)).is_ok() {
            end_all(nodes, kept);
            return early;
        }
        for (Recorded { node, address, .. }, Kept { until, .. }) in nodes.iter().zip(kept) {
            let is_over = !matches!(recording_at(*address), Ok(Some(Recording { over: None })));
            if is_over && Instant::now() < *until {
                early.insert(*node);
            }
        }
    }
    early
}

/// The node of a bundle, or at an address.
fn found(text: &str, directory: &Path) -> Result<Recorded, Problem> {
    let (name, address) = place(text)?;
    if !address.ip().is_loopback() {
        let what = format!("{address} is not of this machine");
        return Err(Problem::new(Exit::Usage, what).hint("ask where the node runs"));
    }
    let answers = node_at(address).map_err(|error| no_answer(&name, address, &error))?;
    let node: NodeId = answers.parse().map_err(|_| no_answer(&name, address, &odd()))?;
    if name.parse::<SocketAddr>().is_err() && name != answers {
        let what = format!("at http://{address} {node} answers, and not {name} of `{text}`");
        return Err(Problem::new(Exit::Environment, what));
    }
    Ok(Recorded { node, address, out: directory.join(format!("{node}.recording")) })
}

/// Whether each recording has a place of its own where nothing stands.
fn has_room(nodes: &[Recorded]) -> Result<(), Problem> {
    let hint = "choose another directory by --out";
    if let Some(it) = nodes.iter().find(|it| fs::symlink_metadata(&it.out).is_ok()) {
        let what = format!("`{}` is there already", it.out.display());
        return Err(Problem::new(Exit::Usage, what).hint(hint));
    }
    let names: BTreeSet<NodeId> = nodes.iter().map(|it| it.node).collect();
    if names.len() < nodes.len() {
        return Err(Problem::new(Exit::Usage, "one node is named twice"));
    }
    Ok(())
}

fn no_answer(name: &str, address: SocketAddr, error: &io::Error) -> Problem {
    Problem::environment(format!("{name} does not answer at http://{address}"), error)
        .hint("is it started on this machine, and not with --admin off?")
}

/// Ends what was begun.
fn end_all(nodes: &[Recorded], kept: &[Kept]) {
    for (Recorded { address, .. }, Kept { token, .. }) in nodes.iter().zip(kept) {
        // One that does not answer any more records no more.
        let _ = client::ask(*address, &format!("POST /record?end={token}"), BEGINS_WITHIN);
    }
}

/// Where a node keeps its recording.
struct Kept {
    file: PathBuf,
    /// What ends it.
    token: String,
    /// It goes on until then at least, unless it is ended.
    until: Instant,
}

/// All nodes begin, or none.
fn begin_all(nodes: &[Recorded], seconds: u64) -> Result<Vec<Kept>, Problem> {
    let mut kept = Vec::new();
    for recorded in nodes {
        let until = Instant::now() + Duration::from_secs(seconds);
        match begin(recorded, seconds) {
            Ok(Begun { file, token }) => kept.push(Kept { file, token, until }),
            Err(problem) => {
                end_all(nodes, &kept);
                return Err(problem);
            }
        }
    }
    Ok(kept)
}

fn begin(Recorded { node, address, .. }: &Recorded, seconds: u64) -> Result<Begun, Problem> {
    let no_answer = |error| no_answer(&node.to_string(), *address, &error);
    let request = format!("POST /record?seconds={seconds}");
    let reply = client::ask(*address, &request, BEGINS_WITHIN).map_err(no_answer)?;
    if reply.code != 202 {
        let what = format!("{node} is not recorded: {}", reply.page.trim_end());
        return Err(Problem::new(Exit::Environment, what));
    }
    let begun: Begun = serde_json::from_str(&reply.page).map_err(|_| no_answer(odd()))?;
    let file = &begun.file;
    // Whoever has taken the port of a node must not say which file is read.
    let is_one = file.file_name().is_some_and(|name| number(name, *node).is_some());
    let is_file = fs::symlink_metadata(file).map(|it| it.is_file());
    match is_file.and_then(|it| File::open(file).map(|_| it && is_one)) {
        Ok(true) => Ok(begun),
        Ok(false) => Err(no_answer(odd())),
        Err(error) => {
            let what = format!("cannot read `{}`, where {node} is recorded", file.display());
            Err(Problem::environment(what, &error).hint("ask as the user of the node"))
        }
    }
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
    over: Option<String>,
}

/// Waits until all of a recording is in its file, or nothing more will come. Says why it ended too early.
fn wait_for_the_end(address: SocketAddr, until: Instant) -> Option<String> {
    loop {
        match recording_at(address) {
            Err(_) => return Some(String::from("the node is gone")),
            Ok(Some(Recording { over: Some(why) })) => {
                return Some(why).filter(|why| why != RecordingStatus::ENDED);
            }
            Ok(None) => return Some(String::from("the node has been started anew")),
            Ok(Some(_)) if until < Instant::now() => return Some(String::from("it goes on")),
            Ok(Some(_)) => thread::sleep(LOOK_EVERY),
        }
    }
}

/// What the node at an address says of its last recording, if there is one.
fn recording_at(address: SocketAddr) -> io::Result<Option<Recording>> {
    let reply = client::ask(address, STATUS, PATIENCE)?;
    let page: Option<Page> = serde_json::from_str(&reply.page).ok();
    Ok(page.and_then(|page| page.status.recording))
}

/// Brings a recording where it was asked for.
fn bring(
    Recorded { node, out, .. }: &Recorded,
    kept: &Path,
    ended: Option<String>,
    printer: &Printer,
) -> Result<(), Problem> {
    copy(kept, out).map_err(|error| {
        let what = format!("cannot bring the recording of {node} to `{}`", out.display());
        let problem = Problem::environment(what, &error);
        match (kept.exists(), &ended) {
            (true, _) => problem.hint(format!("it stands in `{}`", kept.display())),
            (false, Some(why)) => problem.hint(format!("it is gone from the node, too: {why}")),
            (false, None) => problem.hint("it is gone from the node, too: somebody has removed it"),
        }
    })?;
    let steps = recording::read(out)?.steps();
    printer.say(format!("{} has {steps} steps of {node}", out.display()));
    if let Some(why) = &ended {
        printer.warn(format!("the recording of {node} is not what was asked for: {why}"));
    }
    printer.event(&json!({
        "event": "recorded", "node": node.to_string(), "file": out.display().to_string(),
        "steps": steps, "ended": ended,
    }));
    Ok(())
}

/// Copies a file to where none is; only its owner may read it there too.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = options.open(to)?;
    let copied = File::open(from).and_then(|mut from| io::copy(&mut from, &mut out));
    if copied.is_err() {
        let _ = fs::remove_file(to); // Ours: it was not there.
    }
    copied.map(drop)
}
