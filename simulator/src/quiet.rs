//! Panics of handlers are findings, not messages for the terminal.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use synod_core::PANICKED;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    /// The place of the last panic that was not reported.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `work`; a panic in it is not reported on the standard error of the process. Panics of
/// other threads are reported as ever.
pub(crate) fn quietly<R>(work: impl FnOnce() -> R) -> R {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            } else if let Some(place) = info.location() {
                PLACE.set(place.to_string());
            }
        }));
    });
    let before = QUIET.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    match result {
        Ok(result) => result,
        Err(panic) => again(panic),
    }
}

/// Where the last panic of this thread was that [`quietly`] kept from being reported: file, line and column.
pub(crate) fn place_of_panic() -> Option<String> {
    Some(PLACE.take()).filter(|place| !place.is_empty())
}

/// Why a property does not hold, with the place of its panic if that is why.
pub(crate) fn placed(reason: String) -> String {
    match place_of_panic().filter(|_| reason.starts_with(PANICKED)) {
        Some(place) => format!("{reason} at {place}"),
        None => reason,
    }
}

/// What a panic says, if it says anything.
pub(crate) fn words_of(panic: &(dyn Any + Send)) -> Option<&str> {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
}

/// A panic of a handler is caught where it happens, so this one is of a property, or of ours: it
/// is said aloud, with its place in a line of its own.
fn again(panic: Box<dyn Any + Send>) -> ! {
    match words_of(&*panic).map(String::from) {
        // One that was said aloud already, by another thread, or that is to be said further out.
        Some(text) if QUIET.get() || text.contains("\n  at ") => panic::resume_unwind(panic),
        Some(text) => panic!("{text}\n  at {}", PLACE.take()),
        None => panic::resume_unwind(panic),
    }
}
