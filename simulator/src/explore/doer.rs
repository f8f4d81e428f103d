//! Who acts in a reduced exploration, and which of their acts depend on each other.

use std::collections::BTreeMap;

use synod_core::{EventId, NodeId};

use super::parcel::{Link, Parcel};
use super::state::State;
use super::worker::Worker;
use crate::action::{Act, Action, Cut};

/// Somebody who acts in some states of a run, in one or several ways.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Doer {
    who: Who,
    /// Whether the node crashes in the act.
    crashing: bool,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Who {
    /// The first message of an ordered lane.
    Lane(Link),
    /// A datagram, by its receiver and its hash: it arrives or is lost.
    Letter(NodeId, u128),
    /// The timers of a node.
    Clock(NodeId),
    Tick,
    Crash(NodeId),
    Restart(NodeId),
}

impl Doer {
    pub(super) fn of_parcel(parcel: &Parcel) -> Self {
        let who = if parcel.ordered {
            Who::Lane(parcel.link)
        } else {
            Who::Letter(parcel.link.1, parcel.letter)
        };
        Self { who, crashing: false }
    }

    /// The same without a crash.
    pub(super) fn calm(&self) -> Self {
        Self { who: self.who.clone(), crashing: false }
    }

    /// The timers of the node that it acts at.
    pub(super) fn clock(&self) -> Option<Self> {
        Some(Self { who: Who::Clock(self.node()?), crashing: false })
    }

    pub(super) fn is_clock(&self) -> bool {
        matches!(self.who, Who::Clock(_)) && !self.crashing
    }

    /// Whether its acts concern all nodes.
    fn is_global(&self) -> bool {
        self.crashing || matches!(self.who, Who::Tick | Who::Crash(_) | Who::Restart(_))
    }

    /// The node whose state its acts change, if it is one.
    fn node(&self) -> Option<NodeId> {
        match self.who {
            Who::Lane((_, to, _)) | Who::Letter(to, _) => Some(to),
            Who::Clock(node) => Some(node),
            Who::Tick | Who::Crash(_) | Who::Restart(_) => None,
        }
    }

    pub(super) fn of(worker: &Worker<'_>, state: &State, action: &Action) -> Option<Self> {
        let who = match action.act {
            Act::Deliver { at } | Act::Repeat { at } | Act::Lose { at } => {
                return Some(Self::of_parcel(worker.at(state, at)?));
            }
            Act::Fire { node, .. } => Who::Clock(node),
            Act::Tick => Who::Tick,
            Act::Crash { node, .. } => Who::Crash(node),
            Act::Restart { node, .. } => Who::Restart(node),
            Act::Start => return None,
        };
        Some(Self { who, crashing: false })
    }
}

/// Everybody who can act in a state, with what they can do; the answers to what a handler asks are
/// left out. Time that changes nothing does not pass: it would for ever.
pub(super) fn doers(worker: &mut Worker<'_>, state: &State) -> BTreeMap<Doer, Vec<Action>> {
    let mut all: BTreeMap<Doer, Vec<Action>> = BTreeMap::new();
    let stands_still = worker.is_at_rest(state) && worker.setting().patience <= state.quiet;
    for action in worker.actions(state) {
        if stands_still && action.is_tick() {
            continue;
        }
        let Some(doer) = Doer::of(worker, state, &action) else {
            continue;
        };
        if worker.may_crash(state) {
            let cuts = cuts(worker, state, &action);
            if !cuts.is_empty() {
                let crashing = Doer { who: doer.who.clone(), crashing: true };
                all.entry(crashing).or_default().extend(cuts);
            }
        }
        all.entry(doer).or_default().push(action);
    }
    all
}

