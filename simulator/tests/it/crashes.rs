//! Where a crash can fall, what it takes along, and what comes back.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Context, Event, Faults, Handlers, Model, Property, Tolerance};
use synod_simulator::{
    Bounds, Outcome, Scenario, Settings, Simulation, StepKind, Stream, explore, replay, run,
};

use crate::kit::{N1, N2, N3, calm_bounds, ms, run_clean, run_decided, steps, watch, watch_rest};

/// Upon `Go`, n1 writes and sends two numbers to n2: each number first to disk, then to n2, or
/// the wrong way round.
#[derive(Clone, Debug, Default, Hash)]
struct Writer {
    sends_first: bool,
    life: u64,
    has_gone: bool,
    restored: u32,
    received: u32,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "writer.go", local)]
struct Go;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "writer.record", local)]
struct Record(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "writer.number")]
struct Number(u32);

impl Algorithm for Writer {
    const NAME: &'static str = "writer";
    const MODEL: Model =
        Model::ASYNCHRONOUS.tolerating(Faults::CrashRecovery(Tolerance::Exactly(1)));

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::go).on(Self::number).restore(Self::record)
    }

    fn start(&mut self, ctx: &mut Context) {
        self.life = ctx.incarnation();
    }
}

impl Writer {
    fn go(&mut self, _: Go, ctx: &mut Context) {
        self.has_gone = true;
        for number in 1..=2 {
            if self.sends_first {
                ctx.send(N2, &Number(number));
                ctx.persist(&Record(number));
            } else {
                ctx.persist(&Record(number));
                ctx.send(N2, &Number(number));
            }
        }
    }

    fn number(&mut self, Number(number): Number) {
        assert_eq!(number, self.received + 1, "a lane has no gaps within a life");
        self.received = number;
    }

    fn record(&mut self, Record(number): Record) {
        assert_eq!(number, self.restored + 1, "records come back in order");
        self.restored = number;
    }
}

fn writer(sends_first: bool) -> Scenario<Writer> {
    Scenario::of(move |_| Writer { sends_first, ..Writer::default() }).trigger(N1, ms(10_000), &Go)
}

/// What n1 restored in a second life that did nothing more, and n2 received in its first.
fn aftermath(cluster: &synod_core::Cluster<'_, Writer>) -> Option<(u32, u32)> {
    let (writer, reader) = (cluster.state(N1)?, cluster.state(N2)?);
    (writer.life == 2 && !writer.has_gone && reader.life == 1)
        .then_some((writer.restored, reader.received))
}

/// With `written` before `sent` at each cut: 0, 1, 1, 2, 2 records and 0, 0, 1, 1, 2 numbers, of
/// which a prefix has arrived.
const WRITE_AHEAD: [(u32, u32); 6] = [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)];

#[test]
fn the_exploration_crashes_a_node_between_any_two_effects_of_a_handler_and_nowhere_else() {
    let (scenario, seen) = watch_rest(writer(false), aftermath);
    explore(&scenario, &Bounds::within(&Writer::MODEL, 2)).expect_complete();
    assert_eq!(seen.list(), WRITE_AHEAD);
}

#[test]
fn seeds_crash_a_node_between_any_two_effects_of_a_handler_and_nowhere_else() {
    let (scenario, seen) = watch_rest(writer(false), aftermath);
    let settings = Settings::within(&Writer::MODEL, 2);
    (0..3_000).for_each(|seed| run_clean(&scenario, &settings, seed));
    assert_eq!(seen.list(), WRITE_AHEAD);
}

