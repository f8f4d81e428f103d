//! Panics of handlers are findings, not messages for the terminal.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
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

/// What a panic says, if it says anything.
pub(crate) fn words_of(panic: &(dyn Any + Send)) -> Option<&str> {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
}

/// A panic of a handler is caught where it happens, so this one is of a property, or of ours: it
/// is said aloud.
fn again(panic: Box<dyn Any + Send>) -> ! {
    match words_of(&*panic) {
        Some(text) => panic!("{text}"),
        None => panic::resume_unwind(panic),
    }
}
