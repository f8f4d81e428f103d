//! Whom a node believes: the one judgement on certificates, the same for both sides.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use synod_core::NodeId;
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext,
};

use super::bundle::Bundle;
use super::certificate::CertificateError;
use super::date;
use super::facts::{CertificateFacts, parse_pem, short};
use super::name::Cluster;
use super::revocation::Revocations;
use crate::refusal::{Kind, Turned, printable};

/// AES-128 comes first. Keys on P-256 and X25519 are no stronger, and its key schedule is made of SHA-256, for which
/// processors have instructions.
fn provider() -> CryptoProvider {
    let cipher_suites =
        vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256];
    CryptoProvider { cipher_suites, ..default_provider() }
}

/// Which end of a connection shows the certificate that is judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    /// The one that dialled: it must be some peer.
    Dialer,
    /// The one that was dialled: it must be the expected one.
    Acceptor,
}

/// Whom one node believes.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) me: NodeId,
    pub(crate) cluster: Cluster,
    anchors: Vec<TrustAnchor<'static>>,
    /// The authorities' fingerprints, for sentences.
    fingerprints: Vec<String>,
    /// What each authority has taken back, in the same order.
    revocations: Vec<Option<Revocations>>,
    peers: BTreeSet<NodeId>,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl Trust {
    /// Reads off a bundle whom its node believes.
    pub(crate) fn of(bundle: &Bundle) -> Result<Self, CertificateError> {
        let (mut anchors, mut fingerprints) = (Vec::new(), Vec::new());
        let provider = Arc::new(provider());
        let authorities =
            bundle.authorities.iter().map(|pem| parse_pem(pem)).collect::<Result<Vec<_>, _>>()?;
        for der in &authorities {
            let anchor = webpki::anchor_from_trusted_cert(der).map_err(|error| {
                CertificateError::new(format!("an authority's certificate is damaged: {error}"))
            })?;
            anchors.push(anchor.to_owned());
            fingerprints.push(CertificateFacts::of(der)?.short_fingerprint());
        }
        if anchors.is_empty() {
            let text = format!("the bundle of {} names no authority: issue it anew", bundle.node);
            return Err(CertificateError::new(text));
        }
        let revocations = assign(&bundle.revocations, &authorities, &provider, &fingerprints)?;
        Ok(Self {
            me: bundle.node,
            cluster: bundle.cluster.clone(),
            anchors,
            fingerprints,
            revocations,
            peers: bundle.nodes().into_iter().filter(|peer| *peer != bundle.node).collect(),
            provider,
        })
    }

    /// Every node but this one.
    pub(crate) fn peers(&self) -> &BTreeSet<NodeId> {
        &self.peers
    }

    /// Says which peer a certificate stands for, as far as a node can say without asking it to
    /// prove that it has the key.
    pub(crate) fn identify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: SystemTime,
        side: Side,
    ) -> Result<NodeId, Turned> {
        let facts = facts(certificate)?;
        let key = facts.short_fingerprint();
        let refuse = |turned: Turned| turned.claiming(facts.node).showing(key.clone());
        let usage = match side {
            Side::Dialer => KeyUsage::client_auth(),
            Side::Acceptor => KeyUsage::server_auth(),
        };
        self.check_chain(certificate, intermediates, now, usage, &facts).map_err(refuse)?;
        let node = self.sole_node(&facts).map_err(refuse)?;
        if node == self.me {
            let text = format!(
                "this is the certificate of {node} itself: one bundle serves one process, \
                 and the address list must lead to other nodes"
            );
            return Err(refuse(Turned::new(Kind::WrongNode, text)));
        }
        if side == Side::Dialer && !self.peers.contains(&node) {
            let text = format!(
                "{node} is not in the peer list of {} ({}): add it to every bundle",
                self.me,
                list(&self.peers)
            );
            return Err(refuse(Turned::new(Kind::UnknownNode, text)));
        }
        Ok(node)
    }

    /// Checks the node's own certificate, which says these facts, so that it does not start only to be refused.
    pub(crate) fn check_own(
        &self,
        certificate: &CertificateDer<'_>,
        facts: &CertificateFacts,
        now: SystemTime,
    ) -> Result<(), Turned> {
        self.check_chain(certificate, &[], now, BothSides, facts)?;
        self.check_own_name(facts)
    }

    /// Checks that the node's own certificate, whatever the time is, names it and nobody else.
    pub(super) fn check_own_name(&self, facts: &CertificateFacts) -> Result<(), Turned> {
        match self.sole_node(facts)? {
            node if node == self.me => Ok(()),
            node => {
                let text = format!(
                    "the certificate is that of {node}, and this is {}: give each node its own \
                     bundle, or issue one with `synod cert issue`",
                    self.me
                );
                Err(Turned::new(Kind::WrongNode, text))
            }
        }
    }

    fn check_chain(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: SystemTime,
        usage: impl ExtendedKeyUsageValidator,
        facts: &CertificateFacts,
    ) -> Result<(), Turned> {
        if !facts.key.is_believed() {
            return Err(weak(facts));
        }
        let leaf = EndEntityCert::try_from(certificate)
            .map_err(|error| Turned::new(Kind::BadCertificate, damaged(&error)))?;
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let algorithms = self.provider.signature_verification_algorithms.all;
        let time = UnixTime::since_unix_epoch(since);
        let path = leaf
            .verify_for_usage(algorithms, &self.anchors, intermediates, time, usage, None, None)
            .map_err(|error| self.explain(&error, facts, now))?;
        self.check_not_revoked(path.anchor(), facts)
    }

    /// Whether the authority that a certificate was believed for has taken it back. Several
    /// authorities of one cluster have one name, so it is their keys that tell them apart.
    fn check_not_revoked(
        &self,
        authority: &TrustAnchor<'_>,
        facts: &CertificateFacts,
    ) -> Result<(), Turned> {
        let key = &authority.subject_public_key_info;
        let known = self.anchors.iter().zip(&self.fingerprints).zip(&self.revocations);
        let of_it = known.filter(|((anchor, _), _)| anchor.subject_public_key_info == *key);
        for ((_, fingerprint), list) in of_it {
            let list = list.as_ref();
            if let Some(at) = list.and_then(|list| list.revoked.get(&facts.serial)) {
                let whose = whose(facts);
                let text = format!(
                    "the certificate of {whose} (serial {}) was revoked by its authority \
                     ({fingerprint}) on {}: if {whose} is to come back, renew its bundle with \
                     `synod cert renew`",
                    facts.serial,
                    date::text(*at)
                );
                return Err(Turned::new(Kind::Revoked, text));
            }
        }
        Ok(())
    }

    /// Whether some authority has taken back a certificate of this serial number: they are random.
    pub(crate) fn has_revoked(&self, serial: &str) -> bool {
        self.revocations.iter().flatten().any(|list| list.revoked.contains_key(serial))
    }

    /// Each authority, by its fingerprint, with the number of its list of revoked certificates.
    pub(super) fn lists(&self) -> impl Iterator<Item = (&str, Option<u64>)> {
        let numbers = self.revocations.iter().map(|list| list.as_ref().map(|list| list.number));
        self.fingerprints.iter().map(String::as_str).zip(numbers)
    }

    /// A certificate must name exactly one node of this cluster, in the one agreed form.
    fn sole_node(&self, facts: &CertificateFacts) -> Result<NodeId, Turned> {
        let ([_], Some(node), Some(cluster)) = (&*facts.names, facts.node, &facts.cluster) else {
            return Err(self.misnamed(&facts.names));
        };
        if *cluster == self.cluster {
            return Ok(node);
        }
        let (me, ours) = (self.me, &self.cluster);
        let text = format!(
            "{node} belongs to the cluster `{cluster}`, and {me} to `{ours}`: \
             check the bundles and the address list"
        );
        Err(Turned::new(Kind::OtherCluster, text))
    }

    fn misnamed(&self, names: &[String]) -> Turned {
        let names: Vec<_> = names.iter().take(4).map(|name| format!("`{name}`")).collect();
        let shown = match &*names {
            [] => String::from("nothing"),
            names => printable(&names.join(", ")),
        };
        let text = format!(
            "a certificate must name one node and nothing else, as `nN.{}.synod.internal`, \
             and this one names {shown}: issue it anew",
            self.cluster
        );
        Turned::new(Kind::BadIdentity, text)
    }

    /// A sentence for what the chain check found.
    fn explain(&self, error: &webpki::Error, facts: &CertificateFacts, now: SystemTime) -> Turned {
        let whose = whose(facts);
        match error {
            webpki::Error::CertExpired { .. } => self.expired(&whose, facts, now),
            webpki::Error::CertNotValidYet { .. } => self.not_yet_valid(&whose, facts, now),
            webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
                self.bad_authority(&whose, facts)
            }
            other => Turned::new(Kind::BadCertificate, damaged(other)),
        }
    }

    fn expired(&self, whose: &str, facts: &CertificateFacts, now: SystemTime) -> Turned {
        let ago = date::span(now.duration_since(facts.not_after).unwrap_or_default());
        let text = format!(
            "the certificate of {whose} expired {ago} ago ({}), by the clock of {}, which says {}: \
             renew its bundle with `synod cert renew`",
            date::text(facts.not_after),
            self.me,
            date::text(now)
        );
        Turned::new(Kind::Expired, text)
    }

    fn not_yet_valid(&self, whose: &str, facts: &CertificateFacts, now: SystemTime) -> Turned {
        let ahead = date::span(facts.not_before.duration_since(now).unwrap_or_default());
        let text = format!(
            "the certificate of {whose} begins in {ahead} ({}), \
             and the clock of {} says {}: do the clocks differ?",
            date::text(facts.not_before),
            self.me,
            date::text(now)
        );
        Turned::new(Kind::NotYetValid, text)
    }

    fn bad_authority(&self, whose: &str, facts: &CertificateFacts) -> Turned {
        let theirs = facts.issuer.as_deref().map_or_else(|| String::from("unknown"), short);
        let text = format!(
            "the certificate of {whose} is of another authority ({theirs}) than {} trusts ({}): \
             it belongs to another cluster; or its bundle must be renewed by a trusted authority with `synod cert \
             renew`, or {} must trust its authority, by `synod cert trust`",
            self.me,
            self.fingerprints.join(", "),
            self.me,
        );
        Turned::new(Kind::BadAuthority, text)
    }
}

