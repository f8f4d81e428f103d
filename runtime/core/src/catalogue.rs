//! What a node handles, stores, computes and indicates: read off its handler tables.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::envelope::{DecodeError, Envelope, LaneId, Tag};
use crate::event::{EventId, NodeId};
use crate::handler::{Access, Takes};
use crate::schema::Schema;
use crate::symmetry::Renamer;
use crate::transport::{SendError, WireEvent};

/// An event type as a node knows it.
#[derive(Clone)]
pub struct EventInfo {
    /// The identity on the wire.
    pub id: EventId,
    /// The wire name.
    pub name: &'static str,
    /// What the node does with it.
    pub role: Role,
    /// Whether it never comes from the wire.
    pub local: bool,
    /// Whether it travels as a datagram.
    pub unreliable: bool,
    /// Its largest envelope in bytes: see [`Event::BYTES_MAX`](crate::Event::BYTES_MAX).
    pub bytes_max: u32,
    /// Whether deliveries of it to one node [commute](crate::Handlers::on_commuting).
    pub commutes: bool,
    /// What its handler may do with the state.
    pub access: Access,
    /// How it must come to its handler.
    pub takes: Takes,
    /// Where its handler was registered; events without a handler have none.
    pub registered: Option<Registration>,
    pub(crate) kind: TypeId,
    pub(crate) layout: fn() -> String,
    pub(crate) show: fn(&Envelope) -> Result<String, DecodeError>,
    pub(crate) rename: fn(&Envelope, &mut Renamer) -> Result<Envelope, DecodeError>,
}

impl EventInfo {
    /// What its bytes hold: see [`Schema::layout_of`]. O(size of it) for each variant of its enums.
    #[must_use]
    pub fn layout(&self) -> String {
        (self.layout)()
    }

    /// The fingerprint of that.
    #[must_use]
    pub fn schema(&self) -> Schema {
        Schema::of_layout(&self.layout())
    }

    /// The event in `envelope` as its `Debug` implementation writes it.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the envelope does not hold such an event.
    pub fn show(&self, envelope: &Envelope) -> Result<String, DecodeError> {
        (self.show)(envelope)
    }
}

impl fmt::Debug for EventInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.name, self.role)
    }
}

/// Which function handles an event, and where the source says so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Registration {
    /// What the compiler calls the function.
    pub function: &'static str,
    /// The line that calls [`Handlers::on`](crate::Handlers::on).
    pub place: &'static Location<'static>,
}

impl fmt::Display for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function, place } = self;
        write!(f, "`{function}`, registered at {}:{}", place.file(), place.line())
    }
}

/// What a node does with an event type.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Role {
    /// Handles it.
    Handler,
    /// Restores it from the durable log.
    Record,
    /// Computes it off the handlers' thread.
    Job,
    /// Indicates it to the application.
    Output,
}

/// A job: an event in, an event out.
pub type JobFn = Arc<dyn Fn(&Envelope) -> Result<Envelope, DecodeError> + Send + Sync>;

/// All event types of one node, by role and identity.
#[derive(Clone, Default)]
pub struct Catalogue {
    /// In ascending order of role and identity, as the lanes are by theirs: a node has few.
    events: Vec<EventInfo>,
    jobs: BTreeMap<EventId, JobFn>,
    lanes: Vec<(LaneId, &'static str)>,
    /// Several algorithms of a node may handle an event, each by a function of its own.
    registered: Vec<(&'static str, Registration)>,
    /// The names of events that the node does nothing with.
    others: BTreeMap<EventId, &'static str>,
}

/// Why a node cannot be built: its algorithms do not fit together, or not into the cluster.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Two different event types of the node share a name, so frames of one would be taken for
    /// the other.
    #[error("two event types of this node have the wire name `{name}`: rename one of them")]
    DuplicateEvent {
        /// The name.
        name: &'static str,
    },
    /// Two wire names have one identity.
    #[error("the wire names `{one}` and `{other}` have the same hash: rename one of them")]
    Collision {
        /// A name.
        one: &'static str,
        /// The other name.
        other: &'static str,
    },
    /// Two jobs of the node are for the same event type.
    #[error("two jobs of this node take `{name}`: one of them would never run")]
    DuplicateJob {
        /// The event's name.
        name: &'static str,
    },
    /// The node is not a member of its own cluster.
    #[error("{node} is not in the list of the cluster's nodes {peers:?}")]
    NotAMember {
        /// The node.
        node: NodeId,
        /// The cluster.
        peers: Vec<NodeId>,
    },
}

impl Catalogue {
    /// The event types of one role, by identity.
    pub fn of(&self, role: Role) -> impl Iterator<Item = &EventInfo> {
        self.events.iter().filter(move |info| info.role == role)
    }

