//! JSON lines.

use serde::Deserialize;

use super::{BadHistory, Event, Kind};
use crate::history::write::{HEADER, present};

/// One line after the first.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    event: String,
    id: u64,
    client: Option<String>,
    f: Option<String>,
    key: Option<serde_json::Value>,
    #[serde(default, deserialize_with = "present")]
    value: Option<serde_json::Value>,
}

/// The events of a text.
pub(super) fn events(text: &str) -> Result<Vec<Event>, BadHistory> {
    let mut lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    match lines.next() {
        Some((first, _)) if first.replace(' ', "") == HEADER => (),
        Some((_, line)) => return Err(wrong(line, "the line does not say which form follows")),
        None => return Err(wrong(1, "the file holds no history")),
    }
    lines.map(|(text, line)| event(text, line)).collect()
}

fn event(text: &str, line: usize) -> Result<Event, BadHistory> {
    let read: Line = serde_json::from_str(text).map_err(|error| {
        let error = error.to_string();
        let what = error.split(" at line ").next().unwrap_or(&error);
        wrong(line, what)
    })?;
    let kind = match read.event.as_str() {
        "invoke" => Kind::Invoke,
        "return" => Kind::Ok,
        "fail" => Kind::Fail,
        "unknown" => Kind::Info,
        other => return Err(wrong(line, &format!("`{other}` is no event"))),
    };
    if kind == Kind::Invoke && (read.client.is_none() || read.f.is_none()) {
        return Err(wrong(line, "an invocation needs `client` and `f`"));
    }
    Ok(Event {
        line,
        kind,
        process: read.client.unwrap_or_default(),
        id: Some(read.id),
        f: read.f.unwrap_or_default(),
        key: read.key.map(Into::into),
        value: read.value.map(Into::into),
    })
}

fn wrong(line: usize, what: &str) -> BadHistory {
    let allowed = match line {
        1 => {
            "a history begins with {\"synod_history\":1}; `trace convert --to history` makes one of a trace"
        }
        _ => {
            "{\"event\":\"invoke\",\"client\":\"a\",\"id\":1,\"f\":\"read\"}, or an event \
              `return`, `fail` or `unknown` of that id"
        }
    };
    BadHistory::new(line, what, allowed)
}
