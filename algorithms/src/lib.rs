//! Distributed algorithms, one file each, with what they assume, promise and cost on top.
//!
//! Begin with [`hello`], the smallest exchange of two nodes; then [`election`].
//!
//! An algorithm here knows the model of `synod-core` and nothing else: no clock, no socket, no
//! thread. The same code is simulated, checked exhaustively, and deployed.

pub mod election;
pub mod hello;

pub use election::bully::Bully;
pub use election::chang_roberts::ChangRoberts;
pub use hello::HelloWorld;
