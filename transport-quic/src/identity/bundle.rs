//! The one file that a node needs: its identity, its key, its authority and its peers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use rustls::sign::SigningKey;
use serde::{Deserialize, Serialize};
use synod_core::NodeId;

use super::certificate::{Authority, CertificateError, Credentials};
use super::facts::{CertificateFacts, sha256};
use super::file::{self, FileError, Readers};
use super::name::Cluster;
use super::revocation::Revocations;
use super::trust::Trust;

/// Everything that one node needs to take part in its cluster. `Debug` hides the key.
///
/// As a file it is TOML with PEM inside, readable by its owner only. In the place of PEM there may be the path of a
/// PEM file, from the folder of the bundle on, where certificates come from a public key infrastructure of one's own:
///
/// ```toml
/// format = 1
/// cluster = "demo"
/// node = "n1"
/// listen = "0.0.0.0:7400"
/// certificate = "-----BEGIN CERTIFICATE-----…"
/// key = "-----BEGIN PRIVATE KEY-----…"
/// authorities = ["-----BEGIN CERTIFICATE-----…"]
/// members = ["n3"]
///
/// [peers]
/// n1 = "10.0.0.1:7400"
/// n2 = "n2.example.org:7400"
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bundle {
    /// The cluster.
    pub cluster: Cluster,
    /// The node that this bundle makes.
    pub node: NodeId,
    /// Where the node listens, UDP.
    pub listen: SocketAddr,
    /// The node's certificate and key.
    pub credentials: Credentials,
    /// The certificates of the authorities that the node trusts, as PEM. Two of them let one
    /// authority take over from another.
    pub authorities: Vec<String>,
    /// Nodes of the cluster with their addresses as `host:port`. An address of the node itself is
    /// what the node says of itself.
    pub peers: BTreeMap<NodeId, String>,
    /// Nodes of the cluster whose addresses the others tell. Those in `peers` may be missing here.
    pub members: BTreeSet<NodeId>,
    /// What the authorities have taken back, one list of each at most that has any. They stand in
    /// a file of their own beside the bundle, [`Revocations::FILE`].
    pub revocations: Vec<Revocations>,
}

fn without_certificate() -> CertificateError {
    CertificateError::new("this is not a PEM certificate: there is none in it")
}

/// What a bundle makes of its node.
#[derive(Debug)]
pub(crate) struct Member {
    /// Whom the node believes.
    pub(crate) trust: Trust,
    /// What its own certificate says.
    pub(crate) facts: CertificateFacts,
    /// That certificate, and those that lead from it to the authority.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// The key of that certificate.
    pub(crate) key: Arc<dyn SigningKey>,
}

/// The file, before its values are believed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    cluster: String,
    node: String,
    listen: String,
    certificate: String,
    key: String,
    authorities: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    members: Vec<String>,
    peers: BTreeMap<String, String>,
}

