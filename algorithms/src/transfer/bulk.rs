//! Bulk: a value of any size from one node to another, in pieces, beside all other traffic.
//!
//! Source: the sliding window of N. V. Stenning, "A data transfer protocol", Computer Networks 1(2),
//! 1976, over links that neither lose nor double: what is left of it are the credits. Resuming from
//! what the receiver has stored is that of J. Postel, J. Reynolds, "File Transfer Protocol", RFC
//! 959, 1985, section 3.5.
//!
//! | Assumes   | asynchronous; crash-recovery; that the host tells when a peer comes and goes. An   |
//! |           | application at either end keeps the bytes: no more than a window of them is here  |
//! | Safety    | pieces arrive once and in order, for as long as the receiver lives                |
//! | Liveness  | if both stay linked and both applications answer, the transfer ends               |
//! | Messages  | ⌈size/piece⌉ pieces, as many credits at most, and 2 for each link                 |
//! | Checked   | 2 nodes with applications, 3 pieces, 1 crash and its recovery: 639 states         |
//!
//! Events of each type keep their order, and those of different types need not: each type has a
//! lane of its own, so a heartbeat waits for no piece.
//!
//! ```text
//! upon <Send | q, t, size>, <PeerUp | q>:  attempt := attempt + 1; send <Open | t, attempt, size>
//! upon <Open | t, a, size> from p:         if t is known: send <Granted | t, a, arrived, stored>
//!                                          else trigger <Offered | p, t, size>
//! upon <Accept | p, t, at>:                arrived, stored := at; send <Granted | t, a, at, at>
//! upon <Granted | t, a, at, stored>:       next := at; ask the application
//! to ask:                                  while next < stored + WINDOW:
//!                                              trigger <Wanted | q, t, next>
//! upon <Supply | q, t, at, piece>:         send <Piece | t, a, at, piece>
//! upon <Piece | t, a, at, piece> from p:   arrived := at + |piece|; trigger <Arrived | p, t, at, piece>
//! upon <Stored | p, t, at>:                stored := at; send <Credit | t, a, at>
//! upon <Credit | t, a, at> from q:         stored := at; ask the application; at the end:
//!                                              trigger <Ended | q, t, done>
//! ```

mod events;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Context, Faults, Handlers, Model, NodeId, Order, PeerDown, PeerUp, Property,
    Snapshots, Summary, Tolerance, Verdict,
};

pub use events::{
    Accept, Arrived, Cancel, Decline, Ended, Offered, Outcome, Progress, Send, Stored, Supply,
    Wanted,
};
use events::{Credit, Granted, Open, Over, Piece};

/// The bytes of each piece but the last one. Well below what a frame may hold.
pub const PIECE_BYTES: u64 = 32 * 1024;
/// The bytes that are asked of the sending application and not stored by the receiving one, at
/// most: what a transfer can take up in queues on the way.
pub const WINDOW_BYTES: u64 = 8 * PIECE_BYTES;
/// Transfers under way from a node, and to it.
pub const TRANSFERS_MAX: usize = 64;

/// The state of one node.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Bulk {
    piece_bytes: u64,
    window_bytes: u64,
    linked: BTreeSet<NodeId>,
    outgoing: BTreeMap<Name, Outgoing>,
    incoming: BTreeMap<Name, Incoming>,
    /// The number of the last attempt to open a transfer.
    attempt: u64,
    sent_bytes: u64,
    arrived_bytes: u64,
}

/// The peer at the other end, and what the sender calls the transfer.
type Name = (NodeId, u64);

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
struct Outgoing {
    size: u64,
    attempt: u64,
    /// Whether the receiver has let this attempt begin.
    granted: bool,
    stored: u64,
    /// Up to where the application was asked, and has answered.
    wanted: u64,
    supplied: u64,
}

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
struct Incoming {
    size: u64,
    attempt: u64,
    /// Whether the application has accepted it.
    accepted: bool,
    arrived: u64,
    stored: u64,
    /// Whether the link has ended since the sender last asked: it may never come back to it.
    is_left: bool,
}

impl Default for Bulk {
    fn default() -> Self {
        Self::cut(PIECE_BYTES, WINDOW_BYTES)
    }
}

