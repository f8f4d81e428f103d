//! How the operations of objects other than registers are called in files.

use super::Form;
use super::words::{Answer, Asked, READ, WRITE, Words};
use crate::history::Value;
use crate::history::models::{
    Access, Kv, KvAnswer, KvCall, MultiRegister, Mutex, MutexAnswer, MutexCall, Queue, QueueAnswer,
    QueueCall, Set, SetAnswer, SetCall,
};

type Accesses = Vec<Access<Value, Value>>;

impl Words for MultiRegister<Value, Value> {
    type Specification = Self;

    fn specification(&self) -> &Self {
        self
    }

    fn calls(&self) -> &'static str {
        "txn of [[:read key nil] [:write key value] ..], and read and write with a key"
    }

    fn has_key(&self, f: &str) -> bool {
        f != "txn"
    }

    fn input(&self, asked: Asked<'_>) -> Result<Option<Accesses>, String> {
        if asked.f == "txn" {
            return accesses(asked.value).map(Some);
        }
        let key = || asked.key.cloned().ok_or_else(|| String::from("has no key"));
        if asked.is(&READ) {
            return Ok(Some(vec![Access::Read(key()?)]));
        }
        if asked.is(&WRITE) {
            return Ok(Some(vec![Access::Write(key()?, asked.value.clone())]));
        }
        Ok(None)
    }

    fn output(
        &self,
        asked: &Accesses,
        answer: Answer<'_>,
    ) -> Result<Option<Vec<Option<Value>>>, String> {
        let Some(value) = answer.value else {
            return Ok(None);
        };
        let read = |value: &Value| Answer { value: Some(value), ..answer }.read().cloned();
        match (asked.as_slice(), value) {
            // Of one read, its value or the whole access.
            ([Access::Read(_)], value) if accesses(value).is_err() => Ok(Some(vec![read(value)])),
            ([Access::Write(_, written)], value) if accesses(value).is_err() => {
                answer.echo(written).map(|()| Some(Vec::new()))
            }
            (_, Value::Nil) => Ok(None),
            (_, value) => {
                let answered = accesses(value)?;
                if !answered.iter().map(name).eq(asked.iter().map(name)) {
                    return Err(format!("returns {value}, which is not what was invoked"));
                }
                let values = parts(value).into_iter().flatten().zip(asked);
                let reads = values.filter(|(_, asked)| matches!(asked, Access::Read(_)));
                Ok(Some(reads.map(|(part, _)| part.get(2).and_then(read)).collect()))
            }
        }
    }
}

/// What must be the same in an access and in what came back for it.
fn name(access: &Access<Value, Value>) -> (&Value, Option<&Value>) {
    match access {
        Access::Read(key) => (key, None),
        Access::Write(key, value) => (key, Some(value)),
    }
}

fn parts(value: &Value) -> Option<Vec<&[Value]>> {
    list(value)?.iter().map(list).collect()
}

fn list(value: &Value) -> Option<&[Value]> {
    match value {
        Value::List(values) => Some(values),
        _ => None,
    }
}

fn accesses(value: &Value) -> Result<Accesses, String> {
    let wrong =
        || format!("has the value {value}: expected [[:read key nil] [:write key value] ..]");
    let access = |part: &[Value]| match part {
        [Value::Keyword(f) | Value::Text(f), key, ..] if READ.contains(&f.as_str()) => {
            Some(Access::Read(key.clone()))
        }
        [Value::Keyword(f) | Value::Text(f), key, value] if WRITE.contains(&f.as_str()) => {
            Some(Access::Write(key.clone(), value.clone()))
        }
        _ => None,
    };
    let parts = parts(value).ok_or_else(wrong)?;
    parts.into_iter().map(access).collect::<Option<_>>().ok_or_else(wrong)
}

impl Words for Kv {
    type Specification = Self;

    fn specification(&self) -> &Self {
        self
    }

    fn calls(&self) -> &'static str {
        "get, put, append"
    }

    fn has_key(&self, _: &str) -> bool {
        true
    }

    fn input(&self, asked: Asked<'_>) -> Result<Option<KvCall>, String> {
        if !asked.is(&["get", "put", "append", "read", "write"]) {
            return Ok(None);
        }
        let key = match asked.key {
            None | Some(Value::Nil) => return Err(String::from("has no key")),
            Some(key) => key.to_string(),
        };
        if asked.is(&["get", "read"]) {
            return Ok(Some(KvCall::Get(key)));
        }
        let text = text(asked.value)?;
        Ok(Some(match asked.is(&["append"]) {
            true => KvCall::Append(key, text),
            false => KvCall::Put(key, text),
        }))
    }

    fn output(&self, call: &KvCall, answer: Answer<'_>) -> Result<Option<KvAnswer>, String> {
        match call {
            KvCall::Get(_) => {
                answer.read().map(|value| text(value).map(KvAnswer::Value)).transpose()
            }
            KvCall::Put(_, text) | KvCall::Append(_, text) => {
                let echo = answer.value.filter(|value| **value != Value::Nil).map(self::text);
                match echo.transpose()? {
                    Some(echo) if echo != *text => {
                        Err(format!("returns {echo:?}, but what was invoked is {text:?}"))
                    }
                    _ => Ok(Some(KvAnswer::Done)),
                }
            }
        }
    }
}

