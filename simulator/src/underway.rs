//! What a simulation is at, for whoever looks on from another thread.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The runs of a [`Simulation`](crate::Simulation) that have ended, and those that are under way.
#[derive(Debug, Default)]
pub struct Underway {
    ended: AtomicU64,
    seats: Mutex<Vec<Arc<Seat>>>,
}

/// A run that is under way, or the one that a panic has broken off.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct Running {
    /// Its seed.
    pub seed: u64,
    /// The steps that it has taken, to the last 64.
    pub steps: u64,
    /// Its virtual time at that step, in microseconds.
    pub time_us: u64,
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

impl Seat {
    /// Steps between two times that a run tells where it is.
    pub(crate) const TELL_EVERY: u64 = 64;

    /// A run is at this step.
    pub(crate) fn tell(&self, steps: u64, time_us: u64) {
        self.steps.store(steps, Ordering::Relaxed);
        self.time_us.store(time_us, Ordering::Relaxed);
    }

    fn running(&self) -> Option<Running> {
        self.is_taken.load(Ordering::Relaxed).then(|| Running {
            seed: self.seed.load(Ordering::Relaxed),
            steps: self.steps.load(Ordering::Relaxed),
            time_us: self.time_us.load(Ordering::Relaxed),
            is_shrunk: self.is_shrunk.load(Ordering::Relaxed),
        })
    }
}

impl Entered<'_> {
    /// The run of `seed` begins.
    pub(crate) fn begin(&self, seed: u64) {
        self.seat.seed.store(seed, Ordering::Relaxed);
        self.seat.tell(0, 0);
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
        seat.tell(64, 1_000);
        let running = Running { seed: 0, steps: 64, time_us: 1_000, is_shrunk: false };
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
