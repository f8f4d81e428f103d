//! That an exploration of handlers which go by more than state and event, or of states that do not hash all
//! of them, concludes nothing.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, NodeId, Property};
use synod_simulator::{Bounds, Scenario, Simulation, explore, replay};

use crate::kit::{N1, calm_bounds, ms};

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "unsteady.ask", local)]
struct Ask(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "unsteady.say")]
struct Say(u32);

/// What no state holds.
static ASKED: AtomicU32 = AtomicU32::new(0);

/// Says how often it was asked in this process.
#[derive(Clone, Debug, Default, Hash)]
struct Unsteady;

impl Algorithm for Unsteady {
    const NAME: &'static str = "unsteady";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|_: &mut Self, _: Ask, ctx: &mut Context| {
                ctx.send(NodeId(2), &Say(ASKED.fetch_add(1, Ordering::Relaxed)));
            })
            .on(|_: &mut Self, _: Say| ())
    }
}

#[test]
fn a_handler_that_goes_by_more_than_state_and_event_is_told() {
    let scenario = Scenario::of(|_| Unsteady).trigger(N1, ms(1), &Ask(1));
    let explored = explore(&scenario, &calm_bounds(2));
    let untrue = explored.untrue.expect("it is not deterministic").to_string();
    let told = "not deterministic: `unsteady.ask` at n1: it sends something else the second time";
    assert_eq!(untrue, told);
    assert!(!explored.complete);
    let unaudited = Bounds { audited: false, ..calm_bounds(2) };
    assert!(explore(&scenario, &unaudited).untrue.is_none());
}

/// Holds what it was told, and hashes nothing of it.
#[derive(Clone, Debug, Default)]
struct Half {
    told: u32,
}

impl Hash for Half {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Algorithm for Half {
    const NAME: &'static str = "half";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|half: &mut Self, Ask(number): Ask| half.told = number)
    }
}

#[test]
fn a_state_that_does_not_hash_all_of_itself_is_told() {
    let scenario = Scenario::of(|_| Half::default()).trigger(N1, ms(1), &Ask(7));
    let untrue = explore(&scenario, &calm_bounds(1)).untrue.expect("it is not hashed").to_string();
    let told = "not hashed as a whole: `unsteady.ask` at n1: Half { told: 0 } and Half { told: 7 } hash equal";
    assert_eq!(untrue, told);
}

/// Tosses a coin that no exploration turns.
#[derive(Clone, Debug, Default, Hash)]
struct Tosser {
    heads: Option<bool>,
}

impl Algorithm for Tosser {
    const NAME: &'static str = "tosser";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|it: &mut Self, Ask(number): Ask, ctx: &mut Context| {
            it.heads = Some(match number {
                0 => ctx.choose(2) == 0,
                _ => ctx.random().is_multiple_of(2),
            });
        })
    }
}

#[test]
fn random_numbers_of_which_one_sequence_was_explored_are_told() {
    let tossed = |number| {
        let scenario = Scenario::of(|_| Tosser::default()).trigger(N1, ms(1), &Ask(number));
        let explored = explore(&scenario, &calm_bounds(1));
        explored.expect_complete();
        (explored.states, explored.draws)
    };
    // Before and after the toss; of a choice, each of both sides.
    assert!(tossed(1).1);
    assert_eq!(tossed(0), (3, false));
}

#[test]
fn each_simulated_run_draws_other_random_numbers_and_its_schedule_the_same() {
    let fell = |heads| {
        move |cluster: &Cluster<'_, Tosser>| cluster.live().any(|(_, it)| it.heads == Some(heads))
    };
    let tossed = || Scenario::of(|_| Tosser::default()).trigger(N1, ms(1), &Ask(1));
    let both = tossed()
        .property(Property::sometimes("heads", fell(true)))
        .property(Property::sometimes("tails", fell(false)));
    Simulation::new(&both, 1).run(0..20).expect_clean();

    for heads in [true, false] {
        let never = move |cluster: &Cluster<'_, Tosser>| match fell(heads)(cluster) {
            true => Err(String::from("it fell so")),
            false => Ok(()),
        };
        let scenario = tossed().property(Property::always("it falls otherwise", never));
        let report = Simulation::new(&scenario, 1).run(0..20);
        let failure = report.expect_failure();
        let schedule = failure.text.parse().expect("a schedule");
        assert_eq!(replay(&scenario, &schedule).trace.hash(), failure.trace.hash());
    }
}
