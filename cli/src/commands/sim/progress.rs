//! Tells on the standard error how far many runs are.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::printer::{Printer, thousands};

/// How often a line on a terminal changes, and how often there is a line elsewhere.
const TERMINAL_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Does `work`, which counts the runs that have ended; says meanwhile how many of `all` these are. What
/// programs read is the same whatever the time it takes, so they are told nothing.
pub(super) fn telling<R>(printer: &Printer, all: u64, work: impl FnOnce(&AtomicU64) -> R) -> R {
    let ended = AtomicU64::new(0);
    if printer.is_for_programs() {
        return work(&ended);
    }
    let on_terminal = io::stderr().is_terminal();
    let every = if on_terminal { TERMINAL_EVERY } else { LINE_EVERY };
    let (working, over) = channel::<()>();
    thread::scope(|scope| {
        let teller = Teller { ended: &ended, all, every, on_terminal };
        scope.spawn(move || teller.tell(&over, &mut io::stderr()));
        let _working = working; // Dropped also if the work panics.
        work(&ended)
    })
}

struct Teller<'a> {
    ended: &'a AtomicU64,
    all: u64,
    every: Duration,
    on_terminal: bool,
}

impl Teller<'_> {
    /// Until whoever works has gone.
    fn tell(&self, over: &Receiver<()>, out: &mut impl Write) {
        let begun = Instant::now();
        let mut is_standing = false;
        while over.recv_timeout(self.every) == Err(RecvTimeoutError::Timeout) {
            let ended = self.ended.load(Ordering::Relaxed);
            let rate = u128::from(ended) * 1_000 / begun.elapsed().as_millis().max(1);
            let rate = thousands(u64::try_from(rate).unwrap_or(u64::MAX));
            let line = format!("  {} of {} runs · {rate}/s", thousands(ended), thousands(self.all));
            // Nobody who reads is no reason to stop.
            let _ = match self.on_terminal {
                true => write!(out, "\r{line}\x1b[K").and_then(|()| out.flush()),
                false => writeln!(out, "{line}"),
            };
            is_standing = self.on_terminal;
        }
        if is_standing {
            let _ = write!(out, "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Sender;

    use super::*;

    /// What is told until the first line is there: whoever works is gone then.
    struct First {
        told: Vec<u8>,
        working: Option<Sender<()>>,
    }

    impl Write for First {
        fn write(&mut self, part: &[u8]) -> io::Result<usize> {
            self.working = None;
            self.told.write(part)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn told(on_terminal: bool) -> String {
        let ended = AtomicU64::new(1_234);
        let teller =
            Teller { ended: &ended, all: 5_000, every: Duration::from_millis(1), on_terminal };
        let (working, over) = channel::<()>();
        let mut out = First { told: Vec::new(), working: Some(working) };
        teller.tell(&over, &mut out);
        String::from_utf8(out.told).expect("a text")
    }

    #[test]
    fn a_terminal_has_one_line_that_is_wiped_and_a_file_has_lines() {
        let line = "  1,234 of 5,000 runs · ";
        let (terminal, file) = (told(true), told(false));
        assert!(terminal.starts_with(&format!("\r{line}")), "{terminal:?}");
        assert!(terminal.ends_with("/s\x1b[K\r\x1b[K") && !terminal.contains('\n'), "{terminal:?}");
        assert!(file.starts_with(line) && file.ends_with("/s\n"), "{file:?}");
    }
}
