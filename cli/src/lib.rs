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
//! There a node runs by itself. An application that asks its node for something runs beside it:
//! [`App::client`]. The node has its settings, its admin port, its certificates and its end upon a signal as
//! ever.
//!
//! A program that wants to do all that by itself builds its nodes; every command still reads what these have
//! recorded and stored. Nobody looks after them then: a renewed bundle, or a list of revoked certificates, is
//! taken when the program hands it to
//! [`QuicTransport::renew`](transport_quic::QuicTransport::renew), an older list is refused after a restart if
//! [`QuicTransport::keeping_lists_in`](transport_quic::QuicTransport::keeping_lists_in) has a file, metrics are what it makes of
//! [`NodeHandle::status`](runtime::NodeHandle::status), and a signal ends it without a farewell unless it
//! listens.
//!
//! ```no_run
//! # use std::{sync::Arc, time::Duration};
//! use synod::algorithms::{Abd, register::abd};
//! use synod::runtime::{FileStore, NodeBuilder, Output};
//! use synod::transport_quic::{Bundle, Limits, QuicTransport};
//!
//! # async fn application() -> Result<(), Box<dyn std::error::Error>> {
//! let bundle = Bundle::read("bundles/n1.synod".as_ref())?;
//! let nodes = bundle.nodes().into_iter().collect();
//! let node = NodeBuilder::new(bundle.node, nodes, Abd::default)
//!     .transport(Arc::new(QuicTransport::new(&bundle, Limits::default())?))
//!     .store(Box::new(FileStore::new("/var/lib/synod/n1")))
//!     .record("abd", "n1.recording")
//!     .start()
//!     .await?;
//! let mut outputs = node.outputs();
//! node.trigger(&abd::Read { operation: 1 }).await?;
//! while let Some(output) = outputs.next().await {
//!     let Output::Event(indicated) = output else { continue };
//!     if let Ok(abd::Returned { output, .. }) = indicated.open() {
//!         println!("the register holds {output:?}");
//!         break;
//!     }
//! }
//! node.shutdown(Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```
//!
//! Read in this order: [`Algorithm`] and [`Context`], to write one; [`simulator::Scenario`], to
//! test it; [`runtime::NodeBuilder`] and [`transport_quic::QuicTransport`], to deploy it.

mod app;
mod args;
pub mod clients;
mod commands;
mod configured;
mod defect;
mod entry;
mod help;
mod look;
mod loopback;
mod operating;
mod printer;
mod problem;
mod terminal;

pub use app::App;
pub use synod_algorithms as algorithms;
pub use synod_core::event::Event;
pub use synod_core::*;
pub use synod_derive::FacadeEvent as Event;
pub use synod_runtime as runtime;
pub use synod_simulator as simulator;
pub use synod_transport_quic as transport_quic;
