//! How the operations of each model are called in files.

use thiserror::Error;

use super::assemble::assemble;
use super::{BadHistory, Event, Form};
use crate::history::check::{Checked, Consistency, Limit, check};
use crate::history::models::{
    Kv, MultiRegister, Mutex, Queue, Register, RegisterAnswer, RegisterCall, Set,
};
use crate::history::{Specification, Value};

/// A specification by name, for histories from files.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Model {
    /// A register that is read and written, with its first value.
    Register(Value),
    /// The same with compare-and-swap.
    CasRegister(Value),
    /// Registers that are read and written together. A map gives each its first value; anything
    /// else is that of all.
    MultiRegister(Value),
    /// Texts by key, with append, and the first value of every key.
    Kv(String),
    /// A queue.
    Queue,
    /// A lock.
    Mutex,
    /// A set.
    Set,
}

/// Why a name and a first value are no model.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum UnknownModel {
    /// There is no model of that name.
    #[error("there is no model `{0}`: expected one of {names}", names = Model::NAMES.join(", "))]
    Name(String),
    /// The model has no first value that could be chosen.
    #[error("the model {0} has no first value to choose")]
    NoInitial(&'static str),
    /// The first value is of the wrong kind.
    #[error("the first value of the model {0} is a text, not {1}")]
    NoText(&'static str, Value),
}

impl Model {
    /// The names of all models.
    pub const NAMES: [&'static str; 7] =
        ["register", "cas-register", "multi-register", "kv", "queue", "mutex", "set"];

    /// The model of that name, with a first value if it has one.
    ///
    /// # Errors
    ///
    /// [`UnknownModel`].
    pub fn named(name: &str, initial: Option<Value>) -> Result<Self, UnknownModel> {
        let fixed = |model, name| match &initial {
            None => Ok(model),
            Some(_) => Err(UnknownModel::NoInitial(name)),
        };
        match name {
            "register" => Ok(Self::Register(initial.unwrap_or_default())),
            "cas-register" => Ok(Self::CasRegister(initial.unwrap_or_default())),
            "multi-register" => Ok(Self::MultiRegister(initial.unwrap_or_default())),
            "kv" => match initial {
                None => Ok(Self::Kv(String::new())),
                Some(Value::Text(text)) => Ok(Self::Kv(text)),
                Some(other) => Err(UnknownModel::NoText("kv", other)),
            },
            "queue" => fixed(Self::Queue, "queue"),
            "mutex" => fixed(Self::Mutex, "mutex"),
            "set" => fixed(Self::Set, "set"),
            other => Err(UnknownModel::Name(String::from(other))),
        }
    }

    /// Judges the events of a file.
    pub(super) fn check(
        &self,
        events: &[Event],
        form: Form,
        consistency: Consistency,
        limit: &mut Limit<'_>,
    ) -> Result<Checked, BadHistory> {
        let run = Run { events, form, consistency };
        match self {
            Self::Register(first) => run.check(&PlainRegister(Register::new(first.clone())), limit),
            Self::CasRegister(first) => run.check(&Register::new(first.clone()), limit),
            Self::MultiRegister(Value::Map(first)) => {
                let first = first.iter().cloned().collect();
                run.check(&MultiRegister::new(first, Value::Nil), limit)
            }
            Self::MultiRegister(first) => {
                run.check(&MultiRegister::<Value, _>::new([].into(), first.clone()), limit)
            }
            Self::Kv(first) => run.check(&Kv::new(first.clone()), limit),
            Self::Queue => run.check(&Queue::<Value>::default(), limit),
            Self::Mutex => run.check(&Mutex, limit),
            Self::Set => run.check(&Set::<Value>::default(), limit),
        }
    }
}

struct Run<'a> {
    events: &'a [Event],
    form: Form,
    consistency: Consistency,
}

impl Run<'_> {
    fn check<W: Words>(&self, words: &W, limit: &mut Limit<'_>) -> Result<Checked, BadHistory> {
        let history = assemble(self.events, self.form, words)?;
        Ok(check(&history, words.specification(), self.consistency, limit))
    }
}

/// What a file says of an invocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) f: &'a str,
    pub(super) key: Option<&'a Value>,
    pub(super) value: &'a Value,
}

/// What a file says of a return.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    pub(super) value: Option<&'a Value>,
    pub(super) form: Form,
}

impl<'a> Answer<'a> {
    /// What was read; nothing if it is not known. In EDN, nil is not known.
    pub(super) fn read(self) -> Option<&'a Value> {
        self.value.filter(|value| match self.form {
            Form::Edn => **value != Value::Nil,
            Form::Etcd => !is_timeout(Some(value)),
            Form::JsonLines => true,
        })
    }

    /// Nothing but an echo of what was asked.
    pub(super) fn echo(self, asked: &Value) -> Result<(), String> {
        match self.value {
            None | Some(Value::Nil) => Ok(()),
            Some(value) if value == asked => Ok(()),
            Some(value) => Err(format!("returns {value}, but what was invoked is {asked}")),
        }
    }
}

fn is_timeout(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::Keyword(name)) if name == "timed-out" || name == "timeout")
}

/// What a failure means.
#[derive(Clone, Debug)]
pub(super) enum Failed<O> {
    /// It did not happen.
    NotHappened,
    /// It happened, and returned this.
    Returned(O),
    /// Nothing is known.
    Unknown,
}

