//! From a run that fails to a small one that fails in the same way.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use synod_algorithms::Bully;
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, NodeId, Property, Stack};
use synod_simulator::{
    About, Decision, Failure, Fault, Recorded, Scenario, Settings, Shrunk, Simulation, Stream,
    replay, run, shrink,
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
            let disturbing = found.decisions.iter().filter(|it| !it.is_omission()).count();
            assert!(disturbing <= decisions.len());
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
fn a_node_that_the_application_speaks_to_goes_only_with_what_it_is_told() {
    let scenario = counter(2, 1).trigger(NodeId(4), ms(50), &Again);
    let (property, found) = shrunk(&scenario, &lossy(5));
    assert_eq!(property, "n1 hears enough");
    assert_eq!(found.settings.nodes, 2);
    assert!(found.decisions.iter().any(Decision::is_omission), "{:?}", found.decisions);
}

/// Remembers what it was told by its application.
#[derive(Clone, Debug, Default, Hash)]
struct Ledger {
    told: Vec<u32>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "ledger.add", local)]
struct Add(u32);

impl Algorithm for Ledger {
    const NAME: &'static str = "ledger";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|ledger: &mut Self, Add(number): Add| ledger.told.push(number))
    }
}

/// Ten inputs to n1 and n2 in turn; 3 and 7, in this order, are a violation.
fn ledger() -> Scenario<Ledger> {
    let property = Property::always("never 3 and 7", |cluster: &Cluster<'_, Ledger>| {
        let told = cluster.state(N1).map_or_else(Vec::new, |state| state.told.clone());
        let place = |number| told.iter().position(|it| *it == number);
        match (place(3), place(7)) {
            (Some(three), Some(seven)) if three < seven => Err(format!("{told:?}")),
            _ => Ok(()),
        }
    });
    let scenario = Scenario::of(|_| Ledger::default()).property(property);
    (1..=10).fold(scenario, |scenario, number| {
        let node = if number % 2 == 1 { N1 } else { NodeId(2) };
        scenario.trigger(node, ms(10 * u64::from(number)), &Add(number))
    })
}

#[test]
fn inputs_that_the_violation_does_not_need_are_left_out_and_the_schedule_says_so() {
    let scenario = ledger();
    let (_, found) = shrunk(&scenario, &Settings::calm(3));
    assert_eq!(found.settings.nodes, 1);
    assert_eq!(found.outcome.violation.map(|it| it.reason).as_deref(), Some("[3, 7]"));
    // The start of the node, and the two inputs.
    assert_eq!(found.outcome.trace.steps.len(), 3);
    assert!(found.is_minimal);
    let report = Simulation::new(&scenario, 3).run(0..1);
    let failure = report.expect_failure();
    assert!(failure.text.contains("decide input n1 #1 = 1\n"), "{}", failure.text);
    let again = replay(&scenario, &failure.text.parse().expect("a schedule"));
    assert_eq!(again.trace.hash(), failure.trace.hash());
    assert_eq!((again.found, again.decisions), (8, 8));
    // A schedule that names no input gives all of them.
    let (all, _) = run(&scenario, &Settings::calm(3), Stream::replaying(&[]), true);
    assert_eq!(all.violation.map(|it| it.reason).as_deref(), Some("[1, 3, 5, 7]"));
}

#[test]
fn a_run_ends_where_it_fails_and_its_faults_stay_when_they_are() {
    let scenario = Scenario::of(|_| Race::default());
    let (_, found) = shrunk(&scenario, &Settings::calm(2));
    let violation = found.outcome.violation.expect("it fails");
    assert_eq!((found.settings.time_us, violation.time_us), (5_000, 5_000));
}

/// Fails when the only node that n1 does not hear is the third of four: another one has to go.
fn deaf_to_the_last() -> Scenario<Counter> {
    Scenario::of(|_| Counter::default()).property(Property::at_rest(
        "the last is heard",
        move |cluster: &Cluster<'_, Counter>| {
            let last = NodeId(u32::try_from(cluster.size()).map_err(|it| it.to_string())?);
            let received = cluster.state(last).map_or(0, |state| state.received);
            let sent = (u32::try_from(cluster.size()).map_err(|it| it.to_string())? - 1) * ROUNDS;
            if received < sent { Err(String::from("something is missing")) } else { Ok(()) }
        },
    ))
}

