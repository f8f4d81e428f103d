//! Why somebody is turned away: a word for a counter, and a sentence for both sides.
//!
//! The sentence names nodes rather than "us" and "you", so that the side that refuses and the
//! side that is refused can log the same one. It travels in the reason of the close frame.

use std::fmt;

use quinn::{ConnectionError, TransportErrorCode, VarInt};
use synod_core::{NodeId, Reason};

use crate::control::Greeting;
use crate::life::Life;
use crate::versions::SPOKEN;

/// The fixed set of reasons to turn somebody away.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    /// No certificate at all.
    NoCertificate,
    /// A certificate of an authority that is not trusted.
    BadAuthority,
    /// A certificate after its time.
    Expired,
    /// A certificate before its time.
    NotYetValid,
    /// A certificate that its authority has taken back.
    Revoked,
    /// A damaged certificate, or one for another use.
    BadCertificate,
    /// A certificate that does not name exactly one node in the agreed form.
    BadIdentity,
    /// A certificate or a hello of another cluster.
    OtherCluster,
    /// A node that is not in the peer list.
    UnknownNode,
    /// Another node than the one that was dialled, or this very node.
    WrongNode,
    /// A hello that claims another node than the certificate.
    IdentityMismatch,
    /// Another version of the protocol.
    Version,
    /// A hello that does not decode, is too long or does not come.
    BadHello,
    /// One event identity with two names.
    EventClash,
    /// One event with two contents.
    OtherSchema,
    /// No event that both sides handle.
    NoCommonEvent,
    /// A peer whose last links came and went faster than the node could take in, or any while the node is
    /// hung.
    Busy,
    /// A node that is about to end, and begins no session any more.
    Leaving,
    /// A second holder of a node's identity.
    Duplicate,
    /// A frame that does not decode.
    BadFrame,
    /// A frame over the limit.
    FrameTooLarge,
    /// A frame that does not end.
    FrameTimeout,
    /// An event that this node does not handle.
    UnknownEvent,
    /// A stream that breaks the rules of lanes.
    BadLane,
    /// Something that is told for the address of a node and is none.
    BadAddress,
    /// More handshakes at once than are allowed, or more talk.
    Flood,
    /// A TLS failure that has no word of its own.
    Tls,
}

impl Kind {
    const ALL: [Self; 27] = [
        Self::NoCertificate,
        Self::BadAuthority,
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::BadCertificate,
        Self::BadIdentity,
        Self::OtherCluster,
        Self::UnknownNode,
        Self::WrongNode,
        Self::IdentityMismatch,
        Self::Version,
        Self::BadHello,
        Self::EventClash,
        Self::OtherSchema,
        Self::NoCommonEvent,
        Self::Busy,
        Self::Leaving,
        Self::Duplicate,
        Self::BadFrame,
        Self::FrameTooLarge,
        Self::FrameTimeout,
        Self::UnknownEvent,
        Self::BadLane,
        Self::BadAddress,
        Self::Flood,
        Self::Tls,
    ];

    /// The word for counters and for the wire. Never changed.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::BadAuthority => "bad_ca",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Revoked => "revoked",
            Self::BadCertificate => "bad_certificate",
            Self::BadIdentity => "bad_identity",
            Self::OtherCluster => "other_cluster",
            Self::UnknownNode => "unknown_node",
            Self::WrongNode => "wrong_node",
            Self::IdentityMismatch => "identity_mismatch",
            Self::Version => "version",
            Self::BadHello => "bad_hello",
            Self::EventClash => "event_clash",
            Self::OtherSchema => "other_schema",
            Self::NoCommonEvent => "no_common_event",
            Self::Busy => "busy",
            Self::Leaving => "leaving",
            Self::Duplicate => "duplicate",
            Self::BadFrame => "bad_frame",
            Self::FrameTooLarge => "frame_too_large",
            Self::FrameTimeout => "frame_timeout",
            Self::UnknownEvent => "unknown_event",
            Self::BadLane => "bad_lane",
            Self::BadAddress => "bad_address",
            Self::Flood => "flood",
            Self::Tls => "tls",
        }
    }

    /// Whether it is about who a node is: no later connection of the same node fares better.
    pub(crate) const fn is_of_identity(self) -> bool {
        matches!(
            self,
            Self::NoCertificate
                | Self::BadAuthority
                | Self::Expired
                | Self::NotYetValid
                | Self::Revoked
                | Self::BadCertificate
                | Self::BadIdentity
                | Self::OtherCluster
                | Self::UnknownNode
        )
    }

    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// The words that those who are turned away are counted by.
pub fn refusal_kinds() -> impl Iterator<Item = &'static str> {
    Kind::ALL.into_iter().map(Kind::word)
}

