//! The state of a node, and the one place where its handlers run.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use synod_core::{
    Effect, Envelope, EnvelopeRef, Fingerprint, Input, LinkChange, Machine, NodeId, PeerDown,
    PeerUp, StepError, Tag, Time,
};

use crate::counters::DropReason;
use crate::failure::{DeadLetter, text_of};
use crate::host::{Host, Slot};
use crate::limits::Limits;
use crate::queue::Batch;
use crate::recorder::Recorder;
use crate::sequence::{Ready, Sequence, Source};
use crate::timings::Stopwatch;

/// The machine, and what is to be fed to it. Whoever holds the lock of the cell may feed it, so
/// handlers are atomic.
pub(crate) struct Cell {
    pub(crate) engine: Engine,
    pub(crate) sequence: Sequence,
}

/// The machine of the running life.
pub(crate) struct Engine {
    /// `None` between two lives, and after the last one.
    pub(crate) machine: Option<Box<dyn Machine>>,
    effects: Vec<Effect>,
    /// The peers that this life of the machine knows to be linked.
    linked: BTreeSet<NodeId>,
    /// The time of the running step, read once for a few steps: reading it costs as much as a
    /// short handler.
    now: Time,
    /// Whether no handler has run since that reading.
    is_now: bool,
    /// How long the effects of the running batch have taken to hand over.
    handing_over: Time,
    lap: Lap,
    pub(crate) recorder: Option<Recorder>,
}

/// What came of a step.
pub(crate) enum Stepped {
    Handled,
    Refused(StepError),
    /// A handler panicked, with this text. The machine is gone.
    Died(String),
}

/// Whether somebody has to go on where a turn ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Turn {
    /// Nothing is left to do.
    Idle,
    /// There is more to do, once others had their turn.
    More,
}

impl Cell {
    pub(crate) fn new(machine: Box<dyn Machine>, recorder: Option<Recorder>) -> Self {
        let (effects, linked, now) = (Vec::new(), BTreeSet::new(), Time::ZERO);
        let (is_now, handing_over, lap) = (true, Time::ZERO, Lap::default());
        let mut engine =
            Engine { machine: None, effects, linked, now, is_now, handing_over, lap, recorder };
        engine.replace(machine, now);
        Self { engine, sequence: Sequence::default() }
    }

    /// Handles what is ready, and what waits in the queue of `slot`, up to the bound of a turn.
    pub(crate) fn turn(&mut self, host: &Arc<Host>, slot: Option<usize>) -> Turn {
        self.engine.now = host.now();
        let mut budget = Budget::new(&host.limits, self.engine.now);
        let queue = slot.and_then(|slot| host.slots.get(slot)).map(|slot| &slot.queue);
        // Also if more than a turn is ready: it is to share the turns from now on.
        while let Some(batch) = queue.and_then(|queue| queue.pop()) {
            self.sequence.admit(batch);
            if !self.run_ready(host, &mut budget) {
                return self.pause(host);
            }
        }
        if !self.run_ready(host, &mut budget) {
            return self.pause(host);
        }
        self.engine.summarize(host);
        Turn::Idle
    }

    /// Runs what is ready; false if some of it is left. Then the next turn begins with another
    /// batch, if there is one: what is ready at the same time is in no order.
    fn run_ready(&mut self, host: &Arc<Host>, budget: &mut Budget) -> bool {
        while !self.sequence.ready.is_empty() {
            if budget.is_used_up() || !host.is_open() || !self.run_first(host, budget) {
                if budget.is_used_up() {
                    self.sequence.ready.rotate_left(1);
                }
                return false;
            }
        }
        true
    }

    /// Fires the timers that are due, up to the bound of a turn.
    pub(crate) fn fire_timers(&mut self, host: &Arc<Host>) -> Turn {
        let mut budget = Budget::new(&host.limits, host.now());
        while host.is_open() {
            self.engine.now = host.now();
            budget.look(self.engine.now);
            if budget.is_used_up() {
                break;
            }
            budget.take();
            let Some(id) = host.timers.take_due(self.engine.now) else {
                return Turn::Idle;
            };
            self.engine.begin_other(host);
            let stepped = self.engine.step(host, &Input::Timer(id));
            self.engine.end_other(host);
            if let Stepped::Died(panic) = stepped {
                host.died(self.engine.letter(host, "timer", None, &[], panic));
            }
        }
        self.pause(host)
    }

