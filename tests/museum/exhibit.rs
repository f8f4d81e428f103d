//! What every exhibit has to stand: found, shrunk, replayed; the correct algorithm passes.

use std::fmt;
use std::hash::Hash;
use std::time::{Duration, Instant};

use synod_core::Stack;
use synod_simulator::{
    Bounds, Counterexample, DiskFault, Recorded, Report, Scenario, Schedule, Settings, Simulation,
    explore, replay,
};

/// Within how many runs a defect must be found.
const RUNS_MAX: u64 = 10_000;
/// How many runs of the same world a correct algorithm must pass, unless `SYNOD_RUNS` says more.
const RUNS_CLEAN: u64 = 2_000;
/// The steps of a shrunk run, at most.
const STEPS_MAX: usize = 80;
/// How long finding and shrinking may take.
const FOUND_WITHIN: Duration = Duration::from_secs(60);

/// A defective variant of an algorithm.
pub(super) struct Exhibit {
    /// What is wrong, in a sentence.
    pub(super) defect: &'static str,
    pub(super) family: Family,
    /// The property that it violates.
    pub(super) violates: &'static str,
}

/// The kinds of mistakes that nearly all defects of distributed algorithms are.
#[derive(Clone, Copy)]
pub(super) enum Family {
    /// A quorum is counted wrongly: off by one, twice, with stale answers.
    Quorum,
    /// The wrong things are compared, or a tie is not broken.
    Comparison,
    /// A promise is not durable, or is given before it is.
    Durability,
    /// A relay, a resend or a write-back is left out.
    Omission,
    /// A condition is evaluated once instead of until it settles.
    Guard,
    /// An identity is used again after a restart or for another thing.
    Identity,
    /// An old message is applied to a new epoch.
    Epoch,
    /// An assumption about the world does not hold there.
    Assumption,
}

/// The world in which a scenario is simulated.
pub(super) type World<T> = for<'a> fn(&'a Scenario<T>) -> Simulation<'a>;

impl Exhibit {
    /// Asserts that the simulator finds the defect, makes it small, and finds it again.
    pub(super) fn is_found<T>(&self, scenario: &Scenario<T>, world: World<T>)
    where
        T: Stack + Clone + Hash + Sync,
    {
        let simulation = world(scenario);
        let begin = Instant::now();
        let report = simulation.run(0..RUNS_MAX);
        let took = begin.elapsed();
        let failure = report.expect_failure();
        assert_eq!(failure.violation.property, self.violates, "{}", failure.block());
        let steps = failure.trace.steps.len();
        assert!(steps <= STEPS_MAX, "{steps} steps\n{}", failure.block());
        assert!(took < FOUND_WITHIN, "{took:?}");

        let schedule: Schedule = failure.text.parse().expect("a schedule reads back");
        let again = replay(scenario, &schedule);
        assert_eq!(again.trace.hash(), failure.trace.hash(), "the replay is another run");
        assert_eq!(again.violation.as_ref(), Some(&failure.violation));

        assert!(failure.is_minimal, "{} replays were not enough", failure.replays);
        self.is_minimal(scenario, &schedule);
        let world = faults(simulation.world(), &report);
        let (runs, found) = (failure.seed + 1, failure.steps_found);
        let strategy = report.strategy.of_seed(failure.seed).name();
        let decisions = format!("{} → {}", failure.decisions_found, schedule.decisions());
        let seconds = took.as_secs_f64();
        let how = format!("{strategy} | {runs} | {seconds:.2} | {found} → {steps} | {decisions}");
        self.tell(scenario.name(), &world, &how);
    }

    /// Asserts that no single decision of a shrunk run can be taken away.
    fn is_minimal<T>(&self, scenario: &Scenario<T>, schedule: &Schedule)
    where
        T: Stack + Clone + Hash + Sync,
    {
        let Recorded::Simulated { settings, decisions, seed } = &schedule.run else {
            panic!("a simulation records decisions");
        };
        for index in 0..decisions.len() {
            let mut decisions = decisions.clone();
            let gone = decisions.remove(index);
            let run = Recorded::Simulated { settings: settings.clone(), decisions, seed: *seed };
            let violation = replay(scenario, &Schedule { run, ..schedule.clone() }).violation;
            assert!(violation.is_none_or(|it| it.property != self.violates), "{gone:?} can go");
        }
    }

