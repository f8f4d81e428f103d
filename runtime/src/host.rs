//! What the actors of one node share.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use ractor::ActorRef;
use synod_core::{
    Acknowledgement, BuildError, Catalogue, Envelope, EventId, Hello, Input, LaneId, Machine,
    NodeId, Role, Tag, Takes, Time, Transport,
};
use tokio::sync::{Notify, watch};

use crate::asks::Asks;
use crate::busy::Busy;
use crate::cell::{Cell, Stepped, Turn};
use crate::counters::{DropReason, Drops};
use crate::failure::{DeadLetter, EndReason, Failures, PanicPolicy};
use crate::gate::{locked, until};
use crate::jobs::Jobs;
use crate::limits::Limits;
use crate::link::Link;
use crate::outgoing::Outgoing;
use crate::outputs::Speaker;
use crate::pace::Pace;
use crate::queue::{Batch, Queue};
use crate::recorder::{Recorder, Tape};
use crate::sequence::Tickets;
use crate::shut_out::ShutOut;
use crate::status::SummaryCache;
use crate::store::writer::{Observer, Writer};
use crate::store::{Opened, StoreError};
use crate::supervisor::Order;
use crate::timers::Timers;
use crate::timings::Stopwatch;

/// Makes the machine of the life with this incarnation.
pub(crate) type Make = Box<dyn Fn(u64) -> Result<Box<dyn Machine>, BuildError> + Send + Sync>;

/// Everything that outlives the death of any one actor of the node.
pub(crate) struct Host {
    pub(crate) id: NodeId,
    pub(crate) limits: Limits,
    /// When events of peers are acknowledged, and of which lanes at another time.
    pub(crate) acknowledgement: Acknowledgement,
    pub(crate) acknowledgements: BTreeMap<LaneId, Acknowledgement>,
    pub(crate) policy: PanicPolicy,
    pub(crate) catalogue: Catalogue,
    pub(crate) make: Make,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) started: Instant,
    /// One per handled event type, and a last one for the results of jobs.
    pub(crate) slots: Vec<Slot>,
    pub(crate) slot_of: BTreeMap<EventId, usize>,
    pub(crate) links: BTreeMap<NodeId, Link>,
    pub(crate) tickets: Tickets,
    pub(crate) cell: tokio::sync::Mutex<Cell>,
    pub(crate) busy: Busy,
    /// How long the handlers of timers and of changes of links take.
    pub(crate) other_times: Stopwatch,
    pub(crate) outgoing: Mutex<Outgoing>,
    pub(crate) writer: Writer,
    /// The recording that runs, or the last one.
    pub(crate) tape: Mutex<Option<Arc<Tape>>>,
    /// What feeds the random choices of the algorithms.
    pub(crate) seed: u64,
    pub(crate) timers: Timers,
    pub(crate) jobs: Jobs,
    pub(crate) asks: Asks,
    pub(crate) speaker: Speaker,
    pub(crate) drops: Drops,
    pub(crate) refusals: Mutex<BTreeMap<&'static str, u64>>,
    pub(crate) shut_out: ShutOut,
    pub(crate) failures: Mutex<Failures>,
    pub(crate) actor_restarts: AtomicU64,
    /// What was seen of the system's clocks.
    pub(crate) pauses: AtomicU64,
    pub(crate) clock_jumps: AtomicU64,
    /// Bytes that were cut off the end of the log.
    pub(crate) torn_bytes: AtomicU64,
    pub(crate) summary: SummaryCache,
    pub(crate) supervisor: OnceLock<ActorRef<Order>>,
    pub(crate) ended: watch::Sender<Option<EndReason>>,
    /// One of the conditions below has changed.
    pub(crate) changed: Notify,
    pub(crate) held_full: AtomicBool,
    alive: AtomicBool,
    /// Whether the first step was taken: until then nothing is handled.
    begun: AtomicBool,
    incarnation: AtomicU64,
    phase: AtomicU8,
    farewell: AtomicBool,
    /// What had been lost of each peer when draining began.
    pub(crate) lost_before: OnceLock<BTreeMap<NodeId, u64>>,
    pub(crate) congestion_asked: AtomicU64,
    pub(crate) congested: AtomicBool,
}

/// The place of one event type: what its handler actor works on, and leaves behind.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) name: &'static str,
    pub(crate) local: bool,
    pub(crate) takes: Takes,
    pub(crate) queue: Arc<Queue>,
    pub(crate) handled: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) pace: Pace,
    pub(crate) times: Stopwatch,
}

impl Slot {
    /// Only the holder of the cell calls it, so a load and a store are enough.
    pub(crate) fn count_handled(&self) {
        let handled = self.handled.load(Ordering::Relaxed);
        self.handled.store(handled + 1, Ordering::Relaxed);
    }
}

