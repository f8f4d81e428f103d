//! What is seen of the nodes' states.

use std::collections::BTreeMap;

use serde_json::Value;
use synod_core::{Cluster, NodeId, Stack, Summary};

use super::World;
use crate::shown::data_of;
use crate::trace::{Step, StepKind, Tracer, changes};

/// A node's state in short, as it serializes, and else as `Debug` writes it if it is looked at.
pub(super) type Seen = (Summary, Option<Value>, Option<String>);

impl<T: Stack> World<'_, T> {
    /// What a trace compares of a live node before it acts. A node that comes back is what it was when it
    /// crashed: its first step tells what it has forgotten.
    #[cold]
    pub(super) fn seen_before(&mut self, node: NodeId) -> Box<Seen> {
        if let Some(seen) = self.lost_from_sight.remove(&node) {
            return seen;
        }
        // What is compared whole need not be taken apart.
        let may_look = self.trace.as_ref().is_some_and(Tracer::may_look);
        Box::new(self.seen(node, may_look && self.states.is_none()))
    }

    /// Takes note of what a node is as it crashes.
    #[cold]
    pub(super) fn lose_from_sight(&mut self, node: NodeId) {
        if self.trace.is_some() && self.members[node].node.is_some() {
            let seen = self.seen_before(node);
            self.lost_from_sight.insert(node, seen);
        }
    }

    fn seen(&mut self, node: NodeId, is_looked_at: bool) -> Seen {
        let Some(held) = &self.members[node].node else { return Seen::default() };
        let (state, summary) = (held.stack(), held.stack().summary());
        let data = self.scenario.serialized(state);
        let is_looked_at = is_looked_at && data.is_none();
        let text = is_looked_at.then(|| self.scenario.written(state));
        if let (Some(text), Some(trace)) = (&text, &mut self.trace) {
            trace.look(text.len());
        }
        (summary, data, text)
    }

    /// Keeps the state after a step, if states are to be compared.
    fn keep_state(&mut self, node: NodeId) {
        let (Some(states), Some(trace)) = (&mut self.states, &self.trace) else { return };
        if let Some(held) = &self.members[node].node
            && states.may_look(trace.len())
        {
            states.keep(trace.len(), self.scenario.written(held.stack()));
        }
    }

    /// The state of each live node, in short if it says how.
    pub(super) fn shown(&self) -> BTreeMap<NodeId, String> {
        let short = |state: &T| Some(state.summary()).filter(|it| !it.is_empty());
        let told = |state: &T| {
            short(state).map_or_else(|| self.scenario.written(state), |it| it.to_string())
        };
        let cluster = Cluster::new(self.members.all());
        cluster.live().map(|(node, state)| (node, told(state))).collect()
    }

    /// The node of the last step, and all of its state where it also has a summary.
    pub(super) fn broken(&mut self) -> Option<(NodeId, Value)> {
        let node = self.trace.as_mut()?.last_mut()?.node?;
        let state = self.members[node].node.as_ref()?.stack();
        (!state.summary().is_empty()).then(|| (node, self.scenario.show(state)))
    }

    #[cold]
    pub(super) fn tell_changes(&mut self, node: NodeId, step: &mut Step, before: &Seen) {
        let (summary, data, text) = before;
        let (summary_now, data_now, text_now) = self.seen(node, text.is_some());
        let is_new = step.kind == StepKind::Start;
        let tells = *summary != summary_now || is_new;
        step.state = (tells && !summary_now.is_empty()).then(|| summary_now.to_string());
        step.changes = match (data, data_now, text, text_now) {
            (_, Some(new), ..) if is_new => changes(&Value::Null, &new),
            (.., Some(new)) if is_new => changes(&Value::Null, &data_of(&new)),
            (Some(old), Some(new), ..) => changes(old, &new),
            (.., Some(old), Some(new)) if *old != new => changes(&data_of(old), &data_of(&new)),
            _ => Vec::new(),
        };
        self.keep_state(node);
    }
}
