//! Bugs that show only if a node is down for a moment, early in a run of usual length.

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Model, Property, Tolerance, Verdict,
};
use synod_simulator::{DiskFault, Fault, Scenario, Simulation};

use crate::kit::{N1, N2, ms};

/// n1 asks n2 for its word. n2 may refuse only as long as it has not given it.
#[derive(Clone, Debug, Default, Hash)]
struct Pledge {
    record: Record,
    has_promised: bool,
    refuses: bool,
    /// At n1.
    relies: bool,
}

/// When n2 writes its word down: before it gives it, or after that.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq)]
enum Record {
    #[default]
    Before,
    After,
    Never,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "pledge.ask")]
struct Ask;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "pledge.promised", local)]
struct Promised;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "pledge.promise")]
struct Promise;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "pledge.refuse", local)]
struct Refuse;

impl Algorithm for Pledge {
    const NAME: &'static str = "pledge";
    const MODEL: Model =
        Model::ASYNCHRONOUS.tolerating(Faults::CrashRecovery(Tolerance::Exactly(1)));

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .restore(|pledge: &mut Self, _: Promised| pledge.has_promised = true)
            .on(Self::ask)
            .on(|pledge: &mut Self, _: Promise| pledge.relies = true)
            .on(|pledge: &mut Self, _: Refuse| pledge.refuses = !pledge.has_promised)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() == N1 {
            ctx.send(N2, &Ask);
        }
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("a word is kept", a_word_is_kept)]
    }
}

impl Pledge {
    fn ask(&mut self, _: Ask, ctx: &mut Context) {
        if self.refuses {
            return;
        }
        self.has_promised = true;
        if self.record == Record::Before {
            ctx.persist(&Promised);
        }
        ctx.send(N1, &Promise);
        if self.record == Record::After {
            ctx.persist(&Promised);
        }
    }
}

fn a_word_is_kept(cluster: &Cluster<'_, Pledge>) -> Verdict {
    match (cluster.state(N1), cluster.state(N2)) {
        (Some(one), Some(other)) if one.relies && other.refuses => {
            Err(String::from("n1 has the word of n2, which refuses"))
        }
        _ => Ok(()),
    }
}

/// n2 wants to refuse a twentieth of a second after the start of a run of twenty seconds.
fn pledge(record: Record) -> Scenario<Pledge> {
    let scenario = Scenario::of(move |_| Pledge { record, ..Pledge::default() });
    scenario.trigger(N2, ms(50), &Refuse)
}

/// Asserts that one of the first seeds finds the bug, and that it becomes small.
fn is_found(simulation: &Simulation<'_>, runs_max: u64) {
    let report = simulation.run(0..runs_max);
    let failure = report.expect_failure();
    assert!(failure.is_minimal);
    assert!(failure.trace.steps.len() <= 10, "{}", failure.block());
}

#[test]
fn a_promise_that_is_kept_passes() {
    Simulation::new(&pledge(Record::Before), 2).run(0..4_000).expect_clean();
}

#[test]
fn a_promise_that_is_not_written_down_is_found() {
    is_found(&Simulation::new(&pledge(Record::Never), 2), 2_000);
}

#[test]
fn a_promise_that_leaves_before_it_is_written_down_is_found() {
    is_found(&Simulation::new(&pledge(Record::After), 2), 4_000);
}

#[test]
fn a_promise_on_a_disk_that_lies_is_found() {
    let scenario = pledge(Record::Before);
    let simulation = Simulation::new(&scenario, 2).with(Fault::DiskOnly(DiskFault::Lie));
    is_found(&simulation, 4_000);
}