/// What a host is made of.
pub(crate) struct Parts {
    pub(crate) id: NodeId,
    pub(crate) peers: Vec<NodeId>,
    pub(crate) limits: Limits,
    pub(crate) policy: PanicPolicy,
    pub(crate) make: Make,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) writer: Writer,
    pub(crate) incarnation: u64,
    pub(crate) recorder: Option<Recorder>,
    pub(crate) seed: u64,
    pub(crate) acknowledgement: Acknowledgement,
    pub(crate) acknowledgements: BTreeMap<LaneId, Acknowledgement>,
}

const RUNNING: u8 = 0;
const DRAINING: u8 = 1;
const PARTING: u8 = 2;
const ENDED: u8 = 3;

impl Host {
    pub(crate) fn new(parts: Parts, machine: Box<dyn Machine>) -> Self {
        let Parts { id, peers, limits, policy, make, transport, writer, incarnation, .. } = parts;
        let recorder = parts.recorder;
        let (acknowledgement, acknowledgements) = (parts.acknowledgement, parts.acknowledgements);
        let catalogue = machine.catalogue();
        let slot_of = catalogue.of(Role::Handler).map(|info| info.id).zip(0..).collect();
        let mut outgoing = Outgoing::default();
        outgoing.begin_life(incarnation, others(&peers, id));
        Self {
            tape: Mutex::new(recorder.as_ref().map(Recorder::tape)),
            seed: parts.seed,
            slots: slots(&catalogue, limits),
            slot_of,
            links: others(&peers, id).map(|peer| (peer, Link::default())).collect(),
            tickets: Tickets::new(peers.iter().copied()),
            cell: tokio::sync::Mutex::new(Cell::new(machine, recorder)),
            busy: Busy::default(),
            other_times: Stopwatch::default(),
            outgoing: Mutex::new(outgoing),
            timers: Timers::new(limits.timers),
            jobs: Jobs::default(),
            asks: Asks::default(),
            speaker: Speaker::new(limits.outputs),
            drops: Drops::default(),
            refusals: Mutex::default(),
            shut_out: ShutOut::default(),
            failures: Mutex::default(),
            actor_restarts: AtomicU64::new(0),
            pauses: AtomicU64::new(0),
            clock_jumps: AtomicU64::new(0),
            torn_bytes: AtomicU64::new(0),
            summary: SummaryCache::default(),
            supervisor: OnceLock::new(),
            ended: watch::Sender::new(None),
            changed: Notify::new(),
            held_full: AtomicBool::new(false),
            alive: AtomicBool::new(true),
            begun: AtomicBool::new(false),
            incarnation: AtomicU64::new(incarnation),
            phase: AtomicU8::new(RUNNING),
            farewell: AtomicBool::new(false),
            lost_before: OnceLock::new(),
            congestion_asked: AtomicU64::new(0),
            congested: AtomicBool::new(false),
            runtime: tokio::runtime::Handle::current(),
            started: Instant::now(),
            id,
            limits,
            acknowledgement,
            acknowledgements,
            policy,
            catalogue,
            make,
            transport,
            writer,
        }
    }

    /// The time since the start of the node.
    pub(crate) fn now(&self) -> Time {
        self.started.elapsed()
    }

