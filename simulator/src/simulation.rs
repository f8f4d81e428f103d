//! Many runs of one scenario: every seed is a run of its own.

use std::collections::BTreeMap;
use std::ops::Range;

use synod_core::{Assumption, Model, Random, Stack};

use crate::audit::{Divergence, audit, unsteady};
use crate::choice::{Decision, Stream};
use crate::cores::{cores, side_by_side};
use crate::failure::{Drawn, Failure};
use crate::overdue::watched;
use crate::runnable::Runnable;
use crate::scenario::{Scenario, micros};
use crate::schedule::{Recorded, Schedule};
use crate::settings::{Fault, LinkDelay, Settings};
use crate::shrink::{Shrunk, smallest_of};
use crate::strategy::Strategy;
use crate::trace::{Header, Trace, hash_of};
use crate::underway::Underway;
use crate::world::{Counts, Violation};

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
pub struct Simulation<'a> {
    runnable: &'a dyn Runnable,
    settings: Settings,
    strategy: Strategy,
    sizes: Vec<u32>,
    threads: usize,
    dropped: Vec<Assumption>,
    /// Around which run the runs are, if around any.
    near: Option<Vec<Decision>>,
    /// Where the runs that are under way are told, for whoever looks on.
    underway: Option<&'a Underway>,
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
    /// How seeds became runs.
    pub strategy: Strategy,
    /// In how many runs each kind of fault was on, by name.
    pub drawn: BTreeMap<&'static str, u64>,
    /// How many runs there were of each number of nodes.
    pub sizes: BTreeMap<u32, u64>,
    /// In how many runs some node was a traitor of each kind, by what it did: "equivocates".
    pub treasons: BTreeMap<&'static str, u64>,
    /// How often a disk did each thing wrong, by name: "disk-lie".
    pub disk_faults: BTreeMap<&'static str, u64>,
    /// What should happen sometimes, and happened in no run.
    pub never: Vec<&'static str>,
    /// What was never held against any run: promised within a time that none went on for after its last fault,
    /// or at rest, where none came to rest, or of events that no node indicated.
    pub undue: Vec<&'static str>,
    /// Which nodes were to [trigger](Scenario::trigger) something, and are in none of the clusters, or when all
    /// runs are over: "n9, by `trigger` at tests/it.rs:12:10".
    pub nobody: Vec<String>,
    /// Runs that were executed twice and compared.
    pub audited: u64,
    /// A hash over the traces of the audited runs: equal for equal seeds, on any machine and
    /// with any number of threads.
    pub trace_hash: String,
    /// Two executions of one run that were not equal.
    pub divergence: Option<Divergence>,
    /// The failure of the lowest seed, shrunk.
    pub failure: Option<Failure>,
}

/// What a block of seeds came to.
struct Block {
    runs: u64,
    counts: Counts,
    drawn: BTreeMap<&'static str, u64>,
    sizes: BTreeMap<u32, u64>,
    treasons: BTreeMap<&'static str, u64>,
    disk_faults: BTreeMap<&'static str, u64>,
    never: Vec<&'static str>,
    undue: Vec<&'static str>,
    audited: u64,
    divergence: Option<Divergence>,
    /// The hashes of the traces of the audited runs.
    hashes: String,
    failed: Option<u64>,
}

impl<'a> Simulation<'a> {
    /// Seeds that one thread takes at a time, at most.
    const BLOCK: u64 = 32;
    /// One seed of so many is executed twice.
    const AUDIT_EVERY: u64 = 64;

    /// Requests that a run draws at most, where the scenario offers some.
    const REQUESTS: u32 = 8;

    /// Runs on `nodes` nodes, with exactly the faults that the scenario's model allows, and up to eight
    /// requests of those that it offers.
    #[must_use]
    pub fn new<T: Stack>(scenario: &'a Scenario<T>, nodes: u32) -> Self {
        Self::of(scenario, nodes)
    }

