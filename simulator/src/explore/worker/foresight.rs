//! The fingerprint of the next state before there is that state: most transitions lead to one that
//! was visited, which then need not be made.

use synod_core::NodeId;

use super::wire::weight_behind;
use super::{Move, Way, What, Worker};
use crate::action::Act;
use crate::explore::parcel::Parcel;
use crate::explore::setting::Wrong;
use crate::explore::state::State;

/// Where an act leads, as far as that is known before there is a state after it.
pub(crate) enum Foreseen {
    /// Nothing changes.
    Nothing,
    /// Only this node's local state changes, to this one, and the fingerprint becomes so much larger.
    Place { node: NodeId, place: u32, shift: u128 },
    /// The fingerprint becomes so much larger.
    Shift(u128),
    /// More happens than that a handler runs, or that handler can go in several ways.
    Unknown,
}

impl Worker<'_> {
    /// Where `act` leads from `state`.
    #[inline]
    pub(crate) fn foresee(&mut self, state: &State, act: Act) -> Result<Foreseen, Wrong> {
        if self.orbits.is_some() {
            return Ok(Foreseen::Unknown); // An orbit's fingerprint is not that of one of its states.
        }
        let (node, what, taken) = match act {
            Act::Deliver { at } => {
                let number = *state.wire.get(at).expect("an act of this state");
                let parcel = self.parcel(number);
                (parcel.link.1, What::Parcel(number), (!parcel.stays).then_some(at))
            }
            Act::Fire { node, id } => (node, What::Timer(id), None),
            _ => return Ok(Foreseen::Unknown),
        };
        self.moves.make_room();
        let before = Self::place(state, node);
        let at = self.activate(before, what, Way::CALM)?;
        if let (Some(place), None) = (at.only_place(), taken) {
            if place == before {
                return Ok(Foreseen::Nothing);
            }
            return Ok(Foreseen::Place { node, place, shift: self.shift(before, place) });
        }
        Ok(match self.shift_by(state, node, self.moves.at(at), taken) {
            None => Foreseen::Unknown,
            Some(0) => Foreseen::Nothing,
            Some(shift) => Foreseen::Shift(shift),
        })
    }

    /// By how much the fingerprint becomes larger with what a handler of `node` did, and without what
    /// was taken off this place of the wire for it.
    fn shift_by(
        &self,
        state: &State,
        node: NodeId,
        moved: Move<'_>,
        taken: Option<usize>,
    ) -> Option<u128> {
        if self.varies(state, moved) {
            return None;
        }
        let mut shift = self.shift(Self::place(state, node), moved.place);
        if let Some(told) = moved.told {
            let after = *self.remembered.get(&(state.memory, told))?;
            let [old, new] = [state.memory, after].map(|memory| self.memory(memory).print);
            shift = shift.wrapping_sub(old).wrapping_add(new);
        }
        let taken = taken.and_then(|at| Some((at, &**self.at(state, at)?)));
        if let Some((at, parcel)) = taken {
            shift = shift.wrapping_sub(self.lost_by_taking(state, at, parcel));
        }
        let taken = taken.map(|(_, parcel)| parcel);
        for (index, number) in moved.sends.iter().enumerate() {
            let to = self.parcel(*number).link.1;
            if to == node || self.host(Self::place(state, to)).up {
                let sent = moved.sends.get(..index).unwrap_or_default();
                shift = shift.wrapping_add(self.won_by_sending(state, *number, sent, taken));
            }
        }
        Some(shift)
    }

    /// What a state's sum loses with what stands at this place of the wire.
    fn lost_by_taking(&self, state: &State, at: usize, parcel: &Parcel) -> u128 {
        if !parcel.ordered {
            return parcel.print;
        }
        let lane = self.lane(state, at);
        let rest = lane.get(1..).unwrap_or_default();
        self.weight(lane).wrapping_sub(self.weight(rest))
    }

    /// What a state's sum wins with a parcel that is sent, after what was `sent` in this step, and
    /// without what was `taken` off the wire.
    fn won_by_sending(
        &self,
        state: &State,
        number: u32,
        sent: &[u32],
        taken: Option<&Parcel>,
    ) -> u128 {
        let parcel = self.parcel(number);
        if parcel.stays {
            let is_there = state.wire.iter().chain(sent).any(|other| *other == number);
            return if is_there { 0 } else { parcel.print };
        }
        if !parcel.ordered {
            return parcel.print;
        }
        let on_lane = |number: &&u32| self.parcel(**number).link == parcel.link;
        let before = state.wire.iter().chain(sent).filter(on_lane).count();
        let before = before - usize::from(taken.is_some_and(|taken| taken.link == parcel.link));
        parcel.print.wrapping_mul(weight_behind(before))
    }
}
