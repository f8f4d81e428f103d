//! Nodes that know the addresses of two seeds alone, over a network that loses a fifth of all that
//! they say: all come to be connected, and a planted defect is found.
//!
//! Somebody who is written to at an address where it does not listen hears nothing: each message
//! says what address it was sent to. A connection is lost only with one of its nodes, which the
//! simulator tells.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Links, Model, NodeId, PeerDown, Property,
    Tolerance, Verdict,
};
use synod_simulator::{Report, Scenario, Simulation};

use super::{AddressBook, Entry, Version};

const SEEDS: u32 = 2;
const TICK: Duration = Duration::from_millis(200);
const DIAL_EVERY: Duration = Duration::from_millis(200);
/// In parts of a million.
const LOST: u32 = 200_000;
/// From the start, or the last fault, on.
const CONNECTED_WITHIN: Duration = Duration::from_secs(6);

#[derive(Clone, Copy, Debug, Hash, PartialEq)]
enum Defect {
    /// What was told once is not told again.
    TellsOnce,
    /// Entries are taken, and not passed on.
    KeepsToItself,
    /// Another life of a peer is taken for the one that was told.
    MixesLivesUp,
}

#[derive(Clone, Debug, Hash)]
struct Nodes {
    defect: Option<Defect>,
    life: u64,
    book: AddressBook,
    dialled_at: BTreeMap<NodeId, Duration>,
    /// The life of each peer that this node is connected with.
    connected: BTreeMap<NodeId, u64>,
    /// With how many peers the algorithm above was started.
    started_with: Option<usize>,
}

impl Nodes {
    fn of(defect: Option<Defect>) -> Self {
        let book = AddressBook::new(NodeId(0), 0, BTreeSet::new());
        let (dialled_at, connected) = (BTreeMap::new(), BTreeMap::new());
        Self { defect, life: 0, book, dialled_at, connected, started_with: None }
    }
}

/// Seeds are where they always were; the others come back elsewhere.
fn home(node: NodeId, life: u64) -> String {
    let port = if node.0 <= SEEDS { 1 } else { 1 + life };
    format!("{node}:{port}")
}

impl Algorithm for Nodes {
    const NAME: &'static str = "addresses";
    const MODEL: Model = Model::ASYNCHRONOUS
        .tolerating(Faults::CrashRecovery(Tolerance::Exactly(1)))
        .over(Links::FairLoss);

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::tick)
            .on(Self::hello)
            .on(Self::hello_ack)
            .on(Self::told)
            .on(Self::taken)
            .on(Self::peer_down)
    }

    fn start(&mut self, ctx: &mut Context) {
        self.life = ctx.incarnation();
        self.book = AddressBook::new(ctx.me(), self.life, ctx.peers().iter().copied().collect());
        ctx.after(TICK, &Tick);
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::always("nobody is where it never was", addresses_were_true),
            Property::always("nobody starts before enough peers are there", starts_with_enough),
            Property::eventually("all pairs are connected", CONNECTED_WITHIN, all_are_connected),
            Property::eventually("all have started", CONNECTED_WITHIN, all_have_started),
            Property::eventually("all know where all are", CONNECTED_WITHIN, all_are_known),
        ]
    }
}

impl Nodes {
    fn address(&self, node: NodeId) -> Option<String> {
        let seed = (node.0 <= SEEDS).then(|| home(node, 0));
        seed.or_else(|| self.book.address(node).map(String::from))
    }

    fn tick(&mut self, _: Tick, ctx: &mut Context) {
        let (me, now) = (ctx.me(), ctx.now());
        let others: Vec<NodeId> = ctx.peers().iter().copied().filter(|it| *it != me).collect();
        for peer in others {
            if self.connected.contains_key(&peer) {
                self.tell(peer, ctx);
            } else if self.dialled_at.get(&peer).is_none_or(|at| *at + DIAL_EVERY <= now)
                && let Some(to) = self.address(peer)
            {
                self.dialled_at.insert(peer, now);
                ctx.send(peer, &Hello { to, life: self.life });
            }
        }
        ctx.after(TICK, &Tick);
    }

    fn tell(&mut self, peer: NodeId, ctx: &mut Context) {
        let mut due = self.book.due(peer, ctx.now());
        match self.defect {
            Some(Defect::TellsOnce) => {
                let taken: Vec<_> = due.iter().map(|it| (it.node, it.version)).collect();
                self.book.confirmed(peer, &taken);
            }
            Some(Defect::KeepsToItself) => due.retain(|entry| entry.node == ctx.me()),
            _ => (),
        }
        if !due.is_empty() {
            ctx.send(peer, &Told { life: self.life, entries: due });
        }
    }

    fn hello(&mut self, Hello { to, life }: Hello, from: NodeId, ctx: &mut Context) {
        if to == home(ctx.me(), self.life) {
            self.connect(from, life, ctx);
            ctx.send(from, &HelloAck { seen: home(from, life), to: life, life: self.life });
        }
    }

