//! What a handler may ask for.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::hint::select_unpredictable;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::body::Scratch;
use crate::envelope::{Envelope, Instance, Lane, LaneId, Tag};
use crate::event::{Event, EventId, NodeId, Time};
use crate::framed::Framed;
use crate::peers::Peers;
use crate::random::Random;
use crate::request::{Request, Ticket};

/// The only door out of a handler.
///
/// Every request is buffered; the node hands the buffer over after the handler has returned, so a
/// handler that panics has had no effect. Effects leave in the order of asking, and nothing asked
/// for after [`Context::persist`] leaves before the write is durable.
#[derive(Clone, Debug)]
pub struct Context {
    pub(crate) me: NodeId,
    pub(crate) incarnation: u64,
    pub(crate) peers: Peers,
    pub(crate) now: Time,
    pub(crate) random: Random,
    pub(crate) choices: Lent,
    /// What is armed; a timer is identified by its event, so equal futures hash equal. Most nodes have
    /// few timers, and a leaf of the tree has room for eleven.
    pub(crate) timers: BTreeMap<Arc<Envelope>, TimerId>,
    pub(crate) next_timer: u64,
    /// Requests without an answer, with the event that would answer.
    pub(crate) asked: BTreeMap<u64, EventId>,
    pub(crate) next_ticket: u64,
    pub(crate) effects: Vec<Effect>,
    pub(crate) local: VecDeque<Triggered>,
    /// Who is running: set by the stack around each handler.
    pub(crate) scope: Scope,
    pub(crate) scratch: Scratch,
    /// Whether events for one lane that are sent one after the other become one effect, and those that
    /// are triggered so stand together.
    pub(crate) gathers: bool,
    /// How many effects had been asked for when the last event of the step was triggered that nobody
    /// listens to: it leaves after them, so none of them takes what is asked for later.
    pub(crate) indicated_after: usize,
    /// The names of the events that it was asked for since they were taken, if they are wanted: one that no
    /// algorithm of the node listens to has none elsewhere.
    pub(crate) named: Option<BTreeMap<EventId, &'static str>>,
}

/// What waits to be handled by this very node.
#[derive(Clone, Debug)]
pub(crate) struct Triggered {
    /// How many effects had been asked for before. What nobody listens to becomes one after these.
    pub(crate) after: usize,
    pub(crate) events: Local,
}

/// One event, or several of one type that were triggered in a row.
#[derive(Clone, Debug)]
pub(crate) enum Local {
    One(Envelope),
    Several(Framed),
}

/// Which algorithm of the node is running.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) instance: Instance,
    /// The lane of its events; `None` where each event type has its own.
    pub(crate) lane: Option<LaneId>,
    /// The record types that a checkpoint of it replaces; `None` before any algorithm has run.
    pub(crate) records: Option<Arc<[EventId]>>,
}

/// Decides what a handler asked [`Context::choose`] to decide: a seeded generator in production
/// and in simulations, every value in turn under the checker. A host lends one to a node for a
/// step, and knows by [`Any`] what it gets back.
pub trait Choices: Any + Send + Sync {
    /// A number below `options`.
    fn choose(&mut self, node: NodeId, options: u32) -> u32;
    /// [Random](Context::random) bits for `node`, which has drawn `bits` from its own seed: these, if nobody decides.
    fn random(&mut self, _node: NodeId, bits: u64) -> u64 {
        bits
    }
}

/// Who decides for a node while its host has lent it somebody. A copy of the node has nobody.
#[derive(Default)]
pub(crate) struct Lent(pub(crate) Option<Box<dyn Choices>>);

impl Clone for Lent {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "somebody" } else { "nobody" })
    }
}

