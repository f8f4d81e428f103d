//! Distributed algorithms, one file each, with what they assume, promise and cost on top.
//!
//! Begin with [`hello`], the smallest exchange of two nodes; then [`election`], [`wave`],
//! [`register`], [`commit`], [`consensus`], [`membership`] and [`transfer`].
//!
//! An algorithm here knows the model of `synod-core` and nothing else: no clock, no socket, no
//! thread. The same code is simulated, checked exhaustively, and deployed.

pub mod commit;
pub mod consensus;
pub mod election;
pub mod hello;
pub mod membership;
pub mod register;
pub mod transfer;
pub mod wave;

pub use commit::two_phase::TwoPhase;
pub use consensus::paxos::Paxos;
pub use election::bully::Bully;
pub use election::chang_roberts::ChangRoberts;
pub use hello::HelloWorld;
pub use membership::gathering::Gathering;
pub use membership::topics::Topics;
pub use register::abd::Abd;
pub use transfer::bulk::Bulk;
pub use wave::echo::Echo;

#[cfg(test)]
mod cost;
