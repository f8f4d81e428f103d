//! `store`: what a node has written down, looked at from outside.

use std::path::{Path, PathBuf};

use serde_json::json;
use synod_core::durable::{EntryKind, Inspection, LogError};
use synod_core::{Catalogue, Envelope, EventId};
use synod_runtime::{StoreError, check_unfenced, copy_store, inspect_store};
use synod_transport_quic::TakenLists;

use crate::app::App;
use crate::args::{Store, StoreBackup, StoreDirectory, StoreRestore};
use crate::printer::{Printer, counted, named, quoted, thousands, typed};
use crate::problem::{Exit, Problem};

pub(crate) fn run(app: &App, asked: &Store, printer: &Printer) -> Result<(), Problem> {
    match asked {
        Store::Check(asked) => check(asked, printer),
        Store::Dump(asked) => dump(app, asked, printer),
        Store::Backup(asked) => backup(asked, printer),
        Store::Restore(asked) => restore(asked, printer),
    }
}

fn check(asked: &StoreDirectory, printer: &Printer) -> Result<(), Problem> {
    let found = inspect(&asked.directory)?;
    let records = found.records().count() as u64;
    printer.say(format!(
        "{}: intact, format {}, copy {}, {}, {} bytes, {}",
        asked.directory.display(),
        found.format,
        found.generation,
        counted(records, "record", "records"),
        thousands(found.intact_bytes),
        counted(found.incarnation, "life", "lives"),
    ));
    if !found.is_noted() {
        printer.say(
            "node.note is missing, damaged, or of another copy: if records were cut off the end, nothing here can tell; \
             the next start writes a new one",
        );
    }
    if 0 < found.torn_bytes {
        printer.say(format!(
            "{} bytes behind byte {} were being written when the node ended, and were never \
             acknowledged: the next start cuts them off",
            thousands(found.torn_bytes),
            found.intact_bytes,
        ));
    }
    printer.event(&json!({
        "event": "intact", "format": found.format, "copy": found.generation,
        "incarnation": found.incarnation, "records": records, "bytes": found.intact_bytes,
        "durable_bytes": found.durable_bytes, "noted": found.is_noted(), "torn_bytes": found.torn_bytes,
    }));
    check_unfenced(&asked.directory).map_err(|error| problem(&error))?;
    printer.next(format!("store dump {}", quoted(&asked.directory)));
    Ok(())
}

fn dump(app: &App, asked: &StoreDirectory, printer: &Printer) -> Result<(), Problem> {
    let found = inspect(&asked.directory)?;
    let catalogues = app.catalogues()?;
    for entry in &found.entries {
        let (number, offset) = (entry.number, entry.offset);
        match &entry.kind {
            EntryKind::Life(incarnation) => {
                printer.say(format!("{number:>6}  byte {offset:<8}  life {incarnation}"));
                printer.event(&json!({
                    "event": "life", "number": number, "offset": offset,
                    "incarnation": incarnation,
                }));
            }
            EntryKind::Record(envelope) => {
                let shown = show(&catalogues, envelope);
                let instance = envelope.instance().keys();
                printer.say(format!("{number:>6}  byte {offset:<8}  {shown}"));
                printer.event(&json!({
                    "event": "record", "number": number, "offset": offset, "instance": instance,
                    "shown": shown, "body": hexadecimal(envelope.body()),
                }));
            }
            _ => (),
        }
    }
    let directory = asked.directory.display();
    let copy = PathBuf::from(format!("{directory}-copy"));
    printer.next(format!("store backup {} --to {}", quoted(&asked.directory), quoted(copy)));
    Ok(())
}

fn backup(asked: &StoreBackup, printer: &Printer) -> Result<(), Problem> {
    let copied = copy(&asked.directory, &asked.to)?;
    told(&copied, &asked.to, printer);
    printer.next(format!("store check {}", quoted(&asked.to)));
    Ok(())
}

fn restore(asked: &StoreRestore, printer: &Printer) -> Result<(), Problem> {
    let copied = copy(&asked.from, &asked.directory)?;
    told(&copied, &asked.directory, printer);
    printer.advise(
        "a node of this store has forgotten what it promised after the copy was made; start it only \
         if the cluster survives that",
    );
    Ok(())
}

/// Copies the records, and which lists of revoked certificates the node has taken.
fn copy(from: &Path, to: &Path) -> Result<Inspection, Problem> {
    TakenLists::kept_in(from.join(TakenLists::FILE)).map_err(|error| Problem::of_file(&error))?;
    copy_store(from, to, &[TakenLists::FILE]).map_err(|error| problem(&error))
}

fn told(copied: &Inspection, to: &Path, printer: &Printer) {
    let records = copied.records().count() as u64;
    printer.say(format!(
        "{}: {} up to life {}, {} bytes",
        to.display(),
        counted(records, "record", "records"),
        copied.incarnation,
        thousands(copied.intact_bytes),
    ));
    printer.event(&json!({
        "event": "copied", "to": named(to), "records": records, "incarnation": copied.incarnation,
        "bytes": copied.intact_bytes,
    }));
}

fn inspect(directory: &Path) -> Result<Inspection, Problem> {
    inspect_store(directory).map_err(|error| problem(&error))
}

/// Damage has an exit code of its own.
fn problem(error: &StoreError) -> Problem {
    let exit = match error {
        StoreError::Log { cause: LogError::Damaged { .. } | LogError::Record { .. }, .. } => {
            Exit::Violated
        }
        StoreError::Fenced { .. } => Exit::Violated,
        StoreError::Empty { .. } | StoreError::Occupied { .. } => Exit::Usage,
        _ => Exit::Environment,
    };
    let problem = Problem::new(exit, error.to_string());
    match error {
        StoreError::Empty { directory } => problem.hint(format!(
            "name the directory of a node's --store; a node makes it: {}",
            typed(format!("node n1.synod --store {}", quoted(directory)))
        )),
        _ => problem,
    }
}

/// A record as the algorithm that knows its event writes it out.
fn show(catalogues: &[Catalogue], envelope: &Envelope) -> String {
    let knows = |catalogue: &&Catalogue| {
        catalogue.names().iter().any(|name| EventId::of(name) == envelope.event())
    };
    match catalogues.iter().find(knows) {
        Some(catalogue) => catalogue.show(envelope),
        None => format!("{:?} {}", envelope.event(), hexadecimal(envelope.body())),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
