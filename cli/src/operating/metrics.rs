//! What is measured of a node: the one list of its metrics, in whatever format they leave.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use synod_core::LaneCounts;
use synod_runtime::{DropReason, Handling, PeerStatus, Status, Timings};
use synod_transport_quic::refusal_kinds;

use super::admin::{Subject, VERSION};

/// One metric, with all its series.
#[derive(Clone, Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) data: Data,
}

/// The series of a metric.
#[derive(Clone, Debug)]
pub(super) enum Data {
    Gauge(Vec<Series<Number>>),
    /// What only grows while the process lives.
    Counter(Vec<Series<u64>>),
    Histogram(Vec<Series<Timings>>),
}

/// What one series is now, and its labels, which it has beside that of the node.
pub(super) type Series<V> = (Vec<(&'static str, String)>, V);

/// What a gauge shows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Whole(i64),
    Seconds(f64),
}

/// The metrics of a node at this moment.
pub(super) fn metrics(subject: &Subject) -> Vec<Metric> {
    let moment = Moment {
        status: subject.node.status(),
        not_after: subject.certificate_end.seconds(),
        certificate_left: subject.certificate_end.seconds_left(),
        peer_certificates: subject.peer_certificates(),
        files: subject.files.wrong(),
        bytes_per_peer_max: count(subject.bytes_per_peer_max),
        datagrams_dropped: subject.transport.datagrams_dropped(),
        displaced: subject.displaced.load(Ordering::Relaxed),
    };
    let mut page = Page::default();
    moment.node(&mut page);
    moment.events(&mut page);
    moment.peers(&mut page);
    moment.lanes(&mut page);
    page.0
}

#[derive(Debug)]
struct Moment {
    status: Status,
    not_after: i64,
    certificate_left: i64,
    /// How many seconds each peer's is still valid.
    peer_certificates: BTreeMap<String, i64>,
    /// The files that the node looks at, and what is wrong with each.
    files: BTreeMap<&'static str, Option<String>>,
    bytes_per_peer_max: u64,
    datagrams_dropped: u64,
    displaced: u64,
}

impl Moment {
    fn node(&self, page: &mut Page) {
        let Self { status, not_after, certificate_left, bytes_per_peer_max, .. } = self;
        let help = "1 if the node takes events, has started and can be reached";
        page.gauge("ready", help, u64::from(status.is_ready()));
        let version = std::iter::once(([("version", VERSION)], 1));
        page.gauges("build_info", "Which version of the program this is", version);
        page.gauge("incarnation", "Which life of the node this is", status.incarnation);
        page.gauge("uptime_seconds", "Time since the start", status.uptime.as_secs());
        page.gauge("timers", "Timers that are armed", count(status.timers));
        page.gauge("jobs_running", "Jobs that run", count(status.jobs_running));
        page.gauge("jobs_waiting", "Jobs that wait for a thread", count(status.jobs_waiting));
        page.gauge("held", "Effects and records that wait for the store", count(status.held));
        page.gauge(
            "certificate_not_after_seconds",
            "When the node's certificate ends, in seconds since 1970",
            *not_after,
        );
        let help = "How long the node's certificate is still valid, below zero after its end";
        page.gauge("cert_expiry_seconds", help, *certificate_left);
        let unusable = self.files.iter();
        let unusable =
            unusable.map(|(name, wrong)| ([("file", *name)], u64::from(wrong.is_some())));
        let help = "1 if the file on disk cannot be used, and what stood in it before is";
        page.gauges("file_unusable", help, unusable);
        page.gauge(
            "bytes_per_peer_max",
            "What one peer can make the transport hold at most",
            *bytes_per_peer_max,
        );
        let help = "Datagrams that were too large, or took the room of others";
        page.counter("datagrams_dropped", help, self.datagrams_dropped);
        let help = "Clients of this port that gave way to others before they were done";
        page.counter("admin_displaced", help, self.displaced);
        page.counter("restarts", "Lives that ended by a panic", status.restarts);
        page.counter("actor_restarts", "Actors that were replaced", status.actor_restarts);
        let help = "How many times the process did not run for a second or more";
        page.counter("pauses", help, status.pauses);
        page.counter("clock_jumps", "How many times the wall clock was set", status.clock_jumps);
        let summary = || status.summary.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let numbers = summary().filter_map(|(key, value)| Some(([("key", key)], number(value)?)));
        page.gauges("summary", "What the algorithms count of themselves", numbers);
        let words = summary().filter(|(_, value)| number(value).is_none());
        let words = words.map(|(key, value)| ([("key", key), ("value", value)], 1));
        page.gauges("summary_info", "What the algorithms say of themselves, in words", words);
    }

    fn events(&self, page: &mut Page) {
        let Self { status, .. } = self;
        let events = &status.events;
        let handled = events.iter().map(|it| ([("event", it.name)], it.handled));
        page.counters("events_handled", "Events handled", handled);
        let refused = events.iter().map(|it| ([("event", it.name)], it.refused));
        page.counters("events_refused", "Events that no handler took", refused);
        let queued = events.iter().map(|it| ([("event", it.name)], count(it.queued)));
        page.gauges("inbox_depth", "Events that wait", queued);
        let most = events.iter().map(|it| ([("event", it.name)], count(it.queued_max)));
        page.gauges("inbox_depth_max", "The most events that have waited at once", most);
        let times = events.iter().map(|it| ([("event", it.name)], &it.times));
        let other = ([("event", Handling::OTHER)], &status.other_times);
        let help = "How long a handler took; up to 8 events in a row share two looks at the clock";
        page.histograms("handler_seconds", help, times.chain([other]));
        let help = "How long the store took to make records durable";
        page.histograms("store_sync_seconds", help, [([], &status.syncs)].into_iter());
        let help = "Bytes that were cut off the end of the log: the machine had died while they were written";
        page.counter("store_torn_bytes", help, status.torn_bytes);
        let drops = counted(DropReason::ALL.into_iter().map(DropReason::word), &status.drops);
        page.counters("drops", "What was dropped", drops);
        let refusals = counted(refusal_kinds(), &status.refusals);
        page.counters("peers_rejected", "What the transport turned away", refusals);
    }

    fn peers(&self, page: &mut Page) {
        let named: Vec<(String, &PeerStatus)> =
            self.status.peers.iter().map(|peer| (peer.peer.to_string(), peer)).collect();
        let each = |value: fn(&PeerStatus) -> u64| {
            named.iter().map(move |(name, peer)| ([("peer", name.as_str())], value(peer)))
        };
        page.gauges("peer_up", "1 if the peer is linked", each(|peer| peer.up.into()));
        let round_trips = named
            .iter()
            .map(|(name, peer)| ([("peer", name.as_str())], peer.round_trip.unwrap_or_default()));
        page.spans("rtt_seconds", "The round trip to the peer", round_trips);
        let silent = each(|peer| peer.silent_for.unwrap_or_default().as_secs());
        let help = "For how long nothing was heard of the peer, 0 while it is heard of";
        page.gauges("peer_silent_seconds", help, silent);
        let help = "Packets that were sent on the connection of now";
        page.gauges("packets_sent", help, each(|peer| peer.packets_sent));
        page.gauges("packets_lost", "Those of them that were lost", each(|peer| peer.packets_lost));
        let queued = each(|peer| count(peer.queued_bytes));
        page.gauges("outbox_bytes", "Bytes that the peer has not acknowledged", queued);
        let connected = each(|peer| peer.connected.into());
        page.gauges("peer_connected", "1 if a connection carries the link now", connected);
        let protocol = each(|peer| peer.protocol.unwrap_or(0).into());
        let help = "The version of the wire protocol on the connection of now, 0 if there is none";
        page.gauges("peer_protocol", help, protocol);
        let resumed = each(|peer| peer.resumed);
        page.gauges("link_resumes", "Connections that the link has outlasted", resumed);
        let lost = each(|peer| peer.lost);
        page.counters("events_lost", "Events not acknowledged when a link ended", lost);
        page.counters("events_sent", "Events sent to the peer", each(|peer| peer.sent));
        page.counters("events_received", "Events from the peer", each(|peer| peer.received));
        page.counters("peer_ups", "How many times the link came up", each(|peer| peer.ups));
        page.counters("peer_downs", "How many times it was lost", each(|peer| peer.downs));
        let failed = each(|peer| peer.failed_attempts);
        page.counters("failed_attempts", "Attempts to link that failed", failed);
        let certificates = self.peer_certificates.iter();
        let certificates = certificates.map(|(peer, left)| ([("peer", peer.as_str())], *left));
        let help = "How long the certificate of a peer that is connected is still valid";
        page.gauges("peer_cert_expiry_seconds", help, certificates);
    }
}

impl Moment {
    /// By peer, and by algorithm or event type: a peer that opens other lanes adds one label at most.
    fn lanes(&self, page: &mut Page) {
        let lanes = self.status.lanes.iter();
        let named: Vec<(String, &str, LaneCounts)> =
            lanes.map(|it| (it.peer.to_string(), it.lane, it.counts)).collect();
        let each = |value: fn(&LaneCounts) -> u64| {
            named.iter().map(move |(peer, lane, counts)| {
                ([("peer", peer.as_str()), ("lane", *lane)], value(counts))
            })
        };
        page.gauges("lane_queued", "Events that wait to be sent", each(|it| it.queued));
        let help = "Events that the peer has not acknowledged";
        page.gauges("lane_unacknowledged", help, each(|it| it.unacknowledged));
        let help = "The bytes of those, and what keeping them costs";
        page.gauges("lane_kept_bytes", help, each(|it| count(it.kept_bytes)));
        let help = "Events of the peer that are not yet to be acknowledged";
        page.gauges("lane_unsettled", help, each(|it| it.unsettled));
        let help = "Events not acknowledged when a link ended";
        page.counters("lane_lost", help, each(|it| it.lost));
        let help = "Events that were not taken to be sent";
        page.counters("lane_refused", help, each(|it| it.refused));
    }
}

/// How often each reason has occurred. Those that have not are there all the same: the first time would be no increase
/// otherwise.
fn counted(
    reasons: impl Iterator<Item = &'static str>,
    counts: &BTreeMap<&'static str, u64>,
) -> impl Iterator<Item = ([(&'static str, &'static str); 1], u64)> {
    reasons.map(|reason| ([("reason", reason)], counts.get(reason).copied().unwrap_or(0)))
}

/// A value that is a number is no label: each label would be another time series.
fn number(value: &str) -> Option<u64> {
    value.parse().ok()
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// One metric after the other.
#[derive(Debug, Default)]
struct Page(Vec<Metric>);

impl Page {
    fn add(&mut self, name: &'static str, help: &'static str, data: Data) {
        self.0.push(Metric { name, help, data });
    }

    fn gauge(&mut self, name: &'static str, help: &'static str, value: impl TryInto<i64>) {
        self.gauges(name, help, std::iter::once(([], value)));
    }

    fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.counters(name, help, std::iter::once(([], value)));
    }

    fn gauges<'l, V: TryInto<i64>, const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        values: impl Iterator<Item = ([(&'static str, &'l str); N], V)>,
    ) {
        let whole = |value: V| Number::Whole(value.try_into().unwrap_or(i64::MAX));
        let series = values.map(|(labels, value)| (owned(labels), whole(value)));
        self.add(name, help, Data::Gauge(series.collect()));
    }

    /// Gauges of times.
    fn spans<'l, const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        values: impl Iterator<Item = ([(&'static str, &'l str); N], Duration)>,
    ) {
        let seconds = |value: Duration| Number::Seconds(value.as_secs_f64());
        let series = values.map(|(labels, value)| (owned(labels), seconds(value)));
        self.add(name, help, Data::Gauge(series.collect()));
    }

    fn histograms<'l, const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        values: impl Iterator<Item = ([(&'static str, &'l str); N], &'l Timings)>,
    ) {
        let series = values.map(|(labels, timings)| (owned(labels), timings.clone()));
        self.add(name, help, Data::Histogram(series.collect()));
    }

    fn counters<'l, const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        values: impl Iterator<Item = ([(&'static str, &'l str); N], u64)>,
    ) {
        let series = values.map(|(labels, value)| (owned(labels), value));
        self.add(name, help, Data::Counter(series.collect()));
    }
}

fn owned<const N: usize>(labels: [(&'static str, &str); N]) -> Vec<(&'static str, String)> {
    labels.map(|(key, value)| (key, String::from(value))).into()
}
