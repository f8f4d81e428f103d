//! The agreement of a hello: which session a new connection carries.

use serde::{Deserialize, Serialize};

use super::{Counts, SessionId, WireId};

/// What the dialler says of sessions.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub(crate) struct Offer {
    /// The name of the connection that is being made.
    pub(crate) wire: WireId,
    /// The connection that carried the session last, as far as the dialler knows.
    pub(crate) last_wire: Option<WireId>,
    /// The session that the dialler has with the peer.
    pub(crate) live: Option<SessionId>,
    /// The name of the next one, if a new one must begin. The same in every attempt until then, so
    /// that an answer that is lost does not begin it twice.
    pub(crate) fresh: SessionId,
    /// What the dialler has taken in the session that it has.
    pub(crate) received: Counts,
}

impl Offer {
    /// What the dialler has taken in that session: nothing, if it is not the one that it has.
    pub(crate) fn received_in(&self, session: SessionId) -> Counts {
        if self.live == Some(session) { self.received.clone() } else { Counts::new() }
    }
}

/// What the acceptor answers.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The session that the connection carries.
    pub(crate) session: SessionId,
    /// What the acceptor has taken in it.
    pub(crate) received: Counts,
}

/// What a connection is to a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Choice {
    /// The session that is there goes on.
    Resume,
    /// A new one begins; the one that is there, if any, has ended.
    Begin(SessionId),
}

/// The acceptor's choice, which is the rule: a session goes on if both have it, or if one has it and
/// the other has offered it and did not hear the answer. `live` is a session of these two lives.
pub(crate) fn choose(live: Option<SessionId>, fresh: SessionId, offer: &Offer) -> Choice {
    match (live, offer.live) {
        (Some(ours), Some(theirs)) if ours == theirs => Choice::Resume,
        (Some(ours), _) if ours == offer.fresh => Choice::Resume,
        (None, Some(theirs)) if theirs == fresh => Choice::Begin(fresh),
        _ => Choice::Begin(offer.fresh),
    }
}

/// The dialler's side of the same choice; none if the answer is none to what was offered.
pub(crate) fn understand(
    live: Option<SessionId>,
    offer: &Offer,
    answer: &Answer,
) -> Option<Choice> {
    if live == Some(answer.session) {
        Some(Choice::Resume)
    } else if answer.session == offer.fresh {
        Some(Choice::Begin(offer.fresh))
    } else {
        None
    }
}
