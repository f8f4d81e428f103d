//! Events of a file as the history of a model.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::words::{Answer, Asked, Failed, InputOf, OutputOf, Words};
use super::{BadHistory, Event, Form, Kind};
use crate::history::{History, Value};

/// Makes a history of the events.
pub(super) fn assemble<W: Words>(
    events: &[Event],
    form: Form,
    words: &W,
) -> Result<History<InputOf<W>, OutputOf<W>>, BadHistory> {
    let (history, calls) = (History::default(), Calls::default());
    let mut assembly = Assembly { words, form, history, calls };
    for event in events {
        match event.kind {
            Kind::Invoke => assembly.invoke(event)?,
            Kind::Ok => assembly.returned(event)?,
            Kind::Fail => assembly.failed(event)?,
            Kind::Info => assembly.calls.unknown(event)?,
        }
    }
    Ok(assembly.history)
}

/// What tells an operation from others until it returns: its number, or the process.
type Name = String;

struct Assembly<'a, W: Words> {
    words: &'a W,
    form: Form,
    history: History<InputOf<W>, OutputOf<W>>,
    calls: Calls,
}

/// Who is doing something, whatever it is.
#[derive(Default)]
struct Calls {
    under_way: BTreeMap<Name, UnderWay>,
    /// The lines in which numbers were first used.
    numbers: BTreeMap<u64, usize>,
    next: u64,
}

/// An operation that was invoked.
struct UnderWay {
    id: u64,
    line: usize,
    f: String,
    key: Option<Value>,
    /// Its value was a key with a value, and so are those of its other events.
    is_pair: bool,
    /// It was said that nothing is known. Then its process may begin anew.
    is_given_up: bool,
}

/// The same event with the key taken out of its value `[key value]`, if that is what its value is.
fn unpaired(event: &Event) -> Option<Event> {
    let Some(Value::List(pair)) = event.value.as_ref().filter(|_| event.key.is_none()) else {
        return None;
    };
    let [key, value] = pair.as_slice() else {
        return None;
    };
    let (key, value) = (Some(key.clone()), Some(value.clone()));
    Some(Event { key, value, ..event.clone() })
}

fn name(event: &Event) -> Name {
    event.id.map_or_else(|| format!("process {}", event.process), |id| format!("operation {id}"))
}

impl<W: Words> Assembly<'_, W> {
    fn wrong(&self, event: &Event, what: String) -> BadHistory {
        BadHistory::new(event.line, what, format!("the model's operations: {}", self.words.calls()))
    }

    fn invoke(&mut self, event: &Event) -> Result<(), BadHistory> {
        let id = self.calls.begin(event)?;
        let name = name(event);
        let pair = unpaired(event).filter(|_| self.may_be_pair(event));
        let is_pair = pair.is_some();
        let event = pair.as_ref().unwrap_or(event);
        let nil = Value::Nil;
        let value = event.value.as_ref().unwrap_or(&nil);
        let asked = Asked { f: &event.f, key: event.key.as_ref(), value };
        let input = match self.words.input(asked) {
            Ok(Some(input)) => input,
            Ok(None) => {
                return Err(self.wrong(event, format!("the model has no operation {}", event.f)));
            }
            Err(what) => return Err(self.wrong(event, format!("the {} {what}", event.f))),
        };
        let invoked = self.history.invoke(event.process.clone(), id, input);
        invoked.map_err(|misuse| self.wrong(event, misuse.to_string()))?;
        let (line, f, key) = (event.line, event.f.clone(), event.key.clone());
        let under_way = UnderWay { id, line, f, key, is_pair, is_given_up: false };
        self.calls.under_way.insert(name, under_way);
        Ok(())
    }

    /// Whether the value of an invocation may be a key with a value: where operations have one key.
    fn may_be_pair(&self, invocation: &Event) -> bool {
        self.form == Form::Edn && self.words.has_key(&invocation.f)
    }

    fn returned(&mut self, event: &Event) -> Result<(), BadHistory> {
        let event = &*self.calls.as_invoked(event);
        let under_way = self.calls.take(event)?;
        if let Some(input) = self.told(&under_way, event) {
            let told = self.history.turned_out(under_way.id, input);
            told.map_err(|misuse| self.wrong(event, misuse.to_string()))?;
        }
        let answer = Answer { value: event.value.as_ref(), form: self.form };
        let output = self.words.output(self.input(&under_way, event)?, answer);
        let output = output.map_err(|what| {
            self.wrong(event, format!("{} {what} (line {})", name(event), under_way.line))
        })?;
        let returned = self.history.returned(under_way.id, output);
        returned.map_err(|misuse| self.wrong(event, misuse.to_string()))
    }

    /// What was asked for.
    fn input(&self, under_way: &UnderWay, event: &Event) -> Result<&InputOf<W>, BadHistory> {
        let asked = self.history.operation(under_way.id).map(|operation| &operation.input);
        asked.ok_or_else(|| never_invoked(event, "ends"))
    }

    /// What was done as its return tells it. In EDN that counts, not what was planned.
    fn told(&self, under_way: &UnderWay, event: &Event) -> Option<InputOf<W>> {
        let value = event.value.as_ref().filter(|value| **value != Value::Nil)?;
        if self.form != Form::Edn {
            return None;
        }
        let asked = Asked { f: &under_way.f, key: under_way.key.as_ref(), value };
        // What is no operation is for the answer to refuse.
        self.words.told(asked).ok().flatten()
    }

    fn failed(&mut self, event: &Event) -> Result<(), BadHistory> {
        let event = &*self.calls.as_invoked(event);
        let under_way = self.calls.take(event)?;
        let failed = match self.form {
            Form::Etcd => self.words.failed(self.input(&under_way, event)?, event.value.as_ref()),
            Form::Edn | Form::JsonLines => Failed::NotHappened,
        };
        let done = match failed {
            Failed::NotHappened => self.history.failed(under_way.id),
            Failed::Returned(output) => self.history.returned(under_way.id, Some(output)),
            Failed::Unknown => Ok(()),
        };
        done.map_err(|misuse| self.wrong(event, misuse.to_string()))
    }
}

