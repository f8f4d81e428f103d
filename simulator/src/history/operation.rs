//! What clients did, as an order of events.

use std::collections::BTreeMap;

use thiserror::Error;

/// One operation of a client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Operation<I, O> {
    /// Who asked.
    pub client: String,
    /// What tells the operation from every other of its history.
    pub id: u64,
    /// What was asked.
    pub input: I,
    /// The place of the invocation among all events of the history.
    pub invoked: u64,
    /// What came of it.
    pub outcome: Outcome<O>,
}

/// What came of an operation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome<O> {
    /// It never returned: it may take effect at any time after its invocation, or never.
    Open,
    /// It returned: it took effect between its invocation and its return.
    Returned {
        /// The place of the return among all events of the history.
        at: u64,
        /// What it returned; nothing if that is not known.
        output: Option<O>,
    },
}

/// The operations of some clients. An operation is matched with its return by its number, never by
/// its kind: an answer that arrives twice does not become the answer of the next operation.
#[derive(Clone, Debug)]
pub struct History<I, O> {
    operations: Vec<Operation<I, O>>,
    /// Where an operation stands, by its number; nothing if it was taken back.
    places: BTreeMap<u64, Option<usize>>,
    events: u64,
}

/// Why an event cannot be part of a history. The history is as it was.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Misuse {
    /// The client's mistake: a number for two operations.
    #[error("operation {0} is invoked a second time")]
    InvokedTwice(u64),
    /// Somebody's mistake: an answer without a question.
    #[error("operation {0} returns, but was never invoked")]
    NeverInvoked(u64),
    /// Somebody's mistake: two answers to one question.
    #[error("operation {0} returns a second time")]
    ReturnedTwice(u64),
}

impl<I, O> Default for History<I, O> {
    fn default() -> Self {
        Self { operations: Vec::new(), places: BTreeMap::new(), events: 0 }
    }
}

impl<I, O> History<I, O> {
    /// `client` asks for `input`, as operation `id`.
    ///
    /// # Errors
    ///
    /// [`Misuse::InvokedTwice`].
    pub fn invoke(&mut self, client: impl Into<String>, id: u64, input: I) -> Result<(), Misuse> {
        if self.places.contains_key(&id) {
            return Err(Misuse::InvokedTwice(id));
        }
        self.places.insert(id, Some(self.operations.len()));
        let (client, invoked) = (client.into(), self.tick());
        self.operations.push(Operation { client, id, input, invoked, outcome: Outcome::Open });
        Ok(())
    }

    /// Operation `id` returns `output`; nothing if it took effect and its answer is not known.
    ///
    /// # Errors
    ///
    /// [`Misuse::NeverInvoked`], [`Misuse::ReturnedTwice`].
    pub fn returned(&mut self, id: u64, output: Option<O>) -> Result<(), Misuse> {
        let place = self.places.get(&id).copied().flatten().ok_or(Misuse::NeverInvoked(id))?;
        let at = self.events;
        let operation = self.operations.get_mut(place).ok_or(Misuse::NeverInvoked(id))?;
        if operation.returned().is_some() {
            return Err(Misuse::ReturnedTwice(id));
        }
        operation.outcome = Outcome::Returned { at, output };
        self.events += 1;
        Ok(())
    }

    /// Operation `id`, which did not return yet, turns out to have been `input`.
    pub(super) fn turned_out(&mut self, id: u64, input: I) -> Result<(), Misuse> {
        let place = self.places.get(&id).copied().flatten().ok_or(Misuse::NeverInvoked(id))?;
        let operation = self.operations.get_mut(place).ok_or(Misuse::NeverInvoked(id))?;
        if operation.returned().is_some() {
            return Err(Misuse::ReturnedTwice(id));
        }
        operation.input = input;
        Ok(())
    }

    /// Operation `id` is known not to have happened, and is no part of the history any more. O(operations
    /// invoked after it).
    ///
    /// # Errors
    ///
    /// [`Misuse::NeverInvoked`], [`Misuse::ReturnedTwice`].
    pub fn failed(&mut self, id: u64) -> Result<(), Misuse> {
        let entry = self.places.get_mut(&id).ok_or(Misuse::NeverInvoked(id))?;
        let place = entry.ok_or(Misuse::ReturnedTwice(id))?;
        if self.operations.get(place).is_some_and(|it| it.returned().is_some()) {
            return Err(Misuse::ReturnedTwice(id));
        }
        *entry = None;
        self.operations.remove(place);
        for later in self.operations.get(place..).unwrap_or_default() {
            if let Some(place) = self.places.get_mut(&later.id).and_then(Option::as_mut) {
                *place -= 1;
            }
        }
        Ok(())
    }

    /// The operations, in the order of their invocations.
    #[must_use]
    pub fn operations(&self) -> &[Operation<I, O>] {
        &self.operations
    }

    /// The operation of that number, unless it is known not to have happened.
    #[must_use]
    pub fn operation(&self, id: u64) -> Option<&Operation<I, O>> {
        self.operations.get(self.places.get(&id).copied().flatten()?)
    }

    /// How many operations never returned.
    #[must_use]
    pub fn open(&self) -> usize {
        self.operations.iter().filter(|it| it.returned().is_none()).count()
    }

    /// How many operations are known not to have happened.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.places.len() - self.operations.len()
    }

    fn tick(&mut self) -> u64 {
        self.events += 1;
        self.events - 1
    }
}

impl<I, O> Operation<I, O> {
    /// The place of the return among all events, if there was one.
    #[must_use]
    pub fn returned(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Open => None,
            Outcome::Returned { at, .. } => Some(at),
        }
    }

    /// What it returned, if that is known.
    #[must_use]
    pub fn output(&self) -> Option<&O> {
        match &self.outcome {
            Outcome::Open => None,
            Outcome::Returned { output, .. } => output.as_ref(),
        }
    }
}
