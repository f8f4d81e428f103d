//! Toys whose fate is known.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_algorithms::Bully;
use synod_core::{Algorithm, Cluster, Context, Event, Faults, Handlers, Model, Property};
use synod_core::{NodeId, Stack, Tolerance, Verdict};

use super::*;
use crate::choice::{Decision, Stream};
use crate::explore::{Bounds, explore};
use crate::settings::{Fault, Settings};
use crate::simulation::Simulation;
use crate::trace::StepKind;
use crate::world::run;

/// Counts ten ticks. At the fifth, it may choose its doom; at the tenth, it falls.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Doomed {
    ticks: u32,
    doomed: bool,
    fallen: bool,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "doomed.tick", local)]
struct Tick;

const TICK: Duration = Duration::from_millis(10);

impl Algorithm for Doomed {
    const NAME: &'static str = "doomed";
    const MODEL: Model = Model::synchronous(TICK);

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::tick)
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.after(TICK, &Tick);
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("nobody falls", nobody_falls)]
    }
}

impl Doomed {
    fn tick(&mut self, _: Tick, ctx: &mut Context) {
        self.ticks += 1;
        if self.ticks == 5 {
            self.doomed = ctx.choose(4) == 3;
        }
        self.fallen = self.doomed && self.ticks == 10;
        if self.ticks < 10 {
            ctx.after(TICK, &Tick);
        }
    }
}

fn nobody_falls(cluster: &Cluster<'_, Doomed>) -> Verdict {
    let mut live = cluster.live();
    live.try_for_each(
        |(node, state)| if state.fallen { Err(format!("{node} fell")) } else { Ok(()) },
    )
}

fn percents(why: &Why) -> Vec<u32> {
    why.curve.iter().map(Point::percent).collect()
}

#[test]
fn the_step_that_dooms_a_simulated_run_is_named() {
    let scenario = Scenario::of(|_| Doomed::default());
    let failure = Simulation::new(&scenario, 1).calm().run(0..1_000);
    let schedule = &failure.expect_failure().schedule;
    let why = why(&scenario, schedule, 400).expect("a violation");
    let culprit = why.culprit.clone().expect("one step decides");
    // The node's start is step 0, so the fifth tick is step 5.
    assert_eq!((culprit.step, culprit.after.percent()), (5, 100));
    assert!((15..=35).contains(&culprit.before.percent()), "{culprit:?}");
    assert_eq!(culprit.decisions.len(), 1);
    assert!(culprit.decisions[0].starts_with("choose n1 #1 = "), "{culprit:?}");
    let percents = percents(&why);
    assert_eq!(percents.len(), 12, "before the run, and after each of its 11 steps");
    assert!(percents[..6].iter().all(|percent| (15..=35).contains(percent)), "{percents:?}");
    assert!(percents[6..].iter().all(|percent| *percent == 100), "{percents:?}");
    assert_eq!(why.jumps().len(), 1);
    assert!(why.complete);
    assert_eq!(why.continuations(), 12 * 400);
}

#[test]
fn the_step_that_dooms_an_explored_run_is_named() {
    let scenario = Scenario::of(|_| Doomed::default());
    let bounds = Bounds::within(scenario.model(), 1);
    let explored = explore(&scenario, &bounds);
    let why = why(&scenario, &explored.expect_failure().schedule, 400).expect("a violation");
    let culprit = why.culprit.clone().expect("one step decides");
    assert!(culprit.decisions[0].ends_with("| choosing 3"), "{culprit:?}");
    assert_eq!(culprit.after.percent(), 100);
    assert!((15..=35).contains(&culprit.before.percent()), "{culprit:?}");
    assert_eq!(percents(&why).last(), Some(&100));
}

/// Falls when it crashes and comes back, which it does not expect.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Fragile(Doomed);

