//! Metrics over OTLP, for an OpenTelemetry collector. Only with the feature `otel`.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue as Attribute;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric as Told, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_sdk::Resource as Known;
use prost::Message;
use synod_core::NodeId;
use synod_runtime::Timings;

use super::admin::Subject;
use super::metrics::{Data, Metric, Number, Series, metrics};
use crate::problem::{Exit, Problem};

/// How long the collector may take for one step of a request.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer is no larger, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// How often metrics are sent unless `OTEL_METRIC_EXPORT_INTERVAL` says it, in milliseconds.
const EVERY: Duration = Duration::from_secs(60);
/// Where a collector listens that does not say it.
const PORT: u16 = 4318;

/// Where a collector takes metrics.
#[derive(Clone, Debug)]
pub(crate) struct Collector {
    /// Host and port.
    at: String,
    path: String,
}

impl Collector {
    /// The collector at `endpoint`.
    ///
    /// # Errors
    ///
    /// A [`Problem`] of usage if `endpoint` is no URL of plain HTTP.
    pub(crate) fn of(endpoint: &str) -> Result<Self, Problem> {
        let wrong = |why: &str| {
            let what = format!("--otlp: `{endpoint}` {why}");
            let hint = "expected http://HOST:PORT, such as http://127.0.0.1:4318";
            Problem::new(Exit::Usage, what).hint(hint)
        };
        let rest = endpoint.strip_prefix("http://").ok_or_else(|| wrong("is not plain HTTP"))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let is_name = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_graphic());
        if !is_name(host) || host.starts_with(':') || host.contains('@') {
            return Err(wrong("names no host"));
        }
        let slash = if path.is_empty() || path.ends_with('/') { "" } else { "/" };
        let path = format!("/{path}{slash}v1/metrics");
        if !is_name(&path) {
            return Err(wrong("has a path that is none"));
        }
        let at = if has_port { String::from(host) } else { format!("{host}:{PORT}") };
        Ok(Self { at, path })
    }

    /// Sends metrics of a node every minute, until what is returned is dropped: then once more.
    pub(crate) fn sent(self, subject: Arc<Subject>) -> Exporter {
        let every = std::env::var("OTEL_METRIC_EXPORT_INTERVAL").ok();
        let every = every.and_then(|it| it.parse().ok()).filter(|millis| 0 < *millis);
        let every = every.map_or(EVERY, Duration::from_millis);
        let (end, ended) = channel::<()>();
        let since = now();
        let thread = thread::spawn(move || {
            let mut has_failed = false;
            loop {
                let is_last = ended.recv_timeout(every) != Err(RecvTimeoutError::Timeout);
                let request = request(metrics(&subject), subject.node.id(), since, now());
                let sent = self.post(&request.encode_to_vec());
                if let Err(error) = &sent
                    && (is_last || !has_failed)
                {
                    tracing::warn!(collector = self.at, %error, "metrics do not reach the collector");
                }
                has_failed = sent.is_err();
                if is_last {
                    return;
                }
            }
        });
        Exporter { end: Some(end), thread: Some(thread) }
    }

    /// Plain HTTP, one connection for each request.
    fn post(&self, body: &[u8]) -> io::Result<()> {
        let address = self.at.to_socket_addrs()?.next();
        let address = address.ok_or_else(|| io::Error::other("its name has no address"))?;
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            self.path,
            self.at,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        let code = answer.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
        match code {
            Some([b'2', ..]) => Ok(()),
            Some(code) => {
                let code = String::from_utf8_lossy(code);
                Err(io::Error::other(format!("it answers with {code}")))
            }
            None => Err(io::Error::other("what answers speaks no HTTP")),
        }
    }
}

/// Sends metrics while it lives.
#[derive(Debug)]
pub(crate) struct Exporter {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // A panic there has been told.
        }
    }
}

/// In nanoseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// All that is sent at once: what has been counted since the start, at a moment.
fn request(metrics: Vec<Metric>, node: NodeId, since: u64, at: u64) -> ExportMetricsServiceRequest {
    let moment = Moment { since, at };
    let scope = InstrumentationScope { name: String::from("synod"), ..Default::default() };
    let metrics = metrics.into_iter().map(|metric| moment.told(metric)).collect();
    let metrics = ScopeMetrics { scope: Some(scope), metrics, ..Default::default() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource(node)),
            scope_metrics: vec![metrics],
            ..Default::default()
        }],
    }
}

/// Who sends them, and what the environment says of it.
fn resource(node: NodeId) -> Resource {
    let instance = Attribute::new("service.instance.id", node.to_string());
    let known = Known::builder().with_service_name("synod").with_attribute(instance).build();
    Resource::from(&known)
}

/// From when on is counted, and up to when, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
struct Moment {
    since: u64,
    at: u64,
}

