//! Recorded nodes: the file holds every step, and another node fed the same does the same.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use synod_core::{
    Algorithm, Context, Fingerprint, Handlers, Input, Node, NodeId, Recording, Stack, StepError,
};
use synod_runtime::{
    EndReason, FileStore, Limits, MemoryNetwork, NodeBuilder, PanicPolicy, StartError,
};

use crate::support::{N1, N2, Number, PATIENCE, Word, node, start, status_of, until};

/// A file of its own for a test, removed when it is dropped.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let file = format!("synod-runtime-{}-{name}.recording", std::process::id());
        Self(std::env::temp_dir().join(file))
    }

    fn read(&self) -> Recording {
        let bytes = fs::read(&self.0).expect("the node has made the file");
        Recording::read(&bytes).expect("the file is intact")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Does something of everything, some of it by chance; panics upon 13.
#[derive(Clone, Debug, Default, Hash)]
struct Busy {
    total: u64,
}

impl Algorithm for Busy {
    const NAME: &'static str = "busy";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|me: &mut Self, number: Number, from: NodeId, ctx: &mut Context| {
                assert!(number.0 != 13, "thirteen");
                me.total = me.total.wrapping_add(number.0 ^ ctx.random());
                ctx.persist(&number);
                let wait = Duration::from_millis(u64::from(ctx.choose(5)));
                ctx.after(wait, &Word("tick".into()));
                if from == ctx.me() {
                    ctx.send_where(&number, |peer| peer != from);
                }
            })
            .on(|me: &mut Self, _: Word, ctx: &mut Context| ctx.log(me.total))
            .restore(|me: &mut Self, number: Number| me.total += number.0)
    }
}

const RESTART: PanicPolicy = PanicPolicy::Restart { restarts_max: 5, within: PATIENCE };

fn busy(network: &MemoryNetwork, id: NodeId, file: &Path) -> NodeBuilder {
    node(network, id, 2, Busy::default).on_panic(RESTART).seed(7).record(Busy::NAME, file)
}

/// Feeds fresh nodes what was recorded, and returns the fingerprints of what came of it.
fn again<T: Stack>(recording: &Recording, make: impl Fn() -> T) -> Vec<Fingerprint> {
    let mut came = Vec::new();
    for life in &recording.lives {
        let mut node = Node::new(life.origin.boot.clone(), make()).expect("it was built before");
        for step in &life.steps {
            let mut effects = Vec::new();
            let once = || node.step(step.now, &step.input, &mut effects);
            let stepped: std::thread::Result<Result<(), StepError>> =
                catch_unwind(AssertUnwindSafe(once));
            let returned = stepped.map(|returned| Fingerprint::of(&returned, &effects));
            came.push(returned.unwrap_or(Fingerprint::PANICKED));
        }
    }
    came
}

