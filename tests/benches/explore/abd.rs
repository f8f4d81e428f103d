//! The register of H. Attiya, A. Bar-Noy, D. Dolev, "Sharing memory robustly in message-passing
//! systems", Journal of the ACM 42(1), 1995, with several writers: a server does one operation of
//! a client at a time, and asks a majority twice.
//!
//! With two servers, a majority is both of them, so no two messages of one type are under way
//! between two nodes, and lanes for each event type order nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, NodeId, Order, Property, Verdict};

use super::clients::{Client, Done, Get, Got, Put, is_server};
use super::work::Registers;

#[derive(Clone, Debug, Hash)]
pub(crate) enum Abd {
    Client(Client),
    Server(Server),
}

/// A counter, and who wrote.
type Stamp = (u64, NodeId);

#[derive(Clone, Debug, Hash)]
pub(crate) struct Server {
    servers: u32,
    stamp: Stamp,
    value: char,
    operation: Option<Operation>,
}

/// What a server does for a client.
#[derive(Clone, Debug, Hash)]
struct Operation {
    request: u64,
    client: NodeId,
    phase: Phase,
}

#[derive(Clone, Debug, Hash)]
enum Phase {
    /// What the servers have, and what is to be written.
    Query(BTreeMap<NodeId, (Stamp, char)>, Option<char>),
    /// Who has recorded it, and what was read.
    Record(BTreeSet<NodeId>, Option<char>),
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "abd.query")]
struct Query(u64);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "abd.queried")]
struct Queried(u64, Stamp, char);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "abd.record")]
struct Record(u64, Stamp, char);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "abd.recorded")]
struct Recorded(u64);

impl Algorithm for Abd {
    const NAME: &'static str = "abd";
    const ORDER: Order = Order::PerEvent;

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|node: &mut Self, Put { request, value }: Put, from: NodeId, ctx: &mut Context| {
                node.serving(|server| server.begin(request, Some(value), from, ctx));
            })
            .on(|node: &mut Self, Get(request): Get, from: NodeId, ctx: &mut Context| {
                node.serving(|server| server.begin(request, None, from, ctx));
            })
            .on(|node: &mut Self, Query(request): Query, from: NodeId, ctx: &mut Context| {
                node.serving(|server| {
                    ctx.send(from, &Queried(request, server.stamp, server.value));
                });
            })
            .on(|node: &mut Self, queried: Queried, from: NodeId, ctx: &mut Context| {
                node.serving(|server| server.queried(queried, from, ctx));
            })
            .on(|node: &mut Self, record: Record, from: NodeId, ctx: &mut Context| {
                let Record(request, stamp, value) = record;
                node.serving(|server| server.keep(stamp, value));
                ctx.send(from, &Recorded(request));
            })
            .on(|node: &mut Self, recorded: Recorded, from: NodeId, ctx: &mut Context| {
                node.serving(|server| server.recorded(recorded, from, ctx));
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
        vec![Property::always("a stamp has one value", a_stamp_has_one_value)]
    }
}

impl Abd {
    pub(crate) fn of(registers: Registers, node: NodeId) -> Self {
        if !is_server(node, registers) {
            return Self::Client(Client::of(registers));
        }
        let (servers, stamp, value) = (registers.servers, (0, node), char::default());
        Self::Server(Server { servers, stamp, value, operation: None })
    }

    fn serving(&mut self, work: impl FnOnce(&mut Server)) {
        if let Self::Server(server) = self {
            work(server);
        }
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

    fn begin(&mut self, request: u64, write: Option<char>, client: NodeId, ctx: &mut Context) {
        if self.operation.is_none() {
            let own = BTreeMap::from([(ctx.me(), (self.stamp, self.value))]);
            let phase = Phase::Query(own, write);
            self.operation = Some(Operation { request, client, phase });
            self.send_to_servers(&Query(request), ctx);
        }
    }

    /// With a majority's answers: the latest value, or a later one, is recorded by a majority.
    fn queried(&mut self, queried: Queried, from: NodeId, ctx: &mut Context) {
        let Queried(request, stamp, value) = queried;
        let operation = self.operation.as_mut().filter(|it| it.request == request);
        let Some(Operation { phase: Phase::Query(answers, write), .. }) = operation else {
            return;
        };
        answers.insert(from, (stamp, value));
        let (answered, write) = (answers.len(), *write);
        let latest = answers.values().copied().max_by_key(|(stamp, _)| *stamp);
        let (latest, read) = latest.expect("one was inserted");
        if self.is_quorum(answered) {
            let (stamp, value, read) = match write {
                Some(value) => ((latest.0 + 1, ctx.me()), value, None),
                None => (latest, read, Some(read)),
            };
            if let Some(operation) = &mut self.operation {
                operation.phase = Phase::Record(BTreeSet::from([ctx.me()]), read);
            }
            self.send_to_servers(&Record(request, stamp, value), ctx);
            self.keep(stamp, value);
        }
    }

    fn keep(&mut self, stamp: Stamp, value: char) {
        if self.stamp < stamp {
            (self.stamp, self.value) = (stamp, value);
        }
    }

    fn recorded(&mut self, Recorded(request): Recorded, from: NodeId, ctx: &mut Context) {
        let operation = self.operation.as_mut().filter(|it| it.request == request);
        let Some(Operation { client, phase: Phase::Record(by, read), .. }) = operation else {
            return;
        };
        by.insert(from);
        let (recorded, client, read) = (by.len(), *client, *read);
        if self.is_quorum(recorded) {
            match read {
                Some(value) => ctx.send(client, &Got { request, value }),
                None => ctx.send(client, &Done(request)),
            }
            self.operation = None;
        }
    }
}

pub(crate) fn a_stamp_has_one_value(cluster: &Cluster<'_, Abd>) -> Verdict {
    let mut seen = BTreeMap::new();
    let servers = cluster.live().filter_map(|(_, node)| match node {
        Abd::Server(server) => Some((server.stamp, server.value)),
        Abd::Client(_) => None,
    });
    for (stamp, value) in servers {
        if *seen.entry(stamp).or_insert(value) != value {
            return Err(format!("two values of {stamp:?}"));
        }
    }
    Ok(())
}