/// Only the version, which must be readable in every later format.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Bundle {
    /// The version of the file's layout.
    pub const FORMAT: u32 = 1;

    /// Reads a bundle from its file, and the lists of revoked certificates beside it. It is not yet
    /// checked; see [`Bundle::check`].
    ///
    /// # Errors
    ///
    /// [`FileError`] with the file, the key or line in it, what is wrong and what to do. The text
    /// never shows the private key.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let bundle = Self::read_alone(path)?;
        let revocations = Revocations::read(&path.with_file_name(Revocations::FILE))?;
        Ok(Self { revocations, ..bundle })
    }

    /// The same without the lists of revoked certificates: there are none in it.
    ///
    /// # Errors
    ///
    /// As [`Bundle::read`].
    pub fn read_alone(path: &Path) -> Result<Self, FileError> {
        let bundle = Self::parse(&file::read(path)?).map_err(|it| FileError::content(path, it))?;
        bundle.with_files_beside(path)
    }

    /// Reads what stands in files of their own, beside the bundle in `path`.
    fn with_files_beside(mut self, path: &Path) -> Result<Self, FileError> {
        let Credentials { certificate_pem, key_pem } = &mut self.credentials;
        for text in [certificate_pem, key_pem].into_iter().chain(&mut self.authorities) {
            if let Some(file) = pem_file(path, text) {
                *text = file::read(&file)?;
            }
        }
        Ok(self)
    }

    /// The files that the bundle in `path` names in the place of what stands in them.
    ///
    /// # Errors
    ///
    /// As [`Bundle::read`].
    pub fn files_beside(path: &Path) -> Result<Vec<PathBuf>, FileError> {
        let bundle = Self::parse(&file::read(path)?).map_err(|it| FileError::content(path, it))?;
        let Credentials { certificate_pem, key_pem } = &bundle.credentials;
        let texts = [certificate_pem, key_pem].into_iter().chain(&bundle.authorities);
        Ok(texts.filter_map(|text| pem_file(path, text)).collect())
    }

    /// The files that the private key of the bundle in `path` stands in: the bundle, and the one that it names.
    ///
    /// # Errors
    ///
    /// As [`Bundle::read`].
    pub fn secret_files(path: &Path) -> Result<Vec<PathBuf>, FileError> {
        let bundle = Self::parse(&file::read(path)?).map_err(|it| FileError::content(path, it))?;
        let key = pem_file(path, &bundle.credentials.key_pem);
        Ok([path.to_path_buf()].into_iter().chain(key).collect())
    }

    /// Writes the bundle to a new file that only its owner can read, and syncs it.
    ///
    /// # Errors
    ///
    /// [`FileError`] if the file exists already, or if the system refuses.
    pub fn write_new(&self, path: &Path) -> Result<(), FileError> {
        file::write_new(path, &self.to_toml(), Readers::Owner)
    }

    /// Replaces the file of a bundle as a whole; only its owner can read it. A program that is
    /// killed midway leaves the old file, and perhaps a `.new` beside it, which must be removed.
    ///
    /// # Errors
    ///
    /// [`FileError`] if the system refuses, or another replacement is under way.
    pub fn replace(&self, path: &Path) -> Result<(), FileError> {
        file::replace(path, &self.to_toml(), Readers::Owner)
    }

    /// Every node of the cluster, this one included.
    #[must_use]
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        let listed = self.peers.keys().copied().chain(self.members.iter().copied());
        listed.chain([self.node]).collect()
    }

    /// Trusts the nodes that `authority` names, beside those that it trusts already. Whether it
    /// did not do so before.
    pub fn trust(&mut self, authority: &Authority) -> bool {
        let pem = authority.certificate_pem();
        let is_new = !self.authorities.iter().any(|known| known.trim() == pem.trim());
        if is_new {
            self.authorities.push(String::from(pem));
        }
        is_new
    }

    /// Checks that the certificate names this node of this cluster, that its key and one of the
    /// authorities belong to it, and that it is valid now.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] with a sentence for the operator: what is wrong, and what to do.
    pub fn check(&self) -> Result<(), CertificateError> {
        self.checked().map(drop)
    }

    /// What its node is and whom it believes, if the node can run with it now.
    pub(crate) fn checked(&self) -> Result<Member, CertificateError> {
        let member = self.member()?;
        let Member { trust, facts, chain, .. } = &member;
        let leaf = chain.first().ok_or_else(without_certificate)?;
        let checked = trust.check_own(leaf, facts, SystemTime::now());
        checked.map_err(|turned| CertificateError::new(turned.text))?;
        Ok(member)
    }

    /// Checks what stands in the file whatever the time is: that the certificates, the lists of
    /// revoked ones and the key can be read and belong together, and to this node of this cluster.
    ///
    /// # Errors
    ///
    /// As [`Bundle::check`].
    pub fn check_form(&self) -> Result<(), CertificateError> {
        let Member { trust, facts, .. } = self.member()?;
        let named = trust.check_own_name(&facts);
        named.map_err(|turned| CertificateError::new(turned.text))
    }

    /// What its node is and whom it believes, whatever the time is.
    pub(crate) fn member(&self) -> Result<Member, CertificateError> {
        let trust = Trust::of(self)?;
        let chain = self.credentials.chain()?;
        let facts = CertificateFacts::of(chain.first().ok_or_else(without_certificate)?)?;
        let key = self.credentials.key(&trust.provider)?;
        let is_of_it = key.public_key().is_some_and(|key| sha256(&key) == facts.fingerprint);
        if !is_of_it {
            let text =
                format!("the key in the bundle of {} is not that of its certificate", self.node);
            return Err(CertificateError::new(text));
        }
        Ok(Member { trust, facts, chain, key })
    }

    /// The bundle as its file holds it.
    fn to_toml(&self) -> String {
        let peers = self.peers.iter().map(|(node, address)| (node.to_string(), address.clone()));
        let document = Document {
            format: Self::FORMAT,
            cluster: self.cluster.to_string(),
            node: self.node.to_string(),
            listen: self.listen.to_string(),
            certificate: self.credentials.certificate_pem.clone(),
            key: self.credentials.key_pem.clone(),
            authorities: self.authorities.clone(),
            members: self.members.iter().map(NodeId::to_string).collect(),
            peers: peers.collect(),
        };
        toml::to_string(&document).expect("strings and numbers under text keys are always TOML")
    }

    fn parse(text: &str) -> Result<Self, String> {
        let Format { format } = from_toml(text)?;
        if format != Self::FORMAT {
            return Err(format!(
                "key `format`: this is a bundle of format {format}, and this program reads {}: \
                 use the program that wrote it, or issue the bundle anew",
                Self::FORMAT
            ));
        }
        let document: Document = from_toml(text)?;
        let mut peers = BTreeMap::new();
        for (node, address) in document.peers {
            check_address(&node, &address)?;
            peers.insert(value("peers", &node)?, address);
        }
        let members = document.members.iter().map(|node| value("members", node));
        Ok(Self {
            cluster: value("cluster", &document.cluster)?,
            node: value("node", &document.node)?,
            listen: value("listen", &document.listen)?,
            credentials: Credentials {
                certificate_pem: document.certificate,
                key_pem: document.key,
            },
            authorities: document.authorities,
            members: members.collect::<Result<_, _>>()?,
            peers,
            revocations: Vec::new(),
        })
    }
}

