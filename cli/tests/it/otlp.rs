//! Metrics that leave for a collector, with the feature `otel`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use crate::operating::{admin, http};
use crate::running::{Running, cluster};
use crate::{Place, synod};

/// Takes one request, confirms it, and returns it.
fn request(collector: &TcpListener) -> Vec<u8> {
    let (mut stream, _) = collector.accept().expect("the node exports");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        let head = text.split_once("\r\n\r\n").map(|(head, _)| head.to_lowercase());
        let length = head.as_ref().and_then(|head| {
            let line = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
            line.parse::<usize>().ok()
        });
        let start = request.windows(4).position(|at| at == b"\r\n\r\n").map(|at| at + 4);
        if let (Some(length), Some(start)) = (length, start)
            && start + length <= request.len()
        {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("answered");
            return request;
        }
        let count = stream.read(&mut buffer).expect("more of the request");
        assert!(0 < count, "a request that is cut off: {text}");
        request.extend(buffer.iter().take(count));
    }
}

#[test]
fn a_collector_is_sent_all_metrics_of_a_node_as_protobuf() {
    let place = Place::new("otlp");
    let bundle = cluster(&place.0, "demo", &["n1"]).remove(0);
    let collector = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("http://{}", collector.local_addr().expect("bound"));
    let every = ("OTEL_METRIC_EXPORT_INTERVAL", "100");
    let mut node = Running::with_environment(&bundle, &["--otlp", &endpoint], &[every]);
    let has =
        |request: &[u8], text: &str| request.windows(text.len()).any(|at| at == text.as_bytes());
    let request = (0..20).map(|_| request(&collector)).find(|it| has(it, "synod.ready"));
    let request = request.expect("metrics within a few requests");
    for text in [
        "POST /v1/metrics HTTP/1.1",
        "application/x-protobuf",
        "service.instance.id",
        "synod.events_handled",
        "bully.",
    ] {
        assert!(has(&request, text), "`{text}` is missing: {}", String::from_utf8_lossy(&request));
    }
    let address = admin(&mut node);
    let page = http(&address, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let names =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE synod_")?.split(' ').next());
    let names: Vec<&str> = names.collect();
    assert!(names.contains(&"handler_seconds"), "{page}");
    for name in names {
        assert!(has(&request, &format!("synod.{name}")), "`{name}` is on the page alone");
    }
}

#[test]
fn a_collector_that_is_no_url_of_plain_http_is_refused() {
    let place = Place::new("otlp-wrong");
    let bundle = cluster(&place.0, "demo", &["n1"]).remove(0);
    let called =
        synod(&place.0, &["node", bundle.to_str().expect("UTF-8"), "--otlp", "127.0.0.1:4318"]);
    assert_eq!(called.exit, 2, "{}", called.stderr);
    assert!(called.stderr.contains("http://HOST:PORT"), "{}", called.stderr);
}
