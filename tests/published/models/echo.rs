//! The echo algorithm, as in the TLA+ module `Echo` of S. Merz, on the complete graph of three
//! nodes.
//!
//! A node comes to life in a step of its own, and what is sent to it waits until then. To leave
//! the loop that receives, and to echo, are further steps.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Specification;

const NODES: usize = 3;
const INITIATOR: usize = 0;

#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
enum Kind {
    Message,
    Child,
}

/// Where a node is in its program.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
enum At {
    Beginning,
    Receiving,
    Echoing,
    Done,
}

#[derive(Clone, Hash, Serialize)]
struct Node {
    at: At,
    parent: Option<usize>,
    children: BTreeSet<usize>,
    received: usize,
    inbox: BTreeSet<(Kind, usize)>,
}

/// The model of three nodes; with `MERGED`, what a node does upon a message is one step, and only
/// the initiator has to come to life.
#[derive(Clone, Hash, Serialize)]
pub(crate) struct Echo<const MERGED: bool>(Vec<Node>);

impl<const MERGED: bool> Specification for Echo<MERGED> {
    const NAME: &'static str = "tla-echo";

    fn initial() -> Vec<Self> {
        let node = |index| Node {
            at: if MERGED && index != INITIATOR { At::Receiving } else { At::Beginning },
            parent: None,
            children: BTreeSet::new(),
            received: 0,
            inbox: BTreeSet::new(),
        };
        vec![Self((0..NODES).map(node).collect())]
    }

    fn next(&self) -> Vec<Self> {
        let mut all = Vec::new();
        for (index, node) in self.0.iter().enumerate() {
            match node.at {
                At::Receiving if node.received < NODES - 1 => {
                    let inbox = node.inbox.iter();
                    all.extend(inbox.map(|message| self.receiving(index, *message)));
                }
                At::Done => (),
                _ => all.push(self.moving_on(index)),
            }
        }
        all
    }
}

impl<const MERGED: bool> Echo<MERGED> {
    fn receiving(&self, index: usize, message: (Kind, usize)) -> Self {
        let mut next = self.clone();
        let (kind, from) = message;
        let node = &mut next.0[index];
        node.inbox.remove(&message);
        node.received += 1;
        if kind == Kind::Child {
            node.children.insert(from);
        }
        if index != INITIATOR && node.received == 1 {
            node.parent = Some(from);
            next.send(index, Kind::Message, |to| to != from);
        }
        if MERGED && next.0[index].received == NODES - 1 {
            next = next.moving_on(index).moving_on(index);
        }
        next
    }

    fn moving_on(&self, index: usize) -> Self {
        let mut next = self.clone();
        let at = self.0[index].at;
        next.0[index].at = match at {
            At::Beginning => At::Receiving,
            At::Receiving => At::Echoing,
            At::Echoing | At::Done => At::Done,
        };
        match (at, self.0[index].parent) {
            (At::Beginning, _) if index == INITIATOR => next.send(index, Kind::Message, |_| true),
            (At::Echoing, Some(parent)) => next.send(index, Kind::Child, |to| to == parent),
            _ => (),
        }
        next
    }

    fn send(&mut self, from: usize, kind: Kind, to: impl Fn(usize) -> bool) {
        for (index, node) in self.0.iter_mut().enumerate() {
            if index != from && to(index) {
                node.inbox.insert((kind, from));
            }
        }
    }
}
