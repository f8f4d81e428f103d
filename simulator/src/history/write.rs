//! Histories as JSON lines.

use std::io::{self, Write};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;

use super::operation::{History, Outcome};

/// The first line.
pub(crate) const HEADER: &str = "{\"synod_history\":1}";

/// What a client was seen to do, as the line of a history says it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "lowercase", deny_unknown_fields)]
pub enum ClientEvent {
    /// A client asks.
    Invoke {
        /// Who asks.
        client: String,
        /// The operation's number, which no other one of the history has.
        id: u64,
        /// What is asked, in the model's words: `read`.
        f: String,
        /// At which key, if there are keys.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// What it is given; null of a read.
        #[serde(default)]
        value: Json,
    },
    /// A client has its answer.
    Return {
        /// The operation's number.
        id: u64,
        /// What came back; nothing if it took effect with an unknown answer.
        #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
        value: Option<Json>,
    },
    /// The operation did not happen.
    Fail {
        /// The operation's number.
        id: u64,
    },
    /// Nobody will know what became of it.
    Unknown {
        /// The operation's number.
        id: u64,
    },
}

/// A value that is there, which null is too.
pub(super) fn present<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(reader).map(Some)
}

/// A history of what was seen, in its order.
pub(crate) fn lines<'e>(events: impl IntoIterator<Item = &'e ClientEvent>) -> String {
    let mut bytes = Vec::new();
    // A vector takes everything.
    if let Ok(mut writer) = Writer::new(&mut bytes) {
        for event in events {
            let _ = writer.write(event);
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

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
        let (client, f, key) = (client.into(), f.into(), key.map(String::from));
        self.write(&ClientEvent::Invoke { client, id, f, key, value: value.clone() })
    }

    /// Operation `id` returns `value`; nothing if it took effect with an unknown answer.
    ///
    /// # Errors
    ///
    /// What the file reports.
    pub fn returned(&mut self, id: u64, value: Option<&Json>) -> io::Result<()> {
        self.write(&ClientEvent::Return { id, value: value.cloned() })
    }

    /// Operation `id` did not happen.
    ///
    /// # Errors
    ///
    /// What the file reports.
    pub fn failed(&mut self, id: u64) -> io::Result<()> {
        self.write(&ClientEvent::Fail { id })
    }

    /// Nobody will know what became of operation `id`.
    ///
    /// # Errors
    ///
    /// What the file reports.
    pub fn unknown(&mut self, id: u64) -> io::Result<()> {
        self.write(&ClientEvent::Unknown { id })
    }

    /// What was seen.
    ///
    /// # Errors
    ///
    /// What the file reports.
    pub fn write(&mut self, event: &ClientEvent) -> io::Result<()> {
        writeln!(self.out, "{}", serde_json::to_string(event)?)?;
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
