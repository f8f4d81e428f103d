//! What comes in on a link: frames of lanes and datagrams, checked, and handed over in batches.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use bytes::Bytes;
use quinn::{ReadError, RecvStream};
use synod_core::{
    Acknowledgement, DecodeError, Envelope, Envelopes, EventId, Lane, LaneId, Receipt, Room,
};
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout_at};

use crate::frame::{self, Splitter, TooLarge};
use crate::limits::CHUNKS_MAX;
use crate::link::{End, Gate, Link, Wire};
use crate::outlet;
use crate::refusal::{Kind, Turned, printable};
use crate::serve::Lanes;
use crate::shared::{self, Shared};

/// A lane that has read so much lets others pass.
const TURN_BYTES: usize = 4 * 1024;

/// Reads one lane that the peer has opened.
#[derive(Debug)]
pub(crate) struct Reader {
    shared: Arc<Shared>,
    link: Arc<Link>,
    wire: Arc<Wire>,
    lanes: Arc<Lanes>,
    stream: RecvStream,
    /// Where what was read stands until the splitter has it: as many as are taken at once.
    chunks: Box<[Bytes]>,
    splitter: Splitter,
    /// Which event has a large frame here that is not finished, and the place that it takes.
    large: Option<(EventId, OwnedMutexGuard<()>)>,
    /// Frames that come again, and are left out.
    known: u64,
    /// Bytes that were read since others had their turn.
    in_turn: usize,
    /// Whether nothing was unfinished before what was read last.
    was_whole: bool,
    /// When the first byte of the unfinished frame came.
    unfinished_since: Instant,
}

impl Reader {
    pub(crate) fn new(
        shared: Arc<Shared>,
        (link, wire): (Arc<Link>, Arc<Wire>),
        lanes: Arc<Lanes>,
        stream: RecvStream,
    ) -> Self {
        let splitter = Splitter::new(Arc::clone(&shared.sizes));
        let chunks = vec![Bytes::new(); CHUNKS_MAX].into();
        let (large, unfinished_since) = (None, Instant::now());
        let (known, in_turn, was_whole) = (0, 0, true);
        Self {
            shared,
            link,
            wire,
            lanes,
            stream,
            chunks,
            splitter,
            large,
            known,
            in_turn,
            was_whole,
            unfinished_since,
        }
    }

    /// Reads to the end of the stream. An error ends the link.
    pub(crate) async fn run(mut self) -> Result<(), End> {
        self.read().await.map_err(|turned| self.shared.refuse(&self.link, &self.wire, &turned))
    }

