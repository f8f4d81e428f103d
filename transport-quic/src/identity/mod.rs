//! Who a node is: names, certificates, the authority that issues them, and the files they are in.
//!
//! Knows nothing of sockets or connections.

mod bundle;
mod certificate;
mod date;
mod facts;
mod file;
mod key;
mod name;
mod revocation;
mod taken;
mod trust;
mod x509;

pub use bundle::Bundle;
pub(crate) use bundle::Member;
pub use certificate::{Authority, CertificateError, Credentials};
pub use facts::{CertificateFacts, inspect};
pub use file::FileError;
pub use key::KeyKind;
pub use name::{Cluster, NotACluster};
pub use revocation::Revocations;
pub use taken::TakenLists;
pub(crate) use trust::{Side, Trust};
