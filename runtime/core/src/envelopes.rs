//! Envelopes that travel together.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::envelope::{DecodeError, Envelope, EnvelopeRef};
use crate::event::EventId;

/// Envelopes of one event type, in the order of their lane. A transport hands them over together:
/// what can be done once for all of them is not done for each.
///
/// Those that come off a wire stay encoded until their turn comes, in the memory that they were
/// read into, so nothing is allocated or counted for each before that.
#[derive(Clone, Debug)]
pub struct Envelopes {
    event: EventId,
    rest: Rest,
}

#[derive(Clone, Debug)]
enum Rest {
    Open(VecDeque<Envelope>),
    /// So many frames, whose headers have been checked, from a place on.
    Framed {
        left: usize,
        frames: Bytes,
        at: usize,
    },
}

impl Envelopes {
    /// Bytes of a frame's length, which is a `u32`, little-endian.
    pub const LENGTH_BYTES: usize = 4;

    /// Envelopes in order; none if there are none.
    ///
    /// # Panics
    ///
    /// If they are not of one event type.
    #[must_use]
    pub fn of(envelopes: Vec<Envelope>) -> Option<Self> {
        let event = envelopes.first()?.event();
        assert!(envelopes.iter().all(|it| it.event() == event), "not of one event type");
        Some(Self { event, rest: Rest::Open(envelopes.into()) })
    }

    /// Cuts the first frames off `frames`: those of one event type, `frames_max` at most. A frame
    /// is a length and an envelope, and all of them must be whole. None if there are none.
    /// O(frames).
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the first frame does not begin with an envelope's header, or is not
    /// whole. Nothing is cut off then.
    pub fn cut_off(frames: &mut Bytes, frames_max: usize) -> Result<Option<Self>, DecodeError> {
        let Some((first, mut end)) = check_frame(frames)? else { return Ok(None) };
        let mut count = 1;
        while count < frames_max {
            let rest = frames.get(end..).unwrap_or_default();
            match check_frame(rest) {
                Ok(Some((event, size))) if event == first => end += size,
                // What is wrong with it is told to whoever asks for it.
                _ => break,
            }
            count += 1;
        }
        Ok(Some(Self { event: first, rest: Rest::framed(count, frames.split_to(end)) }))
    }

    /// Frames that were written on this node.
    pub(crate) fn framed(event: EventId, count: usize, frames: Bytes) -> Self {
        Self { event, rest: Rest::framed(count, frames) }
    }

    /// Which event type they hold.
    #[must_use]
    pub fn event(&self) -> EventId {
        self.event
    }

    /// How many are left.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.rest {
            Rest::Open(envelopes) => envelopes.len(),
            Rest::Framed { left, .. } => *left,
        }
    }

    /// Whether none is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the next one where it stands, if it is encoded, plain and for the root, as most are. None
    /// if it is not, or if there is none: then nothing is taken.
    #[inline]
    pub fn next_in_place(&mut self) -> Option<EnvelopeRef<'_>> {
        let Rest::Framed { left, frames, at } = &mut self.rest else { return None };
        let (encoded, size) = check_length(frames.get(*at..)?)?;
        let envelope = EnvelopeRef::plain(self.event, encoded)?;
        *left -= 1;
        *at += size;
        Some(envelope)
    }

    /// Adds one more of the same type at the end, unless they are encoded.
    ///
    /// # Errors
    ///
    /// The envelope, if it was not added.
    pub fn push(&mut self, envelope: Envelope) -> Result<(), Envelope> {
        match &mut self.rest {
            Rest::Open(envelopes) if envelope.event() == self.event => {
                envelopes.push_back(envelope);
                Ok(())
            }
            Rest::Open(_) | Rest::Framed { .. } => Err(envelope),
        }
    }
}

impl Rest {
    fn framed(left: usize, frames: Bytes) -> Self {
        Self::Framed { left, frames, at: 0 }
    }
}

impl From<Envelope> for Envelopes {
    fn from(envelope: Envelope) -> Self {
        Self { event: envelope.event(), rest: Rest::Open(VecDeque::from([envelope])) }
    }
}

impl Iterator for Envelopes {
    type Item = Envelope;

