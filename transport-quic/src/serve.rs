//! A connection while it carries a link: lanes out, lanes in, datagrams, acknowledgements, and the
//! farewell.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use quinn::{RecvStream, SendStream};
use synod_core::{LaneId, NodeId, Reason};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::{JoinSet, unconstrained};
use tokio::time::timeout;
use tracing::error;

use crate::addresses::RESEND;
use crate::allowance::Allowance;
use crate::control::{self, Message, Silence};
use crate::frame::lane_header;
use crate::limits::{ACK_DELAY, IDLE_WORDS_MAX, IDLE_WORDS_PER_SECOND, LAST_WORDS};
use crate::link::{End, Link, Wire};
use crate::outlet::Outlet;
use crate::reader::{self, Reader};
use crate::refusal::{Close, Kind, Turned, printable, turned_by};
use crate::session::Owed;
use crate::shared::{self, Shared};

/// Serves a connection until it ends. The link ends with it, or waits for the next one.
pub(crate) async fn serve(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    wire: &Arc<Wire>,
    send: SendStream,
    receive: RecvStream,
) {
    let control = AsyncMutex::new(send);
    let end = tokio::select! {
        error = wire.connection.closed() => {
            if let Some(turned) = turned_by(&error) {
                shared.journal.is_refused(Some(link.peer), &wire.address, &turned);
            }
            // A connection that was replaced has nothing to say any more.
            End::by_peer(&error).filter(|_| link.channel.carries(wire.id))
        }
        end = carry(shared, link, wire, receive, &control) => Some(end),
    };
    if let Some(end) = end {
        let reason = link.end(end);
        shared.link_down(link, reason);
    }
    shared.wire_lost(link, wire);
}

/// Carries the link once both sides have accepted each other, until one of them ends it.
async fn carry(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    wire: &Arc<Wire>,
    mut receive: RecvStream,
    control: &AsyncMutex<SendStream>,
) -> End {
    if !link.is_up.load(Ordering::Relaxed)
        && let Err(end) = confirmed(shared, link, wire, &mut receive).await
    {
        return end;
    }
    tokio::select! {
        end = write_lanes(link, wire, control) => end,
        end = read_lanes(shared, link, wire) => end,
        end = reader::read_datagrams(shared, link, wire) => end,
        end = acknowledge(link, wire, control) => end,
        end = tell_addresses(shared, link, wire, control) => end,
        end = ask_for_another(wire, control) => end,
        end = listen(shared, link, wire, receive, control) => end,
    }
}

/// Waits until the dialler takes the answer to its hello, which it may yet refuse. Then the link is up.
async fn confirmed(
    shared: &Shared,
    link: &Link,
    wire: &Wire,
    receive: &mut RecvStream,
) -> Result<(), End> {
    let word = async {
        match control::read(receive, wire.speaks.version).await {
            // If the connection has ended as well, that is noticed elsewhere.
            Err(Silence::Ended) => pending().await,
            Err(Silence::Turned(turned)) => Err(turned),
            Ok(message) => Ok(message),
        }
    };
    match timeout(shared.limits.connect_timeout, word).await {
        Ok(Ok(Message::Confirmed)) => {
            shared.link_up(link);
            Ok(())
        }
        Ok(Ok(_)) => {
            let turned = Turned::new(Kind::BadHello, "whoever dials confirms the answer first");
            Err(shared.refuse(link, wire, &turned))
        }
        Ok(Err(turned)) => Err(shared.refuse(link, wire, &turned)),
        Err(_) => {
            let text = "the answer to the hello was not confirmed in time";
            Err(End::new(Reason::Silent, Close::GivenUp, text))
        }
    }
}

/// Writes every lane, each in a task of its own. Once the peer has acknowledged the last of them,
/// says so.
async fn write_lanes(link: &Arc<Link>, wire: &Arc<Wire>, control: &AsyncMutex<SendStream>) -> End {
    let mut writers = JoinSet::new();
    while let Some(lane) = link.channel.next_lane(wire.id).await {
        writers.spawn(write_lane(Arc::clone(link), Arc::clone(wire), lane));
    }
    if link.channel.is_finishing() {
        link.channel.drained().await;
        let _ = say(wire, control, &Message::Leaving).await;
    }
    pending().await
}

