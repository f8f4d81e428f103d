//! What came of a step, in 64 bits.

use std::fmt;

use crate::context::Effect;
use crate::envelope::{Envelope, Lane, Tag};
use crate::event::NodeId;
use crate::node::StepError;

/// A hash of what came of a step: its effects, or why the input was refused. Equal on every
/// machine and in every release that reads the same format of recordings.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// A handler panicked. What it said is not part of the fingerprint.
    pub const PANICKED: Self = Self(Fnv::NEW.number(PANICKED).0);

    /// What came of a step that returned, with the effects that it asked for. O(size).
    #[must_use]
    pub fn of(stepped: &Result<(), StepError>, effects: &[Effect]) -> Self {
        Self(match stepped {
            Ok(()) => {
                let count: usize = effects.iter().map(effects_in).sum();
                let hash = Fnv::NEW.number(ENDED).number(count as u64);
                effects.iter().fold(hash, effect).0
            }
            Err(error) => refusal(Fnv::NEW.number(REFUSED), error).0,
        })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

const ENDED: u64 = 0;
const REFUSED: u64 = 1;
const PANICKED: u64 = 2;

/// The 64-bit FNV-1a hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fnv(pub(super) u64);

impl Fnv {
    /// The hash of nothing.
    pub(super) const NEW: Self = Self(0xcbf2_9ce4_8422_2325);

    pub(super) const fn bytes(self, bytes: &[u8]) -> Self {
        let (mut hash, mut rest) = (self.0, bytes);
        while let [first, tail @ ..] = rest {
            hash = (hash ^ *first as u64).wrapping_mul(0x0100_0000_01b3);
            rest = tail;
        }
        Self(hash)
    }

    pub(super) const fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    /// Bytes that are told apart from what follows them.
    fn counted(self, bytes: &[u8]) -> Self {
        self.number(bytes.len() as u64).bytes(bytes)
    }

    fn node(self, node: NodeId) -> Self {
        self.number(u64::from(node.0))
    }
}

/// Events that were gathered are as many effects as they would be otherwise.
fn effects_in(effect: &Effect) -> usize {
    match effect {
        Effect::SendAll { envelopes, .. } => envelopes.len(),
        _ => 1,
    }
}

fn effect(hash: Fnv, effect: &Effect) -> Fnv {
    match effect {
        Effect::Send { to, lane, envelope: sent } => {
            let hash = hash.number(0).node(*to);
            let hash = match lane {
                Lane::Ordered(id) => hash.number(0).number(id.0),
                Lane::Datagram => hash.number(1),
            };
            envelope(hash, sent)
        }
        Effect::SendAll { to, lane, envelopes } => {
            let to = |hash: Fnv| hash.number(0).node(*to).number(0).number(lane.0);
            envelopes.envelopes().fold(hash, |hash, sent| envelope(to(hash), &sent))
        }
        Effect::Timer { id, after, envelope: tick } => {
            let hash = hash.number(1).number(id.0).number(after.as_secs());
            envelope(hash.number(u64::from(after.subsec_nanos())), tick)
        }
        Effect::Cancel(id) => hash.number(2).number(id.0),
        Effect::Persist(record) => envelope(hash.number(3), record),
        Effect::Checkpoint { record, replaces } => {
            let hash = envelope(hash.number(4), record).number(replaces.len() as u64);
            replaces.iter().fold(hash, |hash, event| hash.number(event.bits()))
        }
        Effect::Job(job) => envelope(hash.number(5), job),
        Effect::Output(output) => envelope(hash.number(6), output),
        Effect::Log(line) => hash.number(7).counted(line.as_bytes()),
    }
}

fn envelope(hash: Fnv, envelope: &Envelope) -> Fnv {
    let keys = envelope.instance().keys();
    let hash = hash.number(envelope.event().bits()).number(keys.len() as u64);
    let hash = keys.iter().fold(hash, |hash, key| hash.number(*key));
    let hash = match envelope.tag() {
        Tag::Plain => hash.number(0),
        Tag::Ask(number) => hash.number(1).number(number),
        Tag::Answer(number) => hash.number(2).number(number),
        Tag::Expired(number) => hash.number(3).number(number),
    };
    hash.counted(envelope.body())
}

/// What the codec said of bytes is left out: its words may change.
fn refusal(hash: Fnv, error: &StepError) -> Fnv {
    match error {
        StepError::Unhandled(event) => hash.number(0).number(event.bits()),
        StepError::Decode { event, from, cause: _ } => {
            hash.number(1).counted(event.as_bytes()).node(*from)
        }
        StepError::LocalOnly { event, from } => hash.number(2).number(event.bits()).node(*from),
        StepError::Stale { number, from } => hash.number(3).number(*number).node(*from),
        StepError::Stranger(node) => hash.number(4).node(*node),
        StepError::Full { instances_max } => hash.number(5).number(*instances_max as u64),
    }
}
