//! `trace convert`: a trace, or the run of a schedule, for another tool.

use std::path::Path;

use serde_json::json;
use synod_simulator::{Format, Schedule, Trace, convert};

use super::{recording, replace, spared, text};
use crate::app::App;
use crate::args::TraceConvert;
use crate::printer::{Printer, named, quoted, typed};
use crate::problem::{Exit, Problem};

pub(crate) fn run(app: &App, asked: &TraceConvert, printer: &Printer) -> Result<(), Problem> {
    spared(asked.out.as_deref(), &[&asked.file])?;
    let trace = read(app, &asked.file)?;
    let format = asked.to.format();
    if format == Format::History {
        has_clients(&trace)?;
    }
    let text = convert(&trace, format);
    if let Some(out) = &asked.out {
        replace(out, &text)?;
        let (steps, path) = (trace.steps.len(), out.display());
        printer.say(format!(
            "{path}: {steps} steps of {}, for {}",
            trace.algorithm,
            reader(format)
        ));
    } else {
        printer.copy(text.strip_suffix('\n').unwrap_or(&text));
    }
    printer.event(&json!({
        "event": "converted", "to": format.to_string(), "algorithm": trace.algorithm,
        "steps": trace.steps.len(), "bytes": text.len(), "out": asked.out.as_ref().map(named),
        "text": asked.out.is_none().then_some(&text),
    }));
    printer.next(next(asked, format));
    Ok(())
}

/// The same trace in a format that shows something else.
fn next(asked: &TraceConvert, format: Format) -> String {
    if let (Format::History, Some(out)) = (format, &asked.out) {
        return format!("history check {} --model register", quoted(out));
    }
    let other = if format == Format::Html { Format::Chrome } else { Format::Html };
    let (file, ending) = (quoted(&asked.file), other.ending());
    format!("trace convert {file} --to {other} --out run.{ending}")
}

/// Where a format is looked at.
fn reader(format: Format) -> &'static str {
    match format {
        Format::ShiViz => "https://bestchai.bitbucket.io/shiviz",
        Format::Chrome => "https://ui.perfetto.dev",
        Format::PlantUml => "PlantUML",
        Format::Mermaid => "Mermaid: in Markdown, a block of the language `mermaid`",
        Format::Svg | Format::Html => "a browser",
        Format::Csv => "a spreadsheet",
        Format::History => "`history check`",
        _ => "another tool",
    }
}

/// Refuses a history of nothing.
fn has_clients(trace: &Trace) -> Result<(), Problem> {
    if trace.steps.iter().any(|step| !step.clients.is_empty()) {
        return Ok(());
    }
    let what = format!("no client's operation is in this trace of {}", trace.algorithm);
    let hint = "a scenario says how to see them: Scenario::clients, as `abd` does";
    Err(Problem::new(Exit::NothingRan, what).hint(hint))
}

/// The trace in `path`, or the one of the schedule in it.
pub(super) fn read(app: &App, path: &Path) -> Result<Trace, Problem> {
    let file = path.display();
    if recording::is_one(path) {
        let what = format!("`{file}` is the recording of a node, not yet a trace");
        let merge = typed(format!("trace merge {} --out run.jsonl", quoted(path)));
        let hint = format!("first: {merge}");
        return Err(Problem::new(Exit::Usage, what).hint(hint));
    }
    let hint = "`replay --trace` writes traces, `sim` and `check` write schedules";
    let text = text(path, Trace::SIZE_MAX, hint)?;
    if !text.starts_with("synod schedule ") {
        return Trace::read(&text).map_err(|error| {
            Problem::new(Exit::Usage, format!("`{file}`, {error}")).hint(
                "a trace is written by `replay --trace` and `trace merge`, a schedule by `sim` and \
                 `check`",
            )
        });
    }
    let schedule: Schedule =
        text.parse().map_err(|error| Problem::new(Exit::Usage, format!("`{file}`, {error}")))?;
    Ok(super::replay::entry(app, path, &schedule)?.replay(&schedule).trace)
}
