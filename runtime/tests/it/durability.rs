//! Records: what leaves before them, and what comes back after.

use std::io::{Error, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Context, Envelope, Event, EventId, Handlers, NodeId, Schema};
use synod_runtime::{
    EndReason, FileStore, Limits, MemoryNetwork, MemoryStore, Opened, StartError, Store, StoreError,
};

use crate::support::{
    Door, Journal, N1, N2, Number, PATIENCE, Seen, Word, next, node, start, status_of, table, until,
};

/// A store whose syncs wait at a door, and fail once they are through, if they are to.
#[derive(Debug)]
pub(crate) struct Slow {
    records: MemoryStore,
    door: Door,
    fails: bool,
    syncs: Journal<usize>,
    unsynced: usize,
}

impl Slow {
    pub(crate) fn new(fails: bool) -> (Box<Self>, Door, Journal<usize>) {
        let (door, syncs) = (Door::default(), Journal::new());
        let records = MemoryStore::new();
        let store = Self { records, door: door.clone(), fails, syncs: syncs.clone(), unsynced: 0 };
        (Box::new(store), door, syncs)
    }
}

impl Store for Slow {
    fn open(&mut self) -> Result<Opened, StoreError> {
        self.records.open()
    }

    fn append(&mut self, record: &Envelope) -> Result<(), StoreError> {
        self.unsynced += 1;
        self.records.append(record)
    }

    fn checkpoint(&mut self, record: &Envelope, replaces: &[EventId]) -> Result<(), StoreError> {
        self.records.checkpoint(record, replaces)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.door.pass();
        self.syncs.write(std::mem::take(&mut self.unsynced));
        if self.fails {
            let (path, cause) = (PathBuf::from("disk"), Error::from(ErrorKind::StorageFull));
            return Err(StoreError::Io { action: "sync", path, cause });
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_store_does_not_answer_is_hung_until_it_does() {
    let (store, door, _syncs) = Slow::new(false);
    let limits = Limits { hung_after: Duration::from_millis(50), ..Limits::default() };
    let builder = node(&MemoryNetwork::new(), N1, 2, table(careful));
    let one = start(builder.store(store).limits(limits)).await;
    one.trigger(&Number(1)).await.unwrap();
    until("it is hung", || one.status().hung.is_some()).await;
    let status = one.status();
    assert!(!status.is_ready() && status.handling.is_none(), "no handler is in the way");
    let why = status.hung.expect("it is hung");
    assert!(why.starts_with("the store has not answered for "), "{why}");
    door.open();
    until("it is ready", || one.status().is_ready()).await;
}

/// Persists every number, then sends it and says so; a word is sent without a record.
fn careful() -> Handlers<()> {
    Handlers::new()
        .on(|_: &mut (), number: Number, ctx: &mut Context| {
            ctx.persist(&number);
            ctx.send(N2, &Word(number.0.to_string()));
        })
        .on(|_: &mut (), word: Word, from: NodeId, ctx: &mut Context| {
            if from == ctx.me() {
                ctx.send(N2, &word);
            }
        })
        .restore(|_: &mut (), _: Number| ())
}

/// Writes down the words that arrive.
fn listener(journal: &Journal<String>) -> impl Fn() -> Handlers<()> + Send + Sync + 'static {
    let journal = journal.clone();
    move || {
        let journal = journal.clone();
        Handlers::new().on(move |_: &mut (), word: Word| journal.write(word.0))
    }
}

#[tokio::test]
async fn nothing_asked_after_a_record_leaves_before_it_is_durable() {
    let (network, journal) = (MemoryNetwork::new(), Journal::new());
    let (store, door, syncs) = Slow::new(false);
    let one = start(node(&network, N1, 2, table(careful)).store(store)).await;
    let two = start(node(&network, N2, 2, table(listener(&journal)))).await;
    until("the link is up", || one.status().peers[0].up).await;
    one.trigger(&Word(String::from("before"))).await.unwrap();
    for number in 1..=50 {
        one.trigger(&Number(number)).await.unwrap();
        one.trigger(&Word(format!("after {number}"))).await.unwrap();
    }
    until("all are handled", || status_of::<Word>(&one).handled == 51).await;
    until("the first word has left", || journal.len() == 1).await;
    assert!(0 < one.status().held);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(journal.read(), ["before"], "an effect has left before its record was durable");

    door.open();
    until("all words have left", || journal.len() == 101).await;
    let expected = (1..=50).flat_map(|number| [number.to_string(), format!("after {number}")]);
    assert_eq!(journal.read()[1..], expected.collect::<Vec<_>>());
    assert!(syncs.len() <= 3, "50 records took {:?} syncs", syncs.read());
    assert_eq!((syncs.read().iter().sum::<usize>(), one.status().held), (50, 0));
    assert!(one.shutdown(PATIENCE).await.is_complete());
    assert!(two.shutdown(PATIENCE).await.is_complete());
}

#[tokio::test]
async fn a_sync_that_fails_ends_the_node_and_nothing_after_it_leaves() {
    let (network, journal) = (MemoryNetwork::new(), Journal::new());
    let (store, door, syncs) = Slow::new(true);
    let one = start(node(&network, N1, 2, table(careful)).store(store)).await;
    let _two = start(node(&network, N2, 2, table(listener(&journal)))).await;
    until("the link is up", || one.status().peers[0].up).await;
    let mut outputs = one.outputs();
    one.trigger(&Word(String::from("before"))).await.unwrap();
    one.trigger(&Number(1)).await.unwrap();
    one.trigger(&Word(String::from("after"))).await.unwrap();
    until("what was asked before has left", || journal.len() == 1).await;
    door.open();
    let reason = one.wait().await;
    let full = matches!(&reason, EndReason::Store(text) if text.contains("cannot sync disk"));
    assert!(full, "{reason}");
    assert_eq!(
        (outputs.next().await, syncs.len(), journal.read()),
        (None, 1, vec![String::from("before")])
    );
    assert!(one.trigger(&Number(2)).await.is_err());
    assert!(!one.shutdown(PATIENCE).await.is_complete());
}

#[tokio::test]
async fn handlers_wait_when_too_much_is_held() {
    let (store, door, _) = Slow::new(false);
    let limits = Limits { held_effects: 10, ..Limits::default() };
    let builder = node(&MemoryNetwork::new(), N1, 2, table(careful)).store(store).limits(limits);
    let one = start(builder).await;
    for number in 0..100 {
        one.trigger(&Number(number)).await.unwrap();
    }
    until("the bound is reached", || 10 <= one.status().held).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(one.status().held <= 13, "{} effects are held", one.status().held);
    door.open();
    until("all are handled", || status_of::<Number>(&one).handled == 100).await;
}

/// Counts what it has ever been told.
#[derive(Clone, Debug, Default, Hash)]
struct Tally {
    total: u64,
}

impl Algorithm for Tally {
    const NAME: &'static str = "tally";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|me: &mut Self, number: Number, ctx: &mut Context| {
                me.total += number.0;
                match me.total % 4 {
                    0 => ctx.checkpoint(&Number(me.total)),
                    _ => ctx.persist(&number),
                }
                ctx.trigger(&Seen(me.total));
            })
            .restore(|me: &mut Self, number: Number| me.total += number.0)
    }

    fn summary(&self) -> synod_core::Summary {
        synod_core::Summary::default().with("total", self.total)
    }
}

