//! Every schedule of a small cluster, breadth first: the first violation found is a shortest one.
//!
//! Bounded timing is explored in whole ticks of the model's delay bound: a message takes 0 or 1
//! tick, a timer its whole number of ticks, and time passes only when nothing is overdue. For
//! delays with closed bounds and timers of whole ticks this reaches every state that real-valued
//! time reaches (T. Henzinger, Z. Manna, A. Pnueli, "What good are digital clocks?", ICALP 1992).
//! Without a bound, a message may take for ever, and each node's timers fire in the order that
//! its own clock gives them, unrelated to all else.

use std::collections::VecDeque;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Assumption, Cluster, Kind, Model, Stack};

use crate::action::{Action, Cut};
use crate::diagram::Diagram;
use crate::follow::counterexample;
use crate::quiet::quietly;
use crate::scenario::{Scenario, micros};
use crate::schedule::Schedule;
use crate::state::{Ground, Moved, State};
use crate::trace::Trace;
use crate::world::Violation;

/// What an exploration is limited to.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// The number of nodes.
    pub nodes: u32,
    /// Crashes in a run, at most. At any moment, also within a handler.
    pub crashes: u32,
    /// Recoveries in a run, at most.
    pub recoveries: u32,
    /// Nodes that may be down at once.
    pub down_max: u32,
    /// The unit of time in microseconds, which is also the bound on the delay of a message.
    /// 0: there is no bound, and no common time.
    pub tick_us: u64,
    /// States to visit, at most.
    pub states_max: u64,
}

impl Bounds {
    /// What `model` allows: its timing, and one crash with its recovery if it tolerates any.
    #[must_use]
    pub fn within(model: &Model, nodes: u32) -> Self {
        let down = u32::try_from(model.down_max(nodes as usize)).unwrap_or(u32::MAX);
        let recovers = matches!(model.faults, synod_core::Faults::CrashRecovery(_));
        Self {
            nodes,
            crashes: down.min(1),
            recoveries: if recovers { down.min(1) } else { 0 },
            down_max: down,
            tick_us: model.delay_max().map_or(0, micros),
            states_max: 5_000_000,
        }
    }

    /// What `model` allows and no exploration does: an algorithm that passes one is not checked
    /// against it.
    #[must_use]
    pub fn not_explored(model: &Model, nodes: u32) -> Vec<&'static str> {
        let traitors = (0 < model.traitors_max(nodes as usize)).then_some("traitors");
        traitors.into_iter().collect()
    }

    /// The same without a bound on delays. Returns the assumption that this breaks, if any.
    pub fn unbound(&mut self) -> Option<Assumption> {
        (std::mem::take(&mut self.tick_us) > 0).then_some(Assumption::BoundedDelay)
    }
}

/// What an exploration came to.
#[derive(Clone, Debug)]
pub struct Explored {
    /// Different states visited.
    pub states: u64,
    /// Transitions taken, those to states already visited included.
    pub transitions: u64,
    /// The length of the longest shortest run to a state.
    pub depth: u32,
    /// Whether every state within the bounds was visited.
    pub complete: bool,
    /// Properties that were not held against the states: their bound needs a clock and there was
    /// none, or they remember more than a state does.
    pub skipped: Vec<&'static str>,
    /// What should hold in some state and did in none.
    pub never: Vec<&'static str>,
    /// A shortest run that violates a property.
    pub failure: Option<Counterexample>,
}

/// A shortest run that violates a property.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// What is violated.
    pub violation: Violation,
    /// The run as a schedule.
    pub schedule: Schedule,
    /// The schedule as the text of its file.
    pub text: String,
    /// The run, step by step.
    pub trace: Trace,
}

/// The states visited, by fingerprint. Only asked whether it holds one, so its order is nobody's.
#[expect(clippy::disallowed_types, reason = "membership only; it is never iterated")]
type Seen = std::collections::HashSet<u128, BuildHasherDefault<Half>>;

/// Takes half of a fingerprint, which is as good as any hash of it.
#[derive(Default)]
struct Half(u64);

impl Hasher for Half {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |all, byte| (all << 8) ^ u64::from(*byte));
    }

    fn write_u128(&mut self, fingerprint: u128) {
        self.0 = u64::try_from(fingerprint & u128::from(u64::MAX)).unwrap_or_default();
    }
}

