//! Tests across crates.

mod bulk;
mod draining;
mod flow;
mod hung;
mod joining;
mod late_joiner;
mod museum;
mod network;
mod proxy;
mod published;
mod recording;
mod scenarios;
mod snapshots;
mod soak;
mod store;
mod three_worlds;
mod tidy;
mod upgrades;
mod world;
