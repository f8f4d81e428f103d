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
    /// Ticks since the last fault, up to the patience of the properties.
    pub(crate) quiet: u64,
    /// The sum of the fingerprints of all local states and of everything under way.
    pub(crate) sum: u128,
}

/// Odd numbers without a pattern, which keep small counts apart in a sum.
const SALTS: [u128; 5] = [
    0x8cb9_2ba7_2f3d_8dd7_ff51_afd7_ed55_8ccd,
    0xc4ce_b9fe_1a85_ec53_94d0_49bb_1331_11eb,
    0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835,
    0xc2b2_ae3d_27d4_eb4f_1656_67b1_9e37_79f9,
    0xd6e8_feb8_6659_fd93_a5a3_5625_cf1b_bcdd,
];

impl State {
    /// Becomes equal to `other`, in the memory that it has already.
    pub(crate) fn copy(&mut self, other: &Self) {
        self.places.clone_from(&other.places);
        self.wire.clone_from(&other.wire);
        (self.crashes, self.recoveries) = (other.crashes, other.recoveries);
        (self.losses, self.copies) = (other.losses, other.copies);
        (self.quiet, self.sum) = (other.quiet, other.sum);
    }

    /// A hash of everything that the future depends on.
    pub(crate) fn fingerprint(&self) -> u128 {
        self.fingerprint_of(self.sum)
    }

    /// The same for a state of this sum.
    pub(crate) fn fingerprint_of(&self, sum: u128) -> u128 {
        let budgets = [self.losses, self.copies, self.crashes, self.recoveries].map(u128::from);
        let counts = budgets.iter().copied().chain([u128::from(self.quiet)]);
        let salted = counts.zip(SALTS).map(|(count, salt)| count.wrapping_mul(salt));
        salted.fold(sum, u128::wrapping_add)
    }

    /// Appends the state to a list of packed ones: numbers, of which small ones take a byte each.
    pub(crate) fn pack(&self, out: &mut Vec<u8>) {
        // What is without a bound is packed as 0.
        let budgets = [self.losses, self.copies].map(|budget| budget.wrapping_add(1));
        let quiet = u32::try_from(self.quiet).unwrap_or(u32::MAX);
        let wire = u32::try_from(self.wire.len()).unwrap_or(u32::MAX);
        let counts = budgets.into_iter().chain([self.crashes, self.recoveries, quiet, wire]);
        for number in counts.chain(self.places.iter().copied()).chain(self.wire.iter().copied()) {
            append(out, number);
        }
    }

    /// Becomes the state of `nodes` nodes at the beginning of `packed`, all but the sum. Returns
    /// what comes behind it.
    pub(crate) fn unpack<'p>(&mut self, nodes: usize, packed: &'p [u8]) -> &'p [u8] {
        let mut rest = packed;
        let mut next = || read(&mut rest);
        (self.losses, self.copies) = (next().wrapping_sub(1), next().wrapping_sub(1));
        (self.crashes, self.recoveries) = (next(), next());
        self.quiet = u64::from(next());
        let wire = next();
        self.places.clear();
        self.places.extend((0..nodes).map(|_| next()));
        self.wire.clear();
        self.wire.extend((0..wire).map(|_| next()));
        rest
    }
}

/// Seven bits of the number in each byte, the lowest first; all bytes but the last have the eighth set.
fn append(out: &mut Vec<u8>, number: u32) {
    let mut rest = number;
    loop {
        let low = rest.to_le_bytes()[0];
        rest >>= 7;
        if rest == 0 && low < 0x80 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn read(packed: &mut &[u8]) -> u32 {
    let (mut number, mut shift) = (0, 0);
    while let Some((byte, rest)) = packed.split_first() {
        *packed = rest;
        number |= u32::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            break;
        }
        shift += 7;
    }
    number
}

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
            places: vec![7, 127, 128],
            wire: vec![1, 1 << 14, u32::MAX],
            crashes: 1,
            recoveries: 2,
            losses: u32::MAX,
            copies: 5,
            quiet: 3,
            sum: 0,
        };
        let other = State { wire: Vec::new(), crashes: 0, ..one.clone() };
        let mut packed = Vec::new();
        one.pack(&mut packed);
        other.pack(&mut packed);
        let mut state = State::default();
        let rest = state.unpack(3, &packed);
        assert_eq!(format!("{state:?}"), format!("{one:?}"));
        assert!(state.unpack(3, rest).is_empty());
        assert_eq!(format!("{state:?}"), format!("{other:?}"));
    }
}
