//! Events, timers, jobs: what one or two nodes do with them.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Context, Envelope, Event, Handlers, Inbox, Instance, Lane, LaneId, NodeId, Summary,
    Transport,
};
use synod_runtime::{Limits, MemoryNetwork, Output, TriggerError};

use crate::support::{
    Door, Journal, N1, N2, Number, PATIENCE, Seen, Word, drops, next, node, start, status_of,
    table, until,
};

#[tokio::test]
async fn two_nodes_exchange_events() {
    let network = MemoryNetwork::new();
    let ping_pong = || {
        Handlers::new()
            .on(|_: &mut (), number: Number, from: NodeId, ctx: &mut Context| match number.0 {
                0 => ctx.send(N2, &Number(1)),
                hops if hops < 100 => ctx.send(from, &Number(hops + 1)),
                hops => ctx.trigger(&Seen(hops)),
            })
            .indicates::<Seen>()
    };
    let one = start(node(&network, N1, 2, table(ping_pong))).await;
    let two = start(node(&network, N2, 2, table(ping_pong))).await;
    one.trigger(&Number(0)).await.unwrap();
    assert_eq!(next::<Seen>(&mut one.outputs()).await, Seen(100));
    until("all are counted", || status_of::<Number>(&two).handled == 50).await;
    assert_eq!(status_of::<Number>(&one).handled, 51);
}

#[tokio::test]
async fn what_the_first_step_sends_waits_for_the_link() {
    #[derive(Clone, Debug, Hash)]
    struct Greeter;
    impl Algorithm for Greeter {
        const NAME: &'static str = "greeter";
        fn handlers() -> Handlers<Self> {
            Handlers::new().on(|_: &mut Self, number: Number, _: NodeId, ctx: &mut Context| {
                ctx.trigger(&Seen(number.0));
            })
        }
        fn start(&mut self, ctx: &mut Context) {
            ctx.send_where(&Number(7), |peer| peer == N2);
        }
    }
    let network = MemoryNetwork::new();
    let limits = Limits { backoff_min: Duration::from_millis(5), ..Limits::default() };
    let one = start(node(&network, N1, 2, || Greeter).limits(limits)).await;
    until("it has tried", || 0 < one.status().peers[0].failed_attempts).await;
    let two = start(node(&network, N2, 2, || Greeter)).await;
    assert_eq!(next::<Seen>(&mut two.outputs()).await, Seen(7));
}

#[tokio::test]
async fn timers_fire_in_order_and_cancelled_ones_never() {
    let handlers = || {
        Handlers::new()
            .on(|_: &mut (), _: Word, ctx: &mut Context| {
                for ms in [40, 10, 30, 20, 25] {
                    ctx.after(Duration::from_millis(ms), &Number(ms));
                }
                ctx.cancel(&Number(25));
            })
            .on(|_: &mut (), number: Number, ctx: &mut Context| ctx.trigger(&Seen(number.0)))
    };
    let one = start(node(&MemoryNetwork::new(), N1, 1, table(handlers))).await;
    one.trigger(&Word(String::new())).await.unwrap();
    let mut outputs = one.outputs();
    for ms in [10, 20, 30, 40] {
        assert_eq!(next::<Seen>(&mut outputs).await, Seen(ms));
    }
    assert_eq!(one.status().timers, 0);
}

#[tokio::test]
async fn timers_beyond_the_bound_are_dropped_and_counted() {
    let handlers = || {
        Handlers::new().on(|_: &mut (), number: Number, ctx: &mut Context| {
            ctx.after(Duration::from_secs(3600), &number);
        })
    };
    let limits = Limits { timers: 3, ..Limits::default() };
    let one = start(node(&MemoryNetwork::new(), N1, 1, table(handlers)).limits(limits)).await;
    for number in 0..5 {
        one.trigger(&Number(number)).await.unwrap();
    }
    until("two are counted", || drops(&one, "timers_full") == 2).await;
    assert_eq!(one.status().timers, 3);
}

