//! What a node reacts to.

use synod_core::{Envelope, EventId, Input, NodeId};

use crate::underway::upon;

/// A message where it stands, or another input. Most are messages, and are made into inputs only for who has
/// to have one.
#[derive(Clone, Copy)]
pub(super) enum Upon<'a> {
    Message { from: NodeId, envelope: &'a Envelope },
    Input(&'a Input),
}

impl Upon<'_> {
    /// Who has sent it, if it is a message.
    pub(super) fn sender(self) -> Option<NodeId> {
        match self {
            Self::Message { from, .. } => Some(from),
            Self::Input(_) => None,
        }
    }

    /// The event, or what stands for one.
    #[inline]
    pub(super) fn event(self) -> EventId {
        match self {
            Self::Message { envelope, .. } => envelope.event(),
            Self::Input(input) => upon(input),
        }
    }

    pub(super) fn to_input(self) -> Input {
        match self {
            Self::Message { from, envelope } => Input::Deliver { from, envelope: envelope.clone() },
            Self::Input(input) => input.clone(),
        }
    }
}
