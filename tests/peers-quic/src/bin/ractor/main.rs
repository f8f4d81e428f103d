//! Actors of ractor, in one process or over ractor_cluster: its TCP, its TLS, or a stream of quinn.

#[path = "../../../../benches/quic/child.rs"]
mod child;
mod quic;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use child::{Order, Payload, Times};
use ractor::{Actor, ActorProcessingErr, ActorRef, BytesConvertable, RpcReplyPort, call, pg};
use ractor_cluster::{
    IncomingEncryptionMode, NodeServer, NodeServerMessage, RactorClusterMessage, client_connect,
    client_connect_enc,
};
use tokio::runtime::Runtime;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

impl BytesConvertable for Payload {
    fn into_bytes(self) -> Vec<u8> {
        postcard::to_allocvec(&self).expect("a payload")
    }

    fn from_bytes(bytes: Vec<u8>) -> Self {
        postcard::from_bytes(&bytes).expect("a payload")
    }
}

#[derive(RactorClusterMessage)]
enum Message {
    Data(Payload),
    #[rpc]
    Count(RpcReplyPort<u64>),
    #[rpc]
    Echo(Payload, RpcReplyPort<Payload>),
}

struct Receiver;

impl Actor for Receiver {
    type Msg = Message;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        count: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Data(payload) => {
                assert_eq!(payload.number(), *count, "an event is out of order");
                *count += 1;
            }
            Message::Count(port) => port.send(std::mem::take(count))?,
            Message::Echo(payload, port) => port.send(payload)?,
        }
        Ok(())
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = Runtime::new().expect("threads");
    let begin = Instant::now();
    let receivers = match words.as_slice() {
        [_, name, place, node] => {
            let wire = match *name {
                "ractor-tls" => Wire::Tls,
                "ractor-quic" => Wire::Quic,
                _ => Wire::Tcp,
            };
            let node = node.parse().expect("a number");
            runtime.block_on(End { place: PathBuf::from(place), node, wire }.start())
        }
        _ => vec![runtime.block_on(Actor::spawn(None, Receiver, ())).expect("it starts").0],
    };
    child::serve(begin.elapsed(), |order| {
        let receivers = receivers.clone();
        let obeyed = runtime.spawn(async move {
            match order {
                Order::Flood { events, bytes } => vec![flood(&receivers, events, bytes).await],
                Order::Ping { pings, bytes } => {
                    let first = receivers.first().expect("a receiver");
                    child::percentiles(ping(first, pings, bytes).await)
                }
                Order::Within { .. } | Order::Resume => Times::new(),
            }
        });
        runtime.block_on(obeyed).expect("no panic")
    });
}

async fn flood(receivers: &[ActorRef<Message>], events: u64, bytes: usize) -> Duration {
    let begin = Instant::now();
    let payload = Payload::of_size(bytes);
    for first in (0..events).step_by(BATCH) {
        let last = events.min(first + BATCH as u64);
        for receiver in receivers {
            for number in first..last {
                let mut payload = payload.clone();
                payload.numbered(number);
                receiver.cast(Message::Data(payload)).expect("it lives");
            }
        }
        tokio::task::yield_now().await;
    }
    for receiver in receivers {
        let count = call!(receiver, Message::Count).expect("an answer");
        assert_eq!(count, events, "events were lost");
    }
    begin.elapsed()
}

async fn ping(receiver: &ActorRef<Message>, pings: u64, bytes: usize) -> Vec<Duration> {
    let payload = Payload::of_size(bytes);
    let mut trips = Vec::new();
    for _ in 0..pings {
        let begin = Instant::now();
        call!(receiver, Message::Echo, payload.clone()).expect("an echo");
        trips.push(begin.elapsed());
    }
    trips
}

/// One of the processes that speak to each other.
struct End {
    place: PathBuf,
    node: u32,
    wire: Wire,
}

/// What carries the frames.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Wire {
    Tcp,
    Tls,
    Quic,
}

impl End {
    /// Starts a node server. The sender returns the receivers that it has found.
    async fn start(&self) -> Vec<ActorRef<Message>> {
        let addresses = addresses(&self.place);
        let (_, own) = addresses.iter().find(|(node, _)| *node == self.node).expect("an address");
        let mode = match self.wire {
            Wire::Tls => IncomingEncryptionMode::Tls(TlsAcceptor::from(Arc::new(self.server()))),
            Wire::Tcp | Wire::Quic => IncomingEncryptionMode::Raw,
        };
        let name = format!("n{}", self.node);
        let server = NodeServer::new(
            own.port(),
            String::from("bench"),
            name,
            String::from("localhost"),
            Some(mode),
            None,
        );
        let server = server.with_listen_addr(own.ip());
        let (server, _) = Actor::spawn(None, server, ()).await.expect("it starts");
        if self.node != SENDER {
            let receiver = Actor::spawn(None, Receiver, ()).await.expect("it starts").0;
            pg::join(GROUP.into(), vec![receiver.get_cell()]);
            if self.wire == Wire::Quic {
                quic::listen(*own, self.server(), server);
            }
            return Vec::new();
        }
        let others: Vec<_> = addresses.iter().filter(|(node, _)| *node != SENDER).collect();
        for (node, address) in &others {
            self.connect(&server, *node, (*own, *address)).await;
        }
        loop {
            let found = pg::get_members(&GROUP.into());
            if found.len() == others.len() {
                return found.into_iter().map(ActorRef::from).collect();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn connect(
        &self,
        server: &ActorRef<NodeServerMessage>,
        node: u32,
        (own, address): (SocketAddr, SocketAddr),
    ) {
        let name = format!("n{node}.bench.synod.internal");
        match self.wire {
            Wire::Tcp => client_connect(server, address).await.expect("a connection"),
            Wire::Tls => {
                let connector = TlsConnector::from(Arc::new(self.client()));
                let name = ServerName::try_from(name).expect("a valid name");
                let connected = client_connect_enc(server, address, connector, name).await;
                connected.expect("a connection");
            }
            Wire::Quic => quic::connect((own, address), (self.client(), &name), server).await,
        }
    }

    fn server(&self) -> ServerConfig {
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), provider.clone());
        let (chain, key) = self.identity();
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .expect("TLS 1.3")
            .with_client_cert_verifier(verifier.build().expect("a verifier"))
            .with_single_cert(chain, key);
        config.expect("a certificate")
    }

    fn client(&self) -> ClientConfig {
        let (chain, key) = self.identity();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(self.roots())
            .with_client_auth_cert(chain, key);
        config.expect("a certificate")
    }

    fn identity(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let certificate = self.place.join(format!("n{}.pem", self.node));
        let key = self.place.join(format!("n{}.key", self.node));
        let certificate = CertificateDer::from_pem_file(certificate).expect("a certificate");
        (vec![certificate], PrivateKeyDer::from_pem_file(key).expect("a key"))
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_file(self.place.join("authority.pem"));
        roots.add(root.expect("a certificate")).expect("an authority");
        Arc::new(roots)
    }
}

fn addresses(place: &Path) -> Vec<(u32, SocketAddr)> {
    let lines = fs::read_to_string(place.join("addresses")).expect("a list");
    let pair = |line: &str| {
        let (node, address) = line.split_once(' ').expect("a pair");
        (node.parse().expect("a number"), address.parse().expect("an address"))
    };
    lines.lines().map(pair).collect()
}

const SENDER: u32 = 1;
const GROUP: &str = "receivers";

/// Events that are sent to one receiver before the next one has its turn. Nothing holds a sender
/// back, so it gives way itself.
const BATCH: usize = 250;
