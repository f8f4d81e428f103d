//! A node behind a pointer, as a host holds it.

use crate::catalogue::Catalogue;
use crate::context::{Choices, Effect};
use crate::envelope::EnvelopeRef;
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
    fn step(&mut self, now: Time, input: &Input, out: &mut Vec<Effect>) -> Result<(), StepError>;

    /// See [`Node::deliver`].
    ///
    /// # Errors
    ///
    /// As [`Node::step`].
    fn deliver(
        &mut self,
        now: Time,
        from: NodeId,
        envelope: EnvelopeRef<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), StepError>;

    /// See [`Node::decide_by`].
    fn decide_by(&mut self, choices: Box<dyn Choices>);

    /// See [`Node::take_choices`].
    fn take_choices(&mut self) -> Option<Box<dyn Choices>>;

    /// See [`Node::gather_sends`].
    fn gather_sends(&mut self);

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
    fn step(&mut self, now: Time, input: &Input, out: &mut Vec<Effect>) -> Result<(), StepError> {
        Self::step(self, now, input, out)
    }

    fn deliver(
        &mut self,
        now: Time,
        from: NodeId,
        envelope: EnvelopeRef<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), StepError> {
        Self::deliver(self, now, from, envelope, out)
    }

    fn decide_by(&mut self, choices: Box<dyn Choices>) {
        Self::decide_by(self, choices);
    }

    fn take_choices(&mut self) -> Option<Box<dyn Choices>> {
        Self::take_choices(self)
    }

    fn gather_sends(&mut self) {
        Self::gather_sends(self);
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