/// Something that a node asks of the world.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// Deliver `envelope` to another node, at most once.
    Send {
        /// The receiver, never the node itself.
        to: NodeId,
        /// In which order with others.
        lane: Lane,
        /// The event.
        envelope: Envelope,
    },
    /// Deliver several events of one type to another node, in order: asked for one after the other.
    /// Only a node that [gathers](crate::Node::gather_sends) them asks for it.
    SendAll {
        /// The receiver, never the node itself.
        to: NodeId,
        /// In which order with others.
        lane: LaneId,
        /// The events.
        envelopes: Framed,
    },
    /// Tell this node [`Input::Timer`](crate::Input::Timer) with `id` once `after` has passed.
    Timer {
        /// Which timer.
        id: TimerId,
        /// How long to wait.
        after: Duration,
        /// The event it will be, for a host that wants to show it.
        envelope: Envelope,
    },
    /// Forget a timer. The node would ignore it if it fired nevertheless.
    Cancel(TimerId),
    /// Make a record durable before any later effect of this node leaves.
    Persist(Envelope),
    /// Make a record durable in place of all earlier ones of the same instance that hold one of
    /// these events, before any later effect of this node leaves.
    Checkpoint {
        /// The new record.
        record: Envelope,
        /// The event types that it stands for.
        replaces: Arc<[EventId]>,
    },
    /// Compute something off the handlers' thread; what comes out is triggered on this node.
    Job(Envelope),
    /// Hand `envelope` to the application: no algorithm of the node listens to it.
    Output(Envelope),
    /// Keep a line with the trace.
    Log(String),
}

/// The identity of an armed timer, unique within one life of a node.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TimerId(pub u64);

impl Context {
    pub(crate) fn new(me: NodeId, peers: Peers, incarnation: u64, random: Random) -> Self {
        Self {
            me,
            incarnation,
            peers,
            now: Time::ZERO,
            random,
            choices: Lent::default(),
            timers: BTreeMap::new(),
            next_timer: 0,
            asked: BTreeMap::new(),
            next_ticket: 0,
            effects: Vec::new(),
            local: VecDeque::new(),
            scope: Scope::root(),
            scratch: Scratch::default(),
            gathers: false,
            indicated_after: 0,
            named: None,
        }
    }

    pub(crate) fn armed(&self) -> impl Iterator<Item = (TimerId, &Envelope)> {
        self.timers.iter().map(|(envelope, id)| (*id, &**envelope))
    }

    pub(crate) fn forget_requests(&mut self) {
        self.effects.clear();
        self.local.clear();
        self.timers.clear();
        self.asked.clear();
    }

    /// Sends `event` to `to`. A send to oneself is delivered locally, without loss.
    ///
    /// # Panics
    ///
    /// If the event is local, or `to` is not of the cluster: the algorithm is wrong.
    pub fn send<E: Event>(&mut self, to: NodeId, event: &E) {
        assert!(!E::LOCAL, "`{}` is local and cannot be sent", E::NAME);
        assert!(self.peers.place_of(to).is_some(), "{to} is not of this cluster");
        self.route(to, Tag::Plain, event);
    }

    /// Sends `event` to every node of the cluster, this one included. Encodes once. O(peers).
    ///
    /// # Panics
    ///
    /// As [`Context::send`].
    pub fn broadcast<E: Event>(&mut self, event: &E) {
        self.send_where(event, |_| true);
    }

    /// Sends `event` to every node whose identity satisfies `to`. Encodes once. O(peers).
    ///
    /// # Panics
    ///
    /// As [`Context::send`].
    pub fn send_where<E: Event>(&mut self, event: &E, to: impl Fn(NodeId) -> bool) {
        assert!(!E::LOCAL, "`{}` is local and cannot be sent", E::NAME);
        let envelope = self.seal(Tag::Plain, event);
        let peers = self.peers.clone();
        for &peer in peers.nodes.iter().filter(|peer| to(**peer)) {
            if peer == self.me {
                self.line_up(envelope.clone());
            } else {
                let (lane, envelope) = (self.lane::<E>(), envelope.clone());
                self.effects.push(Effect::Send { to: peer, lane, envelope });
            }
        }
    }

    /// Triggers `event` on this node, in every algorithm that listens to it, once the handler has returned; if
    /// none does, the application gets it, as an effect in the order of asking: before what is sent later,
    /// and after what is persisted earlier.
    pub fn trigger<E: Event>(&mut self, event: &E) {
        if self.gathers && self.gather_local(event) {
            return;
        }
        let envelope = self.seal(Tag::Plain, event);
        self.line_up(envelope);
    }

