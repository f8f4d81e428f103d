//! A relay for the datagrams of one node to another one, which a test can break.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::net::UdpSocket;
use tokio::sync::Notify;

/// A relay. The node that dials through it is known by its first datagram.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    controls: Arc<Controls>,
}

struct Controls {
    /// Whether what the dialler sends is dropped, and what comes back.
    there: AtomicBool,
    back: AtomicBool,
    /// Larger datagrams are dropped.
    bytes_max: AtomicUsize,
    /// The largest datagram that was passed on.
    largest: AtomicUsize,
    /// Datagrams by which a node asks a dialler to prove its address.
    retries: AtomicUsize,
    /// Asks for another port towards the node behind.
    moves: Notify,
}

impl Controls {
    fn new() -> Self {
        Self {
            there: AtomicBool::new(false),
            back: AtomicBool::new(false),
            bytes_max: AtomicUsize::new(DATAGRAM_BYTES_MAX),
            largest: AtomicUsize::new(0),
            retries: AtomicUsize::new(0),
            moves: Notify::new(),
        }
    }

    /// Whether a datagram of this size is passed on in a direction that may be cut.
    fn passes(&self, is_cut: &AtomicBool, size: usize) -> bool {
        let passes =
            !is_cut.load(Ordering::Relaxed) && size <= self.bytes_max.load(Ordering::Relaxed);
        if passes {
            self.largest.fetch_max(size, Ordering::Relaxed);
        }
        passes
    }
}

impl Proxy {
    /// A relay to `target`, for as long as the runtime lives.
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let front = bind().await;
        let address = front.local_addr().expect("bound");
        let controls = Arc::new(Controls::new());
        tokio::spawn(relay(front, target, Arc::clone(&controls)));
        Self { address, controls }
    }

    /// Drops what the dialler sends, or what comes back, or lets it through again.
    pub(crate) fn cut(&self, there: bool, back: bool) {
        self.controls.there.store(there, Ordering::Relaxed);
        self.controls.back.store(back, Ordering::Relaxed);
    }

    /// Drops larger datagrams in both directions, as a path does whose packets became smaller.
    pub(crate) fn drop_larger_than(&self, bytes: usize) {
        self.controls.bytes_max.store(bytes, Ordering::Relaxed);
    }

    /// The size of the largest datagram that was passed on, in bytes.
    pub(crate) fn largest(&self) -> usize {
        self.controls.largest.load(Ordering::Relaxed)
    }

    /// How many times a dialler was asked to prove its address.
    pub(crate) fn retries(&self) -> usize {
        self.controls.retries.load(Ordering::Relaxed)
    }

    /// Goes on from another port, as a translator of addresses does that has forgotten the old one.
    pub(crate) fn change_port(&self) {
        self.controls.moves.notify_one();
    }
}

async fn bind() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.expect("a free port")
}

async fn relay(front: UdpSocket, target: SocketAddr, controls: Arc<Controls>) {
    let mut behind = bind().await;
    let mut dialler = None;
    let (mut there, mut back) = (vec![0; DATAGRAM_BYTES_MAX], vec![0; DATAGRAM_BYTES_MAX]);
    loop {
        // Errors are those of a port that is closed already; what is lost then is lost.
        tokio::select! {
            Ok((size, from)) = front.recv_from(&mut there) => {
                dialler = Some(from);
                let bytes = there.get(..size).unwrap_or_default();
                if controls.passes(&controls.there, size) {
                    let _ = behind.send_to(bytes, target).await;
                }
            }
            Ok((size, _)) = behind.recv_from(&mut back) => {
                let bytes = back.get(..size).unwrap_or_default();
                if bytes.first().is_some_and(|first| first & RETRY == RETRY) {
                    controls.retries.fetch_add(1, Ordering::Relaxed);
                }
                if let Some(dialler) = dialler.filter(|_| controls.passes(&controls.back, size)) {
                    let _ = front.send_to(bytes, dialler).await;
                }
            }
            () = controls.moves.notified() => behind = bind().await,
            else => tokio::task::yield_now().await,
        }
    }
}

/// RFC 9000, section 17.2.5: the first bits of a Retry packet, which are not protected.
const RETRY: u8 = 0xf0;

const DATAGRAM_BYTES_MAX: usize = 65_536;
