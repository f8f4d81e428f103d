//! From a run that fails to a small one that fails in the same way.
//!
//! Delta debugging (A. Zeller, R. Hildebrandt, "Simplifying and isolating failure-inducing
//! input", IEEE TSE 28(2), 2002) on the decisions that are not calm, and on the inputs of the
//! scenario; then over nodes, faults, order and time. Every candidate is a run of its own,
//! re-executed, and is kept only if it costs less than the best one so far, so no pass undoes
//! what another has won.
//!
//! The passes do not know the algorithm, only how to execute a candidate.

mod coins;
mod hollow;
mod passes;
mod renumber;

use std::collections::{BTreeMap, BTreeSet};

use synod_core::{Model, NodeId, Stack};

use crate::choice::{About, Decision, Stream};
use crate::runnable::Runnable;
use crate::scenario::Scenario;
use crate::settings::Settings;
use crate::trace::hash_of;
use crate::world::{Outcome, Violation};

/// Runs that shrinking may spend.
const REPLAYS_MAX: u32 = 4_000;
/// How often times and choices are made smaller. Two delays that have to be far apart could
/// otherwise be moved by a microsecond each, for ever.
const POLISHED_MAX: u32 = 6;

/// A failing run, and what it took to make it small.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The world, cut down to what fails.
    pub settings: Settings,
    /// The decisions that are left. Those of [coins](synod_core::Context::choose) stay where a run without them
    /// fails only since each shows 0; of the others none can be taken away alone, nor once the later ones about one kind of message
    /// are numbered one lower or higher, as far as the bound on replays let that be tried.
    pub decisions: Vec<Decision>,
    /// What the small run does, with its trace.
    pub outcome: Outcome,
    /// How many runs it took.
    pub replays: u32,
    /// Whether every single removal was tried: of a decision, a fault, an input, a node. False if
    /// the bound on replays came first.
    pub is_minimal: bool,
    /// Whether a promise to come to something is broken only as long as each coin that handlers throw shows
    /// what it does: with others none of several runs fails.
    pub is_by_chance: bool,
}

/// Shrinks a run of `scenario` that violates `property`. Every candidate is executed; what is
/// returned does fail in the same property. It has fewer decisions than the run that was found,
/// or as many and fewer inputs, or as many of both and fewer nodes; where all these are equal, it
/// has no more steps.
///
/// Whoever is not asked comes to nothing: of a promise to come to something, in time or at rest, inputs and nodes
/// stay without which a run fails in which nothing goes wrong, unless the whole cluster fails so, too.
///
/// # Panics
///
/// If the run does not violate `property`, or not each time that it is executed.
pub fn shrink<T: Stack>(
    scenario: &Scenario<T>,
    settings: &Settings,
    decisions: Vec<Decision>,
    property: &str,
) -> Shrunk {
    let shrunk = smallest_of(scenario, settings, &decisions, property);
    shrunk.expect("a run that violates the property, each time that it is executed")
}

/// The same of a scenario of any type; none if the run does not violate `property` this time.
pub(crate) fn smallest_of(
    runnable: &dyn Runnable,
    settings: &Settings,
    decisions: &[Decision],
    property: &str,
) -> Option<Shrunk> {
    let failing = Failing::of(runnable, settings, decisions, property)?;
    match runnable.comes_to(property) {
        true => failing.fair(settings, decisions),
        false => failing.shrunk(settings, decisions, None),
    }
}

/// A way to fail.
struct Failing<'a> {
    runnable: &'a dyn Runnable,
    property: &'a str,
    /// A panic elsewhere, as that of a node which sends to one that was left out, is another failure.
    place: Option<String>,
}

impl<'a> Failing<'a> {
    /// That of a run; none if it does not fail.
    fn of(
        runnable: &'a dyn Runnable,
        settings: &Settings,
        decisions: &[Decision],
        property: &'a str,
    ) -> Option<Self> {
        let (outcome, _) = runnable.run(settings, Stream::replaying(decisions), false);
        Some(Self { runnable, property, place: outcome.violation?.place })
    }

