//! Deterministic simulation and exhaustive exploration of distributed algorithms.
//!
//! Read in this order:
//!
//! 1. [`Scenario`]: an algorithm with its model and its properties.
//! 2. [`Simulation`]: many timed runs with faults; every seed is a run, a failing one is shrunk.
//! 3. [`explore`] and [`Exploration`]: every schedule of a small cluster; the shortest violation
//!    first, or depth first, or one run for each order of dependent events; runs without end.
//! 4. [`Stream`]: where the decisions of a run come from, and [`Schedule`], how they are kept.
//! 5. [`Trace`] and [`Diagram`]: what happened, for tools and for people; [`convert`] writes it for
//!    other tools; [`Comparison`]: two runs side by side.
//! 6. [`replay_recording`] and [`merge`]: what a deployed node was fed, once more.
//! 7. [`why`]: which step of a failing run decides it; [`Script`]: a run as a test; [`measure`].
//! 8. [`SimulatedDisk`]: a disk that loses, tears, lies and rots, also for tests of its own.
//!
//! **Invariant:** equal schedule, equal bytes, on any machine. This crate knows no clock, no
//! socket, no runtime; it uses threads only to run independent seeds side by side.

mod action;
mod audit;
mod choice;
mod clock;
mod compare;
mod convert;
mod cores;
mod diagram;
mod disk;
mod explore;
mod failure;
mod follow;
pub mod history;
mod measure;
mod merge;
mod network;
mod overdue;
mod per_node;
mod plan;
mod playback;
mod queue;
mod quiet;
mod replay;
mod runnable;
mod scenario;
mod schedule;
mod script;
mod settings;
mod shown;
mod shrink;
mod side;
mod simulation;
mod strategy;
mod testing;
mod trace;
mod treason;
mod underway;
mod why;
mod world;

pub use audit::Divergence;
pub use choice::{About, Decision, Label, NotADecision, Stream};
pub use compare::{Comparison, Likeness, Pair, SideBySide};
pub use convert::{Format, convert};
pub use diagram::Diagram;
pub use disk::{Decide, DiskFault, DiskFaults, Injected, SimulatedDisk};
pub use explore::{
    BadWindow, Bounds, CannotReduce, Counterexample, Estimate, Exploration, Explored, Folded,
    Limit, NotSymmetric, Progress, Untrue, Window, explore,
};
pub use failure::{Drawn, Failure};
pub use measure::{Measured, Measures, Spread, measure};
pub use merge::{CannotMerge, Merged, merge};
pub use playback::{CannotReplay, Deviation, Replayed, replay_recording};
pub use replay::{Replay, replay};
pub use scenario::Scenario;
pub use schedule::{BadSchedule, Recorded, Schedule};
pub use script::Script;
pub use settings::{Fault, Impossible, LinkDelay, NotALink, Settings, Shape};
pub use shrink::{Shrunk, shrink};
pub use simulation::{Report, Simulation};
pub use strategy::Strategy;
pub use trace::{
    Armed, BadTrace, Change, Header, MessageId, Sent, Source, Step, StepKind, Trace, changes,
};
pub use underway::{Running, Underway};
pub use why::{Jump, NothingViolated, Point, Why, why};
pub use world::{Counts, Outcome, Violation, run};
