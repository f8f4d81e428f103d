//! What a new bundle means for the links that are up.

use rustls::pki_types::CertificateDer;
use synod_core::NodeId;

use crate::identity::{Side, Trust};
use crate::link::Wire;
use crate::peers::Peer;
use crate::refusal::{Kind, Turned};
use crate::shared::Shared;

/// Ends the links to peers that this node does not believe any more, and forgets what it was told with
/// certificates that are taken back.
pub(crate) fn apply(shared: &Shared) {
    let tls = shared.identity.get();
    shared.peers.iter().for_each(|(_, peer)| forget_life(&tls.trust, peer));
    for link in shared.peers.links() {
        let Some(wire) = link.last_wire() else { continue };
        if let Err(turned) = judge(&tls.trust, shared.me, link.peer, &wire) {
            link.end(shared.refuse(&link, &wire, &turned));
        }
    }
}

/// Forgets the life of a peer that was believed for a certificate that is taken back now.
pub(crate) fn forget_life(trust: &Trust, peer: &Peer) {
    peer.forget_life(|serial| trust.has_revoked(serial));
}

/// The judgement of `me`, which trusts so now, on the peer at the other end of a connection. A certificate that has
/// ended since it was shown is no reason to end a link.
pub(crate) fn judge(trust: &Trust, me: NodeId, peer: NodeId, wire: &Wire) -> Result<(), Turned> {
    if !trust.peers().contains(&peer) {
        let text = format!("{peer} is not in the peer list of {me} any more");
        return Err(Turned::new(Kind::UnknownNode, text).claiming(Some(peer)));
    }
    let shown = wire.connection.peer_identity();
    let chain = shown.and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    let side = if wire.dialer == peer { Side::Dialer } else { Side::Acceptor };
    match chain.as_deref().map(Vec::as_slice) {
        Some([leaf, rest @ ..]) => trust.identify(leaf, rest, wire.made, side).map(|_| ()),
        _ => Err(Turned::new(Kind::NoCertificate, "a certificate is wanted and none was shown")),
    }
}