impl Algorithm for Fragile {
    const NAME: &'static str = "fragile";
    const MODEL: Model =
        Model::synchronous(TICK).tolerating(Faults::CrashRecovery(Tolerance::AllButOne));

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::tick)
    }

    fn start(&mut self, ctx: &mut Context) {
        self.0.fallen = 1 < ctx.incarnation();
        ctx.after(TICK * 50, &Tick);
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("nobody comes back", |cluster: &Cluster<'_, Self>| {
            let back = cluster.live().find(|(_, state)| state.0.fallen);
            back.map_or(Ok(()), |(node, _)| Err(format!("{node} is back")))
        })]
    }
}

impl Fragile {
    fn tick(&mut self, _: Tick, ctx: &mut Context) {
        self.0.ticks += 1;
        ctx.after(TICK * 50, &Tick);
    }
}

/// Nobody may fall alone: n2 has to be down, and n1 to choose its doom, after a choice that means nothing.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Lonely(Doomed);

impl Algorithm for Lonely {
    const NAME: &'static str = "lonely";
    const MODEL: Model = Fragile::MODEL;

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::tick)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() == NodeId(1) {
            ctx.choose(2);
        }
        ctx.after(TICK, &Tick);
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("nobody falls alone", |cluster: &Cluster<'_, Self>| {
            let falls = cluster.live().any(|(_, state)| state.0.fallen);
            let is_alone = cluster.live().count() == 1;
            if falls && is_alone { Err(String::from("n1 fell")) } else { Ok(()) }
        })]
    }
}

impl Lonely {
    fn tick(&mut self, tick: Tick, ctx: &mut Context) {
        if ctx.me() == NodeId(1) {
            self.0.tick(tick, ctx);
        } else {
            ctx.after(TICK, &Tick);
        }
    }
}

#[test]
fn the_fault_that_made_the_decisive_step_possible_is_told_and_nothing_that_the_run_can_do_without()
{
    let scenario = Scenario::of(|_| Lonely::default());
    let settings = Settings { crashes: 1, down_max: 1, down_us: 0, ..Settings::calm(2) };
    let crash = ["crash.node 1 #1 = 2", "crash.at 1 #1 = 25000"];
    let lines = [crash[0], crash[1], "choose n1 #1 = 1", "choose n1 #2 = 3"];
    let why = why(&scenario, &fragile(&settings, &lines), 400).expect("a violation");
    let culprit = why.culprit.as_ref().expect("the choice decides");
    assert_eq!(culprit.decisions, ["choose n1 #2 = 3"]);
    let [condition] = why.conditions.as_slice() else { panic!("{:?}", why.conditions) };
    assert_eq!(why.trace.steps[condition.step].kind, StepKind::Crash);
    assert_eq!(
        (condition.what.as_str(), condition.decisions.as_slice()),
        ("n2 crashes", &crash.map(String::from)[..])
    );
    assert!(condition.before.percent() + 10 < condition.after.percent(), "{condition:?}");
    assert!((15..=35).contains(&condition.after.percent()), "{condition:?}");
    let told = why.verdict().join("\n");
    assert!(told.contains("made possible by") && told.contains(": n2 crashes ("), "{told}");
}

#[test]
fn a_crash_within_a_handler_is_told_with_the_step_in_which_the_node_crashes() {
    let scenario = Scenario::of(|_| Lonely::default());
    let settings = Settings { crashes: 1, down_max: 1, down_us: 0, ..Settings::calm(2) };
    let crash = ["crash.node 1 #1 = 2", "crash.at 1 #1 = 25000", "crash.after 1 #1 = 1"];
    let schedule = fragile(&settings, &[&crash[..], &["choose n1 #2 = 3"]].concat());
    let why = why(&scenario, &schedule, 50).expect("a violation");
    let condition = why.conditions.first().expect("the crash");
    let step = &why.trace.steps[condition.step];
    assert_eq!((step.kind, step.time_us), (StepKind::Crash, 30_000), "{condition:?}");
    assert_eq!(condition.decisions, crash);
}

fn fragile(settings: &Settings, lines: &[&str]) -> Schedule {
    let decisions = lines.iter().map(|line| line.parse().expect("a decision")).collect();
    let run = Recorded::Simulated { settings: settings.clone(), seed: 0, decisions };
    Schedule { algorithm: "fragile".into(), property: None, dropped: Vec::new(), run }
}