    fn of(runnable: &'a dyn Runnable, nodes: u32) -> Self {
        let (mut settings, threads) = (Settings::within(runnable.model(), nodes), cores());
        settings.requests = if runnable.offers().is_empty() { 0 } else { Self::REQUESTS };
        runnable.promises().iter().for_each(|(_, within)| settings.outlast(*within));
        let (strategy, sizes, dropped) = (Strategy::default(), Vec::new(), Vec::new());
        Self { runnable, settings, strategy, sizes, threads, dropped, near: None, underway: None }
    }

    /// Follows one strategy instead of all in turn.
    #[must_use]
    pub fn strategy(self, strategy: Strategy) -> Self {
        Self { strategy, ..self }
    }

    /// Makes of each seed a run that differs from that of `decisions` in some of them and in some calm ones,
    /// instead of one that a strategy draws: a defect that was mended has neighbours. What is decided of
    /// faults that these runs do not have is passed over.
    #[must_use]
    pub fn near(self, decisions: Vec<Decision>) -> Self {
        Self { near: Some(decisions), ..self }
    }

    /// Draws the number of nodes anew for each seed, among `sizes`: even ones too, since a quorum
    /// that is counted wrongly may be right for an odd number.
    ///
    /// # Panics
    ///
    /// If one of them is 0, or above [`Settings::NODES_MAX`].
    #[must_use]
    #[track_caller]
    pub fn sizes(self, sizes: impl IntoIterator<Item = u32>) -> Self {
        let sizes: Vec<u32> = sizes.into_iter().collect();
        sizes.iter().for_each(|nodes| Settings::expect_nodes(*nodes));
        Self { sizes, ..self }
    }