impl Algorithm for Bulk {
    const NAME: &'static str = "bulk";
    const ORDER: Order = Order::PerEvent;
    const MODEL: Model =
        Model::ASYNCHRONOUS.tolerating(Faults::CrashRecovery(Tolerance::AllButOne));

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::send)
            .on(Self::cancel)
            .on(Self::open)
            .on(Self::accept)
            .on(Self::decline)
            .on(Self::granted)
            .on(Self::supply)
            .on(Self::piece)
            .on(Self::stored)
            .on(Self::credit)
            .on(Self::over)
            .on(Self::peer_up)
            .on(Self::peer_down)
            .indicates::<Offered>()
            .indicates::<Wanted>()
            .indicates::<Progress>()
            .indicates::<Arrived>()
            .indicates::<Ended>()
    }

    fn snapshots() -> Snapshots<Self> {
        Snapshots::encoded()
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::local("no more than a window is under way", window_is_kept),
            Property::local("what is stored has arrived", stored_has_arrived),
        ]
    }

    fn summary(&self) -> Summary {
        Summary::default()
            .with("sending", self.outgoing.len())
            .with("receiving", self.incoming.len())
            .with("sent_bytes", self.sent_bytes)
            .with("arrived_bytes", self.arrived_bytes)
    }
}

impl Bulk {
    /// One that sends pieces of another size, and has more or less of them under way.
    ///
    /// # Panics
    ///
    /// If a piece has no bytes, or does not fit into the window.
    #[must_use]
    pub fn cut(piece_bytes: u64, window_bytes: u64) -> Self {
        assert!(0 < piece_bytes && piece_bytes <= window_bytes, "a piece fits into the window");
        let (linked, outgoing, incoming) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        let (attempt, sent_bytes, arrived_bytes) = (0, 0, 0);
        Self {
            piece_bytes,
            window_bytes,
            linked,
            outgoing,
            incoming,
            attempt,
            sent_bytes,
            arrived_bytes,
        }
    }

    /// Upon `Send`: the receiver is asked as soon as it is linked. One that is under way already
    /// begins anew.
    fn send(&mut self, Send { to, transfer, size }: Send, ctx: &mut Context) {
        let name = (to, transfer);
        if TRANSFERS_MAX <= self.outgoing.len() && !self.outgoing.contains_key(&name) {
            ctx.trigger(&Ended { peer: to, transfer, outcome: Outcome::TooMany });
            return;
        }
        let (granted, stored, wanted, supplied) = (false, 0, 0, 0);
        let transfer = Outgoing { size, attempt: 0, granted, stored, wanted, supplied };
        self.outgoing.insert(name, transfer);
        self.attempt_again(name, ctx);
    }

    fn attempt_again(&mut self, name: Name, ctx: &mut Context) {
        if !self.linked.contains(&name.0) {
            return;
        }
        let Some(outgoing) = self.outgoing.get_mut(&name) else { return };
        // An answer to a former life is none to this one.
        self.attempt = self.attempt.max(ctx.incarnation() << 32) + 1;
        (outgoing.attempt, outgoing.granted, outgoing.stored) = (self.attempt, false, 0);
        let (size, attempt) = (outgoing.size, outgoing.attempt);
        ctx.send(name.0, &Open { transfer: name.1, attempt, size });
    }

    /// Upon `Cancel`: the receiver is told, if it is there.
    fn cancel(&mut self, Cancel { to, transfer }: Cancel, ctx: &mut Context) {
        if let Some(outgoing) = self.outgoing.remove(&(to, transfer)) {
            let (attempt, outcome) = (outgoing.attempt, Outcome::Cancelled);
            if self.linked.contains(&to) {
                ctx.send(to, &Over { transfer, attempt, outcome, by_sender: true });
            }
            ctx.trigger(&Ended { peer: to, transfer, outcome });
        }
    }

    /// Upon `Open`: one that is known goes on where it stopped; of another the application decides.
    fn open(&mut self, Open { transfer, attempt, size }: Open, from: NodeId, ctx: &mut Context) {
        let name = (from, transfer);
        if let Some(known) = self.incoming.get_mut(&name).filter(|it| it.size == size) {
            (known.attempt, known.is_left) = (attempt, false);
            if known.accepted {
                let (at, stored) = (known.arrived, known.stored);
                ctx.send(from, &Granted { transfer, attempt, at, stored });
            }
            return;
        }
        if self.incoming.remove(&name).is_some() {
            ctx.trigger(&Ended { peer: from, transfer, outcome: Outcome::Cancelled });
        }
        if TRANSFERS_MAX <= self.incoming.len() && !self.makes_room(ctx) {
            let outcome = Outcome::TooMany;
            ctx.send(from, &Over { transfer, attempt, outcome, by_sender: false });
            return;
        }
        let (accepted, arrived, stored, is_left) = (false, 0, 0, false);
        self.incoming.insert(name, Incoming { size, attempt, accepted, arrived, stored, is_left });
        ctx.trigger(&Offered { from, transfer, size });
    }

