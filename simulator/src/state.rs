//! One state of an explored cluster, and what can happen in it.

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use synod_core::{
    Choices, Effect, Envelope, Event, Input, Lane, LaneId, Member, NodeId, PeerDown, PeerUp,
    Reason, Stack, TimerId,
};
use xxhash_rust::xxh3::Xxh3;

use crate::action::{Act, Action};
use crate::explore::{Bounds, ticks};
use crate::per_node::PerNode;
use crate::scenario::Scenario;
use crate::world::judge;

/// What is wrong: the property, and in which way.
type Wrong = (String, String);

/// What a state stands on: what is explored, and within which bounds.
pub(crate) struct Ground<'a, T: Stack> {
    pub(crate) scenario: &'a Scenario<T>,
    pub(crate) bounds: &'a Bounds,
}

impl<T: Stack> Clone for Ground<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Stack> Copy for Ground<'_, T> {}

/// A cluster at one moment: nodes, what they left on disk, and what is under way.
///
/// States share the nodes in which they do not differ, and a node's hash is computed once.
#[derive(Clone)]
pub(crate) struct State<T: Stack> {
    members: PerNode<Member<T>>,
    hosts: PerNode<Arc<Host>>,
    /// What is under way, by sender, receiver and lane, in the order of sending. A node's own
    /// jobs and notices are on lanes to itself.
    wire: BTreeMap<(NodeId, NodeId, Lane), VecDeque<Packet>>,
    crashes: u32,
    recoveries: u32,
    /// Ticks since the last fault, and the number beyond which it does not matter.
    quiet: u64,
    patience: u64,
}

/// What is left of a node when it is down, and what the host holds for it when it is up.
#[derive(Clone, Debug, Default)]
struct Host {
    incarnation: u64,
    disk: Vec<Envelope>,
    /// The armed timers, with the ticks that are left; without a bound, microseconds.
    timers: BTreeMap<TimerId, u64>,
    /// The hash of the node and of all this.
    print: u128,
}

/// Something under way, and in how many ticks it is due.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Packet {
    input: Input,
    left: u64,
}

/// A state after an action, with how many options each question of a handler had.
pub(crate) struct Moved<T: Stack> {
    pub(crate) state: State<T>,
    pub(crate) asked: Vec<u32>,
    /// How many effects the handler had: places where a crash could fall.
    pub(crate) effects: usize,
}

/// What each node's handler asked for.
type Observed = Vec<(NodeId, Vec<Effect>)>;

/// A node's own lane, for what the host tells it of links.
const OWN: Lane = Lane::Ordered(LaneId(u64::MAX));
/// A node's own lane for what its application triggers. It survives the node.
const APPLICATION: Lane = Lane::Ordered(LaneId(u64::MAX - 1));
/// A node's own lane for the results of its jobs, which come back in any order.
const JOBS: Lane = Lane::Datagram;

/// Answers a handler's questions from a script, and takes down what was asked.
#[derive(Debug)]
struct Script {
    given: Vec<u32>,
    asked: Vec<u32>,
}

impl Choices for Script {
    fn choose(&mut self, _: NodeId, options: u32) -> u32 {
        let answer = self.given.get(self.asked.len()).copied().unwrap_or(0);
        self.asked.push(options);
        answer
    }
}

impl<T: Stack + Clone + Hash> State<T> {
    /// The cluster with every node started, and nothing delivered.
    /// `start` has the choices of the handlers.
    pub(crate) fn start(
        on: Ground<'_, T>,
        patience: u64,
        start: &Action,
    ) -> Result<Moved<T>, Wrong> {
        Self::start_observed(on, patience, start).map(|(moved, _)| moved)
    }

