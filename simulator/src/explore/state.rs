//! One state of an explored cluster: the numbers of its local states and of what is under way.

/// A cluster at one moment.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The local state of each node, by ascending identity.
    pub(crate) places: Vec<u32>,
    /// What is under way, by link; on an ordered lane in the order of sending, of datagrams in
    /// one that does not tell how they came.
    pub(crate) wire: Vec<u32>,
    /// The faults that may still happen.
    pub(crate) crashes: u32,
    pub(crate) recoveries: u32,
    /// `u32::MAX`: without a bound.
    pub(crate) losses: u32,
    pub(crate) copies: u32,
    pub(crate) lies: u32,
    /// Ticks since the last fault, up to the patience of the properties.
    pub(crate) quiet: u64,
    /// What the monitors remember.
    pub(crate) memory: u32,
    /// The sum of the fingerprints of all local states, of everything under way and of the memory.
    pub(crate) sum: u128,
}

/// Odd numbers without a pattern, which keep small counts apart in a sum.
const SALTS: [u128; 3] = [
    0x8cb9_2ba7_2f3d_8dd7_ff51_afd7_ed55_8ccd,
    0xc4ce_b9fe_1a85_ec53_94d0_49bb_1331_11eb,
    0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835,
];

impl State {
    /// Becomes equal to `other`, in the memory that it has already.
    pub(crate) fn copy(&mut self, other: &Self) {
        self.places.clone_from(&other.places);
        self.wire.clone_from(&other.wire);
        (self.crashes, self.recoveries) = (other.crashes, other.recoveries);
        (self.losses, self.copies, self.lies) = (other.losses, other.copies, other.lies);
        (self.quiet, self.memory, self.sum) = (other.quiet, other.memory, other.sum);
    }

    /// A hash of everything that the future depends on.
    pub(crate) fn fingerprint(&self) -> u128 {
        self.fingerprint_of(self.sum)
    }

    /// The same for a state of this sum.
    pub(crate) fn fingerprint_of(&self, sum: u128) -> u128 {
        let budgets = [self.losses, self.copies, self.crashes, self.recoveries];
        let budgets = budgets.iter().fold(0, |all, budget| (all << 32) | u128::from(*budget));
        let counts = [budgets, u128::from(self.quiet), u128::from(self.lies)];
        let salted = counts.into_iter().zip(SALTS).map(|(count, salt)| count.wrapping_mul(salt));
        salted.fold(sum, u128::wrapping_add)
    }

    /// Appends the state to a list of packed ones: how many bytes its numbers take each, how many of its
    /// counts come before those that are all 0, and then these and the lists.
    pub(crate) fn pack(&self, out: &mut Vec<u8>) {
        // What is without a bound is packed as 0.
        let [losses, copies] = [self.losses, self.copies].map(|budget| budget.wrapping_add(1));
        let quiet = u32::try_from(self.quiet).unwrap_or(u32::MAX);
        let wire = u32::try_from(self.wire.len()).unwrap_or(u32::MAX);
        let Self { crashes, recoveries, lies, memory, .. } = *self;
        let counts: [u32; COUNTS] =
            [wire, losses, copies, memory, quiet, crashes, recoveries, lies];
        let some = counts.iter().rposition(|count| *count != 0).map_or(0, |last| last + 1);
        let lists = [counts.get(..some).unwrap_or_default(), &self.places, &self.wire];
        let used = lists.iter().map(|list| list.iter().fold(0, |used, number| used | number));
        let used = used.fold(0, |used, more| used | more);
        let width = match used {
            0..0x100 => 1,
            0x100..0x1_0000 => 2,
            _ => 4,
        };
        out.extend_from_slice(&[width, u8::try_from(some).unwrap_or(u8::MAX)]);
        for list in lists {
            match width {
                1 => out.extend(list.iter().map(|number| number.to_le_bytes()[0])),
                2 => out.extend(list.iter().flat_map(|number| {
                    let [low, high, _, _] = number.to_le_bytes();
                    [low, high]
                })),
                _ => out.extend(list.iter().flat_map(|number| number.to_le_bytes())),
            }
        }
    }

