//! Effects on their way out, in the order of asking.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use synod_core::{
    Acknowledgement, Effect, Envelope, EventId, Framed, Lane, LaneId, NodeId, Receipt, SendError,
    Sent, Tag, Time,
};

use crate::counters::DropReason;
use crate::gate::locked;
use crate::host::Host;

/// Effects that may not leave yet.
///
/// A durable write is a barrier: what was asked for after it is held until the store has synced.
/// Later steps go on and queue up behind it, so one sync serves all of them.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    held: VecDeque<Held>,
    /// Writes asked for, and writes that are durable.
    writes_asked: u64,
    writes_durable: u64,
    /// What was sent to peers that have not been linked in this life of the node.
    early: BTreeMap<NodeId, VecDeque<(Lane, Envelope)>>,
    life: u64,
}

#[derive(Debug)]
struct Held {
    /// How many writes must be durable first.
    after: u64,
    what: Waiting,
}

#[derive(Debug)]
enum Waiting {
    /// An effect, and when it was asked for.
    Effect(Time, Effect),
    /// The acknowledgement of events whose handlers have asked for the writes.
    Receipt(Receipt),
}

impl Outgoing {
    /// What waits for the store.
    pub(crate) fn waiting(&self) -> usize {
        let writes = self.writes_asked - self.writes_durable;
        self.held.len().saturating_add(usize::try_from(writes).unwrap_or(usize::MAX))
    }

    fn is_durable(&self) -> bool {
        self.writes_durable == self.writes_asked
    }

    /// Whether what is sent to a peer may leave at once.
    fn lets_pass(&self, to: NodeId) -> bool {
        self.is_durable() && !self.early.contains_key(&to)
    }

    /// A new life begins: what was held is lost with the old one, and these peers are not linked. Returns
    /// how many effects are lost.
    pub(crate) fn begin_life(
        &mut self,
        life: u64,
        unlinked: impl Iterator<Item = NodeId>,
    ) -> usize {
        self.life = life;
        let nothing = unlinked.map(|peer| (peer, VecDeque::new())).collect();
        let early = std::mem::replace(&mut self.early, nothing);
        let held = std::mem::take(&mut self.held);
        let held = held.iter().filter(|held| matches!(held.what, Waiting::Effect(..))).count();
        held + early.values().map(VecDeque::len).sum::<usize>()
    }
}

impl Host {
    /// Takes the effects of a step that ended well.
    pub(crate) fn hand_over(self: &Arc<Self>, effects: &mut Vec<Effect>) {
        // None of them is tried again if a transport panics over one.
        let mut taken = std::mem::take(effects);
        let mut outgoing = locked(&self.outgoing);
        let mut rest = taken.drain(..);
        while !rest.as_slice().is_empty() {
            match self.transmit_first(&outgoing, rest.as_slice()) {
                0 => rest.by_ref().take(1).for_each(|effect| self.leave(&mut outgoing, effect)),
                together => rest.by_ref().take(together).for_each(drop),
            }
        }
        drop(rest);
        *effects = taken;
        self.set_held(&outgoing);
    }

    /// Sends the first effects together, if they are several events of one type for one lane that may
    /// leave at once. Returns how many.
    fn transmit_first(&self, outgoing: &Outgoing, effects: &[Effect]) -> usize {
        let [first, second, ..] = effects else { return 0 };
        let Some((to, lane, first)) = sent(first).filter(|(to, ..)| outgoing.lets_pass(*to)) else {
            return 0;
        };
        let of_them = |effect| {
            let (other_to, other_lane, envelope) = sent(effect)?;
            let is_like = (other_to, other_lane, envelope.event()) == (to, lane, first.event());
            is_like.then_some(envelope)
        };
        if of_them(second).is_none() {
            return 0;
        }
        let envelopes: Vec<&Envelope> = effects.iter().map_while(of_them).collect();
        let became = self.transport.send_each(to, lane, &envelopes);
        self.count_sent(to, first.event(), became);
        envelopes.len()
    }

    fn leave(self: &Arc<Self>, outgoing: &mut Outgoing, effect: Effect) {
        match effect {
            Effect::SendAll { to, lane, envelopes } if outgoing.lets_pass(to) => {
                self.transmit_all(to, lane, &envelopes);
            }
            Effect::SendAll { to, lane, envelopes } => {
                for envelope in envelopes.envelopes() {
                    let lane = Lane::Ordered(lane);
                    self.take(outgoing, Effect::Send { to, lane, envelope });
                }
            }
            Effect::Send { to, lane, envelope } if outgoing.lets_pass(to) => {
                self.transmit(to, lane, &envelope);
            }
            effect => self.take(outgoing, effect),
        }
    }

    fn take(self: &Arc<Self>, outgoing: &mut Outgoing, effect: Effect) {
        match effect {
            Effect::Persist(record) => {
                outgoing.writes_asked += 1;
                self.writer.append(record);
            }
            Effect::Checkpoint { record, replaces } => {
                outgoing.writes_asked += 1;
                self.writer.checkpoint(record, replaces);
            }
            // Not the time of the step: a timer never fires early.
            effect if outgoing.is_durable() => self.release(outgoing, self.now(), effect),
            effect => {
                let (after, at) = (outgoing.writes_asked, self.now());
                outgoing.held.push_back(Held { after, what: Waiting::Effect(at, effect) });
            }
        }
    }

