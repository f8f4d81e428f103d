//! A session under load, over a network that loses and doubles a fifth of all that is sent.

use std::sync::{Arc, Mutex};

use synod_simulator::{Settings, Stream, run};

use super::*;

#[test]
fn e2_three_frames_for_four_peers_2000_times_arrive_once_and_in_order_over_a_bad_network() {
    let bounds = Bounds { kept_bytes_max: 10_000_000, ..BOUNDS };
    let load = Load { frames: 6_000, at_once: 3, sender: Some(NodeId(1)), bounds };
    let scenario =
        Scenario::new("sessions", Nodes::MODEL, move |_| Nodes { load, ..Nodes::default() });
    let complete = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&complete);
    let told = Property::monitor("takes down who has everything", move || {
        let seen = Arc::clone(&seen);
        move |node: NodeId, event: &Envelope| {
            if let Ok(Complete { lane, in_order }) = event.open() {
                seen.lock().unwrap().push((node, lane, in_order));
            }
            Ok(())
        }
    });
    let scenario = scenario.unwrap().property(told);
    let settings = Settings {
        time_us: 40_000_000,
        lose_datagram: 200_000,
        duplicate: 200_000,
        delay_max_us: 15_000,
        ..Settings::calm(5)
    };
    let (outcome, _) = run(&scenario, &settings, Stream::seeded(2), false);
    assert_eq!(outcome.violation, None);
    let counts = outcome.counts;
    assert!(counts.sent < 6 * counts.lost, "a fifth is lost: {counts:?}");
    let mut complete = complete.lock().unwrap().clone();
    complete.sort_unstable();
    let all = (2..=5).flat_map(|node| LANES.map(|lane| (NodeId(node), lane, true)));
    assert_eq!(complete, all.collect::<Vec<_>>());
}