    /// Uses so many threads; all cores unless called. The report is the same.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        Self { threads: threads.max(1), ..self }
    }

    /// Tells `underway` which runs have ended and which are under way, so that another thread can say how
    /// far it is.
    #[must_use]
    pub fn watched(self, underway: &'a Underway) -> Self {
        Self { underway: Some(underway), ..self }
    }

    /// Adds a kind of fault, whether or not the model allows it.
    #[must_use]
    pub fn with(mut self, fault: Fault) -> Self {
        let broken = self.settings.add(fault, self.runnable.model());
        self.runnable.promises().iter().for_each(|(_, within)| self.settings.outlast(*within));
        self.breaking(broken)
    }

    /// Notes the assumptions of the model that the runs do not keep.
    fn breaking(mut self, broken: impl IntoIterator<Item = Assumption>) -> Self {
        self.dropped.extend(broken);
        self.dropped.sort_unstable();
        self.dropped.dedup();
        self
    }

    /// Lets the messages of one link take another time than the others', whether or not the model
    /// bounds it.
    ///
    /// # Panics
    ///
    /// If it is not a link between two of the nodes, or one whose delays are given already.
    #[must_use]
    #[track_caller]
    pub fn link(self, link: LinkDelay) -> Self {
        let is_beyond = self.model().delay_max().is_some_and(|bound| micros(bound) < link.max_us);
        self.settings(|it| it.links.push(link))
            .breaking(is_beyond.then_some(Assumption::BoundedDelay))
    }

    /// Lets only the calm world happen: no faults at all.
    #[must_use]
    pub fn calm(mut self) -> Self {
        let Settings { time_us, delay_max_us, requests, .. } = self.settings;
        let calm = Settings::calm(self.settings.nodes);
        self.settings = Settings { time_us, delay_max_us, requests, ..calm };
        self
    }

    /// Changes the world by hand.
    ///
    /// # Panics
    ///
    /// If no run can be made of what comes of it: the field and its range are named.
    #[must_use]
    #[track_caller]
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self.settings.expect_possible();
        self
    }

    /// What the runs' world is.
    #[must_use]
    pub fn world(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn threads_used(&self) -> u64 {
        self.threads as u64
    }

    pub(crate) fn runnable(&self) -> &'a dyn Runnable {
        self.runnable
    }

    /// What the scenario assumes.
    #[must_use]
    pub fn model(&self) -> &Model {
        self.runnable.model()
    }

    /// Runs every seed, on all cores, up to the first one that fails; that one is shrunk. The
    /// report does not depend on the number of cores. A run that takes longer than ten seconds is told of on
    /// the standard error, once.
    #[must_use]
    pub fn run(&self, seeds: Range<u64>) -> Report {
        let own = Underway::default();
        self.run_in(self.underway.unwrap_or(&own), seeds)
    }

    /// The same, for whoever looks at `underway` on.
    pub(crate) fn run_in(&self, underway: &Underway, seeds: Range<u64>) -> Report {
        watched(underway, |it| self.overdue(&it), || self.run_watched(underway, seeds))
    }

    fn run_watched(&self, underway: &Underway, seeds: Range<u64>) -> Report {
        let mut report = Report {
            runs: 0,
            counts: Counts::default(),
            dropped: self.dropped.clone(),
            strategy: self.strategy,
            drawn: BTreeMap::new(),
            sizes: BTreeMap::new(),
            treasons: BTreeMap::new(),
            disk_faults: BTreeMap::new(),
            never: self.runnable.should_happen(),
            undue: self.runnable.due_sometime(),
            nobody: self.nobody(),
            audited: 0,
            trace_hash: String::new(),
            divergence: None,
            failure: None,
        };
        let mut next = seeds.start;
        // A few slow runs keep all threads busy, too.
        let share = seeds.end.saturating_sub(next).div_ceil(self.threads as u64);
        let size = Self::BLOCK.min(share);
        while next < seeds.end && report.failure.is_none() && report.divergence.is_none() {
            let from = |block: usize| (next + block as u64 * size).min(seeds.end);
            let run = |block: usize| self.run_block(underway, from(block)..from(block + 1));
            let blocks = side_by_side(self.threads, self.threads, &run);
            next = from(self.threads);
            for block in blocks {
                let ends = block.failed.is_some() || block.divergence.is_some();
                match block.failed.map(|seed| self.explain(underway, seed)) {
                    Some(Ok(failure)) => report.failure = Some(failure),
                    Some(Err(divergence)) => report.divergence = Some(*divergence),
                    None => (),
                }
                report.take(block);
                if ends {
                    break;
                }
            }
        }
        report.trace_hash = hash_of(&report.trace_hash);
        report
    }

    /// Which nodes are to trigger something, and are in no run.
    pub(crate) fn nobody(&self) -> Vec<String> {
        let largest = self.sizes.iter().max().unwrap_or(&self.settings.nodes);
        self.runnable.triggers_beyond(*largest, self.settings.time_us)
    }

    fn run_block(&self, underway: &Underway, seeds: Range<u64>) -> Block {
        let mut block = Block {
            runs: 0,
            counts: Counts::default(),
            drawn: BTreeMap::new(),
            sizes: BTreeMap::new(),
            treasons: BTreeMap::new(),
            disk_faults: BTreeMap::new(),
            never: self.runnable.should_happen(),
            undue: self.runnable.due_sometime(),
            audited: 0,
            divergence: None,
            hashes: String::new(),
            failed: None,
        };
        let entered = underway.enter();
        for seed in seeds {
            entered.begin(seed);
            let world = self.world_of(seed);
            let (mut outcome, _) = self.runnable.run_seen(&world, self.stream(seed), &entered);
            block.runs += 1;
            entered.end();
            block.counts.add(&outcome.counts);
            block.never.retain(|name| outcome.never.contains(name));
            block.undue.retain(|name| outcome.undue.contains(name));
            *block.sizes.entry(world.nodes).or_default() += 1;
            for kind in world.kinds() {
                *block.drawn.entry(kind).or_default() += 1;
            }
            outcome.treasons.sort_unstable();
            outcome.treasons.dedup();
            for treason in outcome.treasons {
                *block.treasons.entry(treason).or_default() += 1;
            }
            for fault in outcome.disk_faults {
                *block.disk_faults.entry(Fault::DiskOnly(fault).name()).or_default() += 1;
            }
            if outcome.violation.is_some() {
                block.failed = Some(seed);
                break;
            }
            if seed.is_multiple_of(Self::AUDIT_EVERY) {
                block.audited += 1;
                match audit(self.runnable, &world, seed, || self.stream(seed)) {
                    Ok(hash) => block.hashes += &hash,
                    Err(divergence) => {
                        block.divergence = Some(*divergence);
                        break;
                    }
                }
            }
        }
        block
    }

    fn stream(&self, seed: u64) -> Stream {
        match &self.near {
            Some(decisions) => Stream::mutating(decisions, seed),
            None => Stream::following(self.strategy, seed),
        }
    }

    /// The world of one seed, as its strategy draws it.
    fn world_of(&self, seed: u64) -> Settings {
        let mut world = match self.near {
            Some(_) => self.settings.clone(),
            None => self.strategy.world(&self.settings, seed),
        };
        let drawn = Random::new(seed ^ SIZES).below(self.sizes.len().max(1) as u64);
        let drawn = usize::try_from(drawn).unwrap_or(0);
        if let Some(nodes) = self.sizes.get(drawn) {
            let model = self.runnable.model();
            world.traitors = world.traitors_of(*nodes, model);
            world.down_max = world.down_max_of(*nodes, model);
            world.nodes = *nodes;
            world.links.retain(|link| link.from.0.max(link.to.0) <= *nodes);
        }
        world
    }

    /// Runs `seed` once more, recorded and traced.
    #[must_use]
    pub fn trace(&self, seed: u64) -> Trace {
        let settings = self.world_of(seed);
        let (outcome, stream) = self.runnable.run(&settings, self.stream(seed).recorded(), true);
        let property = outcome.violation.map(|violation| violation.property);
        let schedule = self.schedule(property, settings, seed, stream.decisions());
        Trace { header: self.header(&schedule), ..outcome.trace }
    }

    fn schedule(
        &self,
        property: Option<String>,
        settings: Settings,
        seed: u64,
        decisions: Vec<Decision>,
    ) -> Schedule {
        Schedule {
            algorithm: String::from(self.runnable.name()),
            property,
            dropped: self.dropped.iter().map(ToString::to_string).collect(),
            run: Recorded::Simulated { settings, seed, decisions },
        }
    }

    fn header(&self, schedule: &Schedule) -> Header {
        Header::of(schedule, self.runnable.promised(), self.runnable.catalogue())
    }

    /// Shrinks a run that failed. One that does not fail each time that it is executed is no function of
    /// its choices: then there is nothing to shrink, and it is told where two executions part.
    fn explain(&self, underway: &Underway, seed: u64) -> Result<Failure, Box<Divergence>> {
        let entered = underway.enter();
        entered.shrink(seed);
        let world = self.world_of(seed);
        audit(self.runnable, &world, seed, || self.stream(seed))?;
        let (found, stream) = self.runnable.run(&world, self.stream(seed).recorded(), true);
        let Some(Violation { property, .. }) = found.violation else {
            return Err(self.differing(&world, seed, || self.stream(seed), "a property"));
        };
        let found_by = stream.decisions();
        let strategy = self.near.is_none().then(|| self.strategy.of_seed(seed));
        let failure = Failure {
            drawn: Some(Drawn { strategy, world: world.clone() }),
            steps_found: found.trace.steps.len() as u64,
            decisions_found: found_by.len(),
            ..self.shrunk(seed, &world, &found_by, &property)?
        };
        let as_found = self.schedule(Some(property), world, seed, found_by);
        Ok(Failure { found: as_found.text(self.runnable.catalogue()), ..failure })
    }

    /// The smallest run that fails as that of `decisions` does, which stands for what was found too.
    fn shrunk(
        &self,
        seed: u64,
        world: &Settings,
        decisions: &[Decision],
        property: &str,
    ) -> Result<Failure, Box<Divergence>> {
        let differs = |settings: &Settings, decisions: &[Decision]| {
            self.differing(settings, seed, || Stream::replaying(decisions), property)
        };
        let Some(shrunk) = smallest_of(self.runnable, world, decisions, property) else {
            return Err(differs(world, decisions));
        };
        let Shrunk { settings, decisions, outcome, replays, is_minimal, is_by_chance } = shrunk;
        let Some(violation) = outcome.violation else {
            return Err(differs(&settings, &decisions));
        };
        let schedule = self.schedule(Some(String::from(property)), settings, seed, decisions);
        let text = schedule.text(self.runnable.catalogue());
        Ok(Failure {
            seed,
            violation,
            found: text.clone(),
            text,
            steps_found: outcome.trace.steps.len() as u64,
            decisions_found: schedule.decisions(),
            trace: Trace { header: self.header(&schedule), ..outcome.trace },
            drawn: None,
            states: outcome.states,
            state: outcome.state,
            schedule,
            replays,
            is_minimal,
            is_by_chance,
        })
    }

    /// Where the executions of a run differ that violated `property` once and then did not.
    fn differing(
        &self,
        settings: &Settings,
        seed: u64,
        stream: impl Fn() -> Stream,
        property: &str,
    ) -> Box<Divergence> {
        let told = [format!("violated {property}"), String::from("did not")];
        unsteady(self.runnable, settings, seed, stream, told)
    }
}

