//! A large value over QUIC beside heartbeats: resumed, never begun anew, and in nobody's way.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use synod_algorithms::Bulk;
use synod_algorithms::transfer::bulk::{
    Accept, Arrived, Ended, Offered, Outcome, PIECE_BYTES, Progress, Send, Stored, Supply,
    WINDOW_BYTES, Wanted,
};
use synod_core::{Algorithm, Context, Event, Handlers, NodeId, Reason, Summary, Transport};
use synod_transport_quic::{Limits, QuicTransport};

use crate::world::{Nodes, certified, until, value};

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const SIZE: u64 = 128 * PIECE_BYTES + 1;

/// The applications: n1 sends a pattern, and a heartbeat whenever a piece is wanted; n2 keeps what
/// comes.
#[derive(Clone, Debug, Default, Serialize)]
struct Files {
    /// What may be supplied so far, and what is wanted beyond that.
    allowed: u64,
    held: Vec<Wanted>,
    supplied: u64,
    kept: u64,
    stored: u64,
    done: bool,
    /// For each heartbeat: pieces that had been supplied before it, and that had arrived before it.
    beats: Vec<(u64, u64)>,
}

/// "I am here, and have supplied so many pieces."
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "files.beat")]
struct Beat(u64);

/// From the application.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "files.begin", local)]
struct Begin;

/// From the application, too.
#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "files.allow", local)]
struct Allow(u64);

fn pattern(at: u64) -> u8 {
    u8::try_from(at % 251).expect("small")
}

impl Algorithm for Files {
    const NAME: &'static str = "files";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(|_: &mut Self, _: Begin, ctx: &mut Context| {
                ctx.trigger(&Send { to: N2, transfer: 7, size: SIZE });
            })
            .on(|files: &mut Self, offered: Offered, ctx: &mut Context| {
                let Offered { from, transfer, size } = offered;
                // Once more if the end of it was lost with a link.
                assert!([0, size].contains(&files.kept), "{} of {size}", files.kept);
                ctx.trigger(&Accept { from, transfer, at: files.kept });
            })
            .on(Self::wanted)
            .on(|files: &mut Self, Allow(allowed): Allow, ctx: &mut Context| {
                files.allowed = allowed;
                let held = std::mem::take(&mut files.held);
                held.into_iter().for_each(|wanted| files.wanted(wanted, ctx));
            })
            .on(|files: &mut Self, progress: Progress| files.stored = progress.stored)
            .on(Self::arrived)
            .on(|files: &mut Self, ended: Ended| files.done = ended.outcome == Outcome::Done)
            .on(|files: &mut Self, Beat(supplied): Beat| {
                files.beats.push((supplied, files.kept / PIECE_BYTES));
            })
    }

    fn summary(&self) -> Summary {
        let mut after: Vec<u64> =
            self.beats.iter().map(|(at, now)| now.saturating_sub(*at)).collect();
        after.sort_unstable();
        let p99 = after.get(after.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default();
        let overtakes = self.beats.iter().filter(|(supplied, arrived)| arrived < supplied).count();
        Summary::default()
            .with("kept", self.kept)
            .with("stored", self.stored)
            .with("done", u8::from(self.done))
            .with("beats", self.beats.len())
            .with("beats_behind_p99", p99)
            .with("beats_before", overtakes)
    }
}

impl Files {
    fn wanted(&mut self, wanted: Wanted, ctx: &mut Context) {
        let Wanted { to, transfer, at, bytes } = wanted;
        // What is wanted once more was lost, with all behind it.
        self.held.retain(|held| held.at < at);
        if self.allowed < at + bytes {
            self.held.push(wanted);
            return;
        }
        let bytes = (at..at + bytes).map(pattern).collect();
        ctx.trigger(&Supply { to, transfer, at, bytes });
        self.supplied = at / PIECE_BYTES + 1;
        ctx.send(to, &Beat(self.supplied));
    }

