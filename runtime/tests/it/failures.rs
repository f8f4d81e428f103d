//! Panics of handlers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Context, Event, HandlerSet, Handlers, NodeId, PeerDown, PeerUp, Property, Reason,
};
use synod_runtime::{EndReason, Limits, MemoryNetwork, NodeBuilder, PanicPolicy, StartError};

use crate::support::{
    Door, Journal, N1, N2, Number, PATIENCE, Seen, Word, drops, next, node, start, status_of,
    table, until,
};

const RESTART: PanicPolicy =
    PanicPolicy::Restart { restarts_max: 5, within: Duration::from_secs(3600) };

/// Panics upon 13, in the middle of its effects.
#[derive(Clone, Debug, Default, Hash)]
struct Superstitious {
    total: u64,
}

impl Algorithm for Superstitious {
    const NAME: &'static str = "superstitious";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|me: &mut Self, number: Number, ctx: &mut Context| {
                ctx.trigger(&Seen(number.0));
                assert!(number.0 != 13, "thirteen");
                me.total += number.0;
                ctx.persist(&number);
                ctx.after(Duration::from_secs(3600), &Word(String::new()));
            })
            .on(|_: &mut Self, _: Word| ())
            .restore(|me: &mut Self, number: Number| me.total += number.0)
    }

    fn summary(&self) -> synod_core::Summary {
        synod_core::Summary::default().with("total", self.total)
    }
}

fn superstitious(network: &MemoryNetwork, policy: PanicPolicy) -> NodeBuilder {
    node(network, N1, 2, Superstitious::default).on_panic(policy)
}

#[tokio::test]
async fn a_panic_ends_the_node_and_releases_nothing_of_the_step() {
    let one = start(superstitious(&MemoryNetwork::new(), PanicPolicy::Stop)).await;
    let mut outputs = one.outputs();
    one.trigger(&Number(1)).await.unwrap();
    assert_eq!(next::<Seen>(&mut outputs).await, Seen(1));
    for number in [13, 2] {
        one.trigger(&Number(number)).await.unwrap();
    }
    let EndReason::Panicked(letter) = one.wait().await else {
        panic!("the node ended for another reason");
    };
    assert_eq!((letter.event.as_str(), letter.panic.as_str()), ("test.number", "thirteen"));
    assert_eq!((letter.from, letter.bytes.as_slice()), (None, [13].as_slice()));
    assert_eq!(outputs.next().await, None);
    let report = one.shutdown(PATIENCE).await;
    assert_eq!(report.unhandled.get("test.number"), Some(&1));
}

#[tokio::test]
async fn a_step_that_violates_a_local_property_is_a_panic_and_releases_nothing() {
    let is_small = |_: NodeId, it: &Superstitious| match it.total {
        ..13 => Ok(()),
        total => Err(format!("it is {total}")),
    };
    let everywhere = Property::always("not for a node by itself", |_| Err(String::from("never")));
    let properties = [Property::local("the total is small", is_small), everywhere];
    let network = MemoryNetwork::new();
    let builder = NodeBuilder::watched(N1, vec![N1], Superstitious::default, &properties);
    let one = start(builder.transport(Arc::new(network.transport(N1)))).await;
    let mut outputs = one.outputs();
    for number in [5, 6] {
        one.trigger(&Number(number)).await.unwrap();
        assert_eq!(next::<Seen>(&mut outputs).await, Seen(number));
    }
    one.trigger(&Number(7)).await.unwrap();
    let EndReason::Panicked(letter) = one.wait().await else {
        panic!("the node ended for another reason");
    };
    assert_eq!(letter.event, "test.number");
    assert_eq!(letter.panic, "the property `the total is small` is violated: it is 18");
    assert!(outputs.next().await.is_none(), "nothing of the step has left");
}

