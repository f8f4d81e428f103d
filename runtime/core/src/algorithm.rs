//! An algorithm is a state and a table of handlers over it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::Location;
use std::sync::Arc;

use crate::catalogue::{BuildError, Catalogue, EventInfo, JobFn, Registration, Role};
use crate::context::{Context, Scope};
use crate::envelope::{Envelope, EnvelopeRef, Instance, LaneId, Tag};
use crate::event::{Event, EventId, NodeId};
use crate::handler::{Access, Handler, IntoHandler, info};
use crate::model::Model;
use crate::node::{Snapshots, StepError};
use crate::property::{Property, Summary};
use crate::symmetry::Symmetry;
use crate::workload::Workload;

/// A distributed algorithm. The implementing type is the state of one node.
///
/// ```
/// # use synod_core::{Algorithm, Context, Event, Handlers, NodeId};
/// #[derive(Event, Debug, serde::Serialize, serde::Deserialize)]
/// #[event(name = "doc.ping")]
/// struct Ping;
///
/// #[derive(Clone, Debug, Default, Hash)]
/// struct Counter {
///     pings: u32,
/// }
///
/// impl Algorithm for Counter {
///     const NAME: &'static str = "counter";
///
///     fn handlers() -> Handlers<Self> {
///         Handlers::new().on(Self::ping)
///     }
/// }
///
/// impl Counter {
///     fn ping(&mut self, _: Ping, from: NodeId, ctx: &mut Context) {
///         self.pings += 1;
///         ctx.send(from, &Ping);
///     }
/// }
/// ```
pub trait Algorithm: Send + Sized + 'static {
    /// How the algorithm is called in traces and on the command line.
    const NAME: &'static str;

    /// Which of its events arrive in the order of sending.
    const ORDER: Order = Order::PerSender;

    /// What it assumes of the world. A simulation injects exactly what the model allows.
    const MODEL: Model = Model::ASYNCHRONOUS;

    /// Which function runs upon which event.
    fn handlers() -> Handlers<Self>;

    /// Runs once in each life of a node, before any event, after the records are restored.
    fn start(&mut self, ctx: &mut Context) {
        let _ = ctx;
    }

    /// What it promises as long as its model holds.
    #[must_use]
    fn properties() -> Vec<Property<Self>> {
        Vec::new()
    }

    /// What applications might ask of it, for tools that run it without one.
    #[must_use]
    fn workload() -> Workload {
        Workload::default()
    }

    /// Which nodes only their names tell apart, so that an exploration needs to visit only one of
    /// the states that differ in these names.
    #[must_use]
    fn symmetry() -> Symmetry<Self> {
        Symmetry::none()
    }

    /// How its state is written down while its node runs, so that a recording can begin then.
    #[must_use]
    fn snapshots() -> Snapshots<Self> {
        Snapshots::none()
    }

    /// The state in three to six short values, for status tables, diagrams and metrics.
    ///
    /// `synod cluster` waits until all nodes show the same `leader`; where none is shown, the same `chosen`,
    /// `outcome`, `value` or `initiator`. A value `-` is none.
    fn summary(&self) -> Summary {
        Summary::default()
    }
}

/// Which events of an algorithm, from one sender to one receiver, keep their order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// All of them, across event types.
    PerSender,
    /// Those of the same event type. A long transfer does not hold up a heartbeat.
    PerEvent,
}

/// The handlers over a state of type `S`, and the conditions they wait for.
pub struct Handlers<S> {
    table: Vec<Handler<S>>,
    records: Vec<Handler<S>>,
    rules: Vec<Rule<S>>,
    jobs: Vec<(EventInfo, JobFn)>,
    outputs: Vec<EventInfo>,
    /// The lane of all events; none where each event type has its own.
    lane: Option<LaneId>,
    lane_name: &'static str,
    /// The types of the durable records, for checkpoints; kept beside the table to be shared.
    record_ids: Arc<[EventId]>,
}

struct Rule<S> {
    name: &'static str,
    holds: fn(&S) -> bool,
    then: fn(&mut S, &mut Context),
}