#[tokio::test]
async fn jobs_run_off_the_handlers_and_come_back_as_events() {
    let handlers = || {
        Handlers::new()
            .on(|_: &mut (), number: Number, ctx: &mut Context| ctx.job(&number))
            .job(|number: Number| match number.0 {
                13 => panic!("an unlucky job"),
                lucky => Word(format!("{lucky} squared is {}", lucky * lucky)),
            })
            .on(|_: &mut (), word: Word, ctx: &mut Context| ctx.log(word.0))
    };
    let one = start(node(&MemoryNetwork::new(), N1, 1, table(handlers))).await;
    for number in [1, 13, 2, 3] {
        one.trigger(&Number(number)).await.unwrap();
    }
    until("three results and a failure", || {
        one.status().jobs_running == 0 && drops(&one, "job_failed") == 1
    })
    .await;
    assert!(one.shutdown(PATIENCE).await.is_complete());
}

#[tokio::test]
async fn jobs_beyond_the_bound_wait_and_beyond_that_are_refused() {
    let (door, journal) = (Door::default(), Journal::new());
    let (at, lines) = (door.clone(), journal.clone());
    let handlers = move || {
        let (at, lines) = (at.clone(), lines.clone());
        // A job is a plain function, so the door is passed by its result.
        Handlers::new()
            .on(|_: &mut (), number: Number, ctx: &mut Context| ctx.job(&number))
            .job(|number: Number| Seen(number.0))
            .on(move |_: &mut (), seen: Seen| {
                at.pass();
                lines.write(seen.0);
            })
    };
    let limits = Limits { jobs_running: 1, jobs_waiting: 2, turn_events: 1, ..Limits::default() };
    let builder = node(&MemoryNetwork::new(), N1, 1, table(handlers)).limits(limits);
    // The handler of the result blocks a thread, so the node gets one of its own.
    let (sender, receiver) = std::sync::mpsc::channel();
    let runtime = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let one = start(builder).await;
            // One step asks for all five, so none can finish in between.
            sender.send(one.clone()).unwrap();
            one.wait().await
        })
    });
    let one = receiver.recv().unwrap();
    for number in 0..5 {
        one.trigger(&Number(number)).await.unwrap();
    }
    door.open();
    until("all are done or refused", || {
        journal.len() as u64 + drops(&one, "jobs_full") == 5 && one.status().jobs_running == 0
    })
    .await;
    assert!(one.shutdown(PATIENCE).await.is_complete());
    tokio::task::spawn_blocking(move || runtime.join()).await.unwrap().unwrap();
}

/// What the jobs of one test wait at: a job is a plain function, and holds nothing.
static WORKSHOP: LazyLock<Door> = LazyLock::new(Door::default);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_take_every_thread_hold_up_no_handler() {
    let results = Journal::new();
    let lines = results.clone();
    let handlers = move || {
        let lines = lines.clone();
        Handlers::new()
            .on(|_: &mut (), number: Number, ctx: &mut Context| ctx.job(&number))
            .job(|number: Number| {
                WORKSHOP.pass();
                Seen(number.0)
            })
            .on(move |_: &mut (), seen: Seen| lines.write(seen.0))
            .on(|_: &mut (), word: Word, ctx: &mut Context| {
                ctx.after(Duration::from_millis(1), &Alarm(word.0));
            })
            .on(|_: &mut (), alarm: Alarm, ctx: &mut Context| ctx.trigger(&Rang(alarm.0)))
    };
    let limits = Limits { jobs_running: 2, ..Limits::default() };
    let one = start(node(&MemoryNetwork::new(), N1, 1, table(handlers)).limits(limits)).await;
    for number in 0..50 {
        one.trigger(&Number(number)).await.unwrap();
    }
    until("every thread works", || {
        (one.status().jobs_running, one.status().jobs_waiting) == (2, 48)
    })
    .await;
    let mut outputs = one.outputs();
    for word in 0..100 {
        one.trigger(&Word(word.to_string())).await.unwrap();
        assert_eq!(next::<Rang>(&mut outputs).await, Rang(word.to_string()));
    }
    assert_eq!((one.status().jobs_running, one.status().jobs_waiting), (2, 48));
    WORKSHOP.open();
    assert!(one.shutdown(PATIENCE).await.is_complete());
    assert_eq!(results.len(), 50);
}

