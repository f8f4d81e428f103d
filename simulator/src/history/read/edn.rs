//! EDN, the data of Clojure.

use super::{BadHistory, Event, Kind};
use crate::history::Value;

/// How deep values may be nested.
const DEPTH_MAX: usize = 64;
/// Digits of a number at most.
const DIGITS_MAX: usize = 4096;

/// The events of a text: maps, or one list or vector of maps.
pub(super) fn events(text: &str) -> Result<Vec<Event>, BadHistory> {
    let mut reader = Reader::new(text);
    let mut events = Vec::new();
    reader.skip()?;
    if reader.rest.is_empty() {
        let what = "the file holds no history";
        return Err(BadHistory::new(1, what, "maps with :process, :type, :f and :value"));
    }
    let opened = (reader.line, reader.peek());
    let close = match opened.1 {
        Some('[') => Some(']'),
        Some('(') => Some(')'),
        _ => None,
    };
    if close.is_some() {
        reader.take();
    }
    loop {
        reader.skip()?;
        let line = reader.line;
        match reader.peek() {
            Some(it) if Some(it) == close => {
                reader.take();
                reader.skip()?;
                return match reader.peek() {
                    None => Ok(events),
                    Some(_) => Err(reader.wrong("something follows the end of the history")),
                };
            }
            None if close.is_some() => {
                let what =
                    format!("the file ends inside the list that begins in line {}", opened.0);
                return Err(reader.wrong(&what));
            }
            None => return Ok(events),
            Some(_) => {
                let value = reader.value()?;
                events.extend(event(value, line)?);
            }
        }
    }
}

/// One value that is all of a text.
pub(super) fn value(text: &str) -> Result<Value, BadHistory> {
    let mut reader = Reader::new(text);
    reader.skip()?;
    let value = reader.value()?;
    reader.skip()?;
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.wrong("something follows the value")),
    }
}

/// A map as an event; nothing if it is the nemesis's.
fn event(value: Value, line: usize) -> Result<Option<Event>, BadHistory> {
    let allowed = "{:process 0, :type :invoke, :f :read, :value nil}";
    let wrong = |what: String| BadHistory::new(line, what, allowed);
    let value = match value {
        Value::Tagged(_, value) => *value,
        value => value,
    };
    let Value::Map(mut pairs) = value else {
        return Err(wrong(format!("`{value}` is no map, and so no event")));
    };
    let mut take = |name: &str| {
        let place = pairs.iter().position(|(key, _)| match key {
            Value::Keyword(key) | Value::Text(key) => key == name,
            _ => false,
        });
        place.map(|place| pairs.swap_remove(place).1)
    };
    let process = take("process").ok_or_else(|| wrong("the event has no :process".into()))?;
    if is_named(&process, "nemesis") {
        return Ok(None);
    }
    let kind = take("type").ok_or_else(|| wrong("the event has no :type".into()))?;
    let kind = name(&kind).and_then(Kind::named).ok_or_else(|| {
        wrong(format!("{kind} is no :type of an event: expected :invoke, :ok, :fail or :info"))
    })?;
    let f = match take("f") {
        Some(f) => name(&f).map(String::from).unwrap_or_else(|| f.to_string()),
        None if kind == Kind::Info => String::new(),
        None => return Err(wrong("the event has no :f".into())),
    };
    if process == Value::Nil {
        return Err(wrong("the :process is nil".into()));
    }
    let (key, value) = (take("key"), take("value"));
    let process = process.to_string();
    Ok(Some(Event {
        line,
        kind,
        process,
        id: None,
        f,
        key,
        value: Some(value.unwrap_or_default()),
    }))
}

fn is_named(value: &Value, wanted: &str) -> bool {
    name(value) == Some(wanted)
}

