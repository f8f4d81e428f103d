//! Whole nodes in one process.

mod durability;
mod events;
mod failures;
mod links;
mod ordering;
mod shutdown;
mod support;
mod throughput;
