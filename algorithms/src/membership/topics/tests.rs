use std::sync::{Arc, Mutex};

use synod_core::Envelope;
use synod_simulator::{Bounds, Fault, Scenario, Settings, Simulation, Stream, explore, run};

use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn two_nodes_in_every_schedule_with_a_crash_and_a_recovery() {
    let scenario = Scenario::of(|_| Topics::default())
        .trigger(NodeId(2), Duration::ZERO, &Subscribe { topic: 7 })
        .trigger(NodeId(2), MILLISECOND, &Unsubscribe { topic: 7 });
    // With delays below the retry; without a bound, requests would pile up on their way for ever.
    let bounds = Bounds { tick_us: 50_000, ..Bounds::within(&Topics::MODEL, 2) };
    let explored = explore(&scenario, &bounds);
    explored.expect_complete();
    assert_eq!(explored.states, 1_076, "the header says so");
}

#[test]
fn five_nodes_by_two_thousand_seeds() {
    let mut scenario = Scenario::of(|_| Topics::default());
    for round in 0..8_u32 {
        let at = 400 * MILLISECOND * round;
        let (node, topic) = (NodeId(1 + round % 5), u64::from(round % 2));
        scenario = scenario
            .trigger(node, at, &Subscribe { topic })
            .trigger(NodeId(1 + (round + 1) % 5), at, &Publish { topic, item: u64::from(round) })
            .trigger(node, at + 900 * MILLISECOND, &Unsubscribe { topic });
    }
    Simulation::new(&scenario, 5).run(0..2_000).expect_clean();
}

#[test]
fn nothing_is_sent_to_who_does_not_subscribe() {
    let (delivered, settled) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (items, ends) = (Arc::clone(&delivered), Arc::clone(&settled));
    let mut scenario = Scenario::of(|_| Topics::default())
        .trigger(NodeId(2), 100 * MILLISECOND, &Subscribe { topic: 7 })
        .trigger(NodeId(2), 300 * MILLISECOND, &Unsubscribe { topic: 7 })
        .property(Property::monitor("takes down what is indicated", move || {
            let (items, ends) = (Arc::clone(&items), Arc::clone(&ends));
            move |_: NodeId, told: &Envelope| {
                if let Ok(Delivered { item, .. }) = told.open() {
                    items.lock().unwrap().push(item);
                }
                if let Ok(Settled { on, .. }) = told.open() {
                    ends.lock().unwrap().push(on);
                }
                Ok(())
            }
        }));
    for item in 0..500 {
        let at = MILLISECOND * u32::try_from(item).expect("small");
        scenario = scenario.trigger(NodeId(1), at, &Publish { topic: 7, item });
    }
    let settings = Settings { delay_max_us: 1_000, ..Settings::calm(2) };
    let (outcome, _) = run(&scenario, &settings, Stream::seeded(1), false);
    assert_eq!(outcome.violation, None);
    let delivered = delivered.lock().unwrap();
    let (first, last) = (delivered[0], delivered[delivered.len() - 1]);
    assert!((100..=105).contains(&first) && (295..=305).contains(&last), "{first}..={last}");
    assert_eq!(*delivered, (first..=last).collect::<Vec<_>>(), "all of them, once, in order");
    assert_eq!(*settled.lock().unwrap(), [true, false]);
    let subscribed = last - first + 1;
    let requests = 4;
    assert!(outcome.counts.sent <= subscribed + requests + 5, "{:?}", outcome.counts);
}

#[test]
fn requests_are_sent_again_until_they_are_confirmed() {
    let scenario = Scenario::of(|_| Topics::default())
        .trigger(NodeId(2), Duration::ZERO, &Subscribe { topic: 7 })
        .trigger(NodeId(3), Duration::ZERO, &Subscribe { topic: 7 });
    let simulation = Simulation::new(&scenario, 3).with(Fault::Loss);
    let simulation = simulation.settings(|world| world.lose = 300_000);
    simulation.run(0..1_000).expect_clean();
}
