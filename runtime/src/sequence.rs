//! The order of handling: which batch of which lane comes next.
//!
//! Every batch of a peer carries a ticket, drawn when it arrived: its link, counted in phases, and
//! its place in its lane. Batches go through the queues of different handler actors and reach the
//! cell in any order; here they are parked until their place comes. A change of the link is the
//! border between two phases: what arrived before it is handled before it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use synod_core::{Lane, LaneId, LinkChange, NodeId};

use crate::gate::locked;
use crate::queue::Batch;

/// Where a batch comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// A job of that life of the node: in no order with anything.
    Job {
        /// The incarnation.
        life: u64,
    },
    /// A peer, or the application, which counts as the node itself.
    Peer(Ticket),
}

/// The place of a batch in the order of its peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(crate) peer: NodeId,
    /// How many times the link had changed.
    phase: u64,
    /// The place in an ordered lane.
    place: Option<(LaneId, u64)>,
}

impl Source {
    /// The peer, or the node itself.
    pub(crate) fn peer(self) -> Option<NodeId> {
        match self {
            Self::Peer(ticket) => Some(ticket.peer),
            Self::Job { .. } => None,
        }
    }

    /// Whether `ticket` comes next in the lane of this source.
    pub(crate) fn is_just_before(self, ticket: Ticket) -> bool {
        let Self::Peer(own) = self else { return false };
        let next = own.place.map(|(lane, place)| (lane, place + 1));
        (own.peer, own.phase, next) == (ticket.peer, ticket.phase, ticket.place)
    }
}

/// What became of a ticket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Taken {
    /// A batch has it.
    Alone,
    /// What it is for joined the batch of the ticket before, so it goes to the next.
    WithOthers,
    Nothing,
}

/// Draws tickets, on the side of those who deliver.
#[derive(Debug)]
pub(crate) struct Tickets(BTreeMap<NodeId, Mutex<Drawn>>);

#[derive(Debug, Default)]
struct Drawn {
    phase: u64,
    batches: u64,
    lanes: BTreeMap<LaneId, u64>,
}

/// Why no ticket was drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NoTicket {
    Stranger,
    LanesFull,
    NoRoom,
}

impl Tickets {
    pub(crate) fn new(peers: impl Iterator<Item = NodeId>) -> Self {
        Self(peers.map(|peer| (peer, Mutex::default())).collect())
    }

    /// Draws the next ticket of a lane. First `queue` gets it, and says what became of it.
    pub(crate) fn draw(
        &self,
        peer: NodeId,
        lane: Lane,
        lanes_max: usize,
        queue: impl FnOnce(Ticket) -> Taken,
    ) -> Result<Ticket, NoTicket> {
        let drawn = self.0.get(&peer).ok_or(NoTicket::Stranger)?;
        let mut drawn = locked(drawn);
        let place = match lane {
            Lane::Datagram => None,
            Lane::Ordered(lane) => {
                let next = drawn.lanes.get(&lane).copied();
                if next.is_none() && lanes_max <= drawn.lanes.len() {
                    return Err(NoTicket::LanesFull);
                }
                Some((lane, next.unwrap_or(0)))
            }
        };
        let ticket = Ticket { peer, phase: drawn.phase, place };
        match queue(ticket) {
            Taken::Alone => (),
            Taken::WithOthers => return Ok(ticket),
            Taken::Nothing => return Err(NoTicket::NoRoom),
        }
        drawn.batches += 1;
        if let Some((lane, place)) = place {
            drawn.lanes.insert(lane, place + 1);
        }
        Ok(ticket)
    }

    /// Ends the phase of `peer` with a change of its link, and hands the number of its batches to
    /// `queue`, under the same lock, so that changes keep their order.
    pub(crate) fn turn(&self, peer: NodeId, queue: impl FnOnce(u64)) -> bool {
        let Some(drawn) = self.0.get(&peer) else {
            return false;
        };
        let mut drawn = locked(drawn);
        queue(drawn.batches);
        *drawn = Drawn { phase: drawn.phase + 1, ..Drawn::default() };
        true
    }
}

