//! Questions of the application to its node: what they come to, and when.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Call, Context, Envelope, Event, HandlerSet, Handlers, Instance, Keyed, NodeId,
    Reply, Request, Ticket,
};
use synod_runtime::{
    AskError, FileStore, Handling, Limits, MemoryNetwork, NodeBuilder, NodeHandle, Output,
    PanicPolicy, TriggerError,
};
use tokio::task::JoinHandle;

use crate::support::{
    Door, Journal, N1, Number, PATIENCE, Seen, Word, drops, next, node, start, status_of, table,
    until,
};

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "test.question")]
struct Question(u64);

#[derive(Event, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "test.answer")]
struct Answer(u64);

impl Request for Question {
    type Answer = Answer;
}

#[tokio::test]
async fn a_question_is_answered_refused_or_of_unknown_outcome() {
    let handlers = || {
        Handlers::new().on(|_: &mut (), call: Call<Question>, ctx: &mut Context| {
            if call.request.0 != 0 {
                ctx.answer(call.ticket, &Answer(call.request.0 * 2));
            }
        })
    };
    let one = start(node(&MemoryNetwork::new(), N1, 1, table(handlers))).await;
    assert_eq!(one.ask(&Question(21), PATIENCE).await, Ok(Answer(42)));
    let silent = one.ask(&Question(0), Duration::from_millis(20)).await;
    assert_eq!(silent, Err(AskError::Unknown));
    one.shutdown(PATIENCE).await;
    let refused = one.ask(&Question(1), PATIENCE).await;
    assert!(matches!(refused, Err(AskError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn a_question_that_the_node_refuses_is_refused_with_the_reason() {
    #[derive(Clone, Debug, Hash)]
    struct Oracle;
    impl Algorithm for Oracle {
        const NAME: &'static str = "oracle";
        fn handlers() -> Handlers<Self> {
            Handlers::new().on(|_: &mut Self, call: Call<Question>, ctx: &mut Context| {
                ctx.answer(call.ticket, &Answer(1));
            })
        }
    }
    let make =
        || (Keyed::new(|_| Oracle).at_most(1), HandlerSet::new(0_u8).on(|_: &mut u8, _: Word| ()));
    let one = start(node(&MemoryNetwork::new(), N1, 1, make)).await;
    let ask = |key| {
        let request = Envelope::seal(&Question(1)).addressed_to(Instance::of_key(key));
        let one = one.clone();
        async move { one.ask_sealed(&request, PATIENCE).await }
    };
    assert_eq!(ask(1).await.unwrap().open(), Ok(Answer(1)));
    let refused = AskError::Refused(String::from("1 instances exist, and there may not be more"));
    assert_eq!(ask(2).await, Err(refused));
}

#[tokio::test]
async fn what_would_be_dropped_or_never_answered_for_its_shape_is_not_taken() {
    let handlers = || {
        Handlers::new()
            .on(|_: &mut (), call: Call<Question>, ctx: &mut Context| {
                ctx.answer(call.ticket, &Answer(1));
            })
            .on(|_: &mut (), _: Reply<Heard>, _: &mut Context| ())
            .on(|_: &mut (), _: Heard| ())
    };
    let one = start(node(&MemoryNetwork::new(), N1, 1, table(handlers))).await;
    let question = TriggerError::Question { event: "test.question" };
    assert_eq!(one.trigger(&Question(1)).await, Err(question));
    let answer = TriggerError::Answer { event: Word::NAME };
    assert_eq!(one.trigger(&Word(String::new())).await, Err(answer));
    let unanswered =
        "no algorithm of this node answers `test.heard`: its handler is to take a `Call`";
    let asked = one.ask(&Heard, PATIENCE).await;
    assert_eq!(asked.err(), Some(AskError::Refused(String::from(unanswered))));
}

/// A question whose handler takes it as a mere event.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "test.heard", local)]
struct Heard;

impl Request for Heard {
    type Answer = Word;
}

/// Answers every question with the double of it, in the order of asking; 1 waits at the door.
fn oracle(door: &Door, asked: &Journal<u64>) -> NodeBuilder {
    let (door, asked) = (door.clone(), asked.clone());
    let handlers = move || {
        let (door, asked) = (door.clone(), asked.clone());
        Handlers::new().on(move |_: &mut (), call: Call<Question>, ctx: &mut Context| {
            if call.request.0 == 1 {
                door.pass();
            }
            asked.write(call.request.0);
            ctx.answer(call.ticket, &Answer(call.request.0 * 2));
        })
    };
    node(&MemoryNetwork::new(), N1, 1, table(handlers))
}

/// A ticket that is kept for later, durably.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "test.kept")]
struct Kept(Ticket<Question>);

/// Keeps the first question, and answers it when there is another one, before that.
#[derive(Clone, Debug, Default, Hash)]
struct Patient(Option<Ticket<Question>>);

impl Algorithm for Patient {
    const NAME: &'static str = "patient";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|me: &mut Self, call: Call<Question>, ctx: &mut Context| match me.0.take() {
                None => {
                    ctx.persist(&Kept(call.ticket));
                    me.0 = Some(call.ticket);
                }
                Some(kept) => {
                    ctx.answer(kept, &Answer(0));
                    ctx.answer(call.ticket, &Answer(call.request.0));
                }
            })
            .restore(|me: &mut Self, kept: Kept| me.0 = Some(kept.0))
    }
}

#[tokio::test]
async fn what_a_former_process_was_asked_is_no_question_of_this_one() {
    let directory = std::env::temp_dir().join(format!("synod-asks-{}", std::process::id()));
    let life = || {
        let builder = node(&MemoryNetwork::new(), N1, 1, Patient::default);
        start(builder.store(Box::new(FileStore::new(&directory))))
    };
    let one = life().await;
    let kept = one.ask(&Question(1), Duration::from_millis(20)).await;
    assert_eq!(kept, Err(AskError::Unknown));
    one.shutdown(PATIENCE).await;
    let one = life().await;
    assert_eq!(one.ask(&Question(2), PATIENCE).await, Ok(Answer(2)));
    assert_eq!(drops(&one, "stale"), 1, "nobody waits for the answer to the other one");
    one.shutdown(PATIENCE).await;
    std::fs::remove_dir_all(&directory).expect("it is there");
}

type Pending = JoinHandle<Result<Answer, AskError>>;

fn ask(node: &NodeHandle, number: u64) -> Pending {
    let node = node.clone();
    tokio::spawn(async move { node.ask(&Question(number), PATIENCE).await })
}

/// Asks the question that waits at the door.
async fn occupy(node: &NodeHandle) -> Pending {
    let busy = ask(node, 1);
    until("the handler is busy", || status_of::<Question>(node).queued == 1).await;
    busy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_waited_past_its_deadline_is_never_carried_out() {
    let (door, asked) = (Door::default(), Journal::new());
    let one = start(oracle(&door, &asked)).await;
    let busy = occupy(&one).await;
    let (began, deadline) = (Instant::now(), Duration::from_millis(100));
    let late = [2, 3, 4].map(|number| {
        let one = one.clone();
        tokio::spawn(async move { one.ask(&Question(number), deadline).await })
    });
    for late in late {
        assert_eq!(late.await.unwrap(), Err(AskError::Unknown));
    }
    let took = began.elapsed();
    assert!(deadline <= took && took < Duration::from_secs(5), "{took:?}");
    door.open();
    assert_eq!(busy.await.unwrap(), Ok(Answer(2)));
    assert_eq!(one.ask(&Question(5), PATIENCE).await, Ok(Answer(10)));
    assert_eq!(asked.read(), [1, 5]);
    assert_eq!((drops(&one, "expired"), status_of::<Question>(&one).refused), (3, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_more_questions_than_there_is_room_for_exactly_the_others_are_answered() {
    const ROOM: u64 = 2_000;
    let (door, asked) = (Door::default(), Journal::new());
    let limits = Limits { queue_events: 2_000, asks: 4_000, ..Limits::default() };
    let one = start(oracle(&door, &asked).limits(limits)).await;
    let mut taken = vec![occupy(&one).await];
    taken.extend((2..=ROOM).map(|number| ask(&one, number)));
    until("it is full", || status_of::<Question>(&one).queued == 2_000).await;
    for _ in 0..20 {
        let refused = one.ask(&Question(0), Duration::from_millis(2)).await;
        let why = String::from("no room within the deadline");
        assert_eq!(refused, Err(AskError::Refused(why)));
    }
    let status = status_of::<Question>(&one);
    assert_eq!((status.queued, status.bound), (2_000, 2_000));
    door.open();
    for (number, taken) in (1..).zip(taken) {
        assert_eq!(taken.await.unwrap(), Ok(Answer(number * 2)));
    }
    assert_eq!((status_of::<Question>(&one).handled, asked.len()), (ROOM, 2_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_that_were_taken_are_answered_before_a_node_ends_and_later_ones_are_refused() {
    let (door, asked) = (Door::default(), Journal::new());
    let one = start(oracle(&door, &asked)).await;
    let mut taken = vec![occupy(&one).await];
    taken.extend((2..=4).map(|number| ask(&one, number)));
    until("all are taken", || status_of::<Question>(&one).queued == 4).await;
    let ending = one.clone();
    let ending = tokio::spawn(async move { ending.shutdown(PATIENCE).await });
    until("it is about to end", || !one.status().running).await;
    let refused = one.ask(&Question(5), PATIENCE).await;
    let why = String::from("the node takes no events any more");
    assert_eq!(refused, Err(AskError::Refused(why)));
    let opened = Instant::now();
    door.open();
    for (number, taken) in (1..).zip(taken) {
        assert_eq!(taken.await.unwrap(), Ok(Answer(number * 2)));
    }
    assert!(ending.await.unwrap().is_complete());
    assert!(opened.elapsed() < Duration::from_secs(5), "{:?}", opened.elapsed());
    assert_eq!(asked.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_says_which_handler_runs_and_for_how_long_without_waiting_for_it() {
    let (door, asked) = (Door::default(), Journal::new());
    let one = start(oracle(&door, &asked)).await;
    assert_eq!(one.status().handling, None);
    let busy = occupy(&one).await;
    let name = || one.status().handling.map(|it| it.event);
    until("it is known", || name() == Some("test.question")).await;
    let before = one.status().handling.unwrap().time;
    tokio::time::sleep(Duration::from_millis(30)).await;
    let status = one.status();
    let time = status.handling.unwrap().time;
    assert!(before + Duration::from_millis(30) <= time && time <= status.uptime * 2, "{time:?}");
    door.open();
    assert_eq!(busy.await.unwrap(), Ok(Answer(2)));
    until("nothing runs", || one.status().handling.is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_handler_does_not_return_is_hung_and_not_ready_until_it_has() {
    let (door, asked) = (Door::default(), Journal::new());
    let hung_after = Duration::from_millis(50);
    let limits = Limits { hung_after, ..Limits::default() };
    let one = start(oracle(&door, &asked).limits(limits)).await;
    until("it is ready", || one.status().is_ready()).await;
    let busy = occupy(&one).await;
    until("it is hung", || one.status().hung.is_some()).await;
    let status = one.status();
    assert!(!status.is_ready() && status.running);
    assert!(hung_after <= status.handling.expect("it runs").time);
    let why = status.hung.expect("it is hung");
    assert!(why.starts_with("the handler of `test.question` has run for "), "{why}");
    door.open();
    assert_eq!(busy.await.unwrap(), Ok(Answer(2)));
    until("it is ready", || one.status().is_ready()).await;
}

/// Rings after a moment, and then waits at the door.
fn sleeper(door: &Door) -> impl Fn() -> Handlers<()> + Send + Sync + 'static {
    let door = door.clone();
    move || {
        let door = door.clone();
        Handlers::new()
            .on(|_: &mut (), _: Word, ctx: &mut Context| {
                ctx.after(Duration::from_millis(1), &Number(1));
            })
            .on(move |_: &mut (), _: Number| door.pass())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_handler_of_a_timer_is_told_to_run_too() {
    let door = Door::default();
    let one = start(node(&MemoryNetwork::new(), N1, 1, table(sleeper(&door)))).await;
    one.trigger(&Word(String::new())).await.unwrap();
    // The handler blocks the thread that would have to wake this task, so another one watches.
    let watched = one.clone();
    let watcher = std::thread::spawn(move || {
        let began = Instant::now();
        let runs = || watched.status().handling.is_some_and(|it| it.event == Handling::OTHER);
        while !runs() && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        let told = runs();
        door.open();
        told
    });
    until("the handler has returned", || watcher.is_finished()).await;
    assert!(watcher.join().unwrap());
    until("nothing runs", || one.status().handling.is_none()).await;
}

#[tokio::test]
async fn a_hundred_readers_who_read_nothing_hold_up_no_question() {
    let handlers = || {
        Handlers::new()
            .on(|_: &mut (), number: Number, ctx: &mut Context| ctx.trigger(&Seen(number.0)))
            .on(|_: &mut (), call: Call<Question>, ctx: &mut Context| {
                ctx.answer(call.ticket, &Answer(call.request.0));
            })
    };
    let limits = Limits { outputs: 16, ..Limits::default() };
    let one = start(node(&MemoryNetwork::new(), N1, 1, table(handlers)).limits(limits)).await;
    let mut readers: Vec<_> = (0..100).map(|_| one.outputs()).collect();
    for number in 0..1_000 {
        one.trigger(&Number(number)).await.unwrap();
    }
    assert_eq!(one.ask(&Question(7), PATIENCE).await, Ok(Answer(7)));
    until("all are indicated", || status_of::<Number>(&one).handled == 1_000).await;
    readers.truncate(50);
    for reader in &mut readers {
        assert_eq!(reader.next().await, Some(Output::Gap { missed: 984 }));
        let Some(Output::Event(first)) = reader.next().await else { panic!("nothing is left") };
        assert_eq!(first.open::<Seen>().unwrap(), Seen(984));
    }
    assert_eq!(one.ask(&Question(8), PATIENCE).await, Ok(Answer(8)));
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "calculator.power")]
struct Power(i64, u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "calculator.divide")]
struct Divide(i64, i64);

#[derive(Event, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "calculator.value")]
struct Value(Result<i64, String>);

impl Request for Power {
    type Answer = Value;
}

impl Request for Divide {
    type Answer = Value;
}

/// A mistake of the caller is an answer; a power that is too large is a bug.
fn calculator() -> Handlers<()> {
    Handlers::new()
        .on(|_: &mut (), call: Call<Power>, ctx: &mut Context| {
            let Power(base, exponent) = call.request;
            let power = base.checked_pow(exponent).expect("too large");
            ctx.answer(call.ticket, &Value(Ok(power)));
        })
        .on(|_: &mut (), call: Call<Divide>, ctx: &mut Context| {
            let Divide(dividend, divisor) = call.request;
            let quotient = dividend.checked_div(divisor);
            let quotient = quotient.ok_or_else(|| String::from("division by zero"));
            ctx.answer(call.ticket, &Value(quotient));
        })
}

#[tokio::test]
async fn a_question_whose_handler_panics_has_an_unknown_outcome_at_once_and_the_next_is_answered() {
    let policy = PanicPolicy::Restart { restarts_max: 1, within: Duration::from_secs(3600) };
    let one = node(&MemoryNetwork::new(), N1, 1, table(calculator)).on_panic(policy);
    let one = start(one).await;
    assert_eq!(one.ask(&Power(2, 10), PATIENCE).await, Ok(Value(Ok(1_024))));
    let by_zero = Value(Err(String::from("division by zero")));
    assert_eq!(one.ask(&Divide(2, 0), PATIENCE).await, Ok(by_zero));
    let began = Instant::now();
    assert_eq!(one.ask(&Power(2, 64), PATIENCE).await, Err(AskError::Unknown));
    assert!(began.elapsed() < PATIENCE / 2, "the outcome was told at the deadline");
    assert_eq!(one.ask(&Divide(4, 2), PATIENCE).await, Ok(Value(Ok(2))));
    let letters = one.status().dead_letters;
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.event.as_str(), letter.panic.as_str()), ("calculator.power", "too large"));
    let unknown = one.ask(&Question(1), PATIENCE).await;
    let why = String::from("no algorithm of this node listens to `test.question`");
    assert_eq!(unknown, Err(AskError::Refused(why)));
}

/// The questions of three versions of a program. Only the first two are answered.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "store.get")]
struct Get(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "store.get.2")]
struct Get2(u64, bool);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "store.get.3")]
struct Get3(String);

impl Request for Get {
    type Answer = Answer;
}

impl Request for Get2 {
    type Answer = Answer;
}

impl Request for Get3 {
    type Answer = Answer;
}

/// Asks n1 upon a word, and tells what the answer is, or 0 without one.
fn client<R: Request<Answer = Answer>>(
    question: fn() -> R,
    deadline: Duration,
) -> impl Fn() -> Handlers<()> + Send + Sync {
    move || {
        Handlers::new()
            .on(move |_: &mut (), _: Word, ctx: &mut Context| {
                ctx.ask(N1, &question(), deadline);
            })
            .on(|_: &mut (), reply: Reply<R>, ctx: &mut Context| {
                ctx.trigger(&Seen(reply.answer.map_or(0, |(_, Answer(number))| number)));
            })
    }
}

#[tokio::test]
async fn two_versions_of_a_question_are_answered_side_by_side_and_an_unknown_one_by_nobody() {
    let network = MemoryNetwork::new();
    let server = || {
        Handlers::new()
            .on(|_: &mut (), call: Call<Get>, ctx: &mut Context| {
                ctx.answer(call.ticket, &Answer(call.request.0));
            })
            .on(|_: &mut (), call: Call<Get2>, ctx: &mut Context| {
                let Get2(number, negated) = call.request;
                ctx.answer(call.ticket, &Answer(if negated { !number } else { number }));
            })
    };
    let soon = Duration::from_millis(30);
    let server = start(node(&network, N1, 4, table(server))).await;
    let clients = [
        (node(&network, NodeId(2), 4, table(client(|| Get(7), PATIENCE))), 7),
        (node(&network, NodeId(3), 4, table(client(|| Get2(7, true), PATIENCE))), !7),
        (node(&network, NodeId(4), 4, table(client(|| Get3(String::from("7")), soon))), 0),
    ];
    for (client, answer) in clients {
        let client = start(client).await;
        until("it is linked", || client.status().peers[0].up).await;
        client.trigger(&Word(String::new())).await.unwrap();
        assert_eq!(next::<Seen>(&mut client.outputs()).await, Seen(answer));
        assert!(client.shutdown(PATIENCE).await.is_complete());
    }
    let handled = (status_of::<Get>(&server).handled, status_of::<Get2>(&server).handled);
    assert_eq!((handled, drops(&server, "unhandled")), ((1, 1), 1));
}
