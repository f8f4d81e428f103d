//! The names of events that no algorithm of a node listens to: only who asks for one knows its type.

use std::collections::BTreeMap;

use super::Node;
use crate::event::EventId;
use crate::stack::Stack;

impl<T: Stack> Node<T> {
    /// From now on, the names of the events that handlers ask for are noted: for a host that shows them.
    pub fn name_events(&mut self) {
        self.ctx.named = Some(BTreeMap::new());
    }

    /// Takes the names that were noted since the last time, by identity.
    pub fn take_names(&mut self) -> BTreeMap<EventId, &'static str> {
        self.ctx.named.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
