//! A run as a file: written, read, edited, run once more.

use serde::{Deserialize, Serialize};
use synod_algorithms::Bully;
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, Property};
use synod_simulator::{
    Bounds, Counterexample, Failure, Fault, Scenario, Schedule, Settings, Simulation, explore,
    replay,
};

use crate::kit::{N1, N2, calm_bounds, ms};

fn bully() -> Scenario<Bully> {
    Scenario::of(|_| Bully::default())
}

fn simulated() -> Failure {
    let scenario = bully();
    let report = Simulation::new(&scenario, 5).with(Fault::Partition).run(0..1_000);
    report.expect_failure().clone()
}

fn explored() -> Counterexample {
    let mut bounds = Bounds::within(&Bully::MODEL, 2);
    bounds.unbound();
    explore(&bully(), &bounds).expect_failure().clone()
}

fn read(text: &str) -> Schedule {
    text.parse().expect("a schedule")
}

#[test]
fn a_simulated_failure_is_the_same_run_after_its_text() {
    let failure = simulated();
    let schedule = read(&failure.text);
    let again = replay(&bully(), &schedule);
    assert_eq!(again.trace.json_lines(), failure.trace.json_lines());
    assert_eq!(again.trace.hash(), failure.trace.hash());
    assert_eq!(again.violation.as_ref(), Some(&failure.violation));
    assert_eq!(again.found, again.decisions);
    assert_eq!(schedule.property, failure.schedule.property);
    assert_eq!(schedule.dropped, ["there are no partitions"]);
}

#[test]
fn an_explored_failure_is_the_same_run_after_its_text() {
    let failure = explored();
    let schedule = read(&failure.text);
    assert_eq!(schedule, failure.schedule);
    let again = replay(&bully(), &schedule);
    assert_eq!(again.trace.json_lines(), failure.trace.json_lines());
    assert_eq!(again.trace.hash(), failure.trace.hash());
    assert_eq!(again.violation.as_ref(), Some(&failure.violation));
    assert_eq!(again.found, again.decisions);
}

#[test]
fn decisions_that_are_no_longer_asked_for_are_left_out_and_counted() {
    let failure = simulated();
    let plain = replay(&bully(), &read(&failure.text));
    let stale = "decide delay bully.retired n1>n2 #1 = 5\n\
                 decide delay bully.coordinator n1>n2 #9999 = 5\n\
                 decide crash.node 77 #1 = 1\n";
    let again = replay(&bully(), &read(&format!("{}{stale}", failure.text)));
    assert_eq!(again.trace.hash(), failure.trace.hash());
    assert_eq!((again.decisions, again.found), (plain.decisions + 3, plain.found));
    let unknown = synod_core::Catalogue::default().name(synod_core::EventId::of("bully.retired"));
    let named = stale.replace("bully.retired", &unknown).replace("decide ", "");
    assert_eq!((plain.gone.len(), again.gone), (0, named.lines().map(String::from).collect()));
}

#[test]
fn a_schedule_is_about_meanings_and_not_about_positions() {
    let failure = simulated();
    let (head, decisions): (Vec<&str>, Vec<&str>) =
        failure.text.lines().partition(|line| !line.starts_with("decide "));
    // In another order.
    let turned: Vec<&str> = head.iter().chain(decisions.iter().rev()).copied().collect();
    let again = replay(&bully(), &read(&turned.join("\n")));
    assert_eq!(again.trace.hash(), failure.trace.hash());
    // Without one of them: the others are found all the same, where the run comes to them.
    for index in 0..decisions.len() {
        let mut fewer = decisions.clone();
        fewer.remove(index);
        let text = [head.clone(), fewer].concat().join("\n");
        let again = replay(&bully(), &read(&text));
        assert_eq!(again.decisions, decisions.len() - 1);
        assert!(again.found <= again.decisions);
        assert_ne!(again.violation.as_ref(), Some(&failure.violation), "shrunk means minimal");
    }
}

#[test]
fn an_explored_schedule_ends_at_the_first_action_that_is_not_possible() {
    let failure = explored();
    let actions: Vec<&str> = failure.text.lines().filter(|line| line.starts_with("act ")).collect();
    let wrong = failure.text.replacen(actions[1], "act deliver bully.retired n1>n2", 1);
    let again = replay(&bully(), &read(&wrong));
    assert_eq!((again.decisions, again.found), (actions.len(), 1));
    assert_eq!(again.gone.len(), actions.len() - 1);
    assert_eq!(again.gone[0], "deliver bully.retired n1>n2");
    assert_eq!(again.violation, None);
}

