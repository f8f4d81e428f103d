//! One node, one step at a time.

mod local;
mod names;
mod snapshot;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::catalogue::{BuildError, Catalogue};
use crate::context::{Choices, Context, Effect, Lent, TimerId, expiry};
use crate::envelope::{DecodeError, Envelope, EnvelopeRef, Tag};
use crate::event::{EventId, NodeId, PeerDown, PeerUp, Time};
use crate::peers::Peers;
use crate::property::Summary;
use crate::random::Random;
use crate::stack::Stack;
use crate::symmetry::{Renamer, Symmetry};
pub use snapshot::{Snapshot, SnapshotError, Snapshots, States, StatesWriter};

/// A node without I/O: feed it an [`Input`], carry out the [`Effect`]s.
///
/// Two nodes of equal state, fed the same inputs at the same times with the same seed, produce the
/// same effects.
#[derive(Clone, Debug)]
pub struct Node<T: Stack> {
    stack: T,
    tables: T::Tables,
    ctx: Context,
}

/// All of a node but the states of its algorithms, between two steps: an exploration meets few of these,
/// each with many states.
#[derive(Clone, Debug)]
pub struct Frame<T: Stack> {
    tables: T::Tables,
    me: NodeId,
    incarnation: u64,
    peers: Peers,
    random: Random,
    /// In ascending order: a list of few takes less than a tree.
    timers: Box<[(Arc<Envelope>, TimerId)]>,
    next_timer: u64,
    asked: BTreeMap<u64, EventId>,
    next_ticket: u64,
}

impl<T: Stack> Frame<T> {
    /// The timers that are armed, with the event that each would be, in the order of these.
    pub fn timers(&self) -> impl Iterator<Item = (TimerId, &Envelope)> {
        self.timers.iter().map(|(envelope, id)| (*id, &**envelope))
    }
}

/// What a node's [`Frame`] would be if it were taken apart: it hashes as that.
#[derive(Debug)]
pub struct Surroundings<'n, T: Stack>(&'n Node<T>);

/// Who a node is, in one life of it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Boot {
    /// The node.
    pub id: NodeId,
    /// All nodes of the cluster, this one included, in any order.
    pub peers: Vec<NodeId>,
    /// Which life of the node this is, higher than all before; below 2^32.
    pub incarnation: u64,
    /// What feeds [`Context::random`] and, outside the checker, [`Context::choose`].
    pub seed: u64,
}

/// Something that happens to a node.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Input {
    /// The node comes up for the first time.
    Start,
    /// The node comes up after a crash, with what it made durable, in the order of writing.
    Recover(Vec<Envelope>),
    /// An event arrives from a peer.
    Deliver {
        /// The sender, as the transport has authenticated it.
        from: NodeId,
        /// The event.
        envelope: Envelope,
    },
    /// The application, or a job of the node, triggers an event.
    Trigger(Envelope),
    /// A timer has run out.
    Timer(TimerId),
    /// The link to a peer has come up.
    PeerUp(PeerUp),
    /// The link to a peer is lost.
    PeerDown(PeerDown),
}

/// Why an input was refused. The node is as it was before.
///
/// Only the outside world can cause one; a mistake of an algorithm is a panic.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// No algorithm of the node listens to the event. The sender runs another program, or another
    /// version of it.
    #[error("no handler for {0:?}")]
    Unhandled(EventId),
    /// A peer sent, or the disk held, bytes that are not the event they claim to be.
    #[error("`{event}` from {from} does not decode: {cause}")]
    Decode {
        /// The wire name.
        event: &'static str,
        /// The peer to blame; the node itself if the bytes come from its disk or application.
        from: NodeId,
        /// What the codec said.
        #[source]
        cause: DecodeError,
    },
    /// A peer sent what never comes from the wire: a local event, or the question of an application.
    #[error("{from} sent {event:?}, which is local to each node")]
    LocalOnly {
        /// The event.
        event: EventId,
        /// The peer to blame.
        from: NodeId,
    },
    /// An answer to no open request: it comes after the deadline, or to a former life of this
    /// node. Nobody is to blame.
    #[error("the answer {number} from {from} comes too late")]
    Stale {
        /// The request's number.
        number: u64,
        /// Who answers.
        from: NodeId,
    },
    /// The sender is not of the cluster, or claims to be this very node. The transport is to blame.
    #[error("{0} is no peer of this node")]
    Stranger(NodeId),
    /// The event would make one instance more than a [`Keyed`](crate::Keyed) may hold.
    #[error("{instances_max} instances exist, and there may not be more")]
    Full {
        /// The bound.
        instances_max: usize,
    },
}