    fn arrived(&mut self, arrived: Arrived, ctx: &mut Context) {
        let Arrived { from, transfer, at, bytes } = arrived;
        assert_eq!(at, self.kept, "pieces come once and in order");
        assert!(bytes.iter().zip(at..).all(|(byte, at)| *byte == pattern(at)), "undamaged");
        self.kept += bytes.len() as u64;
        ctx.trigger(&Stored { from, transfer, at: self.kept });
    }
}

async fn two() -> (Nodes, BTreeMap<NodeId, Arc<QuicTransport>>) {
    let transports = certified(2, &Limits::default());
    for transport in transports.values() {
        for (peer, other) in &transports {
            transport.set_address(*peer, other.local_address());
        }
    }
    let erased = transports.iter().map(|(id, it)| (*id, Arc::clone(it) as Arc<dyn Transport>));
    let make = |_| (Bulk::default(), Files::default());
    let nodes = Nodes::start(erased.collect(), make).await;
    until("the link", || nodes.0.values().all(|it| it.status().peers.iter().all(|it| it.up))).await;
    (nodes, transports)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_outlasts_connections_and_links_and_does_not_begin_anew() {
    let (nodes, transports) = two().await;
    let (one, two) = (&nodes.0[&N1], &nodes.0[&N2]);
    one.trigger(&Begin).await.expect("it runs");
    for part in 1..=4_u64 {
        let allowed = SIZE / 5 * part;
        one.trigger(&Allow(allowed)).await.expect("it runs");
        until("half a part", || allowed - SIZE / 10 < value(two, "kept")).await;
        if part.is_multiple_of(2) {
            transports[&N1].disconnect(N2, Reason::Silent);
        } else {
            transports[&N1].reconnect(N2);
        }
        until("the part", || allowed - PIECE_BYTES <= value(two, "kept")).await;
    }
    one.trigger(&Allow(SIZE)).await.expect("it runs");
    until("the end", || value(one, "done") == 1 && value(two, "done") == 1).await;
    assert_eq!((value(one, "stored"), value(two, "kept")), (SIZE, SIZE));
    let links = one.status().peers.first().map_or(0, |peer| peer.ups);
    assert!(2 <= links, "{links} links");
    let sent = value(one, "sent_bytes");
    let again = sent - SIZE;
    assert!(again <= (links - 1) * WINDOW_BYTES, "{again} bytes were sent again on {links} links");
    nodes.end().await;
}

/// Work ahead of a heartbeat: the pieces that are handled between its sending and its handling.
/// Whatever the size of the transfer, they are those of two windows at most. All handlers are on one
/// thread, so that none waits for a processor while another one runs.
#[tokio::test]
async fn a_heartbeat_waits_for_no_more_than_two_windows_of_a_transfer_and_overtakes_pieces() {
    let (nodes, _transports) = two().await;
    let (one, two) = (&nodes.0[&N1], &nodes.0[&N2]);
    one.trigger(&Allow(SIZE)).await.expect("it runs");
    one.trigger(&Begin).await.expect("it runs");
    let mut most = 0;
    until("the end", || {
        let queued = one.status().peers.first().map_or(0, |peer| peer.queued_bytes);
        most = most.max(queued as u64);
        value(one, "done") == 1
    })
    .await;
    until("all heartbeats", || SIZE.div_ceil(PIECE_BYTES) == value(two, "beats")).await;
    let windows = 2 * WINDOW_BYTES / PIECE_BYTES;
    let behind = value(two, "beats_behind_p99");
    assert!(behind <= windows, "{behind} pieces came between");
    assert!(0 < value(two, "beats_before"), "no heartbeat came before a piece that left earlier");
    // What is kept for the peer is a window, the frames around it, and what is not yet acknowledged.
    assert!(most <= 4 * WINDOW_BYTES, "{most} bytes were kept");
    nodes.end().await;
}