/// Somebody is turned away.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Turned {
    pub(crate) kind: Kind,
    /// A sentence without a full stop that both sides can log.
    pub(crate) text: String,
    /// Who it says it is, authenticated or not.
    pub(crate) claimed: Option<NodeId>,
    /// The key that it showed: the first digits of its fingerprint.
    pub(crate) key: Option<String>,
}

impl Turned {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), claimed: None, key: None }
    }

    pub(crate) fn claiming(self, claimed: Option<NodeId>) -> Self {
        Self { claimed, ..self }
    }

    pub(crate) fn showing(self, key: String) -> Self {
        Self { key: Some(key), ..self }
    }

    /// A life of a node of which `me` has known `newest`, which outdates it.
    pub(crate) fn stale(me: NodeId, theirs: &Greeting, newest: Life) -> Self {
        let (peer, life, newest) = (theirs.node, theirs.life.incarnation, newest.incarnation);
        let known = if life == newest {
            String::from("another process of it in this life")
        } else {
            format!("its life {newest}")
        };
        let text = format!(
            "{peer} says it is in its life {life}, and {me} has known {known}: \
             does a second process use the bundle of {peer}, or was an old copy of the store of {peer} \
             put back, or left out?"
        );
        Self::new(Kind::Duplicate, text).claiming(Some(peer))
    }

    /// A peer of which `me` has yet to take in how its last links came and went.
    pub(crate) fn busy(me: NodeId, peer: NodeId) -> Self {
        let text = format!(
            "the links of {peer} came and went faster than {me} could take in: \
             does a handler of {me} block, or does {peer} start over and over?"
        );
        Self::new(Kind::Busy, text)
    }

    /// A peer that would begin a session with `me`, which does nothing that comes: `why`.
    pub(crate) fn hung(me: NodeId, why: &str) -> Self {
        Self::new(Kind::Busy, format!("{me} handles nothing, {why}"))
    }

    /// A peer that would begin a session with `me`, which is about to end.
    pub(crate) fn leaving(me: NodeId) -> Self {
        Self::new(Kind::Leaving, format!("{me} is about to end, and begins no session any more"))
    }

    /// The text of a close frame. Short enough to stay whole in one packet.
    pub(crate) fn reason(&self) -> String {
        let text: String = self.text.chars().take(SENTENCE_CHARS_MAX).collect();
        format!("{MARK}{}: {text}", self.kind.word())
    }

    /// Finds what [`Turned::reason`] wrote in the reason of a close frame. A stranger may have
    /// written it: only printable characters pass.
    pub(crate) fn parse(reason: &[u8]) -> Option<Self> {
        let reason = String::from_utf8_lossy(reason);
        let (_, marked) = reason.split_once(MARK)?;
        let (word, text) = marked.split_once(": ")?;
        Some(Self::new(Kind::of_word(word)?, printable(text)))
    }
}

/// Drops what could disturb a terminal or a log, or show a text other than it is, and what is too
/// long.
pub(crate) fn printable(text: &str) -> String {
    let is_shown = |char: &char| !char.is_control() && !is_invisible(*char);
    text.chars().filter(is_shown).take(SENTENCE_CHARS_MAX).collect()
}

/// Characters that end lines, have no width, or turn the direction of what follows.
fn is_invisible(char: char) -> bool {
    matches!(
        char,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

impl fmt::Display for Turned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Turned {}

/// Why a connection ends, as both sides learn it: the application codes of close frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Close {
    /// The node leaves: the session has ended.
    Leaving,
    /// Both sides dialled, and the other connection stays.
    LostTie,
    /// A newer connection took the place of this one.
    Replaced,
    /// More was waiting than the queue holds.
    Overflow,
    /// The host asked for it.
    Disconnected,
    /// The peer is turned away; the reason says why.
    Refused,
    /// The attempt to link took too long.
    GivenUp,
    /// Another life of the node begins.
    Restarted,
    /// The node has not done anything for long, for all that its connections are alive.
    Hung,
}

impl Close {
    const ALL: [Self; 9] = [
        Self::Leaving,
        Self::LostTie,
        Self::Replaced,
        Self::Overflow,
        Self::Disconnected,
        Self::Refused,
        Self::GivenUp,
        Self::Restarted,
        Self::Hung,
    ];

    pub(crate) const fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Leaving => 1,
            Self::LostTie => 2,
            Self::Replaced => 3,
            Self::Overflow => 4,
            Self::Disconnected => 5,
            Self::Refused => 6,
            Self::GivenUp => 7,
            Self::Restarted => 8,
            Self::Hung => 9,
        })
    }

    pub(crate) fn of_code(code: VarInt) -> Option<Self> {
        Self::ALL.into_iter().find(|close| close.code() == code)
    }

    /// What the side that receives it makes of the end of its link; none if only the connection
    /// has ended, and the session waits for the next one.
    const fn seen_by_peer(self) -> Option<Reason> {
        match self {
            Self::LostTie | Self::Replaced | Self::GivenUp => None,
            Self::Leaving | Self::Disconnected => Some(Reason::Closed),
            Self::Overflow => Some(Reason::Overflow),
            Self::Refused => Some(Reason::Refused),
            Self::Restarted => Some(Reason::Restarted),
            Self::Hung => Some(Reason::Silent),
        }
    }
}