/// It is time.
#[derive(Event, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "test.alarm", local)]
struct Alarm(String);

/// What the application is told then.
#[derive(Event, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "test.rang", local)]
struct Rang(String);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_are_never_early_and_fire_in_the_order_of_their_times() {
    const TIMERS: u64 = 200;
    let fired = Journal::new();
    let lines = fired.clone();
    let handlers = move || {
        let lines = lines.clone();
        Handlers::new()
            .on(|_: &mut (), _: Word, ctx: &mut Context| {
                (1..=TIMERS).for_each(|ms| ctx.after(Duration::from_millis(ms), &Number(ms)));
            })
            .on(move |_: &mut (), number: Number| lines.write((number.0, Instant::now())))
    };
    let one = start(node(&MemoryNetwork::new(), N1, 1, table(handlers))).await;
    let before = Instant::now();
    one.trigger(&Word(String::new())).await.unwrap();
    until("all have fired", || fired.len() == 200).await;
    let due = |ms| before + Duration::from_millis(ms);
    let fired = fired.read();
    assert!(fired.iter().all(|(ms, at)| due(*ms) <= *at), "a timer was early");
    assert!(fired.iter().map(|(ms, _)| *ms).eq(1..=TIMERS), "timers fired in another order");
}

#[tokio::test]
async fn an_event_that_nobody_listens_to_is_not_taken() {
    let handlers = || Handlers::new().on(|_: &mut (), _: Number| ());
    let one = start(node(&MemoryNetwork::new(), N1, 1, table(handlers))).await;
    let unhandled = TriggerError::Unhandled { event: "test.word" };
    assert_eq!(one.trigger(&Word(String::new())).await, Err(unhandled));
    one.shutdown(PATIENCE).await;
    assert_eq!(one.trigger(&Number(1)).await, Err(TriggerError::Closed));
}

/// A peer that is no node: it says what it likes.
#[derive(Debug)]
struct Deaf;

impl Inbox for Deaf {
    fn deliver(&self, _: NodeId, _: Lane, _: synod_core::Envelopes) -> Option<synod_core::Room> {
        None
    }
    fn link(&self, _: NodeId, _: synod_core::LinkChange) {}
    fn refused(&self, _: synod_core::Refusal) {}
}

#[tokio::test]
async fn what_a_peer_may_not_send_is_counted_and_the_rest_unharmed() {
    let network = MemoryNetwork::new();
    let handlers = || {
        Handlers::new()
            .on(|_: &mut (), number: Number, ctx: &mut Context| {
                ctx.trigger(&Word(number.0.to_string()));
            })
            .on(|_: &mut (), _: Seen| ())
    };
    let one = start(node(&network, N1, 2, table(handlers))).await;
    let peer = network.transport(N2);
    let hello = synod_core::Hello { node: N2, incarnation: 1, events: Vec::new() };
    peer.start(hello, std::sync::Arc::new(Deaf)).unwrap();
    peer.connect(N1);
    let lane = Lane::Ordered(LaneId(1));
    let damaged = Envelope::from_parts(
        Number::ID,
        Instance::ROOT,
        synod_core::Tag::Plain,
        vec![0xff; 3].into(),
    );
    let unknown = Envelope::seal(&Word(String::from("what?")));
    let local = Envelope::seal(&Seen(1));
    for envelope in
        [Envelope::seal(&Number(1)), damaged, unknown, local, Envelope::seal(&Number(2))]
    {
        peer.send(N1, lane, &envelope).unwrap();
    }
    let mut outputs = one.outputs();
    assert_eq!(next::<Word>(&mut outputs).await, Word(String::from("1")));
    assert_eq!(next::<Word>(&mut outputs).await, Word(String::from("2")));
    until("all is counted", || {
        ["undecodable", "unhandled", "local_only"].iter().all(|word| drops(&one, word) == 1)
    })
    .await;
    assert_eq!((status_of::<Number>(&one).handled, status_of::<Number>(&one).refused), (2, 1));
    assert_eq!(status_of::<Seen>(&one).refused, 1);
}

