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

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) enum Kind {
    Message,
    Child,
}

/// Where a node is in its program.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
enum At {
    Beginning,
    Receiving,
    Echoing,
    Done,
}

#[derive(Clone, Debug, Hash, Serialize)]
struct Node {
    at: At,
    parent: Option<usize>,
    children: BTreeSet<usize>,
    received: usize,
    inbox: BTreeSet<(Kind, usize)>,
}

#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// A node takes this message out of its inbox.
    Receive(usize, (Kind, usize)),
    /// It goes on in its program.
    MoveOn(usize),
}

/// The model of three nodes; with `MERGED`, what a node does upon a message is one step, and only
/// the initiator has to come to life.
#[derive(Clone, Debug, Hash, Serialize)]
pub(crate) struct Echo<const MERGED: bool>(Vec<Node>);

impl<const MERGED: bool> Specification for Echo<MERGED> {
    const NAME: &'static str = "tla-echo";

    type Step = Step;

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

    fn steps(&self) -> impl Iterator<Item = Step> {
        self.0.iter().enumerate().flat_map(|(index, node)| {
            let receives = node.at == At::Receiving && node.received < NODES - 1;
            let moves_on = !receives && node.at != At::Done;
            let inbox = node.inbox.iter().filter(move |_| receives);
            let received = inbox.map(move |message| Step::Receive(index, *message));
            received.chain(moves_on.then_some(Step::MoveOn(index)))
        })
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Receive(index, message) => self.receive(index, message),
            Step::MoveOn(index) => self.move_on(index),
        }
    }
}

impl<const MERGED: bool> Echo<MERGED> {
    fn receive(&mut self, index: usize, message: (Kind, usize)) {
        let (kind, from) = message;
        let node = &mut self.0[index];
        node.inbox.remove(&message);
        node.received += 1;
        if kind == Kind::Child {
            node.children.insert(from);
        }
        if index != INITIATOR && node.received == 1 {
            node.parent = Some(from);
            self.send(index, Kind::Message, |to| to != from);
        }
        if MERGED && self.0[index].received == NODES - 1 {
            self.move_on(index);
            self.move_on(index);
        }
    }

    fn move_on(&mut self, index: usize) {
        let (at, parent) = (self.0[index].at, self.0[index].parent);
        self.0[index].at = match at {
            At::Beginning => At::Receiving,
            At::Receiving => At::Echoing,
            At::Echoing | At::Done => At::Done,
        };
        match (at, parent) {
            (At::Beginning, _) if index == INITIATOR => self.send(index, Kind::Message, |_| true),
            (At::Echoing, Some(parent)) => self.send(index, Kind::Child, |to| to == parent),
            _ => (),
        }
    }

    fn send(&mut self, from: usize, kind: Kind, to: impl Fn(usize) -> bool) {
        for (index, node) in self.0.iter_mut().enumerate() {
            if index != from && to(index) {
                node.inbox.insert((kind, from));
            }
        }
    }
}