#[test]
fn a_message_that_leaves_before_its_record_is_found_without_it() {
    let is_forgotten = |_: &'static str| {
        Property::at_rest("what is heard is remembered", |cluster| match aftermath(cluster) {
            Some((restored, received)) if restored < received => {
                Err(format!("{received} heard, {restored} remembered"))
            }
            _ => Ok(()),
        })
    };
    let sound = writer(false).property(is_forgotten("sound"));
    explore(&sound, &Bounds::within(&Writer::MODEL, 2)).expect_complete();
    Simulation::new(&sound, 2).run(0..1_000).expect_clean();
    let wrong = writer(true).property(is_forgotten("wrong"));
    let _ = explore(&wrong, &Bounds::within(&Writer::MODEL, 2)).expect_failure();
    let _ = Simulation::new(&wrong, 2).run(0..3_000).expect_failure();
}

/// The effects of the handler of `Go` that left before n1 crashed in it, if it did.
fn cut(outcome: &Outcome) -> Option<usize> {
    let steps = &outcome.trace.steps;
    let go = steps.iter().position(|step| step.event == "writer.go")?;
    let (go, next) = (steps.get(go)?, steps.get(go + 1)?);
    (next.kind == StepKind::Crash && next.time_us == go.time_us).then_some(go.sends.len())
}

#[test]
fn a_crash_in_a_handler_lets_as_many_effects_leave_as_was_decided() {
    let scenario = writer(false);
    let settings = Settings { crashes: 1, down_max: 1, ..Settings::calm(2) };
    let sent: Vec<_> = (1..=6)
        .map(|after| {
            let after = format!("crash.after 1 #1 = {after}");
            cut(&run_decided(&scenario, &settings, &["crash.node 1 #1 = 1", &after]))
        })
        .collect();
    assert_eq!(sent, [Some(0), Some(0), Some(1), Some(1), Some(2), Some(2)]);
}

#[test]
fn a_crash_takes_the_messages_under_way_or_leaves_them() {
    let scenario = writer(false);
    let settings = Settings { crashes: 1, down_max: 1, ..Settings::calm(2) };
    let in_handler = ["crash.node 1 #1 = 1", "crash.after 1 #1 = 5"];
    let outcome = run_decided(&scenario, &settings, &in_handler);
    assert_eq!((outcome.counts.sent, outcome.counts.delivered, outcome.counts.lost), (2, 2, 0));
    let losing = ["crash.node 1 #1 = 1", "crash.after 1 #1 = 5", "crash.losing 1 #1 = 1"];
    let outcome = run_decided(&scenario, &settings, &losing);
    assert_eq!((outcome.counts.sent, outcome.counts.delivered, outcome.counts.lost), (2, 0, 2));
}

#[test]
fn the_exploration_lets_a_crash_take_the_messages_under_way_or_leave_them() {
    let (scenario, seen) = watch_rest(writer(false), |cluster| match cluster.state(N1) {
        Some(_) => None,
        None => Some(cluster.state(N2)?.received),
    });
    let bounds = Bounds { crashes: 1, down_max: 1, ..calm_bounds(2) };
    explore(&scenario, &bounds).expect_complete();
    assert_eq!(seen.list(), [0, 1, 2]);
}

#[test]
fn a_restart_ends_the_old_sessions_in_both_directions() {
    let scenario = writer(false);
    let settings = Settings {
        delay_max_us: 5_000_000,
        crashes: 1,
        down_max: 1,
        down_us: 5_000,
        ..Settings::calm(2)
    };
    let late = "delay writer.number n1>n2 #1 = 4000000";
    // Nobody crashes: both arrive.
    let outcome = run_decided(&scenario, &settings, &[late]);
    assert_eq!(outcome.counts.delivered, 2);
    // The sender crashes and comes back while they are under way.
    let of_sender = [late, "crash.node 1 #1 = 1", "crash.after 1 #1 = 5"];
    let outcome = run_decided(&scenario, &settings, &of_sender);
    assert_eq!((outcome.counts.delivered, outcome.counts.lost), (0, 2));
    // The sender crashes and stays down.
    let for_ever = Settings { down_us: 0, ..settings };
    let outcome = run_decided(&scenario, &for_ever, &of_sender);
    assert_eq!((outcome.counts.delivered, outcome.counts.lost), (2, 0));
}

