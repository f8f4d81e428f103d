//! A socket that asks the system as seldom as it can: a round trip is short, and each system call is a
//! part of it.
//!
//! quinn's own looks for more after each packet, and is told after each that there is room for another
//! one, which it never waits for.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A socket that is told of what comes, and of room only while there is none.
#[derive(Debug)]
pub(super) struct Port {
    io: AsyncFd<UdpSocket>,
    state: UdpSocketState,
    /// Whether the system had no room for what was sent last.
    is_full: AtomicBool,
    /// Whether all buffers were filled that the system was given last.
    is_busy: AtomicBool,
}

/// Buffers that the system is given while datagrams come one by one: each takes time, and the second
/// one, left empty, says that there is no more.
const FEW: usize = 2;

impl Port {
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        let io = watch(socket, Interest::READABLE)?;
        let (is_full, is_busy) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { io, state, is_full, is_busy })
    }
}

impl AsyncUdpSocket for Port {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room { port: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let sent = self.state.send(self.io.get_ref().into(), transmit);
        if is_blocked(&sent) {
            self.is_full.store(true, Ordering::Relaxed);
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut readable = ready!(self.io.poll_read_ready(cx))?;
            let is_busy = self.is_busy.load(Ordering::Relaxed);
            let given = if is_busy { buffers.len() } else { FEW.min(buffers.len()) };
            let (buffers, _) = buffers.split_at_mut(given);
            let received = self.state.recv(self.io.get_ref().into(), buffers, metas);
            let is_busy = received.as_ref().is_ok_and(|count| *count == given);
            self.is_busy.store(is_busy, Ordering::Relaxed);
            // The system has seen that there is no more; it tells when more comes.
            if received.is_ok() && !is_busy {
                readable.clear_ready();
            }
            if !is_blocked(&received) {
                return Poll::Ready(received);
            }
            readable.clear_ready();
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }
}

#[allow(
    deprecated,
    reason = "what takes its place is unsafe, for types that give their descriptor away: this one does not"
)]
fn watch(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
    AsyncFd::with_interest(socket, interest)
}

fn is_blocked<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Waits for room to send, for one task.
#[derive(Debug)]
struct Room {
    port: Arc<Port>,
    /// The same socket, watched for room, while there is none.
    waiting: Option<AsyncFd<UdpSocket>>,
}

impl UdpPoller for Room {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_none() {
            if !self.port.is_full.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            let socket = self.port.io.get_ref().try_clone()?;
            self.waiting = Some(watch(socket, Interest::WRITABLE)?);
        }
        if let Some(waiting) = &self.waiting {
            let _has_room = ready!(waiting.poll_write_ready(cx))?;
        }
        self.waiting = None;
        self.port.is_full.store(false, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn port() -> Arc<Port> {
        Arc::new(Port::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap())
    }

    fn send(from: &Port, to: &Port, byte: u8) {
        let (destination, contents) = (to.local_addr().unwrap(), &[byte; 8][..]);
        let (ecn, segment_size, src_ip) = (None, None, None);
        from.try_send(&Transmit { destination, ecn, contents, segment_size, src_ip }).unwrap();
    }

    /// The first byte of each datagram that comes next, four at most.
    fn poll_some(port: &Port, cx: &mut Context<'_>) -> Poll<Vec<u8>> {
        let mut buffers = [[0; 64]; 4];
        let mut buffers = buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
        let mut metas = [RecvMeta::default(); 4];
        let received = ready!(port.poll_recv(cx, &mut buffers, &mut metas)).unwrap();
        Poll::Ready(buffers.iter().take(received).filter_map(|it| it.first().copied()).collect())
    }

    #[tokio::test]
    async fn every_datagram_is_received_however_many_wait_and_the_next_one_is_waited_for() {
        let (one, two) = (port(), port());
        for count in [1, 2, 3, 9, 14] {
            (0..count).for_each(|byte| send(&one, &two, byte));
            let mut received = Vec::new();
            while received.len() < usize::from(count) {
                let next = timeout(PATIENCE, poll_fn(|cx| poll_some(&two, cx))).await;
                received.extend(next.expect("a datagram"));
            }
            assert_eq!(received, Vec::from_iter(0..count));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(poll_some(&two, &mut cx).is_pending());
        }
        let (sent, received) = tokio::join!(
            async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                send(&one, &two, 9);
            },
            timeout(PATIENCE, poll_fn(|cx| poll_some(&two, cx))),
        );
        assert_eq!((sent, received), ((), Ok(vec![9])));
    }

    #[tokio::test]
    async fn after_a_send_that_finds_no_room_the_next_one_waits_until_the_system_has_some() {
        let port = port();
        let (mut one, mut two) = (port.clone().create_io_poller(), port.clone().create_io_poller());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(one.as_mut().poll_writable(&mut cx).is_ready());
        port.is_full.store(true, Ordering::Relaxed);
        for room in [&mut one, &mut two] {
            assert!(room.as_mut().poll_writable(&mut cx).is_pending());
        }
        for room in [&mut one, &mut two] {
            let has_room = poll_fn(|cx| room.as_mut().poll_writable(cx));
            timeout(PATIENCE, has_room).await.expect("room").unwrap();
            assert!(room.as_mut().poll_writable(&mut cx).is_ready());
        }
    }
}
