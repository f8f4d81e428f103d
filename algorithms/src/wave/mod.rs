//! Waves: something goes out to every node of a network, and comes back when it has been everywhere.

pub mod echo;