    /// Which life of the node this is.
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::Acquire)
    }

    /// How the node presents itself in this life.
    pub(crate) fn hello(&self) -> Hello {
        let events = self.catalogue.from_the_wire();
        Hello { node: self.id, incarnation: self.incarnation(), events }
    }

    /// All nodes of the cluster, in ascending order.
    pub(crate) fn members(&self) -> Vec<NodeId> {
        let mut members: Vec<NodeId> = self.links.keys().copied().chain([self.id]).collect();
        members.sort_unstable();
        members
    }

    /// Whether handlers may run: the machine lives, and effects have room.
    pub(crate) fn is_open(&self) -> bool {
        self.alive.load(Ordering::Acquire)
            && self.has_begun()
            && !self.held_full.load(Ordering::Acquire)
            && self.phase.load(Ordering::Acquire) < PARTING
    }

    /// Whether events from outside are taken.
    pub(crate) fn takes_in(&self) -> bool {
        self.phase.load(Ordering::Acquire) == RUNNING
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.phase.load(Ordering::Acquire) == ENDED
    }

    pub(crate) fn stop_intake(&self) {
        self.phase.fetch_max(DRAINING, Ordering::AcqRel);
        self.slots.iter().for_each(|slot| slot.queue.close());
        self.changed.notify_waiters();
    }

    /// No handler runs from here on, and no timer is fired: what it began would be left undone.
    pub(crate) fn part(&self) {
        self.phase.fetch_max(PARTING, Ordering::AcqRel);
    }

    pub(crate) fn results_slot(&self) -> usize {
        self.slots.len() - 1
    }

    /// What [`Busy`] calls a timer and a change of a link, which have no slot.
    pub(crate) fn no_slot(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn push(&self, slot: usize, batch: Batch) {
        if let Some(slot) = self.slots.get(slot) {
            slot.queue.push(batch);
        }
    }

    pub(crate) fn count_drop(&self, reason: DropReason, peer: Option<NodeId>, event: EventId) {
        self.count_drop_since(reason, peer, event, None);
    }

    /// The same, where there is more to say of it.
    pub(crate) fn count_drop_since(
        &self,
        reason: DropReason,
        peer: Option<NodeId>,
        event: EventId,
        why: Option<&dyn Error>,
    ) {
        if self.drops.add(reason, 1) {
            let (event, count) = (self.catalogue.name(event), self.drops.of(reason));
            let (peer, why) = (peer.map(tracing::field::display), why.map(tracing::field::display));
            let reason = reason.word();
            tracing::warn!(node = %self.id, peer, event, reason, why, count, "dropped");
        }
    }

    /// Whether an event of the application is a question whose asker has given up.
    pub(crate) fn nobody_waits_for(&self, envelope: &Envelope) -> bool {
        matches!(envelope.tag(), Tag::Ask(number) if !self.asks.is_open(number))
    }

    /// Whether the algorithms were started.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Takes the first step. If it is handled, what else there is to do may be done from then on.
    pub(crate) async fn begin(self: &Arc<Self>, input: Input) -> Stepped {
        let stepped = self.cell.lock().await.engine.step(self, &input);
        if matches!(stepped, Stepped::Handled) {
            self.set_begun();
        }
        stepped
    }

    pub(crate) fn set_begun(&self) {
        self.begun.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Handles what is ready and what waits in the queue of `slot`, until nothing is left.
    pub(crate) async fn work(self: &Arc<Self>, slot: Option<usize>) {
        let mut turn = Turn::More;
        while turn == Turn::More && !self.has_ended() {
            turn = self.take_turn(slot).await;
            if turn == Turn::More {
                // What a handler woke may be bound to this thread.
                tokio::task::yield_now().await;
            }
        }
    }

    /// One turn of that.
    pub(crate) async fn take_turn(self: &Arc<Self>, slot: Option<usize>) -> Turn {
        until(&self.changed, || self.is_open() || self.has_ended()).await;
        self.cell.lock().await.turn(self, slot)
    }

    /// A handler has panicked. Called under the lock of the cell.
    pub(crate) fn died(&self, letter: DeadLetter) {
        let (from, bytes) = (letter.from.map(tracing::field::display), letter.first_bytes());
        let size = letter.bytes.len();
        let DeadLetter { event, panic, .. } = &letter;
        tracing::error!(node = %self.id, event, from, size, bytes, panic, "panic: a dead letter");
        self.alive.store(false, Ordering::Release);
        let mut failures = locked(&self.failures);
        failures.keep(letter.clone(), self.limits.dead_letters);
        let restarts = failures.may_restart(self.policy, Instant::now());
        drop(failures);
        if !restarts {
            let stops = self.policy == PanicPolicy::Stop;
            let reason = if stops { EndReason::Panicked } else { EndReason::PanickedTooOften };
            self.end(reason(letter));
        } else if let Some(supervisor) = self.supervisor.get() {
            drop(supervisor.cast(Order::Revive));
        }
    }

    /// From here on the supervisor hears of what happens; it may have happened already.
    pub(crate) fn supervised_by(&self, supervisor: ActorRef<Order>) {
        let supervisor = self.supervisor.get_or_init(|| supervisor);
        if self.has_ended() {
            drop(supervisor.cast(Order::End));
        } else if !self.alive.load(Ordering::Acquire) {
            drop(supervisor.cast(Order::Revive));
        }
    }

    /// Begins the next life. The clock goes on with what the last one left.
    pub(crate) async fn revive(self: &Arc<Self>) {
        if self.alive.load(Ordering::Acquire) || self.has_ended() {
            return;
        }
        match self.begin_life().await {
            Ok(()) => self.timers.changed.notify_one(),
            Err(reason) => self.end(reason),
        }
    }

    /// So many bytes were cut off the end of the log.
    pub(crate) fn count_torn(&self, bytes: u64) {
        if 0 < bytes {
            self.torn_bytes.fetch_add(bytes, Ordering::Relaxed);
            tracing::warn!(node = %self.id, bytes, "cut a torn end off the log");
        }
    }

    async fn begin_life(self: &Arc<Self>) -> Result<(), EndReason> {
        self.asks.forget();
        let lost = self.jobs.forget();
        let opened = self.writer.open().await;
        let Opened { incarnation, records, torn_bytes, .. } =
            opened.map_err(|error| EndReason::Store(error.to_string()))?;
        self.count_torn(torn_bytes);
        self.incarnation.store(incarnation, Ordering::Release);
        let restarted = self.transport.restart(self.hello());
        restarted.map_err(|error| EndReason::Transport(error.to_string()))?;
        let machine = (self.make)(incarnation);
        let machine = machine.map_err(|error| EndReason::Recovery(error.to_string()))?;

        let mut cell = self.cell.lock().await;
        self.timers.clear();
        // A peer may have been faster than this life.
        let unlinked =
            self.links.iter().filter(|(_, link)| !link.is_linked()).map(|(peer, _)| *peer);
        let lost = lost + locked(&self.outgoing).begin_life(incarnation, unlinked);
        self.drops.add(DropReason::LifeEnded, lost as u64);
        cell.engine.replace(machine, self.now());
        match cell.engine.step(self, &Input::Recover(records)) {
            Stepped::Handled => {
                tracing::info!(node = %self.id, incarnation, lost, "a new life has begun");
                self.alive.store(true, Ordering::Release);
                self.changed.notify_waiters();
            }
            Stepped::Refused(error) => return Err(EndReason::Recovery(error.to_string())),
            Stepped::Died(panic) => {
                self.died(cell.engine.letter(self, "recover", None, &[], panic));
            }
        }
        Ok(())
    }

    /// Ends the node; the first reason counts.
    pub(crate) fn end(&self, reason: EndReason) {
        if self.phase.swap(ENDED, Ordering::AcqRel) == ENDED {
            return;
        }
        tracing::info!(node = %self.id, %reason, "the node has ended");
        self.slots.iter().for_each(|slot| slot.queue.close());
        self.speaker.close();
        self.asks.forget();
        self.ended.send_replace(Some(reason));
        self.changed.notify_waiters();
        if let Some(supervisor) = self.supervisor.get() {
            drop(supervisor.cast(Order::End));
        }
        if !self.farewell.load(Ordering::Acquire) {
            drop(self.farewell(Duration::ZERO));
        }
    }

    /// Closes the transport, within `deadline` also where it is being closed already.
    pub(crate) fn farewell(&self, deadline: Duration) -> synod_core::Closing {
        self.farewell.store(true, Ordering::Release);
        self.transport.close(deadline)
    }

    /// Lets go of the store and of the recording, once a handler that still runs has returned. A disk that does
    /// not answer is given up.
    pub(crate) async fn put_away(&self, patience: Duration) {
        let _one_handler_at_most = tokio::time::timeout(patience, self.cell.lock()).await;
        let put_away = async {
            self.writer.close().await;
            let tape = locked(&self.tape).clone();
            if let Some(tape) = tape {
                tape.close().await;
            }
        };
        if tokio::time::timeout(DISK_PATIENCE, put_away).await.is_err() {
            tracing::error!(node = %self.id, "the disk does not answer, and is not waited for any more");
        }
    }
}

/// How long a node that has ended waits for its disk.
const DISK_PATIENCE: Duration = Duration::from_secs(3);

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host of {}", self.id)
    }
}

