//! A cluster's own authority, and the certificates that it issues.
//!
//! The authority is a key in two files on one machine; no service runs. A certificate names one
//! node of one cluster and nothing else: addresses change, identities do not.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use synod_core::NodeId;
use time::OffsetDateTime;

use super::facts::{CertificateFacts, inspect, parse_pem, pem_fault, sha256};
use super::file::{self, FileError};
use super::name::Cluster;
use super::revocation::Revocations;

/// A certificate cannot be made, or is not what it should be; in words for the operator.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct CertificateError(String);

impl CertificateError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<rcgen::Error> for CertificateError {
    fn from(error: rcgen::Error) -> Self {
        Self(format!("the certificate cannot be made: {error}"))
    }
}

/// A certificate and its private key, both as PEM. `Debug` hides the key.
#[derive(Clone, Eq, PartialEq)]
pub struct Credentials {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key.
    pub key_pem: String,
}

impl Credentials {
    /// What the certificate says.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] if it is damaged.
    pub fn facts(&self) -> Result<CertificateFacts, CertificateError> {
        inspect(&self.certificate_pem)
    }

    /// The certificate, and those behind it.
    pub(crate) fn chain(&self) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(self.certificate_pem.as_bytes());
        chain.collect::<Result<_, _>>().map_err(|error| {
            CertificateError(format!("this is not a PEM certificate: {}", pem_fault(&error)))
        })
    }

    /// The key, for signatures in a handshake.
    pub(crate) fn key(
        &self,
        provider: &CryptoProvider,
    ) -> Result<Arc<dyn SigningKey>, CertificateError> {
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(|it| {
            CertificateError(format!("this is not a PEM private key: {}", pem_fault(&it)))
        })?;
        let loaded = provider.key_provider.load_private_key(key);
        loaded.map_err(|error| CertificateError(format!("the key cannot be used: {error}")))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { certificate_pem, key_pem: _ } = self;
        f.debug_struct("Credentials")
            .field("certificate_pem", certificate_pem)
            .finish_non_exhaustive()
    }
}

/// The authority of one cluster: whoever holds its key says who is a node. `Debug` hides the key.
pub struct Authority {
    cluster: Cluster,
    facts: CertificateFacts,
    credentials: Credentials,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The file of its key, in its directory.
    pub const KEY_FILE: &str = "ca.key";

    /// Makes an authority for `cluster` that is valid for `valid` from now on.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] if the name is not a cluster's, or the time is out of range.
    pub fn new(cluster: &str, valid: Duration) -> Result<Self, CertificateError> {
        let cluster: Cluster =
            cluster.parse().map_err(|error| CertificateError(format!("{error}")))?;
        let mut params = authority_params(&cluster);
        complete(&mut params, until(valid)?)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        Self::from_pem(&certificate.pem(), &key.serialize_pem())
    }

