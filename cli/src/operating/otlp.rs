//! Metrics over OTLP, for an OpenTelemetry collector. Only with the feature `otel`.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::pin::Pin;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter, MeterProvider};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{MetricExporter, Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use synod_core::{LaneCounts, NodeId};
use synod_runtime::{NodeHandle, PeerStatus, Status};

use crate::problem::{Exit, Problem};

/// How long the collector may take for one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer is no larger, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// The exporter of a node. It sends what it has once more when it is dropped.
#[derive(Debug)]
pub(crate) struct Exporter(SdkMeterProvider);

impl Exporter {
    /// Sends metrics of `node` to the collector at `endpoint` every minute, or as often as
    /// `OTEL_METRIC_EXPORT_INTERVAL` says in milliseconds.
    ///
    /// # Errors
    ///
    /// A [`Problem`] of usage if `endpoint` is no URL of plain HTTP.
    pub(crate) fn to(endpoint: &str, node: NodeId) -> Result<Self, Problem> {
        let wrong = |why: &str| {
            let what = format!("--otlp: `{endpoint}` {why}");
            let hint = "expected http://HOST:PORT, such as http://127.0.0.1:4318";
            Problem::new(Exit::Usage, what).hint(hint)
        };
        if !endpoint.starts_with("http://") {
            return Err(wrong("is not plain HTTP"));
        }
        let exporter = MetricExporter::builder()
            .with_http()
            .with_http_client(Post)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/metrics", endpoint.trim_end_matches('/')))
            .with_timeout(PATIENCE)
            .build()
            .map_err(|error| wrong(&format!("cannot be used: {error}")))?;
        let name = KeyValue::new("service.instance.id", node.to_string());
        let resource = Resource::builder().with_service_name("synod").with_attribute(name).build();
        let provider = SdkMeterProvider::builder().with_resource(resource);
        Ok(Self(provider.with_periodic_exporter(exporter).build()))
    }

    /// From here on the node is measured.
    pub(crate) fn observing(self, node: &NodeHandle) -> Self {
        instruments(&self.0.meter("synod"), node);
        self
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "the last metrics did not reach the collector");
        }
    }
}

/// What is measured, when it is time to send it.
fn instruments(meter: &Meter, node: &NodeHandle) {
    gauge(meter, node, "synod.ready", |status, told| {
        told.observe(u64::from(status.is_ready()), &[]);
    });
    gauge(meter, node, "synod.incarnation", |status, told| told.observe(status.incarnation, &[]));
    gauge(meter, node, "synod.summary", |status, told| {
        for (key, value) in &status.summary {
            if let Ok(number) = value.parse() {
                told.observe(number, &[KeyValue::new("key", key.clone())]);
            }
        }
    });
    counter(meter, node, "synod.restarts", |status, told| told.observe(status.restarts, &[]));
    counter(meter, node, "synod.events.handled", |status, told| {
        for event in &status.events {
            told.observe(event.handled, &[KeyValue::new("event", event.name)]);
        }
    });
    counter(meter, node, "synod.drops", |status, told| {
        for (reason, times) in &status.drops {
            told.observe(*times, &[KeyValue::new("reason", *reason)]);
        }
    });
    counter(meter, node, "synod.peers.rejected", |status, told| {
        for (reason, times) in &status.refusals {
            told.observe(*times, &[KeyValue::new("reason", *reason)]);
        }
    });
    for (name, value) in PEER_GAUGES {
        gauge(meter, node, name, move |status, told| observe_peers(status, told, value));
    }
    for (name, value) in PEER_COUNTERS {
        counter(meter, node, name, move |status, told| observe_peers(status, told, value));
    }
    for (name, value) in LANE_GAUGES {
        gauge(meter, node, name, move |status, told| observe_lanes(status, told, value));
    }
    for (name, value) in LANE_COUNTERS {
        counter(meter, node, name, move |status, told| observe_lanes(status, told, value));
    }
}

/// A number of one peer.
type OfPeer = fn(&PeerStatus) -> u64;

const PEER_GAUGES: [(&str, OfPeer); 3] = [
    ("synod.peer.up", |peer| u64::from(peer.up)),
    ("synod.peer.round_trip_us", |peer| {
        u64::try_from(peer.round_trip.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
    }),
    ("synod.peer.outbox_bytes", |peer| u64::try_from(peer.queued_bytes).unwrap_or(u64::MAX)),
];

const PEER_COUNTERS: [(&str, OfPeer); 2] = [
    ("synod.peer.events_sent", |peer| peer.sent),
    ("synod.peer.events_received", |peer| peer.received),
];

/// A number of one lane.
type OfLane = fn(&LaneCounts) -> u64;

const LANE_GAUGES: [(&str, OfLane); 2] = [
    ("synod.lane.queued", |lane| lane.queued),
    ("synod.lane.unacknowledged", |lane| lane.unacknowledged),
];

const LANE_COUNTERS: [(&str, OfLane); 2] =
    [("synod.lane.lost", |lane| lane.lost), ("synod.lane.refused", |lane| lane.refused)];

type Told<'a> = &'a dyn AsyncInstrument<u64>;

fn observe_peers(status: &Status, told: Told<'_>, value: OfPeer) {
    for peer in &status.peers {
        told.observe(value(peer), &[KeyValue::new("peer", peer.peer.to_string())]);
    }
}

fn observe_lanes(status: &Status, told: Told<'_>, value: OfLane) {
    for lane in &status.lanes {
        let peer = KeyValue::new("peer", lane.peer.to_string());
        told.observe(value(&lane.counts), &[peer, KeyValue::new("lane", lane.lane)]);
    }
}

fn gauge(
    meter: &Meter,
    node: &NodeHandle,
    name: &'static str,
    tell: impl Fn(&Status, Told<'_>) + Send + Sync + 'static,
) {
    let node = node.clone();
    let told = move |told: &dyn AsyncInstrument<u64>| tell(&node.status(), told);
    let _registered = meter.u64_observable_gauge(name).with_callback(told).build();
}

fn counter(
    meter: &Meter,
    node: &NodeHandle,
    name: &'static str,
    tell: impl Fn(&Status, Told<'_>) + Send + Sync + 'static,
) {
    let node = node.clone();
    let told = move |told: &dyn AsyncInstrument<u64>| tell(&node.status(), told);
    let _registered = meter.u64_observable_counter(name).with_callback(told).build();
}

/// Plain HTTP, one connection for each request. It blocks, on the exporter's own thread.
#[derive(Debug)]
struct Post;

impl HttpClient for Post {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move { post(&request) })
    }
}

fn post(request: &Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (uri, body) = (request.uri(), request.body());
    let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(4318));
    let address = (host.trim_matches(['[', ']']), port).to_socket_addrs()?.next();
    let address = address.ok_or_else(|| format!("{host} has no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut head = format!("POST {} HTTP/1.1\r\nHost: {host}:{port}\r\n", uri.path());
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str()?));
    }
    head.push_str(&format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let odd = || io::Error::new(io::ErrorKind::InvalidData, "what answers speaks no HTTP");
    let code = answer.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5)).ok_or_else(odd)?;
    let code: u16 = std::str::from_utf8(code)?.parse()?;
    let split = answer.windows(4).position(|at| at == b"\r\n\r\n").ok_or_else(odd)?;
    let body = answer.get(split + 4..).unwrap_or_default();
    Ok(Response::builder().status(code).body(Bytes::copy_from_slice(body))?)
}
