//! What happens to a cluster and not in a handler: time, crashes, links.

use synod_core::{Event, Input, Lane, NodeId, PeerDown, PeerUp, Reason};

use super::{What, Worker};
use crate::explore::parcel::{APPLICATION, notices};
use crate::explore::state::State;

impl Worker<'_> {
    pub(super) fn tick(&mut self, state: &mut State) {
        for node in self.nodes() {
            if !self.host(Self::place(state, node)).timers.is_empty() {
                self.change(state, node, What::Tick);
            }
        }
        for number in &mut state.wire {
            *number = self.later(*number);
        }
        // Datagrams are sorted by their fingerprints, which have changed.
        let key = |number: &u32| {
            let parcel = self.parcel(*number);
            (parcel.link, if parcel.ordered { 0 } else { parcel.print })
        };
        state.wire.sort_by_key(key);
        state.quiet = (state.quiet + 1).min(self.setting().patience);
        self.weigh(state);
    }

    /// A node stops, with what it has under way if it is `losing`. What is under way to it is
    /// lost in any case.
    pub(super) fn crash(&mut self, state: &mut State, node: NodeId, losing: bool) {
        state.crashes = state.crashes.saturating_sub(1);
        state.quiet = 0;
        self.change(state, node, What::Crash);
        state.wire.retain(|number| {
            let (from, to, lane) = self.parcel(*number).link;
            lane == APPLICATION || (to != node && !(losing && from == node))
        });
        self.weigh(state);
        if self.setting().catalogue.handled(PeerDown::ID).is_none() {
            return;
        }
        for peer in self.live(state) {
            let down = Input::PeerDown(PeerDown { peer: node, reason: Reason::Silent });
            self.send(state, (peer, peer, self.notices(node)), down, self.setting().bounds.delay());
        }
    }

    pub(super) fn live(&self, state: &State) -> Vec<NodeId> {
        let hosts = state.places.iter().map(|place| self.host(*place));
        hosts.filter(|host| host.up).map(|host| host.node).collect()
    }

    /// A node is about to come back: its old sessions end, with what was under way on them.
    pub(super) fn revive(&self, state: &mut State, node: NodeId) {
        state.recoveries = state.recoveries.saturating_sub(1);
        state.quiet = 0;
        state.wire.retain(|number| {
            let (from, to, lane) = self.parcel(*number).link;
            lane == APPLICATION || (to != node && from != node)
        });
        self.weigh(state);
    }

    /// A node that has started, and those of the others that count, learn of each other.
    pub(super) fn tell_of_start(
        &mut self,
        state: &mut State,
        node: NodeId,
        counts: impl Fn(NodeId) -> bool,
    ) {
        if self.setting().catalogue.handled(PeerUp::ID).is_none() {
            return;
        }
        for peer in self.live(state) {
            if peer != node && counts(peer) {
                self.tell_up(state, peer, node);
                self.tell_up(state, node, peer);
            }
        }
    }

    /// The lane of a node to itself on which it is told of its link to `peer`.
    fn notices(&self, peer: NodeId) -> Lane {
        notices(self.setting().bounds.links_in_any_order.then_some(peer))
    }

    pub(super) fn tell_up(&mut self, state: &mut State, to: NodeId, peer: NodeId) {
        let incarnation = self.host(Self::place(state, peer)).incarnation;
        let up = Input::PeerUp(PeerUp { peer, incarnation });
        self.send(state, (to, to, self.notices(peer)), up, self.setting().bounds.delay());
    }
}
