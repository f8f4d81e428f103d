//! Any world, any seed: the simulator does not panic, and its numbers add up.

use proptest::prelude::*;
use proptest::sample::select;
use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Context, Event, Handlers, PeerDown, PeerUp, Property};
use synod_simulator::{Counts, Scenario, Settings, Shape, StepKind, Stream, Trace, run};

use crate::kit::{N1, ms};

/// Does a little of everything that an algorithm can ask for.
#[derive(Clone, Debug, Default, Hash)]
struct Busy {
    beats: u32,
    heard: u32,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "busy.beat", local)]
struct Beat;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "busy.word")]
struct Word(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "busy.rumour", unreliable)]
struct Rumour;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "busy.mark", local)]
struct Mark(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "busy.task", local)]
struct Task;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "busy.result", local)]
struct Outcome;

const BEATS: u32 = 20;

impl Algorithm for Busy {
    const NAME: &'static str = "busy";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::beat)
            .on(Self::word)
            .on(|it: &mut Self, _: Rumour| it.heard += 1)
            .on(|it: &mut Self, _: Outcome| it.heard += 1)
            .on(|it: &mut Self, _: PeerUp| it.heard += 1)
            .on(|it: &mut Self, _: PeerDown| it.heard += 1)
            .restore(|it: &mut Self, Mark(beats): Mark| it.beats = beats)
            .job(|_: Task| Outcome)
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.after(ms(1), &Beat);
    }
}

impl Busy {
    fn beat(&mut self, _: Beat, ctx: &mut Context) {
        self.beats += 1;
        ctx.send_where(&Word(self.beats), |_| true);
        ctx.send_where(&Rumour, |_| true);
        match ctx.choose(3) {
            0 => ctx.persist(&Mark(self.beats)),
            1 => ctx.checkpoint(&Mark(self.beats)),
            _ => ctx.job(&Task),
        }
        if self.beats < BEATS {
            let pause = ctx.choose(20);
            ctx.after(ms(u64::from(1 + pause)), &Beat);
        }
    }

    fn word(&mut self, Word(number): Word) {
        assert!(number <= 4 * BEATS, "nothing is invented");
        self.heard += 1;
    }
}

fn scenario() -> Scenario<Busy> {
    Scenario::of(|_| Busy::default())
        .trigger(N1, ms(3), &Beat)
        .property(Property::always("it is looked at", |_| Ok(())))
        .property(Property::eventually("it is looked at later", ms(5), |_| Ok(())))
        .property(Property::at_rest("it is looked at in the end", |_| Ok(())))
}

prop_compose! {
    fn delays()(
        delay_min_us in 0..20_000_u64,
        delay_max_us in 0..20_000_u64,
        shape in select(vec![Shape::Uniform, Shape::Fixed, Shape::Exponential, Shape::HeavyTail]),
        tail in 0..1_000_000_u32,
        tail_max_us in 0..2_000_000_u64,
    ) -> Settings {
        Settings { delay_min_us, delay_max_us, shape, tail, tail_max_us, ..Settings::calm(1) }
    }
}

prop_compose! {
    fn disturbances()(
        world in delays(),
        (clogs, clog_us) in (0..3_u32, 0..200_000_u64),
        (pauses, pause_us) in (0..3_u32, 0..200_000_u64),
        (jumps, jump_us) in (0..3_u32, 0..200_000_u64),
        (burst, burst_us) in (0..10_000_u32, 0..100_000_u64),
        (drift, skew_us) in (0..200_000_u32, 0..100_000_u64),
        joins in 0..4_u32,
    ) -> Settings {
        let world = Settings { clogs, clog_us, pauses, pause_us, jumps, jump_us, ..world };
        Settings { burst, burst_us, drift, skew_us, joins, ..world }
    }
}

prop_compose! {
    fn settings()(
        world in disturbances(),
        nodes in 1..7_u32,
        time_us in 0..1_000_000_u64,
        lose in 0..300_000_u32,
        lose_datagram in 0..300_000_u32,
        duplicate in prop_oneof![Just(0), 0..300_000_u32],
        crashes in 0..6_u32,
        down_max in 0..7_u32,
        down_us in 0..100_000_u64,
        partitions in 0..4_u32,
        partition_us in 0..500_000_u64,
    ) -> Settings {
        let faults = Settings { crashes, down_max, down_us, partitions, partition_us, ..world };
        Settings { nodes, time_us, lose, lose_datagram, duplicate, ..faults }
    }
}

/// What a trace says happened, in numbers.
fn counted(trace: &Trace) -> Counts {
    let of = |kind| trace.steps.iter().filter(|step| step.kind == kind).count() as u64;
    let sent = trace.steps.iter().flat_map(|step| &step.sends);
    Counts {
        sent: sent.count() as u64,
        delivered: of(StepKind::Deliver),
        crashes: of(StepKind::Crash),
        partitions: of(StepKind::Partition),
        ..Counts::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_world_makes_the_simulator_panic_and_its_numbers_add_up(
        settings in settings(),
        seed in any::<u64>(),
    ) {
        let (outcome, stream) = run(&scenario(), &settings, Stream::recording(seed), true);
        prop_assert_eq!(&outcome.violation, &None);
        let (counts, traced) = (outcome.counts, counted(&outcome.trace));
        prop_assert_eq!(counts.sent, traced.sent);
        prop_assert_eq!(counts.delivered, traced.delivered);
        prop_assert_eq!(counts.crashes, traced.crashes);
        prop_assert_eq!(counts.partitions, traced.partitions);
        prop_assert_eq!(counts.time_us, settings.time_us);
        let copies = if settings.duplicate == 0 { 1 } else { 2 };
        prop_assert!(counts.delivered + counts.lost <= copies * counts.sent);

        let replaying = Stream::replaying(&stream.decisions());
        let (again, _) = run(&scenario(), &settings, replaying, true);
        prop_assert_eq!(again.trace.hash(), outcome.trace.hash());
    }

    #[test]
    fn in_a_run_that_comes_to_its_end_every_message_is_delivered_or_lost(
        settings in settings(),
        seed in any::<u64>(),
    ) {
        // Longer than all beats, all lives and the longest delay together.
        let settings = Settings { time_us: 60_000_000, duplicate: 0, ..settings };
        let (outcome, _) = run(&scenario(), &settings, Stream::seeded(seed), false);
        let counts = outcome.counts;
        prop_assert_eq!(counts.sent, counts.delivered + counts.lost);
    }
}
