//! Which events keep their order, and that an algorithm which assumes more is found out.

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, NodeId, Order, Property};
use synod_simulator::{Recorded, Scenario, Settings, Simulation, explore, replay};

use crate::kit::{N1, N2, N3, calm_bounds, run_clean, watch_rest};

/// n1 sends a header, then a body, and n2 trusts that they come in this order.
#[derive(Clone, Debug, Default, Hash)]
struct Transfer<const PER_EVENT: bool> {
    has_header: bool,
    is_confused: bool,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "transfer.header")]
struct Header;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "transfer.body")]
struct Body;

impl<const PER_EVENT: bool> Algorithm for Transfer<PER_EVENT> {
    const NAME: &'static str = "transfer";
    const ORDER: Order = if PER_EVENT { Order::PerEvent } else { Order::PerSender };

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::header).on(Self::body)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() == N1 {
            ctx.send(N2, &Header);
            ctx.send(N2, &Body);
        }
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("a body has a header", |cluster: &Cluster<'_, Self>| {
            match cluster.live().find(|(_, state)| state.is_confused) {
                Some((node, _)) => Err(format!("{node} got a body first")),
                None => Ok(()),
            }
        })]
    }
}

impl<const PER_EVENT: bool> Transfer<PER_EVENT> {
    fn header(&mut self, _: Header) {
        self.has_header = true;
    }

    fn body(&mut self, _: Body) {
        self.is_confused |= !self.has_header;
    }
}

#[test]
fn by_default_an_event_never_overtakes_another_one_of_the_same_sender() {
    let scenario = Scenario::of(|_| Transfer::<false>::default());
    Simulation::new(&scenario, 2).run(0..2_000).expect_clean();
    let explored = explore(&scenario, &calm_bounds(2));
    explored.expect_complete();
    assert_eq!(explored.states, 3, "nothing, the header, both");
}

#[test]
fn an_algorithm_that_relies_on_the_order_of_its_event_types_is_found_by_seeds() {
    let scenario = Scenario::of(|_| Transfer::<true>::default());
    let report = Simulation::new(&scenario, 2).run(0..100);
    let failure = report.expect_failure();
    assert_eq!(failure.violation.property, "a body has a header");
    assert_eq!(failure.violation.reason, "n2 got a body first");
}

#[test]
fn an_algorithm_that_relies_on_the_order_of_its_event_types_is_found_by_the_exploration() {
    let scenario = Scenario::of(|_| Transfer::<true>::default());
    let explored = explore(&scenario, &calm_bounds(2));
    let failure = explored.expect_failure();
    let Recorded::Explored { actions, .. } = &failure.schedule.run else {
        panic!("an exploration records actions");
    };
    assert_eq!(actions, &["deliver transfer.body n1>n2"]);
    assert_eq!(replay(&scenario, &failure.schedule).violation.as_ref(), Some(&failure.violation));
}

/// Every node but n3 sends numbers to n3, two of each of two event types.
#[derive(Clone, Debug, Default, Hash)]
struct Numbers {
    heard: Vec<(NodeId, char, u32)>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "numbers.even")]
struct Even(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "numbers.odd")]
struct Odd(u32);

impl Algorithm for Numbers {
    const NAME: &'static str = "numbers";
    const ORDER: Order = Order::PerEvent;

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::even).on(Self::odd)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() != N3 {
            ctx.send(N3, &Even(0));
            ctx.send(N3, &Odd(1));
            ctx.send(N3, &Even(2));
            ctx.send(N3, &Odd(3));
        }
    }
}

impl Numbers {
    fn even(&mut self, Even(number): Even, from: NodeId) {
        self.heard.push((from, 'e', number));
    }

    fn odd(&mut self, Odd(number): Odd, from: NodeId) {
        self.heard.push((from, 'o', number));
    }

    fn of(&self, from: NodeId, kind: char) -> Vec<u32> {
        let mine = self.heard.iter().filter(|it| (it.0, it.1) == (from, kind));
        mine.map(|it| it.2).collect()
    }
}

/// 8 events on 4 lanes of 2: 8! / 2^4 ways to interleave them.
const INTERLEAVINGS: usize = 2_520;

#[test]
fn events_of_one_type_keep_their_order_and_all_else_comes_in_every_order() {
    let (scenario, seen) = watch_rest(Scenario::of(|_| Numbers::default()), |cluster| {
        cluster.state(N3).map(|state| state.heard.clone())
    });
    explore(&scenario, &calm_bounds(3)).expect_complete();
    let explored = seen.all();
    assert_eq!(explored.len(), INTERLEAVINGS);
    for heard in &explored {
        let state = Numbers { heard: heard.clone() };
        for from in [N1, N2] {
            assert_eq!(state.of(from, 'e'), [0, 2]);
            assert_eq!(state.of(from, 'o'), [1, 3]);
        }
    }
    (0..500).for_each(|seed| run_clean(&scenario, &Settings::calm(3), seed));
    assert_eq!(seen.all(), explored, "no run does what the exploration does not");
}
