//! How long handlers and syncs take, as a status tells it.

use std::thread::sleep;
use std::time::Duration;

use synod_core::{Context, Handlers};
use synod_runtime::{MemoryNetwork, Timings};

use crate::durability::Slow;
use crate::support::{N1, Number, Word, node, start, status_of, table, until};

const LONG: Duration = Duration::from_millis(5);

/// A number takes as many milliseconds, and arms a timer whose handler takes 5.
fn handlers() -> Handlers<()> {
    Handlers::new()
        .on(|_: &mut (), number: Number, ctx: &mut Context| {
            sleep(Duration::from_millis(number.0));
            ctx.after(Duration::ZERO, &Word(String::new()));
            ctx.persist(&number);
        })
        .on(|_: &mut (), _: Word| sleep(LONG))
        .restore(|_: &mut (), _: Number| ())
}

/// How many of them took longer than `least`.
fn longer(timings: &Timings, least: Duration) -> u64 {
    let bounds = Timings::BOUNDS.iter().map(|bound| Some(*bound)).chain([None]);
    let counted = bounds.zip(timings.counts);
    let longer = counted.filter(|(bound, _)| bound.is_none_or(|bound| least < bound));
    longer.map(|(_, count)| count).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_of_handlers_of_timers_and_of_syncs_is_told_apart() {
    let (store, door, syncs) = Slow::new(false);
    let one = node(&MemoryNetwork::new(), N1, 1, table(handlers)).store(store);
    let one = start(one).await;
    one.trigger(&Number(5)).await.unwrap();
    until("the handler of the timer has run", || 0 < one.status().other_times.count()).await;
    assert_eq!(one.status().syncs, Timings::default(), "the sync has not returned");
    sleep(LONG);
    door.open();
    until("the sync", || syncs.len() == 1 && one.status().syncs.count() == 1).await;

    let (numbers, status) = (status_of::<Number>(&one).times, one.status());
    for timings in [&numbers, &status.other_times, &status.syncs] {
        assert!(LONG <= timings.total, "{timings:?}");
        assert_eq!((timings.count(), longer(timings, LONG)), (1, 1), "{timings:?}");
    }
    assert_eq!(status_of::<Word>(&one).times, Timings::default(), "it came by a timer");
}

#[tokio::test]
async fn every_event_is_counted_also_of_those_that_are_measured_together() {
    let quick = || Handlers::new().on(|_: &mut (), _: Number| ());
    let one = start(node(&MemoryNetwork::new(), N1, 1, table(quick))).await;
    for number in 0..1_000 {
        one.trigger(&Number(number)).await.unwrap();
    }
    until("all are handled", || status_of::<Number>(&one).times.count() == 1_000).await;
    let status = status_of::<Number>(&one);
    assert_eq!(status.handled, 1_000);
    assert!(longer(&status.times, Duration::from_secs(1)) == 0, "{:?}", status.times);
}
