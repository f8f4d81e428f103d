//! A timer is its event.

use serde::{Deserialize, Serialize};
use synod_core::{Context, Effect, Envelope, Event, HandlerSet, Input, TimerId};

use crate::kit::{N2, SECOND, armed, deliver, fingerprint, node, step};

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "timers.arm")]
struct Arm(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "timers.stop")]
struct Stop(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "timers.tick", local)]
struct Tick(u32);

/// Arms and cancels what it is told to, and keeps the ticks.
fn clock() -> HandlerSet<Vec<u32>> {
    HandlerSet::new(Vec::new())
        .on(|_: &mut Vec<u32>, Arm(which): Arm, ctx: &mut Context| ctx.after(SECOND, &Tick(which)))
        .on(|_: &mut Vec<u32>, Stop(which): Stop, ctx: &mut Context| ctx.cancel(&Tick(which)))
        .on(|ticks: &mut Vec<u32>, Tick(which): Tick| ticks.push(which))
}

#[test]
fn a_timer_ticks_once() {
    let mut node = node(clock());
    let effects = step(&mut node, deliver(N2, &Arm(1)));
    let id = TimerId(1);
    let timer = Effect::Timer { id, after: SECOND, envelope: Envelope::seal(&Tick(1)) };
    assert_eq!(effects, [timer]);
    assert_eq!(node.timers().collect::<Vec<_>>(), [(id, &Envelope::seal(&Tick(1)))]);
    assert_eq!(step(&mut node, Input::Timer(id)), []);
    assert_eq!(step(&mut node, Input::Timer(id)), []);
    assert_eq!(*node.stack().state(), [1]);
    assert_eq!(node.timers().count(), 0);
}

#[test]
fn an_equal_timer_replaces_the_armed_one_which_never_ticks() {
    let mut node = node(clock());
    let first = armed(&step(&mut node, deliver(N2, &Arm(1))))[0];
    let effects = step(&mut node, deliver(N2, &Arm(1)));
    let second = armed(&effects)[0];
    assert_ne!(first, second);
    assert_eq!(effects[0], Effect::Cancel(first));
    step(&mut node, Input::Timer(first));
    assert_eq!(node.stack().state().len(), 0);
    step(&mut node, Input::Timer(second));
    assert_eq!(*node.stack().state(), [1]);
}

#[test]
fn timers_of_different_contents_run_side_by_side() {
    let mut node = node(clock());
    let one = armed(&step(&mut node, deliver(N2, &Arm(1))))[0];
    let two = armed(&step(&mut node, deliver(N2, &Arm(2))))[0];
    step(&mut node, Input::Timer(two));
    step(&mut node, Input::Timer(one));
    assert_eq!(*node.stack().state(), [2, 1]);
}

#[test]
fn a_cancelled_timer_never_ticks() {
    let mut node = node(clock());
    let one = armed(&step(&mut node, deliver(N2, &Arm(1))))[0];
    let two = armed(&step(&mut node, deliver(N2, &Arm(2))))[0];
    assert_eq!(step(&mut node, deliver(N2, &Stop(1))), [Effect::Cancel(one)]);
    step(&mut node, Input::Timer(one));
    step(&mut node, Input::Timer(two));
    assert_eq!(*node.stack().state(), [2]);
}

#[test]
fn cancelling_what_is_not_armed_is_harmless() {
    let mut node = node(clock());
    assert_eq!(step(&mut node, deliver(N2, &Stop(1))), []);
    let one = armed(&step(&mut node, deliver(N2, &Arm(1))))[0];
    step(&mut node, Input::Timer(one));
    assert_eq!(step(&mut node, deliver(N2, &Stop(1))), []);
}

#[test]
fn a_timer_that_was_never_armed_does_nothing() {
    assert_eq!(step(&mut node(clock()), Input::Timer(TimerId(99))), []);
}

#[test]
fn a_tick_may_arm_the_same_timer_again() {
    let again = HandlerSet::new(0).on(|ticks: &mut u32, Tick(which): Tick, ctx: &mut Context| {
        *ticks += 1;
        ctx.after(SECOND, &Tick(which));
    });
    let mut node = node(again);
    let mut effects = step(&mut node, Input::Trigger(Envelope::seal(&Tick(1))));
    for _ in 0..5 {
        // The timer that has run out needs no cancelling.
        assert_eq!(effects.len(), 1);
        effects = step(&mut node, Input::Timer(armed(&effects)[0]));
    }
    assert_eq!(*node.stack().state(), 6);
}

#[test]
fn a_tick_that_nobody_listens_to_is_for_the_application() {
    let silent = HandlerSet::new(()).on(|(): &mut (), Arm(which): Arm, ctx: &mut Context| {
        ctx.after(SECOND, &Tick(which));
    });
    let mut node = node(silent);
    let id = armed(&step(&mut node, deliver(N2, &Arm(4))))[0];
    assert_eq!(step(&mut node, Input::Timer(id)), [Effect::Output(Envelope::seal(&Tick(4)))]);
}

#[test]
fn nodes_that_wait_for_different_ticks_are_told_apart_and_the_numbers_of_timers_do_not_matter() {
    let (mut one, mut two, mut again) = (node(clock()), node(clock()), node(clock()));
    step(&mut one, deliver(N2, &Arm(1)));
    step(&mut two, deliver(N2, &Arm(2)));
    step(&mut again, deliver(N2, &Arm(1)));
    step(&mut again, deliver(N2, &Arm(1)));
    assert_ne!(fingerprint(&one), fingerprint(&two));
    assert_eq!(fingerprint(&one), fingerprint(&again));
}

#[test]
fn a_node_that_has_drawn_is_told_apart_from_one_that_has_not() {
    let draws = HandlerSet::new(()).on(|(): &mut (), Arm(_): Arm, ctx: &mut Context| {
        ctx.random();
    });
    let fresh = node(draws);
    let mut drawn = fresh.clone();
    step(&mut drawn, deliver(N2, &Arm(1)));
    assert_ne!(fingerprint(&fresh), fingerprint(&drawn));
}

#[test]
fn what_is_around_the_states_hashes_the_same_before_and_after_a_node_is_taken_apart() {
    let mut node = node(clock());
    let idle = fingerprint(&node.surroundings());
    step(&mut node, deliver(N2, &Arm(1)));
    let waiting = fingerprint(&node.surroundings());
    assert_ne!(idle, waiting);
    let (_, frame) = node.into_parts();
    assert_eq!(fingerprint(&frame), waiting);
}