impl<S> Clone for Rule<S> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<S> Handlers<S> {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self {
            table: Vec::new(),
            records: Vec::new(),
            rules: Vec::new(),
            jobs: Vec::new(),
            outputs: Vec::new(),
            lane: Some(LaneId(EventId::of(UNNAMED).bits())),
            lane_name: UNNAMED,
            record_ids: Arc::new([]),
        }
    }

    /// Upon event `E` do `handler`, where `E` is the type of the handler's `event` parameter.
    ///
    /// # Panics
    ///
    /// If `E`, or another event of the same wire name, is taken already. It is a mistake in the
    /// source, and every test of the algorithm shows it.
    #[must_use]
    #[track_caller]
    pub fn on<M>(mut self, handler: impl IntoHandler<S, M>) -> Self {
        insert(&mut self.table, registered(handler.into_handler(), Location::caller()));
        self
    }

    /// As [`Handlers::on`], and deliveries of `E` from other nodes to one node commute: two of them
    /// lead to the same state with the same effects in either order, whatever the state. So it is
    /// with a collector that waits for all answers, or forgets them once it has enough.
    ///
    /// Exactly: after both orders, the state, the durable records and the armed timers are equal;
    /// so are the messages sent, with their order on each ordered lane, whichever delivery sent them;
    /// and so are the events indicated, but for their order. Neither delivery makes a choice.
    ///
    /// A reduced exploration takes one order of such deliveries, and tries the others: see the
    /// simulator's `Exploration::reduced`.
    ///
    /// # Panics
    ///
    /// As [`Handlers::on`].
    #[must_use]
    #[track_caller]
    pub fn on_commuting<M>(mut self, handler: impl IntoHandler<S, M>) -> Self {
        let mut handler = registered(handler.into_handler(), Location::caller());
        handler.info.commutes = true;
        insert(&mut self.table, handler);
        self
    }

    /// Upon recovery, for every durable record `E` in the order of writing, do `handler`.
    ///
    /// # Panics
    ///
    /// As [`Handlers::on`].
    #[must_use]
    #[track_caller]
    pub fn restore<M>(mut self, handler: impl IntoHandler<S, M>) -> Self {
        let mut handler = registered(handler.into_handler(), Location::caller());
        handler.info.role = Role::Record;
        insert(&mut self.records, handler);
        self.record_ids = self.records.iter().map(|record| record.info.id).collect();
        self
    }

    /// Upon `holds` do `then`: checked after every handler of this state, in the order of
    /// registration, until no condition holds. `then` must make `holds` false.
    #[must_use]
    pub fn when(
        mut self,
        name: &'static str,
        holds: fn(&S) -> bool,
        then: fn(&mut S, &mut Context),
    ) -> Self {
        self.rules.push(Rule { name, holds, then });
        self
    }

    /// What [`Context::job`] of a `J` computes, on another thread in a deployed node. Its result
    /// is triggered on the node as an ordinary event.
    #[must_use]
    pub fn job<J: Event, R: Event>(mut self, run: fn(J) -> R) -> Self {
        let info = EventInfo { role: Role::Job, ..info::<J>(Access::Shared) };
        let erased: JobFn = Arc::new(move |envelope| {
            let result = Envelope::seal(&run(envelope.open::<J>()?));
            Ok(result.addressed_to(envelope.instance().clone()))
        });
        self.jobs.push((info, erased));
        self
    }

    /// Declares that this algorithm triggers `E` for whoever uses it, so that traces and tools
    /// know the event by name even where no algorithm of the node listens to it.
    #[must_use]
    pub fn indicates<E: Event>(mut self) -> Self {
        self.outputs.push(EventInfo { role: Role::Output, ..info::<E>(Access::Shared) });
        self
    }

    /// The events listened to, by identity.
    pub fn events(&self) -> impl Iterator<Item = &EventInfo> {
        self.table.iter().map(|handler| &handler.info)
    }

    /// Puts the events of this table, which is complete, on the lane of an algorithm.
    pub(crate) fn on_lane(mut self, name: &'static str, order: Order) -> Self {
        self.table.shrink_to_fit();
        self.lane_name = name;
        self.lane = match order {
            Order::PerSender => Some(LaneId(EventId::of(name).bits())),
            Order::PerEvent => None,
        };
        self
    }

    /// Whether some handler listens to `event`. O(log handlers).
    pub(crate) fn listens_to(&self, event: EventId) -> bool {
        find(&self.table, event).is_some()
    }

    pub(crate) fn catalogue(&self, out: &mut Catalogue) -> Result<(), BuildError> {
        out.reserve(self.table.len() + self.records.len() + self.outputs.len());
        let handlers = self.table.iter().chain(&self.records).map(|handler| &handler.info);
        for info in handlers.chain(&self.outputs) {
            out.add(info)?;
        }
        match self.lane {
            Some(lane) => out.add_lane(lane, self.lane_name),
            None => self.events().for_each(|it| out.add_lane(LaneId(it.id.bits()), it.name)),
        }
        self.jobs.iter().try_for_each(|(info, run)| out.add_job(info, run))
    }

    /// Runs `start`, then the conditions.
    pub(crate) fn start(&self, state: &mut S, ctx: &mut Context, start: fn(&mut S, &mut Context)) {
        self.enter(ctx);
        start(state, ctx);
        self.settle(state, ctx);
    }

    /// Whether there is a handler of `envelope`. O(log handlers).
    pub(crate) fn admit(
        &self,
        envelope: EnvelopeRef<'_>,
        from: NodeId,
        ctx: &Context,
    ) -> Result<bool, StepError> {
        if !self.is_addressed(envelope, from, ctx) {
            return Ok(false);
        }
        let Some(handler) = find(&self.table, envelope.event()) else {
            return Ok(false);
        };
        handler.admit(envelope, from, ctx.me).map(|()| true)
    }

    /// Runs the handler of `envelope`, then the conditions; false if there is no such handler.
    /// O(log handlers + handler).
    pub(crate) fn run(
        &self,
        state: &mut S,
        envelope: EnvelopeRef<'_>,
        from: NodeId,
        ctx: &mut Context,
    ) -> Result<bool, StepError> {
        if !self.is_addressed(envelope, from, ctx) {
            return Ok(false);
        }
        let Some(handler) = find(&self.table, envelope.event()) else {
            return Ok(false);
        };
        self.enter(ctx);
        handler.run(state, envelope, from, ctx)?;
        self.settle(state, ctx);
        Ok(true)
    }

    /// Feeds a durable record back; false if no handler restores it.
    pub(crate) fn replay(
        &self,
        state: &mut S,
        record: EnvelopeRef<'_>,
        ctx: &mut Context,
    ) -> Result<bool, StepError> {
        if record.instance() != &ctx.scope.instance {
            return Ok(false);
        }
        let Some(handler) = find(&self.records, record.event()) else {
            return Ok(false);
        };
        self.enter(ctx);
        handler.run(state, record, ctx.me(), ctx)?;
        Ok(true)
    }

    /// An algorithm hears what is for its own instance, and what instances below it trigger on
    /// this very node.
    #[inline]
    fn is_addressed(&self, envelope: EnvelopeRef<'_>, from: NodeId, ctx: &Context) -> bool {
        let (target, own) = (envelope.instance(), &ctx.scope.instance);
        // The root first: `==` calls `memcmp`, whose vector load of no bytes at a dangling address costs
        // some processors more than the whole step.
        (target.keys().is_empty() && own.keys().is_empty())
            || target.keys() == own.keys()
            || (from == ctx.me
                && envelope.tag() == Tag::Plain
                && target.keys().starts_with(own.keys()))
    }

    #[inline]
    fn enter(&self, ctx: &mut Context) {
        ctx.scope.lane = self.lane;
        let records = &mut ctx.scope.records;
        if !records.as_ref().is_some_and(|records| Arc::ptr_eq(records, &self.record_ids)) {
            *records = Some(Arc::clone(&self.record_ids));
        }
    }

    #[inline]
    fn settle(&self, state: &mut S, ctx: &mut Context) {
        if !self.rules.is_empty() {
            self.settle_rules(state, ctx);
        }
    }

    fn settle_rules(&self, state: &mut S, ctx: &mut Context) {
        for _ in 0..Self::SETTLE_ROUNDS_MAX {
            match self.holding(state) {
                Some(rule) => (rule.then)(state, ctx),
                None => return,
            }
        }
        if let Some(stuck) = self.holding(state) {
            panic!("the rule `{}` holds for ever", stuck.name);
        }
    }

    fn holding(&self, state: &S) -> Option<&Rule<S>> {
        self.rules.iter().find(|rule| (rule.holds)(state))
    }

    /// A bound on the actions that conditions run after one handler.
    const SETTLE_ROUNDS_MAX: usize = 1_000;
}

