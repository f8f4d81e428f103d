//! The order of time: an operation comes after all that returned before it was invoked.

use super::{Frontier, Open, Supply, Task};

/// The end of a list.
const NIL: u32 = u32::MAX;

/// Invocations and returns in the order of time, as a doubly linked list from which an operation
/// that has its place is lifted. Entry `2c` is the invocation of call `c`, entry `2c + 1` its
/// return; calls are numbered in the order of their returns.
#[derive(Debug)]
pub(super) struct List {
    next: Vec<u32>,
    previous: Vec<u32>,
    returned: Vec<u64>,
    invoked: Vec<u64>,
    /// The last invocation among each call and those before it.
    latest: Vec<u64>,
    /// Every call before this one has its place.
    base: u32,
    /// Further calls that have their place, ascending: all under way when `base` returned.
    beyond: Vec<u32>,
}

impl List {
    pub(super) fn new(task: &Task) -> Self {
        let mut entries: Vec<(u64, u32)> = Vec::with_capacity(2 * task.calls.len());
        for (call, number) in task.calls.iter().zip(0_u32..) {
            entries.push((call.invoked, 2 * number));
            entries.push((call.returned, 2 * number + 1));
        }
        entries.sort_unstable();
        let head = 2 * index(task.calls.len());
        let mut list = Self {
            next: vec![NIL; entries.len() + 1],
            previous: vec![NIL; entries.len() + 1],
            returned: task.calls.iter().map(|call| call.returned).collect(),
            invoked: task.calls.iter().map(|call| call.invoked).collect(),
            latest: (task.calls.iter())
                .scan(0, |latest, call| {
                    *latest = call.invoked.max(*latest);
                    Some(*latest)
                })
                .collect(),
            base: 0,
            beyond: Vec::new(),
        };
        let mut last = head;
        for (_, entry) in entries {
            list.link(last, entry);
            last = entry;
        }
        list.link(last, NIL);
        list
    }

    /// The entry before the first one.
    fn head(&self) -> u32 {
        2 * index(self.returned.len())
    }

    fn link(&mut self, before: u32, after: u32) {
        if let Some(next) = self.next.get_mut(before as usize) {
            *next = after;
        }
        if let Some(previous) = self.previous.get_mut(after as usize) {
            *previous = before;
        }
    }

    fn take_out(&mut self, entry: u32) {
        self.link(at(&self.previous, entry), at(&self.next, entry));
    }

    /// An entry remembers its neighbours while it is out, and what is taken out last comes back
    /// first: so they are neighbours again.
    fn put_back(&mut self, entry: u32) {
        let (before, after) = (at(&self.previous, entry), at(&self.next, entry));
        self.link(before, entry);
        self.link(entry, after);
    }
}

impl Frontier for List {
    fn is_done(&self) -> bool {
        at(&self.next, self.head()) == NIL
    }

    fn candidates(&self, into: &mut Vec<u32>) {
        let mut entry = at(&self.next, self.head());
        while entry != NIL && entry.is_multiple_of(2) {
            into.push(entry / 2);
            entry = at(&self.next, entry);
        }
        // Numbers are in the order of returns: the one that must come first is tried first.
        into.sort_unstable();
    }

    fn lift(&mut self, call: u32) {
        self.take_out(2 * call);
        self.take_out(2 * call + 1);
        match self.beyond.binary_search(&call) {
            _ if call == self.base => {
                self.base += 1;
                let run = self.beyond.iter().zip(self.base..).take_while(|(it, due)| *it == due);
                let run = run.count();
                self.beyond.drain(..run);
                self.base += index(run);
            }
            Ok(place) | Err(place) => self.beyond.insert(place, call),
        }
    }

    fn unlift(&mut self, call: u32) {
        self.put_back(2 * call + 1);
        self.put_back(2 * call);
        if call < self.base {
            self.beyond.splice(..0, call + 1..self.base);
            self.base = call;
        } else if let Ok(place) = self.beyond.binary_search(&call) {
            self.beyond.remove(place);
        }
    }

    fn supply(&self, opens: &[Open]) -> Supply {
        let bound = self.returned.get(self.base as usize).copied().unwrap_or(u64::MAX);
        let latest = self.latest();
        let late = |open: &Open| open.until.is_some_and(|until| until < latest);
        let have = opens.partition_point(|open| open.free || open.invoked < bound);
        Supply { have: index(have), gone: index(opens.partition_point(late)) }
    }

    fn latest(&self) -> u64 {
        let before = (self.base as usize).checked_sub(1);
        let before = before.and_then(|last| self.latest.get(last)).copied().unwrap_or(0);
        let beyond = self.beyond.iter().filter_map(|call| self.invoked.get(*call as usize));
        beyond.copied().max().unwrap_or(0).max(before)
    }

    fn key(&self, into: &mut Vec<u32>) {
        into.push(self.base);
        into.extend_from_slice(&self.beyond);
    }

    fn urgent(&self, into: &mut Vec<u32>) {
        let mut entry = at(&self.next, self.head());
        while entry != NIL && entry.is_multiple_of(2) {
            entry = at(&self.next, entry);
        }
        while entry != NIL && !entry.is_multiple_of(2) {
            into.push(entry / 2);
            entry = at(&self.next, entry);
        }
    }

    fn pressing(&self) -> Option<u32> {
        (!self.is_done()).then_some(self.base)
    }
}

fn at(links: &[u32], entry: u32) -> u32 {
    links.get(entry as usize).copied().unwrap_or(NIL)
}

/// A place in a history as a number; histories are far shorter than numbers are large.
fn index(place: usize) -> u32 {
    u32::try_from(place).expect("a history of at most two thousand million operations")
}
