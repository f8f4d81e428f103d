//! `trace`: what is done with what happened in runs.

use std::path::{Path, PathBuf};

use serde_json::json;
use synod_simulator::merge;

use super::{convert, diff, recording};
use crate::app::App;
use crate::args::{Trace, TraceMerge};
use crate::printer::{Printer, named, quoted};
use crate::problem::{Exit, Problem};

pub(crate) fn run(app: &App, asked: &Trace, printer: &Printer) -> Result<(), Problem> {
    match asked {
        Trace::Merge(asked) => run_merge(app, asked, printer),
        Trace::Convert(asked) => convert::run(app, asked, printer),
        Trace::Diff(asked) => diff::run(app, asked, printer),
    }
}

/// One trace of a cluster from the recordings of its nodes.
fn run_merge(app: &App, asked: &TraceMerge, printer: &Printer) -> Result<(), Problem> {
    let files: Vec<&Path> = asked.files.iter().map(PathBuf::as_path).collect();
    super::spared(asked.out.as_deref(), &files)?;
    let mut nodes = Vec::new();
    for file in &asked.files {
        let replayed = recording::again(app, file, &recording::read(file)?)?;
        if let Some(divergence) = &replayed.divergence {
            let problem = recording::diverged(&replayed, divergence);
            return Err(Problem { told: false, ..problem });
        }
        nodes.push(replayed);
    }
    let merged = merge(&nodes).map_err(|error| {
        let hint = "give the recordings of one cluster, each of them once";
        Problem::new(Exit::Usage, error.to_string()).hint(hint)
    })?;
    let text = merged.trace.json_lines();
    let Some(path) = &asked.out else {
        printer.write(&text);
        let files: Vec<String> = asked.files.iter().map(quoted).collect();
        printer.next(format!("trace merge {} --out run.jsonl", files.join(" ")));
        return Ok(());
    };
    super::replace(path, &text)?;
    let (steps, hash) = (merged.trace.steps.len(), merged.trace.hash());
    printer.say(format!(
        "{steps} steps of {} nodes, {} messages from send to delivery, {} without a send",
        nodes.len(),
        merged.matched,
        merged.unmatched,
    ));
    printer.say(format!("trace {hash}"));
    printer.event(&json!({
        "event": "merged", "nodes": nodes.len(), "steps": steps, "matched": merged.matched,
        "unmatched": merged.unmatched, "trace": named(path), "trace_hash": hash,
    }));
    printer.next(format!("trace convert {} --to html --out run.html", quoted(path)));
    Ok(())
}
