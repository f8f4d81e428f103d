//! Whose turn it is with the run's stream: the world's, or that of a node or disk that it runs.

use std::any::Any;
use std::ops::{Deref, DerefMut};

use synod_core::{Choices, NodeId};

use crate::choice::{About, Label, Stream};

/// The stream of a run. It is the world's, which lends it to what may ask while it runs: a node, or
/// a disk. One owner at a time needs no lock.
#[derive(Debug)]
pub(crate) struct Lender(Option<Box<Stream>>);

impl Lender {
    pub(super) fn new(stream: Stream) -> Self {
        Self(Some(Box::new(stream)))
    }

    /// The stream, until it is [taken back](Self::take_back).
    #[inline]
    pub(crate) fn lend(&mut self) -> Box<Stream> {
        self.0.take().expect(HERE)
    }

    /// The stream is the world's again. `lent` is what was made of it.
    #[inline]
    pub(crate) fn take_back(&mut self, lent: Option<Box<dyn Choices>>) {
        let lent = lent.map(|it| -> Box<dyn Any> { it });
        self.0 = lent.and_then(|it| it.downcast().ok());
        assert!(self.0.is_some(), "what was lent comes back");
    }

    pub(super) fn into_inner(mut self) -> Stream {
        *self.lend()
    }
}

const HERE: &str = "the stream was taken back";

impl Deref for Lender {
    type Target = Stream;

    #[inline]
    fn deref(&self) -> &Stream {
        self.0.as_ref().expect(HERE)
    }
}

impl DerefMut for Lender {
    #[inline]
    fn deref_mut(&mut self) -> &mut Stream {
        self.0.as_mut().expect(HERE)
    }
}

impl Choices for Stream {
    fn choose(&mut self, node: NodeId, options: u32) -> u32 {
        let label = Label { what: "choose", about: About::Node(node) };
        u32::try_from(Self::choose(self, label, u64::from(options))).unwrap_or(0)
    }
}
