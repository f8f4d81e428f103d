//! CSV: a header, then a row for each step. Lists are JSON in their cells, and empty if they are.
//!
//! Quoted as RFC 4180 says, with line feeds. A cell that a spreadsheet would take for a formula
//! gets an apostrophe in front, which spreadsheets do not show.

use serde::Serialize;

use super::shiviz::kind_name;
use crate::trace::{Step, Trace};

const COLUMNS: [&str; 16] = [
    "step",
    "time_us",
    "node",
    "kind",
    "event",
    "payload",
    "cause",
    "message",
    "delay_us",
    "sends",
    "timers",
    "changes",
    "state",
    "outputs",
    "log",
    "violation",
];

pub(super) fn table(trace: &Trace) -> String {
    let mut text = COLUMNS.join(",") + "\n";
    for step in &trace.steps {
        let cells = row(step).map(|cell| quoted(&cell));
        text += &cells.join(",");
        text.push('\n');
    }
    text
}

fn row(step: &Step) -> [String; 16] {
    [
        step.index.to_string(),
        step.time_us.to_string(),
        maybe(step.node),
        kind_name(step.kind).into(),
        step.event.clone(),
        step.payload.clone(),
        maybe(step.cause),
        maybe(step.message),
        maybe(step.delay_us),
        list(&step.sends),
        list(&step.armed),
        list(&step.changes),
        step.state.clone().unwrap_or_default(),
        list(&step.outputs),
        list(&step.log),
        step.wrong.clone().unwrap_or_default(),
    ]
}

fn maybe(value: Option<impl ToString>) -> String {
    value.map(|it| it.to_string()).unwrap_or_default()
}

fn list<T: Serialize>(items: &[T]) -> String {
    if items.is_empty() {
        return String::new();
    }
    match serde_json::to_string(items) {
        Ok(text) => text,
        Err(error) => unreachable!("strings and numbers serialize: {error}"),
    }
}

fn quoted(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if is_formula { "'" } else { "" };
    if is_formula || cell.contains(['"', ',', '\n', '\r']) {
        format!("\"{guard}{}\"", cell.replace('"', "\"\""))
    } else {
        String::from(cell)
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn cells_are_quoted_and_formulas_are_not_computed() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("a \"b\",\nc"), "\"a \"\"b\"\",\nc\"");
        assert_eq!(quoted("=1+1"), "\"'=1+1\"");
    }
}