    async fn read(&mut self) -> Result<(), Turned> {
        let Some((lane, first)) = self.read_lane().await? else { return Ok(()) };
        self.lanes.open(lane)?;
        if !self.link.channel.carries(self.wire.id) {
            // The end of this connection is near, and noticed elsewhere.
            return pending().await;
        }
        let opened = self.link.channel.open(lane, first);
        self.known = opened.map_err(|misstep| shared::turned(&misstep))?;
        let gate = self.link.gate(lane);
        loop {
            let was_whole = self.deliver_frames(lane, &gate).await?;
            if was_whole && self.splitter.is_partial() {
                self.unfinished_since = Instant::now();
            }
            self.find_place().await;
            if !self.fill().await? {
                return self.check_end();
            }
            // One lane that always has data must not keep the others waiting. What comes alone is not
            // made to wait for a look at the socket.
            if TURN_BYTES <= self.in_turn {
                self.in_turn = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// A large frame that has begun waits until no other of its event is unfinished, on any lane: so
    /// much memory is there for each event that declares it. Its time runs from then on.
    async fn find_place(&mut self) {
        let event = self.splitter.large();
        if event == self.large.as_ref().map(|(event, _)| *event) {
            return;
        }
        self.large = None;
        if let Some(event) = event {
            let place = self.link.place(event).lock_owned().await;
            self.large = Some((event, place));
            self.splitter.make_room();
            self.unfinished_since = Instant::now();
        }
    }

    /// Reads which lane this is, and which frame comes first; none if the stream ends without a
    /// word.
    async fn read_lane(&mut self) -> Result<Option<(LaneId, u64)>, Turned> {
        loop {
            if let Some(lane) = self.splitter.lane() {
                return Ok(Some(lane));
            }
            if !self.fill().await? {
                return self.check_end().map(|()| None);
            }
        }
    }

    /// Hands over all whole frames. Says whether there were any, or what is left unfinished has begun
    /// with what was read last.
    async fn deliver_frames(&mut self, lane: LaneId, gate: &Gate) -> Result<bool, Turned> {
        let lane = Lane::Ordered(lane);
        let delivery = Delivery { shared: &self.shared, link: &self.link, wire: &self.wire, lane };
        let mut was_whole = self.was_whole;
        loop {
            match self.splitter.whole() {
                Ok(Some(mut frames)) => {
                    was_whole = true;
                    while 0 < self.known && !frames.is_empty() {
                        frame::skip(&mut frames);
                        self.known -= 1;
                    }
                    delivery.hand_over(frames, gate).await?;
                }
                Ok(None) => return Ok(was_whole),
                Err(too_large) => return Err(self.too_large(too_large)),
            }
        }
    }

    fn too_large(&self, TooLarge { size, size_max, event }: TooLarge) -> Turned {
        let name = event.and_then(|event| self.shared.events.get(&event));
        let of = name.map(|name| format!(" of event `{name}`")).unwrap_or_default();
        let text = format!("a frame of {size} bytes{of}, and {} allows {size_max}", self.shared.me);
        Turned::new(Kind::FrameTooLarge, text)
    }

    /// Reads what is there, or waits for it. False at the end of the stream.
    async fn fill(&mut self) -> Result<bool, Turned> {
        match self.read_in_time().await? {
            Ok(Some(count)) => {
                let chunks = self.chunks.get_mut(..count).unwrap_or_default();
                self.in_turn += chunks.iter().map(Bytes::len).sum::<usize>();
                self.splitter.take(chunks);
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
    async fn read_in_time(&mut self) -> Result<Result<Option<usize>, ReadError>, Turned> {
        let reading = self.stream.read_chunks(&mut self.chunks);
        self.was_whole = !self.splitter.is_partial();
        if self.was_whole {
            return Ok(reading.await);
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

/// Hands over what comes in on one lane, or as datagrams.
struct Delivery<'a> {
    shared: &'a Shared,
    link: &'a Arc<Link>,
    wire: &'a Wire,
    lane: Lane,
}

impl Delivery<'_> {
    /// Hands over whole frames, in runs of one event type, and waits until there is room for more.
    async fn hand_over(&self, mut frames: Bytes, gate: &Gate) -> Result<(), Turned> {
        loop {
            self.room(gate).await;
            let Some((batch, bytes)) = self.cut_off(&mut frames)? else { return Ok(()) };
            self.deliver(batch, bytes, gate, frames.is_empty()).pass().await;
        }
    }

    /// Resolves when the inbox has room for more.
    async fn room(&self, gate: &Gate) {
        gate.opens(|| self.link.channel.carries(self.wire.id)).await;
    }

    /// The first frames of one event type, and how many bytes their envelopes have.
    fn cut_off(&self, frames: &mut Bytes) -> Result<Option<(Envelopes, u64)>, Turned> {
        let size = frames.len();
        let batch = Envelopes::cut_off(frames, self.shared.limits.batch_max);
        let batch =
            batch.map_err(|error| damaged(frame::first_bytes(frames), &self.place(), &error));
        let Some(batch) = batch? else { return Ok(None) };
        let lengths = batch.len() * Envelopes::LENGTH_BYTES;
        Ok(Some((batch, (size - frames.len() - lengths) as u64)))
    }

    /// Hands over a batch of so many bytes. What is answered to the last one of those that came together
    /// leaves at once.
    fn deliver(&self, batch: Envelopes, bytes: u64, gate: &Gate, is_last: bool) -> Passed {
        // From here to the count nothing waits, so nobody comes between.
        if self.link.is_down.load(Ordering::Relaxed)
            || !self.link.channel.lets_in(self.wire.id, is_last)
        {
            return Passed::Nothing;
        }
        if let Some(room) = self.take_in(batch, bytes) {
            gate.shut(room);
        }
        let answered = if is_last { self.link.channel.take_help_back() } else { None };
        let Some(lane) = answered else { return Passed::Alone };
        outlet::write_at_once(self.link, self.wire, lane);
        Passed::Answered
    }

    /// Which frame comes next, in words.
    fn place(&self) -> String {
        let Lane::Ordered(lane) = self.lane else { return String::from("datagram") };
        let received = self.link.channel.received();
        let taken = received.iter().find(|(it, _)| *it == lane).map_or(0, |(_, taken)| *taken);
        format!("number {taken} of lane {:016x}", lane.0)
    }

    /// Gives a batch to the inbox, counts it as taken, and acknowledges it when its time has come.
    fn take_in(&self, batch: Envelopes, bytes: u64) -> Option<Room> {
        let (inbox, peer) = (&self.shared.inbox, self.link.peer);
        let frames = batch.len() as u64;
        let is_known = self.shared.events.contains_key(&batch.event());
        if !is_known {
            (0..frames).for_each(|_| self.skip(batch.event()));
        }
        let Lane::Ordered(lane) = self.lane else {
            return if is_known { inbox.deliver(peer, self.lane, batch) } else { None };
        };
        if !is_known || inbox.acknowledgement(lane) == Acknowledgement::Received {
            self.link.channel.take_in_settled(lane, frames, bytes);
            return if is_known { inbox.deliver(peer, self.lane, batch) } else { None };
        }
        self.link.channel.take_in(lane, frames);
        let link = Arc::clone(self.link);
        let receipt = Receipt::new(move || link.channel.settle(lane, frames, bytes));
        inbox.deliver_for_receipt(peer, lane, batch, receipt)
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
        self.shared.journal.refuses(Some(self.link.peer), &self.wire.address, &turned);
    }
}

/// Reads datagrams, each of which is one envelope.
pub(crate) async fn read_datagrams(shared: &Shared, link: &Arc<Link>, wire: &Wire) -> End {
    let gate = Gate::default();
    loop {
        // The end of the connection is noticed elsewhere.
        let Ok(datagram) = wire.connection.read_datagram().await else { return pending().await };
        let size = datagram.len();
        let envelope = match Envelope::decode(&datagram) {
            Ok(envelope) => envelope,
            Err(error) => return shared.refuse(link, wire, &damaged(size, "datagram", &error)),
        };
        let delivery = Delivery { shared, link, wire, lane: Lane::Datagram };
        delivery.deliver(envelope.into(), size as u64, &gate, true).pass().await;
        delivery.room(&gate).await;
        tokio::task::yield_now().await;
    }
}

/// What came of a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Passed {
    /// It was not handed over: the peer will send it again, or has been told that it is lost.
    Nothing,
    Alone,
    /// It was answered, and the answer is written.
    Answered,
}

impl Passed {
    /// Waits for what is to be done before more is read.
    async fn pass(self) {
        match self {
            // The end of this connection is near, and noticed elsewhere.
            Self::Nothing => pending().await,
            Self::Alone => (),
            Self::Answered => let_pass().await,
        }
    }
}

/// Lets those tasks pass that are to run: what was written is sent before more is read. tokio's own way
/// would look at the socket first.
async fn let_pass() {
    let mut has_passed = false;
    poll_fn(|cx| {
        if has_passed {
            return Poll::Ready(());
        }
        has_passed = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn damaged(bytes: usize, place: &str, error: &DecodeError) -> Turned {
    Turned::new(Kind::BadFrame, format!("a frame of {bytes} bytes is damaged ({place}): {error}"))
}
