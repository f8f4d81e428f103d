//! What deployed nodes have recorded: reading it, and running it once more.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::json;
use synod_core::Recording;
use synod_simulator::{Deviation, Diagram, Replayed};

use crate::app::App;
use crate::args::Replay;
use crate::printer::{Printer, quoted};
use crate::problem::{Exit, Problem};

/// Bytes of a recording that are read; a node records fewer.
const BYTES_MAX: u64 = 2 << 30;
/// Nodes of a cluster whose picture is drawn.
const DRAWN_MAX: u32 = 1_000;

/// Whether the file begins as a recording does.
pub(super) fn is_one(path: &Path) -> bool {
    let mut magic = [0; Recording::MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == *Recording::MAGIC
}

/// Reads a recording of at least one life.
pub(super) fn read(path: &Path) -> Result<Recording, Problem> {
    let file = path.display();
    let cannot = |error| Problem::environment(format!("cannot read `{file}`"), &error);
    let size = fs::metadata(path).map_err(cannot)?.len();
    if BYTES_MAX < size {
        let what = format!("`{file}` has {size} bytes, {BYTES_MAX} at most are read");
        return Err(Problem::new(Exit::Usage, what));
    }
    let bytes = fs::read(path).map_err(cannot)?;
    let recording = Recording::read(&bytes).map_err(|error| {
        let problem = Problem::new(Exit::Usage, format!("`{file}`: {error}"));
        let hint =
            "`node --record` and `cluster --record` write recordings; `trace diff` compares traces";
        if is_one(path) { problem } else { problem.hint(hint) }
    })?;
    if recording.lives.is_empty() {
        return Err(Problem::new(Exit::NothingRan, format!("`{file}` holds no life of a node")));
    }
    Ok(recording)
}

/// Runs what was read of `path` once more.
pub(super) fn again(app: &App, path: &Path, recording: &Recording) -> Result<Replayed, Problem> {
    let algorithm = recording.lives.first().map(|life| life.origin.algorithm.as_str());
    let replayed = app.entry(algorithm)?.replay_recording(recording);
    replayed.map_err(|error| Problem::new(Exit::Usage, format!("`{}`: {error}", path.display())))
}

pub(super) fn replay(app: &App, asked: &Replay, printer: &Printer) -> Result<(), Problem> {
    let recording = read(&asked.file)?;
    let replayed = again(app, &asked.file, &recording)?;
    let hash = replayed.trace.hash();
    if let Some(path) = &asked.trace {
        super::replace(path, &replayed.trace.json_lines())?;
    }
    if replayed.trace.nodes <= DRAWN_MAX {
        let diagram = Diagram::of(&replayed.trace);
        let diagram = if asked.full { diagram.full() } else { diagram };
        printer.draw(diagram);
    }
    let (node, algorithm) = (replayed.node, &replayed.trace.algorithm);
    let (steps, lives) = (recording.steps(), recording.lives.len());
    let cut = recording.lives.iter().any(|life| life.cut);
    printer.say(format!("replayed {} of {steps} steps of {algorithm} on {node}", replayed.steps));
    if recording.torn {
        printer.say("the recording ends in the middle of a record: the process was killed");
    }
    if cut {
        printer.say("the recording ended before the node did");
    }
    if !replayed.events_changed.is_empty() {
        let changed = replayed.events_changed.join(", ");
        printer.say(format!(
            "this program has other fields in {changed}, and misreads what was recorded of it"
        ));
    }
    printer.say(format!("trace {hash}"));
    let divergence = replayed.divergence.as_ref();
    printer.event(&json!({
        "event": "replay", "algorithm": algorithm, "node": node.to_string(), "lives": lives,
        "steps": steps, "replayed": replayed.steps, "torn": recording.torn, "cut": cut,
        "trace_hash": hash, "divergence": divergence.map(fields),
        "events_gone": replayed.events_gone, "events_new": replayed.events_new,
        "events_changed": replayed.events_changed,
    }));
    match divergence {
        None => {
            let files: Vec<_> =
                of_the_cluster(&asked.file, &recording).iter().map(quoted).collect();
            let others = if files.len() == 1 { "     (all nodes' recordings)" } else { "" };
            printer.next(format!("trace merge {} --out run.jsonl{others}", files.join(" ")));
            Ok(())
        }
        Some(divergence) => Err(diverged(&replayed, divergence)),
    }
}

/// The recordings of all nodes that stand beside that of one, if they are named as `cluster` does.
fn of_the_cluster(file: &Path, recording: &Recording) -> Vec<PathBuf> {
    let peers = recording.lives.iter().take(1).flat_map(|life| &life.origin.boot.peers);
    let files = peers.map(|peer| file.with_file_name(format!("{peer}.recording")));
    let files: Vec<PathBuf> = files.filter(|it| is_one(it)).collect();
    if files.iter().any(|it| it == file) { files } else { vec![file.to_path_buf()] }
}

fn fields(divergence: &Deviation) -> serde_json::Value {
    let Deviation { index, incarnation, time, input, expected, got, effects } = divergence;
    json!({
        "step": index, "incarnation": incarnation,
        "time_us": u64::try_from(time.as_micros()).unwrap_or(u64::MAX), "input": input,
        "expected": expected.to_string(), "got": got.to_string(), "effects": effects,
    })
}

/// Says which step came to something else, and what may be the reason.
pub(super) fn diverged(replayed: &Replayed, divergence: &Deviation) -> Problem {
    let Deviation { index, time, input, expected, got, effects, .. } = divergence;
    let what = format!(
        "{} diverges from its recording at step {index}, after {time:?}, upon {input}",
        replayed.node
    );
    let mut hint = format!("recorded {expected}, came to {got}:");
    if effects.is_empty() {
        hint += " nothing";
    }
    for effect in effects {
        hint += &format!("\n    {effect}");
    }
    for (words, events) in [
        ("this program does not know", &replayed.events_gone),
        ("this program also knows", &replayed.events_new),
        ("this program has other fields in", &replayed.events_changed),
    ] {
        if !events.is_empty() {
            hint += &format!("\n  {words} {}", events.join(", "));
        }
    }
    Problem { told: true, ..Problem::new(Exit::Diverged, what).hint(hint) }
}