fn recorded(recording: &Recording) -> Vec<Fingerprint> {
    recording.lives.iter().flat_map(|life| &life.steps).map(|step| step.fingerprint).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_of_every_life_is_in_the_file_and_does_the_same_again() {
    let (network, files) = (MemoryNetwork::new(), [File::new("lives-1"), File::new("lives-2")]);
    let one = start(busy(&network, N1, &files[0].0)).await;
    let two = start(busy(&network, N2, &files[1].0)).await;
    for number in (0..40).chain([13]).chain(40..60) {
        two.trigger(&Number(number)).await.expect("the node runs");
    }
    until("all are handled", || 58 <= status_of::<Number>(&two).handled).await;
    for node in [&one, &two] {
        let status = node.status();
        assert!(node.shutdown(PATIENCE).await.is_complete());
        let now = node.status().recording.expect("it is recorded");
        assert!(status.recording.is_some_and(|before| before.steps <= now.steps));
        assert_eq!((now.missed, now.over), (0, None));
    }
    for (file, node) in files.iter().zip([&one, &two]) {
        let recording = file.read();
        let status = node.status().recording.expect("it is recorded");
        assert_eq!((recording.steps() as u64, recording.torn), (status.steps, false));
        assert_eq!(recording.intact_bytes as u64, status.bytes);
        assert_eq!(again(&recording, Busy::default), recorded(&recording));
        let origin = &recording.lives[0].origin;
        assert_eq!((origin.boot.id, origin.boot.seed), (node.id(), 7));
        let names: Vec<&str> = origin.events.keys().map(String::as_str).collect();
        assert_eq!(names, ["test.number", "test.word"]);
    }
    let lives = files[1].read().lives;
    assert!(2 <= lives.len(), "the panic begins another life");
    let last = lives[0].steps.last().expect("the step that panicked");
    assert_eq!(last.fingerprint, Fingerprint::PANICKED);
    assert!(matches!(lives[1].steps[0].input, Input::Recover(_)));
    assert!(lives[0].origin.boot.incarnation < lives[1].origin.boot.incarnation);
}

#[tokio::test]
async fn the_next_process_goes_on_in_the_same_file_after_what_is_whole() {
    let file = File::new("append");
    for process in 1..=3 {
        let one = start(busy(&MemoryNetwork::new(), N1, &file.0)).await;
        one.shutdown(PATIENCE).await;
        let recording = file.read();
        assert_eq!((recording.lives.len(), recording.torn), (process, false));
        let mut bytes = fs::read(&file.0).expect("the file");
        bytes.extend([1, 0, 0, 0, 0xfe]); // What a killed process leaves.
        fs::write(&file.0, bytes).expect("written");
        assert!(file.read().torn);
    }
}

#[tokio::test]
async fn a_file_that_is_something_else_is_left_alone() {
    let file = File::new("other");
    let refused = async |id| {
        let started = busy(&MemoryNetwork::new(), id, &file.0).start().await;
        started.expect_err("the file is something else")
    };
    fs::write(&file.0, "important").expect("written");
    let error = refused(N1).await;
    assert!(matches!(error, StartError::Recording { .. }), "{error}");
    assert_eq!(fs::read(&file.0).expect("the file"), b"important");
    fs::remove_file(&file.0).expect("removed");

    start(busy(&MemoryNetwork::new(), N1, &file.0)).await.shutdown(PATIENCE).await;
    let error = refused(N2).await.to_string();
    assert!(error.contains("the recording of busy on n1"), "{error}");
    let mut bytes = fs::read(&file.0).expect("the file");
    bytes[30] ^= 1;
    fs::write(&file.0, &bytes).expect("written");
    let error = refused(N1).await.to_string();
    assert!(error.contains("record 0 at byte 12 is damaged"), "{error}");
    assert_eq!(fs::read(&file.0).expect("the file"), bytes);
}

#[tokio::test]
async fn a_node_that_does_not_start_leaves_no_empty_file() {
    let [file, store] = ["unstarted", "unstarted-store"].map(File::new);
    fs::write(&store.0, "no directory").expect("written");
    let start = || {
        let builder = busy(&MemoryNetwork::new(), N1, &file.0);
        builder.store(Box::new(FileStore::new(&store.0))).start()
    };
    let error = start().await.expect_err("there is no store");
    assert!(matches!(error, StartError::Store(_)), "{error}");
    assert!(!file.0.exists());

    fs::write(&file.0, "").expect("written");
    start().await.expect_err("there is no store");
    assert!(file.0.exists(), "it was there before");
}

#[tokio::test]
async fn a_node_outlives_its_recording_and_counts_what_is_missing() {
    let file = File::new("full");
    let limits = Limits { recording_file_bytes: 2_000, ..Limits::default() };
    for _ in 0..2 {
        let one = start(busy(&MemoryNetwork::new(), N1, &file.0).limits(limits)).await;
        for number in 100..200 {
            one.trigger(&Number(number)).await.expect("the node runs");
        }
        until("all are handled", || status_of::<Number>(&one).handled == 100).await;
        assert!(one.shutdown(PATIENCE).await.is_complete());
        let status = one.status().recording.expect("it is recorded");
        assert!(0 < status.missed && status.over.is_some(), "{status:?}");
        let recording = file.read();
        assert!(recording.lives[0].cut && recording.intact_bytes < 2_100);
        assert_eq!(recording.lives.len(), 1, "a full file takes no other life");
    }
}

#[tokio::test]
async fn a_node_that_ends_by_itself_leaves_a_whole_file() {
    let file = File::new("ends");
    let builder = busy(&MemoryNetwork::new(), N1, &file.0).on_panic(PanicPolicy::Stop);
    let one = start(builder).await;
    one.trigger(&Number(13)).await.expect("the node runs");
    assert!(matches!(one.wait().await, EndReason::Panicked(_)));
    let recording = file.read();
    assert_eq!(recorded(&recording).last(), Some(&Fingerprint::PANICKED));
    assert_eq!(again(&recording, Busy::default), recorded(&recording));
}
