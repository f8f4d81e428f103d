//! Shared memory over messages: registers that clients read and write at any node.

pub mod abd;