    /// The same, with what each node asked for.
    pub(crate) fn start_observed(
        on: Ground<'_, T>,
        patience: u64,
        start: &Action,
    ) -> Result<(Moved<T>, Observed), Wrong> {
        let mut state = Self {
            members: Scenario::members(on.bounds.nodes),
            hosts: PerNode::of(on.bounds.nodes, |_| Arc::default()),
            wire: BTreeMap::new(),
            crashes: on.bounds.crashes,
            recoveries: on.bounds.recoveries,
            quiet: 0,
            patience,
        };
        let here = |node: NodeId| node.0 <= on.bounds.nodes;
        let mut inputs: Vec<_> =
            on.scenario.inputs.iter().filter(|(node, ..)| here(*node)).collect();
        inputs.sort_by_key(|(_, at, _)| *at);
        for (node, at, envelope) in inputs {
            let (input, left) = (Input::Trigger(envelope.clone()), ticks(*at, on.bounds.tick_us));
            state.enqueue((*node, *node, APPLICATION), Packet { input, left });
        }
        let nodes = || (1..=on.bounds.nodes).map(NodeId);
        nodes().for_each(|node| state.boot(on, node));
        let (mut observed, mut all_asked) = (Vec::new(), Vec::new());
        for node in nodes() {
            let mut effects = Vec::new();
            let choices = start.choices().get(all_asked.len()..).unwrap_or_default();
            let start = Action::START.choosing(choices.to_vec());
            let (asked, _) = state.step(on, node, Input::Start, &start, &mut effects)?;
            state.tell_of_start(on, node, |peer| peer < node);
            all_asked.extend(asked);
            observed.push((node, effects));
        }
        Ok((Moved { state, asked: all_asked, effects: 0 }, observed))
    }

    /// Everything that can happen next, the calm first.
    pub(crate) fn actions(&self, on: Ground<'_, T>) -> Vec<Action> {
        let mut all = Vec::new();
        for ((from, to, lane), packets) in &self.wire {
            let (from, to, lane) = (*from, *to, *lane);
            let first_only = lane != Lane::Datagram;
            let early = packets.front().is_some_and(|packet| 0 < packet.left);
            if lane == APPLICATION && early && 0 < on.bounds.tick_us {
                continue; // The application keeps its time; everything else may come early.
            }
            for index in 0..if first_only { 1 } else { packets.len() } {
                all.push(Action::of(Act::Deliver { from, to, lane, index }));
                if !first_only && from != to {
                    all.push(Action::of(Act::Lose { from, to, index }));
                }
            }
        }
        self.timer_actions(on, &mut all);
        self.fault_actions(on, &mut all);
        all
    }

    /// With a bound, timers fire when they are due and time passes when nothing is. Without, each
    /// node's timers fire in the order of its own clock.
    fn timer_actions(&self, on: Ground<'_, T>, all: &mut Vec<Action>) {
        let timed = on.bounds.tick_us > 0;
        for (member, host) in self.members.all().iter().zip(self.hosts.all()) {
            let due = if timed { Some(&0) } else { host.timers.values().min() };
            for (id, left) in &host.timers {
                if Some(left) == due {
                    all.push(Action::of(Act::Fire { node: member.id, id: *id }));
                }
            }
        }
        let timers = self.hosts.all().iter().flat_map(|host| host.timers.values());
        let mut left = timers.chain(self.wire.values().flatten().map(|packet| &packet.left));
        if timed && left.all(|left| *left > 0) {
            all.push(Action::of(Act::Tick));
        }
    }

    fn fault_actions(&self, on: Ground<'_, T>, all: &mut Vec<Action>) {
        for member in self.members.all() {
            let node = member.id;
            if member.node.is_none() {
                if self.recoveries > 0 {
                    all.push(Action::of(Act::Restart(node)));
                }
            } else if self.may_crash(on) {
                all.push(Action::of(Act::Crash { node, losing: false }));
                if self.has_under_way(node) {
                    all.push(Action::of(Act::Crash { node, losing: true }));
                }
            }
        }
    }

    pub(crate) fn may_crash(&self, on: Ground<'_, T>) -> bool {
        let down = self.members.all().iter().filter(|member| member.node.is_none()).count();
        self.crashes > 0 && down < on.bounds.down_max as usize
    }

