//! A node at one moment.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Serialize, Serializer};
use synod_core::{LaneCounts, LinkStatus, NodeId, Summary};

use crate::failure::DeadLetter;
use crate::gate::locked;
use crate::host::{Host, Slot};
use crate::timings::Timings;

/// A node at one moment, for tables and metrics.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The node.
    #[serde(serialize_with = "by_name")]
    pub id: NodeId,
    /// Which life of it this is.
    pub incarnation: u64,
    /// Time since its start.
    pub uptime: Duration,
    /// Whether it takes events.
    pub running: bool,
    /// Whether the algorithms were started; before that, the node waits for peers.
    pub started: bool,
    /// Why its transport reaches nobody, or every peer turns it away, if that is so.
    pub transport_fault: Option<String>,
    /// The states of the algorithms in short, as names and values.
    pub summary: Vec<(String, String)>,
    /// Why the algorithms cannot do now what they are for, if they [say so](Summary::unready).
    pub unready: Option<String>,
    /// The links, in ascending order of the peers.
    pub peers: Vec<PeerStatus>,
    /// The ordered lanes of the links, if the transport counts them.
    pub lanes: Vec<LaneStatus>,
    /// The handled event types.
    pub events: Vec<EventStatus>,
    /// How long the handlers of timers and of changes of links took.
    pub other_times: Timings,
    /// How long the store took to make records durable.
    pub syncs: Timings,
    /// Bytes that were cut off the end of the log since the start of the node, because the machine had died while
    /// they were written.
    pub torn_bytes: u64,
    /// The handler that runs at this moment, if one does.
    pub handling: Option<Handling>,
    /// Why the node has done nothing for longer than [`Limits::hung_after`](crate::Limits::hung_after), if
    /// that is so.
    pub hung: Option<String>,
    /// What was dropped, by the word of its [`DropReason`](crate::DropReason).
    pub drops: BTreeMap<&'static str, u64>,
    /// What the transport has turned away, by the word that it uses.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Lives that ended by a panic and were followed by another.
    pub restarts: u64,
    /// Actors that died and were replaced.
    pub actor_restarts: u64,
    /// How many times the process did not run for a second or more.
    pub pauses: u64,
    /// How many times the wall clock was set, by a quarter of a second or more.
    pub clock_jumps: u64,
    /// What the last panic said.
    pub last_panic: Option<String>,
    /// The last events that made a handler panic.
    pub dead_letters: Vec<DeadLetter>,
    /// Timers that are armed.
    pub timers: usize,
    /// Jobs that run.
    pub jobs_running: usize,
    /// Jobs that wait for a thread.
    pub jobs_waiting: usize,
    /// Effects and records that wait for the store.
    pub held: usize,
    /// The recording, if the node is recorded.
    pub recording: Option<RecordingStatus>,
}

/// A handler that runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Handling {
    /// The wire name of its event; [`Handling::OTHER`] if that was no event from outside.
    pub event: &'static str,
    /// For how long it has run, give or take the length of a turn.
    pub time: Duration,
}

/// The recording of a node that runs, or the last one.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RecordingStatus {
    /// Steps that it has recorded since it began.
    pub steps: u64,
    /// Steps that came after the recording had ended.
    pub missed: u64,
    /// Bytes of the file, those that wait for the disk included.
    pub bytes: u64,
    /// Why the recording has ended, if it has; then all of it is in its file. [`RecordingStatus::ENDED`] if it was
    /// told to.
    pub over: Option<String>,
}

impl RecordingStatus {
    /// Why a recording has ended that was told to.
    pub const ENDED: &str = "it was ended";
}

