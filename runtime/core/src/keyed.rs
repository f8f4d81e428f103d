//! Many instances of one algorithm, told apart by a key.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::catalogue::{BuildError, Catalogue};
use crate::context::{Context, TimerId};
use crate::envelope::{Envelope, EnvelopeRef, Tag};
use crate::event::{Event, EventId, NodeId, PeerDown, PeerUp};
use crate::node::{SnapshotError, Snapshots, States, StatesWriter, StepError};
use crate::property::Summary;
use crate::random::Random;
use crate::stack::Stack;

/// One state of `A` per key, made when the key is first seen: a consensus per slot, a counter per
/// user.
///
/// The key travels in the envelope, so a host can shard by it without decoding the event.
///
/// A [link](crate::PeerUp) that comes or goes is told to every state there is, by ascending key. One that is made
/// later is not told which links are up.
#[derive(Clone)]
pub struct Keyed<A> {
    make: fn(u64) -> A,
    instances: BTreeMap<u64, A>,
    instances_max: usize,
}

/// What is in it. How an instance is made would be an address.
impl<A: fmt::Debug> fmt::Debug for Keyed<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.instances).finish()
    }
}

impl<A> Keyed<A> {
    /// Instances that a node holds at most unless [`Keyed::at_most`] says otherwise.
    pub const INSTANCES_MAX: usize = 65_536;

    /// No instances yet; `make` builds the instance of a key.
    pub fn new(make: fn(u64) -> A) -> Self {
        Self { make, instances: BTreeMap::new(), instances_max: Self::INSTANCES_MAX }
    }

    /// Bounds the instances: an event for one more key is refused with [`StepError::Full`].
    #[must_use]
    pub fn at_most(self, instances_max: usize) -> Self {
        Self { instances_max, ..self }
    }

    /// The instance of `key`, if an event for it has arrived. O(log instances).
    pub fn get(&self, key: u64) -> Option<&A> {
        self.instances.get(&key)
    }

    /// All instances, by key.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &A)> {
        self.instances.iter().map(|(key, instance)| (*key, instance))
    }

    fn check_room(&self) -> Result<(), StepError> {
        let instances_max = self.instances_max;
        if self.instances.len() < instances_max {
            return Ok(());
        }
        Err(StepError::Full { instances_max })
    }
}

impl<A: Stack> Keyed<A> {
    /// Tells every instance of a link that has come or gone; false if it is not that.
    fn tell_of_links(
        &mut self,
        tables: &A::Tables,
        envelope: EnvelopeRef<'_>,
        from: NodeId,
        ctx: &mut Context,
    ) -> Result<bool, StepError> {
        if !is_of_links::<A>(tables, envelope, from, ctx) {
            return Ok(false);
        }
        for (key, instance) in &mut self.instances {
            within(*key, ctx, |ctx| {
                let own = envelope.to_owned().addressed_to(ctx.scope.instance.clone());
                instance.dispatch(tables, own.by_ref(), from, ctx)
            })?;
        }
        Ok(true)
    }
}

impl<A: Stack> Stack for Keyed<A> {
    type Tables = A::Tables;

    fn tables(&self) -> Self::Tables {
        (self.make)(0).tables()
    }

    fn catalogue(tables: &Self::Tables, out: &mut Catalogue) -> Result<(), BuildError> {
        A::catalogue(tables, out)
    }

    /// Starts what durable records have brought back. The others start when they are made.
    fn start(&mut self, tables: &Self::Tables, ctx: &mut Context) {
        for (key, instance) in &mut self.instances {
            within(*key, ctx, |ctx| instance.start(tables, ctx));
        }
    }

    fn listens_to(tables: &Self::Tables, event: EventId) -> bool {
        A::listens_to(tables, event)
    }

    fn replay(
        &mut self,
        tables: &Self::Tables,
        record: EnvelopeRef<'_>,
        ctx: &mut Context,
    ) -> Result<bool, StepError> {
        let Some(key) = own_key(record, ctx) else {
            return Ok(false);
        };
        if let Some(instance) = self.instances.get_mut(&key) {
            return within(key, ctx, |ctx| instance.replay(tables, record, ctx));
        }
        let mut instance = (self.make)(key);
        let known = within(key, ctx, |ctx| instance.replay(tables, record, ctx))?;
        if known {
            self.instances.insert(key, instance);
        }
        Ok(known)
    }

