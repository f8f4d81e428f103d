//! Questions between simulated nodes: deadlines in virtual time, lost, late and doubled answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Call, Context, Event, Handlers, Model, NodeId, Reply, Request, Ticket,
};
use synod_simulator::{Scenario, Settings, Simulation, Stream, explore, run};

use crate::kit::{N1, N2, Seen, calm_bounds, ms, watch_rest};

const DEADLINE: Duration = Duration::from_millis(300);
const ATTEMPTS_MAX: u32 = 4;

/// n1 asks n2 for one number; without an answer it waits 100, 200 and 400 ms before it asks again,
/// and then gives up.
#[derive(Clone, Debug, Default, Hash)]
struct Caller {
    /// So many questions are not answered.
    mute: u32,
    /// Every answer waits for this long.
    slow: Option<Duration>,
    asked: u32,
    kept: Vec<Ticket<Work>>,
    attempts: u32,
    /// When there was no answer, in milliseconds.
    missed: Vec<u128>,
    outcome: Option<Result<u32, String>>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "caller.work")]
struct Work(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "caller.worked")]
struct Worked(u32);

impl Request for Work {
    type Answer = Worked;
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "caller.again", local)]
struct Again;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "caller.ready", local)]
struct Ready;

impl Algorithm for Caller {
    const NAME: &'static str = "caller";
    const MODEL: Model = Model::ASYNCHRONOUS;

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::work).on(Self::ready).on(Self::replied).on(Self::again)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() == N1 {
            self.again(Again, ctx);
        }
    }
}

impl Caller {
    fn again(&mut self, _: Again, ctx: &mut Context) {
        self.attempts += 1;
        ctx.ask(N2, &Work(21), DEADLINE);
    }

    fn work(&mut self, call: Call<Work>, ctx: &mut Context) {
        self.asked += 1;
        if self.asked <= self.mute {
            return;
        }
        match self.slow {
            Some(time) => {
                self.kept.push(call.ticket);
                ctx.after(time, &Ready);
            }
            None => ctx.answer(call.ticket, &Worked(2 * call.request.0)),
        }
    }

    fn ready(&mut self, _: Ready, ctx: &mut Context) {
        self.kept.drain(..).for_each(|ticket| ctx.answer(ticket, &Worked(42)));
    }

    fn replied(&mut self, reply: Reply<Work>, ctx: &mut Context) {
        assert_eq!(self.outcome, None, "a question has one outcome");
        if let Some((_, Worked(number))) = reply.answer {
            self.outcome = Some(Ok(number));
            return;
        }
        self.missed.push(ctx.now().as_millis());
        if self.attempts < ATTEMPTS_MAX {
            ctx.after(ms(50 << self.attempts), &Again);
        } else {
            self.outcome = Some(Err(String::from("given up")));
        }
    }
}

type End = (Vec<u128>, Option<Result<u32, String>>);

/// What n1 knows at the end.
fn ends(caller: Caller) -> (Scenario<Caller>, Seen<End>) {
    watch_rest(Scenario::of(move |_: NodeId| caller.clone()), |cluster| {
        cluster.state(N1).map(|it| (it.missed.clone(), it.outcome.clone()))
    })
}

#[test]
fn without_an_answer_a_question_is_over_exactly_at_its_deadline_and_may_be_asked_again() {
    let given_up = Some(Err(String::from("given up")));
    let cases: [(u32, &[u128], _); 3] = [
        (0, &[], Some(Ok(42))),
        (3, &[300, 700, 1_200], Some(Ok(42))),
        (9, &[300, 700, 1_200, 1_900], given_up),
    ];
    for (mute, missed, outcome) in cases {
        let (scenario, seen) = ends(Caller { mute, ..Caller::default() });
        for seed in 0..20 {
            let (ran, _) = run(&scenario, &Settings::calm(2), Stream::seeded(seed), false);
            assert_eq!((ran.violation, ran.counts.lost), (None, 0));
        }
        assert_eq!(seen.list(), [(missed.to_vec(), outcome.clone())], "{mute} are not answered");
    }
}

#[test]
fn an_answer_after_the_deadline_is_no_answer_and_no_failure_of_the_run() {
    for slow in [ms(250), ms(500)] {
        let (scenario, seen) = ends(Caller { slow: Some(slow), ..Caller::default() });
        Simulation::new(&scenario, 2).calm().run(0..100).expect_clean();
        let on_time = slow < DEADLINE;
        assert!(seen.list().iter().all(|(missed, outcome)| {
            missed.is_empty() == on_time && outcome.as_ref().is_some_and(|it| it.is_ok() == on_time)
        }));
    }
}

#[test]
fn whatever_is_lost_or_doubled_every_question_has_one_outcome() {
    let (scenario, seen) = ends(Caller::default());
    let settings = Settings { lose: 400_000, duplicate: 400_000, ..Settings::calm(2) };
    for seed in 0..500 {
        let (ran, _) = run(&scenario, &settings, Stream::seeded(seed), false);
        assert_eq!(ran.violation, None, "seed {seed}");
    }
    let ends = seen.list();
    assert!(ends.iter().all(|(_, outcome)| outcome.is_some()), "{ends:?}");
    let attempts = |wanted| move |end: &&End| end.0.len() == wanted;
    for missed in 0..=ATTEMPTS_MAX as usize {
        assert!(ends.iter().any(|end| attempts(missed)(&end)), "never {missed} without an answer");
    }
}

#[test]
fn every_schedule_of_a_question_ends_in_an_answer_or_in_giving_up() {
    let (scenario, seen) = ends(Caller { mute: 1, ..Caller::default() });
    explore(&scenario, &calm_bounds(2)).expect_complete();
    assert!(seen.list().iter().all(|(_, outcome)| outcome.is_some()));
    assert!(seen.list().iter().any(|(_, outcome)| *outcome == Some(Ok(42))));
}
