//! What comes in on a link: frames of lanes and datagrams, checked, and handed over in batches.

use std::future::pending;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use quinn::{ReadError, RecvStream};
use synod_core::{Envelope, EventId, Lane, LaneId};
use tokio::time::{Instant, timeout_at};

use crate::frame::Splitter;
use crate::limits::CHUNKS_MAX;
use crate::link::{End, Link};
use crate::refusal::{Kind, Turned, printable};
use crate::session::Lanes;
use crate::shared::Shared;

/// Reads one lane that the peer has opened.
#[derive(Debug)]
pub(crate) struct Reader {
    shared: Arc<Shared>,
    link: Arc<Link>,
    lanes: Arc<Lanes>,
    stream: RecvStream,
    splitter: Splitter,
    /// When the first byte of the unfinished frame came.
    unfinished_since: Instant,
}

impl Reader {
    pub(crate) fn new(
        shared: Arc<Shared>,
        link: Arc<Link>,
        lanes: Arc<Lanes>,
        stream: RecvStream,
    ) -> Self {
        let splitter = Splitter::new(shared.limits.frame_bytes_max);
        Self { shared, link, lanes, stream, splitter, unfinished_since: Instant::now() }
    }

    /// Reads to the end of the stream. An error ends the link.
    pub(crate) async fn run(mut self) -> Result<(), End> {
        self.read().await.map_err(|turned| self.shared.refuse(&self.link, &turned))
    }

    async fn read(&mut self) -> Result<(), Turned> {
        let Some(lane) = self.read_lane().await? else { return Ok(()) };
        self.lanes.open(lane, self.shared.limits.lanes_max)?;
        loop {
            let was_whole = self.deliver_frames(lane).await?;
            if was_whole {
                self.unfinished_since = Instant::now();
            }
            if !self.fill().await? {
                return self.check_end();
            }
            // One lane that always has data must not keep the others waiting.
            tokio::task::yield_now().await;
        }
    }

    /// Reads which lane this is; none if the stream ends without a word.
    async fn read_lane(&mut self) -> Result<Option<LaneId>, Turned> {
        loop {
            if let Some(lane) = self.splitter.lane() {
                return Ok(Some(lane));
            }
            if !self.fill().await? {
                return self.check_end().map(|()| None);
            }
        }
    }

    /// Hands over all whole frames, in runs of one event type. Says whether there were any, or
    /// nothing is left unfinished.
    async fn deliver_frames(&mut self, lane: LaneId) -> Result<bool, Turned> {
        let mut batch = Batch::new(&self.shared, &self.link, Lane::Ordered(lane));
        let mut was_whole = !self.splitter.is_partial();
        loop {
            match self.splitter.next() {
                Ok(Some(frame)) => {
                    was_whole = true;
                    batch.add(&frame).await?;
                }
                Ok(None) => break,
                Err(too_large) => {
                    // What came before it was in order, and is delivered.
                    batch.deliver().await;
                    let text = format!(
                        "a frame of {} bytes, and {} allows {}",
                        too_large.size, self.shared.me, self.shared.limits.frame_bytes_max
                    );
                    return Err(Turned::new(Kind::FrameTooLarge, text));
                }
            }
        }
        batch.deliver().await;
        Ok(was_whole)
    }

    /// Reads what is there, or waits for it. False at the end of the stream.
    async fn fill(&mut self) -> Result<bool, Turned> {
        let mut chunks = [const { Bytes::new() }; CHUNKS_MAX];
        match self.read_in_time(&mut chunks).await? {
            Ok(Some(count)) => {
                let chunks = chunks.get(..count).unwrap_or_default();
                self.splitter.reserve(chunks.iter().map(Bytes::len).sum());
                chunks.iter().for_each(|chunk| self.splitter.push(chunk));
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(ReadError::Reset(_)) => {
                Err(Turned::new(Kind::BadLane, "a lane was broken off, so events are missing"))
            }
            // The end of the connection is noticed elsewhere.
            Err(_) => pending().await,
        }
    }

    /// Reads. A frame that has begun must go on soon; the next one may take its time.
    async fn read_in_time(
        &mut self,
        chunks: &mut [Bytes],
    ) -> Result<Result<Option<usize>, ReadError>, Turned> {
        let reading = self.stream.read_chunks(chunks);
        if !self.splitter.is_partial() {
            let read = reading.await;
            self.unfinished_since = Instant::now();
            return Ok(read);
        }
        let patience = self.shared.limits.frame_timeout;
        timeout_at(self.unfinished_since + patience, reading).await.map_err(|_| {
            let text = format!("a frame was not finished within {patience:?}");
            Turned::new(Kind::FrameTimeout, text)
        })
    }

    fn check_end(&self) -> Result<(), Turned> {
        match self.splitter.is_partial() {
            false => Ok(()),
            true => Err(Turned::new(Kind::BadFrame, "a lane ended within a frame")),
        }
    }
}

/// Envelopes of one event type, to be handed over together.
struct Batch<'a> {
    shared: &'a Shared,
    link: &'a Link,
    lane: Lane,
    event: Option<EventId>,
    envelopes: Vec<Envelope>,
}

impl<'a> Batch<'a> {
    fn new(shared: &'a Shared, link: &'a Link, lane: Lane) -> Self {
        Self { shared, link, lane, event: None, envelopes: Vec::new() }
    }

    /// Adds the envelope in a frame. One of another type, or one too many, goes to the next
    /// batch.
    async fn add(&mut self, frame: &Bytes) -> Result<(), Turned> {
        let envelope = match Envelope::decode(frame) {
            Ok(envelope) => envelope,
            Err(error) => {
                self.deliver().await;
                let text = format!("a frame of {} bytes is damaged: {error}", frame.len());
                return Err(Turned::new(Kind::BadFrame, text));
            }
        };
        let event = envelope.event();
        if self.event != Some(event) {
            if !self.shared.events.contains_key(&event) {
                self.skip(event);
                return Ok(());
            }
            self.deliver().await;
            self.event = Some(event);
        } else if self.shared.limits.batch_max <= self.envelopes.len() {
            self.deliver().await;
        }
        self.envelopes.push(envelope);
        Ok(())
    }

    /// Hands over what there is, and waits until there is room for more.
    async fn deliver(&mut self) {
        if self.envelopes.is_empty() || self.link.is_down.load(Ordering::Relaxed) {
            self.envelopes.clear();
            return;
        }
        let batch = mem::take(&mut self.envelopes);
        if let Some(room) = self.shared.inbox.deliver(self.link.peer, self.lane, batch) {
            room.await;
        }
    }

    /// An event that this node does not handle is left out, and never in silence.
    fn skip(&self, event: EventId) {
        let name = match self.link.events.get(&event) {
            Some(name) => format!("`{}`", printable(name)),
            None => format!("{:016x}", event.bits()),
        };
        let me = self.shared.me;
        let text = format!(
            "event {name} is not handled by {me} and was left out: do both run the same program?"
        );
        let turned = Turned::new(Kind::UnknownEvent, text);
        self.shared.journal.refuses(Some(self.link.peer), &self.link.address, &turned);
    }
}

/// Reads datagrams, each of which is one envelope.
pub(crate) async fn read_datagrams(shared: &Shared, link: &Link) -> End {
    loop {
        // The end of the connection is noticed elsewhere.
        let Ok(datagram) = link.connection.read_datagram().await else { return pending().await };
        let mut batch = Batch::new(shared, link, Lane::Datagram);
        if let Err(turned) = batch.add(&datagram).await {
            return shared.refuse(link, &turned);
        }
        batch.deliver().await;
        tokio::task::yield_now().await;
    }
}
