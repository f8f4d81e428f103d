//! What can happen next.

use synod_core::{Envelope, NodeId, TimerId};

use super::Worker;
use crate::action::{Act, Action};
use crate::explore::parcel::{APPLICATION, Parcel};
use crate::explore::state::State;

impl Worker<'_> {
    /// Everything that can happen next, the calm first.
    pub(crate) fn actions(&self, state: &State) -> Vec<Action> {
        let mut all = Vec::new();
        self.add_acts(state, &mut all);
        all.into_iter().map(Action::of).collect()
    }

    /// Appends it to a list.
    pub(crate) fn add_acts(&self, state: &State, all: &mut Vec<Act>) {
        let bounds = self.setting().bounds;
        let timed = 0 < bounds.tick_us;
        let mut before: Option<(u32, &Parcel)> = None;
        for (at, number) in state.wire.iter().enumerate() {
            let parcel = self.parcel(*number);
            let repeats = before.replace((*number, parcel)).is_some_and(|(other, before)| {
                if parcel.ordered { before.link == parcel.link } else { other == *number }
            });
            if repeats {
                continue; // Behind another one, or the same again.
            }
            if timed && parcel.link.2 == APPLICATION && 0 < parcel.left {
                continue; // The application keeps its time; everything else may come early.
            }
            all.push(Act::Deliver { at });
            if 0 < state.losses && parcel.is_lossy(bounds) {
                all.push(Act::Lose { at });
            }
            if 0 < state.copies && !parcel.stays && !parcel.is_own() {
                all.push(Act::Repeat { at });
            }
        }
        self.timer_actions(state, timed, all);
        self.fault_actions(state, all);
    }

    /// With a bound, timers fire from their earliest time on, and time passes when nothing is at its
    /// latest. Without, each node's timers fire in the order of its own clock.
    pub(super) fn timer_actions(&self, state: &State, timed: bool, all: &mut Vec<Act>) {
        let hosts = || state.places.iter().map(|place| self.host(*place));
        for host in hosts().filter(|host| !host.timers.is_empty()) {
            let next = host.timers.iter().map(|(_, due)| due.earliest).min();
            let next = if timed { Some(0) } else { next };
            let due = host.timers.iter().filter(|(_, due)| Some(due.earliest) == next);
            all.extend(due.map(|(id, _)| Act::Fire { node: host.node, id }));
        }
        if timed {
            let mut timers = hosts().flat_map(|host| host.timers.iter());
            let mut wire = state.wire.iter().map(|number| self.parcel(*number).left);
            if timers.all(|(_, due)| due.latest > 0) && wire.all(|left| left > 0) {
                all.push(Act::Tick);
            }
        }
    }

    pub(super) fn fault_actions(&self, state: &State, all: &mut Vec<Act>) {
        let may_crash = self.may_crash(state);
        if !may_crash && state.recoveries == 0 {
            return;
        }
        for host in state.places.iter().map(|place| self.host(*place)) {
            let node = host.node;
            if !host.up {
                if 0 < state.recoveries {
                    let most = u32::try_from(host.disk.at_risk(state.lies)).unwrap_or(u32::MAX);
                    let ways = (0..=most).map(|lost| Act::Restart { node, lost });
                    all.extend(ways);
                }
            } else if may_crash {
                all.push(Act::Crash { node, losing: false });
                if self.has_under_way(state, node) {
                    all.push(Act::Crash { node, losing: true });
                }
            }
        }
    }

    pub(crate) fn may_crash(&self, state: &State) -> bool {
        let down = || state.places.iter().filter(|place| !self.host(**place).up).count();
        0 < state.crashes && down() < self.setting().bounds.down_max as usize
    }

    pub(super) fn has_under_way(&self, state: &State, node: NodeId) -> bool {
        let mut links = state.wire.iter().map(|number| self.parcel(*number).link);
        links.any(|(from, to, _)| from == node && to != node)
    }

    pub(crate) fn is_at_rest(&self, state: &State) -> bool {
        let mut hosts = state.places.iter().map(|place| self.host(*place));
        state.wire.is_empty() && hosts.all(|host| host.timers.is_empty())
    }

    /// The action that a schedule calls so.
    pub(crate) fn action_named(&self, state: &State, name: &str) -> Option<Action> {
        let (base, cut, choices) = Action::parts(name)?;
        let mut possible = self.actions(state).into_iter();
        let action = possible.find(|action| action.name(self, state) == base)?;
        let action = action.choosing(choices);
        Some(match cut {
            Some(cut) => action.cut(cut),
            None => action,
        })
    }

    /// The event that a timer would be.
    pub(crate) fn timer(&self, state: &State, node: NodeId, id: TimerId) -> Option<Envelope> {
        self.program.timer(Self::place(state, node), id)
    }
}
