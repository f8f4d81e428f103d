//! Independent pieces of work side by side.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;

/// How many threads the machine runs at once.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// What `work` makes of each number below `count`, in their order, by at most `threads` threads.
/// Each takes a range of numbers, so the result does not depend on how many there are.
///
/// # Panics
///
/// If `work` does: a handler's panic is a finding, and not one.
pub(crate) fn side_by_side<R: Send>(
    count: usize,
    threads: usize,
    work: &(dyn Fn(usize) -> R + Sync),
) -> Vec<R> {
    let part = count.div_ceil(threads.max(1)).max(1);
    thread::scope(|scope| {
        let parts = (0..count).step_by(part).map(|from| from..count.min(from + part));
        let workers: Vec<_> =
            parts.map(|part| scope.spawn(move || part.map(work).collect::<Vec<R>>())).collect();
        let done = workers.into_iter().map(thread::ScopedJoinHandle::join);
        done.flat_map(|part| part.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::side_by_side;

    #[test]
    fn everything_is_done_once_and_in_order_whatever_the_number_of_threads() {
        for threads in [0, 1, 2, 3, 7, 100] {
            let squares: Vec<usize> = side_by_side(10, threads, &|it| it * it);
            assert_eq!(squares, [0, 1, 4, 9, 16, 25, 36, 49, 64, 81], "{threads} threads");
        }
        assert!(side_by_side(0, 2, &|it| it).is_empty());
    }
}
