//! One or more algorithms that live on the same node.

use std::fmt;
use std::sync::Arc;

use crate::algorithm::{Algorithm, HandlerSet, Handlers};
use crate::catalogue::{BuildError, Catalogue};
use crate::context::Context;
use crate::envelope::EnvelopeRef;
use crate::event::{EventId, NodeId};
use crate::node::{SnapshotError, States, StatesWriter, StepError};
use crate::property::Summary;

/// The algorithms of a node: one, a [`HandlerSet`], a [`Keyed`](crate::Keyed), or a tuple of
/// them, lowest layer first.
///
/// A tuple is `Clone + Hash` when its members are, so a checker can ask for that without this
/// trait doing so.
pub trait Stack: Send + Sized + 'static {
    /// The handler tables, shared by all nodes and all copies of a node.
    type Tables: Clone + Send + Sync + fmt::Debug;

    /// The tables.
    fn tables(&self) -> Self::Tables;

    /// Adds every event type of the tables to `out`.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if the algorithms do not fit together.
    fn catalogue(tables: &Self::Tables, out: &mut Catalogue) -> Result<(), BuildError>;

    /// Starts every algorithm.
    fn start(&mut self, tables: &Self::Tables, ctx: &mut Context);

    /// Whether some algorithm listens to `event`.
    fn listens_to(tables: &Self::Tables, event: EventId) -> bool;

    /// Feeds a durable record back; false if no algorithm restores it.
    ///
    /// # Errors
    ///
    /// [`StepError::Decode`].
    fn replay(
        &mut self,
        tables: &Self::Tables,
        record: EnvelopeRef<'_>,
        ctx: &mut Context,
    ) -> Result<bool, StepError>;

    /// Whether some handler would run upon the envelope. A tuple asks all of its members before
    /// it lets the first one run, so that either all handlers of an event do or none. Leaves `ctx`
    /// as it is.
    ///
    /// # Errors
    ///
    /// As [`Stack::dispatch`], but for bodies that do not decode: all handlers of an event agree
    /// on those.
    fn admit(
        &self,
        tables: &Self::Tables,
        envelope: EnvelopeRef<'_>,
        from: NodeId,
        ctx: &mut Context,
    ) -> Result<bool, StepError>;

    /// Runs every handler that listens to the envelope's event; false if none does.
    ///
    /// # Errors
    ///
    /// [`StepError::Decode`], [`StepError::LocalOnly`] or [`StepError::Full`]; no handler has run
    /// then.
    fn dispatch(
        &mut self,
        tables: &Self::Tables,
        envelope: EnvelopeRef<'_>,
        from: NodeId,
        ctx: &mut Context,
    ) -> Result<bool, StepError>;

    /// The states in short, one after the other.
    fn summary(&self) -> Summary;

    /// Writes every state down.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`].
    fn write_down(&self, out: &mut StatesWriter) -> Result<(), SnapshotError> {
        let _ = out;
        Err(SnapshotError::undeclared::<Self>())
    }

    /// Takes every state as it was written down.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`].
    fn read_back(&mut self, states: &mut States<'_>) -> Result<(), SnapshotError> {
        let _ = states;
        Err(SnapshotError::undeclared::<Self>())
    }
}

impl<A: Algorithm> Stack for A {
    type Tables = Arc<Handlers<A>>;

    fn tables(&self) -> Self::Tables {
        Arc::new(A::handlers().on_lane(A::NAME, A::ORDER))
    }

    fn catalogue(tables: &Self::Tables, out: &mut Catalogue) -> Result<(), BuildError> {
        tables.catalogue(out)
    }

    fn start(&mut self, tables: &Self::Tables, ctx: &mut Context) {
        tables.start(self, ctx, Algorithm::start);
    }

    fn listens_to(tables: &Self::Tables, event: EventId) -> bool {
        tables.listens_to(event)
    }

    fn replay(
        &mut self,
        tables: &Self::Tables,
        record: EnvelopeRef<'_>,
        ctx: &mut Context,
    ) -> Result<bool, StepError> {
        tables.replay(self, record, ctx)
    }

    fn admit(
        &self,
        tables: &Self::Tables,
        envelope: EnvelopeRef<'_>,
        from: NodeId,
        ctx: &mut Context,
    ) -> Result<bool, StepError> {
        tables.admit(envelope, from, ctx)
    }

    fn dispatch(
        &mut self,
        tables: &Self::Tables,
        envelope: EnvelopeRef<'_>,
        from: NodeId,
        ctx: &mut Context,
    ) -> Result<bool, StepError> {
        tables.run(self, envelope, from, ctx)
    }

