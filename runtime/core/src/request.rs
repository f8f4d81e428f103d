//! Questions that want an answer.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use crate::event::{Event, NodeId};

/// An event that is answered by another one.
pub trait Request: Event {
    /// The answer.
    type Answer: Event;
}

/// A request that has arrived, with the right to answer it.
///
/// A handler that takes a `Call<R>` instead of an `R` can answer now, or keep the ticket in the
/// state and answer later.
#[derive(Debug)]
pub struct Call<R> {
    /// The question.
    pub request: R,
    /// Who asked, and which of their questions it is.
    pub ticket: Ticket<R>,
}

/// What came of a request: the answer, or none within the deadline.
///
/// Without an answer the outcome is unknown: the request may have been carried out, or may still
/// be.
#[derive(Debug)]
pub struct Reply<R: Request> {
    /// What [`Context::ask`](crate::Context::ask) returned.
    pub ticket: Ticket<R>,
    /// The answer, with who gave it.
    pub answer: Option<(NodeId, R::Answer)>,
}

/// The right to answer one request, and its identity for the asker. Plain data, so a state that
/// holds it stays hashable.
#[derive(Deserialize, Serialize)]
#[serde(bound = "")]
pub struct Ticket<R> {
    pub(crate) from: NodeId,
    pub(crate) number: u64,
    #[serde(skip)]
    pub(crate) answers: PhantomData<fn(R)>,
}

impl<R> Ticket<R> {
    pub(crate) const fn new(from: NodeId, number: u64) -> Self {
        Self { from, number, answers: PhantomData }
    }
}

// Not derived: a derive would ask the same of `R`.
impl<R> Clone for Ticket<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Ticket<R> {}

impl<R> Eq for Ticket<R> {}

impl<R> PartialEq for Ticket<R> {
    fn eq(&self, other: &Self) -> bool {
        (self.from, self.number) == (other.from, other.number)
    }
}

impl<R> Ord for Ticket<R> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.from, self.number).cmp(&(other.from, other.number))
    }
}

impl<R> PartialOrd for Ticket<R> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<R> Hash for Ticket<R> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.from, self.number).hash(state);
    }
}

impl<R> fmt::Debug for Ticket<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ticket {} of {}", self.number, self.from)
    }
}
