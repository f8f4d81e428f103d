//! What an algorithm assumes of the world, as data.

use std::fmt;
use std::time::Duration;

/// The assumptions of an algorithm. A simulation injects exactly what they allow; injecting more
/// is an explicit wish, and a violation found that way names the assumption that was dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Model {
    /// What is known of message delays.
    pub timing: Timing,
    /// Which nodes may fail, and how.
    pub faults: Faults,
    /// What the links promise.
    pub links: Links,
    /// Who may send to whom.
    pub topology: Topology,
}

/// What is known of message delays.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Timing {
    /// Every message between live nodes arrives within the bound, and timers are exact.
    Synchronous {
        /// The bound on the delay of a message, processing included.
        delay_max: Duration,
    },
    /// From some unknown moment on, as [`Timing::Synchronous`].
    PartiallySynchronous {
        /// The bound that holds in the end.
        delay_max: Duration,
    },
    /// Nothing.
    Asynchronous,
}

/// Which nodes may fail, and how.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Faults {
    /// None.
    None,
    /// A node may stop for ever.
    CrashStop(Tolerance),
    /// A node may stop, and come back with what it made durable.
    CrashRecovery(Tolerance),
    /// A node may do anything.
    Byzantine(Tolerance),
}

/// How many nodes may be down, or wrong, at the same time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tolerance {
    /// All but one.
    AllButOne,
    /// Fewer than half.
    Minority,
    /// Fewer than a third.
    Third,
    /// A fixed number.
    Exactly(u32),
}

/// What the links promise between two live incarnations.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Links {
    /// Every message arrives exactly once. There are no partitions.
    Reliable,
    /// A message may be lost or arrive twice; of infinitely many, infinitely many arrive.
    FairLoss,
}

/// Who may send to whom.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Topology {
    /// Everybody to everybody.
    Mesh,
    /// Each node to its successor in the order of identities.
    Ring,
}

/// One thing that a model may assume and a simulation may break.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Assumption {
    /// The bound on message delays.
    BoundedDelay,
    /// That the network does not fall apart.
    NoPartition,
    /// That no message is lost between live nodes.
    NoLoss,
    /// That no message arrives twice.
    NoDuplication,
    /// That no node fails in a way, or number, that the model excludes.
    FaultBound,
    /// That clocks run at one speed.
    ExactClocks,
    /// That all nodes start at once.
    StartTogether,
    /// That a node does what its algorithm says, or nothing.
    HonestNodes,
    /// That a disk keeps what it was told to make durable, as it was.
    KeptDisk,
}

impl Model {
    /// No bound on delays, no failures, reliable links, everybody to everybody.
    pub const ASYNCHRONOUS: Self = Self {
        timing: Timing::Asynchronous,
        faults: Faults::None,
        links: Links::Reliable,
        topology: Topology::Mesh,
    };

    /// The same with a bound on delays.
    #[must_use]
    pub const fn synchronous(delay_max: Duration) -> Self {
        Self { timing: Timing::Synchronous { delay_max }, ..Self::ASYNCHRONOUS }
    }