    /// The handled event type of this identity. O(log types).
    #[must_use]
    pub fn handled(&self, event: EventId) -> Option<&EventInfo> {
        self.find(Role::Handler, event)
    }

    /// The functions that handle or restore the event of this wire name, and where they were
    /// registered. O(handlers).
    pub fn registered(&self, name: &str) -> impl Iterator<Item = &Registration> {
        let found = self.registered.iter().filter(move |(known, _)| *known == name);
        found.map(|(_, registered)| registered)
    }

    /// The job for events of this identity. O(log types).
    #[must_use]
    pub fn job(&self, event: EventId) -> Option<&JobFn> {
        self.jobs.get(&event)
    }

    /// The events that the node handles from the wire, by identity. O(types), with their layouts.
    #[must_use]
    pub fn from_the_wire(&self) -> Vec<WireEvent> {
        let handled = self.of(Role::Handler).filter(|info| !info.local);
        handled
            .map(|info| WireEvent {
                id: info.id,
                name: String::from(info.name),
                layout: info.layout(),
                bytes_max: info.bytes_max,
            })
            .collect()
    }

    /// The wire names of all event types, in whatever role. O(types).
    #[must_use]
    pub fn names(&self) -> BTreeSet<&'static str> {
        self.events.iter().map(|info| info.name).collect()
    }