    /// Runs a candidate, with coins from a seed where no decision tells; none if it does not fail so.
    fn execute(
        &self,
        settings: &Settings,
        decisions: &[Decision],
        coins: Option<u64>,
    ) -> Option<Failed> {
        let stream = Stream::replaying(decisions).tossing(coins);
        let (outcome, stream) = self.runnable.run(settings, stream, false);
        let is_so = |it: &Violation| it.property == self.property && it.place == self.place;
        let violation = outcome.violation.filter(is_so)?;
        let (mut decisions, mut without_races) =
            (stream.decisions(), stream.decisions_without_races());
        if coins.is_some() {
            decisions.retain(|it| !it.is_coin());
            without_races.retain(|it| !it.is_coin());
        }
        let (steps, ended_us) = (outcome.counts.steps, violation.time_us);
        Some(Failed { decisions, without_races, steps, ended_us })
    }

    /// The smallest run that fails so.
    fn shrunk(
        &self,
        settings: &Settings,
        decisions: &[Decision],
        coins: Option<u64>,
    ) -> Option<Shrunk> {
        let execute =
            |settings: &Settings, decisions: &[Decision]| self.execute(settings, decisions, coins);
        let program = Program {
            execute: &execute,
            model: self.runnable.model(),
            inputs: self.runnable.asked(),
            comes_to: self.runnable.comes_to(self.property),
            found: settings,
        };
        let Smallest { candidate, replays, is_minimal } = smallest(&program, settings, decisions)?;
        let Candidate { settings, decisions } = candidate;
        let stream = Stream::replaying(&decisions).tossing(coins);
        let (outcome, stream) = self.runnable.run(&settings, stream, true);
        let decisions = if coins.is_some() { stream.decisions() } else { decisions };
        Some(Shrunk { settings, decisions, outcome, replays, is_minimal, is_by_chance: false })
    }
}

/// What the passes know of the program: how a candidate is run, and what it is made for.
struct Program<'a> {
    execute: &'a dyn Fn(&Settings, &[Decision]) -> Option<Failed>,
    model: &'a Model,
    /// To which nodes the scenario gives its inputs, in the order of giving.
    inputs: Vec<NodeId>,
    /// Whether the property is of what is come to.
    comes_to: bool,
    /// The world of the run that was found.
    found: &'a Settings,
}

/// A run that failed in the property.
struct Failed {
    /// The decisions that it did take.
    decisions: Vec<Decision>,
    /// Those that would make the same run if nothing was drawn again.
    without_races: Vec<Decision>,
    steps: u64,
    ended_us: u64,
}

/// A world, and what is decided in it.
#[derive(Clone)]
struct Candidate {
    settings: Settings,
    decisions: Vec<Decision>,
}

struct Smallest {
    candidate: Candidate,
    replays: u32,
    is_minimal: bool,
}

/// What a run asks of its reader, the dearest first.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
struct Cost {
    decisions: usize,
    inputs: usize,
    nodes: u32,
    steps: u64,
    /// How long the run is, and how long it is disturbed.
    time_us: u64,
    noise_us: u64,
    /// Kinds of faults that are on, and faults that are planned.
    faults: u64,
    /// The numbers of faults and of repeated questions, added up: early ones are easier to find.
    ordinals: u64,
    choices: u128,
}

impl Cost {
    /// All but times and choices.
    fn coarse(self) -> (usize, usize, u32, u64, u64, u64) {
        let Self { decisions, inputs, nodes, steps, faults, ordinals, .. } = self;
        (decisions, inputs, nodes, steps, faults, ordinals)
    }

    fn of(settings: &Settings, failed: &Failed, inputs: usize) -> Self {
        let omitted = failed.decisions.iter().filter(|it| it.is_omission()).count();
        let disturbing = || failed.decisions.iter().filter(|it| !it.is_omission());
        let number = |it: &Decision| match it.label.about {
            About::Fault(number) => u64::from(it.ordinal) + u64::from(number),
            About::Message { .. } | About::Node(_) => u64::from(it.ordinal),
        };
        Self {
            decisions: failed.decisions.len() - omitted,
            inputs: inputs.saturating_sub(omitted),
            nodes: settings.nodes,
            steps: failed.steps,
            time_us: settings.time_us,
            noise_us: settings.faults_until_us(),
            faults: settings.faults(),
            ordinals: disturbing().map(number).sum(),
            choices: disturbing().map(|it| u128::from(it.choice)).sum(),
        }
    }
}

