//! Leader election: one node is chosen, and every node learns which.

pub mod bully;
pub mod chang_roberts;
