//! Nodes that only their names tell apart.
//!
//! An algorithm is symmetric in some nodes if it does under other names what it does under these:
//! handling a renamed event in a renamed state gives the renamed state and the renamed effects. It
//! is not if it compares names, counts with them, or goes through nodes in their order.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::permutation::{Nodes, Permutation};
pub use self::walk::Renamer;
use crate::envelope::DecodeError;

mod permutation;
mod walk;

/// Which nodes of a cluster are interchangeable, and what a state of type `S` is under other names.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use synod_core::{Algorithm, Handlers, Symmetry};
/// #[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
/// struct Gossip {}
///
/// impl Algorithm for Gossip {
/// #   const NAME: &'static str = "gossip";
/// #   fn handlers() -> Handlers<Self> { Handlers::new() }
///     fn symmetry() -> Symmetry<Self> {
///         Symmetry::of_all()
///     }
/// }
/// ```
///
/// The state is renamed by way of its encoding, so a node has to be a [`NodeId`](crate::NodeId) wherever it stands.
/// An exploration that makes use of a declaration also tries it, and says so if it does not hold.
pub struct Symmetry<S> {
    declared: Option<(Interchangeable, Rename<S>)>,
}

/// Which nodes of a cluster are interchangeable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Interchangeable {
    /// All of them: what they are asked, and what they have done so far, tells them apart.
    All,
    /// Those whose applications ask for nothing. Whoever is asked may be special by its name.
    Unasked,
}

type Rename<S> = fn(&S, &mut Renamer) -> Result<S, DecodeError>;

impl<S> Symmetry<S> {
    /// Names matter.
    #[must_use]
    pub const fn none() -> Self {
        Self { declared: None }
    }

    /// Which nodes are interchangeable, if any are.
    #[must_use]
    pub fn nodes(&self) -> Option<Interchangeable> {
        self.declared.map(|(nodes, _)| nodes)
    }

    /// The same state under other names. O(size).
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if no nodes are interchangeable, or if the state does not come back from its
    /// own encoding.
    pub fn renamed(&self, state: &S, renamer: &mut Renamer) -> Result<S, DecodeError> {
        match self.declared {
            Some((_, rename)) => rename(state, renamer),
            None => Err(DecodeError::new("its nodes are not interchangeable")),
        }
    }
}

impl<S: Serialize + DeserializeOwned> Symmetry<S> {
    /// All nodes are interchangeable.
    #[must_use]
    pub fn of_all() -> Self {
        Self::of(Interchangeable::All)
    }

    /// All nodes are whose applications ask for nothing.
    #[must_use]
    pub fn of_the_unasked() -> Self {
        Self::of(Interchangeable::Unasked)
    }

    fn of(nodes: Interchangeable) -> Self {
        Self { declared: Some((nodes, |state, renamer| renamer.value(state))) }
    }
}

impl<S> Clone for Symmetry<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Symmetry<S> {}

impl<S> fmt::Debug for Symmetry<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.nodes())
    }
}

#[cfg(test)]
mod tests;
