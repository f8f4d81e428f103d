//! The order of clients: an operation comes after those of the same client before it, whatever
//! the clock said.

use super::{Frontier, Open, Supply, Task};

/// Each client's operations in its own order, and how many of them have their place.
#[derive(Debug)]
pub(super) struct Chains {
    chains: Vec<Vec<u32>>,
    invoked: Vec<u64>,
    client: Vec<u32>,
    progress: Vec<u32>,
    left: usize,
}

impl Chains {
    pub(super) fn new(task: &Task) -> Self {
        let clients = task.calls.iter().map(|call| call.client + 1).max().unwrap_or(0) as usize;
        let mut order: Vec<(u64, u32, u32)> = (task.calls.iter().zip(0..))
            .map(|(call, number)| (call.invoked, number, call.client))
            .collect();
        order.sort_unstable();
        let mut chains = vec![Vec::new(); clients];
        for (_, number, client) in order {
            if let Some(chain) = chains.get_mut(client as usize) {
                chain.push(number);
            }
        }
        Self {
            chains,
            invoked: task.calls.iter().map(|call| call.invoked).collect(),
            client: task.calls.iter().map(|call| call.client).collect(),
            progress: vec![0; clients],
            left: task.calls.len(),
        }
    }

    fn invoked(&self, call: u32) -> u64 {
        self.invoked.get(call as usize).copied().unwrap_or(0)
    }

    fn progress(&mut self, call: u32) -> Option<&mut u32> {
        let client = self.client.get(call as usize)?;
        self.progress.get_mut(*client as usize)
    }

    /// The next operation of a client, if one is left.
    fn next_of(&self, client: u32) -> Option<u32> {
        let done = *self.progress.get(client as usize)?;
        self.chains.get(client as usize)?.get(done as usize).copied()
    }
}

impl Frontier for Chains {
    fn is_done(&self) -> bool {
        self.left == 0
    }

    fn candidates(&self, into: &mut Vec<u32>) {
        into.extend((0..).zip(&self.chains).filter_map(|(client, _)| self.next_of(client)));
        // Any order is allowed; that of time is the most likely one.
        into.sort_unstable_by_key(|call| self.invoked(*call));
    }

    fn lift(&mut self, call: u32) {
        self.left -= 1;
        if let Some(progress) = self.progress(call) {
            *progress += 1;
        }
    }

    fn unlift(&mut self, call: u32) {
        self.left += 1;
        if let Some(progress) = self.progress(call) {
            *progress -= 1;
        }
    }

    fn supply(&self, opens: &[Open]) -> Supply {
        let may = |open: &&Open| {
            let next = self.next_of(open.client).map(|call| self.invoked(call));
            open.free || next.is_none_or(|next| open.invoked < next)
        };
        // There is no time in which it could be too late.
        Supply { have: opens.iter().filter(may).map(|_| 1).sum(), gone: 0 }
    }

    fn latest(&self) -> u64 {
        0
    }

    fn key(&self, into: &mut Vec<u32>) {
        into.extend_from_slice(&self.progress);
    }

    fn urgent(&self, _: &mut Vec<u32>) {}

    fn pressing(&self) -> Option<u32> {
        None
    }
}
