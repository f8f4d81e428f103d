//! From a run that fails to a small one that fails in the same way.

use serde::{Deserialize, Serialize};
use synod_algorithms::Bully;
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, NodeId, Property, Stack};
use synod_simulator::{
    Decision, Failure, Fault, Recorded, Scenario, Settings, Shrunk, Simulation, Stream, run, shrink,
};

use crate::kit::{N1, ms};

/// Every node sends to all others a few times; at the end, `lost_max` of the messages may be
/// missing at n1.
#[derive(Clone, Debug, Default, Hash)]
struct Counter {
    rounds: u32,
    received: u32,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "counter.one")]
struct One;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "counter.again", local)]
struct Again;

const ROUNDS: u32 = 5;

impl Algorithm for Counter {
    const NAME: &'static str = "counter";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::one).on(Self::again)
    }

    fn start(&mut self, ctx: &mut Context) {
        self.again(Again, ctx);
    }
}

impl Counter {
    fn again(&mut self, _: Again, ctx: &mut Context) {
        let me = ctx.me();
        ctx.send_where(&One, |peer| peer != me);
        self.rounds += 1;
        if self.rounds < ROUNDS {
            ctx.after(ms(100), &Again);
        }
    }

    fn one(&mut self, _: One) {
        self.received += 1;
    }
}

/// At least `nodes_min` nodes, and `lost_min` messages missing at n1, are a violation.
fn counter(nodes_min: usize, lost_min: u32) -> Scenario<Counter> {
    let name = "n1 hears enough";
    Scenario::of(|_| Counter::default()).property(Property::at_rest(
        name,
        move |cluster: &Cluster<'_, Counter>| {
            let received = cluster.state(N1).map_or(0, |state| state.received);
            let peers = u32::try_from(cluster.size() - 1).map_err(|error| error.to_string())?;
            let lost = peers * ROUNDS - received;
            if nodes_min <= cluster.size() && lost_min <= lost {
                return Err(format!("{lost} are missing"));
            }
            Ok(())
        },
    ))
}

fn lossy(nodes: u32) -> Settings {
    Settings { lose: 900_000, ..Settings::calm(nodes) }
}

/// The first seed whose run fails, shrunk.
fn shrunk<T: Stack>(scenario: &Scenario<T>, settings: &Settings) -> (String, Shrunk) {
    for seed in 0..1_000 {
        let (outcome, stream) = run(scenario, settings, Stream::recording(seed), false);
        if let Some(violation) = outcome.violation {
            let decisions = stream.decisions();
            let found = shrink(scenario, settings, decisions.clone(), &violation.property);
            assert!(found.decisions.len() <= decisions.len());
            return (violation.property, found);
        }
    }
    panic!("no seed fails");
}

/// What a run of `decisions` violates.
fn violated<T: Stack>(
    scenario: &Scenario<T>,
    settings: &Settings,
    decisions: &[Decision],
) -> Option<String> {
    let (outcome, _) = run(scenario, settings, Stream::replaying(decisions), false);
    outcome.violation.map(|violation| violation.property)
}

fn assert_minimal<T: Stack>(
    scenario: &Scenario<T>,
    settings: &Settings,
    decisions: &[Decision],
    property: &str,
) {
    assert_eq!(violated(scenario, settings, decisions).as_deref(), Some(property));
    for index in 0..decisions.len() {
        let mut fewer = decisions.to_vec();
        let dropped = fewer.remove(index);
        let without = violated(scenario, settings, &fewer);
        assert_ne!(without.as_deref(), Some(property), "{dropped:?} can go");
    }
}

#[test]
fn three_losses_that_are_needed_are_all_that_is_left() {
    let scenario = counter(2, 3);
    let (property, Shrunk { settings, decisions, outcome, .. }) = shrunk(&scenario, &lossy(5));
    assert_eq!(property, "n1 hears enough");
    assert_eq!(outcome.violation.map(|it| it.reason).as_deref(), Some("3 are missing"));
    assert_eq!(settings.nodes, 2);
    let whats: Vec<_> = decisions.iter().map(|decision| decision.label.what).collect();
    assert_eq!(whats, ["lose"; 3]);
    assert_minimal(&scenario, &settings, &decisions, &property);
}

#[test]
fn as_many_nodes_are_left_as_are_needed() {
    for needed in 2..=5 {
        let (_, found) = shrunk(&counter(needed, 1), &lossy(5));
        assert_eq!(found.settings.nodes as usize, needed);
        assert_eq!(found.decisions.len(), 1);
    }
}

#[test]
fn a_run_that_fails_in_every_world_needs_no_decision() {
    let scenario = counter(2, 0);
    let (_, found) = shrunk(&scenario, &lossy(4));
    assert_eq!((found.decisions.len(), found.settings.nodes), (0, 2));
}

#[test]
fn a_node_that_the_application_speaks_to_is_not_taken_away() {
    let scenario = counter(2, 1).trigger(NodeId(4), ms(50), &Again);
    let (property, found) = shrunk(&scenario, &lossy(5));
    assert_eq!(property, "n1 hears enough");
    assert_eq!(found.settings.nodes, 4);
}

fn simulated(failure: &Failure) -> (&Settings, &[Decision]) {
    match &failure.schedule.run {
        Recorded::Simulated { settings, decisions, .. } => (settings, decisions),
        Recorded::Explored { .. } => panic!("a simulation records decisions"),
    }
}

#[test]
fn a_failure_of_bully_is_as_small_as_it_gets() {
    let scenario = Scenario::of(|_| Bully::default());
    for (fault, seeds) in [(Fault::Partition, 0..300), (Fault::Delay, 0..3_000)] {
        let report = Simulation::new(&scenario, 5).with(fault).run(seeds);
        let failure = report.expect_failure();
        let property = failure.schedule.property.clone().expect("it is violated");
        assert_eq!(failure.violation.property, property);
        let (settings, decisions) = simulated(failure);
        assert_minimal(&scenario, settings, decisions, &property);
        assert!((failure.trace.steps.len() as u64) < failure.steps_found);
    }
}

/// Fails if a timer fires before a message arrives: only the delay has to be long.
#[derive(Clone, Debug, Default, Hash)]
struct Race {
    has_heard: bool,
    is_late: bool,
}

impl Algorithm for Race {
    const NAME: &'static str = "race";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::one).on(Self::again)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() == N1 {
            ctx.send(NodeId(2), &One);
        } else {
            ctx.after(ms(5), &Again);
        }
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("the message is first", |cluster: &Cluster<'_, Self>| {
            let late = cluster.live().any(|(_, state)| state.is_late);
            if late { Err(String::from("it is late")) } else { Ok(()) }
        })]
    }
}

impl Race {
    fn one(&mut self, _: One) {
        self.has_heard = true;
    }

    fn again(&mut self, _: Again) {
        self.is_late = !self.has_heard;
    }
}

#[test]
fn a_choice_is_made_as_calm_as_it_can_be() {
    let scenario = Scenario::of(|_| Race::default());
    let (property, found) = shrunk(&scenario, &Settings::calm(2));
    assert_eq!(property, "the message is first");
    // What is due together happens in the order of asking, so the message has to take 5 ms and
    // one more microsecond, or was asked for later.
    let choices: Vec<_> = found.decisions.iter().map(|it| (it.label.what, it.choice)).collect();
    assert_eq!(choices, [("delay", 4_001)]);
    assert_minimal(&scenario, &found.settings, &found.decisions, &property);
}
