//! What the application holds of a running node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use synod_core::{Catalogue, DecodeError, Envelope, Event, Instance, NodeId, Request, Tag, Takes};
use tokio::time::{Instant, timeout_at};

use crate::failure::EndReason;
use crate::gate::locked;
use crate::host::Host;
use crate::outputs::Outputs;
use crate::status::Status;

/// A running node. Clones are the same node; it runs on when all of them are dropped, until it is
/// shut down or ends by itself.
#[derive(Clone, Debug)]
pub struct NodeHandle(Arc<Host>);

/// Why an event was not taken. The node has not seen it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TriggerError {
    /// No algorithm of the node listens to the event.
    #[error("no algorithm of this node listens to `{event}`")]
    Unhandled {
        /// The wire name.
        event: &'static str,
    },
    /// The event is a question: its handler takes a [`Call`](synod_core::Call).
    #[error(
        "`{event}` is a question, since its handler takes a `Call`: ask it by `NodeHandle::ask`"
    )]
    Question {
        /// The wire name.
        event: &'static str,
    },
    /// The event is asked for, and its handler takes no [`Call`](synod_core::Call): nobody would answer.
    #[error("no algorithm of this node answers `{event}`: its handler is to take a `Call`")]
    Unanswered {
        /// The wire name.
        event: &'static str,
    },
    /// The event is an answer: its handler takes a [`Reply`](synod_core::Reply).
    #[error("`{event}` is an answer, since its handler takes a `Reply`, and nobody has asked")]
    Answer {
        /// The wire name.
        event: &'static str,
    },
    /// The node has ended, or is about to.
    #[error("the node takes no events any more")]
    Closed,
}

/// Why a question has no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The node did not carry out the request, and never will.
    #[error("refused: {0}")]
    Refused(String),
    /// No answer within the deadline, or the life of the node that was asked has ended. The
    /// request may have been carried out, or its handler may have kept it for later; if it still
    /// waited for its handler, it never will be.
    #[error("no answer: the outcome is unknown")]
    Unknown,
    /// There is an answer, but its bytes are not the answer's event. It has been carried out.
    #[error("the answer does not decode: {0}")]
    Undecodable(#[source] DecodeError),
}

/// What a node left undone when it was shut down.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ShutdownReport {
    /// Events that were taken and not handled, by wire name; only those that have any.
    pub unhandled: BTreeMap<&'static str, usize>,
    /// Effects and records that were still waiting for the store.
    pub held: usize,
    /// Jobs that ran or waited.
    pub jobs: usize,
    /// Events that a peer had not acknowledged when its link ended, since draining began, or when the time was
    /// over; only peers that have any. They may have arrived.
    pub unacknowledged: BTreeMap<NodeId, u64>,
    /// Timers that were armed. Waiting for them is not part of draining.
    pub timers: usize,
}

impl ShutdownReport {
    /// Whether everything that was taken was handled, made durable, and handed on.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let is_handed_on = self.unacknowledged.is_empty();
        self.unhandled.is_empty() && self.held == 0 && self.jobs == 0 && is_handed_on
    }
}

impl NodeHandle {
    pub(crate) fn new(host: Arc<Host>) -> Self {
        Self(host)
    }

    pub(crate) fn host(&self) -> &Arc<Host> {
        &self.0
    }

