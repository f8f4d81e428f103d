//! That an exploration without a clock finds the runs that break a promise for ever again, and
//! only those that are fair.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Handlers, NodeId, PeerDown, Property, Verdict,
};
use synod_simulator::{Bounds, Exploration, Explored, Scenario, replay};

use crate::kit::{N1, N2, N3, calm_bounds, ms};

/// What n1 does at the start; n2 answers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Habit {
    /// Sends once, while its timer goes on for ever.
    TicksAndSends,
    /// Sends once, and the message may be lost.
    SendsOnce,
    /// Plays ball for ever.
    Plays,
    /// Sends over two other nodes, and the second message undoes the first.
    SendsTwice,
    /// Watches whether n2 is up.
    Watches,
}

#[derive(Clone, Debug, Hash)]
struct Player {
    habit: Habit,
    has: bool,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "player.ball")]
struct Ball;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "player.letter", unreliable)]
struct Letter;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "player.beat", local)]
struct Beat;

impl Algorithm for Player {
    const NAME: &'static str = "player";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::ball)
            .on(|it: &mut Self, _: Letter| it.has = true)
            .on(|_: &mut Self, beat: Beat, ctx: &mut Context| ctx.after(ms(10), &beat))
            .on(|it: &mut Self, _: PeerDown| it.has |= it.habit == Habit::Watches)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() != N1 {
            return;
        }
        match self.habit {
            Habit::TicksAndSends => {
                ctx.after(ms(10), &Beat);
                ctx.send(N2, &Ball);
            }
            Habit::SendsOnce => ctx.send(N2, &Letter),
            Habit::Plays => ctx.send(N2, &Ball),
            Habit::SendsTwice => ctx.send_where(&Ball, |peer| peer != N1),
            Habit::Watches => (),
        }
    }
}

impl Player {
    fn ball(&mut self, ball: Ball, from: NodeId, ctx: &mut Context) {
        match (self.habit, ctx.me()) {
            (Habit::SendsTwice, N1) => self.has = from == N2,
            (Habit::SendsTwice | Habit::Plays, _) => ctx.send(from, &ball),
            _ => (),
        }
        if self.habit == Habit::Plays || ctx.me() != N1 {
            self.has = !self.has;
        }
    }
}

fn promise(node: NodeId) -> Property<Player> {
    let has = move |cluster: &Cluster<'_, Player>| -> Verdict {
        match cluster.state(node) {
            Some(state) if !state.has => Err(format!("{node} has nothing")),
            _ => Ok(()),
        }
    };
    Property::eventually("it gets there", Duration::from_millis(1), has)
}

fn scenario(habit: Habit, node: NodeId) -> Scenario<Player> {
    Scenario::of(move |_| Player { habit, has: false }).property(promise(node))
}

fn live(habit: Habit, node: NodeId, bounds: Bounds) -> Explored {
    Exploration::new(&scenario(habit, node), bounds).live().run()
}

#[test]
fn a_timer_that_goes_on_for_ever_does_not_hold_up_a_message() {
    let explored = live(Habit::TicksAndSends, N2, calm_bounds(2));
    explored.expect_complete();
    assert_eq!((explored.states, explored.skipped.len()), (2, 0));
}

#[test]
fn without_being_asked_for_it_is_named_as_not_judged() {
    let scenario = scenario(Habit::Plays, N1);
    let explored = Exploration::new(&scenario, calm_bounds(2)).run();
    assert!(explored.complete, "but nothing is judged");
    assert_eq!(explored.skipped, ["it gets there"]);
}

#[test]
fn a_run_that_ends_too_early_breaks_the_promise() {
    let explored = live(Habit::SendsOnce, N2, calm_bounds(2));
    let violation = &explored.expect_failure().violation;
    assert_eq!(violation.property, "it gets there");
    assert_eq!(violation.reason, "n2 has nothing; nothing more can happen");
}

#[test]
fn a_run_that_comes_back_breaks_a_promise_that_it_does_not_keep_all_the_time() {
    let explored = live(Habit::Plays, N1, calm_bounds(2));
    let failure = explored.expect_failure();
    assert!(failure.violation.reason.starts_with("n1 has nothing; the run comes back"));
    // Replayed, the schedule says the same.
    let again = replay(&scenario(Habit::Plays, N1), &failure.schedule);
    assert_eq!(again.violation.as_ref(), Some(&failure.violation));
    assert_eq!(again.trace.hash(), failure.trace.hash());
}