    fn has_under_way(&self, node: NodeId) -> bool {
        self.wire.keys().any(|(from, to, _)| *from == node && *to != node)
    }

    /// The state after `action`.
    pub(crate) fn act(&self, on: Ground<'_, T>, action: &Action) -> Result<Moved<T>, Wrong> {
        self.act_observed(on, action, &mut Vec::new())
    }

    /// The same, with what the handler asked for before the crash in it, if any.
    pub(crate) fn act_observed(
        &self,
        on: Ground<'_, T>,
        action: &Action,
        effects: &mut Vec<Effect>,
    ) -> Result<Moved<T>, Wrong> {
        let mut next = self.clone();
        let (node, input) = match action.act {
            Act::Deliver { from, to, lane, index } => match next.take(from, to, lane, index) {
                Some(packet) => (to, packet.input),
                None => return Ok(Moved { state: next, asked: Vec::new(), effects: 0 }),
            },
            Act::Fire { node, id } => {
                next.fire(on, node, id);
                (node, Input::Timer(id))
            }
            Act::Restart(node) => {
                let records = next.revive(on, node);
                (node, Input::Recover(records))
            }
            Act::Lose { from, to, index } => {
                next.take(from, to, Lane::Datagram, index);
                return Ok(Moved { state: next, asked: Vec::new(), effects: 0 });
            }
            Act::Tick => {
                next.tick();
                return Ok(Moved { state: next, asked: Vec::new(), effects: 0 });
            }
            Act::Crash { node, losing } => {
                next.crash(on, node, losing);
                return Ok(Moved { state: next, asked: Vec::new(), effects: 0 });
            }
            Act::Start => return Ok(Moved { state: next, asked: Vec::new(), effects: 0 }),
        };
        let (asked, had) = next.step(on, node, input, action, effects)?;
        if let Act::Restart(_) = action.act {
            next.tell_of_start(on, node, |_| true);
        }
        if let Some(cut) = action.cut {
            next.crash(on, node, cut.losing);
        }
        Ok(Moved { state: next, asked, effects: had })
    }

    fn take(&mut self, from: NodeId, to: NodeId, lane: Lane, index: usize) -> Option<Packet> {
        let packets = self.wire.get_mut(&(from, to, lane))?;
        let packet = packets.remove(index);
        if packets.is_empty() {
            self.wire.remove(&(from, to, lane));
        }
        packet
    }

    fn fire(&mut self, on: Ground<'_, T>, node: NodeId, id: TimerId) {
        let host = self.host(node);
        let passed = host.timers.remove(&id).unwrap_or(0);
        if on.bounds.tick_us == 0 {
            host.timers.values_mut().for_each(|left| *left -= passed);
        }
    }

    fn tick(&mut self) {
        for host in self.hosts.all_mut() {
            if !host.timers.is_empty() {
                let host = Arc::make_mut(host);
                host.timers.values_mut().for_each(|left| *left = left.saturating_sub(1));
            }
        }
        let packets = self.wire.values_mut().flatten();
        packets.for_each(|packet| packet.left = packet.left.saturating_sub(1));
        self.quiet = (self.quiet + 1).min(self.patience);
        for node in self.nodes() {
            self.print(node);
        }
    }

    /// A node stops, with what it has under way if it is `losing`. What is under way to it is
    /// lost in any case.
    fn crash(&mut self, on: Ground<'_, T>, node: NodeId, losing: bool) {
        self.crashes = self.crashes.saturating_sub(1);
        self.quiet = 0;
        self.members[node].node = None;
        self.host(node).timers.clear();
        self.print(node);
        self.wire.retain(|(from, to, lane), _| {
            *lane == APPLICATION || (*to != node && !(losing && *from == node))
        });
        self.tell_of_crash(on, node);
    }

    /// A node comes back: its old sessions end, with what was under way on them.
    fn revive(&mut self, on: Ground<'_, T>, node: NodeId) -> Vec<Envelope> {
        self.recoveries = self.recoveries.saturating_sub(1);
        self.quiet = 0;
        self.wire
            .retain(|(from, to, lane), _| *lane == APPLICATION || (*to != node && *from != node));
        self.boot(on, node);
        self.host(node).disk.clone()
    }

