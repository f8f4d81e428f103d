//! The events of a transfer: those of the applications, and those on the wire.

use serde::{Deserialize, Serialize};
use synod_core::{Event, NodeId};

/// What a transfer came to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Every byte is stored.
    Done,
    /// The receiving application does not want it, or not the rest of it.
    Declined,
    /// The sending application has given it up.
    Cancelled,
    /// [`TRANSFERS_MAX`](super::TRANSFERS_MAX) are under way already, at the one end or the other.
    TooMany,
    /// The other end has said something that cannot be: more bytes than the transfer has, say.
    Broken,
}

/// Begins a transfer. From the application, which calls it `transfer` and keeps the bytes. After a
/// restart of the node it asks for the same again, and the transfer goes on.
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "bulk.send", local)]
pub struct Send {
    /// The receiver: a transfer to a node that is not there waits for it.
    pub to: NodeId,
    /// The name of the transfer, one for each receiver.
    pub transfer: u64,
    /// Bytes in all.
    pub size: u64,
}

/// Gives a transfer up. From the sending application.
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "bulk.cancel", local)]
pub struct Cancel {
    /// The receiver.
    pub to: NodeId,
    /// The name of the transfer.
    pub transfer: u64,
}

/// Indicates to the receiving application that a peer wants to send something. It answers with
/// [`Accept`] or [`Decline`].
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "bulk.offered", local)]
pub struct Offered {
    /// The sender.
    pub from: NodeId,
    /// The name of the transfer.
    pub transfer: u64,
    /// Bytes in all.
    pub size: u64,
}

/// Lets a transfer begin. From the receiving application.
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "bulk.accept", local)]
pub struct Accept {
    /// The sender.
    pub from: NodeId,
    /// The name of the transfer.
    pub transfer: u64,
    /// How many bytes the application has already, from the beginning on.
    pub at: u64,
}

/// Refuses a transfer, or the rest of it. From the receiving application.
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "bulk.decline", local)]
pub struct Decline {
    /// The sender.
    pub from: NodeId,
    /// The name of the transfer.
    pub transfer: u64,
}

/// Indicates to the sending application which bytes come next. It answers with [`Supply`], in the
/// order of asking. What is asked for again was lost with a link.
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "bulk.wanted", local)]
pub struct Wanted {
    /// The receiver.
    pub to: NodeId,
    /// The name of the transfer.
    pub transfer: u64,
    /// The place of the first byte.
    pub at: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// The bytes that were wanted. From the sending application.
#[derive(Event, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "bulk.supply", local)]
pub struct Supply {
    /// The receiver.
    pub to: NodeId,
    /// The name of the transfer.
    pub transfer: u64,
    /// The place of the first byte.
    pub at: u64,
    /// As many as were wanted.
    #[serde(with = "crate::transfer::blob")]
    pub bytes: Vec<u8>,
}

/// Indicates to the sending application how much is stored at the other end.
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "bulk.progress", local)]
pub struct Progress {
    /// The receiver.
    pub to: NodeId,
    /// The name of the transfer.
    pub transfer: u64,
    /// Bytes that are stored.
    pub stored: u64,
    /// Bytes in all.
    pub size: u64,
}

/// Indicates the next bytes to the receiving application, once in its life.
#[derive(Event, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "bulk.arrived", local)]
pub struct Arrived {
    /// The sender.
    pub from: NodeId,
    /// The name of the transfer.
    pub transfer: u64,
    /// The place of the first byte.
    pub at: u64,
    /// The bytes.
    #[serde(with = "crate::transfer::blob")]
    pub bytes: Vec<u8>,
}

/// Everything before a place is stored. From the receiving application; the sender waits for it.
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "bulk.stored", local)]
pub struct Stored {
    /// The sender.
    pub from: NodeId,
    /// The name of the transfer.
    pub transfer: u64,
    /// The place of the first byte that is not.
    pub at: u64,
}

/// Indicates to the application at either end that nothing more comes of a transfer.
#[derive(Event, Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[event(name = "bulk.ended", local)]
pub struct Ended {
    /// The other end.
    pub peer: NodeId,
    /// The name of the transfer.
    pub transfer: u64,
    /// What it came to.
    pub outcome: Outcome,
}

/// "May I?"
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bulk.open")]
pub(super) struct Open {
    pub(super) transfer: u64,
    pub(super) attempt: u64,
    pub(super) size: u64,
}

/// "From here on; so much is stored."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bulk.granted")]
pub(super) struct Granted {
    pub(super) transfer: u64,
    pub(super) attempt: u64,
    pub(super) at: u64,
    pub(super) stored: u64,
}

/// Bytes.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bulk.piece")]
pub(super) struct Piece {
    pub(super) transfer: u64,
    pub(super) attempt: u64,
    pub(super) at: u64,
    #[serde(with = "crate::transfer::blob")]
    pub(super) bytes: Vec<u8>,
}

/// "So much is stored."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bulk.credit")]
pub(super) struct Credit {
    pub(super) transfer: u64,
    pub(super) attempt: u64,
    pub(super) at: u64,
}

/// "I give up."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "bulk.over")]
pub(super) struct Over {
    pub(super) transfer: u64,
    pub(super) attempt: u64,
    pub(super) outcome: Outcome,
    pub(super) by_sender: bool,
}
