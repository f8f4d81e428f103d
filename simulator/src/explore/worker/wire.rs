//! What is under way in a state, lane by lane, and its share of the state's sum.

use std::sync::Arc;

use synod_core::Input;

use super::Worker;
use crate::explore::parcel::{Link, Parcel};
use crate::explore::state::State;

/// A parcel that was not asked for yet.
const UNKNOWN: u32 = u32::MAX;

/// What a place on an ordered lane is weighed with, one more time for each place before it.
const WEIGHT: u128 = 0xa076_1d64_78bd_642f_e703_7ed1_a0b4_28dd;

impl Worker<'_> {
    /// Computes the sum of a state anew.
    pub(crate) fn weigh(&self, state: &mut State) {
        let places = state.places.iter().map(|place| self.host(*place).print);
        let sum = places.fold(0, u128::wrapping_add);
        let lanes =
            state.wire.chunk_by(|one, other| self.parcel(*one).link == self.parcel(*other).link);
        state.sum = lanes.map(|lane| self.weight(lane)).fold(sum, u128::wrapping_add);
    }

    /// The sum of what is on one lane: its order counts where it has one.
    pub(super) fn weight(&self, lane: &[u32]) -> u128 {
        let weighed = self.weighed(lane);
        weighed.fold(0, |sum, (number, weight)| {
            sum.wrapping_add(self.parcel(number).print.wrapping_mul(weight))
        })
    }

    /// What is under way, each with its weight in the sum of the state.
    pub(crate) fn weighed(&self, wire: &[u32]) -> impl Iterator<Item = (u32, u128)> {
        let (mut weight, mut lane) = (1_u128, None);
        wire.iter().map(move |number| {
            let parcel = self.parcel(*number);
            if lane.replace(parcel.link) != Some(parcel.link) {
                weight = 1;
            }
            let mine = weight;
            if parcel.ordered {
                weight = weight.wrapping_mul(WEIGHT);
            }
            (*number, mine)
        })
    }

    pub(super) fn number(&self, link: Link, input: Input, left: u64) -> u32 {
        let parcel = Parcel::new(link, input, left, !self.setting().bounds.unordered);
        self.setting().parcels.number(parcel.print, || parcel)
    }

    pub(super) fn send(&mut self, state: &mut State, link: Link, input: Input, left: u64) {
        let number = self.number(link, input, left);
        self.learn();
        self.enqueue(state, number);
    }

    /// Puts a parcel behind all of its lane; a datagram where its fingerprint says.
    pub(super) fn enqueue(&self, state: &mut State, number: u32) {
        let parcel = self.parcel(number);
        let key = |parcel: &Parcel| (parcel.link, if parcel.ordered { 0 } else { parcel.print });
        let mine = key(parcel);
        let at = state.wire.partition_point(|other| key(self.parcel(*other)) <= mine);
        let lane = state.wire.iter().take(at).rev();
        let before = lane.take_while(|other| self.parcel(**other).link == parcel.link).count();
        let weight = if parcel.ordered {
            (0..before).fold(1_u128, |weight, _| weight.wrapping_mul(WEIGHT))
        } else {
            1
        };
        state.sum = state.sum.wrapping_add(parcel.print.wrapping_mul(weight));
        state.wire.insert(at, number);
    }

    pub(super) fn take(&self, state: &mut State, link: Link, index: usize) -> Option<u32> {
        let begin = state.wire.partition_point(|other| self.parcel(*other).link < link);
        let rest = state.wire.get(begin..)?;
        let count = rest.iter().take_while(|other| self.parcel(**other).link == link).count();
        if count <= index {
            return None;
        }
        let lane = rest.get(..count)?;
        state.sum = state.sum.wrapping_sub(self.weight(lane));
        let number = state.wire.remove(begin + index);
        let lane = state.wire.get(begin..begin + count - 1)?;
        state.sum = state.sum.wrapping_add(self.weight(lane));
        Some(number)
    }

    /// The same parcel a tick later.
    pub(super) fn later(&mut self, number: u32) -> u32 {
        self.later.resize(self.later.len().max(number as usize + 1), UNKNOWN);
        if let Some(later) = self.later.get(number as usize)
            && *later != UNKNOWN
        {
            return *later;
        }
        let Parcel { link, input, left, .. } = Parcel::clone(self.parcel(number));
        let later = self.number(link, input, left.saturating_sub(1));
        self.learn();
        if let Some(known) = self.later.get_mut(number as usize) {
            *known = later;
        }
        later
    }

    /// The number of the parcel of a delivery.
    pub(super) fn numbered(&self, state: &State, link: Link, index: usize) -> Option<u32> {
        let mut lane = state.wire.iter().filter(|number| self.parcel(**number).link == link);
        lane.nth(index).copied()
    }

    /// The parcel of a delivery.
    pub(crate) fn at(&self, state: &State, link: Link, index: usize) -> Option<&Arc<Parcel>> {
        self.numbered(state, link, index).map(|number| self.parcel(number))
    }

    /// What a delivery would deliver.
    pub(crate) fn under_way(&self, state: &State, link: Link, index: usize) -> Option<&Input> {
        self.at(state, link, index).map(|parcel| &parcel.input)
    }
}