/// The lane of handlers that belong to no algorithm.
const UNNAMED: &str = "handlers";

/// The handler, which knows where it was registered.
fn registered<S>(mut handler: Handler<S>, place: &'static Location<'static>) -> Handler<S> {
    handler.info.registered = Some(Registration { function: handler.function, place });
    handler
}

fn insert<S>(table: &mut Vec<Handler<S>>, handler: Handler<S>) {
    if let Some(taken) = find(table, handler.info.id) {
        let (one, other) = (taken.info.name, handler.info.name);
        assert!(one == other, "two handlers for `{one}` and `{other}`, which have one hash");
        panic!("two handlers for `{one}`: {} and {}", taken.function, handler.function);
    }
    let free = table.partition_point(|taken| taken.info.id < handler.info.id);
    table.insert(free, handler);
}

fn find<S>(table: &[Handler<S>], event: EventId) -> Option<&Handler<S>> {
    let index = table.binary_search_by_key(&event, |handler| handler.info.id).ok()?;
    table.get(index)
}

impl<S> Clone for Handlers<S> {
    fn clone(&self) -> Self {
        Self {
            table: self.table.clone(),
            records: self.records.clone(),
            rules: self.rules.clone(),
            jobs: self.jobs.clone(),
            outputs: self.outputs.clone(),
            lane: self.lane,
            lane_name: self.lane_name,
            record_ids: Arc::clone(&self.record_ids),
        }
    }
}

