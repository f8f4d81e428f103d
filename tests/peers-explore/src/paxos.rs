//! Paxos for one value, as in L. Lamport, "Paxos made simple", ACM SIGACT News 32(4), 2001: each
//! server that is asked to put proposes once, and one that knows the decision answers who asks.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use stateright::actor::register::RegisterMsg::{Get, GetOk, Internal, Put, PutOk};
use stateright::actor::{Actor, Id, Out, majority};

use crate::register::{self, Said};
use crate::work::Registers;

type Ballot = (u32, Id);

/// What a client asked to put: its request, who it is, the value.
type Proposal = (u64, Id, char);

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Message {
    Prepare(Ballot),
    Prepared(Ballot, Option<(Ballot, Proposal)>),
    Accept(Ballot, Proposal),
    Accepted(Ballot),
    Decided(Ballot, Proposal),
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    ballot: Ballot,
    proposal: Option<Proposal>,
    promises: BTreeMap<Id, Option<(Ballot, Proposal)>>,
    acceptors: BTreeSet<Id>,
    accepted: Option<(Ballot, Proposal)>,
    decided: bool,
}

pub struct Server {
    peers: Vec<Id>,
}

impl Actor for Server {
    type Msg = Said<Message>;
    type State = State;
    type Timer = ();
    type Random = ();
    type Storage = ();

    fn on_start(&self, _: Id, _: &Option<()>, _: &mut Out<Self>) -> State {
        State {
            ballot: (0, Id::from(0)),
            proposal: None,
            promises: BTreeMap::new(),
            acceptors: BTreeSet::new(),
            accepted: None,
            decided: false,
        }
    }

    fn on_msg(
        &self,
        me: Id,
        state: &mut Cow<State>,
        from: Id,
        message: Said<Message>,
        out: &mut Out<Self>,
    ) {
        match message {
            Get(request) => {
                if let (true, Some((_, (_, _, value)))) = (state.decided, state.accepted) {
                    out.send(from, GetOk(request, value));
                }
            }
            _ if state.decided => (),
            Put(request, value) if state.proposal.is_none() => {
                self.propose(me, state.to_mut(), (request, from, value), out);
            }
            Internal(Message::Prepare(ballot)) if state.ballot < ballot => {
                state.to_mut().ballot = ballot;
                out.send(from, Internal(Message::Prepared(ballot, state.accepted)));
            }
            Internal(Message::Prepared(ballot, accepted)) if ballot == state.ballot => {
                self.prepared(me, state.to_mut(), from, accepted, out);
            }
            Internal(Message::Accept(ballot, proposal)) if state.ballot <= ballot => {
                let state = state.to_mut();
                (state.ballot, state.accepted) = (ballot, Some((ballot, proposal)));
                out.send(from, Internal(Message::Accepted(ballot)));
            }
            Internal(Message::Accepted(ballot)) if ballot == state.ballot => {
                self.accepted(state.to_mut(), from, out);
            }
            Internal(Message::Decided(ballot, proposal)) => {
                let state = state.to_mut();
                (state.ballot, state.accepted) = (ballot, Some((ballot, proposal)));
                state.decided = true;
            }
            _ => (),
        }
    }
}

impl Server {
    fn quorum(&self) -> usize {
        majority(self.peers.len() + 1)
    }

    /// Phase 1a, and the promise to itself.
    fn propose(&self, me: Id, state: &mut State, proposal: Proposal, out: &mut Out<Self>) {
        state.proposal = Some(proposal);
        state.ballot = (state.ballot.0 + 1, me);
        state.promises = BTreeMap::from([(me, state.accepted)]);
        state.acceptors.clear();
        out.broadcast(&self.peers, &Internal(Message::Prepare(state.ballot)));
    }

    /// Phase 2a: what was accepted in the highest ballot is proposed, if anything was.
    fn prepared(
        &self,
        me: Id,
        state: &mut State,
        from: Id,
        accepted: Option<(Ballot, Proposal)>,
        out: &mut Out<Self>,
    ) {
        state.promises.insert(from, accepted);
        if state.promises.len() == self.quorum() {
            let told = state.promises.values().flatten().max().map(|(_, proposal)| *proposal);
            let proposal = told.or(state.proposal).expect("it has proposed");
            state.proposal = Some(proposal);
            state.accepted = Some((state.ballot, proposal));
            state.acceptors.insert(me);
            out.broadcast(&self.peers, &Internal(Message::Accept(state.ballot, proposal)));
        }
    }

    fn accepted(&self, state: &mut State, from: Id, out: &mut Out<Self>) {
        state.acceptors.insert(from);
        if state.acceptors.len() == self.quorum() {
            let proposal = state.proposal.expect("it has proposed");
            state.decided = true;
            out.broadcast(&self.peers, &Internal(Message::Decided(state.ballot, proposal)));
            let (request, client, _) = proposal;
            out.send(client, PutOk(request));
        }
    }
}

pub fn taken(registers: Registers) -> impl crate::Explored {
    register::taken(
        registers,
        |peers| Server { peers },
        "one value is decided",
        |state| {
            let servers = register::servers(state);
            let decided =
                servers.filter(|server| server.decided).filter_map(|server| server.accepted);
            let mut values = decided.map(|(_, (_, _, value))| value);
            let first = values.next();
            values.all(|value| Some(value) == first)
        },
    )
}

pub fn kept(registers: Registers) -> impl crate::Explored {
    register::kept(registers, |peers| Server { peers })
}