impl Moment {
    fn told(self, Metric { name, help, data }: Metric) -> Told {
        let temporality = AggregationTemporality::Cumulative.into();
        let data = match data {
            Data::Gauge(series) => {
                let points = series.into_iter().map(|(labels, number)| match number {
                    Number::Whole(number) => {
                        self.point((labels, number), number_data_point::Value::AsInt)
                    }
                    Number::Seconds(number) => {
                        self.point((labels, number), number_data_point::Value::AsDouble)
                    }
                });
                metric::Data::Gauge(Gauge { data_points: points.collect() })
            }
            Data::Counter(series) => {
                let whole = |number: u64| {
                    number_data_point::Value::AsInt(number.try_into().unwrap_or(i64::MAX))
                };
                metric::Data::Sum(Sum {
                    data_points: series.into_iter().map(|it| self.point(it, whole)).collect(),
                    aggregation_temporality: temporality,
                    is_monotonic: true,
                })
            }
            Data::Histogram(series) => metric::Data::Histogram(Histogram {
                data_points: series.into_iter().map(|it| self.histogram(it)).collect(),
                aggregation_temporality: temporality,
            }),
        };
        let (name, description) = (format!("synod.{name}"), String::from(help));
        Told { name, description, data: Some(data), ..Default::default() }
    }

    fn point<N>(
        self,
        (labels, number): Series<N>,
        value: impl Fn(N) -> number_data_point::Value,
    ) -> NumberDataPoint {
        NumberDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano: self.since,
            time_unix_nano: self.at,
            value: Some(value(number)),
            ..Default::default()
        }
    }

    fn histogram(self, (labels, timings): Series<Timings>) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano: self.since,
            time_unix_nano: self.at,
            count: timings.count(),
            sum: Some(timings.total.as_secs_f64()),
            bucket_counts: timings.counts.to_vec(),
            explicit_bounds: Timings::BOUNDS.iter().map(Duration::as_secs_f64).collect(),
            ..Default::default()
        }
    }
}

fn attributes(labels: impl IntoIterator<Item = (&'static str, String)>) -> Vec<KeyValue> {
    let text = |value| Some(AnyValue { value: Some(any_value::Value::StringValue(value)) });
    let attribute = |(key, value)| KeyValue {
        key: String::from(key),
        value: text(value),
        ..Default::default()
    };
    labels.into_iter().map(attribute).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_a_collector_is_taken_with_and_without_port_and_path() {
        let of = |url: &str| Collector::of(url).map(|Collector { at, path }| (at, path));
        for (url, at, path) in [
            ("http://127.0.0.1:4319", "127.0.0.1:4319", "/v1/metrics"),
            ("http://collector/", "collector:4318", "/v1/metrics"),
            ("http://[::1]", "[::1]:4318", "/v1/metrics"),
            ("http://[::1]:1/api/otlp", "[::1]:1", "/api/otlp/v1/metrics"),
        ] {
            assert_eq!(of(url).expect(url), (String::from(at), String::from(path)));
        }
        for url in ["https://a", "http://", "http://:1", "http:///x", "http://a b", "http://a/b c"]
        {
            of(url).expect_err(url);
        }
    }

    #[test]
    fn a_histogram_has_all_its_buckets_and_a_counter_has_counted_since_the_start() {
        let mut timings = Timings { total: Duration::from_millis(1_500), ..Timings::default() };
        timings.counts[0] = 3;
        timings.counts[Timings::BOUNDS.len()] = 1;
        let named = |name, data| Metric { name, help: "", data };
        let series = vec![(vec![("event", String::from("a"))], timings)];
        let told = request(
            vec![
                named("times", Data::Histogram(series)),
                named("count", Data::Counter(vec![(Vec::new(), 7)])),
            ],
            NodeId(1),
            10,
            20,
        );
        let read = ExportMetricsServiceRequest::decode(&*told.encode_to_vec()).expect("protobuf");
        let metrics = &read.resource_metrics[0].scope_metrics[0].metrics;
        let [times, count] = metrics.as_slice() else { panic!("{metrics:?}") };
        let Some(metric::Data::Histogram(Histogram { data_points, .. })) = &times.data else {
            panic!("{times:?}");
        };
        let point = &data_points[0];
        assert_eq!((times.name.as_str(), point.count, point.sum), ("synod.times", 4, Some(1.5)));
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
        assert_eq!(point.attributes, attributes([("event", String::from("a"))]));
        let Some(metric::Data::Sum(sum)) = &count.data else { panic!("{count:?}") };
        assert!(sum.is_monotonic);
        let point = &sum.data_points[0];
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (10, 20));
        assert_eq!(point.value, Some(number_data_point::Value::AsInt(7)));
    }
}