    fn admit(
        &self,
        tables: &Self::Tables,
        envelope: EnvelopeRef<'_>,
        from: NodeId,
        ctx: &mut Context,
    ) -> Result<bool, StepError> {
        let Some(key) = own_key(envelope, ctx) else {
            return Ok(is_of_links::<A>(tables, envelope, from, ctx));
        };
        if !A::listens_to(tables, envelope.event()) {
            return Ok(false); // A stranger must not make an instance.
        }
        if let Some(instance) = self.instances.get(&key) {
            return within(key, ctx, |ctx| instance.admit(tables, envelope, from, ctx));
        }
        self.check_room()?;
        let fresh = (self.make)(key);
        within(key, ctx, |ctx| fresh.admit(tables, envelope, from, ctx))
    }

    fn dispatch(
        &mut self,
        tables: &Self::Tables,
        envelope: EnvelopeRef<'_>,
        from: NodeId,
        ctx: &mut Context,
    ) -> Result<bool, StepError> {
        let Some(key) = own_key(envelope, ctx) else {
            return self.tell_of_links(tables, envelope, from, ctx);
        };
        if !A::listens_to(tables, envelope.event()) {
            return Ok(false);
        }
        if let Some(instance) = self.instances.get_mut(&key) {
            return within(key, ctx, |ctx| instance.dispatch(tables, envelope, from, ctx));
        }
        self.check_room()?;
        let (mut instance, before) = ((self.make)(key), Before::of(ctx));
        let heard = within(key, ctx, |ctx| {
            instance.start(tables, ctx);
            instance.dispatch(tables, envelope, from, ctx)
        });
        before.come_back(ctx, heard == Ok(true));
        if heard == Ok(true) {
            self.instances.insert(key, instance);
        }
        heard
    }

    /// Only how many there are: a summary is short.
    fn summary(&self) -> Summary {
        Summary::default().with("instances", self.instances.len())
    }

    /// The keys, and then every instance.
    fn write_down(&self, out: &mut StatesWriter) -> Result<(), SnapshotError> {
        let keys: Vec<u64> = self.instances.keys().copied().collect();
        out.put(&Snapshots::encoded(), &keys)?;
        self.instances.values().try_for_each(|instance| instance.write_down(out))
    }

    fn read_back(&mut self, states: &mut States<'_>) -> Result<(), SnapshotError> {
        self.instances.clear();
        for key in states.take::<Vec<u64>>(&Snapshots::encoded())? {
            let mut instance = (self.make)(key);
            instance.read_back(states)?;
            self.instances.insert(key, instance);
        }
        Ok(())
    }
}

/// What a context was before a new instance was heard: what comes to nothing leaves nothing behind.
struct Before {
    effects: usize,
    local: usize,
    timers: BTreeMap<Arc<Envelope>, TimerId>,
    random: Random,
    next_timer: u64,
    next_ticket: u64,
}

impl Before {
    /// Puts aside what others wait for: it is none of the new instance's, and too much to be copied.
    fn of(ctx: &mut Context) -> Self {
        Self {
            effects: ctx.effects.len(),
            local: ctx.local.len(),
            timers: std::mem::take(&mut ctx.timers),
            random: ctx.random.clone(),
            next_timer: ctx.next_timer,
            next_ticket: ctx.next_ticket,
        }
    }

    /// Keeps what was asked for since then, or takes it back.
    fn come_back(self, ctx: &mut Context, keeps: bool) {
        let armed = std::mem::replace(&mut ctx.timers, self.timers);
        if keeps {
            return ctx.timers.extend(armed);
        }
        for timer in armed.keys() {
            if let Tag::Expired(number) = timer.tag() {
                ctx.asked.remove(&number);
            }
        }
        ctx.effects.truncate(self.effects);
        ctx.local.truncate(self.local);
        ctx.random = self.random;
        (ctx.next_timer, ctx.next_ticket) = (self.next_timer, self.next_ticket);
    }
}

/// Whether `envelope` tells `A`, which listens to such, of a link: that is for every key.
fn is_of_links<A: Stack>(
    tables: &A::Tables,
    envelope: EnvelopeRef<'_>,
    from: NodeId,
    ctx: &Context,
) -> bool {
    [PeerUp::ID, PeerDown::ID].contains(&envelope.event())
        && envelope.instance() == &ctx.scope.instance
        && from == ctx.me()
        && A::listens_to(tables, envelope.event())
}

/// The key under the running instance that `envelope` is for.
fn own_key(envelope: EnvelopeRef<'_>, ctx: &Context) -> Option<u64> {
    let below = envelope.instance().keys().strip_prefix(ctx.scope.instance.keys())?;
    below.first().copied()
}

fn within<T>(key: u64, ctx: &mut Context, run: impl FnOnce(&mut Context) -> T) -> T {
    ctx.scope.instance.0.push(key);
    let result = run(ctx);
    ctx.scope.instance.0.pop();
    result
}

impl<A: Hash> Hash for Keyed<A> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.instances.hash(state);
    }
}
