//! What a new bundle means for the links that are up.

use std::time::SystemTime;

use rustls::pki_types::CertificateDer;

use crate::identity::{Side, Trust};
use crate::link::{End, Wire};
use crate::refusal::{Kind, Turned};
use crate::shared::Shared;

/// Ends the links to peers that this node does not believe any more.
pub(crate) fn apply(shared: &Shared) {
    let tls = shared.identity.get();
    for link in shared.peers.links() {
        let (peer, wire) = (link.peer, link.last_wire());
        let judged = match &wire {
            _ if !tls.trust.peers().contains(&peer) => {
                let text = format!("{peer} is not in the peer list of {} any more", shared.me);
                Err(Turned::new(Kind::UnknownNode, text).claiming(Some(peer)))
            }
            Some(wire) => judge(&tls.trust, wire, wire.dialer == peer),
            None => Ok(()),
        };
        match (judged, wire) {
            (Ok(()), _) => continue,
            (Err(turned), Some(wire)) => link.end(shared.refuse(&link, &wire, &turned)),
            (Err(turned), None) => link.end(End::refused(&turned)),
        };
    }
}

/// The judgement on the certificate that a connection was made with, as of now.
fn judge(trust: &Trust, wire: &Wire, has_dialed: bool) -> Result<(), Turned> {
    let shown = wire.connection.peer_identity();
    let chain = shown.and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    let side = if has_dialed { Side::Dialer } else { Side::Acceptor };
    match chain.as_deref().map(Vec::as_slice) {
        Some([leaf, rest @ ..]) => trust.identify(leaf, rest, SystemTime::now(), side).map(|_| ()),
        _ => Err(Turned::new(Kind::NoCertificate, "a certificate is wanted and none was shown")),
    }
}