#[tokio::test]
async fn a_reader_who_is_too_slow_is_told_how_much_it_missed() {
    let handlers = || {
        Handlers::new()
            .on(|_: &mut (), number: Number, ctx: &mut Context| ctx.trigger(&Seen(number.0)))
    };
    let limits = Limits { outputs: 4, ..Limits::default() };
    let one = start(node(&MemoryNetwork::new(), N1, 1, table(handlers)).limits(limits)).await;
    let mut outputs = one.outputs();
    for number in 0..10 {
        one.trigger(&Number(number)).await.unwrap();
    }
    assert!(one.shutdown(PATIENCE).await.is_complete());
    assert_eq!(outputs.next().await, Some(Output::Gap { missed: 6 }));
    for number in 6..10 {
        assert_eq!(next::<Seen>(&mut outputs).await, Seen(number));
    }
    assert_eq!(outputs.next().await, None);
}

/// Does what it is for once it has enough.
#[derive(Debug, Default)]
struct Wanting(u64);

impl Algorithm for Wanting {
    const NAME: &'static str = "wanting";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|me: &mut Self, number: Number| me.0 += number.0)
    }

    fn summary(&self) -> Summary {
        let summary = Summary::default().with("has", self.0);
        if self.0 < 2 { summary.unready("no quorum") } else { summary }
    }
}

#[tokio::test]
async fn a_node_is_not_ready_for_as_long_as_its_algorithm_says_so() {
    let one = start(node(&MemoryNetwork::new(), N1, 1, Wanting::default)).await;
    until("it says so", || one.status().unready.as_deref() == Some("no quorum")).await;
    let status = one.status();
    assert!(!status.is_ready() && status.running && status.started);
    one.trigger(&Number(2)).await.unwrap();
    until("it is ready", || one.status().is_ready()).await;
    assert_eq!(one.status().unready, None);
}

#[tokio::test]
async fn the_status_lists_everything() {
    #[derive(Clone, Debug, Hash)]
    struct Leader;
    impl Algorithm for Leader {
        const NAME: &'static str = "leader";
        fn handlers() -> Handlers<Self> {
            Handlers::new().on(|_: &mut Self, _: Number| ())
        }
        fn summary(&self) -> Summary {
            Summary::default().role("leader").with("term", 3)
        }
    }
    let network = MemoryNetwork::new();
    let handlers = || Handlers::new().on(|_: &mut (), _: Number| ());
    let one = start(node(&network, N1, 2, || Leader)).await;
    let two = start(node(&network, N2, 2, table(handlers))).await;
    until("both are linked", || one.status().peers[0].up && two.status().peers[0].up).await;
    one.trigger(&Number(1)).await.unwrap();
    until("it is handled", || status_of::<Number>(&one).handled == 1).await;
    let status = one.status();
    assert_eq!((status.id, status.running, status.restarts), (N1, true, 0));
    assert_eq!(status.peers[0].incarnation, Some(two.status().incarnation));
    assert_eq!((status.events[0].queued, status.events[0].bound), (0, 8_192));
    let pair = |name: &str, value: &str| (String::from(name), String::from(value));
    assert_eq!(status.summary, [pair("role", "leader"), pair("term", "3")]);
}
