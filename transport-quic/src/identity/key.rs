//! The kinds of public keys that certificates have.

use std::fmt;

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use der::{Decode, Reader, Result, SliceReader};

use super::x509::sequence;

/// The kind of a certificate's public key.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KeyKind {
    /// On the curve P-256: those that `synod cert issue` makes.
    EcdsaP256,
    /// On the curve P-384.
    EcdsaP384,
    /// Ed25519.
    Ed25519,
    /// RSA with a modulus of so many bits.
    Rsa {
        /// The length of the modulus.
        bits: usize,
    },
    /// Another one, by the numbers of its algorithm and its curve.
    Other(String),
}

impl KeyKind {
    /// Whether a node believes signatures of such a key: the kinds that it knows, and RSA with 2,048 to 8,192
    /// bits.
    #[must_use]
    pub fn is_believed(&self) -> bool {
        match self {
            Self::EcdsaP256 | Self::EcdsaP384 | Self::Ed25519 => true,
            Self::Rsa { bits } => (2_048..=8_192).contains(bits),
            Self::Other(_) => false,
        }
    }

    /// Of a public key with its algorithm, as it stands in a certificate: RFC 5280, section 4.1.2.7.
    pub(super) fn of(public_key: &[u8]) -> Result<Self> {
        let mut reader = SliceReader::new(public_key)?;
        let kind = sequence(&mut reader, |fields| {
            let (algorithm, curve) = sequence(fields, |names| {
                let algorithm = ObjectIdentifier::decode(names)?;
                let curve = if names.is_finished() { None } else { Some(AnyRef::decode(names)?) };
                Ok((algorithm, curve.and_then(|any| any.decode_as::<ObjectIdentifier>().ok())))
            })?;
            let key = BitStringRef::decode(fields)?;
            Ok(match (algorithm, curve) {
                (EC, Some(P256)) => Self::EcdsaP256,
                (EC, Some(P384)) => Self::EcdsaP384,
                (ED25519, None) => Self::Ed25519,
                (RSA, _) => Self::Rsa { bits: modulus_bits(key.raw_bytes())? },
                (algorithm, None) => Self::Other(algorithm.to_string()),
                (algorithm, Some(curve)) => Self::Other(format!("{algorithm} on {curve}")),
            })
        })?;
        reader.finish()?;
        Ok(kind)
    }
}

/// RFC 8017, section A.1.1: the modulus comes first.
fn modulus_bits(key: &[u8]) -> Result<usize> {
    let mut reader = SliceReader::new(key)?;
    sequence(&mut reader, |numbers| {
        let modulus = UintRef::decode(numbers)?;
        let _exponent = UintRef::decode(numbers)?;
        let first = modulus.as_bytes().first().map_or(0, |byte| byte.leading_zeros() as usize);
        Ok(modulus.as_bytes().len() * 8 - first)
    })
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EcdsaP256 => f.write_str("ECDSA on P-256"),
            Self::EcdsaP384 => f.write_str("ECDSA on P-384"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Rsa { bits } => write!(f, "RSA with {bits} bits"),
            Self::Other(numbers) => write!(f, "of an unknown kind ({numbers})"),
        }
    }
}

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
