//! The UDP socket, with buffers large enough for a burst, and how an endpoint waits for it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::AsyncUdpSocket;
use socket2::{Domain, Protocol, Socket, Type};
use synod_core::TransportError;
use tracing::warn;

/// Binds a socket. Buffers that the system cuts are a warning, not an error.
pub(crate) fn bind(address: SocketAddr, buffer_bytes: usize) -> Result<UdpSocket, TransportError> {
    let refused = |error| TransportError(format!("cannot listen on {address}/udp: {error}"));
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).map_err(refused)?;
    enlarge(&socket, address, buffer_bytes);
    socket.bind(&address.into()).map_err(refused)?;
    Ok(socket.into())
}

/// The socket as an endpoint uses it. To be called within a runtime.
#[cfg(target_os = "linux")]
pub(crate) fn wrap(socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    Ok(Arc::new(port::Port::new(socket)?))
}

/// The socket as an endpoint uses it. To be called within a runtime.
#[cfg(not(target_os = "linux"))]
pub(crate) fn wrap(socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    quinn::Runtime::wrap_udp_socket(&quinn::TokioRuntime, socket)
}

#[cfg(target_os = "linux")]
mod port;

/// Small buffers cost a twentieth of all packets under load.
fn enlarge(socket: &Socket, address: SocketAddr, bytes: usize) {
    let granted = granted(socket, bytes);
    if granted < bytes {
        warn!(
            %address, asked = bytes, granted,
            "the system grants small socket buffers: raise net.core.rmem_max and net.core.wmem_max"
        );
    }
}

/// Asks for buffers of so many bytes, and says what the smaller one has got.
pub(crate) fn granted(socket: &Socket, bytes: usize) -> usize {
    // What was granted is read back, so errors here need no handling of their own.
    let _ = socket.set_recv_buffer_size(bytes);
    let _ = socket.set_send_buffer_size(bytes);
    socket.recv_buffer_size().unwrap_or(0).min(socket.send_buffer_size().unwrap_or(0))
}