/// Tells the host what became of its records. It does not keep the host alive.
pub(crate) struct Ledger(pub(crate) std::sync::Weak<Host>);

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ledger")
    }
}

impl Observer for Ledger {
    fn durable(&self, records: u64) {
        if let Some(host) = self.0.upgrade() {
            let _in_runtime = host.runtime.enter(); // A transport may spawn.
            host.writes_durable(records);
        }
    }

    fn failed(&self, error: StoreError) {
        if let Some(host) = self.0.upgrade() {
            let _in_runtime = host.runtime.enter();
            tracing::error!(node = %host.id, %error, "the store has failed");
            host.end(EndReason::Store(error.to_string()));
        }
    }
}

fn others(peers: &[NodeId], id: NodeId) -> impl Iterator<Item = NodeId> {
    peers.iter().copied().filter(move |peer| *peer != id)
}

fn slots(catalogue: &Catalogue, limits: Limits) -> Vec<Slot> {
    let slot = |name, local, takes, queue_events| Slot {
        name,
        local,
        takes,
        queue: Arc::new(Queue::new(queue_events)),
        handled: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        pace: Pace::default(),
        times: Stopwatch::default(),
    };
    let events = catalogue.of(Role::Handler);
    let events = events
        .map(|info| slot(info.name, info.local, info.takes, limits.queue_for(info.bytes_max)));
    let results = slot("results of jobs", true, Takes::Events, limits.queue_events);
    events.chain([results]).collect()
}
