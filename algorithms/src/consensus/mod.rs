//! Consensus: the nodes choose one of the values that are proposed.

pub mod paxos;
