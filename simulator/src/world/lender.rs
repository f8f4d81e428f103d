//! Whose turn it is with the run's stream: the world's, or that of a node or disk that it runs.

use std::any::Any;
use std::ops::{Deref, DerefMut};

use synod_core::{Choices, NodeId};

use crate::choice::{About, CHOOSE, Label, Stream};

/// The stream of a run. It is the world's, which lends it to what may ask while it runs: a node, or
/// a disk. One owner at a time needs no lock.
pub(crate) struct Lender(Option<Box<dyn Choices>>);

impl Lender {
    pub(super) fn new(stream: Stream) -> Self {
        Self(Some(Box::new(stream)))
    }

    /// The stream for a node, until it is [taken back](Self::take_back).
    #[inline]
    pub(crate) fn lend(&mut self) -> Box<dyn Choices> {
        self.0.take().expect(HERE)
    }

    /// The same as what it is, for somebody else.
    pub(super) fn lend_open(&mut self) -> Box<Stream> {
        let stream: Box<dyn Any> = self.lend();
        stream.downcast().expect(OURS)
    }

    /// The stream is the world's again. `lent` is what was made of it.
    #[inline]
    pub(crate) fn take_back(&mut self, lent: Option<Box<dyn Choices>>) {
        self.0 = lent;
    }

    pub(super) fn into_inner(mut self) -> Stream {
        *self.lend_open()
    }
}

const HERE: &str = "the stream was taken back";
const OURS: &str = "what was lent comes back";

// The world asks it less often than it is lent: what it is, is looked at here and not when it comes back.

impl Deref for Lender {
    type Target = Stream;

    #[inline]
    fn deref(&self) -> &Stream {
        let stream: &dyn Any = self.0.as_deref().expect(HERE);
        stream.downcast_ref().expect(OURS)
    }
}

impl DerefMut for Lender {
    #[inline]
    fn deref_mut(&mut self) -> &mut Stream {
        let stream: &mut dyn Any = self.0.as_deref_mut().expect(HERE);
        stream.downcast_mut().expect(OURS)
    }
}

impl Choices for Stream {
    fn choose(&mut self, node: NodeId, options: u32) -> u32 {
        let label = Label { what: CHOOSE, about: About::Node(node) };
        u32::try_from(Self::choose(self, label, u64::from(options))).unwrap_or(0)
    }

    fn random(&mut self, node: NodeId, bits: u64) -> u64 {
        Self::random(self, node, bits)
    }
}