/// One crash at 4 s of a run of 20 s, in the first half of which faults begin.
fn one_crash() -> (Settings, Schedule) {
    let settings = Settings { crashes: 1, down_max: 1, down_us: 1_000, ..Settings::calm(2) };
    let lines = ["crash.node 1 #1 = 1", "crash.at 1 #1 = 4000000", "crash.down 1 #1 = 10"];
    let schedule = fragile(&settings, &lines);
    (settings, schedule)
}

#[test]
fn a_fault_that_has_not_begun_is_open_and_does_not_begin_in_the_past() {
    let (settings, schedule) = one_crash();
    let scenario = Scenario::of(|_| Fragile::default());
    let why = why(&scenario, &schedule, 1_000).expect("a violation");
    let percents = percents(&why);
    // A crash hits one of two nodes or none, at a time before 10 s: 2 in 3 at first, and at 4 s,
    // when 2 in 5 of the crashes would have begun, (2/3 * 3/5) in (1/3 + 2/3 * 3/5).
    assert!((62..=71).contains(&percents[0]), "{percents:?}");
    let before = why.culprit.as_ref().map(|it| it.before.percent()).expect("the crash decides");
    assert!((50..=60).contains(&before), "{percents:?}");
    let culprit = why.culprit.as_ref().expect("the crash decides");
    assert_eq!(why.trace.steps[culprit.step].kind, StepKind::Crash);
    let crash = ["crash.node 1 #1 = 1", "crash.at 1 #1 = 4000000", "crash.down 1 #1 = 10"];
    assert_eq!(culprit.decisions, crash);
    assert_eq!(percents.last(), Some(&100));
    assert_eq!(settings.crashes, 1);
}

#[test]
fn what_was_drawn_for_the_beginning_of_a_run_is_told_with_it() {
    let crash = ["crash.node 1 #1 = 1", "crash.after 1 #1 = 1", "crash.start 1 #1 = 1"];
    let scenario = Scenario::of(|_| Fragile::default());
    let why = why(&scenario, &fragile(&one_crash().0, &crash), 400).expect("a violation");
    let culprit = why.culprit.as_ref().expect("the crash decides");
    assert_eq!(culprit.before.step, None);
    assert_eq!(culprit.decisions.first().map(String::as_str), Some(crash[0]), "{culprit:?}");
    let told = why.verdict().join("\n");
    assert!(told.starts_with("decided by how the run begins, up to step "), "{told}");
}

/// Falls in every run: at the tenth tick, or already at the sixth if it so chose at the fifth.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Hasty(Doomed);

impl Algorithm for Hasty {
    const NAME: &'static str = "hasty";
    const MODEL: Model = Model::synchronous(TICK);

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::tick)
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.after(TICK, &Tick);
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::local("nobody falls", |node, state: &Self| match state.0.fallen {
            true => Err(format!("{node} fell")),
            false => Ok(()),
        })]
    }
}

impl Hasty {
    fn tick(&mut self, _: Tick, ctx: &mut Context) {
        self.0.ticks += 1;
        if self.0.ticks == 5 {
            self.0.doomed = ctx.choose(4) == 3;
        }
        self.0.fallen = self.0.ticks == if self.0.doomed { 6 } else { 10 };
        ctx.after(TICK, &Tick);
    }
}

/// The first run of a scenario that fails before a time, as it was found.
fn failing_before<T: Stack>(scenario: &Scenario<T>, nodes: u32, before_us: u64) -> Schedule {
    let settings = Settings::calm(nodes);
    let decisions = (0..100).find_map(|seed| {
        let (outcome, stream) = run(scenario, &settings, Stream::recording(seed), false);
        outcome.violation.filter(|it| it.time_us < before_us).map(|_| stream.decisions())
    });
    let decisions = decisions.expect("one of a hundred");
    let run = Recorded::Simulated { settings, seed: 0, decisions };
    Schedule { algorithm: scenario.name().into(), property: None, dropped: Vec::new(), run }
}

