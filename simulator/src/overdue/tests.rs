use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Context, Event, EventId, Handlers, NodeId};

use super::*;
use crate::action::Action;
use crate::explore::{Bounds, Ground, Program, Setting, State, Worker};
use crate::{Scenario, Simulation};

#[test]
fn a_run_that_does_not_end_is_told_of_once_with_where_it_is() {
    let underway = Underway::default();
    let seat = underway.enter();
    seat.begin(7);
    seat.tell(41, 5_000, NodeId(2), EventId::of("a.b"));
    let (told, waits) = channel();
    let tell = |it| told.send(it).expect("it is waited for");
    let work = || waits.recv().expect("it is told");
    let overdue = watched_every(Duration::from_millis(1), &underway, tell, work);
    assert_eq!((overdue.now.seed, overdue.before.steps), (7, 41));
    assert!(underway.has_told(), "it is not told again");
}

#[test]
fn a_run_that_stands_in_one_step_is_told_from_one_that_goes_on() {
    let (underway, catalogue) = (Underway::default(), Catalogue::default());
    let seat = underway.enter();
    let looked = || {
        let now = underway.running();
        *now.first().expect("a run")
    };
    seat.begin(7);
    let before = looked();
    seat.tell(41, 5_000, NodeId(2), EventId::of("a timer"));
    let now = looked();
    let place = |before| Overdue { now, before }.place(&catalogue);
    let stands = "is still in step 41, at 5ms of virtual time, n2 on a timer: is there a loop without end in";
    assert!(place(now).starts_with(stands), "{}", place(now));
    let goes_on = "goes on: it is in step 41, at 5ms of virtual time, n2 on a timer.";
    assert_eq!(place(before), goes_on);
}

/// Its handler returns when it is let go.
#[derive(Clone, Debug, Default, Hash)]
struct Loops;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "loops.go")]
struct Go;

static IS_FREE: AtomicBool = AtomicBool::new(false);
/// The tests that make it wait do so one after the other.
static ONE: Mutex<()> = Mutex::new(());

impl Algorithm for Loops {
    const NAME: &'static str = "loops";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|_: &mut Self, _: Go, _: NodeId| {
            while !IS_FREE.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        })
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() == NodeId(1) {
            ctx.send(NodeId(2), &Go);
        }
    }
}

/// Lets the handler go as soon as it is seen to run.
fn seen(underway: &Underway, scenario: &Scenario<Loops>, work: impl FnOnce() + Send) -> String {
    let _one = ONE.lock().expect("no test has failed");
    IS_FREE.store(false, Ordering::Relaxed);
    thread::scope(|scope| {
        scope.spawn(work);
        let runs = || underway.running().first()?.handler(&scenario.catalogue);
        let handler = loop {
            match runs() {
                Some(it) if it.contains("loops.go") => break it,
                _ => thread::yield_now(),
            }
        };
        IS_FREE.store(true, Ordering::Relaxed);
        handler
    })
}

#[test]
fn whoever_looks_on_sees_which_handler_of_a_simulation_does_not_return() {
    let (underway, scenario) = (Underway::default(), Scenario::of(|_| Loops));
    let simulation = Simulation::new(&scenario, 2).watched(&underway);
    let handler = seen(&underway, &scenario, || simulation.run(0..1).expect_clean());
    assert_eq!(handler, "n2 on `loops.go`");
}

#[test]
fn whoever_looks_on_sees_which_handler_of_an_exploration_does_not_return() {
    let scenario = Scenario::of(|_| Loops);
    let bounds = Bounds::within(scenario.model(), 2);
    let ground = Ground::new(&scenario, Setting::of(&scenario, &bounds));
    let work = || {
        let (mut worker, mut state) = (Worker::new(&ground), State::default());
        worker.start(&Action::START, &mut state).expect("the nodes start");
        let taken = worker.expand(&state, &mut |_, _| ControlFlow::Continue(()));
        assert!(taken.is_continue());
    };
    assert_eq!(seen(&ground.setting().underway, &scenario, work), "n2 on `loops.go`");
}
