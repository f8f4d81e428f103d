//! What is noted of each step: for the trace, and for whoever looks on.

use synod_core::{Catalogue, Stack};

use super::World;
use crate::trace::Step;
use crate::underway::Seat;

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
        if self.counts.steps.is_multiple_of(Seat::TELL_EVERY) {
            self.tell_where();
        }
        if let Some(step) = step {
            self.keep(step);
        }
    }

    #[cold]
    fn tell_where(&self) {
        if let Some(seat) = self.seat {
            seat.tell(self.counts.steps, self.now_us);
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
