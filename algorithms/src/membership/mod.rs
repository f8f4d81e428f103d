//! Who is there, and who wants to hear what.

pub mod gathering;
pub mod topics;
