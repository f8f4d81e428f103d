//! The register of H. Attiya, A. Bar-Noy, D. Dolev, "Sharing memory robustly in message-passing
//! systems", Journal of the ACM 42(1), 1995, with several writers: a server does one operation of
//! a client at a time, and asks a majority twice.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use stateright::actor::register::RegisterMsg::{Get, GetOk, Internal, Put, PutOk};
use stateright::actor::{Actor, Id, Out, majority};

use crate::register::{self, Said};
use crate::work::Registers;

/// A counter, and who wrote.
type Stamp = (u64, Id);

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Message {
    Query(u64),
    Queried(u64, Stamp, char),
    Record(u64, Stamp, char),
    Recorded(u64),
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    stamp: Stamp,
    value: char,
    operation: Option<Operation>,
}

/// What a server does for a client.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Operation {
    request: u64,
    client: Id,
    phase: Phase,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Phase {
    /// What the servers have, and what is to be written.
    Query(BTreeMap<Id, (Stamp, char)>, Option<char>),
    /// Who has recorded it, and what was read.
    Record(BTreeSet<Id>, Option<char>),
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

    fn on_start(&self, me: Id, _: &Option<()>, _: &mut Out<Self>) -> State {
        State { stamp: (0, me), value: char::default(), operation: None }
    }

    fn on_msg(
        &self,
        me: Id,
        state: &mut Cow<State>,
        from: Id,
        message: Said<Message>,
        out: &mut Out<Self>,
    ) {
        let current = state.operation.as_ref().map(|operation| operation.request);
        match message {
            Put(request, value) if current.is_none() => {
                self.query(me, state.to_mut(), request, from, Some(value), out);
            }
            Get(request) if current.is_none() => {
                self.query(me, state.to_mut(), request, from, None, out);
            }
            Internal(Message::Query(request)) => {
                out.send(from, Internal(Message::Queried(request, state.stamp, state.value)));
            }
            Internal(Message::Queried(request, stamp, value))
                if current == Some(request) && state.is_querying() =>
            {
                self.queried(me, state.to_mut(), from, (stamp, value), out);
            }
            Internal(Message::Record(request, stamp, value)) => {
                out.send(from, Internal(Message::Recorded(request)));
                if state.stamp < stamp {
                    state.to_mut().record(stamp, value);
                }
            }
            Internal(Message::Recorded(request)) if current == Some(request) => {
                if !state.is_querying() {
                    self.recorded(state.to_mut(), from, out);
                }
            }
            _ => (),
        }
    }
}

impl State {
    fn is_querying(&self) -> bool {
        let operation = self.operation.as_ref();
        operation.is_some_and(|it| matches!(it.phase, Phase::Query(..)))
    }

    fn record(&mut self, stamp: Stamp, value: char) {
        if self.stamp < stamp {
            (self.stamp, self.value) = (stamp, value);
        }
    }
}

impl Server {
    fn quorum(&self) -> usize {
        majority(self.peers.len() + 1)
    }

    fn query(
        &self,
        me: Id,
        state: &mut State,
        request: u64,
        client: Id,
        write: Option<char>,
        out: &mut Out<Self>,
    ) {
        let own = BTreeMap::from([(me, (state.stamp, state.value))]);
        let phase = Phase::Query(own, write);
        state.operation = Some(Operation { request, client, phase });
        out.broadcast(&self.peers, &Internal(Message::Query(request)));
    }

    /// With a majority's answers: the latest value, or a later one, is recorded by a majority.
    fn queried(
        &self,
        me: Id,
        state: &mut State,
        from: Id,
        told: (Stamp, char),
        out: &mut Out<Self>,
    ) {
        let Some(Operation { request, phase, .. }) = &mut state.operation else { return };
        let Phase::Query(answers, write) = phase else { return };
        answers.insert(from, told);
        if answers.len() == self.quorum() {
            let latest = answers.values().copied().max_by_key(|(stamp, _)| *stamp);
            let (latest, read) = latest.expect("a majority is not empty");
            let (stamp, value, read) = match *write {
                Some(value) => ((latest.0 + 1, me), value, None),
                None => (latest, read, Some(read)),
            };
            *phase = Phase::Record(BTreeSet::from([me]), read);
            out.broadcast(&self.peers, &Internal(Message::Record(*request, stamp, value)));
            state.record(stamp, value);
        }
    }

    fn recorded(&self, state: &mut State, from: Id, out: &mut Out<Self>) {
        let Some(Operation { request, client, phase }) = &mut state.operation else { return };
        let Phase::Record(by, read) = phase else { return };
        by.insert(from);
        if by.len() == self.quorum() {
            out.send(*client, read.map_or(PutOk(*request), |value| GetOk(*request, value)));
            state.operation = None;
        }
    }
}

pub fn taken(registers: Registers) -> impl crate::Explored {
    register::taken(
        registers,
        |peers| Server { peers },
        "a stamp has one value",
        |state| {
            let values = register::servers(state).map(|server| (server.stamp, server.value));
            let mut seen = BTreeMap::new();
            values.into_iter().all(|(stamp, value)| *seen.entry(stamp).or_insert(value) == value)
        },
    )
}

pub fn kept(registers: Registers) -> impl crate::Explored {
    register::kept(registers, |peers| Server { peers })
}
