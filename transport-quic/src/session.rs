//! A link while it is up: lanes out, lanes in, datagrams, and the farewell.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use synod_core::{LaneId, Reason};
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::error;

use crate::control::{self, Message, Silence};
use crate::frame::lane_header;
use crate::limits::LAST_WORDS;
use crate::link::{End, Link};
use crate::reader::{self, Reader};
use crate::refusal::{Close, Kind, Turned, printable, turned_by};
use crate::shared::Shared;

/// Serves a link that is up until it ends, and takes it down.
pub(crate) async fn serve(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    send: SendStream,
    receive: RecvStream,
) {
    let control = AsyncMutex::new(send);
    let (finished, lanes_finished) = watch::channel(0);
    let end = tokio::select! {
        end = link.over() => end,
        error = link.connection.closed() => {
            if let Some(turned) = turned_by(&error) {
                shared.journal.is_refused(Some(link.peer), &link.address, &turned);
            }
            End::lost(&error)
        }
        end = write_lanes(link, &control) => end,
        end = read_lanes(shared, link, &finished) => end,
        end = reader::read_datagrams(shared, link) => end,
        end = listen(shared, link, receive, &control, lanes_finished) => end,
    };
    let reason = link.end(end);
    shared.link_down(link, reason);
}

/// Writes every lane, each in a task of its own. Once the outbox is finished, says so.
async fn write_lanes(link: &Arc<Link>, control: &AsyncMutex<SendStream>) -> End {
    let mut writers = JoinSet::new();
    let mut lanes = 0;
    while let Some(lane) = link.outbox.next_lane().await {
        writers.spawn(write_lane(Arc::clone(link), lane));
        lanes += 1;
    }
    while writers.join_next().await.is_some() {}
    if link.outbox.is_finishing() {
        let _ = control::write(&mut *control.lock().await, &Message::Leaving { lanes }).await;
    }
    pending().await
}

/// Writes one lane for as long as the link lasts. If it fails, the connection is lost, and that
/// is noticed elsewhere.
async fn write_lane(link: Arc<Link>, lane: LaneId) {
    let Ok(mut stream) = link.connection.open_uni().await else { return };
    if stream.write_chunk(lane_header(lane)).await.is_err() {
        return pending().await;
    }
    while let Some(bytes) = link.outbox.take(lane).await {
        let size = bytes.len();
        if stream.write_chunk(Bytes::from(bytes)).await.is_err() {
            return pending().await;
        }
        link.outbox.written(size);
        // The connection sends this while more comes: a writer that ran on would take it in sips.
        tokio::task::yield_now().await;
    }
    if link.outbox.is_finishing() {
        let _ = stream.finish();
    } else {
        // A lane that is cut short must not look finished; the end of the link says what it is.
        pending::<()>().await;
    }
}

/// Reads every lane that the peer opens, each in a task of its own.
async fn read_lanes(shared: &Arc<Shared>, link: &Arc<Link>, finished: &watch::Sender<u32>) -> End {
    let mut readers: JoinSet<Result<(), End>> = JoinSet::new();
    let lanes = Arc::new(Lanes::default());
    loop {
        let read = tokio::select! {
            stream = link.connection.accept_uni() => {
                let Ok(stream) = stream else { return pending().await };
                let (shared, link) = (Arc::clone(shared), Arc::clone(link));
                readers.spawn(Reader::new(shared, link, Arc::clone(&lanes), stream).run());
                continue;
            }
            Some(read) = readers.join_next() => read,
        };
        match read {
            Ok(Ok(())) => finished.send_modify(|count| *count += 1),
            Ok(Err(end)) => return end,
            Err(panic) => {
                error!(node = %shared.me, peer = %link.peer, %panic, "the inbox has failed");
                return End::new(Reason::Closed, Close::Disconnected, "this node has failed");
            }
        }
    }
}

/// The lanes that the peer has opened on one link. None may open twice: its order would be lost.
#[derive(Debug, Default)]
pub(crate) struct Lanes(Mutex<BTreeSet<LaneId>>);

impl Lanes {
    pub(crate) fn open(&self, lane: LaneId, lanes_max: u32) -> Result<(), Turned> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes_max as usize <= lanes.len() {
            let text = format!("more than {lanes_max} lanes on one link");
            return Err(Turned::new(Kind::BadLane, text));
        }
        if !lanes.insert(lane) {
            let text = format!("lane {:016x} was opened twice", lane.0);
            return Err(Turned::new(Kind::BadLane, text));
        }
        Ok(())
    }
}

/// Hears what the peer says on the control stream after the hello: that it leaves.
async fn listen(
    shared: &Shared,
    link: &Arc<Link>,
    mut receive: RecvStream,
    control: &AsyncMutex<SendStream>,
    mut lanes_finished: watch::Receiver<u32>,
) -> End {
    loop {
        match control::read(&mut receive).await {
            Ok(Message::Leaving { lanes }) => {
                let _ = lanes_finished.wait_for(|finished| lanes <= *finished).await;
                let said = control::write(&mut *control.lock().await, &Message::Left).await;
                if said.is_ok() && !link.outbox.is_finishing() {
                    // It is the one that leaves who closes; it might not have heard yet.
                    shared.link_down(link, Reason::Closed);
                    let _ = timeout(LAST_WORDS, link.connection.closed()).await;
                    return End::new(Reason::Closed, Close::Leaving, "farewell");
                }
            }
            Ok(Message::Left) => return End::new(Reason::Closed, Close::Leaving, "farewell"),
            Ok(Message::Refused { kind, text }) => {
                let kind = Kind::of_word(&kind).unwrap_or(Kind::BadHello);
                let turned = Turned::new(kind, printable(&text));
                shared.journal.is_refused(Some(link.peer), &link.address, &turned);
                return End::new(Reason::Refused, Close::Leaving, "understood");
            }
            Ok(Message::Hello(_) | Message::HelloAck(_)) => {
                let turned = Turned::new(Kind::BadHello, "a second hello on one connection");
                return shared.refuse(link, &turned);
            }
            Err(Silence::Turned(turned)) => return shared.refuse(link, &turned),
            Err(Silence::Ended) => return pending().await,
        }
    }
}
