//! Questions of the application to its own node.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use synod_core::{Envelope, Tag};
use tokio::sync::oneshot;

use crate::gate::locked;

/// What came of a question: the answer, or why it was refused.
pub(crate) type Outcome = Result<Envelope, String>;

/// The open questions.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    asked: AtomicU64,
    open: Mutex<BTreeMap<u64, oneshot::Sender<Outcome>>>,
}

/// An open question. It is closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    asks: &'a Asks,
    pub(crate) number: u64,
    pub(crate) outcome: oneshot::Receiver<Outcome>,
}

impl Asks {
    /// Opens a question in this life of the node, unless `max` are open. A ticket may outlast a life in its
    /// records: what is answered to it then is no answer to a question of a later one.
    pub(crate) fn open(&self, life: u64, max: usize) -> Option<Asked<'_>> {
        let (sender, outcome) = oneshot::channel();
        let mut open = locked(&self.open);
        if max <= open.len() {
            return None;
        }
        let number = loop {
            let count = self.asked.fetch_add(1, Ordering::Relaxed);
            let number = Tag::OF_APPLICATION | Tag::number(life, count);
            if !open.contains_key(&number) {
                break number;
            }
        };
        open.insert(number, sender);
        Some(Asked { asks: self, number, outcome })
    }

    /// Whether somebody still waits for the answer.
    pub(crate) fn is_open(&self, number: u64) -> bool {
        locked(&self.open).contains_key(&number)
    }

    /// False if no such question is open.
    pub(crate) fn resolve(&self, number: u64, outcome: Outcome) -> bool {
        let asked = locked(&self.open).remove(&number);
        asked.is_some_and(|asked| asked.send(outcome).is_ok())
    }

    /// The outcome of every open question is unknown: the state that knew of them is gone.
    pub(crate) fn forget(&self) {
        locked(&self.open).clear();
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        locked(&self.asks.open).remove(&self.number);
    }
}
