//! Tests across crates.

mod three_worlds;
mod tidy;
mod world;
