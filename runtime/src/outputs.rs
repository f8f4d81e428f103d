//! What the algorithms say to the application.

use std::collections::VecDeque;
use std::mem;
use std::sync::Mutex;

use synod_core::Envelope;
use tokio::sync::broadcast;

use crate::gate::locked;

/// Something that came out of a node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// An event that no algorithm of the node listens to.
    Event(Envelope),
    /// The reader was too slow: so many outputs at this place are lost to it.
    Gap {
        /// How many.
        missed: u64,
    },
}

/// The outputs of a node, from the moment of asking on. The first reader gets them from the start
/// of the node on.
#[derive(Debug)]
pub struct Outputs {
    /// What was said before there was a reader.
    before: Backlog,
    /// What is said from then on; none if the node had ended.
    then: Option<broadcast::Receiver<Envelope>>,
}

impl Outputs {
    /// The next output; `None` once the node has ended and everything was read.
    pub async fn next(&mut self) -> Option<Output> {
        if let Some(output) = self.before.next() {
            return Some(output);
        }
        match self.then.as_mut()?.recv().await {
            Ok(envelope) => Some(Output::Event(envelope)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Output::Gap { missed }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// Hands every output to every reader, without ever waiting for one. The memory for readers who are
/// behind is taken when there is one.
#[derive(Debug)]
pub(crate) struct Speaker {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// Nobody has asked yet: kept for the first reader, so that it misses nothing.
    Unread(Backlog),
    Read(broadcast::Sender<Envelope>),
    /// Nothing is said any more. What nobody has read is still there for a first reader.
    Ended(Backlog),
}

/// The last outputs, and how many there were before.
#[derive(Debug, Default)]
struct Backlog {
    missed: u64,
    kept: VecDeque<Envelope>,
}

impl Backlog {
    fn keep(&mut self, envelope: Envelope, capacity: usize) {
        if capacity <= self.kept.len() {
            self.kept.pop_front();
            self.missed += 1;
        }
        self.kept.push_back(envelope);
    }

    fn next(&mut self) -> Option<Output> {
        match mem::take(&mut self.missed) {
            0 => self.kept.pop_front().map(Output::Event),
            missed => Some(Output::Gap { missed }),
        }
    }
}

impl Speaker {
    pub(crate) fn new(capacity: usize) -> Self {
        let state = Mutex::new(State::Unread(Backlog::default()));
        Self { capacity: capacity.max(1), state }
    }

    pub(crate) fn say(&self, envelope: Envelope) {
        match &mut *locked(&self.state) {
            State::Unread(backlog) => backlog.keep(envelope, self.capacity),
            State::Read(sender) => {
                let _heard_by = sender.send(envelope);
            }
            State::Ended(_) => (),
        }
    }

    pub(crate) fn outputs(&self) -> Outputs {
        let mut state = locked(&self.state);
        match &mut *state {
            State::Unread(backlog) => {
                let before = mem::take(backlog);
                let (sender, then) = broadcast::channel(self.capacity);
                *state = State::Read(sender);
                Outputs { before, then: Some(then) }
            }
            State::Read(sender) => {
                Outputs { before: Backlog::default(), then: Some(sender.subscribe()) }
            }
            State::Ended(backlog) => Outputs { before: mem::take(backlog), then: None },
        }
    }

    /// Nothing will be said any more.
    pub(crate) fn close(&self) {
        let mut state = locked(&self.state);
        let unread = match &mut *state {
            State::Unread(backlog) | State::Ended(backlog) => mem::take(backlog),
            State::Read(_) => Backlog::default(),
        };
        *state = State::Ended(unread);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use synod_core::{EventId, Instance, Tag};

    use super::*;

    fn event(number: u8) -> Envelope {
        let body = Bytes::from(vec![number]);
        Envelope::from_parts(EventId::of("a"), Instance::ROOT, Tag::Plain, body)
    }

    fn said(numbers: impl IntoIterator<Item = u8>) -> Speaker {
        let speaker = Speaker::new(2);
        numbers.into_iter().for_each(|number| speaker.say(event(number)));
        speaker
    }

    #[tokio::test]
    async fn the_first_reader_gets_what_was_said_before_and_the_next_one_does_not() {
        let speaker = said([1]);
        let (mut first, mut second) = (speaker.outputs(), speaker.outputs());
        speaker.say(event(2));
        speaker.close();
        assert_eq!(first.next().await, Some(Output::Event(event(1))));
        for reader in [&mut first, &mut second] {
            assert_eq!(reader.next().await, Some(Output::Event(event(2))));
            assert_eq!(reader.next().await, None);
        }
        assert_eq!(speaker.outputs().next().await, None);
    }

    #[tokio::test]
    async fn what_nobody_reads_is_bounded_and_a_late_first_reader_is_told_of_the_gap() {
        let speaker = said(1..=5);
        speaker.close();
        let mut first = speaker.outputs();
        assert_eq!(first.next().await, Some(Output::Gap { missed: 3 }));
        assert_eq!(first.next().await, Some(Output::Event(event(4))));
        assert_eq!(first.next().await, Some(Output::Event(event(5))));
        assert_eq!(first.next().await, None);
    }
}
