//! Paxos for one value, as in L. Lamport, "Paxos made simple", ACM SIGACT News 32(4), 2001: each
//! server that is asked to put proposes once, and one that knows the decision answers who asks.
//!
//! No two messages of one type are under way between two nodes, so lanes for each event type order
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, NodeId, Order, Property, Verdict};

use super::clients::{Client, Done, Get, Got, Put, is_server};
use super::work::Registers;

#[derive(Clone, Debug, Hash)]
pub(crate) enum Paxos {
    Client(Client),
    Server(Server),
}

/// A round, and who proposes in it.
type Ballot = (u32, NodeId);

/// What a client asked to put.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
struct Proposal {
    request: u64,
    client: NodeId,
    value: char,
}

type Acceptance = (Ballot, Proposal);

#[derive(Clone, Debug, Hash)]
pub(crate) struct Server {
    servers: u32,
    ballot: Ballot,
    proposal: Option<Proposal>,
    promises: BTreeMap<NodeId, Option<Acceptance>>,
    acceptors: BTreeSet<NodeId>,
    accepted: Option<Acceptance>,
    decided: bool,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.prepare")]
struct Prepare(Ballot);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.prepared")]
struct Prepared(Ballot, Option<Acceptance>);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.accept")]
struct Accept(Ballot, Proposal);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.accepted")]
struct Accepted(Ballot);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "paxos.decided")]
struct Decided(Ballot, Proposal);

impl Algorithm for Paxos {
    const NAME: &'static str = "paxos";
    const ORDER: Order = Order::PerEvent;

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|node: &mut Self, put: Put, from: NodeId, ctx: &mut Context| {
                node.serving(|server| server.put(put, from, ctx));
            })
            .on(|node: &mut Self, get: Get, from: NodeId, ctx: &mut Context| {
                node.serving(|server| server.get(get, from, ctx));
            })
            .on(|node: &mut Self, Prepare(ballot): Prepare, from: NodeId, ctx: &mut Context| {
                node.undecided(|server| server.prepare(ballot, from, ctx));
            })
            .on(|node: &mut Self, prepared: Prepared, from: NodeId, ctx: &mut Context| {
                node.undecided(|server| server.prepared(prepared, from, ctx));
            })
            .on(|node: &mut Self, accept: Accept, from: NodeId, ctx: &mut Context| {
                node.undecided(|server| server.accept(accept, from, ctx));
            })
            .on(|node: &mut Self, Accepted(ballot): Accepted, from: NodeId, ctx: &mut Context| {
                node.undecided(|server| server.accepted(ballot, from, ctx));
            })
            .on(|node: &mut Self, decided: Decided| {
                node.undecided(|server| server.decided(decided));
            })
            .on(Self::done)
            .on(Self::got)
    }

    fn start(&mut self, ctx: &mut Context) {
        if let Self::Client(client) = self {
            client.start(ctx);
        }
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("one value is decided", one_value_is_decided)]
    }
}

impl Paxos {
    pub(crate) fn of(registers: Registers, node: NodeId) -> Self {
        if !is_server(node, registers) {
            return Self::Client(Client::of(registers));
        }
        Self::Server(Server {
            servers: registers.servers,
            ballot: (0, NodeId(1)),
            proposal: None,
            promises: BTreeMap::new(),
            acceptors: BTreeSet::new(),
            accepted: None,
            decided: false,
        })
    }

    fn serving(&mut self, work: impl FnOnce(&mut Server)) {
        if let Self::Server(server) = self {
            work(server);
        }
    }

    fn undecided(&mut self, work: impl FnOnce(&mut Server)) {
        self.serving(|server| {
            if !server.decided {
                work(server);
            }
        });
    }

    fn done(&mut self, done: Done, ctx: &mut Context) {
        if let Self::Client(client) = self {
            client.done(done, ctx);
        }
    }

    fn got(&mut self, got: Got) {
        if let Self::Client(client) = self {
            client.got(got);
        }
    }
}

impl Server {
    fn is_quorum(&self, of: usize) -> bool {
        of == self.servers as usize / 2 + 1
    }

    fn send_to_servers<E: Event>(&self, event: &E, ctx: &mut Context) {
        let (me, servers) = (ctx.me(), self.servers);
        ctx.send_where(event, |peer| peer != me && peer.0 <= servers);
    }

    /// Phase 1a, and the promise to itself.
    fn put(&mut self, Put { request, value }: Put, client: NodeId, ctx: &mut Context) {
        if self.decided || self.proposal.is_some() {
            return;
        }
        self.proposal = Some(Proposal { request, client, value });
        self.ballot = (self.ballot.0 + 1, ctx.me());
        self.promises = BTreeMap::from([(ctx.me(), self.accepted)]);
        self.send_to_servers(&Prepare(self.ballot), ctx);
    }

    fn get(&self, Get(request): Get, from: NodeId, ctx: &mut Context) {
        if let (true, Some((_, Proposal { value, .. }))) = (self.decided, self.accepted) {
            ctx.send(from, &Got { request, value });
        }
    }

    /// Phase 1b: a promise to accept nothing below, and what was accepted last.
    fn prepare(&mut self, ballot: Ballot, from: NodeId, ctx: &mut Context) {
        if self.ballot < ballot {
            self.ballot = ballot;
            ctx.send(from, &Prepared(ballot, self.accepted));
        }
    }

    /// Phase 2a: what was accepted in the highest ballot is proposed, if anything was.
    fn prepared(&mut self, Prepared(ballot, last): Prepared, from: NodeId, ctx: &mut Context) {
        if ballot != self.ballot {
            return;
        }
        self.promises.insert(from, last);
        if self.is_quorum(self.promises.len()) {
            let told = self.promises.values().flatten().max().map(|(_, proposal)| *proposal);
            let proposal = told.or(self.proposal).expect("it has proposed");
            self.proposal = Some(proposal);
            self.accepted = Some((ballot, proposal));
            self.acceptors.insert(ctx.me());
            self.send_to_servers(&Accept(ballot, proposal), ctx);
        }
    }

    /// Phase 2b.
    fn accept(&mut self, Accept(ballot, proposal): Accept, from: NodeId, ctx: &mut Context) {
        if self.ballot <= ballot {
            (self.ballot, self.accepted) = (ballot, Some((ballot, proposal)));
            ctx.send(from, &Accepted(ballot));
        }
    }

    fn accepted(&mut self, ballot: Ballot, from: NodeId, ctx: &mut Context) {
        if ballot != self.ballot {
            return;
        }
        self.acceptors.insert(from);
        if self.is_quorum(self.acceptors.len()) {
            let proposal = self.proposal.expect("it has proposed");
            self.decided = true;
            self.send_to_servers(&Decided(ballot, proposal), ctx);
            ctx.send(proposal.client, &Done(proposal.request));
        }
    }

    fn decided(&mut self, Decided(ballot, proposal): Decided) {
        (self.ballot, self.accepted) = (ballot, Some((ballot, proposal)));
        self.decided = true;
    }
}

pub(crate) fn one_value_is_decided(cluster: &Cluster<'_, Paxos>) -> Verdict {
    let mut values = cluster.live().filter_map(|(_, node)| match node {
        Paxos::Server(Server { decided: true, accepted, .. }) => accepted.map(|it| it.1.value),
        _ => None,
    });
    match values.next() {
        Some(first) if values.any(|value| value != first) => Err(String::from("two values")),
        _ => Ok(()),
    }
}
