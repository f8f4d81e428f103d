//! What is going to happen, in the order of virtual time.

use std::hint::select_unpredictable;

use synod_core::{Envelope, Input, NodeId, TimerId};

use crate::disk::DiskFault;
use crate::network::Split;
use crate::treason::Betrayal;

/// Something that will happen at a known time.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Message {
        from: NodeId,
        to: NodeId,
        /// Where a traced run keeps what it knows of the sending.
        sending: u32,
        envelope: Envelope,
    },
    Timer {
        node: NodeId,
        id: TimerId,
        /// What it will be, where a trace shows it.
        envelope: Option<Box<Envelope>>,
    },
    /// The application, a job or the link tells a node something.
    Told {
        node: NodeId,
        /// Which life of the node it is for; 0 is whichever.
        life: u64,
        input: Box<Input>,
    },
    Crash(Crash),
    Restart(NodeId),
    /// A node starts later than the others.
    Join(NodeId),
    Split {
        split: Split,
        length_us: u64,
    },
    Heal(Split),
    /// A node leaves for good.
    Leave(NodeId),
    /// A node becomes a traitor.
    Betray(Betrayal),
    Clog {
        node: NodeId,
        length_us: u64,
    },
    Pause {
        node: NodeId,
        length_us: u64,
    },
    Jump {
        node: NodeId,
        by_us: u64,
    },
    /// A disk is about to do something wrong; what takes time ends after `length_us`.
    Disk {
        node: NodeId,
        fault: DiskFault,
        length_us: u64,
    },
}

impl Happening {
    /// Who has sent it, if it is a message.
    #[inline]
    pub(crate) fn sender(&self) -> Option<NodeId> {
        match self {
            Self::Message { from, .. } => Some(*from),
            _ => None,
        }
    }
}

/// A planned crash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crash {
    pub(crate) node: NodeId,
    /// 0: at once. Otherwise within the next handler, so many effects less one having left.
    pub(crate) after: usize,
    /// Whether that handler is the first one that the node runs.
    pub(crate) in_start: bool,
    /// Whether what the node has under way is lost with it.
    pub(crate) losing: bool,
    /// How long it stays down; 0 is for ever.
    pub(crate) down_us: u64,
}

/// The place of a happening in the queue, while it has not happened.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place(u32);

/// Whose turn it is among what is due at the same time.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Turn(u64);

/// What will happen, in a slab, and when, in a radix heap (R. Ahuja, K. Mehlhorn, J. Orlin,
/// R. Tarjan, "Faster algorithms for the shortest path problem", JACM 1990), which knows that time
/// never runs backwards: O(1) to add, O(log delay) for each happening until it is taken, however
/// much else waits; O(1) to cancel. What is due at the same time happens in the order of adding.
///
/// The few that happen next are sorted, so that taking one looks at no other.
#[derive(Debug)]
pub(crate) struct Queue {
    /// What happens next, the first of it last.
    next: Vec<Entry>,
    /// Whatever is before this is among what happens next: all, while so few wait.
    later_from: Due,
    /// A time that has come, against which the rest is told apart.
    now_us: u64,
    /// The rest, by the highest digit in which its time differs from now: what differs in a lower digit is
    /// due earlier. Higher digits than any that differed have no level yet.
    later: Vec<Level>,
    slab: Vec<Slot>,
    free: Vec<Place>,
    added: u64,
    waiting: usize,
}

/// What differs from now in one digit at the highest, by that digit.
#[derive(Debug, Default)]
struct Level {
    buckets: [Vec<Entry>; 1 << DIGIT_BITS],
    /// In which of these anything waits, as a set of bits.
    filled: u16,
}

/// When something happens, and whose turn it is among what is due then.
type Due = (u64, Turn);

/// When something happens, after what, and where it is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) at_us: u64,
    pub(crate) turn: Turn,
    place: Place,
}

impl Entry {
    #[inline]
    fn due(&self) -> Due {
        (self.at_us, self.turn)
    }