    /// Takes an authority back from its certificate and key.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] if they are damaged, do not belong together, or are not those of a
    /// cluster's authority.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, CertificateError> {
        let facts = inspect(certificate_pem)?;
        let credentials = Credentials {
            certificate_pem: String::from(certificate_pem),
            key_pem: String::from(key_pem),
        };
        let key = read_key(key_pem)?;
        if sha256(&key.subject_public_key_info()) != facts.fingerprint {
            return Err(CertificateError::new("the key is not the key of this certificate"));
        }
        let cluster = match (&facts.cluster, facts.is_authority) {
            (Some(cluster), true) => cluster.clone(),
            _ => return Err(CertificateError::new("this is not the certificate of an authority")),
        };
        let issuer = Issuer::new(authority_params(&cluster), key);
        Ok(Self { cluster, facts, credentials, issuer })
    }

    /// Issues a certificate for `node`, with a new key. It ends with the authority at the latest.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] if the authority has expired, or the time is out of range.
    pub fn issue(&self, node: NodeId, valid: Duration) -> Result<Credentials, CertificateError> {
        let authority_end = OffsetDateTime::from(self.facts.not_after);
        if authority_end <= OffsetDateTime::now_utc() {
            return Err(CertificateError::new("the authority has expired: make a new one"));
        }
        let name = self.cluster.certificate_name(node);
        let mut params = named(&name);
        complete(&mut params, until(valid)?.min(authority_end))?;
        params.subject_alt_names = vec![SanType::DnsName(name.try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Credentials { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// Takes back the certificates with these serial numbers (hexadecimal), beside those that it
    /// has taken back `before`. Whoever has the list refuses them from then on.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] if `before` is not a list of this authority, or if a serial number is
    /// none.
    pub fn revoke(
        &self,
        before: Option<&Revocations>,
        serials: &[String],
    ) -> Result<Revocations, CertificateError> {
        let own = parse_pem(self.certificate_pem())?;
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        if before.is_some_and(|list| !list.is_signed_by(&own, &algorithms)) {
            return Err(CertificateError::new(
                "the list of revoked certificates before this one is of another authority",
            ));
        }
        Revocations::after(before, serials, &self.issuer, self.facts.not_after)
    }

    /// The cluster whose nodes it names.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What its own certificate says.
    #[must_use]
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// Its certificate, which every node has.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.credentials.certificate_pem
    }

    /// Its key, which nobody else should have.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.credentials.key_pem
    }

    /// Writes `ca.pem` and `ca.key` into `directory`, the key first and for the owner only.
    ///
    /// # Errors
    ///
    /// [`FileError`] if either file exists already: nothing is overwritten.
    pub fn write_new(&self, directory: &Path) -> Result<(), FileError> {
        let certificate = directory.join(CERTIFICATE_FILE);
        file::refuse_existing(&certificate)?;
        file::write_new(&directory.join(Self::KEY_FILE), self.key_pem(), file::Readers::Owner)?;
        file::write_new(&certificate, self.certificate_pem(), file::Readers::Everybody)
    }

    /// Reads what [`Authority::write_new`] wrote.
    ///
    /// # Errors
    ///
    /// [`FileError`] if a file is missing or damaged.
    pub fn read(directory: &Path) -> Result<Self, FileError> {
        let path = directory.join(CERTIFICATE_FILE);
        let certificate = file::read(&path)?;
        let key_path = directory.join(Self::KEY_FILE);
        let key = file::read(&key_path)?;
        read_key(&key).map_err(|error| FileError::content(&key_path, error))?;
        Self::from_pem(&certificate, &key).map_err(|error| FileError::content(&path, error))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, facts, credentials: _, issuer: _ } = self;
        f.debug_struct("Authority")
            .field("cluster", cluster)
            .field("facts", facts)
            .finish_non_exhaustive()
    }
}

/// What the certificate of an authority says, and what it signs with: from the same words.
fn authority_params(cluster: &Cluster) -> CertificateParams {
    let mut params = named(&cluster.authority_name());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Serial and dates are never left to a default.
fn complete(params: &mut CertificateParams, end: OffsetDateTime) -> Result<(), CertificateError> {
    params.serial_number = Some(random_serial()?);
    params.not_before = OffsetDateTime::now_utc() - BACKDATED;
    params.not_after = end;
    Ok(())
}

fn random_serial() -> Result<SerialNumber, CertificateError> {
    let mut bytes = [0_u8; 16];
    let no_entropy = |_| CertificateError::new("the system gives no random bytes");
    SystemRandom::new().fill(&mut bytes).map_err(no_entropy)?;
    // RFC 5280, section 4.1.2.2: a serial number is positive.
    bytes[0] &= 0x7f;
    Ok(SerialNumber::from_slice(&bytes))
}

fn until(valid: Duration) -> Result<OffsetDateTime, CertificateError> {
    let end = SystemTime::now().checked_add(valid.min(VALID_MAX));
    end.map(OffsetDateTime::from).ok_or_else(|| CertificateError::new("the time is out of range"))
}

fn read_key(pem: &str) -> Result<KeyPair, CertificateError> {
    KeyPair::from_pem(pem)
        .map_err(|error| CertificateError(format!("this is not a PEM private key: {error}")))
}

/// The certificate of an authority, in its directory.
const CERTIFICATE_FILE: &str = "ca.pem";

/// How far the beginning lies in the past, because clocks differ a little.
const BACKDATED: Duration = Duration::from_secs(10 * 60);

/// No certificate lives longer: a hundred years.
const VALID_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);