    fn hello_ack(&mut self, ack: HelloAck, from: NodeId, ctx: &mut Context) {
        if ack.to == self.life {
            self.book.seen_at(&ack.seen);
            self.connect(from, ack.life, ctx);
        }
    }

    fn connect(&mut self, peer: NodeId, life: u64, ctx: &mut Context) {
        if self.connected.insert(peer, life) != Some(life) {
            let mixes = self.defect == Some(Defect::MixesLivesUp);
            self.book.connected(peer, if mixes { 1 } else { life });
            self.tell(peer, ctx);
        }
        if self.started_with.is_none() && self.connected.len() == ctx.peers().len() - 1 {
            self.started_with = Some(self.connected.len());
        }
    }

    fn told(&mut self, Told { life, entries }: Told, from: NodeId, ctx: &mut Context) {
        if self.connected.get(&from) != Some(&life) {
            return;
        }
        let heard = self.book.hear(from, entries).expect("the peer is honest");
        ctx.send(from, &Taken { life: self.life, taken: heard.taken });
    }

    fn taken(&mut self, Taken { life, taken }: Taken, from: NodeId) {
        if self.connected.get(&from) == Some(&life) {
            self.book.confirmed(from, &taken);
        }
    }

    fn peer_down(&mut self, PeerDown { peer, .. }: PeerDown) {
        self.connected.remove(&peer);
        self.dialled_at.remove(&peer);
    }
}

fn addresses_were_true(cluster: &Cluster<'_, Nodes>) -> Verdict {
    for (node, state) in cluster.live() {
        for entry in state.book.entries.values() {
            if entry.address != home(entry.node, entry.version.incarnation) {
                return Err(format!("{node} looks for {} at {}", entry.node, entry.address));
            }
        }
    }
    Ok(())
}

fn starts_with_enough(cluster: &Cluster<'_, Nodes>) -> Verdict {
    let all = cluster.size() - 1;
    match cluster.live().find(|(_, state)| state.started_with.is_some_and(|with| with < all)) {
        Some((node, state)) => Err(format!("{node} has started with {:?}", state.started_with)),
        None => Ok(()),
    }
}

fn all_are_connected(cluster: &Cluster<'_, Nodes>) -> Verdict {
    for (node, state) in cluster.live() {
        for (peer, other) in cluster.live().filter(|(peer, _)| *peer != node) {
            if state.connected.get(&peer) != Some(&other.life) {
                return Err(format!("{node} is not connected with {peer}"));
            }
        }
    }
    Ok(())
}

fn all_are_known(cluster: &Cluster<'_, Nodes>) -> Verdict {
    for (node, state) in cluster.live() {
        for (peer, other) in
            cluster.live().filter(|(_, other)| other.book.address(other.book.me).is_some())
        {
            let known = state.book.entries.get(&peer).map(|entry| entry.version.incarnation);
            if known != Some(other.life) {
                return Err(format!("{node} does not know where {peer} is"));
            }
        }
    }
    Ok(())
}

/// A node that came back while another one was down has not, and waits for that one.
fn all_have_started(cluster: &Cluster<'_, Nodes>) -> Verdict {
    if cluster.live().count() < cluster.size() {
        return Ok(());
    }
    match cluster.live().find(|(_, state)| state.started_with.is_none()) {
        Some((node, _)) => Err(format!("{node} has not started")),
        None => Ok(()),
    }
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "addresses.tick", local)]
struct Tick;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "addresses.hello", unreliable)]
struct Hello {
    to: String,
    life: u64,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "addresses.hello_ack", unreliable)]
struct HelloAck {
    seen: String,
    to: u64,
    life: u64,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "addresses.told", unreliable)]
struct Told {
    life: u64,
    entries: Vec<Entry>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "addresses.taken", unreliable)]
struct Taken {
    life: u64,
    taken: Vec<(NodeId, Version)>,
}

fn run(defect: Option<Defect>, nodes: u32, seeds: u64) -> Report {
    let scenario = Scenario::of(move |_| Nodes::of(defect));
    let simulation = Simulation::new(&scenario, nodes).settings(|world| {
        world.time_us = 16_000_000;
        world.lose_datagram = LOST;
    });
    simulation.run(0..seeds)
}

#[test]
fn two_seeds_and_five_others_connect_all_21_pairs_while_a_fifth_of_all_messages_is_lost() {
    let report = run(None, 7, 8);
    report.expect_clean();
    let counts = &report.counts;
    assert!(0 < counts.crashes && 0 < counts.lost, "{counts:?}");
}

/// Fails unless the simulator finds the defect: somebody is not connected, or not known.
fn is_found(defect: Defect) {
    let report = run(Some(defect), 4, 60);
    let failure = report.expect_failure();
    assert!(failure.violation.property.starts_with("all "), "{}", failure.block());
}

#[test]
fn entries_that_are_not_told_again_are_found() {
    is_found(Defect::TellsOnce);
}

#[test]
fn entries_that_are_not_passed_on_are_found() {
    is_found(Defect::KeepsToItself);
}

#[test]
fn another_life_that_is_taken_for_the_one_that_was_told_is_found() {
    is_found(Defect::MixesLivesUp);
}