    /// One or the other, without a branch.
    #[inline]
    fn either(is_one: bool, one: Self, other: Self) -> Self {
        let turn = Turn(select_unpredictable(is_one, one.turn.0, other.turn.0));
        let place = Place(select_unpredictable(is_one, one.place.0, other.place.0));
        Self { at_us: select_unpredictable(is_one, one.at_us, other.at_us), turn, place }
    }

    /// The same as one number, which is compared without a branch.
    #[inline]
    fn rank(&self) -> u128 {
        u128::from(self.at_us) << 64 | u128::from(self.turn.0)
    }
}

/// A place of the slab. It fills a line of a cache, and never touches a second.
#[derive(Debug)]
#[repr(align(64))]
struct Slot(Option<Happening>);

impl Default for Queue {
    fn default() -> Self {
        Self {
            next: Vec::new(),
            later_from: Self::NEVER,
            now_us: 0,
            later: Vec::new(),
            slab: Vec::new(),
            free: Vec::new(),
            added: 0,
            waiting: 0,
        }
    }
}

impl Queue {
    /// After everything.
    const NEVER: Due = (u64::MAX, Turn(u64::MAX));

    /// Adds what happens at `at_us`, which is not before what was taken last.
    pub(crate) fn add(&mut self, at_us: u64, happening: Happening) -> Place {
        self.add_made(at_us, || happening)
    }

    /// The same. It is made where it waits: what was written just now is slow to copy.
    #[inline(always)]
    pub(crate) fn add_made(&mut self, at_us: u64, make: impl FnOnce() -> Happening) -> Place {
        self.added += 1;
        self.put_made(at_us, Turn(self.added), make)
    }

    /// Puts off what was taken. It keeps its turn, so what was added after it stays after it.
    pub(crate) fn put(&mut self, at_us: u64, turn: Turn, happening: Happening) -> Place {
        self.put_made(at_us, turn, || happening)
    }

    #[inline(always)]
    fn put_made(&mut self, at_us: u64, turn: Turn, make: impl FnOnce() -> Happening) -> Place {
        let place = self.reserve(at_us, turn);
        let slot = &mut self.slot(place).0;
        assert!(slot.is_none(), "{slot:?} waits at a free place");
        slot.get_or_insert_with(make);
        place
    }