/// What the cell is to do next.
#[derive(Debug)]
pub(crate) enum Ready {
    Batch(Batch),
    Change(NodeId, LinkChange),
}

/// Puts batches and link changes back into their order, on the side of the cell.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    peers: BTreeMap<NodeId, Progress>,
    /// In order. The first stays here while it runs, so that a panic does not lose it.
    pub(crate) ready: VecDeque<Ready>,
}

#[derive(Debug, Default)]
struct Progress {
    phase: u64,
    batches_done: u64,
    lanes: BTreeMap<LaneId, LaneProgress>,
    /// Batches of later phases.
    early: Vec<(Ticket, Batch)>,
    /// Changes that have come, with the number of batches before each.
    changes: VecDeque<(u64, LinkChange)>,
    /// Whether the first of the changes is among what is ready.
    turning: bool,
}

#[derive(Debug, Default)]
struct LaneProgress {
    next: u64,
    parked: BTreeMap<u64, Batch>,
}

impl Sequence {
    /// Parks the batch, or makes it ready if its place has come. O(log lanes + log parked).
    pub(crate) fn admit(&mut self, batch: Batch) {
        let Source::Peer(ticket) = batch.source else {
            self.ready.push_back(Ready::Batch(batch));
            return;
        };
        let progress = self.peers.entry(ticket.peer).or_default();
        if progress.phase < ticket.phase {
            progress.early.push((ticket, batch));
        } else if let Some(batch) = progress.park(ticket, batch) {
            self.ready.push_back(Ready::Batch(batch));
        }
    }

    /// A change of the link to `peer`, after `batches` batches of its phase.
    pub(crate) fn change(&mut self, peer: NodeId, batches: u64, change: LinkChange) {
        let progress = self.peers.entry(peer).or_default();
        progress.changes.push_back((batches, change));
        progress.turn(peer, &mut self.ready);
    }

    /// The first of what is ready is done; makes ready what waited for it.
    pub(crate) fn complete(&mut self) {
        match self.ready.pop_front() {
            Some(Ready::Batch(Batch { source: Source::Peer(ticket), .. })) => {
                self.complete_batch(ticket);
            }
            Some(Ready::Change(peer, _)) => self.complete_change(peer),
            Some(Ready::Batch(_)) | None => (),
        }
    }

    fn complete_batch(&mut self, ticket: Ticket) {
        let progress = self.peers.entry(ticket.peer).or_default();
        progress.batches_done += 1;
        if let Some((lane, place)) = ticket.place {
            let lane = progress.lanes.entry(lane).or_default();
            lane.next = place + 1;
            if let Some(batch) = lane.parked.remove(&lane.next) {
                self.ready.push_back(Ready::Batch(batch));
            }
        }
        progress.turn(ticket.peer, &mut self.ready);
    }

    fn complete_change(&mut self, peer: NodeId) {
        let progress = self.peers.entry(peer).or_default();
        progress.phase += 1;
        progress.batches_done = 0;
        progress.turning = false;
        progress.changes.pop_front();
        progress.lanes.clear();
        for (_, batch) in std::mem::take(&mut progress.early) {
            self.admit(batch);
        }
        self.peers.entry(peer).or_default().turn(peer, &mut self.ready);
    }
}

impl Progress {
    /// Makes the first change of `peer` ready once all batches before it are done.
    fn turn(&mut self, peer: NodeId, ready: &mut VecDeque<Ready>) {
        if let Some((batches, change)) = self.changes.front()
            && !self.turning
            && *batches == self.batches_done
        {
            self.turning = true;
            ready.push_back(Ready::Change(peer, change.clone()));
        }
    }

    /// Gives the batch back if it is next in its lane.
    fn park(&mut self, ticket: Ticket, batch: Batch) -> Option<Batch> {
        let Some((lane, place)) = ticket.place else {
            return Some(batch);
        };
        let lane = self.lanes.entry(lane).or_default();
        if lane.next == place {
            return Some(batch);
        }
        lane.parked.insert(place, batch);
        None
    }
}

#[cfg(test)]
mod tests;