/// The file that a value of the bundle in `path` names, unless it is PEM itself, or nothing that could be a path.
fn pem_file(path: &Path, value: &str) -> Option<PathBuf> {
    let value = value.trim();
    // A key that has lost its frame has no dot. It must not be told as the name of a file that is not there.
    let is_path =
        value.contains('.') && !value.contains("-----BEGIN") && value.lines().count() == 1;
    is_path.then(|| path.with_file_name(value))
}

fn value<T: FromStr<Err: Display>>(key: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| match key {
        "listen" => format!("key `listen`: `{text}` is not IP:PORT such as 0.0.0.0:7400"),
        _ => format!("key `{key}`: {error}"),
    })
}

fn check_address(node: &str, address: &str) -> Result<(), String> {
    let port = address.rsplit_once(':').and_then(|(host, port)| {
        let port = port.parse::<u16>().ok()?;
        (!host.is_empty()).then_some(port)
    });
    match port {
        Some(_) => Ok(()),
        None => {
            Err(format!("key `peers.{node}`: `{address}` is not HOST:PORT such as 10.0.0.1:7400"))
        }
    }
}

/// Reads TOML. The parser's own text would quote the line, which may be a line of the key.
fn from_toml<T: for<'a> Deserialize<'a>>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
        format!("line {line}: {}: repair it, or issue the bundle anew", error.message())
    })
}
