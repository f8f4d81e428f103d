//! Which messages arrive, how often, and in which order.

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Context, Event, Handlers, NodeId};
use synod_simulator::{Counts, Scenario, Settings, Stream, run};

use crate::kit::{Seen, ms, watch_rest};

const ROUNDS: u32 = 2_000;
const EVENTS: u32 = 3 * ROUNDS;
const NODES: u32 = 5;

/// The first node publishes three numbered events in one handler, many times.
#[derive(Clone, Debug, Hash)]
struct Publisher {
    as_datagrams: bool,
    rounds: u32,
    received: Vec<u32>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "publisher.publish", local)]
struct Publish;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "publisher.item")]
struct Item(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "publisher.datagram", unreliable)]
struct Datagram(u32);

impl Algorithm for Publisher {
    const NAME: &'static str = "publisher";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::publish).on(Self::item).on(Self::datagram)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() == NodeId(1) {
            ctx.trigger(&Publish);
        }
    }
}

impl Publisher {
    fn publish(&mut self, _: Publish, ctx: &mut Context) {
        for number in 3 * self.rounds..3 * self.rounds + 3 {
            if self.as_datagrams {
                ctx.send_where(&Datagram(number), |peer| NodeId(1) < peer);
            } else {
                ctx.send_where(&Item(number), |peer| NodeId(1) < peer);
            }
        }
        self.rounds += 1;
        if self.rounds < ROUNDS {
            ctx.after(ms(1), &Publish);
        }
    }

    fn item(&mut self, Item(number): Item) {
        self.received.push(number);
    }

    fn datagram(&mut self, Datagram(number): Datagram) {
        self.received.push(number);
    }
}

/// What the peers of the publisher hold once everything has arrived.
fn published(as_datagrams: bool) -> (Scenario<Publisher>, Seen<Vec<Vec<u32>>>) {
    let first = Publisher { as_datagrams, rounds: 0, received: Vec::new() };
    watch_rest(Scenario::of(move |_| first.clone()), |cluster| {
        Some(cluster.live().skip(1).map(|(_, state)| state.received.clone()).collect())
    })
}

/// What each peer holds in one run of a seed.
fn received(as_datagrams: bool, settings: &Settings, seed: u64) -> (Vec<Vec<u32>>, Counts) {
    let (scenario, seen) = published(as_datagrams);
    let (outcome, _) = run(&scenario, settings, Stream::seeded(seed), false);
    assert_eq!(outcome.violation, None);
    let mut runs = seen.list();
    assert_eq!(runs.len(), 1, "the run comes to rest once");
    (runs.remove(0), outcome.counts)
}

fn is_sorted_strictly(numbers: &[u32]) -> bool {
    numbers.is_sorted_by(|one, other| one < other)
}

#[test]
fn each_peer_gets_every_event_once_and_in_the_order_of_sending() {
    let tail = Settings { tail: 50_000, tail_max_us: 500_000, ..Settings::calm(NODES) };
    for (settings, seed) in
        [Settings::calm(NODES), tail].iter().flat_map(|it| (0..8).map(move |seed| (it, seed)))
    {
        let (peers, counts) = received(false, settings, seed);
        for numbers in peers {
            assert!(numbers.into_iter().eq(0..EVENTS), "seed {seed}");
        }
        let sent = u64::from(EVENTS * (NODES - 1));
        assert_eq!((counts.sent, counts.delivered, counts.lost), (sent, sent, 0));
    }
}

#[test]
fn what_waits_for_the_end_of_a_pause_or_a_clog_is_not_overtaken() {
    let held = Settings { pauses: 20, pause_us: 400_000, ..Settings::calm(NODES) };
    let held = Settings { noise_us: 2_000_000, clogs: 4, clog_us: 400_000, ..held };
    for seed in 0..8 {
        for numbers in received(false, &held, seed).0 {
            assert!(numbers.into_iter().eq(0..EVENTS), "seed {seed}");
        }
    }
}

#[test]
fn with_loss_some_are_missing_but_the_rest_keeps_its_order_and_nothing_is_invented() {
    let settings = Settings { lose: 50_000, ..Settings::calm(NODES) };
    for seed in 0..8 {
        let (peers, counts) = received(false, &settings, seed);
        for numbers in &peers {
            assert!(is_sorted_strictly(numbers), "seed {seed}");
            assert!(numbers.last().is_some_and(|last| *last < EVENTS), "seed {seed}");
            assert!((5_500..5_900).contains(&numbers.len()), "one in twenty: {}", numbers.len());
        }
        let arrived: usize = peers.iter().map(Vec::len).sum();
        assert_eq!(counts.delivered, arrived as u64);
        assert_eq!(counts.sent, counts.delivered + counts.lost);
    }
}

#[test]
fn with_duplication_each_event_arrives_at_least_once_and_never_after_a_later_one() {
    let settings = Settings { duplicate: 50_000, ..Settings::calm(NODES) };
    for seed in 0..8 {
        for mut numbers in received(false, &settings, seed).0 {
            assert!(EVENTS as usize + 100 < numbers.len(), "seed {seed}");
            assert!(numbers.is_sorted(), "seed {seed}");
            numbers.dedup();
            assert!(numbers.into_iter().eq(0..EVENTS), "seed {seed}");
        }
    }
}

#[test]
fn datagrams_overtake_each_other_and_get_lost_but_none_is_invented_or_doubled() {
    let settings = Settings { lose_datagram: 10_000, ..Settings::calm(NODES) };
    for seed in 0..8 {
        for mut numbers in received(true, &settings, seed).0 {
            assert!(!numbers.is_sorted(), "seed {seed}");
            assert!(numbers.len() < EVENTS as usize, "seed {seed}");
            numbers.sort_unstable();
            assert!(is_sorted_strictly(&numbers), "seed {seed}");
            assert!(numbers.last().is_some_and(|last| *last < EVENTS), "seed {seed}");
        }
    }
}

#[test]
fn what_is_lost_of_datagrams_is_not_lost_of_other_events() {
    let settings = Settings { lose_datagram: 500_000, ..Settings::calm(NODES) };
    for numbers in received(false, &settings, 1).0 {
        assert!(numbers.into_iter().eq(0..EVENTS));
    }
}

#[test]
fn delays_keep_to_their_bounds() {
    let settings = Settings { delay_min_us: 3_000, delay_max_us: 4_000, ..Settings::calm(3) };
    let scenario =
        Scenario::of(|_| Publisher { as_datagrams: true, rounds: 0, received: Vec::new() });
    let (outcome, _) = run(&scenario, &settings, Stream::seeded(3), true);
    let delays = outcome.trace.steps.iter().filter_map(|step| step.delay_us);
    let (shortest, longest) =
        delays.fold((u64::MAX, 0), |(low, high), delay| (low.min(delay), high.max(delay)));
    assert_eq!((shortest, longest), (3_000, 4_000));
}