    /// Whoever brought the machine back goes on; nobody does if it is gone for good.
    fn pause(&self, host: &Host) -> Turn {
        self.engine.summarize(host);
        if self.engine.machine.is_some() && !host.has_ended() { Turn::More } else { Turn::Idle }
    }

    /// Runs the first of what is ready; false if it could not be finished.
    fn run_first(&mut self, host: &Arc<Host>, budget: &mut Budget) -> bool {
        let finished = match self.sequence.ready.front_mut() {
            Some(Ready::Batch(batch)) => self.engine.run(host, batch, budget),
            Some(Ready::Change(peer, change)) => {
                self.engine.begin_other(host);
                self.engine.link(host, *peer, change);
                self.engine.end_other(host);
                host.links.get(peer).inspect(|link| link.told());
                true
            }
            None => true,
        };
        if finished {
            if let Some(Ready::Batch(Batch { receipt, .. })) = self.sequence.ready.front_mut()
                && let Some((when, receipt)) = receipt.take()
            {
                host.settle(when, receipt);
            }
            self.sequence.complete();
        }
        finished
    }
}

impl Engine {
    /// A new life begins.
    pub(crate) fn replace(&mut self, mut machine: Box<dyn Machine>, now: Time) {
        machine.gather_sends();
        if let Some(recorder) = &mut self.recorder {
            recorder.begin(machine.incarnation(), now);
        }
        self.machine = Some(machine);
        self.now = now;
        self.linked.clear();
    }

    /// One step; hands over its effects if it ends well.
    pub(crate) fn step(&mut self, host: &Arc<Host>, input: &Input) -> Stepped {
        let (now, effects) = (self.now, &mut self.effects);
        let Some(machine) = &mut self.machine else {
            return Stepped::Died(String::from("there is no machine"));
        };
        let stepped = catch_unwind(AssertUnwindSafe(|| machine.step(now, input, effects)));
        if let Some(recorder) = &mut self.recorder {
            let returned = stepped.as_ref().map(|returned| Fingerprint::of(returned, effects));
            recorder.note(now, input, returned.unwrap_or(Fingerprint::PANICKED));
        }
        self.conclude(host, stepped)
    }

    /// The same for an event of a peer that stands elsewhere, and that no recorder wants.
    fn deliver(&mut self, host: &Arc<Host>, from: NodeId, envelope: EnvelopeRef<'_>) -> Stepped {
        let (now, effects) = (self.now, &mut self.effects);
        let Some(machine) = &mut self.machine else {
            return Stepped::Died(String::from("there is no machine"));
        };
        let deliver = || machine.deliver(now, from, envelope, effects);
        let stepped = catch_unwind(AssertUnwindSafe(deliver));
        self.conclude(host, stepped)
    }

    fn conclude(
        &mut self,
        host: &Arc<Host>,
        stepped: std::thread::Result<Result<(), StepError>>,
    ) -> Stepped {
        self.is_now = false;
        match stepped {
            Ok(Ok(())) => {
                if !self.effects.is_empty() {
                    let began = host.now();
                    host.hand_over(&mut self.effects);
                    (self.now, self.is_now) = (host.now(), true);
                    self.handing_over += self.now.saturating_sub(began);
                }
                Stepped::Handled
            }
            Ok(Err(error)) => Stepped::Refused(error),
            Err(panic) => {
                self.effects.clear();
                self.bury();
                Stepped::Died(text_of(panic.as_ref()))
            }
        }
    }

    /// Drops a machine whose state is not to be used any more; its `drop` may well panic.
    fn bury(&mut self) {
        let machine = self.machine.take();
        if catch_unwind(AssertUnwindSafe(|| drop(machine))).is_err() {
            tracing::error!("the state of the panicked handler panicked when it was dropped");
        }
    }

    /// A handler of a timer or of a change of a link is about to run.
    fn begin_other(&mut self, host: &Host) {
        host.busy.begin(host.no_slot(), self.now);
        self.handing_over = Time::ZERO;
        self.lap = Lap { events: 1, began: self.now, handed_over: Time::ZERO };
    }

