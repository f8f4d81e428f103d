//! The bounded queue of one event type. It outlives the handler actor that drains it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use synod_core::{Acknowledgement, Envelope, Receipt, Room};
use tokio::sync::Notify;

use crate::gate::{locked, until};
use crate::sequence::Source;

/// Envelopes of one event type from one source, in order.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Which queue they were counted in.
    pub(crate) slot: usize,
    pub(crate) source: Source,
    pub(crate) events: Events,
    /// What its sender waits for, and when it is to hear it.
    pub(crate) receipt: Option<(Acknowledgement, Receipt)>,
}

/// What is left of a batch.
#[derive(Debug)]
pub(crate) enum Events {
    One(Option<Envelope>),
    Many(std::vec::IntoIter<Envelope>),
}

impl Iterator for Events {
    type Item = Envelope;

    fn next(&mut self) -> Option<Envelope> {
        match self {
            Self::One(event) => event.take(),
            Self::Many(events) => events.next(),
        }
    }
}

impl Events {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(event) => usize::from(event.is_some()),
            Self::Many(events) => events.len(),
        }
    }
}

/// Batches in the order of arrival, bounded in events.
#[derive(Debug)]
pub(crate) struct Queue {
    batches: Mutex<VecDeque<Batch>>,
    /// Events that are queued, parked or running: everything taken and not yet handled.
    waiting: AtomicUsize,
    bound: usize,
    closed: AtomicBool,
    filled: Notify,
    emptied: Notify,
}

impl Queue {
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            batches: Mutex::default(),
            waiting: AtomicUsize::new(0),
            bound: bound.max(1),
            closed: AtomicBool::new(false),
            filled: Notify::new(),
            emptied: Notify::new(),
        }
    }

    /// Takes the batch, whatever the bound says.
    pub(crate) fn push(&self, batch: Batch) {
        self.waiting.fetch_add(batch.events.len(), Ordering::AcqRel);
        locked(&self.batches).push_back(batch);
        self.filled.notify_one();
    }

    /// Takes what `make` makes if there is room. The caller holds the lock of its source, so
    /// sources overshoot the bound by one batch each at most.
    pub(crate) fn offer(&self, make: impl FnOnce() -> Batch) -> bool {
        let room = self.has_room();
        if room {
            self.push(make());
        }
        room
    }

    pub(crate) fn pop(&self) -> Option<Batch> {
        locked(&self.batches).pop_front()
    }

    /// One event is handled, or given up.
    pub(crate) fn done(&self) {
        if self.waiting.fetch_sub(1, Ordering::AcqRel) == self.bound {
            self.emptied.notify_waiters();
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    pub(crate) fn bound(&self) -> usize {
        self.bound
    }

    pub(crate) fn is_empty(&self) -> bool {
        locked(&self.batches).is_empty()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.waiting() < self.bound || self.closed.load(Ordering::Acquire)
    }

    /// Resolves when a batch waits.
    pub(crate) async fn filled(&self) {
        while self.is_empty() {
            self.filled.notified().await;
        }
    }

    /// Resolves when there is room, or never will be.
    pub(crate) fn room(self: &Arc<Self>) -> Room {
        let queue = Arc::clone(self);
        Box::pin(async move { until(&queue.emptied, || queue.has_room()).await })
    }

    /// Lets go whoever waits for room.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.emptied.notify_waiters();
    }
}
