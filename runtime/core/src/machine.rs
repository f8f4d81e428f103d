//! A node behind a pointer, as a host holds it.

use crate::catalogue::Catalogue;
use crate::context::Effect;
use crate::event::{NodeId, Time};
use crate::node::{Input, Node, StepError};
use crate::property::Summary;
use crate::stack::Stack;

/// Any [`Node`], whatever its algorithms: what a host owns.
///
/// It asks for `Send` and nothing else; only a checker asks for more.
pub trait Machine: Send {
    /// See [`Node::step`].
    ///
    /// # Errors
    ///
    /// As [`Node::step`].
    fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) -> Result<(), StepError>;

    /// See [`Node::id`].
    fn id(&self) -> NodeId;

    /// See [`Node::incarnation`].
    fn incarnation(&self) -> u64;

    /// See [`Node::catalogue`].
    fn catalogue(&self) -> Catalogue;

    /// See [`Node::summary`].
    fn summary(&self) -> Summary;
}

impl<T: Stack> Machine for Node<T> {
    fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) -> Result<(), StepError> {
        Self::step(self, now, input, out)
    }

    fn id(&self) -> NodeId {
        Self::id(self)
    }

    fn incarnation(&self) -> u64 {
        Self::incarnation(self)
    }

    fn catalogue(&self) -> Catalogue {
        Self::catalogue(self)
    }

    fn summary(&self) -> Summary {
        Self::summary(self)
    }
}