#[test]
fn a_crash_within_a_handler_says_which_effects_had_left_and_that_is_no_part_of_the_hash() {
    let settings = Settings { crashes: 1, down_max: 1, ..Settings::calm(2) };
    let said = |after: &str| {
        let after = format!("crash.after 1 #1 = {after}");
        let outcome = run_decided(&writer(false), &settings, &["crash.node 1 #1 = 1", &after]);
        let mut trace = outcome.trace;
        let hash = trace.hash();
        let crash = trace.steps.iter_mut().find(|step| step.kind == StepKind::Crash);
        let said = std::mem::take(&mut crash.expect("n1 crashes").log);
        assert_eq!(trace.hash(), hash);
        said.concat()
    };
    assert_eq!(said("3"), "after 2 of 4 effects, before `writer.record` is durable");
    assert_eq!(said("4"), "after 3 of 4 effects, before `writer.number` to n2");
    assert_eq!(said("5"), "after 4 of 4 effects");
}

#[test]
fn a_node_that_starts_shows_its_whole_state_and_one_that_comes_back_what_it_has_forgotten() {
    let settings = Settings { crashes: 1, down_max: 1, down_us: 5_000, ..Settings::calm(2) };
    let lines = ["crash.node 1 #1 = 1", "crash.after 1 #1 = 5"];
    let steps = run_decided(&writer(false), &settings, &lines).trace.steps;
    let changes = |kind| {
        let step = steps.iter().find(|step| step.kind == kind && step.node == Some(N1));
        let changes = &step.expect("n1 starts and comes back").changes;
        let told = changes.iter().map(|it| format!("{}: {} → {}", it.path, it.old, it.new));
        told.collect::<Vec<_>>()
    };
    let whole = r#"{"sends_first":false,"life":1,"has_gone":false,"restored":0,"received":0}"#;
    assert_eq!(changes(StepKind::Start), [format!(": null → {whole}")]);
    assert_eq!(
        changes(StepKind::Restart),
        ["life: 1 → 2", "has_gone: true → false", "restored: 0 → 2"]
    );
}

#[test]
fn what_is_under_way_to_a_node_that_crashes_never_reaches_its_next_life() {
    let scenario = Scenario::of(|_| Writer::default()).trigger(N1, ms(1_000), &Go);
    let settings = Settings {
        delay_max_us: 5_000_000,
        crashes: 1,
        down_max: 1,
        down_us: 5_000,
        ..Settings::calm(2)
    };
    let lines = [
        "delay writer.number n1>n2 #1 = 4000000",
        "crash.node 1 #1 = 2",
        "crash.at 1 #1 = 2000000",
    ];
    let outcome = run_decided(&scenario, &settings, &lines);
    assert_eq!((outcome.counts.delivered, outcome.counts.lost), (0, 2));
    assert_eq!(steps(&outcome, StepKind::Restart, "restarts").count(), 1);
}

/// Keeps a list on disk: `Add` appends, `Sum` replaces all by their sum.
#[derive(Clone, Debug, Default, Hash)]
struct Journal {
    life: u64,
    restored: Vec<u32>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "journal.add", local)]
struct Add(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "journal.sum", local)]
struct Sum(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "journal.line", local)]
struct Line(u32);

impl Algorithm for Journal {
    const NAME: &'static str = "journal";
    const MODEL: Model =
        Model::ASYNCHRONOUS.tolerating(Faults::CrashRecovery(Tolerance::Exactly(1)));

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::add).on(Self::sum).restore(Self::line)
    }

    fn start(&mut self, ctx: &mut Context) {
        self.life = ctx.incarnation();
    }
}

impl Journal {
    fn add(&mut self, Add(number): Add, ctx: &mut Context) {
        ctx.persist(&Line(number));
    }

    fn sum(&mut self, Sum(number): Sum, ctx: &mut Context) {
        ctx.checkpoint(&Line(number));
    }