    /// Triggers `event` in the instance of `key` under the running one: how a parent speaks to a
    /// member of a [`Keyed`](crate::Keyed).
    pub fn trigger_at<E: Event>(&mut self, key: u64, event: &E) {
        let mut envelope = self.seal(Tag::Plain, event);
        let mut instance = self.scope.instance.clone();
        instance.0.push(key);
        envelope = envelope.addressed_to(instance);
        self.line_up(envelope);
    }

    /// Triggers `event` on this node once `delay` has passed.
    ///
    /// A timer *is* its event: arming an equal one again replaces it, and a handler never sees
    /// the tick of a timer that was replaced or cancelled. Timers of one type with different
    /// contents run side by side.
    pub fn after<E: Event>(&mut self, delay: Duration, event: &E) {
        let envelope = self.seal(Tag::Plain, event);
        self.arm(delay, envelope);
    }

    /// Forgets the timer that would trigger an equal `event`. Harmless if there is none.
    pub fn cancel<E: Event>(&mut self, event: &E) {
        let envelope = self.seal(Tag::Plain, event);
        self.disarm(&envelope);
    }

    /// Makes `record` durable. Effects asked for later wait for it. After a crash, the records
    /// come back through [`Handlers::restore`](crate::Handlers::restore).
    ///
    /// # Panics
    ///
    /// If no handler of the algorithm restores an `E`: the algorithm is wrong, and its node would not
    /// start from such a record.
    #[track_caller]
    pub fn persist<E: Event>(&mut self, record: &E) {
        self.check_restored::<E>();
        let record = self.seal(Tag::Plain, record);
        self.effects.push(Effect::Persist(record));
    }

    /// Makes `record` durable in place of all earlier records of this algorithm instance.
    ///
    /// # Panics
    ///
    /// As [`Context::persist`].
    #[track_caller]
    pub fn checkpoint<E: Event>(&mut self, record: &E) {
        self.check_restored::<E>();
        let record = self.seal(Tag::Plain, record);
        let replaces = self.scope.records.clone().unwrap_or_default();
        self.effects.push(Effect::Checkpoint { record, replaces });
    }

    /// Hands `job` to the function registered with [`Handlers::job`](crate::Handlers::job). A job
    /// is data, not a closure, so a run with jobs can be recorded; its result is an ordinary event.
    pub fn job<E: Event>(&mut self, job: &E) {
        let job = self.seal(Tag::Plain, job);
        self.effects.push(Effect::Job(job));
    }

    /// Asks `to` and waits for `deadline`; a handler that takes a [`Reply`](crate::Reply) is told
    /// the answer, or that there was none.
    ///
    /// # Panics
    ///
    /// As [`Context::send`]; but a node may ask itself a local request.
    pub fn ask<R: Request>(&mut self, to: NodeId, request: &R, deadline: Duration) -> Ticket<R> {
        assert!(self.peers.place_of(to).is_some(), "{to} is not of this cluster");
        let number = self.next_number();
        self.asked.insert(number, R::Answer::ID);
        self.route(to, Tag::Ask(number), request);
        let expiry = expiry(number, R::Answer::ID, self.scope.instance.clone());
        self.arm(deadline, expiry);
        Ticket::new(self.me, number)
    }

    /// A number that no open request has.
    fn next_number(&mut self) -> u64 {
        loop {
            self.next_ticket += 1;
            let number = Tag::number(self.incarnation, self.next_ticket);
            if !self.asked.contains_key(&number) {
                return number;
            }
        }
    }

    /// The instance that has asked the open question of that number, which `answer` would answer. O(timers).
    pub(crate) fn asker(&self, number: u64, answer: EventId) -> Option<Instance> {
        if self.asked.get(&number) != Some(&answer) {
            return None;
        }
        let expires = self.timers.keys().find(|timer| timer.tag() == Tag::Expired(number))?;
        Some(expires.instance().clone())
    }

