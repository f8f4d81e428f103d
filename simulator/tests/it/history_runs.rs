//! What clients see in simulated runs, judged while they happen.

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Context, Envelope, Event, Handlers, NodeId};
use synod_simulator::history::models::{Register, RegisterAnswer, RegisterCall};
use synod_simulator::history::{Judge, Seen, judge, linearizable};
use synod_simulator::{Scenario, Simulation};

use crate::kit::{N1, N2, N3, ms};

/// A register on the first node; the others are its clients.
#[derive(Clone, Debug, Hash)]
struct Remote {
    value: u8,
    asked: u64,
    /// A client that keeps what it read answers its own reads with it.
    keeps: bool,
    kept: Option<u8>,
}

/// The application asks for a write, or for a read.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "remote.begin", local)]
struct Begin(Option<u8>);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "remote.ask")]
struct Ask(u64, Option<u8>);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "remote.answer")]
struct Answer(u64, Option<u8>);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "remote.invoked", local)]
struct Invoked(u64, Option<u8>);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "remote.returned", local)]
struct Returned(u64, Option<u8>);

impl Algorithm for Remote {
    const NAME: &'static str = "remote";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::begin).on(Self::ask).on(Self::answer)
    }
}

impl Remote {
    fn begin(&mut self, Begin(write): Begin, ctx: &mut Context) {
        self.asked += 1;
        let id = 100 * u64::from(ctx.me().0) + self.asked;
        ctx.trigger(&Invoked(id, write));
        match self.kept.filter(|_| self.keeps && write.is_none()) {
            Some(kept) => ctx.trigger(&Returned(id, Some(kept))),
            None => ctx.send(N1, &Ask(id, write)),
        }
    }

    fn ask(&mut self, Ask(id, write): Ask, from: NodeId, ctx: &mut Context) {
        self.value = write.unwrap_or(self.value);
        ctx.send(from, &Answer(id, write.is_none().then_some(self.value)));
    }

    fn answer(&mut self, Answer(id, read): Answer, ctx: &mut Context) {
        self.kept = read.or(self.kept);
        ctx.trigger(&Returned(id, read));
    }
}

type Observed = Seen<RegisterCall<u8>, RegisterAnswer<u8>>;

fn observe(node: NodeId, envelope: &Envelope) -> Option<Observed> {
    if let Ok(Invoked(id, write)) = envelope.open() {
        let input = write.map_or(RegisterCall::Read, RegisterCall::Write);
        return Some(Seen::Invoked { client: node.to_string(), id, input });
    }
    let Returned(id, read) = envelope.open().ok()?;
    let output = read.map_or(RegisterAnswer::Written, RegisterAnswer::Value);
    Some(Seen::Returned { id, output: Some(output) })
}

fn scenario(keeps: bool) -> Scenario<Remote> {
    let first = Remote { value: 0, asked: 0, keeps, kept: None };
    let scenario = Scenario::of(move |_| first.clone());
    let scenario =
        scenario.property(linearizable("clients see one register", Register::new(0), observe));
    // The second client reads, the third one writes in between.
    (0..6).fold(scenario, |scenario, turn| {
        let at = |more: u64| ms(20 * turn + more);
        scenario.trigger(N2, at(1), &Begin(None)).trigger(
            N3,
            at(8),
            &Begin(Some(u8::try_from(turn).unwrap_or(0) + 1)),
        )
    })
}

#[test]
fn a_register_on_one_node_is_linearizable_for_its_clients() {
    let scenario = scenario(false);
    let simulation = Simulation::new(&scenario, 3).settings(|it| it.time_us = 200_000);
    simulation.run(0..200).expect_clean();
}

#[test]
fn a_client_that_answers_from_what_it_kept_is_caught_with_a_picture() {
    let scenario = scenario(true);
    let simulation = Simulation::new(&scenario, 3).settings(|it| it.time_us = 200_000);
    let report = simulation.run(0..200);
    let reason = &report.expect_failure().violation.reason;
    for part in ["not linearizable", "read → 0", "write 1", "has no place"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
}

#[test]
fn a_judge_says_the_same_as_judging_the_whole_history() {
    let mut judge_of_run = Judge::new(Register::new(0_u8));
    let invoked = |client: &str, id, input| Seen::Invoked { client: client.into(), id, input };
    let returned = |id, answer| Seen::Returned { id, output: Some(answer) };
    let run = [
        invoked("a", 1, RegisterCall::Write(1)),
        invoked("b", 2, RegisterCall::Read),
        // The write is under way, and read already.
        returned(2, RegisterAnswer::Value(1)),
        invoked("b", 3, RegisterCall::Read),
        returned(1, RegisterAnswer::Written),
        returned(3, RegisterAnswer::Value(1)),
    ];
    for seen in run {
        assert_eq!(judge_of_run.see(seen), Ok(()));
        assert_eq!(judge(&Register::new(0), judge_of_run.history()), Ok(()));
    }
    assert_eq!(judge_of_run.see(invoked("c", 4, RegisterCall::Read)), Ok(()));
    let wrong = judge_of_run.see(returned(4, RegisterAnswer::Value(0))).expect_err("it is 1");
    assert_eq!(Err(wrong), judge(&Register::new(0), judge_of_run.history()));
    let twice = judge_of_run.see(returned(4, RegisterAnswer::Value(0)));
    assert_eq!(twice, Err("operation 4 returns a second time".into()));
}
