//! Names that nobody else draws.

use ring::rand::{SecureRandom, SystemRandom};

/// 64 random bits of the system.
///
/// # Panics
///
/// If the system has none: then there is no TLS either.
#[must_use]
pub fn random_bits() -> u64 {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).expect("a system without random bytes has no TLS either");
    u64::from_le_bytes(bytes)
}