impl<T: Stack> Node<T> {
    /// A node that has not started.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if the stack's algorithms clash, or the node is not in its own peer list.
    pub fn new(boot: Boot, stack: T) -> Result<Self, BuildError> {
        let tables = stack.tables();
        T::catalogue(&tables, &mut Catalogue::default())?;
        Self::with_tables(boot, stack, tables)
    }

    /// A node that shares the tables of another one with the same stack, which have been checked.
    ///
    /// # Errors
    ///
    /// [`BuildError::NotAMember`].
    pub fn with_tables(boot: Boot, stack: T, tables: T::Tables) -> Result<Self, BuildError> {
        let Boot { id, peers, incarnation, seed } = boot;
        Self::among(peers.into_iter().collect(), id, (incarnation, seed), stack, tables)
    }

    /// The same for one of many nodes that share the list of their cluster too; the rest of its
    /// [`Boot`] is `id` and `(incarnation, seed)`.
    ///
    /// # Errors
    ///
    /// [`BuildError::NotAMember`].
    pub fn among(
        peers: Peers,
        id: NodeId,
        (incarnation, seed): (u64, u64),
        stack: T,
        tables: T::Tables,
    ) -> Result<Self, BuildError> {
        if peers.place_of(id).is_none() {
            return Err(BuildError::NotAMember { node: id, peers: peers.nodes.to_vec() });
        }
        let random = generator(seed, id, incarnation);
        Ok(Self { stack, tables, ctx: Context::new(id, peers, incarnation, random) })
    }

    /// Lets `choices` decide what handlers [`choose`](Context::choose), instead of the seed. They
    /// are lent: the host takes them back, and a copy of the node decides by its seed.
    #[inline]
    pub fn decide_by(&mut self, choices: Box<dyn Choices>) {
        self.ctx.choices = Lent(Some(choices));
    }

    /// From now on, events of one type for one lane that are sent one after the other are one
    /// [`Effect::SendAll`]: for a host that has much to send.
    pub fn gather_sends(&mut self) {
        self.ctx.gathers = true;
    }

    /// Takes back who decides; the seed does from now on.
    #[inline]
    pub fn take_choices(&mut self) -> Option<Box<dyn Choices>> {
        self.ctx.choices.0.take()
    }

    /// Lets `input` happen at `now`, then every local event that it triggers, and appends what the
    /// node asks for to `out`. O(handlers run).
    ///
    /// # Errors
    ///
    /// [`StepError`]; `out` and the node are then as they were, unless the input was
    /// [`Input::Recover`]: what is on disk is not this node's, and it must not run.
    ///
    /// # Panics
    ///
    /// If a handler does, or if handlers trigger each other without end, which shows after 10,000 local events one
    /// upon the other, or a million: the algorithm is wrong, and its state is not to be used any more. Nothing has
    /// been appended to `out`.
    pub fn step(
        &mut self,
        now: Time,
        input: &Input,
        out: &mut Vec<Effect>,
    ) -> Result<(), StepError> {
        self.run(now, out, |node| node.take(input))
    }

    /// As [`Node::step`] with [`Input::Deliver`], for a host that keeps the event elsewhere.
    ///
    /// # Errors
    ///
    /// As [`Node::step`], and it panics as that does.
    #[inline]
    pub fn deliver(
        &mut self,
        now: Time,
        from: NodeId,
        envelope: EnvelopeRef<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), StepError> {
        self.run(now, out, |node| {
            node.arrive(envelope, from)?;
            node.settle();
            Ok(())
        })
    }

    #[inline]
    fn run(
        &mut self,
        now: Time,
        out: &mut Vec<Effect>,
        take: impl FnOnce(&mut Self) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        self.ctx.now = now;
        // The host's buffer is warm and used by all its nodes, so none keeps one of its own.
        let lent = out.is_empty();
        if lent {
            std::mem::swap(out, &mut self.ctx.effects);
        }
        let taken = take(self);
        if taken.is_err() {
            self.ctx.effects.clear();
        }
        if lent {
            std::mem::swap(out, &mut self.ctx.effects);
        } else {
            out.append(&mut self.ctx.effects);
        }
        taken
    }

