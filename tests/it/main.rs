//! Tests across crates.

mod museum;
mod published;
mod recording;
mod store;
mod three_worlds;
mod tidy;
mod world;