    fn end_other(&mut self, host: &Host) {
        host.busy.end();
        self.read_clock(host);
        self.end_lap(&host.other_times);
    }

    /// Reads the clock, unless it was just read.
    fn read_clock(&mut self, host: &Host) {
        if !self.is_now {
            self.now = host.now();
        }
    }

    /// Notes how long the handlers have taken that ran since the clock was read before, apart from handing
    /// over what they asked for.
    fn end_lap(&mut self, times: &Stopwatch) {
        let Lap { events, began, handed_over } = self.lap;
        let elsewhere = self.handing_over.saturating_sub(handed_over);
        times.note(events, self.now.saturating_sub(began).saturating_sub(elsewhere));
        self.lap = Lap { events: 0, began: self.now, handed_over: self.handing_over };
    }

    /// Handles the events of a batch, within the budget; false if some are left.
    fn run(&mut self, host: &Arc<Host>, batch: &mut Batch, budget: &mut Budget) -> bool {
        let Some(slot) = host.slots.get(batch.slot) else {
            return true;
        };
        let (began, before) = (self.now, batch.events.len());
        self.handing_over = Time::ZERO;
        self.lap = Lap { events: 0, began, handed_over: Time::ZERO };
        host.busy.begin(batch.slot, began);
        let finished = self.run_events(host, slot, batch, budget);
        self.read_clock(host);
        self.end_lap(&slot.times);
        let took = self.now.saturating_sub(began);
        // Who was woken may have run before this thread went on: that is not the handler's time.
        let alone = took.saturating_sub(self.handing_over);
        slot.pace.note(before - batch.events.len(), took, alone, host.limits.quick_handler);
        finished
    }

    fn run_events(
        &mut self,
        host: &Arc<Host>,
        slot: &Slot,
        batch: &mut Batch,
        budget: &mut Budget,
    ) -> bool {
        let mut done = Done { host, slot, source: batch.source, taken: 0 };
        loop {
            if !host.is_open() {
                return false;
            }
            if batch.events.is_empty() {
                return true;
            }
            if budget.is_reading_due() {
                self.now = host.now();
                self.end_lap(&slot.times);
                budget.look(self.now);
                done.settle();
            }
            if budget.is_used_up() {
                return false;
            }
            budget.take();
            done.taken += 1;
            self.lap.events += 1;
            self.handle_next(host, slot, batch);
        }
    }

    /// Handles the next event of a batch, where it stands if it may.
    fn handle_next(&mut self, host: &Arc<Host>, slot: &Slot, batch: &mut Batch) {
        let peer = batch.source.peer().filter(|peer| *peer != host.id && self.recorder.is_none());
        if let Some(peer) = peer
            && let Some(envelope) = batch.events.next_in_place()
        {
            match self.deliver(host, peer, envelope) {
                Stepped::Handled => slot.count_handled(),
                stepped => self.refuse(host, slot, Some(peer), &envelope.to_owned(), stepped),
            }
        } else if let Some(envelope) = batch.events.next() {
            self.handle(host, slot, batch.source, envelope);
        }
    }

    /// Handles one event of a batch.
    fn handle(&mut self, host: &Arc<Host>, slot: &Slot, source: Source, envelope: Envelope) {
        let (from, input) = match source {
            Source::Peer(ticket) if ticket.peer != host.id => {
                (Some(ticket.peer), Input::Deliver { from: ticket.peer, envelope })
            }
            Source::Job { life } if life != host.incarnation() => {
                return host.count_drop(DropReason::LifeEnded, None, envelope.event());
            }
            Source::Peer(_) if host.nobody_waits_for(&envelope) => {
                slot.refused.fetch_add(1, Ordering::Relaxed);
                return host.count_drop(DropReason::Expired, None, envelope.event());
            }
            Source::Peer(_) | Source::Job { .. } => (None, Input::Trigger(envelope)),
        };
        let stepped = self.step(host, &input);
        if let Stepped::Handled = stepped {
            return slot.count_handled();
        }
        if let Input::Deliver { envelope, .. } | Input::Trigger(envelope) = &input {
            self.refuse(host, slot, from, envelope, stepped);
        }
    }