    /// Asserts that the defect is found by exploration, and that the path replays.
    pub(super) fn is_explored<T>(&self, scenario: &Scenario<T>, bounds: &Bounds)
    where
        T: Stack + Clone + Hash + Sync,
    {
        let begin = Instant::now();
        let explored = explore(scenario, bounds);
        let took = begin.elapsed();
        let Counterexample { violation, schedule, trace, .. } = explored.expect_failure();
        assert_eq!(violation.property, self.violates);
        assert_eq!(replay(scenario, schedule).trace.hash(), trace.hash());
        let world = format!("every schedule of {} nodes", bounds.nodes);
        let (states, seconds) = (explored.states, took.as_secs_f64());
        let steps = trace.steps.len();
        let how = format!("exploration | {states} states | {seconds:.2} | {steps}, a shortest |");
        self.tell(scenario.name(), &world, &how);
    }

    /// Prints the exhibit's row of the guide.
    #[expect(clippy::print_stdout, reason = "the table of the guide is made of these lines")]
    fn tell(&self, name: &str, world: &str, how: &str) {
        let Self { defect, family, .. } = self;
        println!("\n| {name} | {defect} | {family} | {world} | {how} |");
    }
}

/// Asserts that a correct algorithm passes the world in which its defects are found.
pub(super) fn passes<T: Stack>(scenario: &Scenario<T>, world: World<T>) {
    all_runs(scenario, world).expect_clean();
}

/// All runs of what is expected to pass.
pub(super) fn all_runs<T: Stack>(scenario: &Scenario<T>, world: World<T>) -> Report {
    let asked =
        std::env::var("SYNOD_RUNS").map(|runs| runs.parse().expect("SYNOD_RUNS is a number"));
    world(scenario).run(0..asked.unwrap_or(RUNS_CLEAN))
}

/// Makes a world as short as what happens in it: its faults are drawn closer together and last no
/// longer than a fifth of it, so that runs are cheap and come to rest.
pub(super) fn short(settings: &mut Settings, time_ms: u64) {
    settings.time_us = time_ms * 1_000;
    let most_us = settings.time_us / 5;
    for length_us in [
        &mut settings.tail_max_us,
        &mut settings.down_us,
        &mut settings.clog_us,
        &mut settings.pause_us,
    ] {
        *length_us = most_us.min(*length_us);
    }
}

/// The faults of a world, and the assumptions that they break.
fn faults(settings: &Settings, report: &Report) -> String {
    let nodes = settings.nodes;
    let faults = [
        (0 < settings.crashes && settings.down_us == 0, "crashes for ever"),
        (0 < settings.crashes && 0 < settings.down_us, "crashes"),
        (0 < settings.lose, "losses"),
        (0 < settings.duplicate, "duplicates"),
        (0 < settings.tail, "long delays"),
        (0 < settings.partitions, "partitions"),
        (0 < settings.clogs, "clogs"),
        (0 < settings.pauses, "pauses"),
        (0 < settings.drift + settings.jumps, "clocks"),
        (0 < settings.traitors, "traitors"),
        (0 < settings.leaves, "nodes that leave"),
        (settings.disk_faults.contains(&DiskFault::Lie), "lying disks"),
    ];
    let kinds: Vec<&str> = faults.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    let kinds = if kinds.is_empty() { String::from("no faults") } else { kinds.join(", ") };
    let dropped: Vec<String> = report.dropped.iter().map(ToString::to_string).collect();
    match dropped.as_slice() {
        [] => format!("{nodes} nodes; {kinds}"),
        _ => format!("{nodes} nodes; {kinds}; not kept: {}", dropped.join(", ")),
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quorum => "quorum",
            Self::Comparison => "comparison",
            Self::Durability => "durability",
            Self::Omission => "omission",
            Self::Guard => "guard",
            Self::Identity => "identity",
            Self::Epoch => "epoch",
            Self::Assumption => "assumption",
        })
    }
}
