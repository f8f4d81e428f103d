//! What a disk may do wrong, and how often it did.

use serde::{Deserialize, Serialize};

/// One fault of a disk.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DiskFault {
    /// A sync returns an error. Any part was written; what was not never will be, and may read
    /// well all the same.
    Fail,
    /// The power goes while something is being written: any part of it is there afterwards.
    Torn,
    /// There is no room for some time.
    Full,
    /// A read returns an error.
    Read,
    /// Syncs claim, for some time, to have written, and have not.
    Lie,
    /// A sync leaves one sector as it was, and claims to have written it.
    Stale,
    /// A sync writes one sector in the place of another one.
    Misplaced,
    /// A bit of what is durable flips.
    Rot,
}

impl DiskFault {
    /// Every fault, the mild ones first.
    pub const ALL: [Self; 8] = [
        Self::Fail,
        Self::Torn,
        Self::Full,
        Self::Read,
        Self::Lie,
        Self::Stale,
        Self::Misplaced,
        Self::Rot,
    ];

    /// Whether what was made durable may be gone or changed afterwards. The others end the node,
    /// which finds everything when it comes back.
    #[must_use]
    pub fn damages(self) -> bool {
        matches!(self, Self::Lie | Self::Stale | Self::Misplaced | Self::Rot)
    }

    /// What happens, in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Fail => "its disk fails to sync",
            Self::Torn => "it loses power while its disk writes",
            Self::Full => "its disk is full",
            Self::Read => "its disk fails to read",
            Self::Lie => "its disk claims a sync that it has not made",
            Self::Stale => "its disk leaves a sector as it was",
            Self::Misplaced => "its disk writes a sector in the wrong place",
            Self::Rot => "a bit on its disk flips",
        }
    }
}

/// Faults that have happened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Injected {
    /// Losses of power.
    pub power_cuts: u64,
    /// Sectors, lengths and names that a loss of power took back to an earlier state.
    pub lost: u64,
    /// Syncs that failed.
    pub sync_fails: u64,
    /// Writes in which the power went.
    pub torn: u64,
    /// Syncs that lied.
    pub sync_lies: u64,
    /// Sectors left stale.
    pub stale: u64,
    /// Sectors written in the wrong place.
    pub misplaced: u64,
    /// Bits flipped.
    pub rotten: u64,
    /// Reads that failed.
    pub read_fails: u64,
    /// Writes that found no room.
    pub full: u64,
}

impl Injected {
    /// The faults that have happened since `before`, each once.
    pub(crate) fn since(self, before: Self) -> impl Iterator<Item = DiskFault> {
        let more = move |fault: &DiskFault| before.count(*fault) < self.count(*fault);
        DiskFault::ALL.into_iter().filter(more)
    }

    fn count(&self, fault: DiskFault) -> u64 {
        match fault {
            DiskFault::Fail => self.sync_fails,
            DiskFault::Torn => self.torn,
            DiskFault::Full => self.full,
            DiskFault::Read => self.read_fails,
            DiskFault::Lie => self.sync_lies,
            DiskFault::Stale => self.stale,
            DiskFault::Misplaced => self.misplaced,
            DiskFault::Rot => self.rotten,
        }
    }
}
