//! One link: a connection on which both sides have said hello, and how it ends.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use quinn::{Connection, ConnectionError};
use synod_core::{EventId, NodeId, Reason};
use tokio::sync::Notify;

use crate::control::Greeting;
use crate::outbox::Outbox;
use crate::refusal::{Close, Turned, reason_of};

/// A link to a peer. It ends once, for the first reason that is given.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: NodeId,
    pub(crate) incarnation: u64,
    /// The events that the peer handles, for sentences.
    pub(crate) events: BTreeMap<EventId, String>,
    /// Which of the two nodes dialled.
    pub(crate) dialer: NodeId,
    /// The peer's address as text.
    pub(crate) address: String,
    pub(crate) connection: Connection,
    pub(crate) outbox: Outbox,
    end: Mutex<Option<End>>,
    ended: Notify,
    /// Whether the inbox has been told that this link is down: nothing is delivered then.
    pub(crate) is_down: AtomicBool,
}

/// Why and how a link ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct End {
    /// What this node is told.
    pub(crate) reason: Reason,
    /// What the peer is told.
    pub(crate) close: Close,
    /// The words that go with it.
    pub(crate) text: String,
}

impl End {
    pub(crate) fn new(reason: Reason, close: Close, text: &str) -> Self {
        Self { reason, close, text: String::from(text) }
    }

    /// The peer broke the protocol.
    pub(crate) fn refused(turned: &Turned) -> Self {
        Self { reason: Reason::Refused, close: Close::Refused, text: turned.reason() }
    }

    /// The connection was lost, or the peer has closed it.
    pub(crate) fn lost(error: &ConnectionError) -> Self {
        Self { reason: reason_of(error), close: Close::Leaving, text: error.to_string() }
    }
}

impl Link {
    pub(crate) fn new(
        theirs: &Greeting,
        dialer: NodeId,
        connection: Connection,
        outbox: Outbox,
    ) -> Self {
        Self {
            peer: theirs.node,
            incarnation: theirs.incarnation,
            events: theirs.names(),
            dialer,
            address: connection.remote_address().to_string(),
            connection,
            outbox,
            end: Mutex::default(),
            ended: Notify::new(),
            is_down: AtomicBool::new(false),
        }
    }

    /// Ends the link, from any thread. Only the first end counts; returns its reason.
    pub(crate) fn end(&self, end: End) -> Reason {
        let mut first = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = &*first {
            return first.reason;
        }
        let reason = end.reason;
        self.connection.close(end.close.code(), end.text.as_bytes());
        *first = Some(end);
        self.ended.notify_one();
        reason
    }

    /// Waits for an end that was given from elsewhere. For one task only.
    pub(crate) async fn over(&self) -> End {
        loop {
            let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(end) = end {
                return end;
            }
            self.ended.notified().await;
        }
    }
}
