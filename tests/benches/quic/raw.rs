//! Bare quinn endpoints, set up as the transport sets up its own: the limit. A process has one
//! thread; a sender writes the same frames, many at once.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, MtuDiscoveryConfig, RecvStream, SendStream,
    ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use socket2::{Domain, Socket, Type};
use synod_core::NodeId;
use synod_transport_quic::{Bundle, Limits};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::child::{self, Order, Payload, RESUME_BYTES, Times};
use crate::place::{SENDER, bundle_of};

/// Runs an endpoint for as long as it is asked for anything.
pub(crate) fn run(place: &Path, node: NodeId, packet_bytes_max: u16) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a thread");
    let bundle = Bundle::read(&bundle_of(place, node)).expect("a bundle");
    let begin = Instant::now();
    let _inside = runtime.enter();
    if node != SENDER {
        let endpoint = endpoint(
            bundle.listen,
            packet_bytes_max,
            Some(server_config(&bundle, packet_bytes_max)),
        );
        runtime.spawn(receive_all(endpoint));
        child::serve(begin.elapsed(), |_| Vec::new());
        return;
    }
    let endpoint = endpoint(bundle.listen, packet_bytes_max, None);
    let dialing = runtime.spawn(dial_all(endpoint.clone(), bundle.clone(), packet_bytes_max));
    let mut connections = runtime.block_on(dialing).expect("connections");
    child::serve(begin.elapsed(), |order| {
        let begin = Instant::now();
        if let Order::Resume = order {
            connections.iter().for_each(|lost| lost.close(VarInt::from_u32(0), b"lost"));
            let dialing =
                runtime.spawn(dial_all(endpoint.clone(), bundle.clone(), packet_bytes_max));
            connections = runtime.block_on(dialing).expect("connections");
            return vec![begin.elapsed()];
        }
        let connections = connections.clone();
        let obeyed = runtime.spawn(async move {
            let first = connections.first().cloned().expect("a receiver");
            match order {
                Order::Flood { events, bytes } => vec![flood(connections, events, bytes).await],
                Order::Ping { pings, bytes } => child::percentiles(ping(first, pings, bytes).await),
                Order::Within { .. } | Order::Resume => Times::new(),
            }
        });
        runtime.block_on(obeyed).expect("no panic")
    });
}

/// Connections on which an event has gone to and fro: from then on each side knows that the other one has
/// verified it.
async fn dial_all(endpoint: Endpoint, bundle: Bundle, packet_bytes_max: u16) -> Vec<Connection> {
    let client = client_config(&bundle, packet_bytes_max);
    let mut connections = Vec::new();
    for (node, address) in bundle.peers.iter().filter(|(node, _)| **node != SENDER) {
        let (name, address) = (bundle.cluster.certificate_name(*node), address.parse());
        let address: SocketAddr = address.expect("an address");
        let connecting = endpoint.connect_with(client.clone(), address, &name);
        let connection = connecting.expect("a valid name").await.expect("a handshake");
        ping(connection.clone(), 1, RESUME_BYTES).await;
        connections.push(connection);
    }
    connections
}

async fn receive_all(endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        let connection = incoming.await.expect("a handshake");
        tokio::spawn(async move {
            while let Ok((send, receive)) = connection.accept_bi().await {
                tokio::spawn(receive_one(send, receive));
            }
        });
    }
}

/// The first byte says whether frames are to be counted or echoed.
async fn receive_one(mut send: SendStream, mut receive: RecvStream) {
    let mut what = [0];
    receive.read_exact(&mut what).await.expect("a connection");
    if what == FLOOD {
        let count = count(receive).await;
        send.write_all(&count.to_le_bytes()).await.expect("a connection");
        send.finish().expect("an open stream");
        return;
    }
    let mut size = [0; 4];
    receive.read_exact(&mut size).await.expect("a connection");
    let mut frame = vec![0; u32::from_le_bytes(size) as usize];
    while receive.read_exact(&mut frame).await.is_ok() && send.write_all(&frame).await.is_ok() {}
}

async fn flood(connections: Vec<Connection>, events: u64, bytes: usize) -> Duration {
    let begin = Instant::now();
    let mut floods = JoinSet::new();
    for connection in connections {
        floods.spawn(async move {
            let (send_stream, mut receive) = connection.open_bi().await.expect("a stream");
            send(send_stream, frame_of(bytes), events).await;
            let mut count = [0; 8];
            receive.read_exact(&mut count).await.expect("a connection");
            assert_eq!(u64::from_le_bytes(count), events, "frames were lost");
        });
    }
    floods.join_all().await;
    begin.elapsed()
}

