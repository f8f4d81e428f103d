//! What is going to happen, in the order of virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use synod_core::{Envelope, Input, NodeId, TimerId};

use crate::disk::DiskFault;
use crate::network::Split;
use crate::trace::MessageId;
use crate::treason::Betrayal;

/// Something that will happen at a known time.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Message {
        id: MessageId,
        to: NodeId,
        sent_us: u64,
        envelope: Envelope,
    },
    Timer {
        node: NodeId,
        id: TimerId,
        envelope: Envelope,
    },
    /// The application, a job or the link tells a node something.
    Told {
        node: NodeId,
        /// Which life of the node it is for; 0 is whichever.
        life: u64,
        input: Input,
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn(u64);

/// A heap of small keys over a slab of happenings: O(log n) to add and to take, O(1) to cancel.
/// What is due at the same time happens in the order of adding.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<(u64, u64, Place)>>,
    slab: Vec<Option<Happening>>,
    free: Vec<Place>,
    added: u64,
    waiting: usize,
}

impl Queue {
    #[inline]
    pub(crate) fn add(&mut self, at_us: u64, happening: Happening) -> Place {
        self.added += 1;
        self.put(at_us, Turn(self.added), happening)
    }

    /// Puts off what was taken. It keeps its turn, so what was added after it stays after it.
    #[inline]
    pub(crate) fn put(&mut self, at_us: u64, turn: Turn, happening: Happening) -> Place {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slab.push(None);
            Place(u32::try_from(self.slab.len() - 1).expect("fewer than 2^32 things under way"))
        });
        self.heap.push(Reverse((at_us, turn.0, place)));
        self.waiting += 1;
        // Last: what was written just now costs more to read than what has come to rest.
        if let Some(slot) = self.slab.get_mut(place.0 as usize) {
            *slot = Some(happening);
        }
        place
    }

    /// The next happening with its time in microseconds.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<(u64, Turn, Happening)> {
        while let Some(Reverse((at_us, turn, place))) = self.heap.pop() {
            self.free.push(place);
            if let Some(happening) = self.slab.get_mut(place.0 as usize).and_then(Option::take) {
                self.waiting -= 1;
                return Some((at_us, Turn(turn), happening));
            }
        }
        None
    }

    /// Forgets a happening. Its place is free again once its time has come.
    pub(crate) fn cancel(&mut self, place: Place) {
        self.withdraw(place);
    }

    /// Takes a happening before its time has come, if it is still there.
    pub(crate) fn withdraw(&mut self, place: Place) -> Option<Happening> {
        let happening = self.slab.get_mut(place.0 as usize).and_then(Option::take);
        self.waiting -= usize::from(happening.is_some());
        happening
    }

    /// Forgets whatever `unwanted` says. O(everything that waits).
    pub(crate) fn cancel_where(&mut self, unwanted: impl Fn(&Happening) -> bool) -> usize {
        let before = self.waiting;
        for slot in &mut self.slab {
            if slot.take_if(|happening| unwanted(happening)).is_some() {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn restart(node: u32) -> Happening {
        Happening::Restart(NodeId(node))
    }

    fn taken(queue: &mut Queue) -> Vec<(u64, String)> {
        std::iter::from_fn(|| queue.take().map(|(at, _, it)| (at, format!("{it:?}")))).collect()
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
        assert!([queue.add(1, restart(3)), queue.add(1, restart(4))].contains(&place));
    }
}
