//! Waiting for a condition that others make true.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Resolves once `holds` does. Whoever makes it hold calls `changed.notify_waiters()` afterwards.
pub(crate) async fn until(changed: &Notify, holds: impl Fn() -> bool) {
    loop {
        if holds() {
            return;
        }
        let mut notified = std::pin::pin!(changed.notified());
        notified.as_mut().enable(); // From here on no change is missed.
        if holds() {
            return;
        }
        notified.await;
    }
}

/// Resolves with the output of `work`, or with `None` once `holds` does.
pub(crate) async fn unless<T>(
    changed: &Notify,
    holds: impl Fn() -> bool,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        () = until(changed, holds) => None,
        result = work => Some(result),
    }
}

/// Locks, also after a panic: the data under every lock of this crate is consistent between any
/// two statements that can panic.
pub(crate) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
