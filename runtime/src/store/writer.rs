//! The thread that owns the store.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use synod_core::{Envelope, EventId};
use tokio::sync::oneshot;

use super::{Opened, Store, StoreError};
use crate::gate::locked;
use crate::timings::{Stopwatch, Timings};

/// Where to put records. Cheap to clone; the thread ends with the last one.
///
/// The channel has no bound of its own: a record counts as a held effect of the node, which has
/// one.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    commands: Arc<Mutex<Sender<Command>>>,
    syncs: Arc<Stopwatch>,
    at_work: Arc<AtWork>,
}

/// Since when the thread has been at work without a rest; none while it waits for commands.
#[derive(Debug, Default)]
struct AtWork(Mutex<Option<Instant>>);

#[derive(Debug)]
enum Command {
    Append(Envelope),
    Checkpoint(Envelope, Arc<[EventId]>),
    Open(oneshot::Sender<Result<Opened, StoreError>>),
    Fence(String),
    Observe(Box<dyn Observer>),
    Close(oneshot::Sender<()>),
}

/// Who is told what became of the records.
pub(crate) trait Observer: std::fmt::Debug + Send {
    /// So many more records are durable.
    fn durable(&self, records: u64);

    /// The store has failed, and will not be used again.
    fn failed(&self, error: StoreError);
}

/// A thread that has yet to begin. What it is asked for waits until then.
pub(crate) struct Beginning {
    store: Box<dyn Store>,
    commands: Receiver<Command>,
    thread: Thread,
}

impl Beginning {
    pub(crate) fn spawn(self, name: String) -> std::io::Result<()> {
        let Self { store, commands, thread } = self;
        thread::Builder::new().name(name).spawn(move || write(store, &commands, thread))?;
        Ok(())
    }
}

impl Writer {
    pub(crate) fn new(store: Box<dyn Store>) -> (Self, Beginning) {
        let (sender, commands) = channel();
        let syncs = Arc::<Stopwatch>::default();
        let at_work = Arc::<AtWork>::default();
        let thread =
            Thread { observer: None, syncs: Arc::clone(&syncs), at_work: Arc::clone(&at_work) };
        let beginning = Beginning { store, commands, thread };
        (Self { commands: Arc::new(Mutex::new(sender)), syncs, at_work }, beginning)
    }

    pub(crate) fn append(&self, record: Envelope) {
        self.send(Command::Append(record));
    }

    pub(crate) fn checkpoint(&self, record: Envelope, replaces: Arc<[EventId]>) {
        self.send(Command::Checkpoint(record, replaces));
    }

    /// Lets no life begin from what is written, for this reason.
    pub(crate) fn fence(&self, why: String) {
        self.send(Command::Fence(why));
    }

    /// Tells `observer` from now on.
    pub(crate) fn observe(&self, observer: Box<dyn Observer>) {
        self.send(Command::Observe(observer));
    }

    /// Opens the store after everything asked before is durable.
    pub(crate) async fn open(&self) -> Result<Opened, StoreError> {
        let (reply, opened) = oneshot::channel();
        self.send(Command::Open(reply));
        opened.await.unwrap_or(Err(StoreError::Broken))
    }

    /// Lets go of the store after everything asked before is durable; resolves when it has.
    pub(crate) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        self.send(Command::Close(reply));
        let _gone_either_way = closed.await;
    }

    /// How long the syncs took that made records durable.
    pub(crate) fn syncs(&self) -> Timings {
        self.syncs.read()
    }

    /// For how long the store has been at work; none while nothing is asked of it.
    pub(crate) fn at_work_for(&self) -> Option<Duration> {
        locked(&self.at_work.0).map(|since| since.elapsed())
    }

    /// A command is lost only if the thread has ended, and its observer was told why.
    fn send(&self, command: Command) {
        drop(locked(&self.commands).send(command));
    }
}

/// Writes whatever waits, syncs once, tells, and begins again.
fn write(mut store: Box<dyn Store>, commands: &Receiver<Command>, mut thread: Thread) {
    let mut closing = None;
    while closing.is_none()
        && let Ok(first) = commands.recv()
    {
        *locked(&thread.at_work.0) = Some(Instant::now());
        let mut pending = 0;
        for command in std::iter::once(first).chain(commands.try_iter().take(GROUP_MAX)) {
            if let Command::Close(reply) = command {
                closing = Some(reply);
                break;
            }
            match thread.carry_out(store.as_mut(), command, pending) {
                Ok(after) => pending = after,
                Err(error) => return thread.fail(error),
            }
        }
        if let Err(error) = thread.sync(store.as_mut(), pending) {
            return thread.fail(error);
        }
        *locked(&thread.at_work.0) = None;
    }
    drop(store); // Before whoever waits may open it again.
    if let Some(reply) = closing {
        let _nobody_may_wait = reply.send(());
    }
}

/// Tells the observer when the thread ends by a panic of the store, too.
struct Thread {
    observer: Option<Box<dyn Observer>>,
    syncs: Arc<Stopwatch>,
    at_work: Arc<AtWork>,
}

impl Thread {
    /// Returns how many records wait for a sync afterwards.
    fn carry_out(
        &mut self,
        store: &mut dyn Store,
        command: Command,
        pending: u64,
    ) -> Result<u64, StoreError> {
        match command {
            Command::Append(record) => store.append(&record)?,
            Command::Checkpoint(record, replaces) => store.checkpoint(&record, &replaces)?,
            Command::Observe(observer) => {
                self.observer = Some(observer);
                return Ok(pending);
            }
            Command::Fence(why) => {
                store.fence(&why)?;
                return Ok(pending);
            }
            Command::Close(_) => return Ok(pending),
            Command::Open(reply) => {
                self.sync(store, pending)?;
                drop(reply.send(store.open()));
                return Ok(0);
            }
        }
        Ok(pending + 1)
    }

    fn sync(&self, store: &mut dyn Store, pending: u64) -> Result<(), StoreError> {
        if 0 < pending {
            let began = Instant::now();
            store.sync()?;
            self.syncs.note(1, began.elapsed());
            if let Some(observer) = &self.observer {
                observer.durable(pending);
            }
        }
        Ok(())
    }

    fn fail(&mut self, error: StoreError) {
        if let Some(observer) = self.observer.take() {
            observer.failed(error);
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if thread::panicking() {
            self.fail(StoreError::Broken);
        }
    }
}

/// Commands between two syncs, at most.
const GROUP_MAX: usize = 4_096;
