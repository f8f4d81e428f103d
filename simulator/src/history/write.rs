//! Histories as JSON lines.

use std::io::{self, Write};

use serde_json::{Value as Json, json};

use super::operation::{History, Outcome};

/// The first line.
pub(super) const HEADER: &str = "{\"synod_history\":1}";

/// Writes a history as JSON lines while it happens: one line for each event, flushed at once, so
/// that what a process did before it ended can be read.
///
/// The order of the lines is the order of the events. So one writer must see the events of all
/// clients: the files of several machines cannot be put into one.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Begins a history.
    ///
    /// # Errors
    ///
    /// What `out` reports; the same for every event.
    pub fn new(mut out: W) -> io::Result<Self> {
        writeln!(out, "{HEADER}")?;
        Ok(Self { out })
    }

    /// `client` asks for operation `id`: `f` of `value`, at `key` if there are keys.
    ///
    /// # Errors
    ///
    /// What the file reports.
    pub fn invoke(
        &mut self,
        client: &str,
        id: u64,
        f: &str,
        key: Option<&str>,
        value: &Json,
    ) -> io::Result<()> {
        let mut line = json!({"event": "invoke", "client": client, "id": id, "f": f});
        if let Some(fields) = line.as_object_mut() {
            fields.extend(key.map(|key| (String::from("key"), Json::from(key))));
            fields.insert(String::from("value"), value.clone());
        }
        self.line(&line)
    }

    /// Operation `id` returns `value`; nothing if it took effect with an unknown answer.
    ///
    /// # Errors
    ///
    /// What the file reports.
    pub fn returned(&mut self, id: u64, value: Option<&Json>) -> io::Result<()> {
        let mut line = json!({"event": "return", "id": id});
        if let (Some(fields), Some(value)) = (line.as_object_mut(), value) {
            fields.insert(String::from("value"), value.clone());
        }
        self.line(&line)
    }

    /// Operation `id` did not happen.
    ///
    /// # Errors
    ///
    /// What the file reports.
    pub fn failed(&mut self, id: u64) -> io::Result<()> {
        self.line(&json!({"event": "fail", "id": id}))
    }

    /// Nobody will know what became of operation `id`.
    ///
    /// # Errors
    ///
    /// What the file reports.
    pub fn unknown(&mut self, id: u64) -> io::Result<()> {
        self.line(&json!({"event": "unknown", "id": id}))
    }

    fn line(&mut self, line: &Json) -> io::Result<()> {
        writeln!(self.out, "{line}")?;
        self.out.flush()
    }
}

/// An invocation as a file names it: the operation, its key if there are keys, and its value.
pub type Named = (String, Option<String>, Json);

/// A history as JSON lines. `input` names an invocation, `output` gives what came back as data.
pub fn history_lines<I, O>(
    history: &History<I, O>,
    input: impl Fn(&I) -> Named,
    output: impl Fn(&O) -> Json,
) -> String {
    let mut events: Vec<(u64, usize, bool)> = Vec::new();
    for (place, operation) in history.operations().iter().enumerate() {
        events.push((operation.invoked, place, true));
        events.extend(operation.returned().map(|at| (at, place, false)));
    }
    events.sort_unstable();
    let mut bytes = Vec::new();
    // A vector takes everything.
    let _ = write_events(&mut bytes, history, &events, &input, &output);
    String::from_utf8(bytes).unwrap_or_default()
}

fn write_events<I, O>(
    bytes: &mut Vec<u8>,
    history: &History<I, O>,
    events: &[(u64, usize, bool)],
    input: &dyn Fn(&I) -> Named,
    output: &dyn Fn(&O) -> Json,
) -> io::Result<()> {
    let mut writer = Writer::new(bytes)?;
    for (_, place, is_invocation) in events {
        let Some(operation) = history.operations().get(*place) else {
            continue;
        };
        match &operation.outcome {
            _ if *is_invocation => {
                let (f, key, value) = input(&operation.input);
                writer.invoke(&operation.client, operation.id, &f, key.as_deref(), &value)?;
            }
            Outcome::Returned { output: Some(it), .. } => {
                writer.returned(operation.id, Some(&output(it)))?;
            }
            _ => writer.returned(operation.id, None)?,
        }
    }
    Ok(())
}
