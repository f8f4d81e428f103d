//! Write a distributed algorithm once, as a set of event handlers over a state. The same code
//! runs in a deterministic simulator, under an exhaustive checker, and as real nodes over mutually
//! authenticated QUIC.
//!
//! This crate is the one to depend on: it exports the others, and [`App`], which gives a program
//! of your own every command of the binary `synod`:
//!
//! ```no_run
//! # use synod::algorithms::Bully as MyElection;
//! fn main() -> std::process::ExitCode {
//!     synod::App::new().algorithm::<MyElection>().run()
//! }
//! ```
//!
//! Read in this order: [`Algorithm`] and [`Context`], to write one; [`simulator::Scenario`], to
//! test it; [`runtime::NodeBuilder`] and [`transport_quic::QuicTransport`], to deploy it.

mod app;
mod args;
pub mod clients;
mod commands;
mod entry;
mod help;
mod loopback;
mod operating;
mod printer;
mod problem;

pub use app::App;
pub use synod_algorithms as algorithms;
pub use synod_core::event::Event;
pub use synod_core::*;
pub use synod_derive::FacadeEvent as Event;
pub use synod_runtime as runtime;
pub use synod_simulator as simulator;
pub use synod_transport_quic as transport_quic;