/// Visits every state that the cluster can reach within `bounds`, shortest runs first. One
/// thread, O(transitions) time; memory for every state on the frontier, and 40 bytes for each
/// visited.
///
/// Two states are one if their 128-bit fingerprints are equal. Every node follows the algorithm:
/// see [`Bounds::not_explored`].
pub fn explore<T>(scenario: &Scenario<T>, bounds: &Bounds) -> Explored
where
    T: Stack + Clone + Hash,
{
    quietly(|| Search::new(Ground { scenario, bounds }).run())
}

struct Search<'a, T: Stack> {
    on: Ground<'a, T>,
    seen: Seen,
    /// How each state was reached first: from which, by what.
    reached: Vec<(u32, Action)>,
    frontier: VecDeque<(u32, u32, State<T>)>,
    found: Explored,
}

impl<'a, T: Stack + Clone + Hash> Search<'a, T> {
    fn new(on: Ground<'a, T>) -> Self {
        let mut found = Explored {
            states: 0,
            transitions: 0,
            depth: 0,
            complete: true,
            skipped: Vec::new(),
            never: Vec::new(),
            failure: None,
        };
        for property in on.scenario.properties() {
            let untimed = on.bounds.tick_us == 0;
            match property.kind {
                Kind::Eventually { .. } if untimed => found.skipped.push(property.name),
                Kind::Monitor => found.skipped.push(property.name),
                Kind::Sometimes => found.never.push(property.name),
                _ => (),
            }
        }
        let (seen, reached, frontier) = (Seen::default(), Vec::new(), VecDeque::new());
        Self { on, seen, reached, frontier, found }
    }

    fn run(mut self) -> Explored {
        let mut waiting = Some(Action::START);
        while let Some(start) = waiting.take() {
            let begun = State::start(self.on, patience(self.on), &start);
            let visited = begun.map_err(|wrong| (start.clone(), wrong)).and_then(|moved| {
                let other = successor(start.choices(), &moved.asked);
                waiting = other.map(|choices| Action::START.choosing(choices));
                self.visit(0, 0, start, moved.state)
            });
            if let Err((action, wrong)) = visited {
                self.fail(0, action, wrong);
                return self.found;
            }
        }
        while self.found.complete
            && let Some((index, depth, state)) = self.frontier.pop_front()
        {
            self.found.depth = depth;
            if let Err((action, wrong)) = self.expand(index, depth, &state) {
                self.found.depth = depth + 1;
                self.fail(index, action, wrong);
                return self.found;
            }
        }
        self.found
    }

    fn expand(
        &mut self,
        index: u32,
        depth: u32,
        state: &State<T>,
    ) -> Result<(), (Action, (String, String))> {
        let mut waiting = state.actions(self.on);
        waiting.reverse(); // The calm first.
        while let Some(action) = waiting.pop() {
            let Moved { state: next, asked, effects } = match state.act(self.on, &action) {
                Ok(moved) => moved,
                Err(wrong) => return Err((action, wrong)),
            };
            if action.cut.is_none() {
                // A handler that chooses is run once for each way to answer, and one with
                // several effects once more for each place where a crash can fall between them.
                let other = successor(action.choices(), &asked);
                waiting.extend(other.map(|choices| action.clone().choosing(choices)));
                if state.may_crash(self.on) {
                    waiting.extend(Cut::all(effects).map(|cut| action.clone().cut(cut)));
                }
            }
            self.found.transitions += 1;
            self.visit(index, depth + 1, action, next)?;
        }
        Ok(())
    }

