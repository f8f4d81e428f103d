//! Many runs of one scenario: every seed is a run of its own.

use std::num::NonZero;
use std::ops::Range;
use std::thread;

use synod_core::{Assumption, Model, Stack};

use crate::choice::Stream;
use crate::diagram::Diagram;
use crate::scenario::Scenario;
use crate::schedule::{Recorded, Schedule};
use crate::settings::{Fault, Settings};
use crate::shrink::{Shrunk, shrink};
use crate::trace::Trace;
use crate::world::{Counts, Violation, run};

/// Runs a scenario in many worlds.
///
/// ```
/// use synod_algorithms::Bully;
/// use synod_simulator::{Scenario, Simulation};
///
/// let scenario = Scenario::of(|_| Bully::default());
/// Simulation::new(&scenario, 5).run(0..10).expect_clean();
/// ```
#[derive(Debug)]
pub struct Simulation<'a, T: Stack> {
    scenario: &'a Scenario<T>,
    settings: Settings,
    dropped: Vec<Assumption>,
}

/// What many runs came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// How many runs there were; fewer than asked for if one failed.
    pub runs: u64,
    /// All runs in numbers, added up.
    pub counts: Counts,
    /// The assumptions of the model that the runs did not keep.
    pub dropped: Vec<Assumption>,
    /// The failure of the lowest seed, shrunk.
    pub failure: Option<Failure>,
}

/// A run that violates a property, made small.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed it was found with.
    pub seed: u64,
    /// What the shrunk run violates.
    pub violation: Violation,
    /// The shrunk run as a schedule.
    pub schedule: Schedule,
    /// The schedule as the text of its file.
    pub text: String,
    /// The shrunk run, step by step.
    pub trace: Trace,
    /// Steps of the run that was found.
    pub steps_found: u64,
    /// Runs that shrinking took.
    pub replays: u32,
}

impl<'a, T: Stack> Simulation<'a, T> {
    /// Seeds that one thread takes at a time.
    const BLOCK: u64 = 32;

    /// Runs on `nodes` nodes, with exactly the faults that the scenario's model allows.
    #[must_use]
    pub fn new(scenario: &'a Scenario<T>, nodes: u32) -> Self {
        let settings = Settings::within(scenario.model(), nodes);
        Self { scenario, settings, dropped: Vec::new() }
    }

    /// Adds a kind of fault, whether or not the model allows it.
    #[must_use]
    pub fn with(mut self, fault: Fault) -> Self {
        self.dropped.extend(self.settings.add(fault, self.scenario.model()));
        self.dropped.sort_unstable();
        self.dropped.dedup();
        self
    }

    /// Lets only the calm world happen: no faults at all.
    #[must_use]
    pub fn calm(mut self) -> Self {
        let Settings { time_us, delay_max_us, .. } = self.settings;
        self.settings = Settings { time_us, delay_max_us, ..Settings::calm(self.settings.nodes) };
        self
    }

    /// Changes the world by hand.
    #[must_use]
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// What the runs' world is.
    #[must_use]
    pub fn world(&self) -> &Settings {
        &self.settings
    }

    /// What the scenario assumes.
    #[must_use]
    pub fn model(&self) -> &Model {
        self.scenario.model()
    }

    /// Runs every seed, on all cores, up to the first one that fails; that one is shrunk. The
    /// report does not depend on the number of cores.
    #[must_use]
    pub fn run(&self, seeds: Range<u64>) -> Report {
        let threads = thread::available_parallelism().map_or(1, NonZero::get) as u64;
        let mut report = Report {
            runs: 0,
            counts: Counts::default(),
            dropped: self.dropped.clone(),
            failure: None,
        };
        let mut next = seeds.start;
        while next < seeds.end && report.failure.is_none() {
            let blocks: Vec<Range<u64>> = (0..threads)
                .map(|index| next + index * Self::BLOCK)
                .map(|start| start.min(seeds.end)..(start + Self::BLOCK).min(seeds.end))
                .collect();
            next = (next + threads * Self::BLOCK).min(seeds.end);
            for (runs, counts, failed) in self.run_blocks(blocks) {
                report.runs += runs;
                report.counts.add(&counts);
                if let Some(seed) = failed {
                    report.failure = Some(self.explain(seed));
                    break;
                }
            }
        }
        report
    }

