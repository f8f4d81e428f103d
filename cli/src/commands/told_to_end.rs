//! How a process that runs nodes is told to end.

use std::io::{self, IsTerminal, Read};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

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
                let _ = io::stdin().read_to_end(&mut Vec::new());
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
