//! A session as threads and tasks share it: a lock around the state machine, and who is woken.
//!
//! Senders append under a short lock, from any thread. A lane's writer takes its whole portion at
//! once: one write per event would be fifty times slower. Knows nothing of connections but their
//! names.

use std::borrow::Borrow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use synod_core::{Envelope, Framed, LaneCounts, LaneId, SendError, Sent};
use tokio::sync::Notify;

use crate::frame::Sizes;
use crate::session::{
    Bounds, Counts, Misstep, Offer, Owed, Portion, Pushed, Session, SessionId, WireId,
};

/// A session, for as long as one link lasts.
#[derive(Debug)]
pub(crate) struct Channel {
    state: Mutex<State>,
    /// Wakes the task that opens lanes.
    opened: Notify,
    /// Wakes the task that acknowledges.
    owed: Notify,
    /// Wakes the farewell: everything is acknowledged.
    drained: Notify,
}

#[derive(Debug)]
struct State {
    session: Session,
    /// The lanes that have a writer on the connection of now, each with what wakes it.
    writers: BTreeMap<LaneId, Arc<Notify>>,
    /// Lanes that wait for a writer.
    fresh: VecDeque<LaneId>,
    /// Who writes what is pushed now.
    help: Help,
    phase: Phase,
}

/// Whether the first lane that is filled is written without its writer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Help {
    #[default]
    None,
    /// Yes, by whoever has offered it.
    Offered,
    /// This is the lane.
    Asked(LaneId),
}

/// The life of a channel, in this order.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
enum Phase {
    #[default]
    Open,
    /// Nothing is taken any more; what waits is still sent.
    Finishing,
    /// The link has ended.
    Closed,
}

impl Channel {
    pub(crate) fn new(id: SessionId, bounds: Bounds, sizes: Arc<Sizes>) -> Self {
        let state = State {
            session: Session::new(id, bounds, sizes),
            writers: BTreeMap::new(),
            fresh: VecDeque::new(),
            help: Help::None,
            phase: Phase::Open,
        };
        Self {
            state: Mutex::new(state),
            opened: Notify::new(),
            owed: Notify::new(),
            drained: Notify::new(),
        }
    }

    /// Queues an envelope. After `Full` the channel takes nothing any more: a gap in a lane would be
    /// silent otherwise.
    pub(crate) fn push(&self, lane: LaneId, envelope: &Envelope) -> Sent {
        self.push_each(lane, &[envelope])
    }

    /// Queues envelopes in order, as [`Channel::push`] does each, under one lock.
    pub(crate) fn push_each(&self, lane: LaneId, envelopes: &[&Envelope]) -> Sent {
        self.push_on(self.lock(), lane, envelopes.iter().copied())
    }

    /// Queues envelopes in order, as [`Channel::push`] does each. They are copied as a whole if all
    /// of them fit.
    pub(crate) fn push_all(&self, lane: LaneId, envelopes: &Framed) -> Sent {
        let mut state = self.lock();
        match state.push_all(lane, envelopes) {
            Ok(pushed) => {
                self.let_go(state, pushed.was_idle.then_some(lane));
                Sent { queued: envelopes.len() as u64, refused: Vec::new() }
            }
            // Some may fit.
            Err(_) => self.push_on(state, lane, envelopes.envelopes()),
        }
    }

    fn push_on(
        &self,
        mut state: MutexGuard<'_, State>,
        lane: LaneId,
        envelopes: impl Iterator<Item = impl Borrow<Envelope>>,
    ) -> Sent {
        let (mut sent, mut was_idle) = (Sent::default(), false);
        for envelope in envelopes {
            let pushed = state.push(lane, envelope.borrow());
            was_idle |= pushed.is_ok_and(|pushed| pushed.was_idle);
            sent.count(pushed.map(drop));
        }
        self.let_go(state, was_idle.then_some(lane));
        sent
    }

    /// Lets the lock go and then wakes the writer of a lane, which would run into it.
    fn let_go(&self, mut state: MutexGuard<'_, State>, filled: Option<LaneId>) {
        let woken = filled.and_then(|lane| state.wakes(lane));
        drop(state);
        match woken {
            Some(Woken::Writer(writer)) => writer.notify_one(),
            Some(Woken::Opener) => self.opened.notify_one(),
            None => (),
        }
    }

    /// From here on `wire` carries the session, and the peer has taken what `received` says.
    pub(crate) fn attach(&self, wire: WireId, received: &Counts) -> Result<(), Misstep> {
        let mut state = self.lock();
        state.session.attach(wire, received)?;
        state.fresh.clear();
        let old = std::mem::take(&mut state.writers);
        old.values().for_each(|writer| writer.notify_one());
        let waiting: Vec<LaneId> = state.session.outgoing.waiting().collect();
        waiting.into_iter().for_each(|lane| drop(state.wakes(lane)));
        self.opened.notify_one();
        self.owed.notify_one();
        Ok(())
    }

    /// The connection is lost. Says whether it was the one that carried the session.
    pub(crate) fn detach(&self, wire: WireId) -> bool {
        self.lock().session.detach(wire)
    }

