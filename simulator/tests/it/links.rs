//! Links that are not as fast, or as slow, as the others.

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Context, Event, Handlers, NodeId, Property};
use synod_simulator::{
    LinkDelay, Scenario, Schedule, Settings, Simulation, Strategy, Stream, replay, run,
};

use crate::kit::{N1, watch_rest};

/// The first node calls all, who answer at once; each notes when it heard of whom.
#[derive(Clone, Debug, Default, Hash)]
struct Caller {
    heard_us: Vec<(NodeId, u64)>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "caller.call")]
struct Call;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "caller.answer")]
struct Answer;

impl Algorithm for Caller {
    const NAME: &'static str = "caller";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::call).on(Self::answer)
    }

    fn start(&mut self, ctx: &mut Context) {
        if ctx.me() == N1 {
            ctx.send_where(&Call, |peer| peer != N1);
        }
    }
}

impl Caller {
    fn call(&mut self, _: Call, from: NodeId, ctx: &mut Context) {
        self.hear(from, ctx);
        ctx.send(from, &Answer);
    }

    fn answer(&mut self, _: Answer, from: NodeId, ctx: &mut Context) {
        self.hear(from, ctx);
    }

    fn hear(&mut self, from: NodeId, ctx: &Context) {
        let now_us = u64::try_from(ctx.now().as_micros()).expect("a short run");
        self.heard_us.push((from, now_us));
    }
}

fn link(text: &str) -> LinkDelay {
    text.parse().expect("a link")
}

/// How long the call to each other node took, and its answer, in microseconds.
fn taken_us(settings: &Settings, seed: u64) -> Vec<(u64, u64)> {
    let (scenario, seen) = watch_rest(Scenario::of(|_| Caller::default()), |cluster| {
        Some(cluster.live().map(|(_, state)| state.heard_us.clone()).collect::<Vec<_>>())
    });
    let (outcome, _) = run(&scenario, settings, Stream::seeded(seed), false);
    assert_eq!(outcome.violation, None);
    let heard = seen.list().pop().expect("the run comes to rest");
    let (answers, calls) = heard.split_first().expect("a first node");
    let taken = |(node, call): (u32, &Vec<(NodeId, u64)>)| {
        let called_us = call.first().expect("everybody is called").1;
        let answer = answers.iter().find(|(from, _)| *from == NodeId(node));
        (called_us, answer.expect("everybody answers").1 - called_us)
    };
    (2..).zip(calls).map(taken).collect()
}

#[test]
fn messages_take_the_time_of_their_link() {
    let links = vec![link("1>2=80..120"), link("1-3=20..30 heavy_tail")];
    let calm = Settings { links, ..Settings::calm(4) };
    // Also where those on their way to one node draw their times anew.
    for settings in [calm.clone(), Settings { races: true, ..calm }] {
        for seed in 0..200 {
            let [to_second, to_third, to_fourth] = taken_us(&settings, seed)[..] else { panic!() };
            assert!((80_000..=120_000).contains(&to_second.0), "{to_second:?}");
            assert!(to_second.1 <= 10_000, "{to_second:?}");
            assert!((20_000..=30_000).contains(&to_third.0), "{to_third:?}");
            assert!((20_000..=30_000).contains(&to_third.1), "{to_third:?}");
            assert!(to_fourth.0 <= 10_000 && to_fourth.1 <= 10_000, "{to_fourth:?}");
        }
    }
}

#[test]
fn a_shrunk_run_keeps_the_link_that_it_needs_under_the_names_that_are_left() {
    let scenario = Scenario::of(|_| Caller::default()).property(Property::always(
        "a call takes 50 ms at most",
        |cluster| {
            let heard = cluster.live().flat_map(|(_, state): (_, &Caller)| &state.heard_us);
            let late = heard.filter(|(from, at_us)| *from == N1 && 50_000 < *at_us).count();
            if late == 0 { Ok(()) } else { Err(String::from("it took longer")) }
        },
    ));
    let simulation = Simulation::new(&scenario, 4).strategy(Strategy::Random);
    let report = simulation.link(link("2-3=30..40")).link(link("1>4=80..120")).run(0..1);
    let failure = report.expect_failure();
    let text = &failure.text;
    assert!(text.contains(r#""nodes":2"#) && text.contains(r#""links":["1>2=80..120"]"#), "{text}");

    let schedule: Schedule = text.parse().expect("a schedule");
    assert_eq!(replay(&scenario, &schedule).violation, Some(failure.violation.clone()));
}

#[test]
fn a_link_beyond_the_bound_of_the_model_is_told_as_an_assumption_that_is_not_kept() {
    let scenario = Scenario::of(|_| synod_algorithms::Bully::default());
    let within = Simulation::new(&scenario, 3).link(link("1-2=50..60")).run(0..20);
    assert_eq!(within.dropped, []);
    let beyond = Simulation::new(&scenario, 3).calm().link(link("1-2=5000..6000")).run(0..1);
    assert_eq!(beyond.dropped, [synod_core::Assumption::BoundedDelay]);
}
