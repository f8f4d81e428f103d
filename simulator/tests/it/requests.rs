//! What clients ask for: drawn for each run, and taken away again where a failure does not need it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Call, Cluster, Context, Envelope, Event, Handlers, Model, NodeId, Property, Request,
    Verdict, Workload,
};
use synod_simulator::{
    Decision, Fault, Recorded, Scenario, Settings, Simulation, Strategy, explore, replay,
};

use crate::kit::{N1, calm_bounds, ms, run_decided, watch};

/// Every node keeps what it was asked to keep; two replicas of one register without any agreement.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Ledger {
    kept: Vec<u64>,
    asked_at_ms: Vec<u64>,
    cleared: bool,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "ledger.keep", local)]
struct Keep(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "ledger.clear", local)]
struct Clear;

impl Algorithm for Ledger {
    const NAME: &'static str = "ledger";
    const MODEL: Model = Model::ASYNCHRONOUS;

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::keep).on(Self::clear)
    }

    fn workload() -> Workload {
        Workload::default().offer(Keep).offer(|_| Clear)
    }
}

impl Ledger {
    fn keep(&mut self, Keep(number): Keep, ctx: &mut Context) {
        self.kept.push(number);
        self.asked_at_ms.push(u64::try_from(ctx.now().as_millis()).expect("a short run"));
    }

    fn clear(&mut self, _: Clear) {
        self.cleared = true;
    }
}

fn ledger() -> Scenario<Ledger> {
    Scenario::of(|_| Ledger::default()).with_workload()
}

/// What nobody can promise whose clients may ask: that no node keeps two things.
fn one_at_most(cluster: &Cluster<'_, Ledger>) -> Verdict {
    match cluster.live().find(|(_, state)| 1 < state.kept.len()) {
        Some((node, state)) => Err(format!("{node} keeps {:?}", state.kept)),
        None => Ok(()),
    }
}

#[test]
fn each_run_draws_at_which_nodes_and_when_clients_ask_for_what() {
    let place = |cluster: &Cluster<'_, Ledger>| {
        let kept = cluster.live().find(|(_, state)| state.kept.len() == 1)?;
        Some((kept.0, *kept.1.kept.first()?))
    };
    let (scenario, places) = watch(ledger(), place);
    let (scenario, clears) =
        watch(scenario, |cluster| cluster.live().find(|(_, it)| it.cleared).map(|(node, _)| node));
    let (scenario, apart) = watch(scenario, |cluster| {
        let mut all: Vec<u64> =
            cluster.live().flat_map(|(_, state)| state.asked_at_ms.clone()).collect();
        all.sort_unstable();
        let gap = all.windows(2).map(|pair| pair[1] - pair[0]).min()?;
        Some(gap.min(1_000) / 100)
    });
    let report = Simulation::new(&scenario, 3).run(0..600);
    report.expect_clean();

    assert!(1_500 < report.counts.requests, "{:?}", report.counts);
    assert_eq!(clears.list(), [1, 2, 3].map(NodeId));
    let numbers: Vec<u64> = places.list().into_iter().map(|(_, number)| number).collect();
    assert!((1..=8).all(|number| numbers.contains(&number)), "{numbers:?}");
    assert_eq!(apart.list().first(), Some(&0), "some requests follow on each other at once");
    assert!(1 < apart.list().len(), "and some do not");
}

#[test]
fn a_failure_keeps_only_the_requests_that_it_needs() {
    let scenario = ledger().property(Property::always("one at most", one_at_most));
    let report = Simulation::new(&scenario, 5).run(0..100);
    let failure = report.expect_failure();

    let Recorded::Simulated { settings, decisions, .. } = &failure.schedule.run else {
        panic!("a simulation records decisions");
    };
    let asked: Vec<&Decision> =
        decisions.iter().filter(|it| it.label.what == "request.node").collect();
    assert_eq!((settings.nodes, asked.len()), (1, 2), "{}", failure.text);
    assert!(decisions.iter().all(|it| it.label.what.starts_with("request.")), "{}", failure.text);
    let again = replay(&scenario, &failure.schedule);
    assert_eq!(again.trace, failure.trace);
}

#[test]
fn a_request_is_where_its_decisions_say_whatever_the_others_are() {
    let (scenario, kept) = watch(ledger(), |cluster| {
        let all = cluster.live().filter(|(_, state)| !state.kept.is_empty());
        all.map(|(node, it)| (node, it.kept.clone(), it.asked_at_ms.clone())).next_back()
    });
    let settings = Settings { requests: 8, ..Settings::calm(3) };
    run_decided(&scenario, &settings, &["request.node 5 #1 = 2", "request.at 5 #1 = 700000"]);

    assert_eq!(kept.list(), [(NodeId(2), vec![5], vec![700])]);
}

