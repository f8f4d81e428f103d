//! QUIC endpoints that speak the protocol byte by byte, and so can break it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, VarInt};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, Issuer, KeyIdMethod, KeyPair, PublicKeyData, SanType, SerialNumber,
    SignatureAlgorithm,
};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{NamedGroup, RootCertStore};
use serde::{Deserialize, Serialize};
use synod_core::{Envelope, EventId, NodeId, Schema};
use synod_transport_quic::{Authority, Credentials, inspect};
use time::OffsetDateTime;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::support::{DAY, LAYOUT, PATIENCE};

/// A certificate of `authority` with any names, valid from and until so many days from now.
pub(crate) fn forge(authority: &Authority, names: &[&str], from: i64, until: i64) -> Credentials {
    let uses = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let issuer = (authority.certificate_pem(), authority.key_pem());
    forge_with(issuer, names, (from, until), &uses)
}

/// One whose issuer need not be an authority, for any uses.
pub(crate) fn forge_with(
    issuer: (&str, &str),
    names: &[&str],
    days: (i64, i64),
    uses: &[ExtendedKeyUsagePurpose],
) -> Credentials {
    forge_more(issuer, names, days, uses, Vec::new())
}

/// One with more extensions.
pub(crate) fn forge_more(
    issuer: (&str, &str),
    names: &[&str],
    days: (i64, i64),
    uses: &[ExtendedKeyUsagePurpose],
    extensions: Vec<CustomExtension>,
) -> Credentials {
    let mut params = CertificateParams::default();
    params.custom_extensions = extensions;
    let names = names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap()));
    params.subject_alt_names = names.collect();
    let now = OffsetDateTime::from(SystemTime::now());
    params.not_before = now + time::Duration::days(days.0);
    params.not_after = now + time::Duration::days(days.1);
    params.use_authority_key_identifier_extension = true;
    params.extended_key_usages = uses.to_vec();
    let issuer = Issuer::new(subject(issuer.0), KeyPair::from_pem(issuer.1).unwrap());
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    Credentials { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() }
}

/// A certificate of n2 for an RSA key of so many bits, which nobody has.
pub(crate) fn forge_rsa(authority: &Authority, bits: usize) -> Credentials {
    let mut params = CertificateParams::new([String::from("n2.demo.synod.internal")]).unwrap();
    params.use_authority_key_identifier_extension = true;
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::from_pem(authority.key_pem()).unwrap();
    let issuer = Issuer::new(subject(authority.certificate_pem()), key);
    let certificate = params.signed_by(&Rsa::new(bits), &issuer).unwrap();
    let key_pem = KeyPair::generate().unwrap().serialize_pem();
    Credentials { certificate_pem: certificate.pem(), key_pem }
}

/// An RSA key in DER: a modulus, and the exponent 65,537.
struct Rsa(Vec<u8>);

impl Rsa {
    fn new(bits: usize) -> Self {
        let modulus = encoded(2, &[&[0][..], &vec![0xb5; bits / 8]].concat());
        Self(encoded(0x30, &[modulus, encoded(2, &[1, 0, 1])].concat()))
    }
}

/// A value in DER: its tag, its length as short as can be, and its bytes.
fn encoded(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let length = match length {
        [0, length @ 0..0x80] => vec![length],
        [0, length] => vec![0x81, length],
        [high, low] => vec![0x82, high, low],
    };
    [&[tag][..], &length, bytes].concat()
}