    /// The node.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.0.id
    }

    /// Every event type of the node, for showing outputs.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.0.catalogue
    }

    /// Triggers `event` on the node, at the root of its stack. Waits for room in the queue of the
    /// event type, and while a peer is slower than what is sent to it.
    ///
    /// Events that one task triggers one after the other are handled in that order.
    ///
    /// # Errors
    ///
    /// [`TriggerError`]. Ok means taken, not handled.
    pub async fn trigger<E: Event>(&self, event: &E) -> Result<(), TriggerError> {
        self.trigger_at(Instance::ROOT, event).await
    }

    /// Triggers `event` in one instance of the stack: the one of a key, say.
    ///
    /// # Errors
    ///
    /// As [`NodeHandle::trigger`].
    pub async fn trigger_at<E: Event>(
        &self,
        instance: Instance,
        event: &E,
    ) -> Result<(), TriggerError> {
        self.take(E::NAME, Envelope::seal(event).addressed_to(instance)).await
    }

    /// Triggers an event that is encoded already.
    ///
    /// # Errors
    ///
    /// As [`NodeHandle::trigger`].
    pub async fn trigger_sealed(&self, envelope: &Envelope) -> Result<(), TriggerError> {
        self.take(self.name_of(envelope), envelope.clone()).await
    }

    fn name_of(&self, envelope: &Envelope) -> &'static str {
        let known = self.0.catalogue.handled(envelope.event());
        known.map_or("an event that it does not know", |it| it.name)
    }

    /// Asks the node itself, and waits for an answer until `deadline` has passed. What answers is
    /// a handler of the node that takes a [`Call`](synod_core::Call), now or in a later step.
    ///
    /// # Errors
    ///
    /// [`AskError`].
    pub async fn ask<R: Request>(
        &self,
        request: &R,
        deadline: Duration,
    ) -> Result<R::Answer, AskError> {
        let answer = self.ask_for(R::NAME, Envelope::seal(request), deadline).await?;
        answer.open().map_err(AskError::Undecodable)
    }

    /// Asks what is encoded already, and waits for the answer as it is.
    ///
    /// # Errors
    ///
    /// As [`NodeHandle::ask`].
    pub async fn ask_sealed(
        &self,
        request: &Envelope,
        deadline: Duration,
    ) -> Result<Envelope, AskError> {
        self.ask_for(self.name_of(request), request.clone(), deadline).await
    }

    async fn ask_for(
        &self,
        name: &'static str,
        request: Envelope,
        deadline: Duration,
    ) -> Result<Envelope, AskError> {
        let deadline = after(deadline);
        let asked = self.0.asks.open(self.0.incarnation(), self.0.limits.asks);
        let Some(mut asked) = asked else {
            return Err(AskError::Refused(String::from("too many questions are open")));
        };
        let request = request.tagged(Tag::Ask(asked.number));
        match timeout_at(deadline, self.take(name, request)).await {
            Ok(Ok(())) => (),
            Ok(Err(error)) => return Err(AskError::Refused(error.to_string())),
            Err(_) => return Err(AskError::Refused(String::from("no room within the deadline"))),
        }
        match timeout_at(deadline, &mut asked.outcome).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(refusal))) => Err(AskError::Refused(refusal)),
            Ok(Err(_)) | Err(_) => Err(AskError::Unknown),
        }
    }

    async fn take(&self, name: &'static str, mut envelope: Envelope) -> Result<(), TriggerError> {
        let unhandled = TriggerError::Unhandled { event: name };
        let slot = *self.0.slot_of.get(&envelope.event()).ok_or(unhandled)?;
        self.check_shape(slot, envelope.tag())?;
        loop {
            while self.0.takes_in() && self.0.is_congested() {
                tokio::time::sleep(CONGESTION_POLL).await;
            }
            if !self.0.takes_in() {
                return Err(TriggerError::Closed);
            }
            match self.0.offer(slot, envelope) {
                Ok(()) => return Ok(()),
                Err(full) => envelope = full,
            }
            if let Some(slot) = self.0.slots.get(slot) {
                slot.queue.room().await;
            }
        }
    }

    /// Whether an event with such a tag is what the handler takes: others would be dropped, or never answered.
    fn check_shape(&self, slot: usize, tag: Tag) -> Result<(), TriggerError> {
        let Some(slot) = self.0.slots.get(slot) else { return Ok(()) };
        let event = slot.name;
        match (slot.takes, tag) {
            (Takes::Calls, Tag::Ask(_)) | (Takes::Events, Tag::Plain) => Ok(()),
            (Takes::Calls, _) => Err(TriggerError::Question { event }),
            (Takes::Replies, _) => Err(TriggerError::Answer { event }),
            (Takes::Events, _) => Err(TriggerError::Unanswered { event }),
        }
    }

    /// What the algorithms indicate to the application.
    #[must_use]
    pub fn outputs(&self) -> Outputs {
        self.0.speaker.outputs()
    }

    /// The node at this moment. Never waits for a handler: while one runs, the summary is that of
    /// the turn before.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(&self.0)
    }

    /// Waits until the node has ended and has let go of its store, and says why it ended. A disk that does not
    /// answer for three seconds is not waited for.
    pub async fn wait(&self) -> EndReason {
        let mut ended = self.0.ended.subscribe();
        let reason = match ended.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(EndReason::Lost),
            Err(_) => EndReason::Lost,
        };
        self.0.put_away(FAREWELL_GRACE).await;
        reason
    }

    /// Ends the node in good order: takes nothing in any more, handles what it has taken, makes
    /// it durable, says good-bye to the peers that have acknowledged what was sent to them, those
    /// whose connection is lost included, if they come back; and reports what was not done within
    /// `deadline`. As [`NodeHandle::wait`] it waits for the disk, and no longer.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let deadline = after(deadline);
        self.0.lost_before.get_or_init(|| self.0.lost());
        self.0.stop_intake();
        while !self.0.has_finished() && !self.0.has_ended() && Instant::now() < deadline {
            tokio::time::sleep(DRAIN_POLL).await;
        }
        let rest = deadline.saturating_duration_since(Instant::now());
        // Also where another shutdown has begun it: what is lost is known only when it is over.
        let farewell = self.0.farewell(rest);
        let _said_or_cut_off = timeout_at(deadline + FAREWELL_GRACE, farewell).await;
        self.0.end(EndReason::Shutdown);
        let _one_handler_at_most = timeout_at(deadline + FAREWELL_GRACE, self.0.cell.lock()).await;
        let report = self.0.report();
        self.0.put_away(Duration::ZERO).await;
        report
    }
}