#[test]
fn clients_ask_in_a_calm_world_and_where_hardly_anything_is_disturbed() {
    let scenario = ledger();
    let calm = Simulation::new(&scenario, 3).calm().run(0..60);
    let few = Simulation::new(&scenario, 3).strategy(Strategy::DelayBounded).run(0..60);

    assert!(120 < calm.counts.requests, "{:?}", calm.counts);
    assert!(120 < few.counts.requests, "{:?}", few.counts);
}

#[test]
fn where_nothing_is_offered_or_no_request_allowed_nobody_asks() {
    let silent = Scenario::of(|_| Ledger::default());
    assert_eq!(Simulation::new(&silent, 3).world().requests, 0);

    let scenario = ledger();
    let none = Simulation::new(&scenario, 3).settings(|world| world.requests = 0).run(0..60);
    assert_eq!(none.counts.requests, 0);
}

#[test]
fn what_must_come_about_in_the_end_has_its_time_from_the_last_request_on() {
    let late = |cluster: &Cluster<'_, Ledger>| {
        let idle = cluster.live().all(|(_, state)| state.kept.is_empty());
        if idle { Err(String::from("nothing was kept")) } else { Ok(()) }
    };
    let scenario = ledger().property(Property::eventually("something is kept", ms(10), late));
    let settings = Settings { requests: 1, ..Settings::calm(1) };
    let decided = ["request.node 1 #1 = 1", "request.at 1 #1 = 5000000"];
    let outcome = run_decided(&scenario, &settings, &decided);

    assert_eq!(outcome.violation, None);
}

#[test]
fn requests_meet_crashes() {
    let (scenario, forgotten) = watch(ledger(), |cluster| {
        let fewer = cluster.live().count() < 3;
        fewer.then(|| cluster.live().map(|(_, state)| state.kept.len()).sum::<usize>())
    });
    let report = Simulation::new(&scenario, 3).with(Fault::Crash).run(0..300);

    report.expect_clean();
    assert!(3 <= forgotten.list().len(), "{:?}", forgotten.list());
}

/// A counter that tells whoever asks how many have asked.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Counter(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "counter.next", local)]
struct Next(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "counter.number", local)]
struct Number {
    asked: u64,
    number: u64,
}

impl Request for Next {
    type Answer = Number;
}

impl Algorithm for Counter {
    const NAME: &'static str = "counter";
    const MODEL: Model = Model::ASYNCHRONOUS;

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::next).indicates::<Number>()
    }

    fn workload() -> Workload {
        let first = Workload::default().trigger(N1, ms(0), &Next(1)).trigger(N1, ms(0), &Next(2));
        first.offer(|number| Next(2 + number))
    }
}

impl Counter {
    fn next(&mut self, call: Call<Next>, ctx: &mut Context) {
        self.0 += 1;
        let (Next(asked), number) = (call.request, self.0);
        ctx.answer(call.ticket, &Number { asked, number });
    }
}

type Told = Arc<Mutex<BTreeSet<(u64, u64)>>>;

/// What clients are told, and that nobody is told twice.
fn answers() -> (Scenario<Counter>, Told) {
    let told = Told::default();
    let notes = Arc::clone(&told);
    let once = move |answered: &mut BTreeSet<u64>, _: NodeId, indicated: &Envelope| {
        let Ok(Number { asked, number }) = indicated.open() else { return Ok(()) };
        notes.lock().expect("nobody has panicked").insert((asked, number));
        answered.insert(asked).then_some(()).ok_or_else(|| format!("{asked} is answered twice"))
    };
    let once = Property::automaton("nobody is answered twice", BTreeSet::new(), once);
    (Scenario::of(|_| Counter::default()).with_workload().property(once), told)
}

#[test]
fn what_takes_a_call_is_asked_by_clients_and_the_answer_is_indicated() {
    let (scenario, told) = answers();
    let report = Simulation::new(&scenario, 2).run(0..50);
    report.expect_clean();
    assert!(0 < report.counts.requests);
    let told = told.lock().expect("nobody has panicked");
    let answered: BTreeSet<u64> = told.iter().map(|(asked, _)| *asked).collect();
    assert_eq!(answered, (1..=10).collect(), "two known ones, and those that were drawn");
}

#[test]
fn an_exploration_asks_what_takes_a_call_too() {
    let (scenario, told) = answers();
    explore(&scenario, &calm_bounds(2)).expect_complete();
    let told = told.lock().expect("nobody has panicked");
    assert_eq!(*told, [(1, 1), (2, 2)].into());
}
