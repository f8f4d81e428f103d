//! The endpoint of a node, and how it is opened anew when it has died.
//!
//! An endpoint dies with its socket: quinn then takes nothing in any more and tells nobody. Links
//! outlast that as they outlast a connection.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, UdpPoller};
use synod_core::NodeId;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use crate::limits::Limits;
use crate::socket;

/// The endpoint that is open now, or why there is none.
#[derive(Debug)]
pub(crate) struct Gateway {
    me: NodeId,
    address: SocketAddr,
    buffer_bytes: usize,
    packet_bytes_max: u16,
    server: ServerConfig,
    /// None while it is opened anew: a dead one would keep the address.
    endpoint: RwLock<Option<Arc<Endpoint>>>,
    fault: Mutex<Option<String>>,
}

impl Gateway {
    /// Has an endpoint let in whom `server` lets in.
    pub(crate) fn new(
        me: NodeId,
        endpoint: Endpoint,
        limits: &Limits,
        server: ServerConfig,
    ) -> io::Result<Self> {
        let Limits { socket_buffer_bytes: buffer_bytes, packet_bytes_max, .. } = *limits;
        let address = endpoint.local_addr()?;
        endpoint.set_server_config(Some(server.clone()));
        let (endpoint, fault) = (RwLock::new(Some(Arc::new(endpoint))), Mutex::default());
        Ok(Self { me, address, buffer_bytes, packet_bytes_max, server, endpoint, fault })
    }

    /// The endpoint, if it is open. Whoever keeps it keeps its address from being opened anew.
    pub(crate) fn endpoint(&self) -> Option<Arc<Endpoint>> {
        self.endpoint.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn server(&self) -> &ServerConfig {
        &self.server
    }

    /// Why nobody can come in or be dialled, if that is so.
    pub(crate) fn fault(&self) -> Option<String> {
        self.is_lost().clone()
    }

    /// The endpoint has died: says so, and opens another one on the same address, however long
    /// that takes. The first attempt comes after `pause`, the others after longer and longer ones.
    pub(crate) async fn reopen(&self, mut pause: Duration) {
        let (node, address, began) = (self.me, self.address, Instant::now());
        let mut why = String::from("its socket has failed");
        *self.is_lost() = Some(format!("nobody can be reached at {address}/udp: {why}"));
        error!(%node, %address, "the endpoint has died, and is opened anew");
        self.put(None);
        loop {
            sleep(pause).await;
            let opened =
                socket::bind(address, self.buffer_bytes).map_err(|error| error.to_string());
            let opened = opened.and_then(|socket| {
                let opened = open(socket, self.packet_bytes_max);
                opened.map_err(|error| error.to_string())
            });
            match opened {
                Ok(endpoint) => {
                    endpoint.set_server_config(Some(self.server.clone()));
                    self.put(Some(Arc::new(endpoint)));
                    break;
                }
                Err(error) if error != why => {
                    warn!(%node, "the endpoint cannot be opened yet: {error}");
                    *self.is_lost() = Some(error.clone());
                    why = error;
                }
                Err(_) => (),
            }
            pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        }
        *self.is_lost() = None;
        info!(%node, %address, after = ?began.elapsed(), "the endpoint is open again");
    }

    /// Takes the socket away from the endpoint, as a system can that takes the network down.
    pub(crate) fn fail_socket(&self, how: Failing) -> io::Result<()> {
        match self.endpoint() {
            Some(endpoint) => endpoint.rebind_abstract(Arc::new(Failed(self.address, how))),
            None => Ok(()),
        }
    }

    fn put(&self, endpoint: Option<Arc<Endpoint>>) {
        *self.endpoint.write().unwrap_or_else(PoisonError::into_inner) = endpoint;
    }

    fn is_lost(&self) -> MutexGuard<'_, Option<String>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An endpoint that lets nobody in. To be called within a runtime.
pub(crate) fn open(socket: UdpSocket, packet_bytes_max: u16) -> io::Result<Endpoint> {
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(packet_bytes_max).map_err(io::Error::other)?;
    let (socket, nobody) = (socket::wrap(socket)?, None);
    Endpoint::new_with_abstract_socket(config, nobody, socket, Arc::new(TokioRuntime))
}

/// How long to wait before an endpoint is opened anew that has lived for `lived`, if the one before
/// it had to wait for `before`: one that dies at once, over and over, must not keep the processor
/// busy.
pub(crate) fn pause_after(lived: Duration, before: Duration) -> Duration {
    if LIVED_LONG <= lived { Duration::ZERO } else { (before * 2).clamp(PAUSE_MIN, PAUSE_MAX) }
}

const PAUSE_MIN: Duration = Duration::from_millis(20);

const PAUSE_MAX: Duration = Duration::from_secs(2);

/// An endpoint that has lived as long is opened anew without a pause.
const LIVED_LONG: Duration = Duration::from_secs(10);

/// How a socket fails that is made to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failing {
    /// As sockets do.
    Error,
    /// By a panic within quinn.
    Panic,
}

/// What is left of a socket that the system has taken away.
#[derive(Debug)]
struct Failed(SocketAddr, Failing);

impl Failed {
    fn error() -> io::Error {
        io::Error::new(io::ErrorKind::NetworkDown, "the socket was taken away")
    }
}

impl AsyncUdpSocket for Failed {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable)
    }

    fn try_send(&self, _: &Transmit<'_>) -> io::Result<()> {
        Err(Self::error())
    }

    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        _: &mut [IoSliceMut<'_>],
        _: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        match self.1 {
            Failing::Error => Poll::Ready(Err(Self::error())),
            Failing::Panic => panic!("this is what is tried"),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0)
    }
}

#[derive(Debug)]
struct Writable;

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