impl PublicKeyData for Rsa {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

/// An empty list of revoked certificates that `authority` has signed, made and ended so many days
/// from now.
pub(crate) fn forge_list(authority: &Authority, from: i64, until: i64) -> String {
    let key = KeyPair::from_pem(authority.key_pem()).unwrap();
    let issuer = Issuer::new(subject(authority.certificate_pem()), key);
    let now = OffsetDateTime::from(SystemTime::now());
    let params = CertificateRevocationListParams {
        this_update: now + time::Duration::days(from),
        next_update: now + time::Duration::days(until),
        crl_number: SerialNumber::from(9_u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&issuer).unwrap().pem().unwrap()
}

/// The parameters of an issuer, as far as they stand in what it issues: the name of an authority,
/// or that of a node that plays one.
fn subject(certificate_pem: &str) -> CertificateParams {
    let facts = inspect(certificate_pem).unwrap();
    let of_cluster = || format!("{}.synod.internal", facts.cluster.clone().unwrap());
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let name = facts.names.first().cloned().unwrap_or_else(of_cluster);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn der(credentials: &Credentials) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(credentials.certificate_pem.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(credentials.key_pem.as_bytes());
    (chain.map(Result::unwrap).collect(), key.unwrap())
}

/// rustls would not show every certificate that can be forged.
fn whatever_it_is(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> SingleCertAndKey {
    let key = provider().key_provider.load_private_key(key).unwrap();
    SingleCertAndKey::from(CertifiedKey::new(chain, key))
}

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let pem = authority.certificate_pem().as_bytes();
    roots.add(CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
    roots
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The hello as it stands on the wire, written down a second time.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Greeting {
    pub(crate) cluster: String,
    pub(crate) node: u32,
    pub(crate) incarnation: u64,
    /// When its process began.
    pub(crate) began: u64,
    pub(crate) events: Vec<Told>,
}

/// Identity, name, schema and largest envelope of an event.
pub(crate) type Told = (u64, String, Schema, u32);

pub(crate) fn told(id: u64, name: &str) -> Told {
    (id, String::from(name), Schema::of_layout(LAYOUT), Envelope::BYTES_MAX)
}

impl Greeting {
    pub(crate) fn of(node: NodeId) -> Self {
        let (cluster, events) = (String::from("demo"), vec![told(EventId::of("a").bits(), "a")]);
        Self { cluster, node: node.0, incarnation: 1, began: 1, events }
    }

    /// What a hello or an answer says after its numbers.
    pub(crate) fn body(&self, session: &impl Serialize) -> Vec<u8> {
        let mut body = postcard::to_allocvec(self).unwrap();
        body.extend(postcard::to_allocvec(session).unwrap());
        body
    }

    /// A hello that offers a session, of a node that speaks one version.
    pub(crate) fn hello(&self, version: u16, offer: &Offer) -> Vec<u8> {
        self.hello_of([version; 2], offer, &[])
    }

    /// A hello of a node that speaks these versions, the newest and the oldest, and all in between, with
    /// what the newest adds.
    pub(crate) fn hello_of(&self, versions: [u16; 2], offer: &Offer, added: &[u8]) -> Vec<u8> {
        first_frame(versions, HELLO, &[&self.body(offer)[..], added].concat())
    }

    /// An answer that begins the session of that name.
    pub(crate) fn answer(&self, version: u16, session: u64) -> Vec<u8> {
        self.answer_of([version; 2], session, &[])
    }

    /// The same of a node that speaks these versions.
    pub(crate) fn answer_of(&self, versions: [u16; 2], session: u64, added: &[u8]) -> Vec<u8> {
        let body = self.body(&(session, Counts::new(), "127.0.0.1:9"));
        first_frame(versions, HELLO_ACK, &[&body[..], added].concat())
    }
}

/// The first control frame of a side: length, versions, kind of message, body.
pub(crate) fn first_frame(versions: [u16; 2], message: u8, body: &[u8]) -> Vec<u8> {
    numbered_frame(&versions, message, body)
}

/// A later control frame: length, version, kind of message, body.
pub(crate) fn control_frame(version: u16, message: u8, body: &[u8]) -> Vec<u8> {
    numbered_frame(&[version], message, body)
}

fn numbered_frame(versions: &[u16], message: u8, body: &[u8]) -> Vec<u8> {
    let versions: Vec<u8> = versions.iter().flat_map(|version| version.to_le_bytes()).collect();
    let length = u32::try_from(versions.len() + 1 + body.len()).unwrap().to_le_bytes();
    [&length[..], &versions, &[message], body].concat()
}

/// Frames of each lane.
pub(crate) type Counts = Vec<(u64, u64)>;

/// What a hello says of sessions.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Offer {
    pub(crate) wire: u64,
    pub(crate) last_wire: Option<u64>,
    pub(crate) live: Option<u64>,
    pub(crate) fresh: u64,
    pub(crate) received: Counts,
}

impl Offer {
    /// The first one of a process.
    pub(crate) fn new() -> Self {
        let number = NAME.fetch_add(1, Ordering::Relaxed);
        Self { wire: number, last_wire: None, live: None, fresh: number, received: Counts::new() }
    }
}

/// Connections and sessions have names that are drawn once.
static NAME: AtomicU64 = AtomicU64::new(1);

pub(crate) const PROTOCOL: u16 = 8;
const HELLO: u8 = 0;
const HELLO_ACK: u8 = 1;
pub(crate) const ACKNOWLEDGED: u8 = 3;
pub(crate) const ADDRESSES: u8 = 6;
pub(crate) const ADDRESSES_TAKEN: u8 = 7;
const CONFIRMED: u8 = 11;

/// A dialler.
pub(crate) struct Client {
    runtime: Arc<Runtime>,
    config: ClientConfig,
    node: NodeId,
}

impl Client {
    /// One with a good certificate.
    pub(crate) fn new(authority: &Authority, node: NodeId) -> Self {
        let credentials = authority.issue(node, DAY).unwrap();
        Self::with(authority, node, Some(credentials), b"synod/1")
    }

    /// One that shows whatever it is given.
    pub(crate) fn with(
        authority: &Authority,
        node: NodeId,
        credentials: Option<Credentials>,
        alpn: &[u8],
    ) -> Self {
        let config = Self::tls(authority, credentials.as_ref(), alpn);
        Self::of(node, config)
    }

    /// One that keeps every ticket that it is given, and would send data with the next dial.
    pub(crate) fn keeping(authority: &Authority, node: NodeId, tickets: Arc<Tickets>) -> Self {
        let credentials = Some(authority.issue(node, DAY).unwrap());
        let mut config = Self::tls(authority, credentials.as_ref(), b"synod/1");
        config.resumption = Resumption::store(tickets);
        config.enable_early_data = true;
        Self::of(node, config)
    }

    fn tls(
        authority: &Authority,
        credentials: Option<&Credentials>,
        alpn: &[u8],
    ) -> rustls::ClientConfig {
        let builder = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots(authority));
        let mut config = match credentials {
            Some(credentials) => {
                let (chain, key) = der(credentials);
                builder.with_client_cert_resolver(Arc::new(whatever_it_is(chain, key)))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        config
    }

    fn of(node: NodeId, config: rustls::ClientConfig) -> Self {
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { runtime: Arc::new(runtime), config, node }
    }

    /// Dials whatever node listens there, and says nothing yet.
    pub(crate) fn connect(&self, address: SocketAddr) -> Result<Raw, ConnectionError> {
        let runtime = Arc::clone(&self.runtime);
        let config = self.config.clone();
        let (endpoint, connected) = runtime.block_on(async {
            let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
            let mut connected = Err(ConnectionError::TimedOut);
            for name in ["n1.demo.synod.internal", "n2.demo.synod.internal"] {
                let connecting = endpoint.connect_with(config.clone(), address, name).unwrap();
                connected = timeout(PATIENCE, connecting).await.unwrap();
                if connected.is_ok() {
                    break;
                }
            }
            (endpoint, connected)
        });
        Ok(Raw { runtime, endpoint, connection: connected?, control: None })
    }

    /// Whether it could send data before a handshake.
    pub(crate) fn has_early_data(&self, address: SocketAddr) -> bool {
        self.runtime.block_on(async {
            let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
            let name = "n1.demo.synod.internal";
            let connecting = endpoint.connect_with(self.config.clone(), address, name).unwrap();
            connecting.into_0rtt().is_ok()
        })
    }

    /// Dials and says a proper hello, hears the answer, and takes it.
    pub(crate) fn link(&self, address: SocketAddr) -> Raw {
        self.link_with(address, &Offer::new()).0
    }

    /// The same with an offer, and with what is answered: a session, and what was received.
    pub(crate) fn link_with(&self, address: SocketAddr, offer: &Offer) -> (Raw, (u64, Counts)) {
        let mut raw = self.connect(address).unwrap();
        raw.say(&Greeting::of(self.node).hello(PROTOCOL, offer));
        let answer = raw.hear();
        let [_, _, _, _, HELLO_ACK, body @ ..] = answer.as_slice() else { panic!("{answer:?}") };
        let (_, session, _): (Greeting, (u64, Counts), String) =
            postcard::from_bytes(body).unwrap();
        raw.confirm();
        (raw, session)
    }
}

/// Counts the tickets that a dialler is given.
#[derive(Debug, Default)]
pub(crate) struct Tickets(AtomicUsize);

impl Tickets {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}

/// A listener.
pub(crate) struct Server {
    runtime: Arc<Runtime>,
    endpoint: Endpoint,
    node: NodeId,
}

impl Server {
    pub(crate) fn new(authority: &Authority, node: NodeId) -> Self {
        Self::with(node, &authority.issue(node, DAY).unwrap(), b"synod/1")
    }

    pub(crate) fn with(node: NodeId, credentials: &Credentials, alpn: &[u8]) -> Self {
        let (chain, key) = der(credentials);
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(whatever_it_is(chain, key)));
        config.alpn_protocols = vec![alpn.to_vec()];
        let config = QuicServerConfig::try_from(config).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(config));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let endpoint = {
            let _inside = runtime.enter();
            Endpoint::server(config, SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
        };
        Self { runtime: Arc::new(runtime), endpoint, node }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.endpoint.local_addr().unwrap()
    }

    /// Takes the next connection; an error is what the dialler said.
    pub(crate) fn accept(&self) -> Result<Raw, ConnectionError> {
        let connection = self.runtime.block_on(async {
            let incoming = timeout(PATIENCE, self.endpoint.accept()).await.unwrap().unwrap();
            timeout(PATIENCE, incoming.accept()?).await.unwrap()
        })?;
        let (runtime, endpoint) = (Arc::clone(&self.runtime), self.endpoint.clone());
        Ok(Raw { runtime, endpoint, connection, control: None })
    }

    /// Takes the next connection, if one comes within that time and lasts.
    pub(crate) fn try_accept(&self, within: Duration) -> Option<Raw> {
        let connection = self.runtime.block_on(async {
            let incoming = timeout(within, self.endpoint.accept()).await.ok()??;
            timeout(PATIENCE, incoming.accept().ok()?).await.unwrap().ok()
        })?;
        let (runtime, endpoint) = (Arc::clone(&self.runtime), self.endpoint.clone());
        Some(Raw { runtime, endpoint, connection, control: None })
    }

    /// Takes the next connection and answers its hello.
    pub(crate) fn answer(&self, frame: impl FnOnce(&Offer) -> Vec<u8>) -> Raw {
        let mut raw = self.accept().unwrap();
        let offer = raw.hear_hello().expect("a hello");
        raw.say(&frame(&offer));
        raw
    }

    pub(crate) fn accept_link(&self) -> Raw {
        self.answer(|offer| Greeting::of(self.node).answer(PROTOCOL, offer.fresh))
    }
}

/// One raw connection.
pub(crate) struct Raw {
    runtime: Arc<Runtime>,
    endpoint: Endpoint,
    pub(crate) connection: Connection,
    control: Option<(SendStream, RecvStream)>,
}

impl Raw {
    fn block<T>(&self, work: impl AsyncFnOnce(Connection) -> T) -> T {
        let connection = self.connection.clone();
        self.runtime.block_on(async {
            timeout(PATIENCE, work(connection)).await.expect("a raw connection hangs")
        })
    }

    /// Writes to the control stream.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        let mut control = self
            .control
            .take()
            .unwrap_or_else(|| self.block(async |connection| connection.open_bi().await.unwrap()));
        // The other side may have gone already, which the test will see.
        let _ = self.block(async |_| control.0.write_all(bytes).await);
        self.control = Some(control);
    }

    /// Takes the answer to its hello.
    pub(crate) fn confirm(&mut self) {
        self.say(&control_frame(PROTOCOL, CONFIRMED, &[]));
    }

    /// Takes the control stream and reads the hello; none if the connection has ended.
    pub(crate) fn hear_hello(&mut self) -> Option<Offer> {
        let accepted = self.block(async |connection| connection.accept_bi().await);
        self.control = Some(accepted.ok()?);
        let hello = self.hear();
        let [_, _, _, _, HELLO, body @ ..] = hello.as_slice() else { return None };
        let (_, offer): (Greeting, Offer) = postcard::from_bytes(body).unwrap();
        Some(offer)
    }

    /// Reads one control frame without its length; nothing if the stream ends.
    pub(crate) fn hear(&mut self) -> Vec<u8> {
        let mut control = self.control.take().unwrap();
        let heard = self.block(async |_| {
            let mut length = [0; 4];
            if control.1.read_exact(&mut length).await.is_err() {
                return Vec::new();
            }
            let mut frame = vec![0; u32::from_le_bytes(length) as usize];
            control.1.read_exact(&mut frame).await.unwrap();
            frame
        });
        self.control = Some(control);
        heard
    }

    /// Opens a stream and writes to it.
    pub(crate) fn stream(&self, bytes: &[u8]) -> SendStream {
        self.block(async |connection| {
            let mut stream = connection.open_uni().await.unwrap();
            let _ = stream.write_all(bytes).await;
            stream
        })
    }

    /// Breaks the control stream off. Nothing can be said any more.
    pub(crate) fn break_off(&mut self) {
        if let Some((mut send, _)) = self.control.take() {
            let _ = send.reset(VarInt::from_u32(7));
        }
    }

    /// Opens a stream, if the other side lets it be opened within that time.
    pub(crate) fn try_stream(&self, within: Duration) -> Option<SendStream> {
        let opened = async |connection: Connection| timeout(within, connection.open_uni()).await;
        self.block(opened).ok()?.ok()
    }

    /// Writes to a stream, as long as the connection lasts.
    pub(crate) fn write(&self, stream: &mut SendStream, bytes: &[u8]) {
        let _ = self.block(async |_| stream.write_all(bytes).await);
    }

    /// Waits for the other side to close the connection, and says with which words.
    pub(crate) fn closed(&self) -> String {
        match self.block(async |connection| connection.closed().await) {
            ConnectionError::ApplicationClosed(close) => {
                String::from_utf8_lossy(&close.reason).into_owned()
            }
            other => other.to_string(),
        }
    }

    /// Disappears without a word. What is returned must be kept: dropping it would be a word.
    pub(crate) fn vanish(self) -> (Endpoint, Connection, Option<(SendStream, RecvStream)>) {
        let Self { runtime, endpoint, connection, control } = self;
        Arc::into_inner(runtime).expect("the client is gone").shutdown_background();
        (endpoint, connection, control)
    }
}
