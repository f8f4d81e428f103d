//! What an application asks of an algorithm, when there is none.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::envelope::{Envelope, Tag};
use crate::event::{Event, NodeId};

/// What the applications of a cluster trigger, and when: a client's operations, a beginning.
///
/// An algorithm that does nothing unasked declares one, so that tools have something to run.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    inputs: Vec<(NodeId, Duration, Envelope)>,
    offers: Vec<Offer>,
}

/// A kind of request that clients may make, at any node and at any time.
#[derive(Clone)]
pub struct Offer(Arc<dyn Fn(u64) -> Envelope + Send + Sync>);

impl Offer {
    /// Requests that `make` writes. It is given a number that no other request of a run has, from 1.
    pub fn of<E: Event>(make: impl Fn(u64) -> E + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |number| Envelope::seal(&make(number))))
    }

    /// The same as questions of an application, for a handler that takes a [`Call`](crate::Call). What it
    /// answers, the node indicates.
    #[must_use]
    pub fn asked(self) -> Self {
        Self(Arc::new(move |number| {
            self.request(number).tagged(Tag::of_application(OF_OFFERS | number))
        }))
    }

    /// The request of that number.
    #[must_use]
    pub fn request(&self, number: u64) -> Envelope {
        (self.0)(number)
    }
}

/// Tells the numbers of what clients may ask for from those of what they are known to.
const OF_OFFERS: u64 = 1 << 32;

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offer({:?})", self.request(1).event())
    }
}

impl Workload {
    /// The application of `node` also triggers `event`, so long after the start, or asks it where its handler
    /// takes a [`Call`](crate::Call). Where the cluster has no such node, nothing happens.
    #[must_use]
    pub fn trigger<E: Event>(mut self, node: NodeId, at: Duration, event: &E) -> Self {
        self.inputs.push((node, at, Envelope::seal(event)));
        self
    }

    /// Clients may also ask for this, whichever node and whenever they like: each run of a simulation
    /// draws who does, how often, and when. `make` is given a number that no other request of the run
    /// has, from 1, which makes names and values that are told apart. Explorations and deployed nodes ask
    /// only for what is [triggered](Self::trigger).
    #[must_use]
    pub fn offer<E: Event>(mut self, make: impl Fn(u64) -> E + Send + Sync + 'static) -> Self {
        self.offers.push(Offer::of(make));
        self
    }

    /// Whether nothing is triggered, and nothing offered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.offers.is_empty()
    }

    /// What clients may ask for besides.
    #[must_use]
    pub fn offers(&self) -> &[Offer] {
        &self.offers
    }

    /// Everything that is triggered: where, how long after the start, and what.
    pub fn inputs(&self) -> impl Iterator<Item = &(NodeId, Duration, Envelope)> {
        self.inputs.iter()
    }
}