#[tokio::test]
async fn records_come_back_after_a_restart_and_the_incarnation_rises() {
    let directory = std::env::temp_dir().join(format!("synod-it-{}", std::process::id()));
    let network = MemoryNetwork::new();
    let mut total = 0;
    for life in 1..=4 {
        let store = Box::new(FileStore::new(&directory));
        let one = start(node(&network, N1, 1, Tally::default).store(store)).await;
        let status = one.status();
        assert_eq!(status.incarnation, life);
        assert_eq!(status.summary, [(String::from("total"), total.to_string())]);
        let second = node(&MemoryNetwork::new(), N1, 1, Tally::default);
        let second = second.store(Box::new(FileStore::new(&directory))).start().await;
        let locked = matches!(second, Err(StartError::Store(StoreError::Locked { .. })));
        assert!(locked, "two nodes on one directory");
        let mut outputs = one.outputs();
        for number in 1..=5 {
            total += number;
            one.trigger(&Number(number)).await.unwrap();
            assert_eq!(next::<Seen>(&mut outputs).await, Seen(total));
        }
        assert!(one.shutdown(PATIENCE).await.is_complete());
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn records_of_other_algorithms_do_not_start_a_node() {
    let mut store = MemoryStore::new();
    store.open().unwrap();
    store.append(&Envelope::seal(&Word(String::new()))).unwrap();
    let builder = node(&MemoryNetwork::new(), N1, 1, Tally::default).store(Box::new(store));
    let refused = builder.start().await;
    assert!(matches!(refused, Err(StartError::Recovery(_))), "{refused:?}");
}

/// A number under its old name, with a field more.
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "test.number")]
struct Numbered {
    number: u64,
    place: u64,
}

#[tokio::test]
async fn records_with_other_fields_do_not_start_a_node_and_stay_for_the_program_that_wrote_them() {
    let directory = std::env::temp_dir().join(format!("synod-other-{}", std::process::id()));
    let store = || Box::new(FileStore::new(&directory));
    let tally = || node(&MemoryNetwork::new(), N1, 1, Tally::default).store(store());
    let one = start(tally()).await;
    one.trigger(&Number(1)).await.unwrap();
    assert!(one.shutdown(PATIENCE).await.is_complete());

    let changed = || Handlers::new().restore(|_: &mut (), _: Numbered| ());
    let other = node(&MemoryNetwork::new(), N1, 1, table(changed)).store(store());
    let refused = other.start().await.expect_err("the record would be misread");
    let told = refused.to_string();
    let [written, known] = [Schema::of::<Number>(), Schema::of::<Numbered>()];
    assert!(told.contains("`test.number`") && told.contains("a new name"), "{told}");
    assert!(told.contains(&format!("(schema {written})")), "{told}");
    assert!(told.contains(&format!("(schema {known})")), "{told}");

    let one = start(tally()).await;
    assert_eq!(one.status().incarnation, 2, "nothing was written meanwhile");
    assert!(one.shutdown(PATIENCE).await.is_complete());
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn a_node_does_not_start_from_the_store_of_another_one() {
    let directory = std::env::temp_dir().join(format!("synod-owner-{}", std::process::id()));
    let store = || Box::new(FileStore::new(&directory));
    let network = MemoryNetwork::new();
    let table = || table(Handlers::new);
    start(node(&network, N1, 2, table()).store(store())).await.shutdown(PATIENCE).await;
    let refused = node(&network, N2, 2, table()).store(store()).start().await.unwrap_err();
    assert!(
        refused.to_string().ends_with("is the store of n1, not of n2: name the right directory")
    );
    let named = store().owned_by("n1 of cluster demo");
    start(node(&network, N1, 2, table()).store(Box::new(named))).await.shutdown(PATIENCE).await;
    start(node(&network, N1, 2, table()).store(store())).await.shutdown(PATIENCE).await;
    std::fs::remove_dir_all(directory).unwrap();
}
