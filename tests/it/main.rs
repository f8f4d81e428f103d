//! Tests across crates.

mod joining;
mod museum;
mod proxy;
mod published;
mod recording;
mod soak;
mod store;
mod three_worlds;
mod tidy;
mod world;