    fn line(&mut self, Line(number): Line) {
        self.restored.push(number);
    }
}

#[test]
fn records_come_back_in_the_order_of_writing_and_a_checkpoint_stands_for_all_before_it() {
    let scenario = Scenario::of(|_| Journal::default())
        .trigger(N1, ms(10), &Add(1))
        .trigger(N1, ms(20), &Add(5))
        .trigger(N1, ms(30), &Add(3))
        .trigger(N1, ms(40), &Sum(9))
        .trigger(N1, ms(50), &Add(4));
    let (scenario, seen) = watch_rest(scenario, |cluster| {
        let state = cluster.state(N1)?;
        (state.life == 2).then(|| state.restored.clone())
    });
    let settings = Settings { crashes: 1, down_max: 1, down_us: 1, ..Settings::calm(1) };
    for at_ms in [5, 15, 25, 35, 45, 55] {
        let at = format!("crash.at 1 #1 = {}", at_ms * 1_000);
        let outcome = run_decided(&scenario, &settings, &["crash.node 1 #1 = 1", &at]);
        assert_eq!(outcome.violation, None);
    }
    let expected: BTreeSet<Vec<u32>> =
        [vec![], vec![1], vec![1, 5], vec![1, 5, 3], vec![9], vec![9, 4]].into();
    // After the only crash nothing more is restored, so each crash shows one list.
    assert_eq!(seen.all(), expected);
}

/// Does nothing but live.
#[derive(Clone, Debug, Default, Hash)]
struct Idle<const STOPS: bool> {
    life: u64,
}

impl<const STOPS: bool> Algorithm for Idle<STOPS> {
    const NAME: &'static str = "idle";
    const MODEL: Model = Model::ASYNCHRONOUS.tolerating(if STOPS {
        Faults::CrashStop(Tolerance::Minority)
    } else {
        Faults::CrashRecovery(Tolerance::Minority)
    });

    fn handlers() -> Handlers<Self> {
        Handlers::new()
    }

    fn start(&mut self, ctx: &mut Context) {
        self.life = ctx.incarnation();
    }
}

#[test]
fn each_life_of_a_node_has_the_next_number() {
    let (scenario, seen) = watch(Scenario::of(|_| Idle::<false>::default()), |cluster| {
        cluster.state(N1).map(|state| state.life)
    });
    let settings = Settings { crashes: 3, down_max: 1, down_us: 1_000, ..Settings::calm(1) };
    let lines = [
        "crash.node 1 #1 = 1",
        "crash.at 1 #1 = 1000000",
        "crash.node 2 #1 = 1",
        "crash.at 2 #1 = 2000000",
        "crash.node 3 #1 = 1",
        "crash.at 3 #1 = 3000000",
    ];
    let outcome = run_decided(&scenario, &settings, &lines);
    assert_eq!(outcome.counts.crashes, 3);
    assert_eq!(seen.list(), [1, 2, 3, 4]);
    let bounds = Bounds { crashes: 3, recoveries: 3, down_max: 1, ..calm_bounds(1) };
    let explored = explore(&scenario, &bounds);
    explored.expect_complete();
    assert_eq!(explored.states, 7, "four lives and three deaths");
    assert_eq!(seen.list(), [1, 2, 3, 4]);
}

#[test]
fn never_are_more_nodes_down_than_the_model_allows() {
    let (scenario, seen) = watch(Scenario::of(|_| Idle::<false>::default()), |cluster| {
        Some(cluster.size() - cluster.live().count())
    });
    let model = &Idle::<false>::MODEL;
    let settings = Settings { crashes: 8, ..Settings::within(model, 5) };
    (0..500).for_each(|seed| run_clean(&scenario, &settings, seed));
    assert_eq!(seen.list(), [0, 1, 2]);

    let (scenario, seen) = watch(Scenario::of(|_| Idle::<false>::default()), |cluster| {
        Some(cluster.size() - cluster.live().count())
    });
    let bounds = Bounds { crashes: 3, recoveries: 3, ..Bounds::within(model, 3) };
    explore(&scenario, &bounds).expect_complete();
    assert_eq!(seen.list(), [0, 1]);
}

