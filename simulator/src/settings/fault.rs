//! The kinds of faults.

use crate::disk::DiskFault;

/// A kind of fault that can be asked for by name.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Fault {
    /// Nodes crash, and come back unless the model says crash-stop.
    Crash,
    /// The network falls apart, one way or both, and heals.
    Partition,
    /// Messages get lost, each on its own.
    Loss,
    /// Links lose everything for a while.
    Burst,
    /// Messages arrive twice.
    Duplication,
    /// Delays have a tail far beyond the model's bound.
    Delay,
    /// What goes to or from some nodes is held for a while.
    Clog,
    /// Nodes do nothing for a while.
    Pause,
    /// Clocks are apart, run too fast or too slow, and jump.
    Clock,
    /// Some nodes start later than the others.
    Join,
    /// Nodes leave for good, in an orderly way.
    Leave,
    /// Some nodes are traitors: silent, lying, doubled, or under another program.
    Byzantine,
    /// Disks do everything wrong that a disk can.
    Disk,
    /// Disks do one thing wrong.
    DiskOnly(DiskFault),
}

impl Fault {
    /// Every kind, by name.
    pub const ALL: [(&'static str, Self); 21] = [
        ("crash", Self::Crash),
        ("partition", Self::Partition),
        ("loss", Self::Loss),
        ("burst", Self::Burst),
        ("duplication", Self::Duplication),
        ("delay", Self::Delay),
        ("clog", Self::Clog),
        ("pause", Self::Pause),
        ("clock", Self::Clock),
        ("join", Self::Join),
        ("leave", Self::Leave),
        ("byzantine", Self::Byzantine),
        ("disk", Self::Disk),
        ("disk-fail", Self::DiskOnly(DiskFault::Fail)),
        ("disk-torn", Self::DiskOnly(DiskFault::Torn)),
        ("disk-full", Self::DiskOnly(DiskFault::Full)),
        ("disk-read", Self::DiskOnly(DiskFault::Read)),
        ("disk-lie", Self::DiskOnly(DiskFault::Lie)),
        ("disk-stale", Self::DiskOnly(DiskFault::Stale)),
        ("disk-misplaced", Self::DiskOnly(DiskFault::Misplaced)),
        ("disk-rot", Self::DiskOnly(DiskFault::Rot)),
    ];

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, fault)| *fault)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, fault)| *fault == self).map_or("", |(name, _)| *name)
    }
}
