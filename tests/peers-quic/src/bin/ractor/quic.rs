//! ractor_cluster over a stream of its own transport: one QUIC connection for each pair of nodes.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Endpoint, RecvStream, SendStream};
use ractor::ActorRef;
use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream, NodeServerMessage};
use tokio_rustls::rustls::{ClientConfig, ServerConfig};

struct Stream(SendStream, RecvStream);

impl ClusterBidiStream for Stream {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        (Box::new(self.1), Box::new(self.0))
    }
}

/// Hands every connection that comes in to the node server.
pub(crate) fn listen(address: SocketAddr, tls: ServerConfig, server: ActorRef<NodeServerMessage>) {
    let crypto = QuicServerConfig::try_from(tls).expect("ciphers for QUIC");
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint = Endpoint::server(config, address).expect("a port");
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let connection = incoming.await.expect("a handshake");
            let (send, receive) = connection.accept_bi().await.expect("a stream");
            let stream = Box::new(Stream(send, receive));
            let opened = NodeServerMessage::ConnectionOpenedExternal { stream, is_server: true };
            server.cast(opened).expect("it lives");
        }
    });
}

pub(crate) async fn connect(
    (own, address): (SocketAddr, SocketAddr),
    (tls, name): (ClientConfig, &str),
    server: &ActorRef<NodeServerMessage>,
) {
    let crypto = QuicClientConfig::try_from(tls).expect("ciphers for QUIC");
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let endpoint = Endpoint::client(SocketAddr::new(own.ip(), 0)).expect("a port");
    let connecting = endpoint.connect_with(config, address, name).expect("a valid name");
    let connection = connecting.await.expect("a handshake");
    let (send, receive) = connection.open_bi().await.expect("a stream");
    let stream = Box::new(Stream(send, receive));
    ractor_cluster::client_connect_external(server, stream).await.expect("it lives");
}
