//! What `cert` takes.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use synod_core::NodeId;

/// For how many days something can be valid: a hundred years at most.
const DAYS: RangeInclusive<i64> = 1..=36_500;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  synod cert init ca --cluster demo
  synod cert issue --ca ca n1=10.0.0.1:7400 n2=10.0.0.2:7400 n3=10.0.0.3:7400
  synod cert issue --ca ca n1=10.0.0.1:7400 n2=10.0.0.2:7400 n3 n4 n5     two seeds
  synod cert inspect n1.synod
  synod cert check *.synod --before 30
  synod cert renew --ca ca n1.synod
  synod cert revoke --ca ca n2.synod")]
pub(crate) enum Cert {
    /// Make the authority of a new cluster.
    Init(CertInit),
    /// Issue one bundle for each node: its identity, its key, and whom it trusts.
    Issue(CertIssue),
    /// Say what a bundle or a certificate holds.
    Inspect(CertInspect),
    /// Say which certificates end soon, or are of no use to the node of their bundle. The exit code is 0 if none is,
    /// and 1 if one must be renewed, or an authority that a bundle trusts ends.
    Check(CertCheck),
    /// Give bundles a new certificate and a new key, also if theirs have expired.
    Renew(CertRenew),
    /// Let bundles trust one more authority, as when another one is to take over.
    Trust(CertTrust),
    /// Take certificates back: whoever has the new list beside its bundle refuses them, also on
    /// links that are up.
    Revoke(CertRevoke),
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod cert init ca
  synod cert init orders --cluster orders --days 365")]
pub(crate) struct CertInit {
    /// The directory for `ca.pem` and `ca.key`.
    pub(crate) directory: PathBuf,
    /// The cluster's name: lower-case letters, digits and hyphens.
    #[arg(long, default_value = "demo")]
    pub(crate) cluster: String,
    /// How long the authority is valid, in days.
    #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(DAYS))]
    pub(crate) days: u32,
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod cert issue --ca ca n1=10.0.0.1:7400 n2=10.0.0.2:7400 n3=10.0.0.3:7400
  synod cert issue --ca ca --out bundles n1=10.0.0.1:7400 n2 n3 n4   one seed")]
pub(crate) struct CertIssue {
    /// Each node with its address, as `n1=10.0.0.1:7400`. Together they are the cluster. A node
    /// without one, as `n3` or `n3=:7401`, listens on every interface, on UDP port 7400 unless
    /// given, 0 being any; the others learn from those that have an address, the seeds, where it is.
    #[arg(required = true, value_parser = member)]
    pub(crate) nodes: Vec<(NodeId, String)>,
    /// The directory of the authority.
    #[arg(long, default_value = "ca")]
    pub(crate) ca: PathBuf,
    /// The directory for the bundles.
    #[arg(long, default_value = ".")]
    pub(crate) out: PathBuf,
    /// How long the certificates are valid, in days. None is valid for longer than its authority.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(DAYS))]
    pub(crate) days: u32,
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod cert inspect n1.synod
  synod cert inspect ca/ca.pem --json")]
pub(crate) struct CertInspect {
    /// A bundle, a certificate as PEM, or a list of revoked certificates (.crl).
    pub(crate) file: PathBuf,
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod cert check n1.synod ca/ca.pem
  synod cert check n1.synod n2.synod n3.synod --before 14")]
pub(crate) struct CertCheck {
    /// Bundles, or certificates as PEM.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// How many days a certificate, and those of the authorities in a bundle, must still be valid.
    #[arg(long, default_value_t = 30)]
    pub(crate) before: u32,
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod cert renew --ca ca n1.synod
  synod cert renew --ca ca n1.synod n2.synod n3.synod --days 30")]
pub(crate) struct CertRenew {
    /// The bundles, which are replaced as a whole.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The directory of the authority. Bundles that do not trust it yet will.
    #[arg(long, default_value = "ca")]
    pub(crate) ca: PathBuf,
    /// How long the certificates are valid, in days. None is valid for longer than its authority.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(DAYS))]
    pub(crate) days: u32,
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod cert trust --ca next n1.synod
  synod cert trust --ca next n1.synod n2.synod n3.synod

At the end, when every node has a certificate of it, --only drops the authorities before.")]
pub(crate) struct CertTrust {
    /// The bundles, which are replaced as a whole.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Trust no other authority any more. A bundle whose own certificate is of another one is refused.
    #[arg(long)]
    pub(crate) only: bool,
    /// The directory of the authority.
    #[arg(long, default_value = "ca")]
    pub(crate) ca: PathBuf,
}

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod cert revoke --ca ca n2.synod
  synod cert revoke --ca ca --serial 3f0c5b8e7a9d41d29b5c6e7f8091a2b3

The list is revoked.crl beside the authority. It is signed and holds no secret: copy it beside every
bundle. A running node takes it over within seconds. Each list has a higher number than the one
before, and no node goes back to a lower one.")]
pub(crate) struct CertRevoke {
    /// Bundles, or certificates as PEM, whose certificate is taken back.
    #[arg(required_unless_present = "serials")]
    pub(crate) files: Vec<PathBuf>,
    /// A certificate's serial number, as logs and `cert inspect` show it. May be repeated.
    #[arg(long = "serial")]
    pub(crate) serials: Vec<String>,
    /// The directory of the authority that has issued them.
    #[arg(long, default_value = "ca")]
    pub(crate) ca: PathBuf,
}

/// Reads `n1=10.0.0.1:7400`, or `n1`.
fn member(text: &str) -> Result<(NodeId, String), String> {
    let (node, address) = text.split_once('=').unwrap_or((text, LISTEN_ANYWHERE));
    if let Some(port) = address.strip_prefix(':') {
        let node = node.parse::<NodeId>().map_err(|error| error.to_string())?;
        let port = port.parse::<u16>().map_err(|_| format!("`{port}` is no port"))?;
        return Ok((node, format!(":{port}")));
    }
    seed(&format!("{node}={address}"))
}

/// Where a node listens that is given no address.
const LISTEN_ANYWHERE: &str = ":7400";

/// Reads `n1=10.0.0.1:7400`.
pub(crate) fn seed(text: &str) -> Result<(NodeId, String), String> {
    let (node, address) = text.split_once('=').ok_or("expected NODE=HOST:PORT")?;
    let node = node.parse::<NodeId>().map_err(|error| error.to_string())?;
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(port) if 0 < port && !address.starts_with(':') => Ok((node, String::from(address))),
        _ => Err(format!("`{address}` is no address: expected HOST:PORT, with a port above 0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_and_nonsense_is_refused() {
        assert_eq!(member("n1=a.example:7400"), Ok((NodeId(1), "a.example:7400".into())));
        assert_eq!(member("n1"), Ok((NodeId(1), ":7400".into())));
        assert_eq!(member("n1=:7401"), Ok((NodeId(1), ":7401".into())));
        for wrong in ["n01", "n1=:x", "n01=a:1", "n1=a", "n1=a:0", "n1=a:99999", "1=a:1"] {
            assert!(member(wrong).is_err(), "{wrong}");
        }
    }
}