    fn boot(&mut self, on: Ground<'_, T>, node: NodeId) {
        let host = self.host(node);
        host.incarnation += 1;
        let machine = on.scenario.boot(node, on.bounds.nodes, host.incarnation);
        self.members[node].node = Some(Arc::new(machine));
    }

    /// A node that has started, and those of the others that count, learn of each other.
    fn tell_of_start(&mut self, on: Ground<'_, T>, node: NodeId, counts: impl Fn(NodeId) -> bool) {
        if on.scenario.catalogue.handled(PeerUp::ID).is_none() {
            return;
        }
        let up = |peer| PeerUp { peer, incarnation: self.hosts[peer].incarnation };
        let live = self.members.all().iter().filter(|member| member.node.is_some());
        let others = live.map(|it| it.id).filter(|peer| *peer != node && counts(*peer));
        let told: Vec<_> = others.flat_map(|peer| [(peer, up(node)), (node, up(peer))]).collect();
        for (to, up) in told {
            self.enqueue((to, to, OWN), Packet { input: Input::PeerUp(up), left: 1 });
        }
    }

    fn tell_of_crash(&mut self, on: Ground<'_, T>, node: NodeId) {
        if on.scenario.catalogue.handled(PeerDown::ID).is_none() {
            return;
        }
        let live = self.members.all().iter().filter(|member| member.node.is_some());
        let others: Vec<NodeId> = live.map(|it| it.id).collect();
        for peer in others {
            let down = PeerDown { peer: node, reason: Reason::Silent };
            self.enqueue((peer, peer, OWN), Packet { input: Input::PeerDown(down), left: 1 });
        }
    }

    /// One handler activation. Returns the options of what it asked, and how many effects it had.
    fn step(
        &mut self,
        on: Ground<'_, T>,
        node: NodeId,
        input: Input,
        action: &Action,
        effects: &mut Vec<Effect>,
    ) -> Result<(Vec<u32>, usize), Wrong> {
        let Some(machine) = &mut self.members[node].node else {
            return Ok((Vec::new(), 0));
        };
        let machine = Arc::make_mut(machine);
        let given = action.choices().to_vec();
        let script = Arc::new(Mutex::new(Script { given, asked: Vec::new() }));
        machine.decide_by(Arc::clone(&script) as Arc<Mutex<dyn Choices>>);
        let stepped =
            catch_unwind(AssertUnwindSafe(|| machine.step(Duration::ZERO, input, effects)));
        judge(node, stepped, |event| on.scenario.catalogue.name(event))?;
        let had = effects.len();
        effects.truncate(action.cut.map_or(had, |cut| cut.after));
        for effect in &*effects {
            self.carry_out(on, node, effect);
        }
        self.print(node);
        let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((std::mem::take(&mut script.asked), had))
    }

    fn carry_out(&mut self, on: Ground<'_, T>, node: NodeId, effect: &Effect) {
        match effect {
            Effect::Send { to, lane, envelope } if self.members[*to].node.is_some() => {
                let input = Input::Deliver { from: node, envelope: envelope.clone() };
                self.enqueue((node, *to, *lane), Packet { input, left: 1 });
            }
            Effect::Timer { id, after, .. } => {
                self.host(node).timers.insert(*id, ticks(*after, on.bounds.tick_us));
            }
            Effect::Cancel(id) => {
                self.host(node).timers.remove(id);
            }
            Effect::Persist(record) => self.host(node).disk.push(record.clone()),
            Effect::Checkpoint { record, replaces } => {
                let disk = &mut self.host(node).disk;
                disk.retain(|old| {
                    old.instance() != record.instance() || !replaces.contains(&old.event())
                });
                disk.push(record.clone());
            }
            Effect::Job(job) => {
                if let Some(Ok(done)) = on.scenario.catalogue.job(job.event()).map(|run| run(job)) {
                    let input = Input::Trigger(done);
                    self.enqueue((node, node, JOBS), Packet { input, left: 1 });
                }
            }
            _ => (),
        }
    }

