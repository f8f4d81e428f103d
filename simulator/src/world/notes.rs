//! What is noted of each step: for the trace, and for whoever looks on.

use synod_core::{Catalogue, Held, NodeId, Stack};

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
        Box::new(step(self.catalogue()))
    }

    /// What is known of events, with the names that the run has shown.
    pub(super) fn catalogue(&self) -> &Catalogue {
        self.learned.as_deref().unwrap_or(&self.scenario.catalogue)
    }

    /// Takes note of the names of events that no algorithm listens to.
    #[cold]
    pub(super) fn learn_names(&mut self, node: NodeId) {
        let Some(machine) = self.members[node].node.as_mut().and_then(Held::own) else { return };
        let mut names = machine.take_names();
        names.retain(|event, _| !self.scenario.catalogue.knows(*event));
        if !names.is_empty() {
            let known = || Box::new(self.scenario.catalogue.clone());
            self.learned.get_or_insert_with(known).learn(names);
        }
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