/// n1 sends a word that n2 knows, and one that it does not.
#[derive(Clone, Debug, Default, Hash)]
struct Speaker {
    has_heard: bool,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "speaker.word")]
struct Word;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "speaker.unknown")]
struct Unknown;

/// Its text has the mark that separates the parts of an action.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "speaker.alarm", local)]
struct Alarm(String);

impl Algorithm for Speaker {
    const NAME: &'static str = "speaker";
    const ORDER: synod_core::Order = synod_core::Order::PerEvent;

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::word).on(Self::alarm)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() == N1 {
            ctx.after(ms(5), &Alarm(String::from("one | two")));
        }
    }
}

impl Speaker {
    fn word(&mut self, _: Word) {
        self.has_heard = true;
    }

    fn alarm(&mut self, _: Alarm, ctx: &mut Context) {
        ctx.send(N2, &Unknown);
        ctx.send(N2, &Word);
    }
}

/// The word that nobody knows is a violation of its own, so the one before it must be first.
fn speaker() -> Scenario<Speaker> {
    Scenario::of(|_| Speaker::default()).property(Property::always(
        "silence",
        |cluster: &Cluster<'_, Speaker>| {
            let heard = cluster.live().any(|(_, state)| state.has_heard);
            if heard { Err(String::from("a word")) } else { Ok(()) }
        },
    ))
}

#[test]
fn a_decision_about_an_event_that_no_node_knows_by_name_is_found_again() {
    let scenario = speaker();
    let slow = Settings { delay_max_us: 100_000, ..Settings::calm(2) };
    let simulation = Simulation::new(&scenario, 2).settings(|it| *it = slow);
    let failure = (0..50)
        .filter_map(|seed| simulation.run(seed..seed + 1).failure)
        .find(|failure| failure.text.contains("decide delay "))
        .expect("the word is first in some run");
    assert_eq!(failure.violation.property, "silence");
    let again = replay(&scenario, &read(&failure.text));
    assert_eq!(again.found, again.decisions);
    assert_eq!(again.trace.hash(), failure.trace.hash());
    assert_eq!(again.violation, Some(failure.violation));
}

#[test]
fn an_action_is_found_again_whatever_its_event_says() {
    let scenario = speaker();
    let explored = explore(&scenario, &calm_bounds(2));
    let failure = explored.expect_failure();
    assert!(failure.text.contains("one | two"), "{}", failure.text);
    let again = replay(&scenario, &read(&failure.text));
    assert_eq!((again.decisions, again.found), (2, 2));
    assert_eq!(again.violation.as_ref(), Some(&failure.violation));
}

/// Takes down in which order it is told something: by its application, by a job, by its timer.
#[derive(Clone, Debug, Default, Hash)]
struct Diary {
    told: Vec<u8>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "diary.told", local)]
struct Told(u8);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "diary.task", local)]
struct Task;

#[derive(Event, Serialize, Deserialize)]
#[event(name = "diary.reminded", local)]
struct Reminded;

impl std::fmt::Debug for Reminded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("in two\nlines")
    }
}

impl Algorithm for Diary {
    const NAME: &'static str = "diary";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|it: &mut Self, Told(what): Told| it.told.push(what))
            .on(|it: &mut Self, _: Reminded| it.told.push(0))
            .job(|_: Task| Told(2))
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.job(&Task);
        ctx.after(ms(5), &Reminded);
    }
}

#[test]
fn what_a_node_is_told_by_different_ways_is_told_apart() {
    for first in 0..=2 {
        let other = move |cluster: &Cluster<'_, Diary>| match cluster.state(N1) {
            Some(n1) if n1.told.first() == Some(&first) => Err(format!("{first} comes first")),
            _ => Ok(()),
        };
        let scenario = Scenario::of(|_| Diary::default()).trigger(N1, ms(0), &Told(1));
        let scenario = scenario.property(Property::always("another comes first", other));
        let explored = explore(&scenario, &calm_bounds(1));
        let failure = explored.expect_failure();
        let again = replay(&scenario, &read(&failure.text));
        assert_eq!(again.violation.as_ref(), Some(&failure.violation), "{}", failure.text);
    }
}
