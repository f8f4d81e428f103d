//! Distributed algorithms as sets of event handlers over a state, with no I/O inside.
//!
//! Read in this order:
//!
//! 1. [`Event`]: data that travels between nodes or within one, and the [`Envelope`] it travels in.
//! 2. [`Algorithm`] and [`Handlers`]: which function runs upon which event.
//! 3. [`Context`]: what a handler may ask for. Nothing happens until the handler returns.
//! 4. [`Model`] and [`Property`]: what an algorithm assumes, and what it promises.
//! 5. [`Quorum`]: answers of distinct nodes to one question; [`Workload`]: what is asked of a
//!    cluster that has no application yet.
//! 6. [`Node`]: one deterministic step, `(state, now, input) -> (state, effects)`.
//! 7. [`Machine`], [`Transport`], [`Inbox`]: what a host holds and is held by.
//! 8. [`Recording`]: what a node was fed, kept so that it can be fed the same again.
//! 9. [`durable`]: the log of durable records, over any disk.
//!
//! **Invariant:** this crate knows no clock, thread, socket, file or random source of the world.

mod algorithm;
mod body;
mod catalogue;
mod context;
mod decoding;
pub mod durable;
mod encoding;
mod envelope;
mod envelopes;
pub mod event;
mod framed;
pub mod handler;
mod keyed;
mod machine;
mod model;
mod node;
mod peers;
mod property;
mod quorum;
mod random;
mod recording;
mod request;
mod schema;
mod stack;
mod symmetry;
mod transport;
mod varint;
mod workload;

pub use algorithm::{Algorithm, HandlerSet, Handlers, Order};
pub use catalogue::{BuildError, Catalogue, EventInfo, JobFn, Registration, Role};
pub use context::{Choices, Context, Effect, TimerId};
pub use envelope::{DecodeError, Envelope, EnvelopeRef, Instance, Lane, LaneId, Tag};
pub use envelopes::Envelopes;
pub use event::{Event, EventId, NodeId, PeerDown, PeerUp, Reason, Time};
pub use framed::Framed;
pub use handler::{Access, IntoHandler, Takes};
pub use keyed::Keyed;
pub use machine::{Machine, Watched};
pub use model::{Assumption, Faults, Links, Model, Timing, Tolerance, Topology};
pub use node::{
    Boot, Frame, Input, Node, Snapshot, SnapshotError, Snapshots, States, StatesWriter, StepError,
    Surroundings,
};
pub use peers::Peers;
pub use property::{
    Automaton, Cluster, Held, Kind, Member, Monitor, PANICKED, Property, Summary, Verdict,
};
pub use quorum::Quorum;
pub use random::Random;
pub use recording::{
    BadRecording, Fingerprint, Moment, Origin, RecordTooLarge, RecordedLife, RecordedStep,
    Recording, RecordingScan, RecordingWriter,
};
pub use request::{Call, Reply, Request, Ticket};
pub use schema::Schema;
pub use stack::Stack;
pub use symmetry::{Interchangeable, Nodes, Permutation, Renamer, Symmetry};
pub use synod_derive::Event;
pub use transport::{
    Acknowledgement, Closing, Hello, Inbox, LaneCounts, LinkChange, LinkStatus, Receipt, Refusal,
    Room, SendError, Sent, Transport, TransportError, WireEvent,
};
pub use workload::{Offer, Workload};
