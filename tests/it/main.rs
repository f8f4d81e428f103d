//! Tests across crates.

mod museum;
mod published;
mod recording;
mod three_worlds;
mod tidy;
mod world;