    /// Gives up a transfer whose sender has not come back to it, if there is one: a sender that does is
    /// asked from where the application has its bytes.
    fn makes_room(&mut self, ctx: &mut Context) -> bool {
        let left = self.incoming.iter().find(|(_, incoming)| incoming.is_left);
        let Some(name) = left.map(|(name, _)| *name) else { return false };
        self.leave(name, Outcome::Cancelled, ctx);
        true
    }

    /// Upon `Accept`: the sender may begin, where the application has no bytes yet.
    fn accept(&mut self, Accept { from, transfer, at }: Accept, ctx: &mut Context) {
        let Some(incoming) = self.incoming.get_mut(&(from, transfer)) else { return };
        if incoming.accepted || incoming.size < at {
            return;
        }
        incoming.accepted = true;
        (incoming.arrived, incoming.stored) = (at, at);
        let attempt = incoming.attempt;
        ctx.send(from, &Granted { transfer, attempt, at, stored: at });
        self.end_if_stored((from, transfer), ctx);
    }

    /// Upon `Decline`, at any time: the sender is told.
    fn decline(&mut self, Decline { from, transfer }: Decline, ctx: &mut Context) {
        self.leave((from, transfer), Outcome::Declined, ctx);
    }

    /// Takes no more of a transfer, and tells both.
    fn leave(&mut self, name: Name, outcome: Outcome, ctx: &mut Context) {
        if let Some(incoming) = self.incoming.remove(&name) {
            let ((from, transfer), attempt) = (name, incoming.attempt);
            ctx.send(from, &Over { transfer, attempt, outcome, by_sender: false });
            ctx.trigger(&Ended { peer: from, transfer, outcome });
        }
    }

    /// Upon `Granted`: this attempt begins where the receiver says.
    fn granted(&mut self, granted: Granted, from: NodeId, ctx: &mut Context) {
        let Granted { transfer, attempt, at, stored } = granted;
        let name = (from, transfer);
        let Some(outgoing) = self.outgoing.get_mut(&name) else {
            // Given up before the receiver knew of it.
            let outcome = Outcome::Cancelled;
            ctx.send(from, &Over { transfer, attempt, outcome, by_sender: true });
            return;
        };
        if outgoing.attempt != attempt || outgoing.granted {
            return;
        }
        if outgoing.size < at || at < stored {
            return self.break_off(name, ctx);
        }
        outgoing.granted = true;
        (outgoing.supplied, outgoing.wanted) = (at, at);
        // A credit may have overtaken this.
        outgoing.stored = outgoing.stored.max(stored);
        self.go_on(name, ctx);
    }

    /// The other end has said something that cannot be.
    fn break_off(&mut self, name: Name, ctx: &mut Context) {
        let outcome = Outcome::Broken;
        if let Some(outgoing) = self.outgoing.remove(&name) {
            let ((peer, transfer), attempt) = (name, outgoing.attempt);
            ctx.send(peer, &Over { transfer, attempt, outcome, by_sender: true });
            ctx.trigger(&Ended { peer: name.0, transfer: name.1, outcome });
        }
    }

    /// Tells how far it is, and asks for what the window has room for.
    fn go_on(&mut self, name: Name, ctx: &mut Context) {
        let Some(outgoing) = self.outgoing.get_mut(&name) else { return };
        let ((to, transfer), size, stored) = (name, outgoing.size, outgoing.stored);
        ctx.trigger(&Progress { to, transfer, stored, size });
        if stored == size {
            self.outgoing.remove(&name);
            ctx.trigger(&Ended { peer: to, transfer, outcome: Outcome::Done });
            return;
        }
        let end = size.min(stored.saturating_add(self.window_bytes));
        while outgoing.wanted < end {
            let at = outgoing.wanted;
            let bytes = self.piece_bytes.min(size - at);
            if end - at < bytes {
                return;
            }
            outgoing.wanted += bytes;
            ctx.trigger(&Wanted { to, transfer, at, bytes });
        }
    }

    /// Upon `Supply`: a piece that was asked for leaves; any other is dropped.
    fn supply(&mut self, Supply { to, transfer, at, bytes }: Supply, ctx: &mut Context) {
        let Some(outgoing) = self.outgoing.get_mut(&(to, transfer)) else { return };
        let length = bytes.len() as u64;
        let is_wanted = at == outgoing.supplied && at < outgoing.wanted;
        if !outgoing.granted || !is_wanted || length != self.piece_bytes.min(outgoing.size - at) {
            return;
        }
        outgoing.supplied += length;
        self.sent_bytes += length;
        ctx.send(to, &Piece { transfer, attempt: outgoing.attempt, at, bytes });
    }