/// Why a live link has ended with its connection, from the connection's own account; none if only
/// the connection is lost.
pub(crate) fn reason_of(error: &ConnectionError) -> Option<Reason> {
    match error {
        ConnectionError::ApplicationClosed(close) => match Close::of_code(close.error_code) {
            Some(close) => close.seen_by_peer(),
            None => Some(Reason::Closed),
        },
        // An endpoint that has died, on either side, is opened anew.
        ConnectionError::TransportError(error)
            if error.code == TransportErrorCode::INTERNAL_ERROR =>
        {
            None
        }
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::INTERNAL_ERROR =>
        {
            None
        }
        ConnectionError::TransportError(_) | ConnectionError::ConnectionClosed(_) => {
            Some(Reason::Refused)
        }
        // Whoever closed it here knows why.
        ConnectionError::LocallyClosed
        | ConnectionError::VersionMismatch
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::CidsExhausted => None,
    }
}

/// What the peer, or our own TLS, refused before a hello was said.
pub(crate) fn turned_by(error: &ConnectionError) -> Option<Turned> {
    let (code, reason) = match error {
        ConnectionError::ApplicationClosed(close) => return Turned::parse(&close.reason),
        ConnectionError::ConnectionClosed(close) => (close.error_code, close.reason.to_vec()),
        ConnectionError::TransportError(error) => (error.code, error.reason.clone().into_bytes()),
        ConnectionError::VersionMismatch => {
            return Some(Turned::new(
                Kind::Version,
                "the two sides have no QUIC version in common",
            ));
        }
        ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => return None,
    };
    Turned::parse(&reason).or_else(|| of_alert(code.into(), &reason))
}

/// The sentences for TLS alerts that carry none of ours.
fn of_alert(code: u64, reason: &[u8]) -> Option<Turned> {
    let alert = code.checked_sub(CRYPTO_ERROR).filter(|alert| *alert < 0x100)?;
    let (kind, text) = match alert {
        116 => (
            Kind::NoCertificate,
            String::from("a certificate is wanted and none was shown: start with a node bundle"),
        ),
        120 => (
            Kind::Version,
            format!(
                "the other side does not speak the synod protocol, or another one \
                 (this side speaks {SPOKEN}): is it a node of this program?"
            ),
        ),
        45 => (Kind::Expired, String::from("the certificate has expired: renew it")),
        48 => (Kind::BadAuthority, String::from("the certificate is of an unknown authority")),
        _ => {
            let reason = printable(&String::from_utf8_lossy(reason));
            (Kind::Tls, format!("TLS alert {alert}: {reason}"))
        }
    };
    Some(Turned::new(kind, text))
}

/// Marks a reason as ours: TLS puts words of its own before it.
const MARK: &str = "synod refuses: ";

/// Longest sentence on the wire. A packet of 1200 bytes takes four bytes for each.
const SENTENCE_CHARS_MAX: usize = 700;

/// RFC 9001, section 4.8: a TLS alert is 0x100 and its number.
const CRYPTO_ERROR: u64 = 0x100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_found_behind_the_words_of_tls() {
        let turned = Turned::new(Kind::BadAuthority, "n1 trusts 12, not 34: issue it anew");
        let wire = format!("unexpected error: {}", turned.reason());
        assert_eq!(Turned::parse(wire.as_bytes()), Some(turned));
        assert_eq!(Turned::parse(b"synod refuses: sudo: x"), None);
        assert_eq!(Turned::parse(b"anything"), None);
    }

    #[test]
    fn a_hostile_reason_cannot_move_the_cursor() {
        let turned = Turned::parse(b"synod refuses: tls: \x1b[2Jgone\n").unwrap();
        assert_eq!(turned.text, "[2Jgone");
        assert_eq!(printable("n1\u{202e}2n\u{2028}\u{200b}"), "n12n");
    }

    #[test]
    fn every_kind_has_its_own_word() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_word(kind.word()), Some(kind));
        }
    }
}
