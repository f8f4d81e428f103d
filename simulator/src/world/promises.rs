//! What is promised within a time: held against the run when that is over.

use std::time::Duration;

use synod_core::{Envelope, Kind, NodeId, Property, Stack};

use super::{World, Wrong};
use crate::scenario::micros;

impl<T: Stack> World<'_, T> {
    pub(super) fn pass_promises(&mut self, to_us: u64) -> Result<(), Wrong> {
        while let Some(due_us) = self.next_due_us().filter(|due_us| *due_us < to_us) {
            self.now_us = due_us;
            self.check(|kind| matches!(kind, Kind::Eventually { .. }))?;
        }
        self.now_us = to_us;
        Ok(())
    }

    /// When the time of the next promise is over.
    fn next_due_us(&self) -> Option<u64> {
        let due_us = |within| self.last_fault_us.saturating_add(micros(within));
        let due = self.scenario.promises().map(|(_, within)| due_us(within));
        due.filter(|due_us| self.now_us < *due_us && self.network.is_whole()).min()
    }

    /// Takes note of the monitors that judge what a node indicates.
    #[cold]
    pub(super) fn show(&mut self, node: NodeId, indicated: &Envelope) {
        let judge = |property: &Property<T>| property.judges(node, indicated);
        let shown = self.scenario.properties.iter().filter(|it| judge(it)).map(|it| it.name);
        let shown: Vec<_> = shown.collect();
        self.unshown.retain(|name| !shown.contains(name));
    }

    /// What is promised and was not held against the run.
    pub(super) fn undue(&self) -> Vec<&'static str> {
        let is_later =
            |within: Duration| self.now_us < self.last_fault_us.saturating_add(micros(within));
        let is_undue = |property: &&Property<T>| match property.kind {
            Kind::Eventually { within } => is_later(within) || !self.network.is_whole(),
            Kind::AtRest => !self.has_rested,
            Kind::Monitor => self.unshown.contains(&property.name),
            _ => false,
        };
        self.scenario.properties.iter().filter(is_undue).map(|it| it.name).collect()
    }
}
