//! What is noted of each step: for the trace, and for whoever looks on.

use synod_core::{Catalogue, NodeId, Stack};

use super::World;
use super::upon::Upon;
use crate::trace::Step;

impl<T: Stack> World<'_, T> {
    /// What the trace is to say of a step, if there is one.
    #[inline]
    pub(super) fn noting(&self, step: impl FnOnce(&Catalogue) -> Step) -> Option<Box<Step>> {
        if self.trace.is_some() { Some(self.noted(step)) } else { None }
    }

    #[cold]
    fn noted(&self, step: impl FnOnce(&Catalogue) -> Step) -> Box<Step> {
        Box::new(step(&self.scenario.catalogue))
    }

    #[inline]
    pub(super) fn note(&mut self, step: Option<Box<Step>>) {
        self.counts.steps += 1;
        if let Some(step) = step {
            self.keep(step);
        }
    }

    /// Tells whoever looks on whose handler runs next: it may never return.
    #[inline]
    pub(super) fn tell_where(&self, node: NodeId, upon: Upon<'_>) {
        if let Some(seat) = self.seat {
            seat.tell(self.counts.steps, self.now_us, node, upon.event());
        }
    }

    #[cold]
    fn keep(&mut self, mut step: Box<Step>) {
        if let Some(trace) = &mut self.trace {
            step.time_us = self.now_us;
            trace.push(*step);
        }
    }
}