    fn take(&mut self, input: &Input) -> Result<(), StepError> {
        match input {
            Input::Start => self.stack.start(&self.tables, &mut self.ctx),
            Input::Recover(records) => self.recover(records)?,
            Input::Deliver { from, envelope } => self.arrive(envelope.by_ref(), *from)?,
            Input::Trigger(envelope) => {
                if !self.local(envelope.by_ref())? {
                    self.ctx.effects.push(Effect::Output(envelope.clone()));
                }
            }
            Input::Timer(id) => self.tick(*id),
            Input::PeerUp(event) => self.indicate(&Envelope::seal(event)),
            Input::PeerDown(event) => self.indicate(&Envelope::seal(event)),
        }
        self.settle();
        Ok(())
    }

    /// The node as it is under other names: as what it now is for those whom it knows by theirs.
    /// `seed` is that of its [`Boot`]. O(size).
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the state or a timer cannot be renamed; also if the node has drawn random
    /// numbers, since under another name it would have drawn others.
    pub fn renamed(
        &self,
        symmetry: Symmetry<T>,
        catalogue: &Catalogue,
        seed: u64,
        renamer: &mut Renamer,
    ) -> Result<Self, DecodeError> {
        let mut ctx = self.ctx.clone();
        ctx.me = renamer.node(self.ctx.me);
        if self.ctx.random != generator(seed, self.ctx.me, ctx.incarnation) {
            return Err(DecodeError::new("it has drawn random numbers"));
        }
        ctx.random = generator(seed, ctx.me, ctx.incarnation);
        renamer.mix(ctx.incarnation);
        renamer.mix(ctx.next_ticket);
        let timers = renamer.in_no_order(&self.ctx.timers, |renamer, (envelope, id)| {
            Ok((Arc::new(catalogue.renamed(envelope, renamer)?), *id))
        })?;
        ctx.timers = timers.into_iter().collect();
        let stack = symmetry.renamed(&self.stack, renamer)?;
        Ok(Self { stack, tables: self.tables.clone(), ctx })
    }

    /// The algorithms' states.
    pub fn stack(&self) -> &T {
        &self.stack
    }

    /// The tables, for nodes of the same stack.
    pub fn tables(&self) -> &T::Tables {
        &self.tables
    }

    /// This node.
    pub fn id(&self) -> NodeId {
        self.ctx.me
    }

    /// Which life of the node this is.
    pub fn incarnation(&self) -> u64 {
        self.ctx.incarnation
    }

    /// The timers that are armed, with the event that each would be.
    pub fn timers(&self) -> impl Iterator<Item = (TimerId, &Envelope)> {
        self.ctx.armed()
    }

    /// Takes it apart, between two steps.
    pub fn into_parts(self) -> (T, Frame<T>) {
        let Self { stack, tables, ctx } = self;
        let Context { me, incarnation, peers, random, .. } = ctx;
        let Context { timers, next_timer, asked, next_ticket, .. } = ctx;
        let frame = Frame {
            tables,
            me,
            incarnation,
            peers,
            random,
            timers: list(timers),
            next_timer,
            asked,
            next_ticket,
        };
        (stack, frame)
    }