/// Writes one lane for as long as the connection lasts. If it fails, the connection is lost, and
/// that is noticed elsewhere.
async fn write_lane(link: Arc<Link>, wire: Arc<Wire>, lane: LaneId) {
    let Ok(mut stream) = wire.connection.open_uni().await else { return };
    let header = lane_header(lane, link.channel.cursor(lane));
    if stream.write_chunk(header).await.is_err() {
        return pending().await;
    }
    let outlet = wire.outlets.add(lane, Outlet::new(stream));
    while let Some(portion) = link.channel.take(wire.id, lane).await {
        // Whoever has it writes what was taken before this. If nobody has it, there must be no pause: on
        // this thread somebody else could write first what is taken later.
        let mut outlet = unconstrained(outlet.lock()).await;
        if outlet.write(portion).await.is_err() {
            return pending().await;
        }
        let is_bulk = outlet.is_bulk();
        drop(outlet);
        // The connection sends this while more comes: a writer that ran on would take it in sips.
        // After little that comes alone, a look at the socket would only cost time.
        if is_bulk || link.channel.is_waiting(lane) {
            tokio::task::yield_now().await;
        }
    }
    if link.channel.is_finishing() {
        outlet.lock().await.finish();
    } else {
        // A lane that is cut short must not look finished; the end of the link says what it is.
        pending::<()>().await;
    }
}

/// Reads every lane that the peer opens, each in a task of its own.
async fn read_lanes(shared: &Arc<Shared>, link: &Arc<Link>, wire: &Arc<Wire>) -> End {
    let mut readers: JoinSet<Result<(), End>> = JoinSet::new();
    let lanes = Arc::new(Lanes::default());
    loop {
        let read = tokio::select! {
            stream = wire.connection.accept_uni() => {
                let Ok(stream) = stream else { return pending().await };
                let ends = (Arc::clone(link), Arc::clone(wire));
                let reader = Reader::new(Arc::clone(shared), ends, Arc::clone(&lanes), stream);
                readers.spawn(reader.run());
                continue;
            }
            Some(read) = readers.join_next() => read,
        };
        match read {
            Ok(Ok(())) => (),
            Ok(Err(end)) => return end,
            Err(panic) => {
                error!(node = %shared.me, peer = %link.peer, %panic, "the inbox has failed");
                return End::new(Reason::Closed, Close::Disconnected, "this node has failed");
            }
        }
    }
}

/// The lanes that the peer has opened on one connection. None may open twice: its order would be
/// lost.
#[derive(Debug, Default)]
pub(crate) struct Lanes(Mutex<BTreeSet<LaneId>>);

impl Lanes {
    pub(crate) fn open(&self, lane: LaneId) -> Result<(), Turned> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.insert(lane) {
            return Ok(());
        }
        Err(Turned::new(Kind::BadLane, format!("lane {:016x} was opened twice", lane.0)))
    }
}

/// Acknowledges what has come, after a moment in which more comes, or at once if it is much.
async fn acknowledge(link: &Link, wire: &Wire, control: &AsyncMutex<SendStream>) -> End {
    loop {
        link.channel.owes(Owed::Later).await;
        let _ = timeout(ACK_DELAY, link.channel.owes(Owed::Now)).await;
        let Some(counts) = link.channel.acknowledge(wire.id) else { return pending().await };
        let message = Message::Acknowledged(counts);
        if say(wire, control, &message).await.is_err() {
            return pending().await;
        }
    }
}

/// Tells the peer where others listen, until it has confirmed it, and whatever comes anew.
async fn tell_addresses(
    shared: &Shared,
    link: &Link,
    wire: &Wire,
    control: &AsyncMutex<SendStream>,
) -> End {
    shared.book().connected(link.peer, link.incarnation);
    loop {
        let changed = shared.addresses_changed.notified();
        let entries = shared.book().due(link.peer, shared.began.elapsed());
        if !entries.is_empty() {
            let message = Message::Addresses(entries);
            if say(wire, control, &message).await.is_err() {
                return pending().await;
            }
        } else if shared.book().is_waiting(link.peer) {
            let _ = timeout(RESEND, changed).await;
        } else {
            changed.await;
        }
    }
}