    /// Becomes the state of `nodes` nodes at the beginning of `packed`, all but the sum. Returns
    /// what comes behind it.
    pub(crate) fn unpack<'p>(&mut self, nodes: usize, packed: &'p [u8]) -> &'p [u8] {
        let Some((&[width, some], packed)) = packed.split_first_chunk() else {
            return packed;
        };
        let some = usize::from(some);
        match width {
            1 => self.unpack_as(nodes, some, packed, |[low]| u32::from(low)),
            2 => self.unpack_as(nodes, some, packed, |bytes| u32::from(u16::from_le_bytes(bytes))),
            _ => self.unpack_as(nodes, some, packed, u32::from_le_bytes),
        }
    }

    /// The same where each number takes `N` bytes.
    fn unpack_as<'p, const N: usize>(
        &mut self,
        nodes: usize,
        some: usize,
        packed: &'p [u8],
        number: impl Fn([u8; N]) -> u32 + Copy,
    ) -> &'p [u8] {
        let (numbers, rest) = packed.split_at(some * N);
        let mut counts = [0; COUNTS];
        for (count, bytes) in counts.iter_mut().zip(numbers.as_chunks().0) {
            *count = number(*bytes);
        }
        let [wire, losses, copies, memory, quiet, crashes, recoveries, lies] = counts;
        (self.losses, self.copies) = (losses.wrapping_sub(1), copies.wrapping_sub(1));
        (self.crashes, self.recoveries, self.lies) = (crashes, recoveries, lies);
        (self.quiet, self.memory) = (u64::from(quiet), memory);
        let (places, rest) = rest.split_at(nodes * N);
        let (wire, rest) = rest.split_at(wire as usize * N);
        for (list, bytes) in [(&mut self.places, places), (&mut self.wire, wire)] {
            list.clear();
            list.extend(bytes.as_chunks().0.iter().map(|bytes| number(*bytes)));
        }
        rest
    }
}

/// Numbers of a packed state before those of its nodes, at most.
const COUNTS: usize = 8;

/// Which local states and parcels some states have, and what these are called from now on.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) places: Vec<bool>,
    pub(crate) parcels: Vec<bool>,
}

impl Live {
    pub(crate) fn none_of(places: usize, parcels: usize) -> Self {
        Self { places: vec![false; places], parcels: vec![false; parcels] }
    }

    pub(crate) fn mark(&mut self, places: &[u32], wire: &[u32]) {
        for (marks, numbers) in [(&mut self.places, places), (&mut self.parcels, wire)] {
            for number in numbers {
                if let Some(mark) = marks.get_mut(*number as usize) {
                    *mark = true;
                }
            }
        }
    }
}

/// Gives numbers their new names.
pub(crate) fn rename(numbers: &mut [u32], renumbered: &[u32]) {
    for number in numbers {
        *number = renumbered.get(*number as usize).copied().unwrap_or(u32::MAX);
    }
}

/// Lets `each` change every one of some packed states of `nodes` nodes.
pub(crate) fn each_packed(packed: &mut Vec<u8>, nodes: usize, each: &mut dyn FnMut(&mut State)) {
    let mut state = State::default();
    let mut all = Vec::with_capacity(packed.len());
    let mut rest = packed.as_slice();
    while !rest.is_empty() {
        rest = state.unpack(nodes, rest);
        each(&mut state);
        state.pack(&mut all);
    }
    *packed = all;
}

impl Clone for State {
    fn clone(&self) -> Self {
        let mut other = Self::default();
        other.copy(self);
        other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_states_come_out_as_they_went_in() {
        let one = State {
            places: vec![7, 255, 256],
            wire: vec![1, 1 << 16, u32::MAX],
            crashes: 1,
            recoveries: 2,
            losses: u32::MAX,
            copies: 5,
            lies: 7,
            quiet: 3,
            memory: 6,
            sum: 0,
        };
        let shorter = State { wire: vec![1], crashes: 0, ..one.clone() };
        let shortest = State { places: vec![1, 2, 255], recoveries: 0, lies: 0, ..shorter.clone() };
        let states = [one, shorter, shortest];
        let mut packed = Vec::new();
        states.iter().for_each(|state| state.pack(&mut packed));
        assert_eq!(packed.len(), (2 + 14 * 4) + (2 + 12 * 2) + (2 + 9));
        let (mut state, mut rest) = (State::default(), packed.as_slice());
        for expected in states {
            rest = state.unpack(3, rest);
            assert_eq!(format!("{state:?}"), format!("{expected:?}"));
        }
        assert!(rest.is_empty());
    }
}