    /// What [`Node::into_parts`] would split from the stack, to be told from others before that.
    pub fn surroundings(&self) -> Surroundings<'_, T> {
        Surroundings(self)
    }

    /// Puts it together again, as a node whose effects are told one by one.
    pub fn from_parts(stack: T, frame: &Frame<T>) -> Self {
        let Frame { me, incarnation, peers, random, .. } = frame;
        let mut ctx = Context::new(*me, peers.clone(), *incarnation, random.clone());
        ctx.timers.extend(frame.timers.iter().cloned());
        ctx.next_timer = frame.next_timer;
        ctx.asked.clone_from(&frame.asked);
        ctx.next_ticket = frame.next_ticket;
        Self { stack, tables: frame.tables.clone(), ctx }
    }

    /// Every event type of the node. O(types).
    pub fn catalogue(&self) -> Catalogue {
        let mut all = Catalogue::default();
        let checked = T::catalogue(&self.tables, &mut all);
        debug_assert_eq!(checked, Ok(()), "the tables were checked when the node was built");
        all
    }

    /// The states in short.
    pub fn summary(&self) -> Summary {
        self.stack.summary()
    }

    fn recover(&mut self, records: &[Envelope]) -> Result<(), StepError> {
        for record in records {
            if !self.stack.replay(&self.tables, record.by_ref(), &mut self.ctx)? {
                return Err(StepError::Unhandled(record.event()));
            }
        }
        self.ctx.forget_requests(); // Restoring a record is not a reason to do anything.
        self.stack.start(&self.tables, &mut self.ctx);
        Ok(())
    }

    // Always inlined: a step is short, and most are of messages.
    #[inline(always)]
    fn arrive(&mut self, envelope: EnvelopeRef<'_>, from: NodeId) -> Result<(), StepError> {
        if from == self.ctx.me || self.ctx.peers.place_of(from).is_none() {
            return Err(StepError::Stranger(from));
        }
        match envelope.tag() {
            Tag::Plain | Tag::Ask(..Tag::OF_APPLICATION) => self.dispatch_known(envelope, from),
            Tag::Answer(number) => self.answered(number, envelope, from),
            Tag::Ask(_) | Tag::Expired(_) => {
                Err(StepError::LocalOnly { event: envelope.event(), from })
            }
        }
    }

    /// An answer counts once, while its request is open, whichever instance gives it, and ends the wait for it.
    fn answered(
        &mut self,
        number: u64,
        envelope: EnvelopeRef<'_>,
        from: NodeId,
    ) -> Result<(), StepError> {
        let expiry = expiry(number, envelope.event(), envelope.instance().clone());
        if !self.ctx.timers.contains_key(&expiry) {
            let stale = StepError::Stale { number, from };
            let asker = self.ctx.asker(number, envelope.event()).ok_or(stale)?;
            return self.answered(number, envelope.to_owned().addressed_to(asker).by_ref(), from);
        }
        self.dispatch_known(envelope, from)?;
        self.ctx.asked.remove(&number);
        self.ctx.disarm(&expiry);
        Ok(())
    }

    fn tick(&mut self, id: TimerId) {
        let armed = self.ctx.armed().find(|(armed, _)| *armed == id);
        let Some(envelope) = armed.map(|(_, envelope)| envelope.clone()) else {
            return; // Replaced or cancelled while the tick was on its way.
        };
        self.ctx.timers.remove(&envelope);
        if let Tag::Expired(number) = envelope.tag() {
            self.ctx.asked.remove(&number);
        }
        self.ctx.line_up(envelope);
    }

    /// Tells whoever wants to know; the application has its own ways to see links.
    fn indicate(&mut self, envelope: &Envelope) {
        if T::listens_to(&self.tables, envelope.event()) {
            self.ctx.line_up(envelope.clone());
        }
    }

    /// Runs an event that somebody must listen to.
    #[inline]
    fn dispatch_known(&mut self, envelope: EnvelopeRef<'_>, from: NodeId) -> Result<(), StepError> {
        let event = envelope.event();
        if self.dispatch(envelope, from)? { Ok(()) } else { Err(StepError::Unhandled(event)) }
    }

    #[inline]
    fn dispatch(&mut self, envelope: EnvelopeRef<'_>, from: NodeId) -> Result<bool, StepError> {
        self.stack.dispatch(&self.tables, envelope, from, &mut self.ctx)
    }
}

/// A list that takes no more than it holds.
fn list<V>(all: impl IntoIterator<Item = V, IntoIter: ExactSizeIterator>) -> Box<[V]> {
    let all = all.into_iter();
    let mut list = Vec::with_capacity(all.len());
    list.extend(all);
    list.into_boxed_slice()
}

/// Nodes of one seed draw different numbers, and so do two lives of one node.
fn generator(seed: u64, id: NodeId, incarnation: u64) -> Random {
    let stream = seed ^ (u64::from(id.0) << 32) ^ incarnation;
    Random::new(Random::new(stream).next_u64())
}

/// Equal hashes mean equal futures: what a node will do depends on its states, the armed timers,
/// the open requests and the generator. The numbers of timers do not matter.
impl<T: Stack + Hash> Hash for Node<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.stack.hash(hasher);
        self.surroundings().hash(hasher);
    }
}

impl<T: Stack> Hash for Surroundings<'_, T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Context { incarnation, random, timers, next_ticket, .. } = &self.0.ctx;
        hash_future(hasher, *incarnation, random, timers.keys(), *next_ticket);
    }
}

/// The same but for the states.
impl<T: Stack> Hash for Frame<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Self { incarnation, random, timers, next_ticket, .. } = self;
        let events = timers.iter().map(|(envelope, _)| envelope);
        hash_future(hasher, *incarnation, random, events, *next_ticket);
    }
}

fn hash_future<'t, H: Hasher>(
    hasher: &mut H,
    incarnation: u64,
    random: &Random,
    timers: impl ExactSizeIterator<Item = &'t Arc<Envelope>>,
    next_ticket: u64,
) {
    incarnation.hash(hasher);
    random.hash(hasher);
    next_ticket.hash(hasher);
    timers.len().hash(hasher);
    timers.for_each(|envelope| envelope.hash(hasher));
}