    /// So many more writes are durable; lets go what waited for them.
    pub(crate) fn writes_durable(self: &Arc<Self>, writes: u64) {
        let mut outgoing = locked(&self.outgoing);
        outgoing.writes_durable += writes;
        let durable = outgoing.writes_durable;
        while outgoing.held.front().is_some_and(|held| held.after <= durable) {
            match outgoing.held.pop_front().map(|held| held.what) {
                Some(Waiting::Effect(at, effect)) => self.release(&mut outgoing, at, effect),
                Some(Waiting::Receipt(receipt)) => receipt.settle(),
                None => (),
            }
        }
        self.set_held(&outgoing);
    }

    /// The events of a batch are handled: acknowledges them, now or when all is durable that has
    /// been asked for so far.
    pub(crate) fn settle(&self, when: Acknowledgement, receipt: Receipt) {
        let mut outgoing = locked(&self.outgoing);
        if when == Acknowledgement::Durable && !outgoing.is_durable() {
            let after = outgoing.writes_asked;
            outgoing.held.push_back(Held { after, what: Waiting::Receipt(receipt) });
            self.set_held(&outgoing);
        } else {
            drop(outgoing);
            receipt.settle();
        }
    }

    /// The link to `peer` is up for the first time in this life: what it was sent before leaves.
    pub(crate) fn release_early(&self, peer: NodeId) {
        let mut outgoing = locked(&self.outgoing);
        for (lane, envelope) in outgoing.early.remove(&peer).unwrap_or_default() {
            self.transmit(peer, lane, &envelope);
        }
    }

    fn release(self: &Arc<Self>, outgoing: &mut Outgoing, at: Time, effect: Effect) {
        match effect {
            Effect::Send { to, lane, envelope } => match outgoing.early.get_mut(&to) {
                None => self.transmit(to, lane, &envelope),
                Some(early) if early.len() < self.limits.early_sends => {
                    early.push_back((lane, envelope));
                }
                Some(_) => self.count_drop(DropReason::EarlyFull, Some(to), envelope.event()),
            },
            Effect::Timer { id, after, envelope } => {
                if !self.timers.arm(id, at.saturating_add(after)) {
                    self.count_drop(DropReason::TimersFull, None, envelope.event());
                }
            }
            Effect::Cancel(id) => self.timers.cancel(id),
            Effect::Job(job) => self.submit(outgoing.life, job),
            Effect::Output(envelope) => self.indicate(envelope),
            Effect::Log(line) => tracing::info!(node = %self.id, "{line}"),
            _ => drop(self.drops.add(DropReason::UnknownEffect, 1)),
        }
    }

    fn transmit(&self, to: NodeId, lane: Lane, envelope: &Envelope) {
        match self.transport.send(to, lane, envelope) {
            Ok(()) => self.count_queued(to, 1),
            Err(error) => self.count_unsent(error, to, envelope.event()),
        }
    }

    fn transmit_all(&self, to: NodeId, lane: LaneId, envelopes: &Framed) {
        let sent = self.transport.send_all(to, lane, envelopes);
        self.count_sent(to, envelopes.event(), sent);
    }

    fn count_sent(&self, to: NodeId, event: EventId, sent: Sent) {
        self.count_queued(to, sent.queued);
        for error in sent.refused {
            self.count_unsent(error, to, event);
        }
    }

    fn count_unsent(&self, error: SendError, to: NodeId, event: EventId) {
        self.count_drop_since(error.into(), Some(to), event, Some(&error));
    }

    fn count_queued(&self, to: NodeId, events: u64) {
        if let Some(link) = self.links.get(&to) {
            link.sent.fetch_add(events, Ordering::Relaxed);
        }
    }

    /// An answer to the application, or an output.
    fn indicate(&self, envelope: Envelope) {
        match envelope.tag() {
            Tag::Answer(number) => {
                if !self.asks.resolve(number, Ok(envelope.clone())) {
                    self.count_drop(DropReason::Stale, None, envelope.event());
                }
            }
            Tag::Plain | Tag::Ask(_) | Tag::Expired(_) => self.speaker.say(envelope),
        }
    }

    fn set_held(&self, outgoing: &Outgoing) {
        let full = self.limits.held_effects <= outgoing.waiting();
        if self.held_full.swap(full, Ordering::AcqRel) && !full {
            self.changed.notify_waiters();
        }
    }
}

/// An event that is sent by itself on an ordered lane.
fn sent(effect: &Effect) -> Option<(NodeId, LaneId, &Envelope)> {
    match effect {
        Effect::Send { to, lane: Lane::Ordered(lane), envelope } => Some((*to, *lane, envelope)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use synod_core::Instance;

    use super::*;

    #[test]
    fn what_was_sent_to_a_peer_that_was_never_linked_is_counted_when_its_life_ends() {
        let (peer, event) = (NodeId(2), EventId::of("a.b"));
        let mut outgoing = Outgoing::default();
        assert_eq!(outgoing.begin_life(1, [peer].into_iter()), 0);
        let envelope = Envelope::from_parts(event, Instance::ROOT, Tag::Plain, "".into());
        outgoing.early.entry(peer).or_default().push_back((Lane::Datagram, envelope));
        assert_eq!(outgoing.begin_life(2, [peer].into_iter()), 1);
        assert_eq!(outgoing.begin_life(3, [peer].into_iter()), 0);
    }
}
