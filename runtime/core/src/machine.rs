//! A node behind a pointer, as a host holds it.

use std::sync::Arc;

use crate::catalogue::Catalogue;
use crate::context::{Choices, Effect};
use crate::envelope::EnvelopeRef;
use crate::event::{NodeId, Time};
use crate::node::{Input, Node, Snapshot, SnapshotError, StepError};
use crate::property::{Property, Summary};
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

    /// See [`Node::snapshot`].
    ///
    /// # Errors
    ///
    /// As [`Node::snapshot`].
    fn snapshot(&self) -> Result<Snapshot, SnapshotError>;
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

    fn snapshot(&self) -> Result<Snapshot, SnapshotError> {
        Self::snapshot(self)
    }
}

/// A node that is held to its [local](Property::local) properties: after a step in which one was violated it
/// panics, as upon an assertion in a handler, and so nothing of the step leaves it.
#[derive(Debug)]
pub struct Watched<T: Stack> {
    node: Node<T>,
    properties: Arc<[Property<T>]>,
}

impl<T: Stack> Watched<T> {
    /// Those of `properties` that are not local say nothing of a single node.
    #[must_use]
    pub fn new(node: Node<T>, properties: Arc<[Property<T>]>) -> Self {
        Self { node, properties }
    }

    fn hold(&self) {
        if let Some(words) = self.node.violation(&self.properties) {
            panic!("{words}");
        }
    }
}

impl<T: Stack> Node<T> {
    /// Which of the [local](Property::local) ones among `properties` its state violates, and how.
    #[must_use]
    pub fn violation(&self, properties: &[Property<T>]) -> Option<String> {
        properties.iter().find_map(|property| {
            let words = property.judge(self.id(), self.stack()).err()?;
            Some(format!("the property `{}` is violated: {words}", property.name))
        })
    }
}

impl<T: Stack> Machine for Watched<T> {
    fn step(&mut self, now: Time, input: &Input, out: &mut Vec<Effect>) -> Result<(), StepError> {
        self.node.step(now, input, out).inspect(|()| self.hold())
    }

    fn deliver(
        &mut self,
        now: Time,
        from: NodeId,
        envelope: EnvelopeRef<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), StepError> {
        self.node.deliver(now, from, envelope, out).inspect(|()| self.hold())
    }

    fn decide_by(&mut self, choices: Box<dyn Choices>) {
        self.node.decide_by(choices);
    }

    fn take_choices(&mut self) -> Option<Box<dyn Choices>> {
        self.node.take_choices()
    }

    fn gather_sends(&mut self) {
        self.node.gather_sends();
    }

    fn id(&self) -> NodeId {
        self.node.id()
    }

    fn incarnation(&self) -> u64 {
        self.node.incarnation()
    }

    fn catalogue(&self) -> Catalogue {
        self.node.catalogue()
    }

    fn summary(&self) -> Summary {
        self.node.summary()
    }

    fn snapshot(&self) -> Result<Snapshot, SnapshotError> {
        self.node.snapshot()
    }
}
