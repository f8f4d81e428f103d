//! What handlers choose: every value under the exploration, recorded in simulations.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, Property};
use synod_simulator::{Recorded, Scenario, Settings, Simulation, Stream, explore, replay, run};

use crate::kit::{N1, calm_bounds, ms, run_clean, watch_rest};

/// Chooses one of three ways, and on the middle one, one of four more.
#[derive(Clone, Debug, Default, Hash)]
struct Wanderer {
    at_start: bool,
    way: Vec<u32>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "wanderer.go", local)]
struct Go;

impl Algorithm for Wanderer {
    const NAME: &'static str = "wanderer";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::go)
    }

    fn start(&mut self, ctx: &mut Context) {
        if self.at_start {
            self.go(Go, ctx);
        }
    }
}

impl Wanderer {
    fn go(&mut self, _: Go, ctx: &mut Context) {
        let first = ctx.choose(3);
        self.way.push(first);
        if first == 1 {
            self.way.push(ctx.choose(4));
        }
    }
}

fn ways() -> BTreeSet<Vec<u32>> {
    [vec![0], vec![1, 0], vec![1, 1], vec![1, 2], vec![1, 3], vec![2]].into()
}

fn scenario() -> Scenario<Wanderer> {
    Scenario::of(|_| Wanderer::default()).trigger(N1, ms(5), &Go)
}

#[test]
fn the_exploration_takes_every_way_once() {
    let (scenario, seen) =
        watch_rest(scenario(), |cluster| cluster.state(N1).map(|state| state.way.clone()));
    let explored = explore(&scenario, &calm_bounds(1));
    explored.expect_complete();
    assert_eq!(seen.all(), ways());
    assert_eq!((explored.states, explored.transitions, explored.depth), (7, 6, 1));
}

#[test]
fn two_choosers_take_every_pair_of_ways() {
    let two = scenario().trigger(crate::kit::N2, ms(5), &Go);
    let explored = explore(&two, &calm_bounds(2));
    explored.expect_complete();
    assert_eq!((explored.states, explored.transitions), (7 * 7, 2 * 6 * 7));
}

#[test]
fn the_exploration_takes_every_way_of_a_start() {
    let start = |_| Wanderer { at_start: true, way: Vec::new() };
    let (scenario, seen) = watch_rest(Scenario::of(start), |cluster| {
        Some(cluster.live().map(|(_, state)| state.way.clone()).collect::<Vec<_>>())
    });
    let explored = explore(&scenario, &calm_bounds(2));
    explored.expect_complete();
    assert_eq!(seen.all().len(), 6 * 6);
    assert_eq!(explored.states, 6 * 6);
}

#[test]
fn seeds_take_every_way() {
    let (scenario, seen) =
        watch_rest(scenario(), |cluster| cluster.state(N1).map(|state| state.way.clone()));
    (0..200).for_each(|seed| run_clean(&scenario, &Settings::calm(1), seed));
    assert_eq!(seen.all(), ways());
}

#[test]
fn a_recorded_run_chooses_the_same_again() {
    let settings = Settings::calm(2);
    for seed in 0..50 {
        let (found, stream) = run(&scenario(), &settings, Stream::recording(seed), true);
        let decisions = stream.decisions();
        let (again, stream) = run(&scenario(), &settings, Stream::replaying(&decisions), true);
        assert_eq!(found.trace.json_lines(), again.trace.json_lines());
        assert_eq!(stream.found(), decisions.len());
    }
}

fn never_takes_the_last_of_the_middle() -> Scenario<Wanderer> {
    scenario().property(Property::always(
        "nobody goes the way 1, 3",
        |cluster: &Cluster<'_, Wanderer>| match cluster
            .live()
            .find(|(_, state)| state.way == [1, 3])
        {
            Some((node, _)) => Err(format!("{node} does")),
            None => Ok(()),
        },
    ))
}

#[test]
fn a_way_that_violates_a_property_is_recorded_and_taken_again() {
    let scenario = never_takes_the_last_of_the_middle();
    let explored = explore(&scenario, &calm_bounds(1));
    let failure = explored.expect_failure();
    let Recorded::Explored { actions, .. } = &failure.schedule.run else {
        panic!("an exploration records actions");
    };
    assert_eq!(actions, &["deliver wanderer.go n1>n1 | choosing 1,3"]);
    let again = replay(&scenario, &failure.text.parse().expect("a schedule"));
    assert_eq!(again.violation.as_ref(), Some(&failure.violation));

    let report = Simulation::new(&scenario, 2).run(0..500);
    let failure = report.expect_failure();
    let again = replay(&scenario, &failure.text.parse().expect("a schedule"));
    assert_eq!(again.violation.as_ref(), Some(&failure.violation));
    let chosen: Vec<_> = failure.text.lines().filter(|line| line.starts_with("decide ")).collect();
    assert_eq!(chosen, ["decide choose n1 #1 = 1", "decide choose n1 #2 = 3"]);
}

#[test]
fn a_choice_of_a_start_that_violates_a_property_is_recorded_and_taken_again() {
    let start = |_| Wanderer { at_start: true, way: Vec::new() };
    let scenario = Scenario::of(start).property(Property::always(
        "somebody is not at 2",
        |cluster: &Cluster<'_, Wanderer>| {
            let all = cluster.live().all(|(_, state)| state.way == [2]);
            if all { Err(String::from("all are")) } else { Ok(()) }
        },
    ));
    let explored = explore(&scenario, &calm_bounds(2));
    let failure = explored.expect_failure();
    assert!(failure.text.contains("act start | choosing 2,2\n"), "{}", failure.text);
    let again = replay(&scenario, &failure.text.parse().expect("a schedule"));
    assert_eq!(again.violation.as_ref(), Some(&failure.violation));
    assert_eq!((again.decisions, again.found), (1, 1));
}