/// The link to one peer.
#[derive(Clone, Debug, Serialize)]
pub struct PeerStatus {
    /// The peer.
    #[serde(serialize_with = "by_name")]
    pub peer: NodeId,
    /// Whether it is linked.
    pub up: bool,
    /// Which life of it is linked.
    pub incarnation: Option<u64>,
    /// The round trip, if the transport measures it; none while the peer is silent.
    pub round_trip: Option<Duration>,
    /// For how long nothing has been heard of the peer, once that is longer than one is silent that
    /// is there. It may be gone, and its link is not yet.
    pub silent_for: Option<Duration>,
    /// Whether a connection carries the link now, or the link waits for the next one.
    pub connected: bool,
    /// Where the peer is seen on that connection, if the transport has addresses.
    pub address: Option<String>,
    /// The version of the protocol that both sides speak on that connection, if the transport has
    /// versions.
    pub protocol: Option<u16>,
    /// Packets that were sent on the connection of now, if the transport counts them.
    pub packets_sent: u64,
    /// Those of them that are known to be lost.
    pub packets_lost: u64,
    /// Bytes that wait to be sent to it, or that it has not acknowledged.
    pub queued_bytes: usize,
    /// How many times a connection has taken up where another one stopped, on this link.
    pub resumed: u64,
    /// Events that it had not acknowledged when their link ended, on all links so far. They may
    /// have arrived.
    pub lost: u64,
    /// Events sent to it.
    pub sent: u64,
    /// Events received from it.
    pub received: u64,
    /// How many times the link came up.
    pub ups: u64,
    /// How many times it was lost.
    pub downs: u64,
    /// Attempts to link that failed.
    pub failed_attempts: u64,
    /// Why there is no link, if there is none.
    pub last_error: Option<String>,
}

/// One ordered lane of the link to one peer.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct LaneStatus {
    /// The peer.
    #[serde(serialize_with = "by_name")]
    pub peer: NodeId,
    /// The algorithm, or the event type, whose events it keeps in order. All that this node does not
    /// know are one, [`LaneStatus::OTHER`]: a peer cannot make the list grow.
    pub lane: &'static str,
    /// What it counts.
    #[serde(flatten)]
    pub counts: LaneCounts,
}

/// One handled event type.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct EventStatus {
    /// The wire name.
    pub name: &'static str,
    /// Events handled.
    pub handled: u64,
    /// Events refused, those that made their handler panic included.
    pub refused: u64,
    /// Events that wait.
    pub queued: usize,
    /// The most of them that there were at once since the start of the node.
    pub queued_max: usize,
    /// The bound on those.
    pub bound: usize,
    /// How long its handlers took, with decoding and without handing over what they asked for. Up to eight
    /// events in a row are measured together, and taken to have taken the same.
    pub times: Timings,
}

/// A node as people call it: `n1`.
fn by_name<S: Serializer>(node: &NodeId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(node)
}

impl Status {
    /// Whether the node takes events, its algorithms have started and say nothing against it, it can be reached, and
    /// does what comes.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let in_the_way = [&self.transport_fault, &self.hung, &self.unready];
        self.running && self.started && in_the_way.iter().all(|why| why.is_none())
    }

    pub(crate) fn of(host: &Host) -> Self {
        host.summary.want();
        if let Ok(cell) = host.cell.try_lock() {
            cell.engine.store_summary(host);
        }
        let (jobs_running, jobs_waiting) = host.jobs.load();
        let (summary, unready) = host.summary.get();
        let failures = locked(&host.failures);
        let dead_letters: Vec<DeadLetter> = failures.letters.iter().cloned().collect();
        Self {
            id: host.id,
            incarnation: host.incarnation(),
            uptime: host.now(),
            running: host.takes_in(),
            started: host.has_begun(),
            transport_fault: host.transport.fault().or_else(|| host.is_shut_out_by_all()),
            summary,
            unready,
            peers: peers(host),
            lanes: lanes(host),
            events: host.slots.iter().take(host.results_slot()).map(EventStatus::of).collect(),
            handling: Handling::of(host),
            hung: host.hung(),
            drops: host.drops.seen(),
            refusals: locked(&host.refusals).clone(),
            restarts: failures.restarts,
            actor_restarts: load(&host.actor_restarts),
            pauses: load(&host.pauses),
            clock_jumps: load(&host.clock_jumps),
            last_panic: dead_letters.last().map(|letter| letter.panic.clone()),
            dead_letters,
            timers: host.timers.len(),
            jobs_running,
            jobs_waiting,
            held: locked(&host.outgoing).waiting(),
            other_times: host.other_times.read(),
            syncs: host.writer.syncs(),
            torn_bytes: load(&host.torn_bytes),
            recording: locked(&host.tape).as_ref().map(|tape| tape.status()),
        }
    }
}

