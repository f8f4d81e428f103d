//! Mutual TLS 1.3 between peers, and no other kind.
//!
//! There are no tickets and no early data: a ticket outlives its certificate. Each attempt has a
//! verifier of its own, which knows whom to expect and keeps what it refused.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use synod_core::NodeId;

use crate::identity::{Bundle, CertificateError, CertificateFacts, Member, Side, Trust};
use crate::refusal::{Kind, Turned};

/// What the protocol calls itself during the handshake.
pub(crate) const ALPN: &[u8] = b"synod/1";

/// A node's own certificate and key, with whom it believes.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) trust: Arc<Trust>,
    /// What the node's own certificate says.
    pub(crate) facts: CertificateFacts,
    own: Arc<SingleCertAndKey>,
}

impl Tls {
    /// Takes a bundle's identity, if its node can run with it now.
    pub(crate) fn checked(bundle: &Bundle) -> Result<Self, CertificateError> {
        bundle.checked().map(Self::of)
    }

    /// Takes the identity of a node.
    pub(crate) fn of(member: Member) -> Self {
        let Member { trust, facts, chain, key } = member;
        let own = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
        Self { trust: Arc::new(trust), facts, own }
    }

    /// What a dialler of `expected` at `address` uses, and where its refusal will be found.
    pub(crate) fn dialer(
        &self,
        expected: NodeId,
        address: &str,
    ) -> Result<(QuicClientConfig, Arc<Verifier>), CertificateError> {
        let verifier = Verifier::new(&self.trust, Some((expected, String::from(address))));
        let provider = Arc::clone(&self.trust.provider);
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_cert_resolver(self.own.clone());
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        let config = QuicClientConfig::try_from(config)
            .map_err(|error| CertificateError::new(error.to_string()))?;
        Ok((config, verifier))
    }

    /// What an acceptor uses for one handshake, and where its refusal will be found.
    pub(crate) fn acceptor(&self) -> Result<(QuicServerConfig, Arc<Verifier>), CertificateError> {
        let verifier = Verifier::new(&self.trust, None);
        let provider = Arc::clone(&self.trust.provider);
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(verifier.clone())
            .with_cert_resolver(self.own.clone());
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        let config = QuicServerConfig::try_from(config)
            .map_err(|error| CertificateError::new(error.to_string()))?;
        Ok((config, verifier))
    }
}

/// The identity of a node, which can be renewed while it runs. A handshake that has begun goes on
/// with the one that it began with.
#[derive(Debug)]
pub(crate) struct Current(RwLock<Arc<Tls>>);

impl Current {
    pub(crate) fn new(tls: Tls) -> Self {
        Self(RwLock::new(Arc::new(tls)))
    }

    pub(crate) fn get(&self) -> Arc<Tls> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace(&self, tls: Tls) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tls);
    }
}

fn unusable(error: rustls::Error) -> CertificateError {
    CertificateError::new(format!("the certificate cannot be used: {error}"))
}

/// Judges the certificate of one handshake.
#[derive(Debug)]
pub(crate) struct Verifier {
    trust: Arc<Trust>,
    expected: Option<(NodeId, String)>,
    judgement: Mutex<Option<Judgement>>,
}

/// The certificate that was shown, and the node behind it.
type Judgement = Result<(CertificateDer<'static>, NodeId), Turned>;

impl Verifier {
    fn new(trust: &Arc<Trust>, expected: Option<(NodeId, String)>) -> Arc<Self> {
        Arc::new(Self { trust: Arc::clone(trust), expected, judgement: Mutex::new(None) })
    }

    /// What this verifier refused, if it did.
    pub(crate) fn turned(&self) -> Option<Turned> {
        let judgement = self.judgement.lock().unwrap_or_else(PoisonError::into_inner);
        judgement.as_ref()?.as_ref().err().cloned()
    }

    /// The node behind a certificate, if this is the one that was believed in the handshake.
    pub(crate) fn believed(&self, certificate: &CertificateDer<'_>) -> Option<NodeId> {
        let judgement = self.judgement.lock().unwrap_or_else(PoisonError::into_inner);
        let (shown, node) = judgement.as_ref()?.as_ref().ok()?;
        (shown == certificate).then_some(*node)
    }

    /// The node behind a certificate, which must be the expected one if one is expected.
    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<NodeId, Turned> {
        let side = if self.expected.is_some() { Side::Acceptor } else { Side::Dialer };
        let node = self.trust.identify(certificate, intermediates, now, side)?;
        match &self.expected {
            Some((expected, address)) if *expected != node => {
                let text = format!("{address} is {node}, not {expected}: check the address list");
                Err(Turned::new(Kind::WrongNode, text).claiming(Some(node)))
            }
            _ => Ok(node),
        }
    }

    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let now = UNIX_EPOCH + Duration::from_secs(now.as_secs());
        let judged = self.judge(certificate, intermediates, now);
        // The text reaches the peer as the reason of the close frame.
        let refused = judged.as_ref().err().map(|turned| rustls::Error::General(turned.reason()));
        let judgement = judged.map(|node| (certificate.clone().into_owned(), node));
        *self.judgement.lock().unwrap_or_else(PoisonError::into_inner) = Some(judgement);
        refused.map_or(Ok(()), Err)
    }

    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.trust.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.trust.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn no_tls12() -> rustls::Error {
    rustls::Error::General(String::from("TLS 1.2 is not spoken here"))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(certificate, intermediates, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify(certificate, intermediates, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}
