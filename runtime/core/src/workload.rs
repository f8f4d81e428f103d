//! What an application asks of an algorithm, when there is none.

use std::time::Duration;

use crate::envelope::Envelope;
use crate::event::{Event, NodeId};

/// What the applications of a cluster trigger, and when: a client's operations, a beginning.
///
/// An algorithm that does nothing unasked declares one, so that tools have something to run.
#[derive(Clone, Debug, Default)]
pub struct Workload(Vec<(NodeId, Duration, Envelope)>);

impl Workload {
    /// The application of `node` also triggers `event`, so long after the start. Where the
    /// cluster has no such node, nothing happens.
    #[must_use]
    pub fn trigger<E: Event>(mut self, node: NodeId, at: Duration, event: &E) -> Self {
        self.0.push((node, at, Envelope::seal(event)));
        self
    }

    /// Whether nothing is triggered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything that is triggered: where, how long after the start, and what.
    pub fn inputs(&self) -> impl Iterator<Item = &(NodeId, Duration, Envelope)> {
        self.0.iter()
    }
}
