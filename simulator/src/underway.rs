//! What a simulation is at, for whoever looks on from another thread.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use synod_core::{Catalogue, EventId, Input, NodeId};

/// The runs of a [`Simulation`](crate::Simulation) that have ended, and those that are under way.
#[derive(Debug, Default)]
pub struct Underway {
    ended: AtomicU64,
    /// Whether it was told that one takes long.
    has_told: AtomicBool,
    seats: Mutex<Vec<Arc<Seat>>>,
}

/// A run that is under way, or the one that a panic has broken off.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct Running {
    /// Its seed.
    pub seed: u64,
    /// The steps that it has taken before the handler that runs, or ran last.
    pub steps: u64,
    /// Its virtual time at that step, in microseconds.
    pub time_us: u64,
    /// The node whose handler that is; none before the first one.
    pub node: Option<NodeId>,
    /// The event that it handles.
    pub(crate) upon: EventId,
    /// Whether it fails, and smaller ones like it are tried.
    pub is_shrunk: bool,
}

/// Where one thread tells of its run.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    /// Whether there is a run.
    is_taken: AtomicBool,
    seed: AtomicU64,
    steps: AtomicU64,
    time_us: AtomicU64,
    /// 0 is none.
    node: AtomicU32,
    upon: AtomicU64,
    is_shrunk: AtomicBool,
}

/// A seat that is given back when it is dropped, unless a panic drops it: the run stays to be seen.
#[derive(Debug)]
pub(crate) struct Entered<'a> {
    underway: &'a Underway,
    seat: Arc<Seat>,
}

impl Underway {
    /// How many runs have ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// The runs that are under way, by ascending seed, and those that a panic has broken off.
    #[must_use]
    pub fn running(&self) -> Vec<Running> {
        let mut running: Vec<Running> = self.seats().iter().filter_map(|it| it.running()).collect();
        running.sort_unstable();
        running
    }

    /// Whether it was said before that one of them takes long; from now on it was.
    pub(crate) fn has_told(&self) -> bool {
        self.has_told.swap(true, Ordering::Relaxed)
    }

    /// A seat for the runs of one thread.
    pub(crate) fn enter(&self) -> Entered<'_> {
        let seat = Arc::<Seat>::default();
        self.seats().push(Arc::clone(&seat));
        Entered { underway: self, seat }
    }

    fn seats(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has no event: the name of none.
const STARTS: &str = "its start";
const RECOVERS: &str = "its start after a crash";
const TIMES_OUT: &str = "a timer";
const LINKS: &str = "a link that goes up or down";

/// The event of an input, or what stands for one.
#[inline]
pub(crate) fn upon(input: &Input) -> EventId {
    match input {
        Input::Deliver { envelope, .. } | Input::Trigger(envelope) => envelope.event(),
        Input::Start => EventId::of(STARTS),
        Input::Recover(_) => EventId::of(RECOVERS),
        Input::Timer(_) => EventId::of(TIMES_OUT),
        _ => EventId::of(LINKS),
    }
}

impl Running {
    /// Whether it is the same run, somewhere on its way.
    pub(crate) fn is_same_run(&self, other: &Self) -> bool {
        (self.seed, self.is_shrunk) == (other.seed, other.is_shrunk)
    }

    /// The handler that runs, or ran last: whose it is, and what it handles.
    pub(crate) fn handler(&self, catalogue: &Catalogue) -> Option<String> {
        let words = [STARTS, RECOVERS, TIMES_OUT, LINKS];
        let of_none = words.into_iter().find(|words| EventId::of(words) == self.upon);
        let event =
            of_none.map_or_else(|| format!("`{}`", catalogue.name(self.upon)), String::from);
        Some(format!("{} on {event}", self.node?))
    }
}

impl Seat {
    /// A run is at this step: a handler of `node` is about to run.
    #[inline]
    pub(crate) fn tell(&self, steps: u64, time_us: u64, node: NodeId, upon: EventId) {
        self.steps.store(steps, Ordering::Relaxed);
        self.time_us.store(time_us, Ordering::Relaxed);
        self.node.store(node.0, Ordering::Relaxed);
        self.upon.store(upon.bits(), Ordering::Relaxed);
    }

    /// Nothing is under way any more.
    pub(crate) fn leave(&self) {
        self.is_taken.store(false, Ordering::Relaxed);
    }

    fn running(&self) -> Option<Running> {
        self.is_taken.load(Ordering::Relaxed).then(|| Running {
            seed: self.seed.load(Ordering::Relaxed),
            steps: self.steps.load(Ordering::Relaxed),
            time_us: self.time_us.load(Ordering::Relaxed),
            node: Some(self.node.load(Ordering::Relaxed)).filter(|it| 0 < *it).map(NodeId),
            upon: EventId::from_bits(self.upon.load(Ordering::Relaxed)),
            is_shrunk: self.is_shrunk.load(Ordering::Relaxed),
        })
    }
}

impl Entered<'_> {
    /// The run of `seed` begins.
    pub(crate) fn begin(&self, seed: u64) {
        self.seat.seed.store(seed, Ordering::Relaxed);
        self.seat.tell(0, 0, NodeId(0), EventId::from_bits(0));
        self.seat.is_taken.store(true, Ordering::Relaxed);
    }

    /// The run of `seed` fails, and is made smaller.
    pub(crate) fn shrink(&self, seed: u64) {
        self.begin(seed);
        self.seat.is_shrunk.store(true, Ordering::Relaxed);
    }

    /// The run has ended.
    pub(crate) fn end(&self) {
        self.underway.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl Deref for Entered<'_> {
    type Target = Seat;

    fn deref(&self) -> &Seat {
        &self.seat
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.underway.seats().retain(|seat| !Arc::ptr_eq(seat, &self.seat));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_seen_until_its_seat_is_given_back_and_for_good_if_a_panic_ends_it() {
        let underway = Underway::default();
        let seat = underway.enter();
        assert_eq!(underway.running(), []);
        seat.begin(0);
        let (node, upon) = (NodeId(2), EventId::of("a timer"));
        seat.tell(64, 1_000, node, upon);
        let node = Some(node);
        let running = Running { seed: 0, steps: 64, time_us: 1_000, node, upon, is_shrunk: false };
        assert_eq!(underway.running(), [running]);
        seat.end();
        drop(seat);
        assert_eq!((underway.running(), underway.ended()), (Vec::new(), 1));
        let broken = std::panic::catch_unwind(|| {
            let seat = underway.enter();
            seat.shrink(7);
            std::panic::resume_unwind(Box::new(()));
        });
        let seeds: Vec<u64> = underway.running().iter().map(|it| it.seed).collect();
        assert_eq!((broken.is_err(), seeds), (true, vec![7]));
    }
}
