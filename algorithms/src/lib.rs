//! The library of algorithms.
