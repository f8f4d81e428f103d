//! Deliveries to one node that commute, and whether it is true that they do.

use synod_core::{Effect, Envelope, EventId, Input, NodeId};

use super::Worker;
use crate::action::{Act, Action};
use crate::explore::parcel::Parcel;
use crate::explore::report::Untrue;
use crate::explore::setting::Wrong;
use crate::explore::state::State;

/// Pairs of deliveries that are remembered at most. Beyond, all are forgotten, and tried again.
const PAIRS_MAX: usize = 1 << 16;

/// A delivery that commutes with others of its kind.
struct Collected {
    node: NodeId,
    event: EventId,
    parcel: u32,
}

impl Worker<'_> {
    /// The event that `action` delivers, if deliveries of it to one node are taken in one order.
    pub(crate) fn collected(&self, state: &State, action: &Action) -> Option<EventId> {
        match action.act {
            Act::Deliver { at } if self.setting().collects => {
                self.commuting_event(self.at(state, at)?)
            }
            _ => None,
        }
    }

    fn commuting_event(&self, parcel: &Parcel) -> Option<EventId> {
        let Input::Deliver { envelope, .. } = &parcel.input else {
            return None;
        };
        let info = self.setting().catalogue.handled(envelope.event())?;
        info.commutes.then_some(info.id)
    }

    /// Takes each two deliveries that commute in both orders, and compares what comes of them.
    pub(crate) fn try_both_orders(&mut self, state: &State) -> Result<(), Wrong> {
        let all = self.all_collected(state);
        for (index, one) in all.iter().enumerate() {
            let alike = |it: &&Collected| (it.node, it.event) == (one.node, one.event);
            for other in all.iter().skip(index + 1).filter(alike) {
                let place = Self::place(state, one.node);
                if PAIRS_MAX <= self.commuting.len() {
                    self.commuting.clear();
                }
                if self.commuting.insert((place, one.parcel, other.parcel)) {
                    self.compare_orders(state, one, other).map_err(|what| {
                        let event = self.setting().catalogue.name(one.event);
                        let reason = format!("`{event}` at {}: {what}", one.node);
                        Wrong::Declared(Untrue { declared: "commuting", reason })
                    })?;
                }
            }
        }
        Ok(())
    }

    fn all_collected(&self, state: &State) -> Vec<Collected> {
        if !self.setting().collects {
            return Vec::new();
        }
        let mut all = Vec::new();
        for action in self.actions(state) {
            if let Act::Deliver { at } = action.act
                && let Some(event) = self.collected(state, &action)
                && let Some(parcel) = state.wire.get(at).copied()
            {
                all.push(Collected { node: self.parcel(parcel).link.1, event, parcel });
            }
        }
        all
    }

    /// Whether two deliveries lead to the same state of the cluster in either order, and indicate
    /// the same.
    fn compare_orders(
        &mut self,
        state: &State,
        one: &Collected,
        other: &Collected,
    ) -> Result<(), String> {
        let (first, mut indicated) = self.take_both(state, one, other)?;
        let (second, mut indicated_too) = self.take_both(state, other, one)?;
        let from = |it: &Collected| self.parcel(it.parcel).link.0;
        let order =
            || format!("from {} and then from {}, or the other way round", from(one), from(other));
        if first.fingerprint() != second.fingerprint() {
            return Err(format!("{}: two different states", order()));
        }
        indicated.sort_unstable();
        indicated_too.sort_unstable();
        if indicated != indicated_too {
            return Err(format!("{}: it indicates something else", order()));
        }
        Ok(())
    }

    /// The state after two deliveries, and what they indicated.
    fn take_both(
        &mut self,
        state: &State,
        one: &Collected,
        other: &Collected,
    ) -> Result<(State, Vec<Envelope>), String> {
        let mut indicated = Vec::new();
        let mut at = state.clone();
        for delivery in [one, other] {
            let place = at.wire.iter().position(|number| *number == delivery.parcel);
            let action = Action::of(Act::Deliver { at: place.ok_or("it is gone")? });
            let mut next = State::default();
            let moved = self.act(&at, &action, &mut next);
            let moved = moved.map_err(|_| String::from("one of two deliveries panics"))?;
            if moved.is_some_and(|at| !self.moved(at).asked.is_empty()) {
                return Err(String::from("it makes a choice"));
            }
            let effects = self.effects(&at, &action);
            indicated.extend(effects.into_iter().filter_map(|effect| match effect {
                Effect::Output(envelope) => Some(envelope),
                _ => None,
            }));
            at = next;
        }
        Ok((at, indicated))
    }
}
