//! Metrics in the text format of OpenMetrics 1.0.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use synod_core::NodeId;
use synod_runtime::Timings;

use super::metrics::{Data, Metric, Number};

/// The page of a node's metrics.
pub(super) fn page(node: NodeId, metrics: Vec<Metric>) -> String {
    let labels = std::iter::once(("node".into(), node.to_string().into()));
    let mut registry = Registry::with_prefix_and_labels("synod", labels);
    registry.register_collector(Box::new(Told(metrics)));
    let mut text = String::new();
    // Writing into a string does not fail, and the encoder has no errors of its own.
    let _ = text::encode(&mut text, &registry);
    // Versions of the encoder differ in what they take for the bound without an end.
    text.replace("le=\"inf\"", "le=\"+Inf\"")
}

#[derive(Debug)]
struct Told(Vec<Metric>);

impl Collector for Told {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|metric| tell(metric, &mut encoder))
    }
}

fn tell(Metric { name, help, data }: &Metric, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let kind = match data {
        Data::Gauge(_) => MetricType::Gauge,
        Data::Counter(_) => MetricType::Counter,
        Data::Histogram(_) => MetricType::Histogram,
    };
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    match data {
        Data::Gauge(series) => series.iter().try_for_each(|(labels, number)| {
            let labels = escaped(labels);
            let mut one = family.encode_family(&labels)?;
            match number {
                Number::Whole(number) => one.encode_gauge(number),
                Number::Seconds(seconds) => one.encode_gauge(seconds),
            }
        }),
        Data::Counter(series) => series.iter().try_for_each(|(labels, number)| {
            family
                .encode_family(&escaped(labels))?
                .encode_counter::<NoLabelSet, _, u64>(number, None)
        }),
        Data::Histogram(series) => series.iter().try_for_each(|(labels, timings)| {
            let bounds = Timings::BOUNDS.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(timings.counts).collect();
            let (total, count) = (timings.total.as_secs_f64(), timings.count());
            let labels = escaped(labels);
            let mut one = family.encode_family(&labels)?;
            one.encode_histogram::<NoLabelSet>(total, count, &buckets, None)
        }),
    }
}

/// Labels as they stand between quotation marks, which the encoder leaves to its caller. An algorithm may show what a
/// peer has said, and that must be neither the end of the page nor another metric.
fn escaped<'l>(labels: &'l [(&'static str, String)]) -> Vec<(&'static str, Cow<'l, str>)> {
    let escaped = |value: &'l String| match value.contains(['\\', '"', '\n']) {
        false => Cow::Borrowed(value.as_str()),
        true => Cow::Owned(value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")),
    };
    labels.iter().map(|(key, value)| (*key, escaped(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_label_says_ends_neither_the_label_nor_the_line() {
        let labels = vec![("value", String::from("a \"b\" \\ \nevil 7"))];
        let data = Data::Gauge(vec![(labels, Number::Whole(1))]);
        let page = page(NodeId(1), vec![Metric { name: "said", help: "What was said", data }]);
        let line = r#"synod_said{node="n1",value="a \"b\" \\ \nevil 7"} 1"#;
        assert_eq!(page.lines().nth(2), Some(line), "{page}");
    }
}
