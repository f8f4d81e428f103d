//! That what was never held against anything is no pass.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Context, Event, Handlers, Model, NodeId, Property, Stack, Workload};
use synod_simulator::history::models::{Register, RegisterCall};
use synod_simulator::history::{Seen, linearizable};
use synod_simulator::{Bounds, Exploration, Scenario, Simulation, explore};

use crate::kit::{N1, calm_bounds, ms};

/// Beats for ever if it has a period, and says what it is asked.
#[derive(Clone, Debug, Default, Hash)]
struct Beater {
    period: Option<Duration>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "beater.beat", local)]
struct Beat;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "beater.ask", local)]
struct Ask;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "beater.said", local)]
struct Said;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "beater.unheard", local)]
struct Unheard;

impl Algorithm for Beater {
    const NAME: &'static str = "beater";
    const MODEL: Model = Model::synchronous(ms(100));

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|it: &mut Self, _: Beat, ctx: &mut Context| Algorithm::start(it, ctx))
            .on(|_: &mut Self, _: Ask, ctx: &mut Context| ctx.trigger(&Said))
    }

    fn start(&mut self, ctx: &mut Context) {
        if let Some(period) = self.period {
            ctx.after(period, &Beat);
        }
    }
}

fn beating() -> Scenario<Beater> {
    Scenario::of(|_| Beater { period: Some(ms(200)) })
}

fn resting() -> Scenario<Beater> {
    Scenario::of(|_| Beater::default())
}

fn never_true() -> Property<Beater> {
    Property::at_rest("false at rest", |_| Err(String::from("it never is")))
}

/// What a panic says.
fn told(what: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(what)).expect_err("it is no pass");
    match panic.downcast::<String>() {
        Ok(words) => *words,
        Err(other) => String::from(*other.downcast::<&str>().expect("words")),
    }
}

fn explored<T: Stack + Clone + std::hash::Hash + Sync>(scenario: &Scenario<T>) -> String {
    told(|| explore(scenario, &Bounds::within(scenario.model(), 2)).expect_complete())
}

#[test]
fn a_promise_at_rest_of_what_never_rests_is_no_pass() {
    let scenario = beating().property(never_true());
    let report = Simulation::new(&scenario, 2).run(0..10);
    assert_eq!(report.undue, ["false at rest"]);
    assert!(told(|| report.expect_clean()).contains("never judged: [\"false at rest\"]"));
    assert!(explored(&scenario).contains("never judged: [\"false at rest\"]"));
    let scenario = resting().property(never_true());
    assert_eq!(Simulation::new(&scenario, 2).run(0..10).undue, [""; 0]);
    let _ = explore(&scenario, &calm_bounds(2)).expect_failure();
}

#[test]
fn a_monitor_that_was_shown_nothing_is_no_pass() {
    let scenario = || resting().property(Property::automaton("silence", (), |(), _, _| Ok(())));
    let report = Simulation::new(&scenario(), 2).run(0..10);
    assert_eq!(report.undue, ["silence"]);
    assert!(explored(&scenario()).contains("never judged: [\"silence\"]"));
    let asked = scenario().trigger(N1, ms(1), &Ask);
    Simulation::new(&asked, 2).run(0..10).expect_clean();
    explore(&asked, &calm_bounds(2)).expect_complete();
}

#[test]
fn a_history_of_no_operation_is_no_pass() {
    let observed = |sees: fn(NodeId) -> bool| {
        let register = Register::new(0_u64);
        resting().trigger(N1, ms(1), &Ask).property(linearizable(
            "a register",
            register,
            move |node, _| {
                let client = String::from("c");
                sees(node).then_some(Seen::Invoked { client, id: 1, input: RegisterCall::Read })
            },
        ))
    };
    let blind = observed(|_| false);
    assert_eq!(Simulation::new(&blind, 2).run(0..10).undue, ["a register"]);
    assert!(explored(&blind).contains("never judged: [\"a register\"]"));
    let seeing = observed(|node| node == N1);
    Simulation::new(&seeing, 2).run(0..10).expect_clean();
    explore(&seeing, &calm_bounds(2)).expect_complete();
}

#[test]
fn a_trigger_after_the_end_of_all_runs_is_told() {
    let scenario = resting().trigger(N1, ms(30_000), &Ask);
    let report = Simulation::new(&scenario, 2).run(0..10);
    assert_eq!(report.nobody.len(), 1);
    assert!(told(|| report.expect_clean()).contains("n1 at 30s, by `trigger` at"), "{report:?}");
    let longer = Simulation::new(&scenario, 2).settings(|world| world.time_us = 30_000_000);
    longer.run(0..10).expect_clean();
}

#[test]
fn an_exploration_without_a_node_that_is_to_trigger_something_is_no_pass() {
    let scenario = resting().trigger(NodeId(3), ms(1), &Ask);
    assert!(explored(&scenario).contains("n3, by `trigger` at"));
    explore(&scenario, &calm_bounds(3)).expect_complete();
}

#[test]
fn an_exploration_in_which_something_never_happens_is_no_pass() {
    let scenario = resting().property(Property::sometimes("a wonder", |_| false));
    assert!(explored(&scenario).contains("there was never: [\"a wonder\"]"));
}

#[test]
fn what_nothing_handles_cannot_be_triggered_or_offered() {
    let unheard = "nothing in `beater` handles `beater.unheard`";
    assert_eq!(told(|| drop(resting().trigger(N1, ms(1), &Unheard))), unheard);
    assert_eq!(told(|| drop(resting().offer(|_| Unheard))), unheard);
}

/// A beater whose workload is wrong.
#[derive(Clone, Debug, Default)]
struct Asked;

impl Algorithm for Asked {
    const NAME: &'static str = "asked";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
    }

    fn workload() -> Workload {
        Workload::default().trigger(N1, ms(1), &Ask)
    }
}

#[test]
fn a_workload_that_nothing_handles_is_refused() {
    let told = told(|| drop(Scenario::of(|_| Asked).with_workload()));
    assert!(told.starts_with("nothing in `asked` handles "), "{told}");
}

#[test]
fn two_properties_of_one_name_are_refused() {
    let twice = || drop(resting().property(never_true()).property(never_true()));
    assert_eq!(told(twice), "two properties are called `false at rest`");
}

#[test]
fn no_run_is_no_pass() {
    let scenario = resting();
    let none = told(|| Simulation::new(&scenario, 2).run(5..5).expect_clean());
    assert_eq!(none, "there was no run: the range of seeds is empty");
}

#[test]
fn a_cluster_of_no_node_is_not_explored() {
    let none = told(|| drop(Exploration::new(&resting(), Bounds::calm(0))));
    assert_eq!(none, "a cluster has at least one node");
}

#[test]
fn a_property_that_no_line_of_a_schedule_can_name_is_refused() {
    let in_two_lines = || Property::always("one\nand two", |_| Ok(()));
    let told = told(|| drop(resting().property(in_two_lines())));
    assert_eq!(told, "a schedule has a line for the property \"one\\nand two\"");
}

#[test]
fn an_exploration_that_skips_all_that_is_promised_is_no_pass() {
    let later = || Property::eventually("never", ms(1), |_| Err(String::from("it never is")));
    let found = explore(&resting().property(later()), &calm_bounds(2));
    assert_eq!((found.skipped, found.undue), (vec!["never"], vec!["never"]));
    let alone = || explore(&resting().property(later()), &calm_bounds(2)).expect_complete();
    assert!(told(alone).contains("never judged: [\"never\"]"));
    let more = resting().property(later()).property(Property::always("fine", |_| Ok(())));
    explore(&more, &calm_bounds(2)).expect_complete();
}
