//! The stream that a lane is written to: its writer has it, and whoever answers on the endpoint's
//! thread.
//!
//! To wake the writer takes as long as to write. So what a handler sends on the thread that has
//! brought its event is written by that thread, if nothing else is under way on the lane.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use bytes::Bytes;
use quinn::{SendStream, WriteError};
use synod_core::LaneId;
use tokio::sync::Mutex as AsyncMutex;

use crate::link::{Link, Wire};
use crate::session::Portion;

/// The lanes that one connection is written to.
#[derive(Debug, Default)]
pub(crate) struct Outlets(Mutex<BTreeMap<LaneId, Arc<AsyncMutex<Outlet>>>>);

impl Outlets {
    pub(crate) fn add(&self, lane: LaneId, outlet: Outlet) -> Arc<AsyncMutex<Outlet>> {
        let outlet = Arc::new(AsyncMutex::new(outlet));
        let mut outlets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        outlets.insert(lane, Arc::clone(&outlet));
        outlet
    }

    fn of(&self, lane: LaneId) -> Option<Arc<AsyncMutex<Outlet>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&lane).cloned()
    }
}

/// The stream of a lane. Whoever has it locked writes all that it has taken of the lane.
#[derive(Debug)]
pub(crate) struct Outlet {
    stream: SendStream,
    is_bulk: bool,
}

/// A lane that has so much to write at once is one of bulk.
const BULK_BYTES: usize = 16 * 1024;

impl Outlet {
    pub(crate) fn new(stream: SendStream) -> Self {
        Self { stream, is_bulk: false }
    }

    /// Writes all of it. An error means that the connection is lost.
    pub(crate) async fn write(&mut self, portion: Portion) -> Result<(), WriteError> {
        self.weigh(portion.len());
        self.stream.write_all_chunks(&mut [portion.bytes, portion.body]).await
    }

    /// Writes as much as the connection takes at once. Returns what is left.
    fn write_at_once(&mut self, portion: Portion) -> Option<[Bytes; 2]> {
        self.weigh(portion.len());
        let mut chunks = [portion.bytes, portion.body];
        // If the connection is lost, that is noticed elsewhere.
        let mut context = Context::from_waker(Waker::noop());
        let _written = pin!(self.stream.write_chunks(&mut chunks)).poll(&mut context);
        chunks.iter().any(|chunk| !chunk.is_empty()).then_some(chunks)
    }

    /// A lane that has much to send lets those pass that have little.
    fn weigh(&mut self, bytes: usize) {
        if self.is_bulk != (BULK_BYTES <= bytes) {
            self.is_bulk = !self.is_bulk;
            // An error means that the stream has ended, and so does the next write.
            let _ = self.stream.set_priority(if self.is_bulk { -1 } else { 0 });
        }
    }

    pub(crate) fn is_bulk(&self) -> bool {
        self.is_bulk
    }

    pub(crate) fn finish(&mut self) {
        let _ = self.stream.finish();
    }
}

/// Writes a portion of what waits on a lane, on the endpoint's thread, and leaves more to its writer.
pub(crate) fn write_at_once(link: &Link, wire: &Wire, lane: LaneId) {
    let outlet = wire.outlets.of(lane).and_then(|outlet| outlet.try_lock_owned().ok());
    let Some(mut outlet) = outlet else { return link.channel.wake_if_waiting(lane) };
    if let Some(portion) = link.channel.take_waiting(wire.id, lane)
        && let Some(mut rest) = outlet.write_at_once(portion)
    {
        // Its writer waits for the lock in the meantime.
        tokio::spawn(async move {
            let _ = outlet.stream.write_all_chunks(&mut rest).await;
        });
    }
}