    /// Datagrams have no order, so they are kept in one that does not tell how they came.
    fn enqueue(&mut self, link: (NodeId, NodeId, Lane), packet: Packet) {
        let packets = self.wire.entry(link).or_default();
        packets.push_back(packet);
        if link.2 == Lane::Datagram {
            packets.make_contiguous().sort_by_key(|packet| (print_of(packet), packet.left));
        }
    }

    fn host(&mut self, node: NodeId) -> &mut Host {
        Arc::make_mut(&mut self.hosts[node])
    }

    /// Computes the hash of a node and its host anew.
    fn print(&mut self, node: NodeId) {
        let host = Arc::make_mut(&mut self.hosts[node]);
        let mut hasher = Xxh3::new();
        (host.incarnation, &host.disk).hash(&mut hasher);
        if let Some(node) = &self.members[node].node {
            node.hash(&mut hasher);
            for (id, _) in node.timers() {
                host.timers.get(&id).hash(&mut hasher);
            }
        }
        host.print = hasher.digest128();
    }

    /// A hash of everything that the future depends on.
    pub(crate) fn fingerprint(&self) -> u128 {
        let mut hasher = Xxh3::new();
        for host in self.hosts.all() {
            host.print.hash(&mut hasher);
        }
        self.wire.hash(&mut hasher);
        (self.crashes, self.recoveries, self.quiet).hash(&mut hasher);
        hasher.digest128()
    }

    pub(crate) fn action_named(&self, on: Ground<'_, T>, name: &str) -> Option<Action> {
        let (base, cut, choices) = Action::parts(name)?;
        let mut possible = self.actions(on).into_iter();
        let action = possible.find(|action| action.name(self, &on.scenario.catalogue) == base)?;
        let action = action.choosing(choices);
        Some(match cut {
            Some(cut) => action.cut(cut),
            None => action,
        })
    }
}

impl<T: Stack> State<T> {
    pub(crate) fn members(&self) -> &[Member<T>] {
        self.members.all()
    }

    fn nodes(&self) -> impl Iterator<Item = NodeId> + use<T> {
        let last = u32::try_from(self.members.all().len()).unwrap_or(u32::MAX);
        (1..=last).map(NodeId)
    }

    pub(crate) fn quiet_ticks(&self) -> u64 {
        self.quiet
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        self.wire.is_empty() && self.hosts.all().iter().all(|host| host.timers.is_empty())
    }

    /// A live node's state in short, if it has anything to show.
    pub(crate) fn summary(&self, node: NodeId) -> Option<String> {
        let summary = self.members[node].node.as_ref()?.summary();
        (!summary.is_empty()).then(|| summary.to_string())
    }

    /// A live node's state as data, if the scenario shows states.
    pub(crate) fn shown(&self, scenario: &Scenario<T>, node: NodeId) -> Value {
        let up = self.members[node].node.as_ref();
        up.map_or(Value::Null, |up| scenario.show(up.stack()))
    }

    /// What a delivery would deliver.
    pub(crate) fn under_way(
        &self,
        from: NodeId,
        to: NodeId,
        lane: Lane,
        index: usize,
    ) -> Option<&Input> {
        Some(&self.wire.get(&(from, to, lane))?.get(index)?.input)
    }

    /// The event that a timer would be.
    pub(crate) fn timer(&self, node: NodeId, id: TimerId) -> Option<&Envelope> {
        let machine = self.members[node].node.as_ref()?;
        machine.timers().find(|(armed, _)| *armed == id).map(|(_, envelope)| envelope)
    }
}

fn print_of(packet: &Packet) -> u128 {
    let mut hasher = Xxh3::new();
    packet.input.hash(&mut hasher);
    hasher.digest128()
}

impl<T: Stack> std::fmt::Debug for Moved<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a state after {} effects", self.effects)
    }
}