    fn run_blocks(&self, blocks: Vec<Range<u64>>) -> Vec<(u64, Counts, Option<u64>)> {
        thread::scope(|scope| {
            let workers: Vec<_> = blocks
                .into_iter()
                .map(|block| scope.spawn(move || self.run_block(block)))
                .collect();
            let joined = workers.into_iter().map(|worker| worker.join());
            joined.map(|block| block.expect("a handler's panic is a finding")).collect()
        })
    }

    fn run_block(&self, seeds: Range<u64>) -> (u64, Counts, Option<u64>) {
        let (mut runs, mut counts) = (0, Counts::default());
        for seed in seeds {
            let stream = Stream::seeded(seed);
            let (outcome, _) = run(self.scenario, &self.settings, stream, false);
            runs += 1;
            counts.add(&outcome.counts);
            if outcome.violation.is_some() {
                return (runs, counts, Some(seed));
            }
        }
        (runs, counts, None)
    }

    /// Runs `seed` once more, recorded and traced.
    #[must_use]
    pub fn trace(&self, seed: u64) -> Trace {
        run(self.scenario, &self.settings, Stream::recording(seed), true).0.trace
    }

    fn explain(&self, seed: u64) -> Failure {
        let recording = Stream::recording(seed);
        let (found, stream) = run(self.scenario, &self.settings, recording, false);
        let property = found.violation.expect("the seed fails again").property;
        let Shrunk { settings, decisions, outcome, replays } =
            shrink(self.scenario, &self.settings, stream.decisions(), &property);
        let dropped = self.dropped.iter().map(ToString::to_string).collect();
        let schedule = Schedule {
            algorithm: String::from(self.scenario.name()),
            property: Some(property),
            dropped,
            run: Recorded::Simulated { settings, seed, decisions },
        };
        Failure {
            seed,
            violation: outcome.violation.expect("what is shrunk fails"),
            text: schedule.text(&self.scenario.catalogue),
            schedule,
            trace: outcome.trace,
            steps_found: found.counts.steps,
            replays,
        }
    }
}

impl Report {
    /// Fails the test if a run failed, with everything that is needed to understand it.
    ///
    /// # Panics
    ///
    /// If a run failed: with the property, the seed, the diagram of the shrunk run and its
    /// schedule.
    pub fn expect_clean(&self) {
        if let Some(failure) = &self.failure {
            panic!("{}", failure.block());
        }
    }

    /// The failure that the test expects.
    ///
    /// # Panics
    ///
    /// If no run failed.
    #[must_use]
    pub fn expect_failure(&self) -> &Failure {
        match &self.failure {
            Some(failure) => failure,
            None => panic!("all {} runs held every property", self.runs),
        }
    }
}

impl Failure {
    /// Everything that is needed to understand the failure, on one screen.
    #[must_use]
    pub fn block(&self) -> String {
        let Self { seed, violation, steps_found, replays, trace, .. } = self;
        let mut block =
            format!("property violated: {}\n  {}\n", violation.property, violation.reason);
        block += &format!(
            "  found with seed {seed}, shrunk from {steps_found} to {} steps in {replays} replays\n",
            trace.steps.len()
        );
        for dropped in &self.schedule.dropped {
            block += &format!("  the run was not to keep an assumption of the model: {dropped}\n");
        }
        format!("{block}\n{}\n{}", Diagram::of(trace), self.text)
    }
}

impl Counts {
    /// Adds another run's numbers to these.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.crashes += other.crashes;
        self.partitions += other.partitions;
        self.faults += other.faults;
        self.time_us += other.time_us;
    }
}