#[test]
fn a_node_that_stops_stays_down() {
    let (scenario, seen) = watch(Scenario::of(|_| Idle::<true>::default()), |cluster| {
        let lives = cluster.live().map(|(_, state)| state.life);
        Some((cluster.size() - cluster.live().count(), lives.max()?))
    });
    let settings = Settings::within(&Idle::<true>::MODEL, 5);
    (0..200).for_each(|seed| run_clean(&scenario, &settings, seed));
    assert_eq!(seen.list(), [(0, 1), (1, 1), (2, 1)]);
    let explored = explore(&scenario, &Bounds::within(&Idle::<true>::MODEL, 3));
    explored.expect_complete();
    assert_eq!(explored.states, 4, "all up, or one of three down");
}

/// Sends to n2, then to n3, in one handler.
#[derive(Clone, Debug, Default, Hash)]
struct Teller {
    heard: bool,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "teller.tell", local)]
struct Tell;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "teller.news")]
struct News;

impl Algorithm for Teller {
    const NAME: &'static str = "teller";
    const MODEL: Model = Model::ASYNCHRONOUS.tolerating(Faults::CrashStop(Tolerance::Exactly(1)));

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::tell).on(Self::news)
    }
}

impl Teller {
    fn tell(&mut self, _: Tell, ctx: &mut Context) {
        ctx.send(N2, &News);
        ctx.send(N3, &News);
    }

    fn news(&mut self, _: News) {
        self.heard = true;
    }
}

#[test]
fn a_crash_between_two_sends_lets_only_the_first_receiver_hear() {
    let scenario = Scenario::of(|_| Teller::default()).trigger(N1, ms(10_000), &Tell);
    let sent: BTreeSet<Vec<u32>> = (0..500)
        .filter_map(|seed| {
            let settings = Settings { crashes: 1, ..Settings::within(&Teller::MODEL, 3) };
            let (outcome, _) = run(&scenario, &settings, Stream::seeded(seed), true);
            let told = steps(&outcome, StepKind::Told, "teller.tell").next()?;
            Some(told.sends.iter().map(|sent| sent.to.0).collect())
        })
        .collect();
    assert_eq!(sent, [vec![], vec![2], vec![2, 3]].into());

    let (scenario, seen) = watch_rest(scenario, |cluster| match cluster.state(N1) {
        Some(_) => None,
        None => Some((cluster.state(N2)?.heard, cluster.state(N3)?.heard)),
    });
    explore(&scenario, &Bounds::within(&Teller::MODEL, 3)).expect_complete();
    // n3 alone hears when n1 takes what is under way to n2 along.
    assert_eq!(seen.list(), [(false, false), (false, true), (true, false), (true, true)]);
}

#[test]
fn a_node_that_joins_late_starts_once_and_in_its_first_life() {
    let (scenario, seen) = watch(Scenario::of(|_| Idle::<false>::default()), |cluster| {
        Some((cluster.state(N1).map(|state| state.life), cluster.state(N2).map(|it| it.life)))
    });
    let settings = Settings { joins: 2, ..Settings::calm(2) };
    let lines = [
        "join.node 1 #1 = 2",
        "join.at 1 #1 = 1000000",
        "join.node 2 #1 = 2",
        "join.at 2 #1 = 2000000",
    ];
    assert_eq!(run_decided(&scenario, &settings, &lines).violation, None);
    assert_eq!(seen.list(), [(Some(1), None), (Some(1), Some(1))]);
}

/// Upon its very first start, a node writes a record and tells n2; in later lives it tells n2 how
/// many records it has found.
#[derive(Clone, Debug, Default, Hash)]
struct Starter {
    found: u32,
    heard: Vec<u32>,
}

