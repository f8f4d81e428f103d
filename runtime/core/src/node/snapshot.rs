//! A node as it is between two steps, written down: where a recording begins that does not begin with a
//! life.

use std::collections::BTreeMap;
use std::fmt;
use std::slice;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Node;
use crate::context::TimerId;
use crate::decoding::decode;
use crate::envelope::{DecodeError, Envelope, encoded};
use crate::event::EventId;
use crate::random::Random;
use crate::stack::Stack;

/// How a state of type `S` is written down while its node runs, and read back.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use synod_core::{Algorithm, Handlers, Snapshots};
/// #[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
/// struct Gossip {}
///
/// impl Algorithm for Gossip {
/// #   const NAME: &'static str = "gossip";
/// #   fn handlers() -> Handlers<Self> { Handlers::new() }
///     fn snapshots() -> Snapshots<Self> {
///         Snapshots::encoded()
///     }
/// }
/// ```
pub struct Snapshots<S> {
    forms: Option<(Write<S>, Read<S>)>,
}

type Write<S> = fn(&S) -> Result<Vec<u8>, DecodeError>;
type Read<S> = fn(&[u8]) -> Result<S, DecodeError>;

impl<S> Snapshots<S> {
    /// It is not.
    #[must_use]
    pub const fn none() -> Self {
        Self { forms: None }
    }

    fn forms(&self) -> Result<(Write<S>, Read<S>), SnapshotError> {
        self.forms.ok_or_else(|| SnapshotError::undeclared::<S>())
    }
}

impl<S: Serialize + DeserializeOwned> Snapshots<S> {
    /// As events are: a state must come back from its encoding as it was.
    #[must_use]
    pub const fn encoded() -> Self {
        Self { forms: Some((|state| encoded(state), |bytes| decode(bytes).map_err(|it| it.why()))) }
    }
}

impl<S> fmt::Debug for Snapshots<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.forms.is_some() { "encoded" } else { "none" })
    }
}

/// All that a node will go by, between two steps, but the tables of its program and its
/// [`Boot`](crate::Boot).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Snapshot {
    /// The states of its algorithms, a part for each.
    pub(crate) states: Vec<Vec<u8>>,
    pub(crate) random: u64,
    pub(crate) timers: Vec<(Envelope, TimerId)>,
    pub(crate) next_timer: u64,
    pub(crate) asked: BTreeMap<u64, EventId>,
    pub(crate) next_ticket: u64,
}

/// Why a node is not written down, or not read back.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// An algorithm does not say how.
    #[error("{0} does not say how its state is written down: `Algorithm::snapshots` does")]
    Undeclared(
        /// The type of its state.
        &'static str,
    ),
    /// A state has no encoding, or does not come back from it: another program wrote it.
    #[error("a state of {state}: {cause}")]
    State {
        /// The type of the state.
        state: &'static str,
        /// What the codec said.
        #[source]
        cause: DecodeError,
    },
    /// It is of a node with fewer or more algorithms.
    #[error("it is of a node with other algorithms")]
    OtherAlgorithms,
}

impl SnapshotError {
    pub(crate) fn undeclared<S>() -> Self {
        Self::Undeclared(std::any::type_name::<S>())
    }

    fn of_state<S>(cause: DecodeError) -> Self {
        Self::State { state: std::any::type_name::<S>(), cause }
    }
}

/// The states of a snapshot, one after the other.
#[derive(Clone, Debug)]
pub struct States<'a>(slice::Iter<'a, Vec<u8>>);

impl States<'_> {
    /// The next one.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`].
    pub fn take<S>(&mut self, snapshots: &Snapshots<S>) -> Result<S, SnapshotError> {
        let (_, read) = snapshots.forms()?;
        let bytes = self.0.next().ok_or(SnapshotError::OtherAlgorithms)?;
        read(bytes).map_err(SnapshotError::of_state::<S>)
    }
}

/// Writes the states of a snapshot down, one after the other.
#[derive(Clone, Debug, Default)]
pub struct StatesWriter(Vec<Vec<u8>>);

impl StatesWriter {
    /// Writes the next one down. O(size).
    ///
    /// # Errors
    ///
    /// [`SnapshotError`].
    pub fn put<S>(&mut self, snapshots: &Snapshots<S>, state: &S) -> Result<(), SnapshotError> {
        let (write, _) = snapshots.forms()?;
        self.0.push(write(state).map_err(SnapshotError::of_state::<S>)?);
        Ok(())
    }
}

impl<T: Stack> Node<T> {
    /// The node as it is, between two steps. O(size).
    ///
    /// # Errors
    ///
    /// [`SnapshotError`].
    pub fn snapshot(&self) -> Result<Snapshot, SnapshotError> {
        let mut states = StatesWriter::default();
        self.stack.write_down(&mut states)?;
        let timers = self.ctx.timers.iter().map(|(envelope, id)| ((**envelope).clone(), *id));
        Ok(Snapshot {
            states: states.0,
            random: self.ctx.random.state(),
            timers: timers.collect(),
            next_timer: self.ctx.next_timer,
            asked: self.ctx.asked.clone(),
            next_ticket: self.ctx.next_ticket,
        })
    }

    /// Makes a node that has not started one that does from here on what the other one did, of which the
    /// snapshot is; both are of one [`Boot`](crate::Boot). O(size).
    ///
    /// # Errors
    ///
    /// [`SnapshotError`]; the node is not to be used then.
    pub fn resume(&mut self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        let mut states = States(snapshot.states.iter());
        self.stack.read_back(&mut states)?;
        if states.0.next().is_some() {
            return Err(SnapshotError::OtherAlgorithms);
        }
        let timers = snapshot.timers.iter().map(|(envelope, id)| (Arc::new(envelope.clone()), *id));
        self.ctx.timers = timers.collect();
        self.ctx.random = Random::new(snapshot.random);
        self.ctx.next_timer = snapshot.next_timer;
        self.ctx.asked.clone_from(&snapshot.asked);
        self.ctx.next_ticket = snapshot.next_ticket;
        Ok(())
    }
}