    /// The same with failures.
    #[must_use]
    pub const fn tolerating(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// The same over other links.
    #[must_use]
    pub const fn over(self, links: Links) -> Self {
        Self { links, ..self }
    }

    /// The same on another topology.
    #[must_use]
    pub const fn on(self, topology: Topology) -> Self {
        Self { topology, ..self }
    }

    /// The bound on message delays, if the model has one.
    #[must_use]
    pub const fn delay_max(&self) -> Option<Duration> {
        match self.timing {
            Timing::Synchronous { delay_max } | Timing::PartiallySynchronous { delay_max } => {
                Some(delay_max)
            }
            Timing::Asynchronous => None,
        }
    }

    /// How many of `nodes` may do anything at all, lie included.
    #[must_use]
    pub const fn traitors_max(&self, nodes: usize) -> usize {
        match self.faults {
            Faults::Byzantine(of) => of.of(nodes),
            Faults::None | Faults::CrashStop(_) | Faults::CrashRecovery(_) => 0,
        }
    }

    /// How many of `nodes` may be down at the same time.
    #[must_use]
    pub const fn down_max(&self, nodes: usize) -> usize {
        match self.faults {
            Faults::None => 0,
            Faults::CrashStop(of) | Faults::CrashRecovery(of) | Faults::Byzantine(of) => {
                of.of(nodes)
            }
        }
    }
}

impl Tolerance {
    /// The largest tolerated number among `nodes`.
    #[must_use]
    pub const fn of(self, nodes: usize) -> usize {
        match self {
            Self::AllButOne => nodes.saturating_sub(1),
            Self::Minority => nodes.saturating_sub(1) / 2,
            Self::Third => nodes.saturating_sub(1) / 3,
            Self::Exactly(count) => count as usize,
        }
    }
}

impl fmt::Display for Assumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BoundedDelay => "message delays are bounded",
            Self::NoPartition => "there are no partitions",
            Self::NoLoss => "no message is lost between live nodes",
            Self::NoDuplication => "no message arrives twice",
            Self::FaultBound => "no more nodes fail than the model allows",
            Self::ExactClocks => "clocks run at one speed",
            Self::StartTogether => "all nodes start at once",
            Self::HonestNodes => "every node follows the algorithm until it stops",
            Self::KeptDisk => "disks keep what was made durable",
        })
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.timing {
            Timing::Synchronous { delay_max } => write!(f, "synchronous ({delay_max:?})")?,
            Timing::PartiallySynchronous { delay_max } => {
                write!(f, "partially synchronous ({delay_max:?})")?;
            }
            Timing::Asynchronous => write!(f, "asynchronous")?,
        }
        match self.faults {
            Faults::None => write!(f, ", no failures")?,
            Faults::CrashStop(of) => write!(f, ", crash-stop of {of}")?,
            Faults::CrashRecovery(of) => write!(f, ", crash-recovery of {of}")?,
            Faults::Byzantine(of) => write!(f, ", Byzantine {of}")?,
        }
        let links = match self.links {
            Links::Reliable => "reliable",
            Links::FairLoss => "fair-loss",
        };
        let topology = match self.topology {
            Topology::Mesh => "mesh",
            Topology::Ring => "ring",
        };
        write!(f, ", {links} links, {topology}")
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllButOne => f.write_str("all but one"),
            Self::Minority => f.write_str("a minority"),
            Self::Third => f.write_str("less than a third"),
            Self::Exactly(count) => write!(f, "{count}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Assumption, Faults, Links, Model, Timing, Tolerance, Topology};

    #[test]
    fn a_minority_is_fewer_than_half_at_even_and_odd_sizes() {
        let tolerated = [0, 1, 2, 3, 4, 5, 6, 7].map(|nodes| Tolerance::Minority.of(nodes));
        assert_eq!(tolerated, [0, 0, 0, 1, 1, 2, 2, 3]);
    }

    #[test]
    fn a_third_is_fewer_than_a_third_at_every_size() {
        let tolerated = [0, 1, 2, 3, 4, 5, 6, 7].map(|nodes| Tolerance::Third.of(nodes));
        assert_eq!(tolerated, [0, 0, 0, 0, 1, 1, 1, 2]);
    }

    #[test]
    fn all_but_one_leaves_one_wherever_there_is_one() {
        let tolerated = [0, 1, 2, 5].map(|nodes| Tolerance::AllButOne.of(nodes));
        assert_eq!(tolerated, [0, 0, 1, 4]);
    }

    #[test]
    fn a_fixed_number_does_not_depend_on_the_size() {
        assert_eq!([1, 4, 9].map(|nodes| Tolerance::Exactly(2).of(nodes)), [2, 2, 2]);
    }

    #[test]
    fn a_model_tolerates_what_its_faults_say() {
        let of = Tolerance::Minority;
        assert_eq!(Model::ASYNCHRONOUS.down_max(5), 0);
        for faults in [Faults::CrashStop(of), Faults::CrashRecovery(of), Faults::Byzantine(of)] {
            assert_eq!(Model::ASYNCHRONOUS.tolerating(faults).down_max(5), 2);
        }
    }

    #[test]
    fn only_a_byzantine_model_tolerates_traitors() {
        let of = Tolerance::Third;
        let traitors = |faults| Model::ASYNCHRONOUS.tolerating(faults).traitors_max(4);
        assert_eq!(traitors(Faults::Byzantine(of)), 1);
        for faults in [Faults::None, Faults::CrashStop(of), Faults::CrashRecovery(of)] {
            assert_eq!(traitors(faults), 0);
        }
    }

    #[test]
    fn only_a_model_with_a_clock_bounds_delays() {
        let delay_max = Duration::from_millis(5);
        let partial =
            Model { timing: Timing::PartiallySynchronous { delay_max }, ..Model::ASYNCHRONOUS };
        assert_eq!(Model::synchronous(delay_max).delay_max(), Some(delay_max));
        assert_eq!(partial.delay_max(), Some(delay_max));
        assert_eq!(Model::ASYNCHRONOUS.delay_max(), None);
    }

    #[test]
    fn a_model_reads_as_a_line() {
        assert_eq!(
            Model::ASYNCHRONOUS.to_string(),
            "asynchronous, no failures, reliable links, mesh"
        );
        let ring = Model::synchronous(Duration::from_millis(5))
            .tolerating(Faults::CrashStop(Tolerance::AllButOne))
            .over(Links::FairLoss)
            .on(Topology::Ring);
        assert_eq!(
            ring.to_string(),
            "synchronous (5ms), crash-stop of all but one, fair-loss links, ring"
        );
        let partial = Model {
            timing: Timing::PartiallySynchronous { delay_max: Duration::from_secs(1) },
            ..Model::ASYNCHRONOUS
        };
        let recovery = partial.tolerating(Faults::CrashRecovery(Tolerance::Minority));
        assert_eq!(
            recovery.to_string(),
            "partially synchronous (1s), crash-recovery of a minority, reliable links, mesh"
        );
        let byzantine = Model::ASYNCHRONOUS.tolerating(Faults::Byzantine(Tolerance::Third));
        assert_eq!(
            byzantine.to_string(),
            "asynchronous, Byzantine less than a third, reliable links, mesh"
        );
        assert_eq!(Tolerance::Exactly(2).to_string(), "2");
    }

    #[test]
    fn an_assumption_reads_as_a_sentence() {
        let all = [
            Assumption::BoundedDelay,
            Assumption::NoPartition,
            Assumption::NoLoss,
            Assumption::NoDuplication,
            Assumption::FaultBound,
            Assumption::ExactClocks,
            Assumption::StartTogether,
            Assumption::HonestNodes,
        ];
        let mut sentences = all.map(|assumption| assumption.to_string()).to_vec();
        sentences.dedup();
        assert_eq!(sentences.len(), all.len());
        assert!(sentences.iter().all(|it| it.contains(' ') && !it.ends_with('.')));
    }
}