/// A node dials and is dialled, with one certificate. It need not say what it is for; if it does, it
/// must say both.
struct BothSides;

impl ExtendedKeyUsageValidator for BothSides {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let present = purposes.map(|purpose| Ok(purpose?.to_decoded_oid()));
        let present: Vec<Vec<usize>> = present.collect::<Result<_, webpki::Error>>()?;
        let is_there = |usage: &KeyUsage| {
            present.is_empty() || present.iter().any(|it| usage.oid_values().eq(it.iter().copied()))
        };
        let both = [KeyUsage::client_auth(), KeyUsage::server_auth()];
        match both.into_iter().find(|usage| !is_there(usage)) {
            None => Ok(()),
            Some(required) => {
                Err(webpki::Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext {
                    required,
                    present,
                }))
            }
        }
    }
}

/// Gives each list to the authority that has signed it.
fn assign(
    lists: &[Revocations],
    authorities: &[CertificateDer<'_>],
    provider: &CryptoProvider,
    fingerprints: &[String],
) -> Result<Vec<Option<Revocations>>, CertificateError> {
    let file = Revocations::FILE;
    let now = SystemTime::now();
    let mut assigned = vec![None; authorities.len()];
    for list in lists {
        let algorithms = &provider.signature_verification_algorithms;
        let signer = authorities.iter().position(|it| list.is_signed_by(it, algorithms));
        let place = signer.and_then(|place| assigned.get_mut(place)).ok_or_else(|| {
            let known = fingerprints.join(", ");
            CertificateError::new(format!(
                "`{file}` has a list that no trusted authority ({known}) has signed: \
                 copy the one of the cluster's own authority"
            ))
        })?;
        if list.ends <= now {
            return Err(CertificateError::new(format!(
                "`{file}` has a list that ended on {}: make a new one with `synod cert revoke`",
                date::text(list.ends)
            )));
        }
        let is_newer = |old: &Revocations| old.number < list.number;
        if place.as_ref().is_none_or(is_newer) {
            *place = Some(list.clone());
        }
    }
    Ok(assigned)
}

fn whose(facts: &CertificateFacts) -> String {
    facts.node.map_or_else(|| String::from("the peer"), |node| node.to_string())
}

fn weak(facts: &CertificateFacts) -> Turned {
    let text = format!(
        "the key of {} is {}, and must be ECDSA on P-256 or P-384, Ed25519, or RSA with 2048 to 8192 \
         bits: issue it anew with `synod cert issue`",
        whose(facts),
        facts.key
    );
    Turned::new(Kind::BadCertificate, text)
}

fn facts(certificate: &CertificateDer<'_>) -> Result<CertificateFacts, Turned> {
    CertificateFacts::of(certificate)
        .map_err(|error| Turned::new(Kind::BadCertificate, error.to_string()))
}

fn damaged(error: &webpki::Error) -> String {
    format!("the certificate does not verify ({error}): issue it anew")
}

fn list(nodes: &BTreeSet<NodeId>) -> String {
    let nodes: Vec<_> = nodes.iter().map(NodeId::to_string).collect();
    nodes.join(", ")
}
