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
    /// A delay above the least, below `range`, from 64 random bits. In whole numbers only: a
    /// logarithm of floats differs between machines.
    #[inline]
    pub(crate) fn draw(self, bits: u64, min: u64, range: u64) -> u64 {
        let range = u128::from(range.max(1));
        let scaled = |part: u64, by: u128| (u128::from(part) * by) >> 64;
        let above = match self {
            Self::Fixed => 0,
            // Below the range as it is.
            Self::Uniform => return u64::try_from(scaled(bits, range)).unwrap_or(0),
            Self::Exponential => {
                // Minus the binary logarithm of a fraction: its leading zeros, and a straight line
                // between two powers of two. A fifth of the range has ln 2 of it for each.
                let zeros = bits.leading_zeros();
                let rest = bits.checked_shl(zeros + 1).unwrap_or(0);
                let each = range * 69 / 500;
                u128::from(zeros + 1) * each - scaled(rest, each)
            }
            Self::HeavyTail => (u128::from(min.max(1)) << 64) / (u128::from(bits) + 1) - 1,
        };
        u64::try_from(above.min(range - 1)).unwrap_or(0)
    }
}
