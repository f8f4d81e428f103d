//! A key-value store with append.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::FOCUS_FROM;
use crate::history::Specification;

/// A store of texts by key, which are read, replaced and appended to. Keys are judged apart.
#[derive(Clone, Debug, Default)]
pub struct Kv {
    initial: String,
    /// What was read of each key, sorted; anything, if nothing is said.
    read: Option<Arc<BTreeMap<String, Vec<String>>>>,
}

/// What a store is asked.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum KvCall {
    /// The value of a key.
    Get(String),
    /// To hold a value under a key.
    Put(String, String),
    /// To hold the key's value with a text after it.
    Append(String, String),
}

/// What a store answers.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum KvAnswer {
    /// The value that was read.
    Value(String),
    /// It is done.
    Done,
}

impl Kv {
    /// A store in which every key holds `initial`.
    #[must_use]
    pub fn new(initial: impl Into<String>) -> Self {
        Self { initial: initial.into(), read: None }
    }

    /// What a key holds, as a state: nothing stands for a text with which no text begins that was
    /// read. Appending does not change that, so no read can tell such texts apart.
    fn hold(&self, key: &str, text: String) -> Option<String> {
        let Some(read) = &self.read else {
            return Some(text);
        };
        let read = read.get(key).map_or(&[][..], Vec::as_slice);
        let next = read.get(read.partition_point(|it| *it < text));
        next.is_some_and(|next| next.starts_with(&text)).then_some(text)
    }

    fn held(&self, state: &BTreeMap<String, Option<String>>, key: &str) -> Option<String> {
        match state.get(key) {
            Some(held) => held.clone(),
            None => self.hold(key, self.initial.clone()),
        }
    }
}

impl Specification for Kv {
    type State = BTreeMap<String, Option<String>>;
    type Input = KvCall;
    type Output = KvAnswer;

    fn initial(&self) -> Self::State {
        BTreeMap::new()
    }

    fn step(
        &self,
        state: &Self::State,
        call: &KvCall,
        answer: Option<&KvAnswer>,
    ) -> Option<Self::State> {
        let (key, text) = match (call, answer) {
            (KvCall::Get(_), None) => return Some(state.clone()),
            (KvCall::Get(key), Some(KvAnswer::Value(value))) => {
                return (self.held(state, key).as_ref() == Some(value)).then(|| state.clone());
            }
            (KvCall::Put(key, text), None | Some(KvAnswer::Done)) => {
                (key, self.hold(key, text.clone()))
            }
            (KvCall::Append(key, text), None | Some(KvAnswer::Done)) => {
                let held = self.held(state, key);
                (key, held.and_then(|held| self.hold(key, held + text)))
            }
            _ => return None,
        };
        let mut after = state.clone();
        // A key that holds what it held at first is as if it were untouched.
        if text == self.hold(key, self.initial.clone()) {
            after.remove(key);
        } else {
            after.insert(key.clone(), text);
        }
        Some(after)
    }

    fn keys(&self, call: &KvCall) -> Vec<String> {
        vec![call.key().to_owned()]
    }

    fn only_reads(&self, call: &KvCall, _: Option<&KvAnswer>) -> bool {
        matches!(call, KvCall::Get(_))
    }

    fn focused(&self, operations: &[(&KvCall, Option<&KvAnswer>)]) -> Self {
        if operations.len() <= FOCUS_FROM {
            return self.clone();
        }
        let mut read: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (call, answer) in operations {
            let texts = read.entry(call.key().to_owned()).or_default();
            if let Some(KvAnswer::Value(value)) = answer {
                texts.push(value.clone());
            }
        }
        read.values_mut().for_each(|texts| texts.sort_unstable());
        Self { initial: self.initial.clone(), read: Some(Arc::new(read)) }
    }

    /// With one key: what nobody will read can only be replaced, which is possible without it.
    fn is_worth(&self, state: &Self::State) -> bool {
        let is_one_key = self.read.as_ref().is_some_and(|read| read.len() == 1);
        !is_one_key || state.values().all(Option::is_some)
    }

    fn describe(&self, call: &KvCall, answer: Option<&KvAnswer>) -> String {
        let call = match call {
            KvCall::Get(key) => format!("get {key}"),
            KvCall::Put(key, text) => format!("put {key} {text:?}"),
            KvCall::Append(key, text) => format!("append {key} {text:?}"),
        };
        match answer {
            Some(KvAnswer::Value(value)) => format!("{call} → {value:?}"),
            _ => call,
        }
    }

    fn describe_state(&self, state: &Self::State) -> String {
        let show = |(key, text): (&String, &Option<String>)| match text {
            Some(text) => format!("{key} = {text:?}"),
            None => format!("{key} = a value that nobody read"),
        };
        let shown: Vec<String> = state.iter().map(show).collect();
        match shown.as_slice() {
            [] => format!("every key = {:?}", self.initial),
            shown => shown.join(", "),
        }
    }
}

impl KvCall {
    fn key(&self) -> &str {
        match self {
            Self::Get(key) | Self::Put(key, _) | Self::Append(key, _) => key,
        }
    }
}
