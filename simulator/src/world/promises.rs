//! What is promised within a time: held against the run when that is over.

use std::time::Duration;

use synod_core::{Kind, Stack};

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

    /// What is promised for later.
    pub(super) fn undue(&self) -> Vec<&'static str> {
        let is_later =
            |within: Duration| self.now_us < self.last_fault_us.saturating_add(micros(within));
        let promises = self.scenario.promises();
        let later = promises.filter(|(_, within)| is_later(*within) || !self.network.is_whole());
        later.map(|(name, _)| name).collect()
    }
}