/// Asks the peer to dial, whenever another connection is wanted.
async fn ask_for_another(wire: &Wire, control: &AsyncMutex<SendStream>) -> End {
    loop {
        wire.wants_another.notified().await;
        if say(wire, control, &Message::DialAgain).await.is_err() {
            return pending().await;
        }
    }
}

/// What a message costs that changes nothing: itself, and all that it lists.
fn words_of(message: &Message) -> usize {
    let (events, others) = message.lists();
    1 + events + others
}

fn too_talkative(peer: NodeId) -> Turned {
    let text = format!(
        "{peer} says more on the control stream that changes nothing than a node does: {IDLE_WORDS_MAX} words \
         at once, and {IDLE_WORDS_PER_SECOND} a second, are allowed"
    );
    Turned::new(Kind::Flood, text)
}

/// Says something on the control stream. An error means that the connection has ended.
async fn say(
    wire: &Wire,
    control: &AsyncMutex<SendStream>,
    message: &Message,
) -> Result<(), Silence> {
    control::write(&mut *control.lock().await, wire.speaks.version, message).await
}

/// Hears what the peer says on the control stream after the hello.
async fn listen(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    wire: &Wire,
    mut receive: RecvStream,
    control: &AsyncMutex<SendStream>,
) -> End {
    let mut allowance = Allowance::new(Instant::now());
    let mut idle = 0;
    loop {
        if 0 < idle {
            if !allowance.take(idle, Instant::now()) {
                return shared.refuse(link, wire, &too_talkative(link.peer));
            }
            // Others have their turn, however much of this has come.
            tokio::task::yield_now().await;
        }
        let heard = control::read(&mut receive, wire.speaks.version).await;
        idle = heard.as_ref().map_or(0, words_of);
        match heard {
            Ok(Message::Acknowledged(counts)) => {
                match link.channel.acknowledged(wire.id, &counts) {
                    Ok(no_news) if no_news < counts.len() => idle = no_news,
                    Ok(_) => (),
                    Err(misstep) => return shared.refuse(link, wire, &shared::turned(&misstep)),
                }
            }
            Ok(Message::Addresses(entries)) => match shared.hear(link, wire, entries) {
                Ok(taken) => {
                    let message = Message::AddressesTaken(taken);
                    let _ = say(wire, control, &message).await;
                }
                Err(turned) => return shared.refuse(link, wire, &turned),
            },
            Ok(Message::AddressesTaken(taken)) => shared.book().confirmed(link.peer, &taken),
            Ok(Message::Leaving) => {
                let said = say(wire, control, &Message::Left).await;
                if said.is_ok() && !link.channel.is_finishing() {
                    // It is the one that leaves who closes; it might not have heard yet.
                    shared.link_down(link, Reason::Closed);
                    let _ = timeout(LAST_WORDS, wire.connection.closed()).await;
                    return End::new(Reason::Closed, Close::Leaving, "farewell");
                }
            }
            Ok(Message::DialAgain) => {
                link.is_asked.store(true, Ordering::Relaxed);
                link.stirred.notify_one();
            }
            // Again, on a connection that resumes the link.
            Ok(Message::Confirmed) => (),
            Ok(Message::Left) => return End::new(Reason::Closed, Close::Leaving, "farewell"),
            Ok(Message::Refused { kind, text }) => {
                let kind = Kind::of_word(&kind).unwrap_or(Kind::BadHello);
                let turned = Turned::new(kind, printable(&text));
                shared.journal.is_refused(Some(link.peer), &wire.address, &turned);
                return End::new(Reason::Refused, Close::Leaving, "understood");
            }
            Ok(
                Message::Hello(..)
                | Message::HelloAck(..)
                | Message::Inquiry
                | Message::Introduction(_),
            ) => {
                let turned = Turned::new(Kind::BadHello, "a second hello on one connection");
                return shared.refuse(link, wire, &turned);
            }
            Err(Silence::Turned(turned)) => return shared.refuse(link, wire, &turned),
            Err(Silence::Ended) => return pending().await,
        }
    }
}
