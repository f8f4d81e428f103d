//! Deterministic simulation and exhaustive exploration of distributed algorithms.
//!
//! Read in this order:
//!
//! 1. [`Scenario`]: an algorithm with its model and its properties.
//! 2. [`Simulation`]: many timed runs with faults; every seed is a run, a failing one is shrunk.
//! 3. [`explore`]: every schedule of a small cluster; the shortest violation first.
//! 4. [`Stream`]: where the decisions of a run come from, and [`Schedule`], how they are kept.
//! 5. [`Trace`] and [`Diagram`]: what happened, for tools and for people.
//!
//! **Invariant:** equal schedule, equal bytes, on any machine. This crate knows no clock, no
//! socket, no runtime; it uses threads only to run independent seeds side by side.

mod action;
mod choice;
mod clock;
mod diagram;
mod explore;
mod follow;
mod network;
mod per_node;
mod plan;
mod queue;
mod quiet;
mod replay;
mod scenario;
mod schedule;
mod settings;
mod shrink;
mod simulation;
mod state;
mod trace;
mod world;

pub use choice::{About, Decision, Label, NotADecision, Stream};
pub use diagram::Diagram;
pub use explore::{Bounds, Counterexample, Explored, explore};
pub use replay::{Replay, replay};
pub use scenario::Scenario;
pub use schedule::{BadSchedule, Recorded, Schedule};
pub use settings::{Fault, Settings, Shape};
pub use shrink::{Shrunk, shrink};
pub use simulation::{Failure, Report, Simulation};
pub use trace::{Armed, Change, MessageId, Sent, Step, StepKind, Trace, changes};
pub use world::{Counts, Outcome, Violation, run};
