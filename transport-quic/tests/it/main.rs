//! Transports on loopback, among themselves and against raw QUIC endpoints that misbehave.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, also in a helper"
)]

mod accepting;
mod answers;
mod bundles;
mod certificates;
mod endpoint;
mod exchange;
mod farewell;
mod fuzz;
mod greedy;
mod hostile;
mod links;
mod raw;
mod renewal;
mod revocation;
mod support;
mod versions;