/// The ways of an action in which its node crashes between two effects.
fn cuts(worker: &mut Worker<'_>, state: &State, action: &Action) -> Vec<Action> {
    let mut next = State::default();
    let mut waiting = vec![action.clone()];
    let mut cuts = Vec::new();
    while let Some(action) = waiting.pop() {
        // What is wrong without a crash is found without one.
        if let Ok(Some(moved)) = worker.act(state, &action, &mut next) {
            let had = worker.moved(moved).had;
            cuts.extend(Cut::all(had).map(|cut| action.clone().cut(cut)));
            let mut ways = Vec::new();
            worker.vary(state, &action, Some(moved), &mut ways);
            waiting.extend(ways.into_iter().filter(|way| way.cut.is_none()));
        }
    }
    cuts
}

/// Something that happened in a run.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) doer: Doer,
    /// The node whose state it changed, if it is one.
    node: Option<NodeId>,
    /// The event that was delivered, if it commutes with others of its kind at this node.
    commutes: Option<EventId>,
    /// Whether nobody can act because of it.
    silent: bool,
    global: bool,
    /// Who can act because of it.
    pub(super) sent: Vec<Doer>,
    /// The events that it follows from, as bits.
    past: Vec<u64>,
}

impl Event {
    /// What spends of a budget that all nodes share concerns all nodes.
    pub(super) fn new(doer: Doer, action: &Action, sent: Vec<Doer>, losses_max: u32) -> Self {
        let lost = matches!(action.act, Act::Lose { .. });
        let node = if lost { None } else { doer.node() };
        let repeated = matches!(action.act, Act::Repeat { .. });
        let global = doer.is_global() || repeated || (lost && losses_max < u32::MAX);
        Self { doer, node, commutes: None, silent: false, global, sent, past: Vec::new() }
    }

    /// The same as the delivery of an event that commutes with others of its kind.
    pub(super) fn commuting(self, commutes: Option<EventId>, silent: bool) -> Self {
        Self { commutes, silent, ..self }
    }

    /// Whether it is one of two deliveries to one node that commute; `later` is what the later one
    /// delivers. What comes of this one might come of the other one instead, and so before this one.
    fn commutes_with(&self, later: Option<EventId>) -> bool {
        self.commutes.is_some() && self.commutes == later && self.silent
    }

    /// Whether it changed the state of the node that `doer` acts at.
    pub(super) fn is_where(&self, doer: &Doer) -> bool {
        self.node.is_some() && self.node == doer.node()
    }

    pub(super) fn is_global(&self) -> bool {
        self.global
    }

    /// Whether the order of the two matters, what one sends to the other aside.
    pub(super) fn conflicts(&self, later: &Self) -> bool {
        let same_node =
            self.node.is_some() && self.node == later.node && !self.commutes_with(later.commutes);
        self.global || later.global || same_node || self.doer == later.doer
    }

    /// Whether the acts of `doer` may be others after it than before, or lead elsewhere; `commutes`
    /// is the event that `doer` delivers if that commutes.
    pub(super) fn disturbs(&self, doer: &Doer, commutes: Option<EventId>) -> bool {
        let same_node =
            self.node.is_some() && self.node == doer.node() && !self.commutes_with(commutes);
        self.global || doer.is_global() || same_node || self.doer == *doer
    }

    /// Whether it follows from the event of this index.
    pub(super) fn follows(&self, index: usize) -> bool {
        let word = self.past.get(index / WORD);
        word.is_some_and(|word| word & (1 << (index % WORD)) != 0)
    }

    /// Takes down that it follows from `earlier`, the event of this index.
    pub(super) fn follow(&mut self, index: usize, earlier: &Self) {
        let words = earlier.past.len().max(index / WORD + 1).max(self.past.len());
        self.past.resize(words, 0);
        for (mine, theirs) in self.past.iter_mut().zip(&earlier.past) {
            *mine |= theirs;
        }
        if let Some(word) = self.past.get_mut(index / WORD) {
            *word |= 1 << (index % WORD);
        }
    }
}

/// Bits of a word.
const WORD: usize = 64;