/// The better of two descents, which take decisions away from the beginning and from the end:
/// where two decisions can stand for each other, the order of trying says which one is left.
fn smallest(
    program: &Program<'_>,
    settings: &Settings,
    decisions: &[Decision],
) -> Option<Smallest> {
    let descent = |from_the_end| {
        let mut search = Search::begin(program, settings, decisions, from_the_end)?;
        search.descend();
        Some(search)
    };
    let (one, other) = (descent(false)?, descent(true)?);
    let replays = one.replays + other.replays;
    let best = if other.cost < one.cost { other } else { one };
    let is_minimal = best.replays < Search::REPLAYS_MAX;
    Some(Smallest { candidate: best.best, replays, is_minimal })
}

/// A descent from the run that was found.
struct Search<'a> {
    program: &'a Program<'a>,
    from_the_end: bool,
    best: Candidate,
    cost: Cost,
    /// When the best run failed.
    ended_us: u64,
    /// The decisions of the best run in a world without races.
    without_races: Vec<Decision>,
    replays: u32,
    /// How many replays the pass under way may have spent in all.
    replays_max: u32,
    /// What was tried: the best only gets cheaper, so what was refused once is refused again.
    tried: BTreeSet<String>,
    /// Which clusters, asked for less, fail though nothing goes wrong.
    calm: BTreeMap<hollow::Asked, bool>,
}

impl<'a> Search<'a> {
    /// Two descents share the bound.
    const REPLAYS_MAX: u32 = REPLAYS_MAX / 2;

    fn begin(
        program: &'a Program<'a>,
        settings: &Settings,
        decisions: &[Decision],
        from_the_end: bool,
    ) -> Option<Self> {
        let failed = (program.execute)(settings, decisions)?;
        let cost = Cost::of(settings, &failed, program.inputs.len());
        let Failed { decisions, without_races, ended_us, .. } = failed;
        let best = Candidate { settings: settings.clone(), decisions };
        let (replays, tried) = (1, BTreeSet::new());
        let replays_max = Self::REPLAYS_MAX;
        Some(Self {
            program,
            from_the_end,
            best,
            cost,
            ended_us,
            without_races,
            replays,
            replays_max,
            tried,
            calm: BTreeMap::new(),
        })
    }

    /// Passes until none of them finds anything: what one takes away lets another one take more,
    /// and so does a smaller choice.
    fn descend(&mut self) {
        for _ in 0..POLISHED_MAX {
            self.take_all_away();
            let before = self.cost;
            // A part is kept, so that what is left is minimal even where times are hard to find.
            self.replays_max = Self::REPLAYS_MAX / 4 * 3;
            self.shorten();
            self.calm_decisions();
            self.replays_max = Self::REPLAYS_MAX;
            if before == self.cost {
                return;
            }
        }
        self.take_all_away();
    }

    fn take_all_away(&mut self) {
        loop {
            let before = self.cost.coarse();
            self.end_at_the_violation();
            self.end_races();
            self.use_fewer_nodes();
            self.drop_faults();
            self.drop_decisions();
            self.drop_inputs();
            self.turn_faults_off();
            self.take_earlier();
            if before == self.cost.coarse() && !self.drop_renumbered() {
                return;
            }
        }
    }

    fn may_replay(&self) -> bool {
        self.replays < self.replays_max
    }

    /// Executes a candidate, and keeps it if it fails and costs less than the best so far.
    fn keeps(&mut self, settings: Settings, decisions: Vec<Decision>) -> bool {
        if !self.may_replay() {
            return false;
        }
        if !self.tried.insert(hash_of(&format!("{settings:?} {decisions:?}"))) {
            return false;
        }
        self.replays += 1;
        let Some(failed) = (self.program.execute)(&settings, &decisions) else {
            return false;
        };
        let cost = Cost::of(&settings, &failed, self.program.inputs.len());
        let is_cheaper = cost < self.cost && !self.is_hollow(&settings, &decisions);
        if is_cheaper {
            let Failed { decisions, without_races, ended_us, .. } = failed;
            self.best = Candidate { settings, decisions };
            (self.cost, self.ended_us, self.without_races) = (cost, ended_us, without_races);
        }
        is_cheaper
    }

    fn keeps_decisions(&mut self, decisions: Vec<Decision>) -> bool {
        self.keeps(self.best.settings.clone(), decisions)
    }

    fn keeps_settings(&mut self, change: impl FnOnce(&mut Settings)) -> bool {
        let Candidate { mut settings, decisions } = self.best.clone();
        change(&mut settings);
        self.keeps(settings, decisions)
    }
}