fn name(value: &Value) -> Option<&str> {
    match value {
        Value::Keyword(name) | Value::Text(name) | Value::Symbol(name) => Some(name),
        _ => None,
    }
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text, line: 1, depth: 0 }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let taken = chars.next()?;
        self.rest = chars.as_str();
        self.line += usize::from(taken == '\n');
        Some(taken)
    }

    fn wrong(&self, what: &str) -> BadHistory {
        BadHistory::new(self.line, what, "EDN: maps with :process, :type, :f and :value")
    }

    /// Skips white space, which commas are too, comments and what is discarded.
    fn skip(&mut self) -> Result<(), BadHistory> {
        loop {
            match self.peek() {
                Some(it) if it == ',' || it.is_whitespace() => {
                    self.take();
                }
                Some(';') => while self.take().is_some_and(|it| it != '\n') {},
                Some('#') if self.rest.starts_with("#_") => {
                    self.take();
                    self.take();
                    self.skip_one()?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// Reads a value for nothing. `#_ #_ a b` discards two.
    fn skip_one(&mut self) -> Result<(), BadHistory> {
        let mut discards = 1_usize;
        while 0 < discards {
            while self.peek().is_some_and(|it| it == ',' || it.is_whitespace()) {
                self.take();
            }
            match self.peek() {
                Some(';') => while self.take().is_some_and(|it| it != '\n') {},
                Some('#') if self.rest.starts_with("#_") => {
                    self.take();
                    self.take();
                    discards += 1;
                }
                _ => {
                    self.value()?;
                    discards -= 1;
                }
            }
        }
        Ok(())
    }

    fn value(&mut self) -> Result<Value, BadHistory> {
        if DEPTH_MAX <= self.depth {
            return Err(self.wrong(&format!("values are nested deeper than {DEPTH_MAX}")));
        }
        self.depth += 1;
        let value = self.value_here();
        self.depth -= 1;
        value
    }

    fn value_here(&mut self) -> Result<Value, BadHistory> {
        match self.peek() {
            None => Err(self.wrong("the file ends where a value is due")),
            Some('(') => self.values(')').map(Value::List),
            Some('[') => self.values(']').map(Value::List),
            Some('{') => self.map(),
            Some('"') => self.text(),
            Some('\\') => self.character(),
            Some('#') => self.dispatch(),
            Some(it @ (')' | ']' | '}')) => Err(self.wrong(&format!("`{it}` closes nothing"))),
            Some(_) => self.atom(),
        }
    }

    /// The values up to `close`, after the bracket that opens them.
    fn values(&mut self, close: char) -> Result<Vec<Value>, BadHistory> {
        let opened = self.line;
        self.take();
        let mut values = Vec::new();
        loop {
            self.skip()?;
            match self.peek() {
                Some(it) if it == close => {
                    self.take();
                    return Ok(values);
                }
                None => {
                    let what = format!("the file ends before the `{close}` for line {opened}");
                    return Err(self.wrong(&what));
                }
                Some(_) => values.push(self.value()?),
            }
        }
    }

    fn map(&mut self) -> Result<Value, BadHistory> {
        let values = self.values('}')?;
        if !values.len().is_multiple_of(2) {
            return Err(self.wrong("a map has a key without a value"));
        }
        let mut pairs = Vec::with_capacity(values.len() / 2);
        let mut values = values.into_iter();
        while let (Some(key), Some(value)) = (values.next(), values.next()) {
            pairs.push((key, value));
        }
        pairs.sort();
        let twice = pairs.windows(2).find_map(|pair| match pair {
            [(one, _), (other, _)] if one == other => Some(one),
            _ => None,
        });
        if let Some(key) = twice {
            return Err(self.wrong(&format!("a map has the key {key} twice")));
        }
        Ok(Value::Map(pairs))
    }

    fn text(&mut self) -> Result<Value, BadHistory> {
        let opened = self.line;
        self.take();
        let mut text = String::new();
        loop {
            match self.take() {
                Some('"') => return Ok(Value::Text(text)),
                Some('\\') => text.push(self.escaped()?),
                Some(it) => text.push(it),
                None => {
                    let what =
                        format!("the file ends inside the text that begins in line {opened}");
                    return Err(self.wrong(&what));
                }
            }
        }
    }

    fn escaped(&mut self) -> Result<char, BadHistory> {
        match self.take() {
            Some('n') => Ok('\n'),
            Some('t') => Ok('\t'),
            Some('r') => Ok('\r'),
            Some('b') => Ok('\u{8}'),
            Some('f') => Ok('\u{c}'),
            Some(it @ ('"' | '\\' | '/' | '\'')) => Ok(it),
            Some('u') => {
                let digits: String = self.rest.chars().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                let found = code.and_then(char::from_u32);
                let found = found.ok_or_else(|| self.wrong("`\\u` without four digits"))?;
                self.rest = self.rest.get(4..).unwrap_or_default();
                Ok(found)
            }
            Some(it) => Err(self.wrong(&format!("`\\{it}` means nothing in a text"))),
            None => Err(self.wrong("the file ends inside a text")),
        }
    }

    fn character(&mut self) -> Result<Value, BadHistory> {
        self.take();
        let mut name = String::from("\\");
        name.extend(self.take());
        while let Some(it) = self.peek().filter(|it| is_inside_a_word(*it)) {
            self.take();
            name.push(it);
        }
        Ok(Value::Symbol(name))
    }

    /// What begins with `#`: a set, or a tag with a value.
    fn dispatch(&mut self) -> Result<Value, BadHistory> {
        self.take();
        match self.peek() {
            Some('{') => {
                let mut values = self.values('}')?;
                values.sort();
                values.dedup();
                Ok(Value::Set(values))
            }
            Some('#') => {
                self.take();
                self.atom()
            }
            Some(it) if it == ':' || is_inside_a_word(it) => {
                let tag = self.word();
                self.skip()?;
                let value = self.value()?;
                Ok(Value::Tagged(tag, Box::new(value)))
            }
            _ => Err(self.wrong("`#` is followed by neither a set nor a tag")),
        }
    }

    fn word(&mut self) -> String {
        let end = self.rest.find(|it| !is_inside_a_word(it)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        String::from(word)
    }

    fn atom(&mut self) -> Result<Value, BadHistory> {
        let word = self.word();
        match word.as_str() {
            "" => {
                let found = self.peek().unwrap_or_default();
                Err(self.wrong(&format!("`{}` begins no value", found.escape_debug())))
            }
            "nil" => Ok(Value::Nil),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            word => match word.strip_prefix(':') {
                Some("") => Err(self.wrong("a `:` without a name")),
                Some(name) => Ok(Value::Keyword(String::from(name))),
                None if is_number(word) => self.number(word),
                None => Ok(Value::Symbol(String::from(word))),
            },
        }
    }

    fn number(&self, word: &str) -> Result<Value, BadHistory> {
        let integer = word.strip_suffix('N').unwrap_or(word);
        if let Ok(integer) = integer.parse() {
            return Ok(Value::Integer(integer));
        }
        let body = word.trim_start_matches(['+', '-']);
        let is_sound = body.len() <= DIGITS_MAX
            && body.chars().all(|it| it.is_ascii_alphanumeric() || "+-./".contains(it));
        match is_sound {
            true => Ok(Value::Number(String::from(word))),
            false => Err(self.wrong(&format!("`{word}` is no number"))),
        }
    }
}

fn is_number(word: &str) -> bool {
    let digits = word.strip_prefix(['+', '-']).unwrap_or(word);
    digits.starts_with(|it: char| it.is_ascii_digit())
}

fn is_inside_a_word(it: char) -> bool {
    !it.is_whitespace() && !it.is_control() && !"()[]{}\",;\\^@`".contains(it)
}
