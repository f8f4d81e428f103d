//! Peers over mutually authenticated QUIC.
//!
//! Read in this order:
//!
//! 1. [`Authority`], [`Credentials`], [`Bundle`]: who a node is, and the one file it needs.
//! 2. [`QuicTransport`]: the links of one node, as a [`Transport`](synod_core::Transport).
//! 3. [`Limits`]: every bound, and what a peer can cost at most.
//!
//! There is one connection per pair of nodes. On it: a control stream for hello and farewell, one
//! stream per lane and direction, and datagrams for events that may be lost. TLS is mutual and
//! 1.3 only; there is no insecure mode, no ticket and no early data. A certificate names exactly
//! one node, and both sides check it against their peer list.
//!
//! What a lost link had under way is lost with it, and both sides are told: nothing is sent
//! again on the next one.
//!
//! **Invariant:** this crate knows neither algorithms nor the runtime that hosts them.

mod accept;
mod control;
mod dial;
mod frame;
mod identity;
mod journal;
mod limits;
mod link;
mod outbox;
mod peers;
mod reader;
mod refusal;
mod session;
mod shared;
mod socket;
mod tls;
mod transport;

pub use identity::{
    Authority, Bundle, CertificateError, CertificateFacts, Cluster, Credentials, FileError,
    NotACluster, inspect,
};
pub use limits::Limits;
pub use transport::QuicTransport;