#[test]
fn any_node_can_go_and_those_after_it_move_up() {
    let scenario = deaf_to_the_last();
    let line = "lose counter.one n3>n4 #1 = 1";
    let decisions = vec![line.parse().expect("a decision")];
    let found = shrink(&scenario, &lossy(4), decisions, "the last is heard");
    assert_eq!(found.settings.nodes, 2);
    let about: Vec<_> = found.decisions.iter().map(|it| it.label.about.to_string()).collect();
    assert_eq!(about, ["n1>n2"]);
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

#[test]
fn decisions_are_told_before_steps_and_that_fewer_of_them_took_more_steps() {
    let report = Simulation::new(&ledger(), 3).run(0..1);
    let failure = report.expect_failure().clone();
    let (found, left) = (failure.decisions_found, failure.schedule.decisions());
    let (replays, steps) = (failure.replays, failure.trace.steps.len());
    let told = |steps_found| Failure { steps_found, ..failure.clone() }.shrinking();
    let shorter = format!(
        "shrunk from {found} to {left} decisions and from 9 to {steps} steps in {replays} replays"
    );
    assert_eq!(told(9), shorter);
    assert_eq!(
        told(2),
        format!(
            "shrunk from {found} to {left} decisions in {replays} replays, with {steps} steps in place of 2"
        )
    );
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

/// Counts whom it has heard of; each node says that it is there when it is asked to.
#[derive(Clone, Debug, Default, Hash)]
struct Roll(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "roll.call", local)]
struct Call;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "roll.here")]
struct Here;

impl Algorithm for Roll {
    const NAME: &'static str = "roll";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|_: &mut Self, _: Call, ctx: &mut Context| ctx.broadcast(&Here))
            .on(|roll: &mut Self, _: Here| roll.0 += 1)
    }
}

#[test]
fn whoever_is_to_come_to_something_is_asked_for_it_in_the_shrunk_run_too() {
    let heard = |cluster: &Cluster<'_, Roll>| match cluster.live().find(|(_, it)| it.0 < 2) {
        Some((node, _)) => Err(format!("{node} has not heard of two")),
        None => Ok(()),
    };
    let scenario = Scenario::of(|_| Roll::default()).property(Property::at_rest("heard", heard));
    let scenario = (1..=3).fold(scenario, |it, node| it.trigger(NodeId(node), ms(1), &Call));
    let (_, found) = shrunk(&scenario, &lossy(3));
    let of_the_cluster = |it: &&Decision| match it.label.about {
        About::Node(node) => node.0 <= found.settings.nodes,
        _ => true,
    };
    let decided = found.decisions.iter().filter(of_the_cluster).map(|it| it.label.what);
    assert_eq!(decided.collect::<Vec<_>>(), ["lose"], "and every node of two is asked");
    assert_eq!(found.settings.nodes, 2);
}

/// n1 throws a coin until it shows 1, and waits for a word from n2.
#[derive(Clone, Debug, Default, Hash)]
struct Gambler {
    has_won: bool,
    has_heard: bool,
}

impl Algorithm for Gambler {
    const NAME: &'static str = "gambler";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::again).on(|it: &mut Self, _: One| it.has_heard = true)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() == N1 {
            ctx.after(ms(100), &Again);
        } else {
            ctx.send(N1, &One);
        }
    }
}

impl Gambler {
    fn again(&mut self, again: Again, ctx: &mut Context) {
        self.has_won |= ctx.choose(2) == 1;
        if !self.has_won {
            ctx.after(ms(100), &again);
        }
    }
}

fn gambler(is_settled: fn(&Gambler) -> bool) -> Scenario<Gambler> {
    let settled = move |cluster: &Cluster<'_, Gambler>| match cluster.state(N1) {
        Some(n1) if !is_settled(n1) => Err(String::from("it waits")),
        _ => Ok(()),
    };
    Scenario::of(|_| Gambler::default()).property(Property::eventually(
        "settled",
        ms(8_000),
        settled,
    ))
}

#[test]
fn coins_are_kept_where_a_run_comes_to_nothing_once_each_shows_0() {
    let scenario = gambler(|n1| n1.has_won && n1.has_heard);
    let (_, found) = shrunk(&scenario, &lossy(2));
    let whats: BTreeSet<&str> = found.decisions.iter().map(|it| it.label.what).collect();
    assert_eq!(whats.into_iter().collect::<Vec<_>>(), ["choose", "lose"]);
    assert!(!found.is_by_chance);
    let mut rest = found.decisions.clone();
    rest.retain(|it| it.label.what != "lose");
    assert_eq!(violated(&scenario, &found.settings, &rest), None, "the loss is what breaks it");
}

#[test]
fn a_run_that_only_its_coins_break_says_so() {
    let scenario = gambler(|n1| n1.has_won);
    let unlucky = shrink(&scenario, &lossy(2), Vec::new(), "settled");
    assert!(unlucky.is_by_chance, "it comes to nothing with 0 for ever, and with nothing else");
    let (_, other) = shrunk(&gambler(|n1| n1.has_heard), &lossy(2));
    assert!(!other.is_by_chance, "whatever the coins show");
    assert_eq!(other.decisions.iter().map(|it| it.label.what).collect::<Vec<_>>(), ["lose"]);
}
