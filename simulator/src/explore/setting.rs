//! What an exploration stands on, whatever the type of its nodes.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use synod_core::{Catalogue, Envelope, Kind, Model, NodeId, Role};

use super::bounds::Bounds;
use super::memory::Memories;
use super::orbit::Group;
use super::parcel::Parcel;
use super::pool::Pool;
use super::report::Untrue;
use crate::scenario::Scenario;
use crate::trace::SeeClients;
use crate::underway::Underway;

/// What is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Wrong {
    /// A property is violated: which one, and in which way.
    Property(String, String),
    /// What the algorithm says of itself is not so.
    Declared(Untrue),
}

impl Wrong {
    /// What does not hold, and in which way.
    pub(crate) fn said(self) -> (String, String) {
        match self {
            Self::Property(property, reason) => (property, reason),
            Self::Declared(untrue) => (String::from(untrue.declared), untrue.reason),
        }
    }
}

impl From<(String, String)> for Wrong {
    fn from((property, reason): (String, String)) -> Self {
        Self::Property(property, reason)
    }
}

/// A scenario and its bounds without the type of the nodes, and the messages found so far.
pub(crate) struct Setting<'a> {
    pub(crate) name: &'static str,
    pub(crate) model: &'a Model,
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) clients: Option<&'a SeeClients>,
    pub(crate) inputs: &'a [(NodeId, Duration, Envelope)],
    pub(crate) bounds: &'a Bounds,
    pub(crate) promises: Vec<Promise>,
    /// Whether a promise is of single nodes.
    pub(crate) has_local: bool,
    /// The bound of the longest `eventually`, in ticks: quiet beyond it tells nothing new.
    pub(crate) patience: u64,
    pub(crate) parcels: Pool<Arc<Parcel>>,
    pub(crate) memories: Memories,
    /// Whether runs without end are judged: `eventually` without a clock.
    pub(crate) live: bool,
    /// Whether deliveries that commute are taken in one order.
    pub(crate) collects: bool,
    /// The nodes that only their names tell apart, if states are not told apart by these.
    pub(crate) group: Option<Group>,
    /// Where each thread tells which handler runs.
    pub(crate) underway: Underway,
    /// Whether there was a state in which nothing is under way.
    pub(crate) has_rested: AtomicBool,
    /// Whether a handler drew a random number.
    pub(crate) has_drawn: AtomicBool,
}

/// A property without its predicate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) local: bool,
    /// Whether it is a monitor whose memory is a part of the states.
    pub(crate) remembered: bool,
    /// Where in the source it is declared.
    pub(crate) place: &'static Location<'static>,
}

/// What decides which properties are due in a state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Moment {
    /// Ticks since the last fault.
    pub(crate) quiet: u64,
    /// Whether nothing is under way.
    pub(crate) at_rest: bool,
}

impl<'a> Setting<'a> {
    pub(crate) fn of<T: synod_core::Stack>(scenario: &'a Scenario<T>, bounds: &'a Bounds) -> Self {
        let properties = scenario.properties().iter();
        let promises: Vec<Promise> = properties
            .map(|it| Promise {
                name: it.name,
                kind: it.kind,
                local: it.is_local(),
                remembered: it.remembering().is_some(),
                place: it.place(),
            })
            .collect();
        Self {
            name: scenario.name(),
            model: scenario.model(),
            catalogue: &scenario.catalogue,
            clients: scenario.clients.as_ref(),
            inputs: &scenario.inputs,
            has_local: promises.iter().any(|it| it.local && it.kind == Kind::Always),
            patience: patience(&promises, bounds),
            bounds,
            promises,
            parcels: Pool::default(),
            memories: Memories::of(scenario.properties()),
            live: false,
            collects: false,
            group: None,
            underway: Underway::default(),
            has_rested: AtomicBool::new(false),
            has_drawn: AtomicBool::new(false),
        }
    }

    /// Where in the source a property is declared.
    pub(crate) fn declares(&self, property: &str) -> Option<String> {
        let found = self.promises.iter().find(|it| it.name == property);
        found.map(|it| it.place.to_string())
    }

    /// What is promised at rest, where no state is, or of events that nobody has indicated.
    pub(crate) fn undue(&self) -> Vec<&'static str> {
        let never_rests =
            !self.has_rested.load(Ordering::Relaxed) && !self.bounds.repeats_for_ever();
        let at_rest = self.promises.iter().filter(|it| never_rests && it.kind == Kind::AtRest);
        at_rest.map(|it| it.name).chain(self.memories.unshown()).collect()
    }

    /// Lets runs without end be judged, where there is no clock, and what has arrived has to arrive no
    /// more.
    pub(crate) fn judge_lives(&mut self, live: bool) {
        let untimed = self.bounds.tick_us == 0 && !self.bounds.repeats_for_ever();
        self.live = live && untimed;
    }

    /// Lets deliveries that commute be taken in one order, unless a property looks at the local states
    /// in between.
    pub(crate) fn collect(&mut self, collects: bool) {
        self.collects = collects && !self.has_local;
    }

    /// The events of which deliveries are taken in one order.
    pub(crate) fn collected(&self) -> Vec<&'static str> {
        let handled = self.catalogue.of(Role::Handler).filter(|it| it.commutes && !it.local);
        if self.collects { handled.map(|it| it.name).collect() } else { Vec::new() }
    }

    /// Of a counterexample to this property: if that is an `eventually`, lives are judged.
    pub(crate) fn against<T: synod_core::Stack>(
        scenario: &'a Scenario<T>,
        bounds: &'a Bounds,
        property: Option<&str>,
    ) -> Self {
        let mut setting = Self::of(scenario, bounds);
        let eventual =
            |it: &Promise| matches!(it.kind, Kind::Eventually { .. }) && Some(it.name) == property;
        let live = setting.promises.iter().any(eventual);
        setting.judge_lives(live);
        setting
    }

    /// Whether quiet of so many ticks is more than `within`; never without a clock.
    pub(crate) fn is_over(&self, within: Duration, quiet: u64) -> bool {
        0 < self.bounds.tick_us && self.bounds.ticks(within) <= quiet
    }
}

fn patience(promises: &[Promise], bounds: &Bounds) -> u64 {
    let bound = |it: &Promise| match it.kind {
        Kind::Eventually { within } if 0 < bounds.tick_us => Some(bounds.ticks(within)),
        _ => None,
    };
    promises.iter().filter_map(bound).max().unwrap_or(0).min(u64::from(u32::MAX))
}