#[test]
fn where_every_run_fails_the_step_that_made_it_fail_this_early_is_named() {
    let scenario = Scenario::of(|_| Hasty::default());
    let why = why(&scenario, &failing_before(&scenario, 1, 70_000), 400).expect("a violation");
    assert_eq!(why.culprit, None);
    assert!(percents(&why).iter().all(|percent| *percent == 100));
    let hastener = why.hastener.as_ref().expect("the choice at the fifth tick");
    assert_eq!((hastener.step, hastener.after.in_time_percent()), (5, 100));
    assert!((15..=35).contains(&hastener.before.in_time_percent()), "{hastener:?}");
    assert!(hastener.decisions[0].starts_with("choose n1 #1 = "), "{hastener:?}");
    let told = why.verdict();
    assert!(told[0].starts_with("no decision is needed for it: all 400 runs"), "{told:?}");
    assert!(told[1].starts_with("that it fails this early was decided at step 5: n1 tick"));
    assert_eq!(why.curves(false).len(), 2);
    assert!(why.curves(true)[1].starts_with("33"), "{:?}", why.curves(true));
}

/// Leads after a while, whoever else does; n1 says hello at first.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Ruler(bool);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "ruler.hello")]
struct Hello;

impl Algorithm for Ruler {
    const NAME: &'static str = "ruler";
    const MODEL: Model = Model::synchronous(TICK);

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::tick).on(|_: &mut Self, _: Hello| ())
    }

    fn start(&mut self, ctx: &mut Context) {
        let NodeId(number) = ctx.me();
        ctx.after(TICK * 2 * number, &Tick);
        if number == 1 {
            ctx.send(NodeId(2), &Hello);
        }
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("one leads", |cluster: &Cluster<'_, Self>| {
            let leads = cluster.live().filter(|(_, state)| state.0).count();
            if leads < 2 { Ok(()) } else { Err(format!("{leads} lead")) }
        })]
    }
}

impl Ruler {
    fn tick(&mut self, _: Tick) {
        self.0 = true;
    }
}

/// Leads as soon as it hears the other.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Eager(bool);

impl Algorithm for Eager {
    const NAME: &'static str = "eager";
    const MODEL: Model = Model::synchronous(TICK);

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|me: &mut Self, _: Hello| me.0 = true)
    }

    fn start(&mut self, ctx: &mut Context) {
        let NodeId(number) = ctx.me();
        ctx.send(NodeId(3 - number), &Hello);
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("one leads", |cluster: &Cluster<'_, Self>| {
            let leads = cluster.live().filter(|(_, state)| state.0).count();
            if leads < 2 { Ok(()) } else { Err(format!("{leads} lead")) }
        })]
    }
}

#[test]
fn a_shrunk_run_that_ends_where_it_fails_is_not_doomed_by_what_only_made_it_short() {
    let scenario = Scenario::of(|_| Eager::default());
    let settings = Settings { time_us: 1_000, noise_us: 1, ..Settings::calm(2) };
    let schedule = Schedule { algorithm: "eager".into(), ..fragile(&settings, &[]) };
    let why = why(&scenario, &schedule, 100).expect("a violation");
    assert_eq!(why.culprit, None);
    assert!(percents(&why).iter().all(|percent| *percent == 100), "{:?}", why.curve);
    assert!(why.curve.first().is_some_and(|start| start.in_time < 50), "{:?}", why.curve);
}

/// Does nothing.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Quiet;

impl Algorithm for Quiet {
    const NAME: &'static str = "quiet";
    const MODEL: Model = Model::synchronous(TICK);

    fn handlers() -> Handlers<Self> {
        Handlers::new()
    }
}

#[test]
fn where_nothing_happens_any_more_no_step_is_said_to_break_the_property() {
    let scenario = Scenario::of(|_| Quiet)
        .property(Property::at_rest("somebody acts", |_| Err("nobody does".into())));
    let schedule = Schedule { algorithm: "quiet".into(), ..fragile(&Settings::calm(2), &[]) };
    let told = why(&scenario, &schedule, 10).expect("a violation").verdict();
    let last = "no step breaks it: it fails because one is missing";
    assert_eq!(told.last().map(String::as_str), Some(last));
}