    /// Answers a request, now or in a later step. A ticket may travel to another instance, and one of a node to
    /// another node, which answers in the place of the one that was asked. One of an application may not: only the node that
    /// it has asked can answer it.
    ///
    /// # Panics
    ///
    /// If another node asked, and the answer is local; or its application did: the algorithm is wrong.
    #[track_caller]
    pub fn answer<R: Request>(&mut self, ticket: Ticket<R>, answer: &R::Answer) {
        let Ticket { from, number, .. } = ticket;
        assert!(
            from == self.me || number & Tag::OF_APPLICATION == 0,
            "the application of {from} has asked `{}`, and only {from} can answer it: send {from} an event, \
             and let its handler answer",
            R::NAME
        );
        self.route(ticket.from, Tag::Answer(ticket.number), answer);
    }

    /// A number below `options`: random in a simulation and in production, every value in turn
    /// under the checker. 0 should be the calm choice: shrinking prefers it. Where getting on takes different
    /// choices, as of a coin or of timeouts that must not be equal for ever, a shrunk run that gets nowhere may
    /// do so by zeros alone.
    ///
    /// # Panics
    ///
    /// If `options` is 0.
    pub fn choose(&mut self, options: u32) -> u32 {
        assert!(0 < options, "nothing to choose from");
        match &mut self.choices.0 {
            Some(choices) => choices.choose(self.me, options).min(options - 1),
            None => u32::try_from(self.random.below(u64::from(options))).unwrap_or(0),
        }
    }

    /// 64 random bits from the node's seed, in each run of a simulation other ones. Never enumerated: use it where every
    /// value is as good as another, for jitter or identifiers. Where the checker is to visit what comes of each, let
    /// one be [chosen](Self::choose).
    pub fn random(&mut self) -> u64 {
        let bits = self.random.next_u64();
        match &mut self.choices.0 {
            Some(choices) => choices.random(self.me, bits),
            None => bits,
        }
    }

    /// Keeps a line with the trace; a deployed node logs it. Has no other effect.
    pub fn log(&mut self, line: impl fmt::Display) {
        self.effects.push(Effect::Log(line.to_string()));
    }

    /// This node.
    #[must_use]
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// Which life of the node this is: each start has a higher number than all before.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// All nodes of the cluster, this one included, in ascending order.
    #[must_use]
    pub fn peers(&self) -> &[NodeId] {
        &self.peers.nodes
    }

    /// The node after this one on the ring of [`Context::peers`], this one if it is alone.
    #[must_use]
    #[inline]
    pub fn successor(&self) -> NodeId {
        let nodes = &self.peers.nodes;
        let after = self.peers.place_of(self.me).map_or(0, |place| place + 1);
        // Where the ring closes is nothing that a processor could foretell.
        let after = select_unpredictable(after < nodes.len(), after, 0);
        nodes.get(after).copied().unwrap_or(self.me)
    }

    /// The time since the start of the run.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Whether the running algorithm, if one runs, can read such a record.
    #[track_caller]
    fn check_restored<E: Event>(&self) {
        let is_read = self.scope.records.as_ref().is_none_or(|records| records.contains(&E::ID));
        assert!(
            is_read,
            "`{}` is to be durable, and no handler restores it: register one by `Handlers::restore`, or the \
             node does not start again",
            E::NAME
        );
    }

    /// Lets an event wait for its turn on this node.
    #[inline]
    pub(crate) fn line_up(&mut self, envelope: Envelope) {
        let after = self.effects.len();
        self.local.push_back(Triggered { after, events: Local::One(envelope) });
    }

    #[inline(always)]
    fn route<E: Event>(&mut self, to: NodeId, tag: Tag, event: &E) {
        if to == self.me {
            let envelope = self.seal(tag, event);
            self.line_up(envelope);
            return;
        }
        assert!(!E::LOCAL, "`{}` is local and cannot be sent", E::NAME);
        let lane = self.lane::<E>();
        if self.gathers && self.gather(to, lane, tag, event) {
            return;
        }
        self.name::<E>();
        let instance = &self.scope.instance;
        // Made where it stays: `push` would copy what was just written.
        self.effects.extend(iter::once_with(|| {
            let envelope = Envelope::blank(E::ID, instance, tag);
            Effect::Send { to, lane, envelope }
        }));
        if let Some(Effect::Send { envelope, .. }) = self.effects.last_mut() {
            self.scratch.encode(event, envelope.body_mut());
        }
    }

