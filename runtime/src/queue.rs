//! The bounded queue of one event type. It outlives the handler actor that drains it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use synod_core::{Acknowledgement, Envelope, Envelopes, Receipt, Room};
use tokio::sync::Notify;

use crate::gate::{locked, until};
use crate::sequence::{Source, Taken, Ticket};

/// Envelopes of one event type from one source, in order.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Which queue they were counted in.
    pub(crate) slot: usize,
    pub(crate) source: Source,
    /// What is left of it.
    pub(crate) events: Envelopes,
    /// What its sender waits for, and when it is to hear it.
    pub(crate) receipt: Option<(Acknowledgement, Receipt)>,
}

/// Batches in the order of arrival, bounded in events.
#[derive(Debug)]
pub(crate) struct Queue {
    batches: Mutex<VecDeque<Batch>>,
    /// Events that are queued, parked or running: everything taken and not yet handled.
    waiting: AtomicUsize,
    /// The most of them that there ever were.
    most: AtomicUsize,
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
            most: AtomicUsize::new(0),
            bound: bound.max(1),
            closed: AtomicBool::new(false),
            filled: Notify::new(),
            emptied: Notify::new(),
        }
    }

    /// Takes the batch, whatever the bound says.
    pub(crate) fn push(&self, batch: Batch) {
        self.pass(batch.events.len());
        self.append(&mut locked(&self.batches), batch);
    }

    fn append(&self, batches: &mut VecDeque<Batch>, batch: Batch) {
        let was_empty = batches.is_empty();
        batches.push_back(batch);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Counts events that are handled without waiting here.
    pub(crate) fn pass(&self, events: usize) {
        let waiting = self.waiting.fetch_add(events, Ordering::AcqRel) + events;
        if self.most() < waiting {
            self.most.fetch_max(waiting, Ordering::Relaxed);
        }
    }

    /// Takes an event of the application if there is room, into the batch before it if that still
    /// waits and was the application's last. The caller holds the lock of the application, so it
    /// does not overshoot the bound.
    pub(crate) fn offer(
        &self,
        slot: usize,
        ticket: Ticket,
        offered: &mut Option<Envelope>,
    ) -> Taken {
        let mut batches = locked(&self.batches);
        if self.closed.load(Ordering::Acquire) || !self.has_room() {
            return Taken::Nothing;
        }
        let Some(envelope) = offered.take() else { return Taken::Nothing };
        self.pass(1);
        let last = batches
            .back_mut()
            .filter(|last| last.events.len() < JOINED_MAX && last.source.is_just_before(ticket));
        let alone = match last {
            Some(last) => last.events.push(envelope).err(),
            None => Some(envelope),
        };
        let Some(envelope) = alone else { return Taken::WithOthers };
        let (source, events) = (Source::Peer(ticket), envelope.into());
        self.append(&mut batches, Batch { slot, source, events, receipt: None });
        Taken::Alone
    }

    pub(crate) fn pop(&self) -> Option<Batch> {
        locked(&self.batches).pop_front()
    }

    /// So many events are handled, or given up.
    pub(crate) fn done(&self, events: usize) {
        let before = self.waiting.fetch_sub(events, Ordering::AcqRel);
        if self.bound <= before && before - events < self.bound {
            self.emptied.notify_waiters();
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// The most events that have waited at once.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
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

    /// Takes nothing more of the application, and lets go whoever waits for room.
    pub(crate) fn close(&self) {
        {
            // An offer that has looked already is counted before this returns.
            let _no_offer = locked(&self.batches);
            self.closed.store(true, Ordering::Release);
        }
        self.emptied.notify_waiters();
    }
}

/// Events of the application in one batch.
const JOINED_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use synod_core::{EventId, Instance, Lane, LaneId, NodeId, Tag};

    use super::*;
    use crate::sequence::Tickets;

    #[test]
    fn the_most_events_that_have_waited_are_remembered() {
        let queue = Queue::new(2);
        let mut most = Vec::new();
        for (passed, done) in [(3, 0), (0, 2), (1, 2), (5, 1)] {
            queue.pass(passed);
            queue.done(done);
            most.push(queue.most());
        }
        assert_eq!((most, queue.waiting()), (vec![3, 3, 3, 5], 4));
    }

    #[test]
    fn a_closed_queue_takes_nothing_of_the_application_so_a_report_of_what_it_holds_is_whole() {
        let (node, lane) = (NodeId(1), Lane::Ordered(LaneId(0)));
        let (queue, tickets) = (Queue::new(2), Tickets::new([node].into_iter()));
        let offer = || {
            let (id, body) = (EventId::of("test.queue"), bytes::Bytes::new());
            let mut offered = Some(Envelope::from_parts(id, Instance::ROOT, Tag::Plain, body));
            let take = |ticket| queue.offer(0, ticket, &mut offered);
            let _drawn = tickets.draw(node, lane, 1, take);
            offered.is_none()
        };
        assert!(offer());
        queue.close();
        assert!(queue.has_room(), "whoever waits is let go");
        assert!(!offer(), "an event was taken after the end");
        assert_eq!(queue.waiting(), 1);
    }
}