impl Algorithm for Starter {
    const NAME: &'static str = "starter";
    const MODEL: Model =
        Model::ASYNCHRONOUS.tolerating(Faults::CrashRecovery(Tolerance::Exactly(1)));

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::number).restore(Self::record)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() != N1 {
            return;
        }
        if ctx.incarnation() == 1 {
            ctx.persist(&Record(1));
            ctx.send(N2, &Number(100));
            ctx.persist(&Record(2));
        } else {
            ctx.send(N2, &Number(self.found));
        }
    }
}

impl Starter {
    fn record(&mut self, _: Record) {
        self.found += 1;
    }

    fn number(&mut self, Number(number): Number) {
        self.heard.push(number);
    }
}

#[test]
fn a_crash_falls_between_the_effects_of_the_very_first_start() {
    let settings = Settings { crashes: 1, down_max: 1, down_us: 1_000_000, ..Settings::calm(2) };
    for (after, expected) in [(1, vec![0]), (2, vec![1]), (3, vec![100, 1]), (4, vec![100, 2])] {
        let (scenario, seen) = watch(Scenario::of(|_| Starter::default()), |cluster| {
            Some(cluster.state(N2)?.heard.clone())
        });
        let after = format!("crash.after 1 #1 = {after}");
        let lines = ["crash.node 1 #1 = 1", &after, "crash.start 1 #1 = 1"];
        let later = "crash.down 1 #1 = 500000";
        let outcome = run_decided(&scenario, &settings, &[lines.as_slice(), &[later]].concat());
        let crashed = outcome.trace.steps.iter().find(|step| step.kind == StepKind::Crash);
        assert_eq!(crashed.map(|step| (step.time_us, step.node)), Some((0, Some(N1))));
        assert_eq!(seen.list().pop(), Some(expected));
    }
}

#[test]
fn seeds_crash_a_node_in_its_very_first_start() {
    let (scenario, seen) = watch_rest(Scenario::of(|_| Starter::default()), |cluster| {
        let heard = cluster.state(N2)?.heard.clone();
        (heard.len() == 1).then(|| heard[0])
    });
    let settings = Settings::within(&Starter::MODEL, 2);
    (0..1_000).for_each(|seed| run_clean(&scenario, &settings, seed));
    // The start told nothing, and the next life tells what was durable of it.
    assert!(seen.all().is_superset(&BTreeSet::from([0, 1])), "{:?}", seen.all());
}

#[test]
fn the_exploration_crashes_a_node_in_its_very_first_start_too() {
    let (scenario, seen) = watch_rest(Scenario::of(|_| Starter::default()), |cluster| {
        Some(cluster.state(N2)?.heard.clone())
    });
    let bounds = Bounds::within(&Starter::MODEL, 2);
    explore(&scenario, &bounds).expect_complete();
    // What the next life finds: nothing, the first record, or both; and the number before it, if that has left.
    let found = [vec![0], vec![1], vec![2], vec![100, 1], vec![100, 2]];
    assert!(seen.all().is_superset(&found.into()), "{:?}", seen.all());
    let hears_0 = |cluster: &synod_core::Cluster<'_, Starter>| match cluster.state(N2) {
        Some(n2) if n2.heard.contains(&0) => Err(String::from("it does")),
        _ => Ok(()),
    };
    let scenario = scenario.property(Property::always("n2 never hears 0", hears_0));
    let explored = explore(&scenario, &bounds);
    let failure = explored.expect_failure();
    assert!(failure.text.contains("\nact start | choosing "), "{}", failure.text);
    let again = replay(&scenario, &failure.text.parse().expect("a schedule"));
    assert_eq!(again.violation.as_ref(), Some(&failure.violation));
    assert_eq!(again.trace.steps[0].log, ["crashes after 1 effects"]);
}