/// The operations of a model as files call them. A refusal says what is wrong.
pub(super) trait Words {
    type Specification: Specification;

    fn specification(&self) -> &Self::Specification;

    /// The operations, for messages.
    fn calls(&self) -> &'static str;

    /// Whether the operation of that name has one key.
    fn has_key(&self, _f: &str) -> bool {
        false
    }

    /// The operation; nothing if the model has none of that name.
    fn input(&self, asked: Asked<'_>) -> Result<Option<InputOf<Self>>, String>;

    /// The operation with the value that it returned in place of the one that was asked for;
    /// nothing if the two are of different kinds.
    fn told(&self, returned: Asked<'_>) -> Result<Option<InputOf<Self>>, String> {
        self.input(returned)
    }

    /// What came back; nothing if it is not known.
    fn output(
        &self,
        input: &InputOf<Self>,
        answer: Answer<'_>,
    ) -> Result<Option<OutputOf<Self>>, String>;

    /// What a failure means in the etcd form.
    fn failed(&self, _input: &InputOf<Self>, _value: Option<&Value>) -> Failed<OutputOf<Self>> {
        Failed::NotHappened
    }
}

pub(super) type InputOf<W> = <<W as Words>::Specification as Specification>::Input;
pub(super) type OutputOf<W> = <<W as Words>::Specification as Specification>::Output;

impl Asked<'_> {
    /// A model of one object has no keys.
    pub(super) fn without_key(self) -> Result<Self, String> {
        match self.key {
            None | Some(Value::Nil) => Ok(self),
            Some(key) => Err(format!(
                "has the key {key}, and this model has none: see kv and multi-register"
            )),
        }
    }

    pub(super) fn is(self, names: &[&str]) -> bool {
        names.contains(&self.f)
    }
}

pub(super) const READ: [&str; 2] = ["read", "r"];
pub(super) const WRITE: [&str; 2] = ["write", "w"];
const CAS: [&str; 4] = ["cas", "compare-and-set", "compare-and-swap", "compare_and_set"];

impl Words for Register<Value> {
    type Specification = Self;

    fn specification(&self) -> &Self {
        self
    }

    fn calls(&self) -> &'static str {
        "read, write, cas"
    }

    fn input(&self, asked: Asked<'_>) -> Result<Option<RegisterCall<Value>>, String> {
        let asked = asked.without_key()?;
        if asked.is(&READ) {
            return Ok(Some(RegisterCall::Read));
        }
        if asked.is(&WRITE) {
            return Ok(Some(RegisterCall::Write(asked.value.clone())));
        }
        if !asked.is(&CAS) {
            return Ok(None);
        }
        match asked.value {
            Value::List(pair) => match pair.as_slice() {
                [old, new] => Ok(Some(RegisterCall::Cas { old: old.clone(), new: new.clone() })),
                _ => Err(format!("swaps {}: expected [old new]", asked.value)),
            },
            other => Err(format!("swaps {other}: expected [old new]")),
        }
    }

    fn output(
        &self,
        call: &RegisterCall<Value>,
        answer: Answer<'_>,
    ) -> Result<Option<RegisterAnswer<Value>>, String> {
        match call {
            RegisterCall::Read => Ok(answer.read().cloned().map(RegisterAnswer::Value)),
            RegisterCall::Write(value) => {
                answer.echo(value).map(|()| Some(RegisterAnswer::Written))
            }
            RegisterCall::Cas { old, new } => match (answer.form, answer.value) {
                (Form::JsonLines, None) => Ok(None),
                (Form::JsonLines, Some(Value::Bool(swapped))) => {
                    Ok(Some(RegisterAnswer::Swapped(*swapped)))
                }
                (Form::JsonLines, Some(other)) => {
                    Err(format!("returns {other} for a cas: expected true or false"))
                }
                _ => {
                    let pair = Value::List(vec![old.clone(), new.clone()]);
                    answer.echo(&pair).map(|()| Some(RegisterAnswer::Swapped(true)))
                }
            },
        }
    }

    fn failed(
        &self,
        call: &RegisterCall<Value>,
        value: Option<&Value>,
    ) -> Failed<RegisterAnswer<Value>> {
        match call {
            RegisterCall::Cas { .. } if is_timeout(value) => Failed::Unknown,
            RegisterCall::Cas { .. } => Failed::Returned(RegisterAnswer::Swapped(false)),
            _ => Failed::NotHappened,
        }
    }
}

/// A register that is not swapped.
struct PlainRegister(Register<Value>);

impl Words for PlainRegister {
    type Specification = Register<Value>;

    fn specification(&self) -> &Register<Value> {
        &self.0
    }

    fn calls(&self) -> &'static str {
        "read, write (and cas, with the model cas-register)"
    }

    fn input(&self, asked: Asked<'_>) -> Result<Option<RegisterCall<Value>>, String> {
        if asked.is(&CAS) { Ok(None) } else { self.0.input(asked) }
    }

    fn output(
        &self,
        call: &RegisterCall<Value>,
        answer: Answer<'_>,
    ) -> Result<Option<RegisterAnswer<Value>>, String> {
        self.0.output(call, answer)
    }
}
