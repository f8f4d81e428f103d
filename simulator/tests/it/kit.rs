//! What the tests share: a look into the states of many runs, and runs by hand-written decisions.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use synod_core::{Cluster, NodeId, Property, Stack};
use synod_simulator::{
    Bounds, Decision, Outcome, Scenario, Settings, Step, StepKind, Stream, Window, run,
};

pub(crate) const N1: NodeId = NodeId(1);
pub(crate) const N2: NodeId = NodeId(2);
pub(crate) const N3: NodeId = NodeId(3);

/// What was found in the states of many runs, each value once.
pub(crate) struct Seen<V>(Arc<Mutex<BTreeSet<V>>>);

impl<V: Ord + Clone> Seen<V> {
    pub(crate) fn all(&self) -> BTreeSet<V> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn list(&self) -> Vec<V> {
        self.all().into_iter().collect()
    }
}

/// Notes what `look` finds after every step.
pub(crate) fn watch<T: Stack, V: Ord + Send + 'static>(
    scenario: Scenario<T>,
    look: impl Fn(&Cluster<'_, T>) -> Option<V> + Send + Sync + 'static,
) -> (Scenario<T>, Seen<V>) {
    watched(scenario, look, Property::always)
}

/// Notes what `look` finds whenever nothing is under way.
pub(crate) fn watch_rest<T: Stack, V: Ord + Send + 'static>(
    scenario: Scenario<T>,
    look: impl Fn(&Cluster<'_, T>) -> Option<V> + Send + Sync + 'static,
) -> (Scenario<T>, Seen<V>) {
    watched(scenario, look, Property::at_rest)
}

/// Notes what `look` finds in each local state.
pub(crate) fn watch_local<T: Stack, V: Ord + Send + 'static>(
    scenario: Scenario<T>,
    look: impl Fn(NodeId, &T) -> V + Send + Sync + 'static,
) -> (Scenario<T>, Seen<V>) {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let notes = Arc::clone(&seen);
    let property = Property::local("each is watched", move |node, state: &T| {
        let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.insert(look(node, state));
        Ok(())
    });
    (scenario.property(property), Seen(seen))
}

type Predicate<T> = Box<dyn Fn(&Cluster<'_, T>) -> Result<(), String> + Send + Sync>;

fn watched<T: Stack, V: Ord + Send + 'static>(
    scenario: Scenario<T>,
    look: impl Fn(&Cluster<'_, T>) -> Option<V> + Send + Sync + 'static,
    property: impl Fn(&'static str, Predicate<T>) -> Property<T>,
) -> (Scenario<T>, Seen<V>) {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let notes = Arc::clone(&seen);
    let predicate: Predicate<T> = Box::new(move |cluster| {
        let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.extend(look(cluster));
        Ok(())
    });
    // A scenario may be watched in several ways.
    let name = format!("it is watched, as property {}", scenario.properties().len());
    (scenario.property(property(name.leak(), predicate)), Seen(seen))
}

/// Decisions from the lines of a schedule.
pub(crate) fn decisions(lines: &[&str]) -> Vec<Decision> {
    lines.iter().map(|line| line.parse().expect("a decision")).collect()
}

/// A traced run of `lines`, calm in everything that they do not say.
pub(crate) fn run_decided<T: Stack>(
    scenario: &Scenario<T>,
    settings: &Settings,
    lines: &[&str],
) -> Outcome {
    let decisions = decisions(lines);
    let (outcome, stream) = run(scenario, settings, Stream::replaying(&decisions), true);
    assert_eq!(stream.found(), decisions.len(), "the run asks for every decision of the test");
    outcome
}

/// An untraced run of a seed that holds every property.
pub(crate) fn run_clean<T: Stack>(scenario: &Scenario<T>, settings: &Settings, seed: u64) {
    let (outcome, _) = run(scenario, settings, Stream::seeded(seed), false);
    assert_eq!(outcome.violation, None, "seed {seed}");
}

/// Bounds without faults and without a bound on delays.
pub(crate) fn calm_bounds(nodes: u32) -> Bounds {
    Bounds { states_max: 1_000_000, ..Bounds::calm(nodes) }
}

/// A window of timers.
pub(crate) fn window(text: &str) -> Window {
    text.parse().expect("a window")
}

/// The steps of one kind and event.
pub(crate) fn steps<'a>(
    outcome: &'a Outcome,
    kind: StepKind,
    event: &'a str,
) -> impl Iterator<Item = &'a Step> {
    let steps = outcome.trace.steps.iter();
    steps.filter(move |step| step.kind == kind && step.event == event)
}

pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