#[tokio::test]
async fn a_panic_begins_a_new_life_from_the_records_and_the_queue_survives() {
    let one = start(superstitious(&MemoryNetwork::new(), RESTART)).await;
    let before = one.status().incarnation;
    let mut outputs = one.outputs();
    for number in [1, 2, 13, 3, 13, 4] {
        one.trigger(&Number(number)).await.unwrap();
    }
    for number in 1..=4 {
        assert_eq!(next::<Seen>(&mut outputs).await, Seen(number));
    }
    until("all are handled", || status_of::<Number>(&one).handled == 4).await;
    until("timers of an old life are gone", || one.status().timers == 1).await;
    let status = one.status();
    assert_eq!(status.summary, [(String::from("total"), String::from("10"))]);
    assert_eq!((status.restarts, status.dead_letters.len()), (2, 2), "each was tried once");
    for letter in &status.dead_letters {
        assert_eq!((letter.event.as_str(), &*letter.bytes), ("test.number", &[13][..]));
    }
    assert_eq!((status.last_panic.as_deref(), drops(&one, "poison")), (Some("thirteen"), 2));
    assert!(before + 2 <= status.incarnation);
    assert!(one.shutdown(PATIENCE).await.is_complete());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_new_life_sends_reaches_a_peer_that_was_linked_again_before_it_began() {
    let (network, journal, door) = (MemoryNetwork::new(), Journal::new(), Door::default());
    let (lives, gate) = (AtomicUsize::new(0), door.clone());
    let make = move || {
        if lives.fetch_add(1, Ordering::Relaxed) == 1 {
            tokio::task::block_in_place(|| gate.pass());
        }
        HandlerSet::new(()).on(|(): &mut (), number: Number, ctx: &mut Context| {
            assert!(number.0 != 13, "thirteen");
            ctx.send(N2, &number);
        })
    };
    let backoff = Duration::from_millis(5);
    let limits = Limits { backoff_min: backoff, backoff_max: backoff, ..Limits::default() };
    let one = start(node(&network, N1, 2, make).on_panic(RESTART).limits(limits)).await;
    let seen = journal.clone();
    let sees = move || {
        let seen = seen.clone();
        Handlers::new().on(move |(): &mut (), number: Number| seen.write(number.0))
    };
    let _two = start(node(&network, N2, 2, table(sees)).limits(limits)).await;
    until("they are linked", || one.status().peers[0].up).await;
    one.trigger(&Number(13)).await.unwrap();
    until("they are linked again", || one.status().peers[0].ups == 2).await;
    door.open();
    one.trigger(&Number(5)).await.unwrap();
    until("it has arrived", || journal.read() == [5]).await;
}

#[tokio::test]
async fn restarts_beyond_the_bound_end_the_node() {
    let policy = PanicPolicy::Restart { restarts_max: 2, within: Duration::from_secs(3600) };
    let one = start(superstitious(&MemoryNetwork::new(), policy)).await;
    for _ in 0..3 {
        one.trigger(&Number(13)).await.unwrap();
    }
    let reason = one.wait().await;
    assert!(matches!(reason, EndReason::PanickedTooOften(_)), "{reason}");
    assert_eq!(one.status().restarts, 2);
}

#[tokio::test]
async fn a_panic_in_the_first_step_is_an_error_of_the_start() {
    #[derive(Clone, Debug, Hash)]
    struct Stillborn;
    impl Algorithm for Stillborn {
        const NAME: &'static str = "stillborn";
        fn handlers() -> Handlers<Self> {
            Handlers::new().on(|_: &mut Self, _: Number| ())
        }
        fn start(&mut self, _: &mut Context) {
            panic!("not today");
        }
    }
    let refused = node(&MemoryNetwork::new(), N1, 1, || Stillborn).on_panic(RESTART).start().await;
    assert!(
        matches!(&refused, Err(StartError::Panicked(text)) if text == "not today"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn peers_see_a_new_incarnation_after_a_restart() {
    let (network, journal) = (MemoryNetwork::new(), Journal::new());
    let lines = journal.clone();
    let observer = move || {
        let (ups, downs) = (lines.clone(), lines.clone());
        Handlers::new()
            .on(move |_: &mut (), up: PeerUp| ups.write((up.incarnation, None)))
            .on(move |_: &mut (), down: PeerDown| downs.write((0, Some(down.reason))))
            .on(|_: &mut (), number: Number, from: NodeId, ctx: &mut Context| match from {
                from if from == ctx.me() => ctx.send(N1, &number),
                _ => (),
            })
    };
    let one = start(superstitious(&network, RESTART)).await;
    let two = start(node(&network, N2, 2, table(observer))).await;
    until("the link is up", || journal.len() == 1).await;
    two.trigger(&Number(13)).await.unwrap();
    until("the link is up again", || journal.len() == 3).await;
    let (first, last) = (journal.read()[0].0, one.status().incarnation);
    assert!(first < last);
    assert_eq!(journal.read(), [(first, None), (0, Some(Reason::Restarted)), (last, None)]);
    let letters = one.status().dead_letters;
    assert_eq!((letters[0].from, letters[0].incarnation), (Some(N2), first));
    two.trigger(&Number(5)).await.unwrap();
    until("the new life handles", || status_of::<Number>(&one).handled == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panics_under_load_lose_nothing_but_the_poison() {
    let (network, journal) = (MemoryNetwork::new(), Journal::new());
    let lines = journal.clone();
    let sender = || {
        Handlers::new().on(|_: &mut (), number: Number, ctx: &mut Context| ctx.send(N1, &number))
    };
    let receiver = move || {
        let lines = lines.clone();
        Handlers::new().on(move |_: &mut (), number: Number| {
            assert!(number.0 % 1_000 != 13, "thirteen");
            lines.write(number.0);
        })
    };
    let policy = PanicPolicy::Restart { restarts_max: 100, within: Duration::from_secs(3600) };
    let one = start(node(&network, N1, 2, table(receiver)).on_panic(policy)).await;
    let two = start(node(&network, N2, 2, table(sender))).await;
    for round in 0..5 {
        let (before, life) = (journal.len(), one.status().incarnation);
        until("the link is up", || {
            two.status().peers[0].incarnation == Some(one.status().incarnation)
        })
        .await;
        for number in 0..500 {
            two.trigger(&Number(round * 1_000 + number)).await.unwrap();
        }
        until("a new life has begun", || life < one.status().incarnation).await;
        until("what was queued is handled", || status_of::<Number>(&one).queued == 0).await;
        assert!(before + 13 <= journal.len());
    }
    let handled = journal.read();
    assert!(handled.is_sorted() && handled.iter().all(|number| number % 1_000 != 13));
    let status = one.status();
    assert_eq!((status.dead_letters.len(), status.restarts), (5, 5));
}

/// Counts words: those in its records, and those of this life.
type Words = (u64, u64);

#[tokio::test]
async fn a_panic_of_one_algorithm_costs_another_one_of_the_node_nothing_that_it_made_durable() {
    let make = || {
        let words = Handlers::new()
            .on(|(all, lately): &mut Words, word: Word, ctx: &mut Context| {
                ctx.persist(&word);
                (*all, *lately) = (*all + 1, *lately + 1);
                ctx.trigger(&Counted(*all, *lately));
            })
            .restore(|(all, _): &mut Words, _: Word| *all += 1)
            .indicates::<Counted>();
        (Superstitious::default(), HandlerSet::with((0, 0), words))
    };
    let one = start(node(&MemoryNetwork::new(), N1, 1, make).on_panic(RESTART)).await;
    let word = Word(String::from("word"));
    for _ in 0..3 {
        one.trigger(&word).await.unwrap();
    }
    one.trigger(&Number(13)).await.unwrap();
    for _ in 0..2 {
        one.trigger(&word).await.unwrap();
    }
    let mut outputs = one.outputs();
    for counted in [(1, 1), (2, 2), (3, 3), (4, 1), (5, 2)] {
        assert_eq!(next::<Counted>(&mut outputs).await, Counted(counted.0, counted.1));
    }
    assert_eq!(one.status().restarts, 1);
}

/// What was counted, ever and in this life.
#[derive(Event, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "test.counted", local)]
struct Counted(u64, u64);

#[tokio::test]
async fn of_many_panics_that_nobody_reads_the_last_are_kept_and_the_node_goes_on() {
    let policy = PanicPolicy::Restart { restarts_max: 100, within: Duration::from_secs(3600) };
    let handlers = || {
        Handlers::new().on(|_: &mut (), number: Number, ctx: &mut Context| {
            ctx.trigger(&Seen(number.0));
            assert!(number.0.is_multiple_of(2), "{number:?} is odd");
        })
    };
    let limits = Limits { dead_letters: 10, outputs: 2, ..Limits::default() };
    let one = node(&MemoryNetwork::new(), N1, 1, table(handlers)).limits(limits);
    let one = start(one.on_panic(policy)).await;
    let _never_read = one.outputs();
    for number in 1..=100 {
        one.trigger(&Number(number)).await.unwrap();
    }
    let began = Instant::now();
    assert!(one.shutdown(PATIENCE).await.is_complete());
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    let status = one.status();
    assert_eq!((status_of::<Number>(&one).handled, status.restarts), (50, 50));
    let panics: Vec<_> = status.dead_letters.iter().map(|letter| letter.panic.clone()).collect();
    let odd = (81..100).step_by(2).map(|number| format!("Number({number}) is odd"));
    assert_eq!(panics, odd.collect::<Vec<_>>());
}