impl Host {
    /// Whether nothing is left to do. If so nothing begins anew while the node says good-bye.
    fn has_finished(&self) -> bool {
        let Ok(_no_handler_runs) = self.cell.try_lock() else { return false };
        let is_idle = self.is_idle();
        if is_idle {
            self.part();
        }
        is_idle
    }

    /// Whether nothing that was taken is left to do.
    fn is_idle(&self) -> bool {
        let (running, waiting) = self.jobs.load();
        self.slots.iter().all(|slot| slot.queue.waiting() == 0)
            && running + waiting == 0
            && locked(&self.outgoing).waiting() == 0
    }

    /// The events that each peer has not acknowledged since draining began: when a link of it ended, or on the one that
    /// is still up. Those of a link that ends just now may count twice rather than not at all.
    fn unacknowledged(&self) -> BTreeMap<NodeId, u64> {
        let mut events: BTreeMap<NodeId, u64> = BTreeMap::new();
        for (peer, _, counts) in self.transport.lanes() {
            *events.entry(peer).or_default() += counts.unacknowledged;
        }
        let before = self.lost_before.get();
        for (peer, lost) in self.lost() {
            let before = before.and_then(|lost| lost.get(&peer)).copied().unwrap_or(0);
            *events.entry(peer).or_default() += lost.saturating_sub(before);
        }
        events.retain(|_, events| 0 < *events);
        events
    }

    /// The events that each peer had not acknowledged when a link of it ended.
    fn lost(&self) -> BTreeMap<NodeId, u64> {
        self.transport.links().into_iter().map(|link| (link.peer, link.lost)).collect()
    }

    fn report(&self) -> ShutdownReport {
        let slots = self.slots.iter().take(self.results_slot());
        let unhandled = slots.map(|slot| (slot.name, slot.queue.waiting()));
        let (running, waiting) = self.jobs.load();
        ShutdownReport {
            unhandled: unhandled.filter(|(_, events)| 0 < *events).collect(),
            held: locked(&self.outgoing).waiting(),
            jobs: running + waiting,
            unacknowledged: self.unacknowledged(),
            timers: self.timers.len(),
        }
    }
}

/// So long from now on. Time without an end is as good as a hundred years.
fn after(time: Duration) -> Instant {
    Instant::now() + time.min(LONGEST)
}

const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// How often a node that drains looks whether it is done.
const DRAIN_POLL: Duration = Duration::from_millis(1);
/// How often a trigger that waits for a slow peer looks whether it has caught up.
const CONGESTION_POLL: Duration = Duration::from_millis(1);
/// How long a farewell, or the last handler, may overrun the deadline of a shutdown.
const FAREWELL_GRACE: Duration = Duration::from_millis(100);
