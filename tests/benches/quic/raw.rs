//! Two bare quinn endpoints with one connection, set up as the transport sets up its own.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig,
    TokioRuntime, TransportConfig, VarInt,
};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use socket2::{Domain, Socket, Type};
use synod_core::NodeId;
use synod_transport_quic::{Authority, Credentials, Limits};
use tokio::runtime::{Builder, Runtime};

const DIALER: NodeId = NodeId(1);
const ACCEPTOR: NodeId = NodeId(2);
const HOUR: Duration = Duration::from_secs(3_600);

/// A connection between two threads.
pub(crate) struct Raw {
    dialer: Side,
    acceptor: Side,
    pub(crate) connected_in: Duration,
}

/// One end of the connection, with the thread that everything on it runs on.
struct Side {
    runtime: Runtime,
    endpoint: Endpoint,
    connection: Connection,
}

impl Raw {
    /// Connects two new endpoints.
    pub(crate) fn start() -> Self {
        let authority = Authority::new("raw", HOUR).expect("an authority");
        let (here, there) = (thread(), thread());
        let server = server_config(&authority);
        let client = client_config(&authority);
        let accepting = endpoint(&there, Some(server));
        let dialing = endpoint(&here, None);
        let address = accepting.local_addr().expect("an address");
        let name = authority.cluster().certificate_name(ACCEPTOR);
        let start = Instant::now();
        let accepted = there.spawn({
            let accepting = accepting.clone();
            async move { accepting.accept().await.expect("a dialler").await.expect("a handshake") }
        });
        let dialed = here.spawn({
            let dialing = dialing.clone();
            async move {
                let connecting = dialing.connect_with(client, address, &name);
                connecting.expect("a valid name").await.expect("a handshake")
            }
        });
        let dialed = here.block_on(dialed).expect("a connection");
        let accepted = there.block_on(accepted).expect("a connection");
        let connected_in = start.elapsed();
        Self {
            dialer: Side { runtime: here, endpoint: dialing, connection: dialed },
            acceptor: Side { runtime: there, endpoint: accepting, connection: accepted },
            connected_in,
        }
    }

    /// Sends so many copies of a frame on a stream, numbered at a place, and waits until all of
    /// them have arrived in order.
    pub(crate) fn flood(&self, frame: &[u8], number_at: usize, frames: u64) {
        let (from, to) = (self.dialer.connection.clone(), self.acceptor.connection.clone());
        let frame = frame.to_vec();
        let received = self.acceptor.runtime.spawn(async move {
            let stream = to.accept_uni().await.expect("a stream");
            receive(stream, number_at).await
        });
        let sent = self.dialer.runtime.spawn(async move {
            let stream = from.open_uni().await.expect("a stream");
            send(stream, frame, number_at, frames).await;
        });
        let received = self.acceptor.runtime.block_on(received).expect("a receiver");
        self.dialer.runtime.block_on(sent).expect("a sender");
        assert_eq!(received, frames, "frames were lost");
    }

    /// Sends a frame to and fro on one stream; how long each round trip took, in nanoseconds.
    pub(crate) fn ping(&self, frame: &[u8], pings: u64) -> Vec<u64> {
        let (from, to) = (self.dialer.connection.clone(), self.acceptor.connection.clone());
        let (frame, size) = (frame.to_vec(), frame.len());
        let echoed = self.acceptor.runtime.spawn(async move {
            let (mut send, mut receive) = to.accept_bi().await.expect("a stream");
            let mut frame = vec![0; size];
            while receive.read_exact(&mut frame).await.is_ok() {
                send.write_all(&frame).await.expect("a connection");
            }
        });
        let timed = self.dialer.runtime.spawn(async move {
            let (mut send, mut receive) = from.open_bi().await.expect("a stream");
            let mut nanos = Vec::new();
            let mut echo = frame.clone();
            for _ in 0..pings {
                let start = Instant::now();
                send.write_all(&frame).await.expect("a connection");
                receive.read_exact(&mut echo).await.expect("an echo");
                nanos.push(u64::try_from(start.elapsed().as_nanos()).expect("a short time"));
            }
            nanos
        });
        let nanos = self.dialer.runtime.block_on(timed).expect("a sender");
        self.acceptor.runtime.block_on(echoed).expect("an echo");
        nanos
    }

    /// Closes the connection and ends both threads.
    pub(crate) fn end(self) {
        for side in [self.dialer, self.acceptor] {
            side.connection.close(VarInt::from_u32(0), b"done");
            side.runtime.block_on(side.endpoint.wait_idle());
        }
    }
}

