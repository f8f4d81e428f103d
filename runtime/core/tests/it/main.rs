//! What `synod-core` promises to the author of an algorithm, and to the host of a node.

mod asks;
mod build;
mod decoding;
mod determinism;
mod envelopes;
mod gathering;
mod instances;
mod kit;
mod purity;
mod recordings;
mod recovery;
mod refusals;
mod refused;
mod shapes;
mod snapshots;
mod steps;
mod timers;