/// A value as the text that a store keeps: a number is its digits.
fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Integer(_) | Value::Number(_) => Ok(value.to_string()),
        other => Err(format!("has the value {other}: expected a text or a number")),
    }
}

impl Words for Mutex {
    type Specification = Self;

    fn specification(&self) -> &Self {
        self
    }

    fn calls(&self) -> &'static str {
        "acquire, release"
    }

    fn input(&self, asked: Asked<'_>) -> Result<Option<MutexCall>, String> {
        let asked = asked.without_key()?;
        Ok(match asked.f {
            "acquire" | "lock" => Some(MutexCall::Acquire),
            "release" | "unlock" => Some(MutexCall::Release),
            _ => None,
        })
    }

    fn output(&self, _: &MutexCall, answer: Answer<'_>) -> Result<Option<MutexAnswer>, String> {
        // Whatever else an answer carries, as a token, it was granted. Only JSON lines say
        // otherwise: in EDN, what was refused failed.
        let is_refused =
            answer.form == Form::JsonLines && answer.value == Some(&Value::Bool(false));
        Ok(Some(if is_refused { MutexAnswer::Refused } else { MutexAnswer::Done }))
    }
}

impl Words for Queue<Value> {
    type Specification = Self;

    fn specification(&self) -> &Self {
        self
    }

    fn calls(&self) -> &'static str {
        "enqueue, dequeue"
    }

    fn input(&self, asked: Asked<'_>) -> Result<Option<QueueCall<Value>>, String> {
        let asked = asked.without_key()?;
        Ok(match asked.f {
            "enqueue" => Some(QueueCall::Enqueue(asked.value.clone())),
            "dequeue" => Some(QueueCall::Dequeue),
            _ => None,
        })
    }

    fn output(
        &self,
        call: &QueueCall<Value>,
        answer: Answer<'_>,
    ) -> Result<Option<QueueAnswer<Value>>, String> {
        match call {
            QueueCall::Enqueue(value) => answer.echo(value).map(|()| Some(QueueAnswer::Enqueued)),
            QueueCall::Dequeue => Ok(answer.read().map(|value| match value {
                Value::Nil => QueueAnswer::Empty,
                value => QueueAnswer::Dequeued(value.clone()),
            })),
        }
    }
}

impl Words for Set<Value> {
    type Specification = Self;

    fn specification(&self) -> &Self {
        self
    }

    fn calls(&self) -> &'static str {
        "add, remove, contains, read"
    }

    fn input(&self, asked: Asked<'_>) -> Result<Option<SetCall<Value>>, String> {
        let asked = asked.without_key()?;
        Ok(match asked.f {
            "add" => Some(SetCall::Add(asked.value.clone())),
            "remove" => Some(SetCall::Remove(asked.value.clone())),
            "contains" => Some(SetCall::Contains(asked.value.clone())),
            "read" => Some(SetCall::Read),
            _ => None,
        })
    }

    fn told(&self, returned: Asked<'_>) -> Result<Option<SetCall<Value>>, String> {
        if returned.is(&["contains"]) { Ok(None) } else { self.input(returned) }
    }

    fn output(
        &self,
        call: &SetCall<Value>,
        answer: Answer<'_>,
    ) -> Result<Option<SetAnswer<Value>>, String> {
        match call {
            SetCall::Add(value) | SetCall::Remove(value) => {
                answer.echo(value).map(|()| Some(SetAnswer::Done))
            }
            SetCall::Contains(_) => match answer.value {
                None | Some(Value::Nil) => Ok(None),
                Some(Value::Bool(found)) => Ok(Some(SetAnswer::Found(*found))),
                Some(other) => Err(format!("returns {other}: expected true or false")),
            },
            SetCall::Read => match answer.value {
                None | Some(Value::Nil) => Ok(None),
                Some(Value::Set(members) | Value::List(members)) => {
                    let mut members = members.clone();
                    members.sort();
                    Ok(Some(SetAnswer::Members(members)))
                }
                Some(other) => Err(format!("returns {other}: expected a set")),
            },
        }
    }
}