    /// The schemas of all event types, in whatever role, by name. O(types), with their layouts.
    #[must_use]
    pub fn schemas(&self) -> BTreeMap<&'static str, Schema> {
        self.events.iter().map(|info| (info.name, info.schema())).collect()
    }

    /// Those of the records alone: what a program expects of its durable log. O(records), with their
    /// layouts.
    #[must_use]
    pub fn records(&self) -> BTreeMap<&'static str, Schema> {
        self.of(Role::Record).map(|info| (info.name, info.schema())).collect()
    }

    /// The wire name of an identity, in whatever role; its hash where the node does not know it, and nobody has
    /// [told](Catalogue::learn) it.
    #[must_use]
    pub fn name(&self, event: EventId) -> String {
        let name = self.any(event).map(|info| info.name);
        let name = name.or_else(|| self.others.get(&event).copied());
        name.map_or_else(|| format!("{:016x}", event.bits()), String::from)
    }

    /// Takes note of the names of events that the node does nothing with. O(names).
    pub fn learn(&mut self, names: impl IntoIterator<Item = (EventId, &'static str)>) {
        self.others.extend(names);
    }

    /// The algorithm, or the event type, whose events a lane keeps in order; none for a lane that no
    /// algorithm of the node sends on. O(log lanes).
    #[must_use]
    pub fn lane(&self, lane: LaneId) -> Option<&'static str> {
        let at = self.lanes.binary_search_by_key(&lane, |(known, _)| *known).ok()?;
        self.lanes.get(at).map(|(_, name)| *name)
    }

    /// The event in `envelope`, written out; only its size where the node does not know the type, behind its name
    /// if that was told.
    #[must_use]
    pub fn show(&self, envelope: &Envelope) -> String {
        let shown = self.any(envelope.event()).and_then(|info| info.show(envelope).ok());
        shown.unwrap_or_else(|| {
            let name = self.others.get(&envelope.event());
            let name = name.map_or_else(String::new, |name| format!("{name}, "));
            format!("{name}{} bytes", envelope.body().len())
        })
    }

    /// Whether a link takes `envelope`: whether it is no larger, encoded, than its event
    /// [declares](crate::Event::BYTES_MAX). O(1) for any that is well below what every event may have,
    /// O(size) for others. Of datagrams, a network may take only smaller ones.
    ///
    /// # Errors
    ///
    /// [`SendError::TooLarge`].
    #[inline]
    pub fn fits(&self, envelope: &Envelope) -> Result<(), SendError> {
        if envelope.body().len() + Envelope::HEADER_BYTES_MAX <= Envelope::BYTES_MAX as usize {
            return Ok(());
        }
        self.measure(envelope)
    }

    #[cold]
    fn measure(&self, envelope: &Envelope) -> Result<(), SendError> {
        let declared = self.any(envelope.event()).map(|info| info.bytes_max);
        let size_max = declared.unwrap_or(Envelope::BYTES_MAX) as usize;
        let mut encoded = Vec::new();
        envelope.encode_into(&mut encoded);
        let size = encoded.len();
        if size <= size_max { Ok(()) } else { Err(SendError::TooLarge { size, size_max }) }
    }

    /// The same envelope with the nodes in its event renamed. O(size).
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if no algorithm knows the event, or the body is none.
    pub fn renamed(
        &self,
        envelope: &Envelope,
        renamer: &mut Renamer,
    ) -> Result<Envelope, DecodeError> {
        let Some(info) = self.any(envelope.event()) else {
            return Err(DecodeError::new(format!("no algorithm knows {:?}", envelope.event())));
        };
        envelope.show_header(renamer);
        match envelope.tag() {
            Tag::Expired(_) => Ok(envelope.clone()),
            _ => (info.rename)(envelope, renamer),
        }
    }

    /// Adds an event type.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if another type has its name or its identity.
    pub(crate) fn add(&mut self, info: &EventInfo) -> Result<(), BuildError> {
        if let Some(taken) = self.any(info.id) {
            if taken.name != info.name {
                return Err(BuildError::Collision { one: taken.name, other: info.name });
            }
            if taken.kind != info.kind {
                return Err(BuildError::DuplicateEvent { name: info.name });
            }
        }
        self.registered.extend(info.registered.map(|registered| (info.name, registered)));
        let mut info = info.clone();
        match self.place_of(info.role, info.id) {
            Ok(at) => {
                if let Some(known) = self.events.get_mut(at) {
                    // Of several algorithms that handle it, each has to say so.
                    info.commutes &= known.commutes;
                    // All of them handle it, or none does.
                    info.takes = info.takes.max(known.takes);
                    *known = info;
                }
            }
            Err(free) => self.events.insert(free, info),
        }
        Ok(())
    }

    /// Makes room for so many event types more.
    pub(crate) fn reserve(&mut self, events: usize) {
        self.events.reserve_exact(events);
        self.registered.reserve_exact(events);
    }

    /// Adds a lane.
    pub(crate) fn add_lane(&mut self, lane: LaneId, name: &'static str) {
        match self.lanes.binary_search_by_key(&lane, |(known, _)| *known) {
            Ok(at) => {
                self.lanes.get_mut(at).into_iter().for_each(|known| known.1 = name);
            }
            Err(free) => self.lanes.insert(free, (lane, name)),
        }
    }

    /// Adds a job.
    ///
    /// # Errors
    ///
    /// As [`Catalogue::add`], and [`BuildError::DuplicateJob`].
    pub(crate) fn add_job(&mut self, info: &EventInfo, run: &JobFn) -> Result<(), BuildError> {
        self.add(info)?;
        match self.jobs.insert(info.id, Arc::clone(run)) {
            None => Ok(()),
            Some(_) => Err(BuildError::DuplicateJob { name: info.name }),
        }
    }

    /// Whether it has an event type of this identity, in whatever role.
    #[must_use]
    pub fn knows(&self, event: EventId) -> bool {
        self.any(event).is_some()
    }

    fn any(&self, event: EventId) -> Option<&EventInfo> {
        let roles = [Role::Handler, Role::Record, Role::Job, Role::Output];
        roles.iter().find_map(|role| self.find(*role, event))
    }

    fn find(&self, role: Role, event: EventId) -> Option<&EventInfo> {
        self.events.get(self.place_of(role, event).ok()?)
    }

    /// Where it stands, or would.
    fn place_of(&self, role: Role, event: EventId) -> Result<usize, usize> {
        self.events.binary_search_by_key(&(role, event), |info| (info.role, info.id))
    }
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.events).finish()
    }
}
