//! Large values from one node to another.

mod blob;
pub mod bulk;
