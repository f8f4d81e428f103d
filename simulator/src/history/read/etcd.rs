//! The text logs of Jepsen's etcd tests.

use super::{BadHistory, Event, Kind, edn};
use crate::history::Value;

/// The logger that tells operations.
const LOGGER: &str = "jepsen.util";
/// How serious a line of a log may be.
const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

/// The operations of a log. Its other lines are skipped, as far as they look like a log's and not
/// like operations: a history without some of them may be judged wrongly.
pub(super) fn events(text: &str) -> Result<Vec<Event>, BadHistory> {
    let mut events = Vec::new();
    // What follows a line that tells no operation may go on with what that one says.
    let mut may_go_on = false;
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim_end();
        if line.is_empty() {
            continue;
        }
        let Some(message) = message(line) else {
            if tells_operation(line) {
                let what = format!("`{}` is an operation, but not of `{LOGGER}`", cut(line));
                return Err(wrong(number, what));
            }
            if !may_go_on && !is_whole_line(line) {
                let what = format!("`{}` is neither an operation nor a line of a log", cut(line));
                return Err(wrong(number, what));
            }
            may_go_on = true;
            continue;
        };
        let found = operation(message, number)?;
        may_go_on = found.is_none();
        events.extend(found);
    }
    match events.is_empty() {
        false => Ok(events),
        true => Err(wrong(1, String::from("the file holds no history"))),
    }
}

/// What the logger of operations says in this line, whatever sets it apart from the logger's name:
/// `jepsen.util - 3`, `jepsen.util: 3`, `jepsen.util 3`.
fn message(line: &str) -> Option<&str> {
    let (_, after) = line.split_once(LOGGER)?;
    let said = after.trim_start();
    if let Some(said) = said.strip_prefix('-').filter(|it| it.starts_with(char::is_whitespace)) {
        return Some(said.trim_start());
    }
    after
        .strip_prefix(':')
        .map(str::trim_start)
        .or_else(|| (said.len() < after.len()).then_some(said))
}

/// Whether a line seems to tell an operation: a process, what happened, and of which operation.
fn tells_operation(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.windows(3).any(|words| match words {
        [process, kind, f] => {
            process.parse::<u64>().is_ok()
                && kind.strip_prefix(':').and_then(Kind::named).is_some()
                && f.starts_with(':')
        }
        _ => false,
    })
}

/// Whether it is a line of a log: a level, who says it, and what.
fn is_whole_line(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.any(|word| LEVELS.contains(&word)) && 2 <= words.count()
}

/// The operation of a message; nothing if it tells none.
fn operation(message: &str, line: usize) -> Result<Option<Event>, BadHistory> {
    let (process, rest) = word(message);
    let (kind, rest) = word(rest);
    if !process.starts_with(|it: char| it.is_ascii_digit()) {
        return Ok(None);
    }
    if process.parse::<u64>().is_err() {
        return Err(wrong(line, format!("`{process}` is no process")));
    }
    let kind = match kind.strip_prefix(':') {
        Some(name) => Kind::named(name),
        // A message that begins with a number.
        None if !kind.is_empty() => return Ok(None),
        None => None,
    };
    let Some(kind) = kind else {
        return Err(wrong(line, format!("`{}` does not say what happened", cut(message))));
    };
    let (f, rest) = word(rest);
    let Some(f) = f.strip_prefix(':').filter(|f| !f.is_empty()) else {
        return Err(wrong(line, format!("`{}` does not say which operation", cut(message))));
    };
    let value = match value(rest.trim()) {
        Some(value) => Some(value),
        // What is told of a failure may be anything.
        None if matches!(kind, Kind::Fail | Kind::Info) => None,
        None => {
            let what = format!("`{}` is no value of an operation", cut(rest.trim()));
            return Err(wrong(line, what));
        }
    };
    let (process, f) = (String::from(process), String::from(f));
    Ok(Some(Event { line, kind, process, id: None, f, key: None, value }))
}

/// A value, which may be followed by what else is known.
fn value(text: &str) -> Option<Value> {
    let end = match text.starts_with('[') {
        true => text.find(']').map_or(text.len(), |end| end + 1),
        false => text.find('\t').unwrap_or(text.len()),
    };
    edn::value(text.get(..end)?).ok()
}

fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}

fn cut(text: &str) -> String {
    text.chars().take(60).map(|it| if it.is_control() { ' ' } else { it }).collect()
}

fn wrong(line: usize, what: String) -> BadHistory {
    let allowed = "INFO  jepsen.util - PROCESS :invoke|:ok|:fail|:info :read|:write|:cas VALUE";
    BadHistory::new(line, what, allowed)
}
