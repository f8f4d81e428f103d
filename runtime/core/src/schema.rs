//! How the values of a type are laid out: a fingerprint for programs, and a text for people.
//!
//! Encoded events do not describe themselves: a program that takes the bytes of `{from, to}` for
//! `{to, from}` reads something, and it is wrong. So nodes tell each other a fingerprint for each
//! event, and recordings, durable logs and traces hold it.
//!
//! A type is asked by way of its own `Deserialize`, which says what it expects: nobody has to
//! write or derive anything for it.

mod layout;
mod probe;

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::event::EventId;

/// A 64-bit fingerprint of a type's layout: types of one fingerprint read each other's bytes, and mean
/// the same by them as far as names tell. Written as 16 hexadecimal digits.
///
/// Names of fields and variants count, and their order and types; the names of types do not. A
/// field may be renamed in Rust under `#[serde(rename = "its old name")]`.
///
/// ```
/// use serde::Deserialize;
/// use synod_core::Schema;
///
/// #[derive(Deserialize)]
/// struct Vote { from: u64, term: u64 }
/// #[derive(Deserialize)]
/// struct Turned { term: u64, from: u64 }
/// #[derive(Deserialize)]
/// struct Ballot { #[serde(rename = "from")] sender: u64, term: u64 }
///
/// assert_ne!(Schema::of::<Vote>(), Schema::of::<Turned>());
/// assert_eq!(Schema::of::<Vote>(), Schema::of::<Ballot>());
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Schema(pub u64);

impl Schema {
    /// That of a type. O(size of its layout) for each variant of its enums: for a start, not for
    /// each event.
    #[must_use]
    pub fn of<T: DeserializeOwned>() -> Self {
        Self::of_layout(&Self::layout_of::<T>())
    }

    /// What a type consists of, in one line. Cost as [`Schema::of`].
    ///
    /// A part of which nothing is known is written `_`: its type describes itself, or refuses every
    /// value that was tried. `^1` is the struct or enum one further out, where a type contains itself.
    ///
    /// ```
    /// use synod_core::{PeerUp, Schema};
    ///
    /// assert_eq!(Schema::layout_of::<PeerUp>(), "{peer: u32, incarnation: u64}");
    /// assert_eq!(Schema::layout_of::<Option<Vec<(u8, bool)>>>(), "option [(u8, bool)]");
    /// ```
    #[must_use]
    pub fn layout_of<T: DeserializeOwned>() -> String {
        probe::ask(|probe| drop(T::deserialize(probe))).to_string()
    }

    /// That of a layout: the hash of its text. O(length).
    #[must_use]
    pub const fn of_layout(layout: &str) -> Self {
        Self(EventId::of(layout).bits())
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "schema {self}")
    }
}

#[cfg(test)]
mod tests;
