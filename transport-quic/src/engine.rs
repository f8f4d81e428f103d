//! The thread that everything of a transport runs on.

use std::io;
use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use quinn::Endpoint;
use synod_core::{NodeId, Reason};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tracing::error;

use crate::accept;
use crate::expiry;
use crate::gateway;
use crate::limits::LAST_WORDS;
use crate::link::End;
use crate::refusal::Close;
use crate::shared::Shared;

/// The thread of a transport that has not started yet. It opens the endpoint while the bundle is
/// checked and the node is made, which takes as long. Once this is dropped, the address is free again.
#[derive(Debug)]
pub(crate) struct Idle {
    opened: mpsc::Receiver<io::Result<Opened>>,
    work: Option<mpsc::Sender<Arc<Shared>>>,
    thread: Option<JoinHandle<()>>,
    stop: Arc<Notify>,
    stopped: watch::Receiver<bool>,
}

/// An endpoint that lets nobody in, and what its tasks run on.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) endpoint: Endpoint,
    pub(crate) tasks: Handle,
}

/// The thread of a transport that has started.
#[derive(Debug)]
pub(crate) struct Engine {
    /// Not owned: the inbox in it may own the transport.
    pub(crate) shared: Weak<Shared>,
    pub(crate) tasks: Handle,
    pub(crate) stop: Arc<Notify>,
    pub(crate) stopped: watch::Receiver<bool>,
}

impl Idle {
    pub(crate) fn start(me: NodeId, socket: UdpSocket, packet_bytes_max: u16) -> io::Result<Self> {
        let (opening, opened) = mpsc::channel();
        let (work, is_there) = mpsc::channel::<Arc<Shared>>();
        let (stopping, stopped) = watch::channel(false);
        let stop = Arc::new(Notify::new());
        let stopper = Arc::clone(&stop);
        let run = move || {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(opening.send(Err(error))),
            };
            let _ = opening.send(open(&runtime, socket, packet_bytes_max));
            if let Ok(shared) = is_there.recv() {
                runtime.spawn(expiry::watch(shared.me, Arc::clone(&shared.identity)));
                let told = Arc::clone(&shared);
                runtime.spawn(async move { told.journal.sum_up().await });
                work_on(&runtime, &shared, &stopper);
            }
            runtime.shutdown_timeout(SHUTDOWN);
            // Last of all: now the socket is free again.
            let _ = stopping.send(true);
        };
        let thread = thread::Builder::new().name(format!("synod-quic-{me}")).spawn(run)?;
        Ok(Self { opened, work: Some(work), thread: Some(thread), stop, stopped })
    }

    /// The endpoint, to be asked for once.
    pub(crate) fn opened(&self) -> io::Result<Opened> {
        self.opened.recv().map_err(io::Error::other)?
    }

    /// Lets peers in and dials them, until it is told to stop.
    pub(crate) fn begin(mut self, tasks: Handle, shared: Arc<Shared>) -> io::Result<Engine> {
        let (stop, stopped) = (Arc::clone(&self.stop), self.stopped.clone());
        let engine = Engine { shared: Arc::downgrade(&shared), tasks, stop, stopped };
        self.thread = None; // From here on it ends when it is told to.
        let sent = self.work.take().map(|work| work.send(shared));
        sent.transpose().map_err(|_| io::Error::other("its thread has ended"))?;
        Ok(engine)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ended_or_panicked = thread.join();
        }
    }
}

fn open(runtime: &Runtime, socket: UdpSocket, packet_bytes_max: u16) -> io::Result<Opened> {
    let _inside = runtime.enter();
    let endpoint = gateway::open(socket, packet_bytes_max)?;
    Ok(Opened { endpoint, tasks: runtime.handle().clone() })
}

/// What the thread does. A panic ends neither the thread nor its tasks.
fn work_on(runtime: &Runtime, shared: &Arc<Shared>, stop: &Notify) {
    let work = || runtime.block_on(work(shared, stop));
    while catch_unwind(AssertUnwindSafe(work)).is_err() {
        error!(node = %shared.me, "the transport has failed within, and goes on");
        let pause = {
            // A timer that is made outside of the runtime is another panic.
            let _inside = runtime.enter();
            sleep(AFTER_PANIC)
        };
        runtime.block_on(pause);
    }
}

/// Lets peers in until the node is told to stop, whatever becomes of the endpoint, and then ends
/// every link.
async fn work(shared: &Arc<Shared>, stop: &Notify) {
    let mut pause = Duration::ZERO;
    loop {
        let began = Instant::now();
        tokio::select! {
            () = accept::accept(shared) => (),
            () = stop.notified() => break,
        }
        pause = gateway::pause_after(began.elapsed(), pause);
        // They are lost with it, and would keep its socket.
        for wire in shared.peers.links().iter().filter_map(|link| link.wire()) {
            wire.connection.close(Close::Replaced.code(), b"the endpoint has died");
        }
        tokio::select! {
            () = shared.gateway.reopen(pause) => (),
            () = stop.notified() => break,
        }
    }
    shared.leaving.store(true, Ordering::Relaxed);
    for link in shared.peers.links() {
        link.end(End::new(Reason::Closed, Close::Leaving, "the node has ended"));
        shared.link_down(&link, Reason::Closed);
    }
    if let Some(endpoint) = shared.gateway.endpoint() {
        endpoint.close(Close::Leaving.code(), b"the node has ended");
        let _ = timeout(SHUTDOWN, endpoint.wait_idle()).await;
    }
}

/// How long the last packets and the last tasks may take.
const SHUTDOWN: Duration = LAST_WORDS.checked_div(4).expect("four is not zero");

/// How long the thread waits after a panic of its own.
const AFTER_PANIC: Duration = Duration::from_millis(50);