impl Calls {
    /// The number of an operation that is invoked now.
    fn begin(&mut self, event: &Event) -> Result<u64, BadHistory> {
        let name = name(event);
        if let Some(line) = event.id.and_then(|id| self.numbers.insert(id, event.line)) {
            let what = format!("{name} is invoked a second time: first in line {line}");
            return Err(BadHistory::new(
                event.line,
                what,
                "a number of its own for each operation",
            ));
        }
        if let Some(other) = self.under_way.get(&name).filter(|it| !it.is_given_up) {
            let UnderWay { f, line, .. } = other;
            let what =
                format!("{name} invokes {} while its {f} of line {line} is under way", event.f);
            let allowed = "a process does one thing at a time, and begins anew after :info";
            return Err(BadHistory::new(event.line, what, allowed));
        }
        let id = event.id.unwrap_or(self.next);
        self.next += 1;
        Ok(id)
    }

    /// The event with the key taken out of its value if that is how its operation was invoked.
    fn as_invoked<'e>(&self, event: &'e Event) -> Cow<'e, Event> {
        let is_pair = self.under_way.get(&name(event)).is_some_and(|it| it.is_pair);
        let unpaired = unpaired(event).filter(|_| is_pair);
        unpaired.map_or(Cow::Borrowed(event), Cow::Owned)
    }

    /// What this event ends.
    fn take(&mut self, event: &Event) -> Result<UnderWay, BadHistory> {
        let verb = if event.kind == Kind::Ok { "returns" } else { "fails" };
        let Some(under_way) = self.under_way.remove(&name(event)) else {
            return Err(never_invoked(event, verb));
        };
        let is_other_f = !event.f.is_empty() && event.f != under_way.f;
        let is_other_key = event.key.is_some() && event.key != under_way.key;
        if is_other_f || is_other_key {
            let UnderWay { f, line, .. } = &under_way;
            let of =
                |key: &Option<Value>| key.as_ref().map_or(String::new(), |it| format!(" {it}"));
            let what = format!(
                "{} {verb} a {}{} that it never invoked: under way is the {f}{} of line {line}",
                name(event),
                event.f,
                of(&event.key),
                of(&under_way.key),
            );
            let allowed = "a return names the operation that was invoked";
            return Err(BadHistory::new(event.line, what, allowed));
        }
        Ok(under_way)
    }

    /// The operation stays open. What says so of nothing says nothing.
    fn unknown(&mut self, event: &Event) -> Result<(), BadHistory> {
        match self.under_way.get_mut(&name(event)) {
            Some(under_way) => under_way.is_given_up = true,
            None if event.id.is_some_and(|id| !self.numbers.contains_key(&id)) => {
                return Err(never_invoked(event, "is given up"));
            }
            None => (),
        }
        Ok(())
    }
}

fn never_invoked(event: &Event, verb: &str) -> BadHistory {
    let what = match event.id {
        Some(_) => format!("{} {verb}, but is not under way", name(event)),
        None => format!("{} {verb} a {} that it never invoked", name(event), event.f),
    };
    BadHistory::new(event.line, what, "an invocation stands before its return, and has one return")
}
