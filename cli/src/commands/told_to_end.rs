//! How a process that runs nodes is told to end.

use std::io::{self, IsTerminal};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::problem::Problem;

/// Hears when the process is told to end, from the making of this on: by a signal, or by the end of its input.
pub(crate) struct ToldToEnd {
    terminate: io::Result<Signal>,
    interrupt: io::Result<Signal>,
    quit: io::Result<Signal>,
    hangup: io::Result<Signal>,
    stdin_ended: Option<oneshot::Receiver<()>>,
}

impl ToldToEnd {
    /// Inside a tokio runtime.
    pub(crate) fn new(with_stdin: bool) -> Self {
        let stdin_ended = with_stdin.then(|| {
            let (ended, stdin_ended) = oneshot::channel();
            std::thread::spawn(move || {
                let _ = io::copy(&mut io::stdin(), &mut io::sink());
                let _ = ended.send(());
            });
            stdin_ended
        });
        Self {
            terminate: signal(SignalKind::terminate()),
            interrupt: signal(SignalKind::interrupt()),
            quit: signal(SignalKind::quit()),
            hangup: signal(SignalKind::hangup()),
            stdin_ended,
        }
    }

    /// Resolves when it is told once more.
    pub(crate) async fn told(&mut self) {
        let stdin_ended = async {
            match self.stdin_ended.as_mut() {
                Some(ended) => drop(ended.await),
                None => std::future::pending().await,
            }
        };
        let from_stdin = tokio::select! {
            () = received(&mut self.terminate) => false,
            () = received(&mut self.interrupt) => false,
            () = received(&mut self.quit) => false,
            () = terminal_gone(&mut self.hangup) => false,
            () = stdin_ended => true,
        };
        if from_stdin {
            self.stdin_ended = None;
        }
    }
}

/// Does something when this process is told to end by a signal, which then does not end it.
///
/// # Errors
///
/// A [`Problem`] of the environment.
pub(super) fn when_told_to_end(act: impl FnOnce() + Send + 'static) -> Result<(), Problem> {
    let failed = |error| Problem::environment("cannot listen for signals", &error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let inside = runtime.enter();
    let mut told_to_end = ToldToEnd::new(false);
    drop(inside);
    std::thread::spawn(move || {
        runtime.block_on(told_to_end.told());
        act();
    });
    Ok(())
}

/// Resolves with the next signal; never where there are none to listen to.
async fn received(signal: &mut io::Result<Signal>) {
    match signal {
        Ok(signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    }
}

/// A process that began on a terminal ends with it. To a service the same signal says that its files are new, and those
/// are looked at without being told.
async fn terminal_gone(hangup: &mut io::Result<Signal>) {
    // Of a terminal that is gone nobody can tell any more that it was one.
    let on_a_terminal = io::stdin().is_terminal();
    loop {
        received(hangup).await;
        if on_a_terminal {
            return;
        }
        tracing::info!("SIGHUP: nothing to do, the files are looked at every few seconds");
    }
}