/// Tells the draw of sizes from every other draw of a seed.
const SIZES: u64 = 0x5157;

impl Report {
    fn take(&mut self, block: Block) {
        self.runs += block.runs;
        self.counts.add(&block.counts);
        self.never.retain(|name| block.never.contains(name));
        self.undue.retain(|name| block.undue.contains(name));
        self.audited += block.audited;
        self.trace_hash += &block.hashes;
        self.divergence = self.divergence.take().or(block.divergence);
        for (kind, runs) in block.drawn {
            *self.drawn.entry(kind).or_default() += runs;
        }
        for (nodes, runs) in block.sizes {
            *self.sizes.entry(nodes).or_default() += runs;
        }
        for (treason, runs) in block.treasons {
            *self.treasons.entry(treason).or_default() += runs;
        }
        for (fault, times) in block.disk_faults {
            *self.disk_faults.entry(fault).or_default() += times;
        }
    }

    /// Fails the test if a run failed, with everything that is needed to understand it.
    ///
    /// # Panics
    ///
    /// If a run failed: with the property, the seed, the diagram of the shrunk run and its
    /// schedule. If there was no run, or one that was not a function of its choices. If a node of no cluster was to
    /// trigger something, or all runs were over by then. If something that should happen sometimes happened in no
    /// run, or a promise was held against none.
    pub fn expect_clean(&self) {
        if let Some(divergence) = &self.divergence {
            panic!("{divergence}");
        }
        if let Some(failure) = &self.failure {
            panic!("{}", failure.block());
        }
        assert!(0 < self.runs, "there was no run: the range of seeds is empty");
        expect_somebody(&self.nobody);
        assert!(self.never.is_empty(), "in {} runs there was never: {:?}", self.runs, self.never);
        let Self { runs, undue, .. } = self;
        assert!(
            undue.is_empty(),
            "in {runs} runs these were never judged: {undue:?}; {}",
            Self::UNDUE
        );
    }

    /// What helps where promises were held against no run.
    pub(crate) const UNDUE: &str = "what holds in time needs a longer run or fewer faults, what holds at rest an \
        end of messages and timers, what judges clients a client that asks";

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

/// # Panics
///
/// If there is somebody whom no run has.
#[track_caller]
pub(crate) fn expect_somebody(nobody: &[String]) {
    assert!(
        nobody.is_empty(),
        "no run has these nodes, or goes on so long, that are to trigger something: {nobody:?}"
    );
}

impl Counts {
    /// Adds another run's numbers to these.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.sent += other.sent;
        self.bytes += other.bytes;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.requests += other.requests;
        self.crashes += other.crashes;
        self.partitions += other.partitions;
        self.leaves += other.leaves;
        self.traitors += other.traitors;
        self.faults += other.faults;
        self.time_us += other.time_us;
    }
}