impl<S> Default for Handlers<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> fmt::Debug for Handlers<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.table).finish()
    }
}

impl Scope {
    pub(crate) fn root() -> Self {
        Self { instance: Instance::ROOT, lane: None, records: None }
    }
}

/// A state with its handlers, built on the spot: for tests, and for states that are not yours.
///
/// ```
/// # use synod_core::{Event, HandlerSet};
/// #[derive(Event, Debug, serde::Serialize, serde::Deserialize)]
/// #[event(name = "doc.tick", local)]
/// struct Tick;
///
/// let ticks = HandlerSet::new(0_u32).on(|ticks: &mut u32, _: Tick| *ticks += 1);
/// assert_eq!(*ticks.state(), 0);
/// ```
pub struct HandlerSet<S> {
    pub(crate) state: S,
    pub(crate) handlers: Arc<Handlers<S>>,
}

/// The state: the handlers are the same in all.
impl<S: fmt::Debug> fmt::Debug for HandlerSet<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}

impl<S> HandlerSet<S> {
    /// A state that nothing reacts on yet.
    pub fn new(state: S) -> Self {
        Self::with(state, Handlers::new())
    }

    /// A state with a table made elsewhere.
    pub fn with(state: S, handlers: Handlers<S>) -> Self {
        Self { state, handlers: Arc::new(handlers) }
    }

    /// See [`Handlers::on`].
    ///
    /// # Panics
    ///
    /// As [`Handlers::on`].
    #[must_use]
    #[track_caller]
    pub fn on<M>(self, handler: impl IntoHandler<S, M>) -> Self {
        let handlers = Arc::unwrap_or_clone(self.handlers).on(handler);
        Self::with(self.state, handlers)
    }

    /// The state.
    pub fn state(&self) -> &S {
        &self.state
    }
}

impl<S: Clone> Clone for HandlerSet<S> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), handlers: Arc::clone(&self.handlers) }
    }
}

impl<S: Hash> Hash for HandlerSet<S> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.state.hash(hasher);
    }
}