    /// Says what became of an event that was not handled.
    fn refuse(
        &self,
        host: &Arc<Host>,
        slot: &Slot,
        from: Option<NodeId>,
        envelope: &Envelope,
        stepped: Stepped,
    ) {
        slot.refused.fetch_add(1, Ordering::Relaxed);
        match stepped {
            Stepped::Handled => (),
            Stepped::Refused(error) => {
                let reason = DropReason::from(&error);
                host.count_drop_since(reason, from, envelope.event(), Some(&error));
                if let (Tag::Ask(number), None) = (envelope.tag(), from) {
                    host.asks.resolve(number, Err(error.to_string()));
                }
            }
            Stepped::Died(panic) => {
                host.count_drop(DropReason::Poison, from, envelope.event());
                let name = host.catalogue.name(envelope.event());
                host.died(self.letter(host, &name, from, envelope.body(), panic));
            }
        }
    }

    /// Tells the machine of a link, unless it is the end of one that it never knew.
    fn link(&mut self, host: &Arc<Host>, peer: NodeId, change: &LinkChange) {
        let (input, name) = match *change {
            LinkChange::Up { incarnation } => {
                self.linked.insert(peer);
                (Input::PeerUp(PeerUp { peer, incarnation }), "peer_up")
            }
            LinkChange::Down(reason) if self.linked.remove(&peer) => {
                (Input::PeerDown(PeerDown { peer, reason }), "peer_down")
            }
            _ => return,
        };
        if let Stepped::Died(panic) = self.step(host, &input) {
            host.died(self.letter(host, name, Some(peer), &[], panic));
        }
    }

    pub(crate) fn letter(
        &self,
        host: &Host,
        event: &str,
        from: Option<NodeId>,
        bytes: &[u8],
        panic: String,
    ) -> DeadLetter {
        let (event, bytes) = (String::from(event), Vec::from(bytes));
        DeadLetter { event, from, bytes, panic, incarnation: host.incarnation() }
    }

    /// Refreshes the summary if a status has asked for it while the cell was busy.
    fn summarize(&self, host: &Host) {
        if host.summary.is_wanted() {
            self.store_summary(host);
        }
    }

    pub(crate) fn store_summary(&self, host: &Host) {
        if let Some(machine) = &self.machine {
            host.summary.set(&machine.summary());
        }
    }
}

/// Steps that share one reading of the clock, once a turn has taken so many.
const STEPS_PER_READING: usize = 8;

/// What has happened since the clock was read for it.
#[derive(Clone, Copy, Default)]
struct Lap {
    events: u64,
    began: Time,
    /// What [`Engine::handing_over`] was then.
    handed_over: Time,
}

/// What is left of a turn.
struct Budget {
    events: usize,
    ends: Time,
    /// Steps until the next reading of the clock.
    steps: usize,
    /// Steps from that one to the one after it. Grows from one, so that a slow handler is noticed
    /// at once, and a fast one does not pay for it.
    interval: usize,
}

impl Budget {
    fn new(limits: &Limits, now: Time) -> Self {
        let (events, ends) = (limits.turn_events.max(1), now.saturating_add(limits.turn_time));
        Self { events, ends, steps: 1, interval: 1 }
    }

    fn is_used_up(&self) -> bool {
        self.events == 0
    }

    fn is_reading_due(&self) -> bool {
        self.steps == 0
    }

    /// The clock was read; a turn that has taken too long has nothing left.
    fn look(&mut self, now: Time) {
        self.steps = self.interval;
        self.interval = (2 * self.interval).min(STEPS_PER_READING);
        if self.ends < now {
            self.events = 0;
        }
    }

    /// Takes one step.
    fn take(&mut self) {
        self.events -= 1;
        self.steps -= 1;
    }
}

/// Counts the events of a batch as done, every few events and when it is dropped, and with it that a
/// handler runs: also when a transport has panicked over their effects.
struct Done<'a> {
    host: &'a Arc<Host>,
    slot: &'a Slot,
    source: Source,
    /// Events since the last count.
    taken: usize,
}

impl Done<'_> {
    fn settle(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        self.slot.queue.done(taken);
        if let Source::Job { .. } = self.source {
            (0..taken).for_each(|_| self.host.job_done());
        }
    }
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.host.busy.end();
        self.settle();
    }
}
