//! The way to each state.

use crate::explore::segments::Segments;

/// How each state was reached first: from which one, by which of its transitions.
///
/// States are expanded in the order of their numbers, so those that they lead to come in the order of
/// the states before them: nearly always a byte or two says how far that one is from the last one's, and
/// which of its transitions was taken.
#[derive(Debug, Default)]
pub(super) struct Reached {
    packed: Segments<u8, 256>,
    bytes: usize,
    /// Where to begin to read.
    marks: Vec<Mark>,
    count: u32,
    /// The state before the last one, counted from 1.
    last: u32,
}

/// Before every [`MARKED`]th state: where in the bytes it begins, and what `last` was.
#[derive(Clone, Copy, Debug)]
struct Mark {
    begin: usize,
    last: u32,
}

/// The predecessor of the first states.
pub(super) const NOWHERE: u32 = u32::MAX;

const MARKED: u32 = 64;

/// Bits of the first number that say how far the state before is from the last one's ..
const NEAR_LOG2: u32 = 2;
/// .. unless it is so far: the next number says how much further.
const FAR: u32 = (1 << NEAR_LOG2) - 1;

impl Reached {
    /// Takes down how the next state was reached. Returns its number.
    ///
    /// # Panics
    ///
    /// Beyond 2^32 states, which the bound on states excludes.
    pub(super) fn push(&mut self, from: u32, ordinal: u32) -> u32 {
        if self.count.is_multiple_of(MARKED) {
            self.marks.push(Mark { begin: self.bytes, last: self.last });
        }
        // `NOWHERE` is before all of them.
        let from = from.wrapping_add(1);
        debug_assert!(self.last <= from, "states are expanded in their order");
        let further = from - self.last;
        let near = further.min(FAR);
        self.put(u64::from(ordinal) << NEAR_LOG2 | u64::from(near));
        if near == FAR {
            self.put(u64::from(further - FAR));
        }
        self.last = from;
        let number = self.count;
        self.count = number.checked_add(1).expect("the bound on states is below 2^32");
        number
    }

    /// Seven bits to a byte, the lowest first; another one follows if the eighth is set.
    fn put(&mut self, mut number: u64) {
        while let [low, ..] = number.to_le_bytes()
            && 0x80 <= number
        {
            self.put_byte(low | 0x80);
            number >>= 7;
        }
        let [last, ..] = number.to_le_bytes();
        self.put_byte(last);
    }

    fn put_byte(&mut self, byte: u8) {
        self.packed.push(byte);
        self.bytes += 1;
    }

    /// The transitions from the start to a state's transition.
    pub(super) fn path(&self, from: u32, ordinal: u32) -> Vec<u32> {
        let mut path = vec![ordinal];
        let mut at = from;
        while let Some((before, ordinal)) = self.get(at) {
            path.push(ordinal);
            at = before;
        }
        path.reverse();
        path
    }

    fn get(&self, number: u32) -> Option<(u32, u32)> {
        if self.count <= number {
            return None;
        }
        let Mark { mut begin, mut last } = *self.marks.get((number / MARKED) as usize)?;
        let mut ordinal = 0;
        for _ in 0..=number % MARKED {
            let first = self.read(&mut begin);
            let near = u32::try_from(first & u64::from(FAR)).unwrap_or(FAR);
            let more = if near == FAR { self.read(&mut begin) } else { 0 };
            ordinal = u32::try_from(first >> NEAR_LOG2).unwrap_or(u32::MAX);
            last += near + u32::try_from(more).unwrap_or(0);
        }
        Some((last.wrapping_sub(1), ordinal))
    }

    fn read(&self, at: &mut usize) -> u64 {
        let (mut number, mut bits) = (0, 0);
        while let Some(byte) = self.packed.get(*at) {
            *at += 1;
            number |= u64::from(byte & 0x7f) << bits;
            bits += 7;
            if *byte < 0x80 {
                break;
            }
        }
        number
    }

    /// The bytes that it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.packed.bytes() + (self.marks.capacity() * size_of::<Mark>()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_way_to_a_state_is_what_was_taken_down(
            steps in prop::collection::vec((0..10_u32, 0..1_000_u32), 1..400),
            far in 0..1_000_u32,
        ) {
            let (mut reached, mut all) = (Reached::default(), Vec::new());
            let mut last = 0;
            for (further, ordinal) in steps {
                let number = u32::try_from(all.len()).expect("few");
                // Now and then nothing new comes of many states.
                last = (last + further * further * far / 100).min(number);
                let from = last.wrapping_sub(1);
                prop_assert_eq!(reached.push(from, ordinal), number);
                all.push((from, ordinal));
            }
            for (from, ordinal) in &all {
                let mut expected = vec![*ordinal];
                let mut at = *from;
                while let Some((before, ordinal)) = all.get(at as usize) {
                    expected.insert(0, *ordinal);
                    at = *before;
                }
                prop_assert_eq!(reached.path(*from, *ordinal), expected);
            }
        }
    }

    #[test]
    fn most_states_take_a_byte_or_two() {
        let mut reached = Reached::default();
        reached.push(NOWHERE, 0);
        for number in 1..100_000 {
            reached.push((number - 1) / 2, number % 40);
        }
        assert!(reached.bytes() < 2 * 100_000, "{}", reached.bytes());
    }
}