    fn next(&mut self) -> Option<Envelope> {
        match &mut self.rest {
            Rest::Open(envelopes) => envelopes.pop_front(),
            Rest::Framed { left, frames, at } => {
                let (_, size) = check_length(frames.get(*at..)?)?;
                let part = *at + Self::LENGTH_BYTES..*at + size;
                let envelope = Envelope::decode_within(frames, part);
                *left -= 1;
                *at += size;
                Some(envelope.expect("the header was checked when the frames were cut off"))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl ExactSizeIterator for Envelopes {}

/// The envelope of the first frame, and the size of the frame with its length, if it is whole.
pub(crate) fn check_length(frames: &[u8]) -> Option<(&[u8], usize)> {
    let length = frames.first_chunk::<{ Envelopes::LENGTH_BYTES }>()?;
    let size = Envelopes::LENGTH_BYTES + u32::from_le_bytes(*length) as usize;
    frames.get(Envelopes::LENGTH_BYTES..size).map(|envelope| (envelope, size))
}

/// The event of the first frame, and its size with its length; none if there is no frame.
fn check_frame(frames: &[u8]) -> Result<Option<(EventId, usize)>, DecodeError> {
    if frames.is_empty() {
        return Ok(None);
    }
    let Some((envelope, size)) = check_length(frames) else {
        return Err(DecodeError::new("a frame is not whole"));
    };
    Ok(Some((Envelope::check(envelope)?, size)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Instance, Tag};

    fn envelope(event: u64, size: usize) -> Envelope {
        let (event, instance) = (EventId::from_bits(event), Instance::of_key(7));
        Envelope::from_parts(event, instance, Tag::Ask(1), vec![b'x'; size].into())
    }

    fn frames(envelopes: &[Envelope]) -> Bytes {
        let mut frames = Vec::new();
        for envelope in envelopes {
            let mut bytes = Vec::new();
            envelope.encode_into(&mut bytes);
            frames.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
            frames.extend_from_slice(&bytes);
        }
        frames.into()
    }

    #[test]
    fn runs_of_one_event_type_are_cut_off_and_come_out_as_they_went_in() {
        let all = [(1, 0), (1, 22), (1, 23), (2, 5), (2, 400), (1, 9)];
        let all = all.map(|(event, size)| envelope(event, size));
        let mut frames = frames(&all);
        let mut runs = Vec::new();
        while let Some(run) = Envelopes::cut_off(&mut frames, 2).unwrap() {
            let (event, length) = (run.event().bits(), run.len());
            let run: Vec<Envelope> = run.collect();
            assert_eq!(length, run.len());
            runs.push((event, run));
        }
        let of = |places: &[usize]| places.iter().map(|at| all[*at].clone()).collect();
        let expected: Vec<(u64, Vec<Envelope>)> =
            vec![(1, of(&[0, 1])), (1, of(&[2])), (2, of(&[3, 4])), (1, of(&[5]))];
        assert_eq!(runs, expected);
    }

    #[test]
    fn what_is_plain_and_for_the_root_is_taken_where_it_stands_and_nothing_else_is() {
        let plain = |size| {
            Envelope::from_parts(
                EventId::from_bits(1),
                Instance::ROOT,
                Tag::Plain,
                vec![b'x'; size].into(),
            )
        };
        let all = [plain(0), plain(40), envelope(1, 3), plain(7)];
        let mut run = Envelopes::cut_off(&mut frames(&all), 9).unwrap().unwrap();
        let in_place = |run: &mut Envelopes| run.next_in_place().map(|it| it.to_owned());
        assert_eq!(in_place(&mut run), Some(all[0].clone()));
        assert_eq!(in_place(&mut run), Some(all[1].clone()));
        assert_eq!((in_place(&mut run), run.len()), (None, 2));
        assert_eq!(run.next(), Some(all[2].clone()));
        assert_eq!(in_place(&mut run), Some(all[3].clone()));
        assert_eq!((in_place(&mut run), run.next(), run.len()), (None, None, 0));
    }

    #[test]
    fn what_comes_before_a_damaged_frame_is_cut_off_first() {
        let mut bytes = frames(&[envelope(1, 3)]).to_vec();
        bytes.extend_from_slice(&[9, 0, 0, 0, 1, 2, 3]);
        let mut bytes = Bytes::from(bytes);
        assert_eq!(Envelopes::cut_off(&mut bytes, 9).unwrap().map(|it| it.len()), Some(1));
        assert!(Envelopes::cut_off(&mut bytes, 9).is_err());
        assert_eq!(bytes.len(), 7, "nothing is cut off");
        let mut header = Bytes::from_static(&[9, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 255]);
        assert!(Envelopes::cut_off(&mut header, 9).is_err());
    }

    #[test]
    fn one_more_is_added_only_to_envelopes_of_its_type_that_are_not_encoded() {
        let mut open = Envelopes::from(envelope(1, 3));
        assert_eq!(open.push(envelope(1, 4)), Ok(()));
        assert_eq!(open.push(envelope(2, 4)), Err(envelope(2, 4)));
        assert_eq!(open.len(), 2);
        let mut encoded = Envelopes::cut_off(&mut frames(&[envelope(1, 3)]), 1).unwrap().unwrap();
        assert_eq!(encoded.push(envelope(1, 4)), Err(envelope(1, 4)));
    }
}