#[test]
fn where_no_decision_is_needed_the_steps_are_told_that_led_to_the_last_one_and_what_it_did_not_know()
 {
    let scenario = Scenario::of(|_| Ruler::default());
    let why = why(&scenario, &failing_before(&scenario, 2, 1_000_000), 50).expect("a violation");
    assert_eq!((why.culprit.as_ref(), why.hastener.as_ref()), (None, None));
    // The starts, the hello, the reign of n1, and that of n2, which has heard of nothing but the hello.
    assert_eq!(why.trace.steps.len(), 5);
    assert_eq!((why.past(), why.unknown()), (vec![0, 1, 2], vec![3]));
    let told = why.verdict().join("\n");
    let expected = "no decision is needed for it: all 50 runs from the very start fail, 50 no later \
                    than this one\nstep 4, where it fails, follows from\n  step 0: n1 starts → 1 msg\n  \
                    step 1: n2 starts\n  step 2: n1>n2 hello\nand knew nothing of\n  step 3: n1 \
                    tick  [true]";
    assert_eq!(told, expected);
}

/// A run of Bully in which everything goes wrong, as it was found.
fn everything_at_once() -> (Settings, Vec<Decision>) {
    let scenario = Scenario::of(|_| Bully::default());
    let mut settings = Settings::within(scenario.model(), 4);
    for (_, fault) in Fault::ALL {
        settings.add(fault, scenario.model());
    }
    let found = (0..1_000).find_map(|seed| {
        let (outcome, stream) = run(&scenario, &settings, Stream::recording(seed), false);
        outcome.violation.filter(|it| 5_000_000 < it.time_us).map(|_| stream.decisions())
    });
    (settings, found.expect("Bully does not survive this"))
}

#[test]
fn a_continuation_shares_every_step_up_to_its_moment() {
    let scenario = Scenario::of(|_| Bully::default());
    let (settings, decisions) = everything_at_once();
    let simulated = Simulated::replay(&scenario, &settings, &decisions).expect("a violation");
    let text = |trace: &Trace, index: usize| serde_json::to_string(&trace.steps[index]).ok();
    let mut differing = 0;
    for moment in (1..simulated.moments()).step_by(2) {
        let stream = simulated.stream(moment, 7);
        let continued = run(&scenario, &settings, stream, true).0.trace;
        let steps = simulated.step(moment).map_or(0, |step| step + 1);
        for index in 0..steps {
            let (recorded, again) = (text(simulated.trace(), index), text(&continued, index));
            assert_eq!(recorded, again, "step {index} of {steps} at moment {moment}");
        }
        differing += usize::from(continued.hash() != simulated.trace().hash());
    }
    assert!(10 < differing, "the continuations go elsewhere");
}

#[test]
fn a_long_run_is_bisected_to_the_same_step() {
    let scenario = Scenario::of(|_| Fragile::default());
    let settings = Settings { time_us: 200_000_000, crashes: 1, down_max: 1, ..one_crash().0 };
    let lines = ["crash.node 1 #1 = 2", "crash.at 1 #1 = 60000001", "crash.down 1 #1 = 10"];
    let why = why(&scenario, &fragile(&settings, &lines), 100).expect("a violation");
    assert!(!why.complete && 200 < why.trace.steps.len() && why.curve.len() < 70);
    let culprit = why.culprit.as_ref().expect("the crash decides");
    assert_eq!(why.trace.steps[culprit.step].kind, StepKind::Crash);
    let again = super::why(&scenario, &fragile(&settings, &lines), 100).expect("a violation");
    assert_eq!((why.curve, why.culprit), (again.curve, again.culprit));
}

#[test]
fn a_run_that_holds_has_nothing_to_explain() {
    let scenario = Scenario::of(|_| Fragile::default());
    let schedule = fragile(&Settings::calm(2), &[]);
    assert_eq!(why(&scenario, &schedule, 10).err(), Some(NothingViolated));
}
