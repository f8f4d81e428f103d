//! One link between two nodes of a process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use synod_core::{
    Envelope, Envelopes, Inbox, Lane, LinkChange, LinkStatus, NodeId, Reason, Room, SendError, Sent,
};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::MemoryNetwork;
use crate::gate::{locked, unless, until};

/// One end of a link.
#[derive(Debug)]
pub(super) struct End {
    pub(super) node: NodeId,
    pub(super) incarnation: u64,
    pub(super) inbox: Arc<dyn Inbox>,
    pub(super) runtime: Handle,
}

/// A link. Changes are told and batches delivered under the lock of its state, so nothing is
/// delivered before it is up or after it is down.
#[derive(Debug)]
pub(super) struct MemoryLink {
    ends: [End; 2],
    state: Mutex<State>,
    /// A queue was filled or emptied, or the link has ended.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    up: bool,
    /// What is under way, by receiver and lane.
    lanes: BTreeMap<(NodeId, Lane), VecDeque<Envelope>>,
    /// Bytes under way, by receiver.
    bytes: BTreeMap<NodeId, usize>,
}

impl MemoryLink {
    /// A link that is not yet up.
    pub(super) fn new(ends: [End; 2]) -> Arc<Self> {
        Arc::new(Self { ends, state: Mutex::default(), changed: Notify::new() })
    }

    /// The link comes up, for both.
    pub(super) fn begin(&self) {
        let mut state = locked(&self.state);
        let [a, b] = &self.ends;
        a.inbox.link(b.node, LinkChange::Up { incarnation: b.incarnation });
        b.inbox.link(a.node, LinkChange::Up { incarnation: a.incarnation });
        state.up = true;
    }

    pub(super) fn is_up(&self) -> bool {
        locked(&self.state).up
    }

    /// Ends the link for both, with whatever is under way.
    pub(super) fn end(&self, reason: Reason) {
        self.end_locked(&mut locked(&self.state), reason);
    }

    fn end_locked(&self, state: &mut State, reason: Reason) {
        if std::mem::take(state).up {
            let [a, b] = &self.ends;
            a.inbox.link(b.node, LinkChange::Down(reason));
            b.inbox.link(a.node, LinkChange::Down(reason));
            self.changed.notify_waiters();
        }
    }

    /// Queues envelopes, and counts what became of each.
    pub(super) fn send(
        self: &Arc<Self>,
        to: NodeId,
        lane: Lane,
        envelopes: impl Iterator<Item = Envelope>,
    ) -> Sent {
        let mut sent = Sent::default();
        let mut state = locked(&self.state);
        let had = state.lanes.get(&(to, lane)).map(VecDeque::len);
        for envelope in envelopes {
            sent.count(self.queue(&mut state, (to, lane), envelope));
        }
        let has = state.lanes.get(&(to, lane)).map(VecDeque::len);
        match (had, has) {
            (None, Some(_)) => self.begin_lane(to, lane),
            (Some(0), Some(1..)) => self.changed.notify_waiters(),
            _ => (),
        }
        sent
    }

    fn queue(
        &self,
        state: &mut State,
        (to, lane): (NodeId, Lane),
        envelope: Envelope,
    ) -> Result<(), SendError> {
        let (size, size_max) = (envelope.body().len(), MemoryNetwork::EVENT_BYTES_MAX);
        if size_max < size {
            return Err(SendError::TooLarge { size, size_max });
        }
        if !state.up {
            return Err(SendError::Down);
        }
        let bytes = state.bytes.entry(to).or_default();
        *bytes += weight(&envelope);
        if MemoryNetwork::QUEUED_BYTES_MAX < *bytes {
            self.end_locked(state, Reason::Overflow);
            return Err(SendError::Full);
        }
        state.lanes.entry((to, lane)).or_default().push_back(envelope);
        Ok(())
    }

    /// Starts the task that delivers one lane to one end.
    fn begin_lane(self: &Arc<Self>, to: NodeId, lane: Lane) {
        let Some(receiver) = self.ends.iter().position(|end| end.node == to) else {
            return;
        };
        let link = Arc::clone(self);
        if let Some(end) = self.ends.get(receiver) {
            super::spawn(&end.runtime, async move { link.carry(receiver, lane).await });
        }
    }

    async fn carry(&self, receiver: usize, lane: Lane) {
        let [a, b] = &self.ends;
        let (from, to) = if receiver == 0 { (b, a) } else { (a, b) };
        loop {
            until(&self.changed, || self.has_more(to.node, lane)).await;
            match self.deliver_batch(from, to, lane) {
                None => return,
                Some(None) => tokio::task::yield_now().await,
                Some(Some(room)) => {
                    if unless(&self.changed, || !self.is_up(), room).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    /// Whether there is something to deliver, or never will be.
    fn has_more(&self, to: NodeId, lane: Lane) -> bool {
        let state = locked(&self.state);
        !state.up || state.lanes.get(&(to, lane)).is_some_and(|queue| !queue.is_empty())
    }

    /// Delivers the next envelopes of one event type; `None` once the link has ended.
    fn deliver_batch(&self, from: &End, to: &End, lane: Lane) -> Option<Option<Room>> {
        let mut state = locked(&self.state);
        let queue = state.lanes.get_mut(&(to.node, lane))?;
        let event = queue.front()?.event();
        let same = queue.iter().take(BATCH_MAX).take_while(|envelope| envelope.event() == event);
        let count = same.count();
        let batch: Vec<Envelope> = queue.drain(..count).collect();
        let bytes: usize = batch.iter().map(weight).sum();
        if let Some(queued) = state.bytes.get_mut(&to.node) {
            *queued -= bytes;
        }
        let batch = Envelopes::of(batch)?;
        let room = to.inbox.deliver(from.node, lane, batch);
        drop(state);
        self.changed.notify_waiters();
        Some(room)
    }

    /// Resolves when nothing is under way to `to`, or the link has ended.
    pub(super) async fn drained(&self, to: NodeId) {
        until(&self.changed, || locked(&self.state).queued(to) == 0).await;
    }

    pub(super) fn status(&self, peer: NodeId) -> LinkStatus {
        let state = locked(&self.state);
        let end = self.ends.iter().find(|end| end.node == peer && state.up);
        let incarnation = end.map(|end| end.incarnation);
        LinkStatus {
            peer,
            incarnation,
            connected: end.is_some(),
            address: None,
            protocol: None,
            silent_for: None,
            round_trip: None,
            packets_sent: 0,
            packets_lost: 0,
            queued_bytes: state.queued(peer),
            resumed: 0,
            lost: 0,
        }
    }
}

impl State {
    fn queued(&self, to: NodeId) -> usize {
        self.bytes.get(&to).copied().unwrap_or(0)
    }
}

/// What an envelope counts for: events without a body take memory, too.
fn weight(envelope: &Envelope) -> usize {
    envelope.body().len() + size_of::<Envelope>()
}

/// Envelopes that are delivered at once.
const BATCH_MAX: usize = 256;
