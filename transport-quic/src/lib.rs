//! Peers over mutually authenticated QUIC.
//!
//! Read in this order:
//!
//! 1. [`Authority`], [`Credentials`], [`Bundle`]: who a node is, and the one file it needs.
//! 2. [`QuicTransport`]: the links of one node, as a [`Transport`](synod_core::Transport).
//! 3. [`Limits`]: every bound, and what a peer can cost at most.
//!
//! There is one connection per pair of nodes. On it: a control stream for hello, acknowledgements
//! and farewell, one stream per lane and direction, and datagrams for events that may be lost. TLS
//! is mutual and 1.3 only; there is no insecure mode, no ticket and no early data. A certificate
//! names exactly one node, and both sides check it against their peer list.
//!
//! A node needs the addresses of a few peers, its seeds: each tells the others where it listens, and
//! passes on what it has heard. An address is a hint; who is there, the certificate says.
//!
//! A link is a session of two lives of two nodes, and outlasts its connections: when one is lost,
//! both sides dial, the next one takes up where it stopped, and neither host is told. Every event
//! of a lane arrives once and in order for as long as the link lasts. It ends, and both hosts are
//! told, when
//!
//! - one of them ends it, leaves, or comes back as another life;
//! - a peer breaks the protocol, or more is kept for it than [`Limits::outbox_bytes_max`];
//! - no connection comes for [`Limits::session_grace`], or the system of the peer's machine says
//!   that nobody listens there any more.
//!
//! What the peer had not acknowledged then is dropped and counted. It may have arrived.
//!
//! **Invariant:** this crate knows neither algorithms nor the runtime that hosts them.

mod accept;
mod addresses;
mod allowance;
mod channel;
mod control;
mod dial;
mod engine;
mod expiry;
mod frame;
mod gateway;
mod identity;
mod journal;
mod keep;
mod life;
mod limits;
mod link;
mod outlet;
mod peers;
mod probe;
mod random;
mod reader;
mod refusal;
mod renewal;
mod serve;
mod session;
mod shared;
mod socket;
mod tls;
mod transport;
mod versions;

pub use identity::{
    Authority, Bundle, CertificateError, CertificateFacts, Cluster, Credentials, FileError,
    KeyKind, NotACluster, Revocations, TakenLists, inspect,
};
pub use limits::Limits;
pub use probe::{Presence, granted_buffer_bytes, probe};
pub use random::random_bits;
pub use refusal::refusal_kinds;
pub use transport::QuicTransport;
