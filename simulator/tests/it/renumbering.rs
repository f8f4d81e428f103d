//! What is left of a failing run keeps no decision only for the numbers that it gives to later messages.

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, NodeId, Property};
use synod_simulator::{Decision, Scenario, Settings, Shrunk, shrink};

use crate::kit::{N1, N2, ms};

/// n1 sends what it is told to n2, which answers. The answer to the fourth must not be late; it may be lost.
#[derive(Clone, Debug, Default, Hash)]
struct Pulse {
    answered: Vec<u32>,
    overdue: Vec<u32>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "pulse.told", local)]
struct Told(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "pulse.due", local)]
struct Due(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "pulse.beat")]
struct Beat(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "pulse.answer")]
struct Answer(u32);

impl Algorithm for Pulse {
    const NAME: &'static str = "pulse";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::told).on(Self::due).on(Self::beat).on(Self::answer)
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always(LATE, |cluster: &Cluster<'_, Self>| {
            let is_late = |it: &Self| it.overdue.contains(&4) && it.answered.contains(&4);
            let late = cluster.live().any(|(_, state)| is_late(state));
            if late { Err(String::from("it came late")) } else { Ok(()) }
        })]
    }
}

const LATE: &str = "the fourth answer is not late";

impl Pulse {
    fn told(&mut self, Told(number): Told, ctx: &mut Context) {
        ctx.send(N2, &Beat(number));
        ctx.after(ms(50), &Due(number));
    }

    fn due(&mut self, Due(number): Due) {
        if !self.answered.contains(&number) {
            self.overdue.push(number);
        }
    }

    fn beat(&mut self, Beat(number): Beat, from: NodeId, ctx: &mut Context) {
        ctx.send(from, &Answer(number));
    }

    fn answer(&mut self, Answer(number): Answer) {
        self.answered.push(number);
    }
}

fn pulses() -> Scenario<Pulse> {
    (1..=5).fold(Scenario::of(|_| Pulse::default()), |scenario, number| {
        scenario.trigger(N1, ms(100 * u64::from(number)), &Told(number))
    })
}

/// The decisions that are left of some, those that leave an input out aside; and how many inputs are left out.
fn left(lines: &[&str]) -> (Vec<String>, usize) {
    let settings = Settings {
        lose: 1_000,
        duplicate: 1_000,
        tail: 1_000,
        tail_max_us: 200_000,
        ..Settings::calm(2)
    };
    let decisions = lines.iter().map(|line| line.parse::<Decision>().expect("a decision"));
    let Shrunk { decisions, .. } = shrink(&pulses(), &settings, decisions.collect(), LATE);
    let (omitted, left): (Vec<_>, Vec<_>) = decisions.iter().partition(|it| it.is_omission());
    let told = |it: &&Decision| format!("{} {} #{}", it.label.what, it.label.about, it.ordinal);
    (left.iter().map(told).collect(), omitted.len())
}

fn of_the_first(link: &str) -> (Vec<String>, usize) {
    (["tail", "delay"].map(|what| format!("{what} {link} #1")).into(), 4)
}

#[test]
fn an_earlier_loss_goes_although_it_numbers_a_later_delay() {
    let lost = ["lose pulse.beat n1>n2 #1 = 1", "lose pulse.beat n1>n2 #2 = 1"];
    let late = ["tail pulse.beat n1>n2 #2 = 1", "delay pulse.beat n1>n2 #2 = 90000"];
    assert_eq!(left(&[lost, late].concat()), of_the_first("n1>n2"));
}

#[test]
fn an_earlier_duplicate_goes_although_it_numbers_a_later_delay() {
    let lines = [
        "duplicate pulse.beat n1>n2 #1 = 1",
        "tail pulse.beat n1>n2 #5 = 1",
        "delay pulse.beat n1>n2 #5 = 90000",
    ];
    assert_eq!(left(&lines), of_the_first("n1>n2"));
}

#[test]
fn what_numbers_the_messages_of_another_node_goes_too() {
    for (earlier, number) in [("lose", 3), ("duplicate", 5)] {
        let lines = [
            format!("{earlier} pulse.beat n1>n2 #2 = 1"),
            format!("tail pulse.answer n2>n1 #{number} = 1"),
            format!("delay pulse.answer n2>n1 #{number} = 90000"),
        ];
        assert_eq!(left(&lines.each_ref().map(String::as_str)), of_the_first("n2>n1"));
    }
}

#[test]
fn earlier_inputs_go_although_they_number_a_later_delay() {
    let lines = ["tail pulse.beat n1>n2 #4 = 1", "delay pulse.beat n1>n2 #4 = 90000"];
    assert_eq!(left(&lines), of_the_first("n1>n2"));
}