    /// Upon `Piece`: to the application. It stays the application's until it says `Stored`.
    fn piece(&mut self, piece: Piece, from: NodeId, ctx: &mut Context) {
        let Piece { transfer, attempt, at, bytes } = piece;
        let Some(incoming) = self.incoming.get_mut(&(from, transfer)) else { return };
        if !incoming.accepted || incoming.attempt != attempt || incoming.arrived != at {
            return;
        }
        let length = bytes.len() as u64;
        if incoming.size - at < length {
            self.leave((from, transfer), Outcome::Broken, ctx);
            return;
        }
        incoming.arrived += length;
        self.arrived_bytes += length;
        ctx.trigger(&Arrived { from, transfer, at, bytes });
    }

    /// Upon `Stored`: so much more may be sent.
    fn stored(&mut self, Stored { from, transfer, at }: Stored, ctx: &mut Context) {
        let Some(incoming) = self.incoming.get_mut(&(from, transfer)) else { return };
        if at <= incoming.stored || incoming.arrived < at {
            return;
        }
        incoming.stored = at;
        let attempt = incoming.attempt;
        // If the link is lost, the next grant says so.
        ctx.send(from, &Credit { transfer, attempt, at });
        self.end_if_stored((from, transfer), ctx);
    }

    fn end_if_stored(&mut self, name: Name, ctx: &mut Context) {
        if self.incoming.get(&name).is_some_and(|incoming| incoming.stored == incoming.size) {
            self.incoming.remove(&name);
            ctx.trigger(&Ended { peer: name.0, transfer: name.1, outcome: Outcome::Done });
        }
    }

    /// Upon `Credit`: the window moves on. A credit may overtake the grant of its attempt, and counts
    /// with that then.
    fn credit(&mut self, credit: Credit, from: NodeId, ctx: &mut Context) {
        let Credit { transfer, attempt, at } = credit;
        let Some(outgoing) = self.outgoing.get_mut(&(from, transfer)) else { return };
        if outgoing.attempt == attempt && outgoing.stored < at && at <= outgoing.size {
            outgoing.stored = at;
            if outgoing.granted {
                self.go_on((from, transfer), ctx);
            }
        }
    }

    /// Upon `Over`: the other side has given up.
    fn over(&mut self, over: Over, from: NodeId, ctx: &mut Context) {
        let Over { transfer, attempt, outcome, by_sender } = over;
        let name = (from, transfer);
        let ended = if by_sender {
            let known = self.incoming.get(&name).is_some_and(|it| it.attempt == attempt);
            known && self.incoming.remove(&name).is_some()
        } else {
            let known = self.outgoing.get(&name).is_some_and(|it| it.attempt == attempt);
            known && self.outgoing.remove(&name).is_some()
        };
        if ended {
            ctx.trigger(&Ended { peer: from, transfer, outcome });
        }
    }

    /// Upon `PeerUp`: whatever was under way goes on.
    fn peer_up(&mut self, PeerUp { peer, .. }: PeerUp, ctx: &mut Context) {
        self.linked.insert(peer);
        let names: Vec<Name> =
            self.outgoing.keys().copied().filter(|(to, _)| *to == peer).collect();
        names.into_iter().for_each(|name| self.attempt_again(name, ctx));
    }

    /// Upon `PeerDown`: nothing is asked for until it is back. What has arrived stays the
    /// application's.
    fn peer_down(&mut self, PeerDown { peer, .. }: PeerDown) {
        self.linked.remove(&peer);
        for (_, outgoing) in self.outgoing.iter_mut().filter(|((to, _), _)| *to == peer) {
            outgoing.granted = false;
        }
        for (_, incoming) in self.incoming.iter_mut().filter(|((from, _), _)| *from == peer) {
            incoming.is_left = true;
        }
    }
}

fn window_is_kept(node: NodeId, state: &Bulk) -> Verdict {
    let mut granted = state.outgoing.values().filter(|outgoing| outgoing.granted);
    match granted.find(|it| it.stored.saturating_add(state.window_bytes) < it.wanted) {
        Some(it) => Err(format!("{node} has asked for {} and {} are stored", it.wanted, it.stored)),
        None => Ok(()),
    }
}

fn stored_has_arrived(node: NodeId, state: &Bulk) -> Verdict {
    match state.incoming.values().find(|it| it.arrived < it.stored) {
        Some(it) => Err(format!("{node} has stored {} of {} that came", it.stored, it.arrived)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
