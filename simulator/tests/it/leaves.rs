//! What the others see of a node that leaves for good.

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Assumption, Context, Event, Faults, Handlers, Model, NodeId, PeerDown, Property,
    Reason, Tolerance,
};
use synod_simulator::{Fault, Scenario, Settings, Simulation, StepKind};

use crate::kit::{N1, N2, ms, run_decided, watch_rest};

/// Says hello to all once a second, and writes down who is gone, and why.
#[derive(Clone, Debug, Default)]
struct Visitor {
    life: u64,
    hellos: u32,
    gone: Vec<(NodeId, Reason)>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "visitor.hello")]
struct Hello;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "visitor.next", local)]
struct Next(u32);

impl Algorithm for Visitor {
    const NAME: &'static str = "visitor";
    const MODEL: Model =
        Model::ASYNCHRONOUS.tolerating(Faults::CrashRecovery(Tolerance::Exactly(1)));

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::hello).on(Self::next).on(Self::down)
    }

    fn start(&mut self, ctx: &mut Context) {
        self.life = ctx.incarnation();
        self.next(Next(3), ctx);
    }
}

impl Visitor {
    fn next(&mut self, Next(left): Next, ctx: &mut Context) {
        let me = ctx.me();
        ctx.send_where(&Hello, |peer| peer != me);
        if 0 < left {
            ctx.after(ms(1_000), &Next(left - 1));
        }
    }

    fn hello(&mut self, _: Hello) {
        self.hellos += 1;
    }

    fn down(&mut self, PeerDown { peer, reason }: PeerDown) {
        self.gone.push((peer, reason));
    }
}

fn visitors() -> Scenario<Visitor> {
    Scenario::of(|_| Visitor::default())
}

#[test]
fn a_node_that_leaves_says_good_bye_and_never_comes_back() {
    // A crash would end after a moment.
    let settings = Settings { leaves: 1, down_max: 1, down_us: 1_000, ..Settings::calm(2) };
    let (scenario, seen) = watch_rest(visitors(), |cluster| {
        let left = cluster.state(N2)?;
        Some((cluster.state(N1).is_none(), left.gone.len(), left.hellos))
    });
    // What it has said a moment before is still on its way, and arrives.
    let lines = ["leave.node 1 #1 = 1", "leave.at 1 #1 = 1000500"];
    let outcome = run_decided(&scenario, &settings, &lines);
    assert_eq!((outcome.violation, seen.list()), (None, vec![(true, 1, 2)]));
    assert_eq!((outcome.counts.leaves, outcome.counts.crashes), (1, 0));
    let steps = &outcome.trace.steps;
    let told = steps.iter().find(|step| step.kind == StepKind::Told && step.node == Some(N2));
    assert!(told.is_some_and(|step| step.event.contains("peer: n1, incarnation: 1")));
    let leaves = steps.iter().find(|step| step.event == "leaves for good");
    assert_eq!(leaves.map(|step| (step.time_us, step.node)), Some((1_000_500, Some(N1))));
    assert!(!steps.iter().any(|step| step.kind == StepKind::Restart));
}

#[test]
fn the_others_learn_that_it_was_closed_and_not_that_it_fell_silent() {
    let reasons = |settings: Settings, fault: &str| {
        let (scenario, seen) = watch_rest(visitors(), |cluster| {
            Some(cluster.state(N2)?.gone.iter().map(|(_, why)| format!("{why:?}")).collect())
        });
        let _ = run_decided(&scenario, &settings, &[&format!("{fault}.node 1 #1 = 1")]);
        seen.list().pop().unwrap_or_default()
    };
    let calm = Settings { down_max: 1, ..Settings::calm(2) };
    let left: Vec<String> = reasons(Settings { leaves: 1, ..calm.clone() }, "leave");
    let crashed: Vec<String> = reasons(Settings { crashes: 1, ..calm }, "crash");
    assert_eq!((left.join(" "), crashed.join(" ")), ("Closed".into(), "Silent".into()));
}

#[test]
fn who_leaves_counts_as_one_that_is_down_for_ever() {
    let few_are_down = Property::always("one at most is down", |cluster| {
        let down = cluster.size() - cluster.live().count();
        if down <= 1 { Ok(()) } else { Err(format!("{down} are down")) }
    });
    let scenario = visitors().property(few_are_down);
    let report = Simulation::new(&scenario, 3).with(Fault::Leave).run(0..400);
    report.expect_clean();
    assert_eq!(report.dropped, []);
    assert!(50 < report.counts.leaves && report.counts.leaves <= 400, "{:?}", report.counts);
    assert!(50 < report.counts.crashes, "{:?}", report.counts);
}

#[test]
fn where_nobody_may_fail_leaving_breaks_an_assumption() {
    let scenario = Scenario::new("visitor", Model::ASYNCHRONOUS, |_| Visitor::default());
    let scenario = scenario.expect("one algorithm");
    let report = Simulation::new(&scenario, 3).with(Fault::Leave).run(0..50);
    assert_eq!(report.dropped, [Assumption::FaultBound]);
    assert!(0 < report.counts.leaves);
}