    /// Adds a plain event for the root to what was asked for last, if that is another one of its type
    /// for the same lane.
    #[inline]
    fn gather<E: Event>(&mut self, to: NodeId, lane: Lane, tag: Tag, event: &E) -> bool {
        let (Lane::Ordered(lane), Tag::Plain, []) = (lane, tag, self.scope.instance.keys()) else {
            return false;
        };
        let asked = self.effects.len();
        if asked <= self.indicated_after || self.local.back().is_some_and(|it| it.after == asked) {
            return false; // It was triggered in between, and leaves in between if nobody listens to it.
        }
        let Some(last) = self.effects.last_mut() else { return false };
        match last {
            Effect::SendAll { to: same_to, lane: same_lane, envelopes }
                if (to, lane) == (*same_to, *same_lane) && envelopes.takes(E::ID) =>
            {
                envelopes.push(event);
                true
            }
            Effect::Send { to: same_to, lane: same_lane, envelope }
                if (to, Lane::Ordered(lane)) == (*same_to, *same_lane) =>
            {
                let Some(envelopes) = Framed::pair(envelope, event) else { return false };
                *last = Effect::SendAll { to, lane, envelopes };
                true
            }
            _ => false,
        }
    }

    /// The same for an event that is triggered.
    #[inline]
    fn gather_local<E: Event>(&mut self, event: &E) -> bool {
        if !self.scope.instance.keys().is_empty() {
            return false;
        }
        let asked = self.effects.len();
        let Some(last) = self.local.back_mut().filter(|it| it.after == asked) else { return false };
        match &mut last.events {
            Local::Several(envelopes) if envelopes.takes(E::ID) => {
                envelopes.push(event);
                true
            }
            Local::Several(_) => false,
            Local::One(envelope) => {
                let Some(envelopes) = Framed::pair(envelope, event) else { return false };
                last.events = Local::Several(envelopes);
                true
            }
        }
    }

    /// The lane of `E`, sent by who is running.
    fn lane<E: Event>(&self) -> Lane {
        match self.scope.lane {
            _ if E::UNRELIABLE => Lane::Datagram,
            Some(lane) => Lane::Ordered(lane),
            None => Lane::Ordered(LaneId(E::ID.bits())),
        }
    }

    fn arm(&mut self, delay: Duration, envelope: Envelope) {
        self.next_timer += 1;
        let id = TimerId(self.next_timer);
        if let Some(replaced) = self.timers.insert(Arc::new(envelope.clone()), id) {
            self.effects.push(Effect::Cancel(replaced));
        }
        self.effects.push(Effect::Timer { id, after: delay, envelope });
    }

    pub(crate) fn disarm(&mut self, envelope: &Envelope) {
        if let Some(id) = self.timers.remove(envelope) {
            self.effects.push(Effect::Cancel(id));
        }
    }

    #[inline(always)]
    fn seal<E: Event>(&mut self, tag: Tag, event: &E) -> Envelope {
        self.name::<E>();
        let mut envelope = self.blank::<E>(tag);
        self.scratch.encode(event, envelope.body_mut());
        envelope
    }

    /// Notes how an `E` is called, if that is wanted.
    #[inline(always)]
    fn name<E: Event>(&mut self) {
        if let Some(named) = &mut self.named {
            named.insert(E::ID, E::NAME);
        }
    }

    /// The envelope of an `E` that is still to be encoded.
    #[inline(always)]
    fn blank<E: Event>(&self, tag: Tag) -> Envelope {
        Envelope::blank(E::ID, &self.scope.instance, tag)
    }
}

/// The event that a request of this number becomes when nobody answers it.
pub(crate) fn expiry(number: u64, answer: EventId, instance: Instance) -> Envelope {
    Envelope::from_parts(answer, instance, Tag::Expired(number), Bytes::new())
}
