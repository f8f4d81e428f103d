//! Names that nobody else draws.

use ring::rand::{SecureRandom, SystemRandom};

/// 64 random bits of the system.
pub(crate) fn draw() -> u64 {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).expect("a system without random bytes has no TLS either");
    u64::from_le_bytes(bytes)
}