async fn ping(connection: Connection, pings: u64, bytes: usize) -> Vec<Duration> {
    let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
    let mut frame = frame_of(bytes);
    let size = u32::try_from(frame.len()).expect("a small frame").to_le_bytes();
    send.write_all(&[&PING[..], &size].concat()).await.expect("a connection");
    let mut trips = Vec::new();
    for _ in 0..pings {
        let begin = Instant::now();
        send.write_all(&frame).await.expect("a connection");
        receive.read_exact(&mut frame).await.expect("an echo");
        trips.push(begin.elapsed());
    }
    trips
}

/// A frame as a lane carries it: a length, the header of an envelope, and the body.
fn frame_of(bytes: usize) -> Vec<u8> {
    let body = postcard::to_allocvec(&Payload::of_size(bytes)).expect("a payload");
    let length = u32::try_from(HEADER_BYTES + body.len()).expect("a small frame").to_le_bytes();
    [&length[..], &[0; HEADER_BYTES], &body].concat()
}

async fn send(mut stream: SendStream, mut frame: Vec<u8>, frames: u64) {
    let mut buffer = Vec::with_capacity(WRITE_BYTES + frame.len());
    buffer.extend_from_slice(&FLOOD);
    for number in 0..frames {
        let place = frame.get_mut(NUMBER_AT..).and_then(<[u8]>::first_chunk_mut);
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
async fn count(mut stream: RecvStream) -> u64 {
    let mut chunks = [const { Bytes::new() }; READ_CHUNKS];
    let mut bytes = Vec::new();
    let mut frames = 0;
    while let Some(count) = stream.read_chunks(&mut chunks).await.expect("a connection") {
        chunks.iter().take(count).for_each(|chunk| bytes.extend_from_slice(chunk));
        let mut rest = bytes.as_slice();
        while let Some((frame, after)) = split_frame(rest) {
            let number = frame.get(NUMBER_AT..).and_then(<[u8]>::first_chunk);
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

fn endpoint(address: SocketAddr, packet_bytes_max: u16, server: Option<ServerConfig>) -> Endpoint {
    let bytes = Limits::default().socket_buffer_bytes;
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
    socket.set_recv_buffer_size(bytes).expect("a buffer");
    socket.set_send_buffer_size(bytes).expect("a buffer");
    socket.bind(&address.into()).expect("a port");
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(packet_bytes_max).expect("a size");
    let endpoint = Endpoint::new(config, server, UdpSocket::from(socket), Arc::new(TokioRuntime));
    endpoint.expect("an endpoint")
}

/// The bounds that the transport gives a connection by default.
fn transport_config(packet_bytes_max: u16) -> Arc<TransportConfig> {
    let limits = Limits::default();
    let mut packets = MtuDiscoveryConfig::default();
    packets.upper_bound(packet_bytes_max);
    if packet_bytes_max == Limits::PACKET_BYTES_CAP {
        packets.minimum_change(packet_bytes_max - PACKET_BYTES_MIN);
    }
    let mut config = TransportConfig::default();
    config
        .mtu_discovery_config(Some(packets))
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

fn server_config(bundle: &Bundle, packet_bytes_max: u16) -> ServerConfig {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(bundle), provider());
    let (chain, key) = identity(bundle);
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(chain, key)
        .expect("a certificate");
    let crypto = QuicServerConfig::try_from(tls).expect("ciphers for QUIC");
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport_config(packet_bytes_max));
    config
}

fn client_config(bundle: &Bundle, packet_bytes_max: u16) -> ClientConfig {
    let (chain, key) = identity(bundle);
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots(bundle))
        .with_client_auth_cert(chain, key)
        .expect("a certificate");
    let crypto = QuicClientConfig::try_from(tls).expect("ciphers for QUIC");
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport_config(packet_bytes_max));
    config
}

fn identity(bundle: &Bundle) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let credentials = &bundle.credentials;
    let certificate = CertificateDer::from_pem_slice(credentials.certificate_pem.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(credentials.key_pem.as_bytes());
    (vec![certificate.expect("a certificate")], key.expect("a key"))
}

fn roots(bundle: &Bundle) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for authority in &bundle.authorities {
        let root = CertificateDer::from_pem_slice(authority.as_bytes());
        roots.add(root.expect("a certificate")).expect("an authority");
    }
    Arc::new(roots)
}

/// The ciphers in the order of the transport.
fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384];
    Arc::new(CryptoProvider { cipher_suites, ..default_provider() })
}

/// What quinn has by itself.
pub(crate) const PACKET_BYTES: u16 = 1_472;

/// Every path of QUIC takes as many.
const PACKET_BYTES_MIN: u16 = 1_200;

/// What is written at once, in bytes.
const WRITE_BYTES: usize = 32 * 1024;

/// Packets' worth of data that is read at once.
const READ_CHUNKS: usize = 64;

const FLOOD: [u8; 1] = *b"f";
const PING: [u8; 1] = *b"p";

/// Bytes of the header of an envelope for the root of a stack.
const HEADER_BYTES: usize = 10;

/// Where the number stands in a frame: after the length and the header of the envelope.
const NUMBER_AT: usize = 4 + HEADER_BYTES;
