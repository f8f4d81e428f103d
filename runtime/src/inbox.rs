//! Where a transport delivers to.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use synod_core::{
    Acknowledgement, Envelope, Envelopes, Inbox, Lane, LaneId, LinkChange, NodeId, Receipt,
    Refusal, Room,
};

use crate::counters::DropReason;
use crate::gate::locked;
use crate::host::Host;
use crate::link::Notice;
use crate::queue::Batch;
use crate::sequence::{NoTicket, Source, Taken};

/// The inbox of a node. It does not keep the node alive.
#[derive(Debug)]
pub(crate) struct Mailbox(pub(crate) Weak<Host>);

impl Inbox for Mailbox {
    fn deliver(&self, from: NodeId, lane: Lane, batch: Envelopes) -> Option<Room> {
        self.0.upgrade()?.take_in(from, lane, batch, None)
    }

    fn acknowledgement(&self, lane: LaneId) -> Acknowledgement {
        self.0.upgrade().map_or(Acknowledgement::Received, |host| host.acknowledgement(lane))
    }

    fn deliver_for_receipt(
        &self,
        from: NodeId,
        lane: LaneId,
        batch: Envelopes,
        receipt: Receipt,
    ) -> Option<Room> {
        self.0.upgrade()?.take_in(from, Lane::Ordered(lane), batch, Some(receipt))
    }

    fn admits(&self, peer: NodeId) -> bool {
        self.0.upgrade().is_some_and(|host| host.admits(peer))
    }

    fn hung(&self) -> Option<String> {
        self.0.upgrade().and_then(|host| host.hung())
    }

    fn link(&self, peer: NodeId, change: LinkChange) {
        if let Some(host) = self.0.upgrade() {
            host.link_changed(peer, change);
        }
    }

    fn refused(&self, refusal: Refusal) {
        if let Some(host) = self.0.upgrade() {
            host.turned_away(&refusal);
        }
    }

    fn shut_out(&self, peer: NodeId, why: &str, is_outdated: bool) {
        if let Some(host) = self.0.upgrade() {
            host.is_shut_out(peer, why, is_outdated);
        }
    }
}

impl Host {
    /// When the events of a lane are acknowledged.
    pub(crate) fn acknowledgement(&self, lane: LaneId) -> Acknowledgement {
        self.acknowledgements.get(&lane).copied().unwrap_or(self.acknowledgement)
    }

    fn take_in(
        self: &Arc<Self>,
        from: NodeId,
        lane: Lane,
        batch: Envelopes,
        receipt: Option<Receipt>,
    ) -> Option<Room> {
        let Some(index) = self.slot_of.get(&batch.event()).copied() else {
            return self.turn_down(DropReason::Unhandled, from, batch, receipt);
        };
        let slot = self.slots.get(index)?;
        if slot.local {
            slot.refused.fetch_add(batch.len() as u64, Ordering::Relaxed);
            return self.turn_down(DropReason::LocalOnly, from, batch, receipt);
        }
        if !self.takes_in() {
            return self.turn_down(DropReason::Closed, from, batch, None);
        }
        let cell = self.cell_at_once(slot, batch.len());
        let ticket = match self.tickets.draw(from, lane, self.limits.lanes, |_| Taken::Alone) {
            Ok(ticket) => ticket,
            Err(refusal) => {
                let lanes_full = refusal == NoTicket::LanesFull;
                let reason = if lanes_full { DropReason::LanesFull } else { DropReason::Stranger };
                return self.turn_down(reason, from, batch, receipt);
            }
        };
        if let Some(link) = self.links.get(&from) {
            link.received.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
        let when = || match lane {
            Lane::Ordered(lane) => self.acknowledgement(lane),
            Lane::Datagram => Acknowledgement::Received,
        };
        let (source, receipt) = (Source::Peer(ticket), receipt.map(|receipt| (when(), receipt)));
        let batch = Batch { slot: index, source, events: batch, receipt };
        match cell {
            Some(cell) => {
                slot.queue.pass(batch.events.len());
                self.handle_at_once(cell, batch);
            }
            None => slot.queue.push(batch),
        }
        (!slot.queue.has_room()).then(|| slot.queue.room())
    }

    /// Drops a batch. Its sender need not keep it: it would fare no better.
    fn turn_down(
        &self,
        reason: DropReason,
        from: NodeId,
        batch: Envelopes,
        receipt: Option<Receipt>,
    ) -> Option<Room> {
        for _ in 0..batch.len() {
            self.count_drop(reason, Some(from), batch.event());
        }
        if let Some(receipt) = receipt {
            receipt.settle();
        }
        None
    }

    fn link_changed(&self, peer: NodeId, change: LinkChange) {
        let Some(link) = self.links.get(&peer) else {
            tracing::error!(node = %self.id, %peer, "a link with a node that is no peer");
            return;
        };
        match change {
            LinkChange::Unreachable(text) => link.push(Notice::Unreachable(text)),
            change => {
                if matches!(change, LinkChange::Up { .. }) {
                    self.shut_out.remove(peer);
                }
                let notice = |batches| link.push(Notice::Change(batches, change));
                self.tickets.turn(peer, notice);
            }
        }
    }

    fn turned_away(&self, refusal: &Refusal) {
        let mut refusals = locked(&self.refusals);
        let count = refusals.entry(refusal.kind).or_default();
        *count += 1;
        if count.is_power_of_two() {
            let peer = refusal.peer.map(tracing::field::display);
            let (kind, text, address) = (refusal.kind, &refusal.text, &refusal.address);
            // The transport has warned already.
            tracing::debug!(node = %self.id, peer, kind, address, count, "refused: {text}");
        }
    }

    /// Takes an event of the application; gives it back if there is no room.
    pub(crate) fn offer(&self, slot: usize, envelope: Envelope) -> Result<(), Envelope> {
        let Some(queue) = self.slots.get(slot).map(|slot| &slot.queue) else {
            return Err(envelope);
        };
        let mut offered = Some(envelope);
        // One lane, so that what the application triggers is handled in the order of triggering.
        let lane = Lane::Ordered(LaneId(0));
        let _taken = self
            .tickets
            .draw(self.id, lane, usize::MAX, |ticket| queue.offer(slot, ticket, &mut offered));
        offered.map_or(Ok(()), Err)
    }
}