    /// The next lane that needs a writer on `wire`; none once the channel is finishing and all
    /// have one, or if the session has moved on.
    pub(crate) async fn next_lane(&self, wire: WireId) -> Option<LaneId> {
        loop {
            {
                let mut state = self.lock();
                if !state.session.carries(wire) {
                    return None;
                }
                if let Some(lane) = state.fresh.pop_front() {
                    return Some(lane);
                }
                if state.phase != Phase::Open {
                    return None;
                }
            }
            self.opened.notified().await;
        }
    }

    /// The number of the frame that a writer of `lane` gets next.
    pub(crate) fn cursor(&self, lane: LaneId) -> u64 {
        self.lock().session.outgoing.cursor(lane)
    }

    /// The next portion of a lane, at least one frame; none once the channel is finishing and the
    /// lane is empty, or if the session has moved on.
    pub(crate) async fn take(&self, wire: WireId, lane: LaneId) -> Option<Portion> {
        loop {
            let filled = {
                let mut state = self.lock();
                if !state.session.carries(wire) || state.phase == Phase::Closed {
                    return None;
                }
                if let Some(portion) = state.session.outgoing.take(lane) {
                    return Some(portion);
                }
                if state.phase != Phase::Open {
                    return None;
                }
                Arc::clone(state.writers.get(&lane)?)
            };
            filled.notified().await;
        }
    }

    /// The next portion of a lane, if it has one that may be written to `wire`. Its writer gets the rest.
    pub(crate) fn take_waiting(&self, wire: WireId, lane: LaneId) -> Option<Portion> {
        let mut state = self.lock();
        let may_leave = state.session.carries(wire) && state.phase != Phase::Closed;
        let portion = if may_leave { state.session.outgoing.take(lane) } else { None };
        state.wake_if_waiting(lane);
        portion
    }

    /// Whether what comes on `wire` is to be taken. If so, and if `helps`, the first lane that is filled from
    /// here until [`Channel::take_help_back`], which is to be soon, does not wake its writer.
    pub(crate) fn lets_in(&self, wire: WireId, helps: bool) -> bool {
        let mut state = self.lock();
        let carries = state.session.carries(wire);
        if carries && helps {
            state.help = Help::Offered;
        }
        carries
    }

    /// The lane that is to be written, if one was filled in the meantime.
    pub(crate) fn take_help_back(&self) -> Option<LaneId> {
        match std::mem::take(&mut self.lock().help) {
            Help::Asked(lane) => Some(lane),
            Help::None | Help::Offered => None,
        }
    }

    /// Wakes the writer of a lane that has something for it.
    pub(crate) fn wake_if_waiting(&self, lane: LaneId) {
        self.lock().wake_if_waiting(lane);
    }

    /// Whether a lane has something for its writer.
    pub(crate) fn is_waiting(&self, lane: LaneId) -> bool {
        self.lock().session.outgoing.is_waiting(lane)
    }

    /// The peer has said what it has of each lane. Returns for how many of them that is no news.
    pub(crate) fn acknowledged(&self, wire: WireId, counts: &Counts) -> Result<usize, Misstep> {
        let mut state = self.lock();
        let mut idle = counts.len();
        if state.session.carries(wire) {
            for (lane, count) in counts {
                idle -= usize::from(state.session.outgoing.acknowledged(*lane, *count)?);
            }
            if state.phase == Phase::Finishing && state.session.outgoing.unacknowledged() == 0 {
                self.drained.notify_one();
            }
        }
        Ok(idle)
    }

    /// Whether `wire` carries the session: what comes on another one is of the past.
    pub(crate) fn carries(&self, wire: WireId) -> bool {
        self.lock().session.carries(wire)
    }

    /// The peer has opened a stream for `lane`, on which frame number `first` comes first. Returns
    /// how many of its frames are to be skipped.
    pub(crate) fn open(&self, lane: LaneId, first: u64) -> Result<u64, Misstep> {
        self.lock().session.incoming.open(lane, first)
    }

    /// So many frames more have been handed over. They never are again.
    pub(crate) fn take_in(&self, lane: LaneId, frames: u64) {
        self.lock().session.incoming.take(lane, frames);
    }

    /// The same, and they may be acknowledged.
    pub(crate) fn take_in_settled(&self, lane: LaneId, frames: u64, bytes: u64) {
        let mut state = self.lock();
        state.session.incoming.take(lane, frames);
        self.settle_in(state, lane, frames, bytes);
    }

    /// So many frames more, of so many bytes, are dealt with, and may be acknowledged.
    pub(crate) fn settle(&self, lane: LaneId, frames: u64, bytes: u64) {
        self.settle_in(self.lock(), lane, frames, bytes);
    }

    fn settle_in(&self, mut state: MutexGuard<'_, State>, lane: LaneId, frames: u64, bytes: u64) {
        let before = state.session.incoming.owed();
        let is_more_urgent = before != state.session.incoming.settle(lane, frames, bytes);
        drop(state);
        if is_more_urgent {
            self.owed.notify_one();
        }
    }

