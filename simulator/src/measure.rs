//! What many runs of one world cost: messages, bytes, and the time until they are settled.

use std::ops::Range;

use synod_core::Stack;

use crate::choice::Stream;
use crate::cores::{cores, side_by_side};
use crate::runnable::Runnable;
use crate::scenario::Scenario;
use crate::settings::Settings;

/// What one run came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Measured {
    /// Messages sent, the lost ones included.
    pub messages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Whether a property was violated, which ends a run.
    pub violated: bool,
    /// Since when the run was settled for good, in microseconds of virtual time from its start;
    /// `None` if it never was, or if it violated a property.
    ///
    /// A run is settled when every `eventually` property of the scenario holds, their bounds set
    /// aside, and none ceases to hold before the end of the run. Where the scenario has no such
    /// property, it is settled when the last thing has happened: no message is under way, no timer
    /// runs and no fault is still to come.
    pub settled_us: Option<u64>,
}

/// Many runs in numbers.
#[derive(Clone, Debug)]
pub struct Measures(Vec<Measured>);

/// A distribution in three numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Spread {
    /// The mean, in hundredths, rounded down.
    pub mean_hundredths: u64,
    /// The smallest value that half of all do not exceed.
    pub p50: u64,
    /// The smallest value that 99 in 100 do not exceed.
    pub p99: u64,
}

/// Runs `scenario` once for each seed in the world of `settings`, on all cores; no violation ends
/// it. Every choice is drawn on its own, so that the runs are a fair sample. The result does not
/// depend on the number of cores.
///
/// # Panics
///
/// If the scenario's program clashes with itself. A panic of a handler is a violation.
#[must_use]
pub fn measure<T: Stack>(
    scenario: &Scenario<T>,
    settings: &Settings,
    seeds: Range<u64>,
) -> Measures {
    measures(scenario, settings, seeds)
}

fn measures(runnable: &dyn Runnable, settings: &Settings, seeds: Range<u64>) -> Measures {
    let one = |seed| {
        let (outcome, settled_us) = runnable.run_settling(settings, Stream::seeded(seed));
        let (messages, bytes) = (outcome.counts.sent, outcome.counts.bytes);
        Measured { messages, bytes, violated: outcome.violation.is_some(), settled_us }
    };
    let count = usize::try_from(seeds.end.saturating_sub(seeds.start)).unwrap_or(usize::MAX);
    Measures(side_by_side(count, cores(), &|index| one(seeds.start + index as u64)))
}

impl Measures {
    /// The runs, in the order of their seeds.
    #[must_use]
    pub fn runs(&self) -> &[Measured] {
        &self.0
    }

    /// How many runs violated a property.
    #[must_use]
    pub fn violations(&self) -> usize {
        self.0.iter().filter(|run| run.violated).count()
    }

    /// Messages for each run; `None` without a run.
    #[must_use]
    pub fn messages(&self) -> Option<Spread> {
        Spread::of(self.0.iter().map(|run| run.messages).collect())
    }

    /// Bytes for each run.
    #[must_use]
    pub fn bytes(&self) -> Option<Spread> {
        Spread::of(self.0.iter().map(|run| run.bytes).collect())
    }

    /// Microseconds until a run is settled, over those that are.
    #[must_use]
    pub fn settled_us(&self) -> Option<Spread> {
        Spread::of(self.0.iter().filter_map(|run| run.settled_us).collect())
    }
}

impl Spread {
    fn of(mut values: Vec<u64>) -> Option<Self> {
        values.sort_unstable();
        let count = values.len() as u64;
        let total: u128 = values.iter().copied().map(u128::from).sum();
        let mean = (100 * total).checked_div(u128::from(count))?;
        let rank = |percent: u64| usize::try_from((percent * count).div_ceil(100)).unwrap_or(1);
        let at = |percent| values.get(rank(percent).saturating_sub(1)).copied();
        let mean_hundredths = u64::try_from(mean).unwrap_or(u64::MAX);
        Some(Self { mean_hundredths, p50: at(50)?, p99: at(99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use synod_algorithms::{Bully, ChangRoberts};

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let spread = Spread::of((1..=100).rev().collect()).expect("values");
        assert_eq!(spread, Spread { mean_hundredths: 5_050, p50: 50, p99: 99 });
        let one = Spread::of(vec![7]).expect("a value");
        assert_eq!((one.mean_hundredths, one.p50, one.p99), (700, 7, 7));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn a_run_without_eventual_promises_is_settled_when_it_rests() {
        let scenario = Scenario::of(|_| ChangRoberts::default());
        let measures = measure(&scenario, &Settings::calm(3), 0..20);
        for run in measures.runs() {
            let settled_us = run.settled_us.expect("it comes to rest");
            // Every claim goes around at most once, and the news once more.
            assert!((3 * 1_000..=6 * 10_000).contains(&settled_us), "{run:?}");
            assert!(0 < run.bytes && !run.violated);
        }
        assert_eq!(measures.violations(), 0);
    }

    #[test]
    fn a_run_is_settled_since_its_promises_hold_for_good() {
        let scenario = Scenario::of(|_| Bully::default());
        let calm = Settings { delay_max_us: 100_000, ..Settings::calm(5) };
        let quiet = measure(&scenario, &calm, 0..20);
        let crashing = Settings { crashes: 3, down_max: 4, down_us: 5_000_000, ..calm };
        let crashed = measure(&scenario, &crashing, 0..20);
        let p50 = |measures: &Measures| measures.settled_us().expect("settled runs").p50;
        assert!(p50(&quiet) < 2_000_000, "{}", p50(&quiet));
        assert!(2_000_000 < p50(&crashed), "the last crash is in the middle of the run");
        assert!(quiet.runs().iter().all(|run| run.settled_us.is_some()));
    }
}