async fn send(mut stream: SendStream, mut frame: Vec<u8>, number_at: usize, frames: u64) {
    let mut buffer = Vec::with_capacity(WRITE_BYTES + frame.len());
    for number in 0..frames {
        let place = frame.get_mut(number_at..).and_then(<[u8]>::first_chunk_mut);
        *place.expect("a number") = number.to_le_bytes();
        buffer.extend_from_slice(&frame);
        if WRITE_BYTES <= buffer.len() || number + 1 == frames {
            let next = Vec::with_capacity(buffer.capacity());
            let full = std::mem::replace(&mut buffer, next);
            stream.write_chunk(Bytes::from(full)).await.expect("a connection");
        }
    }
    stream.finish().expect("an open stream");
}

/// Counts the frames of a stream.
async fn receive(mut stream: RecvStream, number_at: usize) -> u64 {
    let mut chunks = [const { Bytes::new() }; READ_CHUNKS];
    let mut bytes = Vec::new();
    let mut frames = 0;
    while let Some(count) = stream.read_chunks(&mut chunks).await.expect("a connection") {
        chunks.iter().take(count).for_each(|chunk| bytes.extend_from_slice(chunk));
        let mut rest = bytes.as_slice();
        while let Some((frame, after)) = split_frame(rest) {
            let number = frame.get(number_at..).and_then(<[u8]>::first_chunk);
            let number = u64::from_le_bytes(*number.expect("a number"));
            assert_eq!(number, frames, "a frame is out of order");
            frames += 1;
            rest = after;
        }
        let unfinished = rest.len();
        bytes.drain(..bytes.len() - unfinished);
    }
    frames
}

/// The first frame with its length, if it is whole, and what comes after it.
fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?);
    bytes.split_at_checked(size_of::<u32>() + length as usize)
}

fn thread() -> Runtime {
    let threads =
        Builder::new_multi_thread().worker_threads(1).thread_name("raw quinn").enable_all().build();
    threads.expect("a thread")
}

fn endpoint(runtime: &Runtime, server: Option<ServerConfig>) -> Endpoint {
    let bytes = Limits::default().socket_buffer_bytes;
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
    socket.set_recv_buffer_size(bytes).expect("a buffer");
    socket.set_send_buffer_size(bytes).expect("a buffer");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    let _inside = runtime.enter();
    let config = EndpointConfig::default();
    let endpoint = Endpoint::new(config, server, UdpSocket::from(socket), Arc::new(TokioRuntime));
    endpoint.expect("an endpoint")
}

/// The bounds that the transport gives a connection by default.
fn transport_config() -> Arc<TransportConfig> {
    let limits = Limits::default();
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(Some(limits.idle_timeout.try_into().expect("a short time")))
        .keep_alive_interval(Some(limits.keep_alive))
        .stream_receive_window(VarInt::from_u32(limits.stream_window))
        .receive_window(VarInt::from_u32(limits.connection_window))
        .send_window(u64::from(limits.send_window))
        .datagram_receive_buffer_size(Some(limits.datagram_bytes_max))
        .datagram_send_buffer_size(limits.datagram_bytes_max)
        .enable_segmentation_offload(limits.segmentation_offload);
    Arc::new(config)
}

fn server_config(authority: &Authority) -> ServerConfig {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(authority), provider());
    let (chain, key) = identity(authority, ACCEPTOR);
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(chain, key)
        .expect("a certificate");
    let crypto = QuicServerConfig::try_from(tls).expect("ciphers for QUIC");
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport_config());
    config
}

fn client_config(authority: &Authority) -> ClientConfig {
    let (chain, key) = identity(authority, DIALER);
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots(authority))
        .with_client_auth_cert(chain, key)
        .expect("a certificate");
    let crypto = QuicClientConfig::try_from(tls).expect("ciphers for QUIC");
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport_config());
    config
}

fn identity(
    authority: &Authority,
    node: NodeId,
) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let Credentials { certificate_pem, key_pem } =
        authority.issue(node, HOUR).expect("credentials");
    let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes());
    (vec![certificate.expect("a certificate")], key.expect("a key"))
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes());
    roots.add(root.expect("a certificate")).expect("an authority");
    Arc::new(roots)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What is written at once, in bytes.
const WRITE_BYTES: usize = 32 * 1024;

/// Packets' worth of data that is read at once.
const READ_CHUNKS: usize = 64;