    /// Takes a state in, if it is new, and holds the properties against it.
    fn visit(
        &mut self,
        from: u32,
        depth: u32,
        action: Action,
        state: State<T>,
    ) -> Result<(), (Action, (String, String))> {
        if !self.seen.insert(state.fingerprint()) {
            return Ok(());
        }
        if self.found.states >= self.on.bounds.states_max {
            self.found.complete = false;
            return Ok(());
        }
        self.found.states += 1;
        if let Err(wrong) = check(self.on, &state) {
            return Err((action, wrong));
        }
        if !self.found.never.is_empty() {
            let cluster = Cluster::new(state.members());
            let happened = |name: &&'static str| {
                let mut named = self.on.scenario.properties().iter();
                named.any(|it| it.name == *name && it.check(&cluster).is_ok())
            };
            self.found.never.retain(|name| !happened(name));
        }
        let index = u32::try_from(self.reached.len()).expect("fewer than 2^32 states");
        self.reached.push((from, action));
        self.frontier.push_back((index, depth, state));
        Ok(())
    }

    /// Walks back from a violation to the start, and tells the way.
    fn fail(&mut self, index: u32, last: Action, (property, reason): (String, String)) {
        let mut path = vec![last];
        let mut at = index;
        while at > 0
            && let Some((before, action)) = self.reached.get(at as usize)
        {
            path.push(action.clone());
            at = *before;
        }
        path.reverse();
        path.retain(|action| *action != Action::START);
        self.found.complete = false;
        self.found.failure = Some(counterexample(self.on, &path, property, reason));
    }
}

/// The next way to answer a handler's questions, after `given` answers to questions with `asked`
/// options: an odometer whose last digit turns first.
fn successor(given: &[u32], asked: &[u32]) -> Option<Vec<u32>> {
    let mut next: Vec<u32> =
        (0..asked.len()).map(|index| given.get(index).copied().unwrap_or(0)).collect();
    while let Some(last) = next.pop() {
        let options = asked.get(next.len()).copied().unwrap_or(0);
        if last + 1 < options {
            next.push(last + 1);
            return Some(next);
        }
    }
    None
}

/// The bound of the longest `eventually`, in ticks: quiet beyond it tells nothing new.
pub(crate) fn patience<T: Stack>(on: Ground<'_, T>) -> u64 {
    let bound = |kind| match kind {
        Kind::Eventually { within } => bound(on, within),
        _ => None,
    };
    on.scenario.properties().iter().filter_map(|it| bound(it.kind)).max().unwrap_or(0)
}

/// The bound of an `eventually` in ticks, if there is a clock.
fn bound<T: Stack>(on: Ground<'_, T>, within: Duration) -> Option<u64> {
    (0 < on.bounds.tick_us).then(|| ticks(within, on.bounds.tick_us))
}

/// Holds the properties against a state.
pub(crate) fn check<T: Stack + Clone + Hash>(
    on: Ground<'_, T>,
    state: &State<T>,
) -> Result<(), (String, String)> {
    let cluster = Cluster::new(state.members());
    for property in on.scenario.properties() {
        let due = match property.kind {
            Kind::Eventually { within } => {
                bound(on, within).is_some_and(|ticks| ticks <= state.quiet_ticks())
            }
            Kind::AtRest => state.is_at_rest(),
            Kind::Sometimes | Kind::Monitor => false,
            _ => true,
        };
        if due && let Err(reason) = property.check(&cluster) {
            return Err((String::from(property.name), reason));
        }
    }
    Ok(())
}

impl Counterexample {
    /// Everything that is needed to understand it, on one screen.
    #[must_use]
    pub fn block(&self) -> String {
        let Self { violation, trace, .. } = self;
        let mut block =
            format!("property violated: {}\n  {}\n", violation.property, violation.reason);
        block += &format!("  a shortest run, of {} steps\n", trace.steps.len());
        for dropped in &self.schedule.dropped {
            block += &format!("  the run was not to keep an assumption of the model: {dropped}\n");
        }
        format!("{block}\n{}", Diagram::of(trace))
    }
}

impl Explored {
    /// Fails the test if a property is violated, or if not every state was visited.
    ///
    /// # Panics
    ///
    /// With the property and the diagram of a shortest run, or with the bound that cut.
    pub fn expect_complete(&self) {
        if let Some(failure) = &self.failure {
            panic!("{}", failure.block());
        }
        assert!(self.complete, "stopped after {} states: not every state was visited", self.states);
    }

    /// The violation that the test expects.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn expect_failure(&self) -> &Counterexample {
        match &self.failure {
            Some(failure) => failure,
            None => panic!("all {} states hold every property", self.states),
        }
    }
}

/// The largest timer or bound, in ticks, that is not a whole number of them is rounded up.
pub(crate) fn ticks(duration: Duration, tick_us: u64) -> u64 {
    match tick_us {
        0 => micros(duration),
        tick_us => micros(duration).div_ceil(tick_us),
    }
}
