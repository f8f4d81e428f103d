//! Histories from files, judged by the name of a model.
//!
//! Three forms are read:
//!
//! - **JSON lines**, synod's own, written by [`Writer`](super::Writer): a first line
//!   `{"synod_history":1}`, then a line for each event in the order of time:
//!   `{"event":"invoke","client":"n1","id":7,"f":"write","key":"x","value":3}`, and one of
//!   `{"event":"return","id":7,"value":null}`, `{"event":"fail","id":7}`, which says that it did not
//!   happen, and `{"event":"unknown","id":7}`, which may be left out. A return without `value`
//!   took effect with an answer that is not known.
//! - **The text logs of Jepsen's etcd tests**: `INFO  jepsen.util - 3 :invoke :cas [1 2]`. A read
//!   of `nil` read nothing. A `:fail` of a cas is a comparison that was false; of anything else, it
//!   did not happen. What else a log says is skipped.
//! - **EDN**, as Jepsen, Knossos and porcupine write it: maps, one after the other or in one list or
//!   vector, with `:process`, `:type`, `:f`, `:value` and, where there are keys, `:key`. A completed
//!   read of `nil` read anything. `:fail` says that it did not happen. What an `:ok` tells of a write
//!   was written, also where its `:invoke` tells another value; `nil` tells nothing. Where operations
//!   have one key and the event has no `:key`, its `:value` is `[key value]`.
//!
//! In the last two, `:info` says that nothing is known, so that the operation is open: it may take
//! effect at any later time or never. So is an operation that never returns. What the process
//! `:nemesis` says is skipped, and so is an `:info` of a process that has nothing under way.

mod assemble;
mod edn;
mod etcd;
mod json;
mod objects;
mod words;

use std::fmt;

use thiserror::Error;

use super::check::{Checked, Consistency, Limit};
use super::value::Value;

pub use words::{Model, UnknownModel};

/// In which form a history is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// The text log of one of Jepsen's etcd tests.
    Etcd,
    /// Maps in EDN.
    Edn,
    /// JSON lines.
    JsonLines,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Etcd => "etcd",
            Self::Edn => "edn",
            Self::JsonLines => "jsonl",
        })
    }
}

impl Form {
    /// The form that a text seems to have, by the first character that says something.
    #[must_use]
    pub fn guess(text: &[u8]) -> Self {
        let mut rest = text;
        loop {
            rest = rest.trim_ascii_start();
            match rest {
                [b';', ..] => {
                    let end = rest.iter().position(|it| *it == b'\n').unwrap_or(rest.len());
                    rest = rest.get(end..).unwrap_or_default();
                }
                [b',', after @ ..] => rest = after,
                [b'{', after @ ..] if begins_with_name(after) => return Self::JsonLines,
                [b'{' | b'[' | b'(' | b'#', ..] => return Self::Edn,
                _ => return Self::Etcd,
            }
        }
    }
}

/// Whether what follows a brace is a name of JSON: a text and a colon. In EDN, where texts may be keys
/// too, what follows them is no colon, or one that begins a keyword.
fn begins_with_name(text: &[u8]) -> bool {
    let Some(text) = text.trim_ascii_start().strip_prefix(b"\"") else { return false };
    let after = text.splitn(2, |it| *it == b'"').nth(1).unwrap_or_default().trim_ascii_start();
    let value = after.strip_prefix(b":").map(<[u8]>::trim_ascii_start);
    value.is_some_and(|value| !value.first().is_some_and(u8::is_ascii_alphabetic))
}

/// Why a text is no history for a model: the file is wrong, or the model.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("line {line}: {what}")]
pub struct BadHistory {
    /// The line, from 1 on.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
    /// What would be right.
    pub allowed: String,
}

impl BadHistory {
    fn new(line: usize, what: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { line, what: what.into(), allowed: allowed.into() }
    }
}

/// Reads a history, in the form that is asked for or that it seems to have, and judges it.
///
/// # Errors
///
/// [`BadHistory`].
pub fn check_text(
    text: &[u8],
    form: Option<Form>,
    model: &Model,
    consistency: Consistency,
    limit: &mut Limit<'_>,
) -> Result<(Form, Checked), BadHistory> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let form = form.unwrap_or_else(|| Form::guess(text));
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => {
            let before = text.get(..error.valid_up_to()).unwrap_or_default();
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            return Err(BadHistory::new(line, "the line is not UTF-8", "a history is a text"));
        }
    };
    let events = match form {
        Form::Etcd => etcd::events(text)?,
        Form::Edn => edn::events(text)?,
        Form::JsonLines => json::events(text)?,
    };
    Ok((form, model.check(&events, form, consistency, limit)?))
}

/// One event, as a file tells it.
#[derive(Clone, Debug)]
struct Event {
    line: usize,
    kind: Kind,
    /// The process; where operations have numbers, the client of an invocation.
    process: String,
    /// The number of the operation, if the file has numbers.
    id: Option<u64>,
    f: String,
    key: Option<Value>,
    /// Nothing if the file says nothing, which is not the same as nil.
    value: Option<Value>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Invoke,
    Ok,
    Fail,
    Info,
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        match name {
            "invoke" => Some(Self::Invoke),
            "ok" => Some(Self::Ok),
            "fail" => Some(Self::Fail),
            "info" => Some(Self::Info),
            _ => None,
        }
    }
}

/// A value from the command line: as EDN writes it; what is no value is a text.
#[must_use]
pub fn value_of(text: &str) -> Value {
    match edn::value(text) {
        Ok(Value::Symbol(name)) if name == "null" => Value::Nil,
        Ok(Value::Symbol(_)) | Err(_) => Value::Text(String::from(text)),
        Ok(value) => value,
    }
}
