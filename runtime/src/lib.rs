//! A deployed node.
