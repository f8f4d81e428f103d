//! Tests across crates.

mod museum;
mod recording;
mod three_worlds;
mod tidy;
mod world;
