//! A deployed node: an actor supervisor that hosts one handler actor per event type.
//!
//! ```text
//! NodeSupervisor                    restart policy, status, drain
//!  ├─ handler "bully.election" ..   drains the bounded queue of one event type
//!  ├─ link "n2" ..                  dials one peer, tells the machine when the link comes and goes
//!  ├─ clock                         fires timers
//!  └─ cell                          the machine: one step at a time, effects in order
//! ```
//!
//! Read in this order:
//!
//! 1. [`NodeBuilder`] and [`NodeHandle`]: how a node comes up, and what an application does with it.
//! 2. [`Limits`] and [`DropReason`]: every bound, and every way to lose something.
//! 3. [`Store`]: what survives a crash.
//! 4. [`PanicPolicy`]: what a bug in a handler does.
//! 5. [`MemoryNetwork`]: many nodes in one process.
//! 6. [`NodeBuilder::record`]: a run that can be replayed step by step.
//!
//! What a node promises:
//!
//! - Events of one lane of one peer are handled in the order of arrival, across event types;
//!   events of the application in the order of triggering. A link is up before what it carries is
//!   handled, and down after.
//! - Effects leave in the order of asking. None leaves if the handler panicked, and none leaves
//!   before the records asked for earlier are durable.
//! - What waits is bounded. What is dropped is counted under a [`DropReason`].
//! - A store that has failed stops the node.
//!
//! **Invariant:** this crate knows no network; a [`Transport`](synod_core::Transport) does.

#[cfg(panic = "abort")]
compile_error!("synod-runtime catches the panics of handlers: build with `panic = \"unwind\"`");

mod asks;
mod barrier;
mod builder;
mod busy;
mod cell;
mod clocks;
mod counters;
mod failure;
mod gate;
mod handle;
mod host;
mod inbox;
mod jobs;
mod limits;
mod link;
mod memory;
mod on_demand;
mod outgoing;
mod outputs;
mod pace;
mod queue;
mod recorder;
mod sequence;
mod shut_out;
mod standstill;
mod status;
mod store;
mod supervisor;
mod timers;
mod timings;

pub use builder::{NodeBuilder, StartError};
pub use counters::DropReason;
pub use failure::{DeadLetter, EndReason, PanicPolicy};
pub use handle::{AskError, NodeHandle, ShutdownReport, TriggerError};
pub use limits::Limits;
pub use memory::{MemoryNetwork, MemoryTransport};
pub use on_demand::RecordError;
pub use outputs::{Output, Outputs};
pub use status::{EventStatus, Handling, LaneStatus, PeerStatus, RecordingStatus, Status};
pub use store::{
    DirectoryDisk, FileStore, MemoryStore, Opened, Store, StoreError, check_owner, check_unfenced,
    check_unlocked, copy_store, inspect_store,
};
pub use timings::Timings;
