//! Lists of the certificates that an authority has taken back.
//!
//! A list is signed by the authority, so it can be handed around as a plain file. It has a number:
//! nobody takes an older one than it knows.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use time::OffsetDateTime;
use webpki::{BorrowedCertRevocationList, EndEntityCert};

use super::certificate::CertificateError;
use super::date;
use super::facts::{hex, pem_fault};
use super::file::{self, FileError};
use super::x509;

/// The certificates that one authority has taken back, signed by it: an X.509 revocation list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Revocations {
    /// Which list of its authority this is: each one has a higher number.
    pub number: u64,
    /// When it was made.
    pub issued: SystemTime,
    /// Until when it can be used.
    pub ends: SystemTime,
    /// When each certificate was taken back, by its serial number in hexadecimal.
    pub revoked: BTreeMap<String, SystemTime>,
    der: Vec<u8>,
    pem: String,
}

impl Revocations {
    /// The name of the file, beside the authority and beside the bundles that heed it.
    pub const FILE: &str = "revoked.crl";

    /// Reads the lists in the file at `path`; none if there is no such file.
    ///
    /// # Errors
    ///
    /// [`FileError`] if the file cannot be read, holds no list, or a damaged one.
    pub fn read(path: &Path) -> Result<Vec<Self>, FileError> {
        if !path.exists() {
            return Ok(Vec::new());
        }
        Self::parse(&file::read(path)?).map_err(|error| FileError::content(path, error))
    }

    /// Replaces the file at `path` by this list alone. Everybody may read it.
    ///
    /// # Errors
    ///
    /// [`FileError`] if the system refuses.
    pub fn replace(&self, path: &Path) -> Result<(), FileError> {
        file::replace(path, &self.pem, file::Readers::Everybody)
    }

    /// Reads every list in a PEM text. Whether to believe them is asked later.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] if there is none, or a damaged one.
    pub fn parse(pem: &str) -> Result<Vec<Self>, CertificateError> {
        let damaged = |error| {
            let words = pem_fault(&error);
            CertificateError::new(format!("{words}: copy the list again from the authority"))
        };
        let lists = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes());
        let lists: Vec<_> = lists.collect::<Result<_, _>>().map_err(damaged)?;
        if lists.is_empty() {
            let text = "there is no list of revoked certificates in it: copy the one that \
                        `synod cert revoke` has made";
            return Err(CertificateError::new(text));
        }
        lists.iter().map(|list| Self::of(list, pem)).collect()
    }

    fn of(der: &[u8], pem: &str) -> Result<Self, CertificateError> {
        let damaged = || {
            CertificateError::new(
                "a list of revoked certificates is damaged: copy it again from the authority",
            )
        };
        let read = x509::list(der).map_err(|_| damaged())?;
        if read.is_partial {
            let text =
                "a list of revoked certificates speaks of some of them only, and must be whole";
            return Err(CertificateError::new(text));
        }
        let strict = BorrowedCertRevocationList::from_der(der).map_err(|_| damaged())?;
        let mut revoked = BTreeMap::new();
        for entry in &strict {
            let entry = entry.map_err(|_| damaged())?;
            let at = date::from_unix(entry.revocation_date.as_secs());
            revoked.insert(hex(entry.serial_number), at);
        }
        let (number, issued, ends) = (read.number, read.issued, read.ends);
        Ok(Self { number, issued, ends, revoked, der: der.to_vec(), pem: String::from(pem) })
    }

    /// Makes the list that comes after `before` and has `serials` as well.
    pub(super) fn after(
        before: Option<&Self>,
        serials: &[String],
        issuer: &Issuer<'_, KeyPair>,
        ends: SystemTime,
    ) -> Result<Self, CertificateError> {
        let now = SystemTime::now();
        let mut revoked = before.map(|it| it.revoked.clone()).unwrap_or_default();
        for serial in serials {
            revoked.entry(serial.to_ascii_lowercase()).or_insert(now);
        }
        let entries = revoked.iter().map(|(serial, at)| {
            Ok(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&serial_bytes(serial)?),
                revocation_time: OffsetDateTime::from(*at),
                reason_code: None,
                invalidity_date: None,
            })
        });
        let params = CertificateRevocationListParams {
            this_update: OffsetDateTime::from(now),
            next_update: OffsetDateTime::from(ends),
            crl_number: SerialNumber::from(before.map_or(1, |it| it.number.saturating_add(1))),
            issuing_distribution_point: None,
            revoked_certs: entries.collect::<Result<_, CertificateError>>()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(issuer)?;
        Self::of(list.der(), &list.pem()?)
    }

    /// Whether the key in `authority`, a certificate, has signed this list.
    pub(super) fn is_signed_by(
        &self,
        authority: &CertificateDer<'_>,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> bool {
        let (Ok(signer), Ok(list)) = (EndEntityCert::try_from(authority), x509::list(&self.der))
        else {
            return false;
        };
        let verifies = |it: &&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
            signer.verify_signature(*it, list.signed, list.signature).is_ok()
        };
        algorithms.all.iter().any(verifies)
    }
}

fn serial_bytes(serial: &str) -> Result<Vec<u8>, CertificateError> {
    let wrong = || {
        let text = "is no serial number: write it in hexadecimal, as `synod cert inspect` does";
        CertificateError::new(format!("`{serial}` {text}"))
    };
    let is_hex = serial.len().is_multiple_of(2) && (2..=SERIAL_DIGITS_MAX).contains(&serial.len());
    if !is_hex || !serial.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let pairs = serial.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(|pair| byte(pair).ok_or_else(wrong)).collect()
}

/// RFC 5280, section 4.1.2.2: a serial number has 20 bytes at most.
const SERIAL_DIGITS_MAX: usize = 40;
