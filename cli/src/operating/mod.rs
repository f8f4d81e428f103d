//! What an operator sees of a running node, and sets.

pub(crate) mod admin;
pub(crate) mod client;
mod file;
mod metrics;
mod openmetrics;
#[cfg(feature = "otel")]
pub(crate) mod otlp;
pub(crate) mod recordings;
pub(crate) mod renewal;
pub(crate) mod service;
pub(crate) mod settings;
