//! Names of clusters, and the one form in which a certificate names a node.

use std::fmt;
use std::str::FromStr;

use synod_core::NodeId;

/// The name of a cluster: 1 to 32 lower-case letters, digits and inner hyphens.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Cluster(String);

/// A text that is not a cluster's name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{0}` is not a cluster: write 1 to 32 lower-case letters, digits and hyphens, \
     with no hyphen at either end"
)]
pub struct NotACluster(String);

impl Cluster {
    /// The one name that the certificate of `node` carries, such as `n1.demo.synod.internal`.
    #[must_use]
    pub fn certificate_name(&self, node: NodeId) -> String {
        format!("{node}.{self}{SUFFIX}")
    }

    /// The common name of the cluster's authority, such as `demo.synod.internal`.
    pub(crate) fn authority_name(&self) -> String {
        format!("{self}{SUFFIX}")
    }

    /// Reads what [`Cluster::authority_name`] wrote.
    pub(crate) fn of_authority(name: &str) -> Option<Self> {
        name.strip_suffix(SUFFIX)?.parse().ok()
    }
}

impl FromStr for Cluster {
    type Err = NotACluster;

    fn from_str(text: &str) -> Result<Self, NotACluster> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let hyphen_at_end = text.starts_with('-') || text.ends_with('-');
        let length = 1..=CLUSTER_BYTES_MAX;
        if length.contains(&text.len()) && text.bytes().all(plain) && !hyphen_at_end {
            return Ok(Self(String::from(text)));
        }
        Err(NotACluster(text.chars().take(64).collect()))
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whom a certificate names. There is exactly one way to write each, so names compare as bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Identity {
    pub(crate) node: NodeId,
    pub(crate) cluster: Cluster,
}

impl Identity {
    /// Reads what [`Cluster::certificate_name`] wrote, and nothing else.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (node, cluster) = name.strip_suffix(SUFFIX)?.split_once('.')?;
        let identity = Self { node: node.parse().ok()?, cluster: cluster.parse().ok()? };
        (identity.cluster.certificate_name(identity.node) == name).then_some(identity)
    }
}

const SUFFIX: &str = ".synod.internal";

const CLUSTER_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_name_has_one_form_only() {
        let demo: Cluster = "demo".parse().unwrap();
        let name = demo.certificate_name(NodeId(7));
        assert_eq!(name, "n7.demo.synod.internal");
        assert_eq!(Identity::parse(&name), Some(Identity { node: NodeId(7), cluster: demo }));
        for other in [
            "N7.demo.synod.internal",
            "n7.DEMO.synod.internal",
            "n7.demo.synod.internal.",
            "n07.demo.synod.internal",
            "*.demo.synod.internal",
            "n7.a.demo.synod.internal",
            "n7..synod.internal",
            "n0.demo.synod.internal",
            "n7.demo.synod.Internal",
            "demo.synod.internal",
            "",
        ] {
            assert_eq!(Identity::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_cluster_name_is_short_lower_case_and_has_no_outer_hyphen() {
        assert!("a".parse::<Cluster>().is_ok());
        assert!("eu-1".parse::<Cluster>().is_ok());
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "ä", &"a".repeat(33)] {
            assert!(bad.parse::<Cluster>().is_err(), "{bad}");
        }
    }
}
