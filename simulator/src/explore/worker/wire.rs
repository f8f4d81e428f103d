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

/// What the place on an ordered lane behind so many is weighed with.
pub(super) fn weight_behind(before: usize) -> u128 {
    WEIGHT.wrapping_pow(u32::try_from(before).expect("fewer than 2^32 parcels"))
}

impl Worker<'_> {
    /// Computes the sum of a state anew.
    pub(crate) fn weigh(&self, state: &mut State) {
        let places = state.places.iter().map(|place| self.print(*place));
        let sum = self.weight(&state.wire).wrapping_add(self.memory(state.memory).print);
        state.sum = places.fold(sum, u128::wrapping_add);
    }

    /// The sum of what is on some lanes: its order counts where it has one.
    pub(super) fn weight(&self, wire: &[u32]) -> u128 {
        let weighed = self.weighed(wire);
        weighed.fold(0, |sum, (number, weight)| {
            sum.wrapping_add(self.parcel(number).print.wrapping_mul(weight))
        })
    }

    /// What is under way, each with its weight in the sum of the state.
    pub(crate) fn weighed(&self, wire: &[u32]) -> impl Iterator<Item = (u32, u128)> {
        let (mut weight, mut lane) = (1_u128, None);
        wire.iter().map(move |number| {
            let parcel = self.parcel(*number);
            if !parcel.ordered {
                return (*number, 1);
            }
            if lane.replace(parcel.link) != Some(parcel.link) {
                weight = 1;
            }
            let mine = weight;
            weight = weight.wrapping_mul(WEIGHT);
            (*number, mine)
        })
    }

    pub(super) fn number(&self, link: Link, input: Input, left: u64) -> u32 {
        let parcel = Parcel::new(link, input, left, self.setting().bounds);
        self.setting().parcels.number(parcel.print, || Arc::new(parcel))
    }

    pub(super) fn send(&mut self, state: &mut State, link: Link, input: Input, left: u64) {
        let number = self.number(link, input, left);
        self.learn();
        self.enqueue(state, number);
    }

    /// Puts a parcel behind all of its lane; one without an order where its fingerprint says.
    pub(super) fn enqueue(&self, state: &mut State, number: u32) {
        self.enqueue_all(state, [number]);
    }

    /// The same with some, one after the other: those of one lane in a row stand behind one another.
    pub(super) fn enqueue_all(&self, state: &mut State, numbers: impl IntoIterator<Item = u32>) {
        let mut last: Option<(Link, usize, u128)> = None;
        for number in numbers {
            let parcel = self.parcel(number);
            let (at, weight) = match last {
                Some((link, at, weight)) if parcel.ordered && link == parcel.link => {
                    (at + 1, weight.wrapping_mul(WEIGHT))
                }
                _ => self.end_of_lane(state, number),
            };
            if parcel.stays && at.checked_sub(1).and_then(|at| state.wire.get(at)) == Some(&number)
            {
                continue; // It is under way for ever already.
            }
            state.sum = state.sum.wrapping_add(parcel.print.wrapping_mul(weight));
            state.wire.insert(at, number);
            last = Some((parcel.link, at, weight));
        }
    }

    /// Where a parcel is put, and what it is weighed with there.
    fn end_of_lane(&self, state: &State, number: u32) -> (usize, u128) {
        let parcel = self.parcel(number);
        let key = |parcel: &Parcel| (parcel.link, if parcel.ordered { 0 } else { parcel.print });
        let mine = key(parcel);
        let at = state.wire.partition_point(|other| key(self.parcel(*other)) <= mine);
        if !parcel.ordered {
            return (at, 1);
        }
        let lane = state.wire.iter().take(at).rev();
        let before = lane.take_while(|other| self.parcel(**other).link == parcel.link).count();
        (at, weight_behind(before))
    }

    /// Takes what stands at this place off the wire: the first of its lane, if that has an order.
    pub(super) fn take(&self, state: &mut State, at: usize) {
        let Some(parcel) = self.at(state, at) else {
            return;
        };
        if !parcel.ordered {
            state.sum = state.sum.wrapping_sub(parcel.print);
            state.wire.remove(at);
            return;
        }
        let lane = self.lane(state, at);
        let (weight, end) = (self.weight(lane), at + lane.len());
        state.sum = state.sum.wrapping_sub(weight);
        state.wire.remove(at);
        let rest = state.wire.get(at..end - 1).unwrap_or_default();
        state.sum = state.sum.wrapping_add(self.weight(rest));
    }

    /// The lane on which the first one stands at this place of the wire.
    pub(super) fn lane<'s>(&self, state: &'s State, at: usize) -> &'s [u32] {
        let rest = state.wire.get(at..).unwrap_or_default();
        let link = self.at(state, at).map(|parcel| parcel.link);
        let count = rest.iter().take_while(|it| Some(self.parcel(**it).link) == link).count();
        rest.get(..count).unwrap_or_default()
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

    /// What stands at this place of the wire.
    pub(crate) fn at(&self, state: &State, at: usize) -> Option<&Arc<Parcel>> {
        state.wire.get(at).map(|number| self.parcel(*number))
    }

    /// How much there is on its lane before what stands at this place of the wire. What a node has from itself
    /// may also be on its way by another lane, which nothing else tells apart: then that counts too.
    pub(crate) fn before(&self, state: &State, at: usize) -> usize {
        let Some(parcel) = self.at(state, at) else {
            return 0;
        };
        let (from, to, lane) = parcel.link;
        let there = || state.wire.iter().map(|it| self.parcel(*it));
        let is_same = |other: &Parcel| other.link.2 != lane && other.event() == parcel.event();
        let own = |other: &&Arc<Parcel>| (other.link.0, other.link.1) == (from, to);
        let is_doubted = from == to && there().filter(own).any(|it| is_same(it));
        let before = there().take(at).filter(own);
        before.filter(|it| is_doubted || it.link == parcel.link).count()
    }
}