    #[inline(always)]
    fn reserve(&mut self, at_us: u64, turn: Turn) -> Place {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slab.push(Slot(None));
            Place(u32::try_from(self.slab.len() - 1).expect("fewer than 2^32 things under way"))
        });
        self.file((at_us, turn), place);
        self.waiting += 1;
        place
    }

    /// What happens next: when, after what, and where it is [kept](Self::collect) until it does.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Entry> {
        loop {
            let Some(next) = self.next.pop() else {
                self.advance()?;
                continue;
            };
            if let Some(after) = self.next.last().map(|after| after.place) {
                // Read early, so that it is there when its turn comes: most of what waits has left the
                // nearest cache.
                std::hint::black_box(self.slot(after).0.is_some());
            }
            if self.slot(next.place).0.is_some() {
                return Some(next);
            }
            self.free.push(next.place); // It was cancelled.
        }
    }

    /// What is to happen next, which waits no more.
    #[inline]
    pub(crate) fn collect(&mut self, next: Entry) -> Option<Happening> {
        self.free.push(next.place);
        self.withdraw(next.place)
    }

    /// Sorts what happens next, if anything does: the lowest digit in which anything waits, once few wait
    /// there.
    fn advance(&mut self) -> Option<()> {
        loop {
            let mut levels = self.later.iter_mut().enumerate();
            let Some((height, level)) = levels.find(|(_, level)| level.filled != 0) else {
                self.later_from = Self::NEVER;
                return None;
            };
            let digit = level.filled.trailing_zeros() as usize;
            level.filled &= level.filled - 1;
            let first = level.buckets.get_mut(digit)?;
            if first.len() <= SORTED_MAX || height == 0 {
                sort_into(&mut self.next, first);
                self.later_from = self.next.first()?.due();
                return Some(());
            }
            let mut entries = std::mem::take(first);
            self.now_us = entries.iter().map(|entry| entry.at_us).min()?;
            // They agree with the new time in the digit in which they differed from the old one, so each
            // goes further down.
            entries.drain(..).for_each(|it| self.file_later(it.due(), it.place));
            let emptied = self.later.get_mut(height).and_then(|it| it.buckets.get_mut(digit));
            if let Some(emptied) = emptied {
                *emptied = entries; // Its memory serves again.
            }
        }
    }

    // When and where go apart, as registers hold them: an entry would be written and at once copied.

    #[inline]
    fn file(&mut self, due: Due, place: Place) {
        debug_assert!(self.now_us <= due.0, "time runs backwards");
        if self.later_from <= due {
            self.file_later(due, place);
        } else {
            self.file_next(due, place);
        }
    }

    #[inline]
    fn file_later(&mut self, due: Due, place: Place) {
        let (at_us, turn) = due;
        // What is due now waits with what differs in the lowest digit.
        let height = ((at_us ^ self.now_us) | 1).ilog2() / DIGIT_BITS;
        let digit = (at_us >> (height * DIGIT_BITS)) % (1 << DIGIT_BITS);
        let Some(level) = self.later.get_mut(height as usize) else {
            return self.file_above(height as usize, due, place);
        };
        level.filled |= 1 << digit;
        if let Some(bucket) = level.buckets.get_mut(digit as usize) {
            bucket.push(Entry { at_us, turn, place });
        }
    }

    /// The first thing that differs in so high a digit.
    #[cold]
    fn file_above(&mut self, height: usize, due: Due, place: Place) {
        self.later.resize_with(height + 1, Level::default);
        self.file_later(due, place);
    }

    #[inline(never)]
    fn file_next(&mut self, due: Due, place: Place) {
        if self.next.len() < SORTED_MAX {
            let (at_us, turn) = due;
            sort_in(&mut self.next, Entry { at_us, turn, place });
            return;
        }
        // The later half waits with the rest again.
        let mut sorted = std::mem::take(&mut self.next);
        let later = sorted.drain(..sorted.len() - SORTED_MAX / 2);
        later.for_each(|it| self.file_later(it.due(), it.place));
        self.later_from = sorted.first().map_or((0, Turn(0)), Entry::due);
        self.next = sorted;
        self.file(due, place);
    }

    #[inline]
    #[expect(
        clippy::indexing_slicing,
        reason = "places are made by this queue, and none is taken away"
    )]
    fn slot(&mut self, place: Place) -> &mut Slot {
        &mut self.slab[place.0 as usize]
    }

    /// Forgets a happening. Its place is free again once its time has come.
    pub(crate) fn cancel(&mut self, place: Place) {
        self.withdraw(place);
    }

    /// Takes a happening before its time has come, if it is still there.
    #[inline]
    pub(crate) fn withdraw(&mut self, place: Place) -> Option<Happening> {
        let happening = self.slot(place).0.take();
        self.waiting -= usize::from(happening.is_some());
        happening
    }

    /// Forgets whatever `unwanted` says. O(everything that waits).
    pub(crate) fn cancel_where(&mut self, unwanted: impl Fn(&Happening) -> bool) -> usize {
        let before = self.waiting;
        for slot in &mut self.slab {
            if slot.0.take_if(|happening| unwanted(happening)).is_some() {
                self.waiting -= 1;
            }
        }
        before - self.waiting
    }

    /// How much waits.
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }
}

/// Moves entries to where there are none yet, the earliest last.
fn sort_into(sorted: &mut Vec<Entry>, entries: &mut Vec<Entry>) {
    if entries.len() <= SORTED_MAX {
        entries.drain(..).for_each(|entry| sort_in(sorted, entry));
    } else {
        sorted.append(entries);
        sorted.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.due()));
    }
}

