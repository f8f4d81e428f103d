//! How long messages take.

use serde::{Deserialize, Serialize};

/// How delays are spread between the least and the greatest.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Each is as likely as the others.
    #[default]
    Uniform,
    /// All the least.
    Fixed,
    /// Exponential above the least, with a mean of a fifth of the range, cut off at the greatest.
    Exponential,
    /// Pareto above the least with exponent 1: half of them below twice the least, and a tail over
    /// the whole range.
    HeavyTail,
}

impl Shape {
    /// Every shape, by name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("uniform", Self::Uniform),
        ("fixed", Self::Fixed),
        ("exponential", Self::Exponential),
        ("heavy_tail", Self::HeavyTail),
    ];

    /// The shape of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, shape)| *shape)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, shape)| *shape == self).map_or("", |(name, _)| *name)
    }

    /// A delay above the least, below `range`, from 64 random bits. In whole numbers only: a
    /// logarithm of floats differs between machines.
    #[inline]
    pub(crate) fn draw(self, bits: u64, min: u64, range: u64) -> u64 {
        let range = range.max(1);
        // Below the range as it is.
        if self == Self::Uniform { scaled(bits, range) } else { self.draw_uneven(bits, min, range) }
    }

    #[inline(never)]
    fn draw_uneven(self, bits: u64, min: u64, range: u64) -> u64 {
        let above = match self {
            Self::Fixed => 0,
            Self::Uniform => u128::from(scaled(bits, range)),
            Self::Exponential => {
                // Minus the binary logarithm of a fraction: its leading zeros, and a straight line
                // between two powers of two. A fifth of the range has ln 2 of it for each.
                let zeros = bits.leading_zeros();
                let rest = bits.checked_shl(zeros + 1).unwrap_or(0);
                let each = u128::from(range) * 69 / 500;
                u128::from(zeros + 1) * each - ((u128::from(rest) * each) >> 64)
            }
            Self::HeavyTail => (u128::from(min.max(1)) << 64) / (u128::from(bits) + 1) - 1,
        };
        u64::try_from(above.min(u128::from(range) - 1)).unwrap_or(0)
    }
}

/// `range` times a fraction of 2^64.
#[inline]
fn scaled(fraction: u64, range: u64) -> u64 {
    u64::try_from((u128::from(fraction) * u128::from(range)) >> 64).unwrap_or(0)
}