impl Handling {
    /// What is said of the handler of a timer, or of a change of a link.
    pub const OTHER: &'static str = "timer or link";

    pub(crate) fn of(host: &Host) -> Option<Self> {
        let (slot, since) = host.busy.get()?;
        let event = host.slots.get(slot).map_or(Self::OTHER, |slot| slot.name);
        Some(Self { event, time: host.now().saturating_sub(since) })
    }
}

impl LaneStatus {
    /// The name for the lanes that this node does not send on.
    pub const OTHER: &'static str = "other";
}

impl EventStatus {
    fn of(slot: &Slot) -> Self {
        Self {
            name: slot.name,
            handled: load(&slot.handled),
            refused: load(&slot.refused),
            queued: slot.queue.waiting(),
            queued_max: slot.queue.most(),
            bound: slot.queue.bound(),
            times: slot.times.read(),
        }
    }
}

fn peers(host: &Host) -> Vec<PeerStatus> {
    let told: BTreeMap<NodeId, LinkStatus> =
        host.transport.links().into_iter().map(|link| (link.peer, link)).collect();
    let status = |(peer, link): (&NodeId, &crate::link::Link)| PeerStatus {
        peer: *peer,
        up: link.up.load(Ordering::Acquire),
        incarnation: told.get(peer).and_then(|told| told.incarnation),
        round_trip: told.get(peer).and_then(|told| told.round_trip),
        silent_for: told.get(peer).and_then(|told| told.silent_for),
        connected: told.get(peer).is_some_and(|told| told.connected),
        address: told.get(peer).and_then(|told| told.address.clone()),
        protocol: told.get(peer).and_then(|told| told.protocol),
        packets_sent: told.get(peer).map_or(0, |told| told.packets_sent),
        packets_lost: told.get(peer).map_or(0, |told| told.packets_lost),
        queued_bytes: told.get(peer).map_or(0, |told| told.queued_bytes),
        resumed: told.get(peer).map_or(0, |told| told.resumed),
        lost: told.get(peer).map_or(0, |told| told.lost),
        sent: load(&link.sent),
        received: load(&link.received),
        ups: load(&link.ups),
        downs: load(&link.downs),
        failed_attempts: load(&link.failed_attempts),
        last_error: locked(&link.last_error).clone(),
    };
    host.links.iter().map(status).collect()
}

/// The lanes by peer and name.
fn lanes(host: &Host) -> Vec<LaneStatus> {
    let mut lanes: BTreeMap<(NodeId, &'static str), LaneCounts> = BTreeMap::new();
    for (peer, lane, counts) in host.transport.lanes() {
        let name = host.catalogue.lane(lane).unwrap_or(LaneStatus::OTHER);
        *lanes.entry((peer, name)).or_default() += counts;
    }
    lanes.into_iter().map(|((peer, lane), counts)| LaneStatus { peer, lane, counts }).collect()
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Host {
    /// Whether some peer takes less than what is sent to it. Looks at every sixteenth question:
    /// what is triggered in between is small beside the bound.
    pub(crate) fn is_congested(&self) -> bool {
        let asked = self.congestion_asked.fetch_add(1, Ordering::Relaxed);
        if asked.is_multiple_of(16) || self.congested.load(Ordering::Acquire) {
            let links = self.transport.links();
            let congested =
                links.iter().any(|link| self.limits.congested_bytes <= link.queued_bytes);
            self.congested.store(congested, Ordering::Release);
        }
        self.congested.load(Ordering::Acquire)
    }
}

/// The last known summary: a status must not wait for a handler.
#[derive(Debug, Default)]
pub(crate) struct SummaryCache {
    wanted: AtomicBool,
    known: Mutex<Known>,
}

/// The names and values of a summary, and why the algorithms are not ready.
type Known = (Vec<(String, String)>, Option<String>);

impl SummaryCache {
    fn want(&self) {
        self.wanted.store(true, Ordering::Release);
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self, summary: &Summary) {
        let values = summary.values().map(|(name, value)| (String::from(name), value.to_owned()));
        *locked(&self.known) = (values.collect(), summary.why_unready().map(String::from));
        self.wanted.store(false, Ordering::Release);
    }

    fn get(&self) -> Known {
        locked(&self.known).clone()
    }
}