#[test]
fn where_runs_meet_a_promise_kept_before_is_not_kept_for_good() {
    // n1 hears of n2 and n3 in any order, and of the last one it keeps what it says. One of the
    // runs that meet has kept the promise before, and it is broken all the same.
    let explored = live(Habit::SendsTwice, N1, calm_bounds(3));
    assert!(explored.expect_failure().violation.reason.ends_with("nothing more can happen"));
    live(Habit::SendsTwice, N3, calm_bounds(3)).expect_complete();
}

#[test]
fn nobody_has_to_crash_and_who_has_crashed_is_missed() {
    let crashes = Bounds { crashes: 1, down_max: 1, ..calm_bounds(2) };
    // Without a crash there is nothing to be told.
    let explored = live(Habit::Watches, N1, crashes.clone());
    assert!(explored.expect_failure().violation.reason.contains("nothing more can happen"));
    // Whether or not n2 crashes, what it promises is kept or nobody is there to keep it.
    live(Habit::TicksAndSends, N2, Bounds { down_max: 0, ..crashes }).expect_complete();
}

#[test]
fn liveness_undoes_a_reduction_and_a_reduction_refuses_liveness() {
    let scenario = scenario(Habit::Plays, N1);
    let exploration = || Exploration::new(&scenario, calm_bounds(2));
    let undone = exploration().reduced().expect("without a clock it is not judged").live().run();
    assert_eq!(undone.executions, 0);
    let _ = undone.expect_failure();
    assert!(exploration().live().reduced().is_err());
}

/// Two jobs that never end go two ways from the middle, and back; one of each kind in a row ends all.
#[derive(Clone, Debug, Default, Hash)]
struct Crossroads(Place);

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
enum Place {
    #[default]
    Middle,
    Left,
    Right,
    Gone,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "crossroads.work", local)]
struct Work(bool);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "crossroads.done", local)]
struct Done(bool);

impl Algorithm for Crossroads {
    const NAME: &'static str = "crossroads";

    fn handlers() -> Handlers<Self> {
        Handlers::new().job(|Work(left): Work| Done(left)).on(Self::done)
    }

    fn start(&mut self, ctx: &mut Context) {
        [true, false].into_iter().for_each(|left| ctx.job(&Work(left)));
    }
}

impl Crossroads {
    fn done(&mut self, Done(left): Done, ctx: &mut Context) {
        self.0 = match (self.0, left) {
            (Place::Middle, true) => Place::Left,
            (Place::Middle, false) => Place::Right,
            (Place::Left, true) | (Place::Right, false) => Place::Middle,
            _ => Place::Gone,
        };
        if self.0 != Place::Gone {
            ctx.job(&Work(left));
        }
    }
}

#[test]
fn a_round_that_comes_by_its_end_twice_is_replayed_as_what_it_was_found_to_be() {
    let gone =
        Property::eventually(
            "it is gone",
            ms(1),
            |cluster: &Cluster<'_, Crossroads>| match cluster.state(N1) {
                Some(Crossroads(Place::Gone)) | None => Ok(()),
                Some(Crossroads(place)) => Err(format!("it is at {place:?}")),
            },
        );
    let scenario = Scenario::of(|_| Crossroads::default()).property(gone);
    let explored = Exploration::new(&scenario, calm_bounds(1)).live().run();
    let failure = explored.expect_failure();
    let again = replay(&scenario, &failure.schedule).violation.expect("it is broken again");
    assert_eq!(again.reason, failure.violation.reason);
}

#[test]
fn of_more_promises_than_a_word_has_bits_each_is_judged_by_itself() {
    let names: Vec<&'static str> = (0..66).map(|it| &*format!("promise {it}").leak()).collect();
    let kept = names.iter().map(|name| Property::eventually(name, ms(1), |_| Ok(())));
    let scenario = Scenario::of(|_| Player { habit: Habit::SendsOnce, has: false });
    let scenario = kept.fold(scenario, Scenario::property);
    Exploration::new(&scenario, calm_bounds(2)).live().run().expect_complete();
    let explored = Exploration::new(&scenario.property(promise(N2)), calm_bounds(2)).live().run();
    assert_eq!(explored.expect_failure().violation.property, "it gets there");
}