/// Puts an entry among a few, the earliest last. All are looked at, since no processor can foretell where a
/// search would end.
#[inline]
fn sort_in(sorted: &mut Vec<Entry>, entry: Entry) {
    let mut carried = entry;
    for other in &mut *sorted {
        let is_earlier = other.rank() < entry.rank();
        let found = *other;
        *other = Entry::either(is_earlier, carried, found);
        carried = Entry::either(is_earlier, found, carried);
    }
    sorted.push(carried);
}

/// Bits of a digit. More make the way down shorter, and a level larger.
const DIGIT_BITS: u32 = 4;

/// So many are sorted as they are: faster than to tell them apart by time first.
const SORTED_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn restart(node: u32) -> Happening {
        Happening::Restart(NodeId(node))
    }

    fn take(queue: &mut Queue) -> Option<(u64, Turn, Happening)> {
        let next = queue.next()?;
        Some((next.at_us, next.turn, queue.collect(next)?))
    }

    fn taken(queue: &mut Queue) -> Vec<(u64, String)> {
        std::iter::from_fn(|| take(queue).map(|(at, _, it)| (at, format!("{it:?}")))).collect()
    }

    #[test]
    fn a_place_fills_one_line_of_a_cache() {
        assert_eq!(size_of::<Slot>(), 64);
    }

    #[test]
    fn what_is_due_together_happens_in_the_order_of_adding() {
        let mut queue = Queue::default();
        for (at, node) in [(5, 1), (3, 2), (5, 3), (3, 4)] {
            queue.add(at, restart(node));
        }
        let order = taken(&mut queue);
        let expected =
            [(3, "Restart(n2)"), (3, "Restart(n4)"), (5, "Restart(n1)"), (5, "Restart(n3)")];
        assert_eq!(order, expected.map(|(at, text)| (at, String::from(text))));
    }

    #[test]
    fn a_cancelled_happening_never_happens_and_its_place_is_used_again() {
        let mut queue = Queue::default();
        let place = queue.add(1, restart(1));
        queue.add(2, restart(2));
        queue.cancel(place);
        queue.cancel(place);
        assert_eq!(taken(&mut queue).len(), 1);
        assert!(queue.is_empty());
        assert!([queue.add(2, restart(3)), queue.add(2, restart(4))].contains(&place));
    }

    #[test]
    fn what_was_put_off_comes_before_what_was_added_since() {
        let mut queue = Queue::default();
        queue.add(1, restart(1));
        queue.add(9, restart(2));
        let (_, turn, happening) = take(&mut queue).expect("it was added");
        queue.add(9, restart(3));
        queue.put(9, turn, happening);
        queue.add(9, restart(4));
        let order: Vec<String> = taken(&mut queue).into_iter().map(|(_, it)| it).collect();
        assert_eq!(order, ["Restart(n1)", "Restart(n2)", "Restart(n3)", "Restart(n4)"]);
    }

    proptest::proptest! {
        #[test]
        fn the_earliest_happens_first_whatever_is_added_meanwhile(
            spread_us in proptest::prop_oneof![1..50_u64, 1..40_000_u64],
            after in proptest::collection::vec(0..40_000_u64, 1..200),
        ) {
            let (mut queue, mut expected, mut now_us) = (Queue::default(), Vec::new(), 0);
            for (node, after_us) in (1..).zip(after) {
                let after_us = after_us % spread_us;
                expected.push((now_us + after_us, node));
                queue.add(now_us + after_us, restart(node));
                if node % 3 == 0 {
                    let earliest = expected.iter().min().copied().expect("just added");
                    expected.retain(|it| *it != earliest);
                    let (at_us, _, happening) = take(&mut queue).expect("just added");
                    assert_eq!(format!("{happening:?}"), format!("Restart(n{})", earliest.1));
                    assert_eq!(at_us, earliest.0);
                    now_us = at_us;
                }
            }
            expected.sort_unstable();
            let rest = expected.into_iter().map(|(at, node)| (at, format!("Restart(n{node})")));
            assert_eq!(taken(&mut queue), rest.collect::<Vec<_>>());
        }
    }
}
