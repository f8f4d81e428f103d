//! Since when a run does what it promises for good.

use synod_core::{Cluster, Kind, Property, Stack};

use super::{Outcome, Watched, World, run_watched};
use crate::choice::Stream;
use crate::scenario::Scenario;
use crate::settings::Settings;

/// Since when every `eventually` property holds, its bound set aside.
#[derive(Debug, Default)]
pub(super) struct Settling {
    since_us: Option<u64>,
}

/// Runs `scenario` once, and tells since when it was settled to the end, in microseconds: since
/// when all its `eventually` properties held, their bounds set aside. Without such a property,
/// when the last thing happened, if nothing was under way then. `None` if a property was violated.
pub(crate) fn run_settling<T: Stack>(
    scenario: &Scenario<T>,
    settings: &Settings,
    stream: Stream,
) -> (Outcome, Option<u64>) {
    let watched = Watched { settling: Some(Settling::default()), ..Watched::default() };
    let (outcome, _, watched) = run_watched(scenario, settings, stream, watched);
    let since_us =
        watched.settling.and_then(|it| it.since_us).filter(|_| outcome.violation.is_none());
    (outcome, since_us)
}

impl<T: Stack> World<'_, T> {
    /// Looks whether what must hold eventually holds now.
    #[inline(always)]
    pub(super) fn settle(&mut self) {
        if self.settling.is_some() {
            self.watch();
        }
    }

    fn watch(&mut self) {
        let Some(settling) = &mut self.settling else {
            return;
        };
        let cluster = Cluster::new(self.members.all()).having_sent(self.counts.sent);
        let mut eventually = eventually(self.scenario).peekable();
        if eventually.peek().is_some() {
            let holds = eventually.all(|property| property.check(&cluster).is_ok());
            settling.since_us = holds.then(|| settling.since_us.unwrap_or(self.now_us));
        }
    }

    /// The last thing has happened.
    pub(super) fn rest(&mut self, at_rest: bool) {
        let Some(settling) = &mut self.settling else {
            return;
        };
        if at_rest && eventually(self.scenario).next().is_none() {
            settling.since_us = Some(self.now_us);
        }
    }
}

fn eventually<T: Stack>(scenario: &Scenario<T>) -> impl Iterator<Item = &Property<T>> {
    scenario.properties.iter().filter(|it| matches!(it.kind, Kind::Eventually { .. }))
}