    fn summary(&self) -> Summary {
        Algorithm::summary(self)
    }

    fn write_down(&self, out: &mut StatesWriter) -> Result<(), SnapshotError> {
        out.put(&A::snapshots(), self)
    }

    fn read_back(&mut self, states: &mut States<'_>) -> Result<(), SnapshotError> {
        *self = states.take(&A::snapshots())?;
        Ok(())
    }
}

impl<S: Send + 'static> Stack for HandlerSet<S> {
    type Tables = Arc<Handlers<S>>;

    fn tables(&self) -> Self::Tables {
        Arc::clone(&self.handlers)
    }

    fn catalogue(tables: &Self::Tables, out: &mut Catalogue) -> Result<(), BuildError> {
        tables.catalogue(out)
    }

    fn start(&mut self, tables: &Self::Tables, ctx: &mut Context) {
        tables.start(&mut self.state, ctx, |_, _| ());
    }

    fn listens_to(tables: &Self::Tables, event: EventId) -> bool {
        tables.listens_to(event)
    }

    fn replay(
        &mut self,
        tables: &Self::Tables,
        record: EnvelopeRef<'_>,
        ctx: &mut Context,
    ) -> Result<bool, StepError> {
        tables.replay(&mut self.state, record, ctx)
    }

    fn admit(
        &self,
        tables: &Self::Tables,
        envelope: EnvelopeRef<'_>,
        from: NodeId,
        ctx: &mut Context,
    ) -> Result<bool, StepError> {
        tables.admit(envelope, from, ctx)
    }

    fn dispatch(
        &mut self,
        tables: &Self::Tables,
        envelope: EnvelopeRef<'_>,
        from: NodeId,
        ctx: &mut Context,
    ) -> Result<bool, StepError> {
        tables.run(&mut self.state, envelope, from, ctx)
    }

    fn summary(&self) -> Summary {
        Summary::default()
    }
}

macro_rules! impl_stack_for_tuple {
    ($($part:ident $index:tt),+) => {
        impl<$($part: Stack),+> Stack for ($($part,)+) {
            type Tables = ($($part::Tables,)+);

            fn tables(&self) -> Self::Tables {
                ($(self.$index.tables(),)+)
            }

            fn catalogue(tables: &Self::Tables, out: &mut Catalogue) -> Result<(), BuildError> {
                $($part::catalogue(&tables.$index, out)?;)+
                Ok(())
            }

            fn start(&mut self, tables: &Self::Tables, ctx: &mut Context) {
                $(self.$index.start(&tables.$index, ctx);)+
            }

            fn listens_to(tables: &Self::Tables, event: EventId) -> bool {
                false $(|| $part::listens_to(&tables.$index, event))+
            }

            fn replay(
                &mut self,
                tables: &Self::Tables,
                record: EnvelopeRef<'_>,
                ctx: &mut Context,
            ) -> Result<bool, StepError> {
                let mut known = false;
                $(known |= self.$index.replay(&tables.$index, record, ctx)?;)+
                Ok(known)
            }

            fn admit(
                &self,
                tables: &Self::Tables,
                envelope: EnvelopeRef<'_>,
                from: NodeId,
                ctx: &mut Context,
            ) -> Result<bool, StepError> {
                let mut heard = false;
                $(heard |= self.$index.admit(&tables.$index, envelope, from, ctx)?;)+
                Ok(heard)
            }

            fn dispatch(
                &mut self,
                tables: &Self::Tables,
                envelope: EnvelopeRef<'_>,
                from: NodeId,
                ctx: &mut Context,
            ) -> Result<bool, StepError> {
                if !self.admit(tables, envelope, from, ctx)? {
                    return Ok(false);
                }
                let mut heard = false;
                $(heard |= self.$index.dispatch(&tables.$index, envelope, from, ctx)?;)+
                Ok(heard)
            }

            fn summary(&self) -> Summary {
                let mut all = Summary::default();
                $(all.append(self.$index.summary());)+
                all
            }

            fn write_down(&self, out: &mut StatesWriter) -> Result<(), SnapshotError> {
                $(self.$index.write_down(out)?;)+
                Ok(())
            }

            fn read_back(&mut self, states: &mut States<'_>) -> Result<(), SnapshotError> {
                $(self.$index.read_back(states)?;)+
                Ok(())
            }
        }
    };
}

impl_stack_for_tuple!(A 0);
impl_stack_for_tuple!(A 0, B 1);
impl_stack_for_tuple!(A 0, B 1, C 2);
impl_stack_for_tuple!(A 0, B 1, C 2, D 3);
