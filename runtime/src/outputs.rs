//! What the algorithms say to the application.

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
pub struct Outputs(broadcast::Receiver<Envelope>);

impl Outputs {
    /// The next output; `None` once the node has ended and everything was read.
    pub async fn next(&mut self) -> Option<Output> {
        match self.0.recv().await {
            Ok(envelope) => Some(Output::Event(envelope)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Output::Gap { missed }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// Hands every output to every reader, without ever waiting for one.
#[derive(Debug)]
pub(crate) struct Speaker {
    /// `None` once the node has ended.
    sender: Mutex<Option<broadcast::Sender<Envelope>>>,
    /// For the first reader, so that it misses nothing.
    first: Mutex<Option<broadcast::Receiver<Envelope>>>,
}

impl Speaker {
    pub(crate) fn new(capacity: usize) -> Self {
        let (sender, first) = broadcast::channel(capacity.max(1));
        Self { sender: Mutex::new(Some(sender)), first: Mutex::new(Some(first)) }
    }

    pub(crate) fn say(&self, envelope: Envelope) {
        if let Some(sender) = &*locked(&self.sender) {
            let _heard_by = sender.send(envelope);
        }
    }

    pub(crate) fn outputs(&self) -> Outputs {
        if let Some(first) = locked(&self.first).take() {
            return Outputs(first);
        }
        match &*locked(&self.sender) {
            Some(sender) => Outputs(sender.subscribe()),
            None => Outputs(broadcast::channel(1).1),
        }
    }

    /// Nothing will be said any more.
    pub(crate) fn close(&self) {
        locked(&self.sender).take();
    }
}
