//! What a certificate says.

use std::fmt;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use synod_core::NodeId;

use super::certificate::CertificateError;
use super::date;
use super::key::KeyKind;
use super::name::{Cluster, Identity};
use super::x509::{self, Name};
use crate::refusal::printable;

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
    /// The kind of its public key.
    pub key: KeyKind,
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
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| {
        let words = pem_fault(&error);
        CertificateError::new(format!("this is not a PEM certificate: {words}"))
    })
}

/// What is wrong with a PEM text. The library's own words have its lines as numbers.
pub(crate) fn pem_fault(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => {
            String::from("its end is missing, the line that begins with -----END")
        }
        pem::Error::IllegalSectionStart { .. } => {
            String::from("the line that begins with -----BEGIN is damaged")
        }
        pem::Error::NoItemsFound => String::from("there is none in it"),
        other => other.to_string(),
    }
}

impl CertificateFacts {
    /// How long it is still valid; zero if it has expired.
    #[must_use]
    pub fn remaining(&self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or(Duration::ZERO)
    }

    /// From when on and until when it is valid, as people read it: `2026-11-19T09:03:24Z`.
    #[must_use]
    pub fn validity(&self) -> [String; 2] {
        [self.not_before, self.not_after].map(date::text)
    }

    /// Enough of the fingerprint to tell two keys apart: 16 digits.
    #[must_use]
    pub fn short_fingerprint(&self) -> String {
        short(&self.fingerprint)
    }

    pub(crate) fn of(der: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let damaged = |_| CertificateError::new("the certificate is damaged");
        let read = x509::certificate(der).map_err(damaged)?;
        let key = KeyKind::of(read.public_key).map_err(damaged)?;
        let identity = sole_identity(&read.names);
        let cluster = match &identity {
            Some(identity) => Some(identity.cluster.clone()),
            None if read.is_authority => read.common_name.and_then(Cluster::of_authority),
            None => None,
        };
        Ok(Self {
            node: identity.map(|identity| identity.node),
            cluster,
            is_authority: read.is_authority,
            names: read.names.iter().map(name_text).collect(),
            serial: hex(read.serial),
            key,
            fingerprint: sha256(read.public_key),
            issuer: read.authority_key.map(hex),
            not_before: read.not_before,
            not_after: read.not_after,
        })
    }
}

impl fmt::Display for CertificateFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = || String::from("unknown");
        writeln!(f, "names        {}", self.names.join(", "))?;
        writeln!(f, "serial       {}", self.serial)?;
        writeln!(f, "key          {}", self.key)?;
        writeln!(f, "fingerprint  {}", self.fingerprint)?;
        writeln!(f, "authority    {}", self.issuer.clone().unwrap_or_else(unknown))?;
        let [from, until] = self.validity();
        writeln!(f, "valid from   {from}")?;
        write!(f, "valid until  {until}")
    }
}

/// A name for people, who must not be misled by what stands in it.
fn name_text(name: &Name<'_>) -> String {
    match name {
        Name::Dns(dns) => printable(dns),
        Name::Other(kind, bytes) => {
            format!("kind {kind}: {}", printable(&String::from_utf8_lossy(bytes)))
        }
    }
}

/// The identity, if there is one name, a DNS name, of the agreed form.
fn sole_identity(names: &[Name<'_>]) -> Option<Identity> {
    match names {
        [Name::Dns(name)] => Identity::parse(name),
        _ => None,
    }
}

/// The first 16 digits: enough for an operator to compare.
pub(crate) fn short(fingerprint: &str) -> String {
    fingerprint.chars().take(16).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}
