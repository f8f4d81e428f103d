//! Whole nodes in one process.

mod acknowledgements;
mod asks;
mod durability;
mod events;
mod failures;
mod killed;
mod leaving;
mod links;
mod ordering;
mod recording;
mod shutdown;
mod support;
mod throughput;
mod timings;