    /// Resolves when an acknowledgement is owed that is as urgent as this.
    pub(crate) async fn owes(&self, urgent: Owed) {
        loop {
            let owed = self.lock().session.incoming.owed();
            if owed == urgent || owed == Owed::Now {
                return;
            }
            self.owed.notified().await;
        }
    }

    /// The acknowledgements that are owed, for `wire` to tell. They count as told from here on. None if
    /// the session has moved on: nobody would hear them there.
    pub(crate) fn acknowledge(&self, wire: WireId) -> Option<Counts> {
        let mut state = self.lock();
        state.session.carries(wire).then(|| state.session.incoming.acknowledge())
    }

    pub(crate) fn id(&self) -> SessionId {
        self.lock().session.id()
    }

    /// What this node has taken of each lane.
    pub(crate) fn received(&self) -> Counts {
        self.lock().session.incoming.received()
    }

    /// What a dialler says of this session, on a connection of that name.
    pub(crate) fn offer(&self, wire: WireId, fresh: SessionId) -> Offer {
        let state = self.lock();
        let session = &state.session;
        Offer {
            wire,
            last_wire: session.last_wire(),
            live: Some(session.id()),
            fresh,
            received: session.incoming.received(),
        }
    }

    /// Adds what the lanes of each direction count.
    pub(crate) fn count(&self, counts: &mut BTreeMap<LaneId, LaneCounts>) {
        let state = self.lock();
        let session = &state.session;
        for (lane, more) in session.outgoing.counts().chain(session.incoming.counts()) {
            *counts.entry(lane).or_default() += more;
        }
    }

    /// Bytes that the peer has not acknowledged.
    pub(crate) fn kept(&self) -> usize {
        self.lock().session.outgoing.kept()
    }

    /// How many times a connection has taken up where another one stopped.
    pub(crate) fn resumed(&self) -> u64 {
        self.lock().session.resumed()
    }

    /// Whether nothing more is taken, and what waits is still sent.
    pub(crate) fn is_finishing(&self) -> bool {
        self.lock().phase == Phase::Finishing
    }

    /// Whether nothing more is taken, and the peer has yet to acknowledge some of what was.
    pub(crate) fn is_unfinished(&self) -> bool {
        let state = self.lock();
        state.phase == Phase::Finishing && 0 < state.session.outgoing.unacknowledged()
    }

    /// Takes nothing more; what waits is still sent.
    pub(crate) fn finish(&self) {
        self.advance(Phase::Finishing);
    }

    /// Resolves when the peer has acknowledged everything, and nothing more is taken.
    pub(crate) async fn drained(&self) {
        let is_drained = || {
            let state = self.lock();
            state.phase != Phase::Open && state.session.outgoing.unacknowledged() == 0
        };
        while !is_drained() {
            self.drained.notified().await;
        }
    }

    /// Drops what the peer has not acknowledged. Returns how many frames of each lane that is.
    pub(crate) fn close(&self) -> Counts {
        self.advance(Phase::Closed);
        let mut state = self.lock();
        let dropped = state.session.outgoing.unacknowledged_by_lane();
        state.session.outgoing.clear();
        state.fresh.clear();
        dropped
    }

    fn advance(&self, phase: Phase) {
        let mut state = self.lock();
        state.phase = state.phase.max(phase);
        for writer in state.writers.values() {
            writer.notify_one();
        }
        self.opened.notify_one();
        self.drained.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is to be woken when a lane has something for a writer.
enum Woken {
    Writer(Arc<Notify>),
    /// Whoever opens lanes.
    Opener,
}

impl State {
    /// Who is to hear that `lane` has something for a writer; nobody while there is no connection.
    fn wakes(&mut self, lane: LaneId) -> Option<Woken> {
        if let Some(writer) = self.writers.get(&lane) {
            if self.help == Help::Offered {
                self.help = Help::Asked(lane);
                return None;
            }
            return Some(Woken::Writer(Arc::clone(writer)));
        }
        self.session.wire()?;
        self.writers.insert(lane, Arc::default());
        self.fresh.push_back(lane);
        Some(Woken::Opener)
    }

    fn wake_if_waiting(&self, lane: LaneId) {
        if self.session.outgoing.is_waiting(lane)
            && let Some(writer) = self.writers.get(&lane)
        {
            writer.notify_one();
        }
    }

    fn push(&mut self, lane: LaneId, envelope: &Envelope) -> Result<Pushed, SendError> {
        if self.phase != Phase::Open {
            return Err(SendError::Down);
        }
        let pushed = self.session.outgoing.push(lane, envelope);
        if pushed == Err(SendError::Full) {
            self.phase = Phase::Closed;
        }
        pushed
    }

    /// Queues all of them, or none.
    fn push_all(&mut self, lane: LaneId, envelopes: &Framed) -> Result<Pushed, SendError> {
        if self.phase != Phase::Open {
            return Err(SendError::Down);
        }
        self.session.outgoing.push_all(lane, envelopes)
    }
}

#[cfg(test)]
mod tests;
