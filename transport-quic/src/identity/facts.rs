//! What a certificate says.

use std::fmt;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use synod_core::NodeId;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use super::certificate::CertificateError;
use super::date;
use super::name::{Cluster, Identity};

/// What a certificate says, without a word on whether it is to be believed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFacts {
    /// The node that it names, if it names exactly one and in the agreed form.
    pub node: Option<NodeId>,
    /// The cluster that it names; an authority's certificate names a cluster and no node.
    pub cluster: Option<Cluster>,
    /// Whether it is an authority's.
    pub is_authority: bool,
    /// Every alternative name in it, as text.
    pub names: Vec<String>,
    /// The serial number in hexadecimal.
    pub serial: String,
    /// The SHA-256 of its public key (the SPKI) in hexadecimal, 64 digits.
    pub fingerprint: String,
    /// The first 40 digits of its authority's fingerprint, if it tells.
    pub issuer: Option<String>,
    /// From when on it is valid.
    pub not_before: SystemTime,
    /// Until when it is valid.
    pub not_after: SystemTime,
}

/// Reads the first certificate of a PEM text.
///
/// # Errors
///
/// [`CertificateError`] if there is none, or if it is damaged.
pub fn inspect(pem: &str) -> Result<CertificateFacts, CertificateError> {
    CertificateFacts::of(&parse_pem(pem)?)
}

/// The first certificate of a PEM text, as DER.
pub(crate) fn parse_pem(pem: &str) -> Result<CertificateDer<'static>, CertificateError> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| CertificateError::new(format!("this is not a PEM certificate: {error}")))
}

impl CertificateFacts {
    /// How long it is still valid; zero if it has expired.
    #[must_use]
    pub fn remaining(&self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or(Duration::ZERO)
    }

    /// Enough of the fingerprint to tell two keys apart: 16 digits.
    #[must_use]
    pub fn short_fingerprint(&self) -> String {
        short(&self.fingerprint)
    }

    pub(crate) fn of(der: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let damaged = || CertificateError::new("the certificate is damaged");
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| damaged())?;
        if !rest.is_empty() {
            return Err(damaged());
        }
        let names = alternative_names(&parsed);
        let identity = sole_identity(&names);
        let is_authority = parsed.is_ca();
        let authority_of = || parsed.subject().iter_common_name().next()?.as_str().ok();
        let cluster = match &identity {
            Some(identity) => Some(identity.cluster.clone()),
            None if is_authority => authority_of().and_then(Cluster::of_authority),
            None => None,
        };
        Ok(Self {
            node: identity.map(|identity| identity.node),
            cluster,
            is_authority,
            names: names.into_iter().map(|(_, text)| text).collect(),
            serial: hex(parsed.raw_serial()),
            fingerprint: sha256(parsed.public_key().raw),
            issuer: issuer(&parsed),
            not_before: date::from_unix(parsed.validity().not_before.timestamp()),
            not_after: date::from_unix(parsed.validity().not_after.timestamp()),
        })
    }
}

impl fmt::Display for CertificateFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = || String::from("unknown");
        writeln!(f, "names        {}", self.names.join(", "))?;
        writeln!(f, "serial       {}", self.serial)?;
        writeln!(f, "fingerprint  {}", self.fingerprint)?;
        writeln!(f, "authority    {}", self.issuer.clone().unwrap_or_else(unknown))?;
        writeln!(f, "valid from   {}", date::text(self.not_before))?;
        write!(f, "valid until  {}", date::text(self.not_after))
    }
}

/// Every alternative name, with whether it is a DNS name.
fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<(bool, String)> {
    let mut names = Vec::new();
    for extension in certificate.iter_extensions() {
        if let ParsedExtension::SubjectAlternativeName(list) = extension.parsed_extension() {
            names.extend(list.general_names.iter().map(|name| match name {
                GeneralName::DNSName(dns) => (true, String::from(*dns)),
                other => (false, other.to_string()),
            }));
        }
    }
    names
}

/// The identity, if there is one name, a DNS name, of the agreed form.
fn sole_identity(names: &[(bool, String)]) -> Option<Identity> {
    match names {
        [(true, name)] => Identity::parse(name),
        _ => None,
    }
}

fn issuer(certificate: &X509Certificate<'_>) -> Option<String> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(key) => {
            key.key_identifier.as_ref().map(|identifier| hex(identifier.0))
        }
        _ => None,
    })
}

/// The first 16 digits: enough for an operator to compare.
pub(crate) fn short(fingerprint: &str) -> String {
    fingerprint.chars().take(16).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
