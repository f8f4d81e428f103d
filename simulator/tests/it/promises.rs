//! That what is promised within a time is held against runs, however long the time is.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Model, NodeId, Property, Tolerance,
};
use synod_simulator::{Scenario, Settings, Simulation};

use crate::kit::ms;

/// Asks the others until as many have answered as it waits for.
#[derive(Debug)]
struct Asker {
    waits_for: usize,
    answered: BTreeSet<NodeId>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "asker.question")]
struct Question;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "asker.answer")]
struct Answer;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "asker.again", local)]
struct Again;

impl Algorithm for Asker {
    const NAME: &'static str = "asker";
    const MODEL: Model = Model::ASYNCHRONOUS.tolerating(Faults::CrashRecovery(Tolerance::Minority));

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|_: &mut Self, _: Question, from: NodeId, ctx: &mut Context| {
                ctx.send(from, &Answer);
            })
            .on(|asker: &mut Self, _: Answer, from: NodeId| {
                asker.answered.insert(from);
            })
            .on(|asker: &mut Self, _: Again, ctx: &mut Context| asker.start(ctx))
    }

    fn start(&mut self, ctx: &mut Context) {
        if self.answered.len() < self.waits_for {
            ctx.broadcast(&Question);
            ctx.after(ms(2_000), &Again);
        }
    }
}

/// An asker that promises to be answered within so many milliseconds.
fn asker(waits_for: usize, within_ms: u64) -> Scenario<Asker> {
    let is_answered = |cluster: &Cluster<'_, Asker>| {
        let waits = cluster.live().find(|(_, it)| it.answered.len() < it.waits_for);
        waits.map_or(Ok(()), |(node, _)| Err(format!("{node} waits")))
    };
    Scenario::of(move |_| Asker { waits_for, answered: BTreeSet::new() })
        .property(Property::eventually("all are answered", ms(within_ms), is_answered))
}

#[test]
fn a_minority_is_down_for_longer_than_a_promise_may_take() {
    // Who waits for all waits for those that are down; they do come back, later than is promised.
    let report = Simulation::new(&asker(3, 12_000), 3).run(0..2_000);
    let failure = report.expect_failure();
    assert_eq!(failure.violation.property, "all are answered");
    assert!(failure.found.contains("crash.node"), "{}", failure.found);
    Simulation::new(&asker(2, 12_000), 3).run(0..400).expect_clean();
}

#[test]
fn a_run_goes_on_for_longer_than_a_promise_may_take() {
    let report = Simulation::new(&asker(4, 90_000), 3).calm().run(0..1);
    assert_eq!(report.expect_failure().violation.time_us, 90_000_000);
    let time_us = |within_ms| Simulation::new(&asker(2, within_ms), 3).world().time_us;
    assert_eq!((time_us(10_000), time_us(10_001)), (20_000_000, 30_003_000));
}

#[test]
fn a_promise_for_later_than_any_run_goes_on_is_named_and_is_no_pass() {
    let scenario = asker(2, 5_000);
    let short = |it: &mut Settings| it.time_us = 4_999_999;
    let report = Simulation::new(&scenario, 3).settings(short).run(0..10);
    assert_eq!(report.undue, ["all are answered"]);
    let refused = catch_unwind(AssertUnwindSafe(|| report.expect_clean())).expect_err("no pass");
    let told = refused.downcast_ref::<String>().expect("words");
    assert!(told.contains("in 10 runs these were never judged: [\"all are answered\"]"), "{told}");
    let long = Simulation::new(&scenario, 3).calm().run(0..1);
    assert!(long.undue.is_empty(), "{long:?}");
}
