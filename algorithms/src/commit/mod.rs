//! Atomic commitment: all nodes commit a transaction, or all abort it.

pub mod two_phase;
